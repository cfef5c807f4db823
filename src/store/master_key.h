/* master_key.h - the key that wraps the data key: where it is, and how it is exchanged.
 *
 * Where       BECKET_MASTER_KEY (64 hex digits or base64 of 32 bytes), else the file that
 *             BECKET_MASTER_KEY_FILE names, else <data>/master.key, made at first start. A key file
 *             that others can read is refused. What the environment has is wiped there.
 * Exchange    In the data directory: the new key is durable as <data>/master.key.next before
 *             anything is wrapped by it, and takes the place of master.key afterwards, which is
 *             overwritten first. A start finds both and takes the one that fits, so at any instant
 *             one of them opens the state. Elsewhere becket cannot write: who exchanges it gives
 *             the one before as BECKET_MASTER_KEY_BEFORE (or _BEFORE_FILE) to one start.
 * Failure     One line in ret_why.
 * Threads     The control thread, and commands. Keys are the caller's to wipe.
 */
#ifndef BECKET_STORE_MASTER_KEY_H
#define BECKET_STORE_MASTER_KEY_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MASTER_KEY_BYTES     32U
#define MASTER_KEY_WHY_BYTES 512U
#define MASTER_KEY_ID_BYTES  9U /* 8 hex digits and NUL */
#define MASTER_KEY_FILE      "master.key"
#define MASTER_KEY_FILE_NEXT "master.key.next"

enum master_key_place {
    MASTER_KEY_IN_DATA,
    MASTER_KEY_IN_FILE,       /* BECKET_MASTER_KEY_FILE */
    MASTER_KEY_IN_ENVIRONMENT /* BECKET_MASTER_KEY */
};

struct master_keys {
    enum master_key_place place;
    bool has_key, has_next, has_before;
    uint8_t key[MASTER_KEY_BYTES];    /* has_key: false only where `next` may stand for it */
    uint8_t next[MASTER_KEY_BYTES];   /* master.key.next */
    uint8_t before[MASTER_KEY_BYTES]; /* BECKET_MASTER_KEY_BEFORE, or its file */
};

/* Find or make the master key, and what may stand for it. `make`: the state is new, so a missing
 * file may be made. Nothing is written unless `make`. */
enum bk_err master_keys_load(const char *data_directory, bool make, struct master_keys *ret_keys,
                             char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;
/* The same to look at them beforehand: nothing is made, and the environment keeps what it has. */
enum bk_err master_keys_look(const char *data_directory, struct master_keys *ret_keys,
                             char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;
void master_keys_wipe(struct master_keys *keys);
/* Only what the environment names, before there is a data directory: is it a key? BK_OK also where
 * it names none. */
enum bk_err master_keys_check(char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;

/* One key file. BK_NOT_FOUND: there is none. */
enum bk_err master_key_read(const char *path, uint8_t ret_key[MASTER_KEY_BYTES],
                            char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;
/* Whole or not at all, durable, 0600. */
enum bk_err master_key_write(const char *path, const uint8_t key[MASTER_KEY_BYTES],
                             char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;
/* By which people tell keys apart; it does not tell the key. */
void master_key_id(const uint8_t key[MASTER_KEY_BYTES], char ret_id[MASTER_KEY_ID_BYTES]);

/* ---- exchange in the data directory */

/* BK_UNSUPPORTED: the key is not a plain file there. */
enum bk_err master_key_may_change(const char *data_directory,
                                  char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;
/* Durable as master.key.next when BK_OK. */
enum bk_err master_key_next_write(const char *data_directory, const uint8_t key[MASTER_KEY_BYTES],
                                  char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;
/* The next one wraps: master.key is overwritten, and it takes its place. */
enum bk_err master_key_next_take(const char *data_directory,
                                 char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;
/* Nothing is wrapped by it: overwritten and removed. */
enum bk_err master_key_next_drop(const char *data_directory,
                                 char ret_why[MASTER_KEY_WHY_BYTES]) BK_MUST_CHECK;

#endif
