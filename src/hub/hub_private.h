/* hub_private.h - what the files of the control plane share; for src/hub and its tests only. */
#ifndef BECKET_HUB_HUB_PRIVATE_H
#define BECKET_HUB_HUB_PRIVATE_H

#include "http/write.h"
#include "hub/hub.h"
#include "hub/operations/github_app.h"
#include "hub/resources/audit.h"
#include "store/keys.h"
#include "store/master_key.h"
#include "store/record.h"
#include "tls/tls.h"

struct hub {
    struct store *store;
    struct seal seal;
    enum master_key_place master_key_place; /* data_key.h */
    char master_key_id[MASTER_KEY_ID_BYTES];
    int64_t master_key_since_ns;
    char *public_url;
    char *data_directory;
    source_change_fn *changed;
    destination_change_fn *destination_changed;
    route_change_fn *route_changed;
    destination_status_fn *destination_status;
    void *context;
    source_activity_fn *activity;
    void *activity_context;
    bool is_new;
    bool work_added; /* operations that nobody was woken for yet */
    bool links_changed;
    struct linked_sources *linked; /* links/link_feed.h */
    bool outbox_filled;
    bool people_changed; /* the same for renewals and revocations */
    struct clock_sets clock;
    bool issuer_wanted; /* an integration takes tokens that we issue: there should be a key */
    oidc_token_fn *oidc_token; /* NULL: nothing is issued */
    void *oidc_context;
    struct app_tokens app_tokens;
    struct token_uses *token_uses;    /* resources/token_use.h; NULL = none was noted yet */
    struct token_known *tokens_known; /* resources/token_known.h; from the opening on */
    uint64_t revoked; /* tokens, since the start: what began with one looks whether it is there */
    const struct audit_actor *actor; /* whose changes they are now; NULL = our own */
};

/* The first byte of what an object is compiled into. Who adds to one what an older version would
 * pass over raises it: that one then refuses to start, and does not go on with half of it. */
#define SOURCE_INPUT_NEWEST      2U
#define DESTINATION_INPUT_NEWEST 3U
#define ROUTE_INPUT_NEWEST       1U
/* BK_VERSION: a newer becket wrote something here, ret_why says what. */
enum bk_err hub_look_newer(struct store *store, char *ret_why) BK_MUST_CHECK;
/* Bring the state of an older version up to this one's; nothing where there is nothing to do. */
enum bk_err hub_migrate(struct store *store) BK_MUST_CHECK;

/* For an opening that fails: the line that says why (HUB_WHY_BYTES), and `err`. */
__attribute__((format(printf, 3, 4))) enum bk_err hub_refuse(char *ret_why, enum bk_err err,
                                                             const char *format, ...);

/* ---- names */

void hub_id_text(const uint8_t id[16], char ret_text[HUB_ID_TEXT_BYTES]);
bool hub_id_parse(struct slice text, uint8_t ret_id[16]);
/* What the record of a Secret or an Integration of one canvas alone has as compiled. */
#define HUB_OWN_CANVAS SLICE("canvas")
/* May objects of other canvases refer to it, where it is in the default one? */
bool hub_is_shared(enum resource_kind kind, const struct record *record);
/* A random UUID, version 4. */
void hub_id_make(uint8_t ret_id[16]);

struct hub_address {
    char canvas[NAME_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
};

/* What a canvas is called: empty = default, an id = the name of the Canvas with this id. */
enum bk_err hub_canvas(struct store_txn *txn, struct slice canvas,
                       char ret_canvas[NAME_BYTES_MAX + 1]) BK_MUST_CHECK;
/* What was there when a canvas was made: a canvas of before, of the same name, had it. All 0 of the
 * default canvas, of one that is not there, and of those that an older becket made. */
struct hub_born {
    uint64_t number;    /* of event sources, destinations and routes; up to this one */
    uint64_t entry;     /* likewise */
    uint64_t operation; /* likewise */
};
enum bk_err hub_born(struct store_txn *txn, struct slice canvas,
                     struct hub_born *ret_born) BK_MUST_CHECK;
/* Where the object with this name (or id, of any canvas) is. BK_NOT_FOUND. */
enum bk_err hub_find(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                     struct slice name, struct hub_address *ret_address) BK_MUST_CHECK;
/* The same, and what is there. */
enum bk_err hub_find_record(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                            struct slice name, struct hub_address *ret_address,
                            struct record *ret_record) BK_MUST_CHECK;
enum bk_err hub_record(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                       struct slice name, struct record *ret_record) BK_MUST_CHECK;
/* canvas \0 name, as in keys behind the kind. False when it is not that. */
bool hub_split(struct slice text, struct slice *ret_canvas, struct slice *ret_name);

/* ---- a source's compiled input: record.compiled of an EventSource */

struct source_secret {
    bool by_reference;
    bool is_verify_token; /* shown by handshakes, no key */
    struct slice field;   /* inline: the slot in the source's own record */
    struct slice canvas;  /* by reference: whose key `key` */
    struct slice name;
    struct slice key;
};

struct source_input {
    struct slice path;
    bool path_generated;
    struct slice type;
    bool custom;
    struct scheme_custom row;  /* when custom */
    int64_t tolerance_seconds; /* -1 = the row's */
    int64_t dedupe_window_ns;  /* -1 = the default */
    uint64_t body_bytes;       /* 0 = the default */
    uint32_t per_second;
    struct slice origins; /* texts with a blank between */
    bool has_allow;
    struct slice allow;
    struct slice proxies;
    unsigned secret_count;
    struct source_secret secrets[SECRETS_PER_SOURCE_MAX];
    /* through an integration: whose hook it is at the provider; empty = none */
    struct slice integration_canvas;
    struct slice integration;
    struct slice resource_type;
    struct slice resource;
    /* spec.events: to be encoded; decoded they are `events_packed`, one filters_input each */
    const struct resource_filters *events;
    unsigned event_count;
    struct slice events_packed;
};

/* The slot of a secret that the provider brought. */
#define LEARNED_FIELD SLICE("learned")

void source_input_encode(const struct source_input *input, struct buf *bytes);
/* BK_CORRUPT. Slices point into `bytes`. */
enum bk_err source_input_decode(struct slice bytes, struct source_input *ret_input) BK_MUST_CHECK;

/* ---- the compiled input of destinations and routes (resources/compile_route.c) */

struct destination_input_text {
    bool plain;
    struct slice value;          /* plain */
    struct source_secret secret; /* else */
};

struct destination_input_header {
    struct slice name;
    struct destination_input_text text;
};

struct destination_input {
    struct slice url;
    bool unsigned_;
    enum destination_format format;
    bool strict;
    bool allow_private;
    bool paused;
    uint32_t timeout_ms;
    uint32_t concurrency;
    uint32_t per_second;
    uint32_t jitter_permille;
    struct slice order_key;
    unsigned secret_count;
    struct source_secret secrets[DESTINATION_SECRETS_MAX];
    unsigned header_count;
    struct destination_input_header headers[DESTINATION_HEADERS_MAX];
    unsigned retry_count;
    uint32_t retry_schedule_ms[DESTINATION_RETRIES_MAX];
    bool has_tls[RESOURCE_TLS_COUNT];
    struct destination_input_text tls[RESOURCE_TLS_COUNT];
};

void destination_input_defaults(struct destination_input *input);
void destination_input_encode(const struct destination_input *input, struct buf *bytes);
/* BK_CORRUPT. Slices point into `bytes`. */
enum bk_err destination_input_decode(struct slice bytes,
                                     struct destination_input *ret_input) BK_MUST_CHECK;

struct filters_input {
    bool any;
    unsigned count;
    struct resource_filter items[RESOURCE_FILTERS_MAX];
    unsigned type_count;
    struct slice types[RESOURCE_TYPES_MAX];
};

void filters_input_encode(const struct resource_filters *filters, struct buf *bytes);
bool filters_input_decode(struct slice *rest, struct filters_input *ret_input);
enum bk_err filters_compile(const struct filters_input *conditions, const struct slice *types,
                            unsigned type_count, struct filter_set **ret_set) BK_MUST_CHECK;

struct route_input_end {
    struct slice canvas; /* where the name was found */
    struct slice name;
    const struct resource_filters *types; /* of a source */
};

struct route_input {
    unsigned from_count;
    struct route_input_end from[RESOURCE_ROUTE_ENDS_MAX];
    unsigned to_count;
    struct route_input_end to[RESOURCE_ROUTE_ENDS_MAX];
    const struct resource_filters *filters;
};

void route_input_encode(const struct route_input *input, struct buf *bytes);

struct pause {
    enum destination_pause pause; /* as kept: never by spec */
    int64_t since_ns;
};
enum bk_err pause_read(struct store_txn *txn, uint64_t number,
                       struct pause *ret_pause) BK_MUST_CHECK;

/* ---- compiling; keeps the last secret and row, for many sources share them */

struct compiler {
    struct hub *hub;
    struct store_txn *txn;
    char type[NAME_BYTES_MAX + 1];
    const struct scheme_row *row;
    bool cached;
    char canvas[NAME_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
    char key[RESOURCE_SECRET_KEY_BYTES_MAX + 1];
    size_t text_bytes;
    uint8_t *text;              /* SEAL_VALUE_BYTES_MAX: the cached secret */
    uint8_t *own;               /* the same size: inline secrets of the source being compiled */
    char why[TLS_WHY_BYTES];    /* where a message is made up */
    enum resource_tls tls_part; /* of a destination that failed; RESOURCE_TLS_COUNT = none */
    unsigned secret_part;       /* the same: which signing secret; DESTINATION_SECRETS_MAX = none */
};

enum bk_err compiler_init(struct compiler *compiler, struct hub *hub,
                          struct store_txn *txn) BK_MUST_CHECK;
void compiler_fini(struct compiler *compiler);
/* Slices of *ret_change point into the record, canvas and name. ret_message: on failure, static or
 * the compiler's. */
enum bk_err compiler_run(struct compiler *compiler, struct slice canvas, struct slice name,
                         const struct record *record, struct source_change *ret_change,
                         const char **ret_message) BK_MUST_CHECK;

/* The texts of an object's secrets; valid until the next use of the compiler. */
enum bk_err compiler_secrets(struct compiler *compiler, const struct record *record,
                             const struct source_secret *secrets, unsigned count,
                             struct slice *ret_texts) BK_MUST_CHECK;
enum bk_err compile_destination(struct compiler *compiler, struct slice canvas, struct slice name,
                                const struct record *record, struct destination **ret_destination,
                                const char **ret_message) BK_MUST_CHECK;
/* Arrays and names are in the arena, filter sets the caller's (route_change_drop). */
enum bk_err compile_route(struct compiler *compiler, const struct record *record,
                          struct arena *arena, struct route_change *ret_change,
                          const char **ret_message) BK_MUST_CHECK;
void route_change_drop(struct route_change *change);

/* The slot of a Secret's key: "data." and the key. */
struct slice secret_field(struct slice key, char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8]);

#endif
