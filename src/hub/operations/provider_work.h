/* provider_work.h - which operations the objects want, and what an operation needs of the objects.
 *
 * Purpose     An Integration that is applied gets its credential checked; a source through an
 *             integration gets a hook at the provider, with a key of its own; a source that goes
 *             has its hook removed; what failed because of a credential is tried again when that
 *             changes. All of it within the transaction of the apply (operations/operation.h).
 * Status      "s/" id: {"state":"pending|ready|error","reason","message","advice",…}, shown by
 *             resources/read.c. A hook is looked at again every PROVIDER_WORK_RECHECK: one that was
 *             deleted or switched off at the provider is mended.
 * Names       Of objects at providers that want names: "becket-webhook-" and 32 hex digits made
 *             from the source's id.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_PROVIDER_WORK_H
#define BECKET_HUB_PROVIDER_WORK_H

#include "hub/operations/operations.h"
#include "hub/resources/apply_private.h"

/* spec.type out of an integration's spec. */
enum bk_err provider_work_type(struct slice spec, struct arena *arena,
                               struct slice *ret_type) BK_MUST_CHECK;

/* ---- from apply, behind the record */
enum bk_err provider_work_source_changed(struct apply *apply, const struct apply_work *work,
                                         const struct source_input *old,
                                         const struct source_input *input) BK_MUST_CHECK;
/* Its integration leads elsewhere: a hook there, and none where it was. */
enum bk_err provider_work_source_moved(struct apply *apply, struct slice canvas, struct slice name,
                                       const struct record *record) BK_MUST_CHECK;
enum bk_err provider_work_source_removed(struct apply *apply, const struct apply_work *work,
                                         const struct source_input *old) BK_MUST_CHECK;
enum bk_err provider_work_integration_changed(struct apply *apply,
                                              const struct apply_work *work) BK_MUST_CHECK;
/* BK_IN_USE while hooks made with it are still to be removed. */
enum bk_err provider_work_integration_removed(struct apply *apply,
                                              const struct apply_work *work) BK_MUST_CHECK;
/* Are there? */
enum bk_err provider_work_hooks_left(struct store_txn *txn, struct slice canvas,
                                     struct slice integration, bool *ret_left) BK_MUST_CHECK;
enum bk_err provider_work_credential_changed(struct apply *apply, struct slice canvas,
                                             struct slice name) BK_MUST_CHECK;

/* Somebody signed in: what waits for that goes on, and the credential is checked. */
enum bk_err provider_work_connected(struct apply *apply, struct slice canvas,
                                    struct slice integration) BK_MUST_CHECK;
/* A link that posts: is its channel there? */
enum bk_err provider_work_link_changed(struct apply *apply,
                                       const struct apply_work *work) BK_MUST_CHECK;

/* ---- for operations_config; context = struct hub */
enum bk_err provider_work_load(void *context, struct store_txn *txn, struct operation *operation,
                               int64_t now_ns, struct arena *arena,
                               struct operation_ground *ret_ground) BK_MUST_CHECK;
enum bk_err provider_work_logged_in(void *context, const struct operation *operation,
                                    yyjson_mut_val *json, int64_t now_ns, struct arena *arena,
                                    struct operation_ground *ground) BK_MUST_CHECK;
enum bk_err provider_work_settle(void *context, struct store_txn *txn,
                                 const struct operation *operation) BK_MUST_CHECK;

#endif
