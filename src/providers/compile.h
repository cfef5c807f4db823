/* compile.h - between the files that compile: rows into plans, secrets into keys. Control plane.
 *
 * Each of these says in *problem what a user's own row has wrong, and returns false.
 */
#ifndef BECKET_PROVIDERS_COMPILE_H
#define BECKET_PROVIDERS_COMPILE_H

#include "providers/program.h"

struct problem {
    const char *field;   /* in the words of spec.verification */
    const char *message; /* static */
};
/* Is the row well formed? Then its plan, malloc'ed; else NULL, and what a user's own row has wrong.
 */
struct scheme_plan *scheme_row_plan(const struct scheme_row *row, struct problem *problem);

/* A token of RFC 9110, 5.6.2, of less than 64 bytes; empty ones, too. */
bool row_is_header_name(struct slice text);

/* Places of a row, parsed: text that does not change must be in `block`. */
struct block {
    uint8_t *at;
    uint8_t *end;
};
bool places_parse(const char *text, struct block *block, struct places *ret_places);
/* The same, where some may be joined. */
bool types_parse(const char *text, struct block *block, struct places *ret_places);
/* Makes the fields among these places part of `fields`, as far as there is room. */
void fields_add_places(struct fields *fields, struct places *places);

static inline bool fail(struct problem *problem, const char *field, const char *message)
{
    *problem = (struct problem){field, message};
    return false;
}

/* ---- compile_block.c */
struct slice block_keep(struct block *block, struct slice text);
struct slice block_keep_lower(struct block *block, struct slice text);
/* Room for every string of the row, once. */
size_t row_text_bytes(const struct scheme_row *row);
/* A row made at run time is copied whole; its pointers point into itself. */
const struct scheme_row *row_keep(struct block *block, const struct scheme_row *row);

/* ---- compile_place.c */
/* The next of several that are separated by blanks. */
struct slice next_word(struct slice *text);
bool place_parse(struct slice word, struct block *block, struct place *ret_place);
/* Its number from 1 on; 0 = there is no room for another, or it is no field. */
uint8_t fields_of(struct fields *fields, const struct place *place, bool may_add);
void fields_add(struct fields *fields, struct place *place);

/* ---- compile_format.c, compile_signed.c, compile_program.c, compile_slots.c */
bool format_parse(const char *text, enum hmac_algorithm algorithm, enum lane_kind kind,
                  struct format *format, struct problem *problem);
bool signed_compile(const char *template, struct block *block, struct program *program,
                    struct problem *problem);
bool program_compile(const struct scheme_row *active, const struct scheme_row *row,
                     struct block *block, struct program *program, struct problem *problem);
/* Which headers and fields are looked for, and what is left out for most requests. */
void slots_compile(struct scheme_plan *plan);

/* ---- compile_keys.c */
/* Of one key: what its algorithm needs. */
size_t key_bytes(const struct scheme_row *row);
/* Is it a SHA-256 that begins with the secret, and has it nowhere else? */
bool row_hash_begins(const struct scheme_row *row);
/* The way of signing, at or before `row`, whose keys `row` uses. */
const struct scheme_row *keys_of(const struct scheme_row *active, const struct scheme_row *row);
/* For each secret: the bytes of keys in front of those of `row`. */
size_t keys_before(const struct scheme_row *active, const struct scheme_row *row);
/* NULL, or what is wrong. Where signing tokens are configured, the other secrets would not be
 * enough: they are left out. */
const char *keys_compile(struct scheme *scheme, const struct program *program,
                         const struct slice *secrets, unsigned secret_count, struct block *block);

/* ---- compile_plan.c */
/* Room for a plan, at most. */
size_t plan_bytes(const struct scheme_row *row, const struct scheme_row *active);
/* Into `bytes` bytes, all zero. `active` is the row itself or its other way of signing. */
bool plan_init(struct scheme_plan *plan, size_t bytes, const struct scheme_row *row,
               const struct scheme_row *active, struct problem *problem);
/* Is the row one of the table? */
bool plan_is_shared(const struct scheme_row *row);
/* Its plan. Any thread may be the first to need it. NULL: see *problem. */
const struct scheme_plan *plan_shared(const struct scheme_row *row, const struct scheme_row *active,
                                      struct problem *problem);

#endif
