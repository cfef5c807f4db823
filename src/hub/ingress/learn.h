/* learn.h - a secret that the provider itself brings when it sets a hook up (Asana, Notion).
 *
 * Purpose     The ingress sees the handshake, the control thread stores the secret
 *             (resources/learn.h), and only then the handshake is answered.
 * Rules       Once: a source that has a secret, configured or learned, learns no other. To begin
 *             anew, delete the source and make it again.
 * Threads     struct learn_request: made by a reactor, taken to the control thread and back by
 *             mail.
 */
#ifndef BECKET_HUB_LEARN_H
#define BECKET_HUB_LEARN_H

#include "base/err.h"
#include "ring/ring.h"

#define LEARN_SECRET_BYTES_MAX 256U

struct learn_request {
    struct ring_mail mail;
    void *owner; /* of who made it; with `done`, on its thread */
    void (*done)(struct learn_request *request);
    struct ring *home;
    void *control;   /* of who stores it */
    uint64_t source; /* number */
    enum bk_err err;
    uint16_t secret_bytes;
    uint8_t secret[LEARN_SECRET_BYTES_MAX]; /* whoever frees the request wipes it */
};

#endif
