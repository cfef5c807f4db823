/* One way of signing of a row. */
#include "providers/compile.h"
#include "providers/sent_at.h"

/* The signature's parts of a program. */
static bool signature_compile(const struct scheme_row *row, struct block *block,
                              struct program *program, struct problem *problem)
{
    const char *format = row->format != NULL           ? row->format
                         : row->kind == ROW_PUBLIC_KEY ? "{base64}"
                                                       : "{hex}";
    const char *template = row->signed_template != NULL ? row->signed_template : "{body}";
    enum lane_kind lane = row->kind == ROW_ED25519      ? LANE_ED25519
                          : row->kind == ROW_PUBLIC_KEY ? LANE_PUBLIC_KEY
                                                        : LANE_MAC;
    if (!format_parse(format, row->algorithm, lane, &program->format, problem) ||
        (row->format_ed25519 != NULL && !format_parse(row->format_ed25519, row->algorithm,
                                                      LANE_ED25519, &program->format, problem)) ||
        !signed_compile(template, block, program, problem)) {
        return false;
    }
    if (!place_parse(slice_str(row->timestamp), block, &program->timestamp) ||
        !place_parse(slice_str(row->body_hash), block, &program->body_hash)) {
        return fail(problem, "timestamp.header", "not a header name");
    }
    bool has_place = program->timestamp.kind != PLACE_NONE;
    program->time =
        program->timestamp.kind == PLACE_HEADER || (has_place && program->signs_timestamp)
            ? TIME_PLACE
        : program->format.has_timestamp ? TIME_FORMAT
        : has_place                     ? TIME_BODY
                                        : TIME_NONE;
    if (program->signs_timestamp && program->time == TIME_NONE) {
        return fail(problem, "timestamp.header", "is missing, and `signed` has {timestamp}");
    }
    struct places ids;
    if (!places_parse(row->id, block, &ids) || (program->signs_id && ids.count == 0)) {
        return fail(problem, "id.header",
                    ids.count == 0 ? "is missing, and `signed` has {id}"
                                   : "not a header name or a JSON pointer");
    }
    if (ids.count != 0) {
        program->id = ids.at[0];
    }
    bool secret = strstr(template, "{secret}") != NULL;
    if (secret != (row->kind == ROW_HASH)) {
        return fail(problem, "signed",
                    secret ? "{secret} is for scheme hash only"
                           : "has no {secret}, so anybody could make it");
    }
    return true;
}

bool program_compile(const struct scheme_row *active, const struct scheme_row *row,
                     struct block *block, struct program *program, struct problem *problem)
{
    memset(program, 0, sizeof *program);
    program->row = row;
    program->kind = row->kind;
    program->is_sha256 = row->kind == ROW_HMAC && row->algorithm == HMAC_SHA256;
    program->unit = row->unit;
    program->scale = unit_scale(row->unit);
    program->tries_otherwise = row->tries_otherwise;
    program->algorithm = row->algorithm;
    program->hash_begins = row_hash_begins(row);
    program->url_ports = row->url_ports;
    program->tolerance_seconds = scheme_row_tolerance_seconds(row);
    program->window = program->tolerance_seconds * program->scale;
    program->key_bytes = (uint16_t)key_bytes(row);
    program->keys_before = (uint16_t)keys_before(active, row);
    if (row->kind == ROW_NONE) {
        return true;
    }
    if (row->header == NULL) {
        return fail(problem, "signature.header", "is missing");
    }
    if (!place_parse(slice_str(row->header), block, &program->signature) ||
        (program->signature.kind == PLACE_EACH && row->kind != ROW_TOKEN) ||
        !place_parse(slice_str(row->select != NULL ? row->select : row->header), block,
                     &program->select)) {
        return fail(problem, "signature.field", "not a JSON pointer of at most four steps");
    }
    program->select_equals = slice_str(row->select_equals);
    if (kind_signs(row->kind)) {
        bool good = signature_compile(row, block, program, problem);
        program->scratches = program->made != 0 || program->url_ports;
        return good;
    }
    if (row->kind == ROW_TOKEN && row->format != NULL) {
        struct slice format = slice_str(row->format), word = SLICE("{token}");
        if (format.bytes < word.bytes || format.at[0] == ' ' ||
            !slice_equal(slice_skip(format, format.bytes - word.bytes), word)) {
            return fail(problem, "signature.format", "a token's format is a prefix and {token}");
        }
        program->token_prefix = slice_of(format.at, format.bytes - word.bytes);
    }
    return true;
}
