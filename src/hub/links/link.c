#include "hub/links/link.h"

#include "hub/hub_private.h"
#include "providers/provider.h"

#include <stdio.h>
#include <yyjson.h>

static const struct link_field repository_fields[] = {
    {"repository", "Repository", "name or owner/name, as in the address of its page", true},
    {0},
};
static const struct link_field project_fields[] = {
    {"project", "Project", "group/name, as in the address of its page", true},
    {0},
};
static const struct link_field slack_fields[] = {
    {"channel", "Channel", "#name or id; the app must be in it", true},
    {0},
};
static const struct link_field discord_fields[] = {
    {"channel", "Channel", "its id (developer mode, copy channel id)", true},
    {0},
};
static const struct link_field no_fields[] = {{0}};

static const char *const repository_events[] = {"push", "issues", "pull_request", NULL};
static const char *const project_events[] = {"push", "issue", "merge_request", NULL};

/* Who keeps code: what differs is what they call things. */
#define CODE_LINK(type, shown, thing, merged, wanted)                                              \
    {                                                                                              \
        .name = type, .title = shown,                                                              \
        .about = "Commits, closed issues and merged " merged " of a " thing " become entries.",    \
        .for_team = true, .integration = true, .makes_hook = true, .resource_type = thing,         \
        .resource_setting = thing, .events = wanted##_events, .fields = wanted##_fields,           \
        .summary =                                                                                 \
            "Commits, closed issues and merged " merged " of {" thing "} become entries of "       \
            "{owner}."                                                                             \
    }

const struct link_type link_types[] = {
    CODE_LINK("github", "GitHub", "repository", "pull requests", repository),
    CODE_LINK("gitlab", "GitLab", "project", "requests", project),
    CODE_LINK("gitea", "Gitea", "repository", "pull requests", repository),
    {.name = "slack",
     .title = "Slack",
     .about = "New entries of a team are posted to a channel; what people write with the command "
              "becomes entries.",
     .for_team = true,
     .integration = true,
     .posts = true,
     .channel_setting = "channel",
     .fields = slack_fields,
     .summary = "New entries of {owner} are posted to {channel}."},
    {.name = "discord",
     .title = "Discord",
     .about = "New entries of a team are posted to a channel.",
     .for_team = true,
     .integration = true,
     .posts = true,
     .channel_setting = "channel",
     .fields = discord_fields,
     .summary = "New entries of {owner} are posted to channel {channel}."},
    {.name = "generic",
     .title = "Generic",
     .about =
         "Events of any source become entries, by expressions; new entries of a team go to any "
         "destination.",
     .for_team = true,
     .for_user = true,
     .fields = no_fields,
     .summary = "Events of {source} become entries of {owner}."},
};
const size_t link_type_count = sizeof link_types / sizeof link_types[0];

const struct link_type *link_type_find(struct slice name)
{
    const struct provider *provider = provider_find(name);
    if (slice_equal_nocase(name, SLICE("TYPE_GENERIC")) ||
        slice_equal_nocase(name, SLICE("generic"))) {
        name = SLICE("generic");
    } else {
        name = slice_str(provider ? provider->name : "");
    }
    for (size_t i = 0; i < link_type_count; i++) {
        if (slice_equal(slice_str(link_types[i].name), name)) {
            return &link_types[i];
        }
    }
    return NULL;
}

const struct link_field *link_field_find(const struct link_type *type, struct slice name)
{
    for (const struct link_field *field = type->fields; field->name; field++) {
        if (slice_equal(slice_str(field->name), name)) {
            return field;
        }
    }
    return NULL;
}

void link_summary(const struct link_type *type, struct slice owner, link_value_fn *value,
                  void *context, struct buf *text)
{
    bool in = type->integration || value(context, "source").bytes > 0;
    for (const char *at = type->summary; in && *at; at++) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;
        char name[32];
        if (!end || (size_t)(end - at) > sizeof name) {
            buf_add_byte(text, (uint8_t)*at);
            continue;
        }
        memcpy(name, at + 1, (size_t)(end - at - 1));
        name[end - at - 1] = '\0';
        buf_add_slice(text, strcmp(name, "owner") == 0 ? owner : value(context, name));
        at = end;
    }
    struct slice source = type->posts ? value(context, "source") : SLICE_EMPTY;
    if (source.bytes > 0) {
        buf_printf(text, " What comes in at %.*s becomes entries.", (int)source.bytes,
                   (const char *)source.at);
    }
    struct slice destination = value(context, "destination");
    if (destination.bytes > 0) {
        buf_printf(text, "%sNew entries of %.*s go to destination %.*s.", in ? " " : "",
                   (int)owner.bytes, (const char *)owner.at, (int)destination.bytes,
                   (const char *)destination.at);
    }
}

bool link_source_name(struct slice link, char ret_name[NAME_BYTES_MAX + 1])
{
    int bytes = snprintf(ret_name, NAME_BYTES_MAX + 1, LINK_SOURCE_PREFIX "%.*s", (int)link.bytes,
                         (const char *)link.at);
    return bytes > 0 && (size_t)bytes <= NAME_BYTES_MAX;
}

static struct slice setting(const struct resource_integration_link *link, const char *name)
{
    for (unsigned i = 0; i < link->setting_count; i++) {
        if (slice_equal(link->settings[i].name, slice_str(name))) {
            return link->settings[i].value;
        }
    }
    return SLICE_EMPTY;
}

yyjson_mut_val *link_source_document(const struct resource_document *document,
                                     struct json_tree *tree)
{
    const struct resource_integration_link *link = &document->spec.link;
    char name[NAME_BYTES_MAX + 1];
    yyjson_mut_val *root = json_new_object(tree), *metadata = json_new_object(tree);
    yyjson_mut_val *spec = json_new_object(tree), *integration = json_new_object(tree);
    yyjson_mut_val *resource = json_new_object(tree), *events = json_new_array(tree);
    bool good = root && metadata && spec && integration && resource && events;
    if (!link_source_name(document->name, name)) {
        name[0] = '\0'; /* apply_people.c has said so */
    }
    good = good && json_set(tree, root, "kind", json_new_string(tree, SLICE("EventSource"))) &&
           json_set(tree, metadata, "name", json_new_string(tree, slice_str(name))) &&
           json_set(tree, root, "metadata", metadata) && json_set(tree, root, "spec", spec) &&
           json_set(tree, integration, "name", json_new_string(tree, link->integration.name)) &&
           json_set(tree, spec, "integration", integration) &&
           json_set(tree, resource, "type",
                    json_new_string(tree, slice_str(link->type->resource_type))) &&
           json_set(tree, resource, "name",
                    json_new_string(tree, setting(link, link->type->resource_setting))) &&
           json_set(tree, spec, "resource", resource);
    for (const char *const *event = link->type->events; good && event && *event; event++) {
        yyjson_mut_val *item = json_new_object(tree);
        good = item && json_set(tree, item, "type", json_new_string(tree, slice_str(*event))) &&
               yyjson_mut_arr_append(events, item);
    }
    good = good && json_set(tree, spec, "events", events);
    return good ? root : NULL;
}

bool link_owns(struct store_txn *txn, struct slice canvas, struct slice source)
{
    struct slice prefix = SLICE(LINK_SOURCE_PREFIX);
    struct record record;
    return slice_starts(source, prefix) &&
           hub_record(txn, RESOURCE_INTEGRATION_LINK, canvas, slice_skip(source, prefix.bytes),
                      &record) == BK_OK;
}
