/* link_find.h - which links an event or an entry goes through.
 *
 * Ownership   Names are in the arena.
 * Threads     The control thread; inside a transaction.
 */
#ifndef BECKET_HUB_LINK_FIND_H
#define BECKET_HUB_LINK_FIND_H

#include "hub/hub_private.h"

/* Of a source, out of a team, of a repository; more are refused when they are made. */
#define LINKS_OF_ONE_MAX 64U

struct link_names {
    struct arena *arena;
    size_t skip;
    unsigned count;
    bool more; /* than there may be: an older becket took them */
    struct {
        struct slice canvas, name;
    } at[LINKS_OF_ONE_MAX];
};

/* The links that refer to this source; where `more`, it was logged. */
enum bk_err links_of_source(struct store_txn *txn, struct slice canvas, struct slice source,
                            struct arena *arena, struct link_names *ret_names) BK_MUST_CHECK;
/* The links by which entries of this team go out: others do not count. */
enum bk_err links_out_of(struct store_txn *txn, struct slice canvas, struct slice team,
                         struct arena *arena, struct link_names *ret_names) BK_MUST_CHECK;
/* Is there any link at all? */
bool links_exist(struct hub *hub);

/* Events of this source may become entries: note it for the cores. A source whose path is its type
 * is provider-wide: its payloads say which links are meant. */
void link_note_source(struct hub *hub, uint64_t number);
bool link_source_is_wide(struct slice type, struct slice path);
/* The source of a link that was put or stored. */
enum bk_err link_note_source_of(struct hub *hub, struct store_txn *txn, struct slice canvas,
                                struct slice source) BK_MUST_CHECK;
/* At the start: all that links refer to. */
enum bk_err link_note_all(struct hub *hub) BK_MUST_CHECK;

/* A copy in the arena; empty where there is no memory (arena->overflow). */
struct slice link_kept(struct arena *arena, struct slice text);

#endif
