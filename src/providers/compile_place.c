/* Places as rows write them, and the fields among them. */
#include "providers/compile.h"

struct slice next_word(struct slice *text)
{
    *text = slice_trim(*text);
    struct slice word = slice_of(text->at, slice_find(*text, ' '));
    *text = slice_skip(*text, word.bytes);
    return word;
}

bool place_parse(struct slice word, struct block *block, struct place *ret_place)
{
    *ret_place = (struct place){.kind = PLACE_HEADER, .shown = word};
    if (word.bytes == 0) {
        ret_place->kind = PLACE_NONE;
    } else if (word.at[0] == '/') {
        size_t at = 0;
        while (at + 3 <= word.bytes && memcmp(word.at + at, "/*/", 3) != 0) {
            at++;
        }
        bool each = at + 3 <= word.bytes;
        ret_place->kind = each ? PLACE_EACH : PLACE_FIELD;
        struct json_path inner;
        ret_place->each = each ? slice_skip(word, at + 2) : SLICE_EMPTY;
        return json_path_parse(slice_of(word.at, each ? at : word.bytes), &ret_place->path) &&
               (!each || json_path_parse(ret_place->each, &inner));
    } else if (word.at[0] == '=' || word.at[0] == '?') {
        ret_place->kind = word.at[0] == '=' ? PLACE_CONSTANT : PLACE_FORM;
        ret_place->text = slice_skip(word, 1);
        return ret_place->kind == PLACE_CONSTANT || ret_place->text.bytes != 0;
    } else {
        if ((size_t)(block->end - block->at) < word.bytes) {
            return false;
        }
        ret_place->text = block_keep_lower(block, word);
    }
    return true;
}

bool places_parse(const char *text, struct block *block, struct places *ret_places)
{
    struct slice rest = slice_str(text);
    ret_places->count = 0;
    ret_places->has_form = ret_places->has_field = false;
    while (slice_trim(rest).bytes != 0) {
        struct place *place = &ret_places->at[ret_places->count];
        if (ret_places->count == PLACES_MAX || !place_parse(next_word(&rest), block, place)) {
            return false;
        }
        ret_places->has_form |= place->kind == PLACE_FORM;
        ret_places->has_field |= place->kind == PLACE_FIELD;
        ret_places->count++;
    }
    return true;
}

/* ---- fields */

static bool same_path(const struct json_path *a, const struct json_path *b)
{
    bool same = a->step_count == b->step_count;
    for (unsigned i = 0; same && i < a->step_count; i++) {
        same = slice_equal(a->steps[i], b->steps[i]);
    }
    return same;
}

uint8_t fields_of(struct fields *fields, const struct place *place, bool may_add)
{
    unsigned i = 0;
    while (i < fields->count && !same_path(&fields->paths[i], &place->path)) {
        i++;
    }
    if (place->kind != PLACE_FIELD || i == JSON_PATHS_MAX || (i == fields->count && !may_add)) {
        return 0;
    }
    if (i == fields->count) {
        fields->paths[fields->count++] = place->path;
    }
    return (uint8_t)(i + 1);
}

void fields_add(struct fields *fields, struct place *place)
{
    place->field = fields_of(fields, place, true);
}

void fields_add_places(struct fields *fields, struct places *places)
{
    for (unsigned i = 0; i < places->count; i++) {
        fields_add(fields, &places->at[i]);
    }
}
