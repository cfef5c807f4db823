/* contract_host.h - what tests/unit/ring_contract_test.c needs when it runs inside the simulator.
 */
#ifndef SIM_CONTRACT_HOST_H
#define SIM_CONTRACT_HOST_H

#include "sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define ok(condition, ...)      contract_ok((condition), __LINE__, "" __VA_ARGS__)
#define is_int(got, want, ...)  contract_is((int64_t)(got), (int64_t)(want), __LINE__)
#define is_uint(got, want, ...) contract_is((int64_t)(got), (int64_t)(want), __LINE__)
#define skip(...)               ((void)0)
#define bail_out(...)           sim_fail(__VA_ARGS__)
#define getpid()                1

static struct ring *ring;

__attribute__((format(printf, 3, 4))) static inline bool contract_ok(bool passed, int line,
                                                                     const char *format, ...)
{
    (void)format;
    sim_check(passed, "ring_contract_test.c:%d", line);
    return passed;
}

static inline bool contract_is(int64_t got, int64_t want, int line)
{
    sim_check(got == want, "ring_contract_test.c:%d: got %lld, want %lld", line, (long long)got,
              (long long)want);
    return true;
}

static inline void raise_signal(int number)
{
    sim_signal(ring, number);
}

static inline int foreign_make(void)
{
    int os_fd = sim_foreign_open();
    sim_foreign_ready(os_fd, RING_POLL_WRITE);
    return os_fd;
}

static inline void foreign_fill(int os_fd)
{
    sim_foreign_ready(os_fd, RING_POLL_READ | RING_POLL_WRITE);
}

static inline void foreign_drain(int os_fd)
{
    sim_foreign_ready(os_fd, RING_POLL_WRITE);
}

static inline void foreign_end(int os_fd)
{
    sim_foreign_close(os_fd);
}

static inline uint64_t thread_now(void)
{
    return (uint64_t)(uintptr_t)sim_self();
}

struct party {
    struct ring *ring;
    struct ring_config config;
    struct sim_thread *thread;
    bool stop;
};

static inline void party_main(void *context)
{
    struct party *party = context;
    const char *why = "";
    bk_assert(ring_open(&party->config, &party->ring, &why) == BK_OK);
    while (!party->stop) {
        ring_turn(party->ring, UINT64_MAX);
    }
    ring_close(party->ring);
}

static inline void party_start(struct party *party)
{
    party->thread = sim_spawn("party", party_main, party);
    while (!party->ring) {
        sim_yield();
    }
}

static inline void party_stop_mail(struct ring_mail *mail)
{
    (void)mail;
}

static inline void party_stop(struct party *party)
{
    struct ring_mail last = {.run = party_stop_mail};
    party->stop = true;
    ring_post(ring, party->ring, &last);
    sim_join(party->thread);
}

#endif
