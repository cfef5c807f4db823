/* The store's file, looked at before LMDB is let loose on it: every file that LMDB wrote passes,
 * and one that passes after damage ends nobody. */
#include "store/store_check.h"
#include "ring/file.h"
#include "store/store.h"
#include "tests/directory.h"

#include <sys/wait.h>
#include <unistd.h>

#define CHURNS     60U
#define DAMAGES    200U
#define PAGE_BYTES 4096U

static char directory[200], file_path[300], why[STORE_WHY_BYTES];
static uint64_t random_state = 1;

static unsigned random_below(unsigned limit)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(random_state >> 33) % limit;
}

static void run(const char *command)
{
    if (system(command) != 0) {
        bail_out("%s", command);
    }
}

/* Short and long values come and go, so that pages split, merge, become free and are used again. */
static enum bk_err churn(struct store_txn *txn, void *context)
{
    static uint8_t value[20000];
    enum bk_err err = BK_OK;
    (void)context;
    for (unsigned i = 0; err == BK_OK && i < 40; i++) {
        char name[STORE_KEY_BYTES_MAX + 1];
        unsigned key = random_below(300);
        int bytes =
            snprintf(name, sizeof name, "%u%0*u", key, (int)(key % 7 == 0 ? key + 200 : 3), key);
        struct slice at = slice_of(name, (size_t)bytes);
        memset(value, (int)key, sizeof value);
        err = random_below(5) < 2
                  ? store_delete(txn, at)
                  : store_put(txn, at,
                              slice_of(value, random_below(20) == 0 ? random_below(sizeof value)
                                                                    : random_below(900)));
    }
    return err;
}

static bool touch(void *context, struct slice key, struct slice value)
{
    for (size_t i = 0; i < value.bytes; i++) {
        *(unsigned *)context += value.at[i];
    }
    *(unsigned *)context += key.at[0];
    return true;
}

static void test_sound(void)
{
    struct store *store = NULL;
    char copy[300], copied[320], said[STORE_CHECK_WHY_BYTES];
    unsigned refused = 0;
    is_int(store_check("/nowhere/at/all", said), BK_OK, "no file is no damage");
    is_int(store_open(directory, NULL, &store, why), BK_OK, "%s", why);
    for (unsigned i = 0; i < CHURNS; i++) {
        enum bk_err err = store_update(store, churn, NULL);
        err = err == BK_OK ? store_check(file_path, said) : err;
        if (err != BK_OK && refused++ == 0) {
            diag("after %u: %s", i, said);
        }
    }
    is_uint(refused, 0, "the file is sound after each of %u transactions", CHURNS);
    snprintf(copy, sizeof copy, "%s/copy", directory);
    snprintf(copied, sizeof copied, "%s/data.mdb", copy);
    ok(directory_make(copy) == BK_OK && store_copy(store, copy) == BK_OK, "a copy");
    is_int(store_check(copied, said), BK_OK, "is sound: %s", said);
    store_close(store);
}

static void damage(uint8_t *at, size_t *bytes)
{
    uint8_t *page = at + (size_t)random_below((unsigned)(*bytes / PAGE_BYTES)) * PAGE_BYTES;
    switch (random_below(6)) {
    case 0:
        *bytes = 1 + random_below((unsigned)*bytes);
        break;
    case 1:
        memset(page, random_below(2) ? 0xff : 0, PAGE_BYTES);
        break;
    case 2:
        page[random_below(200)] ^= (uint8_t)(1 + random_below(255));
        break;
    case 3:
        for (unsigned i = 0; i < 3; i++) {
            page[8 + random_below(8)] = (uint8_t)random_below(256);
        }
        break;
    case 4:
        memcpy(page, at + (size_t)random_below((unsigned)(*bytes / PAGE_BYTES)) * PAGE_BYTES,
               PAGE_BYTES);
        break;
    default:
        for (unsigned i = 0; i < 20; i++) {
            page[random_below(PAGE_BYTES)] ^= (uint8_t)(1U << random_below(8));
        }
    }
}

/* 0: it was refused; 1: it was used. */
static int use(void)
{
    struct store *store = NULL;
    struct store_txn *txn;
    unsigned sum = 0;
    if (store_open(directory, NULL, &store, why) != BK_OK) {
        return why[0] ? 0 : 2;
    }
    if (store_read(store, &txn) == BK_OK) {
        (void)!store_walk(txn, SLICE_EMPTY, SLICE_EMPTY, touch, &sum);
        store_read_end(txn);
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)!store_update(store, churn, NULL);
    }
    store_close(store);
    return 1;
}

static void test_damaged(void)
{
    unsigned used = 0, refused = 0, ended = 0;
    char *sound = NULL, *torn = NULL;
    size_t bytes = 0;
    if (file_read_all(file_path, 1U << 28, &sound, &bytes) != BK_OK || !(torn = malloc(bytes))) {
        bail_out("cannot read the store");
    }
    for (unsigned i = 0; i < DAMAGES; i++) {
        size_t torn_bytes = bytes;
        memcpy(torn, sound, bytes);
        damage((uint8_t *)torn, &torn_bytes);
        /* In its place: what a test has not to wait for is a disk. */
        int file;
        enum bk_err err = file_open(file_path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);
        if (err != BK_OK || file_write(file, torn, torn_bytes, 0) != BK_OK) {
            bail_out("cannot write the store");
        }
        file_close(file);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            _exit(use());
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) < 2) {
            used += WEXITSTATUS(status) == 1;
            refused += WEXITSTATUS(status) == 0;
        } else if (ended++ == 0) {
            diag("damage %u: status %x", i, (unsigned)status);
        }
    }
    is_uint(ended, 0, "no damaged file ends the process");
    ok(refused > DAMAGES / 5 && used > 0, "%u files were refused in words, %u of %u could be used",
       refused, used, DAMAGES);
    free(sound);
    free(torn);
}

int main(void)
{
    char command[260];
    test_directory(directory, sizeof directory, false);
    snprintf(file_path, sizeof file_path, "%s/state/data.mdb", directory);
    test_sound();
    test_damaged();
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    run(command);
    return done_testing();
}
