/* environment.h - an integration out of the environment, as Gitploy's servers have it.
 *
 * Purpose     GITPLOY_SLACK_CLIENT_ID and GITPLOY_SLACK_CLIENT_SECRET become the Integration
 *             `slack` of the default canvas. One that was applied by somebody is left alone.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_ENVIRONMENT_H
#define BECKET_HUB_ENVIRONMENT_H

#include "hub/hub.h"

/* BK_OK also when nothing is set. */
enum bk_err environment_apply(struct hub *hub, int64_t now_ns,
                              char ret_why[HUB_WHY_BYTES]) BK_MUST_CHECK;

#endif
