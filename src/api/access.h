/* access.h - who may come in, and what they see: hosts, tokens, roles, canvases.
 *
 * Hosts       An address can name only this server; a name could be anybody's that points here (DNS
 *             rebinding), so it has to be one that we know. Requests that another site's pages made
 *             are refused.
 * Canvases    See api_may_see() in route.h.
 */
#ifndef BECKET_API_ACCESS_H
#define BECKET_API_ACCESS_H

#include "api/route.h"

/* To who shows no token: 401, this header, and these words. */
#define ACCESS_CHALLENGE "Bearer realm=\"becket\""
#define ACCESS_NO_TOKEN                                                                            \
    "a token is needed: send the header Authorization: Bearer TOKEN; the first one is in "         \
    "admin.token of the data directory"

/* The token and its role are good enough for the route. False when the call was answered. */
bool access_allowed(struct api_call *call);
/* For tokens that are bound to a canvas. False when the call was answered. */
bool access_bind_canvas(struct api_call *call);

#endif
