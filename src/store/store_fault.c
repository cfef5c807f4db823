#include "store/store_fault.h"

#include "base/log.h"

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static char store_path[PATH_MAX];

#define AGAIN_NS 100000000L

/* Was it a write that failed? false: it was not, or this machine does not tell. */
static bool is_write(const ucontext_t *context)
{
#if defined(__x86_64__)
    return ((unsigned long long)context->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#elif defined(__aarch64__)
    const unsigned char *at = context->uc_mcontext.__reserved;
    const unsigned char *end = at + sizeof context->uc_mcontext.__reserved;
    struct _aarch64_ctx head;
    for (; at + sizeof(struct esr_context) <= end; at += head.size) {
        struct esr_context record;
        memcpy(&head, at, sizeof head);
        if (head.magic == ESR_MAGIC) {
            memcpy(&record, at, sizeof record);
            return (record.esr >> 6 & 1) != 0; /* WnR */
        }
        if (head.size == 0) {
            return false;
        }
    }
    return false;
#else
    (void)context;
    return false;
#endif
}

/* The write is tried again when this returns. */
static void wait_for_room(void)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;
    const struct timespec pause = {0, AGAIN_NS};
    if (!atomic_flag_test_and_set(&told)) {
        log_event(LOG_ERROR, "the store's lock file cannot be written",
                  LOG_Z("path", store_path),
                  LOG_Z("why", "there is no room for it, or its disk failed (SIGBUS)"),
                  LOG_Z("effect", "API and changes wait until there is room"));
    }
    (void)nanosleep(&pause, NULL);
}

/* The last words. log_event() takes no memory; it makes one line on the stack and writes it, and
 * nobody reads the store while he has its lock. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    if (info->si_code == BUS_ADRERR && is_write(context)) {
        wait_for_room();
        return;
    }
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
