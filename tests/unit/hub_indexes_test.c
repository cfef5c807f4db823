/* Description: what is found by an index is what a look at everything would find: through changes,
 * removals, and a state that an older version left without them. */
#include "hub/resources/token.h"
#include "hub/hub_private.h"
#include "hub/links/link_index.h"
#include "hub/operations/operation.h"
#include "hub/people/people_index.h"
#include "hub/resources/apply.h"
#include "tests/directory.h"

#define NOW 1767225600000000000LL

static char directory[200];
static char why[HUB_WHY_BYTES];
static struct hub *hub;
static int64_t now_ns = NOW;

static void open_hub(void)
{
    struct hub_config config = {
        .data_directory = directory, .public_url = "https://hooks.example", .now_ns = NOW};
    if (hub_open(&config, &hub, why) != BK_OK) {
        bail_out("%s", why);
    }
}

static enum bk_err apply(const char *text)
{
    struct apply_options options = {.now_ns = ++now_ns};
    struct apply_outcome outcome;
    enum bk_err err = apply_text(hub, slice_str(text), &options, &outcome);
    if (err != BK_OK) {
        diag("%s", outcome.message ? outcome.message : bk_err_name(err));
    }
    apply_outcome_fini(&outcome);
    return err;
}

static enum bk_err remove_object(enum resource_kind kind, const char *name)
{
    struct apply_options options = {.now_ns = ++now_ns};
    struct apply_outcome outcome;
    enum bk_err err = apply_delete(hub, kind, slice_str(name), &options, &outcome);
    apply_outcome_fini(&outcome);
    return err;
}

static struct store_txn *begin(void)
{
    struct store_txn *txn;
    if (store_read(hub->store, &txn) != BK_OK) {
        bail_out("store_read");
    }
    return txn;
}

#define CANVAS SLICE("default")
#define HUB    SLICE("hub")

static const char *look_for(struct slice own, const struct people_called *called)
{
    static struct hub_address address;
    struct store_txn *txn = begin();
    enum bk_err err = people_index_find(txn, CANVAS, HUB, own, called, &address);
    store_read_end(txn);
    return err == BK_OK ? address.name : bk_err_name(err);
}

static const char *person(const char *uid, const char *nickname, const char *email)
{
    return look_for(CANVAS,
                    &(struct people_called){slice_str(uid), slice_str(nickname), slice_str(email)});
}

static const char *person_in(const char *canvas, const char *uid)
{
    return look_for(slice_str(canvas), &(struct people_called){.uid = slice_str(uid)});
}

static const char *newest_in(const char *own)
{
    static struct hub_address address;
    struct store_txn *txn = begin();
    enum bk_err err = people_index_newest(txn, CANVAS, HUB, slice_str(own), &address);
    store_read_end(txn);
    return err == BK_OK ? address.name : bk_err_name(err);
}

static const char *newest(void)
{
    return newest_in("default");
}

static char found[400];

static bool add_found(void *context, struct slice name)
{
    (void)context;
    snprintf(found + strlen(found), sizeof found - strlen(found), "%s%.*s", found[0] ? " " : "",
             (int)name.bytes, (const char *)name.at);
    return true;
}

static const char *links_to(const char *type, const char *repository)
{
    struct store_txn *txn = begin();
    found[0] = '\0';
    is_int(
        type_index_links_to(txn, CANVAS, slice_str(type), slice_str(repository), add_found, NULL),
        BK_OK);
    store_read_end(txn);
    return found;
}

static const char *integrations(const char *type)
{
    struct store_txn *txn = begin();
    found[0] = '\0';
    is_int(type_index_integrations(txn, CANVAS, slice_str(type), add_found, NULL), BK_OK);
    store_read_end(txn);
    return found;
}

static unsigned count(const char *type, unsigned most)
{
    unsigned number = 0;
    struct store_txn *txn = begin();
    is_int(type_index_count(txn, CANVAS, slice_str(type), most, &number), BK_OK);
    store_read_end(txn);
    return number;
}

/* ---- people */

static void test_people(void)
{
    is_int(apply("{kind: Integration, metadata: {name: hub}, spec: {type: gitea, check: false, "
                 "url: 'https://git.example', auth: {use: oauth, oauth: {clientId: c}}}}"),
           BK_OK);
    is_str(newest(), bk_err_name(BK_NOT_FOUND), "nobody yet");
    is_int(apply("[{kind: IntegrationUser, metadata: {name: ann}, spec: {integration: {name: hub}, "
                 "uid: '1', nickname: Ann, email: Ann@Example.com, accessToken: {value: a}}},"
                 "{kind: IntegrationUser, metadata: {name: bob}, spec: {integration: {name: hub}, "
                 "uid: '2', nickname: bob}}]"),
           BK_OK);
    is_str(newest(), "ann", "who has a token");
    is_str(person("1", "", ""), "ann", "by uid");
    is_str(person("9", "aNN", ""), "ann", "by name, in any case");
    is_str(person("", "", "ann@example.COM"), "ann", "by mail address");
    is_str(person("2", "ann", ""), "bob", "uid before name");
    is_str(person("", "", ""), bk_err_name(BK_NOT_FOUND), "nothing is nobody's");
    is_str(person("Ann", "1", ""), bk_err_name(BK_NOT_FOUND), "each by its own");
    is_int(apply("{kind: IntegrationUser, metadata: {name: bob}, spec: {integration: {name: hub}, "
                 "uid: '2', nickname: robert, accessToken: {value: b}}}"),
           BK_OK);
    is_str(newest(), "bob", "the one that changed last");
    is_str(person("", "bob", ""), bk_err_name(BK_NOT_FOUND), "not by an old name");
    is_str(person("", "Robert", ""), "bob", "but by the new one");
    is_int(apply("{kind: IntegrationUser, metadata: {name: ann}, spec: {integration: {name: hub}, "
                 "uid: '1', nickname: Ann, fullName: A, accessToken: {value: '***'}}}"),
           BK_OK);
    is_str(newest(), "ann", "that changed last again");
    is_int(remove_object(RESOURCE_INTEGRATION_USER, "ann"), BK_OK);
    is_str(newest(), "bob", "the one that is left");
    is_str(person("1", "ann", "ann@example.com"), bk_err_name(BK_NOT_FOUND), "gone");
    /* who somebody is here, other canvases do not say */
    is_int(apply("[{kind: Canvas, metadata: {name: blue}},"
                 "{kind: IntegrationUser, metadata: {name: eve, canvasId: blue}, spec: "
                 "{integration: {name: hub}, uid: '9'}}]"),
           BK_OK);
    is_str(person("9", "", ""), bk_err_name(BK_NOT_FOUND), "nobody here");
    is_str(person_in("blue", "9"), "eve", "but there");
    is_int(apply("{kind: IntegrationUser, metadata: {name: zoe}, spec: {integration: {name: hub}, "
                 "uid: '9'}}"),
           BK_OK);
    is_str(person("9", "", ""), "zoe", "the own one");
    is_str(person_in("blue", "9"), "eve", "and there theirs");
    is_str(person_in("red", "9"), "zoe", "elsewhere the integration's");
    /* nor with whose token its work is done */
    is_int(apply("{kind: IntegrationUser, metadata: {name: eve, canvasId: blue}, spec: "
                 "{integration: {name: hub}, uid: '9', accessToken: {value: e}}}"),
           BK_OK);
    is_str(newest(), "bob", "another canvas's does no work here, though it came last");
    is_str(newest_in("blue"), "eve", "but there");
    is_str(newest_in("red"), "bob", "elsewhere the integration's");
    is_int(apply("{kind: IntegrationUser, metadata: {name: bob}, spec: {integration: {name: hub}, "
                 "uid: '2', nickname: robert}}"),
           BK_OK);
    is_str(newest(), bk_err_name(BK_NOT_FOUND), "and nobody's is not theirs");
    is_str(newest_in("red"), bk_err_name(BK_NOT_FOUND));
    is_int(apply("{kind: IntegrationUser, metadata: {name: bob}, spec: {integration: {name: hub}, "
                 "uid: '2', nickname: robert, accessToken: {value: b}}}"),
           BK_OK);
}

static bool count_key(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)context;
    return true;
}

static unsigned keys_under(const struct key *prefix)
{
    unsigned number = 0;
    struct store_txn *txn = begin();
    is_int(store_walk(txn, key_slice(prefix), SLICE_EMPTY, count_key, &number), BK_OK);
    store_read_end(txn);
    return number;
}

/* ---- types */

static unsigned ways_out(const char *team)
{
    struct key prefix;
    key_ways_out(&prefix, CANVAS, slice_str(team));
    return keys_under(&prefix);
}

static void test_types(void)
{
    is_int(apply("[{kind: Secret, metadata: {name: s}, spec: {data: {t: x}}},"
                 "{kind: Team, metadata: {name: us}, spec: {}},"
                 "{kind: Integration, metadata: {name: one}, spec: {type: TYPE_GITHUB, "
                 "check: false, url: 'https://github.com/acme', auth: {use: token, token: "
                 "{valueFrom: {secret: {name: s, key: t}}}}}},"
                 "{kind: IntegrationLink, metadata: {name: b}, spec: {type: github, integration: "
                 "{name: one}, team: {name: us}, settings: {repository: Acme/Hello}}},"
                 "{kind: IntegrationLink, metadata: {name: a}, spec: {type: github, integration: "
                 "{name: one}, team: {name: us}, settings: {repository: acme/hello}}},"
                 "{kind: IntegrationLink, metadata: {name: c}, spec: {type: github, integration: "
                 "{name: one}, team: {name: us}, settings: {repository: other}}}]"),
           BK_OK);
    is_int(
        apply("[{kind: Destination, metadata: {name: app}, spec: {url: 'http://127.0.0.1:1/', "
              "allowPrivate: true}},"
              "{kind: Team, metadata: {name: there, canvasId: blue}, spec: {}},"
              "{kind: IntegrationLink, metadata: {name: out}, spec: {type: generic, team: {name: "
              "us}, destination: {name: app}}},"
              "{kind: IntegrationLink, metadata: {name: out, canvasId: blue}, spec: {type: "
              "generic, team: {name: us}, destination: {name: app}}}]"),
        BK_OK);
    is_uint(ways_out("us"), 2, "by these two, and not by those that only come in");
    is_int(apply("{kind: IntegrationLink, metadata: {name: out, canvasId: blue}, spec: {type: "
                 "generic, team: {name: there}, destination: {name: app}}}"),
           BK_OK);
    is_uint(ways_out("us"), 1, "one is another team's now");
    is_str(integrations("github"), "one");
    is_str(integrations("gitea"), "hub");
    is_str(integrations("git"), "", "a type that begins another");
    is_str(links_to("github", "acme/HELLO"), "a b", "in any case of letters");
    is_str(links_to("github", ""), "", "no repository");
    is_str(links_to("gitea", "acme/hello"), "", "of another type");
    is_uint(count("github", 100), 3);
    is_uint(count("github", 2), 2, "not further than asked");
    is_int(apply("{kind: IntegrationLink, metadata: {name: b}, spec: {type: github, integration: "
                 "{name: one}, team: {name: us}, settings: {repository: other}}}"),
           BK_OK);
    is_str(links_to("github", "acme/hello"), "a", "one moved");
    is_str(links_to("github", "other"), "b c");
    is_int(remove_object(RESOURCE_INTEGRATION_LINK, "c"), BK_OK);
    is_str(links_to("github", "other"), "b", "one went");
    is_uint(count("github", 100), 2);
}

/* ---- operations */

#define MANY 600U /* more than are made due at once */

static enum bk_err add_failed(struct store_txn *txn, void *context)
{
    enum bk_err err = BK_OK;
    (void)context;
    for (unsigned i = 0; err == BK_OK && i < MANY; i++) {
        struct operation operation = {.intent = PROVIDER_HOOK_ENSURE,
                                      .state = i % 3 ? OPERATION_FAILED : OPERATION_DONE,
                                      .kind = RESOURCE_EVENT_SOURCE,
                                      .canvas = i % 2 ? CANVAS : SLICE("other"),
                                      .name = SLICE("repo"),
                                      .integration_canvas = CANVAS,
                                      .integration = SLICE("busy"),
                                      .provider = SLICE("github"),
                                      .fault = PROVIDER_FAULT_AUTH,
                                      .created_ns = NOW,
                                      .updated_ns = NOW,
                                      .due_ns = NOW + 3600 * 1000000000LL};
        memcpy(operation.object, &i, sizeof i);
        operation.object[15] = 1;
        err = operation_add(txn, &operation);
    }
    return err;
}

static bool count_waiting(void *context, const struct operation_waiting *waiting)
{
    unsigned *counts = context;
    counts[waiting->state]++;
    return true;
}

static unsigned waiting(enum operation_state state, const char *integration)
{
    unsigned counts[3] = {0};
    struct store_txn *txn = begin();
    is_int(operations_waiting(txn, CANVAS, slice_str(integration), 0, count_waiting, counts),
           BK_OK);
    store_read_end(txn);
    return counts[state];
}

static enum bk_err resume(struct store_txn *txn, void *context)
{
    bool *more = context;
    return more ? operations_resume_rest(txn, NOW, more)
                : operations_resume(txn, CANVAS, SLICE("busy"), 0, NOW);
}

static void test_operations(void)
{
    struct key prefix;
    bool more = true;
    unsigned rounds = 0;
    is_int(store_update(hub->store, add_failed, NULL), BK_OK);
    is_uint(waiting(OPERATION_FAILED, "busy"), MANY / 3 * 2, "those that are done do not wait");
    is_uint(waiting(OPERATION_FAILED, "bus"), 0, "nor at another integration");
    key_operations_in(&prefix, SLICE("other"));
    is_uint(keys_under(&prefix), MANY / 2, "by canvas");

    key_start(&prefix, 'Q');
    unsigned due = keys_under(&prefix);
    is_int(store_update(hub->store, resume, NULL), BK_OK);
    is_uint(waiting(OPERATION_PENDING, "busy"), OPERATIONS_RESUMED_MAX, "so many at once");
    while (more && rounds++ < 10) {
        is_int(store_update(hub->store, resume, &more), BK_OK);
    }
    is_uint(rounds, (MANY / 3 * 2 + OPERATIONS_RESUMED_MAX - 1) / OPERATIONS_RESUMED_MAX,
            "the rest later");
    is_uint(waiting(OPERATION_PENDING, "busy"), MANY / 3 * 2, "all of them");
    is_uint(keys_under(&prefix), due, "each is due once");
}

/* ---- an older version's state */

static bool keep_key(void *context, struct slice key, struct slice value)
{
    struct key *first = context;
    (void)value;
    first->bytes = 0;
    key_add(first, key.at, key.bytes);
    return false;
}

static enum bk_err forget_indexes(struct store_txn *txn, void *context)
{
    static const char prefixes[] = "OzghHIcXY";
    enum bk_err err = BK_OK;
    (void)context;
    for (const char *at = prefixes; err == BK_OK && *at; at++) {
        struct key prefix, first;
        key_start(&prefix, *at);
        do {
            first.bytes = 0;
            err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, keep_key, &first);
            if (err == BK_OK && first.bytes > 0) {
                err = store_delete(txn, key_slice(&first));
            }
        } while (err == BK_OK && first.bytes > 0);
    }
    err = err == BK_OK ? store_delete(txn, KEY_OPERATION_INDEXES) : err;
    err = err == BK_OK ? store_delete(txn, KEY_TOKEN_INDEXES) : err;
    err = err == BK_OK ? store_delete(txn, KEY_ENTRY_INDEXES) : err;
    return err == BK_OK ? store_delete(txn, KEY_OBJECT_INDEXES) : err;
}

/* As an older version leaves it that ran after a newer one. */
static enum bk_err age(struct store_txn *txn, void *context)
{
    static const struct slice done[] = {KEY_USES, KEY_OPERATION_INDEXES, KEY_OBJECT_INDEXES,
                                        KEY_TOKEN_INDEXES, KEY_ENTRY_INDEXES};
    enum bk_err err = forget_indexes(txn, context);
    struct key gone;
    key_signed_in(&gone, CANVAS, HUB, CANVAS);
    key_add_u64(&gone, 0); /* in front of all others */
    key_add(&gone, "gone", 4);
    err = err == BK_OK ? store_put(txn, key_slice(&gone), SLICE_EMPTY) : err;
    for (unsigned i = 0; err == BK_OK && i < bk_array_length(done); i++) {
        err = store_put(txn, done[i], SLICE("1"));
    }
    return err == BK_OK ? store_put(txn, KEY_FORMAT, SLICE("\0\0\0\1")) : err;
}

static const char *admin_by_id(void)
{
    static struct token_info info;
    struct token_info named;
    if (token_get(hub, SLICE("admin"), &named) != BK_OK) {
        return "";
    }
    return token_get(hub, slice_str(named.id), &info) == BK_OK ? info.name : "nobody";
}

static void test_older_format(void)
{
    is_int(store_update(hub->store, age, NULL), BK_OK);
    is_str(newest(), "gone", "what is indexed is not there, and what is there is not");
    is_str(admin_by_id(), "nobody", "nor tokens by their ids");
    hub_close(hub);
    open_hub();
    is_str(newest(), "bob", "people");
    is_str(integrations("github"), "one", "integrations");
    is_str(admin_by_id(), "admin", "tokens");
    is_uint(store_format(hub->store), STORE_FORMAT, "and it is known to be done");
    hub_close(hub);
    open_hub();
    is_uint(store_format(hub->store), STORE_FORMAT, "on disk");
}

static void test_migration(void)
{
    struct key prefix;
    is_int(store_update(hub->store, forget_indexes, NULL), BK_OK);
    is_str(newest(), bk_err_name(BK_NOT_FOUND), "nothing is indexed");
    hub_close(hub);
    open_hub();
    is_str(newest(), "bob", "people again");
    is_str(person("2", "", ""), "bob");
    is_str(integrations("github"), "one", "integrations");
    is_str(links_to("github", "other"), "b", "links");
    is_uint(ways_out("us"), 1, "and those that go out");
    is_uint(waiting(OPERATION_PENDING, "busy"), MANY / 3 * 2, "operations");
    key_operations_in(&prefix, SLICE("other"));
    is_uint(keys_under(&prefix), MANY / 2);
}

int main(void)
{
    unsetenv("BECKET_MASTER_KEY");
    unsetenv("BECKET_MASTER_KEY_FILE");
    test_directory(directory, sizeof directory, false);
    open_hub();
    test_people();
    test_types();
    test_operations();
    test_migration();
    test_older_format();
    hub_close(hub);
    test_directory_drop(directory);
    return done_testing();
}
