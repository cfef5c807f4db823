/* people_keeper.h - tokens are renewed before they end, and revoked when somebody disconnects.
 *
 * Purpose     One caller for all renewals, so a refresh token is used once: what operations use is
 *             what the store has. The new tokens are committed before anybody can see them.
 * Again       A provider that is down is asked again, from 5 s up to 10 min. One that refuses: the
 *             IntegrationUser says so in its status, and waits for its person to connect again.
 *             Revocations are tried REVOKE_TRIES times.
 * kill -9     What is due is in the store ("e/", "y/"). When the answer to a renewal was lost, the
 *             old refresh token is tried again: some providers take it, others want a new sign-in.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_PEOPLE_KEEPER_H
#define BECKET_HUB_PEOPLE_KEEPER_H

#include "hub/calls/outbound.h"
#include "hub/hub.h"

struct people_keeper;

enum bk_err people_keeper_open(struct hub *hub, struct outbound *outbound,
                               struct people_keeper **ret_keeper) BK_MUST_CHECK;
/* Calls that are still out must not be answered any more. */
void people_keeper_close(struct people_keeper *keeper);
/* Once per turn; returns when (wall clock) it has something to do by itself. */
int64_t people_keeper_run(struct people_keeper *keeper, int64_t now_ns);

#endif
