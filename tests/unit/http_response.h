/* http_response.h - reads an answer in pieces as a client does, for the unit test and the fuzz
 * target.
 */
#ifndef TESTS_UNIT_HTTP_RESPONSE_H
#define TESTS_UNIT_HTTP_RESPONSE_H

#include "base/assert.h"
#include "http/response.h"

#include <stdlib.h>

struct read_answer {
    struct http_response response;
    enum http_step step; /* the last one: MORE, DONE or FAILED */
    unsigned status;     /* 0 = no final head */
    unsigned heads;
    uint8_t *body;
    size_t body_bytes;
    size_t used; /* of all bytes */
};

static void read_begin(struct read_answer *answer, uint64_t body_bytes_max)
{
    *answer = (struct read_answer){.step = HTTP_STEP_MORE};
    http_response_init(&answer->response, body_bytes_max);
}

/* One piece in memory of exactly its size; `pending` are head bytes that must come again. */
static size_t read_piece(struct read_answer *answer, const uint8_t *pending, size_t pending_bytes,
                         const uint8_t *at, size_t bytes, uint8_t *ret_pending)
{
    static struct http_head head;
    size_t left = pending_bytes + bytes;
    uint8_t *copy = malloc(left + (left == 0));
    uint8_t *next = copy;
    bk_assert(copy);
    if (pending_bytes > 0) {
        memcpy(copy, pending, pending_bytes);
    }
    if (bytes > 0) {
        memcpy(copy + pending_bytes, at, bytes);
    }
    answer->used -= pending_bytes;
    for (;;) {
        size_t used = SIZE_MAX;
        struct slice piece = SLICE_EMPTY;
        answer->step = http_response_step(&answer->response, next, left, &used, &head, &piece);
        bk_assert(used <= left);
        if (answer->step == HTTP_STEP_HEAD) {
            answer->heads++;
            answer->status = head.status;
            bk_assert(head.at >= next && head.at + head.head_bytes == next + used);
        } else if (answer->step == HTTP_STEP_PIECE) {
            bk_assert(piece.bytes > 0 && piece.at >= next && piece.at + piece.bytes <= next + used);
            answer->body = realloc(answer->body, answer->body_bytes + piece.bytes);
            bk_assert(answer->body);
            memcpy(answer->body + answer->body_bytes, piece.at, piece.bytes);
            answer->body_bytes += piece.bytes;
        }
        next += used;
        left -= used;
        answer->used += used;
        if (answer->step != HTTP_STEP_HEAD && answer->step != HTTP_STEP_PIECE) {
            break;
        }
    }
    bk_assert(answer->body_bytes == answer->response.body_bytes ||
              answer->step == HTTP_STEP_FAILED);
    bk_assert(answer->body_bytes <= answer->response.body_bytes_max);
    bool again = answer->step == HTTP_STEP_MORE && answer->response.state == HTTP_RESPONSE_HEAD;
    bk_assert(answer->step != HTTP_STEP_MORE || again || left == 0);
    bk_assert(left <= HTTP_HEAD_BYTES_MAX || !again);
    if (again) {
        memcpy(ret_pending, next, left);
        answer->used += left;
    }
    free(copy);
    return again ? left : 0;
}

/* All of `text`, cut at `cut` (and again `every` bytes, 0 = only there), then its end. */
static void read_all(struct read_answer *answer, struct slice text, size_t cut, size_t every,
                     bool end)
{
    static uint8_t pending[2][2 * HTTP_HEAD_BYTES_MAX];
    size_t pending_bytes = 0, at = 0;
    unsigned turn = 0;
    while (answer->step == HTTP_STEP_MORE && at < text.bytes) {
        size_t now = at == 0 && cut > 0 ? cut : every ? every : text.bytes;
        now = now < text.bytes - at ? now : text.bytes - at;
        pending_bytes =
            read_piece(answer, pending[turn], pending_bytes, text.at + at, now, pending[1 - turn]);
        turn = 1 - turn;
        at += now;
    }
    if (answer->step == HTTP_STEP_MORE && end) {
        answer->step = http_response_end(&answer->response);
    }
}

#endif
