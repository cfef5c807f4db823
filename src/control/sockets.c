#include "control/control_private.h"

#include "net/address.h"
#include "ring/socket.h"

#include <stdio.h>

#define ADDRESS_WAIT_MS 800U
#define ADDRESS_STEP_MS 20U

/* "--listen 127.0.0.1:8080: in use; …" */
static enum bk_err cannot_listen(const char *option, const struct ring_address *address,
                                 enum bk_err err, char ret_why[CONTROL_WHY_BYTES])
{
    char host[ADDRESS_TEXT_BYTES], what[80];
    address_format(address, host);
    snprintf(what, sizeof what, address->family == 6 ? "%s [%s]:%u" : "%s %s:%u", option, host,
             address->port);
    return open_failed(ret_why, err, what, reactor_listen_text(err));
}

/* One for each reactor, at one address. */
static enum bk_err listen_ingress(struct control_config *config)
{
    struct control_sockets *sockets = config->sockets;
    enum bk_err err = BK_OK;
    while (err == BK_OK && sockets->ingress_count < config->threads) {
        err = socket_listen(&config->listen, true, REACTOR_BACKLOG,
                            &sockets->ingress[sockets->ingress_count]);
        sockets->ingress_count += err == BK_OK;
    }
    return err;
}

static enum bk_err listen_admin(struct control_config *config)
{
    struct control_sockets *sockets = config->sockets;
    enum bk_err err =
        socket_listen(&config->admin_listen, false, REACTOR_BACKLOG, &sockets->admin[0]);
    sockets->admin_count = err == BK_OK;
    return err;
}

/* The reactors share their address (SO_REUSEPORT), and so could another server of the same user.
 * Asking for it alone first finds that out. Anything else is told by who listens. */
static enum bk_err listen_once(struct control_config *config, bool all,
                               char ret_why[CONTROL_WHY_BYTES])
{
    const struct control_sockets *sockets = config->sockets;
    enum bk_err err = BK_OK;
    if (!sockets->ingress_count && (all || config->listen.port == 0)) {
        err = config->listen.port ? ring_address_probe(&config->listen) : BK_OK;
        err = err == BK_BUSY ? err : listen_ingress(config);
    }
    if (err != BK_OK) {
        return cannot_listen("--listen", &config->listen, err, ret_why);
    }
    if (!sockets->admin_count && (all || config->admin_listen.port == 0)) {
        err = listen_admin(config);
    }
    return err == BK_OK ? BK_OK : cannot_listen("--admin", &config->admin_listen, err, ret_why);
}

/* What a killed server had in its rings is closed by the kernel a moment after it ended; who starts
 * it again at once finds the address still taken. */
enum bk_err control_listen(struct control_config *config, bool all, char ret_why[CONTROL_WHY_BYTES])
{
    enum bk_err err = listen_once(config, all, ret_why);
    for (unsigned ms = 0; err == BK_BUSY && ms < ADDRESS_WAIT_MS; ms += ADDRESS_STEP_MS) {
        socket_pause(ADDRESS_STEP_MS);
        err = listen_once(config, all, ret_why);
    }
    return err;
}

enum bk_err sockets_open(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    return control_listen(&control->config, true, ret_why);
}

unsigned sockets_of(const struct control *control, unsigned index, int *ret_sockets)
{
    const struct control_sockets *sockets = control->config.sockets;
    unsigned count = 0;
    for (unsigned i = index % sockets->ingress_count; i < sockets->ingress_count;
         i += control->config.threads) {
        ret_sockets[count++] = sockets->ingress[i];
    }
    return count;
}

void sockets_close(struct control_sockets *sockets)
{
    while (sockets->ingress_count) {
        socket_close(sockets->ingress[--sockets->ingress_count]);
    }
    while (sockets->admin_count) {
        socket_close(sockets->admin[--sockets->admin_count]);
    }
}
