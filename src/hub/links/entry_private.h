/* entry_private.h - between entry.c (storing, sending out), entry_hand.c (what people and machines
 * write, change and delete) and entry_list.c (indexes, lists).
 *
 * Threads     The control thread; inside a transaction.
 */
#ifndef BECKET_HUB_ENTRY_PRIVATE_H
#define BECKET_HUB_ENTRY_PRIVATE_H

#include "hub/hub_private.h"
#include "hub/links/entry.h"

/* Where the team of this name is: in the canvas, or in the default one. */
enum bk_err entry_find_team(struct store_txn *txn, struct slice *canvas, struct slice team,
                            struct record *ret_record) BK_MUST_CHECK;
/* As it is stored and shown. */
void entry_write_json(const struct entry *entry, struct buf *json);

struct entry_way {
    struct hub *hub;
    struct store_txn *txn;
    const struct entry *entry;
    uint64_t number;
    int64_t now_ns;
    struct arena *arena; /* entry_send_out's own */
};
/* Through the team's links; nothing of an entry that is not ready. */
enum bk_err entry_send_out(struct entry_way *way) BK_MUST_CHECK;

/* The rows of an entry as it is stored; what changes it drops the old one's first. */
enum bk_err entry_index_put(struct store_txn *txn, uint64_t number,
                            struct slice json) BK_MUST_CHECK;
enum bk_err entry_index_drop(struct store_txn *txn, uint64_t number,
                             struct slice json) BK_MUST_CHECK;
/* Is an entry of this canvas, not of one of before that had its name? */
bool entry_is_of(struct store_txn *txn, uint64_t number, struct slice entry_canvas,
                 struct slice canvas);
/* Its number, and what is stored. BK_NOT_FOUND: there is none, or it was deleted. */
enum bk_err entry_find(struct store_txn *txn, struct slice id, uint64_t *ret_number,
                       struct slice *ret_json) BK_MUST_CHECK;

#endif
