/* link_index.h - integrations and links found by their type, links by their repository.
 *
 * Purpose     The catalogue and the forms ask for the integrations of a type, a provider-wide hook
 *             for the links of the repository that its payload names: neither looks at the others.
 * Store       "I/" integrations by type. "H/" links by type, and of these by a hash of the
 *             repository or project (zero when there is none).
 * Threads     The control thread; inside a transaction.
 */
#ifndef BECKET_HUB_LINK_INDEX_H
#define BECKET_HUB_LINK_INDEX_H

#include "hub/hub_private.h"

/* The row of an integration or a link; what changed it drops the old one's first. */
enum bk_err type_index_put(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                           struct slice name, struct slice spec) BK_MUST_CHECK;
enum bk_err type_index_drop(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                            struct slice name, struct slice spec) BK_MUST_CHECK;

/* Names, in order; false stops. The key is not to be kept. */
typedef bool type_index_fn(void *context, struct slice name);
enum bk_err type_index_integrations(struct store_txn *txn, struct slice canvas, struct slice type,
                                    type_index_fn *found, void *context) BK_MUST_CHECK;
/* Links to a repository, in any case of its letters. */
enum bk_err type_index_links_to(struct store_txn *txn, struct slice canvas, struct slice type,
                                struct slice repository, type_index_fn *found,
                                void *context) BK_MUST_CHECK;
/* How many links of a type there are, counted up to `most`. */
enum bk_err type_index_count(struct store_txn *txn, struct slice canvas, struct slice type,
                             unsigned most, unsigned *ret_count) BK_MUST_CHECK;

/* Index what an older version stored, people (people_index.h) as well; nothing when it has been
 * done. */
enum bk_err object_indexes_fill(struct store_txn *txn) BK_MUST_CHECK;

#endif
