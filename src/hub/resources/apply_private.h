/* apply_private.h - what the parts of apply share; for apply*.c only.
 *
 * Order       apply_documents.c reads the set; apply.c runs it in one transaction: each object into
 *             its record (apply_object.c), what goes (apply_delete.c), who refers to what changed
 *             (apply_users.c), what the cores are to see (apply_feed.c). Mistakes are gathered by
 *             apply_check.c; apply_diff.c is what changed, as text.
 */
#ifndef BECKET_HUB_APPLY_PRIVATE_H
#define BECKET_HUB_APPLY_PRIVATE_H

#include "hub/hub_private.h"
#include "hub/resources/apply.h"

/* An Integration as it was before the set, where that led elsewhere (operations/provider_work.c).
 */
struct apply_former {
    bool known; /* looked up */
    bool left;  /* its API is elsewhere now */
    bool by_person;
    struct slice spec, base, url, credential; /* in the outcome's arena */
};

/* One object of the set on its way into the store, or out of it. */
struct apply_work {
    const struct resource_document *document; /* NULL: to be deleted */
    enum resource_kind kind;
    struct slice canvas;
    struct slice name;
    struct apply_result *result;
    bool failed;
    bool changed;           /* written in this run */
    bool keys_dropped;      /* a Secret that lost keys */
    bool path_new;          /* a source whose path has to be claimed */
    struct slice path;      /* in the outcome's arena */
    bool users_indifferent; /* who refers to it need not be compiled anew (set by its index) */
    bool moved, retyped;    /* an Integration with another address, or of another type */
    struct apply_former former;
    bool waits; /* to be deleted, but not yet (apply_delete.c) */
};

/* An object to be deleted, as somebody named it. */
struct apply_wanted {
    enum resource_kind kind;
    struct slice canvas; /* empty = "default"; a Canvas has none */
    struct slice name;
};

/* What is fed after the commit, besides sources. */
struct apply_target {
    enum resource_kind kind; /* RESOURCE_DESTINATION or RESOURCE_ROUTE */
    uint64_t number;
    bool removed;
    struct destination *destination; /* these two are the feed's */
    struct route_change route;
};

/* An object that refers to something that was changed or is to go. */
struct apply_user {
    enum resource_kind kind;
    struct slice canvas;
    struct slice name;
    struct slice keys; /* the wanted ones of a Secret, separated by zero bytes */
    struct apply_work *used;
};

/* What the object being built refers to; slices live as long as the document. */
#define APPLY_REFERENCES_MAX 64U
struct apply_reference {
    enum resource_kind kind;
    struct slice canvas;
    struct slice name;
    struct slice key; /* of a Secret */
};

struct apply {
    struct hub *hub;
    const struct apply_options *options;
    struct apply_outcome *outcome;
    struct arena *arena; /* the outcome's */
    struct store_txn *txn;

    struct apply_work *works; /* one per document */
    size_t count;
    struct apply_work **sorted; /* the same, by kind, canvas, name */
    struct slice
        *unread; /* names of documents of the set that are no work, sorted: no known kind */
    size_t unread_count;
    bool nameless; /* one has not even a name that can be read: it may be any */
    /* Mistakes of the documents as such, before those of the set; with any, `options` is
     * look_only. */
    size_t decoded_count, decoded_dropped;
    struct apply_options look_only;
    struct apply_wanted *wanted; /* objects to be deleted */
    size_t wanted_count;
    size_t waiting_count; /* of them */
    struct apply_work *removals;
    size_t removal_count;
    size_t removal_size;
    const char *in_use; /* what is to go but has to stay, in words; NULL = nothing has */
    struct apply_user *users;
    size_t user_count;
    size_t user_size;
    uint64_t revision;
    uint64_t number;

    struct compiler compiler; /* while compiling */
    struct source_change *changes;
    size_t change_count;
    size_t change_size;
    struct apply_target *targets;
    size_t target_count;
    size_t target_size;

    /* scratch of one object */
    struct buf old_bytes; /* a copy: the map moves under writes */
    struct buf spec, slots, compiled, bytes;
    unsigned slot_count;
    struct record old;
    bool existed;
    uint8_t id[16];
    struct apply_reference references[APPLY_REFERENCES_MAX];
    unsigned reference_count;
    struct source_input source_old, source_new; /* apply_source.c's */
    const char *key;                            /* generated */
    struct apply_diff *diffs;
    size_t diff_count;
    size_t diff_size;
};

/* A mistake of the document behind `work`. */
__attribute__((format(printf, 5, 6))) void apply_wrong(struct apply *apply, struct apply_work *work,
                                                       struct json_place place, const char *field,
                                                       const char *format, ...);
/* A copy in the outcome's arena; empty without memory. */
struct slice apply_keep(struct apply *apply, struct slice text);
/* The whole set fails with err; the first message stays. */
__attribute__((format(printf, 3, 4))) enum bk_err apply_fail(struct apply *apply, enum bk_err err,
                                                             const char *format, ...);

struct apply_kind;
const struct apply_kind *apply_kind_of(enum resource_kind kind);
/* Of an object of the set, or of one that goes; texts are copied. NULL = no memory. */
struct apply_result *apply_new_result(struct apply *apply, enum resource_kind kind,
                                      struct slice canvas, struct slice name);
/* Into the outcome's arena; apply->arena->overflow tells that there is no memory. */
struct slice apply_copy_slice(struct apply *apply, struct slice text);
/* Who is bound to a canvas has no part in others, nor in canvases themselves. */
enum bk_err apply_check_canvas(struct apply *apply, enum resource_kind kind, struct slice canvas,
                               struct slice name) BK_MUST_CHECK;
/* Is the object what the request demands of it? */
enum bk_err apply_check_revision(struct apply *apply, enum resource_kind kind, struct slice name,
                                 uint64_t revision) BK_MUST_CHECK;

/* ---- apply_documents.c */
/* The works of the set, or, with options->remove, what it names to be deleted. */
enum bk_err apply_decode_all(struct apply *apply, struct json_tree *tree) BK_MUST_CHECK;

/* ---- apply_feed.c */
/* For the feed; slices are copied. The scheme stays the caller's when it fails. */
enum bk_err apply_add_change(struct apply *apply, const struct source_change *change) BK_MUST_CHECK;
/* A zeroed one, to be filled; apply->target_count-- takes it back. NULL = no memory. */
struct apply_target *apply_add_target(struct apply *apply);
void apply_drop_changes(struct apply *apply);
/* Before the commit: changes of all that was written, and of who refers to it. */
enum bk_err apply_compile(struct apply *apply) BK_MUST_CHECK;
/* After it. A route comes when all it names is there, and goes before it does. */
void apply_feed(struct apply *apply);

/* ---- apply_check.c: every mistake in one round */

/* Where the field of a mistake stands, when all that is known is a place of its document or spec.
 */
struct json_place apply_place(const struct apply_work *work, struct json_place place,
                              const char *field);
/* Is this an object that the set declares, but wrongly? Then nothing can be said about what refers
 * to it. */
bool apply_is_doubtful(const struct apply *apply, enum resource_kind kind, struct slice canvas,
                       struct slice name);
/* Before it is asked: a set may have very many references, and as many that are no work. */
void apply_sort_unread(struct apply *apply);
/* BK_OK without mistakes. Else they are in the order of the text, each once, and the message tells
 * how many. */
enum bk_err apply_say_problems(struct apply *apply) BK_MUST_CHECK;
/* NULL = it is not in the set. */
struct apply_work *apply_find_work(const struct apply *apply, enum resource_kind kind,
                                   struct slice canvas, struct slice name);
/* Of a document with mistakes: is what it refers to there? */
enum bk_err apply_look(struct apply *apply, struct apply_work *work) BK_MUST_CHECK;

/* ---- apply_object.c */
/* Create or update one object from its document. An error ends the transaction; mistakes only mark
 * the work as failed. */
enum bk_err apply_put(struct apply *apply, struct apply_work *work) BK_MUST_CHECK;
/* Remove one object and its indexes. */
enum bk_err apply_remove(struct apply *apply, struct apply_work *work) BK_MUST_CHECK;

/* ---- apply.c */
/* By kind, canvas, name. */
int apply_compare(const struct apply_work *a, const struct apply_work *b);
int apply_compare_users(const void *a, const void *b); /* for qsort() */

/* ---- apply_users.c */
/* Objects that refer to `used` are added to apply->users. */
enum bk_err apply_find_users(struct apply *apply, struct apply_work *used) BK_MUST_CHECK;
/* All objects of the set are written by now, so the references are those of the end. */
enum bk_err apply_check_references(struct apply *apply) BK_MUST_CHECK;

/* ---- apply_delete.c */
/* What somebody named. Of a set, what is not there need not be deleted. */
enum bk_err apply_find_wanted(struct apply *apply) BK_MUST_CHECK;
/* What the set does not name, of each kind and canvas that somebody wrote into it: the source that
 * a link implies does not make the set one of sources. */
enum bk_err apply_find_pruned(struct apply *apply) BK_MUST_CHECK;
/* All that was found, and what goes with it; with options->remove what has to stay for now waits.
 */
enum bk_err apply_remove_all(struct apply *apply) BK_MUST_CHECK;

/* ---- apply_diff.c */
/* Note a difference; before and after are JSON text. */
void apply_diff_add(struct apply *apply, const char *path, const char *before, const char *after);
/* Compare two specs. Objects are compared field by field, all else as a whole. */
void apply_diff_specs(struct apply *apply, struct slice before, struct slice after);
/* One more of [{"path","before","after"}, without the last bracket: what an attempt would change.
 */
void apply_add_attempt(struct buf *json, const char *path, struct slice before, struct slice after);
/* Such an attempt is refused: it goes into the audit records. BK_FORBIDDEN. */
__attribute__((format(printf, 4, 5))) enum bk_err apply_refuse(struct apply *apply,
                                                               const struct apply_work *work,
                                                               struct buf *json, const char *format,
                                                               ...);

#endif
