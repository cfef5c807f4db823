#include "control/certificates.h"

#include "base/log.h"

#define DAY_SECONDS  86400
#define SOON_SECONDS (14 * DAY_SECONDS)

void certificates_log(const struct tls_server *server, int64_t now_seconds)
{
    char expires[TLS_DAY_BYTES];
    int64_t left = tls_server_expires(server) - now_seconds;
    tls_day(tls_server_expires(server), expires);
    log_event(left < SOON_SECONDS ? LOG_WARN : LOG_INFO,
              left < 0              ? "a certificate has expired"
              : left < SOON_SECONDS ? "a certificate expires soon"
                                    : "certificates read",
              LOG_I("count", tls_server_identities(server)), LOG_Z("expires", expires));
}

int64_t certificates_next_look(int64_t expires, int64_t now_seconds)
{
    int64_t next = expires - SOON_SECONDS;
    if (next <= now_seconds) {
        next = now_seconds + DAY_SECONDS;
        next = expires >= now_seconds && expires + 1 < next ? expires + 1 : next;
    }
    /* A reload may bring one that ends sooner. */
    return next < now_seconds + DAY_SECONDS ? next : now_seconds + DAY_SECONDS;
}

int64_t certificates_watch(struct tls_slot *slot, int64_t *next_seconds, int64_t now_seconds)
{
    if (slot == NULL) {
        return INT64_MAX;
    }
    if (now_seconds >= *next_seconds) {
        struct tls_server *server = tls_slot_take(slot);
        int64_t expires = tls_server_expires(server);
        if (*next_seconds != 0 && expires - SOON_SECONDS <= now_seconds) { /* else it was said */
            certificates_log(server, now_seconds);
        }
        *next_seconds = certificates_next_look(expires, now_seconds);
        tls_server_give(server);
    }
    return *next_seconds;
}

int64_t certificates_expire(struct tls_slot *slot)
{
    if (slot == NULL) {
        return 0;
    }
    struct tls_server *server = tls_slot_take(slot);
    int64_t expires = tls_server_expires(server);
    tls_server_give(server);
    return expires;
}
