/* Many sources: bulk apply, the feed at start, one more object. BECKET_SCALE_SOURCES=1000000 for
 * the full size; the default is small, so that it runs with every other test. */
#include "hub/resources/apply.h"
#include "tests/directory.h"

#include <sys/resource.h>
#include <time.h>

#define NOW 1767225600000000000LL

static char directory[200];
static char why[HUB_WHY_BYTES];
static struct hub *hub;
static uint64_t fed_count, fed_bytes;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* What a loaded machine does not change. */
static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

static void on_change(void *context, const struct source_change *change)
{
    (void)context;
    fed_count++;
    fed_bytes += change->scheme_bytes;
    if (change->scheme) {
        scheme_wipe(change->scheme);
        free(change->scheme);
    }
}

static enum bk_err open_hub(void)
{
    struct hub_config config = {.data_directory = directory,
                                .public_url = "https://hooks.example",
                                .changed = on_change,
                                .now_ns = NOW};
    return hub_open(&config, &hub, why);
}

static enum bk_err apply(struct slice text, size_t *ret_count)
{
    struct apply_options options = {.now_ns = NOW};
    struct apply_outcome outcome;
    enum bk_err err = apply_text(hub, text, &options, &outcome);
    if (err != BK_OK) {
        diag("%s", outcome.message ? outcome.message : bk_err_name(err));
    }
    *ret_count = outcome.count;
    apply_outcome_fini(&outcome);
    return err;
}

/* A third each: own secret, shared secret, plain with a generated key. */
static void add_source(struct buf *text, unsigned i)
{
    char spec[256];
    if (i % 3 == 0) {
        snprintf(spec, sizeof spec,
                 "{\"type\":\"github\",\"path\":\"p%u\","
                 "\"verification\":{\"secrets\":[{\"value\":\"own-%u\"}]}}",
                 i, i);
    } else if (i % 3 == 1) {
        snprintf(spec, sizeof spec,
                 "{\"type\":\"stripe\",\"path\":\"p%u\","
                 "\"verification\":{\"secrets\":[{\"valueFrom\":{\"secret\":"
                 "{\"name\":\"shared\",\"key\":\"k\"}}}],\"tolerance\":\"%us\"}}",
                 i, i % 600 + 1);
    } else {
        snprintf(spec, sizeof spec, "{\"path\":\"p%u\",\"limits\":{\"perSecond\":%u}}", i,
                 i % 1000);
    }
    buf_printf(text, "%s{\"kind\":\"EventSource\",\"metadata\":{\"name\":\"s%u\"},\"spec\":%s}",
               text->bytes > 1 ? "," : "", i, spec);
}

static bool fill(unsigned sources)
{
    struct buf text;
    size_t count = 0, made = 0;
    buf_init(&text, 16U << 20);
    is_int(apply(SLICE("{kind: Secret, metadata: {name: shared}, spec: {data: {k: whsec_x}}}"),
                 &count),
           BK_OK, "the shared secret");
    bool good = true;
    for (unsigned i = 0; good && i < sources;) {
        buf_reset(&text);
        buf_add_byte(&text, '[');
        for (; i < sources && text.bytes < 4U << 20; i++) {
            add_source(&text, i);
        }
        buf_add_byte(&text, ']');
        good = apply(buf_slice(&text), &count) == BK_OK;
        made += count;
    }
    buf_fini(&text);
    return good && made == sources;
}

int main(void)
{
    const char *base = getenv("TMPDIR"), *wanted = getenv("BECKET_SCALE_SOURCES");
    unsigned sources = wanted ? (unsigned)strtoul(wanted, NULL, 10) : 3000;
    unsetenv("BECKET_MASTER_KEY");
    unsetenv("BECKET_MASTER_KEY_FILE");
    snprintf(directory, sizeof directory, "%s/scale-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(directory) || open_hub() != BK_OK) {
        bail_out("%s", why);
    }
    double from = now_s();
    ok(fill(sources), "%u sources are applied", sources);
    double filled = now_s();
    is_uint(fed_count, sources, "each was fed");
    hub_close(hub);

    fed_count = fed_bytes = 0;
    double start = now_s(), cpu_start = cpu_s();
    is_int(open_hub(), BK_OK, "open again: %s", why);
    double opened = now_s();
    uint64_t good, failed;
    is_int(hub_feed_all(hub, &good, &failed), BK_OK, "feed all");
    double fed_at = now_s(), cpu_fed = cpu_s();
    ok(good == sources && failed == 0 && fed_count == sources, "all of them");

    size_t count;
    double worst = 0, sum = 0;
    for (unsigned i = 0; i < 20; i++) {
        char one[200];
        snprintf(one, sizeof one,
                 "{kind: EventSource, metadata: {name: one-%u}, spec: {path: q%u}}", i, i);
        double begin = now_s();
        enum bk_err err = apply(slice_str(one), &count);
        double took = now_s() - begin;
        if (err != BK_OK) {
            ok(false, "one more");
        }
        sum += took;
        worst = took > worst ? took : worst;
    }
    struct store_stats stats;
    store_stats(hub_store(hub), &stats);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    diag("%u sources: apply %.2f s (%.2f us each), open %.3f s, feed %.3f s (%.2f us each; "
         "%.2f s of CPU), "
         "store %.0f MiB, one more %.2f ms (worst %.2f), scheme %.0f B, "
         "largest resident size %ld MiB",
         sources, filled - from, (filled - from) / sources * 1e6, opened - start, fed_at - opened,
         (fed_at - opened) / sources * 1e6, cpu_fed - cpu_start, (double)stats.used_bytes / 1048576,
         sum / 20 * 1e3, worst * 1e3, (double)fed_bytes / (double)(sources + 20),
         usage.ru_maxrss / 1024);
    if (wanted) { /* figures mean something only on a machine that does nothing else */
        ok(fed_at - start <= 3.0, "a start with %u sources takes at most 3 s", sources);
        ok(sum / 20 <= 0.010, "one more object takes at most 10 ms");
    }
    hub_close(hub);
    test_directory_drop(directory);
    return done_testing();
}
