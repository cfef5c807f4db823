#include "cli/print.h"

#include "base/assert.h"
#include "base/time.h"
#include "base/yaml.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define TABLE_ARENA_BYTES (64U << 20)
#define COLUMN_GAP        2U
#define COLUMN_LEAST      8U
#define SENTENCE_LEAST    24U

enum print_format print_format(const char *text)
{
    return strcmp(text, "json") == 0   ? PRINT_JSON
           : strcmp(text, "yaml") == 0 ? PRINT_YAML
                                       : PRINT_TABLE;
}

bool print_is_terminal(void)
{
    return isatty(STDOUT_FILENO) == 1;
}

static bool colours(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return print_is_terminal() && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* ---- text */

size_t print_decode(struct slice text, uint32_t *ret_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.at[0];
    size_t bytes = first < 0x80       ? 1
                   : first >> 5 == 6  ? 2
                   : first >> 4 == 14 ? 3
                   : first >> 3 == 30 ? 4
                                      : 0;
    if (bytes == 0 || bytes > text.bytes) {
        return 0;
    }
    uint32_t point = bytes == 1 ? first : (uint32_t)(first & (0x7f >> bytes));
    for (size_t i = 1; i < bytes; i++) {
        if ((text.at[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (text.at[i] & 0x3f);
    }
    *ret_point = point;
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[bytes] || point > 0x10ffff || surrogate ? 0 : bytes;
}

/* Would a terminal do something else than show it? Controls, marks of text direction, invisible
 * tags. */
static bool is_unsafe(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e ||
           point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069) || point == 0xfeff ||
           (point >= 0xe0000 && point <= 0xe007f);
}

void print_safe(struct buf *out, struct slice text, bool lines)
{
    while (text.bytes != 0) {
        uint32_t point;
        size_t bytes = print_decode(text, &point);
        if (bytes == 0) {
            buf_add_str(out, "\xef\xbf\xbd");
            bytes = 1;
        } else if (is_unsafe(point) && !(lines && (point == '\n' || point == '\t'))) {
            buf_printf(out, point < 0x100 ? "\\x%02x" : "\\u%04x", point);
        } else {
            buf_add(out, text.at, bytes);
        }
        text = slice_skip(text, bytes);
    }
}

/* Not all of Unicode's tables: what occurs in names, titles and messages. */
static unsigned point_width(uint32_t p)
{
    if ((p >= 0x300 && p <= 0x36f) || (p >= 0x200b && p <= 0x200d) ||
        (p >= 0xfe00 && p <= 0xfe0f) || (p >= 0x20d0 && p <= 0x20ff) ||
        (p >= 0x1ab0 && p <= 0x1aff)) {
        return 0;
    }
    bool wide = (p >= 0x1100 && p <= 0x115f) || (p >= 0x2e80 && p <= 0xa4cf) ||
                (p >= 0xac00 && p <= 0xd7a3) || (p >= 0xf900 && p <= 0xfaff) ||
                (p >= 0xfe30 && p <= 0xfe6f) || (p >= 0xff00 && p <= 0xff60) ||
                (p >= 0xffe0 && p <= 0xffe6) || (p >= 0x1f300 && p <= 0x1f64f) ||
                (p >= 0x1f680 && p <= 0x1f6ff) || (p >= 0x1f900 && p <= 0x1f9ff) ||
                (p >= 0x20000 && p <= 0x3fffd);
    return wide ? 2 : 1;
}

unsigned print_width(struct slice text)
{
    unsigned width = 0;
    while (text.bytes != 0) {
        uint32_t point = ' ';
        size_t bytes = print_decode(text, &point);
        width += point_width(point);
        text = slice_skip(text, bytes == 0 ? 1 : bytes);
    }
    return width;
}

/* The beginning of `text` that fits into `width` columns. */
static struct slice cut(struct slice text, unsigned width)
{
    struct slice rest = text;
    while (rest.bytes != 0) {
        uint32_t point = ' ';
        size_t bytes = print_decode(rest, &point);
        unsigned wide = point_width(point);
        if (wide > width) {
            return slice_of(text.at, (size_t)(rest.at - text.at));
        }
        width -= wide;
        rest = slice_skip(rest, bytes == 0 ? 1 : bytes);
    }
    return text;
}

void print_wrapped(struct buf *out, struct slice text, unsigned indent, unsigned used,
                   unsigned width)
{
    bool first = true;
    while (text.bytes > 0) {
        size_t bytes = slice_find(text, ' ');
        struct slice word = slice_of(text.at, bytes);
        unsigned wide = print_width(word);
        if (!first && used + 1 + wide > width) {
            buf_add_byte(out, '\n');
            used = 0;
            first = true;
        } else if (!first) {
            buf_add_byte(out, ' ');
            used++;
        }
        for (; first && used < indent; used++) {
            buf_add_byte(out, ' ');
        }
        buf_add_slice(out, word);
        used += wide;
        first = false;
        text = slice_skip(text, bytes + 1);
    }
    buf_add_byte(out, '\n');
}

const char *print_bytes_text(uint64_t bytes, char text[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < bk_array_length(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 16, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

void print_time(struct slice rfc3339, char text[32])
{
    int64_t wall_ns;
    struct tm local;
    text[0] = '\0';
    if (time_parse_rfc3339(rfc3339, &wall_ns) != BK_OK) {
        return;
    }
    time_t seconds = (time_t)(wall_ns / NS_PER_SECOND);
    if (localtime_r(&seconds, &local) != NULL) {
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &local);
    }
}

/* ---- tables */

void table_init(struct table *table, const char *headings)
{
    memset(table, 0, sizeof *table);
    arena_init(&table->arena, TABLE_ARENA_BYTES);
    for (const char *at = headings; *at != '\0';) {
        bk_assert(table->columns < TABLE_COLUMNS_MAX);
        size_t bytes = strcspn(at, "|");
        size_t name = bytes;
        for (unsigned bit = 1U << table->columns; name != 0; name--) {
            char mark = at[name - 1];
            if (strchr(">!@?~", mark) == NULL) {
                break;
            }
            table->right |= mark == '>' ? bit : 0;
            table->whole |= mark == '!' || mark == '@' ? bit : 0;
            table->times |= mark == '@' ? bit : 0;
            table->optional |= mark == '?' ? bit : 0;
            table->sentences |= mark == '~' ? bit : 0;
        }
        table->headings[table->columns++] = arena_copy(&table->arena, at, name);
        at += bytes + (at[bytes] == '|');
    }
}

void table_fini(struct table *table)
{
    free(table->cells);
    arena_fini(&table->arena);
}

void table_row(struct table *table)
{
    if (table->rows == table->rows_size) {
        size_t size = table->rows_size == 0 ? 64 : table->rows_size * 2;
        const char **cells = realloc(table->cells, size * table->columns * sizeof *cells);
        if (cells == NULL) {
            cli_error("out of memory");
            exit(CLI_FAILED);
        }
        table->cells = cells;
        table->rows_size = size;
    }
    for (unsigned i = 0; i < table->columns; i++) {
        table->cells[table->rows * table->columns + i] = NULL;
    }
    table->rows++;
}

void table_cell(struct table *table, struct slice text)
{
    bk_assert(table->rows != 0);
    const char **row = table->cells + (table->rows - 1) * table->columns;
    for (unsigned i = 0; i < table->columns; i++) {
        if (row[i] == NULL) {
            struct buf safe;
            buf_init(&safe, 1U << 20);
            print_safe(&safe, text, false);
            row[i] = arena_string(&table->arena, buf_text(&safe));
            buf_fini(&safe);
            return;
        }
    }
    bk_never("more cells than columns");
}

void table_cellf(struct table *table, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    table_cell(table, slice_str(text));
}

unsigned print_terminal_width(void)
{
    struct winsize size;
    if (!print_is_terminal() || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) {
        return 0;
    }
    return size.ws_col;
}

static bool is_hidden(const struct table *table, unsigned column)
{
    return (table->hidden >> column & 1) != 0;
}

#define TIME_BYTES 19U /* "2026-01-02 03:04:05" */
#define YEAR_BYTES 5U

static bool is_whole_time(const struct table *table, unsigned column, unsigned width)
{
    return (table->times >> column & 1) != 0 && width >= TIME_BYTES;
}

/* Columns of the terminal for a row; least: when all that may be cut is. */
static unsigned row_width(const struct table *table, const unsigned widths[TABLE_COLUMNS_MAX],
                          bool least)
{
    unsigned total = 0;
    for (unsigned i = 0; i < table->columns; i++) {
        unsigned may_be = (table->sentences >> i & 1) != 0 ? SENTENCE_LEAST : COLUMN_LEAST;
        bool cut = least && (table->whole >> i & 1) == 0 && widths[i] > may_be;
        if (!is_hidden(table, i)) {
            total += (total ? COLUMN_GAP : 0) + (cut ? may_be : widths[i]);
        }
    }
    return total;
}

static bool is_empty(const struct table *table, unsigned column)
{
    bool empty = true;
    for (size_t row = 0; empty && row < table->rows; row++) {
        const char *cell = table->cells[row * table->columns + column];
        empty = cell == NULL || *cell == '\0';
    }
    return empty;
}

/* What is left out so that the rest can be read: first what is empty (unless rows that come later
 * may fill it), then the years, then what is optional. */
static void choose_columns(struct table *table, unsigned widths[TABLE_COLUMNS_MAX],
                           unsigned terminal, unsigned kept)
{
    for (unsigned i = 1; i < table->columns && row_width(table, widths, false) > terminal; i++) {
        table->hidden |= is_empty(table, i) && (kept >> i & 1) == 0 ? 1U << i : 0;
    }
    table->short_times = row_width(table, widths, true) > terminal;
    for (unsigned i = 0; i < table->columns && table->short_times; i++) {
        widths[i] -= is_whole_time(table, i, widths[i]) ? YEAR_BYTES : 0;
    }
    for (unsigned i = table->columns; i-- > 0 && row_width(table, widths, true) > terminal;) {
        table->hidden |= table->optional & 1U << i;
    }
}

/* Widths that fit: as long as the row is too wide, the widest column gives; sentences no more than
 * to SENTENCE_LEAST while another can. */
static void fit(const struct table *table, unsigned widths[TABLE_COLUMNS_MAX], unsigned terminal)
{
    unsigned total = row_width(table, widths, false), sentence_least = SENTENCE_LEAST;
    while (total > terminal) {
        unsigned widest = TABLE_COLUMNS_MAX;
        for (unsigned i = 0; i < table->columns; i++) {
            unsigned least = (table->sentences >> i & 1) != 0 ? sentence_least : COLUMN_LEAST;
            bool may = (table->whole >> i & 1) == 0 && widths[i] > least && !is_hidden(table, i);
            if (may && (widest == TABLE_COLUMNS_MAX || widths[i] > widths[widest])) {
                widest = i;
            }
        }
        if (widest < TABLE_COLUMNS_MAX) {
            widths[widest]--;
            total--;
        } else if (sentence_least > COLUMN_LEAST) {
            sentence_least = COLUMN_LEAST;
        } else {
            return;
        }
    }
}

static void print_cell(const struct table *table, struct buf *out, unsigned column, unsigned width,
                       struct slice text)
{
    if (table->short_times && (table->times >> column & 1) != 0) {
        text = slice_skip(text, text.bytes == TIME_BYTES ? YEAR_BYTES : 0);
    }
    unsigned needed = print_width(text);
    struct slice shown = text;
    if (needed > width) {
        shown = cut(text, width - 1);
        needed = print_width(shown) + 1;
    }
    bool right = (table->right >> column & 1) != 0;
    for (unsigned i = needed; right && i < width; i++) {
        buf_add_byte(out, ' ');
    }
    buf_add_slice(out, shown);
    if (shown.bytes != text.bytes) {
        buf_add_str(out, "…");
    }
    if (column + 1 == table->columns) {
        return;
    }
    for (unsigned i = right ? width : needed; i < width + COLUMN_GAP; i++) {
        buf_add_byte(out, ' ');
    }
}

static void print_row(const struct table *table, struct buf *out, const unsigned *widths,
                      const char *const *cells)
{
    for (unsigned i = 0; i < table->columns; i++) {
        if (!is_hidden(table, i)) {
            print_cell(table, out, i, widths[i], slice_str(cells[i] ? cells[i] : ""));
        }
    }
    while (out->bytes != 0 && out->at[out->bytes - 1] == ' ') {
        out->bytes--;
    }
    buf_add_byte(out, '\n');
}

void table_print(struct table *table)
{
    unsigned widths[TABLE_COLUMNS_MAX] = {0}, terminal = print_terminal_width(), kept = 0;
    struct buf out;
    buf_init(&out, 256U << 20);
    for (unsigned i = 0; i < table->columns; i++) {
        kept |= table->widths[i] > 0 ? 1U << i : 0;
        unsigned least = print_width(slice_str(table->headings[i]));
        table->widths[i] = table->widths[i] > least ? table->widths[i] : least;
        for (size_t row = 0; row < table->rows; row++) {
            const char *cell = table->cells[row * table->columns + i];
            unsigned width = print_width(slice_str(cell));
            table->widths[i] = width > table->widths[i] ? width : table->widths[i];
        }
        widths[i] = table->widths[i];
    }
    if (terminal != 0 && !table->headless) {
        choose_columns(table, widths, terminal, kept);
    } else if (table->short_times) {
        for (unsigned i = 0; i < table->columns; i++) {
            widths[i] -= is_whole_time(table, i, widths[i]) ? YEAR_BYTES : 0;
        }
    }
    if (terminal != 0) {
        fit(table, widths, terminal);
    }
    if (!table->headless) {
        buf_add_str(&out, colours() ? "\033[1m" : "");
        print_row(table, &out, widths, table->headings);
        if (colours()) {
            out.bytes--;
            buf_add_str(&out, "\033[0m\n");
        }
        table->headless = true;
    }
    for (size_t row = 0; row < table->rows; row++) {
        print_row(table, &out, widths, (const char *const *)table->cells + row * table->columns);
    }
    print_bytes(buf_slice(&out));
    buf_fini(&out);
    table->rows = 0;
}

/* ---- values */

static bool lost(void)
{
    static bool said;
    if (!said) {
        said = true;
        cli_error("cannot write to standard output");
    }
    return false;
}

bool print_bytes(struct slice bytes)
{
    if (bytes.bytes != 0 && fwrite(bytes.at, 1, bytes.bytes, stdout) != bytes.bytes) {
        return lost();
    }
    return fflush(stdout) == 0 || lost();
}

bool print_flush(void)
{
    return (fflush(stdout) == 0 && ferror(stdout) == 0) || lost();
}

void print_line(struct slice text)
{
    struct buf out;
    buf_init(&out, 64U << 20);
    print_safe(&out, text, true);
    buf_add_byte(&out, '\n');
    print_bytes(buf_slice(&out));
    buf_fini(&out);
}

/* JSON has such characters only inside strings, where an escape means the same. */
static void escape_unsafe(struct buf *out, struct slice json)
{
    while (json.bytes != 0) {
        uint32_t point;
        size_t bytes = print_decode(json, &point);
        if (bytes > 1 && is_unsafe(point) && point < 0x10000) {
            buf_printf(out, "\\u%04x", point);
        } else if (bytes == 1 && point == 0x7f) {
            buf_add_str(out, "\\u007f");
        } else {
            buf_add(out, json.at, bytes == 0 ? 1 : bytes);
        }
        json = slice_skip(json, bytes == 0 ? 1 : bytes);
    }
}

void print_value(yyjson_mut_val *value, enum print_format format)
{
    struct buf out;
    buf_init(&out, 256U << 20);
    if (format == PRINT_YAML) {
        yaml_add_value(&out, value);
    } else {
        size_t bytes;
        yyjson_write_err err;
        char *json =
            yyjson_mut_val_write_opts(value, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL, &bytes, &err);
        if (json != NULL) {
            escape_unsafe(&out, slice_of(json, bytes));
            buf_add_byte(&out, '\n');
        }
        free(json);
    }
    print_bytes(buf_slice(&out));
    buf_fini(&out);
}

void print_json(struct slice json, enum print_format format)
{
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    if (json_parse(json, &tree, &problem) == BK_OK) {
        print_value(tree.roots[0], format);
    }
    json_tree_fini(&tree);
}
