/* query.h - the parameters of a call, checked by its route's list; handlers read them by
 * api_value() and those beside it (route.h). */
#ifndef BECKET_API_QUERY_H
#define BECKET_API_QUERY_H

#include "api/route.h"

/* Of a parameter in route->params and call->values; -1 = the route has none of that name. */
int query_index(const struct api_route *route, struct slice name);
/* False when the call was answered: an unknown name, a wrong value. */
bool query_take(struct api_call *call, struct slice query);

#endif
