#include "providers/kept_rows.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    uint8_t print[SHA256_BYTES];
    struct scheme_row *row;
};

/* Half empty at most; nothing is ever removed. */
static _Atomic(struct kept *) kept_rows[2 * KEPT_ROWS_MAX];
static _Atomic unsigned kept_count;

static void add(br_sha256_context *hash, struct slice text)
{
    uint64_t bytes = text.bytes;
    sha256_update(hash, &bytes, sizeof bytes);
    sha256_update(hash, text.at, text.bytes);
}

void kept_row_print(const struct scheme_custom *custom, uint8_t ret_print[SHA256_BYTES])
{
    const struct slice texts[] = {custom->scheme,           custom->algorithm,
                                  custom->signature_header, custom->signature_format,
                                  custom->timestamp_header, custom->id_header,
                                  custom->type_header,      custom->type_field,
                                  custom->id_field,         custom->signed_template,
                                  custom->timestamp_unit,   custom->signature_field,
                                  custom->timestamp_field,  custom->base,
                                  custom->issuer,           custom->audience,
                                  custom->claims,           custom->jwks_url};
    _Static_assert(sizeof texts + 8 == sizeof *custom, "a new member of a custom row belongs here");
    br_sha256_context hash;
    sha256_init(&hash);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        add(&hash, texts[i]);
    }
    sha256_update(&hash, &custom->allow_private, sizeof custom->allow_private);
    sha256_out(&hash, ret_print);
}

static size_t first_slot(const uint8_t print[SHA256_BYTES])
{
    return (print[0] | (size_t)print[1] << 8) % (2 * KEPT_ROWS_MAX);
}

struct scheme_row *kept_row_find(const uint8_t print[SHA256_BYTES])
{
    for (size_t i = first_slot(print);; i = (i + 1) % (2 * KEPT_ROWS_MAX)) {
        const struct kept *kept = atomic_load_explicit(&kept_rows[i], memory_order_acquire);
        if (kept == NULL || memcmp(kept->print, print, SHA256_BYTES) == 0) {
            return kept != NULL ? kept->row : NULL;
        }
    }
}

bool kept_row_add(const uint8_t print[SHA256_BYTES], struct scheme_row *row,
                  struct scheme_plan *plan)
{
    struct kept *kept =
        row->block_bytes <= KEPT_ROW_BYTES_MAX ? (struct kept *)malloc(sizeof *kept) : NULL;
    if (kept == NULL || atomic_fetch_add(&kept_count, 1) >= KEPT_ROWS_MAX) {
        if (kept != NULL) {
            atomic_fetch_sub(&kept_count, 1);
        }
        free(kept);
        return false;
    }
    memcpy(kept->print, print, SHA256_BYTES);
    kept->row = row;
    row->kept = plan;
    size_t i = first_slot(print);
    struct kept *none = NULL;
    while (!atomic_compare_exchange_strong(&kept_rows[i], &none, kept)) {
        none = NULL; /* another thread may have kept the same one: then the first is found */
        i = (i + 1) % (2 * KEPT_ROWS_MAX);
    }
    return true;
}
