#include "hub/deliveries/request.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/hex.h"
#include "base/percent.h"
#include "base/time.h"
#include "hub/events/cloudevents.h"

/* All that is ours: names, numbers, four signatures, a source's name; not the type. */
#define OWN_BYTES_MAX  768U
#define TYPE_BYTES_MAX 255U

struct writer {
    uint8_t *at;
    size_t bytes;
};

static void add(struct writer *writer, const void *at, size_t bytes)
{
    if (bytes > 0) {
        memcpy(writer->at + writer->bytes, at, bytes);
        writer->bytes += bytes;
    }
}

static void add_slice(struct writer *writer, struct slice text)
{
    add(writer, text.at, text.bytes);
}

#define ADD(writer, literal) add(writer, "" literal, sizeof(literal) - 1)

static void add_number(struct writer *writer, uint64_t number)
{
    char text[20];
    unsigned at = sizeof text;
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add(writer, text + at, sizeof text - at);
}

/* Whatever an event calls itself, it stays in its line. */
static void add_escaped(struct writer *writer, struct slice text)
{
    writer->bytes += percent_encode(text, percent_visible, writer->at + writer->bytes);
}

/* ---- which of the provider's lines go on */

static const struct slice left_out[] = {
    SLICE("host"),
    SLICE("authorization"),
    SLICE("cookie"),
    SLICE("content-length"),
    SLICE("expect"),
    SLICE("connection"),
    SLICE("keep-alive"),
    SLICE("proxy-connection"),
    SLICE("proxy-authenticate"),
    SLICE("proxy-authorization"),
    SLICE("te"),
    SLICE("trailer"),
    SLICE("transfer-encoding"),
    SLICE("upgrade"),
    SLICE("http2-settings"),
    SLICE("webhook-id"),
    SLICE("webhook-timestamp"),
    SLICE("webhook-signature"),
    SLICE("becket-source"),
    SLICE("becket-type"),
    SLICE("becket-attempt"),
    SLICE("becket-hops"),
    SLICE("traceparent"),
};

/* A bit per tag: nearly all names are decided by one look. */
static bool may_be_left_out(uint8_t tag)
{
    static uint64_t tags[4];
    static bool ready;
    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
        uint64_t made[4] = {0};
        for (unsigned i = 0; i < bk_array_length(left_out); i++) {
            uint8_t one = http_name_tag(left_out[i].at, left_out[i].bytes);
            made[one / 64] |= 1ULL << one % 64;
        }
        for (unsigned i = 0; i < 4; i++) { /* several threads would write the same */
            __atomic_store_n(&tags[i], made[i], __ATOMIC_RELAXED);
        }
        __atomic_store_n(&ready, true, __ATOMIC_RELEASE);
    }
    return __atomic_load_n(&tags[tag / 64], __ATOMIC_RELAXED) >> tag % 64 & 1;
}

static bool is_left_out(struct slice name)
{
    for (unsigned i = 0; i < bk_array_length(left_out); i++) {
        if (slice_equal_nocase(name, left_out[i])) {
            return true;
        }
    }
    return false;
}

/* Is `name` one of a list "a, b, c"? */
static bool list_names(struct slice list, struct slice name)
{
    while (list.bytes > 0) {
        size_t comma = slice_find(list, ',');
        if (slice_equal_nocase(slice_trim(slice_of(list.at, comma)), name)) {
            return true;
        }
        list = slice_skip(list, comma + 1);
    }
    return false;
}

static bool connection_names(const struct http_head *head, struct slice name)
{
    const struct http_header *header = NULL;
    while ((header = http_next(head, SLICE("connection"), header)) != NULL) {
        if (list_names(http_header_value(head, header), name)) {
            return true;
        }
    }
    return false;
}

/* Does a block of lines "Name: value\r\n…" have this name? */
static bool lines_name(struct slice lines, struct slice name)
{
    while (lines.bytes > name.bytes) {
        if (lines.at[name.bytes] == ':' &&
            slice_equal_nocase(slice_of(lines.at, name.bytes), name)) {
            return true;
        }
        lines = slice_skip(lines, slice_find(lines, '\n') + 1);
    }
    return false;
}

static bool is_blanked(struct slice value)
{
    for (size_t i = 0; i < value.bytes; i++) {
        if (value.at[i] != '*') {
            return false;
        }
    }
    return value.bytes > 0;
}

struct passing {
    const struct http_head *head;
    struct slice own_lines;
    enum destination_format format;
    bool has_connection;
};

/* Said of a body that is not sent, or by a CloudEvent of which this one is made. */
static bool is_replaced(enum destination_format format, struct slice name)
{
    return format != DESTINATION_ORIGINAL && (slice_starts_nocase(name, SLICE("ce-")) ||
                                              (format == DESTINATION_CLOUDEVENTS_STRUCTURED &&
                                               (slice_starts_nocase(name, SLICE("content-")) ||
                                                slice_equal_nocase(name, SLICE("digest")) ||
                                                slice_equal_nocase(name, SLICE("repr-digest")))));
}

static bool passes(const struct passing *passing, unsigned index)
{
    const struct http_head *head = passing->head;
    const struct http_header *header = &head->headers[index];
    struct slice name = http_header_name(head, header);
    struct slice value = http_header_value(head, header);
    if (may_be_left_out(head->tags[index]) && is_left_out(name)) {
        return false;
    }
    if ((value.bytes > 0 && value.at[0] == '*' && is_blanked(value)) ||
        is_replaced(passing->format, name)) {
        return false;
    }
    return !(passing->has_connection && connection_names(head, name)) &&
           !(passing->own_lines.bytes > 0 && lines_name(passing->own_lines, name));
}

/* Neighbours that pass go in one piece. */
static void add_providers(struct writer *writer, const struct passing *passing)
{
    const struct http_head *head = passing->head;
    size_t from = 0;
    for (unsigned i = 0; i < head->header_count; i++) {
        bool goes = passes(passing, i);
        size_t at = head->headers[i].name_at;
        if (goes && from == 0) {
            from = at;
        } else if (!goes && from != 0) {
            add(writer, head->at + from, at - from);
            from = 0;
        }
    }
    if (from != 0) { /* up to the empty line */
        add(writer, head->at + from, head->head_bytes - 2 - from);
    }
}

/* ---- traceparent (W3C Trace Context, level 1) */

static void put_big(uint8_t *at, unsigned bytes, uint64_t value)
{
    for (unsigned i = bytes; i-- > 0; value >>= 8) {
        at[i] = (uint8_t)value;
    }
}

/* "00-<32>-<16>-<2>", not all zero. */
static bool trace_of(const struct http_head *head, uint8_t ret_trace[16], uint8_t *ret_flags)
{
    unsigned count = 0;
    uint8_t span[8];
    const struct http_header *header = http_find(head, SLICE("traceparent"), &count);
    if (!header || count != 1) {
        return false;
    }
    struct slice value = http_header_value(head, header);
    if (value.bytes != 55 || memcmp(value.at, "00-", 3) != 0 || value.at[35] != '-' ||
        value.at[52] != '-' || !hex_decode(slice_of(value.at + 3, 32), ret_trace, 16) ||
        !hex_decode(slice_of(value.at + 36, 16), span, 8) ||
        !hex_decode(slice_of(value.at + 53, 2), ret_flags, 1)) {
        return false;
    }
    static const uint8_t zero[16];
    return memcmp(ret_trace, zero, 16) != 0 && memcmp(span, zero, 8) != 0;
}

/* The sender's trace goes on, or the event begins one; each attempt is a span of its own. */
static void add_trace(struct writer *writer, const struct request *request)
{
    uint8_t trace[16], span[8], flags = 1;
    char text[32];
    if (!trace_of(request->head, trace, &flags)) {
        flags = 1;
        put_big(trace, 6, (uint64_t)(request->received_ns / NS_PER_MS));
        put_big(trace + 6, 2, request->event.journal);
        put_big(trace + 8, 8, request->event.sequence);
    }
    uint64_t mixed = (request->event.sequence * 0x9e3779b97f4a7c15ULL) ^
                     (request->destination->number << 20) ^ request->event.journal;
    mixed = (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9ULL + request->attempt;
    put_big(span, 8, mixed | 1);
    ADD(writer, "traceparent: 00-");
    hex_encode(trace, 16, text);
    add(writer, text, 32);
    ADD(writer, "-");
    hex_encode(span, 8, text);
    add(writer, text, 16);
    ADD(writer, "-");
    hex_encode(&flags, 1, text);
    add(writer, text, 2);
    ADD(writer, "\r\n");
}

/* ---- loops */

unsigned request_hops(const struct http_head *head)
{
    const struct http_header *header = http_find(head, SLICE("becket-hops"), NULL);
    return request_hops_of(header ? http_header_value(head, header) : SLICE_EMPTY);
}

unsigned request_hops_of(struct slice value)
{
    unsigned hops = 0;
    for (size_t i = 0; i < value.bytes && hops < REQUEST_HOPS_MAX; i++) {
        unsigned digit = value.at[i] - (unsigned)'0';
        hops = digit <= 9 ? 10 * hops + digit : REQUEST_HOPS_MAX;
    }
    return hops < REQUEST_HOPS_MAX ? hops : REQUEST_HOPS_MAX;
}

/* ---- the whole */

static struct slice type_of(const struct request *request)
{
    return slice_of(request->type.at,
                    request->type.bytes < TYPE_BYTES_MAX ? request->type.bytes : TYPE_BYTES_MAX);
}

static size_t head_bytes_max(const struct request *request)
{
    const struct destination *destination = request->destination;
    return OWN_BYTES_MAX + destination->target.bytes + destination->host_header.bytes +
           request->source.bytes + 3 * type_of(request).bytes + destination->header_lines.bytes +
           request->head->head_bytes;
}

static struct cloudevent as_cloudevent(const struct request *request, struct slice id)
{
    const struct http_header *type = http_find(request->head, SLICE("content-type"), NULL);
    return (struct cloudevent){.id = id,
                               .source = request->source,
                               .type = type_of(request),
                               .content_type =
                                   type ? http_header_value(request->head, type) : SLICE_EMPTY,
                               .received_ns = request->received_ns,
                               .body = request->body};
}

size_t request_bytes_max(const struct request *request)
{
    size_t head = head_bytes_max(request);
    if (request->destination->format == DESTINATION_ORIGINAL) {
        return head + request->body.bytes;
    }
    struct cloudevent event = as_cloudevent(request, slice_of(NULL, EVENT_ID_BYTES));
    return request->destination->format == DESTINATION_CLOUDEVENTS_BINARY
               ? head + cloudevents_headers_max(&event) + request->body.bytes
               : head + cloudevents_structured_max(&event);
}

/* The body that is sent. One that is made stands where no head can reach, until that is known. */
static struct slice body_of(const struct request *request, const struct cloudevent *event,
                            uint8_t *at)
{
    if (request->destination->format != DESTINATION_CLOUDEVENTS_STRUCTURED) {
        return request->body;
    }
    uint8_t *place = at + head_bytes_max(request);
    return slice_of(place, cloudevents_structured(event, place, cloudevents_structured_max(event)));
}

static void add_format(struct writer *writer, const struct destination *destination,
                       const struct cloudevent *event)
{
    if (destination->format == DESTINATION_CLOUDEVENTS_BINARY) {
        writer->bytes +=
            cloudevents_headers(event, writer->at + writer->bytes, cloudevents_headers_max(event));
    } else if (destination->format == DESTINATION_CLOUDEVENTS_STRUCTURED) {
        ADD(writer, "Content-Type: " CLOUDEVENTS_STRUCTURED "\r\n");
    }
}

static void add_signature(struct writer *writer, const struct destination *destination,
                          struct request_layout *layout)
{
    layout->signature_at = 0;
    layout->secret_count = 0;
    if (destination->signing != DESTINATION_STANDARD_WEBHOOKS || destination->secret_count == 0) {
        return;
    }
    bk_assert(destination->secret_count <= DESTINATION_SECRETS_MAX);
    ADD(writer, "webhook-signature: ");
    layout->signature_at = (uint32_t)writer->bytes;
    layout->secret_count = destination->secret_count;
    size_t bytes = destination->secret_count * (REQUEST_SIGNATURE_BYTES + 1) - 1;
    memset(writer->at + writer->bytes, ' ', bytes);
    writer->bytes += bytes;
    ADD(writer, "\r\n");
}

void request_build(const struct request *request, uint8_t *at, struct request_layout *ret_layout)
{
    const struct destination *destination = request->destination;
    struct passing passing = {.head = request->head,
                              .own_lines = destination->header_lines,
                              .format = destination->format,
                              .has_connection =
                                  http_find(request->head, SLICE("connection"), NULL) != NULL};
    struct cloudevent event = {0};
    char id[EVENT_ID_BYTES];
    event_id_format(request->event, request->received_ns, id);
    if (destination->format != DESTINATION_ORIGINAL) {
        event = as_cloudevent(request, slice_of(id, sizeof id));
    }
    struct slice body = body_of(request, &event, at);
    struct writer writer = {at, 0};
    ADD(&writer, "POST ");
    add_slice(&writer, destination->target);
    ADD(&writer, " HTTP/1.1\r\nHost: ");
    add_slice(&writer, destination->host_header);
    ADD(&writer, "\r\nContent-Length: ");
    add_number(&writer, body.bytes);
    ADD(&writer, "\r\nwebhook-id: ");
    ret_layout->id_at = (uint32_t)writer.bytes;
    add(&writer, id, sizeof id);
    ADD(&writer, "\r\nwebhook-timestamp: ");
    ret_layout->timestamp_at = (uint32_t)writer.bytes;
    ADD(&writer, "0000000000\r\n");
    add_signature(&writer, destination, ret_layout);
    ADD(&writer, "becket-source: ");
    add_slice(&writer, request->source);
    if (request->type.bytes > 0) {
        ADD(&writer, "\r\nbecket-type: ");
        add_escaped(&writer, type_of(request));
    }
    ADD(&writer, "\r\nbecket-attempt: ");
    add_number(&writer, request->attempt);
    ADD(&writer, "\r\nbecket-hops: ");
    add_number(&writer, request_hops(request->head) + 1);
    ADD(&writer, "\r\n");
    add_trace(&writer, request);
    add_format(&writer, destination, &event);
    add_slice(&writer, destination->header_lines);
    add_providers(&writer, &passing);
    ADD(&writer, "\r\n");
    ret_layout->head_bytes = (uint32_t)writer.bytes;
    if (body.bytes > 0) {
        memmove(at + writer.bytes, body.at, body.bytes);
        writer.bytes += body.bytes;
    }
    ret_layout->bytes = (uint32_t)writer.bytes;
    bk_assert(writer.bytes <= request_bytes_max(request));
}

static void put_timestamp(uint8_t *at, int64_t seconds)
{
    for (unsigned i = REQUEST_TIMESTAMP_BYTES; i-- > 0; seconds /= 10) {
        at[i] = (uint8_t)('0' + seconds % 10);
    }
}

void request_sign(uint8_t *at, const struct request_layout *layout,
                  const struct destination *destination, int64_t now_seconds)
{
    bk_assert(layout->secret_count == 0 || layout->secret_count == destination->secret_count);
    put_timestamp(at + layout->timestamp_at, now_seconds < 0 ? 0 : now_seconds % 10000000000LL);
    struct slice parts[5] = {
        slice_of(at + layout->id_at, EVENT_ID_BYTES),
        SLICE("."),
        slice_of(at + layout->timestamp_at, REQUEST_TIMESTAMP_BYTES),
        SLICE("."),
        slice_of(at + layout->head_bytes, layout->bytes - layout->head_bytes),
    };
    for (unsigned i = 0; i < layout->secret_count; i++) {
        uint8_t mac[SHA256_BYTES];
        char text[BASE64_ENCODED(SHA256_BYTES)];
        uint8_t *to = at + layout->signature_at + (size_t)i * (REQUEST_SIGNATURE_BYTES + 1);
        hmac_sha256(&destination->secrets[i], parts, 5, mac);
        size_t bytes = base64_encode(mac, sizeof mac, BASE64_STANDARD, text);
        bk_assert(bytes == REQUEST_SIGNATURE_BYTES - 3);
        memcpy(to, "v1,", 3);
        memcpy(to + 3, text, bytes);
    }
}
