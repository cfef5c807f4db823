/* dispatch_chunks.c - events on their way to a core: chunks of them, with the names that go along.
 */
#include "base/time.h"
#include "hub/deliveries/dispatch_private.h"
#include "providers/scheme.h"

#include <stdlib.h>

const struct source_name *dispatch_source(struct dispatch *dispatch, uint64_t number)
{
    struct source_name *slot = &dispatch->names[number % DISPATCH_NAMES];
    if (slot->number != number) {
        *slot = (struct source_name){.number = number};
        if (hub_source_name(dispatch->config.hub, number, &slot->name) == BK_OK) {
            slot->constant_type =
                scheme_row_constant_type(scheme_row_find(slice_str(slot->name.type)));
        }
    }
    return slot;
}

void dispatch_source_changed(struct dispatch *dispatch, uint64_t source)
{
    struct source_name *slot = &dispatch->names[source % DISPATCH_NAMES];
    if (slot->number == source) {
        slot->number = 0;
    }
}

struct event_chunk *chunk_take(struct dispatch *dispatch)
{
    struct list *node = list_pop_front(&dispatch->chunks);
    struct event_chunk *chunk = node ? bk_container_of(node, struct event_chunk, node) : NULL;
    if (!chunk && dispatch->chunk_count < DISPATCH_CHUNKS) {
        chunk = calloc(1, sizeof *chunk);
        if (chunk) {
            dispatch->all_chunks[dispatch->chunk_count++] = chunk;
        }
    }
    if (chunk) {
        chunk->dispatch = dispatch;
        chunk->count = 0;
        chunk->bytes = 0;
    }
    return chunk;
}

void chunk_give(struct dispatch *dispatch, struct event_chunk *chunk)
{
    if (chunk->bytes_max > DISPATCH_CHUNK_BYTES) { /* one large event should not stay for ever */
        free(chunk->at);
        chunk->at = NULL;
        chunk->bytes_max = 0;
    }
    list_push_back(&dispatch->chunks, &chunk->node);
}

static bool chunk_reserve(struct event_chunk *chunk, size_t bytes)
{
    if (chunk->bytes + bytes <= chunk->bytes_max) {
        return true;
    }
    if (chunk->count > 0) {
        return false;
    }
    free(chunk->at);
    chunk->bytes_max = bytes > DISPATCH_CHUNK_BYTES ? bytes : DISPATCH_CHUNK_BYTES;
    chunk->at = malloc(chunk->bytes_max);
    chunk->bytes_max = chunk->at ? chunk->bytes_max : 0;
    return chunk->at != NULL;
}

static uint32_t chunk_put(struct event_chunk *chunk, const void *at, size_t bytes)
{
    size_t to = chunk->bytes;
    if (bytes > 0) {
        memcpy(chunk->at + to, at, bytes);
    }
    chunk->bytes += bytes;
    return (uint32_t)to;
}

struct chunk_event *chunk_add(struct dispatch *dispatch, struct event_chunk *chunk,
                              const struct journal_record *record)
{
    const struct source_name *source = dispatch_source(dispatch, record->entry.source);
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    struct slice type = event_type_of(&record->entry, record->message, source->constant_type, room);
    size_t message = (size_t)record->entry.head_bytes + record->entry.body_bytes;
    size_t name = strlen(source->name.name);
    if (chunk->count == CHUNK_EVENTS_MAX || !chunk_reserve(chunk, message + name + type.bytes)) {
        return NULL;
    }
    struct chunk_event *event = &chunk->events[chunk->count++];
    *event = (struct chunk_event){.position = journal_position_pack(record->position),
                                  .entry = record->entry,
                                  .message_at = chunk_put(chunk, record->message, message),
                                  .source_at = chunk_put(chunk, source->name.name, name),
                                  .source_bytes = (uint32_t)name,
                                  .type_at = chunk_put(chunk, type.at, type.bytes),
                                  .type_bytes = (uint32_t)type.bytes};
    return event;
}

void dispatch_chunk_back(struct ring_mail *mail)
{
    struct event_chunk *chunk = bk_container_of(mail, struct event_chunk, mail);
    struct dispatch *dispatch = chunk->dispatch;
    for (unsigned i = 0; i < chunk->count; i++) {
        const struct chunk_event *event = &chunk->events[i];
        if (event->destination != 0 && event->refused) {
            struct fare *fare = fare_find(dispatch, event->destination);
            dispatch_flying_end(dispatch, event->destination, event->position);
            if (fare) {
                fare->next_due_ms = INT64_MIN;
                fare->not_before_ns =
                    ring_now_ns(dispatch->config.ring) + 100 * (uint64_t)NS_PER_MS;
                due_changed(dispatch, fare, 0);
            }
        }
    }
    chunk_give(dispatch, chunk);
}
