#include "hub/ingress/answer.h"

#include "hub/events/event_id.h"
#include "hub/ingress/counters.h"

void answer_refuse(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                   unsigned status, const char *code, const char *message, struct slice headers)
{
    count_answer(ingress, number, status);
    http_answer_error(exchange, status, code, message, headers);
}

void answer_busy(struct ingress *ingress, struct http_exchange *exchange, uint64_t number)
{
    answer_refuse(ingress, exchange, number, 503, "unavailable",
                  "the journal cannot take this now, nothing was stored",
                  SLICE("Retry-After: 5\r\n"));
}

void answer_method(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                   unsigned methods)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"};
    char line[80] = "Allow: ";
    size_t bytes = 7;
    for (unsigned i = 0; i < bk_array_length(names); i++) {
        if (methods >> i & 1) {
            size_t name_bytes = strlen(names[i]);
            if (bytes > 7) {
                memcpy(line + bytes, ", ", 2);
                bytes += 2;
            }
            memcpy(line + bytes, names[i], name_bytes);
            bytes += name_bytes;
        }
    }
    memcpy(line + bytes, "\r\n", 2);
    answer_refuse(ingress, exchange, number, 405, "method_not_allowed",
                  "this address takes other methods", slice_of(line, bytes + 2));
}

enum http_outcome answer_later(struct http_exchange *exchange)
{
    return http_later(exchange, "unavailable", "the journal cannot take this now, try again");
}

static void prepare_id(struct http_exchange *exchange, struct journal_position position,
                       int64_t received_ns, bool duplicate)
{
    char body[96] = "{\"id\":\"";
    size_t bytes = 7;
    event_id_format(position, received_ns, body + bytes);
    bytes += EVENT_ID_BYTES;
    if (duplicate) {
        memcpy(body + bytes, "\",\"duplicate\":true}", 19);
        bytes += 19;
    } else {
        memcpy(body + bytes, "\"}", 2);
        bytes += 2;
    }
    http_prepare(exchange, 200, "application/json", SLICE_EMPTY, slice_of(body, bytes));
}

/* The provider's own body, with the event's id where it wants it. */
static void prepare_own(struct http_exchange *exchange, const struct scheme_answer *own,
                        struct journal_position position, int64_t received_ns)
{
    static const char word[] = "{id}";
    char body[256];
    size_t word_bytes = sizeof word - 1;
    const uint8_t *at =
        own->body.bytes ? memmem(own->body.at, own->body.bytes, word, word_bytes) : NULL;
    size_t before = at ? (size_t)(at - own->body.at) : own->body.bytes;
    size_t bytes = before + (at ? EVENT_ID_BYTES + own->body.bytes - before - word_bytes : 0);
    if (!at || bytes > sizeof body) {
        http_prepare(exchange, own->status, own->content_type, own->headers, own->body);
        return;
    }
    memcpy(body, own->body.at, before);
    event_id_format(position, received_ns, body + before);
    memcpy(body + before + EVENT_ID_BYTES, at + word_bytes, own->body.bytes - before - word_bytes);
    http_prepare(exchange, own->status, own->content_type, own->headers, slice_of(body, bytes));
}

void answer_prepare(const struct intake *intake, struct http_exchange *exchange,
                    struct journal_position position, int64_t received_ns, bool duplicate)
{
    const struct scheme_answer *own =
        scheme_acknowledgement(intake->source->scheme, intake->message->head);
    if (intake->spelling != SPELLED_OURS) {
        http_prepare(exchange, 200, NULL, SLICE_EMPTY, SLICE_EMPTY);
    } else if (own) {
        prepare_own(exchange, own, position, received_ns);
    } else {
        prepare_id(exchange, position, received_ns, duplicate);
    }
}
