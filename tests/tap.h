/* tap.h - what a test program needs to speak TAP (Test Anything Protocol), in one header.
 *
 *     int main(void)
 *     {
 *         ok(2 + 2 == 4, "addition of %d", 2);
 *         is_int(parse("7"), 7, "a digit");
 *         return done_testing();
 *     }
 *
 * The plan is printed at the end, so a test that dies half-way is seen by `prove`. Each check
 * prints one line and returns whether it passed; its name is a format string and may be left out. A
 * failed check does not end the program. Call the checks from one thread only. Arguments are
 * evaluated once.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned tap_count, tap_failed;

/* ok(CONDITION, [NAME...]) */
#define ok(condition, ...) tap_ok((condition), __FILE__, __LINE__, #condition, " " __VA_ARGS__)

/* is_int(GOT, WANT, [NAME...]): any integer or enum; is_uint prints and compares without a sign. */
#define is_int(got, want, ...)                                                                     \
    tap_is_int((intmax_t)(got), (intmax_t)(want), __FILE__, __LINE__, #got, " " __VA_ARGS__)
#define is_uint(got, want, ...)                                                                    \
    tap_is_uint((uintmax_t)(got), (uintmax_t)(want), __FILE__, __LINE__, #got, " " __VA_ARGS__)

/* is_str(GOT, WANT, [NAME...]): zero-terminated; NULL equals only NULL. */
#define is_str(got, want, ...) tap_is_str((got), (want), __FILE__, __LINE__, #got, " " __VA_ARGS__)

/* is_mem(GOT, WANT, BYTES, [NAME...]); is_bytes(GOT, GOT_BYTES, WANT, WANT_BYTES, [NAME...]) */
#define is_mem(got, want, bytes, ...)                                                              \
    tap_is_mem((got), (bytes), (want), (bytes), __FILE__, __LINE__, #got, " " __VA_ARGS__)
#define is_bytes(got, got_bytes, want, want_bytes, ...)                                            \
    tap_is_mem((got), (got_bytes), (want), (want_bytes), __FILE__, __LINE__, #got, " " __VA_ARGS__)

/* Under a sanitizer, a variant of what runs in release as well, long loops may be shorter. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TAP_SANITIZED 1
#else
#define TAP_SANITIZED 0
#endif

/* diag(FORMAT...): a remark on standard error, shown by prove. */
#define diag(...) tap_diag(__VA_ARGS__)

/* skip(REASON...): one check that cannot run here. skip_all: none can; ends the program. */
#define skip(...)     tap_skip(__VA_ARGS__)
#define skip_all(...) tap_skip_all(__VA_ARGS__)

/* bail_out(REASON...): further testing makes no sense; prove stops altogether. */
#define bail_out(...) tap_bail_out(__VA_ARGS__)

__attribute__((format(printf, 1, 2))) static inline void tap_diag(const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fflush(stdout);
    for (char *line = text, *end; *line != '\0'; line = end) {
        end = line + strcspn(line, "\n");
        fprintf(stderr, "# %.*s\n", (int)(end - line), line);
        end += *end == '\n';
    }
}

/* One result line. A name that is only the blank of the macros means: use the expression. */
__attribute__((format(printf, 5, 0))) static inline bool
tap_result(bool passed, const char *file, int line, const char *expression, const char *format,
           va_list args)
{
    char name[512];
    vsnprintf(name, sizeof name, format, args);
    const char *text = name[0] == ' ' && name[1] == '\0' ? expression : name + 1;
    tap_count++;
    printf("%sok %u - ", passed ? "" : "not ", tap_count);
    for (; *text != '\0'; text++) {
        if (*text == '#')
            putchar('\\');
        putchar(*text == '\n' ? ' ' : *text);
    }
    putchar('\n');
    fflush(stdout);
    if (!passed) {
        tap_failed++;
        tap_diag("failed: %s:%d: %s", file, line, expression);
    }
    return passed;
}

__attribute__((format(printf, 5, 6))) static inline bool tap_ok(bool passed, const char *file,
                                                                int line, const char *expression,
                                                                const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tap_result(passed, file, line, expression, format, args);
    va_end(args);
    return passed;
}

__attribute__((format(printf, 6, 7))) static inline bool tap_is_int(intmax_t got, intmax_t want,
                                                                    const char *file, int line,
                                                                    const char *expression,
                                                                    const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!tap_result(got == want, file, line, expression, format, args))
        tap_diag("     got %jd (0x%jx)\n    want %jd (0x%jx)", got, (uintmax_t)got, want,
                 (uintmax_t)want);
    va_end(args);
    return got == want;
}

__attribute__((format(printf, 6, 7))) static inline bool tap_is_uint(uintmax_t got, uintmax_t want,
                                                                     const char *file, int line,
                                                                     const char *expression,
                                                                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!tap_result(got == want, file, line, expression, format, args))
        tap_diag("     got %ju (0x%jx)\n    want %ju (0x%jx)", got, got, want, want);
    va_end(args);
    return got == want;
}

__attribute__((format(printf, 6, 7))) static inline bool tap_is_str(const char *got,
                                                                    const char *want,
                                                                    const char *file, int line,
                                                                    const char *expression,
                                                                    const char *format, ...)
{
    va_list args;
    bool same = got == NULL || want == NULL ? got == want : strcmp(got, want) == 0;
    va_start(args, format);
    if (!tap_result(same, file, line, expression, format, args))
        tap_diag("     got %s%.900s%s\n    want %s%.900s%s", got ? "\"" : "", got ? got : "NULL",
                 got ? "\"" : "", want ? "\"" : "", want ? want : "NULL", want ? "\"" : "");
    va_end(args);
    return same;
}

/* One line of a hex dump, at most 16 bytes. */
static inline void tap_hex_line(const char *label, size_t offset, const unsigned char *bytes,
                                size_t size)
{
    char hex[3 * 16 + 1] = "";
    char text[16 + 1] = "";
    for (size_t i = 0; i < 16 && offset + i < size; i++) {
        unsigned char c = bytes[offset + i];
        snprintf(hex + 3 * i, 4, " %02x", c);
        text[i] = c >= ' ' && c <= '~' ? (char)c : '.';
    }
    tap_diag("%s %06zx:%-48s  %s", label, offset, hex, text);
}

/* The rows of 16 bytes that differ, up to 8 of them. */
static inline void tap_hex_diff(const unsigned char *got, size_t got_bytes,
                                const unsigned char *want, size_t want_bytes)
{
    size_t end = got_bytes > want_bytes ? got_bytes : want_bytes;
    unsigned shown = 0;
    if (got_bytes != want_bytes)
        tap_diag("     got %zu bytes, want %zu", got_bytes, want_bytes);
    for (size_t row = 0; row < end && shown < 8; row += 16) {
        size_t g = row < got_bytes ? got_bytes - row : 0;
        size_t w = row < want_bytes ? want_bytes - row : 0;
        g = g < 16 ? g : 16;
        w = w < 16 ? w : 16;
        if (g == w && memcmp(got + row, want + row, g) == 0)
            continue;
        tap_hex_line("     got", row, got, got_bytes);
        tap_hex_line("    want", row, want, want_bytes);
        shown++;
    }
}

__attribute__((format(printf, 8, 9))) static inline bool tap_is_mem(
    const void *got, size_t got_bytes, const void *want, size_t want_bytes, const char *file,
    int line, const char *expression, const char *format, ...)
{
    va_list args;
    bool readable = (got != NULL || got_bytes == 0) && (want != NULL || want_bytes == 0);
    bool same = readable && got_bytes == want_bytes &&
                (got_bytes == 0 || memcmp(got, want, got_bytes) == 0);
    va_start(args, format);
    if (!tap_result(same, file, line, expression, format, args)) {
        if (readable)
            tap_hex_diff(got, got_bytes, want, want_bytes);
        else
            tap_diag("     got %s\n    want %s", got ? "bytes" : "NULL", want ? "bytes" : "NULL");
    }
    va_end(args);
    return same;
}

__attribute__((format(printf, 1, 2))) static inline void tap_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("ok %u # skip ", ++tap_count);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
}

__attribute__((format(printf, 1, 2), noreturn)) static inline void tap_skip_all(const char *format,
                                                                                ...)
{
    va_list args;
    va_start(args, format);
    fputs("1..0 # skip ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    exit(0);
}

__attribute__((format(printf, 1, 2), noreturn)) static inline void tap_bail_out(const char *format,
                                                                                ...)
{
    va_list args;
    va_start(args, format);
    fputs("Bail out! ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    exit(255);
}

/* Prints the plan; the result is main's. A program without a single check has failed. */
static inline int done_testing(void)
{
    printf("1..%u\n", tap_count);
    fflush(stdout);
    if (tap_failed != 0)
        tap_diag("%u of %u checks failed", tap_failed, tap_count);
    return tap_failed != 0 || tap_count == 0;
}

#endif
