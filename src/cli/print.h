/* print.h - what commands print: tables, JSON, YAML, and text that cannot drive a terminal.
 *
 * Purpose     Everything that came from outside (names, headers, bodies) is made harmless before it
 *             reaches a terminal: control characters, escapes, text direction marks.
 * Tables      Columns as wide as needed; on a terminal they are made to fit its width: some are
 *             left out, the widest ones are cut, by columns of the terminal, not bytes. Headings
 *             are bold there unless NO_COLOR is set.
 */
#ifndef BECKET_CLI_PRINT_H
#define BECKET_CLI_PRINT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"

#include <stdio.h>

enum print_format { PRINT_TABLE, PRINT_JSON, PRINT_YAML };
/* From the text of -o. */
enum print_format print_format(const char *text);

#define TABLE_COLUMNS_MAX 10U

struct table {
    struct arena arena;
    unsigned columns;
    const char *headings[TABLE_COLUMNS_MAX];
    unsigned right;     /* bit per column: numbers, to the right */
    unsigned whole;     /* bit per column: never cut */
    unsigned times;     /* bit per column: print_time()'s, which can do without the year */
    unsigned optional;  /* bit per column: left out where there is no room */
    unsigned sentences; /* bit per column: to be read, so optional ones make room for it */
    unsigned hidden;    /* bit per column: chosen when the headings are printed */
    bool short_times;   /* likewise */
    const char **cells; /* rows * columns */
    size_t rows, rows_size;
    bool headless;                      /* do not print the headings (again) */
    unsigned widths[TABLE_COLUMNS_MAX]; /* at least; kept from page to page */
};

/* headings: "WHEN@|ID!|TYPE|SIZE>?|WHY~": '>' = to the right, '!' = never cut (what people copy),
 * '@' = a time, '?' = left out on a terminal where there is no room otherwise, the last one first,
 * '~' = a sentence, which wants room. What is empty in all rows goes before. */
void table_init(struct table *table, const char *headings);
void table_fini(struct table *table);
/* Begin a row, then add its cells; missing ones are empty. Text is copied and made harmless. */
void table_row(struct table *table);
void table_cell(struct table *table, struct slice text);
__attribute__((format(printf, 2, 3))) void table_cellf(struct table *table, const char *format,
                                                       ...);
/* Print on stdout and forget the rows. */
void table_print(struct table *table);

/* Append `text` with everything that a terminal would act on as \xNN or \uNNNN; line feeds and tabs
 * stay
 * when `lines`. Bytes that are not UTF-8 become U+FFFD. */
void print_safe(struct buf *out, struct slice text, bool lines);
/* Columns a terminal needs for text that print_safe made. */
unsigned print_width(struct slice text);

/* JSON (indented) or YAML on stdout. */
void print_value(yyjson_mut_val *value, enum print_format format);
/* The same of a value that is JSON text already. */
void print_json(struct slice json, enum print_format format);
/* Write bytes to stdout; false (with one line on stderr) when that failed. */
bool print_bytes(struct slice bytes);
/* At the end: is everything written? False, with one line on stderr in all, when it is not. */
bool print_flush(void);
/* A line of text on stdout, made harmless. */
void print_line(struct slice text);

/* "3 KiB"; "2026-01-02 03:04:05" in local time from RFC 3339. */
const char *print_bytes_text(uint64_t bytes, char text[16]);
void print_time(struct slice rfc3339, char text[32]);

bool print_is_terminal(void);
/* Columns of standard output; 0 = it is no terminal. */
unsigned print_terminal_width(void);

/* Words of `text` in lines of `width` columns and a line feed at the end. Each line begins with
 * `indent` blanks; of the first one `used` columns are written already. */
void print_wrapped(struct buf *out, struct slice text, unsigned indent, unsigned used,
                   unsigned width);
/* The first UTF-8 character: its length, 0 when malformed. */
size_t print_decode(struct slice text, uint32_t *ret_point);

#endif
