/* quickstart.h - one working source at the first start, so that a first event is two commands away.
 *
 * Purpose     Applies an embedded document: a Secret `quickstart` with a fresh random key and an
 *             EventSource `quickstart` (type standard-webhooks, path `quickstart`) that uses it.
 */
#ifndef BECKET_HUB_QUICKSTART_H
#define BECKET_HUB_QUICKSTART_H

#include "hub/hub.h"

#define QUICKSTART_NAME "quickstart"
#define QUICKSTART_TYPE "standard-webhooks"

struct quickstart {
    char secret[64];  /* "whsec_…", for the printed `becket send`; wipe after use */
    char url[512];    /* where to send */
};

/* BK_EXISTS: there is such a source already, nothing was changed. */
enum bk_err quickstart_apply(struct hub *hub, int64_t now_ns, struct quickstart *ret_quickstart,
                             char ret_why[HUB_WHY_BYTES]) BK_MUST_CHECK;

#endif
