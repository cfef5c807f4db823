/* decode.h - reading fields of a document, with every mistake noted; for resources/resource.c and
 * resources/decode_source.c only.
 *
 * Messages never repeat a value: it may be a secret in the wrong place.
 */
#ifndef BECKET_HUB_DECODE_H
#define BECKET_HUB_DECODE_H

#include "base/nearest.h"
#include "hub/resources/resource.h"

struct decoder {
    struct json_tree *tree;
    struct resource_problems *problems;
    size_t document;
};

/* An object and where it stands. A missing one has value NULL. Its path is put together only when
 * there is something to say, so the parent must live as long. */
struct decode_object {
    yyjson_mut_val *value;
    const struct decode_object *parent; /* NULL = the document itself */
    const char *name;                   /* in the parent: "limits", "[0]" */
    struct json_place place;
};

/* Note a mistake at the field `name` of an object (its place, or the object's when it is absent);
 * NULL = the object itself. */
__attribute__((format(printf, 4, 5))) void decode_wrong(struct decoder *decoder,
                                                        const struct decode_object *object,
                                                        const char *name, const char *format, ...);
/* Every field that is not in the NULL-terminated list is a mistake. */
void decode_known(struct decoder *decoder, const struct decode_object *object,
                  const char *const *known);
/* NULL when absent or null. */
yyjson_mut_val *decode_field(const struct decode_object *object, const char *name);
struct decode_object decode_inner(struct decoder *decoder, const struct decode_object *object,
                                  const char *name);
/* Empty when absent or wrong. An empty text is a mistake. */
struct slice decode_text(struct decoder *decoder, const struct decode_object *object,
                         const char *name);
/* "domainType" of metadata or of a reference. */
enum resource_domain decode_domain(struct decoder *decoder, const struct decode_object *object);
/* A secret's text: as above, but an empty value is kept out with its own message. */
struct slice decode_secret_text(struct decoder *decoder, const struct decode_object *object,
                                const char *name);
bool decode_number(struct decoder *decoder, const struct decode_object *object, const char *name,
                   uint64_t min, uint64_t max, uint64_t *ret_number);
/* Text ("300s") or a number of seconds. *ret_text is what to keep. False when absent or wrong. */
bool decode_duration(struct decoder *decoder, const struct decode_object *object, const char *name,
                     int64_t min_ns, int64_t max_ns, int64_t *ret_ns, struct slice *ret_text);

/* {value: …} or {valueFrom: {secret: {name, key}}}. */
void decode_secret_source(struct decoder *decoder, const struct decode_object *item,
                          struct resource_source_secret *ret_secret);
/* A list of these at `secrets`; returns how many. */
unsigned decode_secret_sources(struct decoder *decoder, const struct decode_object *object,
                               unsigned count_max, struct resource_source_secret **ret_secrets);
void decode_events(struct decoder *decoder, const struct decode_object *spec,
                   struct resource_event_source *ret_source);
void decode_destination(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_destination *ret_destination);
void decode_route(struct decoder *decoder, const struct decode_object *spec,
                  struct resource_route *ret_route);
void decode_integration(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_integration *ret_integration);
void decode_user(struct decoder *decoder, const struct decode_object *spec,
                 struct resource_user *ret_user);
void decode_team(struct decoder *decoder, const struct decode_object *spec,
                 struct resource_team *ret_team);
void decode_integration_user(struct decoder *decoder, const struct decode_object *spec,
                             struct resource_integration_user *ret_person);
void decode_integration_link(struct decoder *decoder, const struct decode_object *spec,
                             struct resource_integration_link *ret_link);
/* `integration` and `resource` of a source. */
void decode_source_integration(struct decoder *decoder, const struct decode_object *spec,
                               struct resource_event_source *source);
void decode_event_source(struct decoder *decoder, const struct decode_object *spec,
                         struct resource_event_source *ret_source);
/* The row of a `generic` source, with the defaults filled in. */
struct scheme_custom;
void source_custom(const struct resource_event_source *source, struct scheme_custom *ret_custom);

#endif
