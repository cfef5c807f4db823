#include "hub/ingress/record.h"

#include "base/time.h"

static uint32_t offset_in(const struct http_message *message, struct slice part)
{
    size_t whole = message->head->head_bytes + message->body.bytes;
    bool inside = part.bytes && part.at >= message->head->at &&
                  part.at + part.bytes <= message->head->at + whole;
    return inside ? (uint32_t)(part.at - message->head->at) : 0;
}

static void place(const struct http_message *message, struct slice part, size_t bytes_max,
                  uint32_t *ret_at, uint16_t *ret_bytes)
{
    *ret_at = offset_in(message, part);
    *ret_bytes = *ret_at ? (uint16_t)(part.bytes < bytes_max ? part.bytes : bytes_max) : 0;
}

void record_entry(const struct intake *intake, enum journal_record_type type,
                  struct journal_entry *ret_entry)
{
    const struct http_message *message = intake->message;
    *ret_entry = (struct journal_entry){
        .type = type,
        .flags = message->decoded ? JOURNAL_BODY_DECODED : 0,
        .source = intake->source->number,
        .received_ns = intake->wall_ns,
        .fingerprint = {intake->fingerprint[0], intake->fingerprint[1]},
        .peer = message->peer,
        .head_bytes = message->head->head_bytes,
        .body_bytes = (uint32_t)message->body.bytes,
    };
    place(message, intake->identity.type, EVENT_TYPE_BYTES_MAX, &ret_entry->type_at,
          &ret_entry->type_bytes);
    place(message, intake->identity.delivery_id, DELIVERY_ID_BYTES_MAX, &ret_entry->id_at,
          &ret_entry->id_bytes);
    for (unsigned i = 0; i < intake->identity.more_count; i++) {
        struct journal_type_part *part = &ret_entry->type_more[i];
        part->joint = intake->identity.more[i].joint;
        place(message, intake->identity.more[i].text, EVENT_TYPE_BYTES_MAX, &part->at,
              &part->bytes);
    }
}

static void forget_outside(uint64_t message_bytes, uint32_t *at, uint16_t *bytes)
{
    if ((uint64_t)*at + *bytes > message_bytes) {
        *at = 0;
        *bytes = 0;
    }
}

void record_forget_cut(struct journal_entry *entry)
{
    uint64_t bytes = (uint64_t)entry->head_bytes + entry->body_bytes;
    forget_outside(bytes, &entry->type_at, &entry->type_bytes);
    /* Half of a type would be another one. */
    for (unsigned i = 0; i < JOURNAL_TYPE_MORE; i++) {
        const struct journal_type_part *part = &entry->type_more[i];
        if ((uint64_t)part->at + part->bytes > bytes) {
            entry->type_at = 0;
            entry->type_bytes = 0;
        }
    }
    if (entry->type_bytes == 0) {
        memset(entry->type_more, 0, sizeof entry->type_more);
    }
    forget_outside(bytes, &entry->id_at, &entry->id_bytes);
}

void record_entry_duplicate(const struct intake *intake, const struct dedupe_claim *claim,
                            struct journal_entry *ret_entry)
{
    record_entry(intake, JOURNAL_DUPLICATE, ret_entry);
    ret_entry->original = journal_position_pack(claim->first);
    ret_entry->original_ns = claim->first_received_ms * NS_PER_MS;
    ret_entry->body_bytes = 0;
    record_forget_cut(ret_entry);
}

enum bk_err record_append_large(struct ingress *ingress, struct http_exchange *exchange,
                                const struct intake *intake, const struct journal_entry *entry,
                                uint64_t *ret_sequence)
{
    struct journal_redaction redactions[RECORD_REDACTIONS_MAX];
    unsigned count = record_redactions(intake, redactions);
    size_t buffer_bytes;
    uint8_t *buffer = http_take_buffer(exchange, &buffer_bytes);
    bk_assert(buffer); /* over JOURNAL_SMALL_BYTES_MAX it cannot be in a receive buffer */
    uint8_t *message = buffer + HTTP_BUFFER_MESSAGE_AT;
    uint8_t saved[HTTP_HEAD_BYTES_MAX];
    size_t saved_bytes = intake->message->head->head_bytes;
    memcpy(saved, message, saved_bytes);
    for (unsigned i = 0; i < count; i++) {
        memset(message + redactions[i].at, '*', redactions[i].bytes);
    }
    enum bk_err err =
        journal_append_large(ingress->journal, entry, buffer, buffer_bytes, ret_sequence);
    if (err != BK_OK) {
        memcpy(message, saved, saved_bytes);
        http_return_buffer(exchange, buffer, buffer_bytes);
    } else {
        exchange->handler_buffer = buffer;
        exchange->handler_buffer_bytes = buffer_bytes;
    }
    explicit_bzero(saved, saved_bytes);
    return err;
}
