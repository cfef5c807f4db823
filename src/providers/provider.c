/* provider.c - running a provider's steps, and the table of providers. */
#include "providers/provider.h"

#include "base/assert.h"
#include "base/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <yyjson.h>

const char PROVIDER_END[] = "";

#define PROVIDER(name) extern const struct provider provider_##name;
#include "providers/table.def"
#undef PROVIDER

#define PROVIDER(name) &provider_##name,
const struct provider *const providers[] = {
#include "providers/table.def"
};
#undef PROVIDER
const size_t provider_count = bk_array_length(providers);

/* "TYPE_GITHUB" and "github" are the same. */
const struct provider *provider_find(struct slice name)
{
    if (name.bytes > 5 && slice_equal_nocase(slice_of(name.at, 5), SLICE("TYPE_"))) {
        name = slice_skip(name, 5);
    }
    for (size_t i = 0; i < provider_count; i++) {
        if (slice_equal_nocase(name, slice_str(providers[i]->name))) {
            return providers[i];
        }
    }
    return NULL;
}

/* ---- faults */

static const struct {
    const char *name;
    const char *advice;
    bool passes;
} faults[] = {
    [PROVIDER_FAULT_NONE] = {"none", "", false},
    [PROVIDER_FAULT_AUTH] = {"auth", "put a valid token into the secret, or connect again", false},
    [PROVIDER_FAULT_FORBIDDEN] = {"forbidden",
                                  "give the token the missing scope or its owner the right", false},
    [PROVIDER_FAULT_NOT_FOUND] = {"not_found",
                                  "check the name, and that the token's owner can see it", false},
    [PROVIDER_FAULT_REFUSED] = {"refused", "change what the provider names, then retry", false},
    [PROVIDER_FAULT_LIMITED] = {"limited", "it is tried again when the provider allows it", true},
    [PROVIDER_FAULT_DOWN] = {"down", "it is tried again with growing pauses", true},
    [PROVIDER_FAULT_ODD] = {"odd", "check that url and apiUrl lead to this provider's API", false},
    [PROVIDER_FAULT_UNREACHABLE] = {"unreachable",
                                    "check url and apiUrl of the integration, unless it passes: it "
                                    "is tried again with growing pauses",
                                    true},
    [PROVIDER_FAULT_BLOCKED] = {"blocked",
                                "set allowPrivate: true in the integration if it is to lead there",
                                false},
    [PROVIDER_FAULT_SETUP] = {"setup", "do that; it goes on by itself then", false},
};

bool provider_fault_passes(enum provider_fault fault)
{
    return faults[fault].passes;
}

const char *provider_fault_name(enum provider_fault fault)
{
    return faults[fault].name;
}

const char *provider_fault_advice(const struct provider *provider, enum provider_fault fault)
{
    return provider && provider->rights && fault == PROVIDER_FAULT_FORBIDDEN ? provider->rights
                                                                             : faults[fault].advice;
}

const char *provider_fail(struct provider_run *run, enum provider_fault fault, const char *format,
                          ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(run->why, sizeof run->why, format, args);
    va_end(args);
    run->fault = fault;
    return NULL;
}

/* ---- judging an answer */

#define WAIT_SECONDS_MAX 86400U

/* "30", "0.5": whole seconds, upwards; false = it is no number. */
static bool seconds_of(struct slice text, uint64_t *ret_seconds)
{
    uint64_t seconds = 0;
    size_t i = 0;
    for (; i < text.bytes && text.at[i] >= '0' && text.at[i] <= '9' && i < 12; i++) {
        seconds = seconds * 10 + (uint64_t)(text.at[i] - '0');
    }
    *ret_seconds = seconds + (i < text.bytes && text.at[i] == '.');
    return i > 0;
}

static bool header_text(const struct provider_reply *reply, const char *name,
                        struct slice *ret_text)
{
    const struct http_header *header = http_find(reply->head, slice_str(name), NULL);
    *ret_text = header ? http_header_value(reply->head, header) : SLICE_EMPTY;
    return header != NULL;
}

/* By the clock of who answered, else by ours: times that it tells are of its own. */
static int64_t answered_at(const struct provider_reply *reply)
{
    struct slice text;
    int64_t at;
    bool told = header_text(reply, "date", &text) &&
                time_parse_http_any(text, reply->now_seconds, &at) == BK_OK && at > 0;
    return told ? at : reply->now_seconds;
}

static uint32_t until(uint64_t seconds, const struct provider_reply *reply)
{
    uint64_t now = (uint64_t)answered_at(reply);
    seconds = seconds > now ? seconds - now : 0;
    return seconds > WAIT_SECONDS_MAX ? WAIT_SECONDS_MAX : (uint32_t)seconds;
}

/* Out of Retry-After, in both its forms; 0 = not told. */
static uint32_t told_to_wait(const struct provider_reply *reply)
{
    struct slice text;
    uint64_t seconds = 0;
    int64_t at;
    if (!header_text(reply, "retry-after", &text)) {
        return 0;
    }
    if (time_parse_http_any(text, reply->now_seconds, &at) == BK_OK) {
        return at > 0 ? until((uint64_t)at, reply) : 0;
    }
    seconds_of(text, &seconds);
    return seconds > WAIT_SECONDS_MAX ? WAIT_SECONDS_MAX : (uint32_t)seconds;
}

/* When the window of a limit ends. These headers stand in every answer, so they mean something only
 * where the limit is reached. A small number is a span, a large one a time. */
static uint32_t window_ends(const struct provider_reply *reply)
{
    static const char *const names[] = {"x-ratelimit-reset-after", "x-ratelimit-reset",
                                        "ratelimit-reset"};
    struct slice text;
    uint64_t seconds;
    for (size_t i = 0; i < bk_array_length(names); i++) {
        if (header_text(reply, names[i], &text) && seconds_of(text, &seconds)) {
            return seconds > 1000000000         ? until(seconds, reply)
                   : seconds > WAIT_SECONDS_MAX ? WAIT_SECONDS_MAX
                                                : (uint32_t)seconds;
        }
    }
    return 0;
}

uint32_t provider_pause_seconds(const struct provider_reply *reply)
{
    struct slice text;
    bool reached = (header_text(reply, "x-ratelimit-remaining", &text) ||
                    header_text(reply, "ratelimit-remaining", &text)) &&
                   slice_equal(text, SLICE("0"));
    return reached ? window_ends(reply) : 0;
}

static bool header_is(const struct provider_reply *reply, struct slice name, struct slice value)
{
    const struct http_header *header = http_find(reply->head, name, NULL);
    return header && slice_equal_nocase(http_header_value(reply->head, header), value);
}

/* A 403 that means "slow down": GitHub's primary and secondary limits. Of the latter not all have a
 * header that says so. */
static bool is_limit(const struct provider_reply *reply)
{
    yyjson_mut_val *message = provider_get(reply->json, "message");
    struct slice said = yyjson_mut_is_str(message) ? json_text(message) : SLICE_EMPTY;
    return reply->head->status == 429 ||
           (reply->head->status == 403 &&
            (http_find(reply->head, SLICE("retry-after"), NULL) ||
             header_is(reply, SLICE("x-ratelimit-remaining"), SLICE("0")) ||
             (said.bytes > 0 && memmem(said.at, said.bytes, "rate limit", 10))));
}

/* The first text at or below a value: a member, an item. Bounded, for it comes from outside. */
static struct slice first_text(yyjson_mut_val *value)
{
    for (unsigned depth = 0; value && depth < 4; depth++) {
        if (yyjson_mut_is_str(value)) {
            return json_text(value);
        }
        yyjson_mut_val *message = yyjson_mut_is_obj(value) ? provider_get(value, "message") : NULL;
        if (message) {
            value = message;
        } else if (yyjson_mut_is_arr(value)) {
            value = yyjson_mut_arr_get_first(value);
        } else if (yyjson_mut_is_obj(value) && yyjson_mut_obj_size(value) > 0) {
            yyjson_mut_obj_iter iter;
            yyjson_mut_obj_iter_init(value, &iter);
            value = yyjson_mut_obj_iter_get_val(yyjson_mut_obj_iter_next(&iter));
        } else {
            return SLICE_EMPTY;
        }
    }
    return SLICE_EMPTY;
}

static void add_clean(char *clean, size_t clean_bytes, struct slice text)
{
    size_t count = strlen(clean);
    for (size_t i = 0; i < text.bytes && count + 1 < clean_bytes; i++) {
        clean[count++] = text.at[i] >= 0x20 && text.at[i] < 0x7f ? (char)text.at[i] : '?';
    }
    clean[count] = '\0';
}

/* What the provider said, for the end of a sentence; printable, bounded. */
static const char *said(struct provider_run *run, const struct provider_reply *reply)
{
    static const char *const places[] = {
        "message", "error_description", "error/message", "error", "title", "detail"};
    struct slice text = SLICE_EMPTY;
    for (size_t i = 0; i < bk_array_length(places) && text.bytes == 0; i++) {
        yyjson_mut_val *value = provider_get(reply->json, places[i]);
        text = first_text(value);
    }
    struct slice more = first_text(provider_get(reply->json, "errors"));
    if (text.bytes == 0) {
        text = more;
        more = SLICE_EMPTY;
    }
    if (text.bytes == 0) {
        return "";
    }
    char clean[161] = "";
    add_clean(clean, sizeof clean - 40, text);
    if (more.bytes > 0) {
        add_clean(clean, sizeof clean, SLICE(", "));
        add_clean(clean, sizeof clean, more);
    }
    char *sentence = arena_printf(run->arena, ": %s", clean);
    return sentence ? sentence : "";
}

static const char *fault_of_status(struct provider_run *run, const struct provider_reply *reply)
{
    unsigned status = reply->head->status;
    const char *title = run->provider->title;
    run->retry_after_seconds = told_to_wait(reply);
    if (is_limit(reply)) {
        if (run->retry_after_seconds == 0) {
            run->retry_after_seconds = window_ends(reply);
        }
        return provider_fail(run, PROVIDER_FAULT_LIMITED, "%s asks to slow down (%u)%s", title,
                             status, said(run, reply));
    }
    if (status == 401) {
        return provider_fail(run, PROVIDER_FAULT_AUTH, "%s does not accept the credential (401)%s",
                             title, said(run, reply));
    }
    if (status == 403) {
        return provider_fail(run, PROVIDER_FAULT_FORBIDDEN, "%s forbids it (403)%s", title,
                             said(run, reply));
    }
    if (status == 404 || status == 410) {
        return provider_fail(run, PROVIDER_FAULT_NOT_FOUND, "%s does not know %.*s (%u)%s", title,
                             run->facts->resource.bytes ? (int)run->facts->resource.bytes : 4,
                             run->facts->resource.bytes ? (const char *)run->facts->resource.at
                                                        : "this",
                             status, said(run, reply));
    }
    if (status == 451) {
        return provider_fail(run, PROVIDER_FAULT_REFUSED,
                             "%s blocks it for legal reasons (451)%s: its support knows why", title,
                             said(run, reply));
    }
    if (status >= 500 || status == 408 || status == 425) {
        return provider_fail(run, PROVIDER_FAULT_DOWN, "%s answers %u%s", title, status,
                             said(run, reply));
    }
    if (status >= 300 && status < 400) {
        return provider_fail(run, PROVIDER_FAULT_ODD,
                             "%s redirects (%u) to another server, or in circles, which is not "
                             "followed",
                             title, status);
    }
    return provider_fail(run, PROVIDER_FAULT_REFUSED, "%s refuses it (%u)%s", title, status,
                         said(run, reply));
}

static bool wanted(const struct provider_step *step, unsigned status)
{
    for (unsigned i = 0; i < bk_array_length(step->also) && step->also[i]; i++) {
        if (step->also[i] == status) {
            return true;
        }
    }
    return status >= 200 && status < 300;
}

/* ---- steps */

/* The note that a call which makes something may have been made. */
#define DOUBT "doubt"

static const struct provider_step *step_named(const struct provider_run *run, struct slice name)
{
    const struct provider_step *step = run->provider->plans[run->intent].steps;
    for (; step && step->name; step++) {
        if (slice_equal(slice_str(step->name), name)) {
            return step;
        }
    }
    return NULL;
}

static enum provider_next ask(struct provider_run *run, const struct provider_step *step)
{
    if (run->calls++ == PROVIDER_CALLS_MAX) {
        provider_fail(run, PROVIDER_FAULT_ODD, "%s needed more than %u calls", run->provider->title,
                      PROVIDER_CALLS_MAX);
        return PROVIDER_FAILED;
    }
    run->step = step;
    run->request = (struct provider_request){.method = HTTP_GET};
    step->ask(run);
    if (run->arena->overflow && run->fault == PROVIDER_FAULT_NONE) {
        provider_fail(run, PROVIDER_FAULT_REFUSED, "the request to %s is too large",
                      run->provider->title);
    }
    if (run->fault != PROVIDER_FAULT_NONE) {
        return PROVIDER_FAILED;
    }
    run->request.repeatable = !step->makes;
    return PROVIDER_SEND;
}

enum provider_next provider_begin(struct provider_run *run)
{
    run->fault = PROVIDER_FAULT_NONE;
    run->why[0] = '\0';
    provider_forget(run, "page"); /* a list is read from its start */
    provider_forget(run, "cursor");
    provider_forget(run, PROVIDER_MADE);
    const struct provider_step *first = run->provider->plans[run->intent].steps;
    if (first && first->in_doubt_only && provider_recall(run, DOUBT).bytes == 0) {
        first++;
    }
    if (!first) {
        provider_fail(run, PROVIDER_FAULT_REFUSED, "%s has no way to do this",
                      run->provider->title);
        return PROVIDER_FAILED;
    }
    return ask(run, first);
}

enum provider_next provider_resume(struct provider_run *run, struct slice name, bool in_doubt)
{
    const struct provider_step *step = step_named(run, name);
    if (step && in_doubt && step->makes) {
        provider_note(run, DOUBT,
                      SLICE("yes")); /* until it is looked for, whatever comes between */
    }
    if (!step || (in_doubt && step->makes)) {
        return provider_begin(run);
    }
    run->fault = PROVIDER_FAULT_NONE;
    run->why[0] = '\0';
    return ask(run, step);
}

/* A page for people, of a proxy or a server that is looked after; packed, although that was
 * declined: in words, not by what it lacks. */
static enum provider_next odd(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice body = slice_trim(reply->body);
    if (run->fault == PROVIDER_FAULT_ODD && !reply->json && body.bytes > 0) {
        struct slice packed;
        bool is_packed = header_text(reply, "content-encoding", &packed) &&
                         !slice_equal_nocase(packed, SLICE("identity"));
        provider_fail(run, PROVIDER_FAULT_ODD, "%s answered %u with %s, not with JSON",
                      run->provider->title, reply->head->status,
                      is_packed           ? "something packed (Content-Encoding)"
                      : body.at[0] == '<' ? "a page for browsers"
                                          : "something else");
    }
    return PROVIDER_FAILED;
}

enum provider_next provider_take(struct provider_run *run, const struct provider_reply *reply)
{
    bk_assert(run->step);
    bool judged = run->provider->judge && run->provider->judge(run, reply);
    if (judged && run->fault != PROVIDER_FAULT_NONE) {
        return odd(run, reply);
    }
    if (!judged && !wanted(run->step, reply->head->status)) {
        fault_of_status(run, reply);
        return PROVIDER_FAILED;
    }
    if (run->step->makes || run->step->in_doubt_only) {
        provider_forget(run, DOUBT);
    }
    const char *next = run->step->take(run, reply);
    if (run->fault != PROVIDER_FAULT_NONE || !next) {
        bk_assert(run->fault != PROVIDER_FAULT_NONE);
        return odd(run, reply);
    }
    if (next == PROVIDER_END) {
        provider_forget(run, DOUBT);
        return PROVIDER_DONE;
    }
    const struct provider_step *step = step_named(run, slice_str(next));
    bk_assert(step);
    return ask(run, step);
}

enum provider_next provider_no_reply(struct provider_run *run, enum provider_fault fault,
                                     const char *why)
{
    provider_fail(run, fault, "%s: %.180s", run->provider->title, why);
    return PROVIDER_FAILED;
}

enum provider_next provider_refused(struct provider_run *run, const struct provider_reply *reply)
{
    fault_of_status(run, reply);
    return PROVIDER_FAILED;
}
