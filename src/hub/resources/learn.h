/* learn.h - a secret that a provider brought (ingress/learn.h), into its source: sealed in the
 * record, and the source compiled anew. */
#ifndef BECKET_HUB_RESOURCES_LEARN_H
#define BECKET_HUB_RESOURCES_LEARN_H

#include "hub/hub.h"

/* Control thread. BK_EXISTS: it has one; BK_NOT_FOUND: no such source, or not of a type that
 * learns.
 */
enum bk_err hub_learn(struct hub *hub, uint64_t source, struct slice secret,
                      int64_t now_ns) BK_MUST_CHECK;

#endif
