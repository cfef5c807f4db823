#include "control/control_private.h"

#include "base/log.h"
#include "base/time.h"

/* Every grace period also ends what goes on with credentials that were replaced. */
static void core_forget(struct core *core)
{
    reactor_forget(core->reactor);
}

static void core_resume(struct core *core)
{
    reactor_resume(core->reactor);
    core_forget(core);
}

static void grace_begin(struct control *control, struct dedupe_garbage *dedupe,
                        void (*there)(struct core *));

static void grow(struct control *control)
{
    control->growth_wanted = false;
    struct dedupe_garbage *garbage = NULL;
    enum bk_err err = BK_OK;
    /* Several cores ask at once: the first one's growth serves them all. */
    if (dedupe_wants_growth(control->dedupe)) {
        err = dedupe_grow(control->dedupe, moment_of(control->ring, ring_wall_ns(control->ring)),
                          control->window_max_ns / NS_PER_MS, &garbage);
    }
    if (err != BK_OK) {
        log_event(LOG_WARN, "no memory for the dedupe table",
                  LOG_Z("effect", "new deliveries may have to wait"));
    }
    grace_begin(control, garbage, core_resume);
}

static void grace_end(const struct grace *grace)
{
    key_cache_free(grace->keys);
    if (grace->sources) {
        source_table_free(grace->sources);
    }
    if (grace->routes) {
        route_table_free(grace->routes);
    }
    if (grace->dedupe) {
        dedupe_free(grace->dedupe);
    }
}

static void grace_errand_back(struct errand *errand)
{
    struct control *control = errand->control;
    struct grace *grace = &control->grace;
    bk_assert(grace->open > 0);
    if (--grace->open > 0) {
        return;
    }
    grace_end(grace);
    if (control->growth_wanted) {
        grow(control);
    }
}

static void grace_begin(struct control *control, struct dedupe_garbage *dedupe,
                        void (*there)(struct core *))
{
    struct grace *grace = &control->grace;
    bk_assert(grace->open == 0);
    struct source_garbage *sources = source_table_retired(control->sources);
    struct route_garbage *routes = route_table_retired(control->routes);
    struct key_entry *keys = key_cache_retired(keys_cache(control->keys));
    if (!sources && !routes && !keys && !dedupe && !there) {
        return;
    }
    grace->sources = sources;
    grace->routes = routes;
    grace->keys = keys;
    grace->dedupe = dedupe;
    grace->open = control->core_count;
    for (unsigned i = 0; i < control->core_count; i++) {
        grace->errands[i].settling = dedupe != NULL; /* exchanges hold slots while they wait */
        errand_send(&grace->errands[i], &control->cores[i], there ? there : core_forget,
                    grace_errand_back);
    }
}

static void growth_arrived(struct errand *errand)
{
    struct control *control = errand->control;
    atomic_store(&errand->core->growth_out, false);
    if (control->grace.open > 0) {
        control->growth_wanted = true;
    } else if (!control->draining) {
        grow(control);
    }
}

void grace_growth_asked(void *context)
{
    struct core *core = context;
    /* A resume that was sent before the letter arrived (new keys, another core's growth) makes the
     * reactor ask again: the one on its way does for both. */
    if (!atomic_exchange(&core->growth_out, true)) {
        errand_report(&core->growth, core, growth_arrived);
    }
}

void grace_step(struct control *control)
{
    if (control->grace.open == 0 && !control->draining) {
        grace_begin(control, NULL, keys_changed(control->keys) ? core_resume : NULL);
    }
}

void grace_fini(struct control *control)
{
    if (control->grace.open > 0) {
        grace_end(&control->grace); /* its last letters were not answered any more */
    }
}
