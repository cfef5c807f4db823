/* bench_answers.c - which bytes are an answer, and what it says. */
#include "cli/bench_load_private.h"

#include "base/assert.h"

#include <stdlib.h>

#define HEAD_BYTES_MAX 16384U

static void answer_done(struct bench_connection *connection, unsigned status, bool keeps)
{
    struct bench_load_state *state = connection->state;
    struct bench_counts *counts = &state->counts;
    bool forged = connection->forged >> connection->forged_first & 1;
    bool good = status >= 200 && status < 300;
    bool refused = status == 401 || status == 403 || status == 400;
    uint64_t now_ns = ring_now_ns(state->ring);
    bk_assert(connection->outstanding > 0);
    if (good && connection->forged_first == 0) {
        state->last_answered = connection->number;
    }
    connection->forged_first++;
    connection->outstanding--;
    state->outstanding--;
    connection->close_after |= !keeps;
    counts->answered++;
    counts->status[status < BENCH_STATUS_MAX ? status : 0]++;
    counts->forged_accepted += forged && good;
    counts->unexpected += forged ? !refused : !good;
    bench_histogram_add(&counts->latency,
                        now_ns > connection->sent_ns ? now_ns - connection->sent_ns : 0);
    state->last_answer_ns = now_ns;
    state->load->total_answered++;
    if (connection->outstanding == 0) {
        bench_connection_next(connection);
    }
}

/* Remember what this head means, for the next answer that has the same. */
static void seen_set(struct bench_load_state *state, const uint8_t *at, size_t bytes)
{
    const struct http_head *head = &state->parsed;
    bool bodiless = head->status == 204 || head->status == 304;
    state->seen_status = head->status;
    state->seen_keeps = head->keep_alive;
    state->seen_body = bodiless ? 0 : head->content_length;
    state->seen_bytes = bytes <= SEEN_BYTES_MAX ? bytes : 0;
    if (state->seen_bytes) {
        memcpy(state->seen, at, bytes);
    }
}

/* The head of an answer at `at`; *ret_bytes = 0 when it is not complete. Sets seen_*. False: not
 * framed. */
static bool head_read(struct bench_load_state *state, const uint8_t *at, size_t bytes,
                      size_t *ret_bytes)
{
    if (state->seen_bytes && bytes >= state->seen_bytes &&
        memcmp(at, state->seen, state->seen_bytes) == 0) {
        *ret_bytes = state->seen_bytes;
        return true;
    }
    enum http_parse parsed = http_parse_response(at, bytes, &state->parsed);
    *ret_bytes = 0;
    if (parsed == HTTP_PARSE_PARTIAL) {
        return bytes < HEAD_BYTES_MAX;
    }
    const struct http_head *head = &state->parsed;
    bool bodiless = parsed == HTTP_PARSE_DONE &&
                    (head->status < 200 || head->status == 204 || head->status == 304);
    if (parsed != HTTP_PARSE_DONE || head->chunked || (!head->has_content_length && !bodiless)) {
        return false;
    }
    *ret_bytes = head->head_bytes;
    seen_set(state, at, head->head_bytes);
    return true;
}

/* Continue a head of which a part is kept; returns how many of `bytes` belong to it, or SIZE_MAX.
 */
static size_t head_continue(struct bench_connection *connection, const uint8_t *at, size_t bytes)
{
    size_t kept = connection->head_bytes;
    size_t room = HEAD_BYTES_MAX - kept;
    size_t add = bytes < room ? bytes : room;
    size_t head_bytes;
    if (!connection->head) {
        connection->head = malloc(HEAD_BYTES_MAX);
        if (!connection->head) {
            return SIZE_MAX;
        }
    }
    memcpy(connection->head + kept, at, add);
    if (!head_read(connection->state, connection->head, kept + add, &head_bytes)) {
        return SIZE_MAX;
    }
    connection->head_bytes = head_bytes ? 0 : kept + add;
    bk_assert(head_bytes == 0 || head_bytes > kept);
    return head_bytes ? head_bytes - kept : SIZE_MAX - 1;
}

/* One head, or a part of it. Returns the bytes used, SIZE_MAX when the answer cannot be framed. */
static size_t head_take(struct bench_connection *connection, const uint8_t *at, size_t bytes)
{
    struct bench_load_state *state = connection->state;
    size_t used = 0;
    if (connection->head_bytes == 0 && !head_read(state, at, bytes, &used)) {
        return SIZE_MAX;
    }
    if (used == 0) {
        used = head_continue(connection, at, bytes);
        if (used >= SIZE_MAX - 1) {
            return used == SIZE_MAX ? SIZE_MAX : bytes;
        }
    }
    if (state->seen_status < 200) {
        return used; /* interim: the answer follows */
    }
    if (connection->outstanding == 0) {
        return SIZE_MAX; /* nobody asked */
    }
    connection->answer_status = state->seen_status;
    connection->answer_keeps = state->seen_keeps;
    connection->body_left = state->seen_body;
    if (state->seen_body == 0) {
        answer_done(connection, connection->answer_status, connection->answer_keeps);
    }
    return used;
}

bool bench_answers_read(struct bench_connection *connection, const uint8_t *at, size_t bytes)
{
    static const char told[] = "\"duplicate\":true";
    struct bench_load_state *state = connection->state;
    while (bytes > 0 && connection->phase == CONNECTION_READY) {
        size_t used;
        if (connection->body_left) {
            used = bytes < connection->body_left ? bytes : (size_t)connection->body_left;
            if (state->plan->duplicates_percent) {
                state->counts.duplicates_told += memmem(at, used, told, sizeof told - 1) != NULL;
            }
            connection->body_left -= used;
            if (connection->body_left == 0) {
                answer_done(connection, connection->answer_status, connection->answer_keeps);
            }
        } else {
            used = head_take(connection, at, bytes);
            if (used == SIZE_MAX) {
                return false;
            }
        }
        at += used;
        bytes -= used;
    }
    return true;
}
