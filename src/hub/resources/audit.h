/* audit.h - who changed what, when: one record for each change, in the transaction of the change.
 *
 * Purpose     A change and its record are on disk together or not at all. Records hold names and
 *             differences as the API shows them, so secrets read "***" and "(changed)".
 * Limits      The newest AUDIT_RECORDS_MAX are kept; a record's differences are cut at
 *             AUDIT_DIFF_BYTES_MAX.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_AUDIT_H
#define BECKET_HUB_AUDIT_H

#include "base/buf.h"
#include "base/err.h"
#include "ring/ring.h"

struct hub;
struct store_txn;

#define AUDIT_RECORDS_MAX    100000U
#define AUDIT_DIFF_BYTES_MAX 65536U
#define AUDIT_REQUEST_BYTES  17U

/* Who asks. Without one, the server itself does (quick start). */
struct audit_actor {
    const char *token; /* its name */
    const char *role;
    const char *user; /* the User that it is for; "" = a machine's token */
    const char *request_id;
    struct ring_address remote;
    int64_t now_ns;
};

struct audit_change {
    const char *action; /* "created", "updated", "deleted" */
    const char *kind;
    const char *name;
    const char *canvas; /* "" = none */
    struct slice diff;  /* JSON array; empty = none */
    int64_t now_ns;     /* when there is no actor */
};

/* Whose the changes from now on are; the actor stays the caller's. NULL = the server's own. */
void audit_actor_set(struct hub *hub, const struct audit_actor *actor);
/* Inside a write transaction. */
enum bk_err audit_add(struct hub *hub, struct store_txn *txn,
                      const struct audit_change *change) BK_MUST_CHECK;
/* In a transaction of its own: for what changes nothing in the store by itself (a replay). */
enum bk_err audit_note(struct hub *hub, const struct audit_change *change) BK_MUST_CHECK;
struct audit_query {
    uint64_t before; /* begin behind the record of this number; 0 = with the newest */
    unsigned limit;
    int64_t since_ns; /* made at or after; INT64_MIN = whenever */
    int64_t until_ns; /* made before; INT64_MAX = whenever */
    struct slice actor, kind, name; /* exactly so; empty = any */
};
/* How records call this kind, in any spelling that a command takes; NULL: there is no such kind. */
const char *audit_kind(struct slice text);
/* {"items":[…],"next":"…"}, newest first. A page may have fewer items than `limit`, or none, and a
 * `next`: that many records at most are looked at. */
enum bk_err audit_list_json(struct hub *hub, const struct audit_query *query,
                            struct buf *json) BK_MUST_CHECK;

#endif
