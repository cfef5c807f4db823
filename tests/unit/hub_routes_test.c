/* Description: destinations and routes: what is refused and where, references, secrets, pause, the
 * feed and the table that it fills, deletes, and that all of it comes back after a restart. */
#include "base/assert.h"
#include "hub/hub_private.h"
#include "hub/resources/apply.h"
#include "tests/directory.h"

#include <stdlib.h>
#include <unistd.h>

#define NOW 1767225600000000000LL /* 2026-01-01 */

static char directory[200];
static char why[HUB_WHY_BYTES];
static struct hub *hub;
static struct route_table *table;
static struct apply_outcome outcome;
static struct buf json;
static unsigned destination_feeds, route_feeds, event_count;

static void on_source(void *context, const struct source_change *change)
{
    (void)context;
    if (change->scheme) {
        event_count = change->event_count ? change->event_count : event_count;
        filter_sets_free(change->events, change->event_count);
        scheme_wipe(change->scheme);
        free(change->scheme);
    }
}

static void on_destination(void *context, uint64_t number, struct destination *destination)
{
    (void)context;
    destination_feeds++;
    if (!destination) {
        route_table_remove_destination(table, number);
    } else {
        bk_assert(destination->number == number);
        bk_assert(route_table_put_destination(table, destination) == BK_OK);
    }
}

static void on_route(void *context, const struct route_change *change)
{
    (void)context;
    route_feeds++;
    bk_assert(route_table_change_route(table, change) == BK_OK);
}

static void open_hub(void)
{
    struct hub_config config = {.data_directory = directory,
                                .public_url = "https://hooks.example",
                                .changed = on_source,
                                .destination_changed = on_destination,
                                .route_changed = on_route,
                                .now_ns = NOW};
    uint64_t fed, failed;
    bk_assert(route_table_open(&table) == BK_OK);
    if (hub_open(&config, &hub, why) != BK_OK) {
        bail_out("%s", why);
    }
    bk_assert(hub_feed_all(hub, &fed, &failed) == BK_OK);
    is_uint(failed, 0, "everything that is stored can be used");
}

static void close_hub(void)
{
    hub_close(hub);
    route_table_close(table);
}

static enum bk_err apply_with(const char *text, bool dry_run)
{
    struct apply_options options = {.now_ns = NOW, .dry_run = dry_run};
    apply_outcome_fini(&outcome);
    destination_feeds = route_feeds = 0;
    enum bk_err err = apply_text(hub, slice_str(text), &options, &outcome);
    if (err != BK_OK) {
        diag("%s: %s", bk_err_name(err), outcome.message);
    }
    return err;
}

static enum bk_err apply(const char *text)
{
    return apply_with(text, false);
}

static enum bk_err delete_one(enum resource_kind kind, const char *name)
{
    struct apply_options options = {.now_ns = NOW};
    apply_outcome_fini(&outcome);
    return apply_delete(hub, kind, slice_str(name), &options, &outcome);
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
        diag("no %s in %s", part, text);
    }
    return found;
}

static uint64_t destination_number(const char *name)
{
    uint64_t number = 0;
    enum bk_err err = hub_number(hub, RESOURCE_DESTINATION, SLICE_EMPTY, slice_str(name), &number);
    return err == BK_OK ? number : 0;
}

static const struct destination *destination_of(const char *name)
{
    return route_table_destination(table, destination_number(name));
}

/* Names of the destinations of a source, in order of their numbers. */
static const char *targets_of(const char *source)
{
    static char text[256];
    uint64_t number = 0;
    text[0] = '\0';
    if (hub_number(hub, RESOURCE_EVENT_SOURCE, SLICE_EMPTY, slice_str(source), &number) != BK_OK) {
        return "no source";
    }
    for (uint64_t i = 0; i < route_table_numbers(table); i++) {
        const struct route_target *t = route_table_first(table, number);
        for (; t; t = route_target_next(t)) {
            const struct destination *destination = route_target_destination(t);
            if (destination->number == i) {
                size_t at = strlen(text);
                snprintf(text + at, sizeof text - at, "%s%.*s", at ? " " : "",
                         (int)destination->name.bytes, (const char *)destination->name.at);
            }
        }
    }
    return text;
}

static const char set[] =
    "kind: Route\n"
    "metadata: {name: payments-to-app}\n"
    "spec:\n"
    "  from: [{source: payments, types: [\"invoice.*\"]}, {source: other}]\n"
    "  filters: [{type: FILTER_TYPE_DATA, data: {expression: \"$.amount > 100\"}}]\n"
    "  to: [{destination: app}]\n"
    "---\n"
    "kind: Destination\n"
    "metadata: {name: app}\n"
    "spec:\n"
    "  url: https://App.Example:8443/in?x=1\n"
    "  headers: {X-Env: prod, Authorization: {valueFrom: {secret: {name: s, key: token}}}}\n"
    "  signing: {secrets: [{valueFrom: {secret: {name: s, key: whsec}}}, "
    "{value: whsec_MDEyMzQ1Njc4OWFiY2RlZg==}]}\n"
    "  timeout: 5s\n"
    "  retry: {schedule: [1s, 2m], jitter: 0.5}\n"
    "  concurrency: 3\n"
    "  format: cloudevents-structured\n"
    "  rateLimit: {perSecond: 7}\n"
    "  ordering: {mode: strict, key: $.customer}\n"
    "  allowPrivate: true\n"
    "---\n"
    "kind: Destination\n"
    "metadata: {name: plain}\n"
    "spec: {url: \"http://plain.example\"}\n"
    "---\n"
    "kind: Secret\n"
    "metadata: {name: s}\n"
    "spec: {data: {token: Bearer abc, whsec: whsec_YWJjZGVmZ2hpamtsbW5vcA==}}\n"
    "---\n"
    "kind: EventSource\n"
    "metadata: {name: payments}\n"
    "spec: {type: generic, path: payments, verification: {scheme: none}}\n"
    "---\n"
    "kind: EventSource\n"
    "metadata: {name: other}\n"
    "spec: {type: generic, path: other, verification: {scheme: none}}\n";

static void compiled(void)
{
    const struct destination *app = destination_of("app"), *plain = destination_of("plain");
    ok(app && plain, "both destinations are in the table");
    if (!app || !plain) {
        return;
    }
    is_str(app->origin.host, "app.example", "host, normalised");
    ok(app->origin.tls && app->origin.port == 8443 && app->origin.allow_private, "origin");
    ok(slice_equal(app->target, SLICE("/in?x=1")), "target");
    ok(slice_equal(app->host_header, SLICE("app.example:8443")), "Host");
    ok(slice_equal(app->header_lines, SLICE("X-Env: prod\r\nAuthorization: Bearer abc\r\n")),
       "header lines, with the secret in");
    is_uint(app->secret_count, 2, "two secrets");
    struct hmac_sha256_key key;
    hmac_sha256_key_init(&key, SLICE("abcdefghijklmnop"));
    ok(memcmp(&key, &app->secrets[0], sizeof key) == 0, "by reference, decoded");
    hmac_sha256_key_init(&key, SLICE("0123456789abcdef"));
    ok(memcmp(&key, &app->secrets[1], sizeof key) == 0, "and in place");
    ok(app->timeout_ms == 5000 && app->concurrency == 3 && app->per_second == 7, "limits");
    ok(app->retry_count == 2 && app->retry_schedule_ms[0] == 1000 &&
           app->retry_schedule_ms[1] == 120000 && app->jitter_permille == 500,
       "retries");
    ok(app->format == DESTINATION_CLOUDEVENTS_STRUCTURED && plain->format == DESTINATION_ORIGINAL,
       "format");
    ok(app->strict && app->order_key && app->pause == DESTINATION_RUNNING, "order");
    ok(plain->timeout_ms == 20000 && plain->concurrency == 16 && plain->retry_count == 10 &&
           plain->retry_schedule_ms[9] == 86400000 && plain->jitter_permille == 200 &&
           !plain->strict && plain->signing == DESTINATION_STANDARD_WEBHOOKS,
       "defaults");
    ok(slice_equal(plain->target, SLICE("/")) &&
           slice_equal(plain->host_header, SLICE("plain.example")) && !plain->origin.tls,
       "a bare URL");
}

static void first_apply(void)
{
    is_int(apply_with(set, true), BK_OK, "a dry run");
    is_str(get(RESOURCE_ROUTE, "payments-to-app"), "NOT_FOUND", "changes nothing");
    is_int(apply(set), BK_OK, "a set in any order");
    is_uint(outcome.count, 6, "six objects");
    ok(destination_feeds == 2 && route_feeds == 1, "fed");
    is_str(targets_of("payments"), "app", "routed");
    is_str(targets_of("other"), "app", "from both sources");
    compiled();
    uint64_t number = 0;
    bk_assert(hub_number(hub, RESOURCE_EVENT_SOURCE, SLICE_EMPTY, SLICE("payments"), &number) ==
              BK_OK);
    const struct route_target *target = route_table_first(table, number);
    is_uint(route_target_filters(target)->count, 1, "its filter");
    is_uint(route_target_filters(target)->type_count, 1, "its type");
    is_int(route_table_since_ns(table, target), NOW, "since it was made");
    route_table_clock_was_set(table, (struct clock_sets){NOW - 7, NOW - 1});
    is_int(route_table_since_ns(table, target), NOW, "a clock that was set back before");
    route_table_clock_was_set(table, (struct clock_sets){NOW - 7, NOW});
    is_int(route_table_since_ns(table, target), NOW - 7, "a clock that was set back behind it");
    route_table_clock_was_set(table, (struct clock_sets){0});
    ok(slice_equal(route_target_source(target), SLICE("payments")), "its source's name");
    const char *text = get(RESOURCE_DESTINATION, "app");
    ok(!strstr(text, "Bearer") && !strstr(text, "MDEyMzQ1"), "no secret is shown: %s", text);
    ok(has(text, "\"status\":{\"state\":\"ready\"}"), "ready");
    ok(has(get(RESOURCE_ROUTE, "payments-to-app"),
           "{\"from\":[{\"source\":\"payments\",\"types\":[\"invoice.*\"]},{\"source\":\"other\"}],"
           "\"filters\":[{\"type\":\"FILTER_TYPE_DATA\",\"data\":{\"expression\":"
           "\"$.amount > 100\"}}],\"to\":[{\"destination\":\"app\"}]}"),
       "the route's spec");
    is_int(apply(set), BK_OK, "again");
    unsigned unchanged = 0;
    for (size_t i = 0; i < outcome.count; i++) {
        unchanged += outcome.results[i].action == APPLY_UNCHANGED;
    }
    is_uint(unchanged, 6, "nothing changes");
    ok(destination_feeds == 0 && route_feeds == 0, "nothing is fed");
}

static void generated_secret(void)
{
    is_int(apply("kind: Destination\nmetadata: {name: new}\nspec: {url: \"http://a.example\"}\n"),
           BK_OK, "without a secret");
    const char *key = outcome.results[0].key;
    ok(key && strncmp(key, "whsec_", 6) == 0 && strlen(key) == 50, "one is made, and shown");
    char kept[64];
    snprintf(kept, sizeof kept, "%s", key ? key : "");
    is_uint(destination_of("new")->secret_count, 1, "and signs");
    buf_reset(&json);
    is_int(hub_reveal(hub, RESOURCE_DESTINATION, SLICE_EMPTY, SLICE("new"), SLICE_EMPTY, 1, &json),
           BK_OK, "read later");
    ok(has(buf_text(&json), kept), "the same");
    is_int(apply("kind: Destination\nmetadata: {name: new}\nspec: {url: \"http://b.example\"}\n"),
           BK_OK, "changed");
    buf_reset(&json);
    ok(hub_reveal(hub, RESOURCE_DESTINATION, SLICE_EMPTY, SLICE("new"), SLICE_EMPTY, 1, &json) ==
               BK_OK &&
           has(buf_text(&json), kept),
       "the secret stays");
    is_str(destination_of("new")->origin.host, "b.example", "the new version is in the table");
    is_int(delete_one(RESOURCE_DESTINATION, "new"), BK_OK, "deleted");
    is_uint(destination_number("new"), 0, "it is gone");
}

/* Every mistake of a document at once, each at its place. */
static void mistakes(void)
{
    is_int(apply("kind: Destination\n"
                 "metadata: {name: bad}\n"
                 "spec:\n"
                 "  url: ftp://x\n"
                 "  headers: {Host: a, \"X Y\": b, X-A: \"c\\r\\nX-B: d\", webhook-id: e, "
                 "Authorization: f}\n"
                 "  signing: {scheme: mine, secrets: []}\n"
                 "  timeout: 1h\n"
                 "  retry: {schedule: [soon], jitter: 2}\n"
                 "  concurrency: 0\n"
                 "  ordering: {mode: strictly, key: \"$.a ==\"}\n"
                 "  colour: red\n"),
           BK_INVALID, "a bad destination");
    is_uint(outcome.problems.count, 16, "everything at once");
    is_int(apply("kind: Destination\nmetadata: {name: bad}\nspec: {}\n"), BK_INVALID, "no URL");
    is_int(apply("kind: Destination\nmetadata: {name: bad}\n"
                 "spec: {url: \"http://a\", format: cloudevents}\n"),
           BK_INVALID, "no such format");
    is_int(apply("kind: Destination\nmetadata: {name: bad}\n"
                 "spec: {url: \"http://a\", format: cloudevents-structured, "
                 "headers: {Content-Type: a/b, CE-ID: x, ce-team: y}}\n"),
           BK_INVALID, "headers that the format says");
    is_uint(outcome.problems.count, 2, "the attribute of one's own is none of them");
    is_int(apply("kind: Route\n"
                 "metadata: {name: bad}\n"
                 "spec:\n"
                 "  from: [{source: payments}, {source: payments}, {types: [a]}]\n"
                 "  filters: [{type: FILTER_TYPE_DATA, data: {expression: \"$.a = 1\"}},\n"
                 "    {type: FILTER_TYPE_HEADER, header: {expression: \"$.a == 1\"}}]\n"
                 "  filterOperator: XOR\n"
                 "  to: []\n"),
           BK_INVALID, "a bad route");
    is_uint(outcome.problems.count, 6, "everything at once");
    bool placed = false;
    for (size_t i = 0; i < outcome.problems.count; i++) {
        const struct resource_problem *problem = &outcome.problems.at[i];
        if (strcmp(problem->field, "spec.filters[0].data.expression") == 0) {
            placed = problem->place.line == 5 &&
                     has(problem->message, "line 1, column 5 of the expression: = alone");
        }
    }
    ok(placed, "an expression's mistake has its place in the file and in the expression");
    is_int(apply("kind: Route\nmetadata: {name: bad}\n"
                 "spec: {from: [{source: none}], to: [{destination: none}]}\n"),
           BK_INVALID, "names of nothing");
    is_uint(outcome.problems.count, 2, "both are told");
    is_int(apply("kind: Destination\nmetadata: {name: bad}\n"
                 "spec: {url: \"http://a\", signing: {secrets: [{value: short}]}}\n"),
           BK_INVALID, "a secret that is no whsec_");
    ok(has(outcome.message, "spec.signing.secrets[0]: a signing secret is whsec_ and base64"),
       "says so: %s", outcome.message);
}

static void in_use(void)
{
    is_int(delete_one(RESOURCE_DESTINATION, "app"), BK_IN_USE, "a destination in use");
    ok(has(outcome.message, "Destination \"app\" is still used by Route \"payments-to-app\""),
       "says by what");
    is_int(delete_one(RESOURCE_EVENT_SOURCE, "other"), BK_IN_USE, "a source in use");
    is_int(delete_one(RESOURCE_SECRET, "s"), BK_IN_USE, "a secret in use");
    is_int(apply("kind: Secret\nmetadata: {name: s}\n"
                 "spec: {data: {whsec: whsec_YWJjZGVmZ2hpamtsbW5vcA==}}\n"),
           BK_INVALID, "a key in use is dropped");
    is_int(apply("kind: Secret\nmetadata: {name: s}\n"
                 "spec: {data: {token: Bearer new, whsec: whsec_YWJjZGVmZ2hpamtsbW5vcA==}}\n"),
           BK_OK, "a secret is changed");
    is_uint(destination_feeds, 1, "its destination is compiled anew");
    ok(slice_equal(destination_of("app")->header_lines,
                   SLICE("X-Env: prod\r\nAuthorization: Bearer new\r\n")),
       "with the new value");
    is_int(apply("kind: Secret\nmetadata: {name: s}\n"
                 "spec: {data: {token: \"a\\nb\", whsec: whsec_YWJjZGVmZ2hpamtsbW5vcA==}}\n"),
           BK_INVALID, "a value that would break a header");
    ok(has(outcome.message, "Destination \"app\" cannot use it any more"), "says so");
}

static void pausing(void)
{
    uint64_t number = destination_number("app");
    is_int(hub_destination_pause(hub, number, DESTINATION_PAUSED_BY_GONE, NOW), BK_OK, "410");
    is_int(destination_of("app")->pause, DESTINATION_PAUSED_BY_GONE, "is in the table");
    ok(has(get(RESOURCE_DESTINATION, "app"),
           "\"status\":{\"state\":\"paused\",\"reason\":\"it answered 410\","
           "\"since\":\"2026-01-01T00:00:00"),
       "and in the status");
    close_hub();
    open_hub();
    is_int(destination_of("app")->pause, DESTINATION_PAUSED_BY_GONE, "and survives a restart");
    is_str(targets_of("payments"), "app", "as do routes");
    is_int(hub_destination_pause(hub, number, DESTINATION_RUNNING, NOW), BK_OK, "resumed");
    is_int(destination_of("app")->pause, DESTINATION_RUNNING, "runs");
    destination_feeds = 0;
    is_int(hub_destination_pause(hub, number, DESTINATION_RUNNING, NOW), BK_OK, "again");
    is_uint(destination_feeds, 0, "changes nothing");
    is_int(hub_destination_pause(hub, 4711, DESTINATION_RUNNING, NOW), BK_NOT_FOUND, "no such");
    is_int(apply("kind: Destination\nmetadata: {name: plain}\n"
                 "spec: {url: \"http://plain.example\", paused: true}\n"),
           BK_OK, "paused by its spec");
    number = destination_number("plain");
    is_int(destination_of("plain")->pause, DESTINATION_PAUSED_BY_SPEC, "in the table");
    is_int(hub_destination_pause(hub, number, DESTINATION_RUNNING, NOW), BK_CONFLICT,
           "cannot be resumed by hand");
    struct hub_target_name name;
    is_int(hub_target_name(hub, number, &name), BK_OK, "its name by number");
    is_str(name.name, "plain", "is right");
}

static void removal(void)
{
    uint64_t number = destination_number("app");
    is_int(delete_one(RESOURCE_ROUTE, "payments-to-app"), BK_OK, "the route goes");
    is_str(targets_of("payments"), "", "no targets");
    is_int(delete_one(RESOURCE_DESTINATION, "app"), BK_OK, "then the destination");
    ok(!route_table_destination(table, number), "and leaves the table");
    is_int(delete_one(RESOURCE_SECRET, "s"), BK_OK, "then the secret");
    struct hub_target_name name;
    is_int(hub_target_name(hub, number, &name), BK_OK, "its name is kept for its deliveries");
    is_int(hub_destination_pause(hub, number, DESTINATION_PAUSED_BY_GONE, NOW), BK_NOT_FOUND,
           "a late 410 finds nobody");
}

static void source_events(void)
{
    is_int(apply("kind: EventSource\nmetadata: {name: chosen}\n"
                 "spec:\n"
                 "  verification: {scheme: none}\n"
                 "  events: [{type: push, filters: [{type: FILTER_TYPE_DATA, data: {expression: "
                 "\"$.ref == 'refs/heads/main'\"}}], filterOperator: FILTER_OPERATOR_AND}, "
                 "{type: release}]\n"),
           BK_OK, "a source that chooses its events");
    is_uint(event_count, 2, "is compiled with both");
    ok(has(get(RESOURCE_EVENT_SOURCE, "chosen"),
           "\"events\":[{\"type\":\"push\",\"filters\":[{\"type\":\"FILTER_TYPE_DATA\",\"data\":"
           "{\"expression\":\"$.ref == 'refs/heads/main'\"}}]},{\"type\":\"release\"}]"),
       "and shown");
    is_int(apply("kind: EventSource\nmetadata: {name: bad}\n"
                 "spec: {verification: {scheme: none}, events: [{filters: []}, push, {type: a, "
                 "filters: [{type: FILTER_TYPE_DATA}]}]}\n"),
           BK_INVALID, "bad events");
    is_uint(outcome.problems.count, 3, "everything at once");
}

#define KEPT "kind: Destination\nmetadata: {name: kept}\nspec: {url: 'https://kept.example/', "

/* "***" keeps a value under its own name, wherever it stands, and never in another's place. */
static void kept_values(void)
{
    is_int(apply(KEPT "headers: {X-A: {value: alpha}, X-B: {value: beta}, X-C: {value: gamma}}, "
                      "signing: {secrets: [{value: whsec_YWJjZGVmZ2hpamtsbW5vcA==}, "
                      "{value: whsec_MDEyMzQ1Njc4OWFiY2RlZg==}]}}"),
           BK_OK, "headers and keys");
    char *shown = strdup(get(RESOURCE_DESTINATION, "kept"));
    ok(!strstr(shown, "alpha") && !strstr(shown, "whsec_"), "nothing is shown");
    is_int(apply(shown), BK_OK, "applied as it is shown");
    is_int(outcome.results[0].action, APPLY_UNCHANGED, "nothing changes");
    free(shown);
    is_int(apply(KEPT "headers: {x-b: {value: '***'}, X-D: {value: delta}, X-A: {value: '***'}}, "
                      "signing: {secrets: [{value: '***'}, {value: '***'}]}}"),
           BK_OK, "in another order, with one more and one less");
    ok(slice_equal(destination_of("kept")->header_lines,
                   SLICE("x-b: beta\r\nX-D: delta\r\nX-A: alpha\r\n")),
       "each has its own value: %.*s", (int)destination_of("kept")->header_lines.bytes,
       (const char *)destination_of("kept")->header_lines.at);
    is_int(apply(KEPT "headers: {X-C: {value: '***'}}}"), BK_INVALID, "one that is gone");
    is_int(apply(KEPT "headers: {X-A: {value: '***'}}, signing: {secrets: [{value: '***'}]}}"),
           BK_INVALID, "one key of two, and which?");
    ok(has(outcome.message, "spec.signing.secrets[0].value: *** may be any"), "it is asked");
    is_int(apply(KEPT "headers: {X-A: {value: '***'}}, signing: {secrets: "
                      "[{value: whsec_MDEyMzQ1Njc4OWFiY2RlZg==}]}}"),
           BK_OK, "it is told");
    ok(slice_equal(destination_of("kept")->header_lines, SLICE("X-A: alpha\r\n")), "and kept");
    struct hmac_sha256_key key;
    hmac_sha256_key_init(&key, SLICE("0123456789abcdef"));
    ok(destination_of("kept")->secret_count == 1 &&
           memcmp(&key, &destination_of("kept")->secrets[0], sizeof key) == 0,
       "the key that was told");
    is_int(delete_one(RESOURCE_DESTINATION, "kept"), BK_OK, "it goes");
}

int main(void)
{
    buf_init(&json, 1U << 20);
    test_directory(directory, sizeof directory, false);
    open_hub();
    first_apply();
    generated_secret();
    mistakes();
    in_use();
    pausing();
    removal();
    source_events();
    kept_values();
    close_hub();
    event_count = 0;
    open_hub();
    is_uint(event_count, 2, "the events come back after a restart");
    close_hub();
    apply_outcome_fini(&outcome);
    buf_fini(&json);
    test_directory_drop(directory);
    return done_testing();
}
