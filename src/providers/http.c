/* http.c - any service that speaks HTTP: is it there, and does it take the credential?
 *
 * Nothing is known of it but its address. So that is asked for, with the credential (a token or one
 * that becket issues as Bearer, or Basic): what refuses the credential or fails is told, and
 * anything else, also a 404 or a redirect, means that the service was reached and did not refuse.
 */
#include "providers/provider.h"

static const char *const http_headers[] = {"Accept: */*", NULL};

static void url_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_GET, "%s", ""); /* the base is all of it */
}

static const char *url_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)run;
    (void)reply;
    return PROVIDER_END;
}

static const struct provider_step check_steps[] = {
    {.name = "url", .ask = url_ask, .take = url_take},
    {0},
};

static bool judge(struct provider_run *run, const struct provider_reply *reply)
{
    unsigned status = reply->head->status;
    (void)run;
    return status < 500 && status != 401 && status != 403 && status != 407 && status != 408 &&
           status != 425 && status != 429;
}

const struct provider provider_http = {
    .name = "http",
    .title = "The service",
    .documentation = "https://www.rfc-editor.org/rfc/rfc9110",
    .takes_issued = true,
    .token = {"Authorization", "Bearer "},
    .headers = http_headers,
    .plans = {[PROVIDER_CHECK] = {check_steps}},
    .judge = judge,
};
