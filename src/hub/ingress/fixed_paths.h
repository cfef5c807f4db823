/* fixed_paths.h - what the ingress answers besides hooks.
 *
 * Paths       /health/live and /health/ready; /.well-known/openid-configuration and jwks.json, by
 *             which providers check the tokens that becket issues; OPTIONS *.
 * Threads     One core.
 */
#ifndef BECKET_HUB_FIXED_PATHS_H
#define BECKET_HUB_FIXED_PATHS_H

#include "hub/ingress/ingress.h"

/* Also on the admin listener. */
bool fixed_path_is(struct slice path);

/* A request for something that is here: its body, which means nothing, is read before it is
 * answered, for where it is malformed the request is. Up to FIXED_PATH_BODY_BYTES_MAX. */
#define FIXED_PATH_BODY_BYTES_MAX 16384U
bool fixed_path_takes(const struct http_head *head, struct slice path);

/* False: there is nothing at this path. True: answered, or, with ingress->documents_later, to come
 * again: the documents are being made. */
bool fixed_path_answer(struct ingress *ingress, struct http_exchange *exchange,
                       const struct http_head *head, struct slice path);

#endif
