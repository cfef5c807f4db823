/* http_response_fuzz - any bytes as an answer, with any kind of request before it: however they are
 * cut, status, body, end and verdict are the same, and nothing goes over its bound. The first bytes
 * choose the request, the limit and the cuts. */
#include "unit/http_response.h"

#include "http/explain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_one(struct read_answer *answer, struct slice text, uint8_t choice, size_t cut,
                     size_t every)
{
    read_begin(answer, choice & 4 ? 16 : 1U << 20);
    answer->response.head_method = choice & 1;
    answer->response.connect_method = choice & 2;
    read_all(answer, text, cut, every, choice & 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct read_answer whole, cut;
    if (size < 4) {
        return 0;
    }
    struct slice text = slice_of(data + 4, size - 4);
    size_t at = ((size_t)data[1] << 8 | data[2]) % (text.bytes + 1);
    read_one(&whole, text, data[0], 0, 0);
    read_one(&cut, text, data[0], at, data[3]);
    bk_assert(whole.step == cut.step);
    bk_assert(whole.status == cut.status && whole.heads == cut.heads && whole.heads <= 1);
    bk_assert(whole.response.keep_alive == cut.response.keep_alive);
    bk_assert(whole.response.err == cut.response.err);
    if (whole.step == HTTP_STEP_DONE) {
        bk_assert(whole.used == cut.used);
    }
    if (whole.step != HTTP_STEP_FAILED) {
        bk_assert(slice_equal(slice_of(whole.body, whole.body_bytes),
                              slice_of(cut.body, cut.body_bytes)));
    } else {
        bk_assert(!whole.response.keep_alive && whole.response.why);
        if (whole.response.malformed) { /* and it can be told where */
            char where[HTTP_EXPLAIN_BYTES];
            http_explain_response(text.at + whole.used, text.bytes - whole.used, where);
            bk_assert(where[0] != '\0');
        }
    }
    free(whole.body);
    free(cut.body);
    return 0;
}
