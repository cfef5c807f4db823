#include "cli/kind.h"

#include "base/nearest.h"
#include "base/assert.h"
#include "cli/cli.h"
#include "cli/remote.h"
#include "hub/resources/resource.h"

/* "source" is the end of "event-source", "links" of "integration-links". */
static const char *ending_in(const char *text)
{
    size_t bytes = strlen(text);
    for (unsigned kind = 0; bytes > 2 && kind < RESOURCE_KIND_COUNT; kind++) {
        const struct resource_kind_info *info = resource_kind_info((enum resource_kind)kind);
        const char *const names[] = {info->singular, info->plural};
        for (unsigned i = 0; info->supported && i < bk_array_length(names); i++) {
            size_t length = strlen(names[i]);
            if (length > bytes &&
                slice_equal_nocase(slice_str(text), slice_str(names[i] + length - bytes))) {
                return names[i];
            }
        }
    }
    return NULL;
}

const char *kind_plural(const char *text, bool *ret_in_canvas)
{
    enum resource_kind kind;
    *ret_in_canvas = false;
    if (resource_kind_find(slice_str(text), &kind)) {
        *ret_in_canvas = resource_kind_info(kind)->in_canvas;
        return resource_kind_info(kind)->plural;
    }
    if (slice_equal_nocase(slice_str(text), SLICE("token")) ||
        slice_equal_nocase(slice_str(text), SLICE("tokens"))) {
        return "tokens";
    }
    if (slice_equal_nocase(slice_str(text), SLICE("entry")) ||
        slice_equal_nocase(slice_str(text), SLICE("entries"))) {
        *ret_in_canvas = true;
        return "entries";
    }
    static const char *const lists[] = {"event",      "events",   "delivery",
                                        "deliveries", "provider", "providers"};
    for (size_t i = 0; i < bk_array_length(lists); i++) {
        if (slice_equal_nocase(slice_str(text), slice_str(lists[i]))) {
            const char *plural = lists[i | 1];
            cli_usage("%s are listed by `becket %s`, and are no objects%s", plural, plural,
                      i < 2 ? "; `becket event ID` prints one" : "");
            return NULL;
        }
    }
    const char *near = ending_in(text);
    near = near ? near : nearest_word(slice_str(text), resource_kind_names);
    cli_usage("there is no kind %s; %s%s%s", text,
              near ? "did you mean " : "there are Entry, Operation, Token, " RESOURCE_KINDS,
              near ? near : "", near ? "?" : "");
    return NULL;
}

void kind_target(struct buf *target, const struct options *options, const char *plural,
                 bool in_canvas, const char *name)
{
    buf_printf(target, "/api/v1/%s", plural);
    if (name != NULL) {
        buf_add_byte(target, '/');
        remote_segment(target, name);
    }
    if (in_canvas) {
        remote_query(target, "canvas", option_text(options, "canvas"));
    }
}
