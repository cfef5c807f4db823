/* answer_handshake.h - the answer of a handshake, with which a provider tries an address before it
 * uses it.
 *
 * Purpose     What the scheme answers (providers/scheme.h). A secret that the handshake brought is
 *             kept first (learn.h); the exchange is answered when it is, in a later turn. An
 *             address that it wants to be confirmed is called by the control thread.
 * Threads     One core.
 */
#ifndef BECKET_HUB_ANSWER_HANDSHAKE_H
#define BECKET_HUB_ANSWER_HANDSHAKE_H

#include "hub/ingress/intake.h"

/* verdict: SCHEME_HANDSHAKE or SCHEME_HANDSHAKE_REFUSED. */
enum http_outcome answer_handshake(struct ingress *ingress, struct http_exchange *exchange,
                                   uint64_t number, enum scheme_verdict verdict,
                                   const struct scheme_answer *answer);

#endif
