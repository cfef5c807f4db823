/* certificates.h - are the listeners' certificates good for a while yet?
 *
 * Purpose     A server may run for longer than its certificate is good: who reads the log is told
 *             two weeks before and each day from there on, and /metrics has the time.
 * Threads     The control thread.
 */
#ifndef BECKET_CONTROL_CERTIFICATES_H
#define BECKET_CONTROL_CERTIFICATES_H

#include "tls/tls.h"

/* One line on what was read: a warning where a certificate ends soon, or has ended. */
void certificates_log(const struct tls_server *server, int64_t now_seconds);
/* Says so again when it is time to. Gives when to come again: seconds since 1970. */
int64_t certificates_watch(struct tls_slot *slot, int64_t *next_seconds, int64_t now_seconds);
/* When to look again: two weeks before, when it ends, and each day between and behind. */
int64_t certificates_next_look(int64_t expires, int64_t now_seconds);
/* When the first one ends; 0 = there are none (slot is NULL). */
int64_t certificates_expire(struct tls_slot *slot);

#endif
