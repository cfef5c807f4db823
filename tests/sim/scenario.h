/* scenario.h - the table of scenarios. A scenario is a function that runs as the simulator's main
 * thread. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "sim.h"

struct scenario {
    const char *name;
    const char *title;
    void (*configure)(struct sim_config *config); /* draws ratios from the seed */
    void (*run)(void);
    /* A canary has a planted bug and must fail; its last words must hold this text, or the one
     * behind the bar. */
    const char *caught;
};

void contract_configure(struct sim_config *config);
void contract_run(void);

void canary_configure(struct sim_config *config);
void canary_flush_run(void);
void canary_leak_run(void);
void canary_stale_run(void);
void canary_close_run(void);
void canary_send_run(void);
void canary_sleep_run(void);
void journal_configure(struct sim_config *config);
void journal_run(void);
void journal_storm_run(void);
void journal_sweep_configure(struct sim_config *config);
void journal_sweep_run(void);
void server_configure(struct sim_config *config);
void server_run(void);
void server_sweep_run(void);
void server_frozen_run(void);
void server_slow_configure(struct sim_config *config);
void server_slow_run(void);
void server_loud_run(void);
void stop_configure(struct sim_config *config);
void stop_drain_run(void);
void stop_hand_over_run(void);
void stop_overload_run(void);
void stop_crowded_run(void);
void linger_run(void);
void tls_run(void);
void canary_ack_run(void);
void client_configure(struct sim_config *config);
void client_run(void);
void deliver_configure(struct sim_config *config);
void deliver_run(void);

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

#endif
