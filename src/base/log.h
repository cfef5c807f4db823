/* log.h - the process's own log: one line an event, to stderr.
 *
 * Purpose     Text for people or one JSON object a line. Values that come from
 *             outside are escaped, so a line cannot be forged (CR, LF, ESC, bidi).
 * Threads     Any; a line is one write().
 * Nobody waits for who reads it: where it is a pipe, socket or terminal that is full, lines are
 *             lost, and the next one says how many.
 * Hot path    Never log per request; one that is not wanted costs one load.
 */
#ifndef BECKET_BASE_LOG_H
#define BECKET_BASE_LOG_H

#include "base/slice.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

void log_setup(enum log_level level, enum log_format format);

/* One field of a line. Make them with the LOG_* macros below; end with LOG_END. */
struct log_field {
    const char *name;
    enum { LOG_FIELD_END, LOG_FIELD_TEXT, LOG_FIELD_INT } kind;
    struct slice text;
    int64_t number;
};
#define LOG_S(name_, slice_)  ((struct log_field){(name_), LOG_FIELD_TEXT, (slice_), 0})
#define LOG_Z(name_, string_) ((struct log_field){(name_), LOG_FIELD_TEXT, slice_str(string_), 0})
#define LOG_I(name_, number_)                                                                      \
    ((struct log_field){(name_), LOG_FIELD_INT, SLICE_EMPTY, (int64_t)(number_)})

/* log_event(LOG_INFO, "ready", LOG_Z("listen", text), LOG_I("threads", 2)); */
void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);
#define log_event(level_, event_, ...)                                                             \
    log_write((level_), (event_), (const struct log_field[]){__VA_ARGS__},                         \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

#endif
