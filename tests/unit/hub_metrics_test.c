/* Description: the page of metrics: exposition format, sums, and the cap on sources. */
#include "hub/metrics.h"
#include "tap.h"

static bool has(struct buf *page, const char *line)
{
    return strstr(buf_text(page), line) != NULL;
}

static unsigned occurrences(const char *text, const char *word)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        count++;
    }
    return count;
}

/* promtool's rules that matter: a family is announced once, before its samples, and is together. */
static void check_format(const char *page)
{
    char family[200] = "", line[600], announced[64][200];
    unsigned wrong = 0, count = 0, repeated = 0;
    for (const char *at = page; *at != '\0';) {
        size_t bytes = strcspn(at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)bytes, at);
        at += bytes + 1;
        if (strncmp(line, "# HELP ", 7) == 0) {
            snprintf(family, sizeof family, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            for (unsigned i = 0; i < count; i++) {
                repeated += strcmp(announced[i], family) == 0;
            }
            snprintf(announced[count++ % 64], sizeof announced[0], "%s", family);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            wrong += strncmp(line + 7, family, strlen(family)) != 0;
        } else {
            wrong += strncmp(line, family, strlen(family)) != 0 || strrchr(line, ' ') == NULL;
        }
    }
    ok(count > 10 && wrong == 0, "samples follow the HELP and TYPE of their family");
    is_uint(repeated, 0, "no family twice");
    ok(page[strlen(page) - 1] == '\n', "ends with a line feed");
}

static void test_page(void)
{
    struct metrics_snapshot snapshot;
    struct metrics_reactor one = {0}, two = {0};
    struct metrics_source source = {0};
    struct buf page;
    metrics_snapshot_init(&snapshot);
    snapshot.version = "1.0\"\\\n";
    snapshot.backend = "io_uring";
    snapshot.durability = "fsync";
    metrics_observe(&one.ack_ns, 1, METRICS_TIME_SHIFT);
    metrics_observe(&one.ack_ns, 16384, METRICS_TIME_SHIFT);
    metrics_observe(&two.ack_ns, 16385, METRICS_TIME_SHIFT);
    metrics_observe(&two.ack_ns, UINT64_MAX / 4, METRICS_TIME_SHIFT);
    one.connections_ingress = 2;
    two.connections_ingress = 3;
    one.none.answers[METRICS_CODE_404] = 7;
    one.quarantine_dropped = 2;
    two.quarantine_dropped = 3;
    metrics_add_reactor(&snapshot, &one);
    metrics_add_reactor(&snapshot, &two);
    source.answers[METRICS_CODE_200] = 5;
    source.answers[METRICS_CODE_OTHER] = 1;
    source.events[METRICS_DUPLICATE] = 4;
    metrics_add_source(&snapshot, SLICE("payments"), &source);
    buf_init(&page, 1 << 20);
    metrics_print(&snapshot, &page);
    ok(has(&page,
           "becket_info{version=\"1.0\\\"\\\\\\n\",backend=\"io_uring\",durability=\"fsync\"} 1\n"),
       "label values are escaped");
    ok(has(&page, "becket_ingress_requests_total{source=\"payments\",code=\"200\"} 5\n"));
    ok(has(&page, "becket_ingress_requests_total{source=\"payments\",code=\"other\"} 1\n"));
    ok(has(&page, "becket_ingress_requests_total{source=\"_none\",code=\"404\"} 7\n"));
    ok(has(&page, "becket_events_total{source=\"payments\",state=\"duplicate\"} 4\n"));
    ok(has(&page, "becket_ack_seconds_bucket{le=\"1.6384e-05\"} 2\n"));
    ok(has(&page, "becket_ack_seconds_bucket{le=\"3.2768e-05\"} 3\n"), "buckets add up");
    ok(has(&page, "becket_ack_seconds_bucket{le=\"+Inf\"} 4\nbecket_ack_seconds_sum "));
    ok(has(&page, "becket_ack_seconds_count 4\n"));
    ok(has(&page, "becket_connections{listener=\"ingress\"} 5\n"));
    ok(has(&page, "becket_quarantine_dropped_total 5\n"));
    check_format(buf_text(&page));
    buf_reset(&page);
    snapshot.partial = true;
    snapshot.control_stalled_ns = 1500000000;
    metrics_print(&snapshot, &page);
    ok(!has(&page, "_ingress_requests_total") && !has(&page, "_events_total") &&
           !has(&page, "_deliveries_total") && !has(&page, "_file_bytes"),
       "what is not known now is left out, not 0");
    ok(has(&page, "becket_stalled_seconds{what=\"control\"} 1.500\n"));
    ok(has(&page, "becket_ack_seconds_count 4\n"), "the rest goes on");
    check_format(buf_text(&page));
    buf_fini(&page);
    metrics_snapshot_fini(&snapshot);
}

static void test_provider_calls(void)
{
    static const struct metrics_provider_calls calls[] = {{"github", "check", 200, 3},
                                                          {"slack", "post", 0, 1}};
    struct metrics_snapshot snapshot;
    struct buf page;
    metrics_snapshot_init(&snapshot);
    snapshot.provider_calls = calls;
    snapshot.provider_call_count = 2;
    buf_init(&page, 1 << 20);
    metrics_print(&snapshot, &page);
    ok(has(&page, "becket_provider_calls_total{type=\"github\",operation=\"check\",code=\"200\"} "
                  "3\n"),
       "by provider, purpose and status");
    ok(has(&page, "becket_provider_calls_total{type=\"slack\",operation=\"post\",code=\"0\"} 1\n"),
       "no answer");
    check_format(buf_text(&page));
    buf_fini(&page);
    metrics_snapshot_fini(&snapshot);
}

static void test_cap(void)
{
    struct metrics_snapshot snapshot;
    struct metrics_source source = {0}, idle = {0};
    struct buf page;
    metrics_snapshot_init(&snapshot);
    source.answers[METRICS_CODE_200] = 2;
    for (unsigned i = 0; i < METRICS_SOURCES_MAX + 500; i++) {
        char name[32];
        snprintf(name, sizeof name, "s%u", i);
        metrics_add_source(&snapshot, SLICE("never"), &idle);
        metrics_add_source(&snapshot, slice_str(name), &source);
    }
    buf_init(&page, 4 << 20);
    metrics_print(&snapshot, &page);
    is_uint(occurrences(buf_text(&page), "becket_ingress_requests_total{"),
            METRICS_SOURCES_MAX + 1);
    ok(has(&page, "becket_ingress_requests_total{source=\"_other\",code=\"200\"} 1000\n"));
    ok(!has(&page, "never"), "sources without requests are left out");
    buf_fini(&page);
    metrics_snapshot_fini(&snapshot);
}

int main(void)
{
    is_int(metrics_code(404), METRICS_CODE_404);
    is_int(metrics_code(418), METRICS_CODE_OTHER);
    test_page();
    test_provider_calls();
    test_cap();
    return done_testing();
}
