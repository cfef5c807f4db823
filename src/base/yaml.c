#include "base/yaml.h"

#include "base/assert.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>
#include <yyjson.h>

#define ANCHORS_MAX 256U
#define CORE_TAG    "tag:yaml.org,2002:"

struct frame {
    yyjson_mut_val *value; /* object or array being filled */
    yyjson_mut_val *key;   /* of an object: the key whose value comes next */
    char *anchor;
};

struct anchor {
    char *name;
    yyjson_mut_val *value;
};

struct reader {
    struct json_tree *tree;
    struct json_problem *problem;
    struct frame frames[JSON_DEPTH_MAX];
    unsigned depth;
    struct anchor anchors[ANCHORS_MAX];
    unsigned anchor_count;
    size_t alias_nodes;
    size_t documents; /* empty ones, too */
    yyjson_mut_val *root;
};

static struct json_place place_of(yaml_mark_t mark)
{
    return (struct json_place){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

__attribute__((format(printf, 4, 5))) static enum bk_err fail(struct reader *reader,
                                                              struct json_place place,
                                                              enum bk_err err, const char *format,
                                                              ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reader->problem->message, sizeof reader->problem->message, format, args);
    va_end(args);
    reader->problem->place = place;
    return err;
}

static enum bk_err fail_room(struct reader *reader, struct json_place place)
{
    return fail(reader, place, BK_TOO_LARGE,
                "from here on it is too much at once: at most %u values; apply it in parts",
                JSON_NODES_MAX);
}

/* ---- scalars */

static bool one_of(struct slice text, const char *a, const char *b, const char *c)
{
    return slice_equal(text, slice_str(a)) || slice_equal(text, slice_str(b)) ||
           slice_equal(text, slice_str(c));
}

static size_t digits(struct slice text, size_t at, bool hex)
{
    size_t from = at;
    while (at < text.bytes) {
        uint8_t c = text.at[at], lower = ascii_lower(c);
        if (!((c >= '0' && c <= '9') || (hex && lower >= 'a' && lower <= 'f'))) {
            break;
        }
        at++;
    }
    return at - from;
}

/* 0x and 0o of the core schema. */
static bool set_based(struct slice text, yyjson_mut_val *value)
{
    if (text.bytes < 3 || text.at[0] != '0' || (text.at[1] != 'x' && text.at[1] != 'o')) {
        return false;
    }
    bool hex = text.at[1] == 'x';
    if (digits(text, 2, hex) != text.bytes - 2) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 2; i < text.bytes; i++) {
        uint8_t c = ascii_lower(text.at[i]);
        unsigned digit = c >= 'a' ? c - 'a' + 10U : (unsigned)c - '0';
        if (digit >= (hex ? 16U : 8U) || number >> (hex ? 60 : 61) != 0) {
            return false;
        }
        number = number * (hex ? 16 : 8) + digit;
    }
    yyjson_mut_set_uint(value, number);
    return true;
}

/* [-+]? ( \.[0-9]+ | [0-9]+ (\.[0-9]*)? ) ( [eE][-+]?[0-9]+ )? and nothing else. */
static bool number_shaped(struct slice text, bool *ret_integer)
{
    size_t at = text.bytes && (text.at[0] == '-' || text.at[0] == '+') ? 1 : 0;
    size_t whole = digits(text, at, false), part = 0;
    at += whole;
    *ret_integer = at == text.bytes;
    if (at < text.bytes && text.at[at] == '.') {
        part = digits(text, at + 1, false);
        at += 1 + part;
    }
    if (whole == 0 && part == 0) {
        return false;
    }
    if (at < text.bytes && (text.at[at] | 0x20) == 'e') {
        at++;
        at += at < text.bytes && (text.at[at] == '-' || text.at[at] == '+') ? 1 : 0;
        size_t exponent = digits(text, at, false);
        at += exponent;
        if (exponent == 0) {
            return false;
        }
    }
    return at == text.bytes;
}

/* False when the number is not finite. text is NUL-terminated. */
static bool set_number(struct slice text, bool integer, yyjson_mut_val *value)
{
    const char *digits_at = (const char *)text.at;
    errno = 0;
    if (integer && digits_at[0] == '-') {
        long long number = strtoll(digits_at, NULL, 10);
        if (errno == 0) {
            yyjson_mut_set_sint(value, number);
            return true;
        }
    } else if (integer) {
        unsigned long long number = strtoull(digits_at, NULL, 10);
        if (errno == 0) {
            yyjson_mut_set_uint(value, number);
            return true;
        }
    }
    double number = strtod(digits_at, NULL);
    yyjson_mut_set_real(value, number);
    return isfinite(number);
}

/* Only what stays text is copied: a number needs 32 bytes, not 48. */
static enum bk_err set_string(struct reader *reader, struct slice text, yyjson_mut_val *value)
{
    char *copy = arena_copy(&reader->tree->arena, text.at, text.bytes);
    if (!copy) {
        return fail_room(reader, json_place(value));
    }
    yyjson_mut_set_strn(value, copy, text.bytes);
    return BK_OK;
}

/* What an untagged plain scalar means. */
static enum bk_err set_plain(struct reader *reader, struct slice text, struct json_place place,
                             yyjson_mut_val *value)
{
    bool integer = false;
    if (text.bytes == 0 || slice_equal(text, SLICE("~")) || one_of(text, "null", "Null", "NULL")) {
        return BK_OK; /* new values are null */
    }
    if (one_of(text, "true", "True", "TRUE") || one_of(text, "false", "False", "FALSE")) {
        yyjson_mut_set_bool(value, ascii_lower(text.at[0]) == 't');
        return BK_OK;
    }
    struct slice bare = text.at[0] == '-' || text.at[0] == '+' ? slice_skip(text, 1) : text;
    if (one_of(bare, ".inf", ".Inf", ".INF") || one_of(text, ".nan", ".NaN", ".NAN")) {
        return fail(reader, place, BK_INVALID,
                    "infinity and not-a-number are not allowed; quote "
                    "it if text is meant");
    }
    if (set_based(text, value)) {
        return BK_OK;
    }
    if (number_shaped(text, &integer)) {
        return set_number(text, integer, value)
                   ? BK_OK
                   : fail(reader, place, BK_INVALID, "number out of range");
    }
    return set_string(reader, text, value);
}

static enum bk_err set_scalar(struct reader *reader, const yaml_event_t *event, struct slice text,
                              yyjson_mut_val *value)
{
    struct json_place place = place_of(event->start_mark);
    const char *tag = (const char *)event->data.scalar.tag;
    if (!tag || event->data.scalar.plain_implicit) {
        if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
            return set_plain(reader, text, place, value);
        }
        return set_string(reader, text, value);
    }
    if (strcmp(tag, CORE_TAG "str") == 0 || strcmp(tag, "!") == 0) {
        return set_string(reader, text, value);
    }
    static const struct {
        const char *tag;
        yyjson_type type;
    } core[] = {{CORE_TAG "int", YYJSON_TYPE_NUM},
                {CORE_TAG "float", YYJSON_TYPE_NUM},
                {CORE_TAG "bool", YYJSON_TYPE_BOOL},
                {CORE_TAG "null", YYJSON_TYPE_NULL}};
    for (size_t i = 0; i < bk_array_length(core); i++) {
        if (strcmp(tag, core[i].tag) == 0) {
            enum bk_err err = set_plain(reader, text, place, value);
            if (err == BK_OK && yyjson_mut_get_type(value) != core[i].type) {
                err = fail(reader, place, BK_INVALID, "the value does not fit its tag");
            }
            return err;
        }
    }
    return fail(reader, place, BK_INVALID, "tag %.60s is not allowed", tag);
}

/* ---- structure */

/* Levels of containers, itself included. */
static unsigned height(yyjson_mut_val *value)
{
    unsigned below = 0;
    size_t index, max;
    yyjson_mut_val *key, *item;
    if (yyjson_mut_is_obj(value)) {
        yyjson_mut_obj_foreach(value, index, max, key, item)
        {
            (void)key;
            unsigned h = height(item);
            below = h > below ? h : below;
        }
    } else if (yyjson_mut_is_arr(value)) {
        yyjson_mut_arr_foreach(value, index, max, item)
        {
            unsigned h = height(item);
            below = h > below ? h : below;
        }
    } else {
        return 0;
    }
    return below + 1;
}

static enum bk_err remember(struct reader *reader, const char *anchor, yyjson_mut_val *value)
{
    if (!anchor) {
        return BK_OK;
    }
    if (reader->anchor_count == ANCHORS_MAX) {
        return fail(reader, json_place(value), BK_TOO_LARGE, "too many anchors (limit %u)",
                    ANCHORS_MAX);
    }
    struct anchor *slot = &reader->anchors[reader->anchor_count];
    slot->name = arena_string(&reader->tree->arena, anchor);
    slot->value = value;
    if (!slot->name) {
        return fail_room(reader, json_place(value));
    }
    reader->anchor_count++;
    return BK_OK;
}

/* Put a finished or just opened value where it belongs. */
static enum bk_err place_value(struct reader *reader, yyjson_mut_val *value)
{
    if (reader->depth == 0) {
        reader->root = value;
        return BK_OK;
    }
    struct frame *frame = &reader->frames[reader->depth - 1];
    if (yyjson_mut_is_arr(frame->value)) {
        return yyjson_mut_arr_append(frame->value, value) ? BK_OK
                                                          : fail_room(reader, json_place(value));
    }
    bk_assert(frame->key != NULL);
    bool added = yyjson_mut_obj_add(frame->value, frame->key, value);
    frame->key = NULL;
    return added ? BK_OK : fail_room(reader, json_place(value));
}

static bool wants_key(const struct reader *reader)
{
    return reader->depth > 0 && yyjson_mut_is_obj(reader->frames[reader->depth - 1].value) &&
           !reader->frames[reader->depth - 1].key;
}

static enum bk_err on_key(struct reader *reader, const yaml_event_t *event, yyjson_mut_val *value,
                          struct slice text)
{
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && slice_equal(text, SLICE("<<"))) {
        return fail(reader, json_place(value), BK_INVALID,
                    "merge keys (<<) are not supported; write the fields out");
    }
    if (event->data.scalar.tag && !event->data.scalar.plain_implicit &&
        strcmp((const char *)event->data.scalar.tag, CORE_TAG "str") != 0) {
        return fail(reader, json_place(value), BK_INVALID, "tags on keys are not allowed");
    }
    enum bk_err err = set_string(reader, text, value);
    if (err != BK_OK) {
        return err;
    }
    reader->frames[reader->depth - 1].key = value;
    return remember(reader, (const char *)event->data.scalar.anchor, value);
}

static enum bk_err on_scalar(struct reader *reader, const yaml_event_t *event)
{
    struct json_place place = place_of(event->start_mark);
    yyjson_mut_val *value = json_new(reader->tree, place);
    struct slice text = slice_of(event->data.scalar.value, event->data.scalar.length);
    if (!value) {
        return fail_room(reader, place);
    }
    if (wants_key(reader)) {
        return on_key(reader, event, value, text);
    }
    enum bk_err err = set_scalar(reader, event, text, value);
    if (err == BK_OK) {
        err = remember(reader, (const char *)event->data.scalar.anchor, value);
    }
    return err == BK_OK ? place_value(reader, value) : err;
}

static enum bk_err on_alias(struct reader *reader, const yaml_event_t *event)
{
    struct json_place place = place_of(event->start_mark);
    const char *name = (const char *)event->data.alias.anchor;
    if (wants_key(reader)) {
        return fail(reader, place, BK_INVALID, "an alias cannot be a key");
    }
    /* The latest anchor of a name counts. One that is still open is not in the list: no loops. */
    for (unsigned i = reader->anchor_count; i-- > 0;) {
        struct anchor *anchor = &reader->anchors[i];
        if (strcmp(anchor->name, name) != 0) {
            continue;
        }
        if (reader->depth + height(anchor->value) > JSON_DEPTH_MAX) {
            return fail(reader, place, BK_TOO_LARGE, "nested too deeply (limit %u)",
                        JSON_DEPTH_MAX);
        }
        size_t before = reader->tree->nodes;
        yyjson_mut_val *copy = json_copy(reader->tree, anchor->value);
        reader->alias_nodes += reader->tree->nodes - before;
        if (!copy || reader->alias_nodes > YAML_ALIAS_NODES_MAX) {
            return fail(reader, place, BK_TOO_LARGE, "aliases expand to too much (limit %u values)",
                        YAML_ALIAS_NODES_MAX);
        }
        return place_value(reader, copy);
    }
    return fail(reader, place, BK_INVALID, "alias *%.60s has no anchor before it", name);
}

static enum bk_err on_open(struct reader *reader, const yaml_event_t *event, bool object)
{
    struct json_place place = place_of(event->start_mark);
    const char *tag =
        (const char *)(object ? event->data.mapping_start.tag : event->data.sequence_start.tag);
    const char *anchor = (const char *)(object ? event->data.mapping_start.anchor
                                               : event->data.sequence_start.anchor);
    if (wants_key(reader)) {
        return fail(reader, place, BK_INVALID,
                    "a key must be plain text; is {{ … }} what a template left?");
    }
    if (tag && strcmp(tag, object ? CORE_TAG "map" : CORE_TAG "seq") != 0) {
        return fail(reader, place, BK_INVALID, "tag %.60s is not allowed", tag);
    }
    if (reader->depth == JSON_DEPTH_MAX) {
        return fail(reader, place, BK_TOO_LARGE, "nested too deeply (limit %u)", JSON_DEPTH_MAX);
    }
    struct frame frame = {json_new(reader->tree, place), NULL, NULL};
    if (frame.value && anchor) {
        frame.anchor = arena_string(&reader->tree->arena, anchor);
    }
    if (!frame.value || (anchor && !frame.anchor)) {
        return fail_room(reader, place);
    }
    if (object) {
        yyjson_mut_set_obj(frame.value);
    } else {
        yyjson_mut_set_arr(frame.value);
    }
    enum bk_err err = place_value(reader, frame.value);
    if (err == BK_OK) {
        reader->frames[reader->depth++] = frame;
    }
    return err;
}

static enum bk_err on_close(struct reader *reader)
{
    bk_assert(reader->depth > 0);
    struct frame frame = reader->frames[--reader->depth];
    yyjson_mut_val *twice = yyjson_mut_is_obj(frame.value) ? json_duplicate_key(frame.value) : NULL;
    if (twice) {
        return fail(reader, json_place(twice), BK_INVALID, "key \"%.60s\" is there twice",
                    yyjson_mut_get_str(twice));
    }
    return remember(reader, frame.anchor, frame.value);
}

static enum bk_err on_document_end(struct reader *reader, const yaml_event_t *event)
{
    yyjson_mut_val *root = reader->root;
    reader->root = NULL;
    reader->anchor_count = 0;
    bool empty = !root || yyjson_mut_is_null(root);
    if (++reader->documents > JSON_DOCUMENTS_MAX ||
        (!empty && !json_tree_add_root(reader->tree, root))) {
        return fail(reader, place_of(event->start_mark), BK_TOO_LARGE,
                    "too many documents (limit %u, empty ones count)", JSON_DOCUMENTS_MAX);
    }
    return BK_OK;
}

static enum bk_err on_event(struct reader *reader, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(reader, event);
    case YAML_ALIAS_EVENT:
        return on_alias(reader, event);
    case YAML_MAPPING_START_EVENT:
        return on_open(reader, event, true);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(reader, event, false);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return on_close(reader);
    case YAML_DOCUMENT_END_EVENT:
        return on_document_end(reader, event);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
        break;
    }
    return BK_OK;
}

/* What cannot be read at all is told by its byte; columns are characters. */
static struct json_place place_of_byte(struct slice text, size_t offset)
{
    struct json_place place = {1, 1};
    for (size_t i = 0; i < offset && i < text.bytes; i++) {
        if (text.at[i] == '\n') {
            place.line++;
            place.column = 1;
        } else {
            place.column += (text.at[i] & 0xc0) != 0x80;
        }
    }
    return place;
}

/* libyaml's words, and what they mean to who wrote the text. */
static const struct saying {
    const char *problem;
    const char *says;
    bool at_start; /* of what it was in the middle of; that is where to look */
} sayings[] = {
    {"found character that cannot start any token",
     "no value begins with this character; put it in quotes", false},
    {"mapping values are not allowed",
     "a second `: ` in one line; put the value in quotes, or is the indentation wrong?", false},
    {"mapping keys are not allowed", "no key can stand here; is the indentation right?", false},
    {"block sequence entries are not allowed",
     "no list item can stand here; begin the list on a line of its own", false},
    {"could not find expected ':'",
     "no `key: value`: is a colon missing, or does this belong to the line before?", true},
    {"did not find expected key", "the indentation does not fit the lines before", false},
    {"did not find expected '-' indicator",
     "the indentation does not fit the list before; items begin with `- `", false},
    {"did not find expected ',' or '}'", "this { is not closed: `,` or `}` is missing", true},
    {"did not find expected ',' or ']'", "this [ is not closed: `,` or `]` is missing", true},
    {"did not find expected node content", "a value is missing", false},
    {"did not find expected <document start>",
     "this does not belong to the document before; is the indentation right, or `---` missing?",
     false},
    {"found unexpected end of stream", "this quote is not closed", true},
    {"found unexpected document indicator", "this quote is not closed", true},
    {"found unknown escape character",
     "\"…\" knows no such escape; write \\\\ for a backslash, or use '…'", false},
    {"did not find expected alphabetic or numeric character",
     "& and * name anchors; put a value that begins so in quotes", true},
    {"found a tab character", "a tab: YAML is indented with spaces", false},
    {"invalid leading UTF-8 octet", "this is not UTF-8; save the file as UTF-8", false},
    {"invalid trailing UTF-8 octet", "this is not UTF-8; save the file as UTF-8", false},
    {"incomplete UTF-8 octet sequence", "this is not UTF-8; save the file as UTF-8", false},
};

static const struct saying *find_saying(const char *problem)
{
    for (size_t i = 0; i < bk_array_length(sayings); i++) {
        if (strncmp(problem, sayings[i].problem, strlen(sayings[i].problem)) == 0) {
            return &sayings[i];
        }
    }
    return NULL;
}

static enum bk_err fail_parser(struct reader *reader, const yaml_parser_t *parser,
                               struct slice text)
{
    struct json_place place = place_of(parser->problem_mark);
    if (parser->error == YAML_MEMORY_ERROR) {
        return fail(reader, place, BK_NO_MEMORY, "out of memory");
    }
    if (parser->error == YAML_READER_ERROR) {
        place = place_of_byte(text, parser->problem_offset);
    }
    size_t at = parser->problem_mark.index; /* in characters: where all before is ASCII, the byte */
    if (parser->error == YAML_SCANNER_ERROR && at < text.bytes && text.at[at] == '\t') {
        return fail(reader, place, BK_INVALID, "a tab: YAML is indented with spaces");
    }
    const struct saying *saying = parser->problem ? find_saying(parser->problem) : NULL;
    if (saying) {
        bool at_start = saying->at_start && parser->context;
        return fail(reader, at_start ? place_of(parser->context_mark) : place, BK_INVALID, "%s",
                    saying->says);
    }
    return fail(reader, place, BK_INVALID, "%s%s%s", parser->problem ? parser->problem : "not YAML",
                parser->context ? " " : "", parser->context ? parser->context : "");
}

enum bk_err yaml_parse(struct slice text, struct json_tree *tree, struct json_problem *ret_problem)
{
    *ret_problem = (struct json_problem){0};
    struct reader *reader = calloc(1, sizeof *reader);
    yaml_parser_t parser;
    if (!reader || !yaml_parser_initialize(&parser)) {
        free(reader);
        return BK_NO_MEMORY;
    }
    reader->tree = tree;
    reader->problem = ret_problem;
    enum bk_err err = BK_OK;
    if (text.bytes > JSON_TEXT_BYTES_MAX) {
        err = fail(reader, (struct json_place){1, 1}, BK_TOO_LARGE, "larger than 8 MiB");
    }
    if (slice_starts(text, SLICE("\xef\xbb\xbf"))) {
        text = slice_skip(text, 3);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.at ? text.at : (const uint8_t *)"", text.bytes);
    for (bool more = true; more && err == BK_OK;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            err = fail_parser(reader, &parser, text);
            break;
        }
        more = event.type != YAML_STREAM_END_EVENT;
        err = on_event(reader, &event);
        if (event.type == YAML_SCALAR_EVENT) {
            explicit_bzero(event.data.scalar.value, event.data.scalar.length);
        }
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    free(reader);
    return err;
}

enum bk_err yaml_or_json_parse(struct slice text, struct json_tree *tree,
                               struct json_problem *ret_problem)
{
    struct slice start = slice_starts(text, SLICE("\xef\xbb\xbf")) ? slice_skip(text, 3) : text;
    while (start.bytes && (start.at[0] == ' ' || start.at[0] == '\t' || start.at[0] == '\n' ||
                           start.at[0] == '\r')) {
        start = slice_skip(start, 1);
    }
    if (start.bytes == 0 || (start.at[0] != '{' && start.at[0] != '[')) {
        return yaml_parse(text, tree, ret_problem);
    }
    struct json_problem json_problem;
    enum bk_err err = json_parse(text, tree, &json_problem);
    *ret_problem = json_problem;
    if (err != BK_INVALID || tree->count > 0) {
        return err;
    }
    json_tree_fini(tree);
    json_tree_init(tree);
    err = yaml_parse(text, tree, ret_problem);
    struct slice rest = slice_skip(start, 1);
    while (rest.bytes && strchr(" \t\r\n{[", rest.at[0]) != NULL) {
        rest = slice_skip(rest, 1);
    }
    if (err == BK_INVALID && rest.bytes && rest.at[0] == '"') {
        *ret_problem = json_problem; /* it was meant as JSON */
    }
    return err;
}

/* ---- writing */

static bool plain_string(struct slice text)
{
    static const char *const words[] = {"true", "false", "null", "yes",  "no",  "on",
                                        "off",  "y",     "n",    ".inf", ".nan"};
    bool integer;
    if (text.bytes == 0 || text.bytes > 200 || number_shaped(text, &integer)) {
        return false;
    }
    for (size_t i = 0; i < bk_array_length(words); i++) {
        if (slice_equal_nocase(text, slice_str(words[i]))) {
            return false;
        }
    }
    uint8_t first = ascii_lower(text.at[0]);
    if (!((first >= 'a' && first <= 'z') || first == '/' || first == '_' || first == '$')) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = ascii_lower(text.at[i]);
        bool last = i + 1 == text.bytes;
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    memchr("-_./+@$=~", c, 9) != NULL || (c == ' ' && !last) ||
                    (c == ':' && !last && text.at[i + 1] != ' ');
        if (!fine) {
            return false;
        }
    }
    return true;
}

static void add_text(struct buf *buf, struct slice text)
{
    if (plain_string(text)) {
        buf_add_slice(buf, text);
    } else {
        json_add_string(buf, text); /* JSON strings are YAML double-quoted scalars */
    }
}

static void add_indent(struct buf *buf, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        buf_add(buf, "  ", 2);
    }
}

/* A key as written has 1,024 characters at most (YAML 1.2.2, 7.4.2); a longer one says what it is.
 * A byte is written as six at most. */
#define SIMPLE_KEY_BYTES_MAX 170U

static void add_key(struct buf *buf, struct slice key, unsigned depth)
{
    if (key.bytes > SIMPLE_KEY_BYTES_MAX) {
        buf_add(buf, "? ", 2);
        add_text(buf, key);
        buf_add_byte(buf, '\n');
        add_indent(buf, depth);
    } else {
        add_text(buf, key);
    }
    buf_add_byte(buf, ':');
}

static void add_block(struct buf *buf, yyjson_mut_val *value, unsigned depth, bool first_inline);

/* The value behind "key:" or "-". */
static void add_after(struct buf *buf, yyjson_mut_val *value, unsigned depth, bool behind_dash)
{
    bool filled = yyjson_mut_is_ctn(value) && unsafe_yyjson_get_len(value) > 0;
    if (!filled) {
        buf_add_byte(buf, ' ');
        if (yyjson_mut_is_str(value)) {
            add_text(buf, json_text(value));
        } else {
            json_add_value(buf, value);
        }
        buf_add_byte(buf, '\n');
    } else if (behind_dash) {
        buf_add_byte(buf, ' ');
        add_block(buf, value, depth, true);
    } else {
        buf_add_byte(buf, '\n');
        add_block(buf, value, depth, false);
    }
}

static void add_block(struct buf *buf, yyjson_mut_val *value, unsigned depth, bool first_inline)
{
    size_t index, max;
    yyjson_mut_val *key, *item;
    if (yyjson_mut_is_obj(value)) {
        yyjson_mut_obj_foreach(value, index, max, key, item)
        {
            add_indent(buf, index == 0 && first_inline ? 0 : depth);
            add_key(buf, json_text(key), depth);
            add_after(buf, item, depth + 1, false);
        }
        return;
    }
    yyjson_mut_arr_foreach(value, index, max, item)
    {
        add_indent(buf, index == 0 && first_inline ? 0 : depth);
        buf_add_byte(buf, '-');
        add_after(buf, item, depth + 1, true);
    }
}

void yaml_add_value(struct buf *buf, yyjson_mut_val *value)
{
    if (yyjson_mut_is_ctn(value) && unsafe_yyjson_get_len(value) > 0) {
        add_block(buf, value, 0, false);
        return;
    }
    if (yyjson_mut_is_str(value)) {
        add_text(buf, json_text(value));
    } else {
        json_add_value(buf, value);
    }
    buf_add_byte(buf, '\n');
}
