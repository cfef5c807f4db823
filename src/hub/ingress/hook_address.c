#include "hub/ingress/hook_address.h"

static bool take_prefix(struct slice *path, const char *prefix)
{
    struct slice text = slice_str(prefix);
    bool there = slice_starts(*path, text);
    *path = there ? slice_skip(*path, text.bytes) : *path;
    return there;
}

bool hook_address_of_others(struct slice path, struct hook_address *ret_address)
{
    *ret_address = (struct hook_address){.path = SLICE_EMPTY};
    if (slice_equal(path, SLICE("/hooks"))) {
        *ret_address = (struct hook_address){SPELLED_GITPLOY, SLICE("github"), SLICE("github")};
        return true;
    }
    if (take_prefix(&path, "/api/v1/sources/")) {
        size_t bytes = slice_find(path, '/');
        ret_address->spelling = SPELLED_SUPERPLANE;
        ret_address->path = slice_of(path.at, bytes);
        ret_address->type = slice_skip(path, bytes + 1);
        return bytes > 0 && (bytes == path.bytes || ret_address->type.bytes > 0);
    }
    if (take_prefix(&path, "/integrations/")) {
        size_t bytes = slice_find(path, '/');
        ret_address->spelling = SPELLED_IDONETHIS;
        ret_address->path = ret_address->type = slice_of(path.at, bytes);
        return bytes > 0 && slice_equal(slice_skip(path, bytes), SLICE("/hook"));
    }
    return false;
}

bool hook_address_means(const struct hook_address *address, const struct source *source)
{
    return address->type.bytes == 0 ||
           scheme_row_find(address->type) ==
               scheme_row_find(slice_str(scheme_row_name(scheme_row(source->scheme))));
}

static struct slice header_of(const struct http_head *head, struct slice name)
{
    const struct http_header *header = http_find(head, name, NULL);
    return header ? http_header_value(head, header) : SLICE_EMPTY;
}

static bool is_json(const struct http_head *head)
{
    struct slice type = header_of(head, SLICE("content-type"));
    type = slice_trim(slice_of(type.at, slice_find(type, ';')));
    return slice_equal_nocase(type, SLICE("application/json"));
}

static bool is_for_gitploy(const struct http_head *head)
{
    struct slice event = header_of(head, SLICE("x-github-event"));
    return http_find(head, SLICE("x-github-delivery"), NULL) &&
           (slice_equal(event, SLICE("deployment_status")) || slice_equal(event, SLICE("push")) ||
            slice_equal(event, SLICE("ping")));
}

const struct hook_refusal *hook_address_refusal(const struct hook_address *address,
                                                const struct http_head *head)
{
    static const struct hook_refusal no_json = {404, "not_found",
                                                "this address takes application/json"};
    static const struct hook_refusal not_gitploys = {
        400, "invalid",
        "this address takes GitHub's deployment_status, push and ping, with their delivery id"};
    if (address->spelling == SPELLED_SUPERPLANE && !is_json(head)) {
        return &no_json;
    }
    return address->spelling == SPELLED_GITPLOY && !is_for_gitploy(head) ? &not_gitploys : NULL;
}
