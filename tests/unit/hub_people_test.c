/* Description: tokens that are renewed and revoked at a provider that rotates refresh tokens, with
 * a kill at every point, every kind of lost answer, a store that takes no writes at every point,
 * and people who disconnect or connect anew meanwhile: the store has what the provider takes, or
 * the status says what to do. */
#include "base/percent.h"
#include "base/time.h"
#include "http/parse.h"
#include "hub/hub_private.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"
#include "hub/people/people_keeper.h"
#include "hub/resources/apply.h"
#include "tests/directory.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define NOW  1767225600000000000LL
#define BACK "https://b.example/auth/hub/callback"

/* ---- a provider that rotates: the last refresh token it gave is the only one it takes */

static struct {
    unsigned last;  /* number of the tokens it gave last */
    unsigned grace; /* how often a token that was used is taken again */
    unsigned refreshes;
    unsigned revoked_refresh, revoked_access; /* bits, by number */
    const char *answer;                       /* instead of its own; NULL = none */
} provider;

enum fate { FATE_NONE, FATE_UNSENT, FATE_LOST, FATE_CUT, FATE_503, FATE_429, FATE_COUNT };

static char answer_text[1024];

static bool field(struct slice body, const char *name, char *ret, size_t size)
{
    char pattern[40];
    snprintf(pattern, sizeof pattern, "%s=", name);
    const char *at = memmem(body.at, body.bytes, pattern, strlen(pattern));
    struct slice rest =
        at ? slice_skip(body, (size_t)((const uint8_t *)at - body.at) + strlen(pattern))
           : SLICE_EMPTY;
    snprintf(ret, size, "%.*s", (int)slice_find(rest, '&'),
             (const char *)(rest.at ? rest.at : body.at));
    return at != NULL;
}

static const char *serve(const struct web_call *call)
{
    char token[100] = "";
    if (memmem(call->url.at, call->url.bytes, "/revoke", 7)) {
        field(call->body, "token", token, sizeof token);
        unsigned number = (unsigned)strtoul(token + strcspn(token, "0123456789"), NULL, 10);
        if (strncmp(token, "refresh", 7) == 0) {
            provider.revoked_refresh |= 1U << number;
        } else {
            provider.revoked_access |= 1U << number;
        }
        return "HTTP/1.1 200 OK\r\n\r\n";
    }
    provider.refreshes++;
    if (!memmem(call->body.at, call->body.bytes, "redirect_uri=https%3A%2F%2Fb.example", 36)) {
        bail_out("GitLab wants the redirect URI");
    }
    if (provider.answer) {
        return provider.answer;
    }
    field(call->body, "refresh_token", token, sizeof token);
    unsigned number = (unsigned)strtoul(token + strcspn(token, "0123456789"), NULL, 10);
    bool again = number + 1 == provider.last && provider.grace > 0;
    if (number != provider.last && !again) {
        return "HTTP/1.1 400 x\r\n\r\n{\"error\":\"invalid_grant\"}";
    }
    provider.grace -= again;
    provider.last += !again;
    snprintf(answer_text, sizeof answer_text,
             "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"access-%u\",\"refresh_token\":"
             "\"refresh-%u\",\"token_type\":\"bearer\",\"expires_in\":3600}",
             provider.last, provider.last);
    return answer_text;
}

/* ---- the world of one run */

static char directory[200];
static struct hub *hub;
static struct people_keeper *keeper;
static int64_t now_ns;
static struct {
    bool used;
    struct web_call call;
    char url[300], body[2000];
} out[4];

static enum bk_err start_call(struct outbound *outbound, const struct web_call *call,
                              const char **ret_why)
{
    (void)outbound;
    *ret_why = "no room";
    for (unsigned i = 0; i < 4; i++) {
        if (!out[i].used) {
            out[i].used = true;
            out[i].call = *call;
            memcpy(out[i].url, call->url.at, call->url.bytes);
            memcpy(out[i].body, call->body.at, call->body.bytes);
            out[i].call.url = slice_of(out[i].url, call->url.bytes);
            out[i].call.body = slice_of(out[i].body, call->body.bytes);
            return BK_OK;
        }
    }
    return BK_BUSY;
}

static unsigned out_count(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 4; i++) {
        count += out[i].used;
    }
    return count;
}

static void reply(unsigned i, enum fate fate)
{
    struct web_call call = out[i].call;
    struct outbound_answer answer = {.err = BK_TIMEOUT, .why = "it did not answer"};
    struct http_head head;
    const char *text = NULL;
    out[i].used = false;
    if (fate == FATE_NONE || fate == FATE_CUT) {
        text = serve(&call);
    }
    text = fate == FATE_503   ? "HTTP/1.1 503 x\r\n\r\n{}"
           : fate == FATE_429 ? "HTTP/1.1 429 x\r\n\r\n{}"
                              : text;
    answer.stage = fate == FATE_UNSENT ? HTTP_STAGE_CONNECT : HTTP_STAGE_WAIT;
    if (fate == FATE_NONE || fate == FATE_503 || fate == FATE_429) {
        if (http_parse_response((const uint8_t *)text, strlen(text), &head) != HTTP_PARSE_DONE) {
            bail_out("the double's answer");
        }
        answer = (struct outbound_answer){.err = BK_OK,
                                          .stage = HTTP_STAGE_DONE,
                                          .why = "",
                                          .status = head.status,
                                          .head = &head,
                                          .body = slice_skip(slice_str(text), head.head_bytes)};
    }
    call.done(call.context, &answer);
}

static void limit_store(bool full)
{
    struct rlimit limit = {full ? 4096 : RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        bail_out("setrlimit");
    }
}

static void open_all(void)
{
    char why[HUB_WHY_BYTES];
    struct hub_config config = {
        .data_directory = directory, .public_url = "https://hooks.example", .now_ns = NOW};
    if (hub_open(&config, &hub, why) != BK_OK ||
        people_keeper_open(hub, NULL, start_call, &keeper) != BK_OK) {
        bail_out("%s", why);
    }
    memset(out, 0, sizeof out);
}

static void close_all(void)
{
    people_keeper_close(keeper);
    hub_close(hub);
    keeper = NULL;
}

/* As kill -9: what is in memory does not get into the store. */
static void kill_all(void)
{
    limit_store(true);
    close_all();
    limit_store(false);
    open_all();
}

static void apply(const char *text)
{
    struct apply_outcome outcome;
    struct apply_options options = {.now_ns = now_ns};
    if (apply_text(hub, slice_str(text), &options, &outcome) != BK_OK) {
        bail_out("%s", outcome.message);
    }
    apply_outcome_fini(&outcome);
}

static void connect_person(unsigned number)
{
    char text[1000], expires[25];
    time_format_rfc3339(now_ns + 3600 * NS_PER_SECOND, expires);
    snprintf(
        text, sizeof text,
        "kind: IntegrationUser\nmetadata: {name: hub-7}\nspec: {integration: {name: hub}, uid: "
        "'7', nickname: octo, scopes: repo, redirectUri: '" BACK
        "', expiresAt: '%s', accessToken: {value: access-%u}, "
        "refreshToken: {value: refresh-%u}}\n",
        expires, number, number);
    apply(text);
}

static void fresh(void)
{
    test_directory(directory, sizeof directory, false);
    memset(&provider, 0, sizeof provider);
    provider.last = 1;
    now_ns = NOW;
    open_all();
    apply("kind: Integration\nmetadata: {name: hub}\nspec: {type: gitlab, url: "
          "'https://git.example', check: false, auth: {use: AUTH_TYPE_OAUTH, oauth: {clientId: "
          "c, clientSecret: {value: s}, tokenUrl: 'https://p.example/token', authorizeUrl: "
          "'https://p.example/a', revokeUrl: 'https://p.example/revoke'}}}\n");
    connect_person(1);
    now_ns += 3400 * NS_PER_SECOND; /* due */
}

static void finish(void)
{
    close_all();
    test_directory_drop(directory);
}

/* ---- what is in the store */

static struct person {
    bool there;
    char access[100], refresh[100], status[1000], spec[1000];
    bool due, begun;
    unsigned revocations;
} person;

static bool count_one(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)context;
    return true;
}

static unsigned count_of(struct store_txn *txn, const char *prefix)
{
    unsigned count = 0;
    if (store_walk(txn, slice_str(prefix), SLICE_EMPTY, count_one, &count) != BK_OK) {
        bail_out("walk");
    }
    return count;
}

static void copy_slot(const struct record *record, const char *name, char *to, size_t size)
{
    struct arena arena;
    struct slice text = SLICE_EMPTY;
    arena_init(&arena, 1U << 16);
    if (integration_open_slot(hub, record, slice_str(name), &arena, &text) == BK_OK) {
        snprintf(to, size, "%.*s", (int)text.bytes, (const char *)text.at);
    }
    arena_fini(&arena);
}

static void look(void)
{
    struct store_txn *txn;
    struct record record;
    struct buf json;
    memset(&person, 0, sizeof person);
    if (store_read(hub->store, &txn) != BK_OK) {
        bail_out("read");
    }
    person.there = hub_record(txn, RESOURCE_INTEGRATION_USER, SLICE("default"), SLICE("hub-7"),
                              &record) == BK_OK;
    if (person.there) {
        copy_slot(&record, PEOPLE_ACCESS, person.access, sizeof person.access);
        copy_slot(&record, PEOPLE_REFRESH, person.refresh, sizeof person.refresh);
        snprintf(person.spec, sizeof person.spec, "%.*s", (int)record.spec.bytes,
                 (const char *)record.spec.at);
    }
    person.due = count_of(txn, "e/") > 0;
    person.begun = count_of(txn, "f/") > 0;
    person.revocations = count_of(txn, "y/");
    store_read_end(txn);
    buf_init(&json, 1U << 16);
    if (person.there && hub_get_json(hub, RESOURCE_INTEGRATION_USER, SLICE("default"),
                                     SLICE("hub-7"), &json, NULL) == BK_OK) {
        const char *at = strstr(buf_text(&json), "\"status\"");
        snprintf(person.status, sizeof person.status, "%s", at ? at : "");
    }
    buf_fini(&json);
}

/* Until nothing is to be done within the hour, the provider answering as it should. */
static void settle(void)
{
    int64_t end_ns = now_ns + 1800 * NS_PER_SECOND;
    for (unsigned turn = 0; turn < 1000 && now_ns < end_ns; turn++) {
        int64_t next_ns = people_keeper_run(keeper, now_ns);
        if (out_count() == 0) {
            now_ns = next_ns > now_ns ? next_ns : now_ns + 1;
            now_ns = now_ns < end_ns ? now_ns : end_ns;
        }
        for (unsigned i = 0; i < 4; i++) {
            if (out[i].used) {
                reply(i, FATE_NONE);
            }
        }
    }
}

static bool is_current(void)
{
    char refresh[40], access[40];
    snprintf(refresh, sizeof refresh, "refresh-%u", provider.last);
    snprintf(access, sizeof access, "access-%u", provider.last);
    return strcmp(person.refresh, refresh) == 0 && strcmp(person.access, access) == 0;
}

/* ---- the sweeps */

/* A fault of every kind in the first call, then a kill or none, with a provider that forgives and
 * one that does not. */
static void test_faults(void)
{
    for (unsigned fate = 0; fate < FATE_COUNT; fate++) {
        for (unsigned killed = 0; killed < 3; killed++) {
            for (unsigned grace = 0; grace < 2; grace++) {
                fresh();
                provider.grace = grace;
                people_keeper_run(keeper, now_ns);
                is_uint(out_count(), 1, "one renewal");
                look();
                ok(person.begun, "that it begins is in the store before the call");
                if (killed == 1) { /* before the answer: the provider has done it, or not */
                    if (fate == FATE_NONE || fate == FATE_CUT) {
                        serve(&out[0].call);
                    }
                    kill_all();
                } else {
                    reply(0, (enum fate)fate);
                    if (killed == 2) {
                        kill_all();
                    }
                }
                settle();
                look();
                bool lost = grace == 0 && (fate == FATE_CUT || (killed == 1 && fate == FATE_NONE));
                if (lost) {
                    ok(strstr(person.status, "\"state\":\"error\"") &&
                           strstr(person.status,
                                  "was lost, and the old refresh token is not taken") &&
                           strstr(person.status, "open /auth/hub"),
                       "fate %u, kill %u: it says so: %s", fate, killed, person.status);
                    ok(!person.due, "and waits for its person");
                } else {
                    ok(is_current() && provider.last == 2,
                       "fate %u, kill %u, grace %u: the store has what the provider takes: %s %s",
                       fate, killed, grace, person.refresh, person.status);
                    ok(strstr(person.status, "\"state\":\"ready\"}") != NULL, "%s", person.status);
                    ok(strstr(person.spec, "\"scopes\":\"repo\"") != NULL, "scopes stay");
                }
                ok(!person.begun, "and nothing is in doubt any more");
                finish();
            }
        }
    }
}

/* No room when it begins; no room when it ends, for a while, and until a kill. */
static void test_full(void)
{
    fresh();
    limit_store(true);
    people_keeper_run(keeper, now_ns);
    is_uint(out_count(), 0, "a store without room: the provider is not asked");
    limit_store(false);
    settle();
    look();
    ok(is_current() && provider.refreshes == 1, "with room it is");
    finish();

    fresh();
    people_keeper_run(keeper, now_ns);
    limit_store(true);
    reply(0, FATE_NONE);
    for (unsigned i = 0; i < 50; i++) {
        now_ns = people_keeper_run(keeper, now_ns);
        if (out_count() != 0) {
            bail_out("the old token is used again");
        }
    }
    look();
    is_str(person.refresh, "refresh-1", "no room when the answer comes: it is not stored");
    limit_store(false);
    settle();
    look();
    ok(is_current() && provider.refreshes == 1, "but held, and stored later: %s", person.refresh);
    ok(!person.begun && strstr(person.status, "\"state\":\"ready\"}"), "%s", person.status);
    finish();

    fresh();
    people_keeper_run(keeper, now_ns);
    limit_store(true);
    reply(0, FATE_NONE);
    limit_store(false);
    close_all(); /* an orderly end with room again */
    open_all();
    look();
    ok(is_current(), "the last chance of what is held");
    finish();

    fresh();
    people_keeper_run(keeper, now_ns);
    limit_store(true);
    reply(0, FATE_NONE);
    kill_all();
    settle();
    look();
    ok(strstr(person.status, "was lost") && strstr(person.status, "/auth/hub"),
       "killed while it is held: %s", person.status);
    connect_person(provider.last);
    look();
    ok(strstr(person.status, "\"state\":\"ready\"}") && person.due, "mended by connecting again");
    finish();
}

static void disconnect_person(void)
{
    struct apply_outcome outcome;
    struct apply_options options = {.canvas = SLICE("default"), .now_ns = now_ns};
    is_int(apply_delete(hub, RESOURCE_INTEGRATION_USER, SLICE("hub-7"), &options, &outcome), BK_OK);
    apply_outcome_fini(&outcome);
}

/* Disconnected, or connected anew, while a renewal is out. */
static void test_meanwhile(void)
{
    for (unsigned full = 0; full < 2; full++) {
        fresh();
        people_keeper_run(keeper, now_ns);
        disconnect_person();
        limit_store(full == 1);
        reply(0, FATE_NONE);
        limit_store(false);
        settle();
        look();
        ok(!person.there, "who disconnected stays so, whatever comes of a renewal");
        ok((provider.revoked_refresh & 4) && (provider.revoked_access & 4),
           "and what came is revoked: %x %x", provider.revoked_refresh, provider.revoked_access);
        is_uint(person.revocations, 0, "nothing is left to do");
        finish();
    }
    fresh();
    people_keeper_run(keeper, now_ns);
    connect_person(9);
    reply(0, FATE_NONE);
    look();
    is_str(person.refresh, "refresh-9", "who connects anew keeps that");
    finish();
    fresh();
    people_keeper_run(keeper, now_ns);
    apply("kind: IntegrationUser\nmetadata: {name: hub-7}\nspec: {integration: {name: hub}, uid: "
          "'7', nickname: renamed, accessToken: {value: '***'}, refreshToken: {value: '***'}}\n");
    reply(0, FATE_NONE);
    look();
    ok(is_current(), "a change of anything else loses no token: %s", person.refresh);
    finish();
}

/* Google gives a refresh token once, and none at renewals. */
static void test_not_rotated(void)
{
    fresh();
    provider.answer = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"access-2\",\"expires_in\":3600}";
    settle();
    look();
    is_uint(provider.refreshes, 1);
    is_str(person.access, "access-2", "the new access token");
    is_str(person.refresh, "refresh-1", "and the refresh token of before");
    ok(person.due && strstr(person.status, "\"state\":\"ready\"}"), "which is used the next time");
    finish();
}

static void test_refused(void)
{
    fresh();
    provider.answer = "HTTP/1.1 400 x\r\n\r\n{\"error\":\"invalid_grant\"}";
    settle();
    look();
    is_uint(provider.refreshes, 1, "a dead grant is asked for once");
    ok(strstr(person.status, "invalid_grant") && strstr(person.status, "/auth/hub") &&
           !strstr(person.status, "was lost"),
       "%s", person.status);
    finish();
    fresh();
    provider.answer = "HTTP/1.1 401 x\r\n\r\n{\"error\":\"invalid_client\"}";
    settle();
    look();
    ok(provider.refreshes > 1 && provider.refreshes < 10, "a refused client is tried now and then");
    ok(strstr(person.status, "clientSecret of Integration hub") != NULL, "%s", person.status);
    provider.answer = NULL;
    settle();
    look();
    ok(is_current() && strstr(person.status, "\"state\":\"ready\"}"), "and goes on when mended");
    finish();
    fresh();
    people_keeper_run(keeper, now_ns);
    reply(0, FATE_UNSENT);
    look();
    ok(strstr(person.status, "could not be renewed yet: it did not answer") &&
           strstr(person.status, "\"state\":\"ready\"") && !person.begun,
       "a provider that is not reached: %s", person.status);
    now_ns += 300 * NS_PER_SECOND;
    people_keeper_run(keeper, now_ns);
    reply(0, FATE_LOST);
    look();
    ok(strstr(person.status, "\"state\":\"error\"") && strstr(person.status, "in-doubt"),
       "now it is over, and in doubt: %s", person.status);
    finish();
}

/* Revocation: a kill or a fault at every point, and it is told in the end. */
static void test_revocation(void)
{
    for (unsigned fate = 0; fate < FATE_COUNT; fate++) {
        for (unsigned killed = 0; killed < 3; killed++) {
            fresh();
            disconnect_person();
            people_keeper_run(keeper, now_ns);
            is_uint(out_count(), 1, "one after the other");
            if (killed == 1) {
                serve(&out[0].call);
                kill_all();
            } else {
                reply(0, (enum fate)fate);
                if (killed == 2) {
                    kill_all();
                }
            }
            settle();
            look();
            ok((provider.revoked_refresh & 2) && (provider.revoked_access & 2) &&
                   person.revocations == 0,
               "fate %u, kill %u: both are revoked", fate, killed);
            finish();
        }
    }
}

static void set_clock(int64_t to_ns)
{
    int64_t from_ns = now_ns;
    now_ns = to_ns;
    people_keeper_clock_was_set(keeper, from_ns, to_ns);
}

/* False: nothing was sent in all that time. */
static bool wait_for_call(unsigned seconds)
{
    for (unsigned i = 0; i < seconds && out_count() == 0; i++) {
        now_ns += NS_PER_SECOND;
        people_keeper_run(keeper, now_ns);
    }
    return out_count() > 0;
}

/* Hours ahead when the token was noted, or when the provider was down; then it is set right. */
static void test_clock(void)
{
    const int64_t hour_ns = 3600 * NS_PER_SECOND;
    fresh();
    set_clock(NOW + 30 * hour_ns);
    settle();
    look();
    ok(is_current() && provider.last == 2, "renewed by a clock that is ahead");
    set_clock(NOW + 2 * hour_ns);
    ok(wait_for_call(3600), "it is due within its hour, not in a day");
    for (unsigned tries = 0; tries < 5; tries++) {
        reply(0, FATE_503);
        ok(wait_for_call(1000), "with growing pauses: %u", tries);
    }
    reply(0, FATE_503);
    set_clock(now_ns - 20 * hour_ns);
    ok(wait_for_call(1000), "a pause that was begun by the other clock ends");
    set_clock(now_ns + 50 * hour_ns);
    reply(0, FATE_NONE);
    settle();
    look();
    ok(is_current(), "renewed");
    finish();
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    test_faults();
    test_full();
    test_meanwhile();
    test_not_rotated();
    test_refused();
    test_revocation();
    test_clock();
    return done_testing();
}
