#include "api/query.h"

#include "base/percent.h"
#include "base/time.h"

bool api_decode(struct arena *arena, struct slice text, bool plus, struct slice *ret_text)
{
    uint8_t *out = (uint8_t *)arena_copy(arena, text.at, text.bytes);
    size_t bytes = 0;
    if (out == NULL || !percent_decode(text, plus, out, &bytes) || memchr(out, '\0', bytes)) {
        return false;
    }
    out[bytes] = '\0';
    *ret_text = slice_of(out, bytes);
    return true;
}

int query_index(const struct api_route *route, struct slice name)
{
    for (int i = 0; route->params != NULL && route->params[i].name != NULL; i++) {
        bk_assert(i < (int)API_PARAMS_MAX);
        if (slice_equal(slice_str(route->params[i].name), name)) {
            return i;
        }
    }
    return -1;
}

struct slice api_value(const struct api_call *call, const char *name)
{
    int index = query_index(call->route, slice_str(name));
    bk_assert(index >= 0);
    return call->values[index];
}

struct slice api_canvas(const struct api_call *call)
{
    struct slice canvas = api_value(call, "canvas");
    return canvas.bytes != 0 ? canvas : SLICE(RESOURCE_CANVAS_DEFAULT);
}

bool api_flag(const struct api_call *call, const char *name)
{
    return slice_equal(api_value(call, name), SLICE("true"));
}

static bool parse_limit(struct slice text, unsigned *ret_limit)
{
    unsigned limit = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || i == 4) {
            return false;
        }
        limit = limit * 10 + (unsigned)(text.at[i] - '0');
    }
    *ret_limit = limit;
    return limit >= 1 && limit <= API_LIMIT_MAX;
}

unsigned api_limit(const struct api_call *call)
{
    unsigned limit = API_LIMIT_DEFAULT;
    struct slice text = api_value(call, "limit");
    return text.at == NULL || !parse_limit(text, &limit) ? API_LIMIT_DEFAULT : limit;
}

/* The + of an offset ("…T00:00:00+02:00") arrives as a space when the client did not escape it. */
static bool parse_time(struct slice text, int64_t now_ns, int64_t *ret_ns)
{
    char copy[64];
    if (text.bytes >= sizeof copy) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        copy[i] = (char)(text.at[i] == ' ' ? '+' : text.at[i]);
    }
    return time_parse_since(slice_of(copy, text.bytes), now_ns, ret_ns) == BK_OK;
}

int64_t api_time(const struct api_call *call, const char *name, int64_t absent)
{
    int64_t time_ns = absent;
    struct slice text = api_value(call, name);
    if (text.at != NULL && !parse_time(text, call->request->wall_ns, &time_ns)) {
        return absent;
    }
    return time_ns;
}

static bool is_choice(const char *choices, struct slice text)
{
    for (const char *at = choices; *at != '\0';) {
        size_t bytes = strcspn(at, "|");
        if (slice_equal(slice_of(at, bytes), text)) {
            return true;
        }
        at += bytes + (at[bytes] == '|');
    }
    return false;
}

/* What a value has to be; NULL when it is. */
static const char *value_problem(const struct api_call *call, const struct api_param *param,
                                 struct slice value)
{
    unsigned limit;
    int64_t time_ns;
    switch (param->kind) {
    case API_PARAM_TEXT:
        return NULL;
    case API_PARAM_FLAG:
        return slice_equal(value, SLICE("true")) || slice_equal(value, SLICE("false"))
                   ? NULL
                   : "true or false";
    case API_PARAM_LIMIT:
        return parse_limit(value, &limit) ? NULL : "a number from 1 to 1000";
    case API_PARAM_TIME:
        return parse_time(value, call->request->wall_ns, &time_ns)
                   ? NULL
                   : "a time: 2026-01-02T03:04:05Z, 2026-01-02, seconds since 1970, or a duration "
                     "before now such as 1h";
    case API_PARAM_CHOICE:
        return is_choice(param->choices, value) ? NULL : param->choices;
    }
    return NULL;
}

/* One name=value. False when the call was answered. */
static bool take_parameter(struct api_call *call, struct slice pair)
{
    size_t name_bytes = slice_find(pair, '=');
    struct slice name, value;
    if (!api_decode(&call->arena, slice_of(pair.at, name_bytes), true, &name) ||
        !api_decode(&call->arena, slice_skip(pair, name_bytes + 1), true, &value)) {
        api_error(call, 400, "invalid", "the query string is malformed");
        return false;
    }
    int index = query_index(call->route, name);
    if (index < 0) {
        api_invalid(call, (const char *)name.at, "unknown query parameter %.60s",
                    (const char *)name.at);
        return false;
    }
    const struct api_param *param = &call->route->params[index];
    if (call->values[index].at != NULL) {
        api_invalid(call, param->name, "%s is given twice", param->name);
        return false;
    }
    const char *problem = value_problem(call, param, value);
    if (problem != NULL) {
        api_invalid(call, param->name, "%s must be %s%s", param->name,
                    param->kind == API_PARAM_CHOICE ? "one of " : "", problem);
        return false;
    }
    call->values[index] = value.bytes == 0 ? SLICE_EMPTY : value; /* "?cursor=" is no cursor */
    return true;
}

bool query_take(struct api_call *call, struct slice query)
{
    while (query.bytes != 0) {
        size_t bytes = slice_find(query, '&');
        if (bytes != 0 && !take_parameter(call, slice_of(query.at, bytes))) {
            return false;
        }
        query = slice_skip(query, bytes + 1);
    }
    return true;
}
