#include "hub/resources/etag.h"

#include <stdio.h>

/* Without what is around it. False: there is none. */
static bool take_tag(struct slice *from, struct slice *ret_tag)
{
    struct slice text = slice_starts(*from, SLICE("W/")) ? slice_skip(*from, 2) : *from;
    size_t count = 0;
    if (slice_starts(text, SLICE("\""))) {
        text = slice_skip(text, 1);
        count = slice_find(text, '"');
        *ret_tag = slice_of(text.at, count);
        *from = slice_skip(text, count + 1);
        return count < text.bytes;
    }
    while (count < text.bytes && text.at[count] >= '0' && text.at[count] <= '9') {
        count++;
    }
    *ret_tag = slice_of(text.at, count);
    *from = slice_skip(text, count);
    return count > 0;
}

/* Whether the list names `tag`; *ret_valid says whether it is one. Empty elements are passed over
 * (RFC 9110 5.6.1). */
static bool look(struct slice list, struct slice tag, bool *ret_valid)
{
    struct slice one, rest = slice_trim(list);
    bool found = slice_equal(rest, SLICE("*")), all = found, comma = true;
    *ret_valid = all;
    for (; rest.bytes > 0 && !all; rest = slice_trim(rest)) {
        if (rest.at[0] == ',') {
            comma = true;
            rest = slice_skip(rest, 1);
            continue;
        }
        *ret_valid = comma && take_tag(&rest, &one);
        if (!*ret_valid) {
            return false;
        }
        comma = false;
        found |= slice_equal(one, tag);
    }
    return found;
}

bool etag_list_valid(struct slice list)
{
    bool valid = true;
    if (list.at != NULL) {
        (void)look(list, SLICE_EMPTY, &valid);
    }
    return valid;
}

bool etag_list_names(struct slice list, uint64_t revision)
{
    char tag[24];
    bool valid;
    int bytes = snprintf(tag, sizeof tag, "%llu", (unsigned long long)revision);
    return look(list, slice_of(tag, (size_t)bytes), &valid);
}
