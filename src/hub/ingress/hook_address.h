/* hook_address.h - how the address of a hook is spelled, and what that asks for.
 *
 * Purpose     /hooks/{path} is ours. Who comes from another server keeps its addresses:
 *             /api/v1/sources/{path}[/{type}] (Superplane) and, for the source whose path is its
 *             type, /integrations/{type}/hook (I Done This) and, of type github, /hooks (Gitploy).
 *             Each spelling has its own answers (answer.h, reject.h).
 * Threads     Pure; any.
 */
#ifndef BECKET_HUB_HOOK_ADDRESS_H
#define BECKET_HUB_HOOK_ADDRESS_H

#include "hub/ingress/source_table.h"

#define SUPERPLANE_BODY_BYTES_MAX 65536U

enum spelling { SPELLED_OURS, SPELLED_SUPERPLANE, SPELLED_IDONETHIS, SPELLED_GITPLOY };

struct hook_address {
    enum spelling spelling;
    struct slice path; /* of the source */
    struct slice type; /* empty = any */
};

/* The spellings of those that teams come from. */
bool hook_address_of_others(struct slice path, struct hook_address *ret_address);

/* False: this is no address of a hook. */
static inline bool hook_address(struct slice path, struct hook_address *ret_address)
{
    struct slice prefix = SLICE("/hooks/");
    if (!slice_starts(path, prefix)) {
        return hook_address_of_others(path, ret_address);
    }
    *ret_address = (struct hook_address){.path = slice_skip(path, prefix.bytes)};
    return true;
}

/* Is the source at this path meant by the type in its address? */
bool hook_address_means(const struct hook_address *address, const struct source *source);

/* The largest body that this address takes. */
static inline uint64_t hook_address_body_bytes_max(const struct hook_address *address,
                                                   const struct source *source)
{
    bool small = address->spelling == SPELLED_SUPERPLANE &&
                 source->body_bytes_max > SUPERPLANE_BODY_BYTES_MAX;
    return small ? SUPERPLANE_BODY_BYTES_MAX : source->body_bytes_max;
}

/* What an address asks for besides a signature: NULL, or with what a request is refused that does
 * not have it. */
struct hook_refusal {
    unsigned status;
    const char *code, *message;
};
const struct hook_refusal *hook_address_refusal(const struct hook_address *address,
                                                const struct http_head *head);

#endif
