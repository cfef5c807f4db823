/* resource.h - the kinds of objects that users declare, and how their text becomes a checked spec.
 *
 * Purpose     One table of kinds; decoding that reports every mistake of a document at once, each
 *             with the field's path and its line and column.
 * Ownership   Decoded specs point into the json_tree they were decoded from.
 * Threads     The control thread; the CLI (kinds only).
 */
#ifndef BECKET_HUB_RESOURCE_H
#define BECKET_HUB_RESOURCE_H

#include "base/json.h"
#include "base/limits.h"
#include "hub/routes/destination.h"

/* The key is the byte that stands for the kind in the store: never change one. In the order in
 * which a set is written: what is referred to comes first. */
enum resource_kind {
    RESOURCE_CANVAS,
    RESOURCE_SECRET,
    RESOURCE_USER,
    RESOURCE_TEAM,
    RESOURCE_INTEGRATION,
    RESOURCE_INTEGRATION_USER,
    RESOURCE_EVENT_SOURCE,
    RESOURCE_DESTINATION,
    RESOURCE_INTEGRATION_LINK,
    RESOURCE_ROUTE,
    /* names of the interface that this version does not have yet */
    RESOURCE_STAGE,
    RESOURCE_CONNECTION_GROUP,
    RESOURCE_EXECUTION,
    RESOURCE_DEPLOYMENT,
    RESOURCE_VARIABLE,
    RESOURCE_OPERATION,
    RESOURCE_KIND_COUNT
};

struct resource_kind_info {
    const char *name;     /* "EventSource" */
    const char *singular; /* "event-source" */
    const char *plural;   /* "event-sources", as in /api/v1/event-sources */
    uint8_t key;          /* in the store; 0 = not kept in this version */
    bool supported;       /* by this version */
    bool in_canvas;       /* false: Canvas itself */
};

/* `EventSource`, `event-source`, `event-sources`, `eventsource`, `event_source`, in any case. */
bool resource_kind_find(struct slice text, enum resource_kind *ret_kind);
const struct resource_kind_info *resource_kind_info(enum resource_kind kind);
/* What this version can apply, in words. */
#define RESOURCE_KINDS                                                                             \
    "Canvas, Secret, User, Team, Integration, IntegrationUser, EventSource, Destination, "         \
    "IntegrationLink and Route"
/* All names of kinds, for suggestions: NULL-terminated. */
extern const char *const resource_kind_names[];

#define RESOURCE_CANVAS_DEFAULT        "default"
#define RESOURCE_DESCRIPTION_BYTES_MAX 1024U
#define RESOURCE_SECRET_KEYS_MAX       100U
#define RESOURCE_SECRET_KEY_BYTES_MAX  128U

/* 1-63 of a-z 0-9 -. */
bool resource_name_valid(struct slice name);

/* ---- mistakes */
struct resource_problem {
    size_t document;   /* index, from 0 */
    const char *field; /* "spec.verification.tolerance"; "" = the whole document */
    const char *message;
    struct json_place place;
};
#define RESOURCE_PROBLEMS_MAX 200U /* further ones are counted, not listed */

struct resource_problems {
    struct arena *arena;
    struct resource_problem *at;
    size_t count;
    size_t dropped;
};
void resource_problems_init(struct resource_problems *problems, struct arena *arena);
__attribute__((format(printf, 5, 6))) void resource_problem_add(struct resource_problems *problems,
                                                                size_t document,
                                                                struct json_place place,
                                                                const char *field,
                                                                const char *format, ...);

/* ---- decoded documents */

/* metadata.domainType of a Secret or an Integration: who may refer to it. Without one, what is in
 * the default canvas is the organization's, for all canvases. */
enum resource_domain {
    RESOURCE_DOMAIN_ABSENT,
    RESOURCE_DOMAIN_ORGANIZATION,
    RESOURCE_DOMAIN_CANVAS
};

struct resource_secret_ref {
    struct slice name;
    struct slice key;
    enum resource_domain domain; /* where it has to be; absent: its own canvas, else the default */
};

/* One of verification.secrets. */
struct resource_source_secret {
    bool inline_value;  /* value: …; else reference */
    struct slice value; /* "***" = keep what is stored */
    struct resource_secret_ref ref;
    struct json_place place;
};

#define RESOURCE_FILTERS_MAX    32U /* of one list */
#define RESOURCE_TYPES_MAX      64U
#define RESOURCE_EVENTS_MAX     64U
#define RESOURCE_ROUTE_ENDS_MAX 32U /* sources, and destinations, of one route */

struct resource_filter {
    enum filter_kind kind;
    struct slice expression;
};

/* What lets an event through: its type and conditions. */
struct resource_filters {
    struct resource_filter *items;
    unsigned count;
    bool any;            /* filterOperator: FILTER_OPERATOR_OR */
    struct slice *types; /* none = every type */
    unsigned type_count;
};

struct resource_event_source {
    struct slice type;   /* canonical row name, or "generic" */
    struct slice path;   /* empty = generated */
    bool custom;         /* `generic` with its own row out of the fields below */
    struct slice scheme; /* none token basic hmac … */
    struct slice algorithm;
    struct slice signature_header;
    struct slice signature_format;
    struct slice timestamp_header;
    struct slice id_header;
    struct slice id_field;
    struct slice type_header;
    struct slice type_field;
    struct slice signed_template;
    struct slice issuer;   /* tokens of an issuer: scheme jwt, or a type of that kind */
    struct slice audience; /* one or several, separated by blanks */
    struct slice claims;   /* name=value lines, in the order of the document */
    struct slice jwks_url;
    struct slice signature_field;
    struct slice timestamp_field;
    struct slice timestamp_unit;
    struct slice origins; /* lists are texts with a blank between */
    bool has_allow;
    struct slice allow;
    struct slice proxies;
    struct resource_source_secret *verify_token; /* NULL = none */
    bool allow_private;                          /* the issuer may be at a private address */
    struct resource_source_secret *secrets;
    unsigned secret_count;
    bool generate_key;         /* no secret given and the scheme needs one: make it */
    int64_t tolerance_seconds; /* -1 = the row's own */
    struct slice tolerance_text;
    int64_t dedupe_window_ns; /* -1 = the default */
    struct slice dedupe_text;
    uint64_t body_bytes; /* 0 = the default */
    bool per_second_given;
    uint32_t per_second;                     /* 0 = no limit */
    struct slice integration;                /* empty = none: the user tells the provider */
    enum resource_domain integration_domain; /* as in a resource_secret_ref */
    struct json_place integration_place;
    struct slice resource_type;
    struct slice resource;
    struct resource_filters *events; /* each with one type; none = every event is taken */
    unsigned event_count;
};

enum integration_auth {
    INTEGRATION_AUTH_NONE,
    INTEGRATION_AUTH_TOKEN,
    INTEGRATION_AUTH_BASIC,
    INTEGRATION_AUTH_OAUTH, /* a person signs in */
    INTEGRATION_AUTH_OIDC,  /* tokens that we issue */
    INTEGRATION_AUTH_APP    /* GitHub App: a key of ours buys tokens of an hour */
};

struct provider;
struct resource_integration {
    struct slice type; /* "github"; "http" and sign-in only ones have no provider */
    const struct provider *provider;
    struct slice url;     /* without a slash at the end */
    struct slice api_url; /* empty = found from type and url */
    enum integration_auth auth;
    bool has_credential;
    struct resource_source_secret credential; /* token, password, or the client's secret */
    struct slice username;
    struct slice app_id, installation_id;
    struct slice client_id;
    struct slice scopes; /* separated by blanks */
    struct slice authorize_url, token_url, revoke_url, identity_url;
    struct slice issuer;   /* of ID tokens, letter by letter */
    struct slice audience; /* of tokens that we issue for its calls; empty = its id */
    bool client_basic;     /* the client shows itself by Basic, not in the form */
    bool oidc_given;
    bool oidc_enabled;
    yyjson_mut_val *claims; /* NULL = none */
    bool allow_private;
    bool check; /* try the credential when applied */
};

struct resource_duration {
    int64_t ns; /* 0 = not given */
    struct slice text;
};

/* A text that may stand in the document for all to see, or is a secret. */
struct resource_text {
    bool plain; /* value.value is the text itself; else a secret */
    struct resource_source_secret value;
};

struct resource_destination_header {
    struct slice name;
    struct resource_text text;
};

/* spec.tls: PEM, each of these may be absent. */
enum resource_tls {
    RESOURCE_TLS_CA,
    RESOURCE_TLS_CERTIFICATE,
    RESOURCE_TLS_KEY,
    RESOURCE_TLS_COUNT
};
extern const char *const resource_tls_names[RESOURCE_TLS_COUNT];

extern const char *const resource_formats[DESTINATION_FORMATS];

struct resource_destination {
    struct slice url;
    struct resource_destination_header *headers;
    unsigned header_count;
    bool unsigned_; /* signing.scheme: none */
    enum destination_format format;
    bool generate_key;
    struct resource_source_secret *secrets;
    unsigned secret_count;
    struct resource_text *tls[RESOURCE_TLS_COUNT]; /* NULL = not given */
    struct resource_duration timeout;
    bool schedule_given;
    struct resource_duration *schedule;
    unsigned schedule_count;
    bool jitter_given;
    uint16_t jitter_permille;
    uint32_t concurrency; /* 0 = the default */
    uint32_t per_second;  /* 0 = no limit */
    bool strict;
    struct slice order_key;
    bool allow_private;
    bool paused;
};

struct resource_route_end {
    struct slice name;             /* of a source, or of a destination */
    struct resource_filters types; /* of a source: only the types */
    struct json_place place;
};

struct resource_route {
    struct resource_route_end *from;
    unsigned from_count;
    struct resource_route_end *to;
    unsigned to_count;
    struct resource_filters filters;
};

/* A person of ours, and several of them. */
struct resource_user {
    struct slice full_name, email;
};

#define RESOURCE_MEMBERS_MAX 60U

/* {name: …} of another object. */
struct resource_ref {
    struct slice name; /* empty = not given */
    struct json_place place;
};

struct resource_team {
    struct slice title;
    struct resource_ref *members; /* users; none = everybody */
    unsigned member_count;
};

/* Somebody's identity at a provider. */
struct resource_integration_user {
    struct resource_ref integration, user;
    struct slice provider; /* empty = the integration's type */
    struct slice uid, nickname, full_name, email;
    struct slice workspace, workspace_name; /* Slack: where the sign-in was */
    struct slice scopes;
    struct slice redirect_uri;
    struct slice expires_text;
    int64_t expires_ns; /* of the access token; 0 = never */
    bool has_access, has_refresh;
    struct resource_source_secret access_token, refresh_token;
};

/* What ties a team or a user to something at a provider. */
#define RESOURCE_LINK_SETTINGS_MAX 8U
struct resource_link_setting {
    struct slice name, value;
};

struct link_type;
struct resource_integration_link {
    const struct link_type *type;
    struct resource_ref integration, team, user;
    struct resource_ref source;      /* entries come in from it: generic, Slack */
    struct resource_ref destination; /* entries go out to it */
    struct resource_link_setting settings[RESOURCE_LINK_SETTINGS_MAX];
    unsigned setting_count;
    struct slice statuses;           /* of entries that go out, with a blank between; empty = all */
    struct slice body, author, when; /* expressions of a generic link */
};

struct resource_secret_item {
    struct slice key;
    struct slice value; /* "***" = keep what is stored */
    struct json_place place;
};

struct resource_secret {
    struct resource_secret_item *items; /* sorted by key */
    size_t count;
};

struct resource_document {
    size_t index;
    bool implied;   /* nobody wrote it: another document of the set wants it */
    bool broken;    /* it has mistakes: of its spec only what it refers to can be looked at */
    bool addressed; /* its kind, name and canvas are right */
    yyjson_mut_val *root;
    enum resource_kind kind;
    struct slice name;
    struct slice canvas; /* "" for a Canvas */
    struct slice description;
    enum resource_domain domain;
    struct json_place place; /* of the document */
    struct json_place spec_place;
    union {
        struct resource_secret secret;
        struct resource_event_source source;
        struct resource_destination destination;
        struct resource_route route;
        struct resource_integration integration;
        struct resource_user user;
        struct resource_team team;
        struct resource_integration_user person;
        struct resource_integration_link link;
    } spec;
};

/* What is known before a document is read: the canvas for documents that name none, and for a
 * single object (POST, PUT) its kind and perhaps its name. */
struct resource_expect {
    struct slice canvas;
    bool one;
    enum resource_kind kind;
    struct slice name;
};

/* Decode one document. False when anything was wrong: then problems has grown, and the document is
 * broken. Of one whose kind is not known, the name is what it says. */
bool resource_decode(struct json_tree *tree, size_t index, yyjson_mut_val *root,
                     const struct resource_expect *expect, struct resource_document *ret_document,
                     struct resource_problems *problems);
/* The same of its kind, name and canvas alone; its spec may be anything. */
bool resource_decode_address(struct json_tree *tree, size_t index, yyjson_mut_val *root,
                             const struct resource_expect *expect,
                             struct resource_document *ret_document,
                             struct resource_problems *problems);

/* The value shown in place of every secret. */
#define RESOURCE_HIDDEN "***"

#endif
