/* operation_text.c - an operation as JSON text, as it is stored and as the API shows it. */
#include "hub/operations/operation.h"

#include "base/assert.h"
#include "base/time.h"
#include "hub/hub_private.h"

#include <stdio.h>
#include <yyjson.h>

static const char *const intent_names[PROVIDER_INTENT_COUNT] = {
    [PROVIDER_CHECK] = "check",
    [PROVIDER_RESOURCE_CHECK] = "resource-check",
    [PROVIDER_HOOK_ENSURE] = "hook-ensure",
    [PROVIDER_HOOK_REMOVE] = "hook-remove",
    [PROVIDER_POST] = "post",
};
static const char *const state_names[] = {
    [OPERATION_PENDING] = "pending", [OPERATION_DONE] = "done", [OPERATION_FAILED] = "failed"};

const char *operation_intent_name(enum provider_intent intent)
{
    return intent_names[intent];
}

void operation_name(uint64_t number, char ret_name[OPERATION_NAME_BYTES])
{
    snprintf(ret_name, OPERATION_NAME_BYTES, "op-%llu", (unsigned long long)number);
}

bool operation_name_parse(struct slice name, uint64_t *ret_number)
{
    if (name.bytes < 4 || name.bytes > 23 || memcmp(name.at, "op-", 3) != 0) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 3; i < name.bytes; i++) {
        unsigned digit = (unsigned)name.at[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return number > 0;
}

/* ---- as it is stored */

static void add_text(struct buf *json, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        buf_printf(json, ",\"%s\":", name);
        json_add_string(json, text);
    }
}

static void add_memory(struct buf *json, const struct provider_memory *memory)
{
    buf_add_str(json, ",\"memory\":{");
    for (unsigned i = 0; i < memory->count; i++) {
        buf_add_str(json, i > 0 ? "," : "");
        json_add_string(json, memory->notes[i].name);
        buf_add_byte(json, ':');
        json_add_string(json, memory->notes[i].value);
    }
    buf_add_byte(json, '}');
}

static void add_facts(struct buf *json, const struct provider_facts *facts)
{
    buf_printf(json, ",\"facts\":{\"current\":%s", facts->key_is_current ? "true" : "false");
    add_text(json, "url", facts->url);
    add_text(json, "resourceType", facts->resource_type);
    add_text(json, "resource", facts->resource);
    add_text(json, "hookUrl", facts->hook_url);
    add_text(json, "hookName", facts->hook_name);
    add_text(json, "hookId", facts->hook_id);
    buf_add_byte(json, '}');
}

static void add_calls(struct buf *json, const struct operation *operation)
{
    buf_add_str(json, ",\"calls\":[");
    for (unsigned i = 0; i < operation->call_count; i++) {
        const struct operation_call_log *call = &operation->calls[i];
        buf_printf(json, "%s{\"at\":%lld,\"status\":%u,\"ms\":%u", i > 0 ? "," : "",
                   (long long)call->at_ns, call->status, call->took_ms);
        add_text(json, "method", call->method);
        add_text(json, "target", call->target);
        add_text(json, "why", call->why);
        buf_add_byte(json, '}');
    }
    buf_add_byte(json, ']');
}

void operation_encode(const struct operation *operation, struct buf *json)
{
    char id[HUB_ID_TEXT_BYTES];
    hub_id_text(operation->object, id);
    buf_printf(
        json,
        "{\"number\":%llu,\"intent\":%d,\"state\":%d,\"kind\":\"%s\",\"object\":\"%s\","
        "\"doubt\":%s,\"made\":%s,\"fault\":%d,\"attempts\":%u,\"created\":%lld,\"updated\":%lld,"
        "\"due\":%lld,\"late\":%lld",
        (unsigned long long)operation->number, (int)operation->intent, (int)operation->state,
        resource_kind_info(operation->kind)->name, id, operation->in_doubt ? "true" : "false",
        operation->made ? "true" : "false", (int)operation->fault, operation->attempts,
        (long long)operation->created_ns, (long long)operation->updated_ns,
        (long long)operation->due_ns, (long long)operation->late_ns);
    add_text(json, "canvas", operation->canvas);
    add_text(json, "name", operation->name);
    add_text(json, "integrationCanvas", operation->integration_canvas);
    add_text(json, "integration", operation->integration);
    add_text(json, "provider", operation->provider);
    add_text(json, "step", operation->step);
    add_text(json, "why", operation->why);
    add_text(json, "formerSpec", operation->former_spec);
    add_text(json, "formerBase", operation->former_base);
    add_text(json, "formerCredential", operation->former_credential);
    add_facts(json, &operation->facts);
    add_memory(json, &operation->memory);
    add_calls(json, operation);
    buf_add_byte(json, '}');
}

static struct slice text_of(yyjson_mut_val *object, const char *name)
{
    yyjson_mut_val *value = provider_get(object, name);
    return yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
}

static int64_t number_of(yyjson_mut_val *object, const char *name)
{
    return yyjson_mut_get_sint(provider_get(object, name));
}

static unsigned index_of(yyjson_mut_val *object, const char *name, unsigned count, bool *good)
{
    int64_t value = number_of(object, name);
    *good = *good && value >= 0 && value < (int64_t)count;
    return *good ? (unsigned)value : 0;
}

static void decode_facts(yyjson_mut_val *from, struct provider_facts *facts)
{
    facts->key_is_current = yyjson_mut_get_bool(provider_get(from, "current"));
    facts->url = text_of(from, "url");
    facts->resource_type = text_of(from, "resourceType");
    facts->resource = text_of(from, "resource");
    facts->hook_url = text_of(from, "hookUrl");
    facts->hook_name = text_of(from, "hookName");
    facts->hook_id = text_of(from, "hookId");
}

static void decode_memory(yyjson_mut_val *from, struct provider_memory *memory)
{
    size_t index, max;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(from, index, max, key, value)
    {
        if (memory->count < PROVIDER_MEMORY_MAX && yyjson_mut_is_str(value)) {
            memory->notes[memory->count++] =
                (struct provider_note){json_text(key), json_text(value)};
        }
    }
}

static void decode_calls(yyjson_mut_val *from, struct operation *operation)
{
    yyjson_mut_val *item;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(from, &iter);
    while ((item = yyjson_mut_arr_iter_next(&iter)) &&
           operation->call_count < OPERATION_CALLS_KEPT) {
        operation->calls[operation->call_count++] =
            (struct operation_call_log){.at_ns = number_of(item, "at"),
                                        .method = text_of(item, "method"),
                                        .target = text_of(item, "target"),
                                        .status = (uint16_t)number_of(item, "status"),
                                        .took_ms = (uint32_t)number_of(item, "ms"),
                                        .why = text_of(item, "why")};
    }
}

enum bk_err operation_decode(struct slice bytes, struct json_tree *tree,
                             struct operation *ret_operation)
{
    struct json_problem problem;
    if (json_parse(bytes, tree, &problem) != BK_OK || !yyjson_mut_is_obj(tree->roots[0])) {
        return BK_CORRUPT;
    }
    yyjson_mut_val *root = tree->roots[0];
    bool good = hub_id_parse(text_of(root, "object"), ret_operation->object);
    struct operation operation = {
        .number = yyjson_mut_get_uint(provider_get(root, "number")),
        .intent = (enum provider_intent)index_of(root, "intent", PROVIDER_INTENT_COUNT, &good),
        .state = (enum operation_state)index_of(root, "state", 3, &good),
        .in_doubt = yyjson_mut_get_bool(provider_get(root, "doubt")),
        .made = !yyjson_mut_is_false(provider_get(root, "made")), /* an older one does not say */
        .fault = (enum provider_fault)index_of(root, "fault", PROVIDER_FAULT_COUNT, &good),
        .attempts = (unsigned)number_of(root, "attempts"),
        .created_ns = number_of(root, "created"),
        .updated_ns = number_of(root, "updated"),
        .due_ns = number_of(root, "due"),
        .late_ns = number_of(root, "late"),
        .canvas = text_of(root, "canvas"),
        .name = text_of(root, "name"),
        .integration_canvas = text_of(root, "integrationCanvas"),
        .integration = text_of(root, "integration"),
        .provider = text_of(root, "provider"),
        .step = text_of(root, "step"),
        .why = text_of(root, "why"),
        .former_spec = text_of(root, "formerSpec"),
        .former_base = text_of(root, "formerBase"),
        .former_credential = text_of(root, "formerCredential"),
    };
    good = good && resource_kind_find(text_of(root, "kind"), &operation.kind);
    memcpy(operation.object, ret_operation->object, sizeof operation.object);
    decode_facts(provider_get(root, "facts"), &operation.facts);
    decode_memory(provider_get(root, "memory"), &operation.memory);
    decode_calls(provider_get(root, "calls"), &operation);
    *ret_operation = operation;
    return good && operation.number > 0 ? BK_OK : BK_CORRUPT;
}

/* ---- for the API */

static void add_time(struct buf *json, const char *name, int64_t wall_ns)
{
    char text[25];
    time_format_rfc3339(wall_ns, text);
    add_text(json, name, slice_str(text));
}

static void add_status(struct buf *json, const struct operation *operation)
{
    buf_printf(json, "\"status\":{\"state\":\"%s\",\"attempts\":%u", state_names[operation->state],
               operation->attempts);
    add_text(json, "step", operation->step);
    if (operation->due_ns != 0) {
        add_time(json, operation->state == OPERATION_DONE ? "nextCheckAt" : "nextAttemptAt",
                 operation->due_ns);
    }
    if (operation->fault != PROVIDER_FAULT_NONE) {
        add_text(json, "reason", slice_str(provider_fault_name(operation->fault)));
        add_text(json, "message", operation->why);
        add_text(
            json, "advice",
            slice_str(provider_fault_advice(provider_find(operation->provider), operation->fault)));
    }
    add_memory(json, &operation->memory);
    buf_add_str(json, ",\"calls\":[");
    for (unsigned i = 0; i < operation->call_count; i++) {
        const struct operation_call_log *call = &operation->calls[i];
        buf_printf(json, "%s{\"status\":%u,\"tookMs\":%u", i > 0 ? "," : "", call->status,
                   call->took_ms);
        add_time(json, "at", call->at_ns);
        add_text(json, "method", call->method);
        add_text(json, "target", call->target);
        add_text(json, "message", call->why);
        buf_add_byte(json, '}');
    }
    buf_add_str(json, "]}");
}

void operation_json(const struct operation *operation, struct buf *json)
{
    char name[OPERATION_NAME_BYTES], id[HUB_ID_TEXT_BYTES];
    operation_name(operation->number, name);
    hub_id_text(operation->object, id);
    buf_printf(json, "{\"apiVersion\":\"v1\",\"kind\":\"Operation\",\"metadata\":{\"name\":\"%s\"",
               name);
    add_text(json, "canvasId", operation->canvas);
    buf_printf(json, ",\"id\":\"%s\"", name);
    add_time(json, "createdAt", operation->created_ns);
    add_time(json, "updatedAt", operation->updated_ns);
    buf_printf(json, "},\"spec\":{\"intent\":\"%s\",\"object\":{\"kind\":\"%s\",\"id\":\"%s\"",
               intent_names[operation->intent], resource_kind_info(operation->kind)->name, id);
    add_text(json, "name", operation->name);
    buf_add_byte(json, '}');
    add_text(json, "integration", operation->integration);
    add_text(json, "provider", operation->provider);
    add_text(json, "resource", operation->facts.resource);
    add_text(json, "formerAddress", operation->former_base);
    buf_add_str(json, "},");
    add_status(json, operation);
    buf_add_byte(json, '}');
}
