/* notify.h - tells the service manager how we are (sd_notify(3), without a library).
 *
 * Purpose     READY, RELOADING, STOPPING, WATCHDOG and MAINPID to the socket that NOTIFY_SOCKET
 *             names; nothing when it names none. The variable is read once and removed.
 */
#ifndef BECKET_CLI_NOTIFY_H
#define BECKET_CLI_NOTIFY_H

#include <stdint.h>

void notify_open(void);
/* Lines such as "READY=1\nSTATUS=…". A manager that does not listen is not waited for. */
void notify_send(const char *lines);
/* "RELOADING=1" with the time it began; follow it with READY=1. */
void notify_reloading(void);
/* How often WATCHDOG=1 is wanted at least, 0 = not at all. */
int64_t notify_watchdog_ns(void);

#endif
