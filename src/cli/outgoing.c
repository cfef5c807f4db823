#include "cli/outgoing.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

static const char *setting(const char *lower, const char *upper)
{
    const char *value = getenv(lower);
    return value && value[0] ? value : getenv(upper);
}

static bool open_trust(const char *ca_file, bool system_wanted, struct tls_trust **ret_trust,
                       bool *ret_system, char *ret_why)
{
    char why[TLS_WHY_BYTES];

    if (tls_trust_open(ret_trust) != BK_OK) {
        snprintf(ret_why, TLS_WHY_BYTES, "out of memory");
        *ret_trust = NULL;
        return false;
    }
    if (ca_file && tls_trust_add_file(*ret_trust, ca_file, ret_why) != BK_OK) {
        return false;
    }
    *ret_system = tls_trust_add_system(*ret_trust, why) == BK_OK;
    if (!*ret_system && system_wanted) {
        memcpy(ret_why, why, sizeof why);
        return false;
    }
    if (!*ret_system) {
        log_event(LOG_WARN, "no certificate authorities of the system", LOG_Z("why", why),
                  LOG_Z("mend", "install ca-certificates, or give --ca-file"));
    }
    return true;
}

bool outgoing_reload(struct outgoing *outgoing, const char *ca_file, char *ret_why)
{
    struct tls_trust *fresh;
    bool system = false;
    /* A store that was there is not given up for one that is being written anew. */
    if (!open_trust(ca_file, outgoing->system, &fresh, &system, ret_why)) {
        tls_trust_close(fresh);
        return false;
    }
    outgoing->system = system;
    if (tls_trust_put(outgoing->trust, fresh)) {
        log_event(LOG_INFO, "other certificate authorities are believed in outgoing calls",
                  LOG_I("count", tls_trust_count(outgoing->trust)));
    }
    return true;
}

bool outgoing_open(const char *ca_file, struct outgoing *ret_outgoing, char *ret_why)
{
    const char *why = "";

    *ret_outgoing = (struct outgoing){.trust = NULL};
    if (!open_trust(ca_file, false, &ret_outgoing->trust, &ret_outgoing->system, ret_why)) {
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
