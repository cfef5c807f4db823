/* machine.h - how much machine there is for this process: CPUs and memory, and the limits of its
 * control groups, version 1 and 2. */
#ifndef BECKET_CLI_MACHINE_H
#define BECKET_CLI_MACHINE_H

#include "base/limits.h"

#include <stdint.h>

/* Those that it may run on, by number; gives how many, at least 1. */
unsigned machine_cpus(int ret_cpus[CORES_MAX]);
/* CPUs that its control group may use, rounded up; 0 = no limit. */
unsigned machine_cpu_quota(void);
/* That its control group may use; 0 = no limit. */
uint64_t machine_memory_bytes(void);

#endif
