/* apply_route.c - Route: its sources and destinations by name, its filters. */
#include "base/assert.h"
#include "base/json.h"
#include "hub/resources/apply_build.h"

#include <stdio.h>

static void write_ends(struct spec_writer *writer, const char *field, const char *name,
                       const struct resource_route_end *ends, unsigned count)
{
    spec_name(writer, field);
    buf_add_byte(writer->json, '[');
    for (unsigned i = 0; i < count; i++) {
        const struct resource_filters *types = &ends[i].types;
        buf_add_str(writer->json, i > 0 ? ",{" : "{");
        writer->filled = false;
        spec_text(writer, name, ends[i].name);
        for (unsigned k = 0; k < types->type_count; k++) {
            buf_add_str(writer->json, k > 0 ? "," : ",\"types\":[");
            json_add_string(writer->json, types->types[k]);
        }
        buf_add_str(writer->json, types->type_count > 0 ? "]}" : "}");
    }
    buf_add_byte(writer->json, ']');
    writer->filled = true;
}

/* Where an end's object is; a missing one is noted as a mistake. */
static enum bk_err find_end(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                            const struct resource_route_end *end, const char *path,
                            struct route_input_end *ret_end)
{
    *ret_end = (struct route_input_end){.name = end->name, .types = &end->types};
    enum bk_err err =
        apply_refer(apply, work, kind, end->name, end->place, path, &ret_end->canvas, NULL);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static enum bk_err route_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_route *route = &work->document->spec.route;
    struct route_input input = {
        .from_count = route->from_count, .to_count = route->to_count, .filters = &route->filters};
    struct spec_writer writer = {&apply->spec, false};
    enum bk_err err = BK_OK;
    char path[64];
    for (unsigned i = 0; err == BK_OK && i < route->from_count; i++) {
        snprintf(path, sizeof path, "spec.from[%u].source", i);
        err = find_end(apply, work, RESOURCE_EVENT_SOURCE, &route->from[i], path, &input.from[i]);
    }
    for (unsigned i = 0; err == BK_OK && i < route->to_count; i++) {
        snprintf(path, sizeof path, "spec.to[%u].destination", i);
        err = find_end(apply, work, RESOURCE_DESTINATION, &route->to[i], path, &input.to[i]);
    }
    if (err != BK_OK || work->failed) {
        return err;
    }
    buf_add_byte(&apply->spec, '{');
    write_ends(&writer, "from", "source", route->from, route->from_count);
    spec_filters(&writer, &route->filters);
    write_ends(&writer, "to", "destination", route->to, route->to_count);
    buf_add_byte(&apply->spec, '}');
    route_input_encode(&input, &apply->compiled);
    return BK_OK;
}

static enum bk_err route_refer(struct apply *apply, struct apply_work *work)
{
    const struct resource_route *route = &work->document->spec.route;
    enum bk_err err = BK_OK;
    char path[64];
    for (unsigned i = 0; err == BK_OK && i < route->from_count; i++) {
        snprintf(path, sizeof path, "spec.from[%u].source", i);
        err = apply_look_object(apply, work, RESOURCE_EVENT_SOURCE, route->from[i].name,
                                route->from[i].place, path);
    }
    for (unsigned i = 0; err == BK_OK && i < route->to_count; i++) {
        snprintf(path, sizeof path, "spec.to[%u].destination", i);
        err = apply_look_object(apply, work, RESOURCE_DESTINATION, route->to[i].name,
                                route->to[i].place, path);
    }
    return err;
}

static enum bk_err route_index(struct apply *apply, struct apply_work *work, uint64_t number)
{
    struct key key, value;
    if (apply->existed) {
        return BK_OK;
    }
    key_target(&key, number);
    return store_put(apply->txn, key_slice(&key),
                     address_value(work, resource_kind_info(work->kind)->key, SLICE_EMPTY, &value));
}

static enum bk_err route_unindex(struct apply *apply, struct apply_work *work)
{
    struct apply_target *target = apply_add_target(apply);
    (void)work;
    if (!target) {
        return BK_NO_MEMORY;
    }
    target->kind = RESOURCE_ROUTE;
    target->number = apply->old.number;
    target->removed = true;
    target->route = (struct route_change){.removed = true, .number = apply->old.number};
    return BK_OK;
}

static enum bk_err route_compile(struct apply *apply, struct slice canvas, struct slice name,
                                 struct apply_work *blame, bool own)
{
    struct record record;
    const char *message = NULL;
    enum bk_err err = hub_record(apply->txn, RESOURCE_ROUTE, canvas, name, &record);
    struct apply_target *target = err == BK_OK ? apply_add_target(apply) : NULL;
    if (!target) {
        return err == BK_OK ? BK_NO_MEMORY : err;
    }
    target->kind = RESOURCE_ROUTE;
    target->number = record.number;
    err = compile_route(&apply->compiler, &record, apply->arena, &target->route, &message);
    if (err == BK_OK) {
        return BK_OK;
    }
    apply->target_count--;
    if (err == BK_NO_MEMORY) {
        return err;
    }
    apply_wrong(apply, blame, blame->document->spec_place, "spec", "%s%s",
                own ? "" : "a route: ", message);
    return BK_OK;
}

const struct apply_kind apply_route_kind = {.build = route_build,
                                            .refer = route_refer,
                                            .index = route_index,
                                            .unindex = route_unindex,
                                            .compile = route_compile,
                                            .numbered = true};
