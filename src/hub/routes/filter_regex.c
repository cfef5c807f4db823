/* filter_regex.c - `matches`: PCRE2 with counted steps, inside memory that was taken at start.
 *
 * The library's own match limit counts anew at every position of the text where a match may begin,
 * so by itself it bounds nothing useful for a long text. Therefore patterns are compiled with
 * automatic callouts: one before each item, each time the item is tried. The callout counts one
 * step and the distance since the last one, which is what the item before it has read. Back
 * references, whose comparisons a callout does not see, are refused; RE2 has none either. */
#include "hub/routes/filter_private.h"

#include <stdio.h>

#define HEAP_KIB_MAX    1024U
#define MATCH_CALLS_MAX 10000000U

pcre2_code *filter_regex_compile(struct slice pattern, size_t *ret_error_at,
                                 char ret_why[FILTER_WHY_BYTES])
{
    int error = 0;
    PCRE2_SIZE at = 0;
    uint32_t references = 0;
    uint32_t options = PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY |
                       PCRE2_AUTO_CALLOUT;
    pcre2_code *code = pcre2_compile(pattern.at ? pattern.at : (const uint8_t *)"", pattern.bytes,
                                     options, &error, &at, NULL);
    *ret_error_at = at;
    if (!code) {
        PCRE2_UCHAR text[120] = "wrong";
        pcre2_get_error_message(error, text, sizeof text);
        snprintf(ret_why, FILTER_WHY_BYTES, "regular expression: %s", (const char *)text);
        return NULL;
    }
    if (pcre2_pattern_info(code, PCRE2_INFO_BACKREFMAX, &references) != 0 || references > 0) {
        snprintf(ret_why, FILTER_WHY_BYTES,
                 "regular expression: back references are not supported");
        pcre2_code_free(code);
        return NULL;
    }
    return code;
}

/* ---- matching */

struct filter_regex {
    pcre2_general_context *general;
    pcre2_match_context *context;
    pcre2_match_data *data;
    size_t used; /* of the memory */
    uint64_t steps;
    uint64_t steps_max;
    PCRE2_SIZE start;
    PCRE2_SIZE last;
};

/* Match data and frames only grow, doubling up to HEAP_KIB_MAX, so nothing is ever given back. */
static void *take(PCRE2_SIZE bytes, void *context)
{
    struct filter_regex *regex = context;
    size_t rounded = (bytes + 15U) / 16U * 16U;
    if (bytes > FILTER_REGEX_MEMORY_BYTES || rounded > FILTER_REGEX_MEMORY_BYTES - regex->used) {
        return NULL;
    }
    void *at = (uint8_t *)regex + regex->used;
    regex->used += rounded;
    return at;
}

static void give(void *at, void *context)
{
    (void)at;
    (void)context;
}

static int count_step(pcre2_callout_block *block, void *context)
{
    struct filter_regex *regex = context;
    PCRE2_SIZE now = block->current_position;
    if (block->start_match != regex->start) { /* a search for a first byte */
        regex->steps += (block->start_match - regex->start) / 16;
        regex->start = regex->last = block->start_match;
    }
    regex->steps += 1 + (now > regex->last ? now - regex->last : regex->last - now);
    regex->last = now;
    return regex->steps > regex->steps_max ? PCRE2_ERROR_CALLOUT : 0;
}

struct filter_regex *filter_regex_open(void *memory)
{
    struct filter_regex *regex = memory;
    *regex = (struct filter_regex){.used = (sizeof *regex + 15U) / 16U * 16U};
    regex->general = pcre2_general_context_create(take, give, regex);
    regex->context = regex->general ? pcre2_match_context_create(regex->general) : NULL;
    regex->data = regex->context ? pcre2_match_data_create(1, regex->general) : NULL;
    if (!regex->data) {
        return NULL;
    }
    pcre2_set_heap_limit(regex->context, HEAP_KIB_MAX);
    pcre2_set_match_limit(regex->context, MATCH_CALLS_MAX);
    pcre2_set_callout(regex->context, count_step, regex);
    return regex;
}

int filter_regex_match(struct filter_regex *regex, const pcre2_code *code, struct slice text,
                       uint64_t steps_max, uint64_t *ret_steps, char ret_why[FILTER_WHY_BYTES])
{
    regex->steps = 0;
    regex->steps_max = steps_max;
    regex->start = regex->last = 0;
    int found = pcre2_match(code, text.at ? text.at : (const uint8_t *)"", text.bytes, 0, 0,
                            regex->data, regex->context);
    *ret_steps = regex->steps;
    if (found >= 0) {
        return 1;
    }
    if (found == PCRE2_ERROR_NOMATCH) {
        return 0;
    }
    bool limit = found == PCRE2_ERROR_CALLOUT || found == PCRE2_ERROR_MATCHLIMIT ||
                 found == PCRE2_ERROR_HEAPLIMIT || found == PCRE2_ERROR_NOMEMORY ||
                 found == PCRE2_ERROR_DEPTHLIMIT;
    if (limit) {
        snprintf(ret_why, FILTER_WHY_BYTES,
                 "the regular expression takes too many steps on this text");
    } else {
        snprintf(ret_why, FILTER_WHY_BYTES, "the regular expression failed (%d)", found);
    }
    return -1;
}

const char *filter_library_version(void)
{
    static char text[64]; /* at most 24 characters, says pcre2api(3) */
    pcre2_config(PCRE2_CONFIG_VERSION, text);
    text[strcspn(text, " ")] = '\0';
    return text;
}
