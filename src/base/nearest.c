#include "base/nearest.h"

#include <stdint.h>

/* Edit distance of two short words; a swap of neighbours counts one. */
static unsigned distance(struct slice a, struct slice b)
{
    enum { WORD_MAX = 40 };
    unsigned rows[3][WORD_MAX + 1];
    if (a.bytes > WORD_MAX || b.bytes > WORD_MAX) {
        return UINT32_MAX;
    }
    for (unsigned k = 0; k <= b.bytes; k++) {
        rows[0][k] = k;
    }
    for (unsigned i = 1; i <= a.bytes; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *two = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned k = 1; k <= b.bytes; k++) {
            uint8_t x = ascii_lower(a.at[i - 1]), y = ascii_lower(b.at[k - 1]);
            unsigned best = above[k - 1] + (x != y);
            best = above[k] + 1 < best ? above[k] + 1 : best;
            best = row[k - 1] + 1 < best ? row[k - 1] + 1 : best;
            if (i > 1 && k > 1 && x == ascii_lower(b.at[k - 2]) && y == ascii_lower(a.at[i - 2]) &&
                two[k - 2] + 1 < best) {
                best = two[k - 2] + 1;
            }
            row[k] = best;
        }
    }
    return rows[a.bytes % 3][b.bytes];
}

static bool begins(struct slice word, struct slice text)
{
    return text.bytes >= 3 && slice_starts_nocase(word, text);
}

const char *nearest_word(struct slice text, const char *const *words)
{
    const char *nearest = NULL;
    unsigned least = text.bytes > 6 ? 4 : text.bytes > 3 ? 3 : 2;
    for (size_t i = 0; words[i]; i++) {
        struct slice word = slice_str(words[i]);
        bool beginning = begins(word, text);
        unsigned d = beginning ? 1 : distance(text, word);
        if (d < least || (beginning && d == least && word.bytes < strlen(nearest))) {
            least = d;
            nearest = words[i];
        }
    }
    return nearest;
}
