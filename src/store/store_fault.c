#include "store/store_fault.h"

#include "base/log.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static char store_path[PATH_MAX];

/* The last words. log_event() takes no lock and no memory; it makes one line on the stack and
 * writes it. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == BUS_ADRERR) {
        log_event(LOG_ERROR, "the store cannot be read", LOG_Z("path", store_path),
                  LOG_Z("why", "its file was cut short, or its disk failed (SIGBUS)"),
                  LOG_Z("effect",
                        "the process ends at once; nothing acknowledged is lost; the next "
                        "start looks through the file"));
        _exit(STORE_FAULT_EXIT);
    }
    if (info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO) {
        log_event(LOG_ERROR, "memory failed",
                  LOG_Z("why", "the machine found a fault in it (SIGBUS)"),
                  LOG_Z("effect", "the process ends at once; nothing acknowledged is lost"));
        _exit(STORE_FAULT_EXIT);
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number); /* pending until this handler has returned */
}

void store_fault_watch(const char *path)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    snprintf(store_path, sizeof store_path, "%s", path);
    sigaction(SIGBUS, &action, NULL);
}
