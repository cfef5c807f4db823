#include "hub/ingress/fixed_paths.h"

#include "hub/ingress/answer.h"
#include "hub/ingress/counters.h"
#include "hub/keys/oidc_issuer.h"

bool fixed_path_is(struct slice path)
{
    return slice_equal(path, SLICE("*")) || slice_starts(path, SLICE("/.well-known/")) ||
           slice_starts(path, SLICE("/health/"));
}

static bool is_health(struct slice path)
{
    return slice_equal(path, SLICE("/health/live")) || slice_equal(path, SLICE("/health/ready"));
}

static bool is_document(struct slice path)
{
    return slice_equal(path, SLICE("/.well-known/jwks.json")) ||
           slice_equal(path, SLICE("/.well-known/openid-configuration"));
}

bool fixed_path_takes(const struct http_head *head, struct slice path)
{
    bool reads = head->method == HTTP_GET || head->method == HTTP_HEAD;
    return slice_equal(path, SLICE("*")) || (reads && (is_health(path) || is_document(path)));
}

static void answer_health(struct ingress *ingress, struct http_exchange *exchange, bool live)
{
    const char *why = NULL;
    bool ready = live || ingress->config->ready(ingress->config->context, &why);
    if (ready) {
        http_answer(exchange, 200, "application/json", SLICE("Cache-Control: no-store\r\n"),
                    SLICE("{\"status\":\"ok\"}"));
    } else {
        http_answer_error(exchange, 503, "unavailable", why ? why : "not ready",
                          SLICE("Retry-After: 1\r\n"));
    }
}

/* How providers check the tokens that becket issues. False: it is no such address. */
static bool answer_document(struct ingress *ingress, struct http_exchange *exchange,
                            const struct http_head *head, struct slice path)
{
    if (!is_document(path) || !ingress->config->documents) {
        return false;
    }
    if (head->method != HTTP_GET && head->method != HTTP_HEAD) {
        answer_method(ingress, exchange, 0, 1U << HTTP_GET | 1U << HTTP_HEAD);
        return true;
    }
    const struct oidc_documents *documents = ingress->config->documents(ingress->config->context);
    ingress->documents_later = documents == NULL;
    if (documents != NULL) {
        count_answer(ingress, 0, 200);
        http_answer(exchange, 200, "application/json",
                    SLICE("Cache-Control: public, max-age=300\r\n"
                          "Access-Control-Allow-Origin: *\r\n"),
                    slice_equal(path, SLICE("/.well-known/jwks.json")) ? documents->keys
                                                                       : documents->configuration);
    }
    return true;
}

bool fixed_path_answer(struct ingress *ingress, struct http_exchange *exchange,
                       const struct http_head *head, struct slice path)
{
    if (slice_equal(path, SLICE("*"))) {
        /* OPTIONS *, the server as a whole (RFC 9110 9.3.7). */
        count_answer(ingress, 0, 204);
        http_answer(exchange, 204, NULL, SLICE("Allow: GET, HEAD, POST, PUT, OPTIONS\r\n"),
                    SLICE_EMPTY);
        return true;
    }
    if (answer_document(ingress, exchange, head, path)) {
        return true;
    }
    if (is_health(path)) {
        if (head->method == HTTP_GET || head->method == HTTP_HEAD) {
            answer_health(ingress, exchange, slice_equal(path, SLICE("/health/live")));
        } else {
            answer_method(ingress, exchange, 0, 1U << HTTP_GET | 1U << HTTP_HEAD);
        }
        return true;
    }
    return false;
}
