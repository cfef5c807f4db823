/* program.h - what a row becomes when it is bound to secrets. Inside providers/ only.
 *
 * Ownership   A row becomes a struct scheme_plan: immutable, without secrets, compiled once for
 *             each row of the table and kept until the process ends. A struct scheme is one
 *             malloc'ed block: which plan, the keys, and what else its source configures; a row
 *             that is not in the table has its plan, and a custom row itself, in that block too.
 *             Slices point into their block or into a row.
 * Size        A server may have a million schemes, so a key takes what its algorithm needs: keys
 *             are reached with scheme_key(), not with an index.
 */
#ifndef BECKET_PROVIDERS_PROGRAM_H
#define BECKET_PROVIDERS_PROGRAM_H

#include "base/base64.h"
#include "base/ed25519.h"
#include "providers/json_scan.h"
#include "providers/row.h"

#define OPS_MAX          16U /* pieces of a signed text */
#define OP_PLACES_MAX    2U
#define PLACES_MAX       3U /* alternatives for an id or a type */
#define PIECES_MAX       6U /* of an answer */
#define SIGNATURES_MAX   8U /* well-formed signatures of one request; providers send two at most */
#define SECRET_NAMES_MAX 8U /* headers to blank in the journal */
#define HANDSHAKE_BODY_BYTES_MAX                                                                   \
    4096U /* a handshake is small; larger bodies are not searched for one */

enum place_kind { PLACE_NONE, PLACE_HEADER, PLACE_FIELD, PLACE_EACH, PLACE_FORM, PLACE_CONSTANT };

struct place {
    enum place_kind kind;
    uint8_t joint;      /* not 0: joined, with this between, to the place before it (of a type) */
    uint8_t slot;       /* of a header: 1 + its index among the plan's names, 0 = look for it */
    uint32_t twice;     /* the bit of scheme_slots.found that says that it is there twice */
    uint8_t field;      /* of a field: the same, among the plan's fields */
    struct slice text;  /* lower-case header name, form field, constant */
    struct slice shown; /* as the row spells it */
    struct json_path path;
    struct slice each; /* pointer inside every element of the list at `path` */
};

enum op_kind {
    OP_TEXT,
    OP_BODY,
    OP_ID,
    OP_TIMESTAMP,
    OP_METHOD,
    OP_PATH,
    OP_URL, /* up to the path, or all of it; OP_URL_REST stands behind it */
    OP_URL_REST,
    OP_QUERY,
    OP_HEADER,
    OP_PLACE,
    OP_FORM,
    OP_FORM_FIELD,    /* the only one of the form */
    OP_URL_UNESCAPED, /* as OP_URL */
    OP_BODY_SHA256,
    OP_SECRET
};

struct op {
    enum op_kind kind;
    unsigned place;    /* of OP_PLACE: which of the program's op_places */
    struct slice text; /* of OP_TEXT, or the lower-case name of OP_HEADER, or OP_FORM_FIELD's */
};

/* Fields of the body that are looked for in one pass. */
struct fields {
    unsigned count;
    struct json_path paths[JSON_PATHS_MAX];
};
_Static_assert(JSON_PATHS_MAX <= SCHEME_FIELDS_MAX, "each has a place in scheme_slots");

struct places {
    unsigned count;
    bool has_field;
    bool has_form;
    bool joined; /* some of them */
    struct place at[PLACES_MAX];
};

enum encoding { ENCODING_HEX, ENCODING_BASE64, ENCODING_BASE64URL };

/* The kinds of signature one text can hold. */
enum lane_kind { LANE_MAC, LANE_ED25519, LANE_PUBLIC_KEY };

/* What an element begins with. Its first bytes as they are loaded, so that nearly always one
 * comparison is enough. */
struct prefix {
    struct slice text;
    size_t least; /* of the element's bytes, for that; SIZE_MAX = it is not enough */
    uint64_t front, front_mask;
};

static inline bool prefix_is(const struct prefix *prefix, struct slice text)
{
    uint64_t front;
    if (__builtin_expect(text.bytes < prefix->least, 0)) {
        return slice_starts(text, prefix->text);
    }
    memcpy(&front, text.at, sizeof front);
    return (front & prefix->front_mask) == prefix->front;
}

struct lane {
    bool used;
    bool prefix_optional;
    enum lane_kind kind;
    uint16_t bytes; /* of the decoded signature; the most of LANE_PUBLIC_KEY */
    enum encoding encoding;
    struct prefix prefix;
};

struct format {
    uint8_t separator; /* 0: the value is one element */
    bool open;         /* elements with another prefix may be there, and several signatures */
    bool has_timestamp;
    bool timestamp_first;   /* it has no prefix */
    uint8_t signatures_max; /* well-formed ones; more make the value malformed */
    struct prefix timestamp_prefix;
    struct lane lanes[2]; /* the one that rows have, and one for Ed25519 besides MACs */
};

/* The lane of a kind that the format has. */
static inline const struct lane *format_lane(const struct format *format, enum lane_kind kind)
{
    return &format->lanes[format->lanes[0].kind != kind];
}

/* Where the time is that a request was sent at, and when it is read. */
enum time_from {
    TIME_NONE,
    TIME_FORMAT, /* among the elements of the signature's text */
    TIME_PLACE,  /* of the timestamp: it is signed, or a header */
    TIME_BODY    /* the same, but the whole body is signed: worth nothing before that is checked */
};

/* Only the bytes that its program needs are there: program.key_bytes. */
struct key {
    enum lane_kind lane;
    union {
        struct hmac_sha256_key sha256;
        struct hmac_key other; /* the other algorithms */
        uint8_t ed25519[32];
        struct public_key public_key; /* as long as its kind needs */
        struct slice token;           /* also user:password, and what is hashed */
        struct {
            struct slice token;      /* the same */
            br_sha256_context begun; /* with it: program.hash_begins */
        } hashed;
    };
};

struct program;
struct scheme_plan;
typedef enum scheme_verdict program_verify_fn(const struct scheme *scheme,
                                              struct scheme_request *request,
                                              struct scheme_answer *ret_answer,
                                              const struct program *program);
/* The one for a program: what it looks at is known when it is compiled. */
program_verify_fn *scheme_verify_fn(const struct program *program);
/* Does it look for the fields of the body itself, and leave a request without its signature to the
 * ways behind it? */
bool scheme_finds_fields(const struct program *program);
/* What a plan has to do for a prepared request. */
typedef enum scheme_verdict plan_verify_fn(const struct scheme *scheme,
                                           struct scheme_request *request,
                                           struct scheme_answer *ret_answer);
plan_verify_fn *scheme_plan_verify(const struct scheme_plan *plan);
/* Is what is signed known without a look at the signature, and nothing of it to be made? */
bool scheme_is_plain(const struct program *program);

/* One way of signing. */
struct program {
    program_verify_fn *verify; /* of a prepared request, with the handshakes that are signed */
    enum row_kind kind;
    enum row_unit unit;
    enum time_from time;
    enum hmac_algorithm algorithm;
    bool is_sha256; /* its MACs are of HMAC-SHA-256 */
    bool last;      /* the way that is left when none before it is selected */
    bool plain;     /* scheme_is_plain() */
    bool url_ports;
    bool tries_otherwise;      /* the row's */
    uint8_t select_slot;       /* of `select`, where that something is there is enough; else 0 */
    int64_t scale;             /* unit_scale() */
    int64_t window;            /* tolerance_seconds in units */
    int64_t tolerance_seconds; /* the row's own; scheme_tolerance_seconds() is what counts */
    struct place signature;    /* or the token */
    struct place select;       /* where nothing there makes the next program the right one */
    struct slice select_equals;
    struct slice token_prefix;
    struct format format;
    struct place timestamp;
    struct place id; /* the one that is signed */
    struct place body_hash;
    bool signs_id;
    bool signs_timestamp;
    unsigned op_count;
    struct op ops[OPS_MAX];
    /* The signed text as far as it is the same for all requests, and which pieces of it are what;
     * OPS_MAX = none. `made`: mask of the others. */
    struct slice parts[OPS_MAX];
    uint8_t body_at, timestamp_at, id_at, url_at, method_at;
    uint16_t body_offset, timestamp_offset, id_offset; /* the first three in bytes */
    unsigned secrets; /* mask of the pieces that are the secret, each key's in turn */
    bool hash_begins; /* a SHA-256 of which it is the first piece, and no other */
    bool url_unescapes;
    bool scratches;  /* pieces are made, or the URL may be with another port */
    bool of_request; /* one of the last two, or `made`: there is something to be made */
    unsigned made;
    unsigned op_place_count;
    struct place op_places[OP_PLACES_MAX];
    uint16_t key_bytes;   /* of each key in the scheme */
    uint16_t keys_before; /* for each secret, the bytes of keys of earlier programs */
    const struct scheme_row *row;
};

enum piece_kind { PIECE_TEXT, PIECE_PLACE, PIECE_HMAC_HEX, PIECE_HMAC_BASE64, PIECE_RATE };

/* A part of an answer. */
struct piece {
    enum piece_kind kind;
    struct slice text;
    struct place place;
};

struct pieces {
    unsigned count;
    struct piece at[PIECES_MAX];
};

struct handshake {
    const struct row_handshake *row;
    struct place when;
    struct slice equals;
    bool has_equals;
    struct place must;
    struct slice must_equal;
    struct place learn;
    struct pieces answer;
    struct pieces headers;
    struct scheme_answer reply; /* without body and headers */
};

#define PROGRAMS_MAX 4U

struct scheme_plan {
    plan_verify_fn *verify;
    const struct scheme_row *row;
    unsigned methods;
    unsigned name_count; /* of headers, for scheme_prepare() */
    struct slice names[SCHEME_SLOTS_MAX];
    uint8_t tags[SCHEME_SLOTS_MAX][16]; /* the same in all sixteen: http_locate() */
    unsigned program_count;
    struct program *programs; /* in `tail`, as handshakes: a plan of a source's own must be small */
    struct places id;
    bool id_is_signed; /* of a way of signing with an id that is the one that counts */
    struct places within;
    struct places type;
    struct slice constant_type;
    unsigned handshake_count;
    unsigned unsigned_count; /* handshakes that are looked for first; they come first */
    bool signed_handshakes;  /* there are others, too */
    /* The only one that is signed is told by this header, or field of the body: its last letter.
     * NULL = otherwise. */
    const struct place *told;
    uint8_t told_last;
    bool unsigned_forms; /* all that are not signed are told by a field of a form */
    bool learns;         /* a handshake brings the secret */
    /* The first way of signing, which nothing has to be done before for a request that has this
     * slot: no handshake to look for but in forms, no fields to find. NULL = there is more to do.
     */
    const struct program *only;
    uint8_t only_slot;
    struct fields fields;
    unsigned
        signed_fields; /* so many, which come first, take part in signatures; 0 = at most one */
    struct handshake *handshakes;
    unsigned secret_name_count;
    struct slice secret_names[SECRET_NAMES_MAX];
    uint8_t secret_slots[SECRET_NAMES_MAX];
    /* Of what is found in a head without secrets, these bits are secret_none. */
    uint32_t secret_mask, secret_none;
    unsigned secret_field_count; /* of the query */
    struct slice secret_fields[PROGRAMS_MAX];
    struct slice only_prefix;   /* secrets without it are not used */
    _Alignas(8) uint8_t tail[]; /* programs, handshakes, a custom row's copy, text */
};

/* What a source configures besides secrets; most have none of it. */
struct extra {
    struct slice verify_token;
    const struct slice *origins;
    unsigned origin_count; /* 0 = any */
    uint32_t rate_per_minute;
    bool has_allow;
    const struct cidr *allow;
    unsigned allow_count;
    const struct cidr *proxies;
    unsigned proxy_count;
};

struct scheme {
    const struct scheme_plan *plan;
    int64_t tolerance_seconds; /* 0: age does not matter; < 0: the program's own */
    uint32_t bytes;
    uint8_t key_count; /* of each program */
    bool is_auto : 1;  /* the tail is other schemes, one after the other */
    bool of_auto : 1;  /* one of these: its secrets are others', too */
    uint16_t extra_at; /* in units of 8 bytes from the tail; 0 = none */
    /* Keys, program by program; tokens; extra; the plan if it is not shared. */
    _Alignas(8) uint8_t tail[];
};

/* A key of a program of this scheme. */
static inline const struct key *scheme_key(const struct scheme *scheme,
                                           const struct program *program, unsigned index)
{
    size_t at = (size_t)index * program->key_bytes;
    at += (size_t)scheme->key_count * program->keys_before;
    return (const struct key *)(const void *)(scheme->tail + at);
}

static inline int64_t scheme_tolerance_seconds(const struct scheme *scheme,
                                               const struct program *program)
{
    return scheme->tolerance_seconds >= 0 ? scheme->tolerance_seconds : program->tolerance_seconds;
}

/* From one scheme to the next one, in a scheme of type auto. */
static inline size_t scheme_stride(const struct scheme *scheme)
{
    return (scheme->bytes + 15U) & ~(size_t)15U;
}

/* NULL = nothing besides secrets. */
static inline const struct extra *scheme_extra(const struct scheme *scheme)
{
    return scheme->extra_at != 0
               ? (const struct extra *)(const void *)(scheme->tail + 8U * scheme->extra_at)
               : NULL;
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

/* Does the program check something over a text, rather than a secret that is sent as it is? */
static inline bool kind_signs(enum row_kind kind)
{
    return kind == ROW_HMAC || kind == ROW_ED25519 || kind == ROW_PUBLIC_KEY || kind == ROW_HASH;
}

/* Is a key of this row the text of its secret? */
static inline bool row_keeps_text(const struct scheme_row *row)
{
    enum row_kind kind = row->kind;
    return kind == ROW_TOKEN || kind == ROW_BASIC || kind == ROW_BEARER ||
           kind == ROW_AUTHORIZATION || kind == ROW_HASH ||
           (kind == ROW_CODE && row->secret != SECRET_PUBLIC_KEY);
}

#endif
