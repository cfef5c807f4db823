/* scheme.h - how a provider's webhooks are recognised as genuine: verification as data.
 *
 * Purpose     A `row` (constant table for known providers, or built from a user's YAML) says where
 *             signature, timestamp, id and type are, how the signed bytes are put together, which
 *             algorithm and encoding, tolerance, and which handshake. scheme_compile() binds a row
 *             to secrets (as HMAC midstates); scheme_verify() runs it over a request. No I/O, no
 *             clock, no allocation at verify time.
 * Ownership   A compiled scheme is one immutable block the caller owns; any number of threads may
 *             verify with it. What it shares with other schemes of its row stays in memory until
 *             the process ends; it has no secrets.
 * Size        96 bytes for one HMAC-SHA-256 secret and a row of the table.
 * Auto        A scheme of the row `auto` holds one of every row that requests can be told apart by;
 *             each function looks at the request to choose.
 * Secrets     Only midstates or keys the algorithm needs are kept; scheme_wipe() clears them.
 * Source      the provider's page is named in its row.
 */
#ifndef BECKET_PROVIDERS_SCHEME_H
#define BECKET_PROVIDERS_SCHEME_H

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "http/message.h"
#include "providers/json_scan.h"
#include "providers/keys.h"

struct scheme_row; /* providers/row.h */
struct scheme;
struct key;

/* Also the journal's `reason` of a rejected record: append only. */
enum scheme_verdict {
    SCHEME_GENUINE = 0,
    SCHEME_HANDSHAKE = 1, /* genuine or needing no signature: answer it, store nothing */
    SCHEME_SIGNATURE_MISSING = 2,
    SCHEME_SIGNATURE_MALFORMED = 3,
    SCHEME_SIGNATURE_DOUBLED = 4,
    SCHEME_SIGNATURE_WRONG = 5, /* wrong secret or altered body: cannot be told apart */
    SCHEME_TIMESTAMP_MISSING = 6,
    SCHEME_TIMESTAMP_MALFORMED = 7,
    SCHEME_STALE = 8,
    SCHEME_FUTURE = 9,
    SCHEME_ID_MISSING = 10,
    SCHEME_BODY_MALFORMED = 11,
    SCHEME_KEY_WANTED = 12, /* the key must be fetched first: ask again */
    SCHEME_KEY_UNAVAILABLE = 13,
    SCHEME_KEY_UNKNOWN = 14,
    SCHEME_TOKEN_EXPIRED = 15,
    SCHEME_TOKEN_EARLY = 16,
    SCHEME_CLAIM_WRONG = 17,
    SCHEME_DIGEST_WRONG = 18,
    SCHEME_SENDER_REFUSED = 19,
    SCHEME_HANDSHAKE_REFUSED = 20, /* the answer has the status */
    SCHEME_ADDRESS_REFUSED = 21,
    SCHEME_NO_SECRET_YET = 22, /* the provider has not brought it */
    SCHEME_TYPE_UNKNOWN = 23,  /* of type auto: looks like no provider */
    SCHEME_VERDICT_COUNT
};

/* Where a scheme's headers are in a request: scheme_prepare()'s, and NULL without it; and what is
 * in the fields of the body that it looks at, once these were looked for. */
#define SCHEME_SLOTS_MAX  16U
#define SCHEME_FIELDS_MAX 8U
struct scheme_slots {
    const struct scheme *scheme;
    uint32_t found;                                  /* http_locate()'s result */
    uint8_t field_count;                             /* so many of them are known */
    uint8_t at[1 + SCHEME_SLOTS_MAX];                /* from 1 on; at[0] is not 0 */
    struct json_found fields[1 + SCHEME_FIELDS_MAX]; /* from 1 on */
};

struct scheme_request {
    const struct http_head *head;
    struct slice body;
    struct slice url; /* public URL as the sender saw it, for rows that sign it; else empty */
    /* Its beginning, up to and without the path, when only the server's own public address is
     * known: what follows is the request's target. */
    struct slice base;
    int64_t now_seconds;
    const struct key_finder *keys; /* keys that others publish; NULL = none can be had */
    uint8_t peer_family; /* 4 or 6; 0 = unknown. Only for sources that allow some addresses. */
    const uint8_t *peer; /* 4 or 16 bytes */
    struct scheme_slots slots;
    /* Of what is signed, with this key: scheme_prepare_two()'s; NULL = it is not computed. */
    const struct key *mac_key;
    uint8_t mac[32];
};

/* Slices point into the request (head or body); empty when the row or the request has none, and the
 * type also when the row has a constant one: it is not in the request, and scheme_type_text() gives
 * it. A JSON string is given as written: escapes stay. */
#define SCHEME_TYPE_MORE 2U
struct scheme_type_part {
    struct slice text;
    uint8_t joint; /* before it */
};
struct scheme_identity {
    struct slice type; /* event type as the provider names it; its first part */
    struct slice delivery_id;
    struct slice within; /* what the id is unique in, where a row says so; else empty */
    unsigned more_count; /* further parts of the type, of rows that join several */
    struct scheme_type_part more[SCHEME_TYPE_MORE];
};
/* The whole type, or the scheme's constant one, cut to EVENT_TYPE_BYTES_MAX; in `room` if it has
 * several parts. */
struct slice scheme_type_text(const struct scheme *scheme, const struct scheme_identity *identity,
                              uint8_t room[EVENT_TYPE_BYTES_MAX]);

/* Slices point into the request, are static, or live until the next verification on this thread. */
struct scheme_answer {
    uint16_t status;
    const char *content_type; /* NULL = no body */
    struct slice body;
    struct slice headers; /* further header lines */
    struct slice confirm; /* not empty: a URL to GET once, on a host of the provider */
    struct slice learned; /* a secret the provider brought: keep it before you answer */
};

/* Secrets-bearing bytes of a request (token headers, Authorization, Cookie …), to be blanked in the
 * journal's copy; offsets from head->at. scheme_redactions returns how many were written, at most
 * max: a request has rarely more than two, SCHEME_REDACTIONS are plenty. */
#define SCHEME_REDACTIONS 8U
struct scheme_redaction {
    uint32_t at;
    uint32_t bytes;
};

/* Finds the headers that the scheme looks at, in one pass: what follows for this request and this
 * scheme is then faster, and says the same. */
void scheme_prepare(const struct scheme *scheme, struct scheme_request *request);
/* Of two requests that are prepared: computes what both have to be signed with in one pass, which
 * takes little longer than for one (base/sha256.h). Where that cannot be it does nothing. */
void scheme_prepare_two(struct scheme_request *a, struct scheme_request *b);
/* Verify. On SCHEME_HANDSHAKE *ret_answer says what to reply. A prepared request keeps what is
 * found in its body. */
enum scheme_verdict scheme_verify(const struct scheme *scheme, struct scheme_request *request,
                                  struct scheme_answer *ret_answer);
/* Type and delivery id. Cheap: headers first, else a scan of the JSON; what is found there a
 * prepared request keeps, so that it is not looked for again. */
void scheme_identify(const struct scheme *scheme, struct scheme_request *request,
                     struct scheme_identity *ret_identity);
/* Whose event it is and what it is about, where the row says: empty = it does not. For reading
 * events and for routing, not for the way in. */
struct scheme_subject {
    struct slice account;
    struct slice resource;
};
void scheme_subject(const struct scheme_row *row, const struct scheme_request *request,
                    struct scheme_subject *ret_subject);
unsigned scheme_redactions(const struct scheme *scheme, const struct scheme_request *request,
                           struct scheme_redaction *ret_redactions, unsigned max);
/* Bit mask of 1 << enum http_method that the hook takes (POST always, GET when a handshake wants
 * it). */
unsigned scheme_methods(const struct scheme *scheme);
/* The provider wants this exact acknowledgement instead of {"id":…}; NULL = ours. "{id}" in its
 * body is the event's id. */
const struct scheme_answer *scheme_acknowledgement(const struct scheme *scheme,
                                                   const struct http_head *head);
bool scheme_has_delivery_id(const struct scheme *scheme);
/* A request without a delivery id: is one with the same body a repetition of it? NULL: any request
 * of the source's. */
bool scheme_body_is_id(const struct scheme *scheme, const struct scheme_request *request);
/* Does the request carry several events, to be taken apart with batch.h? */
bool scheme_is_batch(const struct scheme *scheme, const struct scheme_request *request);
const struct scheme_row *scheme_row(const struct scheme *scheme);
/* What a 401 must say (RFC 9110 11.6.1): a whole header line. */
struct slice scheme_challenge(const struct scheme *scheme);
/* Has it no secret yet, and waits for the one that a handshake brings? */
bool scheme_is_learning(const struct scheme *scheme);

/* One sentence for people: what was wrong and what to look at. Static. */
const char *scheme_verdict_text(enum scheme_verdict verdict);
/* For `becket verify`: the verdict in words with what was found and expected, the age of the
 * timestamp, and, when the signature is wrong, which change to the body would make it right (a lost
 * newline is the usual one). `request` and `scheme` are what the verdict came from. Control plane:
 * takes memory and time. Appends lines of text. */
void scheme_explain(const struct scheme *scheme, const struct scheme_request *request,
                    enum scheme_verdict verdict, struct buf *text);
/* Short stable name for JSON ("signature_wrong"). Static. */
const char *scheme_verdict_name(enum scheme_verdict verdict);

/* ---- rows */
/* By name as users write it: "github", "standard-webhooks", "standard_webhooks", "TYPE_GITHUB".
 * NULL = unknown. "generic" is none: its rows are made with scheme_row_custom. */
const struct scheme_row *scheme_row_find(struct slice name);
/* "generic", also as "generic-hmac", in these spellings. */
bool scheme_is_generic(struct slice name);
/* Canonical name ("github"). */
const char *scheme_row_name(const struct scheme_row *row);
size_t scheme_row_count(void);
/* Does whoever sends sign with a private key? */
bool scheme_row_wants_private_key(const struct scheme_row *row);
/* And names that key's certificate? Then the secrets are none of the key's. */
bool scheme_row_wants_certificate(const struct scheme_row *row);
/* Can it be signed with one? */
bool scheme_row_takes_private_key(const struct scheme_row *row);
/* What `becket send` signs with, in words; NULL = it cannot. */
const char *scheme_row_sends_with(const struct scheme_row *row);
/* Has a source of this row no secret, because keys are published? */
bool scheme_row_is_keyless(const struct scheme_row *row);
const struct scheme_row *scheme_row_at(size_t index);
/* The other way round; SIZE_MAX for a row that is in no table. */
size_t scheme_row_index(const struct scheme_row *row);
/* Tolerance in seconds that the row has by itself; 0 = its requests carry no time. */
int64_t scheme_row_tolerance_seconds(const struct scheme_row *row);
/* The one event type that the provider sends, static; empty when the request says it. NULL: empty.
 */
struct slice scheme_row_constant_type(const struct scheme_row *row);
/* Its requests carry a token of an issuer: it is used through scheme_custom.base. */
bool scheme_row_takes_claims(const struct scheme_row *row);
bool scheme_row_needs_secret(const struct scheme_row *row);
/* A handshake brings the secret, so that a source may begin without one. */
bool scheme_row_learns(const struct scheme_row *row);
/* A person has to be told that secret. */
bool scheme_row_shows_learned(const struct scheme_row *row);
bool scheme_row_is_auto(const struct scheme_row *row);
/* Which row does this request look like, by its headers? NULL = none. For type auto. */
const struct scheme_row *scheme_row_detect(const struct http_head *head);
/* For people: the whole table. {"providers":[{"type","title","group","documentation","needs",
 * "verification","signed","tolerance","eventType","deliveryId","account","resource","handshakes",
 * "answer","aliases","canSend"},…]}, and the page CATALOGUE.md. */
void scheme_catalogue_json(struct buf *json);
void scheme_catalogue_markdown(struct buf *text);
/* "HMAC-SHA-256 in X-Hub-Signature-256", into `text`. */
void scheme_row_verification(const struct scheme_row *row, struct buf *text);
const char *scheme_row_title(const struct scheme_row *row);
const char *scheme_row_needs(const struct scheme_row *row);

/* ---- a user's own row (spec.verification of a `generic` source), as strings out of YAML */
struct scheme_custom {
    /* none token basic bearer hmac ed25519 ecdsa-p256 (DER) ecdsa-p256-raw rsa jwt; empty = hmac. A
     * token without a header is a bearer token. */
    struct slice scheme;
    struct slice algorithm; /* sha1 sha256 sha384 sha512; hs256 for jwt; empty = sha256 */
    struct slice signature_header;
    struct slice signature_format; /* "sha256={hex}", "{base64}", "v1={hex}" …; empty = "{hex}" */
    struct slice timestamp_header;
    struct slice id_header;
    struct slice type_header;
    struct slice type_field; /* JSON pointer, e.g. /type; or {header:X-Resource}.{/action} */
    struct slice id_field;
    struct slice signed_template; /* "{timestamp}.{body}"; empty = "{body}" */
    struct slice timestamp_unit;  /* s ms rfc3339; empty = s */
    struct slice signature_field; /* instead of signature_header: /pointer, or ?name */
    struct slice timestamp_field;
    /* ---- tokens: scheme jwt, or `base` */
    struct slice base; /* a row of the table for tokens that the rest refines; empty = none */
    struct slice issuer;
    struct slice audience; /* one or several, separated by blanks */
    struct slice claims;   /* name=value lines */
    struct slice jwks_url;
    bool allow_private; /* the issuer may be at a private address */
};
/* Build a row from it. The row owns copies; free with scheme_row_free(). On
 * BK_INVALID/BK_UNSUPPORTED *ret_field names the wrong field ("signature.format") and ret_message
 * says why (static). */
enum bk_err scheme_row_custom(const struct scheme_custom *custom, struct scheme_row **ret_row,
                              const char **ret_field, const char **ret_message) BK_MUST_CHECK;
void scheme_row_free(struct scheme_row *row);

/* Bind a row to secrets. `secrets` are the texts as configured (whsec_… and so on are decoded as
 * the row says). tolerance_seconds < 0 = the row's own, 0 = age does not matter. The row must
 * outlive the scheme unless it is a custom row, which is copied in. The result is malloc'ed as one
 * block (bytes in *ret_bytes); scheme_wipe() then free(). BK_INVALID: a secret is empty, missing or
 * malformed; *ret_message says which and why (static). */
enum bk_err scheme_compile(const struct scheme_row *row, const struct slice *secrets,
                           unsigned secret_count, int64_t tolerance_seconds,
                           struct scheme **ret_scheme, size_t *ret_bytes,
                           const char **ret_message) BK_MUST_CHECK;
/* What a source may configure besides. All of it is copied. */
struct cidr;
struct scheme_options {
    int64_t tolerance_seconds;   /* as above */
    struct slice verify_token;   /* of handshakes that show one (Meta) */
    const struct slice *origins; /* who may ask to send (CloudEvents); none = anybody */
    unsigned origin_count;
    uint32_t rate_per_minute; /* told to who asks; 0 = any */
    bool has_allow;           /* only these addresses may send; with none in the list, nobody */
    const struct cidr *allow;
    unsigned allow_count;
    const struct cidr *proxies; /* whose X-Forwarded-For is believed */
    unsigned proxy_count;
};
#define SCHEME_ORIGINS_MAX 16U
#define SCHEME_RANGES_MAX  64U
enum bk_err scheme_compile_with(const struct scheme_row *row, const struct slice *secrets,
                                unsigned secret_count, const struct scheme_options *options,
                                struct scheme **ret_scheme, size_t *ret_bytes,
                                const char **ret_message) BK_MUST_CHECK;
void scheme_wipe(struct scheme *scheme);

/* ---- signing as the provider would (becket send, becket bench, tests) */
struct private_key;
struct scheme_send {
    struct slice body;
    struct slice type; /* event type, empty = the row's usual test event */
    struct slice id;   /* delivery id */
    struct slice url;
    struct slice headers; /* lines that are sent besides, for rows that sign some of them */
    int64_t now_seconds;
    /* Where a provider's signature is in the body or the URL, these get what must be sent instead
     * of `body` and `url`; else they stay empty. NULL: such rows are BK_UNSUPPORTED. */
    struct buf *ret_body;
    struct buf *ret_url;
    bool make_body; /* the body is ours to change: id and type go where the row looks for them */
    /* For rows that sign with one; NULL = there is none. */
    const struct private_key *private_key;
    struct slice key_id; /* `kid` of a token; empty = without */
    /* Where the key's certificate lies, of rows that want one: on a host that the row pins, else it
     * is BK_INVALID. */
    struct slice certificate_url;
};
/* Appends header lines ("Name: value\r\n"), without Host, Content-Length. BK_UNSUPPORTED when the
 * row cannot sign, or needs a private key and has none or one of another kind. */
enum bk_err scheme_sign(const struct scheme *scheme, const struct scheme_send *send,
                        struct buf *headers) BK_MUST_CHECK;

#endif
