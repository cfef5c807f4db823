/* handshakes.h - private to the server: whose TLS handshake is computed next, and whose makes room.
 *
 * Purpose     A step of a handshake costs us up to milliseconds, a stranger nothing. So steps are
 *             computed one after the other, and the order is such that a flood waits for itself.
 *             There are two lines: those who were answered already, where a step was spent, get
 *             two of three; who waits for our hello gets the third. Before both go those who
 *             resume a session: they have shown once that they mean it, and cost a fiftieth; they
 *             leave one step of four to the others. In each line the groups of addresses have
 *             turns; within a group they come in their order, but of those who wait for our hello
 *             the newest, for the oldest may have given up. When there are too many, one of the
 *             largest group makes room that has got no further for the longest time: of those who
 *             were answered while they are more than half of it, else of the others.
 * Fairness    Between addresses: who is in a group without a flood waits for one step of each
 *             group that has something to compute. Within an address nothing tells a healthy hello
 *             from a hostile one: of n a second c are computed (some 1200 a core, P-256), the
 *             newest, so one try in n/c is answered. Who was answered is not forgotten before half
 *             as many others were answered as there may be handshakes: with 600 a second (half of
 *             the time) he has 400 ms for his reply, with RSA more than a second. A client behind
 *             the address of a flood comes in by trying again, and then by his session.
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
    struct list node; /* in its group, in order of their last progress; detached when over */
    struct list line; /* waits for its next step */
    uint8_t group;
    bool answered; /* our hello is on its way */
    bool resumes;  /* a session of ours */
};

/* What they wait for: our hello, or the rest; or anything, but cheaply. */
enum handshake_line { HANDSHAKE_FRESH, HANDSHAKE_FURTHER, HANDSHAKE_RESUMED, HANDSHAKE_LINES };

struct handshakes {
    struct handshake_group {
        struct list begun, answered; /* not over, in order of their last progress */
        struct list lines[HANDSHAKE_LINES];
        unsigned count, answered_count;
    } groups[HANDSHAKE_GROUPS];
    unsigned count;                    /* begun and not over */
    unsigned waiting[HANDSHAKE_LINES]; /* in all groups */
    unsigned turn[HANDSHAKE_LINES];    /* of which group it was last */
    unsigned steps;                    /* while somebody waited in both */
    unsigned resumed_steps;            /* while others waited */
    uint8_t key[SIPHASH_KEY_BYTES];
};

void handshakes_init(struct handshakes *handshakes, const uint8_t key[SIPHASH_KEY_BYTES]);
void handshake_begin(struct handshakes *handshakes, struct handshake *handshake,
                     const struct ring_address *peer);
/* Done, refused or given up. More than once is fine. */
void handshake_end(struct handshakes *handshakes, struct handshake *handshake);
/* Our hello is on its way. More than once is fine, also when it is over. Requires: it is not in
 * the line of those who wait for one. */
void handshake_answered(struct handshakes *handshakes, struct handshake *handshake);
/* Its hello names a session that we have. */
void handshake_resumes(struct handshakes *handshakes, struct handshake *handshake);
/* It has something to compute. Once more is fine. Requires: it is not over. */
void handshake_wait(struct handshakes *handshakes, struct handshake *handshake);
bool handshakes_wait(const struct handshakes *handshakes);
/* Whose turn it is, out of the line now; NULL: nobody waits. */
struct handshake *handshakes_next(struct handshakes *handshakes);
/* Who is to make room; NULL: nobody is there. */
struct handshake *handshakes_oldest(const struct handshakes *handshakes);

#endif
