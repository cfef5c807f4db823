/* sim.c - chance, time, events and threads of the simulator; see sim.h. */
#include "sim_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#if SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES     (1U << 20)
#define STACKS_KEPT_MAX 8U
#define THREADS_MAX     64U
#define STEPS_MAX       20000000ULL
#define TIME_MAX_NS     (24ULL * 3600 * 1000000000ULL)

struct event {
    uint64_t at_ns;
    uint64_t order;
    sim_event_fn *run;
    void *context;
    uint64_t number;
};

/* Where a stack goes on. A ucontext begins a thread; once it runs, jumps do, as switching with
 * ucontexts is two system calls, and AddressSanitizer then clears its notes of both stacks. They
 * are the compiler's own jumps: the C library's look for a frame that is gone. */
struct place {
    ucontext_t context;
    void *jump[5];
    bool begun;
};

struct sim_thread {
    const char *name;
    struct place place;
    void *stack;
    void *fake_stack;
    sim_thread_fn *run;
    void *argument;
    bool ended;
    sim_due_fn *due;
    void *due_context;
    uint64_t deadline_ns;
};

static struct {
    bool active;
    uint64_t seed;
    const char *scenario;
    struct sim_config config;
    uint64_t random[4];
    uint64_t trace;
    uint64_t now_ns;
    int64_t wall_offset_ns;
    uint64_t epoch;
    uint64_t steps;
    struct event *events;
    size_t event_count;
    size_t event_size;
    uint64_t event_order;
    struct sim_thread *threads[THREADS_MAX];
    unsigned thread_count;
    struct sim_thread *current;
    struct place scheduler;
    void *scheduler_fake_stack;
    const void *scheduler_stack;
    size_t scheduler_stack_bytes;
} sim;

bool sim_verbose;
bool sim_trace_ops;

/* ---- chance: xoshiro256** seeded by splitmix64 (Blackman and Vigna, public domain description) */

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void random_seed(uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ULL;
        uint64_t mixed = seed;
        mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ULL;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebULL;
        sim.random[i] = mixed ^ mixed >> 31;
    }
}

uint64_t sim_random(void)
{
    uint64_t *s = sim.random;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t sim_below(uint64_t limit)
{
    /* The bias of a plain remainder does not matter here. */
    return limit ? sim_random() % limit : 0;
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
    bk_assert(low <= high);
    return low + sim_below(high - low + 1);
}

bool sim_chance(uint32_t permille)
{
    return permille != 0 && sim_below(1000) < permille;
}

void sim_trace(uint64_t word)
{
    sim.trace = (sim.trace ^ word) * 0x100000001b3ULL;
    sim.trace ^= sim.trace >> 29;
}

uint64_t sim_trace_hash(void)
{
    return sim.trace;
}

/* ---- time */

uint64_t sim_now_ns(void)
{
    return sim.now_ns;
}

int64_t sim_wall_ns(void)
{
    return (int64_t)sim.now_ns + sim.wall_offset_ns;
}

void sim_wall_jump(int64_t ns)
{
    sim.wall_offset_ns += ns;
}

void sim_advance(uint64_t ns)
{
    sim.now_ns += ns;
    sim.epoch++;
}

uint64_t sim_epoch(void)
{
    return sim.epoch;
}

void sim_touch(void)
{
    sim.epoch++;
}

/* ---- messages */

void sim_log(const char *format, ...)
{
    if (!sim_verbose) {
        return;
    }
    va_list args;
    va_start(args, format);
    printf("%12.6f %-8s ", (double)sim.now_ns / 1e9, sim.current ? sim.current->name : "-");
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

void sim_on_death(void)
{
    static bool told;
    if (told || !sim.active) {
        return;
    }
    told = true;
    char text[256];
    int bytes = snprintf(text, sizeof text,
                         "\nFAILED seed %" PRIu64 " scenario %s at %.6f s, step %" PRIu64
                         "\nagain: sim_main --seed %" PRIu64 " --scenario %s --verbose\n",
                         sim.seed, sim.scenario, (double)sim.now_ns / 1e9, sim.steps, sim.seed,
                         sim.scenario);
    if (bytes > 0) {
        (void)!write(STDERR_FILENO, text, (size_t)bytes);
    }
}

void sim_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "simulator: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, " (thread %s)\n", sim.current ? sim.current->name : "-");
    va_end(args);
    fflush(stderr);
    sim_on_death();
    if (getenv("SIM_DUMP")) {
        sim_disk_dump(getenv("SIM_DUMP"));
    }
    _exit(1);
}

struct sim_config *sim_config(void)
{
    return &sim.config;
}

/* ---- events: a binary heap by time, then order of birth */

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void sim_at(uint64_t at_ns, sim_event_fn *run, void *context, uint64_t number)
{
    if (sim.event_count == sim.event_size) {
        sim.event_size = sim.event_size ? sim.event_size * 2 : 256;
        sim.events = realloc(sim.events, sim.event_size * sizeof *sim.events);
        bk_assert(sim.events);
    }
    size_t i = sim.event_count++;
    struct event event = {at_ns > sim.now_ns ? at_ns : sim.now_ns, sim.event_order++, run, context,
                          number};
    while (i > 0 && event_before(&event, &sim.events[(i - 1) / 2])) {
        sim.events[i] = sim.events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim.events[i] = event;
}

static struct event event_pop(void)
{
    struct event first = sim.events[0];
    struct event last = sim.events[--sim.event_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= sim.event_count) {
            break;
        }
        if (child + 1 < sim.event_count &&
            event_before(&sim.events[child + 1], &sim.events[child])) {
            child++;
        }
        if (!event_before(&sim.events[child], &last)) {
            break;
        }
        sim.events[i] = sim.events[child];
        i = child;
    }
    if (sim.event_count) {
        sim.events[i] = last;
    }
    return first;
}

static void events_run(void)
{
    while (sim.event_count && sim.events[0].at_ns <= sim.now_ns) {
        struct event event = event_pop();
        sim.epoch++;
        sim_trace(event.number ^ event.order);
        event.run(event.context, event.number);
    }
}

/* ---- threads: coroutines on their own stacks */

#if SIM_ASAN
static void switch_begin(void **fake_stack, const void *stack, size_t bytes)
{
    __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
}
static void switch_end(void *fake_stack, const void **stack, size_t *bytes)
{
    __sanitizer_finish_switch_fiber(fake_stack, stack, bytes);
}
/* Of frames that were never left there are still notes. */
static void stack_forget(void *stack)
{
    __asan_unpoison_memory_region(stack, STACK_BYTES);
}
#else
static void switch_begin(void **fake_stack, const void *stack, size_t bytes)
{
    (void)fake_stack, (void)stack, (void)bytes;
}
static void switch_end(void *fake_stack, const void **stack, size_t *bytes)
{
    (void)fake_stack, (void)stack, (void)bytes;
}
static void stack_forget(void *stack)
{
    (void)stack;
}
#endif

/* The compiler wants both halves of a jump in functions of their own. */
__attribute__((noinline, no_sanitize_address)) static void place_go(struct place *to)
{
    if (to->begun) {
        __builtin_longjmp(to->jump, 1);
    }
    setcontext(&to->context);
}

__attribute__((noinline, no_sanitize_address)) static void place_switch(struct place *from,
                                                                        struct place *to)
{
    from->begun = true;
    if (__builtin_setjmp(from->jump) == 0) {
        place_go(to);
        bk_never("a thread does not begin");
    }
}

static void thread_to_scheduler(struct sim_thread *thread)
{
    switch_begin(thread->ended ? NULL : &thread->fake_stack, sim.scheduler_stack,
                 sim.scheduler_stack_bytes);
    place_switch(&thread->place, &sim.scheduler);
    switch_end(thread->fake_stack, &sim.scheduler_stack, &sim.scheduler_stack_bytes);
}

static void thread_entry(void)
{
    switch_end(NULL, &sim.scheduler_stack, &sim.scheduler_stack_bytes);
    struct sim_thread *thread = sim.current;
    thread->run(thread->argument);
    thread->ended = true;
    thread_to_scheduler(thread);
    bk_never("an ended thread runs");
}

static void thread_resume(struct sim_thread *thread)
{
    sim.current = thread;
    switch_begin(&sim.scheduler_fake_stack, thread->stack, STACK_BYTES);
    place_switch(&sim.scheduler, &thread->place);
    switch_end(sim.scheduler_fake_stack, NULL, NULL);
    sim.current = NULL;
}

/* Stacks are kept for the next threads. */
static void *stacks_kept[STACKS_KEPT_MAX];
static unsigned stacks_kept_count;

static void *stack_take(void)
{
    if (stacks_kept_count > 0) {
        return stacks_kept[--stacks_kept_count];
    }
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bk_assert(stack != MAP_FAILED);
    return stack;
}

static void stack_give(void *stack)
{
    stack_forget(stack);
    if (stacks_kept_count < STACKS_KEPT_MAX) {
        stacks_kept[stacks_kept_count++] = stack;
    } else {
        munmap(stack, STACK_BYTES);
    }
}

struct sim_thread *sim_spawn(const char *name, sim_thread_fn *run, void *argument)
{
    bk_assert(sim.thread_count < THREADS_MAX);
    struct sim_thread *thread = calloc(1, sizeof *thread);
    bk_assert(thread);
    thread->name = name;
    thread->run = run;
    thread->argument = argument;
    thread->stack = stack_take();
    ucontext_t *context = &thread->place.context;
    getcontext(context);
    context->uc_stack.ss_sp = thread->stack;
    context->uc_stack.ss_size = STACK_BYTES;
    context->uc_link = NULL;
    makecontext(context, thread_entry, 0);
    sim.threads[sim.thread_count++] = thread;
    return thread;
}

struct sim_thread *sim_self(void)
{
    return sim.current;
}

const char *sim_thread_name(const struct sim_thread *thread)
{
    return thread ? thread->name : "-";
}

void sim_wait(sim_due_fn *due, void *context, uint64_t deadline_ns)
{
    struct sim_thread *self = sim.current;
    bk_assert(self);
    self->due = due;
    self->due_context = context;
    self->deadline_ns = deadline_ns;
    thread_to_scheduler(self);
    bk_assert(sim.current == self);
    self->due = NULL;
}

void sim_sleep(uint64_t ns)
{
    sim_wait(NULL, NULL, sim.now_ns + ns);
}

void sim_yield(void)
{
    sim_sleep(0);
}

bool sim_thread_ended(const struct sim_thread *thread)
{
    return thread->ended;
}

static uint64_t ended_due(void *context)
{
    return ((struct sim_thread *)context)->ended ? 0 : SIM_NEVER;
}

static void thread_free(struct sim_thread *thread)
{
    bk_assert(thread->ended);
    for (unsigned i = 0; i < sim.thread_count; i++) {
        if (sim.threads[i] == thread) {
            memmove(&sim.threads[i], &sim.threads[i + 1],
                    (sim.thread_count - i - 1) * sizeof sim.threads[0]);
            sim.thread_count--;
            break;
        }
    }
    stack_give(thread->stack);
    free(thread);
}

void sim_join(struct sim_thread *thread)
{
    while (!thread->ended) {
        sim_wait(ended_due, thread, SIM_NEVER);
    }
    thread_free(thread);
}

/* When the thread could run, at the earliest. */
static uint64_t thread_due(const struct sim_thread *thread)
{
    if (thread->ended) {
        return SIM_NEVER;
    }
    uint64_t due_ns = thread->due ? thread->due(thread->due_context) : SIM_NEVER;
    return due_ns < thread->deadline_ns ? due_ns : thread->deadline_ns;
}

/* One decision: run a thread that can, else jump to what comes first. */
static void step(void)
{
    struct sim_thread *ready[THREADS_MAX];
    unsigned ready_count = 0;
    uint64_t next_ns = SIM_NEVER;
    events_run();
    for (unsigned i = 0; i < sim.thread_count; i++) {
        uint64_t due_ns = thread_due(sim.threads[i]);
        if (due_ns <= sim.now_ns) {
            ready[ready_count++] = sim.threads[i];
        }
        next_ns = due_ns < next_ns ? due_ns : next_ns;
    }
    if (ready_count) {
        uint64_t choice = sim_below(ready_count);
        sim_trace(choice << 32 | ready_count);
        thread_resume(ready[choice]);
        return;
    }
    if (sim.event_count && sim.events[0].at_ns < next_ns) {
        next_ns = sim.events[0].at_ns;
    }
    if (next_ns == SIM_NEVER) {
        for (unsigned i = 0; i < sim.thread_count; i++) {
            fprintf(stderr, "simulator: thread %s %s\n", sim.threads[i]->name,
                    sim.threads[i]->ended ? "has ended" : "waits for ever");
        }
        sim_fail("every thread waits and nothing will happen");
    }
    sim_trace(next_ns);
    sim.now_ns = next_ns;
    sim.epoch++;
    sim_check(sim.now_ns < TIME_MAX_NS, "a day has passed: the run does not end");
}

/* ---- a run */

void sim_begin(uint64_t seed, const char *scenario, const struct sim_config *config)
{
    memset(&sim, 0, sizeof sim);
    sim.active = true;
    sim.seed = seed;
    sim.scenario = scenario;
    sim.config = *config;
    sim.now_ns = 1000000000ULL;
    sim.wall_offset_ns = 1767225600LL * 1000000000LL; /* 2026-01-01 */
    random_seed(seed);
    net_begin();
    disk_begin();
}

static void main_entry(void *context)
{
    void (*run)(void) = *(void (**)(void))context;
    run();
}

void sim_run(void (*main_thread)(void))
{
    struct sim_thread *thread = sim_spawn("main", main_entry, &main_thread);
    while (!thread->ended) {
        sim_check(++sim.steps < STEPS_MAX, "too many steps: the run does not end");
        step();
    }
    thread_free(thread);
    sim_check(sim.thread_count == 0, "thread %s was never joined", sim.threads[0]->name);
    /* What is still on its way (bytes, resets) arrives now. */
    while (sim.event_count) {
        sim.now_ns = sim.events[0].at_ns > sim.now_ns ? sim.events[0].at_ns : sim.now_ns;
        events_run();
    }
}

void sim_end(void)
{
    rings_end();
    net_end();
    disk_end();
    free(sim.events);
    sim.events = NULL;
    sim.active = false;
}
