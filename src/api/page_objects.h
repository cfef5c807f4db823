/* page_objects.h - inside of api/: what pages show of the store's objects.
 *
 * Purpose     Names of objects, a page of them at a time; an object as the API shows it; a choice
 *             among objects of a kind.
 * Ownership   Names live as long as the call.
 */
#ifndef BECKET_API_PAGE_OBJECTS_H
#define BECKET_API_PAGE_OBJECTS_H

#include "api/page.h"
#include "base/json.h"
#include "store/keys.h"

#define NAMES_MAX         200U       /* of a choice; with more of them the name is typed in */
#define PAGE_NAMES        50U        /* of a list */
#define PAGE_OBJECT_BYTES (1U << 20) /* of one as JSON */

struct names {
    struct arena *arena;
    size_t skip;         /* of the key, in front of the name */
    struct slice canvas; /* of the key, behind that; empty = it is in front */
    bool more;           /* than fit */
    struct slice behind;
    unsigned count, most;
    struct slice at[NAMES_MAX];
};

/* NULL: no memory; as an empty list. */
static inline unsigned names_count(const struct names *names)
{
    return names ? names->count : 0;
}
/* All of a kind, behind a name. */
struct names *names_of_kind(struct page *page, enum resource_kind kind, struct slice behind);
/* A page of the objects of a kind that refer to an object. */
struct names *names_of_users(struct page *page, enum resource_kind used, struct slice name,
                             enum resource_kind kind, struct slice behind);
/* What stands below a prefix, from a key on; `names` is set up by the caller. */
void names_walk(struct page *page, const struct key *prefix, const struct key *from,
                struct names *names);

struct object {
    struct json_tree tree;
    yyjson_mut_val *root; /* NULL: it is not there */
};

/* Close it in any case. False: it is not there. */
bool object_open_in(struct page *page, enum resource_kind kind, struct slice canvas,
                    struct slice name, struct object *ret_object);
/* In the page's canvas. */
bool object_open(struct page *page, enum resource_kind kind, struct slice name,
                 struct object *ret_object);
void object_close(struct object *object);
/* Of a path such as "status/state"; empty = there is none. */
struct slice object_text(const struct object *object, const char *path);

/* Accounts and links of people: theirs, and administrators'. */
bool page_may_change(const struct page *page, struct slice owner);
/* Links of a team: a person's only where they are a member. */
bool page_may_change_team(const struct page *page, struct slice team);

/* A <select> of names, or, when there are more of them, an <input> with these as proposals. none:
 * what no choice means; NULL = there has to be one. wrong: a mistake to show; may be NULL. */
void page_choice_of(struct page *page, struct buf *html, const char *id, const char *label,
                    const struct slice *names, unsigned count, bool more, const char *none,
                    const char *wrong);
/* Of all objects of a kind. */
void page_choice(struct page *page, struct buf *html, const char *id, const char *label,
                 enum resource_kind kind, const char *none, const char *wrong);
/* The mistake at a field. */
void page_wrong(struct buf *html, const char *id, const char *wrong);

#endif
