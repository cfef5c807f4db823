/* json_members.h - members of a JSON object, read strictly, for what is signed.
 *
 * Purpose     Where a signature covers the values of a JSON object and not its bytes (Amazon SNS,
 *             Adyen), every reader of the text must see the same values. So this refuses what
 *             parsers disagree about: a wanted member that is there twice or of another kind, names
 *             with escapes, bad escapes, halves of surrogate pairs, control characters, invalid
 *             UTF-8, anything behind the object.
 * Threads     Pure; any. No allocation, time linear in the text.
 * Source      RFC 8259.
 */
#ifndef BECKET_PROVIDERS_JSON_MEMBERS_H
#define BECKET_PROVIDERS_JSON_MEMBERS_H

#include "base/slice.h"

enum json_member_kind {
    JSON_MEMBER_STRING,
    JSON_MEMBER_OBJECT, /* or a list; what is in it is not looked at */
    JSON_MEMBER_INTEGER
};

struct json_member {
    struct slice name;
    enum json_member_kind kind;
    bool found;
    bool escaped;
    struct slice text; /* as written: between the quotes, or with the brackets */
};

/* Fills found, escaped and text of each. False: the text is not such an object. */
bool json_members(struct slice text, struct json_member *members, unsigned count);

/* The object that is the only element of the list `text`; false: there is none, or more. */
bool json_only_element(struct slice text, struct slice *ret_object);

/* The next piece of a string's value: up to 64 bytes of *text decoded to `out` (which is 68 bytes).
 * Returns how many; 0 = it is all done. Only for texts that json_members() found. */
#define JSON_PIECE_BYTES 68U
size_t json_unescape(struct slice *text, uint8_t out[JSON_PIECE_BYTES]);

#endif
