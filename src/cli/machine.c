#include "cli/machine.h"

#include "ring/file.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number in a file of a control group; negative or "max": no limit, as when there is no file.
 */
static unsigned long cgroup_number(const char *directory, const char *name, char **ret_rest)
{
    static char text[256];
    char path[4096];
    char *content;
    size_t bytes;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    text[0] = 0;
    *ret_rest = text;
    if (file_read_all(path, sizeof text - 1, &content, &bytes) == BK_OK) {
        memcpy(text, content, bytes + 1);
        free(content);
    }
    return text[0] >= '0' && text[0] <= '9' ? strtoul(text, ret_rest, 10) : 0;
}

/* Version 2 has "50000 100000" or "max 100000" in cpu.max, version 1 two files. CPUs, rounded up;
 * 0 = no limit. */
static uint64_t cgroup_cpus_of(const char *directory)
{
    char *rest;
    unsigned long quota = cgroup_number(directory, "cpu.max", &rest);
    unsigned long period = quota ? strtoul(rest, NULL, 10) : 0;
    if (!period) {
        quota = cgroup_number(directory, "cpu.cfs_quota_us", &rest);
        period = quota ? cgroup_number(directory, "cpu.cfs_period_us", &rest) : 0;
    }
    return period ? (quota + period - 1) / period : 0;
}

/* Bytes; 0 = no limit. Version 1 says "none" by a number that nobody has. */
static uint64_t cgroup_memory_of(const char *directory)
{
    char *rest;
    uint64_t bytes = cgroup_number(directory, "memory.max", &rest);
    bytes = bytes ? bytes : cgroup_number(directory, "memory.limit_in_bytes", &rest);
    return bytes < 1ULL << 60 ? bytes : 0;
}

typedef uint64_t cgroup_limit_fn(const char *directory);

/* "0::/system.slice/becket.service" (version 2), "4:cpu,cpuacct:/…" (version 1). */
static uint64_t cgroup_limit_of_line(const char *line, const char *controller, cgroup_limit_fn *of)
{
    const char *controllers = strchr(line, ':');
    const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    bool second = path && path == controllers + 1;
    size_t bytes = strlen(controller);
    bool first = path && strncmp(controllers + 1, controller, bytes) == 0 &&
                 strchr(",:", controllers[1 + bytes]) != NULL;
    if (!first && !second) {
        return 0;
    }
    char directory[4096];
    snprintf(directory, sizeof directory, "/sys/fs/cgroup%s%s%s", second ? "" : "/",
             second ? "" : controller, path + 1);
    return of(directory);
}

static uint64_t tighter(uint64_t one, uint64_t other)
{
    return other && (!one || other < one) ? other : one;
}

/* A container sees its own group as the root; a service of the host finds its path in
 * /proc/self/cgroup. The tightest limit counts; 0 = there is none. */
static uint64_t cgroup_limit(const char *controller, cgroup_limit_fn *of)
{
    char first[64];
    snprintf(first, sizeof first, "/sys/fs/cgroup/%s", controller);
    uint64_t tightest = tighter(of("/sys/fs/cgroup"), of(first));
    char *text;
    size_t bytes;
    if (file_read_all("/proc/self/cgroup", 16384, &text, &bytes) != BK_OK) {
        return tightest;
    }
    for (char *line = text, *next; *line; line = next) {
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] != 0);
        line[length] = 0;
        tightest = tighter(tightest, cgroup_limit_of_line(line, controller, of));
    }
    free(text);
    return tightest;
}

unsigned machine_cpu_quota(void)
{
    return (unsigned)cgroup_limit("cpu", cgroup_cpus_of);
}

uint64_t machine_memory_bytes(void)
{
    return cgroup_limit("memory", cgroup_memory_of);
}

unsigned machine_cpus(int ret_cpus[CORES_MAX])
{
    cpu_set_t set;
    unsigned count = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE && count < CORES_MAX; cpu++) {
            if (CPU_ISSET((unsigned)cpu, &set)) {
                ret_cpus[count++] = cpu;
            }
        }
    }
    return count ? count : 1;
}
