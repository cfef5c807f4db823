#include "net/dns_private.h"

#include <sys/resource.h>

/* Names that are being asked for at once, as far as there are descriptors; others wait for their
 * turn. A name that nobody answers for takes as long as a question may, so it is no measure for
 * others: only those that were asked for in the last quarter of a second count as young, and only
 * the young ones are few. Names that were answered for before do not wait for young ones, and have
 * an eighth of all places for themselves; those that nobody answered for the last time go behind
 * all others, and leave a quarter to them. */
#define ASKED_MAX          512U
#define ASKED_MIN          64U
#define ASKED_KNOWN_SHARE  8U
#define YOUNG_MAX          128U
#define YOUNG_DOUBTFUL_MAX 32U
#define YOUNG_NS           (SECOND_NS / 4)
/* Of the process' descriptors, for the questions of one core: two each. */
#define DESCRIPTORS_SHARE 16U
/* So large a part of the names may wait as doubtful ones; others are not asked for at all. */
#define DOUBTFUL_SHARE 2U

unsigned dns_asked_most(void)
{
    struct rlimit limit;
    uint64_t fitting = ASKED_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        fitting = limit.rlim_cur / DESCRIPTORS_SHARE;
    }
    return fitting < ASKED_MIN ? ASKED_MIN : fitting < ASKED_MAX ? (unsigned)fitting : ASKED_MAX;
}

enum dns_rank dns_rank_of(const struct dns_entry *entry)
{
    return entry->err == BK_TIMEOUT ? DOUBTFUL : entry->count > 0 ? KNOWN : NEW;
}

bool dns_may_ask(const struct resolver *resolver, enum dns_rank rank)
{
    if (rank == KNOWN) {
        return resolver->asked < resolver->asked_max;
    }
    return resolver->young_count < YOUNG_MAX &&
           resolver->asked < resolver->asked_max - resolver->asked_max / ASKED_KNOWN_SHARE &&
           (rank == NEW || (resolver->young_doubtful < YOUNG_DOUBTFUL_MAX &&
                            resolver->asked_doubtful < resolver->asked_max / 4 * 3));
}

static void young_end(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (list_linked(&entry->young)) {
        list_remove(&entry->young);
        resolver->young_count--;
        resolver->young_doubtful -= entry->rank == DOUBTFUL;
    }
}

static void young_fire(struct timer *timer)
{
    struct resolver *resolver = bk_container_of(timer, struct resolver, young_timer);
    uint64_t now_ns = dns_now_ns(resolver);
    while (!list_empty(&resolver->young)) {
        struct dns_entry *entry = bk_container_of(resolver->young.next, struct dns_entry, young);
        if (entry->young_until_ns > now_ns) {
            timer_start(resolver->config.wheel, timer, entry->young_until_ns, young_fire);
            break;
        }
        young_end(entry);
    }
    dns_settle(resolver);
    dns_timeouts_arm(resolver);
}

void dns_asked_begin(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    resolver->asked++;
    resolver->asked_doubtful += entry->rank == DOUBTFUL;
    entry->young_until_ns = dns_now_ns(resolver) + YOUNG_NS;
    list_push_back(&resolver->young, &entry->young);
    resolver->young_count++;
    resolver->young_doubtful += entry->rank == DOUBTFUL;
    if (!timer_running(&resolver->young_timer)) {
        timer_start(resolver->config.wheel, &resolver->young_timer, entry->young_until_ns,
                    young_fire);
    }
}

void dns_asked_end(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    bk_assert(resolver->asked > 0);
    resolver->asked--;
    resolver->asked_doubtful -= entry->rank == DOUBTFUL;
    young_end(entry);
    if (list_empty(&resolver->young)) {
        timer_stop(resolver->config.wheel, &resolver->young_timer);
    }
}

void dns_turn_queue(struct dns_entry *entry)
{
    list_push_back(&entry->resolver->queues[entry->rank], &entry->turn);
    entry->resolver->doubtful_waiting += entry->rank == DOUBTFUL;
}

struct dns_entry *dns_turn_next(struct resolver *resolver)
{
    for (enum dns_rank rank = KNOWN; rank < RANKS; rank++) {
        struct list *node =
            dns_may_ask(resolver, rank) ? list_pop_front(&resolver->queues[rank]) : NULL;
        if (node) {
            resolver->doubtful_waiting -= rank == DOUBTFUL;
            return bk_container_of(node, struct dns_entry, turn);
        }
    }
    return NULL;
}

bool dns_hopeless(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (entry->rank != DOUBTFUL || dns_may_ask(resolver, DOUBTFUL) ||
        resolver->doubtful_waiting < resolver->config.names_max / DOUBTFUL_SHARE) {
        return false;
    }
    entry->failed_until_ns = dns_now_ns(resolver) + FAILED_NS;
    return true;
}
