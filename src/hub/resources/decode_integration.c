/* decode_integration.c - the spec of an Integration, and how an EventSource names one. Three
 * dialects are read: TYPE_SEMAPHORE and semaphore are the same, AUTH_TYPE_TOKEN and token, too; a
 * source's `semaphore: {project: x}` is `resource: {type: project, name: x}`. */
#include "base/json.h"
#include "base/url.h"
#include "hub/resources/decode.h"
#include "providers/oauth2.h"
#include "providers/provider.h"

#include <yyjson.h>

static struct slice without_prefix(struct slice text, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return text.bytes > bytes && slice_equal_nocase(slice_of(text.at, bytes), slice_str(prefix))
               ? slice_skip(text, bytes)
               : text;
}

/* ---- type and addresses */

static void decode_type(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_integration *integration)
{
    struct slice text = decode_text(decoder, spec, "type");
    struct slice type = without_prefix(text, "TYPE_");
    if (text.bytes == 0) {
        if (!decode_field(spec, "type")) {
            decode_wrong(decoder, spec, "type", "type is required");
        }
        return;
    }
    integration->provider = provider_find(type);
    if (integration->provider) {
        integration->type = slice_str(integration->provider->name);
        return;
    }
    const struct oauth2_server *server = oauth2_server_find(type);
    if (server) { /* sign-in only */
        integration->type = slice_str(server->name);
        return;
    }
    const char *names[40];
    size_t count = 0;
    for (; count < provider_count && count < 38; count++) {
        names[count] = providers[count]->name;
    }
    names[count] = NULL;
    const char *nearest = nearest_word(type, names);
    decode_wrong(decoder, spec, "type", "no integration of this type is available%s%s%s",
                 nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
}

static struct slice decode_url(struct decoder *decoder, const struct decode_object *spec,
                               const char *name, struct url *ret_url)
{
    const char *why;
    struct slice text = decode_text(decoder, spec, name);
    while (text.bytes > 0 && text.at[text.bytes - 1] == '/') {
        text.bytes--;
    }
    if (text.bytes > 0 && url_parse(text, ret_url, &why) != BK_OK) {
        decode_wrong(decoder, spec, name, "%s", why);
        return SLICE_EMPTY;
    }
    if (text.bytes > 0 && ret_url->query.bytes > 0) {
        decode_wrong(decoder, spec, name, "must have no query");
    }
    return text;
}

/* An endpoint is called as it is written: with the slash at its end that Django wants, with the
 * query that RFC 6749 3.1 lets it have. */
static struct slice decode_endpoint(struct decoder *decoder, const struct decode_object *spec,
                                    const char *name)
{
    struct slice text = decode_text(decoder, spec, name);
    struct url url;
    const char *why;
    if (text.bytes > 0 && url_parse(text, &url, &why) != BK_OK) {
        decode_wrong(decoder, spec, name, "%s", why);
        return SLICE_EMPTY;
    }
    return text;
}

static void decode_addresses(struct decoder *decoder, const struct decode_object *spec,
                             struct resource_integration *integration)
{
    const struct provider *provider = integration->provider;
    struct url url, api;
    integration->url = decode_url(decoder, spec, "url", &url);
    integration->api_url = decode_url(decoder, spec, "apiUrl", &api);
    yyjson_mut_val *private = decode_field(spec, "allowPrivate");
    if (private && !yyjson_mut_is_bool(private)) {
        decode_wrong(decoder, spec, "allowPrivate", "must be true or false");
    }
    integration->allow_private = private && yyjson_mut_get_bool(private);
    if (integration->url.bytes == 0) {
        if (provider && provider->url) {
            integration->url = slice_str(provider->url);
        } else if (!decode_field(spec, "url") && integration->type.bytes > 0) {
            decode_wrong(decoder, spec, "url", "is missing: where the service is");
        }
        return;
    }
    if (!url.tls && !integration->allow_private) {
        decode_wrong(decoder, spec, "url", "must begin with https://, or set allowPrivate");
    }
    bool on_host = provider && provider->url_host && integration->api_url.bytes == 0;
    struct slice below = slice_skip(url.path, 1 + slice_find(slice_skip(url.path, 1), '/') + 1);
    if (on_host && strcmp(url.host, provider->url_host) == 0 && below.bytes > 0) {
        decode_wrong(decoder, spec, "url",
                     "must end with the owner, https://%s/OWNER: which repository is said by what "
                     "uses it",
                     provider->url_host);
    }
    if (on_host && strcmp(url.host, provider->url_host) != 0) {
        decode_wrong(decoder, spec, "url",
                     "must be on %s; for a server of your own also give apiUrl",
                     provider->url_host);
    }
}

/* ---- auth */

/* token: {valueFrom: {secret: {name, key}}} */
static bool decode_secret_at(struct decoder *decoder, const struct decode_object *auth,
                             const char *name, struct resource_source_secret *ret_secret)
{
    struct decode_object item = decode_inner(decoder, auth, name);
    if (!item.value) {
        if (!decode_field(auth, name)) {
            decode_wrong(decoder, auth, name,
                         "is missing: {valueFrom: {secret: {name: …, key: …}}}");
        }
        return false;
    }
    decode_secret_source(decoder, &item, ret_secret);
    return true;
}

static void decode_scopes(struct decoder *decoder, const struct decode_object *oauth,
                          struct resource_integration *integration)
{
    yyjson_mut_val *list = decode_field(oauth, "scopes"), *item;
    if (!yyjson_mut_is_arr(list)) {
        integration->scopes = decode_text(decoder, oauth, "scopes");
        return;
    }
    const char *text = "";
    size_t index, max;
    yyjson_mut_arr_foreach(list, index, max, item)
    {
        if (!yyjson_mut_is_str(item)) {
            decode_wrong(decoder, oauth, "scopes", "must be a list of texts");
            return;
        }
        text = arena_printf(&decoder->tree->arena, "%s%s%s", text ? text : "", index ? " " : "",
                            yyjson_mut_get_str(item));
    }
    integration->scopes = slice_str(text);
}

/* Compared letter by letter with what tokens say: a slash at its end stays. */
static void decode_issuer(struct decoder *decoder, const struct decode_object *oauth,
                          struct resource_integration *integration)
{
    struct url url;
    const char *why;
    integration->issuer = decode_text(decoder, oauth, "issuer");
    if (integration->issuer.bytes == 0) {
        return;
    }
    if (url_parse(integration->issuer, &url, &why) != BK_OK) {
        decode_wrong(decoder, oauth, "issuer", "%s", why);
    } else if (!url.tls && !integration->allow_private) {
        decode_wrong(decoder, oauth, "issuer", "must begin with https://, or set allowPrivate");
    }
}

static void decode_client_auth(struct decoder *decoder, const struct decode_object *oauth,
                               struct resource_integration *integration)
{
    struct slice text = decode_text(decoder, oauth, "clientAuth");
    integration->client_basic = slice_equal(text, SLICE("basic"));
    if (text.bytes > 0 && !integration->client_basic && !slice_equal(text, SLICE("body"))) {
        decode_wrong(decoder, oauth, "clientAuth", "must be body or basic");
    }
}

static void decode_oauth(struct decoder *decoder, const struct decode_object *auth,
                         struct resource_integration *integration)
{
    static const char *const known[] = {
        "clientId",  "clientSecret", "scopes", "authorizeUrl", "tokenUrl",
        "revokeUrl", "identityUrl",  "issuer", "clientAuth",   NULL};
    static const char *const urls[] = {"authorizeUrl", "tokenUrl", "revokeUrl", "identityUrl"};
    struct slice *const to[] = {&integration->authorize_url, &integration->token_url,
                                &integration->revoke_url, &integration->identity_url};
    struct decode_object oauth = decode_inner(decoder, auth, "oauth");
    decode_known(decoder, &oauth, known);
    if (!oauth.value) {
        decode_wrong(decoder, auth, "oauth", "is missing: {clientId, clientSecret, scopes}");
        return;
    }
    integration->client_id = decode_text(decoder, &oauth, "clientId");
    if (!decode_field(&oauth, "clientId")) {
        decode_wrong(decoder, &oauth, "clientId", "is missing");
    }
    if (decode_field(&oauth, "clientSecret")) {
        decode_secret_at(decoder, &oauth, "clientSecret", &integration->credential);
        integration->has_credential = true;
    }
    decode_scopes(decoder, &oauth, integration);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        *to[i] = decode_endpoint(decoder, &oauth, urls[i]);
    }
    decode_issuer(decoder, &oauth, integration);
    decode_client_auth(decoder, &oauth, integration);
    bool own = integration->authorize_url.bytes > 0 && integration->token_url.bytes > 0 &&
               (integration->identity_url.bytes > 0 || integration->issuer.bytes > 0);
    if (!own && integration->type.bytes > 0 && !oauth2_server_find(integration->type)) {
        decode_wrong(decoder, &oauth, "authorizeUrl",
                     "give authorizeUrl, tokenUrl and identityUrl (or issuer, for ID tokens): this "
                     "type has none of its own");
    }
}

/* Ids are numbers at GitHub, and people write them with and without quotes. */
static struct slice decode_id(struct decoder *decoder, const struct decode_object *object,
                              const char *name)
{
    yyjson_mut_val *value = decode_field(object, name);
    if (!value) {
        decode_wrong(decoder, object, name, "is missing");
        return SLICE_EMPTY;
    }
    struct slice text =
        yyjson_mut_is_uint(value)
            ? slice_str(arena_printf(&decoder->tree->arena, "%llu",
                                     (unsigned long long)yyjson_mut_get_uint(value)))
            : decode_text(decoder, object, name);
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = ascii_lower(text.at[i]);
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.' || c == '-')) {
            decode_wrong(decoder, object, name, "is no id");
            return SLICE_EMPTY;
        }
    }
    return text;
}

static void decode_app(struct decoder *decoder, const struct decode_object *auth,
                       struct resource_integration *integration)
{
    static const char *const known[] = {"appId", "installationId", "privateKey", NULL};
    struct decode_object app = decode_inner(decoder, auth, "app");
    decode_known(decoder, &app, known);
    if (integration->provider && strcmp(integration->provider->name, "github") != 0) {
        decode_wrong(decoder, auth, "use", "apps are GitHub's");
    }
    integration->app_id = decode_id(decoder, &app, "appId");
    integration->installation_id = decode_id(decoder, &app, "installationId");
    integration->has_credential =
        decode_secret_at(decoder, &app, "privateKey", &integration->credential);
}

/* Tokens that becket issues: only servers of one's own, and what is before them, can be told to
 * take them. */
static void decode_issued(struct decoder *decoder, const struct decode_object *auth,
                          struct resource_integration *integration)
{
    static const char *const known[] = {"audience", NULL};
    const struct provider *provider = integration->provider;
    struct decode_object oidc = decode_inner(decoder, auth, "oidc");
    decode_known(decoder, &oidc, known);
    integration->audience = decode_text(decoder, &oidc, "audience");
    bool possible = provider && (provider->takes_issued || integration->api_url.bytes > 0);
    if (!possible && integration->type.bytes > 0) {
        decode_wrong(decoder, auth, "use",
                     "%s takes no tokens that becket issues: use AUTH_TYPE_TOKEN%s, or give the "
                     "apiUrl of what takes them in front of it",
                     provider ? provider->title : "this type",
                     provider && strcmp(provider->name, "github") == 0 ? " or AUTH_TYPE_APP" : "");
    }
}

static void decode_auth(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_integration *integration)
{
    static const char *const known[] = {"use", "token", "basic", "oauth", "app", "oidc", NULL};
    static const char *const basic_known[] = {"username", "password", NULL};
    struct decode_object auth = decode_inner(decoder, spec, "auth");
    decode_known(decoder, &auth, known);
    if (!auth.value) {
        if (!decode_field(spec, "auth")) {
            decode_wrong(decoder, spec, "auth", "is missing: {use: AUTH_TYPE_TOKEN, token: …}");
        }
        return;
    }
    struct slice use = without_prefix(decode_text(decoder, &auth, "use"), "AUTH_TYPE_");
    if (slice_equal_nocase(use, SLICE("token"))) {
        integration->auth = INTEGRATION_AUTH_TOKEN;
        integration->has_credential =
            decode_secret_at(decoder, &auth, "token", &integration->credential);
    } else if (slice_equal_nocase(use, SLICE("basic"))) {
        struct decode_object basic = decode_inner(decoder, &auth, "basic");
        integration->auth = INTEGRATION_AUTH_BASIC;
        decode_known(decoder, &basic, basic_known);
        integration->username = decode_text(decoder, &basic, "username");
        if (integration->username.bytes == 0) {
            decode_wrong(decoder, &basic, "username", "is missing");
        }
        integration->has_credential =
            decode_secret_at(decoder, &basic, "password", &integration->credential);
    } else if (slice_equal_nocase(use, SLICE("oauth")) ||
               slice_equal_nocase(use, SLICE("oauth2"))) {
        integration->auth = INTEGRATION_AUTH_OAUTH;
        decode_oauth(decoder, &auth, integration);
    } else if (slice_equal_nocase(use, SLICE("app"))) {
        integration->auth = INTEGRATION_AUTH_APP;
        decode_app(decoder, &auth, integration);
    } else if (slice_equal_nocase(use, SLICE("oidc"))) {
        integration->auth = INTEGRATION_AUTH_OIDC;
        decode_issued(decoder, &auth, integration);
    } else if (slice_equal_nocase(use, SLICE("none"))) {
        integration->auth = INTEGRATION_AUTH_NONE;
    } else {
        decode_wrong(decoder, &auth, "use",
                     "must be AUTH_TYPE_TOKEN, AUTH_TYPE_OAUTH, AUTH_TYPE_APP, AUTH_TYPE_BASIC, "
                     "AUTH_TYPE_OIDC or AUTH_TYPE_NONE");
    }
}

/* ---- oidc: claims that the provider's tokens must have: name → text or list of texts */

static void decode_oidc(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_integration *integration)
{
    static const char *const known[] = {"enabled", "claims", NULL};
    struct decode_object oidc = decode_inner(decoder, spec, "oidc");
    struct decode_object claims = decode_inner(decoder, &oidc, "claims");
    decode_known(decoder, &oidc, known);
    yyjson_mut_val *enabled = decode_field(&oidc, "enabled");
    if (enabled && !yyjson_mut_is_bool(enabled)) {
        decode_wrong(decoder, &oidc, "enabled", "must be true or false");
    }
    integration->oidc_given = oidc.value != NULL;
    integration->oidc_enabled = enabled && yyjson_mut_get_bool(enabled);
    integration->claims = claims.value;
    if (!claims.value) {
        return;
    }
    size_t index, max, at, count;
    yyjson_mut_val *key, *value, *item;
    yyjson_mut_obj_foreach(claims.value, index, max, key, value)
    {
        bool good = yyjson_mut_is_str(value) || yyjson_mut_is_arr(value);
        if (yyjson_mut_is_arr(value)) {
            yyjson_mut_arr_foreach(value, at, count, item)
            {
                good = good && yyjson_mut_is_str(item);
            }
        }
        if (!good) {
            decode_wrong(decoder, &claims, yyjson_mut_get_str(key),
                         "must be a text or a list of texts");
        }
    }
}

void decode_integration(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_integration *ret_integration)
{
    static const char *const known[] = {"type", "url",          "apiUrl", "auth",
                                        "oidc", "allowPrivate", "check",  NULL};
    decode_known(decoder, spec, known);
    decode_type(decoder, spec, ret_integration);
    decode_addresses(decoder, spec, ret_integration);
    decode_auth(decoder, spec, ret_integration);
    decode_oidc(decoder, spec, ret_integration);
    yyjson_mut_val *check = decode_field(spec, "check");
    if (check && !yyjson_mut_is_bool(check)) {
        decode_wrong(decoder, spec, "check", "must be true or false");
    }
    ret_integration->check = !check || yyjson_mut_get_bool(check);
}

/* ---- of a source */

static void decode_resource(struct decoder *decoder, const struct decode_object *spec,
                            struct resource_event_source *source)
{
    static const char *const known[] = {"type", "name", NULL};
    static const char *const old[][3] = {{"semaphore", "project", "project"},
                                         {"github", "repository", "repository"},
                                         {"gitlab", "project", "project"}};
    struct decode_object resource = decode_inner(decoder, spec, "resource");
    decode_known(decoder, &resource, known);
    source->resource_type = decode_text(decoder, &resource, "type");
    source->resource = decode_text(decoder, &resource, "name");
    for (size_t i = 0; i < 3; i++) {
        struct decode_object block = decode_inner(decoder, spec, old[i][0]);
        const char *const block_known[] = {old[i][1], NULL};
        if (!block.value) {
            continue;
        }
        decode_known(decoder, &block, block_known);
        struct slice named = decode_text(decoder, &block, old[i][1]);
        if (!resource.value) {
            source->resource_type = slice_str(old[i][2]);
            source->resource = named;
        } else if (named.bytes > 0 && !slice_equal(named, source->resource)) {
            decode_wrong(decoder, &block, old[i][1], "is not what spec.resource names");
        }
    }
    if (source->resource_type.bytes > 0 && source->resource.bytes > 0) {
        return;
    }
    if (!resource.value) {
        decode_wrong(decoder, spec, "resource",
                     "is needed with an integration: {type: repository, name: …}, or type project "
                     "where the service has those");
        return;
    }
    for (size_t i = 0; known[i]; i++) {
        if (!decode_field(&resource, known[i])) {
            decode_wrong(decoder, &resource, known[i], "is missing");
        }
    }
}

void decode_source_integration(struct decoder *decoder, const struct decode_object *spec,
                               struct resource_event_source *source)
{
    static const char *const known[] = {"name", "domainType", NULL};
    struct decode_object integration = decode_inner(decoder, spec, "integration");
    decode_known(decoder, &integration, known);
    if (!integration.value) {
        if (decode_field(spec, "resource")) {
            decode_wrong(decoder, spec, "resource", "is only of use with an integration");
        }
        return;
    }
    source->integration = decode_text(decoder, &integration, "name");
    source->integration_domain = decode_domain(decoder, &integration);
    source->integration_place = integration.place;
    if (!decode_field(&integration, "name")) {
        decode_wrong(decoder, &integration, "name", "is missing");
    } else if (source->integration.bytes > 0 && !resource_name_valid(source->integration)) {
        decode_wrong(decoder, &integration, "name", "is no name of an integration");
    }
    if (decode_field(spec, "verification")) {
        decode_wrong(decoder, spec, "verification",
                     "is made with the hook where there is an integration");
    }
    decode_resource(decoder, spec, source);
    source->generate_key = true;
}
