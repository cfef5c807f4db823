#include "server_sim.h"

#include "hub/events/event_id.h"
#include "hub/ingress/dedupe.h"
#include "hub/ingress/source_table.h"
#include "journal/reader.h"

#include <inttypes.h>
#include <stdlib.h>

struct server_sim server;

/* ---- opening */

static void recovered(const struct journal_seen *seen, void *context)
{
    (void)context;
    dedupe_recover(server.dedupe, seen->fingerprint, seen->position, seen->received_ns / 1000000);
}

void server_sim_open(unsigned cores, uint16_t journals, int64_t dedupe_window_ns)
{
    struct ring_config config = {.entries = 64, .handles_max = 16, .cpu = -1};
    struct catalog_config catalog = {.directory = "data/journal",
                                     .journals = journals,
                                     .segment_bytes = 2 << 20,
                                     .dedupe_window_ns = dedupe_window_ns};
    struct journal_report report;
    const char *why = "";
    memset(&server, 0, sizeof server);
    server.cores = cores;
    bk_assert(dedupe_open(64 << 20, &server.dedupe) == BK_OK);
    bk_assert(ring_open(&config, &server.ring, &why) == BK_OK);
    enum bk_err err =
        catalog_open(&catalog, sim_wall_ns(), recovered, NULL, &report, &server.catalog);
    sim_check(err == BK_OK, "recovery: %s %s", bk_err_name(err), report.problem);
    dedupe_begin(server.dedupe, moment_of(server.ring, sim_wall_ns()));
    sim_log("recovered %" PRIu64 " records, %" PRIu64 " torn frames", report.records,
            report.torn_frames);
}

/* ---- cores */

static void core_opened(void *context, struct reactor *reactor, enum bk_err err, const char *why)
{
    struct server_core *core = context;
    sim_check(err == BK_OK, "reactor %u does not open: %s", core->index, why);
    core->ring = reactor_ring(reactor);
    core->opened = true;
}

static void stopped_run(struct ring_mail *mail)
{
    (void)mail;
    server.stopped_count++;
}

static void core_stopped(void *context, struct reactor *reactor)
{
    struct server_core *core = context;
    (void)reactor;
    core->stopped = true;
    core->stopped_mail.run = stopped_run;
    ring_post(core->ring, server.ring, &core->stopped_mail);
}

static void core_main(void *context)
{
    reactor_run(((struct server_core *)context)->reactor);
}

static bool always_ready(void *context, const char **ret_why)
{
    (void)context, (void)ret_why;
    return true;
}

static void growth(void *context)
{
    (void)context;
    sim_fail("the dedupe table wants to grow with so few deliveries");
}

void server_sim_start(unsigned index, struct reactor_config config)
{
    struct server_core *core = &server.core[index];
    core->index = index;
    config.ingress = (struct ingress_config){.id = (uint16_t)index,
                                             .sources = server.sources,
                                             .dedupe = server.dedupe,
                                             .peers = server.peers,
                                             .peer_count = server.cores,
                                             .ready = always_ready,
                                             .growth = growth,
                                             .context = core};
    config.peers = server.peers;
    config.cpu = -1;
    config.catalog = server.catalog;
    config.listen = (struct ring_address){.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    config.opened = core_opened;
    config.stopped = core_stopped;
    config.context = core;
    core->reactor = reactor_make(&config);
    bk_assert(core->reactor);
    core->thread = sim_spawn(index ? "reactor1" : "reactor0", core_main, core);
    while (!core->opened) {
        sim_sleep(10 * US);
    }
}

void server_sim_turn(uint64_t until_ns)
{
    bool more = catalog_step(server.catalog, ring_wall_ns(server.ring));
    ring_turn(server.ring, more ? 0 : until_ns);
}

static void drain_run(struct ring_mail *mail)
{
    struct reactor *reactor = bk_container_of(mail, struct server_core, drain)->reactor;
    uint64_t now_ns = ring_now_ns(reactor_ring(reactor));
    reactor_drain(reactor, now_ns + server.answer_ns, now_ns + server.deliver_ns);
}

static void exit_run(struct ring_mail *mail)
{
    reactor_exit(bk_container_of(mail, struct server_core, exit)->reactor);
}

void server_sim_stop(uint64_t answer_ns, uint64_t deliver_ns, uint64_t within_ns,
                     void (*turn)(void))
{
    uint64_t began_ns = sim_now_ns();
    server.answer_ns = answer_ns;
    server.deliver_ns = deliver_ns;
    for (unsigned i = 0; i < server.cores; i++) {
        server.core[i].drain.run = drain_run;
        ring_post(server.ring, server.core[i].ring, &server.core[i].drain);
    }
    while (server.stopped_count < server.cores || server.grace_open > 0) {
        turn();
        sim_check(sim_now_ns() - began_ns < within_ns, "a core does not stop");
    }
    for (unsigned i = 0; i < server.cores; i++) {
        server.core[i].exit.run = exit_run;
        ring_post(server.ring, server.core[i].ring, &server.core[i].exit);
    }
    ring_turn(server.ring, 0);
    for (unsigned i = 0; i < server.cores; i++) {
        sim_join(server.core[i].thread);
    }
}

void server_sim_free_cores(void)
{
    for (unsigned i = 0; i < CORES; i++) {
        if (server.core[i].reactor) {
            reactor_free(server.core[i].reactor);
            server.core[i].reactor = NULL;
        }
    }
}

void server_sim_close(void)
{
    ring_turn(server.ring, 0); /* the journals' last mail */
    server_sim_free_cores();
    catalog_close(server.catalog);
    if (server.sources) {
        source_table_close(server.sources);
    }
    dedupe_close(server.dedupe);
    ring_close(server.ring);
    memset(&server, 0, sizeof server);
}

/* ---- letters */

static void grace_back(struct ring_mail *mail)
{
    (void)mail;
    if (--server.grace_open == 0) {
        server.grace_over();
    }
}

static void grace_there(struct ring_mail *mail)
{
    struct server_core *core = bk_container_of(mail, struct server_core, grace);
    mail->run = grace_back;
    ring_post(core->ring, server.ring, mail);
}

void server_sim_grace(void (*over)(void))
{
    bk_assert(server.grace_open == 0);
    server.grace_over = over;
    server.grace_open = server.cores;
    for (unsigned i = 0; i < server.cores; i++) {
        server.core[i].grace.run = grace_there;
        ring_post(server.ring, server.core[i].ring, &server.core[i].grace);
    }
}

/* ---- sources and requests */

struct scheme *server_sim_scheme(const char *type, const char *secret, size_t *ret_bytes)
{
    const struct scheme_row *row = scheme_row_find(slice_str(type));
    struct slice one = slice_str(secret);
    struct scheme *scheme = NULL;
    const char *message = "";
    bk_assert(row);
    enum bk_err err = scheme_compile(row, &one, 1, -1, &scheme, ret_bytes, &message);
    sim_check(err == BK_OK, "scheme %s: %s", type, message);
    return scheme;
}

struct source_change server_sim_source(uint64_t number, const char *name, const char *type,
                                       const char *secret)
{
    struct source_change change = {
        .number = number,
        .path = slice_str(name),
        .name = slice_str(name),
        .type = slice_str(type),
        .body_bytes_max = 1 << 20,
    };
    change.scheme = server_sim_scheme(type, secret, &change.scheme_bytes);
    return change;
}

void server_sim_put(const struct source_change *change)
{
    bk_assert(server.sources || source_table_open(&server.sources) == BK_OK);
    bk_assert(source_table_change(server.sources, change) == BK_OK);
}

/* Bodies are most of the bytes of a run: eight letters at once. */
static uint64_t letters_next(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return ((*state ^ *state >> 32) & 0x0f0f0f0f0f0f0f0fULL) + 'a' * 0x0101010101010101ULL;
}

void server_sim_body(uint64_t content, uint8_t *at, size_t bytes)
{
    uint64_t state = content | 1, word;
    for (; bytes >= sizeof word; at += sizeof word, bytes -= sizeof word) {
        word = letters_next(&state);
        memcpy(at, &word, sizeof word);
    }
    word = letters_next(&state);
    memcpy(at, &word, bytes);
}

bool server_sim_body_is(uint64_t content, const uint8_t *at, size_t bytes)
{
    uint64_t state = content | 1, word, differs = 0;
    for (; bytes >= sizeof word; at += sizeof word, bytes -= sizeof word) {
        memcpy(&word, at, sizeof word);
        differs |= word ^ letters_next(&state);
    }
    word = letters_next(&state);
    return differs == 0 && memcmp(at, &word, bytes) == 0;
}

void server_sim_sign(struct buf *out, const struct scheme *signer, const char *path,
                     struct slice id, struct slice body)
{
    struct scheme_send send = {.body = body,
                               .type = SLICE("push"),
                               .id = id,
                               .now_seconds = sim_wall_ns() / (int64_t)SECOND};
    struct buf headers;
    buf_init(&headers, 1 << 16);
    enum bk_err err = scheme_sign(signer, &send, &headers);
    sim_check(err == BK_OK, "signing: %s", bk_err_name(err));
    buf_printf(out, "POST /hooks/%s HTTP/1.1\r\nHost: sim\r\n", path);
    buf_add(out, headers.at, headers.bytes);
    buf_fini(&headers);
}

/* ---- promises */

uint64_t server_sim_acknowledged(struct slice body, bool *ret_duplicate)
{
    static const char start[] = "{\"id\":\"";
    struct journal_position position;
    sim_check(
        slice_starts(body, SLICE("{\"id\":\"")) &&
            body.bytes >= sizeof start - 1 + EVENT_ID_BYTES &&
            event_id_parse(slice_of(body.at + sizeof start - 1, EVENT_ID_BYTES), &position, NULL),
        "an odd acknowledgement: %.*s", (int)body.bytes, (const char *)body.at);
    struct slice rest = slice_skip(body, sizeof start - 1 + EVENT_ID_BYTES);
    *ret_duplicate = slice_equal(rest, SLICE("\",\"duplicate\":true}"));
    sim_check(*ret_duplicate || slice_equal(rest, SLICE("\"}")), "an odd acknowledgement: %.*s",
              (int)body.bytes, (const char *)body.at);
    sim_check(position.journal < CORES, "acknowledged in journal %u", position.journal);
    const struct server_core *core = &server.core[position.journal];
    sim_check(!core->reactor || core->stopped ||
                  journal_durable_through(reactor_journal(core->reactor)) >= position.sequence,
              "record %u/%" PRIu64 " is acknowledged before it is durable", position.journal,
              position.sequence);
    return journal_position_pack(position);
}

void server_sim_records(void (*look)(const struct journal_record *record))
{
    struct reader *reader = NULL;
    bk_assert(reader_open(server.catalog, &reader) == BK_OK);
    for (uint16_t id = 0; id < CORES; id++) {
        struct reader_walk walk;
        enum bk_err err;
        reader_walk_begin(&walk, id, false, 1);
        do {
            struct journal_record record;
            size_t budget = 1 << 20;
            err = reader_next(reader, &walk, &budget, &record);
            sim_check(err == BK_OK || err == BK_AGAIN || err == BK_NOT_FOUND, "reading: %s %s",
                      bk_err_name(err), reader_problem(reader));
            if (err == BK_OK) {
                look(&record);
            }
        } while (err != BK_NOT_FOUND);
    }
    reader_close(reader);
}

void server_sim_configure(struct sim_config *config)
{
    config->op_delay_us = (uint32_t)sim_below(100);
    config->turn_batch = (uint32_t)sim_below(6);
    config->multishot_end = sim_below(2) ? 30 : 0;
    config->mail_delay_us = (uint32_t)sim_below(300);
    config->cancel_delay_us = (uint32_t)sim_below(300);
    config->latency_us = (uint32_t)sim_below(500);
    config->receive_cut = sim_below(3) ? 0 : 200;
    config->recv_buffers_max = 1U << sim_between(3, 8);
    config->disk_us_min = 20;
    config->disk_us_max = 20U << sim_below(8);
    config->disk_zeroes = sim_below(2) == 0;
    config->pass_fail = sim_below(2) ? 0 : (uint32_t)sim_below(300);
    config->pass_never = sim_below(4) == 0;
}
