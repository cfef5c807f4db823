/* ring_sim.c - ring/ring.h in the simulator. Every submitted operation is a record; when it may
 * complete, in what order, and how, is decided by sim_random() within what the contract allows.
 * Misuse that the kernel would only sometimes punish is always punished here (sim_fail). */
#include "sim_internal.h"

#include <stdlib.h>

#if SIM_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(at, bytes)   ASAN_POISON_MEMORY_REGION(at, bytes)
#define UNPOISON(at, bytes) ASAN_UNPOISON_MEMORY_REGION(at, bytes)
#else
#define POISON(at, bytes)   ((void)(at), (void)(bytes))
#define UNPOISON(at, bytes) ((void)(at), (void)(bytes))
#endif

#define RINGS_MAX          32U
#define WRITE_BUFFERS_MAX  16U
#define GARBAGE            0xdb
#define WRITE_MEMORY_MAX   4U                /* kept */
#define WRITE_MEMORY_BYTES ((size_t)3 << 19) /* of a journal */
#define SIGNALS_MAX        8U
#define FOREIGN_MAX        64U
#define FOREIGN_FIRST      100000 /* no descriptor of this process */
#define SHARED_MAX         16U
#define SHARED_FIRST       200000

enum op_kind {
    OP_ACCEPT,
    OP_CONNECT,
    OP_RECV,
    OP_SEND,
    OP_SHUTDOWN,
    OP_PASS,
    OP_CLOSE,
    OP_WRITE,
    OP_POLL,
    OP_SIGNALS
};

enum handle_kind { HANDLE_FREE, HANDLE_TAKEN, HANDLE_LISTENER, HANDLE_SOCKET, HANDLE_FILE };

struct handle {
    enum handle_kind kind;
    bool closing;
    unsigned ops;   /* in flight */
    unsigned sends; /* of these */
    struct sim_listener *listener;
    struct sim_socket *socket;
    int file;
};

/* One submitted (or queued) operation. */
struct record {
    struct record *next;
    uint64_t number;
    struct ring *ring;
    struct ring_op *op;
    enum op_kind kind;
    int32_t handle;
    bool started;
    uint64_t not_before_ns; /* the earliest moment its (next) completion is seen */
    uint64_t cancel_ns;     /* SIM_NEVER: nobody asked */
    const uint8_t *at;
    const struct ring_pieces *pieces; /* of a gathering send; else NULL */
    size_t bytes;
    size_t done_bytes;
    uint64_t offset;
    uint64_t sum; /* of the memory when it was queued */
    bool durable;
    struct disk_write *write;
    int32_t *ret_handle;
    struct ring_address address;
    bool connect_over;
    enum bk_err connect_err;
    struct sim_socket *connected;
    struct ring *target;
    bool looked, blind; /* a reset: decided once, and then it is not seen */
    int os_fd;
    unsigned events;
    unsigned completions;
};

/* Letters from one sender to this ring, in order. */
struct mailbox {
    unsigned from; /* its number */
    struct ring_mail *first;
    struct ring_mail *last;
    uint64_t due_ns; /* of the first */
};

struct ring {
    unsigned number;
    struct ring_config config;
    struct ring_stats stats;
    struct sim_thread *owner;
    uint64_t now_ns;
    int64_t wall_ns;
    struct record *live; /* in order of submission */
    struct record **live_end;
    unsigned live_count;
    unsigned queued;
    struct handle *handles;
    unsigned handle_count; /* table size: reserved ones first, as in the kernel's back end */
    unsigned sockets;
    uint8_t **buffers;
    bool *buffer_out;
    uint32_t *buffer_filled; /* bytes that were received into it */
    uint16_t *buffers_free;
    unsigned buffers_free_count;
    uint8_t *write_buffers;
    unsigned write_buffer_count;
    size_t write_buffer_bytes;
    struct mailbox mailboxes[RINGS_MAX];
    unsigned mailbox_count;
    int signals[SIGNALS_MAX];
    unsigned signal_count;
    bool in_turn;
    unsigned gather_us;
    uint64_t due_epoch;
    uint64_t due_ns;
};

#define HANDLES_RESERVED 64U

static struct ring *rings[RINGS_MAX];
static unsigned ring_count;
static unsigned ring_numbers;
static uint64_t record_numbers;

/* Listeners that outlive their process. */
static struct sim_listener *shared[SHARED_MAX];

/* Descriptors of others, what a library would own: played by the scenario. */
static struct {
    bool open;
    unsigned ready; /* RING_POLL_ bits */
} foreign[FOREIGN_MAX];

static uint64_t word_sum(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15ULL;
    return sum ^ sum >> 32;
}

/* Four lanes, as each word waits for the one before in its own. */
static uint64_t memory_sum(uint64_t sum, const uint8_t *at, size_t bytes)
{
    uint64_t lanes[4] = {sum, 1, 2, 3}, words[4];
    for (; bytes >= sizeof words; at += sizeof words, bytes -= sizeof words) {
        memcpy(words, at, sizeof words);
        for (unsigned i = 0; i < 4; i++) {
            lanes[i] = word_sum(lanes[i], words[i]);
        }
    }
    sum = lanes[0];
    for (unsigned i = 1; i < 4; i++) {
        sum = word_sum(sum, lanes[i]);
    }
    for (size_t i = 0; i < bytes; i++) {
        sum = (sum ^ at[i]) * 0x100000001b3ULL;
    }
    return sum;
}

/* The n-th range that a send sends. */
static bool send_range(const struct record *record, unsigned n, struct slice *ret_range)
{
    if (record->pieces) {
        *ret_range = record->pieces->at[n < RING_PIECES_MAX ? n : 0];
        return n < record->pieces->count;
    }
    *ret_range = slice_of(record->at, record->bytes);
    return n == 0;
}

static uint64_t send_sum(const struct record *record)
{
    struct slice range;
    uint64_t sum = record->bytes;
    for (unsigned n = 0; send_range(record, n, &range); n++) {
        sum = memory_sum(sum, range.at, range.bytes);
    }
    return sum;
}

/* What comes behind the bytes that are sent already, as far as it lies in one range. */
static struct slice send_rest(const struct record *record)
{
    struct slice range;
    size_t passed = 0;
    for (unsigned n = 0; send_range(record, n, &range); n++) {
        if (record->done_bytes < passed + range.bytes) {
            return slice_skip(range, record->done_bytes - passed);
        }
        passed += range.bytes;
    }
    return SLICE_EMPTY;
}

static void owner_check(const struct ring *ring)
{
    sim_check(ring->owner == sim_self(), "ring %u of %s used by %s", ring->number,
              sim_thread_name(ring->owner), sim_thread_name(sim_self()));
}

static uint64_t op_delay(void)
{
    return sim_now_ns() + sim_below(sim_config()->op_delay_us * US + 1);
}

/* ---- write buffers: full of garbage at first. Their memory is kept for the next ring, as only
 * what was used has to be filled again. */

static uint8_t *write_memory_kept[WRITE_MEMORY_MAX];
static unsigned write_memory_count;

static uint8_t *write_memory_take(size_t bytes)
{
    bool kept = bytes == WRITE_MEMORY_BYTES && write_memory_count > 0;
    uint8_t *at = kept ? write_memory_kept[--write_memory_count] : aligned_alloc(4096, bytes);
    bk_assert(at);
    UNPOISON(at, bytes);
    if (!kept) {
        memset(at, GARBAGE, bytes);
    }
    for (size_t i = 0; kept && i < bytes; i += SECTOR) {
        if (sector_word(at + i) != GARBAGE * 0x0101010101010101ULL) {
            memset(at + i, GARBAGE, SECTOR);
        }
    }
    return at;
}

static void write_memory_give(uint8_t *at, size_t bytes)
{
    if (bytes == WRITE_MEMORY_BYTES && write_memory_count < WRITE_MEMORY_MAX) {
        POISON(at, bytes);
        write_memory_kept[write_memory_count++] = at;
    } else {
        free(at);
    }
}

/* ---- opening and closing */

enum bk_err ring_open(const struct ring_config *config, struct ring **ret_ring,
                      const char **ret_why)
{
    bk_assert(ring_count < RINGS_MAX);
    struct ring *ring = calloc(1, sizeof *ring);
    bk_assert(ring);
    ring->number = ring_numbers++;
    ring->config = *config;
    uint32_t buffers_max = sim_config()->recv_buffers_max;
    if (buffers_max && config->recv_buffers > buffers_max) {
        ring->config.recv_buffers = buffers_max;
    }
    ring->owner = sim_self();
    ring->live_end = &ring->live;
    ring->handle_count = config->handles_max + config->handles_spare + HANDLES_RESERVED;
    ring->handles = calloc(ring->handle_count, sizeof *ring->handles);
    bk_assert(ring->handles);
    unsigned count = ring->config.recv_buffers;
    bk_assert((count & (count - 1)) == 0 && count <= 32768);
    if (count) {
        ring->buffers = calloc(count, sizeof *ring->buffers);
        ring->buffer_out = calloc(count, sizeof *ring->buffer_out);
        ring->buffer_filled = calloc(count, sizeof *ring->buffer_filled);
        ring->buffers_free = calloc(count, sizeof *ring->buffers_free);
        bk_assert(ring->buffers && ring->buffer_out && ring->buffer_filled && ring->buffers_free);
    }
    for (unsigned i = 0; i < count; i++) {
        ring->buffers[i] = malloc(config->recv_buffer_bytes);
        bk_assert(ring->buffers[i]);
        POISON(ring->buffers[i], config->recv_buffer_bytes);
        ring->buffers_free[ring->buffers_free_count++] = (uint16_t)i;
    }
    ring->now_ns = sim_now_ns();
    ring->wall_ns = sim_wall_ns();
    ring->due_epoch = SIM_NEVER;
    rings[ring_count++] = ring;
    *ret_ring = ring;
    (void)ret_why;
    return BK_OK;
}

static bool ring_is_open(const struct ring *ring)
{
    for (unsigned i = 0; i < ring_count; i++) {
        if (rings[i] == ring) {
            return true;
        }
    }
    return false;
}

static void record_free(struct record *record)
{
    if (record->write) {
        disk_write_abandon(record->write);
    }
    if (record->connected) {
        net_close(record->connected, true);
    }
    free(record);
}

static void handle_free(struct handle *handle)
{
    switch (handle->kind) {
    case HANDLE_SOCKET:
        if (handle->socket) { /* else it was passed on */
            net_close(handle->socket, false);
        }
        break;
    case HANDLE_LISTENER:
        net_listener_close(handle->listener);
        break;
    case HANDLE_FILE:
        disk_file_release(handle->file);
        break;
    case HANDLE_FREE:
    case HANDLE_TAKEN:
        break;
    default:
        bk_never("unknown handle kind");
    }
    memset(handle, 0, sizeof *handle);
}

unsigned sim_ring_ops(const struct ring *ring)
{
    return ring->live_count;
}

unsigned sim_ring_sockets(const struct ring *ring)
{
    return ring->sockets;
}

unsigned sim_ring_buffers_out(const struct ring *ring)
{
    return ring->config.recv_buffers - ring->buffers_free_count;
}

void ring_close(struct ring *ring)
{
    sim_check(ring->live_count == 0,
              "ring %u closed with %u operations in flight, the first of kind %d", ring->number,
              ring->live_count, ring->live ? (int)ring->live->kind : -1);
    sim_check(sim_ring_buffers_out(ring) == 0,
              "ring %u closed with %u receive buffers not given back", ring->number,
              sim_ring_buffers_out(ring));
    sim_check(ring->sockets == 0, "ring %u closed with %u sockets open", ring->number,
              ring->sockets);
    for (unsigned i = 0; i < ring->mailbox_count; i++) {
        sim_check(!ring->mailboxes[i].first, "ring %u closed with unread mail", ring->number);
    }
    for (unsigned i = 0; i < ring->handle_count; i++) {
        handle_free(&ring->handles[i]);
    }
    for (unsigned i = 0; i < ring->config.recv_buffers; i++) {
        UNPOISON(ring->buffers[i], ring->config.recv_buffer_bytes);
        free(ring->buffers[i]);
    }
    for (unsigned i = 0; i < ring_count; i++) {
        if (rings[i] == ring) {
            rings[i] = rings[--ring_count];
            break;
        }
    }
    free(ring->buffers);
    free(ring->buffer_out);
    free(ring->buffer_filled);
    free(ring->buffers_free);
    write_memory_give(ring->write_buffers, ring->write_buffer_count * ring->write_buffer_bytes);
    free(ring->handles);
    free(ring);
}

void rings_end(void)
{
    sim_check(ring_count == 0, "%u rings were never closed", ring_count);
    for (unsigned i = 0; i < FOREIGN_MAX; i++) {
        sim_check(!foreign[i].open, "descriptor %u of others was never closed", i);
    }
    ring_numbers = 0;
    record_numbers = 0;
}

const char *ring_features(const struct ring *ring)
{
    (void)ring;
    return "simulated";
}

const struct ring_stats *ring_stats(const struct ring *ring)
{
    return &ring->stats;
}

uint64_t ring_now_ns(const struct ring *ring)
{
    return ring->now_ns;
}

int64_t ring_wall_ns(const struct ring *ring)
{
    return ring->wall_ns;
}

uint64_t ring_clock_ns(const struct ring *ring)
{
    return ring->now_ns; /* work takes no simulated time */
}

bool ring_behind(const struct ring *ring)
{
    owner_check(ring);
    return false; /* computing takes no simulated time */
}

void ring_gather(struct ring *ring, unsigned completions, unsigned wait_us)
{
    owner_check(ring);
    ring->gather_us = completions > 1 ? wait_us : 0;
}

void ring_entropy(void *at, size_t bytes)
{
    uint8_t *target = at;
    for (size_t i = 0; i < bytes; i++) {
        target[i] = (uint8_t)(sim_random() >> 24);
    }
}

/* ---- records and handles */

static struct handle *handle_get(struct ring *ring, int32_t handle)
{
    sim_check(handle >= 0 && (unsigned)handle < ring->handle_count, "handle %d does not exist",
              handle);
    struct handle *entry = &ring->handles[handle];
    sim_check(entry->kind > HANDLE_TAKEN, "handle %d is not open", handle);
    return entry;
}

/* A free place: among the reserved ones (listeners, files) or the others, as the kernel's back end
 * does. */
static int32_t handle_take(struct ring *ring, bool reserved)
{
    unsigned from = reserved ? 0 : HANDLES_RESERVED;
    unsigned to = reserved ? HANDLES_RESERVED : ring->handle_count;
    for (unsigned i = from; i < to; i++) {
        if (ring->handles[i].kind == HANDLE_FREE) {
            ring->handles[i].kind = HANDLE_TAKEN;
            return (int32_t)i;
        }
    }
    return -1;
}

static int32_t handle_socket(struct ring *ring, struct sim_socket *socket)
{
    int32_t handle = handle_take(ring, false);
    if (handle >= 0) {
        ring->handles[handle].kind = HANDLE_SOCKET;
        ring->handles[handle].socket = socket;
        ring->sockets++;
    }
    return handle;
}

static struct record *record_make(struct ring *ring, struct ring_op *op, enum op_kind kind,
                                  int32_t handle, ring_done_fn *done)
{
    owner_check(ring);
    sim_check(op->inflight == 0, "a busy operation was queued again (kind %d)", (int)kind);
    bk_assert(done);
    if (ring->queued >= ring->config.entries) {
        ring_submit(ring); /* the queue is full */
    }
    struct record *record = calloc(1, sizeof *record);
    bk_assert(record);
    record->number = ++record_numbers;
    record->ring = ring;
    record->op = op;
    record->kind = kind;
    record->handle = handle;
    record->cancel_ns = SIM_NEVER;
    op->done = done;
    op->inflight = 1;
    op->kind = (uint32_t)kind;
    /* Nobody else may rely on what is in here. */
    op->private_[0] = op->private_[1] = 0xdeaddeaddeaddeadULL;
    if (handle >= 0) {
        struct handle *entry = handle_get(ring, handle);
        sim_check(!entry->closing, "operation %d on handle %d, which is being closed", (int)kind,
                  handle);
        entry->ops++;
    }
    *ring->live_end = record;
    ring->live_end = &record->next;
    ring->live_count++;
    ring->queued++;
    ring->stats.submitted++;
    sim_touch();
    return record;
}

static void record_remove(struct record *record)
{
    struct ring *ring = record->ring;
    struct record **link = &ring->live;
    while (*link != record) {
        link = &(*link)->next;
    }
    *link = record->next;
    if (!*link) {
        ring->live_end = link;
    }
    ring->live_count--;
    if (record->handle >= 0) {
        struct handle *entry = &ring->handles[record->handle];
        bk_assert(entry->ops > 0);
        entry->ops--;
        entry->sends -= record->kind == OP_SEND;
        if (record->kind == OP_CLOSE) {
            ring->sockets -= entry->kind == HANDLE_SOCKET;
            /* What the handle stood for was closed when the operation started. */
            memset(entry, 0, sizeof *entry);
        }
    }
}

/* By number, not by address: memory is used again. */
static struct record *record_find(uint64_t number)
{
    for (unsigned i = 0; i < ring_count; i++) {
        for (struct record *record = rings[i]->live; record; record = record->next) {
            if (record->number == number) {
                return record;
            }
        }
    }
    return NULL;
}

/* The one completion path: `more` keeps the record. */
static void complete(struct record *record, struct ring_result *result)
{
    struct ring *ring = record->ring;
    struct ring_op *op = record->op;
    sim_check(op->inflight == 1, "an operation in flight was overwritten (kind %d)",
              (int)record->kind);
    sim_check(op->kind == (uint32_t)record->kind,
              "an operation in flight was overwritten (kind %d)", (int)record->kind);
    if (sim_verbose && sim_trace_ops) {
        sim_log("ring %u handle %d op %d: %d%s", ring->number, record->handle, (int)record->kind,
                result->value, result->more ? " more" : "");
    }
    sim_trace((uint64_t)record->kind << 40 ^ (uint64_t)(uint32_t)result->value << 1 ^ result->more);
    op->inflight = result->more;
    ring->stats.completed++;
    record->completions++;
    if (result->more) {
        record->not_before_ns = op_delay();
    } else {
        record_remove(record);
        record_free(record);
    }
    sim_touch();
    op->done(op, result);
}

static void complete_value(struct record *record, int32_t value)
{
    struct ring_result result = {.value = value};
    complete(record, &result);
}

/* ---- sockets */

enum bk_err ring_address_probe(const struct ring_address *address)
{
    (void)address;
    return BK_OK;
}

int sim_listen(struct ring_address *address, bool reuse_port, unsigned backlog)
{
    for (unsigned i = 0; i < SHARED_MAX; i++) {
        if (!shared[i]) {
            enum bk_err err;
            shared[i] = net_listen(address, reuse_port, backlog, &err);
            sim_check(shared[i], "cannot listen: %s", bk_err_name(err));
            return SHARED_FIRST + (int)i;
        }
    }
    bk_never("too many shared listeners");
}

void sim_listen_close(int socket)
{
    net_listener_close(shared[socket - SHARED_FIRST]);
    shared[socket - SHARED_FIRST] = NULL;
}

static int32_t handle_listener(struct ring *ring, struct sim_listener *listener)
{
    int32_t handle = handle_take(ring, true);
    if (handle < 0) {
        net_listener_close(listener);
        return -1;
    }
    ring->handles[handle].kind = HANDLE_LISTENER;
    ring->handles[handle].listener = listener;
    return handle;
}

enum bk_err ring_listen_on(struct ring *ring, int socket, int32_t *ret_handle)
{
    owner_check(ring);
    bk_assert(socket >= SHARED_FIRST && (unsigned)(socket - SHARED_FIRST) < SHARED_MAX);
    struct sim_listener *listener = shared[socket - SHARED_FIRST];
    sim_check(listener, "socket %d is closed", socket);
    net_listener_share(listener);
    *ret_handle = handle_listener(ring, listener);
    return *ret_handle < 0 ? BK_NO_DESCRIPTORS : BK_OK;
}

enum bk_err ring_listen(struct ring *ring, struct ring_address *address, bool reuse_port,
                        unsigned backlog, int32_t *ret_handle)
{
    owner_check(ring);
    enum bk_err err;
    struct sim_listener *listener = net_listen(address, reuse_port, backlog, &err);
    if (!listener) {
        return err;
    }
    *ret_handle = handle_listener(ring, listener);
    return *ret_handle < 0 ? BK_NO_DESCRIPTORS : BK_OK;
}

void ring_accept(struct ring *ring, struct ring_op *op, int32_t listener, ring_done_fn *done)
{
    sim_check(handle_get(ring, listener)->kind == HANDLE_LISTENER,
              "accept on a handle that does not listen");
    (void)record_make(ring, op, OP_ACCEPT, listener, done);
}

void ring_connect(struct ring *ring, struct ring_op *op, const struct ring_address *address,
                  int32_t *ret_handle, ring_done_fn *done)
{
    struct record *record = record_make(ring, op, OP_CONNECT, -1, done);
    record->address = *address;
    record->ret_handle = ret_handle;
    *ret_handle = -1;
}

void ring_recv(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    sim_check(handle_get(ring, handle)->kind == HANDLE_SOCKET,
              "receive on a handle that is no connection");
    bk_assert(ring->buffers);
    (void)record_make(ring, op, OP_RECV, handle, done);
}

void ring_buffer_give(struct ring *ring, uint16_t buffer_id)
{
    owner_check(ring);
    sim_check(buffer_id < ring->config.recv_buffers, "buffer %u does not exist", buffer_id);
    sim_check(ring->buffer_out[buffer_id], "buffer %u given back twice", buffer_id);
    ring->buffer_out[buffer_id] = false;
    UNPOISON(ring->buffers[buffer_id], ring->config.recv_buffer_bytes);
    memset(ring->buffers[buffer_id], GARBAGE, ring->buffer_filled[buffer_id]);
    POISON(ring->buffers[buffer_id], ring->config.recv_buffer_bytes);
    ring->buffers_free[ring->buffers_free_count++] = buffer_id;
    sim_touch();
}

bool ring_buffers_low(const struct ring *ring)
{
    return ring->buffers_free_count < ring->config.recv_buffers / 2;
}

void ring_send(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
               ring_done_fn *done)
{
    bk_assert(bytes > 0 && bytes <= INT32_MAX);
    struct handle *entry = handle_get(ring, handle);
    sim_check(entry->kind == HANDLE_SOCKET, "send on a handle that is no connection");
    sim_check(entry->sends == 0, "two sends in flight on handle %d", handle);
    entry->sends++;
    struct record *record = record_make(ring, op, OP_SEND, handle, done);
    record->at = at;
    record->bytes = bytes;
    record->sum = send_sum(record);
}

void ring_send_lazy(struct ring *ring, struct ring_op *op, int32_t handle, const void *at,
                    size_t bytes, ring_done_fn *done)
{
    ring_send(ring, op, handle, at, bytes, done);
}

void ring_send_pieces(struct ring *ring, struct ring_op *op, int32_t handle,
                      struct ring_pieces *pieces, ring_done_fn *done)
{
    struct handle *entry = handle_get(ring, handle);
    sim_check(entry->kind == HANDLE_SOCKET, "send on a handle that is no connection");
    sim_check(entry->sends == 0, "two sends in flight on handle %d", handle);
    bk_assert(pieces->count <= RING_PIECES_MAX);
    entry->sends++;
    struct record *record = record_make(ring, op, OP_SEND, handle, done);
    record->pieces = pieces;
    for (unsigned i = 0; i < pieces->count; i++) {
        record->bytes += pieces->at[i].bytes;
    }
    bk_assert(record->bytes > 0 && record->bytes <= INT32_MAX);
    record->sum = send_sum(record);
}

void ring_pass(struct ring *ring, struct ring_op *op, int32_t handle, struct ring *target,
               ring_done_fn *done)
{
    sim_check(handle_get(ring, handle)->kind == HANDLE_SOCKET && target != ring,
              "a handle is passed on that is no connection");
    struct record *record = record_make(ring, op, OP_PASS, handle, done);
    record->target = target;
}

void ring_shutdown(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    sim_check(handle_get(ring, handle)->kind == HANDLE_SOCKET,
              "shutdown of a handle that is no connection");
    (void)record_make(ring, op, OP_SHUTDOWN, handle, done);
}

void ring_close_handle(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    struct handle *entry = handle_get(ring, handle);
    sim_check(entry->ops == 0, "handle %d closed with %u operations in flight", handle, entry->ops);
    (void)record_make(ring, op, OP_CLOSE, handle, done);
    entry->closing = true;
}

static void cancel_event(void *context, uint64_t number)
{
    (void)context, (void)number; /* only wakes the ring */
}

void ring_cancel(struct ring *ring, struct ring_op *target)
{
    owner_check(ring);
    if (!ring_op_busy(target)) {
        return;
    }
    for (struct record *record = ring->live; record; record = record->next) {
        if (record->op == target && record->cancel_ns == SIM_NEVER) {
            record->cancel_ns = sim_now_ns() + sim_below(sim_config()->cancel_delay_us * US + 1);
            sim_at(record->cancel_ns, cancel_event, NULL, 0);
        }
    }
    ring->stats.submitted++;
    sim_touch();
}

/* ---- descriptors of others */

static bool foreign_open(int os_fd)
{
    return os_fd >= FOREIGN_FIRST && (unsigned)(os_fd - FOREIGN_FIRST) < FOREIGN_MAX &&
           foreign[os_fd - FOREIGN_FIRST].open;
}

int sim_foreign_open(void)
{
    for (unsigned i = 0; i < FOREIGN_MAX; i++) {
        if (!foreign[i].open) {
            foreign[i].open = true;
            foreign[i].ready = 0;
            return FOREIGN_FIRST + (int)i;
        }
    }
    bk_never("too many descriptors of others");
}

void sim_foreign_ready(int os_fd, unsigned events)
{
    bk_assert(foreign_open(os_fd));
    foreign[os_fd - FOREIGN_FIRST].ready = events;
    sim_touch();
}

void sim_foreign_close(int os_fd)
{
    bk_assert(foreign_open(os_fd));
    foreign[os_fd - FOREIGN_FIRST].open = false;
    sim_touch();
}

void ring_poll(struct ring *ring, struct ring_op *op, int os_fd, unsigned events,
               ring_done_fn *done)
{
    bk_assert(os_fd >= 0);
    bk_assert(events != 0 && (events & ~(RING_POLL_READ | RING_POLL_WRITE)) == 0);
    struct record *record = record_make(ring, op, OP_POLL, -1, done);
    record->os_fd = os_fd;
    record->events = events;
}

static void poll_ready(struct record *record)
{
    bool open = foreign_open(record->os_fd);
    unsigned ready = open ? foreign[record->os_fd - FOREIGN_FIRST].ready & record->events : 0;
    complete_value(record, open ? (int32_t)ready : -BK_CLOSED);
}

enum bk_err ring_signals(struct ring *ring, struct ring_op *op, const int *signals, unsigned count,
                         ring_done_fn *done)
{
    bk_assert(count > 0 && signals);
    (void)record_make(ring, op, OP_SIGNALS, -1, done);
    return BK_OK;
}

void sim_signal(struct ring *ring, int number)
{
    bk_assert(ring->signal_count < SIGNALS_MAX);
    ring->signals[ring->signal_count++] = number;
    sim_touch();
}

/* ---- files */

enum bk_err ring_file_attach(struct ring *ring, int file, int32_t *ret_handle)
{
    owner_check(ring);
    int32_t handle = handle_take(ring, true);
    if (handle < 0) {
        return BK_NO_DESCRIPTORS;
    }
    ring->handles[handle].kind = HANDLE_FILE;
    ring->handles[handle].file = disk_file_share(file);
    *ret_handle = handle;
    return BK_OK;
}

enum bk_err ring_write_buffers(struct ring *ring, unsigned count, size_t bytes, uint8_t **ret_first)
{
    owner_check(ring);
    bk_assert(!ring->write_buffers && count > 0 && count <= WRITE_BUFFERS_MAX && bytes % 4096 == 0);
    ring->write_buffers = write_memory_take(count * bytes);
    ring->write_buffer_count = count;
    ring->write_buffer_bytes = bytes;
    *ret_first = ring->write_buffers;
    return BK_OK;
}

void ring_write(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
                uint64_t offset, int buffer, bool durable, ring_done_fn *done)
{
    bk_assert(bytes % 4096 == 0 && offset % 4096 == 0 && (uintptr_t)at % 4096 == 0);
    bk_assert(bytes > 0 && bytes <= INT32_MAX);
    sim_check(handle_get(ring, handle)->kind == HANDLE_FILE, "write to a handle that is no file");
    if (buffer >= 0) {
        sim_check((unsigned)buffer < ring->write_buffer_count, "write buffer %d does not exist",
                  buffer);
        const uint8_t *first = ring->write_buffers + (size_t)buffer * ring->write_buffer_bytes;
        sim_check((const uint8_t *)at >= first &&
                      (const uint8_t *)at + bytes <= first + ring->write_buffer_bytes,
                  "a write leaves write buffer %d", buffer);
    }
    struct record *record = record_make(ring, op, OP_WRITE, handle, done);
    record->at = at;
    record->bytes = bytes;
    record->offset = offset;
    record->durable = durable;
}

/* ---- submission: what the kernel does with an operation at once */

static void connect_over(void *context, uint64_t number, struct sim_socket *socket, enum bk_err err)
{
    struct record *record = record_find(number);
    (void)context;
    if (!record) {
        if (socket) {
            net_close(socket, true); /* cancelled meanwhile */
        }
        return;
    }
    bk_assert(record->kind == OP_CONNECT && !record->connect_over);
    record->connect_over = true;
    record->connect_err = err;
    record->connected = socket;
}

static void record_start(struct record *record)
{
    struct ring *ring = record->ring;
    struct handle *entry = record->handle >= 0 ? &ring->handles[record->handle] : NULL;
    record->started = true;
    record->not_before_ns = op_delay();
    if (record->kind == OP_CONNECT) {
        net_connect(NULL, &record->address, connect_over, NULL, record->number);
    } else if (record->kind == OP_SHUTDOWN) {
        net_shutdown(entry->socket);
    } else if (record->kind == OP_WRITE) {
        record->write = disk_write_begin(entry->file, record->at, record->bytes, record->offset,
                                         record->durable);
    } else if (record->kind == OP_CLOSE) {
        enum handle_kind kind = entry->kind;
        bool closing = entry->closing;
        unsigned ops = entry->ops;
        handle_free(entry);
        entry->kind = kind; /* the place stays taken until the completion */
        entry->closing = closing;
        entry->ops = ops;
    }
}

void ring_submit(struct ring *ring)
{
    owner_check(ring);
    for (struct record *record = ring->live; record && ring->queued; record = record->next) {
        if (!record->started) {
            record_start(record);
            ring->queued--;
        }
    }
    bk_assert(ring->queued == 0);
    ring->stats.enters++;
    sim_touch();
}

/* ---- readiness */

static bool natural_ready(const struct record *record)
{
    const struct ring *ring = record->ring;
    const struct handle *entry = record->handle >= 0 ? &ring->handles[record->handle] : NULL;
    switch (record->kind) {
    case OP_ACCEPT:
        return net_accept_ready(entry->listener);
    case OP_CONNECT:
        return record->connect_over;
    case OP_RECV:
        return net_available(entry->socket) > 0 || net_eof(entry->socket) ||
               (net_reset(entry->socket) && !record->blind);
    case OP_SEND:
        return net_room(entry->socket) > 0 || net_broken(entry->socket);
    case OP_SHUTDOWN:
    case OP_PASS:
    case OP_CLOSE:
        return true;
    case OP_WRITE:
        return disk_write_due(record->write) <= sim_now_ns();
    case OP_POLL:
        return !foreign_open(record->os_fd) ||
               (foreign[record->os_fd - FOREIGN_FIRST].ready & record->events) != 0;
    case OP_SIGNALS:
        return ring->signal_count > 0;
    default:
        bk_never("unknown operation kind");
    }
}

/* Cancelling does not touch what the kernel has already given to the disk or done at once. */
static bool cancel_ready(const struct record *record)
{
    return record->cancel_ns <= sim_now_ns() && record->kind != OP_WRITE &&
           record->kind != OP_SHUTDOWN && record->kind != OP_PASS && record->kind != OP_CLOSE;
}

static bool record_ready(const struct record *record)
{
    return record->started && (cancel_ready(record) ||
                               (record->not_before_ns <= sim_now_ns() && natural_ready(record)));
}

static uint64_t record_due(const struct record *record)
{
    uint64_t due_ns = SIM_NEVER;
    if (!record->started) {
        return 0;
    }
    if (record->kind == OP_WRITE) {
        due_ns = disk_write_due(record->write);
        return due_ns > record->not_before_ns ? due_ns : record->not_before_ns;
    }
    if (natural_ready(record)) {
        due_ns = record->not_before_ns;
    }
    bool can_cancel =
        record->kind != OP_SHUTDOWN && record->kind != OP_PASS && record->kind != OP_CLOSE;
    return can_cancel && record->cancel_ns < due_ns ? record->cancel_ns : due_ns;
}

static uint64_t ring_due(void *context)
{
    struct ring *ring = context;
    if (ring->due_epoch == sim_epoch()) {
        return ring->due_ns;
    }
    uint64_t due_ns = SIM_NEVER;
    for (const struct record *record = ring->live; record; record = record->next) {
        uint64_t at_ns = record_due(record);
        due_ns = at_ns < due_ns ? at_ns : due_ns;
    }
    for (unsigned i = 0; i < ring->mailbox_count; i++) {
        if (ring->mailboxes[i].first && ring->mailboxes[i].due_ns < due_ns) {
            due_ns = ring->mailboxes[i].due_ns;
        }
    }
    ring->due_epoch = sim_epoch();
    ring->due_ns = due_ns;
    return due_ns;
}

/* ---- completions by kind */

static void accept_ready(struct record *record)
{
    struct ring *ring = record->ring;
    struct handle *entry = &ring->handles[record->handle];
    if (record->completions && sim_chance(sim_config()->multishot_end)) {
        complete_value(record, -BK_AGAIN);
        return;
    }
    struct sim_socket *socket = net_accept(entry->listener);
    int32_t handle =
        sim_chance(sim_config()->accept_no_descriptors) ? -1 : handle_socket(ring, socket);
    if (handle < 0) {
        net_close(socket, true); /* as the kernel: it was accepted, then had no place */
        complete_value(record, -BK_NO_DESCRIPTORS);
        return;
    }
    struct ring_address peer = net_peer(socket);
    struct ring_result result = {.value = handle, .more = true, .peer = &peer};
    complete(record, &result);
}

static void connect_ready(struct record *record)
{
    if (record->connect_err != BK_OK) {
        complete_value(record, -(int32_t)record->connect_err);
        return;
    }
    int32_t handle = handle_socket(record->ring, record->connected);
    if (handle < 0) {
        complete_value(record, -BK_NO_DESCRIPTORS);
        return;
    }
    record->connected = NULL;
    *record->ret_handle = handle;
    complete_value(record, 0);
}

static void recv_ready(struct record *record)
{
    struct ring *ring = record->ring;
    struct sim_socket *socket = ring->handles[record->handle].socket;
    size_t available = net_available(socket);
    if (available == 0 && net_reset(socket) && record->completions && !record->looked) {
        record->looked = true;
        record->blind = sim_chance(sim_config()->reset_unseen);
        sim_touch();
        if (record->blind) {
            return;
        }
    }
    if (available == 0) {
        complete_value(record, net_reset(socket) ? -BK_RESET : 0);
        return;
    }
    if (ring->buffers_free_count == 0 || sim_chance(sim_config()->receive_no_buffers)) {
        ring->stats.recv_no_buffers++;
        complete_value(record, -BK_NO_BUFFERS);
        return;
    }
    /* The kernel takes buffers in the order in which they were given; any order must do. */
    unsigned choice = (unsigned)sim_below(ring->buffers_free_count);
    uint16_t id = ring->buffers_free[choice];
    ring->buffers_free[choice] = ring->buffers_free[--ring->buffers_free_count];
    ring->buffer_out[id] = true;
    size_t bytes =
        available < ring->config.recv_buffer_bytes ? available : ring->config.recv_buffer_bytes;
    if (sim_chance(sim_config()->receive_cut)) {
        bytes = (size_t)sim_between(1, bytes);
    }
    UNPOISON(ring->buffers[id], ring->config.recv_buffer_bytes);
    bytes = net_read(socket, ring->buffers[id], bytes);
    ring->buffer_filled[id] = (uint32_t)bytes;
    /* Behind the filled bytes there is nothing to see. */
    POISON(ring->buffers[id] + bytes, ring->config.recv_buffer_bytes - bytes);
    struct ring_result result = {
        .value = (int32_t)bytes,
        .more = !sim_chance(sim_config()->multishot_end),
        .has_buffer = true,
        .buffer_id = id,
        .buffer = ring->buffers[id],
    };
    complete(record, &result);
}

static void send_ready(struct record *record)
{
    struct sim_socket *socket = record->ring->handles[record->handle].socket;
    if (net_broken(socket)) {
        complete_value(record, -BK_RESET);
        return;
    }
    size_t room = net_room(socket);
    struct slice left = send_rest(record);
    size_t bytes = left.bytes < room ? left.bytes : room;
    net_write(socket, left.at, bytes);
    record->done_bytes += bytes;
    if (record->done_bytes == record->bytes) {
        sim_check(send_sum(record) == record->sum, "the bytes of a send changed in flight");
        complete_value(record, (int32_t)record->bytes);
    } else {
        record->not_before_ns = op_delay();
    }
}

/* The socket is the target's; what stays here is a second reference to it that is only to be
 * closed. */
static void pass_ready(struct record *record)
{
    static const enum bk_err errs[] = {BK_NO_DESCRIPTORS, BK_NO_MEMORY, BK_AGAIN, BK_IO};
    struct handle *entry = &record->ring->handles[record->handle];
    if (sim_config()->pass_never) {
        complete_value(record, -(int32_t)BK_UNSUPPORTED);
        return;
    }
    if (sim_chance(sim_config()->pass_fail)) {
        complete_value(record, -(int32_t)errs[sim_below(bk_array_length(errs))]);
        return;
    }
    sim_check(ring_is_open(record->target), "a handle is passed to a ring that is closed");
    int32_t there = handle_socket(record->target, entry->socket);
    if (there < 0) {
        complete_value(record, -(int32_t)BK_NO_DESCRIPTORS);
        return;
    }
    entry->socket = NULL;
    complete_value(record, there);
}

static void signals_ready(struct record *record)
{
    struct ring *ring = record->ring;
    struct ring_result result = {.value = ring->signals[0], .more = true};
    ring->signal_count--;
    memmove(&ring->signals[0], &ring->signals[1], ring->signal_count * sizeof ring->signals[0]);
    complete(record, &result);
}

static void cancelled(struct record *record)
{
    bool sent_some = record->kind == OP_SEND && record->done_bytes > 0;
    complete_value(record, sent_some ? -BK_RESET : -BK_CANCELLED);
}

static void record_run(struct record *record)
{
    bool natural = record->not_before_ns <= sim_now_ns() && natural_ready(record);
    if (cancel_ready(record) && (!natural || sim_below(2) == 0)) {
        cancelled(record);
        return;
    }
    switch (record->kind) {
    case OP_ACCEPT:
        accept_ready(record);
        return;
    case OP_CONNECT:
        connect_ready(record);
        return;
    case OP_RECV:
        recv_ready(record);
        return;
    case OP_SEND:
        send_ready(record);
        return;
    case OP_PASS:
        pass_ready(record);
        return;
    case OP_SHUTDOWN:
    case OP_CLOSE:
        complete_value(record, 0);
        return;
    case OP_WRITE: {
        int32_t value = disk_write_finish(record->write, record->at);
        record->write = NULL;
        complete_value(record, value);
        return;
    }
    case OP_POLL:
        poll_ready(record);
        return;
    case OP_SIGNALS:
        signals_ready(record);
        return;
    default:
        bk_never("unknown operation kind");
    }
}

/* ---- mail */

void ring_post(struct ring *from, struct ring *target, struct ring_mail *mail)
{
    owner_check(from);
    struct mailbox *box = NULL;
    for (unsigned i = 0; i < target->mailbox_count; i++) {
        if (target->mailboxes[i].from == from->number) {
            box = &target->mailboxes[i];
        }
    }
    for (unsigned i = 0; i < target->mailbox_count && !box; i++) {
        if (!target->mailboxes[i].first) {
            box = &target->mailboxes[i]; /* of a ring that has nothing in it now */
            box->from = from->number;
        }
    }
    if (!box) {
        bk_assert(target->mailbox_count < RINGS_MAX);
        box = &target->mailboxes[target->mailbox_count++];
        *box = (struct mailbox){.from = from->number};
    }
    mail->next = NULL;
    if (box->first) {
        box->last->next = mail;
    } else {
        box->first = mail;
        box->due_ns = sim_now_ns() + sim_below(sim_config()->mail_delay_us * US + 1);
    }
    box->last = mail;
    from->stats.submitted++;
    sim_touch();
}

/* Letters that are due, of each sender in order, senders in any order; those posted meanwhile wait.
 */
static void mail_run(struct ring *ring)
{
    unsigned count = ring->mailbox_count;
    unsigned start = (unsigned)sim_below(count);
    for (unsigned i = 0; i < count; i++) {
        struct mailbox *box = &ring->mailboxes[(start + i) % count];
        struct ring_mail *last = box->last;
        while (box->first && box->due_ns <= sim_now_ns()) {
            struct ring_mail *mail = box->first;
            bool final = mail == last;
            box->first = mail->next;
            if (box->first && sim_chance(250)) {
                box->due_ns = sim_now_ns() + sim_below(sim_config()->mail_delay_us * US + 1);
            }
            ring->stats.mails++;
            sim_trace(ring->stats.mails);
            mail->run(mail);
            if (final) {
                break;
            }
        }
    }
}

/* ---- the turn */

static void batch_run(struct ring *ring)
{
    unsigned most =
        sim_config()->turn_batch ? 1 + (unsigned)sim_below(sim_config()->turn_batch) : 1000;
    for (unsigned ran = 0; ran < most; ran++) {
        unsigned ready_count = 0;
        for (struct record *record = ring->live; record; record = record->next) {
            ready_count += record_ready(record);
        }
        if (!ready_count) {
            break;
        }
        unsigned choice = (unsigned)sim_below(ready_count);
        for (struct record *record = ring->live; record; record = record->next) {
            if (record_ready(record) && choice-- == 0) {
                record_run(record);
                break;
            }
        }
    }
}

static void clock_read(struct ring *ring)
{
    ring->now_ns = sim_now_ns();
    ring->wall_ns = sim_wall_ns();
}

void ring_turn(struct ring *ring, uint64_t deadline_ns)
{
    owner_check(ring);
    sim_check(!ring->in_turn, "ring_turn inside ring_turn");
    ring_submit(ring);
    sim_advance(sim_between(1, 5) * US);
    sim_wait(ring_due, ring, deadline_ns);
    if (ring->gather_us && sim_now_ns() < deadline_ns) {
        sim_sleep(sim_below(ring->gather_us * US + 1));
    }
    clock_read(ring);
    ring->in_turn = true;
    batch_run(ring);
    mail_run(ring);
    ring->in_turn = false;
}
