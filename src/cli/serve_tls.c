#include "cli/serve_tls.h"

#include <stdio.h>

#define IDENTITIES_MAX 32U
#define SESSIONS_MAX   32768U

bool serve_tls_wanted(const struct options *options)
{
    return option_list_count(options, "tls-cert") != 0 ||
           option_list_count(options, "tls-key") != 0 || option_text(options, "tls-client-ca");
}

bool serve_tls_owns(const char *option_name)
{
    return strncmp(option_name, "tls-", 4) == 0;
}

/* What is wrong with a file, behind the option that named it. */
static void name_option(const char *option, char *why)
{
    char text[TLS_WHY_BYTES];
    snprintf(text, sizeof text, "%s: %.*s", option, (int)(sizeof text - 32), why);
    memcpy(why, text, sizeof text);
}

bool serve_tls_paired(const struct options *options, char *ret_why)
{
    unsigned count = option_list_count(options, "tls-cert");
    bool paired = count > 0 && count == option_list_count(options, "tls-key");
    if (serve_tls_wanted(options) && (!paired || count > IDENTITIES_MAX)) {
        snprintf(ret_why, TLS_WHY_BYTES, "--tls-cert and --tls-key come in pairs, 1 to %u of them",
                 IDENTITIES_MAX);
        return false;
    }
    return true;
}

static bool read_clients(const char *path, struct tls_trust **ret_trust, char *ret_why)
{
    *ret_trust = NULL;
    if (!path) {
        return true;
    }
    struct tls_trust *trust;
    if (tls_trust_open(&trust) != BK_OK) {
        snprintf(ret_why, TLS_WHY_BYTES, "out of memory");
        return false;
    }
    if (tls_trust_add_file(trust, path, ret_why) != BK_OK) {
        tls_trust_close(trust);
        return false;
    }
    *ret_trust = trust;
    return true;
}

static unsigned read_identities(const struct options *options, struct tls_identity **ret_identities,
                                unsigned count, char *ret_why)
{
    unsigned done = 0;
    while (done < count && tls_identity_open_files(option_list_at(options, "tls-cert", done),
                                                   option_list_at(options, "tls-key", done), true,
                                                   &ret_identities[done], ret_why) == BK_OK) {
        done++;
    }
    return done;
}

bool serve_tls_read(const struct options *options, struct tls_server **ret_server, char *ret_why)
{
    struct tls_identity *identities[IDENTITIES_MAX];
    struct tls_trust *clients;
    unsigned count = option_list_count(options, "tls-cert");
    if (!serve_tls_paired(options, ret_why)) {
        return false;
    }
    if (!read_clients(option_text(options, "tls-client-ca"), &clients, ret_why)) {
        name_option("--tls-client-ca", ret_why);
        return false;
    }
    unsigned done = read_identities(options, identities, count, ret_why);
    if (done < count) {
        name_option("--tls-cert, --tls-key", ret_why);
        while (done) {
            tls_identity_close(identities[--done]);
        }
        tls_trust_close(clients);
        return false;
    }
    if (tls_server_open(identities, count, clients, SESSIONS_MAX, ret_server) != BK_OK) {
        snprintf(ret_why, TLS_WHY_BYTES, "out of memory");
        return false;
    }
    return true;
}
