/* The ordered map: all or nothing, growth, versions, full disk. Sealing and the master key. */
#include "ring/file.h"
#include "store/keys.h"
#include "store/master_key.h"
#include "store/seal.h"
#include "store/store.h"
#include "tests/directory.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[200];
static char why[STORE_WHY_BYTES];

static void fresh(void)
{
    test_directory(directory, sizeof directory, false);
}

static void clean(void)
{
    test_directory_drop(directory);
}

static struct slice key_of(const char *text)
{
    return slice_str(text);
}

struct write {
    const char *key;
    size_t bytes;
    unsigned count;
    enum bk_err then;
    unsigned runs;
};

static enum bk_err write_many(struct store_txn *txn, void *context)
{
    struct write *write = context;
    uint8_t *value = calloc(1, write->bytes + 1);
    write->runs++;
    memset(value, 'v', write->bytes);
    enum bk_err err = BK_OK;
    for (unsigned i = 0; i < write->count && err == BK_OK; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%06u", write->key, i);
        err = store_put(txn, key_of(name), slice_of(value, write->bytes));
    }
    free(value);
    return err != BK_OK ? err : write->then;
}

static bool count_one(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(unsigned *)context;
    return true;
}

static unsigned count_keys(struct store *store, const char *prefix)
{
    unsigned count = 0;
    struct store_txn *txn;
    if (store_read(store, &txn) != BK_OK) {
        return 0;
    }
    is_int(store_walk(txn, key_of(prefix), SLICE_EMPTY, count_one, &count), BK_OK, "walk");
    store_read_end(txn);
    return count;
}

static void test_basics(void)
{
    struct store *store = NULL;
    fresh();
    is_int(store_open(directory, NULL, &store, why), BK_OK, "open a new store: %s", why);
    struct write write = {"x", 10, 5, BK_OK, 0};
    is_int(store_update(store, write_many, &write), BK_OK, "write");
    is_uint(count_keys(store, "x"), 5, "what was written is there");
    struct write undone = {"y", 10, 5, BK_CONFLICT, 0};
    is_int(store_update(store, write_many, &undone), BK_CONFLICT, "an error of the function");
    is_uint(count_keys(store, "y"), 0, "undoes everything");
    struct write too_long = {"", 1, 1, BK_OK, 0};
    static char long_key[600];
    memset(long_key, 'k', 500);
    too_long.key = long_key;
    is_int(store_update(store, write_many, &too_long), BK_OK, "a key of 506 bytes fits");
    store_close(store);
    is_int(store_open(directory, NULL, &store, why), BK_OK, "open again");
    is_uint(count_keys(store, "x"), 5, "it is still there");
    struct stat status;
    char path[300];
    snprintf(path, sizeof path, "%s/state/data.mdb", directory);
    ok(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600, "data.mdb is 0600");
    snprintf(path, sizeof path, "%s/state", directory);
    ok(stat(path, &status) == 0 && (status.st_mode & 0777) == 0700, "state/ is 0700");
    snprintf(path, sizeof path, "%s/copy", directory);
    is_int(directory_make(path), BK_OK);
    is_int(store_copy(store, path), BK_OK, "copy");
    store_close(store);
    clean();
}

static void test_growth(void)
{
    struct store *store = NULL;
    struct store_options options = {.map_bytes_start = 1 << 20};
    fresh();
    is_int(store_open(directory, &options, &store, why), BK_OK, "a map of 1 MiB");
    struct write write = {"x", 1000, 20000, BK_OK, 0};
    is_int(store_update(store, write_many, &write), BK_OK, "20 MB in one transaction");
    ok(write.runs > 3, "ran %u times in larger and larger maps", write.runs);
    is_uint(count_keys(store, "x"), 20000, "all is there");
    struct store_stats stats;
    store_stats(store, &stats);
    ok(stats.map_bytes >= 32U << 20 && stats.used_bytes > 20000000, "stats");
    store_close(store);
    is_int(store_open(directory, &options, &store, why), BK_OK, "opens with the small map again");
    is_uint(count_keys(store, "x"), 20000, "all is there");
    is_int(store_update(store, write_many, &write), BK_OK, "and can be written");
    store_close(store);
    clean();
}

static enum bk_err write_version(struct store_txn *txn, void *context)
{
    (void)context;
    return store_put(txn, KEY_FORMAT, SLICE("\0\0\0\x63"));
}

static void slurp(const char *name, char **ret_text, size_t *ret_bytes)
{
    char path[300];
    snprintf(path, sizeof path, "%s/state/%s", directory, name);
    is_int(file_read_all(path, 100 << 20, ret_text, ret_bytes), BK_OK, "read %s", name);
}

static void test_version(void)
{
    struct store *store = NULL;
    fresh();
    is_int(store_open(directory, NULL, &store, why), BK_OK);
    is_int(store_update(store, write_version, NULL), BK_OK);
    store_close(store);
    char *before, *after;
    size_t before_bytes, after_bytes;
    slurp("data.mdb", &before, &before_bytes);
    is_int(store_open(directory, NULL, &store, why), BK_VERSION, "a newer format is refused");
    char known[24];
    snprintf(known, sizeof known, "up to %u", STORE_FORMAT);
    ok(strstr(why, "format 99") && strstr(why, known), "both versions are named: %s", why);
    slurp("data.mdb", &after, &after_bytes);
    is_bytes(after, after_bytes, before, before_bytes, "and the file was not touched");
    free(before);
    free(after);
    clean();
}

static void test_foreign(void)
{
    struct store *store = NULL;
    char path[300];
    fresh();
    snprintf(path, sizeof path, "%s/state", directory);
    is_int(directory_make(path), BK_OK);
    snprintf(path, sizeof path, "%s/state/data.mdb", directory);
    static char junk[8192];
    memset(junk, 'j', sizeof junk);
    is_int(file_replace(path, junk, sizeof junk), BK_OK);
    ok(store_open(directory, NULL, &store, why) != BK_OK, "a file that is no LMDB: %s", why);
    clean();
    snprintf(directory, sizeof directory, "/proc/nothing");
    ok(store_open(directory, NULL, &store, why) != BK_OK && why[0], "no such place: %s", why);
}

static void test_numbers(void)
{
    struct key a = {.bytes = 0}, b = {.bytes = 0};
    key_number(&a, 255);
    key_number(&b, 256);
    ok(memcmp(a.at, b.at, a.bytes) < 0, "numbers in keys are in order");
    is_uint(key_get_u64(a.at + 2), 255, "and come back");
    key_object(&a, 'E', SLICE("default"), SLICE("payments"));
    is_bytes(a.at, a.bytes, "o/Edefault\0payments", 19, "the key of the example");
    key_users(&a, 'S', SLICE("default"), SLICE("stripe"));
    key_add_user(&a, 'E', SLICE("default"), SLICE("payments"));
    is_bytes(a.at, a.bytes, "r/Sdefault\0stripe\0Edefault\0payments", 35, "and of a reference");
}

/* Needs root for the mount. */
static void test_full_disk(void)
{
    struct store *store = NULL;
    fresh();
    if (mount("tmpfs", directory, "tmpfs", 0, "size=4m,mode=0700") != 0) {
        skip("no permission to mount a small disk");
        clean();
        return;
    }
    is_int(store_open(directory, NULL, &store, why), BK_OK, "on a disk of 4 MiB");
    struct write write = {"a", 1000, 100, BK_OK, 0};
    is_int(store_update(store, write_many, &write), BK_OK, "100 KB fit");
    struct write large = {"b", 1000, 8000, BK_OK, 0};
    is_int(store_update(store, write_many, &large), BK_NO_SPACE, "8 MB do not");
    is_uint(count_keys(store, "a"), 100, "reads go on");
    is_uint(count_keys(store, "b"), 0, "and nothing of it is there");
    is_int(store_update(store, write_many, &(struct write){"c", 1000, 10, BK_OK, 0}), BK_OK,
           "a small write works again");
    store_close(store);
    is_int(store_open(directory, NULL, &store, why), BK_OK, "opens again");
    is_uint(count_keys(store, "a"), 100, "with what was there");
    is_uint(count_keys(store, "c"), 10);
    store_close(store);
    ok(umount(directory) == 0, "unmount");
    clean();
}

/* Ended at any moment, the store holds whole transactions, and every one that was confirmed. */
static void test_killed(void)
{
    fresh();
    for (unsigned round = 0; round < 10; round++) {
        int ends[2];
        if (pipe(ends) != 0) {
            bail_out("pipe");
        }
        pid_t child = fork();
        if (child == 0) {
            struct store *store = NULL;
            if (store_open(directory, NULL, &store, why) != BK_OK) {
                _exit(1);
            }
            for (unsigned i = 0; i < 10000; i++) {
                char name[32];
                snprintf(name, sizeof name, "r%02u-%05u-", round, i);
                struct write write = {name, 300, 20, BK_OK, 0};
                if (store_update(store, write_many, &write) != BK_OK ||
                    dprintf(ends[1], "%u\n", i) < 0) {
                    _exit(1);
                }
            }
            _exit(0);
        }
        close(ends[1]);
        usleep(20000 + round * 7000);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        FILE *said = fdopen(ends[0], "r");
        unsigned confirmed = 0, number;
        while (fscanf(said, "%u", &number) == 1) {
            confirmed = number + 1;
        }
        fclose(said);
        struct store *store = NULL;
        if (!is_int(store_open(directory, NULL, &store, why), BK_OK, "opens after a kill")) {
            diag("%s", why);
            break;
        }
        char prefix[16];
        snprintf(prefix, sizeof prefix, "r%02u-", round);
        unsigned keys = count_keys(store, prefix);
        ok(keys % 20 == 0 && keys / 20 >= confirmed && keys / 20 <= confirmed + 1,
           "%u confirmed, %u keys", confirmed, keys);
        store_close(store);
    }
    clean();
}

/* ---- sealing */

static void test_seal(void)
{
    static const uint8_t key[32] = {1}, other_key[32] = {2}, id[16] = {3}, other_id[16] = {4};
    struct seal seal, other;
    seal_init(&seal, key);
    seal_init(&other, other_key);
    uint8_t sealed[64], again[64], plain[64];
    size_t bytes = 0;
    struct slice text = SLICE("whsec_planted");
    size_t sealed_bytes = text.bytes + SEAL_OVERHEAD_BYTES;
    seal_value(&seal, id, SLICE("a"), text, sealed);
    seal_value(&seal, id, SLICE("a"), text, again);
    ok(memcmp(sealed + 1, again + 1, 12) != 0, "nonces differ");
    ok(memmem(sealed, sealed_bytes, "planted", 7) == NULL, "the text is not to be seen");
    struct slice box = slice_of(sealed, sealed_bytes);
    is_int(seal_open(&seal, id, SLICE("a"), box, plain, &bytes), BK_OK, "opens");
    is_bytes(plain, bytes, text.at, text.bytes, "to what was sealed");
    is_int(seal_open(&other, id, SLICE("a"), box, plain, &bytes), BK_SEALED, "another key");
    is_int(seal_open(&seal, other_id, SLICE("a"), box, plain, &bytes), BK_SEALED, "another record");
    is_int(seal_open(&seal, id, SLICE("b"), box, plain, &bytes), BK_SEALED, "another field");
    unsigned opened = 0;
    for (size_t i = 0; i < sealed_bytes * 8; i++) {
        sealed[i / 8] ^= (uint8_t)(1U << i % 8);
        opened += seal_open(&seal, id, SLICE("a"), box, plain, &bytes) == BK_OK;
        sealed[i / 8] ^= (uint8_t)(1U << i % 8);
    }
    is_uint(opened, 0, "every flipped bit is noticed");
    for (size_t i = 0; i < sealed_bytes; i++) {
        opened += seal_open(&seal, id, SLICE("a"), slice_of(sealed, i), plain, &bytes) == BK_OK;
    }
    is_uint(opened, 0, "and every cut");
    static const uint8_t third[32] = {3};
    seal_replace(&seal, other_key);
    is_int(seal_open(&seal, id, SLICE("a"), box, plain, &bytes), BK_OK, "a key that was replaced");
    is_int(seal_renew(&seal, id, SLICE("b"), box, again), BK_EXISTS, "renewed for another field");
    is_mem(again, sealed, sealed_bytes, "it is as it was");
    is_int(seal_renew(&seal, id, SLICE("a"), box, again), BK_OK, "renewed");
    is_int(seal_renew(&seal, id, SLICE("a"), slice_of(again, sealed_bytes), plain), BK_EXISTS,
           "once");
    seal_forget_before(&seal);
    is_int(seal_open(&seal, id, SLICE("a"), box, plain, &bytes), BK_SEALED, "the old one");
    is_int(seal_open(&seal, id, SLICE("a"), slice_of(again, sealed_bytes), plain, &bytes), BK_OK,
           "the renewed one");
    is_bytes(plain, bytes, text.at, text.bytes, "with the same text");
    seal_fini(&seal);
    seal_init(&seal, third);
    seal_init_before(&seal, key);
    is_int(seal_open(&seal, id, SLICE("a"), box, plain, &bytes), BK_OK, "of an earlier process");
    seal_value(&seal, id, SLICE(""), SLICE_EMPTY, sealed);
    is_int(seal_open(&seal, id, SLICE(""), slice_of(sealed, SEAL_OVERHEAD_BYTES), plain, &bytes),
           BK_OK, "an empty text");
    is_uint(bytes, 0);
    seal_fini(&seal);
    seal_fini(&other);
}

static enum bk_err load_key(const char *at, bool make, uint8_t ret_key[32], char *ret_why)
{
    struct master_keys keys;
    enum bk_err err = master_keys_load(at, make, &keys, ret_why);
    memcpy(ret_key, keys.key, sizeof keys.key);
    master_keys_wipe(&keys);
    return err;
}

static void test_master_key(void)
{
    uint8_t key[32], again[32];
    char path[300];
    fresh();
    unsetenv("BECKET_MASTER_KEY_BEFORE");
    unsetenv("BECKET_MASTER_KEY_BEFORE_FILE");
    unsetenv("BECKET_MASTER_KEY");
    unsetenv("BECKET_MASTER_KEY_FILE");
    is_int(load_key(directory, false, key, why), BK_NOT_FOUND, "missing: %s", why);
    is_int(load_key(directory, true, key, why), BK_OK, "made");
    is_int(load_key(directory, false, again, why), BK_OK, "read");
    is_mem(again, key, 32, "the same key");
    snprintf(path, sizeof path, "%s/master.key", directory);
    unsigned mode = 0;
    is_int(file_mode(path, &mode), BK_OK);
    is_uint(mode, 0600, "0600");
    static const unsigned bad[] = {0640, 0604, 0660, 0644};
    for (size_t i = 0; i < 4; i++) {
        chmod(path, bad[i]);
        is_int(load_key(directory, true, again, why), BK_PERMISSION, "%04o", bad[i]);
        ok(strstr(why, "chmod 600") != NULL, "says how to mend it: %s", why);
    }
    chmod(path, 0600);
    setenv("BECKET_MASTER_KEY", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
           1);
    const char *value = getenv("BECKET_MASTER_KEY");
    is_int(load_key(directory, true, again, why), BK_OK, "from the environment, hex");
    ok(again[0] == 0 && again[31] == 0xff, "that key");
    ok(value[0] == '\0' && value[5] == '\0' && getenv("BECKET_MASTER_KEY") == NULL,
       "the environment does not show it any more");
    setenv("BECKET_MASTER_KEY", "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=", 1);
    is_int(load_key(directory, true, key, why), BK_OK, "base64");
    is_mem(key, again, 32, "the same");
    setenv("BECKET_MASTER_KEY", "short", 1);
    is_int(load_key(directory, true, key, why), BK_INVALID, "%s", why);
    snprintf(path, sizeof path, "%s/other.key", directory);
    is_int(file_replace(path, "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=\n", 45), BK_OK);
    setenv("BECKET_MASTER_KEY_FILE", path, 1);
    is_int(load_key(directory, true, key, why), BK_OK, "another file");
    is_mem(key, again, 32, "the same");
    is_int(file_replace(path, "junk", 4), BK_OK);
    is_int(load_key(directory, true, key, why), BK_INVALID, "%s", why);
    unsetenv("BECKET_MASTER_KEY_FILE");
    clean();
}

int main(void)
{
    test_basics();
    test_growth();
    test_version();
    test_foreign();
    test_numbers();
    test_full_disk();
    test_killed();
    test_seal();
    test_master_key();
    return done_testing();
}
