/* Description: in which order handshakes are computed, and which of them makes room. */
#include "http/handshakes.h"
#include "tests/tap.h"

static struct handshakes handshakes;

static struct ring_address v4(unsigned number)
{
    return (struct ring_address){.family = 4,
                                 .at = {10, 0, (uint8_t)(number >> 8), (uint8_t)number}};
}

static void begin(struct handshake *handshake, unsigned address)
{
    struct ring_address peer = v4(address);
    handshake_begin(&handshakes, handshake, &peer);
}

/* Two addresses of different groups. */
static unsigned another(unsigned address)
{
    struct handshake a, b;
    begin(&a, address);
    unsigned other = address;
    do {
        begin(&b, ++other);
        handshake_end(&handshakes, &b);
    } while (a.group == b.group);
    handshake_end(&handshakes, &a);
    return other;
}

static void test_order(void)
{
    struct handshake loud[10], quiet, further[3];
    unsigned other = another(1);
    for (unsigned i = 0; i < 10; i++) {
        begin(&loud[i], 1);
        handshake_wait(&handshakes, &loud[i]);
    }
    begin(&quiet, other);
    handshake_wait(&handshakes, &quiet);
    handshake_wait(&handshakes, &quiet); /* once more is fine */
    for (unsigned i = 0; i < 3; i++) {
        begin(&further[i], 1);
        handshake_answered(&handshakes, &further[i]);
        handshake_wait(&handshakes, &further[i]);
    }
    ok(handshakes_next(&handshakes) == &further[0] && handshakes_next(&handshakes) == &further[1],
       "who was answered has two of three steps, in order");
    struct handshake *first = handshakes_next(&handshakes);
    ok(handshakes_next(&handshakes) == &further[2], "then again");
    struct handshake *second = handshakes_next(&handshakes);
    ok((first == &quiet && second == &loud[9]) || (first == &loud[9] && second == &quiet),
       "the others by groups in turn, the newest of each");
    handshake_end(&handshakes, &loud[8]);
    ok(handshakes_next(&handshakes) == &loud[7], "who is over is passed by");
    handshake_wait(&handshakes, &loud[7]);
    ok(handshakes_next(&handshakes) == &loud[7], "and who comes again is the newest");
    for (unsigned i = 7; i-- > 0;) {
        ok(handshakes_next(&handshakes) == &loud[i], "%u", i);
    }
    ok(!handshakes_wait(&handshakes) && !handshakes_next(&handshakes), "nobody is left");
    for (unsigned i = 0; i < 10; i++) {
        handshake_end(&handshakes, &loud[i]); /* one of them for the second time */
    }
    is_uint(handshakes.count, 4, "four are not over");
    handshake_end(&handshakes, &quiet);
    for (unsigned i = 0; i < 3; i++) {
        handshake_end(&handshakes, &further[i]);
    }
}

/* A burst of those who were answered keeps nobody waiting, in neither line. */
static void test_further(void)
{
    struct handshake loud[30], quiet, fresh;
    unsigned other = another(1);
    for (unsigned i = 0; i < 30; i++) {
        begin(&loud[i], 1);
        handshake_answered(&handshakes, &loud[i]);
        handshake_wait(&handshakes, &loud[i]);
    }
    begin(&quiet, other);
    handshake_answered(&handshakes, &quiet);
    handshake_wait(&handshakes, &quiet);
    begin(&fresh, other);
    handshake_wait(&handshakes, &fresh);
    unsigned quiet_at = 0, fresh_at = 0;
    for (unsigned i = 1; i <= 32; i++) {
        struct handshake *next = handshakes_next(&handshakes);
        quiet_at = next == &quiet ? i : quiet_at;
        fresh_at = next == &fresh ? i : fresh_at;
    }
    ok(quiet_at >= 1 && quiet_at <= 3, "groups have turns there, too: %u", quiet_at);
    ok(fresh_at >= 1 && fresh_at <= 3, "and a hello is heard among them: %u", fresh_at);
    ok(!handshakes_wait(&handshakes), "nobody is left");
    for (unsigned i = 0; i < 30; i++) {
        handshake_end(&handshakes, &loud[i]);
    }
    handshake_end(&handshakes, &quiet);
    handshake_end(&handshakes, &fresh);
}

/* Who resumes goes first, and leaves one step of four. */
static void test_resumed(void)
{
    struct handshake resumed[9], fresh[2], further;
    begin(&fresh[0], 1);
    begin(&fresh[1], 1);
    begin(&further, 1);
    handshake_answered(&handshakes, &further);
    handshake_wait(&handshakes, &fresh[0]);
    handshake_wait(&handshakes, &fresh[1]);
    handshake_wait(&handshakes, &further);
    for (unsigned i = 0; i < 9; i++) {
        begin(&resumed[i], 1);
        handshake_wait(&handshakes, &resumed[i]);
        handshake_resumes(&handshakes, &resumed[i]); /* once his hello is whole */
        handshake_wait(&handshakes, &resumed[i]);
    }
    unsigned others = 0, in_order = 0, last_other = 0;
    for (unsigned i = 1; i <= 12; i++) {
        struct handshake *next = handshakes_next(&handshakes);
        bool other = next == &fresh[0] || next == &fresh[1] || next == &further;
        in_order += !other && next == &resumed[i - 1 - others];
        others += other;
        last_other = other ? i : last_other;
    }
    ok(others == 3 && in_order == 9, "nine resume in their order: %u", in_order);
    ok(last_other >= 9 && last_other <= 12, "the others have a step of four: %u", last_other);
    handshake_answered(&handshakes, &resumed[0]);
    handshake_wait(&handshakes, &fresh[0]);
    handshake_wait(&handshakes, &resumed[0]);
    is_uint(handshakes.waiting[HANDSHAKE_RESUMED], 1, "so are their further steps");
    ok(handshakes_next(&handshakes) && handshakes_next(&handshakes), "both come");
    ok(!handshakes_wait(&handshakes), "nobody is left");
    for (unsigned i = 0; i < 9; i++) {
        handshake_end(&handshakes, &resumed[i]);
    }
    handshake_end(&handshakes, &fresh[0]);
    handshake_end(&handshakes, &fresh[1]);
    handshake_end(&handshakes, &further);
}

/* Who was answered makes room for others who were, not for who only came. */
static void test_room_answered(void)
{
    struct handshake answered[6], silent[6];
    for (unsigned i = 0; i < 6; i++) {
        begin(&answered[i], 1);
        handshake_answered(&handshakes, &answered[i]);
        begin(&silent[i], 1);
    }
    ok(handshakes_oldest(&handshakes) == &silent[0], "half were answered: who was not goes");
    handshake_end(&handshakes, &silent[0]);
    ok(handshakes_oldest(&handshakes) == &answered[0], "more than half: the oldest of these");
    handshake_end(&handshakes, &answered[0]);
    ok(handshakes_oldest(&handshakes) == &silent[1], "and so on");
    for (unsigned i = 1; i < 6; i++) {
        handshake_end(&handshakes, &answered[i]);
        handshake_end(&handshakes, &silent[i]);
    }
    ok(handshakes.count == 0 && !handshakes_oldest(&handshakes), "all are over");
}

static void test_room(void)
{
    struct handshake loud[10], quiet[2];
    ok(!handshakes_oldest(&handshakes), "none is there to make room");
    unsigned other = another(1);
    begin(&quiet[0], other);
    for (unsigned i = 0; i < 10; i++) {
        begin(&loud[i], 1);
    }
    begin(&quiet[1], other);
    for (unsigned i = 0; i < 8; i++) {
        ok(handshakes_oldest(&handshakes) == &loud[i], "the oldest of the largest group");
        handshake_end(&handshakes, &loud[i]);
    }
    handshake_end(&handshakes, &loud[8]);
    ok(handshakes_oldest(&handshakes) == &quiet[0], "which is another now");
    handshake_end(&handshakes, &loud[9]);
    handshake_end(&handshakes, &quiet[0]);
    handshake_end(&handshakes, &quiet[1]);
    begin(&loud[0], 1);
    begin(&loud[1], 1);
    handshake_answered(&handshakes, &loud[0]);
    handshake_answered(&handshakes, &loud[0]);
    ok(handshakes_oldest(&handshakes) == &loud[1], "who was answered has his time from then on");
    handshake_end(&handshakes, &loud[0]);
    handshake_answered(&handshakes, &loud[0]);
    handshake_end(&handshakes, &loud[1]);
    is_uint(handshakes.count, 0, "all are over");
}

static void test_groups(void)
{
    struct handshake made[1000];
    unsigned most = 0;
    for (unsigned i = 0; i < 1000; i++) {
        begin(&made[i], i);
    }
    for (unsigned i = 0; i < HANDSHAKE_GROUPS; i++) {
        most = handshakes.groups[i].count > most ? handshakes.groups[i].count : most;
    }
    ok(most < 25, "a thousand addresses lie in all groups, %u in the largest", most);
    for (unsigned i = 0; i < 1000; i++) {
        handshake_end(&handshakes, &made[i]);
    }
    struct handshake a, b;
    struct ring_address peer = {.family = 6, .at = {0x20, 1, 0x0d, 0xb8, 1, 2, 3, 4, 5}};
    handshake_begin(&handshakes, &a, &peer);
    peer.at[8] = 200;
    handshake_begin(&handshakes, &b, &peer);
    ok(a.group == b.group, "an IPv6 network is one address");
    handshake_end(&handshakes, &a);
    handshake_end(&handshakes, &b);
}

int main(void)
{
    static const uint8_t key[SIPHASH_KEY_BYTES] = {1, 2, 3};
    handshakes_init(&handshakes, key);
    test_order();
    test_further();
    test_resumed();
    test_room();
    test_room_answered();
    test_groups();
    return done_testing();
}
