/* Description: net/dns against a name server that answers as it is told, also wrongly
 * (tests/lib/dns_double.py): answers, cache, single flight, order, failures, stale answers. */
#include "net/dns.h"

#include "tap.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS 1000000ULL

static struct ring *ring;
static struct timer_wheel wheel;
static struct resolver *resolver;

/* ---- the name server, a child process */

static FILE *to_double, *from_double;
static pid_t double_pid;
static struct ring_address server = {.family = 4, .at = {127, 0, 0, 1}};

__attribute__((format(printf, 1, 2))) static const char *tell(const char *format, ...)
{
    static char line[8192];
    va_list args;
    va_start(args, format);
    vfprintf(to_double, format, args);
    va_end(args);
    fputc('\n', to_double);
    fflush(to_double);
    if (!fgets(line, sizeof line, from_double)) {
        bail_out("the name server died");
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static int told(const char *question)
{
    return atoi(tell("%s", question));
}

static void double_start(void)
{
    const char *root = getenv("BECKET_ROOT");
    char path[4096], line[64];
    int in[2], out[2];
    snprintf(path, sizeof path, "%s/tests/lib/dns_double.py", root ? root : ".");
    if (pipe(in) != 0 || pipe(out) != 0) {
        bail_out("pipe");
    }
    double_pid = fork();
    if (double_pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execlp("python3", "python3", path, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_double = fdopen(in[1], "w");
    from_double = fdopen(out[0], "r");
    if (!fgets(line, sizeof line, from_double)) {
        skip_all("python3 is missing");
    }
    server.port = (uint16_t)atoi(line);
}

static void double_stop(void)
{
    fclose(to_double);
    fclose(from_double);
    kill(double_pid, SIGTERM);
    waitpid(double_pid, NULL, 0);
}

/* ---- lookups */

static unsigned done_count;

static void looked_up(struct dns_lookup *lookup)
{
    (void)lookup;
    done_count++;
}

static void turn(uint64_t ms)
{
    uint64_t until_ns = ring_now_ns(ring) + ms * MS, next_ns = timer_wheel_next_ns(&wheel);
    ring_turn(ring, next_ns < until_ns ? next_ns : until_ns);
    timer_wheel_run(&wheel, ring_now_ns(ring));
}

static void turn_for(uint64_t ms)
{
    uint64_t until_ns = ring_now_ns(ring) + ms * MS;
    while (ring_now_ns(ring) < until_ns) {
        turn((until_ns - ring_now_ns(ring)) / MS + 1);
    }
}

static enum bk_err wait_for(struct dns_lookup *lookup)
{
    uint64_t until_ns = ring_now_ns(ring) + 20000 * MS;
    while (dns_lookup_busy(lookup) && ring_now_ns(ring) < until_ns) {
        turn(100);
    }
    ok(!dns_lookup_busy(lookup), "the lookup ends");
    return lookup->err;
}

static struct dns_lookup last;

static enum bk_err look(const char *host)
{
    enum bk_err err = resolver_lookup(resolver, &last, slice_str(host), 80, looked_up);
    return err == BK_AGAIN ? wait_for(&last) : err;
}

/* The answer as text: addresses, or the error. */
static const char *shown(const struct dns_lookup *lookup)
{
    static char text[1024];
    text[0] = '\0';
    if (lookup->err != BK_OK) {
        snprintf(text, sizeof text, "%s", bk_err_name(lookup->err));
        return text;
    }
    for (unsigned i = 0; i < lookup->count; i++) {
        char address[ADDRESS_TEXT_BYTES];
        size_t bytes = strlen(text);
        address_format(&lookup->addresses[i], address);
        snprintf(text + bytes, sizeof text - bytes, "%s%s", i ? " " : "", address);
        if (lookup->addresses[i].port != 80) {
            return "wrong port";
        }
    }
    return text;
}

static const char *found(const char *host)
{
    (void)look(host);
    return shown(&last);
}

static void start(struct resolver_config config)
{
    const char *why = "";
    config.ring = ring;
    config.wheel = &wheel;
    config.servers = &server;
    config.server_count = 1;
    if (resolver_open(&config, &resolver, &why) != BK_OK) {
        bail_out("resolver_open: %s", why);
    }
}

static void stop(void)
{
    resolver_stop(resolver);
    for (unsigned i = 0; i < 100 && !resolver_idle(resolver); i++) {
        turn(10);
    }
    ok(resolver_idle(resolver), "a stopped resolver becomes idle");
    ok(wheel.count == 0, "and leaves no timer");
    resolver_close(resolver);
    resolver = NULL;
}

/* ---- the tests */

static void test_literals(void)
{
    start((struct resolver_config){0});
    static const struct {
        const char *host, *want;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"::1", "::1"},
        {"2001:db8::5", "2001:db8::5"},
        {"::ffff:127.0.0.1", "127.0.0.1"},
        {"localhost", "127.0.0.1 ::1"},
        {"a.LocalHost", "127.0.0.1 ::1"},
        {"notlocalhost", "NOT_FOUND"},
        /* Numbers in any spelling are addresses (base/url.h), so the policy sees them. */
        {"2130706433", "127.0.0.1"},
        {"0x7f.1", "127.0.0.1"},
        {"0177.0.0.1", "127.0.0.1"},
        {"127.1", "127.0.0.1"},
        {"", "INVALID"},
        {"256.1.1.1", "INVALID"},
        {"a..b", "INVALID"},
        {"a b", "INVALID"},
        {"a\r\nb", "INVALID"},
        {"\xe3\x80\x82", "INVALID"},
        {"fe80::1%eth0", "INVALID"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        is_str(found(cases[i].host), cases[i].want, "%s", cases[i].host);
    }
    ok(look("a b") == BK_INVALID && strstr(last.why, "a b: ") == last.why, "told why: %s",
       last.why);
    is_str(tell("names"), "notlocalhost/A notlocalhost/AAAA", "only the name was asked for");
    stop();
}

static void test_answers(void)
{
    start((struct resolver_config){0});
    tell("set one.test A 1.2.3.4");
    tell("set both.test A 1.1.1.1,1.1.1.2,1.1.1.3");
    tell("set both.test AAAA 2606::1,2606::2");
    tell("set six.test AAAA 2606::6");
    tell("set alias.test A cname=b.alias.test,c.alias.test 1.2.3.5 ttl=7");
    tell("set long.test A truncate 1.2.3.6");
    tell("set twice.test A 1.2.3.7,1.2.3.7");
    tell("set mapped.test AAAA ::ffff:10.0.0.1");
    tell("set wrongid.test A wrongid 1.2.3.8");
    tell("set trickle.test A trickle 1.2.3.9");
    tell("set endless.test A 1.2.3.10 ttl=4294967295");
    is_str(found("one.test"), "1.2.3.4", "an address");
    is_str(found("ONE.test."), "1.2.3.4", "in any case, with a dot");
    is_str(found("both.test"), "2606::1 1.1.1.1 2606::2 1.1.1.2 1.1.1.3", "families take turns");
    resolver_won(resolver, SLICE("both.test"), 4);
    is_str(found("both.test"), "1.1.1.1 2606::1 1.1.1.2 2606::2 1.1.1.3",
           "beginning with the winner");
    resolver_won(resolver, SLICE("both.test"), 6);
    is_str(found("both.test"), "2606::1 1.1.1.1 2606::2 1.1.1.2 1.1.1.3", "the last one");
    is_str(found("six.test"), "2606::6", "IPv6 alone");
    is_str(found("alias.test"), "1.2.3.5", "through aliases");
    int tcp = told("tcp");
    is_str(found("long.test"), "1.2.3.6", "a long answer comes by TCP");
    ok(told("tcp") > tcp, "indeed by TCP");
    is_str(found("twice.test"), "1.2.3.7", "no address twice");
    is_str(found("mapped.test"), "10.0.0.1", "a mapped address is what it stands for");
    is_str(found("wrongid.test"), "1.2.3.8", "an answer with another id is nobody's");
    is_str(found("trickle.test"), "1.2.3.9", "an answer that comes byte by byte");
    is_str(found("endless.test"), "1.2.3.10", "one for 136 years");
    tell("set huge.test A huge");
    is_int(look("huge.test"), BK_OK, "two thousand addresses");
    is_uint(last.count, DNS_ADDRESSES_MAX, "are cut");
    stop();
}

struct failure {
    const char *host, *answer, *want; /* NULL: any failure */
};

static void look_at_failures(const struct failure *failures, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct failure *failure = &failures[i];
        if (failure->answer) {
            tell("set %s A %s", failure->host, failure->answer);
        }
        const char *got = found(failure->host);
        ok(failure->want ? strcmp(got, failure->want) == 0 : last.err != BK_OK, "%s: %s",
           failure->host, last.why);
        ok(last.count == 0 && strncmp(last.why, failure->host, strlen(failure->host)) == 0,
           "no address, and a reason that names it");
    }
}

/* Answered, and no address in it. */
static void test_failures(void)
{
    static const struct failure failures[] = {
        {"absent.test", NULL, "NOT_FOUND"},
        {"none.test", "nodata", "NOT_FOUND"},
        {"servfail.test", "servfail", NULL},
        {"refused.test", "refused", NULL},
        {"loop.test", "loop", "NOT_FOUND"},
        {"chain.test", "cname=b.test,c.test", "NOT_FOUND"},
        {"othertype.test", "othertype", "NOT_FOUND"},
        {"long.test", "absent=100000", "NOT_FOUND"},
    };
    start((struct resolver_config){0});
    look_at_failures(failures, sizeof failures / sizeof failures[0]);
    is_str(found("absent.test"), "NOT_FOUND", "again");
    is_int(told("count absent.test A"), 1, "what does not exist is remembered");
    ok(resolver_stats(resolver)->negative_hits == 1, "without asking");
    stop();
}

/* Never answered, or with what is none. */
static void test_nonsense(void)
{
    static const struct failure failures[] = {
        {"hang.test", "hang", "TIMEOUT"},
        {"garbage.test", "garbage", NULL},
        {"cut.test", "cut 1.2.3.4", NULL},
        {"wrongname.test", "wrongname 1.2.3.4", NULL},
        {"pointers.test", "pointers", NULL},
        {"beyond.test", "beyond", NULL},
        {"notruncation.test", "notruncation", NULL},
        {"closes.test", "closes", NULL},
    };
    start((struct resolver_config){.timeout_ms = 300, .tries = 2});
    look_at_failures(failures, sizeof failures / sizeof failures[0]);
    tell("set half.test A servfail");
    tell("set half.test AAAA hang");
    ok(look("half.test") == BK_UNREACHABLE && strstr(last.why, "SERVFAIL"),
       "what was answered says more than a silence: %s", last.why);
    tell("set nobody.test A nxdomain");
    tell("set nobody.test AAAA hang");
    uint64_t begin_ns = ring_now_ns(ring);
    ok(look("nobody.test") == BK_NOT_FOUND && ring_now_ns(ring) - begin_ns < 250 * MS,
       "a name that does not exist does not exist for IPv6 either: %s", last.why);
    turn_for(1200); /* both tries are over */
    ok(look("nobody.test") == BK_NOT_FOUND, "and goes on not to exist: %s", last.why);
    tell("set sixonly.test A nodata");
    tell("set sixonly.test AAAA late=0.2 2001:db8::6");
    ok(look("sixonly.test") == BK_OK, "one without IPv4 addresses does exist");
    tell("set four.test A late=0.2 192.0.2.4");
    tell("set four.test AAAA nxdomain");
    ok(look("four.test") == BK_OK, "nor is it believed that there is none, when said of IPv6");
    (void)look("hang.test");
    int asked = told("count hang.test A");
    ok(look("hang.test") == BK_TIMEOUT && told("count hang.test A") == asked,
       "what failed is remembered");
    stop();
}

static void test_late_family(void)
{
    start((struct resolver_config){.timeout_ms = 6000});
    tell("set v4only.test A 1.2.3.4");
    tell("set v4only.test AAAA hang");
    uint64_t start_ns = ring_now_ns(ring);
    is_str(found("v4only.test"), "1.2.3.4", "a server that says nothing of IPv6");
    uint64_t took_ms = (ring_now_ns(ring) - start_ns) / MS;
    ok(took_ms >= 50 && took_ms < 5000, "costs a moment only (%llu ms)",
       (unsigned long long)took_ms);
    tell("set late.test A 1.2.3.4");
    tell("set late.test AAAA late=0.3 2606::1");
    is_str(found("late.test"), "1.2.3.4", "the late one is not waited for");
    turn_for(500);
    is_str(found("late.test"), "2606::1 1.2.3.4", "but joins");
    tell("set late4.test AAAA 2606::1");
    tell("set late4.test A late=0.3 1.2.3.4");
    is_str(found("late4.test"), "2606::1 1.2.3.4", "IPv4 is waited for a little longer");
    stop();
}

static void test_single_flight(void)
{
    start((struct resolver_config){0});
    struct dns_lookup lookups[100];
    memset(lookups, 0, sizeof lookups);
    tell("set shared.test A late=0.1 1.2.3.4");
    done_count = 0;
    unsigned again = 0;
    for (unsigned i = 0; i < 100; i++) {
        again +=
            resolver_lookup(resolver, &lookups[i], SLICE("shared.test"), 80, looked_up) == BK_AGAIN;
    }
    is_uint(again, 100, "a hundred wait");
    is_uint(done_count, 0, "done() does not run from inside");
    resolver_cancel(resolver, &lookups[50]);
    resolver_cancel(resolver, &lookups[50]);
    ok(!dns_lookup_busy(&lookups[50]), "one is cancelled");
    ok(wait_for(&lookups[99]) == BK_OK && done_count == 99, "the others are answered, %u",
       done_count);
    is_int(told("count shared.test A"), 1, "one question");
    uint64_t queries = resolver_stats(resolver)->queries;
    is_int(resolver_lookup(resolver, &lookups[0], SLICE("shared.test"), 80, looked_up), BK_OK,
           "then it is known at once");
    ok(resolver_stats(resolver)->queries == queries && done_count == 99, "without a question");
    tell("set pending.test A hang");
    memset(lookups, 0, sizeof lookups);
    ok(resolver_lookup(resolver, &lookups[0], SLICE("pending.test"), 80, looked_up) == BK_AGAIN);
    turn_for(20);
    stop();
    ok(!dns_lookup_busy(&lookups[0]) && lookups[0].err == BK_CANCELLED, "stopping ends who waits");
}

/* A server that answers out of its cache at once, and takes its time for what it must find out. */
static void test_patience(void)
{
    start((struct resolver_config){0});
    for (unsigned i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "quick%u.test", i);
        tell("set %s A 1.1.1.1", name);
        is_str(found(name), "1.1.1.1", "at once");
    }
    tell("set found-out.test A hang | hang | hang | hang | 1.1.1.2");
    is_str(found("found-out.test"), "1.1.1.2", "four questions later: %s", last.why);
    stop();
}

/* done() starts the next lookup in the place of the last, over more names than there is room for.
 */
static struct chain {
    struct dns_lookup lookup;
    unsigned next;
    unsigned answers;
} chain;

static void chain_step(struct dns_lookup *lookup)
{
    char name[32];
    chain.answers += lookup->err == BK_OK;
    while (chain.next < 40) {
        snprintf(name, sizeof name, "n%u.test", chain.next++);
        if (resolver_lookup(resolver, &chain.lookup, slice_str(name), 80, chain_step) == BK_AGAIN) {
            return;
        }
        chain.answers += chain.lookup.err == BK_OK;
    }
}

static void test_bounds(void)
{
    start((struct resolver_config){.names_max = 4});
    char name[32];
    for (unsigned i = 0; i < 40; i++) {
        tell("set n%u.test A 1.0.0.%u ttl=3600", i, i + 1);
    }
    memset(&chain, 0, sizeof chain);
    chain.lookup.err = BK_CANCELLED;
    chain_step(&chain.lookup);
    for (unsigned i = 0; i < 2000 && (chain.next < 40 || dns_lookup_busy(&chain.lookup)); i++) {
        turn(10);
    }
    is_uint(chain.answers, 40, "forty names through four places");
    is_uint(resolver_stats(resolver)->evicted, 36, "thirty-six had to leave");
    struct dns_lookup lookups[5];
    memset(lookups, 0, sizeof lookups);
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "hang%u.test", i);
        tell("set %s A hang", name);
        enum bk_err err = resolver_lookup(resolver, &lookups[i], slice_str(name), 80, looked_up);
        is_int(err, i < 4 ? BK_AGAIN : BK_BUSY, "question %u at a time", i + 1);
    }
    ok(strstr(lookups[4].why, "too many names") != NULL, "%s", lookups[4].why);
    stop();
}

#define HANGING 100U

static unsigned busy_of(const struct dns_lookup *lookups)
{
    unsigned count = 0;
    for (unsigned i = 0; i < HANGING; i++) {
        count += dns_lookup_busy(&lookups[i]);
    }
    return count;
}

/* More names than are asked for at once, and nobody answers: the second time they leave room. */
static void test_hanging(void)
{
    static struct dns_lookup lookups[HANGING];
    start((struct resolver_config){.timeout_ms = 1500, .tries = 1});
    tell("set well.test A 1.1.1.1");
    tell("set well.test AAAA nodata");
    for (unsigned round = 0; round < 2; round++) {
        memset(lookups, 0, sizeof lookups);
        for (unsigned i = 0; i < HANGING; i++) {
            char name[32];
            snprintf(name, sizeof name, "never%u.test", i);
            if (round == 0) {
                tell("set %s A hang", name);
                tell("set %s AAAA hang", name);
            }
            is_int(resolver_lookup(resolver, &lookups[i], slice_str(name), 80, looked_up),
                   BK_AGAIN);
        }
        if (round == 1) {
            break;
        }
        for (unsigned i = 0; i < 1000 && busy_of(lookups) > 0; i++) {
            turn(10);
        }
        is_uint(busy_of(lookups), 0, "all of them end");
        resolver_reload(resolver); /* failures are asked again */
    }
    is_str(found("well.test"), "1.1.1.1", "a name beside them");
    is_uint(busy_of(lookups), HANGING, "before any of them ends");
    stop();
}

static uint64_t ms_until_found(const char *host)
{
    uint64_t start_ns = ring_now_ns(ring);
    (void)look(host);
    return (ring_now_ns(ring) - start_ns) / MS;
}

#define DEAD    300U
#define DEAD_MS 5000U

static unsigned look_for_dead(struct dns_lookup *lookups, unsigned count)
{
    unsigned asked = 0;
    memset(lookups, 0, count * sizeof *lookups);
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "dead%u.test", i);
        asked += resolver_lookup(resolver, &lookups[i], slice_str(name), 80, looked_up) == BK_AGAIN;
    }
    return asked;
}

/* Hundreds of names that never answer, each for five seconds: a good one does not wait for them. */
static void test_dead(void)
{
    static struct dns_lookup lookups[DEAD];
    start((struct resolver_config){.timeout_ms = DEAD_MS, .tries = 1});
    for (unsigned i = 0; i < DEAD; i++) {
        tell("set dead%u.test A hang", i);
        tell("set dead%u.test AAAA hang", i);
    }
    tell("set known.test A 1.1.1.1 ttl=0");
    tell("set fresh.test A 1.1.1.2");
    tell("set newer.test A 1.1.1.3");
    tell("set late.test A hang | 1.1.1.4");
    tell("set late.test AAAA nodata");
    is_str(found("known.test"), "1.1.1.1", "a name that is known");
    resolver_reload(resolver); /* it is to be asked for again */
    is_uint(look_for_dead(lookups, DEAD), DEAD, "three hundred names that were never asked for");
    uint64_t took_ms = ms_until_found("fresh.test");
    ok(last.err == BK_OK && took_ms < DEAD_MS, "one behind them took %u ms", (unsigned)took_ms);
    took_ms = ms_until_found("known.test");
    ok(last.err == BK_OK && took_ms < DEAD_MS, "the known one took %u ms", (unsigned)took_ms);
    is_uint(told("count known.test A"), 2, "though it was asked for again");
    struct dns_lookup late = {.err = BK_OK};
    ok(resolver_lookup(resolver, &late, SLICE("late.test"), 80, looked_up) == BK_AGAIN);
    while (resolver_stats(resolver)->failures < DEAD + 1) {
        turn(50);
    }
    ok(late.err == BK_TIMEOUT, "all of them end, and one that will answer later: %s", late.why);
    resolver_reload(resolver); /* failures are asked again */
    is_uint(look_for_dead(lookups, DEAD), DEAD, "a second round");
    took_ms = ms_until_found("newer.test");
    ok(last.err == BK_OK && took_ms < DEAD_MS, "one beside them took %u ms", (unsigned)took_ms);
    took_ms = ms_until_found("late.test");
    ok(last.err == BK_OK && took_ms < DEAD_MS, "one that did not answer the last time took %u ms",
       (unsigned)took_ms);
    stop();
}

static void test_ttl_and_stale(void)
{
    start((struct resolver_config){.tries = 2});
    tell("set ttl.test A 1.1.1.1 ttl=0 | 1.1.1.2 ttl=0 | servfail | servfail | nxdomain");
    tell("set slow.test A 1.1.1.1 ttl=0 | hang");
    tell("set slow.test AAAA nodata | hang");
    is_str(found("ttl.test"), "1.1.1.1", "an answer for no time");
    is_str(found("slow.test"), "1.1.1.1", "another");
    turn_for(2500);
    is_str(found("ttl.test"), "1.1.1.1", "is kept for five seconds");
    turn_for(3000);
    is_str(found("ttl.test"), "1.1.1.2", "then asked for again");
    uint64_t start_ns = ring_now_ns(ring);
    /* The double hangs for two tries of 300 and 600 ms; the old answer would serve after 1.5 s. */
    is_str(found("slow.test"), "1.1.1.1", "servers that say nothing: the old answer serves");
    ok(last.stale, "and is called stale");
    ok(ring_now_ns(ring) - start_ns < 4000 * MS, "soon");
    turn_for(5200);
    is_str(found("ttl.test"), "1.1.1.2", "SERVFAIL: the old answer serves");
    ok(last.stale && resolver_stats(resolver)->stale_answers == 2, "stale");
    is_str(found("ttl.test"), "1.1.1.2", "for five seconds without asking");
    int asked = told("count ttl.test A");
    turn_for(5200);
    is_str(found("ttl.test"), "NOT_FOUND", "that there is no such name is believed");
    ok(told("count ttl.test A") == asked + 1, "after one more question");
    stop();
}

static void test_slow(void)
{
    start((struct resolver_config){.timeout_ms = 5000});
    tell("set slower.test A 1.1.1.1 ttl=0 | late=4 1.1.1.2");
    tell("set slower.test AAAA nodata");
    is_str(found("slower.test"), "1.1.1.1", "an answer");
    turn_for(5100);
    uint64_t start_ns = ring_now_ns(ring);
    is_str(found("slower.test"), "1.1.1.1", "a server that takes its time: the old answer serves");
    uint64_t took_ms = (ring_now_ns(ring) - start_ns) / MS;
    ok(last.stale && took_ms >= 1400 && took_ms < 4000, "after 1.5 s (%llu)",
       (unsigned long long)took_ms);
    start_ns = ring_now_ns(ring);
    ok(look("slower.test") == BK_OK && last.stale && ring_now_ns(ring) == start_ns,
       "the next one at once");
    turn_for(3000);
    is_str(found("slower.test"), "1.1.1.2", "until the new one comes");
    ok(!last.stale, "fresh");
    stop();
}

static void test_rebinding(void)
{
    start((struct resolver_config){0});
    tell("set rebind.test A 1.2.3.4 ttl=0 | 127.0.0.1 ttl=0");
    tell("set mixed.test A 10.0.0.1,1.2.3.4,127.0.0.1 ttl=0");
    is_str(found("rebind.test"), "1.2.3.4", "public first");
    is_str(found("rebind.test"), "1.2.3.4", "asked again at once, the answer is the same");
    is_int(told("count rebind.test A"), 1, "for nobody asks");
    is_str(found("mixed.test"), "10.0.0.1 1.2.3.4 127.0.0.1", "the resolver does not judge");
    stop();
}

static void test_hosts(void)
{
    char path[] = "/tmp/becket-hosts-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        bail_out("mkstemp");
    }
    static const char text[] =
        "10.9.8.7 pinned.test other\n# no\n::5 six.hosts\n1.2.3.4 six.hosts\n";
    ok(write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    close(fd);
    start((struct resolver_config){.hosts_path = path});
    tell("set pinned.test A 6.6.6.6");
    tell("set pinned.test AAAA 2606::6");
    if (look("pinned.test") == BK_OK && last.addresses[0].at[0] != 10) {
        skip("this c-ares takes no other hosts file");
    } else {
        is_str(shown(&last), "10.9.8.7", "what the hosts file says is not asked of DNS");
        is_int(told("count pinned.test AAAA"), 0, "not even the other family");
        is_str(found("six.hosts"), "::5 1.2.3.4", "both families");
    }
    stop();
    unlink(path);
}

static void test_reload_and_down(void)
{
    start((struct resolver_config){.tries = 2});
    struct dns_lookup lookup = {.err = BK_OK};
    tell("set again.test A hang | hang | 1.2.3.4");
    tell("set again.test AAAA nodata");
    ok(resolver_lookup(resolver, &lookup, SLICE("again.test"), 80, looked_up) == BK_AGAIN);
    for (int asked = 1; asked < 3; asked++) {
        for (unsigned i = 0; i < 200 && told("count again.test A") < asked; i++) {
            turn_for(5);
        }
        resolver_reload(resolver);
    }
    is_int(wait_for(&lookup), BK_OK, "questions under way go on through a reload");
    is_int(told("count again.test A"), 3, "asked anew each time");
    tell("set gone.test A servfail | servfail | 1.2.3.4");
    ok(look("gone.test") != BK_OK, "a failure");
    resolver_reload(resolver);
    is_str(found("gone.test"), "1.2.3.4", "is forgotten by a reload");
    stop();
}

static void write_conf(const char *path, unsigned port, const char *more)
{
    char other[64];
    snprintf(other, sizeof other, "%s.new", path);
    FILE *file = fopen(other, "w");
    if (!file) {
        bail_out("%s", other);
    }
    fprintf(file, "nameserver 127.0.0.1:%u\n%s", port, more);
    fclose(file);
    if (rename(other, path) != 0) {
        bail_out("rename");
    }
}

/* A new lease, a VPN: other name servers, another search list, while we run. */
static void test_conf(void)
{
    char path[] = "/tmp/becket-conf-XXXXXX";
    const char *why = "";
    struct resolver_config config = {.ring = ring, .wheel = &wheel, .conf_path = path};
    int fd = mkstemp(path);
    if (fd < 0) {
        bail_out("mkstemp");
    }
    close(fd);
    write_conf(path, server.port, "");
    tell("set first.test A 1.2.3.4");
    tell("set second.conf.test A 1.2.3.5");
    if (resolver_open(&config, &resolver, &why) != BK_OK) {
        bail_out("resolver_open: %s", why);
    }
    if (look("first.test") != BK_OK) {
        skip("this c-ares takes no port, or no other file");
    } else {
        is_str(found("second"), "NOT_FOUND", "no such name");
        write_conf(path, server.port, "search conf.test\n");
        turn_for(1100);
        is_str(found("third"), "NOT_FOUND", "a question, and it is seen");
        is_str(found("second"), "1.2.3.5",
               "a search list that comes later, though it was none just now");
        int asked = told("count first.test A");
        is_str(found("first.test"), "1.2.3.4", "what was known");
        is_int(told("count first.test A"), asked + 1, "is asked again");
        unlink(path);
        turn_for(1100);
        is_str(found("first.test"), "1.2.3.4", "without the file what is known serves");
        write_conf(path, server.port, "");
        turn_for(1100);
        is_str(found("one.test"), "1.2.3.4", "and it is there again");
    }
    stop();
    unlink(path);
}

/* Many names at once, many sockets and timers, all answered. */
static void test_many(void)
{
    start((struct resolver_config){0});
    static struct dns_lookup lookups[300];
    char name[32];
    for (unsigned i = 0; i < 300; i++) {
        tell("set m%u.test A 1.1.%u.%u", i, i / 256, i % 256);
    }
    unsigned right = 0;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "m%u.test", i);
        ok(resolver_lookup(resolver, &lookups[i], slice_str(name), 80, looked_up) == BK_AGAIN);
    }
    for (unsigned i = 0; i < 300; i++) {
        (void)wait_for(&lookups[i]);
        if (lookups[i].err != BK_OK) {
            diag("%s", lookups[i].why);
        }
        right += lookups[i].err == BK_OK && lookups[i].addresses[0].at[2] == i / 256 &&
                 lookups[i].addresses[0].at[3] == i % 256;
    }
    is_uint(right, 300, "three hundred names at once, each with its own address");
    unsigned cancelled = 0;
    memset(lookups, 0, sizeof lookups);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "h%u.test", i);
        tell("set %s A hang", name);
        ok(resolver_lookup(resolver, &lookups[i], slice_str(name), 80, looked_up) == BK_AGAIN);
    }
    turn_for(20);
    resolver_reload(resolver);
    turn_for(20);
    resolver_stop(resolver);
    for (unsigned i = 0; i < 200; i++) {
        cancelled += !dns_lookup_busy(&lookups[i]) && lookups[i].err == BK_CANCELLED;
    }
    is_uint(cancelled, 200, "stopping ends them all, asked or not yet");
    stop();
}

int main(void)
{
    const char *why = "";
    struct ring_config config = {.entries = 64, .handles_max = 16, .cpu = -1};
    signal(SIGPIPE, SIG_IGN);
    if (ring_open(&config, &ring, &why) != BK_OK) {
        skip_all("%s", why);
    }
    double_start();
    timer_wheel_init(&wheel, ring_now_ns(ring));
    test_literals();
    test_answers();
    test_failures();
    test_nonsense();
    test_late_family();
    test_single_flight();
    test_patience();
    test_bounds();
    test_hanging();
    test_dead();
    test_ttl_and_stale();
    test_slow();
    test_rebinding();
    test_hosts();
    test_reload_and_down();
    test_conf();
    test_many();
    double_stop();
    ring_close(ring);
    return done_testing();
}
