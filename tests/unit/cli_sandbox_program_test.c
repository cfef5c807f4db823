/* cli_sandbox_program_test.c - the filter of system calls itself, run by a small interpreter: so it
 * can also be tried for an architecture whose kernel is not here (tests/cli/s01-aarch64.t compiles
 * this for aarch64 and runs it under qemu). What a C library needs there has other names than on
 * x86-64: no open, stat, poll, pipe, dup2, …
 */
#include "tests/tap.h"

#include "cli/sandbox.c" /* its table and program are its own */

#define INSTRUCTIONS_MAX 2048U

static struct program built;

/* Classic BPF, as much of it as the program uses. */
static uint32_t verdict_of(uint32_t architecture, long number, uint64_t first, uint64_t second,
                           uint64_t third)
{
    struct seccomp_data data = {.nr = (int)number, .arch = architecture};
    uint32_t accumulator = 0;
    data.args[0] = first;
    data.args[1] = second;
    data.args[2] = third;
    unsigned at = 0;
    for (unsigned steps = 0; steps < INSTRUCTIONS_MAX && at < built.count; steps++) {
        struct sock_filter one = built.at[at++];
        switch (one.code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (one.k > sizeof data - sizeof accumulator) {
                return UINT32_MAX;
            }
            memcpy(&accumulator, (const char *)&data + one.k, sizeof accumulator);
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            at += accumulator == one.k ? one.jt : one.jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            at += accumulator & one.k ? one.jt : one.jf;
            break;
        case BPF_RET | BPF_K:
            return one.k;
        default:
            return UINT32_MAX;
        }
    }
    return UINT32_MAX; /* fell off its end, or runs for ever */
}

#define CALL(number, ...) verdict_of(ARCHITECTURE, (number), __VA_ARGS__)
#define NAMED(name)                                                                                \
    {                                                                                              \
        SYS_##name, #name                                                                          \
    }

struct named {
    long number;
    const char *name;
};

/* What a running server calls: by becket, LMDB and the C library, wherever it runs. */
static const struct named needed[] = {
    NAMED(io_uring_enter),
    NAMED(io_uring_register),
    NAMED(futex),
    NAMED(read),
    NAMED(write),
    NAMED(pread64),
    NAMED(pwrite64),
    NAMED(pwritev),
    NAMED(openat),
    NAMED(close),
    NAMED(fstat),
    NAMED(newfstatat),
    NAMED(statx),
    NAMED(statfs),
    NAMED(fstatfs),
    NAMED(lseek),
    NAMED(fsync),
    NAMED(fdatasync),
    NAMED(ftruncate),
    NAMED(fallocate),
    NAMED(fcntl),
    NAMED(flock),
    NAMED(getdents64),
    NAMED(renameat),
    NAMED(renameat2),
    NAMED(unlinkat),
    NAMED(mkdirat),
    NAMED(linkat),
    NAMED(fchmodat),
    NAMED(faccessat),
    NAMED(readlinkat),
    NAMED(dup3),
    NAMED(pipe2),
    NAMED(eventfd2),
    NAMED(signalfd4),
    NAMED(ppoll),
    NAMED(pselect6),
    NAMED(epoll_pwait),
    NAMED(munmap),
    NAMED(mremap),
    NAMED(madvise),
    NAMED(brk),
    NAMED(msync),
    NAMED(mlock),
    NAMED(connect),
    NAMED(bind),
    NAMED(listen),
    NAMED(accept4),
    NAMED(sendto),
    NAMED(recvfrom),
    NAMED(sendmsg),
    NAMED(recvmsg),
    NAMED(sendmmsg),
    NAMED(shutdown),
    NAMED(getsockopt),
    NAMED(setsockopt),
    NAMED(getsockname),
    NAMED(getpeername),
    NAMED(clock_gettime),
    NAMED(clock_nanosleep),
    NAMED(rt_sigaction),
    NAMED(rt_sigprocmask),
    NAMED(rt_sigreturn),
    NAMED(sigaltstack),
    NAMED(getpid),
    NAMED(gettid),
    NAMED(sched_yield),
    NAMED(sched_getaffinity),
    NAMED(sched_setaffinity),
    NAMED(set_robust_list),
    NAMED(exit),
    NAMED(exit_group),
    NAMED(getrandom),
    NAMED(sysinfo),
    NAMED(uname),
    NAMED(restart_syscall),
    NAMED(membarrier),
};

/* What a server that was broken into would call next. */
static const struct named forbidden[] = {
    NAMED(execve),
    NAMED(execveat),
    NAMED(ptrace),
    NAMED(process_vm_readv),
    NAMED(process_vm_writev),
    NAMED(mount),
    NAMED(umount2),
    NAMED(pivot_root),
    NAMED(chroot),
    NAMED(setuid),
    NAMED(setgid),
    NAMED(setresuid),
    NAMED(capset),
    NAMED(bpf),
    NAMED(seccomp),
    NAMED(init_module),
    NAMED(finit_module),
    NAMED(kexec_load),
    NAMED(keyctl),
    NAMED(unshare),
    NAMED(setns),
    NAMED(perf_event_open),
    NAMED(userfaultfd),
    NAMED(memfd_create),
    NAMED(io_uring_setup),
    NAMED(personality),
    NAMED(mknodat),
    NAMED(symlinkat),
    NAMED(fchownat),
    NAMED(open_by_handle_at),
    NAMED(reboot),
    NAMED(swapon),
};

static void test_tables(void)
{
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        is_uint(CALL(needed[i].number, 0, 0, 0), SECCOMP_RET_ALLOW, "%s is allowed",
                needed[i].name);
    }
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        is_uint(CALL(forbidden[i].number, 0, 0, 0), SECCOMP_RET_TRAP, "%s is not",
                forbidden[i].name);
    }
}

static void test_arguments(void)
{
    uint64_t self = (uint64_t)getpid();
    is_uint(CALL(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE), SECCOMP_RET_ALLOW, "memory");
    is_uint(CALL(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC), FAIL(EACCES), "but no code");
    is_uint(CALL(SYS_mprotect, 0, 4096, PROT_EXEC), FAIL(EACCES));
    is_uint(CALL(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0), SECCOMP_RET_ALLOW, "a thread");
    is_uint(CALL(SYS_clone, SIGCHLD, 0, 0), SECCOMP_RET_TRAP, "no process");
    is_uint(CALL(SYS_clone3, 0, 0, 0), FAIL(ENOSYS), "clone3: the C library takes clone");
    is_uint(CALL(SYS_socket, AF_INET6, SOCK_STREAM, 0), SECCOMP_RET_ALLOW);
    is_uint(CALL(SYS_socket, AF_PACKET, SOCK_RAW, 0), FAIL(EAFNOSUPPORT), "no raw sockets");
    is_uint(CALL(SYS_kill, self, SIGTERM, 0), SECCOMP_RET_ALLOW, "itself");
    is_uint(CALL(SYS_kill, 1, SIGTERM, 0), FAIL(EPERM), "nobody else");
    is_uint(CALL(SYS_prlimit64, 0, 7, 0), SECCOMP_RET_ALLOW, "getrlimit is prlimit64 on aarch64");
    is_uint(CALL(SYS_prlimit64, 1, 7, 0), FAIL(EPERM));
    is_uint(CALL(SYS_prctl, PR_SET_NAME, 0, 0), SECCOMP_RET_ALLOW);
    is_uint(CALL(SYS_prctl, PR_SET_DUMPABLE, 1, 0), FAIL(EPERM));
    is_uint(CALL(SYS_ioctl, 1, 0x5401, 0), SECCOMP_RET_ALLOW, "is it a terminal?");
    is_uint(CALL(SYS_ioctl, 1, 0x5412 /* TIOCSTI */, 0), FAIL(ENOTTY), "no typing into it");
}

static void test_other_worlds(void)
{
    is_uint(verdict_of(AUDIT_ARCH_I386, SYS_read, 0, 0, 0), SECCOMP_RET_KILL_PROCESS,
            "32-bit calls have other numbers");
    is_uint(verdict_of(AUDIT_ARCH_ARM, SYS_read, 0, 0, 0), SECCOMP_RET_KILL_PROCESS);
    is_uint(CALL(SYS_read | 0x40000000, 0, 0, 0), SECCOMP_RET_TRAP, "x32's are unknown");
    is_uint(CALL(-1, 0, 0, 0), SECCOMP_RET_TRAP);
    is_uint(CALL(100000, 0, 0, 0), SECCOMP_RET_TRAP);
    for (unsigned i = 0; i < built.count; i++) {
        struct sock_filter one = built.at[i];
        bool jump = BPF_CLASS(one.code) == BPF_JMP;
        if (jump && (i + 1 + one.jt >= built.count || i + 1 + one.jf >= built.count)) {
            ok(false, "jump %u leads out of the program", i);
        }
    }
    is_uint(BPF_CLASS(built.at[built.count - 1].code), BPF_RET, "every path ends");
}

int main(void)
{
    program_build(&built);
    ok(built.count < PROGRAM_MAX, "the program has room: %u instructions", built.count);
    test_tables();
    test_arguments();
    test_other_worlds();
    return done_testing();
}
