/* hub.h - the control plane's state: store, keys, objects, and the feed of compiled sources.
 *
 * Purpose     What the API and the server hold. Objects change through resources/apply.h; tokens
 *             through resources/token.h; each commit that touches an event source is followed by
 *             calls of `changed` (resources/compile.h), before the changing function returns.
 * Threads     One: the control thread.
 * Start       hub_open() makes what is missing: data directory, master key, data key, admin token,
 *             canvas `default`. hub_feed_all() then feeds every source once.
 */
#ifndef BECKET_HUB_HUB_H
#define BECKET_HUB_HUB_H

#include "base/buf.h"
#include "base/err.h"
#include "hub/clock_sets.h"
#include "hub/resources/compile.h"
#include "hub/resources/resource.h"
#include "store/seal.h"
#include "store/store.h"

#define HUB_WHY_BYTES 512U
#define HUB_ID_TEXT_BYTES 37U /* UUID text and NUL */

struct hub_config {
    const char *data_directory;
    const char *public_url;        /* without a slash at the end; copied */
    source_change_fn *changed;     /* these may be NULL (tools, tests) */
    destination_change_fn *destination_changed;
    route_change_fn *route_changed;
    destination_status_fn *destination_status; /* status.delivery of a destination */
    void *context;
    int64_t now_ns;                /* wall clock */
    const struct store_options *store_options; /* NULL = defaults */
};

/* What the cores counted of a source; for its status. */
struct metrics_source;
typedef bool source_activity_fn(void *context, uint64_t number, struct metrics_source *ret_sum);

struct hub; /* fields are in hub/hub_private.h: only for src/hub */

/* ret_why: one line for people when it failed (wrong master key, readable key file, newer version,
 * directory not writable, …). Nothing is changed then. */
enum bk_err hub_open(const struct hub_config *config, struct hub **ret_hub,
                     char ret_why[HUB_WHY_BYTES]) BK_MUST_CHECK;
void hub_close(struct hub *hub);
/* True when hub_open made a new, empty state (the CLI then prints the quick start). */
/* True once after operations were added: wake them (operations/operations.h). */
bool hub_take_work(struct hub *hub);
bool hub_is_new(const struct hub *hub);
/* The wall clock was set: who waits for a time of day looks again. */
struct clock_sets hub_clock_was_set(struct hub *hub, int64_t from_ns, int64_t to_ns);
/* At a start; from: 0, or what it was at the end of the last run. */
struct clock_sets hub_clock_begin(struct hub *hub, int64_t from_ns, int64_t to_ns);
struct store *hub_store(struct hub *hub);
/* Sources that links refer to (links/link_feed.h); for the cores. */
struct linked_sources *hub_linked(struct hub *hub);
/* Who knows what the cores counted; NULL = nobody. Called while objects are read. */
void hub_watch(struct hub *hub, source_activity_fn *activity, void *context);

/* Tokens for calls of integrations with AUTH_TYPE_OIDC: appended to text. BK_NOT_FOUND: there is no
 * key yet. */
struct oidc_token;
typedef enum bk_err oidc_token_fn(void *context, const struct oidc_token *token,
                                  int64_t now_seconds, struct buf *text);
void hub_issue_by(struct hub *hub, oidc_token_fn *issue, void *context);
/* True once after one was wanted and there may be no key: make it (keys/oidc_issuer.h). */
bool hub_take_issuer_wanted(struct hub *hub);

/* There are at most about so many event sources, for who makes room before the feed. */
uint64_t hub_sources_most(struct hub *hub);
/* Feed every source, destination and route, as after a change. Those that cannot be compiled are
 * logged and counted. A million sources take 1-3 seconds. */
enum bk_err hub_feed_all(struct hub *hub, uint64_t *ret_fed, uint64_t *ret_failed) BK_MUST_CHECK;

/* ---- reading objects, as JSON of the interface; secret values are "***" */

/* {"apiVersion","kind","metadata","spec","status"}. `name` may be the object's id. BK_NOT_FOUND.
 * ret_revision may be NULL (it is the ETag). */
enum bk_err hub_get_json(struct hub *hub, enum resource_kind kind, struct slice canvas, struct slice
                         name, struct buf *json, uint64_t *ret_revision) BK_MUST_CHECK;
/* {"items":[…],"next":"…"}; in order of name. limit 1-1000, fewer where they are large; cursor
 * empty = from the start.
 * BK_INVALID: the cursor is not one of ours. person: accounts and links of other users are left
 * out; empty = they are not. */
enum bk_err hub_list_json(struct hub *hub, enum resource_kind kind, struct slice canvas, unsigned
                          limit, struct slice cursor, struct slice person, struct buf *json)
                          BK_MUST_CHECK;
/* Is it an account or a link of another user than this one? Also when that cannot be read. */
bool hub_is_of_another(struct hub *hub, enum resource_kind kind, struct slice canvas,
                       struct slice name_or_id, struct slice person);

/* ---- event sources by their number in the journal */

/* canvas: empty where there was another canvas of that name, and is no more. */
struct hub_source_name {
    char name[NAME_BYTES_MAX + 1];
    char canvas[NAME_BYTES_MAX + 1];
    char type[NAME_BYTES_MAX + 1]; /* the provider: "github" */
};
/* Also of deleted sources. BK_NOT_FOUND when the number was never given out. */
enum bk_err hub_source_name(struct hub *hub, uint64_t number, struct hub_source_name *ret_name)
                            BK_MUST_CHECK;
/* Number of the object of a kind with this name or id. Deleted ones: BK_NOT_FOUND. */
enum bk_err hub_number(struct hub *hub, enum resource_kind kind, struct slice canvas,
                       struct slice name, uint64_t *ret_number) BK_MUST_CHECK;

/* ---- destinations */

struct hub_target_name {
    char name[NAME_BYTES_MAX + 1];
    char canvas[NAME_BYTES_MAX + 1];
};
/* Of a destination or route, also a deleted one. */
enum bk_err hub_target_name(struct hub *hub, uint64_t number,
                            struct hub_target_name *ret_name) BK_MUST_CHECK;
/* Keep why a destination is paused (BY_HAND, BY_GONE) or that it runs (RUNNING), and feed its new
 * version. BK_OK also when nothing changes. BK_NOT_FOUND. BK_CONFLICT: RUNNING is wanted, but
 * spec.paused says otherwise. */
enum bk_err hub_destination_pause(struct hub *hub, uint64_t number, enum destination_pause pause,
                                  int64_t now_ns) BK_MUST_CHECK;

/* ---- secrets in clear */

/* {"secrets":["…"],"verifyToken":"…"}: what an event source verifies with (given, made by us, or
 * brought by its provider), or what a destination's requests are signed with. For administrators
 * only; that it was asked for is in the audit records, or nothing is told. Wipe the buffer.
 * BK_NOT_FOUND. BK_FORBIDDEN: only_canvas is given, and a secret is a Secret's of another one. */
enum bk_err hub_reveal(struct hub *hub, enum resource_kind kind, struct slice canvas,
                       struct slice name, struct slice only_canvas, int64_t now_ns,
                       struct buf *json) BK_MUST_CHECK;

#endif
