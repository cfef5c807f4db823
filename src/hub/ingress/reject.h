/* reject.h - a request that is not genuine: its answer, and its copy in the quarantine.
 *
 * Answers     By verdict and by the spelling of the address: 401 with what the scheme challenges
 *             with, 400, 403; 503 where the key to check it with cannot be had.
 * Quarantine  Refused requests are journalled with their reason, best effort: no answer waits for
 *             that. They may take 1 MiB at once and 4 KiB/s for long (about 340 MB a day), per
 *             core; a source no more of it than it leaves to the others.
 * Threads     One core.
 */
#ifndef BECKET_HUB_REJECT_H
#define BECKET_HUB_REJECT_H

#include "hub/ingress/intake.h"

enum http_outcome reject_request(struct ingress *ingress, struct http_exchange *exchange,
                                 const struct intake *intake, enum scheme_verdict verdict);

/* The budget is full at first. */
void reject_init(struct ingress *ingress);

#endif
