/* glob.h - patterns in which * stands for any text, also none. Pure; linear time in the text for
 * one star, at most pattern times text for many. */
#ifndef BECKET_BASE_GLOB_H
#define BECKET_BASE_GLOB_H

#include "base/slice.h"

static inline bool glob_matches(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, from = 0;
    while (t < text.bytes) {
        if (p < pattern.bytes && pattern.at[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.bytes && pattern.at[p] == text.at[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.bytes && pattern.at[p] == '*') {
        p++;
    }
    return p == pattern.bytes;
}

#endif
