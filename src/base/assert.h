/* assert.h - assertions that stay on in release builds.
 *
 * Purpose     Programmer errors stop the process; what a peer, a disk or an
 *             administrator can cause is an error (err.h), never an assertion.
 * Failure     bk_assert and bk_never print one line to stderr and abort().
 */
#ifndef BECKET_BASE_ASSERT_H
#define BECKET_BASE_ASSERT_H

/* Print "file:line: what" and abort. Async-signal-safe, never returns. */
__attribute__((noreturn, cold)) void bk_assert_fail(const char *file, int line, const char *what);

#define bk_assert(condition)                                                                       \
    (__builtin_expect(!!(condition), 1) ? (void)0 : bk_assert_fail(__FILE__, __LINE__, #condition))

/* The branch that cannot be reached. */
#define bk_never(why) bk_assert_fail(__FILE__, __LINE__, why)

/* Costly checks: compiled in with -DBECKET_VERIFY (the sanitizer variants). */
#ifdef BECKET_VERIFY
#define bk_verify(condition) bk_assert(condition)
#else
#define bk_verify(condition) ((void)0)
#endif

#define bk_container_of(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer) - __builtin_offsetof(type, member)))

#define bk_array_length(array) (sizeof(array) / sizeof((array)[0]))

#endif
