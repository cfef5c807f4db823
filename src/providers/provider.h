/* provider.h - what becket does at an outside service, as pure step machines.
 *
 * Purpose     A provider is one file with one constant `struct provider`. For each thing that
 *             becket wants there (an intent) it has a short list of steps. A step builds one
 *             request, and takes its answer to name the next step. hub runs the requests, stores
 *             the memory before each call and after each answer, and repeats or gives up by the
 *             fault's class.
 * Order       The first step of an intent looks before anything is made. After a doubt (a crash, a
 *             time-out, a 5xx in a step that makes something) the intent starts again at its first
 *             step, so nothing is made twice. Where a look costs much, it is only made in doubt.
 * Ownership   Everything a run points to lives in its arena or belongs to the caller; a request is
 *             valid until the next call on the run.
 * Threads     Pure: no I/O, no clock, no globals. Control plane, so arenas and JSON trees.
 * Limits      PROVIDER_MEMORY_MAX entries, PROVIDER_CALLS_MAX calls of one run.
 * Source      the provider's pages are named in its file.
 */
#ifndef BECKET_PROVIDERS_PROVIDER_H
#define BECKET_PROVIDERS_PROVIDER_H

#include "base/arena.h"
#include "base/json.h"
#include "http/message.h"

enum provider_intent {
    PROVIDER_CHECK,          /* does the credential work, and whose is it: account, accountId */
    PROVIDER_RESOURCE_CHECK, /* is the resource there: resourceId, resourceName */
    PROVIDER_HOOK_ENSURE, /* a hook to our address, switched on, with our key and events: hookId */
    PROVIDER_HOOK_REMOVE, /* no hook to our address is left; what is gone already is fine */
    PROVIDER_POST,        /* say a text in a channel: messageId */
    PROVIDER_INTENT_COUNT
};

/* Also in stored operations: append only. */
enum provider_fault {
    PROVIDER_FAULT_NONE,
    PROVIDER_FAULT_AUTH,      /* the credential is refused: wrong, expired or revoked */
    PROVIDER_FAULT_FORBIDDEN, /* it is known but may not do this: a scope or a right is missing */
    PROVIDER_FAULT_NOT_FOUND, /* the resource is not there, or not visible to the credential */
    PROVIDER_FAULT_REFUSED,   /* the request makes no sense to the provider; repeating will not help
                               */
    PROVIDER_FAULT_LIMITED,   /* too many requests: after retry_after_seconds */
    PROVIDER_FAULT_DOWN,      /* 5xx, 408, no answer: again later */
    PROVIDER_FAULT_ODD,       /* an answer that does not look like this provider's */
    PROVIDER_FAULT_UNREACHABLE, /* no such host, no connection, no TLS: nothing was sent */
    PROVIDER_FAULT_BLOCKED,     /* the address is one that becket may not call */
    PROVIDER_FAULT_SETUP,       /* something on our side is missing; the why says what */
    PROVIDER_FAULT_COUNT
};

#define PROVIDER_MEMORY_MAX 24U
#define PROVIDER_CALLS_MAX  1024U /* so many pages of a list, one after the other */
#define PROVIDER_EVENTS_MAX 64U
#define PROVIDER_WHY_BYTES  256U

/* What a run is about; the caller's, constant during the run. Empty slices where it does not apply.
 */
struct provider_facts {
    struct slice url;           /* spec.url of the integration, without a slash at the end */
    struct slice resource_type; /* "repository", "project", "organization" */
    struct slice resource;      /* its name as the user wrote it */
    struct slice hook_url;      /* our address, the identity of a hook at the provider */
    struct slice hook_id;       /* of the one made before, in case our address has changed since */
    struct slice hook_key;      /* the signing key, or the token */
    struct slice hook_name;     /* unique name for providers that name their objects */
    bool key_is_current; /* the hook at the provider has this key already, as far as we know */
    const struct slice *events; /* empty = the provider's usual ones */
    unsigned event_count;
    struct slice channel; /* PROVIDER_POST */
    struct slice text;
    struct slice once;     /* names this message, the same in every try: 24 hex digits */
    int64_t since_seconds; /* when it was first to be posted */
};

/* Small named strings that outlive the run: provider object ids. */
struct provider_memory {
    unsigned count;
    struct provider_note {
        struct slice name;
        struct slice value;
    } notes[PROVIDER_MEMORY_MAX];
};

struct provider_request {
    enum http_method method;
    struct slice target; /* below the API's base: "/repos/acme/hello/hooks?per_page=100" */
    struct slice body;
    const char *content_type; /* NULL = no body */
    bool repeatable;          /* may be sent twice without harm */
};

struct provider_reply {
    const struct http_head *head; /* status and headers */
    struct slice body;
    yyjson_mut_val *json; /* the body as JSON, NULL when it is none */
    int64_t now_seconds;
};

struct provider_run;

struct provider_step {
    const char *name;
    bool makes;         /* creates something at the provider: not to be repeated in doubt */
    bool in_doubt_only; /* of a first step: the second one is the first while there is no doubt */
    /* Fill run->request. */
    void (*ask)(struct provider_run *run);
    /* Any answer that provider_accept() let through. The name of the next step, PROVIDER_END, or
     * NULL after provider_fail(). */
    const char *(*take)(struct provider_run *run, const struct provider_reply *reply);
    uint16_t also[4]; /* statuses beside 2xx that take() wants to see, 0 = no more */
};
extern const char PROVIDER_END[];

struct provider_plan {
    const struct provider_step *steps; /* the last has no name */
};

/* How the credential is sent. */
struct provider_auth {
    const char *header; /* "Authorization" */
    const char *prefix; /* "Bearer " */
};

struct provider_hooks; /* providers/hooks.h */

struct provider {
    const char *name;  /* "github": also the row of its webhooks */
    const char *title; /* "GitHub" */
    const char *documentation;
    const char *url; /* default of spec.url; NULL = must be given */
    const char
        *url_host;       /* spec.url must be on this host unless spec.apiUrl is given; NULL = any */
    const char *api_url; /* default base of the API; NULL = made from spec.url by api_path */
    const char *api_path; /* behind spec.url, for servers of one's own: "/api/v4"; NULL = no API is
                             known, spec.url is called as it is */
    struct provider_auth token;
    struct provider_auth oauth; /* header NULL = the same as token */
    struct provider_auth also;  /* sent beside either; header NULL = nothing is */
    const char *rights;         /* advice to who is forbidden something; NULL = the usual */
    const char *agent;          /* "User-Agent: agent (our address, becket)"; NULL = becket */
    bool agent_alone;           /* without what stands in brackets there */
    bool takes_issued;          /* may be made to take tokens that becket issues */
    const char *const *headers; /* lines that every request has: "Accept: …", NULL ends */
    const char *content_type;   /* of requests without a body, too; NULL = those have none */
    const char *resource_type;  /* "repository"; NULL = it has no resources */
    const char
        *wide_type; /* "organization", whose hook tells of all it has; NULL = there is none */
    const struct provider_hooks *hooks; /* for the steps of providers/hooks.h */
    const char *const *usual_events;    /* when the source names none; NULL ends */
    /* What its webhooks say of an event that the API calls otherwise: "push" is a "Push Hook". The
     * name itself when it is not known. NULL = both say the same. */
    struct slice (*event_type)(struct slice event);
    struct provider_plan plans[PROVIDER_INTENT_COUNT]; /* steps NULL = it cannot */
    /* A 2xx that says no (Slack's {"ok":false}), or a refusal with a meaning of its own. False =
     * not decided here. May be NULL. */
    bool (*judge)(struct provider_run *run, const struct provider_reply *reply);
};

extern const struct provider *const providers[];
extern const size_t provider_count;
/* By name in the spellings of scheme_row_find: "github", "TYPE_GITHUB". NULL = unknown. */
const struct provider *provider_find(struct slice name);

/* ---- running */

enum provider_next {
    PROVIDER_SEND,  /* run->request is to be sent */
    PROVIDER_DONE,  /* run->memory says what is known now */
    PROVIDER_FAILED /* run->fault and run->why */
};

struct provider_run {
    const struct provider *provider;
    enum provider_intent intent;
    const struct provider_facts *facts;
    struct arena *arena;
    const struct provider_step *step; /* the one whose request is or was out */
    struct provider_memory memory;
    struct provider_request request;
    enum provider_fault fault;
    uint32_t retry_after_seconds; /* 0 = not told */
    char why[PROVIDER_WHY_BYTES]; /* one line for people, never with a secret */
    unsigned calls;
};

/* From the first step. Memory of earlier runs (hook ids) may be put in before with provider_note().
 */
enum provider_next provider_begin(struct provider_run *run);
/* At the step with this name, whose call may or may not have been made: where that is in doubt the
 * run begins at the first step instead. */
enum provider_next provider_resume(struct provider_run *run, struct slice step, bool in_doubt);
/* The answer to run->request. */
enum provider_next provider_take(struct provider_run *run, const struct provider_reply *reply);
/* There was no answer: the run has failed with this fault (DOWN, UNREACHABLE, BLOCKED). */
enum provider_next provider_no_reply(struct provider_run *run, enum provider_fault fault,
                                     const char *why);

/* An answer outside of the steps that is no 2xx: the run has failed with what its status means. */
enum provider_next provider_refused(struct provider_run *run, const struct provider_reply *reply);

/* How long nothing more should be asked: an answer that used up what the provider allows says so. 0
 * = go on. */
uint32_t provider_pause_seconds(const struct provider_reply *reply);

/* Is it worth trying the same again later, without anybody mending something first? */
bool provider_fault_passes(enum provider_fault fault);
/* Short stable name: "auth", "not_found" … and what a person should do (at that provider; NULL = at
 * any). Static. */
const char *provider_fault_name(enum provider_fault fault);
const char *provider_fault_advice(const struct provider *provider, enum provider_fault fault);

/* ---- kit for provider files */

/* Remember; replaces. The value is copied. */
void provider_note(struct provider_run *run, const char *name, struct slice value);
void provider_forget(struct provider_run *run, const char *name);
/* The note that in this run one was made whose id was not told. */
#define PROVIDER_MADE "made"
/* Where a message is to be posted now, noted; and where it was posted, if it was, or is to be: a
 * link may lead to another channel meanwhile, but a message in doubt is looked for where it is. */
struct slice provider_post_channel(struct provider_run *run);
struct slice provider_posted_channel(const struct provider_run *run);
/* Empty when there is none. */
struct slice provider_recall(const struct provider_run *run, const char *name);
const char *provider_fail(struct provider_run *run, enum provider_fault fault, const char *format,
                          ...) __attribute__((format(printf, 3, 4)));

/* One path segment: everything but unreserved characters as %XX. */
struct slice provider_segment(struct provider_run *run, struct slice text);
__attribute__((format(printf, 3, 4))) void provider_ask(struct provider_run *run,
                                                        enum http_method method, const char *format,
                                                        ...);
/* The body: a JSON text made with printf; %s only from provider_json(). */
__attribute__((format(printf, 2, 3))) void provider_body(struct provider_run *run,
                                                         const char *format, ...);
/* A JSON string with quotes; an array of strings; both in the arena. */
const char *provider_json(struct provider_run *run, struct slice text);
const char *provider_json_events(struct provider_run *run);

/* The member at a path of names ("config/url"), or NULL. */
yyjson_mut_val *provider_get(yyjson_mut_val *value, const char *path);
/* Text or a number as text; empty when it is neither or not there. */
struct slice provider_text(struct provider_run *run, yyjson_mut_val *value, const char *path);
/* True when the list has exactly the events that are wanted, in any order. */
bool provider_same_events(const struct provider_run *run, yyjson_mut_val *list);
/* The page that follows, by a Link header with rel="next" or X-Next-Page. 0 = there is none, or it
 * leads no further. */
unsigned provider_next_page(const struct provider_reply *reply, unsigned page);
/* owner/name of the resource: the name itself when it has a slash, else with the owner that the
 * path of facts.url ends with. False: no owner is known. Encoded, ready for a target. */
bool provider_owner_and_name(struct provider_run *run, struct slice *ret_path);
/* The event names that count: those of the facts, or the provider's usual ones. */
unsigned provider_events(const struct provider_run *run,
                         struct slice ret_events[PROVIDER_EVENTS_MAX]);

#endif
