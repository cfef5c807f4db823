/* What a plan keeps of a row's texts, one behind the other. */
#include "providers/compile.h"

#include "base/assert.h"

struct slice block_keep(struct block *block, struct slice text)
{
    bk_assert((size_t)(block->end - block->at) >= text.bytes);
    uint8_t *at = block->at;
    if (text.bytes != 0) {
        memcpy(at, text.at, text.bytes);
        block->at += text.bytes;
    }
    return slice_of(at, text.bytes);
}

struct slice block_keep_lower(struct block *block, struct slice text)
{
    uint8_t *at = block->at;
    struct slice kept = block_keep(block, text);
    for (size_t i = 0; i < kept.bytes; i++) {
        at[i] = ascii_lower(at[i]);
    }
    return kept;
}

/* Calls `visit` for every string pointer of a row. */
#define ROW_STRINGS(visit)                                                                         \
    visit(name) visit(title) visit(aliases) visit(documentation) visit(needs) visit(header)        \
        visit(format) visit(format_ed25519) visit(signed_template) visit(body_hash)                \
            visit(timestamp) visit(id) visit(type) visit(account) visit(resource) visit(redact)    \
                visit(sample_type) visit(detect) visit(detect_not) visit(select)                   \
                    visit(select_equals) visit(signing_prefix) visit(issuer) visit(audience)       \
                        visit(claims) visit(jwks_url) visit(body_claim) visit(url_claim)

size_t row_text_bytes(const struct scheme_row *row)
{
    size_t bytes = 0;
    if (row == NULL) {
        return 0;
    }
#define VISIT(field) bytes += row->field != NULL ? strlen(row->field) + 1 : 0;
    ROW_STRINGS(VISIT)
#undef VISIT
    for (unsigned i = 0; row->handshakes != NULL && i < ROW_HANDSHAKES_MAX; i++) {
        const struct row_handshake *h = &row->handshakes[i];
        const char *const texts[] = {h->when, h->must, h->learn, h->answer, h->headers};
        for (size_t t = 0; t < bk_array_length(texts); t++) {
            bytes += texts[t] != NULL ? strlen(texts[t]) : 0;
        }
    }
    return bytes;
}

const struct scheme_row *row_keep(struct block *block, const struct scheme_row *row)
{
    if (row->block_bytes == 0) {
        return row;
    }
    bk_assert((uintptr_t)block->at % _Alignof(struct scheme_row) == 0);
    struct scheme_row *copy = (struct scheme_row *)(void *)block->at;
    (void)block_keep(block, slice_of(row, row->block_bytes));
#define VISIT(field)                                                                               \
    copy->field = row->field != NULL ? (const char *)copy + (row->field - (const char *)row) : NULL;
    ROW_STRINGS(VISIT)
#undef VISIT
    return copy;
}
