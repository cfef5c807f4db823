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

/* With the 401 of who shows no good token. */
#define ACCESS_CHALLENGE "Bearer realm=\"becket\""

/* Why a request with this Authorization header (empty: without one) is certainly refused where a
 * token is needed, in the words for its sender; NULL: it may be good. Any thread. */
const char *access_why_not(const struct api *api, struct slice authorization);
/* The token and its role are good enough for the route. False when the call was answered. */
bool access_allowed(struct api_call *call);
/* For tokens that are bound to a canvas. False when the call was answered. */
bool access_bind_canvas(struct api_call *call);

#endif
