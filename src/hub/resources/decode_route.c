/* decode_route.c - the specs of Destination and Route, and filters wherever they stand. */
#include "base/assert.h"
#include "base/time.h"
#include "base/url.h"
#include "http/write.h"
#include "hub/resources/decode.h"
#include "hub/routes/destination.h"
#include "tls/credentials.h"

#include <math.h>
#include <stdio.h>
#include <yyjson.h>

#define TIMEOUT_NS_MAX (300LL * NS_PER_SECOND)
#define RETRY_NS_MAX   (7LL * 24 * 3600 * NS_PER_SECOND)
#define PER_SECOND_MAX 1000000U

/* ---- lists of maps */

/* The list at `name`, or NULL when it is absent or wrong. */
static yyjson_mut_val *list_at(struct decoder *decoder, const struct decode_object *object,
                               const char *name, size_t min, size_t max, const char *items,
                               size_t *ret_count)
{
    yyjson_mut_val *list = decode_field(object, name);
    *ret_count = 0;
    if (!list) {
        return NULL;
    }
    size_t count = yyjson_mut_arr_size(list);
    if (!yyjson_mut_is_arr(list) || count < min || count > max) {
        decode_wrong(decoder, object, name, "must be a list of %zu to %zu %s", min, max, items);
        return NULL;
    }
    *ret_count = count;
    return list;
}

static void *room(struct decoder *decoder, const struct decode_object *object, const char *name,
                  size_t count, size_t bytes)
{
    void *at = arena_take(&decoder->tree->arena, (count ? count : 1) * bytes);
    if (!at) {
        decode_wrong(decoder, object, name, "document too large");
    }
    return at;
}

/* ---- filters */

/* Compiled only to tell what is wrong with it; the place of the text is where it begins. */
static void check_expression(struct decoder *decoder, const struct decode_object *object,
                             const char *name, struct slice text, enum filter_kind kind,
                             bool want_bool)
{
    struct filter *filter = NULL;
    struct filter_error error;
    enum bk_err err = filter_compile(text, kind, want_bool, &filter, &error);
    if (err == BK_OK) {
        filter_free(filter);
    } else if (err == BK_INVALID) {
        decode_wrong(decoder, object, name, "line %u, column %u of the expression: %s", error.line,
                     error.column, error.message);
    } else {
        decode_wrong(decoder, object, name, "%s", bk_err_text(err));
    }
}

/* {type: FILTER_TYPE_DATA, data: {expression}} or {type: FILTER_TYPE_HEADER, header: {…}} */
static void decode_filter(struct decoder *decoder, const struct decode_object *item,
                          struct resource_filter *filter)
{
    static const char *const known[] = {"type", "data", "header", NULL};
    static const char *const inner_known[] = {"expression", NULL};
    decode_known(decoder, item, known);
    struct slice type = decode_text(decoder, item, "type");
    bool header =
        slice_equal(type, SLICE("FILTER_TYPE_HEADER")) || slice_equal(type, SLICE("header"));
    bool data = slice_equal(type, SLICE("FILTER_TYPE_DATA")) || slice_equal(type, SLICE("data"));
    if (type.bytes == 0 && !decode_field(item, "type")) {
        header = decode_field(item, "header") && !decode_field(item, "data");
        data = !header;
    } else if (type.bytes > 0 && !header && !data) {
        decode_wrong(decoder, item, "type", "must be FILTER_TYPE_DATA or FILTER_TYPE_HEADER");
        return;
    }
    const char *name = header ? "header" : "data", *other = header ? "data" : "header";
    if (decode_field(item, other)) {
        decode_wrong(decoder, item, other, "does not belong to a filter of this type");
    }
    struct decode_object inner = decode_inner(decoder, item, name);
    decode_known(decoder, &inner, inner_known);
    filter->kind = header ? FILTER_HEADER : FILTER_DATA;
    filter->expression = decode_text(decoder, &inner, "expression");
    if (!inner.value) {
        if (!decode_field(item, name)) {
            decode_wrong(decoder, item, name, "is missing: {expression: …}");
        }
    } else if (!decode_field(&inner, "expression")) {
        decode_wrong(decoder, &inner, "expression", "is missing");
    } else if (filter->expression.bytes > 0) {
        check_expression(decoder, &inner, "expression", filter->expression, filter->kind, true);
    }
}

/* `filters` and `filterOperator` of an object. */
static void decode_filters(struct decoder *decoder, const struct decode_object *object,
                           struct resource_filters *ret_filters)
{
    size_t count, index, max;
    yyjson_mut_val *list = list_at(decoder, object, "filters", 0, RESOURCE_FILTERS_MAX,
                                   "{type, data: {expression}}", &count);
    yyjson_mut_val *value;
    struct slice any = decode_text(decoder, object, "filterOperator");
    ret_filters->any = slice_equal(any, SLICE("FILTER_OPERATOR_OR"));
    if (any.bytes > 0 && !ret_filters->any && !slice_equal(any, SLICE("FILTER_OPERATOR_AND"))) {
        decode_wrong(decoder, object, "filterOperator",
                     "must be FILTER_OPERATOR_AND or FILTER_OPERATOR_OR");
    }
    if (count == 0) {
        return;
    }
    ret_filters->items = room(decoder, object, "filters", count, sizeof *ret_filters->items);
    if (!ret_filters->items) {
        return;
    }
    struct decode_object filters = {NULL, object, "filters", json_place(list)};
    yyjson_mut_arr_foreach(list, index, max, value)
    {
        char name[24];
        snprintf(name, sizeof name, "[%u]", (unsigned)index);
        struct decode_object item = {value, &filters, name, json_place(value)};
        if (!yyjson_mut_is_obj(value)) {
            decode_wrong(decoder, &item, NULL, "must be {type, data: {expression}}");
            continue;
        }
        decode_filter(decoder, &item, &ret_filters->items[index]);
    }
    ret_filters->count = (unsigned)count;
}

/* GitLab's have spaces: "Push Hook". */
static bool type_valid(struct slice type)
{
    for (size_t i = 0; i < type.bytes; i++) {
        if (type.at[i] < ' ' || type.at[i] == 0x7f || (type.at[i] == '*' && i + 1 < type.bytes)) {
            return false;
        }
    }
    return type.bytes > 0 && type.bytes <= EVENT_TYPE_BYTES_MAX && type.at[0] != ' ' &&
           type.at[type.bytes - 1] != ' ';
}

#define TYPE_RULE "must be an event type; only its last character may be *"

/* types: [push, "invoice.*"] */
static void decode_types(struct decoder *decoder, const struct decode_object *object,
                         struct resource_filters *filters)
{
    size_t count, index, max;
    yyjson_mut_val *list =
                       list_at(decoder, object, "types", 1, RESOURCE_TYPES_MAX, "texts", &count),
                   *value;
    if (!list) {
        return;
    }
    filters->types = room(decoder, object, "types", count, sizeof *filters->types);
    if (!filters->types) {
        return;
    }
    yyjson_mut_arr_foreach(list, index, max, value)
    {
        struct slice type = yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
        if (!type_valid(type)) {
            decode_wrong(decoder, object, "types", "[%u] " TYPE_RULE, (unsigned)index);
            continue;
        }
        filters->types[filters->type_count++] = type;
    }
}

/* spec.events of an EventSource: [{type, filters, filterOperator}] */
void decode_events(struct decoder *decoder, const struct decode_object *spec,
                   struct resource_event_source *source)
{
    static const char *const known[] = {"type", "filters", "filterOperator", NULL};
    size_t count, index, max;
    yyjson_mut_val *list = list_at(decoder, spec, "events", 0, RESOURCE_EVENTS_MAX,
                                   "{type, filters}", &count),
                   *value;
    if (count == 0) {
        return;
    }
    source->events = room(decoder, spec, "events", count, sizeof *source->events);
    if (!source->events) {
        return;
    }
    struct decode_object events = {NULL, spec, "events", json_place(list)};
    yyjson_mut_arr_foreach(list, index, max, value)
    {
        char name[24];
        snprintf(name, sizeof name, "[%u]", (unsigned)index);
        struct decode_object item = {value, &events, name, json_place(value)};
        struct resource_filters *filters = &source->events[index];
        if (!yyjson_mut_is_obj(value)) {
            decode_wrong(decoder, &item, NULL, "must be {type, filters, filterOperator}");
            continue;
        }
        decode_known(decoder, &item, known);
        struct slice type = decode_text(decoder, &item, "type");
        if (!decode_field(&item, "type")) {
            decode_wrong(decoder, &item, "type",
                         "is missing: as the provider names it, or * for all");
        } else if (type.bytes > 0 && !type_valid(type)) {
            decode_wrong(decoder, &item, "type", TYPE_RULE);
        }
        filters->types = room(decoder, &item, "type", 1, sizeof *filters->types);
        if (filters->types) {
            filters->types[filters->type_count++] = type;
        }
        decode_filters(decoder, &item, filters);
    }
    source->event_count = (unsigned)count;
}

/* ---- Destination */

static void decode_url(struct decoder *decoder, const struct decode_object *spec,
                       struct resource_destination *destination)
{
    struct url url = {0};
    const char *why;
    destination->url = decode_text(decoder, spec, "url");
    if (!decode_field(spec, "url")) {
        decode_wrong(decoder, spec, "url", "is missing");
    } else if (destination->url.bytes > 0 && url_parse(destination->url, &url, &why) != BK_OK) {
        decode_wrong(decoder, spec, "url", "%s", why);
    } else if (url.host[0] && !url.tls && decode_field(spec, "tls")) {
        decode_wrong(decoder, spec, "tls", "only with a url that begins with https://");
    }
}

/* What becket says itself, or what concerns the connection only. */
static bool header_reserved(struct slice name)
{
    static const char *const names[] = {
        "host",       "content-length",   "transfer-encoding", "te",
        "connection", "keep-alive",       "upgrade",           "expect",
        "trailer",    "proxy-connection", "traceparent"};
    static const char *const prefixes[] = {"webhook-", "becket-"};
    for (size_t i = 0; i < bk_array_length(names); i++) {
        if (slice_equal_nocase(name, slice_str(names[i]))) {
            return true;
        }
    }
    for (size_t i = 0; i < bk_array_length(prefixes); i++) {
        if (slice_starts_nocase(name, slice_str(prefixes[i]))) {
            return true;
        }
    }
    return false;
}

/* Such a value in the spec could be read by anybody who may read objects. */
static bool header_secret(struct slice name)
{
    return slice_equal_nocase(name, SLICE("authorization")) ||
           slice_equal_nocase(name, SLICE("proxy-authorization")) ||
           slice_equal_nocase(name, SLICE("cookie"));
}

static void decode_header(struct decoder *decoder, const struct decode_object *headers,
                          yyjson_mut_val *key, yyjson_mut_val *value,
                          struct resource_destination_header *header)
{
    const char *name = yyjson_mut_get_str(key);
    header->name = json_text(key);
    header->text.value.place = json_place(value);
    if (!http_write_name_fits(header->name)) {
        decode_wrong(decoder, headers, name, "is no name of a header");
    } else if (header_reserved(header->name)) {
        decode_wrong(decoder, headers, name, "is set by becket and cannot be chosen");
    }
    if (yyjson_mut_is_obj(value)) {
        struct decode_object item = {value, headers, name, json_place(value)};
        decode_secret_source(decoder, &item, &header->text.value);
        return;
    }
    header->text.plain = true;
    header->text.value.value = decode_text(decoder, headers, name);
    if (header_secret(header->name)) {
        decode_wrong(decoder, headers, name,
                     "keep it in a Secret: {valueFrom: {secret: {name, key}}}");
    } else if (!http_write_value_fits(header->text.value.value)) {
        decode_wrong(decoder, headers, name, "must be visible ASCII characters and spaces");
    }
}

static void decode_headers(struct decoder *decoder, const struct decode_object *spec,
                           struct resource_destination *destination)
{
    struct decode_object headers = decode_inner(decoder, spec, "headers");
    size_t count = headers.value ? yyjson_mut_obj_size(headers.value) : 0, index, max;
    if (count > DESTINATION_HEADERS_MAX) {
        decode_wrong(decoder, spec, "headers", "are at most %u", DESTINATION_HEADERS_MAX);
        return;
    }
    destination->headers = room(decoder, spec, "headers", count, sizeof *destination->headers);
    if (count == 0 || !destination->headers) {
        return;
    }
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(headers.value, index, max, key, value)
    {
        struct resource_destination_header *header =
            &destination->headers[destination->header_count];
        decode_header(decoder, &headers, key, value, header);
        for (unsigned i = 0; i < destination->header_count; i++) {
            if (slice_equal_nocase(destination->headers[i].name, header->name)) {
                decode_wrong(decoder, &headers, yyjson_mut_get_str(key), "is there twice");
            }
        }
        destination->header_count++;
    }
}

static void decode_signing(struct decoder *decoder, const struct decode_object *spec,
                           struct resource_destination *destination)
{
    static const char *const known[] = {"scheme", "secrets", NULL};
    struct decode_object signing = decode_inner(decoder, spec, "signing");
    decode_known(decoder, &signing, known);
    struct slice scheme = decode_text(decoder, &signing, "scheme");
    destination->unsigned_ = slice_equal(scheme, SLICE("none"));
    if (scheme.bytes > 0 && !destination->unsigned_ &&
        !slice_equal(scheme, SLICE("standard-webhooks"))) {
        decode_wrong(decoder, &signing, "scheme", "must be standard-webhooks or none");
    }
    destination->secret_count =
        decode_secret_sources(decoder, &signing, DESTINATION_SECRETS_MAX, &destination->secrets);
    if (destination->unsigned_ && decode_field(&signing, "secrets")) {
        decode_wrong(decoder, &signing, "secrets", "scheme none takes no secret");
    }
    destination->generate_key = !destination->unsigned_ && !decode_field(&signing, "secrets");
}

const char *const resource_formats[DESTINATION_FORMATS] = {"original", "cloudevents-binary",
                                                           "cloudevents-structured"};

/* What the format says itself; any other ce-… line is an attribute of one's own. */
static bool header_of_format(enum destination_format format, struct slice name)
{
    static const char *const own[] = {"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time"};
    bool is_own = format == DESTINATION_CLOUDEVENTS_STRUCTURED &&
                  (slice_equal_nocase(name, SLICE("content-type")) ||
                   slice_equal_nocase(name, SLICE("content-encoding")));
    for (unsigned i = 0; format != DESTINATION_ORIGINAL && i < bk_array_length(own); i++) {
        is_own |= slice_equal_nocase(name, slice_str(own[i]));
    }
    return is_own;
}

static void decode_format(struct decoder *decoder, const struct decode_object *spec,
                          struct resource_destination *destination)
{
    struct slice text = decode_text(decoder, spec, "format");
    unsigned format = 0;
    while (text.bytes > 0 && format < DESTINATION_FORMATS &&
           !slice_equal(text, slice_str(resource_formats[format]))) {
        format++;
    }
    if (format == DESTINATION_FORMATS) {
        decode_wrong(decoder, spec, "format",
                     "must be original, cloudevents-binary or cloudevents-structured");
        return;
    }
    destination->format = (enum destination_format)format;
    for (unsigned i = 0; i < destination->header_count; i++) {
        if (header_of_format(destination->format, destination->headers[i].name)) {
            decode_wrong(decoder, spec, "headers", "%.*s is said by format %s and cannot be chosen",
                         (int)destination->headers[i].name.bytes,
                         (const char *)destination->headers[i].name.at, resource_formats[format]);
        }
    }
}

/* A certificate is no secret, so it may stand there as it is; a key may not. */
static void decode_tls_part(struct decoder *decoder, const struct decode_object *tls,
                            enum resource_tls part, struct resource_destination *destination)
{
    const char *name = resource_tls_names[part];
    yyjson_mut_val *value = decode_field(tls, name);
    struct resource_text *text = value ? room(decoder, tls, name, 1, sizeof *text) : NULL;
    if (!text) {
        return;
    }
    *text = (struct resource_text){.value.place = json_place(value)};
    destination->tls[part] = text;
    if (yyjson_mut_is_obj(value)) {
        struct decode_object item = {value, tls, name, json_place(value)};
        decode_secret_source(decoder, &item, &text->value);
        return;
    }
    text->plain = true;
    text->value.value = decode_text(decoder, tls, name);
    if (part == RESOURCE_TLS_KEY) {
        decode_wrong(decoder, tls, name, "keep it in a Secret: {valueFrom: {secret: {name, key}}}");
    } else if (text->value.value.bytes > DESTINATION_PEM_BYTES_MAX) {
        decode_wrong(decoder, tls, name, "longer than %u bytes", DESTINATION_PEM_BYTES_MAX);
    }
}

static void decode_tls(struct decoder *decoder, const struct decode_object *spec,
                       struct resource_destination *destination)
{
    static const char *const known[] = {TLS_CREDENTIALS_CA, TLS_CREDENTIALS_CERTIFICATE,
                                        TLS_CREDENTIALS_KEY, NULL};
    struct decode_object tls = decode_inner(decoder, spec, "tls");
    decode_known(decoder, &tls, known);
    for (unsigned i = 0; i < RESOURCE_TLS_COUNT; i++) {
        decode_tls_part(decoder, &tls, (enum resource_tls)i, destination);
    }
    bool certificate = decode_field(&tls, TLS_CREDENTIALS_CERTIFICATE) != NULL;
    if (certificate != (decode_field(&tls, TLS_CREDENTIALS_KEY) != NULL)) {
        decode_wrong(decoder, &tls, certificate ? TLS_CREDENTIALS_KEY : TLS_CREDENTIALS_CERTIFICATE,
                     "is missing: a certificate and its key go together");
    }
}

static void decode_schedule(struct decoder *decoder, const struct decode_object *retry,
                            struct resource_destination *destination)
{
    size_t count, index, max;
    yyjson_mut_val *list = list_at(decoder, retry, "schedule", 0, DESTINATION_RETRIES_MAX,
                                   "durations such as 5s", &count);
    yyjson_mut_val *value;
    if (!list) {
        return;
    }
    destination->schedule_given = true;
    destination->schedule = room(decoder, retry, "schedule", count, sizeof *destination->schedule);
    if (!destination->schedule) {
        return;
    }
    yyjson_mut_arr_foreach(list, index, max, value)
    {
        int64_t ns = 0;
        struct slice text = yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
        if (time_parse_duration(text, &ns) != BK_OK || ns < NS_PER_SECOND / 10 ||
            ns > RETRY_NS_MAX) {
            decode_wrong(decoder, retry, "schedule",
                         "[%u] must be a duration from 100ms to 7 days such as 30s, 5m or 2h",
                         (unsigned)index);
            continue;
        }
        destination->schedule[destination->schedule_count++] = (struct resource_duration){ns, text};
    }
}

static void decode_retry(struct decoder *decoder, const struct decode_object *spec,
                         struct resource_destination *destination)
{
    static const char *const known[] = {"schedule", "jitter", NULL};
    struct decode_object retry = decode_inner(decoder, spec, "retry");
    decode_known(decoder, &retry, known);
    decode_schedule(decoder, &retry, destination);
    yyjson_mut_val *jitter = decode_field(&retry, "jitter");
    if (jitter) {
        double part = yyjson_mut_is_num(jitter) ? yyjson_mut_get_num(jitter) : -1;
        if (!(part >= 0 && part <= 1)) {
            decode_wrong(decoder, &retry, "jitter", "must be a number from 0 to 1");
            return;
        }
        destination->jitter_given = true;
        destination->jitter_permille = (uint16_t)lround(part * 1000);
    }
}

static void decode_ordering(struct decoder *decoder, const struct decode_object *spec,
                            struct resource_destination *destination)
{
    static const char *const known[] = {"mode", "key", NULL};
    struct decode_object ordering = decode_inner(decoder, spec, "ordering");
    decode_known(decoder, &ordering, known);
    struct slice mode = decode_text(decoder, &ordering, "mode");
    destination->strict = slice_equal(mode, SLICE("strict"));
    if (mode.bytes > 0 && !destination->strict && !slice_equal(mode, SLICE("none"))) {
        decode_wrong(decoder, &ordering, "mode", "must be none or strict");
    }
    destination->order_key = decode_text(decoder, &ordering, "key");
    if (destination->order_key.bytes > 0) {
        check_expression(decoder, &ordering, "key", destination->order_key, FILTER_DATA, false);
        if (!destination->strict) {
            decode_wrong(decoder, &ordering, "key", "only with `mode: strict`");
        }
    }
}

static bool decode_bool(struct decoder *decoder, const struct decode_object *object,
                        const char *name)
{
    yyjson_mut_val *value = decode_field(object, name);
    if (value && !yyjson_mut_is_bool(value)) {
        decode_wrong(decoder, object, name, "must be true or false");
    }
    return value && yyjson_mut_get_bool(value);
}

void decode_destination(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_destination *destination)
{
    static const char *const known[] = {
        "url",      "headers",      "signing", "timeout", "retry",  "concurrency", "rateLimit",
        "ordering", "allowPrivate", "paused",  "tls",     "format", NULL};
    static const char *const rate_known[] = {"perSecond", NULL};
    uint64_t number = 0;
    int64_t ns = 0;
    decode_known(decoder, spec, known);
    decode_url(decoder, spec, destination);
    decode_headers(decoder, spec, destination);
    decode_signing(decoder, spec, destination);
    decode_format(decoder, spec, destination);
    decode_tls(decoder, spec, destination);
    decode_retry(decoder, spec, destination);
    decode_ordering(decoder, spec, destination);
    if (decode_duration(decoder, spec, "timeout", NS_PER_SECOND, TIMEOUT_NS_MAX, &ns,
                        &destination->timeout.text)) {
        destination->timeout.ns = ns;
    }
    if (decode_number(decoder, spec, "concurrency", 1, DESTINATION_CONCURRENCY_MAX, &number)) {
        destination->concurrency = (uint32_t)number;
    }
    struct decode_object rate = decode_inner(decoder, spec, "rateLimit");
    decode_known(decoder, &rate, rate_known);
    if (decode_number(decoder, &rate, "perSecond", 0, PER_SECOND_MAX, &number)) {
        destination->per_second = (uint32_t)number;
    }
    destination->allow_private = decode_bool(decoder, spec, "allowPrivate");
    destination->paused = decode_bool(decoder, spec, "paused");
}

/* ---- Route */

static struct slice decode_reference_name(struct decoder *decoder, const struct decode_object *item,
                                          const char *name)
{
    struct slice text = decode_text(decoder, item, name);
    if (!decode_field(item, name)) {
        decode_wrong(decoder, item, name, "is missing");
    } else if (text.bytes > 0 && !resource_name_valid(text)) {
        decode_wrong(decoder, item, name, "is no name of an object");
    }
    return text;
}

/* from: [{source, types}] and to: [{destination}] */
static unsigned decode_ends(struct decoder *decoder, const struct decode_object *spec,
                            const char *field, const char *name,
                            struct resource_route_end **ret_ends)
{
    bool from = strcmp(field, "from") == 0;
    const char *const known[] = {name, from ? "types" : NULL, NULL};
    size_t count, index, max;
    yyjson_mut_val *list = list_at(decoder, spec, field, 1, RESOURCE_ROUTE_ENDS_MAX,
                                   from ? "{source: name}" : "{destination: name}", &count);
    yyjson_mut_val *value;
    if (!decode_field(spec, field)) {
        decode_wrong(decoder, spec, field, "is missing: [{%s: name}]", name);
    }
    if (!list) {
        return 0;
    }
    struct resource_route_end *ends = room(decoder, spec, field, count, sizeof *ends);
    if (!ends) {
        return 0;
    }
    struct decode_object parent = {NULL, spec, field, json_place(list)};
    yyjson_mut_arr_foreach(list, index, max, value)
    {
        char at[24];
        snprintf(at, sizeof at, "[%u]", (unsigned)index);
        struct decode_object item = {value, &parent, at, json_place(value)};
        if (!yyjson_mut_is_obj(value)) {
            decode_wrong(decoder, &item, NULL, "must be {%s: name}", name);
            continue;
        }
        decode_known(decoder, &item, known);
        ends[index].place = item.place;
        ends[index].name = decode_reference_name(decoder, &item, name);
        for (size_t i = 0; i < index; i++) {
            if (ends[i].name.bytes > 0 && slice_equal(ends[i].name, ends[index].name)) {
                decode_wrong(decoder, &item, name, "is there twice");
            }
        }
        if (from) {
            decode_types(decoder, &item, &ends[index].types);
        }
    }
    *ret_ends = ends;
    return (unsigned)count;
}

void decode_route(struct decoder *decoder, const struct decode_object *spec,
                  struct resource_route *route)
{
    static const char *const known[] = {"from", "to", "filters", "filterOperator", NULL};
    decode_known(decoder, spec, known);
    route->from_count = decode_ends(decoder, spec, "from", "source", &route->from);
    decode_filters(decoder, spec, &route->filters);
    route->to_count = decode_ends(decoder, spec, "to", "destination", &route->to);
}
