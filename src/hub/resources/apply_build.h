/* apply_build.h - for the files that build one kind's records (apply_secret.c, apply_source.c, …):
 * a kind is a row of functions, and what all kinds need.
 *
 * Adding a kind: decode_<kind>.c reads its spec, apply_<kind>.c has its struct apply_kind, a line
 * in apply_object.c's table, a row in resource.c, its routes in api/routes.c.
 */
#ifndef BECKET_HUB_APPLY_BUILD_H
#define BECKET_HUB_APPLY_BUILD_H

#include "hub/resources/apply_private.h"

struct apply_kind {
    /* Fill apply->spec, slots, compiled and references from work->document; apply->old is the
     * record before when apply->existed. Mistakes: apply_wrong() and BK_OK. */
    enum bk_err (*build)(struct apply *apply, struct apply_work *work);
    /* Only look whether what it refers to is there: of a document with other mistakes, so each
     * field may be empty. NULL = it refers to nothing. */
    enum bk_err (*refer)(struct apply *apply, struct apply_work *work);
    /* Behind the record, when it was new or differs: indexes of this kind's own. NULL = none. */
    enum bk_err (*index)(struct apply *apply, struct apply_work *work, uint64_t number);
    /* The object goes; apply->old is it. NULL = nothing to do. */
    enum bk_err (*unindex)(struct apply *apply, struct apply_work *work);
    /* After everything is written: an object of this kind changed (blame is itself), or something
     * that it refers to did (blame is that). Check that it still works, prepare what the reactors
     * need. NULL = nothing to do. */
    enum bk_err (*compile)(struct apply *apply, struct slice canvas, struct slice name,
                           struct apply_work *blame, bool own);
    bool numbered; /* has a number of its own that is never reused */
};

extern const struct apply_kind apply_secret_kind, apply_integration_kind, apply_source_kind,
    apply_destination_kind, apply_route_kind, apply_user_kind, apply_team_kind, apply_person_kind,
    apply_link_kind;

/* ---- sealed values: slots of the record */

/* The value of a slot: kept when it is "***" or the same as before, else sealed anew. */
enum bk_err apply_value(struct apply *apply, struct apply_work *work, struct slice field,
                        struct slice text, struct json_place place, const char *path) BK_MUST_CHECK;
enum bk_err apply_seal(struct apply *apply, struct slice field, struct slice text) BK_MUST_CHECK;
/* 32 random bytes in this slot, as base64url or as whsec_ and base64, or what is there already. A
 * new one is shown once, as the result's key. */
enum bk_err apply_generate_key(struct apply *apply, struct slice field, bool whsec) BK_MUST_CHECK;
/* Behind apply_generate_key: the key that was in `field` before, when it is to be accepted still,
 * now in the slot `previous`. */
enum bk_err apply_previous_key(struct apply *apply, struct slice field, struct slice previous,
                               bool *ret_kept) BK_MUST_CHECK;
/* A secret of the object: in place, then sealed in the slot `field`, or a reference. `path` is the
 * field it stands in. */
struct source_secret;
enum bk_err apply_secret_source(struct apply *apply, struct apply_work *work,
                                const struct resource_source_secret *secret, const char *field,
                                const char *path, struct source_secret *ret_secret) BK_MUST_CHECK;
/* Of a list of secrets, `path`, kept in these slots by its order: does it say which of the stored
 * ones stay? Else it is noted. */
void apply_check_kept(struct apply *apply, struct apply_work *work,
                      const struct resource_source_secret *secrets, unsigned count,
                      const char *const *slots, unsigned slot_max, const char *path);
/* For apply_kind.refer: when it is a reference, is it there? `path` is the field it stands in. */
enum bk_err apply_look_secret(struct apply *apply, struct apply_work *work,
                              const struct resource_source_secret *secret,
                              const char *path) BK_MUST_CHECK;
/* The same of an object. */
enum bk_err apply_look_object(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                              struct slice name, struct json_place place,
                              const char *path) BK_MUST_CHECK;

/* ---- references: an object that is referred to cannot be deleted */

/* *ret_canvas is where it is: the object's own canvas, else the default one. BK_NOT_FOUND: there is
 * none, and the mistake was noted (treat as BK_OK with nothing found). ret_record may be NULL; it
 * lives until the next write. */
enum bk_err apply_refer(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                        struct slice name, struct json_place place, const char *path,
                        struct slice *ret_canvas, struct record *ret_record) BK_MUST_CHECK;
/* Behind a reference that says where its object has to be: is it there? Else it is noted. */
void apply_check_domain(struct apply *apply, struct apply_work *work, enum resource_domain domain,
                        struct slice canvas, struct json_place place, const char *path);
/* For a Secret or an Integration: its domainType, into apply->compiled. */
enum bk_err apply_domain(struct apply *apply, struct apply_work *work) BK_MUST_CHECK;
/* Called for every kind by apply_object.c. */
enum bk_err apply_put_references(struct apply *apply, const struct apply_work *work) BK_MUST_CHECK;
enum bk_err apply_drop_references(struct apply *apply, const struct apply_work *work) BK_MUST_CHECK;

/* "canvas \0 name", with a kind in front or a type behind. */
struct slice address_value(const struct apply_work *work, uint8_t kind, struct slice type,
                           struct key *storage);

/* ---- addresses */

/* Scheme, host and port. An address that cannot be read is of none. */
bool apply_same_origin(struct slice a, struct slice b);

/* ---- writing the spec as JSON; empty texts are left out */

struct spec_writer {
    struct buf *json;
    bool filled; /* the object that is open has a member */
};

void spec_name(struct spec_writer *writer, const char *name);
void spec_text(struct spec_writer *writer, const char *name, struct slice text);
void spec_open(struct spec_writer *writer, const char *name);
void spec_close(struct spec_writer *writer);
/* {"first":…,"second":…}, left out when both are empty. */
void spec_pair(struct spec_writer *writer, const char *name, const char *first,
               struct slice first_text, const char *second, struct slice second_text);
/* {"valueFrom":{"secret":{"name":…,"key":…}}}, or {"value":"***"}. */
void spec_secret(struct buf *json, const struct resource_source_secret *secret);
/* "secrets":[…] */
void spec_secrets(struct spec_writer *writer, const struct resource_source_secret *secrets,
                  unsigned count);
/* "filters":[…],"filterOperator":… */
void spec_filters(struct spec_writer *writer, const struct resource_filters *filters);

#endif
