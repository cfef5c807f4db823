#include "hub/resources/resource.h"

#include "base/assert.h"
#include "hub/resources/decode.h"
#include "tls/credentials.h"

#include <stdlib.h>
#include <yyjson.h>

static const struct resource_kind_info kinds[RESOURCE_KIND_COUNT] = {
    [RESOURCE_CANVAS] = {"Canvas", "canvas", "canvases", 'C', true, false},
    [RESOURCE_SECRET] = {"Secret", "secret", "secrets", 'S', true, true},
    [RESOURCE_EVENT_SOURCE] = {"EventSource", "event-source", "event-sources", 'E', true, true},
    [RESOURCE_INTEGRATION] = {"Integration", "integration", "integrations", 'I', true, true},
    [RESOURCE_INTEGRATION_USER] = {"IntegrationUser", "integration-user", "integration-users", 'P',
                                   true, true},
    [RESOURCE_INTEGRATION_LINK] = {"IntegrationLink", "integration-link", "integration-links", 'L',
                                   true, true},
    [RESOURCE_DESTINATION] = {"Destination", "destination", "destinations", 'D', true, true},
    [RESOURCE_ROUTE] = {"Route", "route", "routes", 'R', true, true},
    [RESOURCE_STAGE] = {"Stage", "stage", "stages", 0, false, true},
    [RESOURCE_CONNECTION_GROUP] = {"ConnectionGroup", "connection-group", "connection-groups", 0,
                                   false, true},
    [RESOURCE_EXECUTION] = {"Execution", "execution", "executions", 0, false, true},
    [RESOURCE_DEPLOYMENT] = {"Deployment", "deployment", "deployments", 0, false, true},
    [RESOURCE_VARIABLE] = {"Variable", "variable", "variables", 0, false, true},
    [RESOURCE_OPERATION] = {"Operation", "operation", "operations", 0, false, true},
    [RESOURCE_USER] = {"User", "user", "users", 'U', true, true},
    [RESOURCE_TEAM] = {"Team", "team", "teams", 'T', true, true},
};

const char *const resource_tls_names[RESOURCE_TLS_COUNT] = {
    TLS_CREDENTIALS_CA, TLS_CREDENTIALS_CERTIFICATE, TLS_CREDENTIALS_KEY};

const char *const resource_kind_names[] = {
    "Canvas",
    "Secret",
    "EventSource",
    "Integration",
    "IntegrationUser",
    "IntegrationLink",
    "Destination",
    "Route",
    "Stage",
    "ConnectionGroup",
    "Execution",
    "Deployment",
    "Variable",
    "Operation",
    "User",
    "Team",
    NULL,
};

/* Equal but for case and for '-' and '_', which do not count. */
static bool same_word(struct slice text, const char *word)
{
    size_t i = 0;
    for (const char *w = word; *w; w++) {
        if (*w == '-') {
            continue;
        }
        while (i < text.bytes && (text.at[i] == '-' || text.at[i] == '_')) {
            i++;
        }
        if (i == text.bytes || ascii_lower(text.at[i]) != ascii_lower((uint8_t)*w)) {
            return false;
        }
        i++;
    }
    return i == text.bytes;
}

bool resource_kind_find(struct slice text, enum resource_kind *ret_kind)
{
    for (unsigned i = 0; i < RESOURCE_KIND_COUNT; i++) {
        if (same_word(text, kinds[i].singular) || same_word(text, kinds[i].plural)) {
            *ret_kind = (enum resource_kind)i;
            return true;
        }
    }
    return false;
}

const struct resource_kind_info *resource_kind_info(enum resource_kind kind)
{
    bk_assert((unsigned)kind < RESOURCE_KIND_COUNT);
    return &kinds[kind];
}

bool resource_name_valid(struct slice name)
{
    if (name.bytes == 0 || name.bytes > NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.bytes; i++) {
        uint8_t c = name.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return true;
}

#define NAME_RULE "1 to 63 characters of a-z, 0-9 and -"

/* ---- Secret */

static bool secret_key_valid(struct slice key)
{
    if (key.bytes == 0 || key.bytes > RESOURCE_SECRET_KEY_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < key.bytes; i++) {
        uint8_t c = ascii_lower(key.at[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.')) {
            return false;
        }
    }
    return true;
}

static int compare_items(const void *a, const void *b)
{
    const struct resource_secret_item *left = a, *right = b;
    size_t bytes = left->key.bytes < right->key.bytes ? left->key.bytes : right->key.bytes;
    int order = memcmp(left->key.at, right->key.at, bytes);
    return order != 0 ? order
                      : (left->key.bytes > right->key.bytes) - (left->key.bytes < right->key.bytes);
}

static void decode_items(struct decoder *decoder, const struct decode_object *data,
                         struct resource_secret *secret)
{
    size_t count = yyjson_mut_obj_size(data->value), index, max;
    if (count == 0 || count > RESOURCE_SECRET_KEYS_MAX) {
        decode_wrong(decoder, data, NULL, "a secret has 1 to %u keys", RESOURCE_SECRET_KEYS_MAX);
        return;
    }
    secret->items = arena_take(&decoder->tree->arena, count * sizeof *secret->items);
    if (!secret->items) {
        decode_wrong(decoder, data, NULL, "document too large");
        return;
    }
    yyjson_mut_val *key, *item;
    yyjson_mut_obj_foreach(data->value, index, max, key, item)
    {
        struct resource_secret_item *to = &secret->items[secret->count++];
        to->key = json_text(key);
        to->place = json_place(item);
        const char *name = yyjson_mut_get_str(key);
        if (!secret_key_valid(to->key)) {
            decode_wrong(decoder, data, name, "keys are 1 to %u letters, digits, -, _ and .",
                         RESOURCE_SECRET_KEY_BYTES_MAX);
            continue;
        }
        if (yyjson_mut_is_null(item)) {
            decode_wrong(decoder, data, name, "an empty secret protects nothing");
        }
        to->value = decode_secret_text(decoder, data, name);
    }
    qsort(secret->items, secret->count, sizeof *secret->items, compare_items);
}

static void decode_secret(struct decoder *decoder, const struct decode_object *spec,
                          struct resource_secret *secret)
{
    static const char *const known[] = {"provider", "local", "data", NULL};
    static const char *const local_known[] = {"data", NULL};
    decode_known(decoder, spec, known);
    struct slice provider = decode_text(decoder, spec, "provider");
    if (provider.bytes > 0 && !slice_equal(provider, SLICE("PROVIDER_LOCAL")) &&
        !slice_equal(provider, SLICE("local"))) {
        decode_wrong(decoder, spec, "provider", "only PROVIDER_LOCAL is supported by this version");
    }
    struct decode_object local = decode_inner(decoder, spec, "local");
    /* An older dialect has the keys in `local` itself. */
    bool flat =
        local.value && !decode_field(&local, "data") && yyjson_mut_obj_size(local.value) > 0;
    if (!flat) {
        decode_known(decoder, &local, local_known);
    }
    struct decode_object data = decode_inner(decoder, &local, "data");
    struct decode_object brief = decode_inner(decoder, spec, "data");
    if ((data.value || flat) && brief.value) {
        decode_wrong(decoder, spec, "data", "give either local.data or data, not both");
    } else if (data.value || brief.value || flat) {
        decode_items(decoder, data.value ? &data : brief.value ? &brief : &local, secret);
    } else if (!decode_field(&local, "data") && !decode_field(spec, "data")) {
        decode_wrong(decoder, spec, "local.data", "is missing: a map of keys and values");
    }
}

/* ---- the envelope */

/* The kind, or false when the document cannot be read further. */
static bool decode_kind(struct decoder *decoder, const struct decode_object *root,
                        const struct resource_expect *expect, enum resource_kind *ret_kind)
{
    struct slice text = decode_text(decoder, root, "kind");
    if (text.bytes == 0 && expect->one && !decode_field(root, "kind")) {
        *ret_kind = expect->kind;
        return true;
    }
    if (text.bytes == 0) {
        if (!decode_field(root, "kind")) {
            decode_wrong(decoder, root, "kind", "is missing");
        }
        return false;
    }
    if (!resource_kind_find(text, ret_kind)) {
        const char *nearest = nearest_word(text, resource_kind_names);
        decode_wrong(decoder, root, "kind", "unknown kind; %s%s%s",
                     nearest ? "did you mean " : "there are " RESOURCE_KINDS,
                     nearest ? nearest : "", nearest ? "?" : "");
        return false;
    }
    if (expect->one && *ret_kind != expect->kind) {
        decode_wrong(decoder, root, "kind", "is %s, but the address is for %s",
                     kinds[*ret_kind].name, kinds[expect->kind].name);
        return false;
    }
    if (!kinds[*ret_kind].supported) {
        decode_wrong(decoder, root, "kind", "%s is not supported by this version",
                     kinds[*ret_kind].name);
        return false;
    }
    return true;
}

static void decode_name(struct decoder *decoder, const struct decode_object *metadata,
                        const struct resource_expect *expect, struct resource_document *document)
{
    struct slice name = decode_text(decoder, metadata, "name");
    if (name.bytes > 0 && !resource_name_valid(name)) {
        decode_wrong(decoder, metadata, "name", "must be " NAME_RULE);
    } else if (name.bytes > 0 && expect->name.bytes > 0 && !slice_equal(name, expect->name)) {
        decode_wrong(decoder, metadata, "name", "differs from the name in the address");
    } else if (name.bytes == 0 && expect->name.bytes > 0) {
        name = expect->name;
        if (!resource_name_valid(name)) {
            decode_wrong(decoder, metadata, "name", "must be " NAME_RULE);
        }
    } else if (!decode_field(metadata, "name")) {
        decode_wrong(decoder, metadata, "name", "is missing");
    }
    document->name = name;
}

/* What the server sets is taken and not looked at, so that what was read can be applied, now, later
 * or elsewhere. */
static const char *const metadata_known[] = {
    "name",      "canvasId",       "canvasName", "description", "id",
    "createdAt", "updatedAt",      "createdBy",  "revision",    "domainType",
    "domainId",  "organizationId", NULL};

static bool is_one_of(struct slice word, const char *const *words)
{
    for (; *words; words++) {
        if (slice_equal(word, slice_str(*words))) {
            return true;
        }
    }
    return false;
}

/* What stands beside metadata and spec was mostly to stand below one of them. */
static void decode_known_root(struct decoder *decoder, const struct decode_object *root)
{
    static const char *const known[] = {"apiVersion", "kind", "metadata", "spec", "status", NULL};
    size_t index, max;
    yyjson_mut_val *key, *item;
    yyjson_mut_obj_foreach(root->value, index, max, key, item)
    {
        struct slice name = json_text(key);
        const char *nearest = nearest_word(name, known);
        (void)item;
        if (is_one_of(name, known)) {
            continue;
        }
        bool below = is_one_of(name, metadata_known);
        resource_problem_add(decoder->problems, decoder->document, json_place(key),
                             yyjson_mut_get_str(key), "unknown field%s%s%s",
                             below     ? "; indent it, it stands below metadata"
                             : nearest ? "; did you mean "
                                       : "; is it to be indented, below spec?",
                             !below && nearest ? nearest : "", !below && nearest ? "?" : "");
    }
}

static void decode_metadata(struct decoder *decoder, const struct decode_object *root,
                            const struct resource_expect *expect,
                            struct resource_document *document)
{
    struct decode_object metadata = decode_inner(decoder, root, "metadata");
    decode_known(decoder, &metadata, metadata_known);
    decode_name(decoder, &metadata, expect, document);
    document->description = decode_field(&metadata, "description")
                                ? json_text(decode_field(&metadata, "description"))
                                : SLICE_EMPTY;
    if (decode_field(&metadata, "description") &&
        !yyjson_mut_is_str(decode_field(&metadata, "description"))) {
        decode_wrong(decoder, &metadata, "description", "must be text");
        document->description = SLICE_EMPTY;
    } else if (document->description.bytes > RESOURCE_DESCRIPTION_BYTES_MAX) {
        decode_wrong(decoder, &metadata, "description", "longer than %u bytes",
                     RESOURCE_DESCRIPTION_BYTES_MAX);
    }
    enum resource_domain domain = decode_domain(decoder, &metadata);
    bool known_kind = document->kind != RESOURCE_KIND_COUNT;
    if (document->kind == RESOURCE_SECRET || document->kind == RESOURCE_INTEGRATION) {
        document->domain = domain;
    }
    const char *field = decode_field(&metadata, "canvasId") ? "canvasId" : "canvasName";
    struct slice canvas = decode_text(decoder, &metadata, field);
    bool canvas_wrong = canvas.bytes > 0 && !resource_name_valid(canvas);
    if (canvas_wrong) {
        decode_wrong(decoder, &metadata, field, "must be " NAME_RULE);
    }
    document->canvas = canvas.bytes > 0 ? canvas : expect->canvas;
    if (known_kind && !kinds[document->kind].in_canvas) {
        document->canvas = SLICE_EMPTY;
    }
    document->addressed = known_kind && resource_name_valid(document->name) && !canvas_wrong;
}

/* A file of another tool, or a piece of a document, has none of our words: that is said in one line
 * rather than once for each of its fields. */
static bool decode_foreign(struct decoder *decoder, const struct decode_object *root)
{
    static const struct {
        const char *word, *what;
    } others[] = {
        {"executor",
         "an executor stands in a Stage; stages are not part of this version of becket"},
        {"triggerChannel", "this configures integrations of Port; they are not part of this "
                           "version of becket"},
    };
    const char *what = "this is no document of becket: it needs kind, metadata and spec";
    static const char *const ours[] = {"kind", "metadata", "spec", NULL};
    size_t index, max;
    yyjson_mut_val *key, *item;
    yyjson_mut_obj_foreach(root->value, index, max, key, item)
    {
        (void)item;
        if (is_one_of(json_text(key), ours) || is_one_of(json_text(key), metadata_known)) {
            return false;
        }
    }
    if (max == 0) {
        return false;
    }
    for (size_t i = 0; i < bk_array_length(others); i++) {
        what = yyjson_mut_obj_get(root->value, others[i].word) ? others[i].what : what;
    }
    resource_problem_add(decoder->problems, decoder->document, root->place, "", "%s", what);
    return true;
}

/* What a document is about. False: its kind is not known. */
static bool decode_head(struct decoder *decoder, const struct decode_object *root,
                        const struct resource_expect *expect,
                        struct resource_document *ret_document)
{
    *ret_document = (struct resource_document){.index = decoder->document,
                                               .place = root->place,
                                               .root = root->value,
                                               .kind = RESOURCE_KIND_COUNT};
    if (!yyjson_mut_is_obj(root->value)) {
        resource_problem_add(decoder->problems, decoder->document, root->place, "",
                             "must be a map with kind, metadata and spec");
        return false;
    }
    if (decode_foreign(decoder, root)) {
        return false;
    }
    decode_known_root(decoder, root);
    struct slice version = decode_text(decoder, root, "apiVersion");
    if (version.bytes > 0 && !slice_equal(version, SLICE("v1"))) {
        decode_wrong(decoder, root, "apiVersion", "must be v1");
    }
    bool known_kind = decode_kind(decoder, root, expect, &ret_document->kind);
    if (!known_kind) {
        ret_document->kind = RESOURCE_KIND_COUNT;
    }
    decode_metadata(decoder, root, expect, ret_document);
    return known_kind;
}

bool resource_decode_address(struct json_tree *tree, size_t index, yyjson_mut_val *value,
                             const struct resource_expect *expect,
                             struct resource_document *ret_document,
                             struct resource_problems *problems)
{
    struct decoder decoder = {tree, problems, index};
    struct decode_object root = {value, NULL, "", json_place(value)};
    size_t before = problems->count + problems->dropped;
    return decode_head(&decoder, &root, expect, ret_document) &&
           problems->count + problems->dropped == before;
}

bool resource_decode(struct json_tree *tree, size_t index, yyjson_mut_val *value,
                     const struct resource_expect *expect, struct resource_document *ret_document,
                     struct resource_problems *problems)
{
    static const char *const nothing[] = {NULL};
    struct decoder decoder = {tree, problems, index};
    struct decode_object root = {value, NULL, "", json_place(value)};
    size_t before = problems->count + problems->dropped;
    if (decode_head(&decoder, &root, expect, ret_document)) {
        struct decode_object spec = decode_inner(&decoder, &root, "spec");
        ret_document->spec_place = spec.place;
        if (ret_document->kind == RESOURCE_SECRET) {
            decode_secret(&decoder, &spec, &ret_document->spec.secret);
        } else if (ret_document->kind == RESOURCE_EVENT_SOURCE) {
            decode_event_source(&decoder, &spec, &ret_document->spec.source);
        } else if (ret_document->kind == RESOURCE_DESTINATION) {
            decode_destination(&decoder, &spec, &ret_document->spec.destination);
        } else if (ret_document->kind == RESOURCE_INTEGRATION) {
            decode_integration(&decoder, &spec, &ret_document->spec.integration);
        } else if (ret_document->kind == RESOURCE_ROUTE) {
            decode_route(&decoder, &spec, &ret_document->spec.route);
        } else if (ret_document->kind == RESOURCE_USER) {
            decode_user(&decoder, &spec, &ret_document->spec.user);
        } else if (ret_document->kind == RESOURCE_TEAM) {
            decode_team(&decoder, &spec, &ret_document->spec.team);
        } else if (ret_document->kind == RESOURCE_INTEGRATION_USER) {
            decode_integration_user(&decoder, &spec, &ret_document->spec.person);
        } else if (ret_document->kind == RESOURCE_INTEGRATION_LINK) {
            decode_integration_link(&decoder, &spec, &ret_document->spec.link);
        } else {
            bk_assert(ret_document->kind == RESOURCE_CANVAS);
            decode_known(&decoder, &spec, nothing);
        }
    }
    ret_document->broken = problems->count + problems->dropped != before;
    return !ret_document->broken;
}
