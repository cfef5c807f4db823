#include "tls/private.h"

#include <stdlib.h>

static void release(struct tls_server *server)
{
    for (unsigned i = 0; i < server->identity_count; i++) {
        tls_identity_close(server->identities[i]);
    }
    free(server->identities);
    tls_trust_close(server->client_trust);
    tls_sessions_close(server->sessions);
    free(server);
}

enum bk_err tls_server_open(struct tls_identity **identities, unsigned count,
                            struct tls_trust *client_trust, unsigned sessions_max,
                            struct tls_server **ret_server)
{
    struct tls_server *server = calloc(1, sizeof *server);
    struct tls_identity **own = calloc(count ? count : 1, sizeof(struct tls_identity *));
    if (!server || !own) {
        free(server);
        free(own);
        for (unsigned i = 0; i < count; i++) {
            tls_identity_close(identities[i]);
        }
        tls_trust_close(client_trust);
        return BK_NO_MEMORY;
    }
    server->references = 1;
    server->identities = own;
    server->identity_count = count;
    for (unsigned i = 0; i < count; i++) {
        own[i] = identities[i];
    }
    server->client_trust = client_trust;
    server->sessions = tls_sessions_open(sessions_max);
    if (count == 0 || !server->sessions) {
        release(server);
        return count == 0 ? BK_INVALID : BK_NO_MEMORY;
    }
    *ret_server = server;
    return BK_OK;
}

struct tls_server *tls_server_take(struct tls_server *server)
{
    __atomic_add_fetch(&server->references, 1, __ATOMIC_RELAXED);
    return server;
}

void tls_server_give(struct tls_server *server)
{
    if (server && __atomic_sub_fetch(&server->references, 1, __ATOMIC_ACQ_REL) == 0) {
        release(server);
    }
}

unsigned tls_server_identities(const struct tls_server *server)
{
    return server->identity_count;
}

int64_t tls_server_expires(const struct tls_server *server)
{
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < server->identity_count; i++) {
        int64_t expires = tls_identity_expires(server->identities[i]);
        first = expires < first ? expires : first;
    }
    return first;
}

/* ---- the slot: two instructions long, so a flag is enough */

struct tls_slot {
    struct tls_server *server;
    uint8_t busy;
};

static void slot_lock(struct tls_slot *slot)
{
    while (__atomic_test_and_set(&slot->busy, __ATOMIC_ACQUIRE)) {
    }
}

static void slot_unlock(struct tls_slot *slot)
{
    __atomic_clear(&slot->busy, __ATOMIC_RELEASE);
}

enum bk_err tls_slot_open(struct tls_server *server, struct tls_slot **ret_slot)
{
    struct tls_slot *slot = calloc(1, sizeof *slot);
    if (!slot) {
        tls_server_give(server);
        return BK_NO_MEMORY;
    }
    slot->server = server;
    *ret_slot = slot;
    return BK_OK;
}

struct tls_server *tls_slot_take(struct tls_slot *slot)
{
    slot_lock(slot);
    struct tls_server *server = tls_server_take(slot->server);
    slot_unlock(slot);
    return server;
}

void tls_slot_put(struct tls_slot *slot, struct tls_server *server)
{
    slot_lock(slot);
    struct tls_server *old = slot->server;
    slot->server = server;
    slot_unlock(slot);
    tls_server_give(old);
}

void tls_slot_close(struct tls_slot *slot)
{
    if (slot) {
        tls_server_give(slot->server);
        free(slot);
    }
}
