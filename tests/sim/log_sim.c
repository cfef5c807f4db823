/* log_sim.c - base/log.h in the simulator: nothing unless --verbose, and then with simulated time,
 * so that two runs of a seed print the same. */
#include "sim.h"

#include "base/log.h"

#include <stdio.h>

void log_setup(enum log_level level, enum log_format format)
{
    (void)level, (void)format;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    char text[512];
    size_t bytes = 0;
    for (size_t i = 0; sim_verbose && i < count && bytes < sizeof text; i++) {
        const struct log_field *field = &fields[i];
        int added = field->kind == LOG_FIELD_INT
                        ? snprintf(text + bytes, sizeof text - bytes, " %s=%lld", field->name,
                                   (long long)field->number)
                        : snprintf(text + bytes, sizeof text - bytes, " %s=\"%.*s\"", field->name,
                                   (int)field->text.bytes, (const char *)field->text.at);
        bytes += added > 0 ? (size_t)added : 0;
    }
    text[bytes < sizeof text ? bytes : sizeof text - 1] = '\0';
    sim_log("log %d: %s%s", (int)level, event, text);
}
