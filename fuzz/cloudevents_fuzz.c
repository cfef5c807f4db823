/* cloudevents_fuzz - any bytes as a body: the strict check agrees with the parser, the elements of
 * an array are the array's, and what is written is JSON whatever went in. */
#include "base/assert.h"
#include "base/json_check.h"
#include "hub/events/cloudevents.h"

#include <stdlib.h>
#include <yyjson.h>

static void check_elements(struct slice text, yyjson_val *root)
{
    struct slice rest = text, element;
    bool good;
    size_t count = 0;
    if (!yyjson_is_arr(root)) {
        return;
    }
    while (json_check_element(&rest, &element, &good)) {
        bk_assert(json_check(element));
        count++;
    }
    bk_assert(good && count == yyjson_arr_size(root));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    /* Numbers beyond doubles are JSON all the same. */
    yyjson_doc *doc = yyjson_read((const char *)data, size, YYJSON_READ_BIGNUM_AS_RAW);
    if (json_check(text)) {
        /* The other way round does not hold: we stop at 64 levels. */
        bk_assert(doc != NULL);
        check_elements(text, yyjson_doc_get_root(doc));
    }
    yyjson_doc_free(doc);
    struct cloudevent event = {.id = slice_of(data, size / 3),
                               .source = SLICE("s"),
                               .type = slice_of(data, size / 2),
                               .body = text};
    size_t room = cloudevents_structured_max(&event);
    size_t head_room = cloudevents_headers_max(&event);
    uint8_t *out = malloc(room > head_room ? room : head_room);
    bk_assert(out != NULL);
    size_t bytes = cloudevents_structured(&event, out, room);
    bk_assert(bytes != 0 && json_check(slice_of(out, bytes)));
    bytes = cloudevents_headers(&event, out, head_room);
    bk_assert(bytes != 0);
    for (size_t i = 0; i + 1 < bytes; i++) {
        bk_assert(out[i] != '\n' || (i > 0 && out[i - 1] == '\r'));
    }
    free(out);
    return 0;
}
