/* outgoing.h - what calls to other servers need of the configuration: whom to trust, which proxy.
 *
 * Trust       The system's authorities, and those of --ca-file.
 * Proxy       http_proxy, https_proxy and no_proxy of the environment, in lower or upper case.
 * Ownership   The caller's, for as long as a reactor lives. Blocking; at start.
 */
#ifndef BECKET_CLI_OUTGOING_H
#define BECKET_CLI_OUTGOING_H

#include "http/proxy.h"
#include "tls/tls.h"

struct outgoing {
    struct tls_trust *trust;        /* NULL = nobody */
    const struct http_proxy *proxy; /* NULL = none */
    struct http_proxy proxies;
};

/* False: `ret_why` (TLS_WHY_BYTES) says what is wrong. ca_file may be NULL. */
bool outgoing_open(const char *ca_file, struct outgoing *ret_outgoing, char *ret_why);
void outgoing_close(struct outgoing *outgoing);

#endif
