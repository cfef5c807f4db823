/* A row becomes a plan; those of the table once, shared by all its sources. */
#include "providers/compile.h"

#include "base/assert.h"
#include "providers/row_code.h"

#include <stdatomic.h>
#include <stdlib.h>

static void add_secret_name(struct scheme_plan *plan, struct slice lower_name)
{
    for (unsigned i = 0; i < plan->secret_name_count; i++) {
        if (slice_equal(plan->secret_names[i], lower_name)) {
            return;
        }
    }
    bk_assert(plan->secret_name_count < SECRET_NAMES_MAX && lower_name.bytes < 64);
    plan->secret_names[plan->secret_name_count++] = lower_name;
}

/* What it shows would do for another request, too. */
static bool is_bearer(const struct program *program)
{
    return program->kind == ROW_TOKEN ||
           (program->row->verify == jwt_verify && program->row->body_claim == NULL);
}

static void secret_names_compile(struct scheme_plan *plan, struct block *block)
{
    struct slice extra = slice_str(plan->row->redact);
    add_secret_name(plan, SLICE("authorization"));
    add_secret_name(plan, SLICE("proxy-authorization"));
    add_secret_name(plan, SLICE("cookie"));
    for (unsigned i = 0; i < plan->program_count; i++) {
        const struct place *place = &plan->programs[i].signature;
        if (!is_bearer(&plan->programs[i])) {
            continue;
        }
        if (place->kind == PLACE_HEADER && place->text.bytes < 64) {
            add_secret_name(plan, place->text);
        } else if (place->kind == PLACE_FORM) {
            plan->secret_fields[plan->secret_field_count++] = place->text;
        }
    }
    while (slice_trim(extra).bytes != 0) {
        add_secret_name(plan, block_keep_lower(block, next_word(&extra)));
    }
}

/* Text and ${…} of an answer. */
static bool pieces_parse(const char *template, struct block *block, struct pieces *ret_pieces)
{
    static const struct {
        const char *word;
        enum piece_kind kind;
    } words[] = {{"hmac-hex:", PIECE_HMAC_HEX}, {"hmac-base64:", PIECE_HMAC_BASE64}};
    struct slice rest = slice_str(template);
    while (rest.bytes != 0) {
        struct piece *piece = &ret_pieces->at[ret_pieces->count++];
        size_t at = 0;
        while (at < rest.bytes &&
               (rest.at[at] != '$' || at + 1 == rest.bytes || rest.at[at + 1] != '{')) {
            at++;
        }
        if (at != 0) {
            *piece = (struct piece){.kind = PIECE_TEXT, .text = slice_of(rest.at, at)};
            rest = slice_skip(rest, at);
        } else {
            size_t end = slice_find(rest, '}');
            struct slice word = slice_of(rest.at + 2, end - 2);
            rest = slice_skip(rest, end + 1);
            piece->kind = slice_equal(word, SLICE("rate")) ? PIECE_RATE : PIECE_PLACE;
            for (size_t i = 0; i < bk_array_length(words); i++) {
                if (slice_starts(word, slice_str(words[i].word))) {
                    piece->kind = words[i].kind;
                    word = slice_skip(word, strlen(words[i].word));
                }
            }
            if (piece->kind != PIECE_RATE && !place_parse(word, block, &piece->place)) {
                return false;
            }
        }
        if (ret_pieces->count == PIECES_MAX && rest.bytes != 0) {
            return false;
        }
    }
    return true;
}

static void handshakes_compile(struct scheme_plan *plan, struct block *block)
{
    const struct row_handshake *from = plan->row->handshakes;
    /* Those without a signature first. */
    for (unsigned pass = 0; from != NULL && pass < 2; pass++) {
        for (unsigned i = 0; i < ROW_HANDSHAKES_MAX && from[i].when != NULL; i++) {
            if (from[i].is_unsigned != (pass == 0)) {
                continue;
            }
            struct handshake *to = &plan->handshakes[plan->handshake_count++];
            bool good = place_parse(slice_str(from[i].when), block, &to->when) &&
                        place_parse(slice_str(from[i].must), block, &to->must) &&
                        place_parse(slice_str(from[i].learn), block, &to->learn) &&
                        pieces_parse(from[i].answer, block, &to->answer) &&
                        pieces_parse(from[i].headers, block, &to->headers);
            bk_assert(good);
            to->row = &from[i];
            to->has_equals = from[i].equals != NULL;
            to->equals = slice_str(from[i].equals);
            to->must_equal = slice_str(from[i].must_equal);
            to->reply.status = from[i].status != 0 ? from[i].status : 200;
            to->reply.content_type = from[i].content_type;
            plan->unsigned_count += from[i].is_unsigned;
            plan->signed_handshakes |= !from[i].is_unsigned;
            plan->learns |= from[i].learn != NULL;
        }
    }
}

static bool plan_fill(struct scheme_plan *plan, const struct scheme_row *active,
                      struct block *block, struct problem *problem)
{
    plan->methods = 1U << HTTP_POST | plan->row->methods;
    for (size_t i = 0; i < scheme_row_count() && active->kind == ROW_AUTO; i++) {
        plan->methods |= scheme_row_at(i)->detect != NULL ? scheme_row_at(i)->methods : 0;
    }
    for (const struct scheme_row *row = active; row != NULL && row->kind != ROW_AUTO;
         row = row->otherwise) {
        bk_assert(plan->program_count < PROGRAMS_MAX);
        struct program *program = &plan->programs[plan->program_count++];
        if (!program_compile(active, row, block, program, problem)) {
            return false;
        }
    }
    if (!places_parse(active->id, block, &plan->id)) {
        return fail(problem, "id.field", "not a JSON pointer of at most four steps");
    }
    if (!places_parse(active->id_within, block, &plan->within)) {
        return fail(problem, "id.field", "not a JSON pointer of at most four steps");
    }
    if (!types_parse(active->type, block, &plan->type)) {
        return active->type != NULL && active->type[0] == '{'
                   ? fail(problem, "type.template",
                          "expected {header:Name}, {/pointer} or {?name}, three at most, with one "
                          "character between")
                   : fail(problem, "type.field", "not a JSON pointer of at most four steps");
    }
    for (unsigned i = 0; i < plan->type.count; i++) {
        if (plan->type.at[i].kind == PLACE_CONSTANT) {
            plan->constant_type = plan->type.at[i].text;
        }
    }
    secret_names_compile(plan, block);
    handshakes_compile(plan, block);
    slots_compile(plan);
    return true;
}

static unsigned program_count(const struct scheme_row *active)
{
    unsigned count = 0;
    for (; active != NULL && active->kind != ROW_AUTO; active = active->otherwise) {
        count++;
    }
    return count;
}

static unsigned handshake_count(const struct scheme_row *row)
{
    unsigned count = 0;
    while (row->handshakes != NULL && count < ROW_HANDSHAKES_MAX &&
           row->handshakes[count].when != NULL) {
        count++;
    }
    return count;
}

size_t plan_bytes(const struct scheme_row *row, const struct scheme_row *active)
{
    size_t text = row_text_bytes(row);
    for (const struct scheme_row *at = active; at != NULL; at = at->otherwise) {
        text += 3 * row_text_bytes(at);
    }
    return sizeof(struct scheme_plan) + program_count(active) * sizeof(struct program) +
           handshake_count(row) * sizeof(struct handshake) + row->block_bytes + text;
}

bool plan_init(struct scheme_plan *plan, size_t bytes, const struct scheme_row *row,
               const struct scheme_row *active, struct problem *problem)
{
    struct block block = {plan->tail, (uint8_t *)plan + bytes};
    plan->programs = (struct program *)(void *)block.at;
    block.at += program_count(active) * sizeof(struct program);
    plan->handshakes = (struct handshake *)(void *)block.at;
    block.at += handshake_count(row) * sizeof(struct handshake);
    plan->row = row_keep(&block, row);
    plan->only_prefix = slice_str(active != row ? row->signing_prefix : NULL);
    return plan_fill(plan, active == row ? plan->row : active, &block, problem);
}

static struct scheme_plan *plan_make(const struct scheme_row *row, const struct scheme_row *active,
                                     struct problem *problem)
{
    size_t bytes = plan_bytes(row, active);
    struct scheme_plan *plan = (struct scheme_plan *)calloc(1, bytes);
    *problem = (struct problem){"verification", "out of memory"};
    if (plan != NULL && !plan_init(plan, bytes, row, active, problem)) {
        free(plan);
        return NULL;
    }
    return plan;
}

struct scheme_plan *scheme_row_plan(const struct scheme_row *row, struct problem *problem)
{
    return plan_make(row, row, problem);
}

/* Of the rows of the tables, and of their other ways of signing. Never freed: as constant as they
 * are, and schemes of any age point to them. */
static _Atomic(struct scheme_plan *) plans[SCHEME_ROWS_MAX][2];

bool plan_is_shared(const struct scheme_row *row)
{
    return scheme_row_index(row) != SIZE_MAX;
}

const struct scheme_plan *plan_shared(const struct scheme_row *row, const struct scheme_row *active,
                                      struct problem *problem)
{
    size_t index = scheme_row_index(row);
    bk_assert(index < SCHEME_ROWS_MAX);
    _Atomic(struct scheme_plan *) *at = &plans[index][active != row];
    struct scheme_plan *plan = atomic_load_explicit(at, memory_order_acquire);
    if (plan != NULL) {
        return plan;
    }
    plan = plan_make(row, active, problem);
    struct scheme_plan *other = NULL;
    if (plan != NULL && !atomic_compare_exchange_strong_explicit(
                            at, &other, plan, memory_order_acq_rel, memory_order_acquire)) {
        free(plan);
        plan = other;
    }
    return plan;
}
