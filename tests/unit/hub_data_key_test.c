/* Description: another master key: all that was sealed is opened afterwards and the key before is
 * gone, wherever it is cut off (killed at each system call), on a full disk, over a restart. */
#include "base/base64.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/data_key.h"
#include "hub/hub_private.h"
#include "hub/operations/operation.h"
#include "hub/people/people.h"
#include "hub/people/session.h"
#include "hub/resources/apply.h"
#include "hub/resources/reseal.h"
#include "ring/file.h"
#include "tests/tap.h"

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW 1767225600000000000LL

static char directory[200], work[200];
static char why[HUB_WHY_BYTES];
static struct hub *hub;
static struct store_options small = {.map_bytes_start = 4 << 20};

static enum bk_err open_in(const char *at)
{
    struct hub_config config = {.data_directory = at,
                                .now_ns = NOW,
                                .public_url = "https://h.example",
                                .store_options = &small};
    hub = NULL;
    return hub_open(&config, &hub, why);
}

static void close_hub(void)
{
    hub_close(hub);
    hub = NULL;
}

static const char *path_of(const char *at, const char *name)
{
    static char path[2][400];
    static unsigned turn;
    turn ^= 1;
    snprintf(path[turn], sizeof path[turn], "%s/%s", at, name);
    return path[turn];
}

static bool is_there(const char *at, const char *name)
{
    struct stat status;
    return stat(path_of(at, name), &status) == 0;
}

static void remove_all(const char *at)
{
    char command[500];
    snprintf(command, sizeof command, "rm -rf %s", at);
    if (system(command) != 0) {
        bail_out("%s", command);
    }
}

static void copy_all(const char *from, const char *to)
{
    char command[900];
    snprintf(command, sizeof command, "rm -rf %s && cp -a %s %s", to, from, to);
    if (system(command) != 0) {
        bail_out("%s", command);
    }
}

/* ---- one of each that is sealed */

static const uint8_t person[16] = {9, 9}, state[32] = {8, 8, 8};
static uint64_t operation_number;

static void seal_text(const uint8_t id[16], const char *field, const char *text, struct buf *to)
{
    uint8_t sealed[256];
    seal_value(&hub->seal, id, slice_str(field), slice_str(text), sealed);
    buf_add(to, sealed, strlen(text) + SEAL_OVERHEAD_BYTES);
}

static enum bk_err put_rows(struct store_txn *txn, void *context)
{
    struct buf value, text;
    struct key key;
    uint8_t number[16] = {[15] = 1};
    char encoded[400];
    (void)context;
    buf_init(&value, 4096);
    buf_init(&text, 4096);
    buf_add(&value, "\1AAAAAAAABBBBBBBB", 17);
    seal_text(number, "oidc", "planted-signing", &value);
    key_start(&key, 'k');
    key_add_u64(&key, 1);
    enum bk_err err = store_put(txn, key_slice(&key), buf_slice(&value));
    buf_reset(&value);
    seal_text(person, "refresh", "planted-refresh", &value);
    struct people_revocation revocation = {.id = person,
                                           .field = SLICE("refresh"),
                                           .sealed = buf_slice(&value),
                                           .canvas = SLICE("default"),
                                           .spec = SLICE("{}")};
    err = err == BK_OK ? people_put_revocation(txn, &revocation) : err;
    seal_text(person, OPERATION_FORMER, "planted-former", &text);
    encoded[base64_encode(text.at, text.bytes, BASE64_STANDARD, encoded)] = 0;
    struct operation operation = {.kind = RESOURCE_EVENT_SOURCE,
                                  .intent = PROVIDER_HOOK_REMOVE,
                                  .canvas = SLICE("default"),
                                  .name = SLICE("gone"),
                                  .integration_canvas = SLICE("default"),
                                  .integration = SLICE("hub"),
                                  .provider = SLICE("github"),
                                  .former_spec = SLICE("{}"),
                                  .former_base = SLICE("https://b.example"),
                                  .former_credential = slice_str(encoded),
                                  .due_ns = NOW};
    memcpy(operation.object, person, 16);
    err = err == BK_OK ? operation_add(txn, &operation) : err;
    operation_number = operation.number;
    buf_fini(&value);
    buf_fini(&text);
    return err;
}

static void apply(const char *text)
{
    struct apply_options options = {.now_ns = NOW};
    struct apply_outcome outcome;
    if (apply_text(hub, slice_str(text), &options, &outcome) != BK_OK) {
        bail_out("apply: %s", outcome.message ? outcome.message : "?");
    }
    apply_outcome_fini(&outcome);
}

#define SECRETS 40U

static void fill(void)
{
    char text[300];
    struct sign_in sign_in = {.end_ns = NOW + 600 * NS_PER_SECOND, .verifier = "planted-verifier"};
    for (unsigned i = 0; i < SECRETS; i++) {
        snprintf(
            text, sizeof text,
            "kind: Secret\nmetadata: {name: s%u}\nspec: {data: {k: planted-%u, empty: \"x\"}}\n", i,
            i);
        apply(text);
    }
    apply("kind: Destination\nmetadata: {name: d}\nspec: {url: \"https://d.example/\"}\n");
    if (store_update(hub->store, put_rows, NULL) != BK_OK ||
        sign_in_keep(hub, state, &sign_in, NOW) != BK_OK) {
        bail_out("rows");
    }
}

/* ---- what can be read */

static bool opens(const uint8_t id[16], const char *field, struct slice sealed, const char *text)
{
    uint8_t plain[4096];
    size_t bytes = 0;
    return sealed.bytes < sizeof plain &&
           seal_open(&hub->seal, id, slice_str(field), sealed, plain, &bytes) == BK_OK &&
           bytes == strlen(text) && memcmp(plain, text, bytes) == 0;
}

static unsigned readable_secrets(struct store_txn *txn)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SECRETS; i++) {
        char name[20], text[20];
        struct record record;
        struct record_slot slot;
        snprintf(name, sizeof name, "s%u", i);
        snprintf(text, sizeof text, "planted-%u", i);
        count +=
            hub_record(txn, RESOURCE_SECRET, SLICE("default"), slice_str(name), &record) == BK_OK &&
            record_slot_find(&record, SLICE("data.k"), &slot) &&
            opens(record.id, "data.k", slot.sealed, text);
    }
    return count;
}

static bool operation_opens(struct store_txn *txn)
{
    struct json_tree tree;
    struct operation operation;
    struct slice bytes;
    uint8_t sealed[400];
    size_t sealed_bytes = 0;
    json_tree_init(&tree);
    bool good = operation_get(txn, operation_number, &bytes) == BK_OK &&
                operation_decode(bytes, &tree, &operation) == BK_OK &&
                base64_decode(operation.former_credential, BASE64_STANDARD, sealed, sizeof sealed,
                              &sealed_bytes) &&
                opens(person, OPERATION_FORMER, slice_of(sealed, sealed_bytes), "planted-former");
    json_tree_fini(&tree);
    return good;
}

/* All that fill() sealed. */
static bool all_opens(void)
{
    struct store_txn *txn;
    struct slice value = SLICE_EMPTY;
    struct key key;
    uint8_t number[16] = {[15] = 1};
    if (store_read(hub->store, &txn) != BK_OK) {
        return false;
    }
    bool good = readable_secrets(txn) == SECRETS && operation_opens(txn);
    key_start(&key, 'k');
    key_add_u64(&key, 1);
    good = good && store_get(txn, key_slice(&key), &value) == BK_OK && value.bytes > 17 &&
           opens(number, "oidc", slice_skip(value, 17), "planted-signing");
    key_revocation(&key, 1);
    good = good && store_get(txn, key_slice(&key), &value) == BK_OK && value.bytes > 28 &&
           opens(person, "refresh",
                 slice_of(value.at + 28, strlen("planted-refresh") + SEAL_OVERHEAD_BYTES),
                 "planted-refresh");
    key_start(&key, 'J');
    key_add(&key, state, 32);
    uint8_t plain[4096];
    size_t bytes = 0;
    good = good && store_get(txn, key_slice(&key), &value) == BK_OK && value.bytes > 9 &&
           value.bytes < sizeof plain &&
           seal_open(&hub->seal, state, SLICE("sign-in"), slice_skip(value, 9), plain, &bytes) ==
               BK_OK &&
           memmem(plain, bytes, "planted-verifier", 16) != NULL;
    store_read_end(txn);
    struct buf json;
    buf_init(&json, 4096);
    good = good && hub_reveal(hub, RESOURCE_DESTINATION, SLICE_EMPTY, SLICE("d"), SLICE_EMPTY, NOW,
                              &json) == BK_OK;
    buf_fini(&json);
    return good;
}

/* Everything that is not done at once. */
static unsigned seal_anew(void)
{
    struct reseal *reseal;
    struct reseal_stats stats;
    unsigned steps = 0;
    if (reseal_open(hub, &reseal) != BK_OK) {
        bail_out("reseal_open");
    }
    while (reseal_run(reseal, NOW) == NOW && steps < 100000) {
        steps++;
    }
    reseal_stats(reseal, &stats);
    unsigned done = (unsigned)stats.done;
    reseal_close(reseal);
    return done;
}

static void read_text(const char *at, const char *name, char ret_text[100])
{
    char *text = NULL;
    size_t bytes = 0;
    ret_text[0] = '\0';
    if (file_read_all(path_of(at, name), 99, &text, &bytes) == BK_OK) {
        memcpy(ret_text, text, bytes);
        ret_text[bytes] = '\0';
        free(text);
    }
}

static void fresh(void)
{
    const char *base = getenv("TMPDIR");
    base = base ? base : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory, sizeof directory, "%s/becket-data-key-XXXXXX", base);
    snprintf(work, sizeof work, "%s/becket-data-key-XXXXXX", base);
    if (!mkdtemp(directory) || !mkdtemp(work) || open_in(directory) != BK_OK) {
        bail_out("%s", why);
    }
    fill();
}

static void clean(void)
{
    close_hub();
    remove_all(directory);
    remove_all(work);
}

/* ---- tests */

static void test_exchange(void)
{
    char before[100], after[100];
    struct data_key_state state_before, state_after;
    struct stat status;
    fresh();
    read_text(directory, "master.key", before);
    data_key_state(hub, &state_before);
    ok(all_opens() && strlen(state_before.id) == 8 && state_before.since_ns == NOW,
       "as it was made");
    uint8_t wrapped[DATA_KEY_WRAPPED_BYTES], master[MASTER_KEY_BYTES];
    ok(hex_decode(slice_of(before, 64), master, sizeof master) &&
           data_key_wrapped(hub->store, wrapped) == BK_OK && data_key_fits(wrapped, master),
       "the key in the file opens it");

    is_int(data_key_exchange(hub, NOW + 5, why), BK_OK, "another master key %s", why);
    read_text(directory, "master.key", after);
    data_key_state(hub, &state_after);
    ok(strcmp(before, after) != 0 && strlen(after) == 65, "is in the file");
    ok(stat(path_of(directory, "master.key"), &status) == 0 && (status.st_mode & 0777) == 0600 &&
           !is_there(directory, "master.key.next"),
       "0600, and nothing beside it");
    ok(strcmp(state_before.id, state_after.id) != 0 && state_after.since_ns == NOW + 5 &&
           state_after.before,
       "has another id, and the data key before is known");
    ok(data_key_wrapped(hub->store, wrapped) == BK_OK && !data_key_fits(wrapped, master),
       "the one before opens nothing any more");
    ok(all_opens(), "everything opens at once");
    is_int(data_key_exchange(hub, NOW, why), BK_BUSY, "not yet again: %s", why);
    is_uint(seal_anew(), SECRETS + 1 + 4, "all of it is sealed anew");
    data_key_state(hub, &state_after);
    ok(!state_after.before, "and the data key before is forgotten");
    ok(all_opens(), "everything opens with the new one alone");
    close_hub();
    is_int(open_in(directory), BK_OK, "also after a restart %s", why);
    ok(all_opens(), "everything opens");
    is_int(data_key_exchange(hub, NOW, why), BK_OK, "and again %s", why);
    close_hub();
    is_int(open_in(directory), BK_OK, "a restart before all is sealed anew");
    data_key_state(hub, &state_after);
    ok(state_after.before && all_opens(), "everything opens");
    is_uint(seal_anew(), SECRETS + 1 + 4, "and it goes on");
    ok(all_opens(), "to the end");

    struct buf json;
    buf_init(&json, 1 << 20);
    struct audit_query newest = {.limit = 10, .since_ns = INT64_MIN, .until_ns = INT64_MAX};
    ok(audit_list_json(hub, &newest, &json) == BK_OK &&
           strstr(buf_text(&json), "\"action\":\"rotated\",\"kind\":\"MasterKey\"") != NULL,
       "the audit tells");
    buf_fini(&json);

    FILE *file = fopen(path_of(directory, "master.key"), "w");
    fputs(before, file);
    fclose(file);
    is_int(data_key_exchange(hub, NOW, why), BK_CONFLICT, "another file than at the start: %s",
           why);
    close_hub();
    is_int(open_in(directory), BK_SEALED, "with the first key: %s", why);
    ok(strstr(why, state_before.id) && strstr(why, "since 2026-01-01") && !strchr(why, '\n'),
       "one line that tells which is wanted");
    clean();
}

/* What a crash leaves between two steps. */
static void test_between(void)
{
    char old[100], other[100];
    fresh();
    close_hub();
    copy_all(directory, work);
    read_text(directory, "master.key", old);
    const char *never = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    (void)!file_replace(path_of(work, "master.key.next"), never, strlen(never));
    is_int(open_in(work), BK_OK, "before the commit %s", why);
    ok(all_opens() && !is_there(work, "master.key.next"),
       "the new one is not used, and is removed");
    is_int(data_key_exchange(hub, NOW, why), BK_OK);
    close_hub();
    read_text(work, "master.key", other);
    (void)!file_replace(path_of(work, "master.key.next"), other, strlen(other));
    (void)!file_replace(path_of(work, "master.key"), old, strlen(old));
    is_int(open_in(work), BK_OK, "behind the commit %s", why);
    read_text(work, "master.key", old);
    ok(all_opens() && strcmp(old, other) == 0 && !is_there(work, "master.key.next"),
       "the new one has taken its place");
    close_hub();
    char zeros[65] = {0};
    (void)!file_replace(path_of(work, "master.key.next"), other, strlen(other));
    (void)!file_replace(path_of(work, "master.key"), zeros, sizeof zeros);
    is_int(open_in(work), BK_OK, "the old one overwritten %s", why);
    ok(all_opens() && !is_there(work, "master.key.next"), "the new one has taken its place");
    close_hub();
    (void)!file_replace(path_of(work, "master.key"), zeros, sizeof zeros);
    is_int(open_in(work), BK_INVALID, "overwritten, and no other: %s", why);
    (void)!file_replace(path_of(work, "master.key.next"), other, strlen(other));
    chmod(path_of(work, "master.key.next"), 0644);
    is_int(open_in(work), BK_INVALID, "the other may be read by everybody: %s", why);
    clean();
}

/* ---- killed at each system call of an exchange, and of what follows it */

static void child_works(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || open_in(work) != BK_OK) {
        _exit(3);
    }
    raise(SIGSTOP);
    if (data_key_exchange(hub, NOW + 1, why) != BK_OK) {
        _exit(4);
    }
    seal_anew();
    _exit(0);
}

/* True when it ended before the n-th stop. */
static bool killed_at(unsigned n)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        child_works();
    }
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
        skip_all("no process can be traced here");
    }
    for (unsigned i = 0; i < n; i++) {
        ptrace(PTRACE_SYSCALL, child, NULL, NULL);
        if (waitpid(child, &status, 0) != child || WIFEXITED(status)) {
            is_int(WEXITSTATUS(status), 0, "the exchange went through in %u stops", i);
            return true;
        }
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return false;
}

static void test_killed(void)
{
    char old[100], now[100];
    unsigned stride = getenv("ROUNDS") ? 1 : 3, tried = 0, with_old = 0, lost = 0, left = 0;
    unsigned refused = 0;
    fresh();
    close_hub();
    read_text(directory, "master.key", old);
    for (unsigned n = 1;; n += stride) {
        copy_all(directory, work);
        if (killed_at(n)) {
            break;
        }
        tried++;
        if (open_in(work) != BK_OK) {
            refused++;
            diag("killed at %u: %s", n, why);
            continue;
        }
        lost += !all_opens();
        seal_anew();
        lost += !all_opens();
        read_text(work, "master.key", now);
        with_old += strcmp(old, now) == 0;
        left += is_there(work, "master.key.next");
        close_hub();
    }
    ok(tried > 10 && with_old > 0 && with_old < tried,
       "killed at %u places: %u times the old key counts, else the new one", tried, with_old);
    is_uint(refused, 0, "each starts");
    is_uint(lost, 0, "and nothing is lost");
    is_uint(left, 0, "and only one key is left");
    clean();
}

/* ---- a key that is kept elsewhere */

#define FIRST_KEY  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define SECOND_KEY "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static void test_elsewhere(void)
{
    setenv("BECKET_MASTER_KEY", FIRST_KEY, 1);
    fresh();
    is_int(data_key_exchange(hub, NOW, why), BK_UNSUPPORTED, "%s", why);
    ok(strstr(why, "BECKET_MASTER_KEY_BEFORE") != NULL, "says how");
    close_hub();
    setenv("BECKET_MASTER_KEY", SECOND_KEY, 1);
    is_int(open_in(directory), BK_SEALED, "another key alone: %s", why);
    setenv("BECKET_MASTER_KEY", SECOND_KEY, 1);
    setenv("BECKET_MASTER_KEY_BEFORE", FIRST_KEY, 1);
    is_int(open_in(directory), BK_OK, "with the one before %s", why);
    ok(getenv("BECKET_MASTER_KEY_BEFORE") == NULL, "which the environment does not show");
    ok(hub->seal.has_before && all_opens(), "everything opens");
    close_hub();
    setenv("BECKET_MASTER_KEY", SECOND_KEY, 1);
    is_int(open_in(directory), BK_OK, "the new one alone %s", why);
    ok(hub->seal.has_before && all_opens(), "everything opens");
    seal_anew();
    ok(!hub->seal.has_before && all_opens(), "and is sealed under it");
    close_hub();
    setenv("BECKET_MASTER_KEY", FIRST_KEY, 1);
    is_int(open_in(directory), BK_SEALED, "the one before opens it no more: %s", why);

    const char *second = SECOND_KEY "\n";
    (void)!file_replace(path_of(directory, "elsewhere"), second, strlen(second));
    is_int(symlink("elsewhere", path_of(directory, "master.key")), 0);
    is_int(open_in(directory), BK_OK, "the file is a link %s", why);
    is_int(data_key_exchange(hub, NOW, why), BK_UNSUPPORTED, "%s", why);
    ok(all_opens(), "and nothing changed");
    clean();
}

/* The state is gone, and the journal is there. */
static void test_state_gone(void)
{
    fresh();
    close_hub();
    unlink(path_of(directory, "state/data.mdb"));
    is_int(open_in(directory), BK_OK, "nothing else is there: it begins anew");
    close_hub();
    char path[400];
    snprintf(path, sizeof path, "%s", path_of(directory, "journal"));
    is_int(mkdir(path, 0700), 0);
    is_int(open_in(directory), BK_OK, "an empty journal");
    close_hub();
    (void)!file_replace(path_of(path, "j0-0000000001.log"), "", 0);
    is_int(open_in(directory), BK_OK, "a journal that it has the state of");
    close_hub();
    is_int(truncate(path_of(directory, "state/data.mdb"), 0), 0);
    is_int(open_in(directory), BK_CORRUPT, "one of another: %s", why);
    ok(strchr(why, '\n') == NULL && strstr(why, "move"), "one line, what to do");
    unlink(path_of(directory, "state/data.mdb"));
    is_int(open_in(directory), BK_CORRUPT, "also where there is no file");
    remove_all(path);
    is_int(open_in(directory), BK_OK, "without the journal it begins anew");
    clean();
}

/* More than one step looks at; of some the store has other keys in between. */
static void test_many(void)
{
    struct buf text;
    struct reseal *reseal;
    unsigned steps = 0;
    fresh();
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < 2 * RESEAL_LOOKS + 10; i++) {
        buf_printf(&text, "---\nkind: Secret\nmetadata: {name: m%u}\nspec: {data: {k: v%u}}\n", i,
                   i);
    }
    buf_add_byte(&text, 0);
    apply((const char *)text.at);
    buf_fini(&text);
    is_int(data_key_exchange(hub, NOW, why), BK_OK);
    if (reseal_open(hub, &reseal) != BK_OK) {
        bail_out("reseal_open");
    }
    while (reseal_run(reseal, NOW) == NOW) {
        steps++;
        if (steps == 2) {
            apply("kind: Secret\nmetadata: {name: a}\nspec: {data: {k: planted-late}}\n");
            apply("kind: Secret\nmetadata: {name: s7}\nspec: {data: {k: \"***\", x: y}}\n");
        }
    }
    reseal_close(reseal);
    ok(steps > 8 && !hub->seal.has_before, "%u steps, with changes in between", steps);
    ok(all_opens(), "everything opens");
    struct store_txn *txn;
    unsigned good = 0;
    if (store_read(hub->store, &txn) == BK_OK) {
        for (unsigned i = 0; i < 2 * RESEAL_LOOKS + 10; i++) {
            char name[20], value[20];
            struct record record;
            struct record_slot slot;
            snprintf(name, sizeof name, "m%u", i);
            snprintf(value, sizeof value, "v%u", i);
            good += hub_record(txn, RESOURCE_SECRET, SLICE("default"), slice_str(name), &record) ==
                        BK_OK &&
                    record_slot_find(&record, SLICE("data.k"), &slot) &&
                    opens(record.id, "data.k", slot.sealed, value);
        }
        store_read_end(txn);
    }
    is_uint(good, 2 * RESEAL_LOOKS + 10, "the many too");
    clean();
}

/* What was read before it was sealed anew, and written back after. */
static enum bk_err put_back(struct store_txn *txn, void *context)
{
    return operation_put(txn, context);
}

static void test_written_back(void)
{
    struct store_txn *txn;
    struct json_tree tree;
    struct operation operation;
    struct slice bytes;
    fresh();
    json_tree_init(&tree);
    if (store_read(hub->store, &txn) != BK_OK ||
        operation_get(txn, operation_number, &bytes) != BK_OK ||
        operation_decode(bytes, &tree, &operation) != BK_OK) {
        bail_out("operation");
    }
    store_read_end(txn);
    is_int(data_key_exchange(hub, NOW, why), BK_OK);
    seal_anew();
    operation.attempts++;
    is_int(store_update(hub->store, put_back, &operation), BK_OK);
    ok(all_opens(), "an operation that was under way keeps what it calls with");
    json_tree_fini(&tree);
    clean();
}

/* ---- no memory for one of the records */

#define LARGE_BYTES 900000U

static enum bk_err put_large(struct store_txn *txn, void *context)
{
    struct buf sealed, spec;
    buf_init(&sealed, 4096);
    buf_init(&spec, 1U << 20);
    while (spec.bytes < LARGE_BYTES) {
        buf_add_str(&spec, "0123456789abcdef");
    }
    seal_text(person, "refresh", "planted-large", &sealed);
    struct people_revocation revocation = {.id = person,
                                           .field = SLICE("refresh"),
                                           .sealed = buf_slice(&sealed),
                                           .canvas = SLICE("default"),
                                           .spec = buf_slice(&spec)};
    (void)context;
    enum bk_err err = people_put_revocation(txn, &revocation);
    buf_fini(&sealed);
    buf_fini(&spec);
    return err;
}

static bool large_opens(void)
{
    struct store_txn *txn;
    struct slice value;
    struct key key;
    key_revocation(&key, 2);
    if (store_read(hub->store, &txn) != BK_OK) {
        return false;
    }
    bool good = store_get(txn, key_slice(&key), &value) == BK_OK && value.bytes > LARGE_BYTES &&
                opens(person, "refresh",
                      slice_of(value.at + 28, strlen("planted-large") + SEAL_OVERHEAD_BYTES),
                      "planted-large");
    store_read_end(txn);
    return good;
}

#ifdef __SANITIZE_ADDRESS__
#define HAS_LIMIT 0 /* the sanitizer wants all addresses there are */
#elif defined(__has_feature)
#define HAS_LIMIT !__has_feature(address_sanitizer)
#else
#define HAS_LIMIT 1
#endif

/* No address more than there are now. */
static void limit_memory(bool on)
{
    unsigned long pages = 0;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu", &pages) != 1) {
        bail_out("/proc/self/statm");
    }
    fclose(file);
    struct rlimit limit = {.rlim_cur = on ? pages * 4096 + 65536 : RLIM_INFINITY,
                           .rlim_max = RLIM_INFINITY};
    if (setrlimit(RLIMIT_AS, &limit) != 0) {
        bail_out("setrlimit");
    }
}

static void test_no_memory(void)
{
    struct reseal *reseal;
    if (!HAS_LIMIT) {
        skip("memory cannot be limited here");
        return;
    }
    fresh();
    is_int(store_update(hub->store, put_large, NULL), BK_OK);
    ok(large_opens(), "a record of %u bytes", LARGE_BYTES);
    is_int(data_key_exchange(hub, NOW, why), BK_OK);
    if (reseal_open(hub, &reseal) != BK_OK) {
        bail_out("reseal_open");
    }
    limit_memory(true);
    unsigned tries = 0;
    for (unsigned i = 0; i < 1000 && tries < 5; i++) {
        tries += reseal_run(reseal, NOW) > NOW;
    }
    limit_memory(false);
    is_uint(tries, 5, "what there is no memory for is tried again");
    ok(hub->seal.has_before, "and the key before is kept");
    reseal_close(reseal);
    seal_anew();
    ok(!hub->seal.has_before && large_opens(), "with memory again it is sealed under the new key");
    ok(all_opens(), "as everything is");
    clean();
}

int main(void)
{
    unsetenv("BECKET_MASTER_KEY");
    unsetenv("BECKET_MASTER_KEY_FILE");
    unsetenv("BECKET_MASTER_KEY_BEFORE");
    unsetenv("BECKET_MASTER_KEY_BEFORE_FILE");
    log_setup(LOG_ERROR, LOG_TEXT);
    test_exchange();
    test_between();
    test_elsewhere();
    test_written_back();
    test_no_memory();
    test_many();
    test_state_gone();
    test_killed();
    return done_testing();
}
