/* apply_integration.c - Integration: its credential, and the check that it works. */
#include "base/json.h"
#include "hub/links/link_index.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/provider_work.h"
#include "hub/resources/apply_build.h"

#define CREDENTIAL_FIELD "credential" /* the slot of one given in clear */

/* ---- the spec in its one spelling */

static void write_credential(struct spec_writer *writer, const char *name,
                             const struct resource_integration *integration)
{
    if (integration->has_credential) {
        spec_name(writer, name);
        spec_secret(writer->json, &integration->credential);
    }
}

static void write_oauth(struct spec_writer *writer, const struct resource_integration *integration)
{
    spec_open(writer, "oauth");
    spec_text(writer, "clientId", integration->client_id);
    write_credential(writer, "clientSecret", integration);
    spec_text(writer, "scopes", integration->scopes);
    spec_text(writer, "authorizeUrl", integration->authorize_url);
    spec_text(writer, "tokenUrl", integration->token_url);
    spec_text(writer, "revokeUrl", integration->revoke_url);
    spec_text(writer, "identityUrl", integration->identity_url);
    spec_text(writer, "issuer", integration->issuer);
    spec_text(writer, "clientAuth", integration->client_basic ? SLICE("basic") : SLICE_EMPTY);
    spec_close(writer);
}

static void write_auth(struct spec_writer *writer, const struct resource_integration *integration)
{
    static const char *const uses[] = {
        [INTEGRATION_AUTH_NONE] = "AUTH_TYPE_NONE",   [INTEGRATION_AUTH_TOKEN] = "AUTH_TYPE_TOKEN",
        [INTEGRATION_AUTH_BASIC] = "AUTH_TYPE_BASIC", [INTEGRATION_AUTH_OAUTH] = "AUTH_TYPE_OAUTH",
        [INTEGRATION_AUTH_OIDC] = "AUTH_TYPE_OIDC",   [INTEGRATION_AUTH_APP] = "AUTH_TYPE_APP"};
    spec_open(writer, "auth");
    spec_text(writer, "use", slice_str(uses[integration->auth]));
    if (integration->auth == INTEGRATION_AUTH_TOKEN) {
        write_credential(writer, "token", integration);
    } else if (integration->auth == INTEGRATION_AUTH_BASIC) {
        spec_open(writer, "basic");
        spec_text(writer, "username", integration->username);
        write_credential(writer, "password", integration);
        spec_close(writer);
    } else if (integration->auth == INTEGRATION_AUTH_APP) {
        spec_open(writer, "app");
        spec_text(writer, "appId", integration->app_id);
        spec_text(writer, "installationId", integration->installation_id);
        write_credential(writer, "privateKey", integration);
        spec_close(writer);
    } else if (integration->auth == INTEGRATION_AUTH_OAUTH) {
        write_oauth(writer, integration);
    } else if (integration->auth == INTEGRATION_AUTH_OIDC && integration->audience.bytes > 0) {
        spec_open(writer, "oidc");
        spec_text(writer, "audience", integration->audience);
        spec_close(writer);
    }
    spec_close(writer);
}

static void write_flag(struct spec_writer *writer, const char *name, bool value)
{
    spec_name(writer, name);
    buf_add_str(writer->json, value ? "true" : "false");
}

static void write_integration(struct buf *json, const struct resource_integration *integration)
{
    struct spec_writer writer = {json, false};
    buf_add_byte(json, '{');
    spec_text(&writer, "type", integration->type);
    spec_text(&writer, "url", integration->url);
    spec_text(&writer, "apiUrl", integration->api_url);
    write_auth(&writer, integration);
    if (integration->oidc_given) {
        spec_open(&writer, "oidc");
        write_flag(&writer, "enabled", integration->oidc_enabled);
        if (integration->claims) {
            spec_name(&writer, "claims");
            json_add_value(json, integration->claims);
        }
        spec_close(&writer);
    }
    if (integration->allow_private) {
        write_flag(&writer, "allowPrivate", true);
    }
    if (!integration->check) {
        write_flag(&writer, "check", false);
    }
    buf_add_byte(json, '}');
}

/* ---- for whom becket vouches */

static bool is_same(const struct integration_view *before, const char *path, struct slice now)
{
    return slice_equal(integration_text(before, path), now);
}

/* What was allowed before: the same audience at the same address. */
static bool is_as_before(const struct apply *apply, const struct resource_integration *integration)
{
    struct integration_view before;
    if (!apply->existed || integration_view_open(apply->old.spec, &before) != BK_OK) {
        return false;
    }
    bool same = is_same(&before, "auth/oidc/audience", integration->audience) &&
                is_same(&before, "url", integration->url) &&
                is_same(&before, "apiUrl", integration->api_url);
    integration_view_close(&before);
    return same;
}

/* The address itself, to which it is sent then. */
static bool is_its_address(const struct resource_integration *integration)
{
    return slice_equal(integration->audience, integration->url) &&
           (integration->api_url.bytes == 0 ||
            apply_same_origin(integration->url, integration->api_url));
}

/* A token that becket issues goes to the integration's address, and whoever it names trusts it: for
 * another audience than the integration itself or that address, by who has a say on the whole
 * server only. Or else a token for a cloud's audience could be had by sending it to oneself. */
static enum bk_err check_audience(struct apply *apply, const struct apply_work *work,
                                  const struct resource_integration *integration)
{
    const struct apply_options *options = apply->options;
    bool whole = options->only_canvas.bytes == 0 && options->only_user.bytes == 0;
    if (whole || integration->auth != INTEGRATION_AUTH_OIDC || integration->audience.bytes == 0 ||
        is_its_address(integration) || is_as_before(apply, integration)) {
        return BK_OK;
    }
    return apply_fail(apply, BK_FORBIDDEN,
                      "Integration \"%.*s\": spec.auth.oidc.audience may be its url, if its API is "
                      "there too, or absent (then it is its id); another one needs a token of role "
                      "admin that is bound "
                      "to no canvas",
                      (int)work->name.bytes, (const char *)work->name.at);
}

/* ---- where its credential goes */

static const char *const addresses[] = {
    "spec/url",
    "spec/apiUrl",
    "spec/auth/oauth/authorizeUrl",
    "spec/auth/oauth/tokenUrl",
    "spec/auth/oauth/revokeUrl",
    "spec/auth/oauth/identityUrl",
    "spec/auth/oauth/issuer",
};

/* What is another one; empty = nothing is. That becket issues its tokens from now on counts as
 * well: the address may have been changed while there was nothing to send. */
static enum bk_err changed_addresses(const struct apply *apply, struct buf *json)
{
    struct integration_view before, now;
    enum bk_err err = integration_view_open(apply->old.spec, &before);
    if (err != BK_OK) {
        return err;
    }
    err = integration_view_open(buf_slice(&apply->spec), &now);
    for (size_t i = 0; err == BK_OK && i < bk_array_length(addresses); i++) {
        const char *path = addresses[i] + sizeof "spec/" - 1;
        struct slice old = integration_text(&before, path), new = integration_text(&now, path);
        if (!slice_equal(old, new)) {
            apply_add_attempt(json, addresses[i], old, new);
        }
    }
    if (err == BK_OK) {
        struct slice old = integration_text(&before, "auth/use");
        struct slice new = integration_text(&now, "auth/use");
        if (slice_equal(new, SLICE("AUTH_TYPE_OIDC")) && !slice_equal(old, new)) {
            apply_add_attempt(json, "spec/auth/use", old, new);
        }
        integration_view_close(&now);
    }
    integration_view_close(&before);
    return err == BK_OK && json->overflow ? BK_TOO_LARGE : err;
}

static bool found_one(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
}

/* Has anybody signed in through it? */
static enum bk_err is_connected(struct apply *apply, const struct apply_work *work, bool *ret_is)
{
    struct key prefix;
    uint8_t kind = resource_kind_info(RESOURCE_INTEGRATION_USER)->key;
    key_users(&prefix, resource_kind_info(RESOURCE_INTEGRATION)->key, work->canvas, work->name);
    key_add(&prefix, &kind, 1);
    *ret_is = false;
    return store_walk(apply->txn, key_slice(&prefix), SLICE_EMPTY, found_one, ret_is);
}

/* The credential itself, or in the same set the Secret that has it. */
static bool is_given_again(const struct apply *apply,
                           const struct resource_integration *integration,
                           const struct source_secret *secret)
{
    const struct resource_source_secret *credential = &integration->credential;
    if (credential->inline_value) {
        return !slice_equal(credential->value, slice_str(RESOURCE_HIDDEN));
    }
    const struct apply_work *work =
        apply_find_work(apply, RESOURCE_SECRET, secret->canvas, secret->name);
    bool whole = work && work->document && !work->failed && !work->document->broken;
    for (size_t i = 0; whole && i < work->document->spec.secret.count; i++) {
        const struct resource_secret_item *item = &work->document->spec.secret.items[i];
        if (slice_equal(item->key, secret->key)) {
            return !slice_equal(item->value, slice_str(RESOURCE_HIDDEN));
        }
    }
    return false;
}

/* To another address go the credential, and the tokens of those who signed in: whoever says so, but
 * administrators, has to have them. */
static enum bk_err check_address(struct apply *apply, const struct apply_work *work,
                                 const struct resource_integration *integration,
                                 const struct source_secret *secret)
{
    bool connected = false;
    struct buf json;
    if (!apply->options->below_admin || !apply->existed) {
        return BK_OK;
    }
    buf_init(&json, 65536);
    enum bk_err err = changed_addresses(apply, &json);
    if (err == BK_OK && json.bytes > 0) {
        err = is_connected(apply, work, &connected);
    }
    bool issued = integration->auth == INTEGRATION_AUTH_OIDC; /* a token for it opens the old one */
    bool kept = integration->has_credential && !is_given_again(apply, integration, secret);
    if (err == BK_OK && json.bytes > 0 && (connected || issued || kept)) {
        err = apply_refuse(
            apply, work, &json, "Integration \"%.*s\": %s: %s use a token of role admin",
            (int)work->name.bytes, (const char *)work->name.at,
            connected ? "at another address it would send the tokens of those who are connected by "
                        "it elsewhere"
            : issued  ? "at another address than it had with tokens that becket issues, whoever is "
                        "there could use its tokens at the old one"
                      : "at another address it would send its credential elsewhere",
            connected || issued
                ? ""
                : "give that again, here or as its Secret in the same documents, or");
    }
    buf_fini(&json);
    return err;
}

/* What is kept was for one way of proving oneself, and is nothing for another. */
static enum bk_err check_kept(struct apply *apply, struct apply_work *work,
                              const struct resource_source_secret *credential)
{
    struct integration_view before, now;
    if (!apply->existed || !credential->inline_value ||
        !slice_equal(credential->value, slice_str(RESOURCE_HIDDEN))) {
        return BK_OK;
    }
    enum bk_err err = integration_view_open(apply->old.spec, &before);
    if (err != BK_OK) {
        return err;
    }
    err = integration_view_open(buf_slice(&apply->spec), &now);
    if (err == BK_OK) {
        struct slice old = integration_text(&before, "auth/use");
        struct slice new = integration_text(&now, "auth/use");
        if (!slice_equal(old, new)) {
            apply_wrong(apply, work, credential->place, "spec.auth",
                        RESOURCE_HIDDEN
                        " stands for what was stored for %.*s: give what %.*s needs",
                        (int)old.bytes, (const char *)old.at, (int)new.bytes, (const char *)new.at);
        }
        integration_view_close(&now);
    }
    integration_view_close(&before);
    return err;
}

/* Where the credential stands in the document. */
static const char *credential_path(const struct resource_integration *integration)
{
    switch (integration->auth) {
    case INTEGRATION_AUTH_BASIC:
        return "spec.auth.basic.password";
    case INTEGRATION_AUTH_APP:
        return "spec.auth.app.privateKey";
    case INTEGRATION_AUTH_OAUTH:
        return "spec.auth.oauth.clientSecret";
    case INTEGRATION_AUTH_TOKEN:
    case INTEGRATION_AUTH_NONE:
    case INTEGRATION_AUTH_OIDC:
        break;
    }
    return "spec.auth.token";
}

/* ---- the kind */

static enum bk_err integration_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration *integration = &work->document->spec.integration;
    struct source_secret secret = {.by_reference = false};
    enum bk_err err = BK_OK;
    if (integration->has_credential) {
        err = apply_secret_source(apply, work, &integration->credential, CREDENTIAL_FIELD,
                                  credential_path(integration), &secret);
    }
    if (err == BK_OK) {
        write_integration(&apply->spec, integration);
        err = apply_domain(apply, work);
    }
    if (err == BK_OK && integration->has_credential) {
        err = check_kept(apply, work, &integration->credential);
    }
    if (err == BK_OK && !work->failed) {
        err = check_address(apply, work, integration, &secret);
    }
    return err == BK_OK ? check_audience(apply, work, integration) : err;
}

static enum bk_err integration_refer(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration *integration = &work->document->spec.integration;
    return integration->has_credential
               ? apply_look_secret(apply, work, &integration->credential,
                                   credential_path(integration))
               : BK_OK;
}

/* Does it lead elsewhere than before? Then what goes through it has to follow. */
static enum bk_err compare_addresses(struct apply *apply, struct apply_work *work)
{
    struct integration_view before, now;
    enum bk_err err = integration_view_open(apply->old.spec, &before);
    if (err != BK_OK) {
        return err;
    }
    err = integration_view_open(buf_slice(&apply->spec), &now);
    if (err == BK_OK) {
        work->retyped = !slice_equal(before.type, now.type);
        work->moved =
            !slice_equal(integration_text(&before, "url"), integration_text(&now, "url")) ||
            !slice_equal(integration_text(&before, "apiUrl"), integration_text(&now, "apiUrl"));
        integration_view_close(&now);
    }
    integration_view_close(&before);
    return err;
}

static enum bk_err integration_index(struct apply *apply, struct apply_work *work, uint64_t number)
{
    (void)number;
    if (work->document->spec.integration.auth == INTEGRATION_AUTH_OIDC) {
        apply->hub->issuer_wanted = true;
    }
    enum bk_err err = apply->existed ? type_index_drop(apply->txn, work->kind, work->canvas,
                                                       work->name, apply->old.spec)
                                     : BK_OK;
    if (err == BK_OK && apply->existed) {
        err = compare_addresses(apply, work);
    }
    if (err == BK_OK) {
        err = type_index_put(apply->txn, work->kind, work->canvas, work->name,
                             buf_slice(&apply->spec));
    }
    return err == BK_OK ? provider_work_integration_changed(apply, work) : err;
}

static enum bk_err integration_unindex(struct apply *apply, struct apply_work *work)
{
    enum bk_err err =
        type_index_drop(apply->txn, work->kind, work->canvas, work->name, apply->old.spec);
    return err == BK_OK ? provider_work_integration_removed(apply, work) : err;
}

/* Its secret changed: is the new one good? What waits for a person may work now. */
static enum bk_err integration_compile(struct apply *apply, struct slice canvas, struct slice name,
                                       struct apply_work *blame, bool own)
{
    (void)blame;
    return own ? BK_OK : provider_work_credential_changed(apply, canvas, name);
}

const struct apply_kind apply_integration_kind = {.build = integration_build,
                                                  .refer = integration_refer,
                                                  .index = integration_index,
                                                  .unindex = integration_unindex,
                                                  .compile = integration_compile};
