/* Building blocks that many use: a row for each (README.md, rows.h). */
#include "providers/rows.h"

#include "base/assert.h"

/* ---- handshakes */

static const struct row_handshake cloudevents_handshakes[ROW_HANDSHAKES_MAX] = {
    {.is_unsigned = true,
     .methods = OPTIONS,
     .when = "WebHook-Request-Origin",
     .must_be_origin = true,
     .refusal = 405,
     .headers = "WebHook-Allowed-Origin: ${WebHook-Request-Origin}\r\n"
                "WebHook-Allowed-Rate: ${rate}\r\nAllow: POST, OPTIONS\r\n"},
};

/* ---- other ways of signing */

/* The names of the headers that Svix uses without its own brand. */
static const struct scheme_row svix_unbranded = {
    .name = "svix",
    .secret = SECRET_BASE64,
    .header = "webhook-signature",
    .format = "v1,{base64} ...",
    .format_ed25519 = "v1a,{base64} ...",
    .timestamp = "webhook-timestamp",
    .signed_template = "{id}.{timestamp}.{body}",
    .id = "webhook-id",
    .type = "/type",
    .sample_type = "test.event",
};

/* ---- the rows */

static const struct scheme_row rows[] = {
    {.name = "svix",
     .title = "Svix",
     .documentation = "https://docs.svix.com/receiving/verifying-payloads/how-manual",
     .needs = "The endpoint's signing secret (whsec_…, or whpk_… of asymmetric signatures)",
     .secret = SECRET_BASE64,
     .header = "svix-signature",
     .format = "v1,{base64} ...",
     .format_ed25519 = "v1a,{base64} ...",
     .timestamp = "svix-timestamp",
     .signed_template = "{id}.{timestamp}.{body}",
     .id = "svix-id webhook-id",
     .type = "/type",
     .detect = "svix-signature",
     .sample_type = "test.event",
     .otherwise = &svix_unbranded},
    {.name = "standard-webhooks",
     .title = "Standard Webhooks",
     .documentation = "https://www.standardwebhooks.com/",
     .needs = "The signing secret (whsec_…, or whpk_… of asymmetric signatures)",
     .secret = SECRET_BASE64,
     .header = "webhook-signature",
     .format = "v1,{base64} ...",
     .format_ed25519 = "v1a,{base64} ...",
     .timestamp = "webhook-timestamp",
     .signed_template = "{id}.{timestamp}.{body}",
     .id = "webhook-id",
     .type = "/type",
     .detect = "webhook-signature",
     .sample_type = "test.event"},
    {.name = "cloudevents",
     .title = "CloudEvents over HTTP",
     .documentation = "https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md",
     .needs = "A secret of your choice, sent as `Authorization: Bearer SECRET` or as "
              "`?access_token=`; `origins` says who may ask to send",
     .kind = ROW_TOKEN,
     .header = "?access_token",
     .id = "ce-id /id",
     .id_within = "ce-source /source",
     .batches = true,
     .type = "ce-type /type",
     .account = "ce-source /source",
     .resource = "ce-subject /subject",
     .handshakes = cloudevents_handshakes,
     .methods = OPTIONS,
     .otherwise = &(const struct scheme_row){SENT_ANYHOW}},
    {.name = "basic",
     .title = "Basic authentication",
     .documentation = "https://www.rfc-editor.org/rfc/rfc7617",
     .needs = "user:password",
     .kind = ROW_BASIC,
     .header = "Authorization"},
    {.name = "bearer",
     .title = "Bearer tokens",
     .documentation = "https://www.rfc-editor.org/rfc/rfc6750",
     .needs = "The token",
     .kind = ROW_BEARER,
     .header = "Authorization"},
    {.name = "auto",
     .title = "Any of these, by its headers",
     .documentation = "https://www.rfc-editor.org/rfc/rfc9110#name-fields",
     .needs = "The secrets of all that may send",
     .kind = ROW_AUTO},
};

const struct row_table rows_generic = {"Building blocks", rows, bk_array_length(rows)};
