/* The table for people: as JSON, and as the page CATALOGUE.md. Control plane. */
#include "providers/row_code.h"

#include "base/assert.h"
#include "base/json.h"

static const char *algorithm_name(enum hmac_algorithm algorithm)
{
    switch (algorithm) {
    case HMAC_SHA256:
        return "SHA-256";
    case HMAC_SHA1:
        return "SHA-1";
    case HMAC_SHA384:
        return "SHA-384";
    case HMAC_SHA512:
        return "SHA-512";
    }
    bk_never("unknown algorithm");
}

const char *scheme_row_title(const struct scheme_row *row)
{
    return row->title != NULL ? row->title : row->name;
}

const char *scheme_row_needs(const struct scheme_row *row)
{
    return row->needs != NULL ? row->needs : "";
}

static void add_kind(const struct scheme_row *row, struct buf *text)
{
    switch (row->kind) {
    case ROW_HMAC:
        buf_printf(text, "HMAC-%s", algorithm_name(row->algorithm));
        return;
    case ROW_HASH:
        buf_printf(text, "%s with the secret in it", algorithm_name(row->algorithm));
        return;
    case ROW_ED25519:
        buf_add_str(text, "Ed25519");
        return;
    case ROW_PUBLIC_KEY:
        buf_add_str(text, row->signature == SIGNATURE_P256_DER ? "ECDSA P-256" : "a public key");
        return;
    case ROW_CODE:
        buf_add_str(text, row->verify == jwt_verify && row->secret != SECRET_NONE ? "a signed token"
                          : row->verify == jwt_verify ? "a token of its issuer"
                          : row->verify == http_signature_verify || row->verify == contentful_verify
                              ? "HMAC over signed headers"
                          : row->verify == adyen_verify ? "HMAC-SHA-256 of eight values"
                                                        : "RSA with its certificate");
        return;
    case ROW_TOKEN:
        buf_add_str(text, "the secret itself");
        return;
    case ROW_BASIC:
        buf_add_str(text, "Basic credentials");
        return;
    case ROW_BEARER:
        buf_add_str(text, "a bearer token");
        return;
    case ROW_AUTHORIZATION:
        buf_add_str(text, "a bearer token or Basic credentials");
        return;
    case ROW_AUTO:
        buf_add_str(text, "as the provider whose headers the request has");
        return;
    case ROW_NONE:
        buf_add_str(text, "nothing");
        return;
    }
}

void scheme_row_verification(const struct scheme_row *row, struct buf *text)
{
    bk_assert(row != NULL && text != NULL);
    if (row->signing != NULL) {
        scheme_row_verification(row->signing, text);
        buf_add_str(text, "; or ");
    }
    for (const struct scheme_row *one = row; one != NULL; one = one->otherwise) {
        buf_add_str(text, one != row ? "; or " : "");
        add_kind(one, text);
        if (one->header == NULL) {
            continue;
        }
        const char *where = one->header[0] == '/'   ? " in the body's "
                            : one->header[0] == '?' ? " in the query's "
                                                    : " in ";
        buf_printf(text, "%s%s", where, one->header);
        if (one->format != NULL && *one->format != 0) {
            buf_printf(text, ": %s", one->format);
        }
    }
}

/* ---- places, handshakes and answers in words */

static void add_handshakes(const struct scheme_row *row, struct buf *text)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"};
    bool any = false;
    for (unsigned i = 0;
         row->handshakes != NULL && i < ROW_HANDSHAKES_MAX && row->handshakes[i].when != NULL;
         i++) {
        const struct row_handshake *h = &row->handshakes[i];
        if (h->must_equal != NULL) {
            continue; /* only refuses */
        }
        buf_add_str(text, any ? "; " : "");
        any = true;
        for (unsigned m = 0; m < bk_array_length(methods); m++) {
            buf_add_str(text, h->methods >> m & 1 ? methods[m] : "");
            buf_add_str(text, h->methods >> m & 1 ? " " : "");
        }
        buf_add_str(text, h->when);
        buf_printf(text, h->equals != NULL ? " = %s" : "%s", h->equals != NULL ? h->equals : "");
        buf_add_str(text, h->must != NULL ? ", with the verifyToken" : "");
        buf_add_str(text, h->must_be_origin ? ", from an allowed origin" : "");
        buf_add_str(text, h->learn != NULL ? ", brings the secret" : "");
    }
}

static void add_answer(const struct scheme_row *row, struct buf *text)
{
    const struct scheme_answer *own = row->acknowledgement;
    if (own == NULL) {
        buf_add_str(text, "200 {\"id\":…}");
        return;
    }
    buf_printf(text, "%u", own->status);
    if (own->body.bytes != 0) {
        buf_add_byte(text, ' ');
        buf_add_slice(text, own->body);
    }
}

/* ---- JSON */

static void add_words(struct buf *json, const char *name, const struct scheme_row *row,
                      void (*words)(const struct scheme_row *row, struct buf *text))
{
    struct buf text;
    buf_init(&text, 4096);
    words(row, &text);
    json_add_member(json, name, buf_slice(&text));
    buf_fini(&text);
}

static void add_row_json(const struct row_table *table, const struct scheme_row *row,
                         struct buf *json)
{
    buf_add_byte(json, '{');
    json_add_member(json, "type", slice_str(row->name));
    json_add_member(json, "title", slice_str(scheme_row_title(row)));
    json_add_member(json, "group", slice_str(table->title));
    json_add_member(json, "aliases", slice_str(row->aliases));
    json_add_member(json, "documentation", slice_str(row->documentation));
    json_add_member(json, "needs", slice_str(row->needs));
    add_words(json, "verification", row, scheme_row_verification);
    const struct scheme_row *signing = row->signing != NULL ? row->signing : row;
    if (kind_signs(signing->kind)) {
        const char *template = signing->signed_template;
        json_add_member(json, "signed", slice_str(template != NULL ? template : "{body}"));
    }
    if (scheme_row_tolerance_seconds(row) != 0) {
        buf_printf(json, ",\"toleranceSeconds\":%lld",
                   (long long)scheme_row_tolerance_seconds(row));
    }
    json_add_member(json, "eventType", slice_str(row->type));
    json_add_member(json, "deliveryId", slice_str(row->id));
    json_add_member(json, "account", slice_str(row->account));
    json_add_member(json, "resource", slice_str(row->resource));
    add_words(json, "handshakes", row, add_handshakes);
    add_words(json, "answer", row, add_answer);
    buf_printf(json, ",\"auto\":%s,\"canSend\":%s", row->detect != NULL ? "true" : "false",
               scheme_row_sends_with(row) != NULL ? "true" : "false");
    json_add_member(json, "sendsWith", slice_str(scheme_row_sends_with(row)));
    buf_add_byte(json, '}');
}

void scheme_catalogue_json(struct buf *json)
{
    buf_add_str(json, "{\"items\":[");
    for (size_t t = 0; t < row_tables_count; t++) {
        for (size_t i = 0; i < row_tables[t]->count; i++) {
            buf_add_str(json, t + i != 0 ? "," : "");
            add_row_json(row_tables[t], &row_tables[t]->rows[i], json);
        }
    }
    buf_add_str(json, "]}");
}

/* ---- the page */

/* In a line of a list; what is code stays readable. */
static void add_line(struct buf *text, const char *name, struct slice value, bool code)
{
    if (value.bytes != 0) {
        buf_printf(text, code ? "- %s: `" : "- %s: ", name);
        buf_add_slice(text, value);
        buf_add_str(text, code ? "`\n" : "\n");
    }
}

static void add_words_line(struct buf *text, const char *name, const struct scheme_row *row,
                           void (*words)(const struct scheme_row *row, struct buf *text))
{
    struct buf line;
    buf_init(&line, 4096);
    words(row, &line);
    add_line(text, name, buf_slice(&line), true);
    buf_fini(&line);
}

static void add_row_text(const struct scheme_row *row, struct buf *text)
{
    buf_printf(text, "### %s\n\n`type: %s`", scheme_row_title(row), row->name);
    struct slice aliases = slice_str(row->aliases);
    while (aliases.bytes != 0) {
        struct slice word = slice_of(aliases.at, slice_find(aliases, ' '));
        aliases = slice_skip(aliases, word.bytes + 1);
        buf_printf(text, ", `%.*s`", (int)word.bytes, (const char *)word.at);
    }
    buf_printf(text, " · [documentation](%s)\n\n", row->documentation);
    add_line(text, "needs", slice_str(row->needs), false);
    add_words_line(text, "verified by", row, scheme_row_verification);
    const struct scheme_row *signing = row->signing != NULL ? row->signing : row;
    if (kind_signs(signing->kind)) {
        const char *template = signing->signed_template;
        add_line(text, "signed", slice_str(template != NULL ? template : "{body}"), true);
    }
    if (scheme_row_tolerance_seconds(row) != 0) {
        buf_printf(text, "- tolerance: %lld s\n", (long long)scheme_row_tolerance_seconds(row));
    }
    add_line(text, "event type", slice_str(row->type), true);
    add_line(text, "delivery id", slice_str(row->id), true);
    add_line(text, "account", slice_str(row->account), true);
    add_line(text, "resource", slice_str(row->resource), true);
    add_words_line(text, "handshakes", row, add_handshakes);
    add_words_line(text, "answer", row, add_answer);
    if (scheme_row_wants_certificate(row)) {
        buf_add_str(text, "- `becket send --private-key FILE --cert-url URL` signs with a key of "
                          "yours, for a server that believes your authority (`--ca-file`)\n  and "
                          "reaches the provider's host through a proxy of yours: the hosts stay "
                          "pinned\n");
    } else if (scheme_row_wants_private_key(row)) {
        buf_add_str(text, "- `becket send --private-key FILE` signs with a key of yours; its "
                          "public half is what the source trusts\n");
    }
    buf_add_str(text, "\n");
}

void scheme_catalogue_markdown(struct buf *text)
{
    buf_printf(text,
               "# Providers\n\n"
               "What `spec.type` of an EventSource may be: %zu, and `generic` for a scheme of your "
               "own. This page is made from the tables\nin `rows_*.c` by `becket providers -o "
               "markdown`; a test fails when it is not up to date.\n\n"
               "How to read it: a place is a header's name, `/pointer` into the JSON body, `?name` "
               "of the query or of a form,\n`=text` for a constant; the first that has something "
               "counts. `{…}` stands for what is signed.\n\n",
               scheme_row_count());
    for (size_t t = 0; t < row_tables_count; t++) {
        buf_printf(text, "## %s\n\n", row_tables[t]->title);
        for (size_t i = 0; i < row_tables[t]->count; i++) {
            add_row_text(&row_tables[t]->rows[i], text);
        }
    }
    text->bytes -= text->bytes != 0 && text->at[text->bytes - 1] == '\n';
}
