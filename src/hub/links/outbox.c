#include "hub/links/outbox.h"

#include "base/log.h"
#include "base/time.h"
#include "http/parse.h"
#include "hub/deliveries/request.h"
#include "hub/events/events.h"
#include "hub/hub_private.h"
#include "hub/links/entry_private.h"
#include "hub/operations/integration_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define RETRY_NS          NS_PER_SECOND
#define MESSAGE_BYTES_MAX 66000U
#define TARGET            "/entries/" /* of the event; the destination's number behind it */
#define LOOK_BYTES        (256U << 10)

/* "v/" */
struct row {
    uint64_t number, destination;
};

/* One row on its way to the journal and back. */
struct parcel {
    struct ring_mail mail;
    struct outbox *outbox;
    struct reactor_append append;
    struct row row;
    bool durable; /* its event is; the delivery is not stored yet */
    uint8_t message[MESSAGE_BYTES_MAX];
};

struct outbox {
    struct outbox_config config;
    struct parcel *parcels[OUTBOX_PARCELS]; /* NULL = free */
    int64_t next_ns;
    /* What a crash left: is there an event of it already? */
    struct reader *reader; /* NULL: that has been looked for */
    struct event_scan scan;
};

static void look_begin(struct outbox *outbox);
static void look_end(struct outbox *outbox);

enum bk_err outbox_open(const struct outbox_config *config, struct outbox **ret_outbox)
{
    struct outbox *outbox = calloc(1, sizeof *outbox);
    if (!outbox) {
        return BK_NO_MEMORY;
    }
    outbox->config = *config;
    config->hub->outbox_filled = true; /* what a crash left */
    outbox->next_ns = INT64_MAX;
    *ret_outbox = outbox;
    look_begin(outbox);
    return BK_OK;
}

void outbox_close(struct outbox *outbox)
{
    if (!outbox) {
        return;
    }
    for (unsigned i = 0; i < OUTBOX_PARCELS; i++) {
        free(outbox->parcels[i]);
    }
    look_end(outbox);
    free(outbox);
}

static void free_parcel(struct parcel *parcel)
{
    struct outbox *outbox = parcel->outbox;
    for (unsigned i = 0; i < OUTBOX_PARCELS; i++) {
        outbox->parcels[i] = outbox->parcels[i] == parcel ? NULL : outbox->parcels[i];
    }
    free(parcel);
}

/* ---- when it is durable */

static enum bk_err drop_row(struct store_txn *txn, void *context)
{
    const struct row *row = context;
    struct key key;
    key_outbox(&key, row->number, row->destination);
    return store_delete(txn, key_slice(&key));
}

static enum bk_err add_delivery(struct outbox *outbox, struct row *row, uint64_t position,
                                const struct journal_entry *event, const uint8_t *message)
{
    struct retry_row retry = {.destination = row->destination,
                              .due_ms = dispatch_clock_ms(outbox->config.dispatch),
                              .position = position,
                              .event_ns = event->received_ns,
                              .source = event->source};
    dispatch_in_order(outbox->config.dispatch, event, message, &retry);
    return dispatch_add_with(outbox->config.dispatch, &retry, 1, drop_row, row);
}

/* The event is durable: its delivery. */
static enum bk_err hand_over(struct parcel *parcel)
{
    return add_delivery(parcel->outbox, &parcel->row,
                        journal_position_pack(parcel->append.position), &parcel->append.entry,
                        parcel->message);
}

static void returned(struct ring_mail *mail)
{
    struct parcel *parcel = bk_container_of(mail, struct parcel, mail);
    struct outbox *outbox = parcel->outbox;
    enum bk_err err = parcel->append.err;
    parcel->durable = err == BK_OK;
    err = err == BK_OK ? hand_over(parcel) : err;
    if (err != BK_OK && err != BK_BUSY && err != BK_CLOSED) {
        log_event(LOG_ERROR, "an entry waits for its way out", LOG_Z("why", bk_err_text(err)));
    }
    outbox->next_ns = INT64_MIN; /* there may be more */
    if (err != BK_OK) {
        outbox->next_ns = parcel->append.entry.received_ns + RETRY_NS;
    }
    if (err == BK_OK || !parcel->durable) {
        free_parcel(parcel);
    }
}

/* Those whose deliveries the store did not take. False: it takes none still. */
static bool hand_over_rest(struct outbox *outbox)
{
    for (unsigned i = 0; i < OUTBOX_PARCELS; i++) {
        struct parcel *parcel = outbox->parcels[i];
        if (parcel && parcel->durable) {
            if (hand_over(parcel) != BK_OK) {
                return false;
            }
            free_parcel(parcel);
        }
    }
    return true;
}

/* ---- on the reactor */

static void appended(struct reactor_append *append)
{
    struct parcel *parcel = bk_container_of(append, struct parcel, append);
    const struct outbox_config *config = &parcel->outbox->config;
    parcel->mail.run = returned;
    ring_post(config->ring, config->control, &parcel->mail);
}

static void arrived(struct ring_mail *mail)
{
    struct parcel *parcel = bk_container_of(mail, struct parcel, mail);
    reactor_append(parcel->outbox->config.reactor, &parcel->append);
}

/* ---- from a row to a parcel */

struct source_wanted {
    struct slice canvas;
    uint64_t number;
};

/* The number under which entries of this canvas are events. */
static enum bk_err make_source(struct store_txn *txn, void *context)
{
    struct source_wanted *wanted = context;
    struct buf address;
    struct key key;
    uint8_t at[8];
    enum bk_err err = store_next_number(txn, KEY_NUMBER, &wanted->number);
    if (err != BK_OK) {
        return err;
    }
    buf_init(&address, 4096);
    buf_add_slice(&address, wanted->canvas);
    buf_add(&address, "\0" OUTBOX_SOURCE "\0becket", sizeof "\0" OUTBOX_SOURCE "\0becket" - 1);
    key_number(&key, wanted->number);
    err = address.overflow ? BK_NO_MEMORY : store_put(txn, key_slice(&key), buf_slice(&address));
    buf_fini(&address);
    if (err == BK_OK) {
        key_put_u64(at, wanted->number);
        key_entry_source(&key, wanted->canvas);
        err = store_put(txn, key_slice(&key), slice_of(at, sizeof at));
    }
    return err;
}

/* The message: a head that says what a provider's would, and the entry. */
static bool write_message(struct parcel *parcel, struct slice id, unsigned hops, struct slice json)
{
    static const char before_id[] = "\r\nbecket-entry: ";
    char before_type[96];
    struct journal_entry *entry = &parcel->append.entry;
    int type_at = snprintf(before_type, sizeof before_type,
                           "POST " TARGET "%llu HTTP/1.1\r\nhost: becket\r\nbecket-type: ",
                           (unsigned long long)parcel->row.destination);
    int head =
        snprintf((char *)parcel->message, sizeof parcel->message,
                 "%s%s%s%.*s\r\nbecket-hops: %u\r\n"
                 "content-type: application/json\r\n\r\n",
                 before_type, OUTBOX_TYPE, before_id, (int)id.bytes, (const char *)id.at, hops);
    if (head < 0 || (size_t)head + json.bytes > sizeof parcel->message) {
        return false;
    }
    memcpy(parcel->message + head, json.at, json.bytes);
    entry->type_at = (uint32_t)type_at;
    entry->type_bytes = sizeof OUTBOX_TYPE - 1;
    entry->id_at = entry->type_at + entry->type_bytes + (uint32_t)sizeof before_id - 1;
    entry->id_bytes = (uint16_t)id.bytes;
    entry->head_bytes = (uint32_t)head;
    entry->body_bytes = (uint32_t)json.bytes;
    return true;
}

/* The row's entry. BK_NOT_FOUND: there is none. *ret_source: 0 = its canvas has no number yet. */
static enum bk_err read_entry(struct store_txn *txn, struct parcel *parcel,
                              char ret_canvas[NAME_BYTES_MAX + 1], uint64_t *ret_source)
{
    struct integration_view view;
    struct slice json, value;
    struct key key;
    enum bk_err err = entry_stored(txn, parcel->row.number, &json);
    if (err == BK_OK) {
        err = integration_view_open(json, &view);
    }
    if (err != BK_OK) {
        return err;
    }
    struct slice canvas = integration_text(&view, "canvasId");
    uint64_t hops = yyjson_mut_get_uint(provider_get(view.spec, "hops")); /* 0: it has none */
    bool good = canvas.bytes <= NAME_BYTES_MAX &&
                write_message(parcel, integration_text(&view, "id"),
                              hops < REQUEST_HOPS_MAX ? (unsigned)hops : REQUEST_HOPS_MAX, json);
    snprintf(ret_canvas, NAME_BYTES_MAX + 1, "%.*s", good ? (int)canvas.bytes : 0,
             (const char *)canvas.at);
    integration_view_close(&view);
    key_entry_source(&key, slice_str(ret_canvas));
    err = good ? store_get(txn, key_slice(&key), &value) : BK_CORRUPT;
    *ret_source = err == BK_OK && value.bytes == 8 ? key_get_u64(value.at) : 0;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static enum bk_err send_parcel(struct outbox *outbox, struct parcel *parcel, int64_t now_ns)
{
    struct hub *hub = outbox->config.hub;
    struct store_txn *txn;
    char canvas[NAME_BYTES_MAX + 1];
    struct source_wanted wanted;
    if (!route_table_destination(outbox->config.routes, parcel->row.destination)) {
        return BK_NOT_FOUND; /* it was deleted, and its links before */
    }
    parcel->outbox = outbox;
    parcel->append.message = parcel->message;
    parcel->append.done = appended;
    parcel->append.entry = (struct journal_entry){.type = JOURNAL_ACCEPTED, .received_ns = now_ns};
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        err = read_entry(txn, parcel, canvas, &wanted.number);
        store_read_end(txn);
    }
    if (err == BK_OK && wanted.number == 0) {
        wanted.canvas = slice_str(canvas);
        err = store_update(hub->store, make_source, &wanted);
    }
    if (err == BK_OK) {
        parcel->append.entry.source = wanted.number;
        parcel->mail.run = arrived;
        ring_post(outbox->config.control, outbox->config.ring, &parcel->mail);
    }
    return err;
}

struct rows {
    const struct outbox *outbox;
    unsigned count;
    struct row at[OUTBOX_PARCELS];
};

static bool is_out(const struct outbox *outbox, uint64_t number, uint64_t destination)
{
    for (unsigned i = 0; i < OUTBOX_PARCELS; i++) {
        const struct parcel *parcel = outbox->parcels[i];
        if (parcel && parcel->row.number == number && parcel->row.destination == destination) {
            return true;
        }
    }
    return false;
}

static bool note_row(void *context, struct slice key, struct slice value)
{
    struct rows *rows = context;
    uint64_t number = key_get_u64(key.at + 2), destination = key_get_u64(key.at + 10);
    (void)value;
    if (!is_out(rows->outbox, number, destination)) {
        rows->at[rows->count].number = number;
        rows->at[rows->count++].destination = destination;
    }
    return rows->count < OUTBOX_PARCELS;
}

static struct parcel *take_parcel(struct outbox *outbox)
{
    for (unsigned i = 0; i < OUTBOX_PARCELS; i++) {
        if (!outbox->parcels[i]) {
            return outbox->parcels[i] = calloc(1, sizeof(struct parcel));
        }
    }
    return NULL;
}

static void send_rows(struct outbox *outbox, const struct rows *rows, int64_t now_ns)
{
    for (unsigned i = 0; i < rows->count; i++) {
        struct parcel *parcel = take_parcel(outbox);
        if (!parcel) {
            return; /* one that comes back takes the next row */
        }
        parcel->outbox = outbox;
        parcel->row.number = rows->at[i].number;
        parcel->row.destination = rows->at[i].destination;
        enum bk_err err = send_parcel(outbox, parcel, now_ns);
        if (err == BK_NOT_FOUND || err == BK_CORRUPT) {
            err = store_update(outbox->config.hub->store, drop_row, &parcel->row);
            free_parcel(parcel);
            outbox->next_ns = now_ns;
        } else if (err != BK_OK) {
            free_parcel(parcel);
        }
        if (err != BK_OK) {
            log_event(LOG_ERROR, "an entry waits for its way out", LOG_Z("why", bk_err_text(err)));
            outbox->next_ns = now_ns + RETRY_NS;
            return;
        }
    }
}

/* ---- what a crash left */

/* When the oldest of the rows' entries was made; INT64_MAX = there are no rows. */
struct oldest {
    struct store_txn *txn;
    int64_t made_ns;
};

static bool look_at_row(void *context, struct slice key, struct slice value)
{
    struct oldest *oldest = context;
    struct integration_view entry;
    struct slice json;
    int64_t made_ns;
    (void)value;
    if (entry_stored(oldest->txn, key_get_u64(key.at + 2), &json) != BK_OK ||
        integration_view_open(json, &entry) != BK_OK) {
        return true; /* its entry was deleted */
    }
    /* One that waited for its author goes out when it is changed: rows are not in order of time. */
    struct slice updated = integration_text(&entry, "updatedAt");
    struct slice stamp = updated.bytes > 0 ? updated : integration_text(&entry, "createdAt");
    if (time_parse_rfc3339(stamp, &made_ns) == BK_OK && made_ns < oldest->made_ns) {
        oldest->made_ns = made_ns;
    }
    integration_view_close(&entry);
    return true;
}

static void look_end(struct outbox *outbox)
{
    if (outbox->reader) {
        reader_close(outbox->reader);
        outbox->reader = NULL;
    }
}

static void look_broken(struct outbox *outbox, enum bk_err err)
{
    log_event(LOG_ERROR, "entries on their way out may be events twice",
              LOG_Z("why", bk_err_text(err)));
    look_end(outbox);
}

static void look_begin(struct outbox *outbox)
{
    struct oldest oldest = {.made_ns = INT64_MAX};
    struct key prefix;
    struct event_filter filter = {.source = SLICE(OUTBOX_SOURCE),
                                  .states = EVENT_STATE(JOURNAL_ACCEPTED),
                                  .until_ns = INT64_MAX};
    enum bk_err err = store_read(outbox->config.hub->store, &oldest.txn);
    if (err == BK_OK) {
        key_start(&prefix, 'v');
        err = store_walk(oldest.txn, key_slice(&prefix), SLICE_EMPTY, look_at_row, &oldest);
        store_read_end(oldest.txn);
    }
    if (err == BK_OK && oldest.made_ns == INT64_MAX) {
        return;
    }
    filter.since_ns = oldest.made_ns - EVENT_CLOCK_SLACK_NS;
    err = err == BK_OK ? reader_open(outbox->config.catalog, &outbox->reader) : err;
    if (err == BK_OK) {
        err = event_scan_begin(&outbox->scan, outbox->config.catalog, outbox->reader, &filter, true,
                               SLICE_EMPTY);
    }
    if (err != BK_OK) {
        look_broken(outbox, err);
    }
}

/* The row that an event was made of. False: it is none of ours. */
static bool row_of(struct outbox *outbox, const struct journal_record *record, struct row *ret_row)
{
    struct slice id = slice_of(record->message + record->entry.id_at, record->entry.id_bytes);
    struct http_head head;
    struct store_txn *txn;
    struct slice json, value;
    struct key key;
    if (http_parse_request(record->message, record->entry.head_bytes, &head) != HTTP_PARSE_DONE) {
        return false;
    }
    struct slice target = slice_of(record->message + head.target_at, head.target_bytes);
    if (!slice_starts(target, SLICE(TARGET)) ||
        store_read(outbox->config.hub->store, &txn) != BK_OK) {
        return false;
    }
    ret_row->destination = 0;
    for (size_t i = sizeof TARGET - 1; i < target.bytes && i < sizeof TARGET + 18; i++) {
        ret_row->destination = ret_row->destination * 10 + (uint64_t)(target.at[i] - '0');
    }
    enum bk_err err = entry_find(txn, id, &ret_row->number, &json);
    if (err == BK_OK) {
        key_outbox(&key, ret_row->number, ret_row->destination);
        err = store_get(txn, key_slice(&key), &value);
    }
    store_read_end(txn);
    return err == BK_OK;
}

/* A part of it. False: that was all. */
static bool look_on(struct outbox *outbox)
{
    size_t budget = LOOK_BYTES;
    struct journal_record record;
    struct row row;
    enum bk_err err;
    while ((err = event_scan_next(&outbox->scan, outbox->config.hub, outbox->reader, &budget,
                                  &record)) == BK_OK) {
        if (row_of(outbox, &record, &row)) {
            enum bk_err added = add_delivery(outbox, &row, journal_position_pack(record.position),
                                             &record.entry, record.message);
            if (added != BK_OK) { /* it becomes another event */
                log_event(LOG_ERROR, "an entry waits for its way out",
                          LOG_Z("why", bk_err_text(added)));
            }
        }
    }
    if (err == BK_AGAIN) {
        return true;
    }
    if (err != BK_NOT_FOUND) {
        look_broken(outbox, err);
    }
    look_end(outbox);
    return false;
}

int64_t outbox_run(struct outbox *outbox, int64_t now_ns)
{
    struct hub *hub = outbox->config.hub;
    struct store_txn *txn;
    struct key prefix;
    struct rows rows = {.outbox = outbox};
    if (hub->outbox_filled) {
        hub->outbox_filled = false;
        outbox->next_ns = now_ns;
    }
    if (outbox->reader && look_on(outbox)) {
        return now_ns;
    }
    if (now_ns < outbox->next_ns) {
        return outbox->next_ns;
    }
    outbox->next_ns = INT64_MAX;
    if (!hand_over_rest(outbox) || store_read(hub->store, &txn) != BK_OK) {
        outbox->next_ns = now_ns + RETRY_NS;
        return outbox->next_ns;
    }
    key_start(&prefix, 'v');
    bool walked = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, note_row, &rows) == BK_OK;
    store_read_end(txn);
    if (walked) {
        send_rows(outbox, &rows, now_ns);
    } else {
        outbox->next_ns = now_ns + RETRY_NS;
    }
    return outbox->next_ns;
}
