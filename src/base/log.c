#include "base/log.h"

#include "base/time.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static atomic_int log_level_max = LOG_INFO;
static atomic_int log_format_now = LOG_TEXT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

#define LINE_BYTES_MAX 4096U

struct line {
    char text[LINE_BYTES_MAX];
    size_t bytes;
};

void log_setup(enum log_level level, enum log_format format)
{
    atomic_store(&log_level_max, (int)level);
    atomic_store(&log_format_now, (int)format);
}

static void line_add(struct line *line, const char *text, size_t bytes)
{
    size_t room = LINE_BYTES_MAX - 2 - line->bytes;
    size_t taken = bytes < room ? bytes : room;
    memcpy(line->text + line->bytes, text, taken);
    line->bytes += taken;
}

static void line_add_str(struct line *line, const char *text)
{
    line_add(line, text, strlen(text));
}

/* Quoted as JSON; everything but printable ASCII is \u-escaped bytewise, so that neither a terminal
 * nor a log reader can be fooled. */
static void line_add_quoted(struct line *line, struct slice text)
{
    line_add(line, "\"", 1);
    for (size_t i = 0; i < text.bytes && line->bytes < LINE_BYTES_MAX - 16; i++) {
        uint8_t c = text.at[i];
        if (c == '"' || c == '\\') {
            char escaped[2] = {'\\', (char)c};
            line_add(line, escaped, 2);
        } else if (c >= 0x20 && c < 0x7f) {
            line_add(line, (const char *)&text.at[i], 1);
        } else {
            char escaped[8];
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)c);
            line_add(line, escaped, 6);
        }
    }
    line_add(line, "\"", 1);
}

static bool plain(struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '=') {
            return false;
        }
    }
    return text.bytes > 0;
}

static void line_add_field(struct line *line, const struct log_field *field, bool json)
{
    char number[32];
    if (json) {
        line_add(line, ",", 1);
        line_add_quoted(line, slice_str(field->name));
        line_add(line, ":", 1);
    } else {
        line_add(line, " ", 1);
        line_add_str(line, field->name);
        line_add(line, "=", 1);
    }
    if (field->kind == LOG_FIELD_INT) {
        snprintf(number, sizeof number, "%lld", (long long)field->number);
        line_add_str(line, number);
    } else if (!json && plain(field->text)) {
        line_add(line, (const char *)field->text.at, field->text.bytes);
    } else {
        line_add_quoted(line, field->text);
    }
}

static void line_begin(struct line *line, enum log_level level, const char *event, bool json)
{
    struct timespec now;
    char stamp[25];
    clock_gettime(CLOCK_REALTIME, &now);
    time_format_rfc3339((int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec, stamp);
    line->bytes = 0;
    if (json) {
        line_add_str(line, "{\"time\":\"");
        line_add_str(line, stamp);
        line_add_str(line, "\",\"level\":\"");
        line_add_str(line, level_names[level]);
        line_add_str(line, "\",\"event\":");
        line_add_quoted(line, slice_str(event));
    } else {
        line_add_str(line, stamp);
        line_add_str(line, " ");
        line_add_str(line, level_names[level]);
        line_add_str(line, " ");
        line_add_str(line, event);
    }
}

static void line_end(struct line *line, bool json)
{
    if (json) {
        line_add(line, "}", 1);
    }
    line->text[line->bytes++] = '\n';
}

static void line_write(const struct line *line)
{
    ssize_t ignored = write(STDERR_FILENO, line->text, line->bytes);
    (void)ignored;
}

/* A pipe with room takes a whole line (LINE_BYTES_MAX <= PIPE_BUF), so nobody waits here for who
 * should read it, as long as no other thread takes the room in between. */
static bool has_room(void)
{
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&log, 1, 0) != 0;
}

static uint64_t lines_lost; /* under the lock, as is what writes */

static void tell_lost(bool json)
{
    struct log_field lines = LOG_I("lines", lines_lost);
    struct line line;
    line_begin(&line, LOG_WARN, "the log was not read, lines are lost", json);
    line_add_field(&line, &lines, json);
    line_end(&line, json);
    line_write(&line);
    lines_lost = 0;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if ((int)level > atomic_load_explicit(&log_level_max, memory_order_relaxed)) {
        return;
    }
    bool json = atomic_load(&log_format_now) == LOG_JSON;
    struct line line;
    line_begin(&line, level, event, json);
    for (size_t i = 0; i < count; i++) {
        line_add_field(&line, &fields[i], json);
    }
    line_end(&line, json);
    pthread_mutex_lock(&lock);
    if (lines_lost > 0 && has_room()) {
        tell_lost(json);
    }
    if (has_room()) {
        line_write(&line);
    } else {
        lines_lost++;
    }
    pthread_mutex_unlock(&lock);
}
