/* signer.h - the scheme that a command line or a source's file describes; for verify and send.
 *
 * Sources     --type TYPE --secret S (a row of the provider table); --type generic with --scheme
 *             and its options; -f FILE: an EventSource document, with its Secrets in the same file
 *             or --secret.
 */
#ifndef BECKET_CLI_SIGNER_H
#define BECKET_CLI_SIGNER_H

#include "cli/cli.h"
#include "cli/files.h"
#include "providers/scheme.h"

#define SIGNER_OPTIONS                                                                             \
    {.name = "type",                                                                               \
     .letter = 't',                                                                                \
     .kind = OPTION_TEXT,                                                                          \
     .argument = "TYPE",                                                                           \
     .help = "provider: github, stripe, standard-webhooks, …; generic: the options below"},        \
        {.name = "secret",                                                                         \
         .kind = OPTION_TEXT,                                                                      \
         .flags = OPTION_ENV | OPTION_LIST,                                                        \
         .argument = "SECRET",                                                                     \
         .help = "as configured at the provider; any of several may match"},                       \
        {.name = "secret2", .kind = OPTION_TEXT, .argument = "SECRET", .help = "another one"},     \
        {.name = "file",                                                                           \
         .letter = 'f',                                                                            \
         .kind = OPTION_TEXT,                                                                      \
         .flags = OPTION_LIST,                                                                     \
         .argument = "FILE",                                                                       \
         .help = "take type and verification from an EventSource document"},                       \
        {.name = "source",                                                                         \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "NAME",                                                                       \
         .help = "which EventSource of --file, when it has several"},                              \
        {.name = "tolerance",                                                                      \
         .kind = OPTION_DURATION,                                                                  \
         .argument = "TIME",                                                                       \
         .help = "how old a timestamp may be; default: as the provider says"},                     \
        {.name = "verify-token",                                                                   \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "TOKEN",                                                                      \
         .help = "what a handshake must show (Meta)"},                                             \
        {.name = "origin",                                                                         \
         .kind = OPTION_TEXT,                                                                      \
         .flags = OPTION_LIST,                                                                     \
         .argument = "NAME",                                                                       \
         .help = "who may ask to send (CloudEvents); default: anybody"},                           \
        {.name = "rate",                                                                           \
         .kind = OPTION_NUMBER,                                                                    \
         .argument = "N",                                                                          \
         .help = "requests a minute that such a handshake is told"},                               \
        {.name = "allow",                                                                          \
         .kind = OPTION_TEXT,                                                                      \
         .flags = OPTION_LIST,                                                                     \
         .argument = "CIDR",                                                                       \
         .help = "only these addresses may send"},                                                 \
        {.name = "trusted-proxy",                                                                  \
         .kind = OPTION_TEXT,                                                                      \
         .flags = OPTION_LIST,                                                                     \
         .argument = "CIDR",                                                                       \
         .help = "whose X-Forwarded-For is believed"},                                             \
        {.name = "issuer",                                                                         \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "URL",                                                                        \
         .help = "tokens: who must have issued them"},                                             \
        {.name = "audience",                                                                       \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "NAME",                                                                       \
         .help = "tokens: whom they must be made for"},                                            \
        {.name = "scheme",                                                                         \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "SCHEME",                                                                     \
         .help = "generic: hmac, token, bearer, basic, hash, ed25519, ecdsa-p256, "                \
                 "ecdsa-p256-raw, rsa, jwt or none"},                                              \
        {.name = "algorithm",                                                                      \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "HASH",                                                                       \
         .help = "generic: sha1, sha256, sha384 or sha512"},                                       \
        {.name = "signature-header",                                                               \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "NAME",                                                                       \
         .help = "generic: where the signature is"},                                               \
        {.name = "signature-field",                                                                \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "PLACE",                                                                      \
         .help = "generic: the same in the body (/pointer) or the query (?name)"},                 \
        {.name = "signature-format",                                                               \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "FORMAT",                                                                     \
         .help = "generic: such as \"sha256={hex}\" or \"{base64}\""},                             \
        {.name = "signed",                                                                         \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "TEMPLATE",                                                                   \
         .help = "generic: what is signed, such as \"{timestamp}.{body}\""},                       \
        {.name = "timestamp-header",                                                               \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "NAME",                                                                       \
         .help = "generic: where the timestamp is"},                                               \
        {.name = "timestamp-field",                                                                \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "/POINTER",                                                                   \
         .help = "generic: the same in the body"},                                                 \
        {.name = "timestamp-unit",                                                                 \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "UNIT",                                                                       \
         .help = "generic: s, ms or rfc3339"},                                                     \
        {.name = "id-header",                                                                      \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "NAME",                                                                       \
         .help = "generic: where the delivery id is"},                                             \
        {.name = "type-header",                                                                    \
         .kind = OPTION_TEXT,                                                                      \
         .argument = "NAME",                                                                       \
         .help = "generic: where the event type is"},                                              \
    {                                                                                              \
        .name = "type-template", .kind = OPTION_TEXT, .argument = "TEMPLATE",                      \
        .help = "generic: the same in several places, such as \"{/resource}.{/action}\""           \
    }

struct signer {
    struct scheme *scheme; /* NULL = unsigned (send without --type) */
    const char *type;
    size_t scheme_bytes;
    struct scheme_row *custom;
    struct files files;
    struct json_tree tree;
    struct arena arena;
    struct private_key *private_key; /* NULL = none */
};

/* With the path of a private key its public half is the secret. Returns CLI_DONE, or the exit code
 * after an error was printed. signer_fini() in any case. */
int signer_open(struct signer *signer, const struct options *options, bool type_required,
                const char *private_key_path);
void signer_fini(struct signer *signer);

#endif
