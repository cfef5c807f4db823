#include "hub/people/people.h"

#include "base/hex.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/links/link.h"
#include "hub/links/link_find.h"
#include "hub/links/link_index.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/provider_work.h"
#include "hub/people/people_index.h"

#include <stdio.h>

#define RENEW_BEFORE_NS (300 * NS_PER_SECOND)

/* ---- record.compiled: u8 flags, i64 expires, canvas */

void people_input_encode(const struct people_input *input, struct buf *bytes)
{
    uint8_t at[8];
    key_put_u64(at, (uint64_t)input->expires_ns);
    buf_add_byte(bytes, input->refreshes);
    buf_add(bytes, at, sizeof at);
    buf_add_slice(bytes, input->integration_canvas);
}

enum bk_err people_input_decode(struct slice bytes, struct people_input *ret_input)
{
    if (bytes.bytes < 9 || bytes.bytes > 9 + NAME_BYTES_MAX) {
        return BK_CORRUPT;
    }
    ret_input->refreshes = bytes.at[0] != 0;
    ret_input->expires_ns = (int64_t)key_get_u64(bytes.at + 1);
    ret_input->integration_canvas = slice_skip(bytes, 9);
    return BK_OK;
}

/* ---- what is due */

/* When the renewal of a token is due: 5 min before its end, or when three quarters of its life are
 * over; 0 = never. */
static int64_t people_due_ns(const struct people_input *input, int64_t now_ns)
{
    if (!input->refreshes || input->expires_ns == 0) {
        return 0;
    }
    int64_t life_ns = input->expires_ns > now_ns ? input->expires_ns - now_ns : 0;
    int64_t before_ns = life_ns / 4 < RENEW_BEFORE_NS ? life_ns / 4 : RENEW_BEFORE_NS;
    int64_t due_ns = input->expires_ns - before_ns;
    return due_ns > now_ns + NS_PER_SECOND ? due_ns : now_ns + NS_PER_SECOND; /* no faster ever */
}

enum bk_err people_put_due(struct store_txn *txn, const uint8_t id[16], int64_t due_ns)
{
    struct key key, reverse;
    struct slice value;
    uint8_t at[8];
    key_renewal_of(&reverse, id);
    enum bk_err err = store_get(txn, key_slice(&reverse), &value);
    if (err == BK_OK && value.bytes == 8) {
        key_renewal(&key, (int64_t)key_get_u64(value.at), id);
        err = store_delete(txn, key_slice(&key));
    }
    if (err != BK_OK && err != BK_NOT_FOUND) {
        return err;
    }
    if (due_ns == 0) {
        return store_delete(txn, key_slice(&reverse));
    }
    key_put_u64(at, (uint64_t)due_ns);
    key_renewal(&key, due_ns, id);
    err = store_put(txn, key_slice(&key), SLICE_EMPTY);
    return err == BK_OK ? store_put(txn, key_slice(&reverse), slice_of(at, sizeof at)) : err;
}

enum bk_err people_put_begun(struct store_txn *txn, const uint8_t id[16], int64_t begun_ns)
{
    struct key key;
    uint8_t at[8];
    key_renewal_begun(&key, id);
    key_put_u64(at, (uint64_t)begun_ns);
    return begun_ns == 0 ? store_delete(txn, key_slice(&key))
                         : store_put(txn, key_slice(&key), slice_of(at, sizeof at));
}

/* ---- from apply */

/* The record as it is being written. */
static struct record new_record(const struct apply *apply)
{
    return (struct record){.slot_count = apply->slot_count,
                           .updated_ns = apply->options->now_ns,
                           .compiled = buf_slice(&apply->compiled),
                           .slots = buf_slice(&apply->slots),
                           .spec = buf_slice(&apply->spec)};
}

static enum bk_err index_person(struct apply *apply, const struct apply_work *work)
{
    struct record record = new_record(apply);
    enum bk_err err = apply->existed
                          ? people_index_drop(apply->txn, work->canvas, work->name, &apply->old)
                          : BK_OK;
    return err == BK_OK ? people_index_put(apply->txn, work->canvas, work->name, &record) : err;
}

enum bk_err people_changed(struct apply *apply, const struct apply_work *work)
{
    const struct resource_integration_user *person = &work->document->spec.person;
    struct people_input input;
    struct key key;
    enum bk_err err = people_input_decode(buf_slice(&apply->compiled), &input);
    if (err == BK_OK) {
        err = people_put_due(apply->txn, apply->id, people_due_ns(&input, apply->options->now_ns));
    }
    if (err == BK_OK) {
        err = people_put_begun(apply->txn, apply->id, 0);
    }
    if (err == BK_OK) {
        err = index_person(apply, work);
    }
    if (err == BK_OK) { /* what was wrong with the tokens before is over */
        key_status(&key, apply->id);
        err = store_delete(apply->txn, key_slice(&key));
    }
    if (err == BK_OK) {
        err = provider_work_connected(apply, input.integration_canvas, person->integration.name);
    }
    apply->hub->people_changed = true;
    return err;
}

/* "y/": id, field \0, u32 bytes, sealed token, canvas \0, spec: all that is needed to ask for it.
 */
enum bk_err people_put_revocation(struct store_txn *txn, const struct people_revocation *revocation)
{
    uint64_t number;
    struct key key;
    struct buf value;
    size_t bytes = revocation->sealed.bytes;
    uint8_t count[4] = {(uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16), (uint8_t)(bytes >> 8),
                        (uint8_t)bytes};
    enum bk_err err = store_next_number(txn, KEY_REVOCATION_NUMBER, &number);
    if (err != BK_OK) {
        return err;
    }
    buf_init(&value, 1U << 20);
    buf_add(&value, revocation->id, 16);
    buf_add_slice(&value, revocation->field);
    buf_add_byte(&value, 0);
    buf_add(&value, count, sizeof count);
    buf_add_slice(&value, revocation->sealed);
    buf_add_slice(&value, revocation->canvas);
    buf_add_byte(&value, 0);
    buf_add_slice(&value, revocation->spec);
    key_revocation(&key, number);
    err = value.overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(&value));
    buf_fini(&value);
    return err;
}

/* The tokens are kept, sealed, until the provider has been told. The refresh token first: it could
 * make another access token. */
static enum bk_err put_revocations(struct apply *apply)
{
    static const struct slice fields[] = {SLICE(PEOPLE_REFRESH), SLICE(PEOPLE_ACCESS)};
    struct people_input input = {.integration_canvas = SLICE_EMPTY};
    enum bk_err err = people_input_decode(apply->old.compiled, &input);
    for (unsigned i = 0; err == BK_OK && i < 2; i++) {
        struct record_slot slot;
        if (record_slot_find(&apply->old, fields[i], &slot)) {
            struct people_revocation revocation = {.id = apply->old.id,
                                                   .field = fields[i],
                                                   .sealed = slot.sealed,
                                                   .canvas = input.integration_canvas,
                                                   .spec = apply->old.spec};
            err = people_put_revocation(apply->txn, &revocation);
        }
    }
    apply->hub->people_changed = true;
    return err;
}

enum bk_err people_removed(struct apply *apply, const struct apply_work *work)
{
    struct key key;
    enum bk_err err = people_put_due(apply->txn, apply->old.id, 0);
    if (err == BK_OK) {
        err = people_index_drop(apply->txn, work->canvas, work->name, &apply->old);
    }
    if (err == BK_OK && !apply->options->dry_run) {
        err = put_revocations(apply);
    }
    if (err == BK_OK) {
        err = people_put_begun(apply->txn, apply->old.id, 0);
    }
    key_status(&key, apply->old.id);
    return err == BK_OK ? store_delete(apply->txn, key_slice(&key)) : err;
}

/* The source that its entries come in from. */
static enum bk_err note_source(struct apply *apply, const struct apply_work *work)
{
    const struct resource_integration_link *link = &work->document->spec.link;
    char own[NAME_BYTES_MAX + 1];
    struct slice source = link->source.name;
    if (link->type->makes_hook && link_source_name(work->name, own)) {
        source = slice_str(own);
    }
    return source.bytes > 0 && !apply->options->dry_run
               ? link_note_source_of(apply->hub, apply->txn, work->canvas, source)
               : BK_OK;
}

enum bk_err people_link_changed(struct apply *apply, const struct apply_work *work)
{
    apply->hub->links_changed = true;
    enum bk_err err = apply->existed ? type_index_drop(apply->txn, work->kind, work->canvas,
                                                       work->name, apply->old.spec)
                                     : BK_OK;
    if (err == BK_OK) {
        err = type_index_put(apply->txn, work->kind, work->canvas, work->name,
                             buf_slice(&apply->spec));
    }
    if (err == BK_OK) {
        err = note_source(apply, work);
    }
    return err == BK_OK ? provider_work_link_changed(apply, work) : err;
}

enum bk_err people_link_removed(struct apply *apply, const struct apply_work *work)
{
    struct key key;
    apply->hub->links_changed = true;
    enum bk_err err =
        type_index_drop(apply->txn, work->kind, work->canvas, work->name, apply->old.spec);
    if (err == BK_OK) {
        err = operation_forget(apply->txn, apply->old.id);
    }
    key_status(&key, apply->old.id);
    return err == BK_OK ? store_delete(apply->txn, key_slice(&key)) : err;
}

/* ---- OAuth of an integration */

static const char *kept(struct arena *arena, struct slice text, const char *absent)
{
    if (text.bytes == 0) {
        return absent;
    }
    const char *copy = arena_copy(arena, text.at, text.bytes);
    return copy ? copy : absent;
}

/* The table's row, with the endpoints that the user gives. */
static void fill_server(const struct integration_view *view, struct arena *arena,
                        struct oauth2_server *server)
{
    const struct oauth2_server *row = oauth2_server_find(view->type);
    *server =
        row ? *row
            : (struct oauth2_server){.scope_separator = ' ',
                                     .pkce = true,
                                     .uid = "sub id",
                                     .nickname = "preferred_username nickname login username name",
                                     .full_name = "name",
                                     .email = "email"};
    server->name = kept(arena, view->type, "http");
    server->authorize =
        kept(arena, integration_text(view, "auth/oauth/authorizeUrl"), server->authorize);
    server->token = kept(arena, integration_text(view, "auth/oauth/tokenUrl"), server->token);
    struct slice revoke = integration_text(view, "auth/oauth/revokeUrl");
    if (revoke.bytes > 0) {
        bool theirs = memmem(revoke.at, revoke.bytes, "/applications/", 14) != NULL;
        server->revoke_access_only =
            server->revoke_access_only && (theirs || !server->revoke_by_delete);
        server->revoke_by_delete = server->revoke_by_delete && theirs;
    }
    server->revoke = kept(arena, revoke, server->revoke);
    server->identity =
        kept(arena, integration_text(view, "auth/oauth/identityUrl"), server->identity);
    server->issuer = kept(arena, integration_text(view, "auth/oauth/issuer"), server->issuer);
    if (slice_equal(integration_text(view, "auth/oauth/clientAuth"), SLICE("basic"))) {
        server->client_auth = OAUTH2_BASIC;
    }
}

static struct slice kept_slice(struct arena *arena, struct slice text)
{
    char *copy = text.bytes > 0 ? arena_copy(arena, text.at, text.bytes) : NULL;
    return slice_of(copy, copy ? text.bytes : 0);
}

enum bk_err people_oauth(struct hub *hub, struct store_txn *txn, struct slice canvas,
                         struct slice integration, struct arena *arena,
                         struct people_oauth *ret_oauth, char why[PROVIDER_WHY_BYTES])
{
    struct record record;
    struct integration_view view;
    enum bk_err err = hub_record(txn, RESOURCE_INTEGRATION, canvas, integration, &record);
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &view);
    }
    if (err != BK_OK) {
        return err;
    }
    *ret_oauth = (struct people_oauth){
        .base = kept_slice(arena, integration_text(&view, "url")),
        .client = {.id = kept_slice(arena, integration_text(&view, "auth/oauth/clientId")),
                   .address = slice_str(hub->public_url)},
        .scopes = kept_slice(arena, integration_text(&view, "auth/oauth/scopes")),
        .type = kept_slice(arena, view.type),
        .allow_private = integration_flag(&view, "allowPrivate", false)};
    if (!slice_equal(integration_text(&view, "auth/use"), SLICE("AUTH_TYPE_OAUTH"))) {
        snprintf(why, PROVIDER_WHY_BYTES,
                 "integration \"%.*s\" has a credential of its own: nobody signs in there",
                 (int)integration.bytes, (const char *)integration.at);
        err = BK_INVALID;
    } else {
        fill_server(&view, arena, &ret_oauth->server);
        err = integration_open_credential(hub, txn, &view, &record, canvas, arena, why,
                                          &ret_oauth->client.secret);
        err = err == BK_NOT_FOUND ? BK_OK : err; /* a public client has none */
    }
    integration_view_close(&view);
    return err == BK_OK && arena->overflow ? BK_NO_MEMORY : err;
}

/* ---- the token of who has connected an integration */

enum bk_err people_token(struct hub *hub, struct store_txn *txn, struct slice canvas,
                         struct slice integration, struct slice own, struct arena *arena,
                         struct slice *ret_token)
{
    struct hub_address address;
    struct record record;
    enum bk_err err = people_index_newest(txn, canvas, integration, own, &address);
    if (err == BK_OK) {
        err = hub_record(txn, RESOURCE_INTEGRATION_USER, slice_str(address.canvas),
                         slice_str(address.name), &record);
    }
    return err == BK_OK
               ? integration_open_slot(hub, &record, SLICE(PEOPLE_ACCESS), arena, ret_token)
               : err;
}

/* ---- storing a grant */

/* The object's name: one for each (integration, uid). */
static void people_name(struct slice integration, struct slice uid,
                        char ret_name[NAME_BYTES_MAX + 1])
{
    int bytes = snprintf(ret_name, NAME_BYTES_MAX + 1, "%.*s-%.*s", (int)integration.bytes,
                         (const char *)integration.at, (int)uid.bytes, (const char *)uid.at);
    if (bytes > 0 && (size_t)bytes <= NAME_BYTES_MAX &&
        resource_name_valid(slice_of(ret_name, (size_t)bytes)) &&
        memchr(uid.at, 0, uid.bytes) == NULL) {
        return;
    }
    uint8_t digest[SHA256_BYTES];
    char hex[17];
    sha256(uid, digest);
    hex_encode(digest, 8, hex);
    hex[16] = '\0';
    snprintf(
        ret_name, NAME_BYTES_MAX + 1, "%.*s-%s",
        (int)(integration.bytes > NAME_BYTES_MAX - 17 ? NAME_BYTES_MAX - 17 : integration.bytes),
        (const char *)integration.at, hex);
}

static void add_member(struct buf *json, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        buf_printf(json, ",\"%s\":", name);
        json_add_string(json, text);
    }
}

static void add_secret(struct buf *json, const char *name, struct slice text, bool stored)
{
    if (text.bytes > 0 || stored) {
        buf_printf(json, ",\"%s\":{\"value\":", name);
        json_add_string(json, text.bytes > 0 ? text : slice_str(RESOURCE_HIDDEN));
        buf_add_byte(json, '}');
    }
}

/* What is known of them already: a refresh token that was not rotated, the owner. */
struct before {
    bool has_access, has_refresh;
    char user[NAME_BYTES_MAX + 1];
    bool user_there; /* the one the grant names */
};

static enum bk_err find_before(struct hub *hub, const struct people_grant *grant, const char *name,
                               struct before *ret_before)
{
    struct store_txn *txn;
    struct record record;
    struct record_slot slot;
    *ret_before = (struct before){.user = ""};
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    ret_before->user_there =
        hub_record(txn, RESOURCE_USER, grant->canvas, grant->user, &record) == BK_OK;
    err = hub_record(txn, RESOURCE_INTEGRATION_USER, grant->canvas, slice_str(name), &record);
    if (err == BK_OK) {
        struct integration_view view;
        ret_before->has_access = record_slot_find(&record, SLICE(PEOPLE_ACCESS), &slot);
        ret_before->has_refresh = record_slot_find(&record, SLICE(PEOPLE_REFRESH), &slot);
        err = integration_view_open(record.spec, &view);
        if (err == BK_OK) {
            struct slice user = integration_text(&view, "user/name");
            snprintf(ret_before->user, sizeof ret_before->user, "%.*s", (int)user.bytes,
                     (const char *)user.at);
            integration_view_close(&view);
        }
    }
    store_read_end(txn);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static void write_grant(const struct people_grant *grant, const char *name,
                        const struct before *before, struct buf *json)
{
    struct slice user = grant->user.bytes > 0 ? grant->user : slice_str(before->user);
    buf_add_byte(json, '[');
    if (grant->user.bytes > 0 && !before->user_there) {
        buf_add_str(json, "{\"kind\":\"User\",\"metadata\":{\"name\":");
        json_add_string(json, grant->user);
        buf_add_str(json, "},\"spec\":{}},");
    }
    buf_printf(json,
               "{\"kind\":\"IntegrationUser\",\"metadata\":{\"name\":\"%s\"},\"spec\":{"
               "\"integration\":{\"name\":",
               name);
    json_add_string(json, grant->integration);
    buf_add_byte(json, '}');
    if (user.bytes > 0) {
        buf_add_str(json, ",\"user\":{\"name\":");
        json_add_string(json, user);
        buf_add_byte(json, '}');
    }
    add_member(json, "uid", grant->identity.uid);
    add_member(json, "nickname", grant->identity.nickname);
    add_member(json, "fullName", grant->identity.full_name);
    add_member(json, "email", grant->identity.email);
    add_member(json, "workspace", grant->workspace);
    add_member(json, "workspaceName", grant->workspace_name);
    add_member(json, "redirectUri", grant->redirect_uri);
    add_member(json, "scopes", grant->tokens.scope);
    if (grant->tokens.expires_in > 0) {
        char text[25];
        time_format_rfc3339(grant->now_ns + grant->tokens.expires_in * NS_PER_SECOND, text);
        add_member(json, "expiresAt", slice_str(text));
    }
    add_secret(json, "accessToken", grant->tokens.access_token, before->has_access);
    add_secret(json, "refreshToken", grant->tokens.refresh_token, before->has_refresh);
    buf_add_str(json, "}}]");
}

enum bk_err people_store(struct hub *hub, const struct people_grant *grant,
                         char why[PROVIDER_WHY_BYTES])
{
    char name[NAME_BYTES_MAX + 1];
    struct before before;
    struct apply_outcome outcome;
    struct buf json;
    people_name(grant->integration, grant->identity.uid, name);
    enum bk_err err = find_before(hub, grant, name, &before);
    if (err != BK_OK) {
        snprintf(why, PROVIDER_WHY_BYTES, "%s", bk_err_text(err));
        return err;
    }
    if (before.user[0] != '\0' && grant->user.bytes > 0 &&
        !slice_equal(grant->user,
                     slice_str(before.user))) { /* one for each: nobody takes it over */
        snprintf(why, PROVIDER_WHY_BYTES,
                 "this account is connected as %s's already: they, or an administrator, have to "
                 "disconnect it first",
                 before.user);
        return BK_CONFLICT;
    }
    buf_init(&json, 1U << 20);
    write_grant(grant, name, &before, &json);
    struct apply_options options = {
        .mode = APPLY_SET, .canvas = grant->canvas, .now_ns = grant->now_ns};
    err = json.overflow ? BK_TOO_LARGE : apply_text(hub, buf_slice(&json), &options, &outcome);
    if (!json.overflow) {
        snprintf(why, PROVIDER_WHY_BYTES, "%s", outcome.message ? outcome.message : "");
        apply_outcome_fini(&outcome);
    }
    buf_fini(&json);
    return err;
}
