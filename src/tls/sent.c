#include "tls/private.h"

/* Whoever set a server up may have put its issuers' certificates in any order, some of them twice,
 * or others among them. RFC 8446 4.4.2 asks to be prepared for that, and other clients are. */

#define NOWHERE UINT32_MAX

struct link {
    uint8_t subject[CERT_HASH_BYTES], issuer[CERT_HASH_BYTES];
    uint32_t far; /* certificates between it and somebody we believe */
    bool taken;
};

void tls_sent_begin(struct tls_sent *sent, uint8_t *room, size_t bytes)
{
    *sent = (struct tls_sent){.at = room, .room = bytes};
}

void tls_sent_next(struct tls_sent *sent)
{
    sent->over |= sent->count == TLS_SENT_MAX;
    if (!sent->over) {
        sent->begins[sent->count++] = sent->bytes;
    }
}

void tls_sent_add(struct tls_sent *sent, const uint8_t *at, size_t bytes)
{
    sent->over |= bytes > sent->room - sent->bytes;
    if (!sent->over) {
        memcpy(sent->at + sent->bytes, at, bytes);
        sent->bytes += bytes;
    }
}

static struct slice sent_one(const struct tls_sent *sent, unsigned index)
{
    size_t begin = sent->begins[index];
    size_t end = index + 1 < sent->count ? sent->begins[index + 1] : sent->bytes;
    return slice_of(sent->at + begin, end - begin);
}

static bool is_anchor(const struct tls_anchors *trust, const uint8_t name[CERT_HASH_BYTES])
{
    for (unsigned i = 0; i < trust->count; i++) {
        if (memcmp(trust->notes[i].subject, name, CERT_HASH_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static bool issued(const struct link *by, const struct link *one)
{
    return by != one && memcmp(by->subject, one->issuer, CERT_HASH_BYTES) == 0;
}

/* False: one of them is no certificate. */
static bool read_links(const struct tls_sent *sent, const struct tls_anchors *trust,
                       struct link *ret_links)
{
    for (unsigned i = 0; i < sent->count; i++) {
        struct cert_facts facts;
        cert_scan_all(sent_one(sent, i), NULL, &facts);
        if (!facts.whole) {
            return false;
        }
        struct link *link = &ret_links[i];
        memcpy(link->subject, facts.subject, CERT_HASH_BYTES);
        memcpy(link->issuer, facts.issuer, CERT_HASH_BYTES);
        link->far = is_anchor(trust, link->issuer) ? 0 : NOWHERE;
        link->taken = false;
    }
    return true;
}

static void measure(struct link *links, unsigned count)
{
    for (uint32_t far = 1; far < count; far++) {
        for (unsigned i = 0; i < count; i++) {
            for (unsigned by = 0; by < count && links[i].far == NOWHERE; by++) {
                bool nearer = links[by].far == far - 1 && issued(&links[by], &links[i]);
                links[i].far = nearer ? far : NOWHERE;
            }
        }
    }
}

/* The certificate of its issuer, of several the nearest to whom we believe; NULL: it is not there.
 */
static struct link *issuer_of(struct link *links, unsigned count, const struct link *one)
{
    struct link *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        struct link *by = &links[i];
        if (!by->taken && issued(by, one) && (!best || by->far < best->far)) {
            best = by;
        }
    }
    return best;
}

unsigned tls_sent_order(const struct tls_sent *sent, const struct tls_anchors *trust,
                        struct slice ret_path[TLS_SENT_MAX])
{
    struct link links[TLS_SENT_MAX];
    unsigned count = 0;
    bool other = false;
    if (sent->over || sent->count < 2 || !read_links(sent, trust, links)) {
        return 0;
    }
    measure(links, sent->count);
    for (struct link *at = links; at; at = issuer_of(links, sent->count, at)) {
        unsigned index = (unsigned)(at - links);
        at->taken = true;
        other |= index != count;
        ret_path[count++] = sent_one(sent, index);
    }
    return other || count < sent->count ? count : 0;
}
