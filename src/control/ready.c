#include "control/control_private.h"

#include "base/time.h"

#include <stdio.h>

/* A webhook waits longer for a flush, but who sends it here should know by then. */
#define FLUSH_PATIENCE_NS (5 * (uint64_t)NS_PER_SECOND)

uint64_t ready_flush_ns(const struct control *control, uint64_t now_ns)
{
    uint64_t longest_ns = 0;
    for (unsigned i = 0; i < control->core_count; i++) {
        uint64_t since_ns = journal_writing_since_ns(reactor_journal(control->cores[i].reactor));
        uint64_t lasts_ns = since_ns && now_ns > since_ns ? now_ns - since_ns : 0;
        longest_ns = lasts_ns > longest_ns ? lasts_ns : longest_ns;
    }
    return longest_ns;
}

uint64_t ready_room_bytes(const struct control *control)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < control->core_count; i++) {
        uint64_t bytes = journal_room_bytes(reactor_journal(control->cores[i].reactor));
        least = bytes < least ? bytes : least;
    }
    return least;
}

const char *ready_why_not(const struct control *control, uint64_t now_ns,
                          char text[READY_WHY_BYTES])
{
    const char *why = atomic_load(&control->not_ready); /* NULL: all cores are counted */
    if (why) {
        return why;
    }
    for (unsigned i = 0; i < control->core_count; i++) {
        enum bk_err err = journal_refuses(reactor_journal(control->cores[i].reactor), now_ns);
        if (err != BK_OK) {
            return err == BK_NO_SPACE ? "disk full: there is no room for another event"
                                      : "the journal's disk fails";
        }
    }
    uint64_t longest_ns = ready_flush_ns(control, now_ns);
    if (longest_ns >= FLUSH_PATIENCE_NS) {
        snprintf(text, READY_WHY_BYTES, "the journal has not flushed for %u s",
                 (unsigned)(longest_ns / NS_PER_SECOND));
        return text;
    }
    uint64_t busy_ns = admin_busy_ns(&control->admin, now_ns);
    if (busy_ns >= ADMIN_PATIENCE_NS) {
        snprintf(text, READY_WHY_BYTES, "the disk has not answered for %u s",
                 (unsigned)(busy_ns / NS_PER_SECOND));
        return text;
    }
    return NULL;
}
