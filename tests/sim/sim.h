/* sim.h - control of the simulator: one seed decides everything that happens.
 *
 * Purpose     Run the objects that ship (everything above ring/ring.h and ring/file.h) against a
 *             world in which time, network, disk and scheduling are decided by one pseudo-random
 *             generator, so that a failing run is repeated by its seed. No wall time, no address
 *             takes part in a decision.
 * Threads     What is a thread in production is a coroutine here (sim_spawn). It runs until it
 *             waits: in ring_turn(), in a blocking file operation, or in sim_sleep(). The scheduler
 *             then picks the next one by the generator; when all wait, the clock jumps to what
 *             comes first.
 * Failure     sim_fail() prints what happened and the command that repeats it, and ends the
 *             process. A run in which all threads wait for ever is a failure too.
 * Faults      struct sim_config: ratios in 1/1000, all 0 = a calm world. What may be injected
 *             where, and why, is told in README.md.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/assert.h"
#include "base/err.h"
#include "base/slice.h"
#include "ring/file.h"
#include "ring/ring.h"

struct sim_config {
    /* Operations of a ring. */
    uint32_t op_delay_us;   /* a completion may be seen up to so much late */
    uint32_t turn_batch;    /* at most so many completions a turn; 0 = all that are ready */
    uint32_t multishot_end; /* an accept or receive ends although it could go on */
    uint32_t mail_delay_us;
    uint32_t cancel_delay_us;
    /* Network. */
    uint32_t latency_us;            /* per segment, at most */
    uint32_t window_bytes;          /* per direction; 0 = 64 KiB */
    uint32_t dribble;               /* a segment is 1 to 3 bytes */
    uint32_t segment_bytes;         /* the usual segment is at most so long; 0 = 64 KiB */
    uint32_t receive_cut;           /* a receive takes less than is there */
    uint32_t reset_unseen;          /* a receive that is armed is not told of a reset */
    uint32_t connection_reset;      /* a connection is reset after a while */
    uint32_t connect_fail;          /* refused, timed out, unreachable */
    uint32_t accept_no_descriptors; /* the table is full although it is not */
    uint32_t receive_no_buffers;    /* buffers used up although they are not */
    uint32_t pass_fail;             /* a connection is not passed to another ring, this time */
    bool pass_never;                /* a kernel that cannot */
    uint32_t recv_buffers_max; /* a ring gets no more (power of two); 0 = as many as it asks for */
    /* Disk. */
    uint32_t disk_us_min, disk_us_max;
    uint32_t flush_us;   /* a write of a ring takes so much longer */
    uint32_t disk_slow;  /* an operation takes up to 100 times as long */
    uint32_t write_fail; /* BK_IO: any part of it may be on disk */
    uint32_t write_short;
    uint32_t file_fail; /* the blocking operations of file.h that change something: BK_IO */
    uint32_t read_fail;
    uint64_t disk_bytes;     /* capacity; 0 = no limit */
    bool disk_zeroes;        /* the device can file_zero() */
    bool metadata_unordered; /* after a crash any subset of unsynced renames, … ; else a prefix */
};

/* ---- life of a run */
void sim_begin(uint64_t seed, const char *scenario, const struct sim_config *config);
/* Runs `main_thread` and everything it spawns to their end, then checks that nothing is left. */
void sim_run(void (*main_thread)(void));
void sim_end(void);
struct sim_config *sim_config(void); /* may be changed while running */
/* Hash of every decision so far: two runs of a seed must agree. */
uint64_t sim_trace_hash(void);
/* Printed (once) when the process dies in a run, whatever the reason. */
void sim_on_death(void);
extern bool sim_verbose;
extern bool sim_trace_ops; /* with sim_verbose: every completion */
__attribute__((format(printf, 1, 2))) void sim_log(const char *format, ...);
__attribute__((format(printf, 1, 2), noreturn)) void sim_fail(const char *format, ...);
#define sim_check(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))

/* ---- chance and time */
uint64_t sim_random(void);
uint64_t sim_below(uint64_t limit);                /* 0 … limit-1; 0 for limit 0 */
uint64_t sim_between(uint64_t low, uint64_t high); /* both included */
bool sim_chance(uint32_t permille);
uint64_t sim_now_ns(void);
void sim_wall_jump(int64_t ns); /* the administrator sets the clock */

/* ---- events: run by the scheduler, in order of time, not on any thread */
typedef void sim_event_fn(void *context, uint64_t number);
void sim_at(uint64_t at_ns, sim_event_fn *run, void *context, uint64_t number);

/* ---- threads */
struct sim_thread;
typedef void sim_thread_fn(void *context);
struct sim_thread *sim_spawn(const char *name, sim_thread_fn *run, void *context);
/* Wait for its end and free it. */
void sim_join(struct sim_thread *thread);
bool sim_thread_ended(const struct sim_thread *thread);
void sim_sleep(uint64_t ns);
void sim_yield(void);
struct sim_thread *sim_self(void);
const char *sim_thread_name(const struct sim_thread *thread);

/* ---- rings (ring_sim.c) */
/* Deliver a signal to the ring that waits for it with ring_signals(). */
void sim_signal(struct ring *ring, int number);
unsigned sim_ring_ops(const struct ring *ring);         /* in flight */
unsigned sim_ring_sockets(const struct ring *ring);     /* open, without listeners */
unsigned sim_ring_buffers_out(const struct ring *ring); /* with the application */
/* A descriptor of somebody else, for ring_poll(): RING_POLL_ bits tell what it is ready for. */
int sim_foreign_open(void);
void sim_foreign_ready(int os_fd, unsigned events);
void sim_foreign_close(int os_fd);
/* A listening socket that outlives the process under test, for ring_listen_on(). */
int sim_listen(struct ring_address *address, bool reuse_port, unsigned backlog);
void sim_listen_close(int socket);
/* ---- disk (file_sim.c) */
/* The power fails now: nothing written from here on counts, every disk operation fails with BK_IO.
 * The program under test still runs to its end in an orderly way, so that its memory can be freed.
 */
void sim_disk_cut(void);
bool sim_disk_dead(void);
/* After all threads ended: forget what was not durable, as a power failure does, and work again.
 * Every write that was not durable is kept, dropped or torn into sectors of 512 bytes. */
void sim_disk_crash(void);
/* As if only the process had died (kill -9): everything that completed is kept. */
void sim_disk_restart(void);
/* The disk stands still from now on: what is asked of it waits for so long. */
void sim_disk_freeze(uint64_t ns);
/* Operations that change the disk are counted; the n-th from now (1 = next) fails with err, 0 =
 * none. */
void sim_disk_fail_at(uint64_t n, enum bk_err err);
/* The power is cut in the middle of the n-th from now, 0 = never. */
void sim_disk_cut_at(uint64_t n);
uint64_t sim_disk_ops(void);
/* Flip one bit of a file as it is on the disk. */
bool sim_disk_flip(const char *path, uint64_t offset, unsigned bit);
void sim_disk_each(void (*each)(const char *path, uint64_t bytes, void *context), void *context);
uint64_t sim_disk_used(void);
/* Copy the files as they are now into a real directory (which exists); '/' in names becomes '_'. A
 * failed run with SIM_DUMP in the environment does it by itself. */
void sim_disk_dump(const char *directory);

#endif
