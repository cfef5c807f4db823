/* http_chunked_fuzz - any bytes as a chunked body: the result does not depend on how the input is
 * cut, and a body that is encoded in chunks and decoded again is the same. The first byte chooses.
 */
#include "base/assert.h"
#include "http/parse.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
    enum http_parse result;
    size_t bytes;
    size_t consumed;
    uint8_t *data;
};

/* Decode in pieces of `first`, then `step` bytes, each in a block of its own. */
static struct decoded decode(const uint8_t *data, size_t size, size_t first, size_t step)
{
    struct decoded got = {HTTP_PARSE_PARTIAL, 0, 0, malloc(size + 1)};
    struct http_chunked chunked;
    size_t done = 0;

    http_chunked_init(&chunked);
    while (got.result == HTTP_PARSE_PARTIAL && done < size) {
        size_t piece = done == 0 && first > 0 ? first : step;
        piece = piece < size - done ? piece : size - done;
        uint8_t *copy = malloc(piece);
        bk_assert(copy != NULL && got.data != NULL);
        memcpy(copy, data + done, piece);
        size_t out = piece, used = 0;
        got.result = http_chunked_decode(&chunked, copy, &out, &used);
        bk_assert(used <= piece && out <= used);
        bk_assert(got.result != HTTP_PARSE_PARTIAL || used == piece);
        memcpy(got.data + got.bytes, copy, out);
        free(copy);
        got.bytes += out;
        got.consumed += used;
        done += piece;
    }
    return got;
}

static bool same(const struct decoded *a, const struct decoded *b)
{
    return a->result == b->result && a->bytes == b->bytes && a->consumed == b->consumed &&
           memcmp(a->data, b->data, a->bytes) == 0;
}

static void check_round_trip(const uint8_t *data, size_t size, size_t chunk)
{
    uint8_t *text = malloc(size * 10 + 32);
    size_t bytes = 0;

    bk_assert(text != NULL);
    for (size_t at = 0; at < size; at += chunk) {
        size_t piece = chunk < size - at ? chunk : size - at;
        bytes += (size_t)snprintf((char *)text + bytes, 12, "%zx\r\n", piece);
        memcpy(text + bytes, data + at, piece);
        memcpy(text + bytes + piece, "\r\n", 2);
        bytes += piece + 2;
    }
    memcpy(text + bytes, "0\r\n\r\n", 5);
    bytes += 5;
    struct decoded got = decode(text, bytes, 0, bytes);
    bk_assert(got.result == HTTP_PARSE_DONE && got.consumed == bytes);
    bk_assert(got.bytes == size && memcmp(got.data, data, size) == 0);
    free(got.data);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 100000) {
        return 0;
    }
    size_t chosen = data[0];
    data++;
    size--;
    struct decoded whole = decode(data, size, 0, size);
    struct decoded two = decode(data, size, 1 + chosen % size, size);
    struct decoded steps = decode(data, size, 0, 1 + chosen % 7);
    bk_assert(same(&whole, &two) && same(&whole, &steps));
    free(whole.data);
    free(two.data);
    free(steps.data);
    check_round_trip(data, size, 1 + chosen);
    return 0;
}
