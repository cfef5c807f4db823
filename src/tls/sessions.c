#include "tls/private.h"

#include "base/ct.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Small sets of a few sessions each; the id, which we made at random ourselves, says which set. A
 * set has a flag instead of a lock: who finds it taken goes without, which costs a full handshake
 * or a session that cannot be resumed, never a wait. */

#define WAYS 4U

struct session {
    int64_t made_seconds;
    uint64_t name_hash;
    uint16_t version, suite;
    uint8_t used;
    uint8_t id[32];
    uint8_t master[48];
};

struct set {
    uint8_t busy;
    uint8_t next; /* the oldest */
    struct session ways[WAYS];
};

struct tls_sessions {
    unsigned set_count; /* a power of two */
    struct set *sets;
    size_t map_bytes;
};

struct tls_sessions *tls_sessions_open(unsigned count_max)
{
    unsigned sets = 1;
    while (sets * WAYS < count_max && sets < 1U << 20) {
        sets *= 2;
    }
    struct tls_sessions *sessions = calloc(1, sizeof *sessions);
    if (!sessions) {
        return NULL;
    }
    sessions->set_count = sets;
    sessions->map_bytes = sets * sizeof(struct set);
    void *map = mmap(NULL, sessions->map_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        free(sessions);
        return NULL;
    }
    sessions->sets = map;
    return sessions;
}

void tls_sessions_close(struct tls_sessions *sessions)
{
    if (sessions) {
        munmap(sessions->sets, sessions->map_bytes); /* the kernel wipes it */
        free(sessions);
    }
}

/* FNV-1a, in any case of the letters. Who finds two names of one hash resumes his own session. */
static uint64_t hash_of(struct slice name)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < name.bytes; i++) {
        uint8_t c = name.at[i];
        hash = (hash ^ (c >= 'A' && c <= 'Z' ? c | 0x20U : c)) * 0x100000001b3U;
    }
    return hash;
}

/* NULL when somebody else has it just now. */
static struct set *set_take(struct tls_sessions *sessions, const uint8_t id[32])
{
    uint32_t number;
    memcpy(&number, id, sizeof number);
    struct set *set = &sessions->sets[number & (sessions->set_count - 1)];
    return __atomic_test_and_set(&set->busy, __ATOMIC_ACQUIRE) ? NULL : set;
}

static void set_give(struct set *set)
{
    __atomic_clear(&set->busy, __ATOMIC_RELEASE);
}

void tls_sessions_put(struct tls_sessions *sessions, const br_ssl_session_parameters *session,
                      struct slice name, int64_t now_seconds)
{
    struct set *set =
        session->session_id_len == 32 ? set_take(sessions, session->session_id) : NULL;
    if (!set) {
        return;
    }
    struct session *way = &set->ways[set->next];
    set->next = (uint8_t)((set->next + 1) % WAYS);
    way->made_seconds = now_seconds;
    way->name_hash = hash_of(name);
    way->version = session->version;
    way->suite = session->cipher_suite;
    way->used = 1;
    memcpy(way->id, session->session_id, sizeof way->id);
    memcpy(way->master, session->master_secret, sizeof way->master);
    set_give(set);
}

bool tls_sessions_find(struct tls_sessions *sessions, br_ssl_session_parameters *session,
                       struct slice name, int64_t now_seconds)
{
    struct set *set =
        session->session_id_len == 32 ? set_take(sessions, session->session_id) : NULL;
    bool found = false;
    uint64_t name_hash = hash_of(name);
    for (unsigned i = 0; set && i < WAYS && !found; i++) {
        struct session *way = &set->ways[i];
        int64_t age = now_seconds - way->made_seconds;
        found = way->used && way->name_hash == name_hash && age >= 0 &&
                age < TLS_SESSION_SECONDS_MAX &&
                bk_ct_equal(way->id, session->session_id, sizeof way->id);
        if (found) {
            session->version = way->version;
            session->cipher_suite = way->suite;
            memcpy(session->master_secret, way->master, sizeof way->master);
        }
    }
    if (set) {
        set_give(set);
    }
    return found;
}
