#include "control/guard.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/time.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define GUARD_STACK_BYTES (256U << 10)
/* Connections wait in the queue meanwhile. */
#define HAND_OVER_NS (5 * (uint64_t)NS_PER_SECOND)
/* A stop waits no longer than that for deliveries under way; what is cut then is delivered after
 * the start. */
#define DELIVER_DRAIN_NS (5 * (uint64_t)NS_PER_SECOND)
/* A second SIGTERM so soon after the first is the same one. */
#define SAME_SIGNAL_NS ((uint64_t)NS_PER_SECOND)

enum { TELL_STOP = 1U, TELL_HANG_UP = 2U };

struct guard {
    struct guard_config config;
    struct ring *ring;
    struct ring_op signals_op;
    struct guard_stop stop; /* written before TELL_STOP is told */
    bool stopping, drained;
    atomic_bool handing_over;
    /* To the control thread. The letter is its own again before it looks what there is. */
    struct ring_mail letter;
    atomic_bool letter_out;
    atomic_uint told;
    /* opening */
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open, failed;
    const char *why;
};

/* ---- to the control thread */

static void letter_arrived(struct ring_mail *mail)
{
    struct guard *guard = bk_container_of(mail, struct guard, letter);
    atomic_store(&guard->letter_out, false);
    unsigned told = atomic_exchange(&guard->told, 0);
    if (told & TELL_HANG_UP) {
        guard->config.hang_up(guard->config.context);
    }
    if (told & TELL_STOP) {
        guard->config.stop(guard->config.context, &guard->stop);
    }
}

static void tell(struct guard *guard, unsigned what)
{
    atomic_fetch_or(&guard->told, what);
    if (!atomic_exchange(&guard->letter_out, true)) {
        guard->letter.run = letter_arrived;
        ring_post(guard->ring, guard->config.control, &guard->letter);
    }
}

/* ---- the end */

/* A thread of its own: the kernel gives the signal to one that could take it, and never asks
 * another one; where that stands in the disk, nothing would come of it. */
static void *alarm_main(void *context)
{
    sigset_t alarms;
    int signal;
    (void)context;
    (void)pthread_setname_np(pthread_self(), "becket-alarm");
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    while (sigwait(&alarms, &signal) != 0) {
    }
    _exit(1);
}

/* Also where the log stands in the same disk. */
static _Noreturn void end_at_once(const char *why)
{
    (void)alarm(1);
    log_event(LOG_ERROR, "stopping at once", LOG_Z("why", why),
              LOG_Z("effect", "open connections are cut; nothing acknowledged is lost"));
    _exit(1);
}

static void stop_begin(struct guard *guard, int signal)
{
    const struct guard_config *config = &guard->config;
    bool handing_over = atomic_load(&guard->handing_over);
    bool now = handing_over || signal == SIGINT;
    uint64_t timeout_ns = (uint64_t)config->drain_timeout_ns;
    timeout_ns = handing_over && timeout_ns > HAND_OVER_NS ? HAND_OVER_NS : timeout_ns;
    uint64_t deliver_ns = timeout_ns / 5 * 3;
    struct guard_stop *stop = &guard->stop;
    stop->signal = signal;
    stop->handing_over = handing_over;
    stop->heard_ns = ring_now_ns(guard->ring);
    stop->drain_ns = stop->heard_ns + (now ? 0 : (uint64_t)config->drain_delay_ns);
    stop->deliver_until_ns =
        stop->drain_ns + (deliver_ns < DELIVER_DRAIN_NS ? deliver_ns : DELIVER_DRAIN_NS);
    stop->answer_until_ns = stop->drain_ns + timeout_ns / 10 * 9;
    stop->deadline_ns = stop->drain_ns + timeout_ns;
    guard->stopping = true;
    /* Should this thread, too, come to stand: its log may be on that disk. */
    uint64_t last_ns = stop->deadline_ns + GUARD_END_NS - stop->heard_ns;
    (void)alarm((unsigned)(last_ns / (uint64_t)NS_PER_SECOND) + 1);
    config->stopping(config->context, stop);
    tell(guard, TELL_STOP);
}

static void on_signal(struct ring_op *op, const struct ring_result *result)
{
    struct guard *guard = bk_container_of(op, struct guard, signals_op);
    if (result->value == SIGHUP) {
        tell(guard, TELL_HANG_UP);
    } else if (!guard->stopping) {
        stop_begin(guard, result->value);
    } else if (result->value != SIGTERM ||
               ring_now_ns(guard->ring) - guard->stop.heard_ns >= SAME_SIGNAL_NS) {
        end_at_once("second signal"); /* else both are one: some send it to process and group */
    }
}

/* ---- the thread */

static uint64_t next_ns(const struct guard *guard)
{
    if (!guard->stopping) {
        return UINT64_MAX;
    }
    return guard->drained ? guard->stop.deadline_ns + GUARD_END_NS
                          : guard->stop.drain_ns + GUARD_PATIENCE_NS;
}

static void look_after(struct guard *guard)
{
    if (!guard->stopping || ring_now_ns(guard->ring) < next_ns(guard)) {
        return;
    }
    if (guard->drained) {
        end_at_once("the stop took too long: the control thread stands, probably in the disk");
    }
    guard->drained = true;
    if (guard->config.drain(guard->config.context, guard->ring)) {
        log_event(LOG_ERROR, "the control thread stands", LOG_Z("why", "probably in the disk"),
                  LOG_Z("effect", "listeners are closed and connections drained without it"));
    }
}

static const int guarded[] = {SIGHUP, SIGTERM, SIGINT};
static const int blocked[] = {SIGHUP, SIGTERM, SIGINT, SIGALRM};

static void *guard_main(void *context)
{
    struct guard *guard = context;
    (void)pthread_setname_np(pthread_self(), "becket-guard");
    struct ring_config config = {.entries = 16, .handles_max = 16, .cpu = -1};
    enum bk_err err = ring_open(&config, &guard->ring, &guard->why);
    if (err == BK_OK) {
        err = ring_signals(guard->ring, &guard->signals_op, guarded, bk_array_length(guarded),
                           on_signal);
        if (err != BK_OK) {
            guard->why = "no descriptor to hear signals by: raise RLIMIT_NOFILE "
                         "(ulimit -n, LimitNOFILE=)";
        }
    }
    pthread_mutex_lock(&guard->lock);
    guard->open = true;
    guard->failed = err != BK_OK;
    pthread_cond_signal(&guard->opened);
    pthread_mutex_unlock(&guard->lock);
    while (err == BK_OK) {
        ring_turn(guard->ring, next_ns(guard));
        look_after(guard);
    }
    return NULL;
}

static bool thread_start(void *(*thread_main)(void *), struct guard *guard)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, GUARD_STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool started = pthread_create(&thread, &attributes, thread_main, guard) == 0;
    pthread_attr_destroy(&attributes);
    return started;
}

/* So many of them; SIGHUP is the first. */
static void block(unsigned count)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < count; i++) {
        sigaddset(&set, blocked[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void guard_hold_signals(void)
{
    block(getpid() == 1 ? bk_array_length(guarded) : 1);
}

struct guard *guard_open(const struct guard_config *config, const char **ret_why)
{
    /* Never freed: its thread is there until the process ends. */
    static struct guard guard;
    block(bk_array_length(blocked));
    guard.config = *config;
    guard.why = "out of memory";
    pthread_mutex_init(&guard.lock, NULL);
    pthread_cond_init(&guard.opened, NULL);
    if (!thread_start(alarm_main, &guard) || !thread_start(guard_main, &guard)) {
        *ret_why = "no more threads for this user or container: raise RLIMIT_NPROC (ulimit -u, "
                   "TasksMax=, --pids-limit)";
        return NULL;
    }
    pthread_mutex_lock(&guard.lock);
    while (!guard.open) {
        pthread_cond_wait(&guard.opened, &guard.lock);
    }
    pthread_mutex_unlock(&guard.lock);
    *ret_why = guard.why;
    return guard.failed ? NULL : &guard;
}

void guard_hand_over(struct guard *guard)
{
    atomic_store(&guard->handing_over, true);
    kill(getpid(), SIGTERM);
}
