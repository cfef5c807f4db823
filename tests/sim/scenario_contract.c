/* The contract of ring.h, told to the simulator by the test that the kernel's back end passes. */
#define RING_CONTRACT_SIM
#include "scenario.h"

#include "tests/unit/ring_contract_test.c"

/* Only faults that the contract allows for every call; the test expects that nothing fails
 * otherwise. */
void contract_configure(struct sim_config *config)
{
    config->op_delay_us = (uint32_t)sim_below(300);
    config->turn_batch = (uint32_t)sim_below(8);
    config->multishot_end = sim_below(2) ? 50 : 0;
    config->mail_delay_us = (uint32_t)sim_below(500);
    config->cancel_delay_us = (uint32_t)sim_below(300);
    config->latency_us = (uint32_t)sim_below(500);
    config->window_bytes = 1U << sim_between(12, 18);
    config->segment_bytes = 1U << sim_between(8, 16);
    config->dribble = sim_below(4) ? 0 : 5;
    config->receive_cut = sim_below(2) ? 100 : 0;
    config->disk_us_min = 50;
    config->disk_us_max = 1000;
}

void contract_run(void)
{
    all_tests(usual);
}
