/* nearest.h - the word that was meant: for "did you mean …?".
 *
 * Near is what one or two slips away, three in a long word; a swap of neighbours is one, letters'
 * case none. The beginning of a word, from three letters on, is near to it; of several the
 * shortest.
 */
#ifndef BECKET_BASE_NEAREST_H
#define BECKET_BASE_NEAREST_H

#include "base/slice.h"

/* Of a list that NULL ends; NULL = none is near. */
const char *nearest_word(struct slice text, const char *const *words);

#endif
