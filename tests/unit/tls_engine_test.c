/* tls: both ends against each other and against plain BearSSL; bytes cut everywhere; all the peers
 * that must be refused, each with its words. Certificates: tests/vectors/tls. */
#include "base/ct.h"
#include "ring/file.h"
#include "tls/private.h"
#include "tap.h"

#include <bearssl.h>

#define NOW_2020 1577836800LL
#define NOW      1900000000LL /* 2030 */
#define NOW_2200 7258118400LL
#define CHAIN    20

/* What is chosen: AES where the processor has it. */
#define SUITE(signature)                                                                           \
    (br_aes_x86ni_ctr_get_vtable() ? "ECDHE-" signature "-AES128-GCM-SHA256"                       \
                                   : "ECDHE-" signature "-CHACHA20-POLY1305")

static const uint8_t entropy_a[32] = {1}, entropy_b[32] = {2};

static struct slice vector(const char *name)
{
    char path[1024], *text;
    const char *vectors = getenv("VECTORS");
    size_t bytes;
    snprintf(path, sizeof path, "%s/tls/%s", vectors ? vectors : "tests/vectors", name);
    if (file_read_all(path, 1U << 20, &text, &bytes) != BK_OK) {
        bail_out("%s cannot be read", path);
    }
    return slice_of(text, bytes);
}

static void vector_free(struct slice text)
{
    free((void *)(uintptr_t)text.at);
}

/* ---- parts */

static struct tls_trust *trust_of(const char *names)
{
    struct tls_trust *trust;
    char why[TLS_WHY_BYTES] = "", name[64];
    bool done = tls_trust_open(&trust) == BK_OK;
    while (*names && done) {
        size_t bytes = strcspn(names, " ");
        snprintf(name, sizeof name, "%.*s", (int)bytes, names);
        names += bytes + (names[bytes] == ' ');
        struct slice pem = vector(name);
        done = tls_trust_add_pem(trust, name, pem, why) == BK_OK;
        vector_free(pem);
    }
    if (!done) {
        bail_out("no trust: %s", why);
    }
    return trust;
}

static struct tls_identity *identity_of(const char *name, bool for_server)
{
    char certificate_name[64], key_name[64], why[TLS_WHY_BYTES] = "";
    struct tls_identity *identity = NULL;
    snprintf(certificate_name, sizeof certificate_name, "%s.pem", name);
    snprintf(key_name, sizeof key_name, "%s.key", name);
    struct slice certificate = vector(certificate_name), key = vector(key_name);
    if (tls_identity_open_pem(certificate_name, certificate, key_name, key, for_server, &identity,
                              why) != BK_OK) {
        bail_out("%s", why);
    }
    vector_free(certificate);
    vector_free(key);
    return identity;
}

static struct tls_server *server_of(const char *names, const char *client_trust)
{
    struct tls_identity *identities[4];
    struct tls_server *server;
    unsigned count = 0;
    char name[64];
    while (*names) {
        size_t bytes = strcspn(names, " ");
        snprintf(name, sizeof name, "%.*s", (int)bytes, names);
        names += bytes + (names[bytes] == ' ');
        identities[count++] = identity_of(name, true);
    }
    if (tls_server_open(identities, count, client_trust ? trust_of(client_trust) : NULL, 64,
                        &server) != BK_OK) {
        bail_out("no server");
    }
    return server;
}

/* ---- one end of a connection: ours, or BearSSL's own */

struct end {
    struct tls *tls;
    br_ssl_engine_context *raw;
};

static size_t take(struct end *from, const uint8_t **ret_at)
{
    size_t bytes = 0;
    *ret_at = from->tls ? tls_send_record_buf(from->tls, &bytes)
                        : br_ssl_engine_sendrec_buf(from->raw, &bytes);
    return *ret_at ? bytes : 0;
}

static void taken(struct end *from, size_t bytes)
{
    if (from->tls) {
        tls_send_record_ack(from->tls, bytes);
    } else {
        br_ssl_engine_sendrec_ack(from->raw, bytes);
    }
}

static size_t give(struct end *to, const uint8_t *at, size_t bytes)
{
    /* Who is closed drops what still comes, as a socket would. */
    if (to->tls) {
        return tls_state(to->tls) == TLS_CLOSED ? bytes : tls_recv_record(to->tls, at, bytes);
    }
    if (br_ssl_engine_current_state(to->raw) == BR_SSL_CLOSED) {
        return bytes;
    }
    size_t room;
    uint8_t *buffer = br_ssl_engine_recvrec_buf(to->raw, &room);
    if (!buffer) {
        return 0;
    }
    bytes = bytes < room ? bytes : room;
    memcpy(buffer, at, bytes);
    br_ssl_engine_recvrec_ack(to->raw, bytes);
    return bytes;
}

/* Carries bytes both ways, at most `piece` at a time, until nothing moves. Returns how many. */
static size_t carry(struct end *a, struct end *b, size_t piece)
{
    size_t total = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (unsigned way = 0; way < 2; way++) {
            struct end *from = way ? b : a, *to = way ? a : b;
            const uint8_t *at;
            uint8_t copy[512];
            size_t bytes = take(from, &at);
            bytes = bytes < piece ? bytes : piece;
            bytes = bytes < sizeof copy ? bytes : sizeof copy;
            if (bytes) {
                memcpy(copy, at, bytes);
                size_t used = give(to, copy, bytes);
                taken(from, used);
                total += used;
                moved |= used > 0;
            }
        }
    }
    return total;
}

static struct tls *client_new(void)
{
    return calloc(1, tls_client_bytes());
}

static struct tls *server_new(void)
{
    return calloc(1, tls_server_bytes());
}

static void say(struct tls *tls, const char *text)
{
    size_t room;
    uint8_t *at = tls_send_app_buf(tls, &room);
    ok(at && room >= strlen(text), "there is room for plain text");
    if (at) {
        memcpy(at, text, strlen(text));
        tls_send_app_ack(tls, strlen(text));
        tls_flush(tls);
    }
}

static void hears(struct tls *tls, const char *text)
{
    size_t bytes;
    const uint8_t *at = tls_recv_app_buf(tls, &bytes);
    ok(at != NULL && bytes == strlen(text) && memcmp(at, text, bytes) == 0, "it hears \"%s\"",
       text);
    if (at) {
        tls_recv_app_ack(tls, bytes);
    }
}

/* ---- what works */

static void talk(const char *server_names, const char *trusted, const char *name, size_t piece,
                 const char *suite)
{
    struct tls_server *server = server_of(server_names, NULL);
    struct tls_trust *trust = trust_of(trusted);
    struct tls *c = client_new(), *s = server_new();
    tls_client_begin(c, trust, NULL, name, NULL, NOW, entropy_a);
    tls_server_begin(s, server, NOW, entropy_b);
    struct end a = {.tls = c}, b = {.tls = s};
    carry(&a, &b, piece);
    ok(tls_is_open(c) && tls_is_open(s), "%s: open, %zu bytes at a time", name, piece);
    is_str(tls_why(c), NULL, "the client has no complaint");
    is_str(tls_why(s), NULL, "nor has the server");
    is_str(tls_suite(c), suite, "suite");
    is_str(tls_suite(s), suite, "the same on both sides");
    say(c, "GET / HTTP/1.1");
    carry(&a, &b, piece);
    hears(s, "GET / HTTP/1.1");
    say(s, "HTTP/1.1 200 OK");
    carry(&a, &b, piece);
    hears(c, "HTTP/1.1 200 OK");
    ok(!tls_clean(s), "nobody has said goodbye");
    tls_close(c);
    carry(&a, &b, piece);
    ok(tls_clean(s) && tls_state(s) == TLS_CLOSED && tls_err(s) == BK_OK,
       "a clean end at the server");
    ok(tls_state(c) == TLS_CLOSED && tls_err(c) == BK_OK, "and at the client");
    tls_recv_end(c);
    is_int(tls_err(c), BK_OK, "the end of the stream is no error then");
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
    tls_trust_close(trust);
    tls_server_give(server);
}

static void large(void)
{
    struct tls_server *server = server_of("server", NULL);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls *c = client_new(), *s = server_new();
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
    tls_server_begin(s, server, NOW, entropy_b);
    struct end ends[2] = {{.tls = c}, {.tls = s}};
    carry(&ends[0], &ends[1], 512);
    for (unsigned way = 0; way < 2; way++) {
        struct tls *from = ends[way].tls, *to = ends[1 - way].tls;
        size_t sent = 0, heard = 0, bad = 0, bytes;
        const size_t all = 300000;
        while (heard < all) {
            uint8_t *at = sent < all ? tls_send_app_buf(from, &bytes) : NULL;
            if (at) {
                bytes = bytes < all - sent ? bytes : all - sent;
                for (size_t i = 0; i < bytes; i++) {
                    at[i] = (uint8_t)((sent + i) * 31 >> 3);
                }
                tls_send_app_ack(from, bytes);
                sent += bytes;
                tls_flush(from);
            }
            size_t moved = carry(&ends[0], &ends[1], 512), before = heard;
            while ((at = tls_recv_app_buf(to, &bytes))) {
                for (size_t i = 0; i < bytes; i++) {
                    bad += at[i] != (uint8_t)((heard + i) * 31 >> 3);
                }
                heard += bytes;
                tls_recv_app_ack(to, bytes);
            }
            if (!moved && heard == before) {
                break;
            }
        }
        ok(heard == all && bad == 0, "300000 bytes %s", way ? "from the server" : "to the server");
    }
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
    tls_trust_close(trust);
    tls_server_give(server);
}

/* A flight cut after each byte: nothing is lost, nothing is read twice. */
static void cut_everywhere(void)
{
    struct tls_server *server = server_of("server", NULL);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls *c = client_new(), *s = server_new();
    unsigned opened = 0, tries = 0;
    for (size_t piece = 1; piece < 60; piece += piece < 8 ? 1 : 13, tries++) {
        tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
        tls_server_begin(s, server, NOW, entropy_b);
        struct end a = {.tls = c}, b = {.tls = s};
        carry(&a, &b, piece);
        opened += tls_is_open(c) && tls_is_open(s);
        tls_end(c);
        tls_end(s);
    }
    is_uint(opened, tries, "handshakes in pieces of 1 to 60 bytes");
    /* The stream ends after each byte of the server's first flight. */
    size_t at = 0, words = 0;
    for (bool more = true; more; at += at < 120 ? 1 : 37) {
        tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
        tls_server_begin(s, server, NOW, entropy_b);
        size_t left = at;
        const uint8_t *bytes_at;
        struct end a = {.tls = c}, b = {.tls = s};
        size_t count;
        while ((count = take(&a, &bytes_at))) {
            taken(&a, give(&b, bytes_at, count));
        }
        while (left && (count = take(&b, &bytes_at))) {
            count = count < left ? count : left;
            taken(&b, give(&a, bytes_at, count));
            left -= count;
        }
        more = left == 0 && at < 2000;
        tls_recv_end(c);
        words += tls_err(c) == BK_PROTOCOL && tls_why(c) && tls_state(c) == TLS_CLOSED;
        if (!more) {
            break;
        }
        tls_end(c);
        tls_end(s);
    }
    ok(words > 100, "a stream cut anywhere is an error with words (%zu places)", words);
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
    tls_trust_close(trust);
    tls_server_give(server);
}

static void cut_without_goodbye(void)
{
    struct tls_server *server = server_of("server", NULL);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls *c = client_new(), *s = server_new();
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
    tls_server_begin(s, server, NOW, entropy_b);
    struct end a = {.tls = c}, b = {.tls = s};
    carry(&a, &b, 512);
    tls_recv_end(c);
    is_int(tls_err(c), BK_PROTOCOL, "an open connection that just ends was cut");
    ok(tls_why(c) && strstr(tls_why(c), "close_notify"), "%s", tls_why(c));
    /* And a record that is altered on its way. */
    say(s, "hello");
    const uint8_t *at;
    uint8_t copy[128];
    size_t bytes = take(&b, &at);
    tls_end(c);
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
    tls_end(s);
    tls_server_begin(s, server, NOW, entropy_b);
    carry(&a, &b, 512);
    say(s, "hello");
    bytes = take(&b, &at);
    ok(bytes < sizeof copy, "a short record");
    memcpy(copy, at, bytes);
    copy[bytes - 1] ^= 1;
    (void)give(&a, copy, bytes);
    is_int(tls_err(c), BK_PROTOCOL, "an altered record");
    ok(tls_why(c) && strstr(tls_why(c), "altered"), "%s", tls_why(c));
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
    tls_trust_close(trust);
    tls_server_give(server);
}

/* ---- alerts */

/* The server's last words reach the client, which names the alert. */
static void told(struct end *from, struct tls *to, int alert)
{
    size_t bytes;
    const uint8_t *words = tls_last_words(from->tls, &bytes);
    ok(words != NULL, "there are last words: %s", tls_why(from->tls));
    if (words) {
        struct end end = {.tls = to};
        (void)give(&end, words, bytes);
        ok(tls_why(to) && strstr(tls_why(to), alert == 22 ? "number 22" : "number 20"), "%d: %s",
           alert, tls_why(to));
    }
}

/* What BearSSL ends without a word is told all the same, also when records are sealed: one is
 * altered, or its head (if any) says what cannot be. */
static void sealed_alert(const char *server_name, const char *suite, const char *head, int alert)
{
    struct tls_server *server = server_of(server_name, NULL);
    struct tls_trust *trust = trust_of("ca.pem rsa_ca.pem");
    struct tls *c = client_new(), *s = server_new();
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
    tls_server_begin(s, server, NOW, entropy_b);
    struct end a = {.tls = c}, b = {.tls = s};
    carry(&a, &b, 512);
    is_str(tls_suite(s), suite);
    say(c, "hello");
    const uint8_t *at;
    uint8_t copy[128];
    size_t bytes = take(&a, &at);
    ok(bytes < sizeof copy, "a short record");
    memcpy(copy, at, bytes);
    taken(&a, bytes);
    copy[bytes - 1] ^= 1;
    (void)give(&b, head ? (const void *)head : copy, head ? 5 : bytes);
    told(&b, c, alert);
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
    tls_trust_close(trust);
    tls_server_give(server);
}

static void clear_alert(const char *name, const void *record, size_t bytes, uint8_t alert)
{
    struct tls_server *server = server_of("server", NULL);
    struct tls *s = server_new();
    struct end b = {.tls = s};
    size_t words_bytes;
    tls_server_begin(s, server, NOW, entropy_b);
    (void)give(&b, record, bytes);
    const uint8_t *words = tls_last_words(s, &words_bytes);
    uint8_t want[] = {21, 3, 3, 0, 2, 2, alert};
    is_bytes(words, words_bytes, want, sizeof want, "%s", name);
    tls_end(s);
    free(s);
    tls_server_give(server);
}

#define CLEAR_ALERT(name, record, alert) clear_alert((name), (record), sizeof(record) - 1, (alert))

static void alerts(void)
{
    sealed_alert("server", SUITE("ECDSA"), NULL, 20);
    sealed_alert("server_rsa", SUITE("RSA"), NULL, 20);
    sealed_alert("server", SUITE("ECDSA"), "\x17\3\3\0\x0f", 20);
    sealed_alert("server", SUITE("ECDSA"), "\x17\3\3\x40\x19", 22);
    sealed_alert("server", SUITE("ECDSA"), "\x17\3\3\xff\xff", 22);
    CLEAR_ALERT("a message at the wrong time", "\x16\3\3\0\4\x14\0\0\0", 10);
    CLEAR_ALERT("a type nobody knows", "\x18\3\3\0\4\1\0\0\0", 10);
    CLEAR_ALERT("an id that is too long",
                "\x16\3\3\0\x2b\1\0\0\x27\3\3"
                "01234567890123456789012345678901\x21"
                "abcd",
                50);
    CLEAR_ALERT("suites beyond the hello's end",
                "\x16\3\3\0\x2f\1\0\0\x2b\3\3"
                "01234567890123456789012345678901\0"
                "\0\xff\xc0\x2b\1\0\0\0",
                50);
    /* A fault that BearSSL passes over, also behind what it passes over. */
#define TWICE                                                                                      \
    "\x16\3\3\0\x39\1\0\0\x35\3\3"                                                                 \
    "01234567890123456789012345678901\0"                                                           \
    "\0\2\xc0\x2b\1\0\0\xa\x7a\x7a\0\1x\x7a\x7a\0\1y"
    CLEAR_ALERT("an extension that is there twice", TWICE, 47);
    CLEAR_ALERT("the same behind an empty record", "\x16\3\3\0\0" TWICE, 47);
    CLEAR_ALERT("the same behind a warning", "\x15\3\3\0\2\1\x5a" TWICE, 47);
    CLEAR_ALERT("a record that is too large", "\x16\3\3\xff\xff\1\0\0", 22);
}

/* The message of one record, in records of so many bytes. Returns their bytes. */
static size_t cut_record(const uint8_t *record, size_t bytes, size_t piece, uint8_t *ret_records)
{
    size_t to = 0;
    for (size_t at = 5; at < bytes; at += piece) {
        size_t count = bytes - at < piece ? bytes - at : piece;
        memcpy(ret_records + to, record, 3);
        ret_records[to + 3] = (uint8_t)(count >> 8);
        ret_records[to + 4] = (uint8_t)count;
        memcpy(ret_records + to + 5, record + at, count);
        to += 5 + count;
    }
    return to;
}

/* A hello is looked at as a whole, in however many records it comes. */
static void hello_in_records(void)
{
    static const char twice[] = TWICE;
    static uint8_t large[5100], records[6 * sizeof large];
    static const uint8_t large_head[] = "\x16\3\1\x13\xbb\1\0\x13\xb7\3\3"
                                        "01234567890123456789012345678901\0"
                                        "\0\2\xc0\x2b\1\0\x13\x8c\0\x15\x13\x88";
    for (size_t piece = 1; piece < sizeof twice - 6; piece++) {
        size_t bytes = cut_record((const uint8_t *)twice, sizeof twice - 1, piece, records);
        clear_alert("a hello with a fault, in records of another size", records, bytes, 47);
    }
    memcpy(large, large_head, sizeof large_head - 1); /* and an extension of zeros (RFC 7685) */
    clear_alert("a hello that is too long for several records", records,
                cut_record(large, sizeof large_head - 1 + 5000, 1000, records), 47);

    struct tls_server *server = server_of("server", NULL);
    struct tls_trust *trust = trust_of("ca.pem");
    for (size_t piece = 1; piece < 100; piece += 13) {
        struct tls *c = client_new(), *s = server_new();
        struct end a = {.tls = c}, b = {.tls = s};
        const uint8_t *hello;
        tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
        tls_server_begin(s, server, NOW, entropy_b);
        size_t bytes = take(&a, &hello);
        size_t cut = cut_record(hello, bytes, piece, records);
        is_uint(give(&b, records, cut), cut, "a good hello in records of %zu", piece);
        taken(&a, bytes);
        carry(&a, &b, 512);
        ok(tls_is_open(c) && tls_is_open(s), "is answered");
        tls_end(c);
        tls_end(s);
        free(c);
        free(s);
    }
    tls_trust_close(trust);
    tls_server_give(server);
}
#undef TWICE

/* ---- sessions */

static const char *session_name = "a.example";

static bool session_try_at(struct tls_server *server, struct tls_trust *trust,
                           struct tls_session *session, int64_t client_now, int64_t server_now,
                           size_t piece, bool *ret_server_resumed)
{
    struct tls *c = client_new(), *s = server_new();
    uint8_t entropy[32] = {9};
    static uint8_t number;
    entropy[1] = ++number;
    tls_client_begin(c, trust, NULL, session_name, session, client_now, entropy);
    entropy[2] = 1;
    tls_server_begin(s, server, server_now, entropy);
    struct end a = {.tls = c}, b = {.tls = s};
    carry(&a, &b, piece);
    ok(tls_is_open(c) && tls_is_open(s), "open");
    bool resumed = tls_resumed(c);
    *ret_server_resumed = tls_resumed(s);
    say(c, "x");
    carry(&a, &b, piece);
    hears(s, "x");
    tls_session_get(c, session);
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
    return resumed;
}

static bool session_try(struct tls_server *server, struct tls_trust *trust,
                        struct tls_session *session, int64_t now, bool *ret_server_resumed)
{
    return session_try_at(server, trust, session, now, now, 512, ret_server_resumed);
}

/* Whom we believe is read anew while connections are made. */
static void trust_changes(void)
{
    struct tls_server *server = server_of("server", NULL);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls_session session = {0};
    struct tls *c = client_new(), *s = server_new();
    uint8_t entropy[32] = {7};
    bool at_server;
    ok(!session_try(server, trust, &session, NOW, &at_server) &&
           session_try(server, trust, &session, NOW + 1, &at_server),
       "a session with those who are believed");
    ok(!tls_trust_put(trust, trust_of("ca.pem")), "the same authorities");
    ok(session_try(server, trust, &session, NOW + 2, &at_server), "change nothing");
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy);
    tls_server_begin(s, server, NOW, entropy);
    ok(tls_trust_put(trust, trust_of("rsa_ca.pem")) && tls_trust_count(trust) == 1,
       "others, while a handshake is under way");
    struct end a = {.tls = c}, b = {.tls = s};
    carry(&a, &b, 512);
    ok(tls_is_open(c), "it goes on with those it began with");
    tls_end(c);
    tls_end(s);
    tls_client_begin(c, trust, NULL, "a.example", &session, NOW + 3, entropy);
    tls_server_begin(s, server, NOW + 3, entropy);
    a = (struct end){.tls = c}, b = (struct end){.tls = s};
    carry(&a, &b, 512);
    ok(!tls_is_open(c) && tls_err(c) == BK_UNAUTHENTICATED,
       "the next one is refused, and no session of before helps: %s", tls_why(c));
    tls_end(c);
    tls_end(s);
    ok(tls_trust_put(trust, trust_of("ca.pem")) &&
           session_try(server, trust, &session, NOW + 4, &at_server),
       "believed again");
    free(c);
    free(s);
    tls_trust_close(trust);
    tls_server_give(server);
}

/* A session does not hide that the certificate has expired since. */
static void session_expires(struct tls_server *server, struct tls_trust *trust)
{
    int64_t end = tls_server_expires(server);
    struct tls_session session = {0};
    struct tls *c = client_new(), *s = server_new();
    uint8_t entropy[32] = {8};
    bool at_server;
    ok(!session_try(server, trust, &session, end - 100, &at_server) &&
           session_try(server, trust, &session, end - 1, &at_server),
       "until the certificate expires, its session is resumed");
    tls_client_begin(c, trust, NULL, session_name, &session, end + 1, entropy);
    tls_server_begin(s, server, end + 1, entropy);
    struct end a = {.tls = c}, b = {.tls = s};
    carry(&a, &b, 512);
    ok(!tls_is_open(c) && tls_why(c) && strstr(tls_why(c), "expired"), "then it is refused: %s",
       tls_why(c) ? tls_why(c) : "no complaint");
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
}

static void sessions(void)
{
    struct tls_server *server = server_of("server", NULL), *other = server_of("server", NULL);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls_session session = {0};
    bool at_server;
    ok(!session_try(server, trust, &session, NOW, &at_server) && !at_server,
       "the first one is full");
    ok(session.id_bytes == 32, "the server made a session");
    ok(session_try(server, trust, &session, NOW + 5, &at_server) && at_server,
       "the second one resumes");
    ok(session_try(server, trust, &session, NOW + 6, &at_server) && at_server, "and the third");
    ok(session_try_at(server, trust, &session, NOW + 6, NOW + 6, 1, &at_server) && at_server,
       "also when its hello comes byte by byte");
    session_name = "A.Example";
    ok(session_try(server, trust, &session, NOW + 6, &at_server) && at_server,
       "its name in other letters is the same");
    session_name = "x.b.example";
    struct tls_session kept = session;
    ok(!session_try(server, trust, &session, NOW + 6, &at_server) && !at_server,
       "another name is another session");
    session = kept;
    session_name = "127.0.0.1";
    ok(!session_try(server, trust, &session, NOW + 6, &at_server) && !at_server, "and so is none");
    session = kept;
    session_name = "a.example";
    ok(!session_try(other, trust, &session, NOW + 7, &at_server) && !at_server,
       "another server does not know it");
    ok(session_try(other, trust, &session, NOW + 8, &at_server) && at_server,
       "but then it has its own");
    ok(!session_try(other, trust, &session, NOW + 8 + TLS_SESSION_SECONDS_MAX, &at_server) &&
           !at_server,
       "an hour later it is forgotten");
    ok(session_try(other, trust, &session, NOW + 3700, &at_server) && at_server,
       "a new one was made");
    int64_t until = NOW + 8 + 2 * TLS_SESSION_SECONDS_MAX;
    ok(session_try(other, trust, &session, NOW + 8 + TLS_SESSION_SECONDS_MAX + 1800, &at_server) &&
           session_try(other, trust, &session, until - 1, &at_server),
       "within an hour it resumes again and again");
    ok(!session_try_at(other, trust, &session, until, until - 1800, 512, &at_server),
       "then the certificate is shown anew, however often it was resumed");
    session = (struct tls_session){0};
    ok(!session_try(other, trust, &session, NOW + 3700, &at_server), "a session from nothing");
    struct tls_session old = session;
    ok(!session_try_at(other, trust, &session, NOW + 3700 + TLS_SESSION_SECONDS_MAX, NOW + 3701,
                       512, &at_server) &&
           !at_server,
       "the client forgets by its own clock");
    ok(!session_try_at(other, trust, &old, NOW + 3701, NOW + 3700 + TLS_SESSION_SECONDS_MAX, 512,
                       &at_server) &&
           !at_server,
       "and so does the server");
    session = (struct tls_session){0};
    ok(!session_try(other, trust, &session, NOW + 3700, &at_server), "another one from nothing");
    old = session;
    ok(!session_try_at(other, trust, &old, NOW + 3700, NOW + 3699, 512, &at_server) && !at_server,
       "nor is one of a time to come believed, when a clock was set back");
    session.id[3] ^= 1;
    ok(!session_try(other, trust, &session, NOW + 3700, &at_server), "a wrong id is nothing");
    for (unsigned i = 0; i < 40; i++) {
        struct tls_session fresh = {0};
        (void)session_try(server, trust, &fresh, NOW, &at_server);
    }
    ok(true, "more sessions than there is room for");
    session_expires(server, trust);
    tls_trust_close(trust);
    tls_server_give(server);
    tls_server_give(other);
}

/* ---- refused servers: BearSSL's own server shows whatever we like */

struct raw_chain {
    br_x509_certificate certificates[CHAIN];
    unsigned count;
};

static void pem_bytes(void *context, const void *at, size_t bytes)
{
    br_x509_certificate *certificate = context;
    certificate->data = realloc(certificate->data, certificate->data_len + bytes);
    memcpy(certificate->data + certificate->data_len, at, bytes);
    certificate->data_len += bytes;
}

static void raw_chain_read(const char *name, struct raw_chain *chain)
{
    struct slice pem = vector(name);
    br_pem_decoder_context decoder;
    br_pem_decoder_init(&decoder);
    memset(chain, 0, sizeof *chain);
    size_t at = 0;
    while (at < pem.bytes) {
        at += br_pem_decoder_push(&decoder, pem.at + at, pem.bytes - at);
        int event = br_pem_decoder_event(&decoder);
        if (event == BR_PEM_BEGIN_OBJ) {
            br_pem_decoder_setdest(&decoder, pem_bytes, &chain->certificates[chain->count]);
        } else if (event == BR_PEM_END_OBJ) {
            chain->count++;
        }
    }
    vector_free(pem);
}

static void raw_chain_free(struct raw_chain *chain)
{
    for (unsigned i = 0; i < chain->count; i++) {
        free(chain->certificates[i].data);
    }
}

static void raw_key_read(const char *name, br_skey_decoder_context *ret_decoder)
{
    struct raw_chain holder;
    raw_chain_read(name, &holder);
    br_skey_decoder_init(ret_decoder);
    br_skey_decoder_push(ret_decoder, holder.certificates[0].data, holder.certificates[0].data_len);
    raw_chain_free(&holder);
}

struct refused {
    const char *chain, *trust, *name;
    int64_t now;
    const char *words;
    bool rsa;
    bool accepted;
};

/* The same chain outside of a handshake: the same words. */
static void checked(const struct refused *test, const struct raw_chain *chain,
                    const struct tls_trust *trust, const char *words)
{
    struct slice certificates[CHAIN];
    char why[TLS_WHY_BYTES] = "";
    for (unsigned i = 0; i < chain->count; i++) {
        certificates[i] = slice_of(chain->certificates[i].data, chain->certificates[i].data_len);
    }
    int64_t now = test->now ? test->now : NOW;
    enum bk_err err = tls_trust_check(trust, certificates, chain->count, test->name, now, why);
    if (test->accepted) {
        is_int(err, BK_OK, "and by itself");
        return;
    }
    bool unknown = strstr(words, "self-signed") || strstr(words, "unknown CA") ||
                   strstr(words, "no store of trusted");
    is_int(err, unknown ? BK_NOT_FOUND : BK_INVALID, "by itself too");
    is_str(why, words, "with the same words");
}

static void one_refused(const struct refused *test)
{
    static br_ssl_server_context raw;
    static uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    struct raw_chain chain;
    br_skey_decoder_context key;
    char file[64];
    snprintf(file, sizeof file, "%s.pem", test->chain);
    raw_chain_read(file, &chain);
    /* The certificate is judged before the key that goes with it is used. */
    raw_key_read(test->rsa ? "server_rsa.key" : "server.key", &key);
    if (test->accepted) {
        snprintf(file, sizeof file, "%s.key", test->chain);
        raw_key_read(file, &key);
    }
    if (test->rsa) {
        br_ssl_server_init_full_rsa(&raw, chain.certificates, chain.count,
                                    br_skey_decoder_get_rsa(&key));
    } else {
        br_ssl_server_init_full_ec(&raw, chain.certificates, chain.count, BR_KEYTYPE_EC,
                                   br_skey_decoder_get_ec(&key));
    }
    br_ssl_engine_set_buffer(&raw.eng, buffer, sizeof buffer, 1);
    br_ssl_server_reset(&raw);
    struct tls_trust *trust = trust_of(test->trust);
    struct tls *c = client_new();
    tls_client_begin(c, trust, NULL, test->name, NULL, test->now ? test->now : NOW, entropy_a);
    struct end a = {.tls = c}, b = {.raw = &raw.eng};
    carry(&a, &b, 512);
    if (test->accepted) {
        ok(tls_is_open(c), "%s as %s by %s: accepted (%s)", test->chain, test->name, test->trust,
           tls_why(c) ? tls_why(c) : "no complaint");
    } else {
        ok(!tls_is_open(c) && tls_state(c) == TLS_CLOSED, "%s as %s: refused", test->chain,
           test->name);
        is_int(tls_err(c), BK_UNAUTHENTICATED, "as a bad certificate");
        ok(tls_why(c) && strstr(tls_why(c), test->words), "%s (wanted: %s)", tls_why(c),
           test->words);
    }
    checked(test, &chain, trust, tls_why(c) ? tls_why(c) : "");
    tls_end(c);
    free(c);
    tls_trust_close(trust);
    raw_chain_free(&chain);
}

static void check_names(void)
{
    struct raw_chain chain;
    struct tls_trust *trust = trust_of("ca.pem");
    char why[TLS_WHY_BYTES];
    raw_chain_read("server.pem", &chain);
    struct slice both[2] = {slice_of(chain.certificates[0].data, chain.certificates[0].data_len),
                            slice_of(chain.certificates[1].data, chain.certificates[1].data_len)};
    is_int(tls_trust_check(trust, both, 2, "c.example a.example", NOW, why), BK_OK,
           "one of the names is enough");
    is_int(tls_trust_check(trust, both, 2, "c.example d.example", NOW, why), BK_INVALID,
           "none of them: %s", why);
    is_int(tls_trust_check(trust, both, 2, "", NOW, why), BK_INVALID, "no name");
    is_int(tls_trust_check(trust, both, 1, "a.example", NOW, why), BK_NOT_FOUND,
           "what lies between is missing");
    is_int(tls_trust_check(trust, both, 0, "a.example", NOW, why), BK_INVALID, "nothing");
    uint8_t *last = chain.certificates[0].data + chain.certificates[0].data_len - 1;
    *last ^= 1;
    is_int(tls_trust_check(trust, both, 2, "a.example", NOW, why), BK_INVALID, "forged");
    ok(strstr(why, "signature"), "%s", why);
    tls_trust_close(trust);
    raw_chain_free(&chain);
}

/* The words tell whoever set the server up what to do. */
static void misordered(void)
{
    struct raw_chain chain;
    char why[TLS_WHY_BYTES] = "";
    raw_chain_read("server.pem", &chain);
    struct slice leaf = slice_of(chain.certificates[0].data, chain.certificates[0].data_len);
    struct slice between = slice_of(chain.certificates[1].data, chain.certificates[1].data_len);
    struct slice turned[] = {between, leaf}, twice[] = {leaf, leaf, between};
    struct tls_trust *trust = trust_of("ca.pem");
    is_int(tls_trust_check(trust, turned, 2, "a.example", NOW, why), BK_INVALID);
    ok(strstr(why, "the peer's own one must come before it") != NULL, "an issuer's first: %s", why);
    is_int(tls_trust_check(trust, twice, 3, "a.example", NOW, why), BK_INVALID);
    ok(strstr(why, "do not follow each other") != NULL, "the leaf twice: %s", why);
    is_int(tls_trust_check(trust, &leaf, 1, "a.example", NOW, why), BK_NOT_FOUND);
    ok(strstr(why, "its issuer's certificate did not come along") != NULL, "alone: %s", why);
    raw_chain_free(&chain);
    tls_trust_close(trust);
}

static void refused(void)
{
    static const struct refused tests[] = {
        {.chain = "server", .trust = "ca.pem", .name = "a.example", .accepted = true},
        {.chain = "server", .trust = "ca.pem", .name = "A.Example.", .accepted = true},
        {.chain = "server",
         .trust = "other_ca.pem rsa_ca.pem ca.pem",
         .name = "x.b.example",
         .accepted = true},
        {.chain = "server", .trust = "ca.pem", .name = "127.0.0.1", .accepted = true},
        {.chain = "server", .trust = "ca.pem", .name = "::1", .accepted = true},
        {.chain = "server", .trust = "between.pem", .name = "a.example", .accepted = true},
        {.chain = "self_signed", .trust = "self_signed.pem", .name = "a.example", .accepted = true},
        {.chain = "server_rsa",
         .trust = "rsa_ca.pem",
         .name = "a.example",
         .accepted = true,
         .rsa = true},
        {.chain = "by_old",
         .trust = "old_ca.pem",
         .name = "a.example",
         .now = 1800000000LL,
         .accepted = true},
        {.chain = "server_p384", .trust = "ca.pem", .name = "c.example", .accepted = true},
        {.chain = "by_bounded", .trust = "bounded_ca.pem", .name = "a.example", .accepted = true},
        {.chain = "by_bounded", .trust = "bounded_ca.pem", .name = "y.b.example", .accepted = true},
        {.chain = "by_bounded", .trust = "bounded_ca.pem", .name = "127.0.0.1", .accepted = true},
        {.chain = "by_within", .trust = "ca.pem", .name = "y.b.example", .accepted = true},
        {.chain = "by_within", .trust = "ca.pem", .name = "127.0.0.1", .accepted = true},
        {.chain = "by_within", .trust = "within.pem", .name = "x.b.example", .accepted = true},

        {"server", "ca.pem", "a.example", NOW_2200, "expired on 2126-", 0, 0},
        {"server", "ca.pem", "a.example", NOW_2020, "not valid before 2026-", 0, 0},
        {"server", "ca.pem", "b.a.example", 0, "not for b.a.example but for a.example and others",
         0, 0},
        {"server", "ca.pem", "b.example", 0, "not for b.example", 0, 0},
        {"server", "ca.pem", "x.y.b.example", 0, "not for x.y.b.example", 0, 0},
        {"server", "ca.pem", "z.example", 0, "not for z.example", 0,
         0}, /* "*.example" is too wide */
        {"server", "ca.pem", "127.0.0.2", 0, "not for this address", 0, 0},
        {"server", "ca.pem", "::2", 0, "not for this address", 0, 0},
        {"no_name", "ca.pem", "a.example", 0, "it names nobody", 0, 0},
        {"unknown", "ca.pem rsa_ca.pem", "a.example", 0, "unknown CA", 0, 0},
        {"server", "", "a.example", 0, "no store of trusted certificates", 0, 0},
        {"self_signed", "ca.pem", "a.example", 0, "self-signed", 0, 0},
        {"for_clients", "ca.pem", "a.example", 0, "wrong usage: extendedKeyUsage", 0, 0},
        {"client", "ca.pem", "somebody", 0, "it names nobody", 0, 0},
        {"no_signing", "ca.pem", "a.example", 0, "wrong usage: keyUsage", 0, 0},
        {"as_ca", "ca.pem", "a.example", 0, "wrong usage: basicConstraints", 0, 0},
        {"by_clients", "ca.pem", "a.example", 0, "wrong usage: extendedKeyUsage", 0, 0},
        {"by_leaf", "ca.pem", "a.example", 0, "issued by one that may not issue", 0, 0},
        {"weak_key", "ca.pem", "a.example", 0, "weak key: RSA with 1024 bits", true, 0},
        {"curve", "ca.pem", "a.example", 0, "key of a kind that is not accepted", 0, 0},
        {"sha1", "ca.pem", "a.example", 0, "signed with SHA-1", 0, 0},
        {"md5", "rsa_ca.pem", "a.example", 0, "signed with MD5", 0, 0},
        {"critical", "ca.pem", "a.example", 0, "critical extension", 0, 0},
        {"by_old", "old_ca.pem", "a.example", 0, "the authority's own certificate", 0, 0},
        {"by_bounded", "bounded_ca.pem", "c.example", 0, "may not issue any for c.example", 0, 0},
        {"by_bounded", "bounded_ca.pem", "x.b.example", 0, "(nameConstraints)", 0, 0},
        {"by_bounded", "bounded_ca.pem", "10.0.0.1", 0, "any for this address", 0, 0},
        {"by_bounded", "bounded_ca.pem", "::1", 0, "(nameConstraints)", 0, 0},
        {"by_within", "ca.pem", "a.example", 0, "(nameConstraints)", 0, 0},
        {"by_within", "ca.pem", "10.0.0.1", 0, "(nameConstraints)", 0, 0},
        {"by_within", "within.pem", "a.example", 0, "(nameConstraints)", 0, 0},
    };
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        one_refused(&tests[i]);
    }
}

/* What a server shows, from several files: "server ca between", the first of each. */
static void raw_chain_gather(const char *names, struct raw_chain *ret_chain)
{
    char list[512], *rest = NULL;
    snprintf(list, sizeof list, "%s", names);
    memset(ret_chain, 0, sizeof *ret_chain);
    for (char *name = strtok_r(list, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
        struct raw_chain one;
        char file[64];
        snprintf(file, sizeof file, "%s.pem", name);
        raw_chain_read(file, &one);
        ret_chain->certificates[ret_chain->count++] = one.certificates[0];
        one.certificates[0].data = NULL;
        raw_chain_free(&one);
    }
}

static void one_order(const char *names, const char *trusted, const char *host, int64_t now,
                      const char *words)
{
    static br_ssl_server_context raw;
    static uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    struct raw_chain chain;
    br_skey_decoder_context key;
    char file[64];
    raw_chain_gather(names, &chain);
    snprintf(file, sizeof file, "%.*s.key", (int)strcspn(names, " "), names);
    raw_key_read(file, &key);
    br_ssl_server_init_full_ec(&raw, chain.certificates, chain.count, BR_KEYTYPE_EC,
                               br_skey_decoder_get_ec(&key));
    br_ssl_engine_set_buffer(&raw.eng, buffer, sizeof buffer, 1);
    br_ssl_server_reset(&raw);
    struct tls_trust *trust = trust_of(trusted);
    struct tls *c = client_new();
    tls_client_begin(c, trust, NULL, host, NULL, now, entropy_a);
    struct end a = {.tls = c}, b = {.raw = &raw.eng};
    carry(&a, &b, 100);
    const char *why = tls_why(c) ? tls_why(c) : "no complaint";
    if (words) {
        ok(!tls_is_open(c) && tls_err(c) == BK_UNAUTHENTICATED && strstr(why, words),
           "%s by %s: %s (wanted: %s)", names, trusted, why, words);
    } else {
        ok(tls_is_open(c), "%s by %s: %s", names, trusted, why);
    }
    tls_end(c);
    free(c);
    tls_trust_close(trust);
    raw_chain_free(&chain);
}

static void any_order(void)
{
    static const struct {
        const char *chain, *trust;
    } accepted[] = {
        {"server ca between", "ca.pem"},
        {"server ca ca between between ca", "ca.pem"},
        {"server server between", "ca.pem"},
        {"server other_ca between", "rsa_ca.pem ca.pem"},
        {"server between other_ca unknown", "ca.pem"},
        {"server md5 sha1 weak_key curve critical between", "ca.pem"}, /* whatever they are */
        {"server ca between", "between.pem"},
        {"server ca", "between.pem"},
        {"self_signed self_signed", "self_signed.pem"},
        {"self_signed other_ca", "self_signed.pem"},
        {"server ca ca ca ca ca ca ca ca ca ca ca ca ca ca between", "ca.pem"},
    };
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        one_order(accepted[i].chain, accepted[i].trust, "a.example", NOW, NULL);
    }
    one_order("by_within ca within", "ca.pem", "x.b.example", NOW, NULL);

    one_order("server ca between", "ca.pem", "a.example", NOW_2200, "expired on 2126-");
    one_order("server ca between", "ca.pem", "z.example", NOW, "not for z.example");
    one_order("server ca between", "other_ca.pem", "a.example", NOW, "unknown CA");
    one_order("server ca between", "", "a.example", NOW, "no store of trusted");
    one_order("server other_ca", "ca.pem", "a.example", NOW, "its issuer's certificate did not");
    one_order("ca server between", "ca.pem", "a.example", NOW, "must come before it");
    one_order("by_leaf ca between server", "ca.pem", "a.example", NOW, "may not issue any");
    one_order("by_clients ca between_clients", "ca.pem", "a.example", NOW, "extendedKeyUsage");
    one_order("by_within ca within", "ca.pem", "a.example", NOW, "(nameConstraints)");
    one_order("sha1 ca between", "ca.pem", "a.example", NOW, "signed with SHA-1");
    one_order("as_ca ca between", "ca.pem", "a.example", NOW, "basicConstraints");
    one_order("self_signed ca between", "ca.pem", "a.example", NOW, "self-signed");
    one_order("server ca ca ca ca ca ca ca ca ca ca ca ca ca ca ca between", "ca.pem", "a.example",
              NOW, "do not follow each other");
}

/* Whoever holds a good certificate but not its key. */
static void stolen(void)
{
    struct refused test = {.chain = "server", .trust = "ca.pem", .name = "a.example"};
    static br_ssl_server_context raw;
    static uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    struct raw_chain chain;
    br_skey_decoder_context key;
    raw_chain_read("server.pem", &chain);
    raw_key_read("unknown.key", &key);
    br_ssl_server_init_full_ec(&raw, chain.certificates, chain.count, BR_KEYTYPE_EC,
                               br_skey_decoder_get_ec(&key));
    br_ssl_engine_set_buffer(&raw.eng, buffer, sizeof buffer, 1);
    br_ssl_server_reset(&raw);
    struct tls_trust *trust = trust_of(test.trust);
    struct tls *c = client_new();
    tls_client_begin(c, trust, NULL, test.name, NULL, NOW, entropy_a);
    struct end a = {.tls = c}, b = {.raw = &raw.eng};
    carry(&a, &b, 512);
    ok(!tls_is_open(c) && tls_why(c) && strstr(tls_why(c), "signature is wrong"), "%s", tls_why(c));
    tls_end(c);
    /* A byte of the certificate altered: its signature no longer fits. */
    raw_key_read("server.key", &key);
    chain.certificates[0].data[chain.certificates[0].data_len - 20] ^= 1;
    br_ssl_server_init_full_ec(&raw, chain.certificates, chain.count, BR_KEYTYPE_EC,
                               br_skey_decoder_get_ec(&key));
    br_ssl_engine_set_buffer(&raw.eng, buffer, sizeof buffer, 1);
    br_ssl_server_reset(&raw);
    tls_client_begin(c, trust, NULL, test.name, NULL, NOW, entropy_a);
    carry(&a, &b, 512);
    ok(!tls_is_open(c) && tls_err(c) == BK_UNAUTHENTICATED && strstr(tls_why(c), "signature"), "%s",
       tls_why(c));
    tls_end(c);
    free(c);
    tls_trust_close(trust);
    raw_chain_free(&chain);
}

/* ---- versions and protocols */

static void old_server(void)
{
    static br_ssl_server_context raw;
    static uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    struct raw_chain chain;
    br_skey_decoder_context key;
    raw_chain_read("server.pem", &chain);
    raw_key_read("server.key", &key);
    br_ssl_server_init_full_ec(&raw, chain.certificates, chain.count, BR_KEYTYPE_EC,
                               br_skey_decoder_get_ec(&key));
    br_ssl_engine_set_versions(&raw.eng, BR_TLS10, BR_TLS11);
    br_ssl_engine_set_buffer(&raw.eng, buffer, sizeof buffer, 1);
    br_ssl_server_reset(&raw);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls *c = client_new();
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
    struct end a = {.tls = c}, b = {.raw = &raw.eng};
    carry(&a, &b, 512);
    ok(!tls_is_open(c) && tls_err(c) == BK_PROTOCOL, "a server of TLS 1.1 is refused");
    ok(tls_why(c) && strstr(tls_why(c), "no common version or suite"), "%s", tls_why(c));
    tls_end(c);
    /* One that says it chose 1.1, whatever was offered. */
    static const uint8_t hello[] = {0x16, 3, 2, 0,        42,          2,    0, 0,
                                    38,   3, 2, [43] = 0, [44] = 0xc0, 0x09, 0};
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
    const uint8_t *at;
    size_t bytes = take(&a, &at);
    taken(&a, bytes);
    (void)give(&a, hello, sizeof hello);
    ok(!tls_is_open(c) && tls_why(c) && strstr(tls_why(c), "older than TLS 1.2"), "%s", tls_why(c));
    tls_end(c);
    static const uint8_t http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    tls_client_begin(c, trust, NULL, "a.example", NULL, NOW, entropy_a);
    is_uint(give(&a, http, sizeof http - 1), 0, "nothing is taken before the hello has left");
    bytes = take(&a, &at);
    taken(&a, bytes);
    (void)give(&a, http, sizeof http - 1);
    ok(tls_why(c) && strstr(tls_why(c), "plain HTTP"), "%s", tls_why(c));
    tls_end(c);
    tls_client_begin(c, trust, NULL, "a..example", NULL, NOW, entropy_a);
    ok(tls_state(c) == TLS_CLOSED && tls_err(c) == BK_INVALID, "%s", tls_why(c));
    tls_end(c);
    free(c);
    tls_trust_close(trust);
    raw_chain_free(&chain);
}

static const char *odd_protocols[] = {"h2"};

/* A session that the server made with an ordinary client. */
static void resume_raw(br_ssl_engine_context *raw, struct tls_server *server)
{
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls_session session = {0};
    bool at_server;
    (void)session_try(server, trust, &session, NOW, &at_server);
    br_ssl_session_parameters parameters = {.session_id_len = session.id_bytes,
                                            .version = session.version,
                                            .cipher_suite = session.suite};
    memcpy(parameters.session_id, session.id, sizeof parameters.session_id);
    memcpy(parameters.master_secret, session.master, sizeof parameters.master_secret);
    br_ssl_engine_set_session_parameters(raw, &parameters);
    tls_trust_close(trust);
}

static size_t zeros(unsigned char *point, const unsigned char *key, size_t bytes, int curve)
{
    size_t point_bytes = br_ec_get_default()->mulgen(point, key, bytes, curve);
    memset(point, 0, point_bytes);
    return point_bytes;
}

static size_t beside(unsigned char *point, const unsigned char *key, size_t bytes, int curve)
{
    size_t point_bytes = br_ec_get_default()->mulgen(point, key, bytes, curve);
    point[point_bytes - 1] ^= 1;
    return point_bytes;
}

/* Its key of ECDHE is one that cannot be. */
static bool bend_key(br_ssl_client_context *raw, br_ec_impl *curves, const char *how)
{
    *curves = *br_ec_get_default();
    curves->supported_curves = 1U << (strstr(how, "X25519") ? BR_EC_curve25519 : BR_EC_secp256r1);
    if (strstr(how, "zeros")) {
        curves->mulgen = zeros;
    } else if (strstr(how, "beside")) {
        curves->mulgen = beside;
    } else {
        return false;
    }
    curves->supported_curves |= 1U << BR_EC_secp256r1; /* of the certificate */
    br_ssl_engine_set_ec(&raw->eng, curves);
    return true;
}

/* A client of plain BearSSL, bent by `how`. */
static void odd_client(const char *how, const char *words)
{
    static br_ssl_client_context raw;
    static br_x509_minimal_context minimal;
    static br_ec_impl curves;
    static uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    struct tls_server *server = server_of("server", NULL);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls *s = server_new();
    bool resumes = strcmp(how, "h2, resuming") == 0, bent = false;
    br_ssl_client_init_full(&raw, &minimal, trust->set->anchors, trust->set->count);
    br_x509_minimal_set_time(&minimal, (uint32_t)(NOW / 86400) + 719528U, NOW % 86400);
    if (resumes) {
        resume_raw(&raw.eng, server);
    }
    if (strcmp(how, "old") == 0) {
        br_ssl_engine_set_versions(&raw.eng, BR_TLS10, BR_TLS11);
    } else if (strcmp(how, "cbc") == 0) {
        static const uint16_t suites[] = {BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
                                          BR_TLS_RSA_WITH_AES_128_GCM_SHA256};
        br_ssl_engine_set_suites(&raw.eng, suites, 2);
    } else if (!(bent = bend_key(&raw, &curves, how))) {
        br_ssl_engine_set_protocol_names(&raw.eng, odd_protocols, 1);
    }
    br_ssl_engine_set_buffer(&raw.eng, buffer, sizeof buffer, 1);
    br_ssl_client_reset(&raw, "a.example", resumes);
    tls_server_begin(s, server, NOW, entropy_b);
    struct end a = {.raw = &raw.eng}, b = {.tls = s};
    carry(&a, &b, 512);
    ok(!tls_is_open(s) && tls_state(s) == TLS_CLOSED && tls_err(s) == BK_PROTOCOL,
       "a client with %s is refused", how);
    ok(tls_why(s) && strstr(tls_why(s), words), "%s", tls_why(s));
    size_t word_bytes;
    const uint8_t *word = tls_last_words(s, &word_bytes);
    ok((bent && word_bytes == 7 && memcmp(word, "\x15\3\3\0\2\2\x2f", 7) == 0) ||
           br_ssl_engine_last_error(&raw.eng) == BR_ERR_UNSUPPORTED_VERSION ||
           br_ssl_engine_last_error(&raw.eng) > BR_ERR_RECV_FATAL_ALERT,
       "and told by an alert (%d)", br_ssl_engine_last_error(&raw.eng));
    tls_end(s);
    free(s);
    tls_trust_close(trust);
    tls_server_give(server);
}

static void plain_http(void)
{
    struct tls_server *server = server_of("server", NULL);
    struct tls *s = server_new();
    struct end b = {.tls = s};
    static const uint8_t http[] = "POST /hooks/x HTTP/1.1\r\nHost: a\r\n\r\n";
    tls_server_begin(s, server, NOW, entropy_b);
    (void)give(&b, http, sizeof http - 1);
    ok(tls_state(s) == TLS_CLOSED && strstr(tls_why(s), "plain HTTP"), "%s", tls_why(s));
    tls_end(s);
    tls_server_begin(s, server, NOW, entropy_b);
    static const uint8_t noise[] = {0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10};
    (void)give(&b, noise, sizeof noise);
    ok(tls_err(s) == BK_PROTOCOL && !strstr(tls_why(s), "HTTP"), "%s", tls_why(s));
    tls_end(s);
    /* A record that says it is larger than any may be. */
    static const uint8_t huge[] = {0x16, 3, 1, 0xff, 0xff, 1, 0, 0};
    tls_server_begin(s, server, NOW, entropy_b);
    (void)give(&b, huge, sizeof huge);
    ok(tls_err(s) == BK_PROTOCOL && strstr(tls_why(s), "too large"), "%s", tls_why(s));
    tls_end(s);
    free(s);
    tls_server_give(server);
}

/* ---- certificates of clients, and which certificate a server shows */

static void client_certificate(const char *identity_name, const char *server_trust, int64_t now,
                               const char *words)
{
    struct tls_server *server = server_of("server", server_trust);
    struct tls_trust *trust = trust_of("ca.pem");
    struct tls_identity *identity =
        identity_name ? identity_of(identity_name, strncmp(identity_name, "server", 6) == 0) : NULL;
    struct tls *c = client_new(), *s = server_new();
    tls_client_begin(c, trust, identity, "a.example", NULL, NOW, entropy_a);
    tls_server_begin(s, server, now, entropy_b);
    struct end a = {.tls = c}, b = {.tls = s};
    carry(&a, &b, 512);
    if (!words) {
        ok(tls_is_open(c) && tls_is_open(s), "client certificate %s: accepted (%s)", identity_name,
           tls_why(s) ? tls_why(s) : "no complaint");
    } else {
        ok(!tls_is_open(s) && tls_err(s) == BK_UNAUTHENTICATED, "client certificate %s: refused",
           identity_name ? identity_name : "(none)");
        ok(tls_why(s) && strstr(tls_why(s), words), "%s", tls_why(s));
    }
    tls_end(c);
    tls_end(s);
    free(c);
    free(s);
    tls_identity_close(identity);
    tls_trust_close(trust);
    tls_server_give(server);
}

static void names(const char *servers, const char *name, const char *suite)
{
    talk(servers, "ca.pem rsa_ca.pem", name, 512, suite);
}

/* ---- reading files */

static void bad_pem(const char *what, const char *text, const char *words)
{
    struct tls_trust *trust;
    char why[TLS_WHY_BYTES] = "";
    is_int(tls_trust_open(&trust), BK_OK, "%s", what);
    is_int(tls_trust_add_pem(trust, "file.pem", slice_str(text), why), BK_INVALID, "is refused");
    ok(strstr(why, words) != NULL, "%s (wanted: %s)", why, words);
    is_uint(tls_trust_count(trust), 0, "nothing was added");
    tls_trust_close(trust);
}

static void bad_identity(const char *certificate_name, const char *key_name, bool for_server,
                         const char *words)
{
    struct tls_identity *identity = NULL;
    struct slice certificate = vector(certificate_name), key = vector(key_name);
    char why[TLS_WHY_BYTES] = "";
    is_int(tls_identity_open_pem(certificate_name, certificate, key_name, key, for_server,
                                 &identity, why),
           BK_INVALID, "%s with %s", certificate_name, key_name);
    ok(strstr(why, words) != NULL, "%s (wanted: %s)", why, words);
    vector_free(certificate);
    vector_free(key);
}

static void files(void)
{
    bad_pem("nothing", "", "no certificate in it");
    bad_pem("words", "hello\nworld\n", "no certificate in it");
    bad_pem("a cut block", "\n-----BEGIN CERTIFICATE-----\nMIIB\n",
            "file.pem:2: the block has no end");
    bad_pem("not base 64", "-----BEGIN CERTIFICATE-----\nM!IB\n-----END CERTIFICATE-----\n",
            "file.pem:1: what is between");
    bad_pem("not DER", "x\ny\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "file.pem:3: this is not a well-formed");
    bad_pem("another end", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END KEY-----\n",
            "file.pem:3: the block ends with another name");
    bad_pem("one in another",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----BEGIN CERTIFICATE-----\nMIIB\n"
            "-----END CERTIFICATE-----\n",
            "file.pem:3: a block begins before the last one has ended");
    bad_pem("an open name", "x\n-----BEGIN CERTIFICATE\nMIIB\n-----END CERTIFICATE-----\n",
            "file.pem:2: the block's name is too long, or has no dashes");
    bad_pem("an empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            "file.pem:1: what is between");
    bad_pem("a key", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
            "file.pem:1: this is no certificate");
    bad_identity("server.pem", "ca.key", true, "not the one of the certificate");
    bad_identity("server.pem", "server_rsa.key", true, "not the one of the certificate");
    bad_identity("server_rsa.pem", "rsa_ca.key", true, "not the one of the certificate");
    bad_identity("server.pem", "server.pem", true, "no private key in it");
    bad_identity("server.key", "server.key", true, "no certificate in it");
    bad_identity("client.pem", "client.key", true, "not for a server");
    bad_identity("server.pem", "server.key", false, "not for a client");
    bad_identity("weak_key.pem", "weak_key.key", true, "RSA key is too short");
    bad_identity("sha1.pem", "sha1.key", true, "MD5 or SHA-1");
    bad_identity("curve.pem", "curve.key", true, "of a kind that is not accepted");
    char why[TLS_WHY_BYTES] = "";
    struct tls_trust *trust = trust_of("ca.pem");
    is_int(tls_trust_add_file(trust, "/nonexistent/ca.pem", why), BK_NOT_FOUND,
           "a file that is not there");
    ok(strstr(why, "/nonexistent/ca.pem: not found") != NULL, "%s", why);
    is_uint(tls_trust_count(trust), 1, "what was there stays");
    tls_trust_close(trust);
}

static void within(const char *name, const char *subtree, size_t bytes, bool want)
{
    struct cert_name wanted;
    ok(cert_name_from(name, &wanted), "%s", name);
    is_int(cert_name_within(&wanted, slice_of((const uint8_t *)subtree, bytes)), want, "%s %s %s",
           name, want ? "is within" : "is not within", wanted.address ? "it" : subtree);
}

static void subtrees(void)
{
    within("a.example", "a.example", 9, true);
    within("b.a.example", "A.EXAMPLE", 9, true);
    within("ba.example", "a.example", 9, false);
    within("example", "a.example", 9, false);
    within("a.example", "", 0, true);
    within("a.example", ".example", 8, true);
    within("example", ".example", 8, false);
    within("a.example", "*.example", 9, false);
    within("10.1.2.3", "\x0a\0\0\0\xff\0\0\0", 8, true);
    within("11.1.2.3", "\x0a\0\0\0\xff\0\0\0", 8, false);
    within("10.1.2.3", "\x0a\0\0\0", 4, false);
    within("::1", "\0\0\0\0\0\0\0\0", 8, false);
    within("::1", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32, true);
}

/* A certificate that has nothing but an excluded subtree. */
static void excludes(const char *name, const char *subtree, bool want)
{
    uint8_t der[200] = {0};
    size_t bytes = strlen(subtree), at = sizeof der;
    struct cert_name wanted;
    struct cert_facts facts;
    ok(cert_name_from(name, &wanted), "%s", name);
    static const uint8_t before[] = {5, 0, 5, 0, 0x30, 0, 0x30, 0, 0x30, 0, 0x30, 0};
    static const uint8_t oid[] = {6, 3, 0x55, 0x1d, 0x1e};
    static const uint8_t tags[] = {0x82, 0x30, 0xa1, 0x30, 0x04, 0x30, 0x30, 0xa3, 0x30, 0x30};
    at -= bytes;
    memcpy(der + at, subtree, bytes);
    for (size_t i = 0; i < sizeof tags; i++) {
        const uint8_t *more = i == 5 ? oid : i == 8 ? before : NULL;
        size_t more_bytes = i == 5 ? sizeof oid : i == 8 ? sizeof before : 0;
        for (size_t k = more_bytes; k > 0; k--) {
            der[--at] = more[k - 1];
        }
        bytes += more_bytes;
        der[--at] = (uint8_t)bytes;
        der[--at] = tags[i];
        bytes += 2;
    }
    cert_scan_all(slice_of(der + at, bytes), &wanted, &facts);
    ok(facts.constrained, "it is read");
    is_int(facts.forbids, want, "'%s' %s %s", subtree, want ? "forbids" : "leaves", name);
}

static void excluded(void)
{
    excludes("a.example.com", "example.com", true);
    excludes("a.example.com", "Example.com.", true);
    excludes("a.example.com", ".example.com", true);
    excludes("a.example.com", "*.example.com", true);
    excludes("a.example.com", "*.example.com.", true);
    excludes("example.com", "*.example.com", true);
    excludes("a.example.com", "", true);
    excludes("a.example.com", ".", true);
    excludes("a.example.com", "other.com", false);
    excludes("a.example.com", "*.other.com.", false);
    excludes("a.example.com", "x-1_y.other.com", false);
    excludes("a.example.com", "https://other.com", true);
    excludes("a.example.com", "*", true);
    excludes("a.example.com", "*.*.com", true);
    excludes("a.example.com", "..other.com", true);
    excludes("a.example.com", "other..com", true);
    excludes("a.example.com", "other com", true);
}

static void days(void)
{
    char day[TLS_DAY_BYTES];
    tls_day(0, day);
    is_str(day, "1970-01-01", "the first day");
    tls_day(253402300799LL, day);
    is_str(day, "9999-12-31", "no expiry, as RFC 5280 has it");
    tls_day(-2147483649LL, day);
    is_str(day, "1901-12-13", "long ago");
    tls_day(INT64_MAX, day);
    is_uint(strlen(day), 10, "never: %s", day);
}

int main(void)
{
    days();
    subtrees();
    excluded();
    talk("server", "ca.pem", "a.example", 512, SUITE("ECDSA"));
    talk("server", "ca.pem", "127.0.0.1", 512, SUITE("ECDSA"));
    talk("server_rsa", "rsa_ca.pem", "a.example", 7, SUITE("RSA"));
    large();
    cut_everywhere();
    cut_without_goodbye();
    alerts();
    hello_in_records();
    sessions();
    trust_changes();
    refused();
    any_order();
    misordered();
    check_names();
    stolen();
    old_server();
    odd_client("old", "TLS 1.2 is not spoken by both");
    odd_client("cbc", "no common version or suite");
    odd_client("h2", "http/1.1 is not among");
    odd_client("h2, resuming", "http/1.1 is not among");
    odd_client("a key of X25519 that is zeros", "key of ECDHE");
    odd_client("a key beside the curve", "key of ECDHE");
    plain_http();
    client_certificate("client", "ca.pem", NOW, NULL);
    client_certificate("client_rsa", "ca.pem rsa_ca.pem", NOW, NULL);
    client_certificate(NULL, "ca.pem", NOW, "the client showed no certificate");
    client_certificate("client", "rsa_ca.pem", NOW, "unknown CA");
    client_certificate("client", "ca.pem", NOW_2200, "expired");
    client_certificate("server", "ca.pem", NOW, "not for a client");
    names("server server_p384", "a.example", SUITE("ECDSA"));
    names("server server_p384", "c.example", SUITE("ECDSA"));
    names("server_rsa server_p384", "c.example", SUITE("ECDSA"));
    names("server_p384 server_rsa", "x.b.example", SUITE("RSA"));
    files();
    return done_testing();
}
