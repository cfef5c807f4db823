/* sim_main.c - run scenarios of the simulator by seed.
 *
 *     sim_main --seed 7                      every scenario with that seed
 *     sim_main --seed 7 --seeds 200          seeds 7 to 206
 *     sim_main --seed 7 --scenario journal   one of them; --verbose tells what happens
 *     sim_main --seeds 200 --seconds 60      begins no more after a minute, but runs a tenth
 *
 * Canaries look at the simulator, not at the server: of many seeds the first and each tenth have
 * them. They come first, as each is a fork, which costs by the memory that there is.
 *
 * Exit 0: all passed. Else the failing seed and the command that repeats it are the last lines. */
#include "scenario.h"
#include "sim_internal.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CANARY_EACH 10U
#define LEAST_PART  10U /* of the seeds that were asked for */

static struct {
    uint64_t seed;
    uint64_t seeds;
    uint64_t seconds; /* 0 = no limit */
    const char *scenario;
    bool twice;
} options = {.seed = 1, .seeds = 1};

#if SIM_ASAN
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

static void on_abort(int number)
{
    (void)number;
    sim_on_death();
}

static uint64_t name_hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3ULL;
    }
    return hash;
}

static uint64_t run_one(const struct scenario *scenario, uint64_t seed)
{
    struct sim_config calm = {0};
    sim_begin(seed, scenario->name, &calm);
    /* Scenarios that draw alike must not see the same chances. */
    for (uint64_t i = name_hash(scenario->name) % 64; i > 0; i--) {
        (void)sim_random();
    }
    scenario->configure(sim_config());
    sim_run(scenario->run);
    sim_end();
    return sim_trace_hash();
}

static bool words_found(const char *text, const char *wanted)
{
    const char *bar = strchr(wanted, '|');
    char first[128];
    snprintf(first, sizeof first, "%.*s", bar ? (int)(bar - wanted) : (int)strlen(wanted), wanted);
    return strstr(text, first) || (bar && strstr(text, bar + 1));
}

/* A canary must fail, and for the reason it was made for; else the machinery is blind. */
static bool canary_caught(const struct scenario *scenario, uint64_t seed)
{
    static char words[65536];
    int ends[2];
    fflush(stdout);
    fflush(stderr);
    bk_assert(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        (void)run_one(scenario, seed);
        _exit(0);
    }
    close(ends[1]);
    size_t bytes = 0;
    ssize_t got;
    while ((got = read(ends[0], words + bytes, sizeof words - 1 - bytes)) > 0) {
        bytes += (size_t)got;
    }
    words[bytes] = '\0';
    close(ends[0]);
    int status = 0;
    bk_assert(child > 0 && waitpid(child, &status, 0) == child);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0) && words_found(words, scenario->caught);
}

/* Chance may spare a canary once; over a few seeds it must be caught. */
static void canary_run(const struct scenario *scenario, uint64_t seed)
{
    for (uint64_t i = 0; i < 20; i++) {
        if (canary_caught(scenario, seed + i)) {
            return;
        }
    }
    fprintf(stderr, "\nFAILED seed %" PRIu64 " scenario %s: the planted bug was not found\n", seed,
            scenario->name);
    exit(1);
}

static void run_seed(uint64_t seed, bool canaries)
{
    for (unsigned i = 0; i < scenario_count; i++) {
        const struct scenario *scenario = &scenarios[i];
        if (options.scenario && strcmp(options.scenario, scenario->name) != 0) {
            continue;
        }
        if (canaries != (scenario->caught != NULL)) {
            continue;
        }
        if (canaries && seed % CANARY_EACH != 0 && seed != options.seed) {
            continue;
        }
        printf("seed %" PRIu64 " %s\n", seed, scenario->name);
        fflush(stdout);
        if (scenario->caught && options.scenario && sim_verbose) {
            (void)run_one(scenario, seed); /* asked for by name: let it be seen */
        } else if (scenario->caught) {
            canary_run(scenario, seed);
        } else {
            uint64_t first = run_one(scenario, seed);
            if (options.twice && run_one(scenario, seed) != first) {
                fprintf(stderr, "\nFAILED seed %" PRIu64 " scenario %s: two runs of it differ\n",
                        seed, scenario->name);
                exit(1);
            }
            if (options.twice) {
                printf("  decided %016" PRIx64 "\n", first);
            }
        }
    }
}

static void usage(void)
{
    fprintf(stderr, "usage: sim_main [--seed N] [--seeds COUNT] [--seconds N] [--scenario NAME] "
                    "[--twice] [--verbose] [--trace]\n");
    for (unsigned i = 0; i < scenario_count; i++) {
        fprintf(stderr, "  %-18s %s\n", scenarios[i].name, scenarios[i].title);
    }
    exit(2);
}

static void options_parse(int count, char **values)
{
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? values[i + 1] : NULL;
        if (strcmp(values[i], "--verbose") == 0) {
            sim_verbose = true;
        } else if (strcmp(values[i], "--trace") == 0) {
            sim_verbose = sim_trace_ops = true;
        } else if (strcmp(values[i], "--twice") == 0) {
            options.twice = true;
        } else if (strcmp(values[i], "--seed") == 0 && value) {
            options.seed = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(values[i], "--seeds") == 0 && value) {
            options.seeds = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(values[i], "--seconds") == 0 && value) {
            options.seconds = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(values[i], "--scenario") == 0 && value) {
            options.scenario = value;
            i++;
        } else {
            usage();
        }
    }
}

static uint64_t clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static void run_seeds(void)
{
    uint64_t end = clock_seconds() + options.seconds;
    uint64_t least = (options.seeds + LEAST_PART - 1) / LEAST_PART;
    uint64_t ran = 0;
    for (uint64_t i = 0; i < options.seeds; i++) {
        run_seed(options.seed + i, true);
    }
    while (ran < options.seeds && (!options.seconds || ran < least || clock_seconds() < end)) {
        run_seed(options.seed + ran++, false);
    }
    if (options.seconds) {
        printf("%" PRIu64 " of %" PRIu64 " seeds were run\n", ran, options.seeds);
    }
}

int main(int count, char **values)
{
    options_parse(count, values);
    bool known = !options.scenario;
    for (unsigned i = 0; i < scenario_count; i++) {
        known |= options.scenario && strcmp(options.scenario, scenarios[i].name) == 0;
    }
    if (!known) {
        usage();
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGABRT, on_abort);
    /* Files of a run are large and live shortly: their memory is kept, so that the kernel need not
     * clear it each time. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
#if SIM_ASAN
    __sanitizer_set_death_callback(sim_on_death);
#endif
    run_seeds();
    return 0;
}
