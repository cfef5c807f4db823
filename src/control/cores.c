#include "control/control_private.h"

#include "hub/resources/learn.h"

#include <stdio.h>
#include <stdlib.h>

#define REACTOR_STACK_BYTES (1U << 20)

/* ---- what a reactor asks for; on its thread */

static bool is_ready(void *context, const char **ret_why)
{
    struct core *core = context;
    *ret_why = ready_why_not(core->control, ring_now_ns(core->ring), core->why_text);
    return *ret_why == NULL;
}

static void learn_returned(struct ring_mail *mail)
{
    struct learn_request *request = bk_container_of(mail, struct learn_request, mail);
    request->done(request);
}

static void learn_arrived(struct ring_mail *mail)
{
    struct learn_request *request = bk_container_of(mail, struct learn_request, mail);
    struct control *control = request->control;
    request->err =
        hub_learn(control->hub, request->source, slice_of(request->secret, request->secret_bytes),
                  ring_wall_ns(control->ring));
    mail->run = learn_returned;
    ring_post(control->ring, request->home, mail);
}

static void learn_asked(void *context, struct learn_request *request)
{
    struct core *core = context;
    request->control = core->control;
    request->mail.run = learn_arrived;
    ring_post(core->ring, core->control->ring, &request->mail);
}

static void key_wanted(void *context, const struct key_want *want)
{
    struct core *core = context;
    keys_want(core->control->keys, core->ring, want);
}

static void confirm_wanted(void *context, struct slice url)
{
    struct core *core = context;
    keys_confirm(core->control->keys, core->ring, url);
}

static const struct oidc_documents *documents(void *context)
{
    struct core *core = context;
    const struct oidc_documents *found = keys_documents(core->control->keys);
    if (found == NULL) {
        keys_want_documents(core->control->keys, core->ring);
    }
    return found;
}

static void core_stopped(struct errand *errand)
{
    errand->control->stopped_count++;
}

static void reactor_stopped(void *context, struct reactor *reactor)
{
    (void)reactor;
    struct core *core = context;
    errand_report(&core->stopped, core, core_stopped);
}

static void reactor_opened(void *context, struct reactor *reactor, enum bk_err err, const char *why)
{
    struct core *core = context;
    struct control *control = core->control;
    pthread_mutex_lock(&control->lock);
    core->ring = reactor_ring(reactor);
    if (core == &control->cores[0]) {
        control->admin_ring = core->ring; /* on the thread that serves the first request */
    }
    if (err != BK_OK && control->open_err == BK_OK) {
        control->open_err = err;
        snprintf(control->open_why_text, sizeof control->open_why_text, "%s", why);
    }
    control->opened_count++;
    pthread_cond_signal(&control->opened);
    pthread_mutex_unlock(&control->lock);
}

static void *core_main(void *context)
{
    struct core *core = context;
    char name[16]; /* as top, ps and perf show it */
    snprintf(name, sizeof name, "becket-core-%u", (unsigned)(core - core->control->cores) % 1000);
    (void)pthread_setname_np(pthread_self(), name);
    reactor_run(core->reactor);
    return NULL;
}

static bool core_start(struct control *control, unsigned index)
{
    struct core *core = &control->cores[index];
    core->control = control;
    control->feeds[index] = calloc(1, sizeof *control->feeds[index]);
    if (!control->feeds[index]) {
        return false;
    }
    control->feeds[index]->sources = hub_linked(control->hub);
    struct reactor_config config = {
        .ingress = {.id = (uint16_t)index,
                    .sources = control->sources,
                    .dedupe = control->dedupe,
                    .peers = control->peers,
                    .peer_count = control->config.threads,
                    .ready = is_ready,
                    .growth = grace_growth_asked,
                    .public_url = slice_str(control->config.public_url),
                    .learn = learn_asked,
                    .keys = keys_cache(control->keys),
                    .want_key = key_wanted,
                    .confirm = confirm_wanted,
                    .documents = documents,
                    .context = core},
        .peers = control->peers,
        .cpu = control->config.cpus ? control->config.cpus[index] : -1,
        .durable = control->config.durable,
        .catalog = control->catalog,
        .feed = control->feeds[index],
        .listen = control->config.listen,
        .sockets = core->sockets,
        .socket_count = sockets_of(control, index, core->sockets),
        .admin = index == 0,
        .admin_listen = control->config.admin_listen,
        .admin_sockets = control->config.sockets->admin,
        .admin_socket_count = control->config.sockets->admin_count,
        .tls = control->config.tls,
        .admin_tls = control->config.admin_tls ? control->config.tls : NULL,
        .trust = control->config.trust,
        .proxy = control->config.proxy,
        .admin_handler = admin_handler(&control->admin),
        .watch = index == 0 ? admin_watch : NULL,
        .conns_max = control->config.conns_max,
        .conns_per_address = control->config.conns_per_address,
        .admin_answers_bytes_max = control->config.admin_answers_bytes_max,
        .idle_timeout_ms = control->config.idle_timeout_ms,
        .head_timeout_ms = control->config.head_timeout_ms,
        .buffers_bytes_max = control->config.buffers_bytes_max,
        .deliver = {.core = (uint16_t)index,
                    .cores = (uint16_t)control->config.threads,
                    .routes = control->routes,
                    .control = control->ring,
                    .dispatch = control->dispatch,
                    .peers = control->delivers,
                    .clock_ms = control->clock_ms,
                    .slots = DELIVER_SLOTS_DEFAULT},
        .dns_servers = control->config.dns_servers,
        .dns_server_count = control->config.dns_server_count,
        .opened = reactor_opened,
        .stopped = reactor_stopped,
        .context = core,
    };
    config.deliver.lane_count =
        dispatch_lanes(control->dispatch, (uint16_t)index, &config.deliver.lanes);
    core->reactor = reactor_make(&config);
    if (!core->reactor) {
        return false;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, REACTOR_STACK_BYTES);
    core->running = pthread_create(&core->thread, &attributes, core_main, core) == 0;
    pthread_attr_destroy(&attributes);
    return core->running;
}

enum bk_err cores_open(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    for (unsigned i = 0; i < control->config.threads; i++) {
        if (!core_start(control, i)) {
            return open_failed(ret_why, BK_NO_MEMORY, "threads",
                               control->cores[i].reactor
                                   ? "no more of them for this user or container: raise "
                                     "RLIMIT_NPROC (ulimit -u, TasksMax=, --pids-limit), or lower "
                                     "--threads"
                                   : "no memory for another reactor: lower --threads");
        }
        pthread_mutex_lock(&control->lock);
        while (control->opened_count <= i) {
            pthread_cond_wait(&control->opened, &control->lock);
        }
        pthread_mutex_unlock(&control->lock);
        if (control->open_err != BK_OK) {
            return open_failed(ret_why, control->open_err, "start", control->open_why_text);
        }
        control->core_count++;
    }
    return BK_OK;
}

static void core_exit(struct core *core)
{
    reactor_exit(core->reactor);
}

void cores_close(struct control *control)
{
    for (unsigned i = 0; i < control->core_count; i++) {
        errand_send(&control->cores[i].exit, &control->cores[i], core_exit, NULL);
    }
    ring_turn(control->ring, 0); /* sends the letters */
    for (unsigned i = 0; i < control->core_count; i++) {
        pthread_join(control->cores[i].thread, NULL);
    }
    ring_turn(control->ring, 0); /* the journals' last mail */
    for (unsigned i = 0; i < control->core_count; i++) {
        reactor_free(control->cores[i].reactor);
        free(control->feeds[i]);
    }
}
