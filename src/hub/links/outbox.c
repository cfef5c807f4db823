#include "hub/links/outbox.h"

#include "base/log.h"
#include "base/time.h"
#include "hub/deliveries/attempt.h"
#include "hub/deliveries/request.h"
#include "hub/hub_private.h"
#include "hub/links/entry.h"
#include "hub/operations/integration_view.h"

#include <stdio.h>
#include <stdlib.h>

#define RETRY_NS          NS_PER_SECOND
#define MESSAGE_BYTES_MAX 66000U

/* One row on its way to the journal and back. */
struct parcel {
    struct ring_mail mail;
    struct outbox *outbox;
    struct reactor_append append;
    uint64_t number, destination;
    uint8_t message[MESSAGE_BYTES_MAX];
};

struct outbox {
    struct outbox_config config;
    struct parcel *parcels[OUTBOX_PARCELS]; /* NULL = free */
    int64_t next_ns;
};

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
    const struct parcel *parcel = context;
    struct key key;
    key_outbox(&key, parcel->number, parcel->destination);
    return store_delete(txn, key_slice(&key));
}

static void returned(struct ring_mail *mail)
{
    struct parcel *parcel = bk_container_of(mail, struct parcel, mail);
    struct outbox *outbox = parcel->outbox;
    const struct outbox_config *config = &outbox->config;
    const struct reactor_append *append = &parcel->append;
    enum bk_err err = append->err;
    if (err == BK_OK) {
        struct retry_row row = {.destination = parcel->destination,
                                .due_ms = dispatch_clock_ms(config->dispatch),
                                .position = journal_position_pack(append->position),
                                .event_ns = append->entry.received_ns,
                                .source = append->entry.source};
        err = dispatch_add_with(config->dispatch, &row, 1, drop_row, parcel);
    }
    if (err != BK_OK && err != BK_BUSY && err != BK_CLOSED) {
        log_event(LOG_ERROR, "an entry waits for its way out", LOG_Z("why", bk_err_text(err)));
    }
    outbox->next_ns = INT64_MIN; /* there may be more */
    if (err != BK_OK) {
        outbox->next_ns = append->entry.received_ns + RETRY_NS;
    }
    free_parcel(parcel);
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
    static const char before_type[] = "POST /entries HTTP/1.1\r\nhost: becket\r\nbecket-type: ";
    static const char before_id[] = "\r\nbecket-entry: ";
    struct journal_entry *entry = &parcel->append.entry;
    int head =
        snprintf((char *)parcel->message, sizeof parcel->message,
                 "%s%s%s%.*s\r\nbecket-hops: %u\r\n"
                 "content-type: application/json\r\n\r\n",
                 before_type, OUTBOX_TYPE, before_id, (int)id.bytes, (const char *)id.at, hops);
    if (head < 0 || (size_t)head + json.bytes > sizeof parcel->message) {
        return false;
    }
    memcpy(parcel->message + head, json.at, json.bytes);
    entry->type_at = sizeof before_type - 1;
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
    enum bk_err err = entry_stored(txn, parcel->number, &json);
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
    if (!route_table_destination(outbox->config.routes, parcel->destination)) {
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
    struct {
        uint64_t number, destination;
    } at[OUTBOX_PARCELS];
};

static bool is_out(const struct outbox *outbox, uint64_t number, uint64_t destination)
{
    for (unsigned i = 0; i < OUTBOX_PARCELS; i++) {
        const struct parcel *parcel = outbox->parcels[i];
        if (parcel && parcel->number == number && parcel->destination == destination) {
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
        parcel->number = rows->at[i].number;
        parcel->destination = rows->at[i].destination;
        enum bk_err err = send_parcel(outbox, parcel, now_ns);
        if (err == BK_NOT_FOUND || err == BK_CORRUPT) {
            err = store_update(outbox->config.hub->store, drop_row, parcel);
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
    if (now_ns < outbox->next_ns) {
        return outbox->next_ns;
    }
    outbox->next_ns = INT64_MAX;
    if (store_read(hub->store, &txn) != BK_OK) {
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
