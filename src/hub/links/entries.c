#include "hub/links/entries.h"

#include "base/array.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"
#include "http/parse.h"
#include "hub/deliveries/request.h"
#include "hub/events/event_id.h"
#include "hub/events/events.h"
#include "hub/hub_private.h"
#include "hub/links/entry.h"
#include "hub/links/entry_drafts.h"
#include "hub/links/link.h"
#include "hub/links/link_feed.h"
#include "hub/links/link_find.h"
#include "hub/links/link_index.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/operation.h"
#include "hub/people/people_index.h"

#include <stdio.h>
#include <stdlib.h>

#define RECORDS_A_TURN  64U
#define PENDING_TURN    256U /* then a turn ends; the event that was begun is taken whole */
#define ARENA_BYTES_MAX (32U << 20)
#define RETRY_NS        (5 * NS_PER_SECOND)
#define LATE_NS         (3600 * NS_PER_SECOND)
#define CURSOR_NS       (30 * NS_PER_SECOND)
#define TOLD_NS         (60 * NS_PER_SECOND)

struct entries {
    struct hub *hub;
    struct catalog *catalog;
    struct reader *reader;
    struct event_scan scan;
    struct link_feed *feeds[READER_JOURNALS_MAX];
    unsigned feed_count;
    unsigned taken[READER_JOURNALS_MAX]; /* of each feed, in this turn */
    bool active;
    bool scanning; /* the journals are read; else only what the feeds name */
    bool moved;    /* since the cursor was stored */
    bool started;  /* the first look is over */
    int64_t next_ns;
    int64_t cursor_ns; /* when the cursor was stored last */
    int64_t now_ns;
    int64_t told_ns; /* why an event became no entry is not said again before */
    struct filter_scratch *scratch;
    struct arena arena; /* of a turn */
    size_t count, size;
    struct entry *pending; /* of the largest turn */
    bool full;             /* no memory for more of them: the turn is undone */
};

enum bk_err entries_open(struct hub *hub, struct catalog *catalog, struct link_feed *const *feeds,
                         unsigned feed_count, struct entries **ret_entries)
{
    struct entries *entries = calloc(1, sizeof *entries);
    if (!entries) {
        return BK_NO_MEMORY;
    }
    enum bk_err err = link_note_all(hub);
    if (err != BK_OK) {
        free(entries);
        return err;
    }
    bk_assert(feed_count <= READER_JOURNALS_MAX);
    entries->hub = hub;
    entries->catalog = catalog;
    entries->feed_count = feed_count;
    for (unsigned i = 0; i < feed_count; i++) {
        entries->feeds[i] = feeds[i];
    }
    arena_init(&entries->arena, ARENA_BYTES_MAX);
    hub->links_changed = true;
    *ret_entries = entries;
    return BK_OK;
}

void entries_close(struct entries *entries)
{
    if (!entries) {
        return;
    }
    if (entries->reader) {
        reader_close(entries->reader);
    }
    if (entries->scratch) {
        filter_scratch_close(entries->scratch);
    }
    arena_fini(&entries->arena);
    free(entries->pending);
    free(entries);
}

/* ---- who did it */

static struct slice find_author(struct store_txn *txn, struct slice canvas,
                                struct slice integration, const struct entry_draft *draft,
                                struct arena *arena)
{
    struct people_called called = {draft->uid, draft->nickname, draft->email};
    struct slice own = canvas;
    struct hub_address address;
    struct record record;
    struct integration_view person;
    if (integration.bytes == 0) { /* a generic link: a user of ours by name */
        return resource_name_valid(draft->uid) &&
                       hub_record(txn, RESOURCE_USER, canvas, draft->uid, &record) == BK_OK
                   ? draft->uid
                   : SLICE_EMPTY;
    }
    if (hub_record(txn, RESOURCE_INTEGRATION, canvas, integration, &record) != BK_OK) {
        canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
    }
    if (people_index_find(txn, canvas, integration, own, &called, &address) != BK_OK ||
        hub_record(txn, RESOURCE_INTEGRATION_USER, slice_str(address.canvas),
                   slice_str(address.name), &record) != BK_OK ||
        integration_view_open(record.spec, &person) != BK_OK) {
        return SLICE_EMPTY;
    }
    struct slice user = link_kept(arena, integration_text(&person, "user/name"));
    integration_view_close(&person);
    return user;
}

/* ---- from an event to what is pending */

/* What a generic link's expressions are asked about. */
struct asked {
    struct slice link, body, type, source;
    const char *event;
};

/* Nobody asks about an event that just becomes no entry; one line a minute says why. */
static void tell_failed(struct entries *entries, const struct asked *asked, const char *field,
                        const char *why)
{
    if (entries->now_ns >= entries->told_ns || entries->told_ns > entries->now_ns + TOLD_NS) {
        entries->told_ns = entries->now_ns + TOLD_NS;
        log_event(LOG_WARN, "a link's expression fails on an event", LOG_S("link", asked->link),
                  LOG_Z("field", field), LOG_Z("eventId", asked->event), LOG_Z("why", why));
    }
}

/* What the link's `entry.<field>` gives; false when it fails. */
static bool evaluate(struct entries *entries, const struct asked *asked, const char *field,
                     struct slice expression, struct slice *ret_text)
{
    struct filter *filter;
    struct filter_error error;
    struct filter_event event;
    struct filter_value value;
    struct slice text;
    if (!entries->scratch &&
        filter_scratch_open(FILTER_SCRATCH_BYTES, &entries->scratch) != BK_OK) {
        return false;
    }
    if (filter_compile(expression, FILTER_DATA, false, &filter, &error) != BK_OK) {
        return false;
    }
    filter_event_init(&event, entries->scratch, NULL, asked->body, asked->type, asked->source);
    bool found = filter_evaluate(filter, &event, &value);
    bool good = found && filter_value_text(&event, &value, &text);
    *ret_text = good ? link_kept(&entries->arena, text) : SLICE_EMPTY;
    if (!good) {
        tell_failed(entries, asked, field, found ? "it gives a list or a map" : event.why);
    }
    filter_free(filter);
    return good;
}

static void read_generic(struct entries *entries, const struct integration_view *link,
                         const struct asked *asked, struct entry_drafts *drafts)
{
    struct slice when = integration_text(link, "entry/when");
    struct slice author = integration_text(link, "entry/author");
    struct slice body = integration_text(link, "entry/body"), text;
    drafts->count = 0;
    if (when.bytes > 0 && (!evaluate(entries, asked, "when", when, &text) ||
                           !slice_equal(text, SLICE("true")))) {
        return;
    }
    if (body.bytes == 0 || !evaluate(entries, asked, "body", body, &text) || text.bytes == 0) {
        return;
    }
    struct entry_draft *draft = &drafts->at[drafts->count++];
    *draft = (struct entry_draft){.body = SLICE_EMPTY, .nobody = author.bytes == 0};
    entry_draft_text(draft, text, &entries->arena);
    if (author.bytes > 0 && evaluate(entries, asked, "author", author, &text)) {
        draft->uid = draft->nickname = draft->email = text;
    }
    drafts->count -= draft->body.bytes == 0;
}

/* The same commit, or the same part of the same event, is the same entry of a team. */
static void make_id(const struct entry *pending, const struct entry_draft *draft, unsigned index,
                    uint8_t ret_id[16])
{
    struct buf text;
    uint8_t digest[SHA256_BYTES];
    buf_init(&text, 16384);
    buf_add_slice(&text, pending->canvas);
    buf_add_byte(&text, 0);
    buf_add_slice(&text, pending->team.bytes > 0 ? pending->team : pending->user);
    buf_add_byte(&text, pending->team.bytes > 0 ? 'T' : 'U');
    if (draft->part.bytes > 0) {
        buf_add_slice(&text, draft->part);
    } else {
        buf_printf(&text, "%s/%u", pending->event, index);
    }
    sha256(buf_slice(&text), digest);
    memcpy(ret_id, digest, 16);
    buf_fini(&text);
}

static void add_pending(struct entries *entries, struct store_txn *txn,
                        const struct integration_view *link, const struct entry *common,
                        const struct entry_draft *draft, unsigned index)
{
    void *at = entries->pending;
    entries->full |=
        !array_reserve(&at, &entries->size, entries->count + 1, sizeof *entries->pending);
    entries->pending = at;
    if (entries->full) {
        return;
    }
    struct entry *pending = &entries->pending[entries->count];
    struct arena *arena = &entries->arena;
    *pending = *common;
    pending->body = draft->body;
    pending->status = draft->status;
    struct slice user = integration_text(link, "user/name");
    pending->user =
        find_author(txn, pending->canvas, integration_text(link, "integration/name"), draft, arena);
    if (pending->user.bytes == 0 && user.bytes > 0) {
        pending->user = link_kept(arena, user);
    }
    pending->author = draft->nickname.bytes > 0 ? draft->nickname
                      : draft->email.bytes > 0  ? draft->email
                                                : draft->uid;
    pending->state = "ready";
    if (pending->user.bytes == 0 && !draft->nobody) {
        pending->state = "unknown-author";
    } else if (pending->user.bytes > 0 && pending->team.bytes > 0 &&
               !entry_member(txn, pending->canvas, pending->team, pending->user)) {
        pending->state = "not-a-member";
    }
    make_id(pending, draft, index, pending->id);
    entries->count++;
}

static unsigned hops_of(const struct journal_record *record)
{
    struct http_head head;
    bool parsed = http_parse_request(record->message, record->entry.head_bytes, &head) ==
                  HTTP_PARSE_DONE; /* cannot fail: only parsed heads are appended */
    return parsed ? request_hops(&head) : REQUEST_HOPS_MAX;
}

static void take_link(struct entries *entries, struct store_txn *txn, struct slice canvas,
                      struct slice name, const struct journal_record *record, struct slice type,
                      struct slice source)
{
    struct entry_drafts *drafts = arena_take(&entries->arena, sizeof *drafts);
    struct integration_view link;
    struct record stored;
    struct slice body = event_body(record);
    if (!drafts || hub_record(txn, RESOURCE_INTEGRATION_LINK, canvas, name, &stored) != BK_OK ||
        record->entry.received_ns < clock_since_ns(entries->hub->clock, stored.created_ns) ||
        integration_view_open(stored.spec, &link) != BK_OK) {
        return; /* a link is for what comes after it */
    }
    struct slice kind = integration_text(&link, "type");
    struct entry common = {.team = link_kept(&entries->arena, integration_text(&link, "team/name")),
                           .canvas = canvas,
                           .source = source,
                           .link = name,
                           .type = link_kept(&entries->arena, kind),
                           .hops = hops_of(record),
                           .received_ns = record->entry.received_ns};
    event_id_format(record->position, record->entry.received_ns, common.event);
    if (slice_equal(kind, SLICE("generic"))) {
        struct asked asked = {name, body, type, source, common.event};
        read_generic(entries, &link, &asked, drafts);
    } else {
        entry_drafts_read(kind, type, body, &entries->arena, drafts);
    }
    for (unsigned i = 0; i < drafts->count; i++) {
        add_pending(entries, txn, &link, &common, &drafts->at[i], i);
    }
    integration_view_close(&link);
}

/* ---- which links are meant */

/* Of a Slack command: the links of the channel it was written in, if there are any. */
static void choose_channel(struct store_txn *txn, const struct journal_record *record,
                           struct link_names *links)
{
    static const char field[] = "channel_id=";
    struct slice body = event_body(record);
    const uint8_t *at = memmem(body.at, body.bytes, field, sizeof field - 1);
    struct link_names chosen = {.count = 0};
    char wanted[80];
    if (!at) {
        return;
    }
    struct slice rest = slice_skip(body, (size_t)(at - body.at) + sizeof field - 1);
    struct slice channel = slice_of(rest.at, slice_find(rest, '&'));
    int bytes = snprintf(wanted, sizeof wanted, "\"resourceId\":\"%.*s\"",
                         (int)(channel.bytes < 40 ? channel.bytes : 40), (const char *)channel.at);
    for (unsigned i = 0; i < links->count; i++) {
        struct record link;
        struct slice status;
        struct key key;
        if (hub_record(txn, RESOURCE_INTEGRATION_LINK, links->at[i].canvas, links->at[i].name,
                       &link) != BK_OK) {
            continue;
        }
        key_status(&key, link.id);
        if (store_get(txn, key_slice(&key), &status) == BK_OK &&
            memmem(status.at, status.bytes, wanted, (size_t)bytes)) {
            chosen.at[chosen.count++] = links->at[i];
        }
    }
    if (chosen.count > 0) {
        *links = chosen;
    }
}

struct wide {
    struct entries *entries;
    struct link_names *links;
    struct slice canvas;
};

static bool take_wide(void *context, struct slice name)
{
    const struct wide *wide = context;
    struct link_names *links = wide->links;
    links->at[links->count].canvas = link_kept(&wide->entries->arena, wide->canvas);
    links->at[links->count++].name = link_kept(&wide->entries->arena, name);
    return links->count < LINKS_OF_ONE_MAX;
}

/* The provider-wide address (/integrations/{type}/hook): a source whose path is its type. The
 * payload says which repository it is about, and so which links. */
static void find_wide(struct entries *entries, struct store_txn *txn,
                      const struct hub_source_name *source, const struct journal_record *record,
                      struct link_names *links)
{
    struct record stored;
    struct source_input input;
    struct integration_view body;
    struct slice type_name = slice_str(source->type), full, alone;
    struct wide wide = {entries, links, slice_str(source->canvas)};
    const struct link_type *type = link_type_find(type_name);
    if (!type || !type->makes_hook ||
        hub_record(txn, RESOURCE_EVENT_SOURCE, slice_str(source->canvas), slice_str(source->name),
                   &stored) != BK_OK ||
        source_input_decode(stored.compiled, &input) != BK_OK ||
        !slice_equal(input.path, type_name) ||
        integration_view_open(event_body(record), &body) != BK_OK) {
        return;
    }
    full = integration_text(&body, "repository/full_name");
    full = full.bytes > 0 ? full : integration_text(&body, "project/path_with_namespace");
    alone = integration_text(&body, "repository/name");
    enum bk_err err = type_index_links_to(txn, wide.canvas, type_name, full, take_wide, &wide);
    if (err == BK_OK && links->count < LINKS_OF_ONE_MAX && !slice_equal_nocase(full, alone)) {
        err = type_index_links_to(txn, wide.canvas, type_name, alone, take_wide, &wide);
    }
    if (err != BK_OK) {
        links->count = 0;
    }
    integration_view_close(&body);
}

static void consider(struct entries *entries, const struct journal_record *record)
{
    struct hub_source_name source;
    struct store_txn *txn;
    struct link_names links;
    if (hub_source_name(entries->hub, record->entry.source, &source) != BK_OK ||
        store_read(entries->hub->store, &txn) != BK_OK) {
        return;
    }
    struct slice canvas = slice_str(source.canvas), name = slice_str(source.name);
    if (links_of_source(txn, canvas, name, &entries->arena, &links) == BK_OK) {
        if (links.count == 0) {
            find_wide(entries, txn, &source, record, &links);
        } else if (links.count > 1) {
            choose_channel(txn, record, &links);
        }
        uint8_t room[EVENT_TYPE_BYTES_MAX];
        struct slice type = journal_event_type(&record->entry, record->message, room);
        name = link_kept(&entries->arena, name);
        for (unsigned i = 0; i < links.count; i++) {
            take_link(entries, txn, links.at[i].canvas, links.at[i].name, record, type, name);
        }
    }
    store_read_end(txn);
}

struct writing {
    struct entries *entries;
    int64_t now_ns;
};

static enum bk_err write_all(struct store_txn *txn, void *context)
{
    const struct writing *writing = context;
    struct entries *entries = writing->entries;
    struct buf cursor;
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < entries->count; i++) {
        err = entry_put(entries->hub, txn, &entries->pending[i], writing->now_ns);
    }
    buf_init(&cursor, 65536);
    event_scan_cursor(&entries->scan, &cursor);
    if (err == BK_OK) {
        err =
            cursor.overflow ? BK_TOO_LARGE : store_put(txn, KEY_ENTRIES_CURSOR, buf_slice(&cursor));
    }
    buf_fini(&cursor);
    return err;
}

/* ---- turns */

/* From the stored cursor; without one, from a moment ago. */
static enum bk_err begin(struct entries *entries, int64_t now_ns, bool anew)
{
    struct store_txn *txn;
    struct slice cursor = SLICE_EMPTY;
    struct event_filter filter = {.states = EVENT_STATE(JOURNAL_ACCEPTED),
                                  .since_ns = now_ns - (anew ? NS_PER_SECOND : LATE_NS),
                                  .until_ns = INT64_MAX};
    enum bk_err err = entries->reader ? BK_OK : reader_open(entries->catalog, &entries->reader);
    if (err == BK_OK) {
        err = store_read(entries->hub->store, &txn);
    }
    if (err != BK_OK) {
        return err;
    }
    if (!anew && store_get(txn, KEY_ENTRIES_CURSOR, &cursor) == BK_OK) {
        cursor = link_kept(&entries->arena, cursor);
        filter.since_ns = INT64_MIN;
    }
    store_read_end(txn);
    err =
        event_scan_begin(&entries->scan, entries->catalog, entries->reader, &filter, true, cursor);
    if (err == BK_INVALID) { /* of other journals: the threads were changed */
        filter.since_ns = now_ns - LATE_NS;
        err = event_scan_begin(&entries->scan, entries->catalog, entries->reader, &filter, true,
                               SLICE_EMPTY);
    }
    /* Where it began is found. What comes behind may say that it is older: the clock was set. */
    entries->scan.filter.since_ns = INT64_MIN;
    return err;
}

/* Whatever came since the last turn is read with what is linked now. */
static void look_for_links(struct entries *entries, int64_t now_ns)
{
    bool was = entries->active;
    entries->hub->links_changed = false;
    entries->active = links_exist(entries->hub);
    if (entries->active && !was) {
        enum bk_err err = begin(entries, now_ns, entries->started);
        if (err != BK_OK) {
            log_event(LOG_ERROR, "entries cannot be made", LOG_Z("why", bk_err_text(err)));
            entries->active = false;
            entries->hub->links_changed = true; /* again at the next change or turn */
        }
    }
    entries->scanning = true;
    entries->started = true;
    entries->cursor_ns = 0; /* the clock may have been set */
}

static bool has_room(const struct entries *entries)
{
    return entries->count < PENDING_TURN;
}

static bool is_linked(const struct entries *entries, uint64_t source)
{
    return entries->feed_count == 0 || linked_has(entries->hub->linked, source);
}

/* Did a feed run over? Then it begins anew: what it holds is in the journals by now. */
static bool feeds_ran_over(struct entries *entries)
{
    bool over = false;
    for (unsigned i = 0; i < entries->feed_count; i++) {
        struct link_feed *feed = entries->feeds[i];
        uint64_t sequence, count = 0;
        if (atomic_exchange(&feed->full, false)) {
            over = true;
            while (count < LINK_FEED_ENTRIES && link_feed_peek(feed, count, &sequence)) {
                count++;
            }
            link_feed_drop(feed, count);
        }
    }
    return over;
}

/* One turn of reading the journals through. False: the end was reached. */
static bool scan_some(struct entries *entries)
{
    size_t budget = ENTRIES_STEP_BYTES;
    struct journal_record record;
    for (unsigned i = 0; i < RECORDS_A_TURN && has_room(entries);) {
        enum bk_err err = event_scan_next(&entries->scan, NULL, entries->reader, &budget, &record);
        if (err != BK_OK) {
            return err == BK_AGAIN;
        }
        entries->moved = true;
        if (record.entry.type == JOURNAL_ACCEPTED && is_linked(entries, record.entry.source)) {
            consider(entries, &record);
            i++;
        }
    }
    return true;
}

static struct reader_walk *walk_of(struct entries *entries, unsigned journal)
{
    struct reader_merge *merge = &entries->scan.merge;
    for (unsigned i = 0; i < merge->count; i++) {
        if (merge->walks[i].journal == journal) {
            merge->known[i] = merge->ended[i] = false; /* it moves */
            return &merge->walks[i];
        }
    }
    return NULL;
}

/* What a feed names, as far as it was looked. False: the rest next turn, or a scan. */
static bool take_feed(struct entries *entries, unsigned journal)
{
    struct link_feed *feed = entries->feeds[journal];
    struct reader_walk *walk = walk_of(entries, journal);
    struct journal_record record;
    uint64_t looked = atomic_load_explicit(&feed->looked, memory_order_acquire), sequence;
    if (!walk || atomic_load_explicit(&feed->full, memory_order_acquire)) {
        entries->scanning = true;
        return false;
    }
    while (link_feed_peek(feed, entries->taken[journal], &sequence)) {
        if (entries->taken[journal] == RECORDS_A_TURN || !has_room(entries)) {
            return false;
        }
        struct journal_position position = {(uint16_t)journal, sequence};
        if (sequence >= walk->next &&
            reader_get(entries->reader, position, &record) == BK_OK) { /* else it was removed */
            consider(entries, &record);
        }
        entries->taken[journal]++;
        entries->moved = true;
        walk->next = sequence >= walk->next ? sequence + 1 : walk->next;
    }
    if (looked >= walk->next) {
        walk->next = looked + 1;
        entries->moved = true;
    }
    return true;
}

/* False: nothing is left to do for now. */
static bool step(struct entries *entries)
{
    bool more = false;
    if (!entries->scanning) {
        for (unsigned i = 0; i < entries->feed_count; i++) {
            more = !take_feed(entries, i) || more;
        }
        return more;
    }
    if (scan_some(entries)) {
        return true;
    }
    entries->scanning = entries->feed_count == 0 || feeds_ran_over(entries);
    return entries->feed_count > 0;
}

/* Of what the cores name only that is owed: behind the last accepted event of a segment there may
 * lie what is of no interest, to which the walk does not go. All that a complete segment has was
 * looked at by its core before. */
bool entries_owed(const struct entries *entries, uint16_t journal, uint64_t through)
{
    const struct reader_merge *merge = &entries->scan.merge;
    const struct link_feed *feed = journal < entries->feed_count ? entries->feeds[journal] : NULL;
    const struct reader_walk *walk = NULL;
    uint64_t sequence = 0;
    if (!entries->active) {
        return entries->hub->links_changed; /* links may have come: not looked yet */
    }
    for (unsigned i = 0; i < merge->count && !walk; i++) {
        walk = merge->walks[i].journal == journal ? &merge->walks[i] : NULL;
    }
    if (!walk || walk->next > through) {
        return false;
    }
    if (entries->scanning || !feed || atomic_load_explicit(&feed->full, memory_order_acquire)) {
        return true;
    }
    return link_feed_peek(feed, 0, &sequence) && sequence <= through;
}

int64_t entries_run(struct entries *entries, int64_t now_ns)
{
    static struct event_scan before; /* the control thread's */
    arena_reset(&entries->arena);
    if (entries->hub->links_changed) {
        look_for_links(entries, now_ns);
        entries->next_ns = now_ns;
    }
    if (!entries->active) {
        return INT64_MAX;
    }
    if (now_ns < entries->next_ns) {
        return entries->next_ns;
    }
    before = entries->scan;
    entries->now_ns = now_ns;
    entries->count = 0;
    entries->full = false;
    memset(entries->taken, 0, sizeof entries->taken);
    entries->next_ns = step(entries) ? now_ns : now_ns + ENTRIES_POLL_NS;
    bool store = entries->moved && now_ns - entries->cursor_ns > CURSOR_NS;
    if (entries->count > 0 || entries->full || store) {
        struct writing writing = {entries, now_ns};
        enum bk_err err = entries->arena.overflow || entries->full
                              ? BK_NO_MEMORY
                              : store_update(entries->hub->store, write_all, &writing);
        if (err != BK_OK) {
            log_event(LOG_ERROR, "entries cannot be stored", LOG_Z("why", bk_err_text(err)));
            entries->scan = before;
            entries->next_ns = now_ns + RETRY_NS;
            return entries->next_ns;
        }
        entries->cursor_ns = now_ns;
        entries->moved = false;
    }
    for (unsigned i = 0; i < entries->feed_count; i++) {
        link_feed_drop(entries->feeds[i], entries->taken[i]);
    }
    return entries->next_ns;
}
