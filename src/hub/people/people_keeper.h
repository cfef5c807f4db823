/* people_keeper.h - tokens are renewed before they end, and revoked when somebody disconnects.
 *
 * Purpose     One caller for all renewals, so a refresh token is used once: what operations use is
 *             what the store has. The new tokens are committed before anybody can see them.
 * Intent      That a renewal begins is committed before the call ("f/"). So a store that takes no
 *             writes costs no token: the provider is not called.
 * Held        Tokens that came and cannot be stored are held here, and their write is tried again
 *             until it is in; the old refresh token is not used meanwhile. Somebody who
 *             disconnected during the call stays disconnected: what came is revoked. Somebody who
 *             connected anew keeps the new sign-in.
 * Again       A provider that is down is asked again, from 5 s up to 10 min. One that refuses: the
 *             IntegrationUser says so in its status, and waits for its person to connect again. One
 *             that refuses becket itself (client id or secret): likewise, but it is asked again
 *             every 10 min. Revocations are tried for about a day (REVOKE_TRIES).
 * kill -9     What is due is in the store ("e/", "y/"). When the answer to a renewal was lost, "f/"
 *             tells so: the old refresh token is tried again, for some providers take it within a
 *             grace; where it is refused then, the status says in words what happened.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_PEOPLE_KEEPER_H
#define BECKET_HUB_PEOPLE_KEEPER_H

#include "hub/calls/web_call.h"
#include "hub/hub.h"

struct people_keeper;

/* `call` is web_call_start but in tests. */
enum bk_err people_keeper_open(struct hub *hub, struct outbound *outbound, web_call_fn *call,
                               struct people_keeper **ret_keeper) BK_MUST_CHECK;
/* Calls that are still out must not be answered any more. What is held is tried a last time. */
void people_keeper_close(struct people_keeper *keeper);
/* Once per turn; returns when (wall clock) it has something to do by itself. */
int64_t people_keeper_run(struct people_keeper *keeper, int64_t now_ns);
/* The wall clock was set from one time to another. What waits in memory waits as long as it would
 * have; what was noted by a clock that was ahead is due as much earlier, of the first
 * PEOPLE_SHIFT_MAX renewals. */
#define PEOPLE_SHIFT_MAX 4096U
void people_keeper_clock_was_set(struct people_keeper *keeper, int64_t from_ns, int64_t to_ns);

#endif
