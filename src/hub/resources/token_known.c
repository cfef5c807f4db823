#include "hub/resources/token_known.h"

#include "hub/hub_private.h"
#include "hub/resources/token.h"

#include <stdlib.h>

#define PREFIX SLICE("t/")

static uint32_t bit_of(const uint8_t hash[SHA256_BYTES], unsigned word)
{
    uint32_t value;
    memcpy(&value, hash + word * sizeof value, sizeof value);
    return value % TOKEN_KNOWN_BITS;
}

bool token_known(const struct hub *hub, struct slice text)
{
    uint8_t hash[SHA256_BYTES];
    uint64_t all = 1;
    if (text.bytes != TOKEN_TEXT_BYTES - 1) {
        return false;
    }
    sha256(text, hash);
    for (unsigned i = 0; i < SHA256_BYTES / 4; i++) {
        uint32_t bit = bit_of(hash, i);
        all &= atomic_load_explicit(&hub->tokens_known->words[bit / 64], memory_order_relaxed) >>
               (bit % 64);
    }
    return all & 1;
}

void token_known_add(struct hub *hub, const uint8_t hash[SHA256_BYTES])
{
    for (unsigned i = 0; i < SHA256_BYTES / 4; i++) {
        uint32_t bit = bit_of(hash, i);
        atomic_fetch_or_explicit(&hub->tokens_known->words[bit / 64], UINT64_C(1) << (bit % 64),
                                 memory_order_relaxed);
    }
}

static bool add_key(void *context, struct slice key, struct slice value)
{
    uint64_t *words = context;
    struct slice hash = slice_skip(key, PREFIX.bytes);
    (void)value;
    for (unsigned i = 0; hash.bytes == SHA256_BYTES && i < SHA256_BYTES / 4; i++) {
        uint32_t bit = bit_of(hash.at, i);
        words[bit / 64] |= UINT64_C(1) << (bit % 64);
    }
    return true;
}

enum bk_err token_known_fill(struct hub *hub)
{
    struct store_txn *txn;
    uint64_t *words = calloc(TOKEN_KNOWN_BITS / 64, sizeof *words);
    if (!hub->tokens_known) {
        hub->tokens_known = calloc(1, sizeof *hub->tokens_known);
    }
    enum bk_err err = words && hub->tokens_known ? store_read(hub->store, &txn) : BK_NO_MEMORY;
    if (err == BK_OK) {
        err = store_walk(txn, PREFIX, SLICE_EMPTY, add_key, words);
        store_read_end(txn);
    }
    for (unsigned i = 0; err == BK_OK && i < TOKEN_KNOWN_BITS / 64; i++) {
        atomic_store_explicit(&hub->tokens_known->words[i], words[i], memory_order_relaxed);
    }
    free(words);
    return err;
}
