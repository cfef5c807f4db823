/* credentials.h - what TLS to one place needs beside the defaults: whom to believe there, and who
 * we are to it.
 *
 * Purpose     A destination's own CA stands alone: the default trust is not asked then, so that a
 *             server can be pinned. A client certificate goes with its key.
 * Ownership   Counted. Whoever keeps a pointer beyond its turn takes a reference: compiled
 *             destinations, deliveries, the client for its connections. The last one to give it
 *             back frees it and wipes the key.
 * Retiring    What was replaced or removed is retired: who still holds it finishes what is under
 *             way with it and begins nothing new (http/client.h).
 * Threads     Never changed once built, but for the count and the mark: any. Building calls malloc
 *             and may compute for a millisecond: control thread.
 */
#ifndef BECKET_TLS_CREDENTIALS_H
#define BECKET_TLS_CREDENTIALS_H

#include "tls/tls.h"

struct tls_credentials;

/* PEM. Empty: no `ca`, then the default trust counts; no `certificate`, then none is shown. */
struct tls_credentials_text {
    struct slice ca;
    struct slice certificate; /* the leaf first */
    struct slice key;         /* the leaf's; when and only when there is a certificate */
};

/* How the parts are called in words; ret_why (TLS_WHY_BYTES) begins with the one that it is about
 * and a colon. */
#define TLS_CREDENTIALS_CA          "ca"
#define TLS_CREDENTIALS_CERTIFICATE "clientCertificate"
#define TLS_CREDENTIALS_KEY         "clientKey"

/* BK_INVALID with words, BK_NO_MEMORY. */
enum bk_err tls_credentials_open(const struct tls_credentials_text *text,
                                 struct tls_credentials **ret_credentials,
                                 char *ret_why) BK_MUST_CHECK;
/* NULL is allowed in all of these, and stands for "nothing of its own". */
struct tls_credentials *tls_credentials_take(struct tls_credentials *credentials);
void tls_credentials_give(struct tls_credentials *credentials);
void tls_credentials_retire(struct tls_credentials *credentials);
bool tls_credentials_retired(const struct tls_credentials *credentials);
/* Made from the same texts. */
bool tls_credentials_same(const struct tls_credentials *a, const struct tls_credentials *b);
/* NULL = the default. */
const struct tls_trust *tls_credentials_trust(const struct tls_credentials *credentials);
const struct tls_identity *tls_credentials_identity(const struct tls_credentials *credentials);

#endif
