/* row.h - the language in which a provider's way of signing is written down.
 *
 * Purpose     A row is constant data, spelled as the provider's documentation spells it.
 *             scheme_compile() turns it into a short program; nothing of it is parsed while
 *             requests are verified. src/providers/README.md is the guide; the rows themselves are
 *             in rows_*.c.
 * Strings     Header names may be written in any case. NULL means: the row has none.
 *
 *   place     where a signature, a token, a timestamp, an id or a type is. Several are separated by
 *             blanks; headers are looked at before fields of the body.
 *               Name          a header
 *               /pointer      a string or number in the JSON body (RFC 6901, at most 4 steps)
 *               ?name         a field of the query, or of a form in the body; as sent
 *               /list/ * /x   (without the blanks) x in every element of a list: tokens only
 *               =text         a constant, for providers that send one kind of event only
 *   type      an event's type: places, or several joined with one character between, as `signed`
 *             spells them: "{header:Sentry-Hook-Resource}.{/action}". The first must be there; what
 *             else is not there is left out, with its character.
 *   format    what the signature's text looks like: one element, or several with one separator.
 *             An element is a literal prefix and a placeholder.
 *               {hex} {base64} {base64url}   the signature (exactly one of them)
 *               {timestamp}                  the timestamp that was signed; without a prefix it is
 *                                            the first element
 *               [text] before a placeholder  a prefix that may be left out
 *               ...  as the last element     more elements may follow; those with an unknown prefix
 *                                            do not count, any signature that matches is enough
 *             "sha256={hex}"   "t={timestamp},v1={hex},..."   "v1,{base64} ..."
 *   signed    what the MAC is over. NULL means "{body}". Text, and:
 *               {id} {timestamp} {body} {method} {path} {url} {query} {header:Name}
 *               {/pointer} {?name}     what is at a place of the body or the query
 *               {form}                 names and values of a form in the body, decoded and sorted
 *               {form:name}            the value, decoded, of a form that has this one field only
 *               {url-unescaped}        the URL with the escapes undone that HubSpot undoes
 *               {sha256}               SHA-256 of the body in hex
 *               {secret}               the secret itself; for ROW_HASH only
 *   answer    what a handshake is answered with: text, and
 *               ${place}               what is at a place of the request, ?name decoded
 *               ${hmac-hex:place}      MAC of it with the source's first secret; also hmac-base64
 *               ${rate}                requests a minute that the source takes, * = any
 *             In an answer of type application/json what is filled in is escaped for a JSON string.
 */
#ifndef BECKET_PROVIDERS_ROW_H
#define BECKET_PROVIDERS_ROW_H

#include "base/hmac.h"
#include "base/public_key.h"
#include "providers/scheme.h"

enum row_kind {
    ROW_HMAC,          /* a MAC over `signed_template` */
    ROW_ED25519,       /* a signature over `signed_template`; the secret is a public key */
    ROW_HASH,          /* a plain hash over `signed_template`, which has {secret} in it */
    ROW_TOKEN,         /* `header` carries the secret itself */
    ROW_BASIC,         /* Authorization: Basic; the secret is user:password */
    ROW_BEARER,        /* Authorization: Bearer; the secret is the token */
    ROW_AUTHORIZATION, /* either of them */
    ROW_AUTO,          /* whichever other row a request looks like */
    ROW_NONE,          /* everything is taken as genuine */
    ROW_PUBLIC_KEY,    /* ECDSA or RSA over `signed_template`; the secret is a public key */
    ROW_CODE           /* what no row can say: `verify` */
};

/* How a configured secret becomes a key. */
enum row_secret {
    SECRET_TEXT,       /* its bytes as they are */
    SECRET_BASE64,     /* whsec_ (may be left out) and base64; whpk_ is an Ed25519 key */
    SECRET_HEX,        /* hexadecimal digits */
    SECRET_KEY,        /* an Ed25519 public key: 64 hex digits, base64, or whpk_ and base64 */
    SECRET_PUBLIC_KEY, /* PEM, base64 of a SubjectPublicKeyInfo, or a JWK */
    SECRET_NONE        /* there is none: what is trusted is published */
};

enum row_unit {
    UNIT_SECONDS,
    UNIT_MS,
    UNIT_RFC3339,
    UNIT_ISO_UTC,  /* the same, or without a zone, which means UTC */
    UNIT_HTTP_DATE /* "Sun, 06 Nov 1994 08:49:37 GMT" */
};

/* A request that sets the hook up and is no event. */
struct row_handshake {
    bool is_unsigned;   /* looked for before the signature, which such a request has not */
    unsigned methods;   /* mask of those it comes with; 0 = any */
    const char *when;   /* a place that has something in it; "" = nothing is asked */
    const char *equals; /* what must be there, exactly; NULL = anything */
    /* What must hold too, else it is refused with `refusal` (0 = 403). */
    const char *must;       /* a place */
    const char *must_equal; /* NULL: `must` is the source's verifyToken */
    bool must_be_origin;    /* `when` is one of the source's origins */
    uint16_t refusal;
    const char *learn;        /* a place: the secret this source verifies with from now on. Only
                                 while it has none; else the request is no handshake. */
    bool shows_learned;       /* which a person has to type in at the provider */
    uint16_t status;          /* 0 = 200 */
    const char *content_type; /* NULL = no body */
    const char *answer;       /* a template */
    const char *headers;      /* a template; whole lines, each with its CR LF */
};

#define ROW_HANDSHAKES_MAX 3U

struct program;
/* Pure, as all of verification: no I/O, no clock, no memory taken. */
typedef enum scheme_verdict row_verify_fn(const struct scheme *scheme,
                                          const struct program *program,
                                          const struct scheme_request *request,
                                          struct scheme_answer *ret_answer);

struct scheme_row {
    const char *name;
    const char *title;         /* as the provider spells itself; NULL in other ways of signing */
    const char *aliases;       /* further names, separated by blanks */
    const char *documentation; /* the provider's page these facts are from */
    const char *needs;         /* what the secret is, and what else to set, in words */
    enum row_kind kind;
    enum hmac_algorithm algorithm;
    enum row_secret secret;
    enum row_unit unit;
    int32_t tolerance_seconds;  /* 0 = 300 when there is a timestamp */
    const char *header;         /* a place: where the signature or the token is */
    const char *format;         /* NULL = "{hex}"; a token has none, or a prefix and {token} */
    const char *format_ed25519; /* elements that hold Ed25519 signatures, for whpk_ secrets */
    const char *signed_template;
    const char *body_hash;   /* a place: SHA-256 of the body in hex; for what signs the URL only */
    bool url_ports;          /* the URL may have been signed with its default port, or without */
    const char *timestamp;   /* a place; NULL when it is in the format or there is none */
    const char *id;          /* places */
    const char *id_within;   /* places: what it is unique in; NULL = all of the source's */
    bool body_is_id;         /* there is no id, but retries repeat the body, and no two events are
                                the same in every byte */
    bool batches;            /* requests may be CloudEvents' batches (batch.h) */
    const char *type;        /* places, or joined ones */
    const char *account;     /* places: whose event it is (installation, team, shop) */
    const char *resource;    /* places: what it is about (repository, project) */
    const char *redact;      /* more headers that carry secrets, separated by blanks */
    const char *sample_type; /* event type of a test delivery */
    const char *detect;      /* headers; one that is there tells this provider. For type auto. */
    const char *detect_not;  /* a header that tells that it is not this one */
    const struct row_handshake
        *handshakes; /* ROW_HANDSHAKES_MAX of them at most, until `when` is NULL */
    const struct scheme_answer *acknowledgement; /* {id} in its body is the event's */
    unsigned methods;                            /* besides POST: mask of 1 << enum http_method */
    /* Another way the same provider signs: used when the request has nothing at `select` (NULL =
     * `header`), or not the text `select_equals` ("*text": or nothing that ends so). */
    const struct scheme_row *otherwise;
    const char *select;
    const char *select_equals;
    bool tries_otherwise; /* it is also tried when the signature is wrong: either is enough */
    /* Another way that is used, and then only, when a secret begins with this prefix. */
    const char *signing_prefix;
    const struct scheme_row *signing;
    enum signature_algorithm
        signature;         /* of ROW_PUBLIC_KEY, and of tokens with SECRET_PUBLIC_KEY */
    row_verify_fn *verify; /* of ROW_CODE */
    /* ---- tokens (jwt.c) */
    const char *issuer;     /* exactly what `iss` must be */
    const char *audience;   /* one of them must be in `aud`; separated by blanks */
    bool one_audience;      /* it is one, whatever blanks it has: the id of an OAuth client */
    const char *claims;     /* name=value lines, all of which must hold; * stands for any text */
    const char *jwks_url;   /* NULL = the issuer's discovery document tells */
    const char *body_claim; /* the claim with the body's SHA-256 in hex */
    bool body_claim_base64; /* it is in base64 */
    bool body_claim_url;    /* in its alphabet for URLs */
    const char *url_claim;  /* the claim that must be the request's URL */
    bool ages;              /* there must be a time of issue, not older than the tolerance */
    bool allow_private;     /* the issuer may be at a private address */
    bool hs256;         /* signed with the source's secrets, by HMAC-SHA-256; else by public keys
                         * that are its secrets (SECRET_PUBLIC_KEY) or that the issuer has */
    size_t block_bytes; /* of a row made at run time: it and its strings are one block; else 0 */
    const struct scheme_plan *kept; /* of one that is kept (kept_rows.h); NULL = it is not */
};

/* The tables, one for each kind of provider: rows.c. The title is the catalogue's chapter. */
struct row_table {
    const char *title;
    const struct scheme_row *rows;
    size_t count;
};

#define SCHEME_ROWS_MAX 256U /* of all tables */
extern const struct row_table *const row_tables[];
extern const size_t row_tables_count;

#endif
