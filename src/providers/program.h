/* program.h - what a row becomes when it is bound to secrets. Inside providers/ only.
 *
 * Ownership   A row becomes a struct scheme_plan: immutable, without secrets, compiled once for
 * each row of the table and kept until the process ends. A struct scheme is one malloc'ed block:
 * which plan, and the keys; a row that is not in the table has its plan, and a custom row itself,
 * in that block too. Slices point into their block or into a row. Size        A server may have a
 * million schemes, so a key takes what its algorithm needs: keys are reached with scheme_key(), not
 * with an index.
 */
#ifndef BECKET_PROVIDERS_PROGRAM_H
#define BECKET_PROVIDERS_PROGRAM_H

#include "base/base64.h"
#include "base/ed25519.h"
#include "providers/json_scan.h"
#include "providers/row.h"

#define OPS_MAX          12U /* pieces of a signed text */
#define PLACES_MAX       3U  /* alternatives for an id or a type */
#define SIGNATURES_MAX   8U  /* well-formed signatures of one request; providers send two at most */
#define SECRET_NAMES_MAX 8U  /* headers to blank in the journal */
#define HANDSHAKE_BODY_BYTES_MAX                                                                   \
    4096U /* a handshake is small; larger bodies are not searched for one */

enum op_kind {
    OP_TEXT,
    OP_BODY,
    OP_ID,
    OP_TIMESTAMP,
    OP_METHOD,
    OP_PATH,
    OP_URL,
    OP_QUERY,
    OP_HEADER
};

struct op {
    enum op_kind kind;
    struct slice text; /* of OP_TEXT, or the lower-case name of OP_HEADER */
};

enum place_kind { PLACE_NONE, PLACE_HEADER, PLACE_FIELD, PLACE_FORM, PLACE_CONSTANT };

struct place {
    enum place_kind kind;
    struct slice text;  /* lower-case header name, form field, constant */
    struct slice shown; /* as the row spells it */
    struct json_path path;
};

struct places {
    unsigned count;
    struct place at[PLACES_MAX];
};

enum encoding { ENCODING_HEX, ENCODING_BASE64, ENCODING_BASE64URL };

/* The two kinds of signature one header can hold. */
enum lane_kind { LANE_MAC, LANE_ED25519, LANE_COUNT };

struct lane {
    bool used;
    bool prefix_optional;
    uint8_t bytes; /* of the decoded signature */
    enum encoding encoding;
    struct slice prefix;
};

struct format {
    uint8_t separator; /* 0: the value is one element */
    bool open;         /* elements with another prefix may be there, and several signatures */
    bool has_timestamp;
    struct slice timestamp_prefix;
    struct lane lanes[LANE_COUNT];
};

/* Only the bytes that its program needs are there: program.key_bytes. */
struct key {
    enum lane_kind lane;
    union {
        struct hmac_sha256_key sha256;
        struct hmac_key other; /* the other algorithms */
        uint8_t ed25519[32];
        struct slice token; /* also user:password */
    };
};

/* One way of signing. */
struct program {
    enum row_kind kind;
    enum row_unit unit;
    enum hmac_algorithm algorithm;
    int64_t tolerance_seconds; /* the row's own; scheme_tolerance_seconds() is what counts */
    struct slice header;       /* lower case */
    struct slice header_shown;
    struct slice select; /* header whose absence makes the next program the right one */
    struct slice token_prefix;
    struct format format;
    struct place timestamp;
    struct place id; /* the one that is signed */
    bool signs_id;
    bool signs_timestamp;
    unsigned op_count;
    struct op ops[OPS_MAX];
    uint16_t key_bytes;  /* of each key in the scheme */
    bool first_has_keys; /* the same as the first program's: they are there once */
    const struct scheme_row *row;
};

struct handshake {
    bool is_unsigned;
    struct place when;
    struct slice equals;
    struct place answer;
    struct scheme_answer reply; /* without the body */
};

#define PROGRAMS_MAX 2U

struct scheme_plan {
    const struct scheme_row *row;
    unsigned methods;
    unsigned program_count;
    struct program programs[PROGRAMS_MAX];
    struct places id;
    struct places type;
    struct slice constant_type;
    unsigned handshake_count;
    unsigned unsigned_count; /* handshakes that are looked for first; they come first */
    struct handshake handshakes[ROW_HANDSHAKES_MAX];
    unsigned secret_name_count;
    struct slice secret_names[SECRET_NAMES_MAX];
    struct slice only_prefix; /* secrets without it are not used */
    uint8_t tail[];           /* a custom row's copy, text */
};

struct scheme {
    const struct scheme_plan *plan;
    int64_t tolerance_seconds; /* 0: age does not matter; < 0: the program's own */
    uint32_t bytes;
    uint32_t key_count; /* of each program */
    uint8_t tail[];     /* keys, program by program; tokens; the plan if it is not shared */
};

/* A key of a program of this scheme. */
static inline const struct key *scheme_key(const struct scheme *scheme,
                                           const struct program *program, unsigned index)
{
    const struct program *first = &scheme->plan->programs[0];
    size_t at = (size_t)index * program->key_bytes;
    if (program != first && !program->first_has_keys) {
        at += (size_t)scheme->key_count * first->key_bytes;
    }
    return (const struct key *)(const void *)(scheme->tail + at);
}

static inline int64_t scheme_tolerance_seconds(const struct scheme *scheme,
                                               const struct program *program)
{
    return scheme->tolerance_seconds >= 0 ? scheme->tolerance_seconds : program->tolerance_seconds;
}

/* HMAC with a key of the program's algorithm; gives its bytes. */
static inline size_t key_mac(const struct program *program, const struct key *key,
                             const struct slice *parts, unsigned part_count,
                             uint8_t ret_mac[HMAC_BYTES_MAX])
{
    if (program->algorithm != HMAC_SHA256) {
        return hmac(&key->other, parts, part_count, ret_mac);
    }
    hmac_sha256(&key->sha256, parts, part_count, ret_mac);
    return SHA256_BYTES;
}

/* ---- shared between verifying, explaining and signing */

/* What a request says about its signature. Filled step by step; see scheme_read(). */
struct signature {
    uint8_t bytes[64];
    enum lane_kind lane;
};
struct reading {
    const struct scheme *scheme;
    const struct program *program;
    struct slice header;     /* value of the signature header */
    struct slice timestamp;  /* as signed */
    int64_t timestamp_value; /* in the program's unit */
    struct slice id;
    unsigned signature_count;
    struct signature signatures[SIGNATURES_MAX];
    unsigned part_count;
    struct slice parts[OPS_MAX];
};

/* The program for this request. */
const struct program *scheme_select(const struct scheme *scheme, const struct http_head *head);
/* Everything up to the point where keys are needed. SCHEME_GENUINE means: go on. */
enum scheme_verdict scheme_read(const struct scheme *scheme, const struct program *program,
                                const struct scheme_request *request, struct reading *ret_reading);
/* Does one of the keys match? Returns its index, or -1. */
int scheme_match(const struct reading *reading);
/* Units per second, and a timestamp's text as a number of units. */
int64_t unit_scale(enum row_unit unit);
bool unit_parse(enum row_unit unit, struct slice text, int64_t *ret_value);
/* GENUINE, STALE or FUTURE. */
enum scheme_verdict scheme_check_age(const struct scheme *scheme, const struct program *program,
                                     int64_t value, int64_t now_seconds);
/* What is at a place of the request; empty = nothing. */
struct slice place_value(const struct place *place, const struct scheme_request *request);
/* Reads and checks a timestamp that is in the (signed) body. */
enum scheme_verdict scheme_read_body_time(const struct program *program,
                                          const struct scheme_request *request, int64_t *ret_value);

/* ---- parsing rows */
struct problem {
    const char *field;   /* in the words of spec.verification */
    const char *message; /* static */
};
/* Is the row well formed? Tells what a user's own row has wrong. */
bool scheme_row_compiles(const struct scheme_row *row, struct problem *problem);

#endif
