#include "http/handshakes.h"

#include <string.h>

/* While somebody waits in both lines, each so many steps one is for who waits for our hello. */
#define FRESH_EACH 3U
/* While others wait, each so many steps one is not for those who resume. */
#define OTHERS_EACH 4U

void handshakes_init(struct handshakes *handshakes, const uint8_t key[SIPHASH_KEY_BYTES])
{
    memset(handshakes, 0, sizeof *handshakes);
    for (unsigned i = 0; i < HANDSHAKE_GROUPS; i++) {
        list_init(&handshakes->groups[i].begun);
        list_init(&handshakes->groups[i].answered);
        for (unsigned line = 0; line < HANDSHAKE_LINES; line++) {
            list_init(&handshakes->groups[i].lines[line]);
        }
    }
    memcpy(handshakes->key, key, sizeof handshakes->key);
}

/* Who has one IPv6 address of a network has all of them. */
static uint8_t group_of(const struct handshakes *handshakes, const struct ring_address *peer)
{
    uint64_t hash[2];
    siphash128(handshakes->key, peer->at, peer->family == 6 ? 8 : 4, hash);
    return (uint8_t)(hash[0] % HANDSHAKE_GROUPS);
}

void handshake_begin(struct handshakes *handshakes, struct handshake *handshake,
                     const struct ring_address *peer)
{
    *handshake = (struct handshake){.group = group_of(handshakes, peer)};
    struct handshake_group *group = &handshakes->groups[handshake->group];
    list_push_back(&group->begun, &handshake->node);
    group->count++;
    handshakes->count++;
}

static enum handshake_line line_of(const struct handshake *handshake)
{
    return handshake->resumes    ? HANDSHAKE_RESUMED
           : handshake->answered ? HANDSHAKE_FURTHER
                                 : HANDSHAKE_FRESH;
}

static void leave_line(struct handshakes *handshakes, struct handshake *handshake)
{
    if (list_linked(&handshake->line)) {
        list_remove(&handshake->line);
        handshakes->waiting[line_of(handshake)]--;
    }
}

void handshake_end(struct handshakes *handshakes, struct handshake *handshake)
{
    if (!list_linked(&handshake->node)) {
        return;
    }
    leave_line(handshakes, handshake);
    list_remove(&handshake->node);
    struct handshake_group *group = &handshakes->groups[handshake->group];
    bk_assert(group->count > 0);
    group->count--;
    group->answered_count -= handshake->answered;
    handshakes->count--;
}

void handshake_answered(struct handshakes *handshakes, struct handshake *handshake)
{
    if (handshake->answered) {
        return;
    }
    bk_assert(!list_linked(&handshake->line));
    handshake->answered = true;
    if (list_linked(&handshake->node)) {
        struct handshake_group *group = &handshakes->groups[handshake->group];
        list_remove(&handshake->node);
        list_push_back(&group->answered, &handshake->node);
        group->answered_count++;
    }
}

void handshake_resumes(struct handshakes *handshakes, struct handshake *handshake)
{
    leave_line(handshakes, handshake);
    handshake->resumes = true;
}

void handshake_wait(struct handshakes *handshakes, struct handshake *handshake)
{
    bk_assert(list_linked(&handshake->node));
    if (list_linked(&handshake->line)) {
        return;
    }
    enum handshake_line line = line_of(handshake);
    list_push_back(&handshakes->groups[handshake->group].lines[line], &handshake->line);
    handshakes->waiting[line]++;
}

/* Who do not resume. */
static bool others_wait(const struct handshakes *handshakes)
{
    return handshakes->waiting[HANDSHAKE_FRESH] > 0 || handshakes->waiting[HANDSHAKE_FURTHER] > 0;
}

bool handshakes_wait(const struct handshakes *handshakes)
{
    return others_wait(handshakes) || handshakes->waiting[HANDSHAKE_RESUMED] > 0;
}

static enum handshake_line next_line(struct handshakes *handshakes)
{
    if (handshakes->waiting[HANDSHAKE_RESUMED] > 0 &&
        (!others_wait(handshakes) || ++handshakes->resumed_steps % OTHERS_EACH != 0)) {
        return HANDSHAKE_RESUMED;
    }
    if (handshakes->waiting[HANDSHAKE_FRESH] == 0) {
        return HANDSHAKE_FURTHER;
    }
    if (handshakes->waiting[HANDSHAKE_FURTHER] == 0) {
        return HANDSHAKE_FRESH;
    }
    return ++handshakes->steps % FRESH_EACH == 0 ? HANDSHAKE_FRESH : HANDSHAKE_FURTHER;
}

static struct list *next_of(struct handshakes *handshakes, enum handshake_line line)
{
    unsigned *turn = &handshakes->turn[line];
    struct list *waiting;
    bk_assert(handshakes->waiting[line] > 0);
    do {
        *turn = (*turn + 1) % HANDSHAKE_GROUPS;
        waiting = &handshakes->groups[*turn].lines[line];
    } while (list_empty(waiting));
    return line == HANDSHAKE_FRESH ? waiting->prev : waiting->next;
}

struct handshake *handshakes_next(struct handshakes *handshakes)
{
    if (!handshakes_wait(handshakes)) {
        return NULL;
    }
    struct list *next = next_of(handshakes, next_line(handshakes));
    struct handshake *handshake = bk_container_of(next, struct handshake, line);
    leave_line(handshakes, handshake);
    return handshake;
}

struct handshake *handshakes_oldest(const struct handshakes *handshakes)
{
    const struct handshake_group *largest = &handshakes->groups[0];
    for (unsigned i = 1; i < HANDSHAKE_GROUPS; i++) {
        const struct handshake_group *group = &handshakes->groups[i];
        largest = group->count > largest->count ? group : largest;
    }
    if (largest->count == 0) {
        return NULL;
    }
    const struct list *from =
        2 * largest->answered_count > largest->count ? &largest->answered : &largest->begun;
    return bk_container_of(from->next, struct handshake, node);
}
