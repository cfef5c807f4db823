/* filter.h - the expression language of filters, mappings and order keys.
 *
 * Purpose     "$.type startsWith 'invoice.' and $.amount > 100": a subset of the expr language,
 *             compiled when applied to a flat program, run on a reactor for each event.
 * Language    src/hub/routes/expressions.md has it whole, with its rules for missing fields.
 * Failure     A mistake in the text is found by filter_compile, with line and column. What only an
 *             event can cause (a field of nothing, text compared with a number, a body
 *             that is not JSON, a limit) is FILTER_FAILED, with words in event->why.
 * Limits      FILTER_* below. Time is bounded by counted steps, not by a clock, so an event gives
 *             the same result on every machine. `matches` counts the steps of PCRE2 too.
 * Memory      A program is one block. A run takes memory only from the core's scratch, which is
 *             reset by filter_event_init. The JSON body is parsed at most once per event, when the
 *             first filter asks for it.
 * Threads     A program is immutable: any number of threads. A scratch and its event: one core.
 */
#ifndef BECKET_HUB_FILTER_H
#define BECKET_HUB_FILTER_H

#include "base/err.h"
#include "base/slice.h"
#include "http/message.h"

#define FILTER_TEXT_BYTES_MAX 4096U   /* of an expression */
#define FILTER_DEPTH_MAX 32U          /* nested brackets and operators; also the stack of a run */
#define FILTER_OPS_MAX 1024U
#define FILTER_STEPS_MAX 1000000U /* of one run: an operator, 16 bytes of text, 1/4 regex step */
#define FILTER_EVENT_STEPS_MAX 4000000U /* of all runs for one event */
#define FILTER_WHY_BYTES 160U

/* What an expression sees. */
enum filter_kind {
    FILTER_DATA,  /* $ is the JSON body, or that of a form's one field payload, or a form's fields;
                   * a bare name is a field of its top level */
    FILTER_HEADER /* `headers` (names in any case), `type`, `source` */
};

struct filter; /* a compiled expression */

struct filter_error {
    uint32_t line; /* from 1, in the expression's text */
    uint32_t column;
    char message[200];
};

/* BK_INVALID with *ret_error filled; BK_NO_MEMORY. want_bool: an expression that can never be true
 * or false ("$.a + 1") is a mistake. The text is not kept. */
enum bk_err filter_compile(struct slice text, enum filter_kind kind, bool want_bool,
                           struct filter **ret_filter,
                           struct filter_error *ret_error) BK_MUST_CHECK;
void filter_free(struct filter *filter);

/* ---- running */

struct filter_scratch;
/* One per core: room for a body's JSON tree (about 12 bytes of memory per byte of text, touched
 * only when needed) and for PCRE2. */
#define FILTER_SCRATCH_BYTES (64U << 20)
enum bk_err filter_scratch_open(size_t bytes, struct filter_scratch **ret_scratch) BK_MUST_CHECK;
void filter_scratch_close(struct filter_scratch *scratch);

struct filter_event {
    const struct http_head *head; /* NULL = no headers */
    struct slice body;
    struct slice type;   /* the event's type as the provider names it; may be empty */
    struct slice source; /* the event source's name */
    char why[FILTER_WHY_BYTES]; /* after FILTER_FAILED */
    /* filter.c's */
    struct filter_scratch *scratch;
    uint64_t steps_left;
    int json_state;
    const void *json_root;
};

/* Ready an event for any number of filters; forgets the one before on this scratch. All slices and
 * the head must stay as they are while it is used. */
void filter_event_init(struct filter_event *event, struct filter_scratch *scratch,
                       const struct http_head *head, struct slice body, struct slice type,
                       struct slice source);

enum filter_type {
    FILTER_NIL,
    FILTER_BOOL,
    FILTER_INT,
    FILTER_FLOAT,
    FILTER_STRING,
    FILTER_LIST, /* an array of the body, or a list of the expression */
    FILTER_MAP   /* an object of the body, or the headers */
};

struct filter_value {
    enum filter_type type;
    bool literal; /* filter.c's: a list written in the expression */
    union {
        bool truth;
        int64_t integer;
        double real;
        struct slice text; /* of the event, the program or the scratch: until the next event */
        const void *json;  /* NULL = the headers */
        struct {
            const struct filter_value *items;
            uint32_t count;
        } list;
    } as;
};

enum filter_result { FILTER_FALSE, FILTER_TRUE, FILTER_FAILED };

/* A condition. FILTER_FAILED also when the value is neither true nor false. */
enum filter_result filter_test(const struct filter *filter, struct filter_event *event);
/* Any value. False = failed. */
bool filter_evaluate(const struct filter *filter, struct filter_event *event,
                     struct filter_value *ret_value);
/* A value as text, for keys and headers: text as it is, numbers and booleans as JSON writes them,
 * nil as the empty text. False for lists and maps. Lives as long as text does. */
bool filter_value_text(struct filter_event *event, const struct filter_value *value,
                       struct slice *ret_text);

/* ---- several together: what a route or an entry of spec.events says */

struct filter_set {
    struct filter **filters; /* owned */
    unsigned count;
    bool any;                /* FILTER_OPERATOR_OR; else all must hold */
    struct slice *types;     /* event types; one may end in '*'. Point into the set's block */
    unsigned type_count;     /* 0 = every type */
};

/* In order, and no further than needed; the first failure is the result. An empty set is true. */
enum filter_result filter_set_test(const struct filter_set *set, struct filter_event *event);
/* One malloc'ed block; takes the filters over. NULL = no memory: they stay the caller's. */
struct filter_set *filter_set_make(struct filter *const *filters, unsigned count, bool any,
                                   const struct slice *types, unsigned type_count);
void filter_set_free(struct filter_set *set); /* and its filters; NULL does nothing */
void filter_sets_free(struct filter_set **sets, unsigned count); /* each, and the array */

/* PCRE2's, "10.46". */
const char *filter_library_version(void);

#endif
