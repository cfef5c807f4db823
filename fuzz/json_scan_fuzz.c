/* json_scan_fuzz - any bytes: no read beyond the end, the vector code agrees with the plain one,
 * each path alone gives what all together give, and where the text is valid JSON a full parser
 * finds the same. */
#include "base/assert.h"
#include "providers/json_scan.h"

#include <stdlib.h>
#include <yyjson.h>

static const char *const wanted[JSON_PATHS_MAX] = {
    "/id", "/type", "/event/type", "/events/0/id", "/challenge", "/a/b/c/d", "/0", "/1/1",
};

static bool same(const struct json_found *a, const struct json_found *b)
{
    return a->kind == b->kind && a->text.at == b->text.at && a->text.bytes == b->text.bytes;
}

static bool parser_agrees(const struct json_found *found, yyjson_val *value)
{
    switch (found->kind) {
    case JSON_ABSENT:
        return value == NULL;
    case JSON_STRING:
        return slice_equal(found->text, slice_of(yyjson_get_str(value), yyjson_get_len(value)));
    case JSON_STRING_ESCAPED:
        return yyjson_is_str(value);
    case JSON_NUMBER:
        return slice_equal(found->text, slice_of(yyjson_get_raw(value), yyjson_get_len(value)));
    case JSON_OTHER:
        return value != NULL && !yyjson_is_str(value) && !yyjson_is_raw(value);
    }
    return false;
}

/* Could a member name be written with an escape? The parser matches it then, the scan does not. \"
 * and \\ occur in no name that is looked for. */
static bool may_escape_names(struct slice text)
{
    for (size_t i = 0; i + 1 < text.bytes; i++) {
        if (text.at[i] == '\\' && text.at[i + 1] != '"' && text.at[i + 1] != '\\') {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_path paths[JSON_PATHS_MAX];
    struct json_found all[JSON_PATHS_MAX], one;
    struct slice text = slice_of(data, size);
    for (unsigned i = 0; i < JSON_PATHS_MAX; i++) {
        bk_assert(json_path_parse(slice_str(wanted[i]), &paths[i]));
    }
    json_scan(text, paths, JSON_PATHS_MAX, all);
    yyjson_doc *doc = yyjson_read((const char *)data, size, YYJSON_READ_NUMBER_AS_RAW);
    bool compare = doc != NULL && !may_escape_names(text);
    for (unsigned i = 0; i < JSON_PATHS_MAX; i++) {
        json_scan(text, &paths[i], 1, &one);
        bk_assert(doc == NULL || same(&one, &all[i]));
        bk_assert(one.text.bytes == 0 ||
                  (one.text.at >= data && one.text.at + one.text.bytes <= data + size));
        if (compare) {
            bk_assert(parser_agrees(&one, yyjson_doc_ptr_get(doc, wanted[i])));
        }
    }
    yyjson_doc_free(doc);
    for (size_t i = 0, tried = 0; i < size && tried < 32; i++) {
        if (data[i] == '{' || data[i] == '[') {
            struct slice rest = slice_of(data + i, size - i);
            bk_assert(json_skip(rest) == json_skip_portable(rest));
            bk_assert(json_skip_sse2(rest) == json_skip_portable(rest));
            tried++;
        }
    }
    if (size != 0) {
        bk_assert(json_skip(text) == json_skip_portable(text));
    }
    return 0;
}
