#include "cli/outgoing.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

static const char *setting(const char *lower, const char *upper)
{
    const char *value = getenv(lower);
    return value && value[0] ? value : getenv(upper);
}

static bool open_trust(const char *ca_file, struct outgoing *outgoing, char *ret_why)
{
    char why[TLS_WHY_BYTES];

    if (tls_trust_open(&outgoing->trust) != BK_OK) {
        snprintf(ret_why, TLS_WHY_BYTES, "out of memory");
        return false;
    }
    if (ca_file && tls_trust_add_file(outgoing->trust, ca_file, ret_why) != BK_OK) {
        return false;
    }
    if (tls_trust_add_system(outgoing->trust, why) != BK_OK) {
        log_event(LOG_WARN, "no certificate authorities of the system", LOG_Z("why", why),
                  LOG_Z("mend", "install ca-certificates, or give --ca-file"));
    }
    if (tls_trust_count(outgoing->trust) == 0) {
        tls_trust_close(outgoing->trust);
        outgoing->trust = NULL;
    }
    return true;
}

bool outgoing_open(const char *ca_file, struct outgoing *ret_outgoing, char *ret_why)
{
    const char *why = "";

    *ret_outgoing = (struct outgoing){.trust = NULL};
    if (!open_trust(ca_file, ret_outgoing, ret_why)) {
        outgoing_close(ret_outgoing);
        return false;
    }
    /* HTTP_PROXY in upper case may come from a CGI's "Proxy:" header, but becket is no CGI. */
    if (http_proxy_init(&ret_outgoing->proxies, setting("http_proxy", "HTTP_PROXY"),
                        setting("https_proxy", "HTTPS_PROXY"), setting("no_proxy", "NO_PROXY"),
                        &why) != BK_OK) {
        snprintf(ret_why, TLS_WHY_BYTES, "http_proxy, https_proxy or no_proxy: %s", why);
        outgoing_close(ret_outgoing);
        return false;
    }
    if (ret_outgoing->proxies.http.set || ret_outgoing->proxies.https.set) {
        ret_outgoing->proxy = &ret_outgoing->proxies;
        log_event(LOG_INFO, "outgoing calls go through a proxy",
                  LOG_Z("http", ret_outgoing->proxies.http.set ? ret_outgoing->proxies.http.host
                                                               : "directly"),
                  LOG_Z("https", ret_outgoing->proxies.https.set ? ret_outgoing->proxies.https.host
                                                                 : "directly"));
    }
    return true;
}

void outgoing_close(struct outgoing *outgoing)
{
    tls_trust_close(outgoing->trust);
    http_proxy_fini(&outgoing->proxies);
    *outgoing = (struct outgoing){.trust = NULL};
}
