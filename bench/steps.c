/* Count the user-mode instructions of a running process, exactly, by single-stepping all its
 * threads while another command runs.
 *
 *   steps [-p PROFILE] PID COMMAND [ARGUMENT...]
 *   steps [-p PROFILE] -- COMMAND [ARGUMENT...]
 *
 * The second form counts COMMAND itself, between two SIGUSR1 that it sends to itself
 * (bench/replay.c). The first attaches to PID, runs COMMAND, steps until it ends, detaches, and
 * prints one line of JSON on standard error of its own (descriptor 2) with the count of each
 * thread. PROFILE gets lines "address count", with addresses as in the executable file.
 *
 * This counts what the processor really executes, with SHA-NI and vector instructions, on machines
 * whose virtualisation hides the performance counters. An instruction with a repeat prefix counts
 * once. A step costs some microseconds, so ask for a few hundred requests, twice: the difference
 * between N and 2N of them is free of start-up. */
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <dirent.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX   64U
#define ADDRESSES_LOG 20U

static struct thread {
    pid_t tid;
    uint64_t count;
    uint64_t last; /* program counter before the step */
    bool gone;
} threads[THREADS_MAX];
static unsigned thread_count;
static struct address {
    uint64_t at;
    uint64_t count;
} addresses[1U << ADDRESSES_LOG];

static int stop(const char *what)
{
    fprintf(stderr, "steps: %s: %s\n", what, strerror(errno));
    return 1;
}

static uint64_t program_counter(pid_t tid)
{
    struct user_regs_struct registers;
    struct iovec vector = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)NT_PRSTATUS, &vector) != 0) {
        return 0;
    }
#if defined(__x86_64__)
    return registers.rip;
#else
    return registers.pc;
#endif
}

static void address_count(uint64_t at)
{
    uint64_t slot = (at * 0x9e3779b97f4a7c15ULL) >> (64 - ADDRESSES_LOG);
    for (unsigned tries = 0; tries < 64; tries++) {
        struct address *address = &addresses[(slot + tries) & ((1U << ADDRESSES_LOG) - 1)];
        if (address->at == at || address->at == 0) {
            address->at = at;
            address->count++;
            return;
        }
    }
}

/* All threads but the kernel's workers for rings, which cannot be traced and run no user code. */
static bool attach(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    if (!directory) {
        return false;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        void *options = (void *)(uintptr_t)PTRACE_O_TRACECLONE;
        if (tid <= 0 || thread_count == THREADS_MAX ||
            ptrace(PTRACE_SEIZE, tid, NULL, options) != 0) {
            continue;
        }
        threads[thread_count++].tid = tid;
        (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
    }
    closedir(directory);
    return thread_count > 0;
}

static struct thread *thread_of(pid_t tid)
{
    for (unsigned i = 0; i < thread_count; i++) {
        if (threads[i].tid == tid) {
            return &threads[i];
        }
    }
    if (thread_count == THREADS_MAX) {
        return NULL;
    }
    threads[thread_count] = (struct thread){.tid = tid};
    return &threads[thread_count++];
}

/* A repeated instruction stops at each repetition, at the same place. */
static void count_step(struct thread *thread)
{
    uint64_t now = program_counter(thread->tid);
    if (thread->last && now != thread->last) {
        thread->count++;
        address_count(thread->last);
    }
    thread->last = now;
}

static void on_stop(struct thread *thread, int status)
{
    int number = WSTOPSIG(status);
    int event = status >> 16;
    int deliver = 0;
    if (number == SIGTRAP && event == 0) {
        count_step(thread);
    } else if (event == 0) {
        deliver = number; /* a signal of its own */
    } else {
        thread->last = program_counter(thread->tid);
    }
    (void)ptrace(PTRACE_SINGLESTEP, thread->tid, NULL, (void *)(intptr_t)deliver);
}

/* Let a thread run freely, then stop it for good: a step that was still under way must have trapped
 * before the thread is let go, or the trap would kill it. */
static void release(pid_t tid)
{
    int status;
    for (unsigned rounds = 0; rounds < 2; rounds++) {
        (void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
        do {
            if (waitpid(tid, &status, __WALL) < 0 || !WIFSTOPPED(status)) {
                return;
            }
            if (status >> 16 == 0) {
                int number = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
                (void)ptrace(PTRACE_CONT, tid, NULL, (void *)(intptr_t)number);
            }
        } while (status >> 16 == 0);
        if (rounds == 0) {
            (void)ptrace(PTRACE_CONT, tid, NULL, NULL);
            usleep(20000);
        }
    }
    (void)ptrace(PTRACE_DETACH, tid, NULL, NULL);
}

static void detach(void)
{
    for (unsigned i = 0; i < thread_count; i++) {
        if (!threads[i].gone) {
            release(threads[i].tid);
        }
    }
}

/* Its mappings as comment lines, for whoever looks up the addresses. */
static void maps_write(FILE *out, pid_t pid)
{
    char path[64];
    char line[PATH_MAX + 128];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "r");
    while (maps && fgets(line, sizeof line, maps)) {
        fprintf(out, "# %s", line);
    }
    if (maps) {
        fclose(maps);
    }
}

static int profile_write(const char *path, pid_t pid)
{
    FILE *out = fopen(path, "w");
    if (!out) {
        return stop(path);
    }
    maps_write(out, pid);
    for (size_t i = 0; i < 1U << ADDRESSES_LOG; i++) {
        if (addresses[i].count) {
            fprintf(out, "%" PRIx64 " %" PRIu64 "\n", addresses[i].at, addresses[i].count);
        }
    }
    return fclose(out) == 0 ? 0 : stop(path);
}

static void report(void)
{
    uint64_t sum = 0;
    fprintf(stderr, "{\"threads\":[");
    for (unsigned i = 0; i < thread_count; i++) {
        fprintf(stderr, "%s{\"tid\":%d,\"instructions\":%" PRIu64 "}", i ? "," : "",
                (int)threads[i].tid, threads[i].count);
        sum += threads[i].count;
    }
    fprintf(stderr, "],\"instructions\":%" PRIu64 "}\n", sum);
}

/* Run a command of one thread; step between its marks. */
static int count_marked(char **command, const char *profile)
{
    pid_t child = fork();
    int status;
    bool stepping = false;
    if (child == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execvp(command[0], command);
        _exit(127);
    }
    thread_count = 1;
    threads[0].tid = child;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        int number = WSTOPSIG(status);
        int deliver = 0;
        if (number == SIGUSR1) {
            stepping = !stepping;
            threads[0].last = stepping ? program_counter(child) : 0;
            if (!stepping && profile && profile_write(profile, child) != 0) {
                return 1;
            }
        } else if (number == SIGTRAP && stepping) {
            count_step(&threads[0]);
        } else if (number != SIGTRAP) {
            deliver = number;
        }
        (void)ptrace(stepping ? PTRACE_SINGLESTEP : PTRACE_CONT, child, NULL,
                     (void *)(intptr_t)deliver);
    }
    report();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
    const char *profile = NULL;
    if (argc > 2 && strcmp(argv[1], "-p") == 0) {
        profile = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: steps [-p PROFILE] PID COMMAND [ARGUMENT...]\n");
        return 2;
    }
    if (strcmp(argv[1], "--") == 0) {
        return count_marked(argv + 2, profile);
    }
    pid_t pid = (pid_t)strtol(argv[1], NULL, 10);
    if (!attach(pid)) {
        return stop("attaching");
    }
    pid_t child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    int status = 0;
    int result = 1;
    for (;;) {
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid == child && !WIFSTOPPED(status)) {
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
            break;
        }
        if (tid < 0 && errno == ECHILD) {
            break;
        }
        struct thread *thread = tid > 0 ? thread_of(tid) : NULL;
        if (thread && WIFSTOPPED(status)) {
            on_stop(thread, status);
        } else if (thread) {
            thread->gone = true;
        }
    }
    detach();
    report();
    if (profile && profile_write(profile, pid) != 0) {
        return 1;
    }
    return result;
}
