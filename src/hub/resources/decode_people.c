/* decode_people.c - spec of User, Team, IntegrationUser and IntegrationLink. */
#include "base/time.h"
#include "hub/links/link.h"
#include "hub/resources/decode.h"

#include <stdio.h>
#include <yyjson.h>

/* {name: …} at a field. */
static void decode_ref(struct decoder *decoder, const struct decode_object *object,
                       const char *name, struct resource_ref *ret_ref)
{
    static const char *const known[] = {"name", NULL};
    struct decode_object ref = decode_inner(decoder, object, name);
    *ret_ref = (struct resource_ref){.place = ref.place};
    if (!ref.value) {
        return;
    }
    decode_known(decoder, &ref, known);
    ret_ref->name = decode_text(decoder, &ref, "name");
    if (!decode_field(&ref, "name")) {
        decode_wrong(decoder, &ref, "name", "is missing");
    } else if (ret_ref->name.bytes > 0 && !resource_name_valid(ret_ref->name)) {
        decode_wrong(decoder, &ref, "name", "must be 1 to 63 characters of a-z, 0-9 and -");
        ret_ref->name = SLICE_EMPTY;
    }
}

/* What people are called, also in lists, messages and on pages. */
static struct slice decode_words(struct decoder *decoder, const struct decode_object *spec,
                                 const char *name)
{
    struct slice text = decode_text(decoder, spec, name);
    if (text.bytes > RESOURCE_DESCRIPTION_BYTES_MAX) {
        decode_wrong(decoder, spec, name, "longer than %u bytes", RESOURCE_DESCRIPTION_BYTES_MAX);
    }
    return text;
}

void decode_user(struct decoder *decoder, const struct decode_object *spec,
                 struct resource_user *ret_user)
{
    static const char *const known[] = {"fullName", "email", NULL};
    decode_known(decoder, spec, known);
    ret_user->full_name = decode_words(decoder, spec, "fullName");
    ret_user->email = decode_words(decoder, spec, "email");
}

void decode_team(struct decoder *decoder, const struct decode_object *spec,
                 struct resource_team *ret_team)
{
    static const char *const known[] = {"title", "members", NULL};
    yyjson_mut_val *list = decode_field(spec, "members"), *item;
    size_t index, max;
    decode_known(decoder, spec, known);
    ret_team->title = decode_words(decoder, spec, "title");
    if (!list) {
        return;
    }
    size_t count = yyjson_mut_is_arr(list) ? yyjson_mut_arr_size(list) : 0;
    if (!yyjson_mut_is_arr(list) || count > RESOURCE_MEMBERS_MAX) {
        decode_wrong(decoder, spec, "members", "must be a list of at most %u users",
                     RESOURCE_MEMBERS_MAX);
        return;
    }
    ret_team->members = arena_take(&decoder->tree->arena, (count + 1) * sizeof *ret_team->members);
    yyjson_mut_arr_foreach(list, index, max, item)
    {
        struct slice name =
            yyjson_mut_is_obj(item) ? json_text(yyjson_mut_obj_get(item, "name")) : json_text(item);
        if (!ret_team->members || !resource_name_valid(name)) {
            decode_wrong(decoder, spec, "members", "[%zu] is no name of a user", index);
            return;
        }
        ret_team->members[ret_team->member_count++] =
            (struct resource_ref){.name = name, .place = json_place(item)};
    }
}

/* accessToken: {value: …} or {valueFrom: …} */
static bool decode_token(struct decoder *decoder, const struct decode_object *spec,
                         const char *name, struct resource_source_secret *ret_secret)
{
    struct decode_object item = decode_inner(decoder, spec, name);
    if (!item.value) {
        return false;
    }
    decode_secret_source(decoder, &item, ret_secret);
    return true;
}

void decode_integration_user(struct decoder *decoder, const struct decode_object *spec,
                             struct resource_integration_user *ret_person)
{
    static const char *const known[] = {
        "integration",   "user",        "provider",     "uid",         "nickname",
        "fullName",      "email",       "workspace",    "scopes",      "expiresAt",
        "workspaceName", "accessToken", "refreshToken", "redirectUri", NULL};
    decode_known(decoder, spec, known);
    decode_ref(decoder, spec, "integration", &ret_person->integration);
    if (!decode_field(spec, "integration")) {
        decode_wrong(decoder, spec, "integration", "is missing: {name: …}");
    }
    decode_ref(decoder, spec, "user", &ret_person->user);
    ret_person->provider = decode_text(decoder, spec, "provider");
    ret_person->uid = decode_text(decoder, spec, "uid");
    if (!decode_field(spec, "uid")) {
        decode_wrong(decoder, spec, "uid", "is missing: the account's id at the provider");
    }
    ret_person->nickname = decode_text(decoder, spec, "nickname");
    ret_person->full_name = decode_text(decoder, spec, "fullName");
    ret_person->email = decode_text(decoder, spec, "email");
    ret_person->workspace = decode_text(decoder, spec, "workspace");
    ret_person->workspace_name = decode_text(decoder, spec, "workspaceName");
    ret_person->scopes = decode_text(decoder, spec, "scopes");
    ret_person->redirect_uri = decode_text(decoder, spec, "redirectUri");
    ret_person->expires_text = decode_text(decoder, spec, "expiresAt");
    if (ret_person->expires_text.bytes > 0 &&
        (time_parse_rfc3339(ret_person->expires_text, &ret_person->expires_ns) != BK_OK ||
         ret_person->expires_ns <= 0)) {
        decode_wrong(decoder, spec, "expiresAt", "must be a time such as 2026-01-02T03:04:05Z");
    }
    ret_person->has_access = decode_token(decoder, spec, "accessToken", &ret_person->access_token);
    ret_person->has_refresh =
        decode_token(decoder, spec, "refreshToken", &ret_person->refresh_token);
}

/* ---- links */

static void decode_settings(struct decoder *decoder, const struct decode_object *spec,
                            struct resource_integration_link *link)
{
    struct decode_object settings = decode_inner(decoder, spec, "settings");
    size_t index, max;
    yyjson_mut_val *key, *value;
    if (!settings.value) {
        return;
    }
    yyjson_mut_obj_foreach(settings.value, index, max, key, value)
    {
        const char *name = yyjson_mut_get_str(key);
        if (link->type && !link_field_find(link->type, json_text(key))) {
            decode_wrong(decoder, &settings, name, "is no setting of a %s link", link->type->title);
        } else if (!yyjson_mut_is_str(value) || yyjson_mut_get_len(value) == 0 ||
                   yyjson_mut_get_len(value) > LINK_SETTING_BYTES_MAX) {
            decode_wrong(decoder, &settings, name, "must be a text of 1 to %u bytes",
                         LINK_SETTING_BYTES_MAX);
        } else if (link->setting_count == RESOURCE_LINK_SETTINGS_MAX) {
            decode_wrong(decoder, spec, "settings", "are more than %u", RESOURCE_LINK_SETTINGS_MAX);
            return;
        } else {
            link->settings[link->setting_count++] =
                (struct resource_link_setting){json_text(key), json_text(value)};
        }
    }
}

/* Which of the wanted settings are missing. */
static void check_settings(struct decoder *decoder, const struct decode_object *spec,
                           const struct resource_integration_link *link)
{
    struct decode_object settings = decode_inner(decoder, spec, "settings");
    for (const struct link_field *field = link->type->fields; field->name; field++) {
        bool given = false;
        for (unsigned i = 0; i < link->setting_count; i++) {
            given = given || slice_equal(link->settings[i].name, slice_str(field->name));
        }
        if (field->wanted && !given &&
            !(settings.value && yyjson_mut_obj_get(settings.value, field->name))) {
            decode_wrong(decoder, settings.value ? &settings : spec,
                         settings.value ? field->name : "settings", "%s is missing", field->name);
        }
    }
}

static void decode_statuses(struct decoder *decoder, const struct decode_object *spec,
                            struct resource_integration_link *link)
{
    yyjson_mut_val *list = decode_field(spec, "statuses"), *item;
    const char *text = "";
    size_t index, max;
    if (!list) {
        return;
    }
    yyjson_mut_arr_foreach(list, index, max, item)
    {
        struct slice word = json_text(item);
        if (!slice_equal(word, SLICE("done")) && !slice_equal(word, SLICE("goal")) &&
            !slice_equal(word, SLICE("blocked"))) {
            decode_wrong(decoder, spec, "statuses", "are done, goal and blocked");
            return;
        }
        text = arena_printf(&decoder->tree->arena, "%s%s%s", text ? text : "", index ? " " : "",
                            yyjson_mut_get_str(item));
    }
    if (!yyjson_mut_is_arr(list)) {
        decode_wrong(decoder, spec, "statuses", "must be a list of done, goal and blocked");
    }
    link->statuses = slice_str(text);
}

static void decode_entry(struct decoder *decoder, const struct decode_object *spec,
                         struct resource_integration_link *link)
{
    static const char *const known[] = {"body", "author", "when", NULL};
    struct decode_object entry = decode_inner(decoder, spec, "entry");
    if (!entry.value) {
        return;
    }
    decode_known(decoder, &entry, known);
    link->body = decode_text(decoder, &entry, "body");
    link->author = decode_text(decoder, &entry, "author");
    link->when = decode_text(decoder, &entry, "when");
    const struct slice texts[] = {link->body, link->author, link->when};
    for (unsigned i = 0; i < 3; i++) {
        struct filter *filter;
        struct filter_error problem;
        if (texts[i].bytes == 0) {
            continue;
        }
        if (filter_compile(texts[i], FILTER_DATA, i == 2, &filter, &problem) != BK_OK) {
            decode_wrong(decoder, &entry, known[i], "%s", problem.message);
        } else {
            filter_free(filter);
        }
    }
}

void decode_integration_link(struct decoder *decoder, const struct decode_object *spec,
                             struct resource_integration_link *ret_link)
{
    static const char *const known[] = {"type",     "integration", "team",     "user",  "source",
                                        "settings", "destination", "statuses", "entry", NULL};
    decode_known(decoder, spec, known);
    struct slice type = decode_text(decoder, spec, "type");
    ret_link->type = link_type_find(type);
    if (!decode_field(spec, "type")) {
        decode_wrong(decoder, spec, "type",
                     "is missing: github, gitlab, gitea, slack, discord or "
                     "generic");
    } else if (type.bytes > 0 && !ret_link->type) {
        decode_wrong(decoder, spec, "type",
                     "must be github, gitlab, gitea, slack, discord or generic");
    }
    decode_ref(decoder, spec, "integration", &ret_link->integration);
    decode_ref(decoder, spec, "team", &ret_link->team);
    decode_ref(decoder, spec, "user", &ret_link->user);
    decode_ref(decoder, spec, "source", &ret_link->source);
    decode_ref(decoder, spec, "destination", &ret_link->destination);
    decode_settings(decoder, spec, ret_link);
    decode_statuses(decoder, spec, ret_link);
    decode_entry(decoder, spec, ret_link);
    const struct link_type *row = ret_link->type;
    if (!row) {
        return;
    }
    check_settings(decoder, spec, ret_link);
    bool team = decode_field(spec, "team") != NULL, user = decode_field(spec, "user") != NULL;
    if (team == user || (team && !row->for_team) || (user && !row->for_user)) {
        decode_wrong(decoder, spec, team && user ? "user" : "team",
                     row->for_team && row->for_user ? "give either team or user: {name: …}"
                     : row->for_team ? "is needed, and no user: a %s link is a team's"
                                     : "is not possible: a %s link is a user's",
                     row->title);
    }
    if (row->integration && !decode_field(spec, "integration")) {
        decode_wrong(decoder, spec, "integration", "is missing: {name: …}");
    }
    if (row->makes_hook && decode_field(spec, "source")) {
        decode_wrong(decoder, spec, "source", "is made by a %s link itself", row->title);
    }
    bool out = decode_field(spec, "destination") != NULL, in = decode_field(spec, "source") != NULL;
    if (out && user) {
        decode_wrong(decoder, spec, "destination",
                     "is for the entries of a team: give team, not user");
    }
    if (row->integration) {
        return;
    }
    if (!in && !out) {
        decode_wrong(decoder, spec, "source",
                     "is missing: {name: …}, where entries come in; or destination, where they go");
    }
    if (in && ret_link->body.bytes == 0) {
        decode_wrong(decoder, spec, "entry", "body is missing: an expression, such as $.message");
    }
}
