/* former.h - what is to be undone where an integration led before.
 *
 * Purpose     With another url or apiUrl an integration calls another server. A hook that was made
 *             at the one before is removed there, with what was called with then: the removal takes
 *             along the integration's spec of then and, sealed, its credential.
 * Order       The old credential is what the store had before the transaction, whatever the same
 *             set did to its Secret.
 * Threads     The control thread, within an apply; former_open() when a call is prepared.
 */
#ifndef BECKET_HUB_FORMER_H
#define BECKET_HUB_FORMER_H

#include "hub/operations/operation.h"
#include "hub/resources/apply_private.h"

/* Of a removal that is to be added: its former_spec, former_base and facts.url, if its integration
 * leads elsewhere since this set; slices in the set's arena. */
enum bk_err former_note(struct apply *apply, struct operation *removal) BK_MUST_CHECK;
/* And former_credential, in `text`, which the caller inits and keeps. Behind former_note(), when
 * removal->object is known. */
enum bk_err former_seal(struct apply *apply, struct operation *removal,
                        struct buf *text) BK_MUST_CHECK;
/* That credential, in the arena. */
enum bk_err former_open(struct hub *hub, const struct operation *operation, struct arena *arena,
                        struct slice *ret_text) BK_MUST_CHECK;

/* The same record with what it called with under the present data key, in json. BK_EXISTS: it is so
 * already, or there is none. */
enum bk_err former_renew(const struct hub *hub, struct slice record,
                         struct buf *json) BK_MUST_CHECK;

#endif
