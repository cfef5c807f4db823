/* Senders that are refused before their body was here and send on, so that what they were told is
 * not reset away. Checked:
 *   - who goes on sending is read for half a minute, and not for longer;
 *   - who falls silent is let go of two seconds (and a step) later;
 *   - in a drain, and while others wait for a slot, nobody is read for longer than two seconds. */
#include "scenario.h"
#include "server_sim.h"

#include "hub/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#define TALKERS_MAX 12U
#define STEP_NS     (2 * SECOND) /* of looking whether one still sends */
#define WHOLE_NS    (32 * SECOND)
#define SLACK_NS    (300 * MS)

struct talker {
    struct sim_socket *socket;
    uint64_t answered_ns;
    uint64_t talks_ns; /* so long; then it is silent */
    uint64_t last_ns;  /* its last word */
    uint64_t over_ns;
};

static struct {
    enum { TALK, DRAIN, CROWDED } mode;
    struct talker talkers[TALKERS_MAX];
    unsigned count;
    unsigned conns_max;
    bool over;         /* the talkers are gone, their next words may still be due */
    uint64_t hurry_ns; /* from then on two seconds are all; 0 = not yet */
    uint64_t waiter_ns, waited_ns;
    struct sim_socket *waiter;
} plan;

/* ---- talkers */

static void talker_look(void *context)
{
    struct talker *talker = context;
    uint8_t bytes[512];
    while (net_available(talker->socket) > 0) {
        net_read(talker->socket, bytes, sizeof bytes);
        if (!talker->answered_ns) {
            sim_check(memcmp(bytes, "HTTP/1.1 404 ", 13) == 0, "answered %.12s", (char *)bytes);
            talker->answered_ns = sim_now_ns();
        }
    }
    if (net_reset(talker->socket) && !talker->over_ns) {
        sim_check(talker->answered_ns != 0, "reset without an answer");
        talker->over_ns = sim_now_ns();
    }
}

static void talker_says(void *context, uint64_t number)
{
    static const char word[] = "2\r\nhm\r\n";
    struct talker *talker = context;
    (void)number;
    if (plan.over || talker->over_ns || net_broken(talker->socket) ||
        (talker->answered_ns && sim_now_ns() > talker->answered_ns + talker->talks_ns)) {
        return;
    }
    if (net_room(talker->socket) >= sizeof word) {
        net_write(talker->socket, word, sizeof word - 1);
        talker->last_ns = sim_now_ns();
    }
    sim_at(sim_now_ns() + sim_between(10, 1500) * MS, talker_says, talker, 0);
}

static void talker_connected(void *context, uint64_t number, struct sim_socket *socket,
                             enum bk_err err)
{
    static const char head[] =
        "POST /nothing HTTP/1.1\r\nHost: sim\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct talker *talker = context;
    (void)number;
    sim_check(err == BK_OK, "cannot connect: %s", bk_err_name(err));
    talker->socket = socket;
    net_notify(socket, talker_look, talker);
    net_write(socket, head, sizeof head - 1);
    talker->last_ns = sim_now_ns();
    sim_at(sim_now_ns() + sim_between(10, 1500) * MS, talker_says, talker, 0);
}

/* The server has let go of it by then. */
static uint64_t talker_ends_ns(const struct talker *talker)
{
    if (!talker->answered_ns) {
        return UINT64_MAX;
    }
    uint64_t ends_ns = talker->answered_ns + WHOLE_NS;
    uint64_t silent_ns = talker->last_ns + 2 * STEP_NS;
    uint64_t hurried_ns = plan.hurry_ns + STEP_NS;
    ends_ns = silent_ns < ends_ns ? silent_ns : ends_ns;
    ends_ns = plan.hurry_ns && hurried_ns < ends_ns ? hurried_ns : ends_ns;
    uint64_t least_ns = talker->answered_ns + STEP_NS;
    return (ends_ns > least_ns ? ends_ns : least_ns) + SLACK_NS;
}

static void talkers_check(void)
{
    unsigned allowed = plan.waiter && !plan.waited_ns ? 1 : 0;
    for (unsigned i = 0; i < plan.count; i++) {
        const struct talker *talker = &plan.talkers[i];
        allowed += sim_now_ns() < talker_ends_ns(talker);
        bool early = talker->over_ns && !plan.hurry_ns &&
                     talker->over_ns < talker->answered_ns + WHOLE_NS - SLACK_NS;
        sim_check(!early, "who still sends is reset after %" PRIu64 " ms",
                  (talker->over_ns - talker->answered_ns) / MS);
    }
    const struct metrics_reactor *metrics = reactor_metrics(server.core[0].reactor);
    sim_check(metrics->connections_ingress <= allowed,
              "%" PRIu64 " connections are open, %u may be", metrics->connections_ingress, allowed);
}

static void talkers_end(void)
{
    plan.over = true;
    for (unsigned i = 0; i < plan.count; i++) {
        net_notify(plan.talkers[i].socket, NULL, NULL);
        net_close(plan.talkers[i].socket, true);
    }
}

/* ---- somebody who waits for a slot */

static void waiter_look(void *context)
{
    uint8_t bytes[512];
    (void)context;
    while (net_available(plan.waiter) > 0) {
        net_read(plan.waiter, bytes, sizeof bytes);
        plan.waited_ns = sim_now_ns();
    }
}

static void waiter_connected(void *context, uint64_t number, struct sim_socket *socket,
                             enum bk_err err)
{
    static const char ask[] = "GET /health/live HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
    (void)context, (void)number;
    sim_check(err == BK_OK, "cannot connect: %s", bk_err_name(err));
    plan.waiter = socket;
    net_notify(socket, waiter_look, NULL);
    net_write(socket, ask, sizeof ask - 1);
}

/* ---- a run */

static void control_until(uint64_t until_ns)
{
    while (sim_now_ns() < until_ns) {
        server_sim_turn(ring_now_ns(server.ring) + 20 * MS);
        if (plan.mode != CROWDED || plan.hurry_ns) {
            talkers_check();
        }
    }
}

static bool all_are_answered(void)
{
    for (unsigned i = 0; i < plan.count; i++) {
        if (!plan.talkers[i].answered_ns) {
            return false;
        }
    }
    return true;
}

static void begin(void)
{
    static const struct ring_address to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    memset(&plan, 0, sizeof plan);
    plan.mode = (unsigned)sim_below(3);
    plan.count = (unsigned)sim_between(1, TALKERS_MAX);
    plan.conns_max = plan.mode == CROWDED ? plan.count : 64;
    bk_assert(directory_make("data") == BK_OK && directory_sync("") == BK_OK);
    server_sim_open(1, CORES, 24 * HOUR_NS);
    struct source_change change = server_sim_source(1, "alpha", "github", "it is a secret");
    server_sim_put(&change);
    catalog_start(server.catalog, server.ring);
    server_sim_start(0, (struct reactor_config){.durable = true,
                                                .conns_max = plan.conns_max,
                                                .buffers_bytes_max = 16 << 20});
    for (unsigned i = 0; i < plan.count; i++) {
        plan.talkers[i].talks_ns = sim_below(2) ? WHOLE_NS + 9 * SECOND : sim_below(20 * SECOND);
        net_connect(NULL, &to, talker_connected, &plan.talkers[i], 0);
    }
    while (!all_are_answered()) {
        control_until(sim_now_ns() + 20 * MS);
    }
}

static void crowd(void)
{
    static const struct ring_address to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    plan.waiter_ns = sim_now_ns();
    net_connect(NULL, &to, waiter_connected, NULL, 0);
    while (!plan.waited_ns) {
        control_until(sim_now_ns() + 20 * MS);
        sim_check(sim_now_ns() < plan.waiter_ns + STEP_NS + SECOND, "nobody makes room");
    }
}

static void no_turn(void)
{
    server_sim_turn(ring_now_ns(server.ring) + 20 * MS);
}

void linger_run(void)
{
    if (sim_below(8)) {
        return; /* of a thousand seeds an eighth is enough */
    }
    begin();
    uint64_t until_ns = sim_now_ns() + WHOLE_NS + 10 * SECOND;
    if (plan.mode == CROWDED) {
        crowd();
    } else {
        control_until(plan.mode == TALK ? until_ns : sim_now_ns() + sim_below(25 * SECOND));
    }
    plan.hurry_ns = sim_now_ns();
    server_sim_stop(18 * SECOND, SECOND, STEP_NS + 2 * SECOND, no_turn);
    server_sim_close();
    talkers_end();
    if (plan.waiter) {
        net_notify(plan.waiter, NULL, NULL);
        net_close(plan.waiter, true);
    }
}
