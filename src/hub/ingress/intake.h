/* intake.h - one request on its way through the files of ingress/; for these only.
 *
 * Order       ingress.c finds the source, and has the request checked (providers/scheme.h);
 *             reject.c, answer_handshake.c and key_wait.c are where it may end; accept.c and
 *             accept_batch.c store it; acknowledge.c answers it when it is safe.
 * Life time   On the stack of ingress_on_request() or ingress_on_two(); its slices point into the
 *             request.
 */
#ifndef BECKET_HUB_INTAKE_H
#define BECKET_HUB_INTAKE_H

#include "hub/ingress/hook_address.h"
#include "hub/ingress/ingress.h"
#include "providers/scheme.h"

struct intake {
    const struct source *source;
    enum spelling spelling;
    const struct http_message *message;
    struct scheme_request request;
    struct scheme_identity identity;
    uint64_t fingerprint[2]; /* 0: it is not de-duplicated */
    bool dedupes;            /* by its delivery id */
    int64_t wall_ns;
};

#endif
