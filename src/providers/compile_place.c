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

static bool places_add(struct slice word, uint8_t joint, struct block *block, struct places *places)
{
    if (places->count == PLACES_MAX) {
        return false;
    }
    struct place *place = &places->at[places->count];
    bool good = place_parse(word, block, place);
    place->joint = joint;
    places->has_form |= place->kind == PLACE_FORM;
    places->has_field |= place->kind == PLACE_FIELD;
    places->joined |= joint != 0;
    places->count++;
    return good;
}

/* "{header:Name}.{/pointer}": what is between the braces is a place by itself. */
static bool joined_add(struct slice word, struct block *block, struct places *places)
{
    const struct slice header = SLICE("header:");
    uint8_t joint = 0;
    while (word.bytes != 0) {
        struct slice place = slice_of(word.at + 1, slice_find(word, '}'));
        if (word.at[0] != '{' || place.bytes == word.bytes) {
            return false;
        }
        place.bytes--;
        word = slice_skip(word, place.bytes + 2);
        bool named = slice_starts(place, header);
        place = named ? slice_skip(place, header.bytes) : place;
        bool good = named ? row_is_header_name(place) && place.bytes != 0
                          : place.bytes > 1 && (place.at[0] == '/' || place.at[0] == '?');
        if (!good || slice_find(place, '{') != place.bytes ||
            !places_add(place, joint, block, places) ||
            places->at[places->count - 1].kind == PLACE_EACH) {
            return false;
        }
        joint = word.bytes != 0 ? word.at[0] : 0;
        if (word.bytes == 1 || joint == '{' || joint == '}' || (joint != 0 && joint <= ' ') ||
            joint >= 127) {
            return false;
        }
        word = slice_skip(word, word.bytes != 0);
    }
    return true;
}

static bool parse(const char *text, bool may_join, struct block *block, struct places *ret_places)
{
    struct slice rest = slice_str(text);
    ret_places->count = 0;
    ret_places->has_form = ret_places->has_field = ret_places->joined = false;
    while (slice_trim(rest).bytes != 0) {
        struct slice word = next_word(&rest);
        if (may_join && word.at[0] == '{' ? !joined_add(word, block, ret_places)
                                          : !places_add(word, 0, block, ret_places)) {
            return false;
        }
    }
    return true;
}

bool places_parse(const char *text, struct block *block, struct places *ret_places)
{
    return parse(text, false, block, ret_places);
}

bool types_parse(const char *text, struct block *block, struct places *ret_places)
{
    return parse(text, true, block, ret_places);
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
