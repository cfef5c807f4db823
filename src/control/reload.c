#include "control/control_private.h"

#include "net/dns.h"

static void core_reload_dns(struct core *core)
{
    resolver_reload(reactor_resolver(core->reactor));
}

static void dns_reloaded(struct errand *errand)
{
    errand->core->dns_out = false;
    if (errand->core->dns_again && !atomic_load(&errand->control->drain_sent)) {
        errand->core->dns_again = false;
        errand->core->dns_out = true;
        errand_send(&errand->core->dns, errand->core, core_reload_dns, dns_reloaded);
    }
}

static void reload_dns(struct control *control)
{
    for (unsigned i = 0; i < control->core_count && !atomic_load(&control->drain_sent); i++) {
        struct core *core = &control->cores[i];
        core->dns_again = core->dns_out;
        if (!core->dns_out) {
            core->dns_out = true;
            errand_send(&core->dns, core, core_reload_dns, dns_reloaded);
        }
    }
}

void reload_heard(void *context)
{
    struct control *control = context;
    if (control->config.reload) {
        control->config.reload(control->config.context);
    }
    reload_dns(control);
}
