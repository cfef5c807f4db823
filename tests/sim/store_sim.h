/* store_sim.h - the store of the simulated world, for scenarios: a map in memory whose commits are
 * atomic, take time, and may fail. */
#ifndef SIM_STORE_SIM_H
#define SIM_STORE_SIM_H

#include "store/store.h"

/* Empty, and nothing fails. */
void store_sim_begin(void);
void store_sim_end(void);
/* The only one; open it as often as you like. */
struct store *store_sim(void);
/* So many of 1,000 commits find the disk full; a commit takes up to so long. */
void store_sim_faults(uint32_t no_space, uint32_t commit_us);
/* After sim_disk_cut() and the end of all threads: what was committed since is forgotten. */
void store_sim_crash(void);

#endif
