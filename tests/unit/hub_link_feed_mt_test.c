/* Description: a feed with its core and the control thread at once: each linked event is taken once
 * and in order, or the feed says that it ran over. */
#include "hub/links/link_feed.h"
#include "tests/tap.h"

#include <pthread.h>
#include <sched.h>

#define EVENTS 200000U

static struct linked_sources sources;
static struct link_feed feed = {.sources = &sources};

static void *core(void *context)
{
    (void)context;
    for (uint64_t sequence = 1; sequence <= EVENTS; sequence++) {
        link_feed_look(&feed, sequence, sequence % 7);
        while (sequence < EVENTS / 2 && feed.tail - feed.head > LINK_FEED_ENTRIES / 2) {
            sched_yield(); /* the first half does not run over */
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t thread;
    uint64_t looked = 0, last = 0, sequence, taken = 0, wrong = 0, late = 0;
    bool over = false;
    linked_set(&sources, 3);
    if (pthread_create(&thread, NULL, core, NULL) != 0) {
        bail_out("pthread_create");
    }
    while (looked < EVENTS) {
        looked = atomic_load_explicit(&feed.looked, memory_order_acquire);
        over = atomic_exchange(&feed.full, false) || over;
        uint64_t count = 0;
        while (link_feed_peek(&feed, count, &sequence)) {
            wrong += sequence % 7 != 3 || sequence <= last;
            late += !over && sequence != last + 7 && last != 0;
            last = sequence;
            count++;
        }
        link_feed_drop(&feed, count);
        taken += count;
        over = atomic_load(&feed.full) || over;
        late += !over && last + 7 <= looked;
    }
    pthread_join(thread, NULL);
    is_uint(wrong, 0, "in order, and only what is linked: %llu", (unsigned long long)taken);
    is_uint(late, 0, "none is left out unsaid%s", over ? " (it ran over, and said so)" : "");
    return done_testing();
}
