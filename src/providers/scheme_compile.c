/* A plan and secrets become a scheme. Control plane. */
#include "providers/compile.h"

#include "base/assert.h"
#include "base/cidr.h"
#include "base/ct.h"

#include <stdlib.h>

/* The row whose way of signing these secrets ask for. */
static const struct scheme_row *row_for(const struct scheme_row *row, const struct slice *secrets,
                                        unsigned secret_count)
{
    for (unsigned i = 0; i < secret_count && row->signing_prefix != NULL; i++) {
        if (slice_starts(secrets[i], slice_str(row->signing_prefix))) {
            return row->signing;
        }
    }
    return row;
}

static const char *secrets_wrong(const struct scheme_row *row, const struct slice *secrets,
                                 unsigned secret_count)
{
    if (secret_count == 0 && scheme_row_needs_secret(row) && !scheme_row_learns(row)) {
        return "no secret is configured";
    }
    if (scheme_row_takes_claims(row) && (row->audience == NULL || row->issuer == NULL)) {
        return "issuer or audience is missing: a token made for anybody else would do";
    }
    if (secret_count > SECRETS_PER_SOURCE_MAX) {
        return "too many secrets";
    }
    for (unsigned i = 0; i < secret_count; i++) {
        if (secrets[i].bytes == 0) {
            return "a secret is empty";
        }
    }
    return NULL;
}

/* Bytes of a scheme's keys and their texts. */
static size_t keys_bytes(const struct scheme_row *active, unsigned key_count, size_t secret_bytes)
{
    size_t bytes = 0;
    for (const struct scheme_row *row = active; row != NULL; row = row->otherwise) {
        if (keys_of(active, row) == row) {
            bytes += key_count * key_bytes(row);
            bytes += row_keeps_text(row) ? secret_bytes : 0;
        }
    }
    return bytes;
}

/* ---- what a source configures besides */

static bool has_extra(const struct scheme_options *options)
{
    return options->verify_token.bytes != 0 || options->origin_count != 0 || options->has_allow ||
           options->rate_per_minute != 0;
}

static size_t extra_bytes(const struct scheme_options *options)
{
    size_t bytes = sizeof(struct extra) + options->verify_token.bytes +
                   options->origin_count * sizeof(struct slice) +
                   (options->allow_count + options->proxy_count) * sizeof(struct cidr) + 16;
    for (unsigned i = 0; i < options->origin_count; i++) {
        bytes += options->origins[i].bytes;
    }
    return has_extra(options) ? bytes : 0;
}

static void extra_fill(struct extra *extra, size_t bytes, const struct scheme_options *options)
{
    struct block block = {(uint8_t *)(extra + 1), (uint8_t *)extra + bytes};
    struct slice *origins = (struct slice *)(void *)block.at;
    block.at += options->origin_count * sizeof *origins;
    for (unsigned i = 0; i < options->origin_count; i++) {
        origins[i] = block_keep(&block, options->origins[i]);
    }
    *extra = (struct extra){.verify_token = block_keep(&block, options->verify_token),
                            .origins = origins,
                            .origin_count = options->origin_count,
                            .rate_per_minute = options->rate_per_minute,
                            .has_allow = options->has_allow,
                            .allow_count = options->allow_count,
                            .proxy_count = options->proxy_count};
    size_t each = sizeof(struct cidr);
    extra->allow =
        (const void *)block_keep(&block, slice_of(options->allow, options->allow_count * each)).at;
    extra->proxies =
        (const void *)block_keep(&block, slice_of(options->proxies, options->proxy_count * each))
            .at;
}

static size_t align_16(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

/* A scheme with room for `own_bytes`, then what else the source configures, then a plan. */
static struct scheme *scheme_take(const struct scheme_row *row, const struct scheme_row *active,
                                  size_t own_bytes, const struct scheme_options *options,
                                  struct problem *problem)
{
    const struct scheme_plan *plan = active == row ? row->kept : NULL;
    if (plan_is_shared(row) && (plan = plan_shared(row, active, problem)) == NULL) {
        return NULL;
    }
    size_t extra = extra_bytes(options);
    size_t extra_at = (own_bytes + 7) & ~(size_t)7;
    size_t bytes = sizeof(struct scheme) + (extra != 0 ? extra_at + extra : own_bytes);
    size_t plan_at = align_16(bytes);
    bytes = plan != NULL ? bytes : plan_at + plan_bytes(row, active);
    *problem = (struct problem){"verification", "out of memory"};
    if (bytes > UINT32_MAX || extra_at / 8 > UINT16_MAX) {
        return NULL;
    }
    struct scheme *scheme = (struct scheme *)calloc(1, bytes);
    if (scheme == NULL) {
        return NULL;
    }
    if (plan == NULL) {
        struct scheme_plan *own = (struct scheme_plan *)(void *)((uint8_t *)scheme + plan_at);
        if (!plan_init(own, bytes - plan_at, row, active, problem)) {
            free(scheme);
            return NULL;
        }
        plan = own;
    }
    scheme->plan = plan;
    scheme->bytes = (uint32_t)bytes;
    scheme->tolerance_seconds = options->tolerance_seconds;
    if (extra != 0) {
        /* 0 means none, so what would begin at the tail begins 8 bytes later: extra has room. */
        scheme->extra_at = (uint16_t)(extra_at / 8 + (extra_at == 0));
        extra_fill((struct extra *)(void *)(scheme->tail + 8U * scheme->extra_at),
                   extra - 8U * (extra_at == 0), options);
    }
    return scheme;
}

/* NULL, or what is wrong with a secret. */
static const char *keys_fill(struct scheme *scheme, const struct scheme_row *active,
                             const struct slice *secrets, unsigned secret_count)
{
    const struct scheme_plan *plan = scheme->plan;
    struct block block = {scheme->tail + keys_bytes(active, scheme->key_count, 0),
                          (uint8_t *)scheme + scheme->bytes};
    const char *wrong = NULL;
    const struct scheme_row *row = plan->programs[0].row;
    for (unsigned i = 0; wrong == NULL && i < plan->program_count; i++, row = row->otherwise) {
        if (keys_of(plan->programs[0].row, row) == row) {
            wrong = keys_compile(scheme, &plan->programs[i], secrets, secret_count, &block);
        }
    }
    return wrong;
}

static struct scheme *scheme_build(const struct scheme_row *row, const struct slice *secrets,
                                   unsigned secret_count, const struct scheme_options *options,
                                   struct problem *problem)
{
    const struct scheme_row *active = row_for(row, secrets, secret_count);
    struct slice only_prefix = slice_str(active != row ? row->signing_prefix : NULL);
    unsigned key_count = 0;
    size_t secret_bytes = 0;
    for (unsigned i = 0; i < secret_count && active->kind != ROW_NONE; i++) {
        bool used = slice_starts(secrets[i], only_prefix);
        key_count += used;
        secret_bytes += used ? secrets[i].bytes : 0;
    }
    struct scheme *scheme =
        scheme_take(row, active, keys_bytes(active, key_count, secret_bytes), options, problem);
    if (scheme == NULL) {
        return NULL;
    }
    scheme->key_count = (uint8_t)key_count;
    problem->message = keys_fill(scheme, active, secrets, secret_count);
    if (problem->message != NULL) {
        scheme_wipe(scheme);
        free(scheme);
        return NULL;
    }
    return scheme;
}

/* ---- type auto: one scheme for each provider that can be told by its headers */

/* A scheme that moved: what points into it must move too. */
static void move_texts(struct scheme *scheme, const struct scheme *from)
{
    ptrdiff_t by = (const uint8_t *)scheme - (const uint8_t *)from;
    const struct scheme_row *active = scheme->plan->programs[0].row;
    for (unsigned i = 0; i < scheme->plan->program_count; i++) {
        const struct program *program = &scheme->plan->programs[i];
        bool own = keys_of(active, program->row) == program->row;
        for (unsigned k = 0; k < scheme->key_count && own && row_keeps_text(program->row); k++) {
            ((struct key *)(uintptr_t)scheme_key(scheme, program, k))->token.at += by;
        }
    }
    struct extra *extra = (struct extra *)(uintptr_t)scheme_extra(scheme);
    if (extra != NULL) {
        extra->verify_token.at += extra->verify_token.at != NULL ? by : 0;
    }
}

static struct scheme *auto_build(const struct scheme_row *row, const struct slice *secrets,
                                 unsigned secret_count, const struct scheme_options *options,
                                 struct problem *problem)
{
    struct scheme *all[SCHEME_ROWS_MAX], *scheme = NULL;
    struct scheme_options inner = {.tolerance_seconds = options->tolerance_seconds,
                                   .verify_token = options->verify_token};
    unsigned count = 0;
    size_t bytes = 0;
    bk_assert(scheme_row_count() <= SCHEME_ROWS_MAX);
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *one = scheme_row_at(i);
        if (one->detect == NULL) {
            continue;
        }
        all[count] = scheme_build(one, secrets, secret_count, &inner, problem);
        /* A secret that is not of this provider's kind: it is none of its. */
        if (all[count] != NULL) {
            bytes += scheme_stride(all[count++]);
        }
    }
    if (count == 0) {
        problem->message = "no provider takes these secrets";
    } else {
        scheme = scheme_take(row, row, bytes, options, problem);
    }
    uint8_t *at = scheme != NULL ? scheme->tail : NULL;
    for (unsigned i = 0; i < count; i++) {
        if (scheme != NULL) {
            memcpy(at, all[i], all[i]->bytes);
            move_texts((struct scheme *)(void *)at, all[i]);
            ((struct scheme *)(void *)at)->of_auto = true;
            at += scheme_stride(all[i]);
        }
        scheme_wipe(all[i]);
        free(all[i]);
    }
    if (scheme != NULL) {
        bk_assert(count <= UINT8_MAX);
        scheme->is_auto = true;
        scheme->key_count = (uint8_t)count;
    }
    return scheme;
}

/* ---- the whole */

enum bk_err scheme_compile_with(const struct scheme_row *row, const struct slice *secrets,
                                unsigned secret_count, const struct scheme_options *options,
                                struct scheme **ret_scheme, size_t *ret_bytes,
                                const char **ret_message)
{
    bk_assert(row != NULL && options != NULL && ret_scheme != NULL && ret_bytes != NULL &&
              ret_message != NULL);
    bk_assert(options->origin_count <= SCHEME_ORIGINS_MAX &&
              options->allow_count <= SCHEME_RANGES_MAX &&
              options->proxy_count <= SCHEME_RANGES_MAX);
    struct problem problem = {"verification", NULL};
    *ret_scheme = NULL;
    *ret_bytes = 0;
    *ret_message = secrets_wrong(row, secrets, secret_count);
    if (*ret_message != NULL) {
        return BK_INVALID;
    }
    struct scheme *scheme = row->kind == ROW_AUTO
                                ? auto_build(row, secrets, secret_count, options, &problem)
                                : scheme_build(row, secrets, secret_count, options, &problem);
    if (scheme == NULL) {
        *ret_message = problem.message;
        return BK_INVALID;
    }
    *ret_scheme = scheme;
    *ret_bytes = scheme->bytes;
    return BK_OK;
}

enum bk_err scheme_compile(const struct scheme_row *row, const struct slice *secrets,
                           unsigned secret_count, int64_t tolerance_seconds,
                           struct scheme **ret_scheme, size_t *ret_bytes, const char **ret_message)
{
    struct scheme_options options = {.tolerance_seconds = tolerance_seconds};
    return scheme_compile_with(row, secrets, secret_count, &options, ret_scheme, ret_bytes,
                               ret_message);
}
