#include "cli/notify.h"

#include "cli/clock.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int notify_socket = -1;
static struct sockaddr_un manager;
static socklen_t manager_bytes;
static int64_t watchdog_ns;

/* For this process, and every so many microseconds. */
static void read_watchdog(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    bool ours = !pid || strtol(pid, NULL, 10) == (long)getpid();
    if (usec && ours) {
        int64_t wanted = strtoll(usec, NULL, 10);
        watchdog_ns = wanted > 0 && wanted < INT64_MAX / 1000 ? wanted * 1000 : 0;
    }
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_open(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t bytes = path ? strlen(path) : 0;
    if (bytes > 1 && bytes < sizeof manager.sun_path && (path[0] == '/' || path[0] == '@')) {
        manager.sun_family = AF_UNIX;
        memcpy(manager.sun_path, path, bytes);
        if (path[0] == '@') {
            manager.sun_path[0] = '\0'; /* a name without a file */
        }
        manager_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
        notify_socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        read_watchdog();
    }
    unsetenv("NOTIFY_SOCKET");
}

void notify_send(const char *lines)
{
    if (notify_socket >= 0) {
        (void)!sendto(notify_socket, lines, strlen(lines), MSG_NOSIGNAL,
                      (const struct sockaddr *)&manager, manager_bytes);
    }
}

void notify_reloading(void)
{
    char lines[80];
    snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)clock_read_ns(CLOCK_MONOTONIC) / 1000);
    notify_send(lines);
}

int64_t notify_watchdog_ns(void)
{
    return watchdog_ns;
}
