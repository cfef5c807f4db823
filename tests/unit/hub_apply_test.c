/* The control plane: first start, apply, diff, prune, references, secrets at rest, tokens, feed. */
#include "hub/data_key.h"
#include "hub/hub_private.h"
#include "hub/resources/apply.h"
#include "hub/resources/quickstart.h"
#include "hub/resources/token.h"
#include "hub/resources/token_known.h"
#include "ring/file.h"
#include "tests/directory.h"

#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1767225600000000000LL /* 2026-01-01 */

static char directory[200];
static char why[HUB_WHY_BYTES];
static struct hub *hub;
static struct apply_outcome outcome;
static struct buf json;

/* What the feed said, newest last. */
static struct fed {
    bool removed;
    uint64_t number;
    char path[SOURCE_PATH_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
    uint64_t body_bytes_max;
    uint32_t per_second;
    int64_t dedupe_window_ns;
    struct scheme *scheme;
} fed[64];
static unsigned fed_count;

static void forget_fed(void)
{
    for (unsigned i = 0; i < fed_count; i++) {
        if (fed[i].scheme) {
            scheme_wipe(fed[i].scheme);
            free(fed[i].scheme);
        }
    }
    fed_count = 0;
}

static void on_change(void *context, const struct source_change *change)
{
    (void)context;
    struct fed *to = &fed[fed_count++];
    filter_sets_free(change->events, change->event_count); /* ours, as the scheme is */
    *to = (struct fed){.removed = change->removed,
                       .number = change->number,
                       .body_bytes_max = change->body_bytes_max,
                       .per_second = change->per_second,
                       .dedupe_window_ns = change->dedupe_window_ns,
                       .scheme = change->scheme};
    snprintf(to->path, sizeof to->path, "%.*s", (int)change->path.bytes,
             (const char *)change->path.at);
    snprintf(to->name, sizeof to->name, "%.*s", (int)change->name.bytes,
             (const char *)change->name.at);
}

static bool count_one(void *context, struct slice key, struct slice value)
{
    (void)key, (void)value;
    ++*(unsigned *)context;
    return true;
}

/* How many of this kind the store has, in all canvases. */
static unsigned objects(enum resource_kind kind)
{
    struct store_txn *txn;
    struct key prefix;
    unsigned count = 0;
    key_kind(&prefix, resource_kind_info(kind)->key);
    bk_assert(store_read(hub_store(hub), &txn) == BK_OK);
    bk_assert(store_walk(txn, key_slice(&prefix), SLICE_EMPTY, count_one, &count) == BK_OK);
    store_read_end(txn);
    return count;
}

static enum bk_err open_hub(void)
{
    struct hub_config config = {.data_directory = directory,
                                .public_url = "https://hooks.example",
                                .changed = on_change,
                                .now_ns = NOW};
    return hub_open(&config, &hub, why);
}

static void close_hub(void)
{
    hub_close(hub);
    hub = NULL;
    forget_fed();
}

static void fresh(void)
{
    test_directory(directory, sizeof directory, false);
    if (open_hub() != BK_OK) {
        bail_out("%s", why);
    }
}

static void clean(void)
{
    close_hub();
    test_directory_drop(directory);
}

static enum bk_err apply_with(const char *text, struct apply_options options)
{
    apply_outcome_fini(&outcome);
    forget_fed();
    options.now_ns = NOW;
    enum bk_err err = apply_text(hub, slice_str(text), &options, &outcome);
    if (err != BK_OK) {
        diag("%s: %s", bk_err_name(err), outcome.message);
    }
    return err;
}

static enum bk_err apply(const char *text)
{
    return apply_with(text, (struct apply_options){0});
}

static enum bk_err delete_one(enum resource_kind kind, const char *name)
{
    struct apply_options options = {.now_ns = NOW};
    apply_outcome_fini(&outcome);
    forget_fed();
    return apply_delete(hub, kind, slice_str(name), &options, &outcome);
}

static struct token_info made;
static const char *missing;

static enum bk_err make_token(const char *name, enum token_role role, const char *canvas,
                              const char *user, char text[TOKEN_TEXT_BYTES])
{
    struct token_request request = {.name = slice_str(name),
                                    .role = role,
                                    .canvas = slice_str(canvas),
                                    .user = slice_str(user)};
    return token_create(hub, &request, NOW, &made, text, &missing);
}

static const char *result_json(void)
{
    buf_reset(&json);
    apply_results_json(&outcome, &json);
    return buf_text(&json);
}

static const char *error_json(enum bk_err err)
{
    buf_reset(&json);
    apply_error_json(&outcome, err, &json);
    return buf_text(&json);
}

static const char *get(enum resource_kind kind, const char *name)
{
    buf_reset(&json);
    enum bk_err err = hub_get_json(hub, kind, SLICE_EMPTY, slice_str(name), &json, NULL);
    return err == BK_OK ? buf_text(&json) : bk_err_name(err);
}

static bool has(const char *text, const char *part)
{
    bool found = strstr(text, part) != NULL;
    if (!found) {
        diag("'%s' is not in %s", part, text);
    }
    return found;
}

static bool said(const char *field, const char *message)
{
    for (size_t i = 0; i < outcome.problems.count; i++) {
        if (strcmp(outcome.problems.at[i].field, field) == 0 &&
            strstr(outcome.problems.at[i].message, message)) {
            return true;
        }
    }
    for (size_t i = 0; i < outcome.problems.count; i++) {
        diag("%s: %s (%u:%u)", outcome.problems.at[i].field, outcome.problems.at[i].message,
             outcome.problems.at[i].place.line, outcome.problems.at[i].place.column);
    }
    return false;
}

static const char secret_text[] =
    "kind: Secret\nmetadata: {name: stripe}\n"
    "spec: {provider: PROVIDER_LOCAL, local: {data: {whsec: whsec_planted1, other: x}}}\n";
static const char source_text[] =
    "kind: EventSource\nmetadata: {name: payments}\nspec:\n  type: stripe\n  path: payments\n"
    "  verification:\n    secrets: [{valueFrom: {secret: {name: stripe, key: whsec}}}]\n"
    "    tolerance: 300s\n  dedupe: {window: 24h}\n"
    "  limits: {bodyBytes: 65536, perSecond: 7}\n";

/* ---- start */

static void test_start(void)
{
    struct stat status;
    char path[300];
    fresh();
    ok(hub_is_new(hub), "the first start is known as such");
    static const char *const files[] = {"master.key", "admin.token", "state/data.mdb"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        ok(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600, "%s is 0600", files[i]);
    }
    ok(has(get(RESOURCE_CANVAS, "default"), "\"kind\":\"Canvas\""), "there is a default canvas");
    is_int(apply(secret_text), BK_OK, "a secret");
    close_hub();
    is_int(open_hub(), BK_OK, "second start");
    ok(!hub_is_new(hub), "is not new");
    is_int(apply(secret_text), BK_OK, "the same again");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "is unchanged, so the keys are the same");
    close_hub();

    char *before, *after;
    size_t before_bytes, after_bytes;
    snprintf(path, sizeof path, "%s/state/data.mdb", directory);
    is_int(file_read_all(path, 1 << 26, &before, &before_bytes), BK_OK);
    setenv("BECKET_MASTER_KEY", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
           1);
    is_int(open_hub(), BK_SEALED, "another master key: %s", why);
    ok(strstr(why, "master key") != NULL && strchr(why, '\n') == NULL, "is told in one line");
    is_int(file_read_all(path, 1 << 26, &after, &after_bytes), BK_OK);
    is_bytes(after, after_bytes, before, before_bytes, "and nothing was changed");
    free(before);
    free(after);
    snprintf(path, sizeof path, "%s/master.key", directory);
    unlink(path);
    is_int(open_hub(), BK_NOT_FOUND, "without a master key: %s", why);
    ok(stat(path, &status) != 0, "none is made for a state that has one");
    clean();
}

/* ---- apply */

static void test_create(void)
{
    char both[2048];
    fresh();
    snprintf(both, sizeof both, "%s---\n%s", source_text, secret_text);
    is_int(apply_with(both, (struct apply_options){.dry_run = true}), BK_OK, "dry run");
    is_uint(outcome.count, 2, "two results");
    is_int(outcome.results[0].action, APPLY_CREATED, "would be created");
    is_uint(fed_count, 0, "nothing is fed");
    is_str(get(RESOURCE_EVENT_SOURCE, "payments"), "NOT_FOUND", "and nothing is there");

    is_int(apply(both), BK_OK, "a source before its secret");
    is_int(outcome.results[0].action, APPLY_CREATED);
    is_str(outcome.results[0].name, "payments", "results are in the order of the documents");
    is_str(outcome.results[0].url, "https://hooks.example/hooks/payments", "its address");
    is_uint(fed_count, 1, "one change is fed");
    ok(!fed[0].removed && fed[0].number == 1 && fed[0].scheme, "number 1, compiled");
    is_str(fed[0].path, "payments");
    is_uint(fed[0].body_bytes_max, 65536, "limits");
    is_uint(fed[0].per_second, 7);
    is_int(fed[0].dedupe_window_ns, 24LL * 3600 * 1000000000, "window");
    const char *text = get(RESOURCE_EVENT_SOURCE, "payments");
    ok(has(text, "\"spec\":{\"type\":\"stripe\",\"path\":\"payments\",\"verification\":"
                 "{\"secrets\":"
                 "[{\"valueFrom\":{\"secret\":{\"name\":\"stripe\",\"key\":\"whsec\"}}}],"
                 "\"tolerance\":\"300s\"},\"dedupe\":{\"window\":\"24h\"},"
                 "\"limits\":{\"bodyBytes\":65536,\"perSecond\":7}}"),
       "spec");
    ok(has(text, "\"status\":{\"path\":\"payments\","
                 "\"url\":\"https://hooks.example/hooks/payments\","
                 "\"state\":\"ready\"}"),
       "status");
    ok(has(text, "\"canvasId\":\"default\"") &&
           has(text, "\"createdAt\":\"2026-01-01T00:00:00.000Z\""),
       "metadata");
    ok(has(get(RESOURCE_SECRET, "stripe"), "{\"other\":\"***\",\"whsec\":\"***\"}"),
       "secrets read as ***");
    const char *id = strdup(outcome.results[0].id);
    ok(has(get(RESOURCE_EVENT_SOURCE, id), "\"payments\""), "found by its id too");
    is_str(get(RESOURCE_SECRET, id), "NOT_FOUND", "but not as another kind");

    is_int(apply(both), BK_OK, "once more");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "unchanged");
    is_int(outcome.results[1].action, APPLY_UNCHANGED);
    is_uint(fed_count, 0, "nothing fed");
    char *spec = strdup(get(RESOURCE_EVENT_SOURCE, "payments"));
    is_int(apply(spec), BK_OK, "what was read can be applied");
    is_int(outcome.results[0].action, APPLY_UNCHANGED);
    free(spec);
    spec = strdup(get(RESOURCE_SECRET, "stripe"));
    is_int(apply(spec), BK_OK, "a secret that was read, too");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "*** keeps the values");
    free(spec);
    free((void *)(uintptr_t)id);
    clean();
}

static void test_update(void)
{
    char both[2048];
    fresh();
    snprintf(both, sizeof both, "%s---\n%s", source_text, secret_text);
    is_int(apply(both), BK_OK);
    uint64_t revision = outcome.results[0].revision;
    is_int(apply("kind: EventSource\nmetadata: {name: payments, description: shop}\n"
                 "spec: {type: stripe, path: pay2, limits: {bodyBytes: 1000},\n"
                 " verification: {secrets: [{valueFrom: {secret: {name: stripe, key: "
                 "other}}}]}}\n"),
           BK_OK, "update");
    is_int(outcome.results[0].action, APPLY_UPDATED);
    ok(outcome.results[0].revision > revision, "a later revision");
    const char *text = result_json();
    ok(has(text, "{\"path\":\"spec.path\",\"before\":\"payments\",\"after\":\"pay2\"}"), "diff");
    ok(has(text, "{\"path\":\"spec.limits.bodyBytes\",\"before\":65536,\"after\":1000}"), "inner");
    ok(has(text, "{\"path\":\"spec.limits.perSecond\",\"before\":7,\"after\":null}"), "gone");
    ok(has(text, "{\"path\":\"spec.dedupe\",\"before\":{\"window\":\"24h\"},\"after\":null}"),
       "object");
    ok(has(text, "{\"path\":\"metadata.description\",\"before\":null,\"after\":\"shop\"}"),
       "metadata");
    ok(fed_count == 1 && fed[0].number == 1 && strcmp(fed[0].path, "pay2") == 0, "fed, new path");

    is_int(apply("kind: Secret\nmetadata: {name: stripe}\nspec: {data: {whsec: new, other: "
                 "'***'}}\n"),
           BK_OK, "one value of the secret changes");
    ok(has(result_json(), "[{\"path\":\"spec.local.data.whsec\",\"before\":\"***\","
                          "\"after\":\"(changed)\"}]"),
       "the diff does not show it");
    is_uint(fed_count, 1, "its user is compiled again");
    is_str(fed[0].name, "payments");
    is_int(apply("kind: Secret\nmetadata: {name: stripe}\nspec: {data: {whsec: a}}\n"), BK_INVALID,
           "a key in use cannot go");
    ok(said("spec.local.data", "key \"other\" is still used by EventSource \"payments\""), "told");
    is_int(delete_one(RESOURCE_SECRET, "stripe"), BK_IN_USE, "nor can the secret");
    ok(has(outcome.message, "\"payments\""), "its user is named: %s", outcome.message);
    is_int(apply("kind: Secret\nmetadata: {name: new}\nspec: {data: {a: b, c: '***'}}\n"),
           BK_INVALID, "*** without a stored value");
    ok(said("spec.local.data.c", "there is none"), "told");

    is_int(delete_one(RESOURCE_EVENT_SOURCE, "payments"), BK_OK, "delete the source");
    ok(fed_count == 1 && fed[0].removed && fed[0].number == 1, "fed as removed");
    is_str(get(RESOURCE_EVENT_SOURCE, "payments"), "NOT_FOUND");
    is_int(delete_one(RESOURCE_EVENT_SOURCE, "payments"), BK_NOT_FOUND, "only once");
    is_int(delete_one(RESOURCE_SECRET, "stripe"), BK_OK, "now the secret can go");
    struct hub_source_name name;
    is_int(hub_source_name(hub, 1, &name), BK_OK, "the name of number 1 stays");
    is_str(name.name, "payments");
    is_str(name.type, "stripe");
    is_str(name.canvas, "default");
    is_int(hub_source_name(hub, 99, &name), BK_NOT_FOUND);
    is_int(apply(both), BK_OK, "made again");
    is_uint(fed[0].number, 2, "with a new number");
    clean();
}

/* What was read can be put back, also when it was changed since, and on another server. */
static void test_put_back(void)
{
    fresh();
    is_int(apply("{kind: Secret, metadata: {name: a, revision: 77}, spec: {data: {k: v}}}"), BK_OK);
    is_int(apply("{kind: Secret, metadata: {name: a}, spec: {data: {k: w}}}"), BK_OK);
    is_int(apply("{kind: Secret, metadata: {name: a, revision: 77}, spec: {data: {k: v}}}"), BK_OK);
    is_int(outcome.results[0].action, APPLY_UPDATED);
    clean();
}

/* Said to be JSON, it is read as nothing else. */
static void test_json_alone(void)
{
    fresh();
    struct apply_options json_alone = {.json = true};
    const char *const not_json[] = {
        "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"data\":{\"k\":NaN}}}",
        "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"data\":{\"k\":\"v\",}}}",
        "kind: Secret\nmetadata: {name: a}\nspec: {data: {k: v}}\n"};
    for (size_t i = 0; i < sizeof not_json / sizeof not_json[0]; i++) {
        is_int(apply_with(not_json[i], json_alone), BK_INVALID, "not JSON");
        is_int(apply(not_json[i]), BK_OK, "as YAML");
    }
    clean();
}

/* Type and scheme in any case, and as the seeds write them. */
static void test_spellings(void)
{
    static const char *const specs[] = {
        "type: Generic",
        "type: TYPE_GENERIC",
        "type: generic_hmac",
        "type: TYPE_STANDARD_WEBHOOKS, verification: {secrets: [{value: whsec_YWFhYWFhYWFh}]}",
        "type: generic, verification: {scheme: HMAC}",
        "type: GENERIC, verification: {scheme: None}",
        "type: generic, verification: {scheme: JWT, issuer: 'https://i.example', audience: a}"};
    char text[300];
    fresh();
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        snprintf(text, sizeof text, "{kind: EventSource, metadata: {name: s%zu}, spec: {%s}}", i,
                 specs[i]);
        is_int(apply(text), BK_OK, "a spelling");
    }
    clean();
}

static void test_modes(void)
{
    fresh();
    struct apply_options post = {.mode = APPLY_CREATE, .one = true, .kind = RESOURCE_SECRET};
    const char *body = "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"data\":{\"k\":\"v\"}}}";
    is_int(apply_with(body, post), BK_OK, "POST without kind");
    is_int(apply_with(body, post), BK_EXISTS, "POST again");
    post.kind = RESOURCE_CANVAS;
    is_int(apply_with("kind: Secret\nmetadata: {name: a}\nspec: {data: {k: v}}", post), BK_INVALID,
           "another kind than the address");
    struct apply_options put = {.mode = APPLY_UPDATE,
                                .one = true,
                                .kind = RESOURCE_SECRET,
                                .name = SLICE("a"),
                                .if_match = SLICE("99999")};
    is_int(apply_with("spec: {data: {k: w}}", put), BK_CONFLICT, "PUT with another revision");
    uint64_t revision = 0;
    buf_reset(&json);
    is_int(hub_get_json(hub, RESOURCE_SECRET, SLICE_EMPTY, SLICE("a"), &json, &revision), BK_OK);
    char tag[24];
    snprintf(tag, sizeof tag, "\"%llu\"", (unsigned long long)revision);
    put.if_match = slice_str(tag);
    is_int(apply_with("spec: {data: {k: w}}", put), BK_OK, "PUT with the right one");
    is_int(outcome.results[0].action, APPLY_UPDATED);
    put.if_match = (struct slice){.at = NULL};
    put.name = SLICE("b");
    is_int(apply_with("spec: {data: {k: w}}", put), BK_NOT_FOUND, "PUT of nothing");
    is_int(apply_with("metadata: {name: c}\nspec: {data: {k: w}}", put), BK_INVALID,
           "another name");
    is_int(apply_with("spec: {data: {k: w}}\n---\nspec: {}\n", put), BK_INVALID, "two documents");
    is_int(apply(""), BK_INVALID, "no document");
    is_int(apply("[{kind: Secret, metadata: {name: x}, spec: {data: {a: b}}},"
                 " {kind: Canvas, metadata: {name: y}}]"),
           BK_OK, "a list");
    is_uint(outcome.count, 2);
    is_int(apply("items: [{kind: Canvas, metadata: {name: z}}]"), BK_OK, "items");
    clean();
}

static void test_mistakes(void)
{
    fresh();
    is_int(apply("kind: EventSource\n"
                 "metadata: {name: Bad_Name, canvas: x}\n"
                 "spec:\n"
                 "  type: githup\n"
                 "  path: 'a/b'\n"
                 "  verfication: {}\n"
                 "  limits: {bodyBytes: 0, perSecond: many}\n"
                 "  dedupe: {window: soon}\n"
                 "---\n"
                 "kind: Secrett\n"
                 "---\n"
                 "kind: Secret\n"
                 "metadata: {name: s}\n"
                 "spec: {provider: vault, local: {data: {n: 5, e: '', l: [x]}}}\n"
                 "---\n"
                 "kind: Stage\n"
                 "metadata: {name: r}\n"),
           BK_INVALID, "many mistakes");
    ok(said("metadata.name", "a-z"), "name");
    ok(said("metadata.canvas", "did you mean canvasId"), "unknown field with a suggestion");
    ok(said("spec.type", "did you mean github"), "type");
    ok(said("spec.path", "/hooks/"), "path");
    ok(said("spec.verfication", "did you mean verification"), "typing mistake");
    ok(said("spec.limits.bodyBytes", "from 1 to"), "range");
    ok(said("spec.limits.perSecond", "whole number"), "number");
    ok(said("spec.dedupe.window", "duration"), "duration");
    ok(said("kind", "did you mean Secret"), "kind");
    ok(said("spec.provider", "PROVIDER_LOCAL"), "provider");
    ok(said("spec.local.data.n", "quotes"), "a number as a secret");
    ok(said("spec.local.data.e", "empty"), "an empty secret");
    ok(said("spec.local.data.l", "must be text"), "a list as a secret");
    ok(said("kind", "Stage is not supported by this version"), "a later kind");
    const char *text = error_json(BK_INVALID);
    ok(has(text, "{\"field\":\"spec.limits.bodyBytes\",\"message\":\"must be a whole number from "
                 "1 to "
                 "33554432\",\"document\":0,\"line\":7,\"column\":23}"),
       "line and column");
    ok(has(text, "{\"code\":\"invalid\",\"message\":\""), "code");
    is_uint(objects(RESOURCE_SECRET) + objects(RESOURCE_EVENT_SOURCE), 0, "nothing was made");

    is_int(apply("a: [1\n"), BK_INVALID, "no YAML");
    ok(has(error_json(BK_INVALID), "\"line\":1,\"column\":4"), "with its place");
    static const struct {
        const char *spec, *field, *message;
    } wrong[] = {
        {"{type: github}", "spec.verification", "is missing"},
        {"{type: github, verification: {tolerance: 5s}}", "spec.verification.secrets",
         "is missing"},
        {"{type: github, verification: {secrets: []}}", "spec.verification.secrets", "1 to 8"},
        {"{type: github, verification: {secrets: [{value: ''}]}}",
         "spec.verification.secrets[0].value", "empty"},
        {"{type: github, verification: {secrets: [{value: 7}]}}",
         "spec.verification.secrets[0].value", "quotes"},
        {"{type: github, verification: {secrets: [{value: a, valueFrom: {}}]}}",
         "spec.verification.secrets[0]", "either"},
        {"{type: github, verification: {secrets: [{valueFrom: {secret: {name: nope, key: k}}}]}}",
         "spec.verification.secrets[0].valueFrom.secret",
         "no Secret \"nope\" (wanted for its key \"k\")"},
        {"{type: github, verification: {secrets: [{valueFrom: {secret: {name: s}}}]}}",
         "spec.verification.secrets[0].valueFrom.secret.key", "is missing"},
        {"{type: github, verification: {secrets: [{value: x}], algorithm: sha1}}",
         "spec.verification.algorithm", "only with `type: generic`"},
        {"{type: github, verification: {secrets: [{value: x}], tolerance: 0s}}",
         "spec.verification.tolerance", "must be from 1s"},
        {"{type: generic, verification: {scheme: hmac, algorithm: md5, secrets: [{value: x}]}}",
         "spec.verification.algorithm", ""},
        {"{type: generic, verification: {scheme: token, signature: {header: X}, timestamp: "
         "{header: T}, secrets: [{value: x}]}}",
         "spec.verification.timestamp", "scheme token does not look at it"},
        {"{type: generic, verification: {scheme: None, signature: {header: X}}}",
         "spec.verification.signature", "scheme none does not look at it"},
        {"{type: generic, verification: {scheme: basic, signed: '{body}', secrets: [{value: "
         "u:p}]}}",
         "spec.verification.signed", "scheme basic does not look at it"},
        {"{type: generic, verification: {scheme: bearer, algorithm: sha512, secrets: [{value: "
         "x}]}}",
         "spec.verification.algorithm", "scheme bearer does not look at it"},
        {"{type: generic, verification: {scheme: jwt, algorithm: hs256, signed: '{body}', "
         "secrets: [{value: x}]}}",
         "spec.verification.signed", "scheme jwt does not look at it"},
        {"{type: generic, verification: {signature: {header: X, format: nothing}}}",
         "spec.verification.signature.format", ""},
        {"{integration: {name: i}, resource: {type: project, name: p}}", "spec.integration.name",
         "there is no Integration \"i\""},
        {"{events: [{type: \"\"}]}", "spec.events[0].type", "must not be empty"},
        {"{schedule: {type: TYPE_DAILY}}", "spec.schedule", "not supported by this version"},
        {"{path: ..}", "spec.path", "letters"},
        {"{limits: {bodyBytes: 33554433}}", "spec.limits.bodyBytes", "33554432"},
        {"{limits: {bodyBytes: -1}}", "spec.limits.bodyBytes", "from 1"},
        {"[]", "spec", "must be a map"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char document[512];
        snprintf(document, sizeof document, "kind: EventSource\nmetadata: {name: x}\nspec: %s\n",
                 wrong[i].spec);
        is_int(apply(document), BK_INVALID, "%s", wrong[i].spec);
        ok(said(wrong[i].field, wrong[i].message), "  %s: %s", wrong[i].field, wrong[i].message);
    }
    is_int(apply("kind: Secret\nmetadata: {name: s}\nspec: {data: {a: x}}\n---\n"
                 "kind: Secret\nmetadata: {name: s}\nspec: {data: {a: y}}\n"),
           BK_INVALID, "the same object twice");
    is_int(apply("kind: Secret\nmetadata: {name: s}\nspec: {data: {a: x}}\n---\n"
                 "kind: EventSource\nmetadata: {name: e}\n"
                 "spec: {type: github, verification: {secrets: [{valueFrom: {secret: "
                 "{name: s, key: b}}}]}}\n"),
           BK_INVALID, "a key that is not there");
    ok(said("spec.verification.secrets[0].valueFrom.secret", "Secret \"s\" has no key \"b\""),
       "told");
    is_str(get(RESOURCE_SECRET, "s"), "NOT_FOUND", "all or nothing");
    clean();
}

/* Mistakes of the documents, of references between them and of paths come together, in the order of
 * the text; what is only a consequence of another mistake does not come. */
static void test_one_round(void)
{
    static const char set[] = "kind: Secret\n"          /* 1 */
                              "metadata: {name: k}\n"   /* 2 */
                              "spec: {data: {a: ''}}\n" /* 3: wrong; so nobody misses k */
                              "---\n"                   /* 4 */
                              "kind: EventSource\n"     /* 5 */
                              "metadata: {name: e}\n"   /* 6 */
                              "spec:\n"                 /* 7 */
                              "  type: githup\n"        /* 8: wrong */
                              "  verification:\n"       /* 9 */
                              "    secrets:\n"          /* 10 */
                              "      - valueFrom: {secret: {name: no, key: b}}\n" /* 11: wrong */
                              "      - valueFrom: {secret: {name: k, key: b}}\n"  /* 12 */
                              "---\n"                                             /* 13 */
                              "kind: Destinaton\n"               /* 14: wrong; so nobody misses d */
                              "metadata: {name: d}\n"            /* 15 */
                              "---\n"                            /* 16 */
                              "kind: EventSource\n"              /* 17 */
                              "metadata: {name: f}\n"            /* 18 */
                              "spec:\n"                          /* 19 */
                              "  type: generic\n"                /* 20 */
                              "  path: held\n"                   /* 21: wrong */
                              "  verification: {scheme: none}\n" /* 22 */
                              "---\n"                            /* 23 */
                              "kind: Route\n"                    /* 24 */
                              "metadata: {name: r}\n"            /* 25 */
                              "spec:\n"                          /* 26 */
                              "  from: [{source: e}, {source: away}]\n" /* 27: wrong */
                              "  to: [{destination: d}]\n";             /* 28 */
    static const struct {
        unsigned line;
        const char *field;
    } want[] = {{3, "spec.data.a"},
                {8, "spec.type"},
                {11, "spec.verification.secrets[0].valueFrom.secret"},
                {14, "kind"},
                {21, "spec.path"},
                {27, "spec.from[1].source"}};
    fresh();
    is_int(apply("kind: EventSource\nmetadata: {name: held}\nspec: {type: generic, path: held, "
                 "verification: {scheme: none}}\n"),
           BK_OK, "a path is taken");
    unsigned before = objects(RESOURCE_EVENT_SOURCE);
    for (unsigned prune = 0; prune < 2; prune++) {
        struct apply_options options = {.now_ns = NOW, .prune = prune == 1};
        apply_outcome_fini(&outcome);
        is_int(apply_text(hub, slice_str(set), &options, &outcome), BK_INVALID, "all in one round");
        size_t count = 0;
        for (size_t i = 0; i < bk_array_length(want); i++) {
            if (prune == 1 && want[i].line == 21) {
                continue; /* who has the path would go */
            }
            is_uint(outcome.problems.at[count].place.line, want[i].line, "%s: the line",
                    want[i].field);
            is_str(outcome.problems.at[count++].field, want[i].field);
        }
        is_uint(outcome.problems.count, count, "and no more");
    }
    is_uint(objects(RESOURCE_EVENT_SOURCE), before, "nothing was changed");
    /* A path that a document with mistakes may be about to give up is not said to be taken. */
    is_int(apply("kind: EventSource\nmetadata: {name: held}\nspec: {type: generic, path: 'a/b', "
                 "verification: {scheme: none}}\n---\n"
                 "kind: EventSource\nmetadata: {name: g}\nspec: {type: generic, path: held, "
                 "verification: {scheme: none}}\n"),
           BK_INVALID, "two sources");
    is_uint(outcome.problems.count, 1, "one mistake");
    clean();
}

/* A Secret that changes under a source whose document has a mistake of its own: what the source was
 * says nothing of what it is to be. */
static void test_consequences(void)
{
    static const char source[] =
        "kind: EventSource\nmetadata: {name: e}\nspec: {type: discord, path: e, "
        "verification: {secrets: [{valueFrom: {secret: {name: k, key: a}}}]%s}}\n";
    static const char good[] =
        "kind: Secret\nmetadata: {name: k}\nspec: {data: {a: "
        "'0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20', b: x}}\n";
    static const char bad[] =
        "kind: Secret\nmetadata: {name: k}\nspec: {data: {a: 'no key', b: x}}\n";
    char text[2048], right[512], wrong[512];
    fresh();
    snprintf(right, sizeof right, source, "");
    snprintf(wrong, sizeof wrong, source, ", tolerance: soon");
    snprintf(text, sizeof text, "%s---\n%s", good, right);
    is_int(apply(text), BK_OK, "a key, and who uses it");
    is_int(apply(bad), BK_INVALID, "no key any more");
    ok(said("spec.local.data", "cannot use it any more"), "who uses it is told");
    snprintf(text, sizeof text, "%s---\n%s", bad, wrong);
    is_int(apply(text), BK_INVALID, "with the source, which has a mistake");
    is_uint(outcome.problems.count, 1, "that one alone");
    ok(said("spec.verification.tolerance", ""), "it is the source's");
    snprintf(text, sizeof text,
             "%s---\n%s---\nkind: EventSource\nmetadata: {name: f}\nspec: {type: githup}\n", bad,
             right);
    is_int(apply(text), BK_INVALID, "with the source as it was, beside another mistake");
    is_uint(outcome.problems.count, 2, "both are told");
    clean();
}

/* All that is to go and is used is told at once, also beside a mistake that is found later. */
static void test_used_in_one_round(void)
{
    static const char used[] = "Secret \"a\" is still used by Integration \"ia\"; Secret \"b\" is "
                               "still used by Integration "
                               "\"ib\"; pruning would "
                               "delete these, which the documents do not name";
    struct apply_options prune = {.prune = true};
    char text[2048] = "kind: Canvas\nmetadata: {name: o}\n---\n"
                      "kind: EventSource\nmetadata: {name: e, canvasId: o}\nspec: {type: generic, "
                      "path: held, verification: {scheme: none}}\n---\n"
                      "kind: Secret\nmetadata: {name: c}\nspec: {data: {k: x}}\n";
    fresh();
    for (unsigned i = 0; i < 2; i++) {
        size_t at = strlen(text);
        snprintf(
            text + at, sizeof text - at,
            "---\nkind: Secret\nmetadata: {name: %c}\nspec: {data: {k: x}}\n---\n"
            "kind: Integration\nmetadata: {name: i%c}\nspec: {type: gitea, url: "
            "'https://g.example', check: false, auth: {use: token, token: {valueFrom: {secret: "
            "{name: %c, key: k}}}}}\n",
            'a' + (int)i, 'a' + (int)i, 'a' + (int)i);
    }
    is_int(apply(text), BK_OK, "two secrets are used");
    is_int(apply_with("kind: Secret\nmetadata: {name: c}\nspec: {data: {k: x}}\n", prune),
           BK_IN_USE, "neither goes");
    is_str(outcome.message, used, "both are told");
    is_int(apply_with("kind: Secret\nmetadata: {name: c}\nspec: {data: {k: x}}\n---\n"
                      "kind: EventSource\nmetadata: {name: f}\n"
                      "spec:\n  type: generic\n  path: held\n  verification: {scheme: none}\n",
                      prune),
           BK_INVALID, "a path that another canvas has");
    is_uint(outcome.problems.count, 2, "comes with it");
    ok(said("spec.path", "canvas \"o\" has this path") && said("", used), "each in its words");
    is_uint(outcome.problems.at[0].place.line, 9, "and where there is a line, with it");

    static const char keep[] = "kind: Secret\nmetadata: {name: c}\nspec: {data: {k: x}}\n---\n";
    static const struct {
        const char *beside;
        bool told;
        const char *what;
    } mistakes[] = {
        {"kind: Route\nmetadata: {name: r}\nspec: {nonsense: 1}\n", true, "a mistake in a spec"},
        {"kind: Route\nmetadata: {name: r}\n"
         "spec: {from: [{source: no}], to: [{destination: no}]}\n",
         true, "one between documents"},
        {"kind: Rout\nmetadata: {name: r}\n", true, "a kind that there is not"},
        {"kind: Secret\nmetadata: {nam: a}\nspec: {data: {k: x}}\n", false,
         "it may be the one that is missing"},
        {"kind: Integration\nmetadata: {name: ia}\nspec: {type: gitea, nonsense: 1}\n---\n"
         "kind: Secrt\nmetadata: {name: b}\nspec: {data: {k: x}}\n",
         false, "who used one has a mistake, and the other is not gone"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        snprintf(text, sizeof text, "%s%s", keep, mistakes[i].beside);
        is_int(apply_with(text, prune), BK_INVALID, "beside %s", mistakes[i].what);
        ok(said("", used) == mistakes[i].told, "what is used is %s: %s",
           mistakes[i].told ? "told" : "not", mistakes[i].what);
        ok(outcome.problems.count > (size_t)mistakes[i].told, "and the mistake");
    }
    struct apply_options removal = {.remove = true};
    static const char gone[] = "kind: Secret\nmetadata: {name: a}\n---\n";
    snprintf(text, sizeof text, "%skind: Secret\nmetadata: {name: B}\n", gone);
    is_int(apply_with(text, removal), BK_INVALID, "to delete, and a name that is none");
    ok(said("", "Secret \"a\" is still used by Integration \"ia\""), "both are told");
    snprintf(text, sizeof text, "%skind: Integratio\nmetadata: {name: ia}\n", gone);
    is_int(apply_with(text, removal), BK_INVALID, "who uses it is to go as well, wrongly spelled");
    is_uint(outcome.problems.count, 1, "that alone is told");
    ok(get(RESOURCE_SECRET, "a")[0] == '{', "nothing was changed");
    clean();
}

/* "***" stands for what was stored in this very place, or it is asked what stays. */
static void test_kept(void)
{
    static const char hub_of[] = "kind: Integration\nmetadata: {name: h}\nspec: {type: gitea, url: "
                                 "'https://g.example', check: false, auth: %s}\n";
    static const char source[] =
        "kind: EventSource\nmetadata: {name: e}\nspec: {type: github, path: "
        "e, verification: {secrets: [%s]}}\n";
    char text[1024];
    fresh();
    snprintf(text, sizeof text, hub_of, "{use: token, token: {value: t0ken}}");
    is_int(apply(text), BK_OK, "a token");
    snprintf(text, sizeof text, hub_of, "{use: token, token: {value: '***'}}");
    is_int(apply(text), BK_OK, "kept");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "as it is");
    snprintf(text, sizeof text, hub_of,
             "{use: basic, basic: {username: u, password: {value: '***'}}}");
    is_int(apply(text), BK_INVALID, "it is no password");
    ok(said("spec.auth", "stored for AUTH_TYPE_TOKEN"), "says so");
    snprintf(text, sizeof text, hub_of, "{use: basic, basic: {username: u, password: {value: p}}}");
    is_int(apply(text), BK_OK, "with one");

    snprintf(text, sizeof text, source, "{value: one}, {value: two}");
    is_int(apply(text), BK_OK, "two secrets");
    char *shown = strdup(get(RESOURCE_EVENT_SOURCE, "e"));
    is_int(apply(shown), BK_OK, "as it is shown");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "nothing changes");
    free(shown);
    snprintf(text, sizeof text, source, "{value: '***'}");
    is_int(apply(text), BK_INVALID, "one of two");
    ok(said("spec.verification.secrets[0].value", "may be any"), "which?");
    snprintf(text, sizeof text, source, "{value: two}");
    is_int(apply(text), BK_OK, "this one");
    snprintf(text, sizeof text, source, "{value: '***'}, {value: three}");
    is_int(apply(text), BK_OK, "and one more");
    snprintf(text, sizeof text, source, "{value: four}, {value: '***'}");
    is_int(apply(text), BK_OK, "the first is another");
    clean();
}

/* Names that are no work are found among many, and a document without a name is none of them. */
static void test_unread(void)
{
    static const char *const wrong[] = {"m", "a", "zz", "z", "mm"};
    struct buf set;
    fresh();
    buf_init(&set, 1U << 20);
    for (unsigned i = 0; i < 2000; i++) {
        buf_add_str(&set, "{}\n---\n");
    }
    for (unsigned i = 0; i < bk_array_length(wrong); i++) {
        buf_printf(&set, "kind: Destinaton\nmetadata: {name: %s}\n---\n", wrong[i]);
    }
    buf_add_str(&set, "kind: EventSource\nmetadata: {name: e}\nspec: {type: generic, path: e, "
                      "verification: {scheme: none}}\n---\n");
    buf_add_str(&set, "kind: Route\nmetadata: {name: r}\nspec:\n  from: [{source: e}]\n  to: [");
    for (unsigned i = 0; i < bk_array_length(wrong); i++) {
        buf_printf(&set, "{destination: %s}, ", wrong[i]);
    }
    buf_add_str(&set, "{destination: away}]\n");
    is_int(apply(buf_text(&set)), BK_INVALID, "kinds that nobody knows");
    is_uint(outcome.problems.count + outcome.problems.dropped,
            2 * 2000 + bk_array_length(wrong) + 1,
            "no kind and no name, each wrong kind, and the one that is not there");
    buf_fini(&set);
    clean();
}

/* A set of all kinds with something torn out of it: whatever was half decoded is only looked at. */
static void test_torn(void)
{
    static const char set[] =
        "kind: Canvas\nmetadata: {name: c}\n---\n"
        "kind: Secret\nmetadata: {name: k}\nspec: {data: {a: x, b: y}}\n---\n"
        "kind: User\nmetadata: {name: u}\nspec: {fullName: U, email: u@u.example}\n---\n"
        "kind: Team\nmetadata: {name: t}\nspec: {title: T, members: [u, u2]}\n---\n"
        "kind: Integration\nmetadata: {name: i}\nspec: {type: github, url: 'https://g.example/a', "
        "auth: {use: AUTH_TYPE_TOKEN, token: {valueFrom: {secret: {name: k, key: a}}}}}\n---\n"
        "kind: IntegrationUser\nmetadata: {name: p}\nspec: {integration: {name: i}, user: {name: "
        "u}, "
        "uid: '7', accessToken: {value: t}, refreshToken: {valueFrom: {secret: {name: k, key: "
        "b}}}}\n---\n"
        "kind: EventSource\nmetadata: {name: e}\nspec: {integration: {name: i}, resource: {type: "
        "repository, name: r}, events: [{type: push, filters: [{type: FILTER_TYPE_DATA, data: "
        "{expression: '$.a == 1'}}]}]}\n---\n"
        "kind: EventSource\nmetadata: {name: f, canvasId: c}\nspec: {type: stripe, path: f, "
        "verification: {secrets: [{valueFrom: {secret: {name: k, key: a}}}, {value: z}], "
        "tolerance: "
        "5m}, dedupe: {window: 1h}, limits: {bodyBytes: 10, perSecond: 1}}\n---\n"
        "kind: Destination\nmetadata: {name: d}\nspec: {url: 'https://d.example/', headers: {X-A: "
        "b, "
        "X-B: {valueFrom: {secret: {name: k, key: b}}}}, signing: {secrets: [{valueFrom: {secret: "
        "{name: k, key: a}}}]}, retry: {schedule: [5s], jitter: 0.2}, ordering: {mode: strict, "
        "key: "
        "'$.a'}}\n---\n"
        "kind: IntegrationLink\nmetadata: {name: l}\nspec: {type: github, integration: {name: i}, "
        "team: {name: t}, settings: {repository: r}}\n---\n"
        "kind: Route\nmetadata: {name: r}\nspec: {from: [{source: e, types: [push]}], to: "
        "[{destination: d}], filters: [{type: FILTER_TYPE_HEADER, header: {expression: "
        "\"headers['a'] == 'b'\"}}]}\n";
    unsigned refused = 0, others = 0;
    uint64_t random = 1;
    fresh();
    for (unsigned round = 0; round < 3000; round++) {
        char text[sizeof set];
        struct apply_options options = {.now_ns = NOW, .dry_run = true, .prune = round % 4 == 0};
        memcpy(text, set, sizeof set);
        for (unsigned holes = 0; holes <= round % 3; holes++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            size_t at = (size_t)(random >> 33) % (sizeof set - 20);
            size_t bytes = 1 + (size_t)(random >> 20) % 12;
            for (size_t i = at; i < at + bytes; i++) {
                text[i] = text[i] == '\n' ? '\n' : ' ';
            }
        }
        apply_outcome_fini(&outcome);
        enum bk_err err = apply_text(hub, slice_str(text), &options, &outcome);
        refused += err == BK_INVALID && outcome.problems.count > 0;
        others += err != BK_OK && err != BK_INVALID;
    }
    ok(refused > 2000, "torn sets are refused: %u", refused);
    is_uint(others, 0, "and as what they are");
    clean();
}

static void test_generic(void)
{
    fresh();
    is_int(apply("kind: EventSource\nmetadata: {name: plain}\nspec: {}\n"), BK_OK, "an empty spec");
    const char *key = outcome.results[0].key;
    ok(key && strlen(key) == 44 && key[43] == '=', "a key is generated: 32 bytes as base64url");
    ok(fed_count == 1 && strlen(fed[0].path) == 32, "the path is 128 random bits");
    is_int(fed[0].dedupe_window_ns, 0, "no delivery id, no deduplication");
    struct scheme_send send = {.body = SLICE("{}"), .now_seconds = 1767225600};
    char kept[64], path[SOURCE_PATH_BYTES_MAX + 1];
    snprintf(kept, sizeof kept, "%s", key ? key : "");
    snprintf(path, sizeof path, "%s", fed[0].path);
    struct buf headers;
    buf_init(&headers, 4096);
    is_int(scheme_sign(fed[0].scheme, &send, &headers), BK_OK, "it signs");
    ok(has(buf_text(&headers), "X-Signature-256: "), "in the header of a plain webhook source");
    buf_fini(&headers);
    ok(strstr(get(RESOURCE_EVENT_SOURCE, "plain"), kept) == NULL, "the key is not shown again");
    is_int(apply("kind: EventSource\nmetadata: {name: plain}\nspec: {}\n"), BK_OK, "again");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "keeps key and path");
    ok(outcome.results[0].key == NULL, "shows no key");
    is_int(apply("kind: EventSource\nmetadata: {name: plain}\nspec: {limits: {perSecond: 5}}\n"),
           BK_OK, "another limit");
    is_str(fed[0].path, path, "keeps the path");
    ok(outcome.results[0].key == NULL, "keeps the key");
    is_int(apply("kind: EventSource\nmetadata: {name: inhouse}\nspec:\n  type: generic\n"
                 "  verification:\n    scheme: hmac\n    algorithm: sha256\n"
                 "    signature: {header: X-Signature-256, format: \"sha256={hex}\"}\n"
                 "    timestamp: {header: X-Timestamp}\n    id: {header: X-Delivery}\n"
                 "    signed: \"{timestamp}.{body}\"\n    secrets: [{value: s3cr3t-planted2}]\n"),
           BK_OK, "the example of the interface");
    is_int(fed[0].dedupe_window_ns, 24LL * 3600 * 1000000000, "has an id, so a window of 24 h");
    ok(has(get(RESOURCE_EVENT_SOURCE, "inhouse"), "\"secrets\":[{\"value\":\"***\"}]"), "hidden");
    char *spec = strdup(get(RESOURCE_EVENT_SOURCE, "inhouse"));
    is_int(apply(spec), BK_OK, "applied as read");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "is unchanged");
    free(spec);
    is_int(apply("kind: EventSource\nmetadata: {name: open}\nspec: {verification: {scheme: "
                 "none}}\n"),
           BK_OK, "no verification, said aloud");
    ok(outcome.results[0].key == NULL, "has no key");
    clean();
}

static void test_prune(void)
{
    fresh();
    is_int(apply("kind: Secret\nmetadata: {name: s1}\nspec: {data: {a: x}}\n---\n"
                 "kind: Secret\nmetadata: {name: s2}\nspec: {data: {a: x}}\n---\n"
                 "kind: EventSource\nmetadata: {name: e1}\nspec: {type: github, path: p1, "
                 "verification: {secrets: [{valueFrom: {secret: {name: s1, key: a}}}]}}\n---\n"
                 "kind: EventSource\nmetadata: {name: e2}\nspec: {type: github, path: p2, "
                 "verification: {secrets: [{valueFrom: {secret: {name: s2, key: a}}}]}}\n---\n"
                 "kind: EventSource\nmetadata: {name: e1, canvasId: other}\nspec: {path: p3}\n"),
           BK_OK);
    struct apply_options prune = {.prune = true};
    is_int(apply_with("kind: Secret\nmetadata: {name: s1}\nspec: {data: {a: x}}\n", prune),
           BK_IN_USE, "s2 is still used");
    ok(has(outcome.message, "\"s2\"") && has(outcome.message, "\"e2\""), "both named");
    ok(has(outcome.message, "; pruning would delete it"), "why it would go");
    is_int(apply_with("kind: EventSource\nmetadata: {name: e1}\nspec: {type: github, path: p1, "
                      "verification: {secrets: [{valueFrom: {secret: {name: s1, key: a}}}]}}\n",
                      prune),
           BK_OK, "only event sources in the set");
    is_uint(outcome.count, 2);
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "e1 stays");
    is_int(outcome.results[1].action, APPLY_DELETED, "e2 goes");
    is_str(outcome.results[1].name, "e2");
    ok(has(get(RESOURCE_SECRET, "s2"), "s2"), "secrets are left alone");
    is_uint(objects(RESOURCE_EVENT_SOURCE), 2, "the other canvas is left alone");
    is_uint(objects(RESOURCE_SECRET), 2);
    is_int(apply_with("kind: Secret\nmetadata: {name: s1}\nspec: {data: {a: x}}\n", prune), BK_OK);
    is_str(get(RESOURCE_SECRET, "s2"), "NOT_FOUND", "now s2 can go");
    is_int(apply("[{kind: Team, metadata: {name: one}, spec: {}},"
                 "{kind: Integration, metadata: {name: hub}, spec: {type: github, check: false, "
                 "url: 'https://github.com/acme', auth: {use: none}}}]"),
           BK_OK);
    is_int(apply_with("{kind: IntegrationLink, metadata: {name: code}, spec: {type: github, "
                      "integration: {name: hub}, team: {name: one}, settings: {repository: r}}}",
                      prune),
           BK_OK, "a set of links");
    ok(has(get(RESOURCE_EVENT_SOURCE, "link-code"), "link-code"), "makes its source");
    ok(has(get(RESOURCE_EVENT_SOURCE, "e1"), "e1"), "and takes no other");
    is_int(delete_one(RESOURCE_INTEGRATION_LINK, "code"), BK_OK);
    is_uint(objects(RESOURCE_SECRET), 1, "secrets went");
    is_int(delete_one(RESOURCE_CANVAS, "default"), BK_IN_USE, "%s", "default canvas stays");
    is_int(apply("kind: Canvas\nmetadata: {name: other}\n"), BK_OK);
    is_int(delete_one(RESOURCE_CANVAS, "other"), BK_IN_USE, "a canvas with objects stays: %s",
           outcome.message ? outcome.message : "");
    clean();
}

static void test_paths(void)
{
    fresh();
    is_int(apply("kind: EventSource\nmetadata: {name: a}\nspec: {path: p1}\n---\n"
                 "kind: EventSource\nmetadata: {name: b}\nspec: {path: p2}\n"),
           BK_OK);
    is_int(apply("kind: EventSource\nmetadata: {name: c}\nspec: {path: p1}\n"), BK_INVALID,
           "a path that is taken");
    ok(said("spec.path", "\"a\""), "its owner is named");
    is_int(apply("kind: EventSource\nmetadata: {name: d}\nspec: {path: q}\n---\n"
                 "kind: EventSource\nmetadata: {name: e}\nspec: {path: q}\n"),
           BK_INVALID, "two in one set");
    is_int(apply("kind: EventSource\nmetadata: {name: a}\nspec: {path: p2}\n---\n"
                 "kind: EventSource\nmetadata: {name: b}\nspec: {path: p1}\n"),
           BK_OK, "two sources exchange their paths");
    is_uint(fed_count, 2);
    is_int(delete_one(RESOURCE_EVENT_SOURCE, "a"), BK_OK);
    is_int(apply("kind: EventSource\nmetadata: {name: c}\nspec: {path: p2}\n"), BK_OK,
           "a path that became free");
    is_int(apply("kind: EventSource\nmetadata: {name: c}\nspec: {}\n"), BK_OK,
           "without a path again");
    ok(strlen(fed[0].path) == 32, "gets an unguessable one");
    clean();
}

static void test_canvases(void)
{
    fresh();
    is_int(apply("kind: Canvas\nmetadata: {name: team}\n---\n"
                 "kind: Secret\nmetadata: {name: s}\nspec: {data: {k: shared}}\n"),
           BK_OK);
    char text[512];
    snprintf(text, sizeof text,
             "kind: EventSource\nmetadata: {name: e, canvasId: %s}\nspec: {type: github, "
             "verification: {secrets: [{valueFrom: {secret: {name: s, key: k}}}]}}\n",
             outcome.results[0].id);
    is_int(apply(text), BK_OK, "a canvas by its id, a secret of the default canvas");
    is_str(outcome.results[0].canvas, "team", "the name is kept");
    buf_reset(&json);
    is_int(hub_list_json(hub, RESOURCE_EVENT_SOURCE, SLICE("team"), 100, SLICE_EMPTY, SLICE_EMPTY,
                         &json),
           BK_OK);
    ok(has(buf_text(&json), "\"name\":\"e\""), "listed in its canvas");
    is_int(apply("kind: Secret\nmetadata: {name: s, canvasId: team}\nspec: {data: {k: own}}\n"),
           BK_OK);
    is_int(apply(text[0] ? "kind: EventSource\nmetadata: {name: e, canvasId: team}\nspec: {type: "
                           "github, verification: {secrets: [{valueFrom: {secret: {name: s, key: "
                           "k}}}]}}\n"
                         : ""),
           BK_OK, "the nearer secret is taken when applied again");
    is_int(outcome.results[0].action, APPLY_UPDATED);
    is_int(delete_one(RESOURCE_SECRET, "s"), BK_OK, "the other one is free");
    clean();
}

/* Who misses an object is told where it was looked for, and of one in another canvas. */
static void test_where(void)
{
    static const char secret[] =
        "kind: Secret\nmetadata: {name: s%s}\nspec: {provider: local, local: {token: t}}\n";
    static const char rest[] =
        "---\nkind: Integration\nmetadata: {name: i, canvasId: one}\nspec: {type: semaphore, "
        "url: 'https://s.example', auth: {use: token, token: {valueFrom: {secret: {name: s, key: "
        "token}}}}}\n---\nkind: EventSource\nmetadata: {name: e, canvasId: %s}\nspec: "
        "{integration: {name: i}, resource: {type: project, name: p}}\n";
    char text[1024];
    size_t bytes = (size_t)snprintf(text, sizeof text, secret, ", canvasId: two");
    fresh();
    snprintf(text + bytes, sizeof text - bytes, rest, "two");
    is_int(apply(text), BK_INVALID, "in other canvases");
    ok(said("spec.auth.token.valueFrom.secret",
            "no Secret \"s\" in canvas \"one\"; the one in \"two\" is that canvas's own"),
       "of the set: where");
    bytes = (size_t)snprintf(text, sizeof text, secret, "");
    snprintf(text + bytes, sizeof text - bytes, rest, "two");
    is_int(apply(text), BK_INVALID, "the organization's secret, another canvas's integration");
    ok(said("spec.integration.name",
            "no Integration \"i\" in canvas \"two\"; the one in \"one\" is that canvas's own: give "
            "both the same canvasId, or that one none"),
       "what to do");
    is_int(apply("kind: EventSource\nmetadata: {name: e, canvasId: two}\nspec: {integration: "
                 "{name: i}, resource: {type: project, name: p}}\n"),
           BK_INVALID, "nowhere");
    ok(said("spec.integration.name", "no Integration \"i\" in canvas \"two\" or \"default\""),
       "where it was looked for");
    snprintf(text + bytes, sizeof text - bytes, rest, "one");
    is_int(apply(text), BK_OK, "in one canvas");
    clean();
}

static void test_lists(void)
{
    fresh();
    struct buf text;
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < 25; i++) {
        buf_printf(&text, "---\nkind: Secret\nmetadata: {name: s%02u}\nspec: {data: {k: v}}\n", i);
    }
    is_int(apply(buf_text(&text)), BK_OK);
    buf_fini(&text);
    struct slice cursor = SLICE_EMPTY;
    char next[64] = "";
    unsigned pages = 0, items = 0;
    do {
        buf_reset(&json);
        is_int(hub_list_json(hub, RESOURCE_SECRET, SLICE_EMPTY, 10, cursor, SLICE_EMPTY, &json),
               BK_OK);
        for (const char *at = buf_text(&json); (at = strstr(at, "\"kind\"")); at++) {
            items++;
        }
        const char *found = strstr(buf_text(&json), "\"next\":\"");
        next[0] = '\0';
        if (found) {
            sscanf(found, "\"next\":\"%63[^\"]", next);
        }
        cursor = slice_str(next);
        pages++;
    } while (next[0] && pages < 10);
    is_uint(pages, 3, "three pages");
    is_uint(items, 25, "each item once");
    is_int(hub_list_json(hub, RESOURCE_SECRET, SLICE_EMPTY, 10, SLICE("No!"), SLICE_EMPTY, &json),
           BK_INVALID);
    clean();
}

/* ---- secrets at rest */

static bool files_hold(const char *path, const char *needle)
{
    bool found = false;
    DIR *folder = opendir(path);
    if (!folder) {
        char *text;
        size_t bytes;
        if (file_read_all(path, 1 << 28, &text, &bytes) != BK_OK) {
            return true;
        }
        found = memmem(text, bytes, needle, strlen(needle)) != NULL;
        free(text);
        return found;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char inner[600];
        if (entry->d_name[0] != '.') {
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            found |= files_hold(inner, needle);
        }
    }
    closedir(folder);
    return found;
}

static enum bk_err swap_secrets(struct store_txn *txn, void *context)
{
    (void)context;
    struct record a, b;
    struct key key_a, key_b;
    uint8_t copy_a[4096], copy_b[4096];
    struct slice value;
    key_object(&key_a, 'S', SLICE("default"), SLICE("one"));
    key_object(&key_b, 'S', SLICE("default"), SLICE("two"));
    if (store_get(txn, key_slice(&key_a), &value) != BK_OK || value.bytes > sizeof copy_a) {
        return BK_CORRUPT;
    }
    memcpy(copy_a, value.at, value.bytes);
    if (record_decode(slice_of(copy_a, value.bytes), &a) != BK_OK ||
        store_get(txn, key_slice(&key_b), &value) != BK_OK || value.bytes > sizeof copy_b) {
        return BK_CORRUPT;
    }
    memcpy(copy_b, value.at, value.bytes);
    if (record_decode(slice_of(copy_b, value.bytes), &b) != BK_OK) {
        return BK_CORRUPT;
    }
    struct slice slots = a.slots;
    a.slots = b.slots;
    b.slots = slots;
    struct buf bytes;
    buf_init(&bytes, 8192);
    record_encode(&a, &bytes);
    enum bk_err err = store_put(txn, key_slice(&key_a), buf_slice(&bytes));
    buf_reset(&bytes);
    record_encode(&b, &bytes);
    err = err == BK_OK ? store_put(txn, key_slice(&key_b), buf_slice(&bytes)) : err;
    buf_fini(&bytes);
    return err;
}

static void test_at_rest(void)
{
    fresh();
    is_int(apply("kind: Secret\nmetadata: {name: one}\nspec: {data: {k: planted-alpha}}\n---\n"
                 "kind: Secret\nmetadata: {name: two}\nspec: {data: {k: planted-gamma}}\n---\n"
                 "kind: EventSource\nmetadata: {name: e1}\nspec: {type: github, path: e1, "
                 "verification: {secrets: [{value: planted-inline}]}}\n---\n"
                 "kind: EventSource\nmetadata: {name: e2}\nspec: {type: github, path: e2, "
                 "verification: {secrets: [{valueFrom: {secret: {name: one, key: k}}}]}}\n---\n"
                 "kind: EventSource\nmetadata: {name: plain}\nspec: {path: plain}\n"),
           BK_OK);
    char key[64];
    snprintf(key, sizeof key, "%s", outcome.results[4].key ? outcome.results[4].key : "");
    char token[TOKEN_TEXT_BYTES];
    is_int(make_token("ci", TOKEN_WRITE, "", "", token), BK_OK);
    is_int(apply("kind: Secret\nmetadata: {name: one}\nspec: {data: {k: planted-later}}\n"), BK_OK);
    static const char *const needles[] = {"planted-alpha", "planted-gamma", "planted-inline",
                                          "planted-later"};
    for (size_t i = 0; i < 4; i++) {
        ok(!files_hold(directory, needles[i]), "%s is in no file", needles[i]);
    }
    ok(key[0] && !files_hold(directory, key), "nor is the generated key");
    ok(!files_hold(directory, token), "nor a token");
    ok(files_hold(directory, "***"), "(the search finds what is there)");

    is_int(store_update(hub_store(hub), swap_secrets, NULL), BK_OK, "exchange two sealed values");
    uint64_t good = 0, failed = 0;
    forget_fed();
    is_int(hub_feed_all(hub, &good, &failed), BK_OK);
    is_uint(good, 2, "sources with other secrets go on");
    is_uint(failed, 1, "the one with the exchanged secret does not open");
    clean();
}

/* As a version that is not there yet would write it. */
struct newer {
    enum resource_kind kind;
    const char *name;
    uint8_t version, before; /* before: ret */
};

static enum bk_err write_newer(struct store_txn *txn, void *context)
{
    struct newer *newer = context;
    struct key key;
    struct slice value;
    struct record record;
    static uint8_t copy[8192];
    key_object(&key, resource_kind_info(newer->kind)->key, SLICE("default"),
               slice_str(newer->name));
    if (store_get(txn, key_slice(&key), &value) != BK_OK || value.bytes > sizeof copy) {
        return BK_NOT_FOUND;
    }
    memcpy(copy, value.at, value.bytes);
    value.at = copy;
    if (record_decode(value, &record) != BK_OK) {
        return BK_CORRUPT;
    }
    uint8_t *version = copy + (record.compiled.at - copy);
    newer->before = *version;
    *version = newer->version;
    return store_put(txn, key_slice(&key), value);
}

/* An older version that went on without one of these would let its events go to nowhere. */
static void test_written_by_newer(void)
{
    struct newer objects[] = {{RESOURCE_EVENT_SOURCE, "in", 200, 0},
                              {RESOURCE_DESTINATION, "plain", 200, 0},
                              {RESOURCE_DESTINATION, "bus", 200, 0},
                              {RESOURCE_ROUTE, "r", 200, 0}};
    fresh();
    is_int(apply("kind: EventSource\nmetadata: {name: in}\nspec: {path: in}\n---\n"
                 "kind: Destination\nmetadata: {name: plain}\nspec: {url: 'https://a.example/'}\n"
                 "---\nkind: Destination\nmetadata: {name: bus}\n"
                 "spec: {url: 'https://a.example/', format: cloudevents-binary}\n---\n"
                 "kind: Route\nmetadata: {name: r}\n"
                 "spec: {from: [{source: in}], to: [{destination: bus}]}\n"),
           BK_OK);
    for (size_t i = 0; i < bk_array_length(objects); i++) {
        is_int(store_update(hub_store(hub), write_newer, &objects[i]), BK_OK);
        is_int(hub_look_newer(hub_store(hub), why), BK_VERSION, "%s is not known",
               objects[i].name);
        ok(has(why, objects[i].name) && has(why, "newer becket"), "%s", why);
        objects[i].version = objects[i].before;
        is_int(store_update(hub_store(hub), write_newer, &objects[i]), BK_OK);
    }
    is_uint(objects[1].version, 1, "a destination as it was before formats is written as then");
    is_uint(objects[2].version, 3, "with a format, so that those of before do not read it");
    is_int(hub_look_newer(hub_store(hub), why), BK_OK, "all are known");
    objects[2].version++;
    is_int(store_update(hub_store(hub), write_newer, &objects[2]), BK_OK);
    close_hub();
    is_int(open_hub(), BK_VERSION, "a start is refused: %s", why);
    is_int(data_key_look(directory, why), BK_VERSION, "and a take-over, before it ends anybody");
    test_directory_drop(directory);
}

/* ---- tokens */

static bool count_token(void *context, const struct token_info *info)
{
    (void)info;
    ++*(unsigned *)context;
    return true;
}

static void test_tokens(void)
{
    fresh();
    char path[300], *text;
    size_t bytes;
    struct token_info info, other;
    snprintf(path, sizeof path, "%s/admin.token", directory);
    is_int(file_read_all(path, 1000, &text, &bytes), BK_OK);
    is_uint(bytes, TOKEN_TEXT_BYTES, "one line");
    is_int(token_check(hub, slice_of(text, bytes - 1), &info), BK_OK, "admin.token is a token");
    is_int(info.role, TOKEN_ADMIN);
    is_str(info.name, "admin");
    is_mem(info.last4, text + bytes - 5, 4, "its last four characters");
    char created[TOKEN_TEXT_BYTES];
    is_int(make_token("ci", TOKEN_READ, "", "", created), BK_OK, "another");
    info = made;
    is_int(make_token("ci", TOKEN_READ, "", "", path), BK_EXISTS, "name taken");
    is_int(make_token("C I", TOKEN_READ, "", "", path), BK_INVALID, "bad name");
    is_int(token_check(hub, slice_str(created), &other), BK_OK);
    is_int(other.role, TOKEN_READ);
    is_str(other.id, info.id);
    ok(token_known(hub, slice_str(created)), "who must not read the store knows it");
    created[20] ^= 1;
    is_int(token_check(hub, slice_str(created), &other), BK_UNAUTHENTICATED, "altered");
    ok(!token_known(hub, slice_str(created)), "and is told");
    created[20] ^= 1;
    is_int(token_check(hub, SLICE(""), &other), BK_UNAUTHENTICATED, "empty");
    is_int(token_check(hub, slice_of(created, 46), &other), BK_UNAUTHENTICATED, "cut");
    unsigned count = 0;
    is_int(token_each(hub, SLICE_EMPTY, count_token, &count), BK_OK);
    is_uint(count, 2, "two tokens");
    is_int(token_each(hub, SLICE("admin"), count_token, &count), BK_OK);
    is_uint(count, 3, "one behind the first");
    is_int(token_get(hub, slice_str(info.id), &other), BK_OK, "by id");
    buf_reset(&json);
    token_info_json(&other, &json);
    ok(has(buf_text(&json), "\"role\":\"read\"") && !strstr(buf_text(&json), created), "as JSON");
    is_int(token_revoke(hub, SLICE("admin")), BK_IN_USE, "the last admin token stays");
    is_int(token_revoke(hub, SLICE("ci")), BK_OK, "revoke");
    is_int(token_check(hub, slice_str(created), &other), BK_UNAUTHENTICATED, "is no token now");
    ok(!token_known(hub, slice_str(created)), "and nobody knows it");
    ok(token_known(hub, slice_of(text, bytes - 1)), "the other one is known");
    is_int(token_revoke(hub, SLICE("ci")), BK_NOT_FOUND);
    close_hub();
    is_int(open_hub(), BK_OK);
    is_int(token_check(hub, slice_of(text, bytes - 1), &info), BK_OK, "stays over a restart");
    free(text);
    clean();
}

static enum bk_err remove_user(const char *name, const char *canvas)
{
    struct apply_options options = {.now_ns = NOW, .canvas = slice_str(canvas)};
    apply_outcome_fini(&outcome);
    return apply_delete(hub, RESOURCE_USER, slice_str(name), &options, &outcome);
}

static void test_token_users(void)
{
    fresh();
    char text[TOKEN_TEXT_BYTES];
    struct token_info info;
    is_int(make_token("t", TOKEN_READ, "", "alice", text), BK_NOT_FOUND);
    is_str(missing, "user", "nobody is made by a token");
    is_int(make_token("t", TOKEN_READ, "blue", "alice", text), BK_NOT_FOUND);
    is_str(missing, "canvas");
    is_int(apply("[{kind: Canvas, metadata: {name: blue}}, {kind: Canvas, metadata: {name: red}},"
                 "{kind: User, metadata: {name: alice}, spec: {}},"
                 "{kind: User, metadata: {name: ben, canvasId: blue}, spec: {}}]"),
           BK_OK);
    is_int(make_token("t", TOKEN_READ, "", "ben", text), BK_NOT_FOUND, "he is of blue");
    is_int(make_token("t", TOKEN_READ, "red", "ben", text), BK_NOT_FOUND, "not of red");
    is_int(make_token("t", TOKEN_READ, "", "Alice!", text), BK_INVALID);
    is_int(make_token("ben-1", TOKEN_READ, "blue", "ben", text), BK_OK);
    is_int(make_token("laptop", TOKEN_WRITE, "", "alice", text), BK_OK);
    is_int(token_check(hub, slice_str(text), &info), BK_OK);
    is_str(info.user, "alice");
    is_str(info.canvas, "");
    ok(slice_equal(token_user(&info), SLICE("alice")), "acts for her");
    is_int(make_token("alice", TOKEN_WRITE, "", "", text), BK_OK);
    is_int(token_check(hub, slice_str(text), &info), BK_OK);
    is_str(info.user, "", "a machine's");
    ok(slice_equal(token_user(&info), SLICE("alice")), "whose doings are of who is called so");
    is_int(make_token("phone", TOKEN_WRITE, "blue", "alice", text), BK_OK, "of the default canvas");
    is_int(token_check(hub, slice_str(text), &info), BK_OK);
    buf_reset(&json);
    token_info_json(&info, &json);
    ok(has(buf_text(&json), "\"canvas\":\"blue\",\"user\":\"alice\""), "as JSON");
    is_int(remove_user("alice", ""), BK_IN_USE, "her tokens would be nobody's");
    ok(has(outcome.message, "tokens"), "%s", outcome.message);
    is_int(remove_user("ben", "blue"), BK_IN_USE, "nor his");
    is_int(apply("{kind: User, metadata: {name: ben}, spec: {}}"), BK_OK);
    is_int(remove_user("ben", "blue"), BK_IN_USE, "nor somebody else's");
    is_int(remove_user("ben", ""), BK_OK, "who is meant by no token");
    is_int(token_revoke(hub, SLICE("laptop")), BK_OK);
    is_int(remove_user("alice", ""), BK_IN_USE, "one is left");
    is_int(token_revoke(hub, slice_str(info.id)), BK_OK, "by id");
    is_int(remove_user("alice", ""), BK_OK);
    close_hub();
    is_int(open_hub(), BK_OK);
    is_int(token_get(hub, SLICE("ben-1"), &info), BK_OK, "kept over a restart");
    is_str(info.user, "ben");
    is_str(info.canvas, "blue");
    is_int(token_revoke(hub, SLICE("admin")), BK_IN_USE, "the last one of role admin");
    is_int(make_token("chief", TOKEN_ADMIN, "blue", "", text), BK_OK);
    is_int(token_revoke(hub, SLICE("admin")), BK_IN_USE, "one of a canvas does not count");
    is_int(make_token("root", TOKEN_ADMIN, "", "", text), BK_OK);
    is_int(token_revoke(hub, SLICE("admin")), BK_OK, "another one does");
    clean();
}

/* ---- links of one */

/* '#' in the text is the number of each. */
static enum bk_err apply_links(const char *each, unsigned from, unsigned to)
{
    static struct buf text;
    buf_init(&text, 1U << 20);
    buf_add_str(&text, "[{kind: Team, metadata: {name: us}, spec: {}}");
    for (unsigned i = from; i < to; i++) {
        buf_add_str(&text, ",\n");
        for (const char *at = each; *at; at++) {
            if (*at == '#') {
                buf_printf(&text, "%u", i);
            } else {
                buf_add_byte(&text, (uint8_t)*at);
            }
        }
    }
    buf_add_byte(&text, ']');
    enum bk_err err = apply(buf_text(&text));
    buf_fini(&text);
    return err;
}

static void test_links_of_one(void)
{
    static const char out[] =
        "{kind: IntegrationLink, metadata: {name: out-#}, spec: {type: generic, "
        "team: {name: us}, destination: {name: app}, statuses: [goal]}}";
    static const char in[] =
        "{kind: Team, metadata: {name: t#}, spec: {}},{kind: IntegrationLink, metadata: {name: "
        "in-#}, spec: {type: generic, user: {name: ann}, source: {name: in}, entry: {body: $.b}}}";
    static const char repository[] =
        "{kind: Team, metadata: {name: t#}, spec: {}},{kind: IntegrationLink, metadata: {name: "
        "code-#}, spec: {type: github, integration: {name: hub}, team: {name: one}, settings: "
        "{repository: Hello}}}";
    fresh();
    is_int(apply("[{kind: Destination, metadata: {name: app}, spec: {url: 'http://127.0.0.1:1/', "
                 "allowPrivate: true}}, {kind: User, metadata: {name: ann}, spec: {}},"
                 "{kind: Team, metadata: {name: one}, spec: {}},"
                 "{kind: EventSource, metadata: {name: in}, spec: {path: in}},"
                 "{kind: Integration, metadata: {name: hub}, spec: {type: github, check: false, "
                 "url: 'https://github.com/acme', auth: {use: none}}}]"),
           BK_OK);
    is_int(apply_links(out, 0, 64), BK_OK, "64 links of a team");
    is_int(apply_links(out, 64, 65), BK_INVALID, "one more would do nothing");
    ok(has(outcome.message, "spec.team") && has(outcome.message, "64"), "%s", outcome.message);
    is_int(apply_links(out, 0, 64), BK_OK, "those that are there may change");
    is_int(delete_one(RESOURCE_INTEGRATION_LINK, "out-7"), BK_OK);
    is_int(apply_links(out, 64, 65), BK_OK, "where one went, one may come");
    is_int(apply_links(in, 0, 64), BK_OK, "64 links of a source");
    is_int(apply_links(in, 64, 65), BK_INVALID);
    ok(has(outcome.message, "spec.source"), "%s", outcome.message);
    is_int(apply_links(repository, 0, 64), BK_OK, "64 links of a repository");
    is_int(apply_links(repository, 64, 65), BK_INVALID);
    ok(has(outcome.message, "spec.settings.repository"), "%s", outcome.message);
    is_int(
        apply("{kind: IntegrationLink, metadata: {name: more}, spec: {type: github, integration: "
              "{name: hub}, team: {name: one}, settings: {repository: other}}}"),
        BK_OK, "a team may have more of those that only come in");
    clean();
}

static void test_quickstart(void)
{
    fresh();
    struct quickstart quickstart;
    is_int(quickstart_apply(hub, NOW, &quickstart, why), BK_OK, "quick start: %s", why);
    is_str(quickstart.url, "https://hooks.example/hooks/quickstart");
    ok(strncmp(quickstart.secret, "whsec_", 6) == 0 && strlen(quickstart.secret) == 38, "secret");
    is_uint(fed_count, 1, "it works");
    is_int(quickstart_apply(hub, NOW, &quickstart, why), BK_EXISTS, "only once: %s", why);
    forget_fed();
    uint64_t good, failed;
    is_int(hub_feed_all(hub, &good, &failed), BK_OK);
    ok(good == 1 && failed == 0, "fed at start");
    uint64_t number = 0;
    is_int(hub_number(hub, RESOURCE_EVENT_SOURCE, SLICE_EMPTY, SLICE("quickstart"), &number),
           BK_OK);
    is_uint(number, 1);
    clean();
}

static void test_kinds(void)
{
    static const char *const spellings[] = {"EventSource",  "event-source", "event-sources",
                                            "EVENTSOURCES", "event_source", "eventSource"};
    enum resource_kind kind = RESOURCE_CANVAS;
    for (size_t i = 0; i < 6; i++) {
        ok(resource_kind_find(slice_str(spellings[i]), &kind) && kind == RESOURCE_EVENT_SOURCE,
           "%s", spellings[i]);
    }
    ok(!resource_kind_find(SLICE("event"), &kind) && !resource_kind_find(SLICE(""), &kind),
       "no kind");
    ok(resource_kind_find(SLICE("canvases"), &kind) && kind == RESOURCE_CANVAS, "canvases");
}

/* Needs root for the mount. */
static void test_full_disk(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/hub-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(directory) || mount("tmpfs", directory, "tmpfs", 0, "size=2m,mode=0700") != 0) {
        skip("no permission to mount a small disk");
        rmdir(directory);
        return;
    }
    is_int(open_hub(), BK_OK, "on a disk of 2 MiB");
    is_int(apply(secret_text), BK_OK);
    struct buf text;
    buf_init(&text, 8U << 20);
    for (unsigned i = 0; i < 20000; i++) {
        buf_printf(&text, "---\nkind: Secret\nmetadata: {name: s%u}\nspec: {data: {k: v}}\n", i);
    }
    is_int(apply(buf_text(&text)), BK_NO_SPACE, "20000 secrets do not fit");
    buf_fini(&text);
    ok(has(outcome.message, "disk is full"), "told");
    is_uint(objects(RESOURCE_SECRET), 1, "nothing half-applied, reads go on");
    is_int(apply("kind: Secret\nmetadata: {name: small}\nspec: {data: {k: v}}\n"), BK_OK,
           "a small one works again");
    close_hub();
    ok(umount(directory) == 0, "unmount");
    rmdir(directory);
}

static void test_rotation(void)
{
    static const char text[] = "kind: EventSource\nmetadata: {name: own}\nspec: {path: own}\n";
    fresh();
    is_int(apply(text), BK_OK);
    char *first = strdup(outcome.results[0].key);
    is_int(apply_with(text, (struct apply_options){.key = APPLY_KEY_ROTATE}), BK_OK);
    ok(outcome.results[0].key && strcmp(outcome.results[0].key, first) != 0, "another key");
    is_int(outcome.results[0].action, APPLY_UPDATED);
    is_int(apply(text), BK_OK);
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "both stay");
    is_int(apply_with(text, (struct apply_options){.key = APPLY_KEY_REPLACE}), BK_OK);
    is_int(apply(text), BK_OK);
    is_int(outcome.results[0].action, APPLY_UNCHANGED);
    free(first);
    clean();
}

/* ---- a state of before references were kept from both sides */

static enum bk_err make_old(struct store_txn *txn, void *context)
{
    struct key key;
    (void)context;
    key_uses(&key, 'E', SLICE("default"), SLICE("payments"));
    key_add_used(&key, 'S', SLICE("default"), SLICE("stripe"));
    enum bk_err err = store_delete(txn, key_slice(&key));
    key_users(&key, 'S', SLICE("default"), SLICE("stripe"));
    key_add_user(&key, 'E', SLICE("default"), SLICE("payments"));
    err = err == BK_OK ? store_put(txn, key_slice(&key), SLICE_EMPTY) : err;
    return err == BK_OK ? store_delete(txn, KEY_USES) : err;
}

static void test_migration(void)
{
    fresh();
    is_int(apply(secret_text), BK_OK);
    is_int(apply(source_text), BK_OK);
    is_int(store_update(hub_store(hub), make_old, NULL), BK_OK);
    close_hub();
    is_int(open_hub(), BK_OK, "an older state is opened");
    is_int(delete_one(RESOURCE_SECRET, "stripe"), BK_IN_USE, "its references hold");
    is_int(apply("kind: Secret\nmetadata: {name: stripe}\n"
                 "spec: {data: {x: whsec_1}}\n"),
           BK_INVALID, "a key that is wanted cannot go");
    is_int(delete_one(RESOURCE_EVENT_SOURCE, "payments"), BK_OK);
    is_int(delete_one(RESOURCE_SECRET, "stripe"), BK_OK, "and end with their user");
    clean();
}

int main(void)
{
    unsetenv("BECKET_MASTER_KEY");
    unsetenv("BECKET_MASTER_KEY_FILE");
    buf_init(&json, 1 << 22);
    test_kinds();
    test_start();
    test_create();
    test_update();
    test_put_back();
    test_spellings();
    test_json_alone();
    test_modes();
    test_mistakes();
    test_one_round();
    test_consequences();
    test_used_in_one_round();
    test_kept();
    test_unread();
    test_torn();
    test_generic();
    test_prune();
    test_paths();
    test_canvases();
    test_where();
    test_lists();
    test_at_rest();
    test_written_by_newer();
    test_tokens();
    test_token_users();
    test_links_of_one();
    test_quickstart();
    test_full_disk();
    test_migration();
    test_rotation();
    apply_outcome_fini(&outcome);
    buf_fini(&json);
    return done_testing();
}
