/* program.h - what a row becomes when it is bound to secrets. Inside providers/ only.
 *
 * Ownership   A struct scheme is one malloc'ed block: the struct, the keys, a custom row's copy,
 *             and text (header names in lower case, tokens). Slices point into it or into a
 *             constant row.
 */
#ifndef BECKET_PROVIDERS_PROGRAM_H
#define BECKET_PROVIDERS_PROGRAM_H

#include "base/base64.h"
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

struct key {
    enum lane_kind lane;
    union {
        struct hmac_key hmac;
        uint8_t ed25519[32];
        struct slice token; /* also user:password */
    };
};

/* One way of signing. */
struct program {
    enum row_kind kind;
    enum row_unit unit;
    int64_t tolerance_seconds; /* 0: age does not matter */
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
    unsigned key_count;
    struct key *keys;
    const struct scheme_row *row;
};

struct handshake {
    bool is_unsigned;
    struct place when;
    struct slice equals;
    struct place answer;
    struct scheme_answer reply; /* without the body */
};

struct scheme {
    const struct scheme_row *row;
    size_t bytes;
    unsigned methods;
    unsigned program_count;
    struct program programs[2];
    struct places id;
    struct places type;
    struct slice constant_type;
    unsigned handshake_count;
    unsigned unsigned_count; /* handshakes that are looked for first; they come first */
    struct handshake handshakes[ROW_HANDSHAKES_MAX];
    unsigned secret_name_count;
    uint64_t secret_lengths; /* 1 << length of each name */
    struct slice secret_names[SECRET_NAMES_MAX];
    struct slice only_prefix; /* secrets without it are not used */
    uint8_t tail[];           /* keys, the row's copy, text */
};

/* ---- shared between verifying, explaining and signing */

/* What a request says about its signature. Filled step by step; see scheme_read(). */
struct signature {
    uint8_t bytes[64];
    enum lane_kind lane;
};
struct reading {
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
enum scheme_verdict scheme_read(const struct program *program, const struct scheme_request *request,
                                struct reading *ret_reading);
/* Does one of the keys match? Returns its index, or -1. */
int scheme_match(const struct reading *reading);
/* Units per second, and a timestamp's text as a number of units. */
int64_t unit_scale(enum row_unit unit);
bool unit_parse(enum row_unit unit, struct slice text, int64_t *ret_value);
/* GENUINE, STALE or FUTURE. */
enum scheme_verdict scheme_check_age(const struct program *program, int64_t value,
                                     int64_t now_seconds);
/* What is at a place of the request; empty = nothing. */
struct slice place_value(const struct place *place, const struct scheme_request *request);
/* Reads and checks a timestamp that is in the (signed) body. */
enum scheme_verdict scheme_read_body_time(const struct program *program,
                                          const struct scheme_request *request, int64_t *ret_value);

/* Ed25519 over parts. False: not genuine. */
bool ed25519_verify(const uint8_t signature[64], const uint8_t public_key[32],
                    const struct slice *parts, unsigned part_count);

/* ---- parsing rows */
struct problem {
    const char *field;   /* in the words of spec.verification */
    const char *message; /* static */
};
/* Is the row well formed? Tells what a user's own row has wrong. */
bool scheme_row_compiles(const struct scheme_row *row, struct problem *problem);

#endif
