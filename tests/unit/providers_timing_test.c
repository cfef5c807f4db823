/* Description: how long a wrong signature takes to be refused says nothing about how wrong it is.
 *
 * Clocks are noisy; the processor's path is not. A child verifies, its parent steps it from
 * instruction to instruction: a signature, or token, whose first character is wrong must be refused
 * on exactly the same path, instruction by instruction, as one whose last is, one wrong in the
 * middle, and one that is wrong everywhere. As a canary the same is done with memcmp() by hand,
 * which must be caught. One row of each kind is tried; ALL=1 for every one that can sign by a
 * secret. */
#include "base/assert.h"
#include "base/buf.h"
#include "providers_request.h"

#include <elf.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW 1767225600LL

enum wrong { FIRST, MIDDLE, LAST, ALL, WRONGS };
static const char *const wrong_names[] = {"first", "middle", "last", "all"};

/* Hex and base64, lists of pairs, tokens, a JWT, signed headers, SHA-1, a signature of a hash. */
static const char *const kinds[] = {"github", "gitlab", "standard-webhooks",
                                    "slack",  "stripe", "netlify",
                                    "vercel", "drone",  "basic",
                                    "bearer", "okta"};

struct path {
    uint64_t count, hash;
};

/* One row's request, and where in its head the signature is. */
struct subject {
    struct scheme *scheme;
    struct sample sample;
    size_t from, to;
};

static volatile unsigned sink;
static const char body[] = "{\"id\":\"evt_1\",\"type\":\"x\"}";

/* ---- the parent: from one stop to the next, step by step */

static uint64_t program_counter(pid_t child)
{
    struct user_regs_struct registers;
    struct iovec vector = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, child, (void *)(uintptr_t)NT_PRSTATUS, &vector) != 0) {
        bail_out("no registers");
    }
#if defined(__x86_64__)
    return registers.rip;
#else
    return registers.pc;
#endif
}

static bool stopped_by(pid_t child, enum __ptrace_request request, int number)
{
    int status;
    return ptrace(request, child, NULL, NULL) == 0 && waitpid(child, &status, 0) == child &&
           WIFSTOPPED(status) && WSTOPSIG(status) == number;
}

/* Between the child's SIGUSR1, at which it stands, and its SIGUSR2. */
static struct path path_of(pid_t child)
{
    struct path path = {0, 0};
    uint64_t last = 0;
    while (stopped_by(child, PTRACE_SINGLESTEP, SIGTRAP)) {
        uint64_t now = program_counter(child);
        if (now != last) { /* a repeated instruction stops each time */
            path.count++;
            path.hash = (path.hash ^ now) * 0x9e3779b97f4a7c15ULL;
            path.hash ^= path.hash >> 29;
        }
        last = now;
    }
    return path;
}

/* ---- the child */

/* Another character of the same kind. */
static void alter(uint8_t *c)
{
    bool top = *c == '9' || *c == 'z' || *c == 'Z' || *c == 'f' || *c == 'F';
    *c = (uint8_t)(top ? *c - 1 : *c + 1);
}

static bool alterable(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void alter_near(const struct subject *subject, uint8_t *text, size_t at, int step)
{
    while (!alterable(text[at]) && at > subject->from && at + 1 < subject->to) {
        at = step > 0 ? at + 1 : at - 1;
    }
    alter(&text[at]);
}

static void make_wrong(const struct subject *subject, uint8_t *text, enum wrong wrong)
{
    switch (wrong) {
    case FIRST:
        alter_near(subject, text, subject->from, 1);
        break;
    case MIDDLE:
        alter_near(subject, text, (subject->from + subject->to) / 2, 1);
        break;
    case LAST: /* the last characters of base64 carry bits that must be 0 */
        alter_near(subject, text, subject->to - 5, -1);
        break;
    case ALL:
        for (size_t at = subject->from; at + 4 < subject->to; at++) {
            if (alterable(text[at])) {
                alter(&text[at]);
            }
        }
        break;
    case WRONGS:
    default:
        break;
    }
}

typedef unsigned verify_fn(struct subject *subject);

static unsigned verify_scheme(struct subject *subject)
{
    struct scheme_answer answer;
    return scheme_verify(subject->scheme, &subject->sample.request, &answer);
}

/* What nobody should write. */
static unsigned verify_canary(struct subject *subject)
{
    static uint8_t right[HTTP_HEAD_BYTES_MAX];
    const uint8_t *text = (const uint8_t *)subject->sample.head_text;
    if (right[0] == 0) {
        memcpy(right, text, subject->to);
    }
    for (size_t at = subject->from; at < subject->to; at++) {
        if (text[at] != right[at]) {
            return SCHEME_SIGNATURE_WRONG;
        }
    }
    return SCHEME_GENUINE;
}

/* One place for all, so that the steps around it are the same, too. */
__attribute__((noinline)) static void verify_stepped(struct subject *subject, verify_fn *verify)
{
    kill(getpid(), SIGUSR1);
    sink = verify(subject);
    kill(getpid(), SIGUSR2);
}

static void child_main(struct subject *subject, verify_fn *verify)
{
    static uint8_t kept[HTTP_HEAD_BYTES_MAX];
    uint8_t *text = (uint8_t *)subject->sample.head_text;
    memcpy(kept, text, subject->sample.head_bytes);
    (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    for (unsigned warm = 0; warm < 2; warm++) { /* what is bound or filled only once */
        sink = verify(subject);
    }
    for (unsigned wrong = FIRST; wrong < WRONGS; wrong++) {
        memcpy(text, kept, subject->sample.head_bytes);
        make_wrong(subject, text, (enum wrong)wrong);
        verify_stepped(subject, verify);
        if (sink == SCHEME_GENUINE) {
            _exit(2);
        }
    }
    _exit(0);
}

/* False: this host does not let anybody be traced. */
static bool paths_of(struct subject *subject, verify_fn *verify, struct path ret_paths[WRONGS],
                     int *ret_exit)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        child_main(subject, verify);
    }
    bool traced =
        waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGUSR1;
    for (unsigned wrong = FIRST; traced && wrong < WRONGS; wrong++) {
        ret_paths[wrong] = path_of(child);
        (void)ptrace(PTRACE_CONT, child, NULL, NULL);
        (void)waitpid(child, &status, 0);
    }
    *ret_exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return traced;
}

/* ---- the rows */

static void check_paths(const char *name, const struct path paths[WRONGS], int code)
{
    bool same = code == 0;
    for (unsigned wrong = MIDDLE; wrong < WRONGS; wrong++) {
        same = same && paths[wrong].count == paths[FIRST].count &&
               paths[wrong].hash == paths[FIRST].hash;
    }
    if (!ok(same, "%s: wherever it is wrong, refused by the same %llu instructions", name,
            (unsigned long long)paths[FIRST].count)) {
        for (unsigned wrong = FIRST; wrong < WRONGS; wrong++) {
            diag("wrong %s: %llu instructions, path %016llx", wrong_names[wrong],
                 (unsigned long long)paths[wrong].count, (unsigned long long)paths[wrong].hash);
        }
        diag("the child ended with %d", code);
    }
}

/* Signed with one secret, and with another: where they differ is the signature. */
static bool sign(const struct scheme_row *row, const char *secret, struct buf *headers,
                 struct scheme **ret_scheme)
{
    struct slice text = slice_str(secret);
    const char *message = NULL;
    size_t bytes;
    struct scheme_send send = {.body = slice_str(body),
                               .id = SLICE("72d3162e-cc78-11e3-81ab-4c9367dc0958"),
                               .now_seconds = NOW};
    if (scheme_compile(row, &text, 1, -1, ret_scheme, &bytes, &message) != BK_OK) {
        return false;
    }
    buf_init(headers, 16000);
    if (scheme_sign(*ret_scheme, &send, headers) != BK_OK) {
        buf_fini(headers);
        sample_scheme_free(*ret_scheme);
        return false;
    }
    return true;
}

static bool subject_make(struct subject *subject, const struct scheme_row *row)
{
    static const char *const secrets[][2] = {
        {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AbCQ7r6GKYqrPwjUPD8ILPZIo2LaLbTx"},
        {"a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6", "b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a1"},
        {"user:a1b2c3d4e5f6a7b8c9d0a1b2c3d4", "user:b2c3d4e5f6a7b8c9d0a1b2c3d4e5"}};
    for (unsigned i = 0; i < bk_array_length(secrets); i++) {
        struct buf one, other;
        struct scheme *second = NULL;
        if (!sign(row, secrets[i][0], &one, &subject->scheme)) {
            continue;
        }
        if (!sign(row, secrets[i][1], &other, &second)) {
            buf_fini(&one);
            sample_scheme_free(subject->scheme);
            continue;
        }
        sample_build(&subject->sample, "POST", "/hooks/x", slice_of(one.at, one.bytes),
                     slice_str(body), NOW);
        size_t head = subject->sample.head_bytes - one.bytes - 2;
        subject->from = subject->to = 0;
        for (size_t at = 0; at < one.bytes && one.bytes == other.bytes; at++) {
            if (one.at[at] != other.at[at]) {
                subject->from = subject->from ? subject->from : head + at;
                subject->to = head + at + 1;
            }
        }
        struct scheme_answer answer;
        bool good =
            subject->to > subject->from + 12 &&
            scheme_verify(subject->scheme, &subject->sample.request, &answer) == SCHEME_GENUINE;
        buf_fini(&one);
        buf_fini(&other);
        sample_scheme_free(second);
        if (good) {
            return true;
        }
        sample_scheme_free(subject->scheme);
    }
    return false;
}

static bool is_wanted(const struct scheme_row *row)
{
    for (unsigned i = 0; i < bk_array_length(kinds); i++) {
        if (strcmp(scheme_row_name(row), kinds[i]) == 0) {
            return true;
        }
    }
    return getenv("ALL") != NULL && !scheme_row_wants_private_key(row);
}

int main(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip_all("the release build is what is measured");
#endif
    static struct subject subject;
    struct path paths[WRONGS];
    unsigned tried = 0;
    int code;
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        if (!is_wanted(row) || !subject_make(&subject, row)) {
            continue;
        }
        if (tried++ == 0) {
            if (!paths_of(&subject, verify_canary, paths, &code)) {
                skip_all("nobody may be traced here");
            }
            ok(code == 0 && paths[FIRST].count != paths[LAST].count,
               "a comparison that stops early is caught: %llu and %llu instructions",
               (unsigned long long)paths[FIRST].count, (unsigned long long)paths[LAST].count);
        }
        bool traced = paths_of(&subject, verify_scheme, paths, &code);
        check_paths(scheme_row_name(row), paths, traced ? code : -1);
        sample_scheme_free(subject.scheme);
    }
    ok(tried >= bk_array_length(kinds), "%u rows", tried);
    return done_testing();
}
