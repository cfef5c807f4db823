/* reseal.h - after a change of the data key: all that the one before sealed, sealed anew.
 *
 * Purpose     Secrets, tokens, signing keys, sign-ins under way, tokens to be revoked: whatever
 *             store/keys.h calls sealed. Rounds over all of it, until one finds nothing that only
 *             the key before opens; then that key is forgotten (hub/data_key.h).
 * Steps       One looks at RESEAL_LOOKS values or RESEAL_BYTES and writes at most as many, in one
 *             transaction that reads them again. Nothing of it is kept on disk but the
 *             values: after a restart it starts at the first, and passes quickly over what is done.
 * Failure     A store that takes no writes: tried again every second. What neither key opens
 *             stays as it is.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_RESEAL_H
#define BECKET_HUB_RESEAL_H

#include "hub/hub.h"

#define RESEAL_LOOKS 512U
#define RESEAL_BYTES (4U << 20)

struct reseal;

enum bk_err reseal_open(struct hub *hub, struct reseal **ret_reseal) BK_MUST_CHECK;
void reseal_close(struct reseal *reseal);

/* One step, while there is a data key before. Gives when to come again (wall clock); INT64_MAX =
 * there is nothing to do. */
int64_t reseal_run(struct reseal *reseal, int64_t now_ns);

struct reseal_stats {
    bool running;
    uint64_t done;  /* records that were sealed anew since the change, or the start */
    uint64_t total; /* records to look at, about */
    uint64_t looked;
    enum bk_err err; /* why it does not go on now; BK_OK = it does */
};
void reseal_stats(const struct reseal *reseal, struct reseal_stats *ret_stats);

#endif
