/* handshakes.h - private to the server: whose TLS handshake is computed next, and whose makes room.
 *
 * Purpose     A step of a handshake costs us up to milliseconds, a stranger nothing. So steps are
 *             computed one after the other, and the order is such that a flood waits for itself:
 *             who was answered already comes first, for there a step was spent; the others by
 *             groups of addresses in turn, within a group the newest first, for the oldest may have
 *             given up. When there are too many, the oldest of the largest group makes room.
 * Ownership   A handshake lies in its connection and is ours from begin to end.
 * Threads     One core.
 * Limits      HANDSHAKE_GROUPS; by a hash with a key of our own, so that nobody chooses his group.
 */
#ifndef BECKET_HTTP_HANDSHAKES_H
#define BECKET_HTTP_HANDSHAKES_H

#include "base/list.h"
#include "base/siphash.h"
#include "ring/ring.h"

#define HANDSHAKE_GROUPS 256U

struct handshake {
    struct list node; /* in its group, in order of their beginning; detached when over */
    struct list line; /* waits for its next step */
    uint8_t group;
    bool answered; /* our hello is on its way */
};

struct handshakes {
    struct handshake_group {
        struct list begun;
        struct list fresh; /* these wait for our hello */
        unsigned count;
    } groups[HANDSHAKE_GROUPS];
    struct list further; /* these wait for the rest */
    unsigned count;      /* begun and not over */
    unsigned fresh_count;
    unsigned turn; /* of which group it is */
    uint8_t key[SIPHASH_KEY_BYTES];
};

void handshakes_init(struct handshakes *handshakes, const uint8_t key[SIPHASH_KEY_BYTES]);
void handshake_begin(struct handshakes *handshakes, struct handshake *handshake,
                     const struct ring_address *peer);
/* Done, refused or given up. More than once is fine. */
void handshake_end(struct handshakes *handshakes, struct handshake *handshake);
/* It has something to compute. Once more is fine. Requires: it is not over. */
void handshake_wait(struct handshakes *handshakes, struct handshake *handshake);
bool handshakes_wait(const struct handshakes *handshakes);
/* Whose turn it is, out of the line now; NULL: nobody waits. */
struct handshake *handshakes_next(struct handshakes *handshakes);
/* Who is to make room; NULL: there is none. */
struct handshake *handshakes_oldest(const struct handshakes *handshakes);

#endif
