/* row.h - the language in which a provider's way of signing is written down.
 *
 * Purpose     A row is constant data, spelled as the provider's documentation spells it.
 *             scheme_compile() turns it into a short program; nothing of it is parsed while
 *             requests are verified. src/providers/README.md is the guide; the rows themselves are
 *             in rows.c.
 * Strings     Header names may be written in any case. NULL means: the row has none.
 *
 *   format    what the signature header's value looks like: one element, or several with one
 *   separator.
 *             An element is a literal prefix and a placeholder.
 *               {hex} {base64} {base64url}   the signature (exactly one of them)
 *               {timestamp}                  the timestamp that was signed
 *               [text] before a placeholder  a prefix that may be left out
 *               ...  as the last element     more elements may follow; those with an unknown prefix
 *                                            do not count, any signature that matches is enough
 *             "sha256={hex}"   "t={timestamp},v1={hex},..."   "v1,{base64} ..."
 *   signed    what the MAC is over: text with {id} {timestamp} {body} {method} {path} {url} {query}
 *             {header:Name}. NULL means "{body}".
 *   place     where an id, a type or a timestamp is. Several are separated by blanks; headers are
 *             looked at before fields of the body.
 *               Name        a header
 *               /pointer    a string or number in the JSON body (RFC 6901, at most 4 steps)
 *               =text       a constant, for providers that send one kind of event only
 */
#ifndef BECKET_PROVIDERS_ROW_H
#define BECKET_PROVIDERS_ROW_H

#include "base/hmac.h"
#include "providers/scheme.h"

enum row_kind {
    ROW_HMAC,    /* a MAC over `signed_template` */
    ROW_ED25519, /* a signature over `signed_template`; the secret is a public key */
    ROW_TOKEN,   /* `header` carries the secret itself */
    ROW_BASIC,   /* Authorization: Basic; the secret is user:password */
    ROW_BEARER,  /* Authorization: Bearer; the secret is the token */
    ROW_NONE     /* everything is taken as genuine */
};

/* How a configured secret becomes a key. */
enum row_secret {
    SECRET_TEXT,   /* its bytes as they are */
    SECRET_BASE64, /* whsec_ (may be left out) and base64; whpk_ is an Ed25519 key */
    SECRET_KEY     /* an Ed25519 public key: 64 hex digits, base64, or whpk_ and base64 */
};

enum row_unit { UNIT_SECONDS, UNIT_MS, UNIT_RFC3339 };

/* A request that sets the hook up and is no event. */
struct row_handshake {
    bool is_unsigned;   /* looked for before the signature, which such a request has not */
    const char *when;   /* a header, /pointer, or ?name: a field of the query or of a form body */
    const char *equals; /* what must be there, exactly */
    uint16_t status;    /* 0 = 200 */
    const char *content_type; /* NULL = no body */
    const char *answer;       /* /pointer to the text to send back, or =text */
};

#define ROW_HANDSHAKES_MAX 3U

struct scheme_row {
    const char *name;
    const char *documentation; /* the provider's page these facts are from */
    enum row_kind kind;
    enum hmac_algorithm algorithm;
    enum row_secret secret;
    enum row_unit unit;
    int32_t tolerance_seconds;  /* 0 = 300 when there is a timestamp */
    const char *header;         /* where the signature or the token is */
    const char *format;         /* NULL = "{hex}"; a token has none, or a prefix and {token} */
    const char *format_ed25519; /* elements that hold Ed25519 signatures, for whpk_ secrets */
    const char *signed_template;
    const char *timestamp;   /* a place; NULL when it is in the format or there is none */
    const char *id;          /* places */
    const char *type;        /* places */
    const char *redact;      /* more headers that carry secrets, separated by blanks */
    const char *sample_type; /* event type of a test delivery */
    const struct row_handshake
        *handshakes; /* ROW_HANDSHAKES_MAX of them at most, until `when` is NULL */
    const struct scheme_answer *acknowledgement;
    unsigned methods; /* besides POST: mask of 1 << enum http_method */
    /* Another way the same provider signs: used when the request does not have the header `select`
     * (NULL = `header`). */
    const struct scheme_row *otherwise;
    const char *select;
    /* Another way that is used, and then only, when a secret begins with this prefix. */
    const char *signing_prefix;
    const struct scheme_row *signing;
    size_t block_bytes; /* of a row made at run time: it and its strings are one block; else 0 */
};

/* The table: rows.c. */
#define SCHEME_ROWS_MAX 128U
extern const struct scheme_row scheme_rows[];
extern const size_t scheme_rows_count;

#endif
