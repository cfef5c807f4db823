#include "cli/signer.h"

#include "base/nearest.h"
#include "base/base64.h"
#include "base/cidr.h"
#include "base/ct.h"
#include "base/private_key.h"
#include "base/yaml.h"
#include "hub/resources/decode.h"
#include "ring/file.h"

#include <stdlib.h>

struct secrets {
    struct slice at[SECRETS_PER_SOURCE_MAX];
    unsigned count;
    bool too_many;
};

/* What is configured besides secrets. */
struct besides {
    struct scheme_options options;
    struct slice origins[SCHEME_ORIGINS_MAX];
    struct cidr allow[SCHEME_RANGES_MAX], proxies[SCHEME_RANGES_MAX];
};

static struct slice next_word(struct slice *text)
{
    struct slice word = slice_of(text->at, slice_find(*text, ' '));
    *text = slice_skip(*text, word.bytes + 1);
    return word;
}

static void ranges_of_text(struct slice text, struct cidr *ranges, unsigned *count)
{
    while (text.bytes != 0 && *count < SCHEME_RANGES_MAX) {
        *count += cidr_parse(next_word(&text), &ranges[*count]);
    }
}

static void besides_of_source(const struct resource_event_source *source, struct besides *besides)
{
    struct scheme_options *options = &besides->options;
    struct slice origins = source->origins;
    options->tolerance_seconds = source->tolerance_seconds;
    options->has_allow = source->has_allow;
    ranges_of_text(source->allow, besides->allow, &options->allow_count);
    ranges_of_text(source->proxies, besides->proxies, &options->proxy_count);
    while (origins.bytes != 0 && options->origin_count < SCHEME_ORIGINS_MAX) {
        besides->origins[options->origin_count++] = next_word(&origins);
    }
    if (source->verify_token != NULL && source->verify_token->inline_value) {
        options->verify_token = source->verify_token->value;
    }
    options->rate_per_minute = source->per_second < 1000000 ? source->per_second * 60 : 0;
}

static int ranges_of_options(const struct options *given, const char *name, struct cidr *ranges,
                             unsigned *count)
{
    for (unsigned i = 0; i < option_list_count(given, name); i++) {
        const char *text = option_list_at(given, name, i);
        if (*count == SCHEME_RANGES_MAX || !cidr_parse(slice_str(text), &ranges[*count])) {
            return cli_usage("--%s %s is no block of addresses, as 192.30.252.0/22", name, text);
        }
        ++*count;
    }
    return CLI_DONE;
}

static int besides_of_options(const struct options *given, struct besides *besides)
{
    struct scheme_options *options = &besides->options;
    options->has_allow = options->has_allow || option_list_count(given, "allow") != 0;
    for (unsigned i = 0;
         i < option_list_count(given, "origin") && options->origin_count < SCHEME_ORIGINS_MAX;
         i++) {
        besides->origins[options->origin_count++] = slice_str(option_list_at(given, "origin", i));
    }
    if (option_given(given, "verify-token")) {
        options->verify_token = slice_str(option_text(given, "verify-token"));
    }
    if (option_given(given, "tolerance")) {
        options->tolerance_seconds = option_duration_ns(given, "tolerance") / 1000000000;
    }
    if (option_given(given, "rate")) {
        uint64_t rate = option_number(given, "rate");
        options->rate_per_minute = rate < UINT32_MAX ? (uint32_t)rate : 0;
    }
    int code = ranges_of_options(given, "allow", besides->allow, &options->allow_count);
    return code == CLI_DONE
               ? ranges_of_options(given, "trusted-proxy", besides->proxies, &options->proxy_count)
               : code;
}

static void add_secret(struct secrets *secrets, struct slice text)
{
    secrets->too_many = secrets->too_many || secrets->count == SECRETS_PER_SOURCE_MAX;
    if (!secrets->too_many) {
        secrets->at[secrets->count++] = text;
    }
}

static void secrets_of_line(const struct options *options, struct secrets *secrets)
{
    for (unsigned i = 0; i < option_list_count(options, "secret"); i++) {
        add_secret(secrets, slice_str(option_list_at(options, "secret", i)));
    }
    if (option_text(options, "secret2") != NULL) {
        add_secret(secrets, slice_str(option_text(options, "secret2")));
    }
}

static struct slice text_option(const struct options *options, const char *name)
{
    return slice_str(option_text(options, name));
}

/* ---- a row out of options or a document */

static int unknown_type(const char *option, const char *type)
{
    const char *names[256];
    size_t count = 0;
    for (; count < scheme_row_count() && count < 254; count++) {
        names[count] = scheme_row_name(scheme_row_at(count));
    }
    names[count++] = "generic";
    names[count] = NULL;
    const char *near = nearest_word(slice_str(type), names);
    return cli_usage("--%s %s is not known%s%s%s", option, type,
                     near ? "; did you mean "
                          : "; for your own scheme there is "
                            "--type generic",
                     near ? near : "", near ? "?" : "");
}

static int custom_row(struct signer *signer, const struct resource_event_source *source,
                      const struct scheme_row **ret_row)
{
    struct scheme_custom custom;
    const char *field = NULL, *message = NULL;
    source_custom(source, &custom);
    enum bk_err err = scheme_row_custom(&custom, &signer->custom, &field, &message);
    *ret_row = signer->custom;
    if (err == BK_OK) {
        return CLI_DONE;
    }
    return cli_usage("%s: %s", field ? field : "scheme", message ? message : bk_err_text(err));
}

static int row_of_options(struct signer *signer, const struct options *options,
                          const struct scheme_row **ret_row)
{
    static const char *const own[] = {"scheme",           "algorithm",       "signature-header",
                                      "signature-format", "signature-field", "signed",
                                      "timestamp-header", "timestamp-field", "timestamp-unit",
                                      "id-header",        "type-header",     "type-template"};
    struct slice type = text_option(options, "type");
    if (scheme_is_generic(type)) {
        struct resource_event_source source = {
            .type = SLICE("generic"),
            .custom = true,
            .scheme = text_option(options, "scheme"),
            .algorithm = text_option(options, "algorithm"),
            .signature_header = text_option(options, "signature-header"),
            .signature_format = text_option(options, "signature-format"),
            .signed_template = text_option(options, "signed"),
            .signature_field = text_option(options, "signature-field"),
            .timestamp_header = text_option(options, "timestamp-header"),
            .timestamp_field = text_option(options, "timestamp-field"),
            .timestamp_unit = text_option(options, "timestamp-unit"),
            .id_header = text_option(options, "id-header"),
            .type_header = text_option(options, "type-header"),
            .type_field = text_option(options, "type-template"),
            .issuer = text_option(options, "issuer"),
            .audience = text_option(options, "audience")};
        signer->type = "generic";
        return custom_row(signer, &source, ret_row);
    }
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (option_given(options, own[i])) {
            return cli_usage("--%s goes with --type generic; %.*s has its own", own[i],
                             (int)type.bytes, (const char *)type.at);
        }
    }
    *ret_row = scheme_row_find(type);
    if (*ret_row == NULL) {
        return unknown_type("type", option_text(options, "type"));
    }
    signer->type = scheme_row_name(*ret_row);
    if (scheme_row_takes_claims(*ret_row)) {
        struct resource_event_source source = {.type = slice_str(signer->type),
                                               .custom = true,
                                               .issuer = text_option(options, "issuer"),
                                               .audience = text_option(options, "audience")};
        return custom_row(signer, &source, ret_row);
    }
    return CLI_DONE;
}

/* ---- documents */

static int decode_documents(struct signer *signer, struct resource_document *documents)
{
    struct resource_problems problems;
    struct resource_expect expect = {.canvas = SLICE(RESOURCE_CANVAS_DEFAULT)};
    resource_problems_init(&problems, &signer->arena);
    for (size_t i = 0; i < signer->tree.count; i++) {
        resource_decode(&signer->tree, i, signer->tree.roots[i], &expect, &documents[i], &problems);
    }
    if (problems.count == 0) {
        return CLI_DONE;
    }
    const struct resource_problem *first = &problems.at[0];
    return cli_error("%s: %s%s%s", files_place(&signer->files, first->place.line), first->field,
                     *first->field ? ": " : "", first->message);
}

static const struct resource_document *find_source(const struct signer *signer,
                                                   const struct options *options,
                                                   const struct resource_document *documents)
{
    const struct resource_document *found = NULL;
    const char *name = option_text(options, "source");
    for (size_t i = 0; i < signer->tree.count; i++) {
        if (documents[i].kind != RESOURCE_EVENT_SOURCE ||
            (name != NULL && !slice_equal(documents[i].name, slice_str(name)))) {
            continue;
        }
        if (found != NULL) {
            cli_usage("the file has several EventSources; choose one with --source NAME");
            return NULL;
        }
        found = &documents[i];
    }
    if (found == NULL) {
        cli_usage(name ? "the file has no EventSource %s" : "the file has no EventSource%s",
                  name ? name : "");
    }
    return found;
}

static bool find_reference(const struct signer *signer, const struct resource_document *documents,
                           const struct resource_secret_ref *ref, struct slice *ret_value)
{
    for (size_t i = 0; i < signer->tree.count; i++) {
        if (documents[i].kind != RESOURCE_SECRET || !slice_equal(documents[i].name, ref->name)) {
            continue;
        }
        const struct resource_secret *secret = &documents[i].spec.secret;
        for (size_t j = 0; j < secret->count; j++) {
            if (slice_equal(secret->items[j].key, ref->key)) {
                *ret_value = secret->items[j].value;
                return true;
            }
        }
    }
    return false;
}

/* Secrets on the command line stand in for all that the document refers to. */
static int secrets_of_source(const struct signer *signer, const struct resource_document *documents,
                             const struct resource_event_source *source, struct secrets *secrets)
{
    if (secrets->count != 0) {
        return CLI_DONE;
    }
    if (source->generate_key) {
        return cli_usage("the file has no secret: becket made the source's key; give it with "
                         "--secret, `becket secrets NAME` shows it");
    }
    for (unsigned i = 0; i < source->secret_count; i++) {
        const struct resource_source_secret *secret = &source->secrets[i];
        struct slice value = secret->value;
        if (!secret->inline_value && !find_reference(signer, documents, &secret->ref, &value)) {
            return cli_usage(
                "the Secret %.*s with key %.*s is not in the file; give its value with --secret",
                (int)secret->ref.name.bytes, (const char *)secret->ref.name.at,
                (int)secret->ref.key.bytes, (const char *)secret->ref.key.at);
        }
        if (slice_equal(value, SLICE(RESOURCE_HIDDEN))) {
            return cli_usage("the secret in the file reads ***; give its value with --secret");
        }
        add_secret(secrets, value);
    }
    return CLI_DONE;
}

static int row_of_file(struct signer *signer, const struct options *options,
                       struct secrets *secrets, const struct scheme_row **ret_row,
                       struct besides *besides)
{
    struct json_problem problem;
    if (option_given(options, "type")) {
        return cli_usage("--type and --file exclude each other: the document names its type");
    }
    for (unsigned i = 0; i < option_list_count(options, "file"); i++) {
        if (!files_add(&signer->files, option_list_at(options, "file", i))) {
            return CLI_FAILED;
        }
    }
    if (yaml_or_json_parse(buf_slice(&signer->files.text), &signer->tree, &problem) != BK_OK) {
        return cli_error("%s:%u: %s", files_place(&signer->files, problem.place.line),
                         problem.place.column, problem.message);
    }
    struct resource_document *documents =
        arena_take(&signer->arena, signer->tree.count * sizeof *documents + 1);
    if (documents == NULL) {
        return cli_error("the file has too many documents");
    }
    int code = decode_documents(signer, documents);
    if (code != CLI_DONE) {
        return code;
    }
    const struct resource_document *document = find_source(signer, options, documents);
    if (document == NULL) {
        return CLI_USAGE;
    }
    const struct resource_event_source *source = &document->spec.source;
    besides_of_source(source, besides);
    code = secrets_of_source(signer, documents, source, secrets);
    if (code != CLI_DONE) {
        return code;
    }
    if (source->custom) {
        signer->type = "generic";
        return custom_row(signer, source, ret_row);
    }
    *ret_row = scheme_row_find(source->type);
    signer->type = *ret_row ? scheme_row_name(*ret_row) : "";
    return *ret_row ? CLI_DONE : cli_error("the document's type is not known");
}

/* ---- private keys */

static struct slice first_word(struct slice text)
{
    size_t bytes = 0;
    while (bytes < text.bytes && text.at[bytes] > ' ') {
        bytes++;
    }
    return slice_of(text.at, bytes);
}

/* whsk_ and base64 of a seed, or of a seed and its public key. */
static bool key_of_word(struct slice text, struct private_key *key)
{
    uint8_t bytes[64];
    size_t count;
    if (!slice_starts(text, SLICE("whsk_")) ||
        !base64_decode(slice_skip(text, 5), BASE64_STANDARD, bytes, sizeof bytes, &count) ||
        (count != 32 && count != 64)) {
        return false;
    }
    private_key_ed25519(bytes, key);
    bk_wipe(bytes, sizeof bytes);
    return true;
}

/* Reads the key; its public half, as it would be configured, comes into ret_secret. */
static int open_private_key(struct signer *signer, const char *path, struct slice *ret_secret)
{
    char *text = NULL;
    size_t bytes = 0;
    struct public_key public;
    uint8_t spki[PUBLIC_KEY_SPKI_BYTES_MAX];
    signer->private_key = calloc(1, sizeof *signer->private_key);
    char *secret = arena_take(&signer->arena, BASE64_ENCODED(sizeof spki) + 8);
    if (signer->private_key == NULL || secret == NULL) {
        return cli_error("out of memory");
    }
    enum bk_err err = file_read_all(path, 65536, &text, &bytes);
    if (err != BK_OK) {
        return cli_error("%s: %s", path, bk_err_text(err));
    }
    const char *why = key_of_word(first_word(slice_of(text, bytes)), signer->private_key)
                          ? NULL
                          : private_key_parse(slice_of(text, bytes), signer->private_key);
    bk_wipe(text, bytes);
    free(text);
    if (why == NULL && !private_key_public(signer->private_key, &public)) {
        why = "the private key has no public half";
    }
    if (why != NULL) {
        return cli_usage("--private-key %s: %s", path, why);
    }
    if (public.kind == PUBLIC_KEY_ED25519) {
        memcpy(secret, "whpk_", 5);
        bytes = 5 + base64_encode(public.at, 32, BASE64_STANDARD, secret + 5);
    } else {
        size_t count = public_key_write_spki(&public, spki);
        bytes = base64_encode(spki, count, BASE64_STANDARD, secret);
    }
    *ret_secret = slice_of(secret, bytes);
    return CLI_DONE;
}

/* ---- whose signature a test delivery gets */

static int sender_row(struct signer *signer, const struct options *options,
                      const struct scheme_row **row)
{
    const char *as = option_text(options, "as");
    if (as != NULL && !scheme_row_is_auto(*row)) {
        return cli_usage("--as is for sources of type auto; this one is of type %s", signer->type);
    }
    if (as != NULL) {
        *row = scheme_row_find(slice_str(as));
        if (*row == NULL) {
            return unknown_type("as", as);
        }
        signer->type = scheme_row_name(*row);
    }
    if (scheme_row_is_auto(*row)) {
        return cli_usage("a source of type auto takes several: say whose webhook this is to be, "
                         "such as --as github");
    }
    return CLI_DONE;
}

/* ---- all */

int signer_open(struct signer *signer, const struct options *options, bool type_required,
                const char *private_key_path)
{
    struct secrets secrets = {0};
    const struct scheme_row *row = NULL;
    const char *message = NULL;
    struct besides besides = {.options = {.tolerance_seconds = -1}};
    besides.options.origins = besides.origins;
    besides.options.allow = besides.allow;
    besides.options.proxies = besides.proxies;
    memset(signer, 0, sizeof *signer);
    files_init(&signer->files);
    json_tree_init(&signer->tree);
    arena_init(&signer->arena, 64U << 20);
    secrets_of_line(options, &secrets);
    bool by_file = option_list_count(options, "file") != 0;
    if (!by_file && !option_given(options, "type")) {
        return type_required || secrets.count != 0
                   ? cli_usage("--type is missing: whose webhook is it?")
                   : CLI_DONE;
    }
    int code = by_file ? row_of_file(signer, options, &secrets, &row, &besides)
                       : row_of_options(signer, options, &row);
    if (code != CLI_DONE) {
        return code;
    }
    code = type_required ? CLI_DONE : sender_row(signer, options, &row);
    if (code != CLI_DONE) {
        return code;
    }
    if (!type_required && scheme_row_wants_certificate(row) &&
        (private_key_path == NULL || !option_given(options, "cert-url"))) {
        return cli_error("webhooks of %s are signed with a key whose certificate lies on a host "
                         "of the provider: have it send a test from its console, or check a "
                         "recorded request with becket verify --type %s --key CERTIFICATE. Where "
                         "your server gets there through a proxy of yours and believes your "
                         "--ca-file: --private-key FILE --cert-url URL",
                         signer->type, signer->type);
    }
    if (!type_required && scheme_row_wants_private_key(row) && private_key_path == NULL) {
        return cli_error("webhooks of %s are signed with a private key: give one of yours with "
                         "--private-key FILE, and let the source trust its public half",
                         signer->type);
    }
    if (private_key_path != NULL && !scheme_row_takes_private_key(row)) {
        return cli_usage("--private-key: webhooks of %s are signed with the secret: --secret",
                         signer->type);
    }
    if (private_key_path != NULL) {
        struct slice public_half;
        code = open_private_key(signer, private_key_path, &public_half);
        if (code != CLI_DONE) {
            return code;
        }
        /* Whose keys are published has none configured, or something else. */
        if (!scheme_row_wants_certificate(row)) {
            secrets.at[0] = public_half;
            secrets.count = scheme_row_is_keyless(row) ? 0 : 1;
        }
    }
    if (secrets.too_many) {
        return cli_usage("at most %u secrets can be checked at once", SECRETS_PER_SOURCE_MAX);
    }
    code = besides_of_options(options, &besides);
    if (code != CLI_DONE) {
        return code;
    }
    enum bk_err err = scheme_compile_with(row, secrets.at, secrets.count, &besides.options,
                                          &signer->scheme, &signer->scheme_bytes, &message);
    if (err != BK_OK) {
        return private_key_path != NULL && !scheme_row_wants_certificate(row)
                   ? cli_usage("--private-key: not a key that webhooks of %s are signed with",
                               signer->type)
               : secrets.count == 0
                   ? cli_usage("--secret is missing: the one that is configured at the provider")
                   : cli_usage("--secret: %s", message ? message : bk_err_text(err));
    }
    return CLI_DONE;
}

void signer_fini(struct signer *signer)
{
    if (signer->scheme != NULL) {
        scheme_wipe(signer->scheme);
        free(signer->scheme);
    }
    if (signer->private_key != NULL) {
        private_key_wipe(signer->private_key);
        free(signer->private_key);
    }
    scheme_row_free(signer->custom);
    json_tree_fini(&signer->tree);
    files_fini(&signer->files);
    arena_fini(&signer->arena);
}
