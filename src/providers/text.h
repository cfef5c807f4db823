/* text.h - texts that are computed from a request: decoded, sorted, joined. Bounded, and without
 * malloc. */
#ifndef BECKET_PROVIDERS_TEXT_H
#define BECKET_PROVIDERS_TEXT_H

#include "providers/scheme.h"

/* Memory for them: one block per thread, all of it free again at the next verification on that
 * thread. NULL: too much is asked for. */
#define SCRATCH_BYTES (128U << 10)
void scratch_reset(void);
uint8_t *scratch_take(size_t bytes);
/* %41 and + undone. False: too long, or not an escape. Without any it is `text` itself. */
bool text_form_decode(struct slice text, struct slice *ret_text);
/* Value of `name` among name=value pairs joined by &; as sent, nothing is decoded. */
struct slice text_form_field(struct slice form, struct slice name);
/* The same, decoded, of a form that is this one field: another of that name, or one besides, might
 * be what its reader takes. False: it is not such a form. */
bool text_form_alone(struct slice form, struct slice name, struct slice *ret_value);
/* Names and values, decoded, sorted by name and value, each pair once, one behind the other. */
bool text_form_sorted(struct slice form, struct slice *ret_text);
/* The public URL of a request, in two pieces; false: there is none. */
static inline bool text_url(const struct scheme_request *request, struct slice ret_pieces[2])
{
    struct slice target = http_target(request->head);
    if (__builtin_expect(request->url.bytes != 0 || request->base.bytes == 0, 0)) {
        ret_pieces[0] = request->url;
        ret_pieces[1] = SLICE_EMPTY;
        return true;
    }
    ret_pieces[0] = request->base;
    ret_pieces[1] = target;
    /* The absolute form has the whole URL in it, as the client likes to spell it. */
    return target.bytes != 0 && target.at[0] == '/';
}
/* With the escapes undone that HubSpot undoes. */
bool text_url_unescape(struct slice url, struct slice *ret_url);
/* With its default port when it is written without, and the other way round. */
bool text_url_other_port(struct slice url, struct slice *ret_url);
/* As the inside of a JSON string. */
bool text_json_escape(struct slice text, struct slice *ret_text);
struct slice text_query(const struct http_head *head);

#endif
