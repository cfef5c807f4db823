/* apply_people.c - User, Team, IntegrationUser and IntegrationLink. */
#include "base/json.h"
#include "hub/links/link.h"
#include "hub/links/link_find.h"
#include "hub/links/link_index.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/provider_work.h"
#include "hub/people/people.h"
#include "hub/resources/apply_build.h"

#include <stdio.h>

#define LINK_OUT SLICE("out") /* of the reference to a team whose entries go out by the link */

static void write_ref(struct spec_writer *writer, const char *name, const struct resource_ref *ref)
{
    if (ref->name.bytes > 0) {
        spec_open(writer, name);
        spec_text(writer, "name", ref->name);
        spec_close(writer);
    }
}

/* A reference of the spec; ret_record may be NULL. A missing object is noted, *ret_canvas is empty
 * then. */
static enum bk_err refer(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                         const struct resource_ref *ref, const char *path, struct slice *ret_canvas,
                         struct record *ret_record)
{
    *ret_canvas = SLICE_EMPTY;
    if (ref->name.bytes == 0) {
        return BK_OK;
    }
    enum bk_err err =
        apply_refer(apply, work, kind, ref->name, ref->place, path, ret_canvas, ret_record);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* Of a document with mistakes. */
static enum bk_err look(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                        const struct resource_ref *ref, const char *path)
{
    return apply_look_object(apply, work, kind, ref->name, ref->place, path);
}

/* ---- User */

static enum bk_err user_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_user *user = &work->document->spec.user;
    struct spec_writer writer = {&apply->spec, false};
    buf_add_byte(&apply->spec, '{');
    spec_text(&writer, "fullName", user->full_name);
    spec_text(&writer, "email", user->email);
    buf_add_byte(&apply->spec, '}');
    return BK_OK;
}

const struct apply_kind apply_user_kind = {.build = user_build};

/* ---- Team */

static enum bk_err team_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_team *team = &work->document->spec.team;
    struct spec_writer writer = {&apply->spec, false};
    enum bk_err err = BK_OK;
    char path[64];
    buf_add_byte(&apply->spec, '{');
    spec_text(&writer, "title", team->title);
    for (unsigned i = 0; err == BK_OK && i < team->member_count; i++) {
        struct slice canvas;
        snprintf(path, sizeof path, "spec.members[%u]", i);
        err = refer(apply, work, RESOURCE_USER, &team->members[i], path, &canvas, NULL);
        if (i == 0) {
            spec_name(&writer, "members");
        }
        buf_add_str(&apply->spec, i == 0 ? "[" : ",");
        json_add_string(&apply->spec, team->members[i].name);
    }
    buf_add_str(&apply->spec, team->member_count > 0 ? "]}" : "}");
    return err;
}

static enum bk_err team_refer(struct apply *apply, struct apply_work *work)
{
    const struct resource_team *team = &work->document->spec.team;
    enum bk_err err = BK_OK;
    char path[64];
    for (unsigned i = 0; err == BK_OK && i < team->member_count; i++) {
        snprintf(path, sizeof path, "spec.members[%u]", i);
        err = look(apply, work, RESOURCE_USER, &team->members[i], path);
    }
    return err;
}

const struct apply_kind apply_team_kind = {.build = team_build, .refer = team_refer};

/* ---- IntegrationUser */

static void write_person(struct buf *json, const struct resource_integration_user *person,
                         struct slice provider)
{
    struct spec_writer writer = {json, false};
    buf_add_byte(json, '{');
    write_ref(&writer, "integration", &person->integration);
    write_ref(&writer, "user", &person->user);
    spec_text(&writer, "provider", provider);
    spec_text(&writer, "uid", person->uid);
    spec_text(&writer, "nickname", person->nickname);
    spec_text(&writer, "fullName", person->full_name);
    spec_text(&writer, "email", person->email);
    spec_text(&writer, "workspace", person->workspace);
    spec_text(&writer, "workspaceName", person->workspace_name);
    spec_text(&writer, "scopes", person->scopes);
    spec_text(&writer, "redirectUri", person->redirect_uri);
    spec_text(&writer, "expiresAt", person->expires_text);
    if (person->has_access) {
        spec_name(&writer, "accessToken");
        spec_secret(json, &person->access_token);
    }
    if (person->has_refresh) {
        spec_name(&writer, "refreshToken");
        spec_secret(json, &person->refresh_token);
    }
    buf_add_byte(json, '}');
}

static bool is_kept(bool given, const struct resource_source_secret *token)
{
    return given && token->inline_value && slice_equal(token->value, slice_str(RESOURCE_HIDDEN));
}

/* Of another integration, its tokens would go to that one's address: whoever says so, but
 * administrators, has to have them. */
static enum bk_err check_integration(struct apply *apply, struct apply_work *work,
                                     struct slice integration_canvas)
{
    const struct resource_integration_user *person = &work->document->spec.person;
    struct people_input before;
    struct integration_view view; /* of any spec */
    if (!apply->options->below_admin || !apply->existed ||
        !(is_kept(person->has_access, &person->access_token) ||
          is_kept(person->has_refresh, &person->refresh_token))) {
        return BK_OK;
    }
    enum bk_err err = people_input_decode(apply->old.compiled, &before);
    if (err == BK_OK) {
        err = integration_view_open(apply->old.spec, &view);
    }
    if (err != BK_OK) {
        return err;
    }
    struct slice name = integration_text(&view, "integration/name");
    if (!slice_equal(name, person->integration.name) ||
        !slice_equal(before.integration_canvas, integration_canvas)) {
        struct buf json;
        buf_init(&json, 65536);
        apply_add_attempt(&json, "spec/integration/name", name, person->integration.name);
        apply_add_attempt(&json, "spec/integration/canvas", before.integration_canvas,
                          integration_canvas);
        err = apply_refuse(apply, work, &json,
                           "IntegrationUser \"%.*s\": another integration would send its tokens "
                           "elsewhere: give them again, or use a token of role admin",
                           (int)work->name.bytes, (const char *)work->name.at);
        buf_fini(&json);
    }
    integration_view_close(&view);
    return err;
}

static enum bk_err person_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration_user *person = &work->document->spec.person;
    struct slice integration_canvas, canvas, provider = person->provider;
    struct source_secret secret;
    struct record record;
    struct arena *arena = apply->arena;
    enum bk_err err = refer(apply, work, RESOURCE_INTEGRATION, &person->integration,
                            "spec.integration", &integration_canvas, &record);
    if (err == BK_OK && integration_canvas.bytes > 0) {
        struct slice type;
        err = provider_work_type(record.spec, arena, &type);
        if (err == BK_OK && provider.bytes > 0 && !slice_equal(provider, type)) {
            apply_wrong(apply, work, work->document->spec_place, "spec.provider",
                        "the integration's type is another one");
        }
        provider = type;
    }
    if (err == BK_OK && integration_canvas.bytes > 0) {
        err = check_integration(apply, work, integration_canvas);
    }
    if (err == BK_OK) {
        err = refer(apply, work, RESOURCE_USER, &person->user, "spec.user", &canvas, NULL);
    }
    if (err == BK_OK && person->has_access) {
        err = apply_secret_source(apply, work, &person->access_token, PEOPLE_ACCESS,
                                  "spec.accessToken", &secret);
    }
    if (err == BK_OK && person->has_refresh) {
        err = apply_secret_source(apply, work, &person->refresh_token, PEOPLE_REFRESH,
                                  "spec.refreshToken", &secret);
    }
    if (err == BK_OK) {
        write_person(&apply->spec, person, provider);
        people_input_encode(&(struct people_input){.integration_canvas = integration_canvas,
                                                   .expires_ns = person->expires_ns,
                                                   .refreshes = person->has_refresh},
                            &apply->compiled);
    }
    return err;
}

static enum bk_err person_refer(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration_user *person = &work->document->spec.person;
    enum bk_err err =
        look(apply, work, RESOURCE_INTEGRATION, &person->integration, "spec.integration");
    return err == BK_OK ? look(apply, work, RESOURCE_USER, &person->user, "spec.user") : err;
}

static enum bk_err person_index(struct apply *apply, struct apply_work *work, uint64_t number)
{
    (void)number;
    return people_changed(apply, work);
}

static enum bk_err person_unindex(struct apply *apply, struct apply_work *work)
{
    return people_removed(apply, work);
}

const struct apply_kind apply_person_kind = {
    .build = person_build, .refer = person_refer, .index = person_index, .unindex = person_unindex};

/* ---- IntegrationLink */

static void write_link(struct buf *json, const struct resource_integration_link *link)
{
    struct spec_writer writer = {json, false};
    buf_add_byte(json, '{');
    spec_text(&writer, "type", slice_str(link->type->name));
    write_ref(&writer, "integration", &link->integration);
    write_ref(&writer, "team", &link->team);
    write_ref(&writer, "user", &link->user);
    write_ref(&writer, "source", &link->source);
    write_ref(&writer, "destination", &link->destination);
    if (link->setting_count > 0) {
        spec_open(&writer, "settings");
        for (unsigned i = 0; i < link->setting_count; i++) {
            const struct link_field *field = link_field_find(link->type, link->settings[i].name);
            spec_text(&writer, field->name, link->settings[i].value);
        }
        spec_close(&writer);
    }
    struct slice rest = link->statuses;
    for (unsigned i = 0; rest.bytes > 0; i++) {
        size_t end = slice_find(rest, ' ');
        if (i == 0) {
            spec_name(&writer, "statuses");
        }
        buf_add_str(json, i == 0 ? "[" : ",");
        json_add_string(json, slice_of(rest.at, end));
        rest = slice_skip(rest, end + 1);
        buf_add_str(json, rest.bytes == 0 ? "]" : "");
    }
    if (link->body.bytes > 0 || link->author.bytes > 0 || link->when.bytes > 0) {
        spec_open(&writer, "entry");
        spec_text(&writer, "body", link->body);
        spec_text(&writer, "author", link->author);
        spec_text(&writer, "when", link->when);
        spec_close(&writer);
    }
    buf_add_byte(json, '}');
}

/* The integration must be of the link's type. */
static enum bk_err link_integration(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration_link *link = &work->document->spec.link;
    struct slice canvas, type;
    struct record record;
    enum bk_err err = refer(apply, work, RESOURCE_INTEGRATION, &link->integration,
                            "spec.integration", &canvas, &record);
    if (err == BK_OK && canvas.bytes > 0) {
        err = provider_work_type(record.spec, apply->arena, &type);
        if (err == BK_OK && !slice_equal(type, slice_str(link->type->name))) {
            apply_wrong(apply, work, link->integration.place, "spec.integration",
                        "Integration \"%.*s\" is of type %.*s", (int)link->integration.name.bytes,
                        (const char *)link->integration.name.at, (int)type.bytes,
                        (const char *)type.at);
        }
    }
    return err;
}

/* ---- no more links of one than are looked at when an entry comes or goes */

struct others {
    const struct apply_work *work;
    size_t skip;
    unsigned count;
};

static void count_other(struct others *others, struct slice canvas, struct slice name)
{
    others->count +=
        !slice_equal(name, others->work->name) || !slice_equal(canvas, others->work->canvas);
}

static bool count_user(void *context, struct slice key, struct slice value)
{
    struct others *others = context;
    struct slice canvas, name;
    (void)value;
    if (hub_split(slice_skip(key, others->skip), &canvas, &name)) {
        count_other(others, canvas, name);
    }
    return others->count < LINKS_OF_ONE_MAX;
}

static bool count_named(void *context, struct slice name)
{
    struct others *others = context;
    count_other(others, others->work->canvas, name);
    return others->count < LINKS_OF_ONE_MAX;
}

static void refuse_more(struct apply *apply, struct apply_work *work, const struct others *others,
                        const char *path, struct slice name)
{
    if (others->count >= LINKS_OF_ONE_MAX) {
        apply_wrong(apply, work, work->document->spec_place, path,
                    "\"%.*s\" has %u links already, which is the most there may be",
                    (int)(name.bytes < 100 ? name.bytes : 100), (const char *)name.at,
                    LINKS_OF_ONE_MAX);
    }
}

/* Of a team only those count by which its entries go out. */
static enum bk_err check_room(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                              struct slice canvas, struct slice name, const char *path)
{
    struct others others = {.work = work};
    struct key prefix;
    uint8_t user = resource_kind_info(RESOURCE_INTEGRATION_LINK)->key;
    if (kind == RESOURCE_TEAM) {
        key_ways_out(&prefix, canvas, name);
        apply->references[apply->reference_count - 1].key = LINK_OUT;
    } else {
        key_users(&prefix, resource_kind_info(kind)->key, canvas, name);
        key_add(&prefix, &user, 1);
    }
    others.skip = prefix.bytes;
    enum bk_err err = store_walk(apply->txn, key_slice(&prefix), SLICE_EMPTY, count_user, &others);
    refuse_more(apply, work, &others, path, name);
    return err;
}

static bool goes_out(const struct resource_integration_link *link)
{
    return link->type->posts || link->destination.name.bytes > 0;
}

/* Events at a provider-wide address find their links by the repository. */
static enum bk_err check_repository(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration_link *link = &work->document->spec.link;
    struct others others = {.work = work};
    struct slice repository = SLICE_EMPTY;
    char path[64];
    if (!link->type->makes_hook) {
        return BK_OK;
    }
    for (unsigned i = 0; i < link->setting_count; i++) {
        if (slice_equal(link->settings[i].name, slice_str(link->type->resource_setting))) {
            repository = link->settings[i].value;
        }
    }
    enum bk_err err = type_index_links_to(apply->txn, work->canvas, slice_str(link->type->name),
                                          repository, count_named, &others);
    snprintf(path, sizeof path, "spec.settings.%s", link->type->resource_setting);
    refuse_more(apply, work, &others, path, repository);
    return err;
}

static enum bk_err link_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration_link *link = &work->document->spec.link;
    struct slice canvas;
    char source[NAME_BYTES_MAX + 1];
    struct resource_ref own = link->source;
    if (link->type->makes_hook) {
        if (!link_source_name(work->name, source)) {
            apply_wrong(apply, work, work->document->place, "metadata.name",
                        "must be at most %zu characters: the link's source is called link-…",
                        NAME_BYTES_MAX - sizeof LINK_SOURCE_PREFIX + 1);
            return BK_OK;
        }
        char *kept = arena_string(apply->arena, source);
        own.name = slice_str(kept ? kept : "");
    }
    enum bk_err err = link_integration(apply, work);
    const struct {
        enum resource_kind kind;
        const struct resource_ref *ref;
        const char *path;
    } refs[] = {{RESOURCE_TEAM, &link->team, "spec.team"},
                {RESOURCE_USER, &link->user, "spec.user"},
                {RESOURCE_EVENT_SOURCE, &own, "spec.source"},
                {RESOURCE_DESTINATION, &link->destination, "spec.destination"}};
    for (unsigned i = 0; err == BK_OK && i < sizeof refs / sizeof refs[0]; i++) {
        bool counts = refs[i].kind == RESOURCE_EVENT_SOURCE ||
                      (refs[i].kind == RESOURCE_TEAM && goes_out(link));
        err = refer(apply, work, refs[i].kind, refs[i].ref, refs[i].path, &canvas, NULL);
        if (err == BK_OK && canvas.bytes > 0 && counts) {
            err = check_room(apply, work, refs[i].kind, canvas, refs[i].ref->name, refs[i].path);
        }
    }
    if (err == BK_OK) {
        err = check_repository(apply, work);
    }
    if (err == BK_OK) {
        write_link(&apply->spec, link);
    }
    return err == BK_OK && apply->arena->overflow ? BK_NO_MEMORY : err;
}

static enum bk_err link_refer(struct apply *apply, struct apply_work *work)
{
    const struct resource_integration_link *link = &work->document->spec.link;
    const struct {
        enum resource_kind kind;
        const struct resource_ref *ref;
        const char *path;
    } refs[] = {{RESOURCE_INTEGRATION, &link->integration, "spec.integration"},
                {RESOURCE_TEAM, &link->team, "spec.team"},
                {RESOURCE_USER, &link->user, "spec.user"},
                {RESOURCE_EVENT_SOURCE, &link->source, "spec.source"},
                {RESOURCE_DESTINATION, &link->destination, "spec.destination"}};
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < sizeof refs / sizeof refs[0]; i++) {
        err = look(apply, work, refs[i].kind, refs[i].ref, refs[i].path);
    }
    return err;
}

static enum bk_err link_index(struct apply *apply, struct apply_work *work, uint64_t number)
{
    (void)number;
    return people_link_changed(apply, work);
}

static enum bk_err link_unindex(struct apply *apply, struct apply_work *work)
{
    return people_link_removed(apply, work);
}

const struct apply_kind apply_link_kind = {
    .build = link_build, .refer = link_refer, .index = link_index, .unindex = link_unindex};
