/* data_key.h - the key that seals all values, wrapped by the master key; and both exchanged.
 *
 * Envelope    master key (store/master_key.h) -> data key ("m/key") -> each sealed value.
 * Exchange    One transaction: a new data key wrapped by the new master key, the data key before
 *             wrapped by the new one ("m/key-before"), who did it (audit). From that commit on the
 *             old master key opens nothing any more, and is destroyed. Then all that the old data
 *             key sealed is sealed anew in steps (resources/reseal.h), beside all other work and
 *             over restarts; at the end the data key before is forgotten.
 * Crash       Before the commit the old master key counts, after it the new one; both are in the
 *             data directory then. A start finds which one fits, and ends what was begun.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_DATA_KEY_H
#define BECKET_HUB_DATA_KEY_H

#include "hub/hub.h"
#include "store/master_key.h"

/* The data key as it lies there, and whether a master key opens it: for backup and restore.
 * BK_NOT_FOUND: nothing is sealed there yet. */
#define DATA_KEY_WRAPPED_BYTES (AEAD_KEY_BYTES + SEAL_OVERHEAD_BYTES)
enum bk_err data_key_wrapped(struct store *store,
                             uint8_t ret_wrapped[DATA_KEY_WRAPPED_BYTES]) BK_MUST_CHECK;
bool data_key_fits(const uint8_t wrapped[DATA_KEY_WRAPPED_BYTES],
                   const uint8_t master[MASTER_KEY_BYTES]);

/* For hub_open(): finds the keys that fit, ends an exchange that was begun. is_new is set. */
enum bk_err data_key_open(struct hub *hub, int64_t now_ns,
                          char ret_why[HUB_WHY_BYTES]) BK_MUST_CHECK;

/* Beside the server that runs there: could another one with our environment open it? Its state is
 * of a format that we know, with nothing in it of a newer version, and our master key opens it. */
enum bk_err data_key_look(const char *data_directory, char ret_why[HUB_WHY_BYTES]) BK_MUST_CHECK;

struct data_key_state {
    enum master_key_place place;
    char id[MASTER_KEY_ID_BYTES]; /* of the master key */
    int64_t since_ns;             /* it wraps since; 0 = not known */
    bool before;                  /* values are sealed under the data key before */
};
void data_key_state(const struct hub *hub, struct data_key_state *ret_state);

/* A new master key, a new data key. BK_OK: the old master key is gone, or (ret_why is not empty)
 * could not be destroyed: the next start does it. BK_UNSUPPORTED: the key is not becket's to
 * change. BK_BUSY: values are still under the data key before. Others: nothing changed; BK_IO: what
 * the disk has is not known, a restart finds the key that fits. */
enum bk_err data_key_exchange(struct hub *hub, int64_t now_ns,
                              char ret_why[HUB_WHY_BYTES]) BK_MUST_CHECK;
/* Nothing is sealed under the data key before: forget it. */
enum bk_err data_key_forget_before(struct hub *hub) BK_MUST_CHECK;

#endif
