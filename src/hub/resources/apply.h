/* apply.h - changing objects: a set of documents, or one, all or nothing.
 *
 * Purpose     One engine for `apply`, POST, PUT and DELETE: decode, check everything, compare with
 *             what is stored, write in one transaction, compile, commit, feed.
 * Order       Inside a set the order does not matter: a source may come before its secret.
 * Names       A reference by name is looked up in the object's canvas, then in canvas `default`.
 * Prune       With prune, for each canvas and each kind that occurs in the set, objects of that
 *             kind in that canvas which the set does not name are deleted (a file of event sources
 *             alone never deletes a secret, one of links no source; canvases are never pruned). A
 *             secret that is still used by something that stays is an error and nothing changes.
 * Revision    metadata.revision is taken and not looked at: what was read may be put back later, or
 *             on another server. Of one object (PUT) if_match guards against another's change.
 * Secrets     A value of `***` keeps what is stored there: under this name, at this place of a
 *             list. It is an error where nothing is stored, where a list became shorter, so that it
 *             may be any, and for another way of auth than it was stored for.
 *             Results show secrets as "***" and changed ones as "(changed)".
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_APPLY_H
#define BECKET_HUB_APPLY_H

#include "hub/hub.h"

enum apply_mode {
    APPLY_SET,    /* create or update each */
    APPLY_CREATE, /* POST: BK_EXISTS when it is there */
    APPLY_UPDATE  /* PUT: BK_NOT_FOUND when it is not */
};

/* What happens to a signing key that becket made. */
enum apply_key {
    APPLY_KEY_KEEP,
    APPLY_KEY_ROTATE, /* a new one; the one before is accepted until the next rotation */
    APPLY_KEY_REPLACE /* a new one, and no other */
};

struct apply_options {
    enum apply_mode mode;
    bool dry_run;        /* everything but the commit */
    bool prune;          /* APPLY_SET only */
    bool json;           /* the text is said to be JSON: no YAML */
    bool remove;         /* delete what the documents name, and nothing else; gone is gone */
    struct slice canvas; /* for documents without canvasId; empty = "default" */
    /* One object (POST, PUT): what the URL says. The document's kind and name may then be absent
     * and must agree when present. */
    bool one;
    enum resource_kind kind;
    struct slice name; /* empty = as in the document */
    /* What its revision must be, and must not be (etag.h), else BK_CONFLICT. Valid; no `at`:
     * anything. */
    struct slice if_match, if_none_match;
    int64_t now_ns; /* wall clock */
    enum apply_key key;
    /* Who asks, where that is not becket itself: only what is in this canvas (empty = any), and
     * accounts and links of people only where they are this user's (empty = anybody's). A person,
     * not a machine, changes no other User either, no Team with members without being one, nor its
     * links, no Integration by which others are connected, and gets an account by signing in alone.
     * Else BK_FORBIDDEN. */
    struct slice only_canvas;
    struct slice only_user;
    bool person;
    bool below_admin;     /* leads no credential that it does not give elsewhere */
    struct slice learned; /* a secret that the provider brought (ingress/learn.h); else empty */
};

enum apply_action {
    APPLY_CREATED,
    APPLY_UPDATED,
    APPLY_UNCHANGED,
    APPLY_DELETED,
    APPLY_WAITING /* not deleted yet: hooks are still to be removed with it at the provider */
};
const char *apply_action_name(enum apply_action action);

struct apply_diff {
    const char *path;   /* "spec.limits.bodyBytes" */
    const char *before; /* JSON text; NULL = was not there */
    const char *after;  /* JSON text; NULL = is gone */
};

struct apply_result {
    enum resource_kind kind;
    const char *name;
    const char *canvas; /* "" for a Canvas */
    enum apply_action action;
    const struct apply_diff *diffs;
    size_t diff_count;
    char id[HUB_ID_TEXT_BYTES];
    uint64_t revision;
    const char *key; /* generated signing key, shown this once; NULL = none */
    const char *url; /* event source: where to send; else NULL */
};

struct apply_outcome {
    struct arena arena; /* everything below; wiped by apply_outcome_fini */
    struct apply_result *results;
    size_t count;
    struct resource_problems problems; /* when the error is BK_INVALID */
    const char *message;               /* one line for people when it failed */
    /* An attempt that belongs into the audit records, and what it would have changed; or NULL. */
    const struct apply_result *refused;
    struct slice refused_diff;
};

void apply_outcome_fini(struct apply_outcome *outcome);

/* Apply documents out of text (YAML or JSON, or JSON alone; a list or {"items":[…]} counts as its
 * elements).
 * *ret_outcome is always initialised.
 * BK_INVALID: outcome->problems lists everything that is wrong. BK_EXISTS, BK_NOT_FOUND,
 * BK_CONFLICT, BK_FORBIDDEN,
 * BK_IN_USE, BK_UNSUPPORTED, BK_TOO_LARGE, BK_NO_SPACE, BK_IO: outcome->message. Nothing changed.
 * */
enum bk_err apply_text(struct hub *hub, struct slice text, const struct apply_options *options,
                       struct apply_outcome *ret_outcome) BK_MUST_CHECK;
/* Delete one object. `name` may be its id. BK_NOT_FOUND, BK_CONFLICT, BK_FORBIDDEN, BK_IN_USE
 * (names the users).
 * */
enum bk_err apply_delete(struct hub *hub, enum resource_kind kind, struct slice name,
                         const struct apply_options *options,
                         struct apply_outcome *ret_outcome) BK_MUST_CHECK;

/*
 * {"results":[{"kind","name","canvasId","action","diff":[{"path","before","after"}],"key"?,"url"?}]
 * } */
void apply_results_json(const struct apply_outcome *outcome, struct buf *json);
/* [{"path","before","after"}] of one. */
void apply_diffs_json(const struct apply_result *result, struct buf *json);
/* {"code","message","details":[{"field","message","document","line","column"}]} */
void apply_error_json(const struct apply_outcome *outcome, enum bk_err err, struct buf *json);

#endif
