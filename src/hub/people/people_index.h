/* people_index.h - IntegrationUsers found without looking at all of an integration's.
 *
 * Purpose     Whose token an integration uses, and who did what an event tells: one look each,
 *             with ten people or with a hundred thousand.
 * Store       "g/" who has a token, the one that changed last first; "h/" by uid, nickname and mail
 *             address, each as a hash. The record says what they are; a row here says nothing else.
 * Threads     The control thread; inside a transaction.
 */
#ifndef BECKET_HUB_PEOPLE_INDEX_H
#define BECKET_HUB_PEOPLE_INDEX_H

#include "hub/hub_private.h"

/* The rows of a record, at its canvas and name; what changed it drops the old one's first. */
enum bk_err people_index_put(struct store_txn *txn, struct slice canvas, struct slice name,
                             const struct record *record) BK_MUST_CHECK;
enum bk_err people_index_drop(struct store_txn *txn, struct slice canvas, struct slice name,
                              const struct record *record) BK_MUST_CHECK;

/* Who has a token and changed last: of the canvas `own`, whose work it is, else of the
 * integration's. Nobody of a third one: no canvas works with another's account. BK_NOT_FOUND: none.
 */
enum bk_err people_index_newest(struct store_txn *txn, struct slice canvas,
                                struct slice integration, struct slice own,
                                struct hub_address *ret_address) BK_MUST_CHECK;
/* Is there any IntegrationUser of these two? */
bool people_index_anybody(struct store_txn *txn, struct slice canvas, struct slice integration,
                          struct slice own);

/* Of whatever canvas. */
bool people_index_anywhere(struct store_txn *txn, struct slice canvas, struct slice integration);

/* A person of an integration: by uid, else nickname, else mail address; empty texts are nobody's.
 * Names and addresses are the same in any case. Of the canvas `own`, where it is asked, else of the
 * integration's: no other canvas says who somebody is there. BK_NOT_FOUND. */
struct people_called {
    struct slice uid, nickname, email;
};
enum bk_err people_index_find(struct store_txn *txn, struct slice canvas, struct slice integration,
                              struct slice own, const struct people_called *called,
                              struct hub_address *ret_address) BK_MUST_CHECK;

#endif
