#include "hub/events/events.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/time.h"
#include "http/parse.h"
#include "hub/events/attempt.h"
#include "hub/events/event_id.h"
#include "hub/events/reason.h"
#include "providers/scheme.h"

#include <arpa/inet.h>
#include <stdio.h>

static const char *const state_names[] = {
    [JOURNAL_ACCEPTED] = "accepted",
    [JOURNAL_REJECTED] = "rejected",
    [JOURNAL_DUPLICATE] = "duplicate",
    [JOURNAL_ATTEMPT] = "attempt", /* only where whole journals are shown */
};

static const char *event_state_name(enum journal_record_type type)
{
    return (size_t)type < bk_array_length(state_names) && state_names[type] ? state_names[type]
                                                                            : "unknown";
}

bool event_state_find(struct slice text, enum journal_record_type *ret_type)
{
    for (enum journal_record_type type = JOURNAL_ACCEPTED; type <= JOURNAL_DUPLICATE; type++) {
        if (slice_equal(text, slice_str(state_names[type]))) {
            *ret_type = type;
            return true;
        }
    }
    return false;
}

/* ---- cursor: version, direction, count, then per journal its id and the sequence wanted next, all
 * big-endian, in base64url. Opaque to users. */

#define CURSOR_VERSION   1U
#define CURSOR_HEAD      3U
#define CURSOR_JOURNAL   8U
#define CURSOR_BYTES_MAX (CURSOR_HEAD + READER_JOURNALS_MAX * CURSOR_JOURNAL)

static uint64_t load_big(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static void store_big(uint8_t *at, unsigned bytes, uint64_t value)
{
    for (unsigned i = bytes; i-- > 0; value >>= 8) {
        at[i] = (uint8_t)value;
    }
}

void event_scan_cursor(const struct event_scan *scan, struct buf *text)
{
    const struct reader_merge *merge = &scan->merge;
    uint8_t raw[CURSOR_BYTES_MAX];
    char encoded[BASE64_ENCODED(CURSOR_BYTES_MAX)];
    bk_assert(merge->count <= READER_JOURNALS_MAX);
    raw[0] = CURSOR_VERSION;
    raw[1] = merge->backward;
    raw[2] = (uint8_t)merge->count;
    for (unsigned i = 0; i < merge->count; i++) {
        uint8_t *at = raw + CURSOR_HEAD + i * CURSOR_JOURNAL;
        store_big(at, 2, merge->walks[i].journal);
        store_big(at + 2, 6, merge->walks[i].next);
    }
    size_t bytes = CURSOR_HEAD + merge->count * CURSOR_JOURNAL;
    buf_add(text, encoded, base64_encode(raw, bytes, BASE64_URL, encoded));
}

static struct reader_walk *merge_find(struct reader_merge *merge, uint16_t journal)
{
    for (unsigned i = 0; i < merge->count; i++) {
        if (merge->walks[i].journal == journal) {
            return &merge->walks[i];
        }
    }
    return NULL;
}

static bool merge_add(struct reader_merge *merge, uint16_t journal, uint64_t from)
{
    if (merge->count == READER_JOURNALS_MAX || merge_find(merge, journal) != NULL) {
        return false;
    }
    reader_walk_begin(&merge->walks[merge->count++], journal, merge->backward, from);
    return true;
}

/* Journals that are younger than the cursor hold only younger events: a forward walk wants them
 * all. */
static void merge_add_new(struct reader_merge *merge, struct catalog *catalog)
{
    uint16_t ids[READER_JOURNALS_MAX];
    unsigned count = catalog_journals(catalog, ids, READER_JOURNALS_MAX);
    for (unsigned i = 0; i < count && i < READER_JOURNALS_MAX; i++) {
        (void)merge_add(merge, ids[i], 1);
    }
}

static bool merge_from_cursor(struct reader_merge *merge, struct slice cursor)
{
    uint8_t raw[BASE64_DECODED_MAX(BASE64_ENCODED(CURSOR_BYTES_MAX))];
    size_t bytes;
    if (cursor.bytes > BASE64_ENCODED(CURSOR_BYTES_MAX) ||
        !base64_decode(cursor, BASE64_URL, raw, sizeof raw, &bytes) || bytes < CURSOR_HEAD ||
        raw[0] != CURSOR_VERSION || raw[1] != merge->backward ||
        bytes != CURSOR_HEAD + raw[2] * CURSOR_JOURNAL) {
        return false;
    }
    for (unsigned i = 0; i < raw[2]; i++) {
        const uint8_t *at = raw + CURSOR_HEAD + i * CURSOR_JOURNAL;
        uint64_t next = load_big(at + 2, 6);
        if (merge_find(merge, (uint16_t)load_big(at, 2)) != NULL ||
            !merge_add(merge, (uint16_t)load_big(at, 2), next)) {
            return false;
        }
        merge->ended[i] = merge->backward && next == 0;
    }
    return true;
}

/* ---- scanning */

enum bk_err event_scan_begin(struct event_scan *scan, struct catalog *catalog,
                             struct reader *reader, const struct event_filter *filter, bool forward,
                             struct slice cursor)
{
    memset(scan, 0, sizeof *scan);
    scan->filter = *filter;
    if (cursor.bytes == 0) {
        int64_t from_ns = forward ? filter->since_ns : filter->until_ns;
        return reader_merge_begin(reader, &scan->merge, !forward, from_ns);
    }
    scan->merge.backward = !forward;
    if (!merge_from_cursor(&scan->merge, cursor)) {
        return BK_INVALID;
    }
    if (forward) {
        merge_add_new(&scan->merge, catalog);
    }
    return BK_OK;
}

/* Bodies that are looked into for the account and the resource: a list has a thousand of them. */
#define SUBJECT_BODY_BYTES_MAX 65536U

/* The row of its source's type; of type auto, the one that the request was taken as. */
static const struct scheme_row *record_row(struct hub *hub, const struct journal_record *record,
                                           struct http_head *ret_head)
{
    struct hub_source_name name;
    if (hub == NULL || hub_source_name(hub, record->entry.source, &name) != BK_OK ||
        http_parse_request(record->message, record->entry.head_bytes, ret_head) !=
            HTTP_PARSE_DONE) {
        return NULL;
    }
    const struct scheme_row *row = scheme_row_find(slice_str(name.type));
    return row != NULL && scheme_row_is_auto(row) ? scheme_row_detect(ret_head) : row;
}

/* As the request says it, or the one type that its source's provider sends. */
static struct slice record_type(struct hub *hub, const struct journal_record *record,
                                uint8_t room[EVENT_TYPE_BYTES_MAX])
{
    const struct journal_entry *entry = &record->entry;
    struct http_head head;
    if (entry->type_bytes != 0) {
        return journal_event_type(entry, record->message, room);
    }
    return scheme_row_constant_type(record_row(hub, record, &head));
}

static struct slice record_delivery_id(const struct journal_record *record)
{
    return slice_of(record->message + record->entry.id_at, record->entry.id_bytes);
}

struct slice event_body(const struct journal_record *record)
{
    return slice_of(record->message + record->entry.head_bytes, record->entry.body_bytes);
}

/* Of the source with this number; empty when it was never given out. */
static const struct hub_source_name *source_name(struct event_scan *scan, struct hub *hub,
                                                 uint64_t number)
{
    unsigned slot = (unsigned)number % EVENT_NAMES;
    struct hub_source_name *name = &scan->names[slot].name;
    if (scan->names[slot].number != number || number == 0) {
        scan->names[slot].number = number;
        if (hub_source_name(hub, number, name) != BK_OK) {
            memset(name, 0, sizeof *name);
        }
    }
    return name;
}

static bool type_passes(struct slice want, struct slice type)
{
    bool open = want.bytes > 0 && want.at[want.bytes - 1] == '*';
    return open ? slice_starts(type, slice_of(want.at, want.bytes - 1)) : slice_equal(type, want);
}

static bool passes(struct event_scan *scan, struct hub *hub, const struct journal_record *record)
{
    const struct event_filter *filter = &scan->filter;
    const struct journal_entry *entry = &record->entry;
    if (entry->type == JOURNAL_ATTEMPT) {
        return false; /* what became of an event, not an event */
    }
    if (filter->states != 0 && (filter->states & EVENT_STATE(entry->type)) == 0) {
        return false;
    }
    if (entry->received_ns < filter->since_ns || entry->received_ns >= filter->until_ns) {
        return false;
    }
    if (filter->delivery.bytes != 0 && !slice_equal(filter->delivery, record_delivery_id(record))) {
        return false;
    }
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    if (filter->type.bytes != 0 && !type_passes(filter->type, record_type(hub, record, room))) {
        return false;
    }
    if (filter->source.bytes == 0 && filter->canvas.bytes == 0) {
        return true;
    }
    const struct hub_source_name *name = source_name(scan, hub, entry->source);
    return (filter->source.bytes == 0 || slice_equal(slice_str(name->name), filter->source)) &&
           (filter->canvas.bytes == 0 || slice_equal(slice_str(name->canvas), filter->canvas));
}

/* So far beyond the wanted time that nothing later in this walk can be wanted. */
static bool is_past(const struct event_scan *scan, int64_t received_ns)
{
    const struct event_filter *filter = &scan->filter;
    if (scan->merge.backward) {
        return filter->since_ns != INT64_MIN &&
               received_ns < filter->since_ns - EVENT_CLOCK_SLACK_NS;
    }
    return filter->until_ns != INT64_MAX && received_ns > filter->until_ns + EVENT_CLOCK_SLACK_NS;
}

enum bk_err event_scan_next(struct event_scan *scan, struct hub *hub, struct reader *reader,
                            size_t *budget, struct journal_record *ret_record)
{
    if (scan->passed_until) {
        return BK_NOT_FOUND;
    }
    for (;;) {
        enum bk_err err = reader_merge_next(reader, &scan->merge, budget, ret_record);
        if (err == BK_CORRUPT) {
            scan->damaged++;
            continue;
        }
        if (err != BK_OK) {
            return err;
        }
        if (is_past(scan, ret_record->entry.received_ns)) {
            scan->passed_until = true;
            return BK_NOT_FOUND;
        }
        if (passes(scan, hub, ret_record)) {
            return BK_OK;
        }
    }
}

enum bk_err event_get(struct reader *reader, struct slice id, struct journal_record *ret_record)
{
    struct journal_position position;
    int64_t received_ms;
    if (!event_id_parse(id, &position, &received_ms)) {
        return BK_INVALID;
    }
    enum bk_err err = reader_get(reader, position, ret_record);
    if (err == BK_OK && (ret_record->entry.received_ns / NS_PER_MS != received_ms ||
                         ret_record->entry.type == JOURNAL_ATTEMPT)) {
        return BK_NOT_FOUND; /* a number that another journal of this name once gave out */
    }
    return err;
}

/* ---- JSON */

/* Nothing was added to the innermost object yet (or nothing at all, out of memory). */
static bool is_first(const struct buf *json)
{
    return json->bytes == 0 || json->at[json->bytes - 1] == '{';
}

static void add_text(struct buf *json, const char *name, struct slice text)
{
    json_add_name(json, name);
    json_add_string(json, text);
}

static void add_id(struct buf *json, const char *name, struct journal_position position,
                   int64_t received_ns)
{
    char id[EVENT_ID_BYTES];
    event_id_format(position, received_ns, id);
    add_text(json, name, slice_of(id, sizeof id));
}

static void add_source(struct buf *json, struct hub *hub, const struct journal_record *record)
{
    struct hub_source_name name;
    struct http_head head;
    uint64_t number = record->entry.source;
    if (hub != NULL && hub_source_name(hub, number, &name) == BK_OK) {
        bool any = strcmp(name.type, "auto") == 0;
        const struct scheme_row *row = any ? record_row(hub, record, &head) : NULL;
        add_text(json, "source", slice_str(name.name));
        if (name.canvas[0] != '\0') {
            add_text(json, "canvasId", slice_str(name.canvas));
        }
        add_text(json, "provider", slice_str(row != NULL ? scheme_row_name(row) : name.type));
        return;
    }
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    add_text(json, "source", slice_str(text));
    add_text(json, "provider", SLICE_EMPTY);
}

static void add_remote(struct buf *json, const struct ring_address *peer)
{
    char host[INET6_ADDRSTRLEN] = "";
    json_add_name(json, "remote");
    if (peer->family == 4 && inet_ntop(AF_INET, peer->at, host, sizeof host)) {
        buf_printf(json, "\"%s:%u\"", host, peer->port);
    } else if (peer->family == 6 && inet_ntop(AF_INET6, peer->at, host, sizeof host)) {
        buf_printf(json, "\"[%s]:%u\"", host, peer->port);
    } else { /* becket's own doing */
        buf_add_str(json, "\"\"");
    }
}

/* A header before this one has its name. */
static bool is_further(const struct http_head *head, unsigned index)
{
    struct slice name = http_header_name(head, &head->headers[index]);
    for (unsigned i = 0; i < index; i++) {
        if (slice_equal_nocase(http_header_name(head, &head->headers[i]), name)) {
            return true;
        }
    }
    return false;
}

/* Values of headers with one name belong together (RFC 9110 5.3); the first one's spelling is kept.
 */
static void add_header(struct buf *json, const struct http_head *head, unsigned index)
{
    const struct http_header *header = &head->headers[index];
    struct slice name = http_header_name(head, header);
    if (is_further(head, index)) {
        return;
    }
    struct buf joined;
    buf_init(&joined, HTTP_HEAD_BYTES_MAX * 2);
    buf_add_slice(&joined, http_header_value(head, header));
    for (unsigned i = index + 1; i < head->header_count; i++) {
        if (slice_equal_nocase(http_header_name(head, &head->headers[i]), name)) {
            buf_add_str(&joined, ", ");
            buf_add_slice(&joined, http_header_value(head, &head->headers[i]));
        }
    }
    if (!is_first(json)) {
        buf_add_byte(json, ',');
    }
    json_add_string(json, name);
    buf_add_byte(json, ':');
    json_add_string(json, buf_slice(&joined));
    buf_fini(&joined);
}

/* What is joined above cannot be taken apart again: a value may have commas of its own. */
static void add_header_lines(struct buf *json, const struct http_head *head)
{
    struct buf line;
    buf_init(&line, HTTP_HEAD_BYTES_MAX * 2);
    json_add_name(json, "headerLines");
    buf_add_byte(json, '[');
    for (unsigned i = 0; i < head->header_count && !json->overflow; i++) {
        buf_reset(&line);
        buf_add_slice(&line, http_header_name(head, &head->headers[i]));
        buf_add_str(&line, ": ");
        buf_add_slice(&line, http_header_value(head, &head->headers[i]));
        if (i > 0) {
            buf_add_byte(json, ',');
        }
        json_add_string(json, buf_slice(&line));
    }
    buf_add_byte(json, ']');
    buf_fini(&line);
}

static void add_head(struct buf *json, const struct journal_record *record)
{
    struct http_head head;
    if (http_parse_request(record->message, record->entry.head_bytes, &head) != HTTP_PARSE_DONE) {
        return; /* cannot be: only parsed heads are appended */
    }
    add_text(json, "method",
             slice_of(head.at + (head.target_at - 1 - head.method_bytes), head.method_bytes));
    add_text(json, "target", http_target(&head));
    const struct http_header *type = http_find(&head, SLICE("content-type"), NULL);
    add_text(json, "contentType", type ? http_header_value(&head, type) : SLICE_EMPTY);
    json_add_name(json, "headers");
    buf_add_byte(json, '{');
    bool repeated = false;
    for (unsigned i = 0; i < head.header_count && !json->overflow; i++) {
        add_header(json, &head, i);
        repeated = repeated || is_further(&head, i);
    }
    buf_add_byte(json, '}');
    if (repeated) {
        add_header_lines(json, &head);
    }
}

static void add_state(struct buf *json, const struct journal_entry *entry, const uint8_t *message)
{
    add_text(json, "state", slice_str(event_state_name(entry->type)));
    if (entry->type == JOURNAL_REJECTED) {
        enum scheme_verdict verdict = entry->reason;
        bool known = verdict < SCHEME_VERDICT_COUNT, filtered = entry->reason == EVENT_FILTERED;
        bool failed = entry->reason == EVENT_FILTER_FAILED;
        add_text(json, "reason",
                 slice_str(known      ? scheme_verdict_name(verdict)
                           : filtered ? "filtered"
                           : failed   ? "filter_failed"
                                      : "unknown"));
        add_text(json, "message",
                 slice_str(known      ? scheme_verdict_text(verdict)
                           : filtered ? "genuine, but none of the source's events takes it"
                           : failed   ? "genuine, but an expression of the source's events failed"
                                      : ""));
    }
    struct attempt attempt;
    if (attempt_decode(entry, message, &attempt)) {
        add_id(json, "attemptOf", attempt.event, attempt.event_ns);
        json_add_name(json, "destination");
        buf_printf(json, "%llu,\"attempt\":%u,\"status\":%u",
                   (unsigned long long)attempt.destination, attempt.number, attempt.status);
        add_text(json, "outcome", slice_str(attempt_outcome_text(attempt.outcome)));
        add_text(json, "reason", attempt.why);
    }
    if (entry->type == JOURNAL_ACCEPTED || entry->type == JOURNAL_DUPLICATE) {
        add_text(json, "reason", SLICE_EMPTY);
    }
    if (entry->type == JOURNAL_DUPLICATE) {
        add_id(json, "duplicateOf", journal_position_unpack(entry->original), entry->original_ns);
    }
}

/* Whose event it is and what it is about. */
static void add_subject(struct buf *json, struct hub *hub, const struct journal_record *record)
{
    struct http_head head;
    struct scheme_subject subject;
    const struct scheme_row *row =
        record->entry.body_bytes <= SUBJECT_BODY_BYTES_MAX ? record_row(hub, record, &head) : NULL;
    if (row == NULL) {
        return;
    }
    struct scheme_request request = {.head = &head, .body = event_body(record)};
    scheme_subject(row, &request, &subject);
    if (subject.account.bytes != 0) {
        add_text(json, "account", subject.account);
    }
    if (subject.resource.bytes != 0) {
        add_text(json, "resource", subject.resource);
    }
}

void event_json(struct hub *hub, const struct journal_record *record, struct buf *json)
{
    const struct journal_entry *entry = &record->entry;
    char received[25];
    time_format_rfc3339(entry->received_ns, received);
    buf_add_byte(json, '{');
    add_id(json, "id", record->position, entry->received_ns);
    add_source(json, hub, record);
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    add_text(json, "type", record_type(hub, record, room));
    add_text(json, "deliveryId", record_delivery_id(record));
    add_subject(json, hub, record);
    add_text(json, "receivedAt", slice_str(received));
    add_state(json, entry, record->message);
    add_head(json, record);
    json_add_name(json, "size");
    buf_printf(json, "%u", entry->body_bytes);
    if ((entry->flags & JOURNAL_CUT) != 0) {
        json_add_name(json, "cut");
        buf_add_str(json, "true");
    }
    add_remote(json, &entry->peer);
    buf_add_byte(json, '}');
}
