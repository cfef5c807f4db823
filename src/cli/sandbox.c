#include "cli/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- files: Landlock (landlock(7)); the numbers are the kernel's, older headers lack some */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif
#define RULESET_VERSION 1U
#define RULE_PATH       1

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_DIR = 1 << 7,
    FS_MAKE_REG = 1 << 8,
    FS_MAKE_SOCK = 1 << 9,
    FS_ALL_1 = (1 << 13) - 1,
    FS_REFER = 1 << 13,     /* ABI 2 */
    FS_TRUNCATE = 1 << 14,  /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
    FS_OF_FILE = FS_EXECUTE | FS_WRITE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV
};
#define SCOPE_SIGNAL 2U /* ABI 6 */

struct ruleset {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped;
};

struct path_rule {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

static bool allow_path(int ruleset, const char *path, uint64_t allowed)
{
    struct stat stat;
    int file = open(path, O_PATH | O_CLOEXEC);
    if (file < 0) {
        return errno == ENOENT || errno == EACCES; /* nothing to allow */
    }
    bool folder = fstat(file, &stat) == 0 && S_ISDIR(stat.st_mode);
    struct path_rule rule = {folder ? allowed : allowed & FS_OF_FILE, file};
    long rc = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &rule, 0U);
    close(file);
    return rc == 0;
}

/* Where a file may be replaced by a newer one, its folder is what is read. */
static bool allow_folder_of(int ruleset, const char *path, uint64_t allowed)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t bytes = slash ? (size_t)(slash - path) : 1;
    if (bytes >= sizeof folder) {
        return true;
    }
    memcpy(folder, slash ? path : ".", bytes);
    folder[bytes] = '\0';
    return allow_path(ruleset, bytes ? folder : "/", allowed);
}

/* Programs and libraries, configuration, resolver, time zones, certificates; the kernel's numbers.
 */
static const char *const readable[] = {"/etc", "/usr", "/lib",      "/lib64",      "/proc",
                                       "/sys", "/run", "/dev/null", "/dev/urandom"};

static bool restrict_files(int abi, const struct sandbox_files *files)
{
    struct ruleset set = {.handled_fs = FS_ALL_1};
    set.handled_fs |= abi >= 2 ? FS_REFER : 0;
    set.handled_fs |= abi >= 3 ? FS_TRUNCATE : 0;
    set.handled_fs |= abi >= 5 ? FS_IOCTL_DEV : 0;
    set.scoped = abi >= 6 ? SCOPE_SIGNAL : 0;
    size_t bytes = abi >= 6   ? sizeof set
                   : abi >= 4 ? offsetof(struct ruleset, scoped)
                              : offsetof(struct ruleset, handled_net);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &set, bytes, 0U);
    if (ruleset < 0) {
        return false;
    }
    const uint64_t read = FS_READ_FILE | FS_READ_DIR;
    const uint64_t own = (read | FS_WRITE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR |
                          FS_MAKE_REG | FS_MAKE_SOCK | FS_REFER | FS_TRUNCATE) &
                         set.handled_fs;
    bool good = allow_path(ruleset, files->data_directory, own);
    for (size_t i = 0; i < sizeof readable / sizeof readable[0]; i++) {
        good &= allow_path(ruleset, readable[i], read);
    }
    for (unsigned i = 0; i < SANDBOX_PATHS_MAX; i++) {
        good &= !files->reads[i] || allow_folder_of(ruleset, files->reads[i], read);
    }
    good = good && syscall(SYS_landlock_restrict_self, ruleset, 0U) == 0;
    close(ruleset);
    return good;
}

bool sandbox_files(const struct sandbox_files *files, int *ret_abi)
{
    *ret_abi = 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return false;
    }
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, RULESET_VERSION);
    if (abi < 1) {
        return true; /* not built in, or not switched on */
    }
    *ret_abi = (int)abi;
    return restrict_files((int)abi, files);
}

/* ---- system calls: seccomp(2) with a program of classic BPF */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* What a running server calls, the busiest first. Rings are made before; the operations inside them
 * are restricted by ring_uring_open.c. */
static const int allowed[] = {
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_futex,
    /* files: journal and state, all below the data directory (Landlock) */
    SYS_read,
    SYS_write,
    SYS_pread64,
    SYS_pwrite64,
    SYS_readv,
    SYS_writev,
    SYS_preadv,
    SYS_pwritev,
    SYS_openat,
    SYS_close,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_lseek,
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_flock,
    SYS_fcntl,
    SYS_getdents64,
    SYS_renameat,
    SYS_renameat2,
    SYS_unlinkat,
    SYS_mkdirat,
    SYS_linkat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_faccessat,
    SYS_readlinkat,
    SYS_umask,
    SYS_getcwd,
    SYS_dup,
    SYS_dup3,
    SYS_fadvise64,
    SYS_copy_file_range,
    SYS_pipe2,
    SYS_eventfd2,
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#ifdef SYS_open /* the older calls exist on x86-64 only */
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_rename,
    SYS_unlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_readlink,
    SYS_poll,
    SYS_pipe,
    SYS_dup2,
    SYS_getdents,
    SYS_time,
    SYS_alarm,
    SYS_link,
    SYS_chmod,
#endif
    SYS_setitimer, /* alarm(), where that is no call */
    /* memory; mmap and mprotect are looked at closely below */
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_msync,
    SYS_mincore,
    SYS_mlock,
    SYS_munlock,
    /* sockets: resolver, service manager, hand-over */
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_shutdown,
    SYS_getsockopt,
    SYS_setsockopt,
    SYS_getsockname,
    SYS_getpeername,
    SYS_socketpair,
    SYS_ppoll,
    SYS_pselect6,
    /* time, signals, threads */
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    SYS_signalfd4,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_setaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_set_tid_address,
    SYS_membarrier,
    SYS_restart_syscall,
    SYS_exit,
    SYS_exit_group,
    SYS_getrandom,
    SYS_getrlimit,
    SYS_getrusage,
    SYS_uname,
    SYS_sysinfo,
    SYS_getcpu,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
#ifdef SYS_rseq
    SYS_rseq,
#endif
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
#ifdef SYS_futex_waitv
    SYS_futex_waitv,
#endif
};

#define PROGRAM_MAX 512U

struct program {
    struct sock_filter at[PROGRAM_MAX];
    unsigned count;
};

static void put(struct program *program, struct sock_filter instruction)
{
    if (program->count < PROGRAM_MAX) {
        program->at[program->count++] = instruction;
    }
}

#define LOAD(offset)       ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset)))
#define RETURN(value)      ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (value)))
#define UNLESS_EQUAL(k, n) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), 0, (n)))
#define IF_EQUAL(k, n)     ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), (n), 0))
#define IF_BITS(k, n)      ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (k), (n), 0))
#define NUMBER             offsetof(struct seccomp_data, nr)
#define FAIL(error)        (SECCOMP_RET_ERRNO | (error))
/* The lower half; both architectures are little-endian. */
#define ARGUMENT(i) (offsetof(struct seccomp_data, args) + 8U * (i))

static void put_always(struct program *program, int number, uint32_t verdict)
{
    put(program, UNLESS_EQUAL((uint32_t)number, 1));
    put(program, RETURN(verdict));
}

/* Allowed when argument `i` is one of `values`, else `verdict`. */
static void put_values(struct program *program, int number, unsigned i, const uint32_t *values,
                       unsigned count, uint32_t verdict)
{
    put(program, UNLESS_EQUAL((uint32_t)number, (uint8_t)(count + 3)));
    put(program, LOAD(ARGUMENT(i)));
    for (unsigned v = 0; v < count; v++) {
        put(program, IF_EQUAL(values[v], (uint8_t)(count - v)));
    }
    put(program, RETURN(verdict));
    put(program, RETURN(SECCOMP_RET_ALLOW));
}

/* With these bits set in argument `i` one verdict, without them the other. */
static void put_bits(struct program *program, int number, unsigned i, uint32_t bits,
                     uint32_t with_them, uint32_t without)
{
    put(program, UNLESS_EQUAL((uint32_t)number, 4));
    put(program, LOAD(ARGUMENT(i)));
    put(program, IF_BITS(bits, 1));
    put(program, RETURN(without));
    put(program, RETURN(with_them));
}

#ifdef ARCHITECTURE
static void program_build(struct program *program)
{
    static const uint32_t families[] = {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK};
    static const uint32_t names[] = {PR_SET_NAME, 0x53564d41U /* PR_SET_VMA */};
    static const uint32_t ioctls[] = {0x5401U /* TCGETS */, 0x541bU /* FIONREAD */,
                                      0x5421U /* FIONBIO */};
    const uint32_t self = (uint32_t)getpid(), own[] = {0, self};
    put(program, LOAD(offsetof(struct seccomp_data, arch)));
    put(program, IF_EQUAL(ARCHITECTURE, 1));
    put(program, RETURN(SECCOMP_RET_KILL_PROCESS));
    put(program, LOAD(NUMBER));
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        put_always(program, allowed[i], SECCOMP_RET_ALLOW);
    }
    /* Nothing becomes code that was not. */
    put_bits(program, SYS_mmap, 2, PROT_EXEC, FAIL(EACCES), SECCOMP_RET_ALLOW);
    put_bits(program, SYS_mprotect, 2, PROT_EXEC, FAIL(EACCES), SECCOMP_RET_ALLOW);
    /* Threads, no processes; clone3 cannot be looked into, the library then takes clone. */
    put_bits(program, SYS_clone, 0, CLONE_THREAD, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP);
    put_always(program, SYS_clone3, FAIL(ENOSYS));
    put_values(program, SYS_socket, 0, families, 4, FAIL(EAFNOSUPPORT));
    put_values(program, SYS_kill, 0, &self, 1, FAIL(EPERM));
    put_values(program, SYS_tgkill, 0, &self, 1, FAIL(EPERM));
    put_values(program, SYS_prlimit64, 0, own, 2, FAIL(EPERM));
    put_values(program, SYS_prctl, 0, names, 2, FAIL(EPERM));
    put_values(program, SYS_ioctl, 1, ioctls, 3, FAIL(ENOTTY));
    put(program, RETURN(SECCOMP_RET_TRAP));
}

/* The last words; only what may be called in a signal handler. */
static void on_violation(int number, siginfo_t *info, void *context)
{
    static const char before[] = "becket: the sandbox forbids system call ";
    static const char behind[] = "; this is a defect or an attack; --sandbox off runs without it\n";
    char text[160];
    char digits[12];
    unsigned call = (unsigned)info->si_syscall, count = 0;
    size_t bytes = sizeof before - 1;
    (void)number;
    (void)context;
    memcpy(text, before, bytes);
    do {
        digits[count++] = (char)('0' + call % 10);
        call /= 10;
    } while (call && count < sizeof digits);
    while (count) {
        text[bytes++] = digits[--count];
    }
    memcpy(text + bytes, behind, sizeof behind - 1);
    (void)!write(STDERR_FILENO, text, bytes + sizeof behind - 1);
    _exit(SANDBOX_EXIT);
}

bool sandbox_calls(void)
{
    static struct program program;
    struct sigaction action = {.sa_sigaction = on_violation, .sa_flags = SA_SIGINFO | SA_NODEFER};
    program.count = 0;
    program_build(&program);
    struct sock_fprog filter = {(unsigned short)program.count, program.at};
    return program.count < PROGRAM_MAX && sigaction(SIGSYS, &action, NULL) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}
#else
bool sandbox_calls(void)
{
    errno = ENOSYS;
    return false;
}
#endif
