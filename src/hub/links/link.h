/* link.h - what ties a team or a user to something at a provider: one row for each type of link.
 *
 * Purpose     A row says whose links they are, what the form asks for, what a link is called, what
 *             it does in one sentence, and what its creation makes. A new type is a row in link.c.
 * Hooks       A link of a type with makes_hook has an EventSource of its own, "link-" and its name,
 *             which is made and removed with it, in one transaction (resources/apply.c); the
 *             source's operations make and remove the hook at the provider.
 * Threads     Pure; any.
 */
#ifndef BECKET_HUB_LINK_H
#define BECKET_HUB_LINK_H

#include "hub/resources/resource.h"

#define LINK_SETTING_BYTES_MAX 200U
#define LINK_SOURCE_PREFIX     "link-"

struct link_field {
    const char *name; /* in spec.settings; NULL ends a list */
    const char *label;
    const char *hint;
    bool wanted;
};

struct link_type {
    const char *name;  /* "github"; of the integration, too */
    const char *title; /* short_name: "GitHub" */
    const char *about; /* for the catalogue */
    bool for_team, for_user;
    bool integration; /* needs one */
    bool makes_hook;  /* has a source of its own, for this resource and these events */
    const char *resource_type;
    const char *resource_setting; /* which setting names the resource */
    const char *const *events;    /* NULL = the provider's usual ones */
    bool posts;                   /* entries go out to this setting as a message */
    const char *channel_setting;
    const struct link_field *fields;
    /* One sentence; "{setting}" and "{owner}" are filled in. */
    const char *summary;
};

extern const struct link_type link_types[];
extern const size_t link_type_count;
/* In the spellings of providers: "github", "TYPE_GITHUB". NULL = unknown. */
const struct link_type *link_type_find(struct slice name);
const struct link_field *link_field_find(const struct link_type *type, struct slice name);

/* The settings of a stored link, for the summary. */
typedef struct slice link_value_fn(void *context, const char *name);
void link_summary(const struct link_type *type, struct slice owner, link_value_fn *value,
                  void *context, struct buf *text);

/* "link-" name; false when that is no name (too long). */
bool link_source_name(struct slice link, char ret_name[NAME_BYTES_MAX + 1]);
/* The EventSource that a link's document implies, in the tree. NULL = no memory. */
yyjson_mut_val *link_source_document(const struct resource_document *document,
                                     struct json_tree *tree);

struct store_txn;
/* Is this source a link's own? */
bool link_owns(struct store_txn *txn, struct slice canvas, struct slice source);

#endif
