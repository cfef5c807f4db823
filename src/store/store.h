/* store.h - the durable state: an ordered map of bytes in <data>/state, by LMDB.
 *
 * Purpose     Everything but events: objects, indexes, tokens. Keys and their meaning:
 *             store/keys.h.
 * Threads     One: the control thread. Nothing here may be called from a reactor.
 * Durability  A write that returned BK_OK is on the device. A write is all or nothing.
 * Space       The map grows by itself (store_update runs its function again in a larger map).
 * Failure     BK_NO_SPACE: disk full, nothing changed, reads go on, later writes may work again.
 *             BK_IO: the device failed, or the file was removed; writes are refused from then on,
 *             reads go on; restart.
 * Owner       One process has it open to write: its file is locked, whatever became of becket.lock.
 * Damage      A file that is cut short or torn is refused at its opening: store/store_check.h. One
 *             that becomes so later, or whose disk fails, ends the process: store/store_fault.h.
 * Versions    A store of a newer format is refused with BK_VERSION and not touched.
 */
#ifndef BECKET_STORE_STORE_H
#define BECKET_STORE_STORE_H

#include "base/err.h"
#include "base/slice.h"

struct store;
struct store_txn;

/* 1: indexes only by name. 2: with those of store/keys.h; who does not keep them must not write. */
#define STORE_FORMAT 4U
#define STORE_MAP_BYTES_START (1ULL << 30) /* virtual; the file grows as used */
#define STORE_MAP_BYTES_MAX (1ULL << 40)
#define STORE_KEY_BYTES_MAX 511U
#define STORE_WHY_BYTES 512U

struct store_options {
    uint64_t map_bytes_start; /* 0 = STORE_MAP_BYTES_START; tests make it small */
    /* A server may have it open and write meanwhile: the file is not looked through, for it would
     * change under the look. */
    bool shared;
};

/* Makes <data> (0700) and <data>/state where missing. ret_why: one line for people, on failure. */
enum bk_err store_open(const char *data_directory, const struct store_options *options,
                       struct store **ret_store, char ret_why[STORE_WHY_BYTES]) BK_MUST_CHECK;
void store_close(struct store *store);
/* Of what was opened; who brings an older one up to STORE_FORMAT says so at the end. */
unsigned store_format(const struct store *store);
enum bk_err store_format_raise(struct store *store) BK_MUST_CHECK;

/* One write transaction, run by store_update. It may run several times (in a larger map), each time
 * on the state before; so it must not keep results of an earlier run. Returning an error undoes
 * all. */
typedef enum bk_err store_update_fn(struct store_txn *txn, void *context);
enum bk_err store_update(struct store *store, store_update_fn *update, void *context) BK_MUST_CHECK;

/* Read transaction: a snapshot. End it before the next store_update. */
enum bk_err store_read(struct store *store, struct store_txn **ret_txn) BK_MUST_CHECK;
void store_read_end(struct store_txn *txn);

/* ret_value points into the map: valid until the transaction ends or, while writing, the next put
 * or delete. BK_NOT_FOUND. */
enum bk_err store_get(struct store_txn *txn, struct slice key, struct slice *ret_value)
                      BK_MUST_CHECK;
/* Once a put or delete failed, every later one fails too and the transaction cannot be committed.
 * */
enum bk_err store_put(struct store_txn *txn, struct slice key, struct slice value) BK_MUST_CHECK;
/* BK_OK when it was not there. */
enum bk_err store_delete(struct store_txn *txn, struct slice key) BK_MUST_CHECK;

/* Walk the keys that start with `prefix`, in order, from `from` (inclusive; empty = the first).
 * The function returns false to stop. It must not write. */
typedef bool store_walk_fn(void *context, struct slice key, struct slice value);
enum bk_err store_walk(struct store_txn *txn, struct slice prefix, struct slice from,
                       store_walk_fn *walk, void *context) BK_MUST_CHECK;
/* Is there any such key? */
enum bk_err store_any(struct store_txn *txn, struct slice prefix, bool *ret_any) BK_MUST_CHECK;

/* Big-endian counters kept under a key: add 1 and return the new value (first is 1). */
enum bk_err store_next_number(struct store_txn *txn, struct slice key, uint64_t *ret_number)
                              BK_MUST_CHECK;
enum bk_err store_number(struct store_txn *txn, struct slice key, uint64_t *ret_number)
                         BK_MUST_CHECK;

struct store_stats {
    uint64_t map_bytes;
    uint64_t used_bytes;
    uint64_t entries;
    uint64_t commits;
};
void store_stats(struct store *store, struct store_stats *ret_stats);
/* A compacted copy of the whole state into an existing empty directory, durable. */
enum bk_err store_copy(struct store *store, const char *directory) BK_MUST_CHECK;
/* LMDB's: "0.9.31". */
const char *store_library_version(void);

#endif
