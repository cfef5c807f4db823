/* entry.h - one entry: what somebody did, or is to do, for a team. Storing, sending out, reading.
 *
 * Purpose     Where entries of events (links/entries.h) and entries written by hand meet: both are
 *             put with entry_put(), and so go the same ways out.
 * Out         A new entry of a team causes, in the same transaction, for each of the team's links
 *             but the one it came in by: one operation where the link posts (Slack, Discord), one
 *             row of the outbox where it names a destination (links/outbox.h). Only entries that
 *             are `ready`, and only of the link's `statuses`.
 * Loops       An entry keeps its event's hops, and what is sent out of it has them: links that lead
 *             back to a source of ours end where routes do.
 * Once        An entry's id is made from what it is about and its team; one that is there already
 *             is not put again, and causes nothing.
 * Changed     An entry may be changed and deleted. What has gone out is not recalled and not sent
 *             again: a message stays where it was posted, and an event that was made of it is
 *             delivered as it was. What has not gone out goes out as it is then, or not at all. One
 *             that waits for somebody of ours goes out when it is told who that is.
 * Moved       A message that waits goes where its link leads by then, also by another integration;
 *             nowhere when the link is gone, or another team's by then.
 * Store       "w/" u64 number: the entry (JSON). "W/" 16 bytes of id: its number, which stays when
 *             the entry is deleted. "X/" team, user, status, canvas: its numbers.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_ENTRY_H
#define BECKET_HUB_ENTRY_H

#include "base/arena.h"
#include "hub/events/event_id.h"
#include "hub/hub.h"

struct entry {
    uint8_t id[16];
    struct slice body, status, user, author, team, canvas, source, link, type;
    char event[EVENT_ID_BYTES + 1];
    const char *state;    /* "ready", "unknown-author", "not-a-member" */
    char occurred_on[11]; /* "2026-01-31"; empty = the day it was received */
    unsigned hops;        /* how often its event came through becket (deliveries/request.h) */
    int64_t received_ns;
    int64_t updated_ns; /* 0 = never */
};

/* Store it, and what it causes. */
enum bk_err entry_put(struct hub *hub, struct store_txn *txn, const struct entry *entry,
                      int64_t now_ns) BK_MUST_CHECK;
/* A team without members is everybody's. False also when there is no such team. */
bool entry_member(struct store_txn *txn, struct slice canvas, struct slice team, struct slice user);

/* An entry by hand: what of it is given. */
struct entry_request {
    struct slice canvas;      /* empty = the default one */
    struct slice team;        /* wanted */
    struct slice body;        /* wanted; "[] " and "! " in front as links/entry_drafts.h says */
    struct slice status;      /* empty = as the text says, else done */
    struct slice user;        /* empty = nobody of ours: then the author is all that is known */
    struct slice author;      /* who asked */
    struct slice occurred_on; /* empty = today */
    bool only_canvas;         /* the team is of this canvas, not one of the default one's */
};
struct entry_problem {
    const char *field; /* static; NULL = nothing is wrong with the request */
    char message[200];
};
/* BK_INVALID: ret_problem. The text of the new entry in json. */
enum bk_err entry_create(struct hub *hub, const struct entry_request *request, int64_t now_ns,
                         struct entry_problem *ret_problem, struct buf *json) BK_MUST_CHECK;

/* Who changes one: only what is in this canvas (empty = any), only what this person did (empty =
 * anybody's). */
struct entry_caller {
    struct slice canvas, person;
};
/* Of the request: body, status, user, occurred_on, each where it is given (at != NULL); the body's
 * marks count, and an empty user is nobody. BK_INVALID: ret_problem. BK_NOT_FOUND. BK_FORBIDDEN: it
 * is another person's. The text of the entry in json. */
enum bk_err entry_update(struct hub *hub, struct slice id, const struct entry_request *request,
                         const struct entry_caller *caller, int64_t now_ns,
                         struct entry_problem *ret_problem, struct buf *json) BK_MUST_CHECK;
/* BK_NOT_FOUND, BK_FORBIDDEN as above. */
enum bk_err entry_delete(struct hub *hub, struct slice id, const struct entry_caller *caller,
                         int64_t now_ns) BK_MUST_CHECK;

/* What of the entries a list wants; empty = all. */
struct entries_query {
    struct slice team, user, status, canvas;
    unsigned limit;
    uint64_t before; /* 0 = the newest */
};
/* {"items":[…],"next":…}, newest first. */
enum bk_err entries_list_json(struct hub *hub, const struct entries_query *query,
                              struct buf *json) BK_MUST_CHECK;
/* For a store of before "X/"; says itself that it was done. */
enum bk_err entry_index_fill(struct store_txn *txn) BK_MUST_CHECK;
/* One by its id; of this canvas (empty = any). BK_NOT_FOUND. */
enum bk_err entries_get_json(struct hub *hub, struct slice id, struct slice canvas,
                             struct buf *json) BK_MUST_CHECK;

/* ---- for those that send it out, within a transaction. BK_NOT_FOUND. */

struct entry_link {
    const uint8_t *id; /* 16 bytes */
    struct slice team;
};
/* Its text as a message through this link, for the operation of this object. Also BK_NOT_FOUND: the
 * link is not the one that it was to go out by, or is another team's by now. */
enum bk_err entries_message(struct store_txn *txn, uint64_t number, const uint8_t post[16],
                            const struct entry_link *link, struct arena *arena,
                            struct slice *ret_text) BK_MUST_CHECK;
/* As it is stored; as long as store_get's. */
enum bk_err entry_stored(struct store_txn *txn, uint64_t number,
                         struct slice *ret_json) BK_MUST_CHECK;

#endif
