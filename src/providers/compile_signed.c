/* The signed text as a list of pieces. */
#include "providers/compile.h"

#include "base/assert.h"

static const struct {
    const char *text;
    enum op_kind kind;
} op_words[] = {
    {"{body}", OP_BODY},
    {"{id}", OP_ID},
    {"{timestamp}", OP_TIMESTAMP},
    {"{method}", OP_METHOD},
    {"{path}", OP_PATH},
    {"{url}", OP_URL},
    {"{url-unescaped}", OP_URL_UNESCAPED},
    {"{query}", OP_QUERY},
    {"{form}", OP_FORM},
    {"{form:", OP_FORM_FIELD},
    {"{sha256}", OP_BODY_SHA256},
    {"{secret}", OP_SECRET},
    {"{header:", OP_HEADER},
    {"{/", OP_PLACE},
    {"{?", OP_PLACE},
};

/* A placeholder at the front of *text, which moves behind it. */
static bool op_parse(struct slice *text, struct op *op, struct problem *problem)
{
    for (size_t i = 0; i < bk_array_length(op_words); i++) {
        struct slice word = slice_str(op_words[i].text);
        if (!slice_starts(*text, word)) {
            continue;
        }
        op->kind = op_words[i].kind;
        bool whole = word.at[word.bytes - 1] == '}';
        *text = slice_skip(*text, op->kind == OP_PLACE ? 1 : word.bytes);
        if (whole) {
            return true;
        }
        op->text = slice_of(text->at, slice_find(*text, '}'));
        /* What has another brace in it was meant otherwise. */
        if (op->text.bytes == 0 || op->text.bytes == text->bytes ||
            slice_find(op->text, '{') != op->text.bytes ||
            (op->kind == OP_HEADER && !row_is_header_name(op->text))) {
            break;
        }
        *text = slice_skip(*text, op->text.bytes + 1);
        return true;
    }
    return fail(problem, "signed",
                "expected {body} {id} {timestamp} {method} {path} {url} {query} {header:Name} "
                "{/pointer} {?name} {form} {form:name} or {sha256}");
}

static bool ops_parse(const char *template, struct program *program, struct problem *problem)
{
    struct slice text = slice_str(template);
    program->op_count = 0;
    program->signs_id = program->signs_timestamp = false;
    while (text.bytes != 0) {
        struct op op = {.kind = OP_TEXT, .text = slice_of(text.at, slice_find(text, '{'))};
        if (op.text.bytes != 0) {
            text = slice_skip(text, op.text.bytes);
        } else if (!op_parse(&text, &op, problem)) {
            return false;
        }
        bool url = op.kind == OP_URL || op.kind == OP_URL_UNESCAPED;
        if (program->op_count + url >= OPS_MAX) {
            return fail(problem, "signed",
                        "too many pieces: placeholders and the texts between are 16 at most, a "
                        "URL counts twice");
        }
        program->signs_id |= op.kind == OP_ID;
        program->signs_timestamp |= op.kind == OP_TIMESTAMP;
        program->ops[program->op_count++] = op;
        if (url) {
            op.kind = OP_URL_REST;
            program->ops[program->op_count++] = op;
        }
    }
    return true;
}

static bool op_places_parse(struct program *program, struct block *block, struct problem *problem)
{
    for (unsigned i = 0; i < program->op_count; i++) {
        struct op *op = &program->ops[i];
        if (op->kind == OP_HEADER) {
            op->text = block_keep_lower(block, op->text);
        }
        if (op->kind != OP_PLACE) {
            continue;
        }
        op->place = program->op_place_count;
        struct place *place = &program->op_places[op->place];
        if (program->op_place_count == OP_PLACES_MAX || !place_parse(op->text, block, place) ||
            place->kind == PLACE_EACH) {
            return fail(problem, "signed", "too many {/…} and {?…}, or not a JSON pointer");
        }
        program->op_place_count++;
    }
    return true;
}

/* The first piece of each kind has its place; others are made like those that differ. */
static void parts_assign(struct program *program)
{
    program->body_at = program->timestamp_at = program->id_at = program->url_at =
        program->method_at = OPS_MAX;
    for (unsigned i = 0; i < program->op_count; i++) {
        enum op_kind kind = program->ops[i].kind;
        uint8_t *at = kind == OP_BODY                              ? &program->body_at
                      : kind == OP_TIMESTAMP                       ? &program->timestamp_at
                      : kind == OP_ID                              ? &program->id_at
                      : kind == OP_URL || kind == OP_URL_UNESCAPED ? &program->url_at
                      : kind == OP_METHOD                          ? &program->method_at
                                                                   : NULL;
        if (kind == OP_TEXT) {
            program->parts[i] = program->ops[i].text;
        } else if (kind == OP_SECRET) {
            program->secrets |= 1U << i;
        } else if (at != NULL && *at == OPS_MAX) {
            *at = (uint8_t)i;
            program->url_unescapes |= kind == OP_URL_UNESCAPED;
        } else if (kind != OP_URL_REST) {
            program->made |= 1U << i;
        }
    }
    program->body_offset = (uint16_t)(program->body_at * sizeof *program->parts);
    program->timestamp_offset = (uint16_t)(program->timestamp_at * sizeof *program->parts);
    program->id_offset = (uint16_t)(program->id_at * sizeof *program->parts);
    program->of_request =
        program->url_at != OPS_MAX || program->method_at != OPS_MAX || program->made != 0;
}

bool signed_compile(const char *template, struct block *block, struct program *program,
                    struct problem *problem)
{
    if (!ops_parse(template, program, problem) || !op_places_parse(program, block, problem)) {
        return false;
    }
    parts_assign(program);
    return true;
}
