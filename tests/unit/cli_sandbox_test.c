/* cli_sandbox_test.c - what a sandboxed process can no longer do, tried in children. */
#include "cli/sandbox.h"

#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static char inside[64], outside[64];

/* Exit code of `what` in a child; 200 + signal when one killed it. */
static int in_child(int (*what)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, STDERR_FILENO);
        _exit(what());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

/* ---- files */

static int opens(const char *folder, const char *name, int flags)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = open(path, flags, 0600);
    if (file >= 0) {
        close(file);
    }
    return file >= 0 ? 0 : errno;
}

static int files_in_place(void)
{
    struct sandbox_files files = {.data_directory = inside};
    char path[160], other[160];
    int abi;
    if (!sandbox_files(&files, &abi)) {
        return 1;
    }
    if (abi == 0) {
        return 99;
    }
    snprintf(path, sizeof path, "%s/one", inside);
    snprintf(other, sizeof other, "%s/two", inside);
    bool good = opens(inside, "one", O_CREAT | O_RDWR) == 0 && rename(path, other) == 0 &&
                unlink(other) == 0 && opens("/etc", "passwd", O_RDONLY) == 0;
    bool kept = opens(outside, "new", O_CREAT | O_RDWR) == EACCES &&
                opens(outside, "there", O_RDONLY) == EACCES &&
                opens("/etc", "passwd", O_WRONLY) == EACCES;
    snprintf(path, sizeof path, "%s/there", outside);
    kept = kept && unlink(path) != 0 && errno == EACCES;
    /* The parent is of the same user. */
    kept = kept && (abi < 6 || (kill(getppid(), 0) != 0 && errno == EPERM));
    execl("/bin/true", "true", (char *)NULL);
    return !good ? 2 : !kept ? 3 : errno != EACCES ? 4 : 0;
}

/* ---- calls */

static void *nothing(void *context)
{
    return context;
}

static int allowed_calls(void)
{
    pthread_t thread;
    int pair[2];
    if (!sandbox_calls()) {
        return 1;
    }
    bool good =
        pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0;
    good &= kill(getpid(), 0) == 0 && socket(AF_INET, SOCK_STREAM, 0) >= 0 && pipe(pair) == 0;
    void *plain = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    good &= plain != MAP_FAILED && mprotect(plain, 4096, PROT_READ | PROT_EXEC) != 0;
    good &=
        mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
    good &= kill(1, 0) != 0 && errno == EPERM && socket(AF_PACKET, SOCK_RAW, 0) < 0;
    /* The parent is of the same user: nothing but the sandbox is in the way. */
    struct rlimit limit;
    int parent = getppid();
    good &= syscall(SYS_tgkill, getpid(), gettid(), 0) == 0 && getrlimit(RLIMIT_CORE, &limit) == 0;
    good &= syscall(SYS_tgkill, parent, parent, 0) != 0 && errno == EPERM;
    good &= prlimit(parent, RLIMIT_CORE, NULL, &limit) != 0 && errno == EPERM;
    return good ? 0 : 2;
}

static int call_exec(void)
{
    if (sandbox_calls()) {
        execl("/bin/true", "true", (char *)NULL);
    }
    return 1;
}

static int call_fork(void)
{
    return sandbox_calls() && fork() == 0 ? 1 : 2;
}

static int call_ptrace(void)
{
    return sandbox_calls() ? (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL) + 1 : 1;
}

static int call_ring(void)
{
    return sandbox_calls() ? (int)syscall(SYS_io_uring_setup, 0, NULL) + 2 : 1;
}

static int call_keyring(void)
{
    return sandbox_calls() ? (int)syscall(SYS_keyctl, 0, 0, 0, 0, 0) + 2 : 1;
}

/* A thread that was there before is bound too. */
static pthread_barrier_t barrier;

static void *exec_later(void *context)
{
    pthread_barrier_wait(&barrier);
    execl("/bin/true", "true", (char *)NULL);
    return context;
}

static int other_thread(void)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, exec_later, NULL) != 0 || !sandbox_calls()) {
        return 1;
    }
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return 2;
}

int main(void)
{
    snprintf(inside, sizeof inside, "/tmp/becket-inside-XXXXXX");
    snprintf(outside, sizeof outside, "/tmp/becket-outside-XXXXXX");
    if (!mkdtemp(inside) || !mkdtemp(outside)) {
        bail_out("no temporary directories");
    }
    is_int(opens(outside, "there", O_CREAT | O_WRONLY), 0, "a file outside");
    int code = in_child(files_in_place);
    if (code == 99) {
        ok(true, "files # skip the kernel has no Landlock");
    } else {
        is_int(code, 0, "files: written inside, not outside; nothing is executed");
    }
    if (SANITIZED) {
        ok(true, "calls # skip the sanitizers need more of them");
    } else {
        is_int(in_child(allowed_calls), 0, "threads, sockets, memory; no code, no other process");
        is_int(in_child(call_exec), SANDBOX_EXIT, "execve is the end");
        code = in_child(call_fork);
        /* glibc 2.41 forks with all signals blocked: then the kernel ends the process itself. */
        ok(code == SANDBOX_EXIT || code == 200 + SIGSYS, "fork is the end");
        is_int(in_child(call_ptrace), SANDBOX_EXIT, "ptrace is the end");
        is_int(in_child(call_ring), SANDBOX_EXIT, "another ring is the end");
        is_int(in_child(call_keyring), SANDBOX_EXIT, "what is not listed is the end");
        is_int(in_child(other_thread), SANDBOX_EXIT, "also on a thread that was there before");
    }
    char path[160];
    snprintf(path, sizeof path, "%s/there", outside);
    unlink(path);
    rmdir(inside);
    rmdir(outside);
    return done_testing();
}
