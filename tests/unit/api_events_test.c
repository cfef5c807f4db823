/* Description: listing events over the API takes bounded steps; a rare filter over a large journal
 * answers short pages in time, whose cursors lose nothing; steps of several requests may mix. */
#include "journal_world.h"
#include "ring_never.h"

#include "api/api.h"
#include "base/json.h"
#include "hub/hub.h"

#include <yyjson.h>

#define RECORDS  32000U
#define RARE     3200U        /* every … one is rejected */
#define ADDED_NS 900000000ULL /* a step takes so long, as this test pretends */

static struct world world;
static struct api api;
static char token[100];

static void append(uint64_t sequence)
{
    static uint8_t message[1200];
    int head =
        snprintf((char *)message, sizeof message, "POST /hooks/x HTTP/1.1\r\nHost: h\r\n\r\n");
    struct journal_entry entry = {.type =
                                      sequence % RARE == 0 ? JOURNAL_REJECTED : JOURNAL_ACCEPTED,
                                  .source = 7,
                                  .received_ns = fake_wall_ns,
                                  .head_bytes = (uint32_t)head,
                                  .body_bytes = 1000};
    uint64_t got;
    enum bk_err err = journal_append(world.journals[0], &entry, message, NULL, 0, &got);
    while (err == BK_BUSY) {
        world_run(&world);
        err = journal_append(world.journals[0], &entry, message, NULL, 0, &got);
    }
    bk_assert(err == BK_OK && got == sequence);
    fake_wall_ns += 1000000;
}

static void start(void)
{
    char why[HUB_WHY_BYTES], path[600];
    world_init(&world, 1, 4 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    for (uint64_t i = 1; i <= RECORDS; i++) {
        append(i);
    }
    world_run(&world);
    struct hub_config config = {
        .data_directory = world.directory, .public_url = "http://x", .now_ns = 1};
    is_int(hub_open(&config, &api.hub, why), BK_OK);
    api.catalog = world.catalog;
    api.public_url = config.public_url;
    snprintf(path, sizeof path, "%s/admin.token", world.directory);
    FILE *file = fopen(path, "r");
    bk_assert(file != NULL && fread(token, 1, 47, file) == 47);
    fclose(file);
}

struct ask {
    struct api_request request;
    struct api_response response;
    char target[4096], authorization[120];
    unsigned steps;
};

static void ask_begin(struct ask *ask, const char *query, const char *cursor)
{
    memset(ask, 0, sizeof *ask);
    snprintf(ask->target, sizeof ask->target, "/api/v1/events?%s%s%s", query,
             cursor ? "&cursor=" : "", cursor ? cursor : "");
    snprintf(ask->authorization, sizeof ask->authorization, "Bearer %s", token);
    ask->request = (struct api_request){.method = HTTP_GET,
                                        .target = slice_str(ask->target),
                                        .host = SLICE("localhost"),
                                        .authorization = slice_str(ask->authorization),
                                        .wall_ns = fake_wall_ns,
                                        .now_ns = fake_now_ns};
    api_response_init(&ask->response);
}

static bool ask_step(struct ask *ask)
{
    fake_now_ns += ADDED_NS;
    ask->request.now_ns = fake_now_ns;
    ask->steps++;
    return api_handle(&api, &ask->request, &ask->response) == API_DONE;
}

/* How many items; their ids are added to the set's checksum. `cursor` gets `next`, or "". */
static unsigned ask_end(struct ask *ask, char cursor[2048], uint64_t *sum)
{
    struct json_tree tree;
    struct json_problem problem;
    unsigned items = 0;
    json_tree_init(&tree);
    cursor[0] = '\0';
    if (ask->response.status == 200 &&
        json_parse(buf_slice(&ask->response.body), &tree, &problem) == BK_OK) {
        size_t i, count;
        yyjson_mut_val *item;
        yyjson_mut_arr_foreach(yyjson_mut_obj_get(tree.roots[0], "items"), i, count, item)
        {
            const char *id = yyjson_mut_get_str(yyjson_mut_obj_get(item, "id"));
            uint64_t hash = 1469598103934665603ULL;
            for (; *id != '\0'; id++) {
                hash = (hash ^ (uint8_t)*id) * 1099511628211ULL;
            }
            *sum += hash;
            items++;
        }
        const char *next = yyjson_mut_get_str(yyjson_mut_obj_get(tree.roots[0], "next"));
        snprintf(cursor, 2048, "%s", next ? next : "");
    } else {
        diag("%u %.300s", ask->response.status, buf_text(&ask->response.body));
    }
    json_tree_fini(&tree);
    api_response_fini(&ask->response);
    return items;
}

static void test_rare(const char *query, bool endless, uint64_t *ret_sum)
{
    char cursor[2048] = "";
    unsigned items = 0, pages = 0, most = 0, got;
    *ret_sum = 0;
    do {
        struct ask ask;
        ask_begin(&ask, query, pages == 0 ? NULL : cursor);
        while (!ask_step(&ask)) {
        }
        most = ask.steps > most ? ask.steps : most;
        got = ask_end(&ask, cursor, ret_sum);
        items += got;
        pages++;
    } while (cursor[0] != '\0' && pages < 100 && !(endless && pages >= 10));
    is_uint(items, RECORDS / RARE, "%s: all of them", query);
    ok(pages > 1 && pages < 20, "in %u pages", pages);
    ok(most > 1 && most <= 4, "of at most %u steps: 2 s", most);
}

static void test_mixed(void)
{
    struct ask asks[4];
    char cursor[2048];
    uint64_t sums[4] = {0}, alone[2] = {0};
    for (unsigned i = 0; i < 2; i++) {
        struct ask ask;
        ask_begin(&ask, i == 0 ? "limit=1000" : "limit=1000&order=asc", NULL);
        while (!ask_step(&ask)) {
        }
        is_uint(ask_end(&ask, cursor, &alone[i]), 1000);
    }
    for (unsigned i = 0; i < 4; i++) {
        ask_begin(&asks[i], i % 2 == 0 ? "limit=1000" : "limit=1000&order=asc", NULL);
    }
    unsigned done = 0;
    bool ended[4] = {false};
    for (unsigned i = 0; done < 4; i = (i + 1) % 4) {
        if (!ended[i] && ask_step(&asks[i])) {
            ended[i] = true;
            done++;
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        ask_end(&asks[i], cursor, &sums[i]);
        ok(sums[i] == alone[i % 2], "mixed request %u has its own page", i);
    }
}

static void test_given_up(void)
{
    struct ask ask;
    ask_begin(&ask, "state=rejected", NULL);
    ok(!ask_step(&ask) && ask.response.work != NULL, "half done");
    api_response_fini(&ask.response); /* the sanitizer counts what is left */
    ok(ask.response.work == NULL, "and given up");
}

int main(void)
{
    uint64_t backward, forward;
    start();
    test_rare("state=rejected", false, &backward);
    test_rare("state=rejected&order=asc", true, &forward);
    ok(backward == forward, "both ways the same events");
    test_mixed();
    test_given_up();
    api_fini(&api);
    hub_close(api.hub);
    world_stop(&world);
    world_fini(&world);
    test_directory_drop(world.directory);
    return done_testing();
}
