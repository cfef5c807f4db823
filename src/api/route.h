/* route.h - inside of api/: the table of routes, what a handler gets, and how it answers.
 *
 * Purpose     One constant table says for each route its method, path, role, parameters, bodies and
 *             handler. Dispatch, 404/405, the check of query parameters and the OpenAPI document
 *             all read it, so the document is true to the code.
 * Threads     The control thread.
 */
#ifndef BECKET_API_ROUTE_H
#define BECKET_API_ROUTE_H

#include "api/api.h"
#include "base/arena.h"
#include "hub/hub.h"
#include "hub/resources/apply.h"
#include "hub/resources/token.h"

enum api_param_kind {
    API_PARAM_TEXT,
    API_PARAM_FLAG,  /* true or false */
    API_PARAM_LIMIT, /* 1 to API_LIMIT_MAX */
    API_PARAM_TIME,  /* RFC 3339, unix seconds, or a duration before now */
    API_PARAM_CHOICE
};

struct api_param {
    const char *name; /* NULL ends a list */
    enum api_param_kind kind;
    const char *help;
    const char *choices; /* "asc|desc" */
};

#define API_PARAMS_MAX    16U
#define API_LIMIT_DEFAULT 100U
#define API_LIMIT_MAX     1000U

struct api_call;
/* API_AGAIN only with response->work set: then work->resume goes on. */
typedef enum api_step api_run_fn(struct api_call *call);

enum api_body { API_BODY_NONE, API_BODY_JSON, API_BODY_DOCUMENTS /* JSON or YAML */ };

struct api_route {
    enum http_method method;
    const char *path; /* "/api/v1/events/{id}" */
    int role;         /* enum token_role; 0 = open to everybody */
    api_run_fn *run;
    enum resource_kind kind; /* of object routes */
    enum api_body body;
    const struct api_param *params; /* NULL = none */
    const char *id;                 /* operationId */
    const char *tag;
    const char *summary;
    const char *body_schema; /* name in components/schemas; NULL = none */
    uint16_t status;         /* of success */
    const char *schema;      /* of the answer; NULL = not JSON */
    const char *answer_type; /* content type when it is not JSON; NULL = JSON, or no body at all */
};

extern const struct api_route api_routes[];
extern const size_t api_route_count;
/* operationIds of routes without a parameter "canvas" whose handlers look at the caller's canvas
 * themselves; NULL ends it. */
extern const char *const api_routes_by_canvas[];

struct api_call {
    struct api *api;
    const struct api_request *request;
    struct api_response *response;
    const struct api_route *route;
    struct slice path;                   /* decoded, without query */
    struct slice segment;                /* what stood for {name} or {id}, decoded */
    struct slice values[API_PARAMS_MAX]; /* by index of route->params; at == NULL = not given */
    struct token_info token;             /* role routes only */
    struct arena arena;                  /* until api_handle returns */
};

/* An unfinished request; the first member of the handler's own struct. */
struct api_work {
    api_run_fn *resume; /* of the call, only api, request, response and arena are set then */
    void (*free_work)(struct api_work *work);
    /* After API_WAIT: what it waits for has come; or this time on the monotonic clock has. */
    bool woken;
    uint64_t wake_ns;
};

/* ---- reading (query.c; canvases: access.c) */
/* The body is said to be JSON. */
bool api_sent_json(const struct api_call *call);
/* Parameter by name: it must be in the route's list. NULL slice = not given. */
struct slice api_value(const struct api_call *call, const char *name);
/* Canvases. A token that is bound to one may call what has a parameter "canvas" (which is then that
 * one, or the answer is 403), what api_routes_by_canvas names, and nothing else that wants a role.
 * An id in the path of an object route is looked up before: one of another canvas is 404. */
bool api_may_see(const struct api_call *call, struct slice canvas);
struct journal_record;
/* Of a source of the caller's canvas. */
bool api_may_see_event(struct api_call *call, const struct journal_record *record);
/* The id of an object of another canvas than the caller's. */
bool api_is_elsewhere(struct api_call *call, enum resource_kind kind, struct slice name_or_id);
/* Whose accounts and links alone the caller sees: a person's token, not an administrator's. Empty =
 * everybody's. */
struct slice api_person(const struct api_call *call);
/* Fills in only_canvas, only_user and person. */
void api_apply_as(const struct token_info *token, struct apply_options *options);
/* Parameter "canvas", or the default one. */
struct slice api_canvas(const struct api_call *call);
bool api_flag(const struct api_call *call, const char *name);
unsigned api_limit(const struct api_call *call);
/* absent when not given; checked before the handler runs. */
int64_t api_time(const struct api_call *call, const char *name, int64_t absent);
/* "a=b", %XX and + decoded into the arena. False when malformed, or not UTF-8. */
bool api_decode(struct arena *arena, struct slice text, bool plus, struct slice *ret_text);

/* ---- answering (answer.c); each finishes the call */
enum api_step api_error(struct api_call *call, unsigned status, const char *code,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
/* {"details":[{field,message}]} with one entry. */
enum api_step api_invalid(struct api_call *call, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* From an error of the layers below; `what` begins the message: "event", "token" … */
enum api_step api_fail(struct api_call *call, enum bk_err err, const char *what);
unsigned api_status(enum bk_err err);
/* The JSON is in response->body already. */
enum api_step api_json(struct api_call *call, unsigned status);
__attribute__((format(printf, 3, 4))) void api_add_header(struct api_response *response,
                                                          const char *name, const char *format,
                                                          ...);

/* An audit record of what changes no object, by who calls. */
void api_note(const struct api_call *call, const char *action, const char *kind, struct slice name);
/* The same, with what changed as apply_diffs_json() has it. */
void api_note_diff(const struct api_call *call, const char *action, const char *kind,
                   struct slice name, struct slice diff);
/* The control thread's only reader; nobody holds pointers into it between steps. BK_BUSY: there is
 * no journal. */
enum bk_err api_reader(struct api *api, struct reader **ret_reader) BK_MUST_CHECK;

/* ---- the pages of web.c */
bool api_path_matches(const char *pattern, struct slice path, struct slice *ret_segment);
bool api_from_another_site(const struct api_request *request);
/* Counts failures of an address; false when it was answered: too many. */
bool api_guard(struct api_call *call, enum bk_err err);

/* ---- handlers */
api_run_fn api_objects_list, api_objects_get, api_objects_create, api_objects_update,
    api_objects_delete;
api_run_fn api_destinations_pause, api_destinations_resume, api_objects_secrets;
api_run_fn api_apply;
api_run_fn api_tokens_list, api_tokens_get, api_tokens_create, api_tokens_delete, api_me;
api_run_fn api_oidc_rotate, api_master_key_get, api_master_key_rotate;
api_run_fn api_audit_list, api_entries_list, api_entries_get, api_entries_create,
    api_entries_update, api_entries_delete;
api_run_fn api_sources_reset_key, api_operations_list, api_operations_get, api_operations_retry;
api_run_fn api_operations_delete;
api_run_fn api_events_list, api_events_get, api_events_body;
api_run_fn api_events_stream, api_deliveries_list, api_events_replay, api_replay;
api_run_fn api_openapi, api_metrics, api_live, api_ready, api_providers;

#endif
