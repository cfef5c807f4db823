/* journal_record_fuzz - journal frames. The first byte chooses: any bytes taken as a frame, with
 * checksums made right or left as they are, never lead a walk outside; and records written from the
 * input are read back the same, while any flipped byte of them is noticed. */
#include "base/assert.h"
#include "base/crc32c.h"
#include "journal/format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t uuid[2] = {0x1122334455667788ULL, 0x99aabbccddeeff00ULL};

/* Make the frame's header acceptable, so that what is behind it is reached. */
static void mend_header(uint8_t *frame_bytes, size_t size, uint32_t seed)
{
    struct format_frame *frame = (struct format_frame *)(void *)frame_bytes;
    frame->magic = FORMAT_FRAME_MAGIC;
    frame->uuid_low = uuid[0];
    frame->bytes = (uint32_t)size;
    (void)format_frame_seal(frame, seed);
}

/* Records may have any lengths and any CRC; with `mend` their CRCs are right. */
static void walk_all(uint8_t *bytes, const struct format_frame *frame, uint32_t seed, bool mend)
{
    struct format_walk walk;
    const struct format_record *record;
    uint32_t count = 0;
    format_walk_begin(&walk, frame, frame->bytes, seed);
    for (;;) {
        const struct format_record *next =
            (const struct format_record *)(const void *)(bytes + walk.offset);
        uint64_t left = frame->bytes - walk.offset;
        if (mend && walk.left > 0 && left >= sizeof *next) {
            uint64_t message = (uint64_t)next->head_bytes + next->body_bytes;
            if (sizeof *next + message <= left) {
                uint32_t crc =
                    crc32c(seed, (const uint8_t *)next + 4, sizeof *next + (size_t)message - 4);
                memcpy(bytes + walk.offset, &crc, sizeof crc);
            }
        }
        if (format_walk_next(&walk, true, &record) != BK_OK) {
            break;
        }
        count++;
        struct journal_entry entry;
        format_record_entry(record, &entry);
        const uint8_t *message = (const uint8_t *)(record + 1);
        size_t message_bytes = (size_t)entry.head_bytes + entry.body_bytes;
        bk_assert(message >= bytes && message + message_bytes <= bytes + frame->bytes);
        bk_assert((size_t)entry.type_at + entry.type_bytes <= message_bytes);
        bk_assert((size_t)entry.id_at + entry.id_bytes <= message_bytes);
        uint8_t room[EVENT_TYPE_BYTES_MAX];
        struct slice type = journal_event_type(&entry, message, room);
        bk_assert(type.at == room ? type.bytes <= sizeof room : type.bytes == entry.type_bytes);
    }
    bk_assert(count <= frame->record_count);
    bk_assert(walk.offset <= frame->bytes);
}

static void take_apart(const uint8_t *data, size_t size, uint8_t how)
{
    uint32_t seed = format_seed(uuid);
    if (size < sizeof(struct format_frame)) {
        return;
    }
    uint8_t *bytes = malloc(size); /* exactly, so that a read behind it is seen */
    bk_assert(bytes != NULL);
    memcpy(bytes, data, size);
    if (how & 2) {
        mend_header(bytes, size, seed);
    }
    const struct format_frame *frame = (const struct format_frame *)(const void *)bytes;
    if (format_frame_check(frame, uuid[0], seed) && frame->bytes <= size) {
        (void)format_frame_verify(frame, seed);
        walk_all(bytes, frame, seed, (how & 4) != 0);
    }
    free(bytes);
    if (size >= sizeof(struct format_segment)) {
        struct format_segment block;
        memcpy(&block, data, sizeof block);
        block.magic = how & 2 ? FORMAT_SEGMENT_MAGIC : block.magic;
        block.crc = how & 2 ? crc32c(0, &block, offsetof(struct format_segment, crc)) : block.crc;
        if (format_segment_check(&block) == BK_OK) {
            bk_assert(block.version >= 1 && block.version <= FORMAT_VERSION && block.number > 0);
            bk_assert(block.journal < FORMAT_JOURNALS_MAX);
        }
    }
}

/* The name of a segment file: what parses is spelled again the same. */
static void take_name(const uint8_t *data, size_t size)
{
    char name[64] = {0};
    memcpy(name, data, size < sizeof name - 1 ? size : sizeof name - 1);
    uint16_t journal;
    uint64_t number;
    if (format_name_parse(name, ".log", &journal, &number)) {
        char again[FORMAT_NAME_BYTES];
        format_name(again, journal, number, ".log");
        bk_assert(strcmp(again, name) == 0);
    }
}

#define FRAME_BYTES 65536U

/* Each record: two bytes of length, one of type, then the message. */
static uint32_t build(uint8_t *bytes, const uint8_t *data, size_t size, uint32_t seed)
{
    struct format_frame *frame = (struct format_frame *)(void *)bytes;
    memset(frame, 0, sizeof *frame);
    frame->magic = FORMAT_FRAME_MAGIC;
    frame->uuid_low = uuid[0];
    frame->commit = 8;
    frame->durable_commit = 7;
    frame->first_sequence = 100;
    frame->bytes = sizeof *frame;
    frame->body_crc = seed;
    for (size_t at = 0; at + 3 <= size;) {
        size_t wanted = (size_t)(data[at] | data[at + 1] << 8);
        size_t left = size - at - 3;
        size_t message = wanted < left ? wanted : left;
        uint64_t record_bytes = format_record_bytes(message);
        if (record_bytes > FRAME_BYTES - frame->bytes) {
            break;
        }
        struct journal_entry entry = {
            .type = (enum journal_record_type)(1 + data[at + 2] % 3),
            .flags = data[at + 2],
            .received_ns = (int64_t)at,
            .source = ~(uint64_t)at,
            .fingerprint = {at, size},
            .head_bytes = (uint32_t)(message / 2),
            .body_bytes = (uint32_t)(message - message / 2),
            .type_bytes = (uint16_t)(message / 4),
            .id_at = (uint32_t)(message / 2),
            .id_bytes = (uint16_t)(message / 4),
            .type_more = {
                {(uint32_t)(message / 2), (uint16_t)(message / 8), data[at + 2] & '.', 0}}};
        uint8_t *record = bytes + frame->bytes;
        memset(record, 0, (size_t)record_bytes);
        memcpy(record + sizeof(struct format_record), data + at + 3, message);
        uint32_t crc = format_record_seal((struct format_record *)(void *)record, &entry,
                                          frame->first_sequence + frame->record_count, seed);
        frame->body_crc = crc32c(frame->body_crc, &crc, sizeof crc);
        frame->bytes += (uint32_t)record_bytes;
        frame->record_count++;
        at += 3 + message;
    }
    (void)format_frame_seal(frame, seed);
    return frame->record_count;
}

/* Is this offset covered by a checksum? */
static bool covered(const uint8_t *bytes, size_t offset)
{
    const struct format_frame *frame = (const struct format_frame *)(const void *)bytes;
    size_t at = sizeof *frame;
    if (offset < at) {
        return true;
    }
    for (uint32_t i = 0; i < frame->record_count; i++) {
        const struct format_record *record =
            (const struct format_record *)(const void *)(bytes + at);
        size_t message = (size_t)record->head_bytes + record->body_bytes;
        if (offset < at + sizeof *record + message) {
            return true;
        }
        at += (size_t)format_record_bytes(message);
        if (offset < at) {
            return false; /* padding */
        }
    }
    return false;
}

static void build_and_read(const uint8_t *data, size_t size)
{
    uint32_t seed = format_seed(uuid);
    uint8_t *bytes = aligned_alloc(16, FRAME_BYTES);
    bk_assert(bytes != NULL);
    uint32_t count = build(bytes, data, size, seed);
    const struct format_frame *frame = (const struct format_frame *)(const void *)bytes;
    if (count == 0) {
        bk_assert(!format_frame_check(frame, uuid[0], seed)); /* a frame without records is none */
        free(bytes);
        return;
    }
    bk_assert(format_frame_check(frame, uuid[0], seed));
    bk_assert(format_frame_verify(frame, seed));
    bk_assert(!format_frame_check(frame, uuid[0] + 1, seed));
    bk_assert(!format_frame_check(frame, uuid[0], seed ^ 2));
    struct format_walk walk;
    const struct format_record *record;
    size_t at = 0;
    format_walk_begin(&walk, frame, frame->bytes, seed);
    while (format_walk_next(&walk, true, &record) == BK_OK) {
        struct journal_entry entry;
        format_record_entry(record, &entry);
        size_t message = (size_t)entry.head_bytes + entry.body_bytes;
        bk_assert(entry.received_ns == (int64_t)at && entry.flags == data[at + 2]);
        bk_assert(memcmp(record + 1, data + at + 3, message) == 0);
        at += 3 + message;
    }
    bk_assert(walk.left == 0);
    for (unsigned i = 0; i < 4; i++) {
        size_t offset = (size_t)(data[i % size] * 257U + i * 7919U) % frame->bytes;
        uint8_t flip = (uint8_t)(1U << data[(i + 1) % size] % 8);
        bool matters = covered(bytes, offset);
        bytes[offset] ^= flip;
        bool good = format_frame_check(frame, uuid[0], seed) && format_frame_verify(frame, seed);
        bk_assert(good == !matters);
        bytes[offset] ^= flip;
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    if (data[0] % 8 == 0) {
        build_and_read(data + 1, size - 1);
    } else if (data[0] % 8 == 1) {
        take_name(data + 1, size - 1);
    } else {
        take_apart(data + 1, size - 1, data[0]);
    }
    return 0;
}
