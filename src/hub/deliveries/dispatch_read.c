/* dispatch_read.c - the journals, read back for lanes that are behind. */
#include "base/assert.h"
#include "base/log.h"
#include "hub/deliveries/deliver.h"
#include "hub/deliveries/dispatch_private.h"

static bool dispatch_wants(struct dispatch *dispatch, const struct journal_record *record,
                           uint64_t destination)
{
    const struct route_target *route =
        route_table_first(dispatch->config.routes, record->entry.source);
    struct fan_out out;
    if (record->entry.type != JOURNAL_ACCEPTED || !route) {
        return false;
    }
    fan_out_init(&out, dispatch->scratch, record->position, &record->entry, record->message);
    for (; route; route = route_target_next(route)) {
        const struct destination *to = route_target_destination(route);
        if (to && to->number == destination &&
            fan_out_wants(&out, dispatch->config.routes, route)) {
            return true;
        }
    }
    return false;
}

/* ---- what retention took away */

struct oldest {
    uint16_t journal;
    uint64_t sequence; /* 0 = none */
};

static void look_for_oldest(const struct catalog_segment *segment, void *context)
{
    struct oldest *oldest = context;
    if (segment->journal == oldest->journal && segment->first_sequence != 0 &&
        (oldest->sequence == 0 || segment->first_sequence < oldest->sequence)) {
        oldest->sequence = segment->first_sequence;
    }
}

uint64_t dispatch_oldest(const struct dispatch *dispatch, uint16_t journal)
{
    struct oldest oldest = {journal, 0};
    catalog_each(dispatch->config.catalog, look_for_oldest, &oldest);
    return oldest.sequence;
}

/* Said loudly: these were acknowledged, and are gone before they were delivered. */
static void check_lost(struct dispatch *dispatch, struct lane_want *want)
{
    uint64_t oldest = dispatch_oldest(dispatch, want->journal);
    if (oldest <= want->from) {
        return;
    }
    want->lost = oldest - want->from;
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, want->destination);
    log_event(LOG_ERROR, "events were removed by retention before they could be delivered",
              LOG_S("destination", destination ? destination->name : SLICE_EMPTY),
              LOG_I("journal", want->journal), LOG_I("records", want->lost),
              LOG_Z("mend", "raise --retain-bytes"));
}

/* ---- a disk that does not read */

void dispatch_unreadable(struct dispatch *dispatch, uint64_t number, enum bk_err err)
{
    uint64_t now_ns = ring_now_ns(dispatch->config.ring);
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, number);
    if (now_ns < dispatch->unreadable_told_ns) {
        return;
    }
    dispatch->unreadable_told_ns = now_ns + UNREADABLE_NS;
    log_event(LOG_ERROR, "the journal cannot be read: what waits in it is not delivered",
              LOG_S("destination", destination ? destination->name : SLICE_EMPTY),
              LOG_Z("why", bk_err_text(err)), LOG_Z("then", "it is read again until it can be"));
}

/* ---- one want: at most DISPATCH_READ_BYTES from the disk */

static bool add_if_wanted(struct dispatch *dispatch, struct lane_want *want,
                          const struct journal_record *record)
{
    if (!dispatch_wants(dispatch, record, want->destination)) {
        return true;
    }
    if (want->chunk->count >= want->events_max || !chunk_add(dispatch, want->chunk, record)) {
        return false;
    }
    return true;
}

static void read_for(struct dispatch *dispatch, struct lane_want *want)
{
    struct reader_walk walk;
    struct journal_record record;
    size_t budget = DISPATCH_READ_BYTES;
    bool first = true;
    reader_walk_begin(&walk, want->journal, false, want->from);
    for (;;) {
        enum bk_err err = reader_next(dispatch->reader, &walk, &budget, &record);
        if (err == BK_CORRUPT) {
            log_event(LOG_ERROR, "damage in the journal: what is there is not delivered",
                      LOG_Z("where", reader_problem(dispatch->reader)));
            continue;
        }
        if (err != BK_OK) {
            want->caught_up = err == BK_NOT_FOUND;
            want->unreadable = err != BK_NOT_FOUND && err != BK_AGAIN;
            if (want->unreadable) {
                dispatch_unreadable(dispatch, want->destination, err);
            }
            break;
        }
        if (first && record.position.sequence > want->from) {
            check_lost(dispatch, want);
        }
        first = false;
        if (!add_if_wanted(dispatch, want, &record)) {
            want->next = record.position.sequence;
            return;
        }
    }
    want->next = walk.next > want->from ? walk.next : want->from;
}

/* Nothing of it may go, but people look how long it waits. */
static int64_t oldest_of(struct dispatch *dispatch, const struct lane_want *want)
{
    struct reader_walk walk;
    struct journal_record record;
    size_t budget = DISPATCH_READ_BYTES;
    int64_t at_ns = 0;
    bool wanted = false;
    reader_walk_begin(&walk, want->journal, false, want->next);
    while (!wanted && reader_next(dispatch->reader, &walk, &budget, &record) == BK_OK) {
        wanted = dispatch_wants(dispatch, &record, want->destination);
        at_ns = wanted || at_ns == 0 ? record.entry.received_ns : at_ns;
    }
    return at_ns;
}

bool dispatch_serve_want(struct dispatch *dispatch)
{
    struct list *node = dispatch->wants.next;
    if (node == &dispatch->wants) {
        return false;
    }
    struct lane_want *want = bk_container_of(node, struct lane_want, node);
    if (want->events_max > 0 && !(want->chunk = chunk_take(dispatch))) {
        return false; /* all are out: one comes back by mail */
    }
    list_remove(node);
    want->next = want->from;
    if (want->events_max == 0) {
        check_lost(dispatch, want);
        want->next += want->lost;
        want->oldest_ns = want->asks_oldest ? oldest_of(dispatch, want) : 0;
    } else if (!dispatch_probe_by_retry(dispatch, want->destination)) {
        read_for(dispatch, want);
    }
    if (want->chunk) {
        want->chunk->home = want->home;
    }
    if (want->chunk && want->chunk->count == 0) {
        chunk_give(dispatch, want->chunk);
        want->chunk = NULL;
    }
    want->mail.run = deliver_want_back;
    ring_post(dispatch->config.ring, dispatch->rings[deliver_core(want->home)], &want->mail);
    return !list_empty(&dispatch->wants);
}

void dispatch_want_arrived(struct ring_mail *mail)
{
    struct lane_want *want = bk_container_of(mail, struct lane_want, mail);
    list_push_back(&want->dispatch->wants, &want->node);
}
