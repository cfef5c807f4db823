/* Which bytes of a request's head are secrets, to be blanked in the journal's copy. */
#include "base/hex.h"
#include "providers/text.h"
#include "providers/verify.h"

/* In the order of the head; what is full stays as it is. */
static unsigned add_redaction(struct scheme_redaction *redactions, unsigned count, unsigned max,
                              uint32_t at, uint32_t bytes)
{
    if (count == max || bytes == 0) {
        return count;
    }
    unsigned place = count;
    for (; place > 0 && redactions[place - 1].at > at; place--) {
        redactions[place] = redactions[place - 1];
    }
    redactions[place] = (struct scheme_redaction){at, bytes};
    return count + 1;
}

/* Every header of one name. */
static unsigned redact_name(const struct http_head *head, struct slice name,
                            struct scheme_redaction *redactions, unsigned count, unsigned max)
{
    const struct http_header *header = NULL;
    while ((header = http_next(head, name, header)) != NULL) {
        count = add_redaction(redactions, count, max, header->value_at, header->value_bytes);
    }
    return count;
}

/* Is this what `text` says, with %XX and + undone? Where that is no escape, it stands for itself.
 */
static bool spells(struct slice text, struct slice name)
{
    size_t at = 0;
    for (size_t i = 0; i < text.bytes; i++, at++) {
        uint8_t c = text.at[i];
        if (c == '%' && text.bytes - i >= 3 && hex_decode(slice_of(text.at + i + 1, 2), &c, 1)) {
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        if (at == name.bytes || name.at[at] != c) {
            return false;
        }
    }
    return at == name.bytes;
}

/* Every field of the query of one name, also where it is written in a way that is not taken: a
 * sender that escapes its letters says its secret all the same. */
static unsigned redact_field(const struct http_head *head, struct slice name,
                             struct scheme_redaction *redactions, unsigned count, unsigned max)
{
    struct slice form = text_query(head);
    while (form.bytes != 0) {
        struct slice pair = slice_of(form.at, slice_find(form, '&'));
        size_t name_bytes = slice_find(pair, '=');
        if (spells(slice_of(pair.at, name_bytes), name)) {
            struct slice value = slice_skip(pair, name_bytes + 1);
            uint32_t at = value.bytes != 0 ? (uint32_t)(value.at - head->at) : 0;
            count = add_redaction(redactions, count, max, at, (uint32_t)value.bytes);
        }
        form = slice_skip(form, pair.bytes + 1);
    }
    return count;
}

/* There may be some. */
RARE static unsigned redact(const struct scheme *scheme, const struct scheme_request *request,
                            struct scheme_redaction *redactions, unsigned max)
{
    unsigned count = 0;
    const struct http_head *head = request->head;
    const struct scheme *one = resolve(scheme, request);
    const struct scheme_plan *plan = one != NULL ? one->plan : scheme->plan;
    for (unsigned i = 0; i < plan->secret_name_count; i++) {
        unsigned slot = request->slots.scheme != NULL ? plan->secret_slots[i] : 0;
        if (slot == 0 || request->slots.at[slot] != 0) {
            count = redact_name(head, plan->secret_names[i], redactions, count, max);
        }
    }
    for (unsigned i = 0; i < plan->secret_field_count; i++) {
        count = redact_field(head, plan->secret_fields[i], redactions, count, max);
    }
    return count;
}

unsigned scheme_redactions(const struct scheme *scheme, const struct scheme_request *request,
                           struct scheme_redaction *ret_redactions, unsigned max)
{
    const struct scheme *prepared = request->slots.scheme;
    if (prepared != NULL &&
        (request->slots.found & prepared->plan->secret_mask) == prepared->plan->secret_none) {
        return 0;
    }
    return redact(scheme, request, ret_redactions, max);
}
