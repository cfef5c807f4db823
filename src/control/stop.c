#include "control/control_private.h"

#include "base/log.h"

#include <signal.h>

static void core_drain(struct core *core)
{
    const struct guard_stop *stop = atomic_load(&core->control->stop);
    reactor_drain(core->reactor, stop->deliver_until_ns, stop->answer_until_ns);
}

/* The control thread's part of a stop. The reactors stop accepting when that it is not ready had
 * time to spread. */
void stop_begin(void *context, const struct guard_stop *stop)
{
    struct control *control = context;
    log_event(LOG_INFO, stop->handing_over ? "handing over" : "stopping",
              LOG_Z("signal", stop->signal == SIGTERM ? "SIGTERM" : "SIGINT"));
    control->draining = true;
    dispatch_drain(control->dispatch);
}

static void drain_begin(struct control *control)
{
    if (ring_now_ns(control->ring) < atomic_load(&control->stop)->drain_ns ||
        atomic_exchange(&control->drain_sent, true)) {
        return;
    }
    sockets_close(control->config.sockets); /* and the reactors close theirs */
    for (unsigned i = 0; i < control->core_count; i++) {
        errand_send(&control->cores[i].drain, &control->cores[i], core_drain, NULL);
    }
}

bool stop_step(struct control *control)
{
    drain_begin(control);
    bool over = ring_now_ns(control->ring) >= atomic_load(&control->stop)->deadline_ns;
    if (over) {
        log_event(LOG_WARN, "drain timed out",
                  LOG_Z("effect", "open connections are cut; nothing acknowledged is lost"));
    }
    return over;
}

/* First it is not ready, so that who sends requests here looks for another. */
void stop_heard(void *context, const struct guard_stop *stop)
{
    struct control *control = context;
    const struct control_config *config = &control->config;
    atomic_store(&control->stop, stop);
    atomic_store(&control->not_ready, "stopping");
    if (config->stopping && !stop->handing_over) {
        config->stopping(config->context); /* else the service goes on, elsewhere */
    }
}

static void guard_drain_arrived(struct ring_mail *mail)
{
    core_drain(bk_container_of(mail, struct core, guard_drain));
}

bool stop_drain_alone(void *context, struct ring *guard)
{
    struct control *control = context;
    if (!atomic_load(&control->running) || atomic_exchange(&control->drain_sent, true)) {
        return false;
    }
    sockets_close(control->config.sockets);
    for (unsigned i = 0; i < control->core_count; i++) {
        control->cores[i].guard_drain.run = guard_drain_arrived;
        ring_post(guard, control->cores[i].ring, &control->cores[i].guard_drain);
    }
    return true;
}

void control_hand_over(struct control *control)
{
    guard_hand_over(control->guard);
}
