/* integration_view.h - an Integration as it lies in the store, opened for those who call its
 * service.
 *
 * Ownership   Slices of a view live until integration_view_close(); opened secrets are in the
 *             arena.
 * Threads     The control thread; inside a transaction.
 */
#ifndef BECKET_HUB_INTEGRATION_VIEW_H
#define BECKET_HUB_INTEGRATION_VIEW_H

#include "hub/hub_private.h"
#include "providers/provider.h"

struct integration_view {
    struct json_tree tree;
    yyjson_mut_val *spec;
    struct slice type;
    const struct provider *provider; /* NULL: a type that is never called */
};

enum bk_err integration_view_open(struct slice spec,
                                  struct integration_view *ret_view) BK_MUST_CHECK;
void integration_view_close(struct integration_view *view);
/* Empty when it is not there. */
struct slice integration_text(const struct integration_view *view, const char *path);
bool integration_flag(const struct integration_view *view, const char *path, bool absent);
/* Where its API is. */
struct slice integration_api_base(const struct integration_view *view, struct arena *arena);

/* A sealed value of a record, in clear. BK_NOT_FOUND. */
enum bk_err integration_open_slot(struct hub *hub, const struct record *record, struct slice field,
                                  struct arena *arena, struct slice *ret_text) BK_MUST_CHECK;
/* The token, the password or the client's secret. BK_INVALID: why. */
enum bk_err integration_open_credential(struct hub *hub, struct store_txn *txn,
                                        const struct integration_view *view,
                                        const struct record *record, struct slice canvas,
                                        struct arena *arena, char why[PROVIDER_WHY_BYTES],
                                        struct slice *ret_text) BK_MUST_CHECK;

#endif
