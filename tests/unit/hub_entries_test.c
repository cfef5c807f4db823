/* Description: which events become entries: those of sources that a link refers to, told by the
 * cores' feeds; a feed that runs over, links that come later, a start in between, a store that is
 * full lose none and repeat none. */
#include "journal_world.h"

#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/links/entries.h"
#include "hub/links/link_feed.h"
#include "hub/resources/apply.h"

#define JOURNALS 2U

static struct world world;
static struct hub *hub;
static struct entries *entries;
static struct link_feed feeds[JOURNALS];
static char directory[200];
static unsigned said; /* events of linked sources so far */

static void consume(void *context, uint64_t sequence, const struct journal_entry *entry,
                    const uint8_t *message)
{
    (void)message;
    link_feed_look(context, sequence, entry->source);
}

static int64_t late_ns; /* since an apply began, when it is done */

static void apply(const char *text)
{
    struct apply_outcome outcome;
    struct apply_options options = {.mode = APPLY_SET, .now_ns = fake_wall_ns - late_ns};
    if (apply_text(hub, slice_str(text), &options, &outcome) != BK_OK) {
        bail_out("%s", outcome.message);
    }
    apply_outcome_fini(&outcome);
}

static uint64_t number_of(const char *source)
{
    uint64_t number;
    if (hub_number(hub, RESOURCE_EVENT_SOURCE, SLICE("default"), slice_str(source), &number) !=
        BK_OK) {
        bail_out("there is no source %s", source);
    }
    return number;
}

static void say(uint64_t source, unsigned journal)
{
    char message[200];
    uint64_t sequence;
    int head = snprintf(message, sizeof message, "POST /hooks/x HTTP/1.1\r\nHost: h\r\n\r\n");
    int body =
        snprintf(message + head, sizeof message - (size_t)head, "{\"text\":\"thing %u\"}", said++);
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED,
                                  .source = source,
                                  .received_ns = fake_wall_ns,
                                  .head_bytes = (uint32_t)head,
                                  .body_bytes = (uint32_t)body};
    while (journal_append(world.journals[journal], &entry, (uint8_t *)message, NULL, 0,
                          &sequence) != BK_OK) {
        world_run(&world);
    }
    fake_wall_ns += NS_PER_MS;
    if (said % 50 == 0) {
        world_run(&world);
    }
}

/* Until there is nothing to do for now. */
static unsigned turns(void)
{
    world_run(&world);
    for (unsigned i = 0; i < 10000; i++) {
        if (entries_run(entries, fake_wall_ns) > fake_wall_ns) {
            fake_wall_ns += ENTRIES_POLL_NS;
            return i;
        }
    }
    bail_out("it never ends");
    return 0;
}

/* Would retention be told to leave what this journal has? */
static bool owed(unsigned journal)
{
    return entries_owed(entries, (uint16_t)journal,
                        journal_durable_through(world.journals[journal]));
}

static uint64_t kept(void)
{
    struct store_txn *txn;
    uint64_t number = 0;
    if (store_read(hub->store, &txn) != BK_OK || store_number(txn, KEY_ENTRY_NUMBER, &number)) {
        bail_out("cannot count");
    }
    store_read_end(txn);
    return number;
}

static void open_all(void)
{
    char why[HUB_WHY_BYTES];
    struct hub_config config = {
        .data_directory = directory, .public_url = "https://hooks.example", .now_ns = fake_wall_ns};
    struct link_feed *list[JOURNALS];
    if (hub_open(&config, &hub, why) != BK_OK) {
        bail_out("%s", why);
    }
    for (unsigned i = 0; i < JOURNALS; i++) {
        memset(&feeds[i], 0, sizeof feeds[i]);
        feeds[i].sources = hub_linked(hub);
        feeds[i].looked = journal_durable_through(world.journals[i]);
        journal_consume(world.journals[i], consume, &feeds[i]);
        list[i] = &feeds[i];
    }
    if (entries_open(hub, world.catalog, list, JOURNALS, &entries) != BK_OK) {
        bail_out("entries");
    }
}

static void close_all(void)
{
    for (unsigned i = 0; i < JOURNALS; i++) {
        journal_consume(world.journals[i], NULL, NULL);
    }
    entries_close(entries);
    hub_close(hub);
}

static void test_feed(void)
{
    static struct linked_sources sources;
    static struct link_feed feed = {.sources = &sources};
    uint64_t sequence;
    linked_set(&sources, 7);
    linked_set(&sources, 8 + 3ULL * LINKED_SOURCES);
    ok(linked_has(&sources, 7) && linked_has(&sources, 8) && !linked_has(&sources, 9), "bits");
    link_feed_look(&feed, 1, 9);
    ok(!link_feed_peek(&feed, 0, &sequence) && feed.looked == 1, "others are passed over");
    for (unsigned i = 0; i < LINK_FEED_ENTRIES; i++) {
        link_feed_look(&feed, 2 + i, 7);
    }
    ok(!feed.full && link_feed_peek(&feed, 0, &sequence) && sequence == 2, "in order");
    ok(link_feed_peek(&feed, LINK_FEED_ENTRIES - 1, &sequence) &&
           sequence == 1 + LINK_FEED_ENTRIES &&
           !link_feed_peek(&feed, LINK_FEED_ENTRIES, &sequence),
       "to the last");
    link_feed_look(&feed, 5000, 7);
    ok(feed.full && feed.looked == 5000, "one too many");
    link_feed_drop(&feed, 10);
    ok(link_feed_peek(&feed, 0, &sequence) && sequence == 12, "the oldest go first");
}

int main(void)
{
    test_directory(directory, sizeof directory, false);
    test_feed();
    world_init(&world, JOURNALS, 1U << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    open_all();
    apply("kind: Team\nmetadata: {name: core}\nspec: {}\n---\n"
          "kind: EventSource\nmetadata: {name: one}\nspec: {path: one, type: generic, "
          "verification: {scheme: none}}\n---\n"
          "kind: EventSource\nmetadata: {name: two}\nspec: {path: two, type: generic, "
          "verification: {scheme: none}}\n---\n"
          "kind: EventSource\nmetadata: {name: loud}\nspec: {path: loud, type: generic, "
          "verification: {scheme: none}}\n");
    uint64_t one = number_of("one"), two = number_of("two"), loud = number_of("loud");
    for (unsigned i = 0; i < 20; i++) {
        say(one, i % JOURNALS);
    }
    turns();
    is_uint(kept(), 0, "without a link nothing is made");
    ok(!owed(0) && !owed(1), "nor owed");
    apply("kind: IntegrationLink\nmetadata: {name: one}\nspec: {type: generic, team: {name: core}, "
          "source: {name: one}, entry: {body: $.text}}");
    turns();
    is_uint(kept(), 0, "a link is for what comes after it");
    for (unsigned i = 0; i < 100; i++) {
        say(i % 2 ? one : loud, i % 3 % JOURNALS);
    }
    turns();
    is_uint(kept(), 50, "one for each event of its source");
    for (unsigned i = 0; i < 500; i++) {
        say(loud, i % JOURNALS);
    }
    world_run(&world);
    ok(!owed(0) && !owed(1), "events of others are not owed");
    is_uint(turns(), 0, "events of others cost no turn");
    is_uint(kept(), 50);
    say(one, 1);
    world_run(&world);
    ok(!owed(0) && owed(1), "an event that was not looked at is owed to its link");
    turns();
    is_uint(kept(), 51, "and what comes behind them is found");
    ok(!owed(0) && !owed(1), "then no more");

    for (unsigned i = 0; i < 2 * LINK_FEED_ENTRIES + 500; i++) {
        say(one, 0);
    }
    say(one, 1);
    world_run(&world);
    ok(feeds[0].full, "a feed that runs over");
    ok(owed(0) && owed(1), "what it does not name is owed");
    uint64_t before = kept();
    turns();
    is_uint(kept() - before, 2 * LINK_FEED_ENTRIES + 501, "loses none and repeats none");
    ok(!feeds[0].full, "and begins anew");
    before = kept();
    for (unsigned i = 0; i < 30; i++) {
        say(one, i % JOURNALS);
    }
    turns();
    is_uint(kept() - before, 30);

    for (unsigned i = 0; i < 10; i++) {
        say(one, 0);
        say(two, 1);
    }
    world_run(&world); /* looked at before the link is there, read after it */
    apply("kind: IntegrationLink\nmetadata: {name: two}\nspec: {type: generic, team: {name: core}, "
          "source: {name: two}, entry: {body: $.text}}");
    for (unsigned i = 0; i < 10; i++) {
        say(two, 0);
    }
    before = kept();
    turns();
    is_uint(kept() - before, 20, "a link that comes while events wait");

    before = kept();
    for (unsigned i = 0; i < 10; i++) {
        say(loud, i % JOURNALS);
    }
    world_run(&world);
    late_ns = NS_PER_SECOND;
    apply(
        "kind: IntegrationLink\nmetadata: {name: loud}\nspec: {type: generic, team: {name: core}, "
        "source: {name: loud}, entry: {body: $.text}}");
    turns();
    is_uint(kept() - before, 10, "what came while a link was applied");
    late_ns = 0;

    for (unsigned round = 0; round < 3; round++) {
        before = kept();
        for (unsigned i = 0; i < 40; i++) {
            say(i % 2 ? one : two, i % JOURNALS);
        }
        world_run(&world);
        if (round > 0) { /* some of it was done */
            entries_run(entries, fake_wall_ns);
        }
        close_all();
        for (unsigned i = 0; i < 5; i++) {
            say(one, 0);
        }
        open_all();
        bool early = owed(0) && owed(1);
        turns();
        ok(early && !owed(0) && !owed(1), "a start owes all until it has looked");
        is_uint(kept() - before, 45, "a start in between, round %u", round);
    }
    close_all();
    world_stop(&world);
    world_fini(&world);
    test_directory_drop(directory);
    return done_testing();
}
