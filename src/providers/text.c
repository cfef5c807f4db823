/* Texts that are computed from a request: decoded, sorted, joined. Bounded, and without malloc. */
#include "providers/text.h"

#include "base/assert.h"
#include "base/hex.h"
#include "base/json_escape.h"
#include "base/percent.h"

#define FORM_PAIRS_MAX 512U

/* ---- scratch */

static _Thread_local uint8_t scratch[SCRATCH_BYTES];
static _Thread_local size_t scratch_used;

void scratch_reset(void)
{
    scratch_used = 0;
}

uint8_t *scratch_take(size_t bytes)
{
    if (bytes > SCRATCH_BYTES - scratch_used) {
        return NULL;
    }
    uint8_t *at = scratch + scratch_used;
    scratch_used += bytes;
    return at;
}

/* Gives back what of the last `taken` bytes was not used. */
static struct slice scratch_keep(uint8_t *at, size_t taken, size_t used)
{
    bk_assert(used <= taken && at + taken == scratch + scratch_used);
    scratch_used -= taken - used;
    return slice_of(at, used);
}

/* ---- queries and forms */

struct slice text_query(const struct http_head *head)
{
    struct slice target = http_target(head);
    return slice_skip(target, slice_find(target, '?') + 1);
}

struct slice text_form_field(struct slice form, struct slice name)
{
    while (form.bytes != 0) {
        struct slice pair = slice_of(form.at, slice_find(form, '&'));
        if (slice_starts(pair, name) && pair.bytes > name.bytes && pair.at[name.bytes] == '=') {
            return slice_skip(pair, name.bytes + 1);
        }
        form = slice_skip(form, pair.bytes + 1);
    }
    return SLICE_EMPTY;
}

bool text_form_decode(struct slice text, struct slice *ret_text)
{
    size_t bytes;
    *ret_text = text;
    if (slice_find(text, '%') == text.bytes && slice_find(text, '+') == text.bytes) {
        return true;
    }
    uint8_t *out = scratch_take(text.bytes);
    if (out == NULL || !percent_decode(text, true, out, &bytes)) {
        return false;
    }
    *ret_text = scratch_keep(out, text.bytes, bytes);
    return true;
}

struct pair {
    struct slice name, value;
};

static inline int compare(struct slice a, struct slice b)
{
    size_t both = a.bytes < b.bytes ? a.bytes : b.bytes;
    if (both != 0 && a.at[0] != b.at[0]) {
        return a.at[0] - b.at[0]; /* as nearly always */
    }
    int order = both != 0 ? memcmp(a.at, b.at, both) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static inline int compare_pairs(const struct pair *a, const struct pair *b)
{
    int order = compare(a->name, b->name);
    return order != 0 ? order : compare(a->value, b->value);
}

/* Each pair goes to its place among those before it: the cheapest way for a few. Gives how many
 * there are, the same ones counting once. */
#define FEW_PAIRS 32U
static size_t sort_few(struct pair *pairs, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct pair pair = pairs[i];
        size_t to = kept;
        int order = -1;
        while (to > 0 && (order = compare_pairs(&pairs[to - 1], &pair)) > 0) {
            to--;
        }
        if (to > 0 && order == 0) {
            continue;
        }
        memmove(&pairs[to + 1], &pairs[to], (kept - to) * sizeof pair);
        pairs[to] = pair;
        kept++;
    }
    return kept;
}

/* Heap sort: qsort may take memory, and a stranger chooses the order. */
static void sift(struct pair *pairs, size_t at, size_t count)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && compare_pairs(&pairs[child], &pairs[child + 1]) < 0;
        if (compare_pairs(&pairs[at], &pairs[child]) >= 0) {
            return;
        }
        struct pair swap = pairs[at];
        pairs[at] = pairs[child];
        pairs[child] = swap;
    }
}

static size_t sort_many(struct pair *pairs, size_t count)
{
    for (size_t i = count / 2; i-- > 0;) {
        sift(pairs, i, count);
    }
    for (size_t n = count; n-- > 1;) {
        struct pair swap = pairs[0];
        pairs[0] = pairs[n];
        pairs[n] = swap;
        sift(pairs, 0, n);
    }
    size_t kept = 1;
    for (size_t i = 1; i < count; i++) {
        if (compare_pairs(&pairs[kept - 1], &pairs[i]) != 0) {
            pairs[kept++] = pairs[i];
        }
    }
    return kept;
}

static bool split_form(struct slice form, struct pair *pairs, size_t *ret_count)
{
    *ret_count = 0;
    while (form.bytes != 0) {
        struct slice text = slice_of(form.at, slice_find(form, '&'));
        size_t name_bytes = slice_find(text, '=');
        if (text.bytes != 0) {
            struct pair *pair = &pairs[*ret_count];
            if (*ret_count == FORM_PAIRS_MAX ||
                !text_form_decode(slice_of(text.at, name_bytes), &pair->name) ||
                !text_form_decode(slice_skip(text, name_bytes + 1), &pair->value)) {
                return false;
            }
            ++*ret_count;
        }
        form = slice_skip(form, text.bytes + 1);
    }
    return true;
}

static void append(uint8_t *out, size_t *bytes, struct slice text)
{
    if (text.bytes != 0) {
        memcpy(out + *bytes, text.at, text.bytes);
        *bytes += text.bytes;
    }
}

bool text_form_alone(struct slice form, struct slice name, struct slice *ret_value)
{
    bool named = slice_starts(form, name) && form.bytes > name.bytes && form.at[name.bytes] == '=';
    struct slice value = slice_skip(form, name.bytes + 1);
    return named && slice_find(value, '&') == value.bytes && text_form_decode(value, ret_value);
}

bool text_form_sorted(struct slice form, struct slice *ret_text)
{
    struct pair pairs[FORM_PAIRS_MAX];
    size_t count, bytes = 0;
    if (!split_form(form, pairs, &count)) {
        return false;
    }
    count = count <= FEW_PAIRS ? sort_few(pairs, count) : sort_many(pairs, count);
    uint8_t *out = scratch_take(form.bytes);
    if (out == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        append(out, &bytes, pairs[i].name);
        append(out, &bytes, pairs[i].value);
    }
    *ret_text = scratch_keep(out, form.bytes, bytes);
    return true;
}

/* ---- URLs */

bool text_url_unescape(struct slice url, struct slice *ret_url)
{
    size_t n = 0;
    *ret_url = url;
    if (slice_find(url, '%') == url.bytes) {
        return true;
    }
    uint8_t *out = scratch_take(url.bytes);
    for (size_t i = 0; out != NULL && i < url.bytes; i++) {
        uint8_t c = url.at[i], plain;
        if (c == '%' && url.bytes - i >= 3 && hex_decode(slice_of(url.at + i + 1, 2), &plain, 1) &&
            plain != 0 && strchr(":/?@!$'()*,;", plain) != NULL) {
            c = plain;
            i += 2;
        }
        out[n++] = c;
    }
    *ret_url = slice_of(out, n);
    return out != NULL;
}

bool text_url_other_port(struct slice url, struct slice *ret_url)
{
    bool secure = slice_starts(url, SLICE("https://"));
    if (!secure && !slice_starts(url, SLICE("http://"))) {
        return false;
    }
    struct slice port = secure ? SLICE(":443") : SLICE(":80");
    size_t host_at = secure ? 8 : 7, end = host_at;
    while (end < url.bytes && url.at[end] != '/' && url.at[end] != '?' && url.at[end] != '#') {
        end++;
    }
    struct slice authority = slice_of(url.at + host_at, end - host_at);
    uint8_t *out = scratch_take(url.bytes + port.bytes);
    size_t bytes = 0, colon = authority.bytes;
    if (out == NULL) {
        return false;
    }
    while (colon > 0 && authority.at[colon - 1] != ':' && authority.at[colon - 1] != ']') {
        colon--;
    }
    bool has_port = colon > 0 && authority.at[colon - 1] == ':';
    if (has_port && !slice_equal(slice_skip(authority, colon - 1), port)) {
        return false;
    }
    append(out, &bytes, slice_of(url.at, has_port ? host_at + colon - 1 : end));
    append(out, &bytes, has_port ? SLICE_EMPTY : port);
    append(out, &bytes, slice_skip(url, end));
    *ret_url = slice_of(out, bytes);
    return true;
}

/* ---- JSON */

bool text_json_escape(struct slice text, struct slice *ret_text)
{
    size_t room = JSON_ESCAPED_MAX * text.bytes;
    uint8_t *out = scratch_take(room);
    if (out == NULL) {
        return false;
    }
    *ret_text = scratch_keep(out, room, json_escape(text, out));
    return true;
}
