#include "hub/operations/operations_private.h"

#include "base/log.h"
#include "store/keys.h"

#include <stdlib.h>

#define SCAN_MAX       256U /* due operations looked at per turn */
#define SCAN_PAUSE_NS  (20 * NS_PER_MS)
#define STEP_PAUSE_NS  (20 * NS_PER_MS) /* between steps of what concerns many */
#define STORE_RETRY_NS (5 * NS_PER_SECOND)
#define WRITES_MAX     32U /* runs stored in one commit: others wait for the thread meanwhile */
#define FEW            4U  /* so few never rest */
#define REST_MAX_NS    (50 * NS_PER_MS)
/* A call that may have been made is looked for only when it must have arrived. */
#define DOUBT_NS (2 * NS_PER_SECOND)

/* ---- life */

enum bk_err operations_open(const struct operations_config *config,
                            struct operations **ret_operations)
{
    struct operations *operations = calloc(1, sizeof *operations);
    if (!operations) {
        return BK_NO_MEMORY;
    }
    operations->config = *config;
    operations->woken = true;
    list_init(&operations->live);
    *ret_operations = operations;
    return BK_OK;
}

static void live_free(struct live *live)
{
    list_remove(&live->node);
    live->operations->live_count--;
    arena_fini(&live->arena);
    json_tree_fini(&live->record);
    json_tree_fini(&live->reply);
    free(live);
}

void operations_close(struct operations *operations)
{
    while (!list_empty(&operations->live)) {
        live_free(bk_container_of(operations->live.next, struct live, node));
    }
    free(operations);
}

void operations_wake(struct operations *operations)
{
    operations->woken = true;
}

int64_t operations_next_ns(const struct operations *operations)
{
    int64_t next_ns = operations->woken || operations->wrote_ns ? 0 : operations->next_ns;
    return next_ns > operations->rest_ns ? next_ns : operations->rest_ns;
}

/* ---- starting */

/* Is it about the same hook? A removal where a source was before is an object of its own, and would
 * not find what is being made there still. */
static bool same_hook(const struct operation *a, const struct operation *b)
{
    return a->facts.hook_url.bytes > 0 && slice_equal(a->facts.hook_url, b->facts.hook_url) &&
           slice_equal(a->integration, b->integration) &&
           slice_equal(a->integration_canvas, b->integration_canvas);
}

static bool may_run(const struct operations *operations, const struct operation *operation)
{
    unsigned same = 0;
    for (struct list *node = operations->live.next; node != &operations->live; node = node->next) {
        const struct live *live = bk_container_of(node, struct live, node);
        const struct operation *other = &live->operation;
        if (memcmp(other->object, operation->object, 16) == 0 || same_hook(other, operation)) {
            return false;
        }
        same += slice_equal(other->integration, operation->integration) &&
                slice_equal(other->integration_canvas, operation->integration_canvas);
    }
    return same < OPERATIONS_PER_INTEGRATION;
}

/* True when it runs now. */
static bool start(struct operations *operations, struct store_txn *txn, uint64_t number,
                  int64_t now_ns)
{
    struct live *live = calloc(1, sizeof *live);
    if (!live) {
        return false;
    }
    live->operations = operations;
    arena_init(&live->arena, RUN_BYTES_MAX);
    json_tree_init(&live->record);
    json_tree_init(&live->reply);
    list_push_back(&operations->live, &live->node);
    operations->live_count++;
    if (operation_read(txn, number, &live->record, &live->operation) != BK_OK) {
        log_event(LOG_ERROR, "an operation cannot be read", LOG_I("number", number));
        live_free(live);
        return false;
    }
    int64_t arrived_ns = live->operation.in_doubt ? live->operation.updated_ns + DOUBT_NS : now_ns;
    bool held = arrived_ns > now_ns && arrived_ns <= now_ns + DOUBT_NS;
    int64_t hold_ns = held_until(operations, &live->operation, now_ns);
    if (hold_ns > 0) {
        held = true;
        arrived_ns = hold_ns;
    }
    if (held && arrived_ns < operations->held_ns) {
        operations->held_ns = arrived_ns;
    }
    list_remove(&live->node); /* it must not be in its own way */
    bool runs = !held && may_run(operations, &live->operation);
    list_push_back(&operations->live, &live->node);
    if (!runs) {
        live_free(live);
        return false;
    }
    live->stored_due_ns = live->operation.due_ns;
    run_begin(live, txn, now_ns);
    return true;
}

static struct live *find_live(const struct operations *operations, uint64_t number)
{
    for (struct list *node = operations->live.next; node != &operations->live; node = node->next) {
        struct live *live = bk_container_of(node, struct live, node);
        if (live->operation.number == number) {
            return live;
        }
    }
    return NULL;
}

struct scan {
    const struct operations *operations;
    int64_t now_ns;
    int64_t next_ns;
    unsigned looked;
    unsigned count;
    uint64_t numbers[OPERATIONS_RUNNING_MAX];
    uint8_t last[18];
    bool more;
};

static bool scan_one(void *context, struct slice key, struct slice value)
{
    struct scan *scan = context;
    (void)value;
    int64_t due_ns = (int64_t)key_get_u64(key.at + 2);
    uint64_t number = key_get_u64(key.at + 10);
    if (due_ns > scan->now_ns) {
        scan->next_ns = due_ns;
        return false;
    }
    if (scan->looked++ == SCAN_MAX || scan->count == bk_array_length(scan->numbers)) {
        scan->more = true;
        return false;
    }
    memcpy(scan->last, key.at, sizeof scan->last);
    if (!find_live(scan->operations, number)) {
        scan->numbers[scan->count++] = number;
    }
    return true;
}

static bool found_rest(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
}

/* Start what is due, from where the last look ended: a queue before one busy integration does not
 * stand in the way of others for ever. */
static void start_due(struct operations *operations, int64_t now_ns)
{
    struct store_txn *txn;
    struct key prefix;
    struct scan scan = {.operations = operations, .now_ns = now_ns, .next_ns = INT64_MAX};
    if (store_read(hub_store(operations->config.hub), &txn) != BK_OK) {
        operations->next_ns = now_ns + STORE_RETRY_NS;
        return;
    }
    key_operations_due(&prefix);
    struct slice from = operations->scanning
                            ? slice_of(operations->scan_from, sizeof operations->scan_from)
                            : SLICE_EMPTY;
    bool walked = store_walk(txn, key_slice(&prefix), from, scan_one, &scan) == BK_OK;
    bool any = false;
    key_start(&prefix, 'Z');
    walked = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, found_rest, &operations->resuming) ==
                 BK_OK &&
             walked;
    operations->held_ns = INT64_MAX;
    for (unsigned i = 0; walked && i < scan.count; i++) {
        if (operations->live_count >= OPERATIONS_RUNNING_MAX) {
            break; /* an answer will wake us */
        }
        any = start(operations, txn, scan.numbers[i], now_ns) || any;
    }
    store_read_end(txn);
    operations->scanning = scan.more;
    memcpy(operations->scan_from, scan.last, sizeof scan.last);
    operations->next_ns = scan.next_ns < operations->held_ns ? scan.next_ns : operations->held_ns;
    bool rest = from.bytes > 0 || scan.more; /* not all that is due was looked at */
    if (rest && operations->live_count < OPERATIONS_RUNNING_MAX) {
        operations->next_ns = any ? now_ns : now_ns + SCAN_PAUSE_NS;
    }
}

/* ---- storing and sending */

/* Asked for in the meantime, perhaps because the cause of what went wrong is mended. */
static void once_more(struct operation *operation)
{
    if (operation->state == OPERATION_DONE && operation->due_ns == 0) {
        return;
    }
    if (operation->state != OPERATION_DONE) {
        operation->state = OPERATION_PENDING;
        operation->attempts = 0;
    }
    operation->due_ns = operation->updated_ns;
}

static enum bk_err write_one(struct store_txn *txn, struct live *live)
{
    struct operations *operations = live->operations;
    int64_t due_ns = 0;
    if (live->gone) {
        return operation_drop(txn, live->operation.number);
    }
    enum bk_err err = operation_due(txn, live->operation.number, &due_ns);
    if (err == BK_OK && due_ns != live->stored_due_ns) {
        live->again = true; /* an apply has made it due */
    }
    if (err == BK_OK && live->again && live->state == LIVE_TO_END) {
        once_more(&live->operation);
    }
    err = err == BK_OK ? operation_put(txn, &live->operation) : err;
    if (err == BK_NOT_FOUND) {
        live->gone = true; /* superseded: its answer is all that was waited for */
        live->state = LIVE_TO_END;
        return BK_OK;
    }
    if (err == BK_OK && live->state == LIVE_TO_END && operations->config.settle) {
        err = operations->config.settle(operations->config.context, txn, &live->operation);
    }
    return err;
}

/* Of a new credential's or address's work, as much as holds up nobody. */
static enum bk_err write_step(struct operations *operations, struct store_txn *txn)
{
    enum bk_err err = BK_OK;
    struct step *step = &operations->step;
    *step = (struct step){.resuming = false};
    if (operations->resuming) {
        err = operations_resume_rest(txn, operations->now_ns, &step->resuming);
    }
    if (err == BK_OK && operations->leading) {
        err = operations_lead(txn, operations->now_ns, &step->leading, &step->led);
    }
    return err;
}

static enum bk_err write_all(struct store_txn *txn, void *context)
{
    struct operations *operations = context;
    operations->written = 0;
    enum bk_err err = operations->stepping ? write_step(operations, txn) : BK_OK;
    for (struct list *node = operations->live.next; err == BK_OK && node != &operations->live;
         node = node->next) {
        struct live *live = bk_container_of(node, struct live, node);
        live->stored = live->state != LIVE_SENT && operations->written < WRITES_MAX;
        if (live->stored) {
            operations->written++;
            err = write_one(txn, live);
        }
    }
    return err;
}

static void say_fault(const struct operation *operation)
{
    if (operation->fault == PROVIDER_FAULT_NONE) {
        return;
    }
    char name[OPERATION_NAME_BYTES];
    operation_name(operation->number, name);
    log_event(LOG_WARN, "provider", LOG_Z("operation", name),
              LOG_Z("intent", operation_intent_name(operation->intent)),
              LOG_S("object", operation->name), LOG_S("message", operation->why),
              LOG_Z("advice",
                    provider_fault_advice(provider_find(operation->provider), operation->fault)));
}

static void step_done(struct operations *operations, int64_t now_ns)
{
    const struct step *step = &operations->step;
    if (operations->leading && !step->leading) {
        log_event(LOG_INFO, "hooks at providers are all on their way to another public address",
                  LOG_I("hooks", step->led),
                  LOG_Z("publicUrl", operations->config.hub->public_url));
    }
    operations->resuming = step->resuming;
    operations->leading = step->leading;
    operations->step_ns = now_ns + STEP_PAUSE_NS;
    operations->next_ns = now_ns; /* what is due now */
}

static void store_and_send(struct operations *operations, int64_t now_ns)
{
    int64_t wait_ns = operations->step_ns - now_ns; /* the clock may have been set back */
    bool stepping =
        (operations->resuming || operations->leading) && (wait_ns <= 0 || wait_ns > STORE_RETRY_NS);
    bool any = stepping;
    operations->stepping = stepping;
    operations->now_ns = now_ns;
    for (struct list *node = operations->live.next; node != &operations->live; node = node->next) {
        any = any || bk_container_of(node, struct live, node)->state != LIVE_SENT;
    }
    if (!any) {
        return;
    }
    enum bk_err err = store_update(hub_store(operations->config.hub), write_all, operations);
    if (err != BK_OK) { /* each change that somebody asks for wakes us to try again */
        log_event(operations->unstored ? LOG_DEBUG : LOG_ERROR, "operations cannot be stored",
                  LOG_Z("message", bk_err_text(err)),
                  LOG_Z("effect", "no provider is called until they can"));
        operations->unstored = true;
        operations->next_ns = now_ns + STORE_RETRY_NS;
        operations->step_ns = operations->next_ns;
        return;
    }
    if (operations->unstored) {
        log_event(LOG_INFO, "operations are stored again");
        operations->unstored = false;
    }
    operations->wrote_ns = stepping || operations->written > FEW ? now_ns : 0;
    if (stepping) {
        step_done(operations, now_ns);
    }
    struct list *node = operations->live.next;
    while (node != &operations->live) {
        struct live *live = bk_container_of(node, struct live, node);
        node = node->next;
        if (!live->stored) {
            operations->woken = operations->woken || live->state != LIVE_SENT;
        } else if (live->state == LIVE_TO_END) {
            if (!live->gone) {
                say_fault(&live->operation);
                if (operations->config.settled) {
                    operations->config.settled(operations->config.context, &live->operation);
                }
            }
            live_free(live);
            operations->woken = true; /* somebody may have waited for it */
        } else if (live->state == LIVE_TO_SEND) {
            live->state = LIVE_SENT;
            live->stored_due_ns = live->operation.due_ns;
            live->sent_ns = now_ns;
            operations->config.send(operations->config.send_context, &live->call);
        }
    }
}

/* Half of the time is others', if there is much to store: what a commit took is taken off. False:
 * not now. */
static bool rested(struct operations *operations, int64_t now_ns)
{
    if (operations->wrote_ns > 0) {
        int64_t took_ns = now_ns - operations->wrote_ns;
        took_ns = took_ns < 0 ? 0 : took_ns;
        operations->rest_ns = now_ns + (took_ns < REST_MAX_NS ? took_ns : REST_MAX_NS);
        operations->wrote_ns = 0;
    }
    if (operations->rest_ns - now_ns > REST_MAX_NS) {
        operations->rest_ns = 0; /* the clock was set back */
    }
    return now_ns >= operations->rest_ns;
}

void operations_run(struct operations *operations, int64_t now_ns)
{
    if (!rested(operations, now_ns)) {
        return;
    }
    if (!operations->woken && now_ns < operations->next_ns) {
        return;
    }
    operations->woken = false;
    operations->next_ns = INT64_MAX;
    if (operations->live_count < OPERATIONS_RUNNING_MAX) {
        start_due(operations, now_ns);
    }
    store_and_send(operations, now_ns);
    if ((operations->resuming || operations->leading) &&
        operations->step_ns < operations->next_ns) {
        operations->next_ns = operations->step_ns;
    }
}

/* ---- another public address */

static enum bk_err note_address(struct store_txn *txn, void *context)
{
    struct operations *operations = context;
    return operations_address(txn, slice_str(operations->config.hub->public_url),
                              &operations->leading);
}

enum bk_err operations_check_address(struct operations *operations)
{
    enum bk_err err = store_update(hub_store(operations->config.hub), note_address, operations);
    operations->leading = operations->leading && err == BK_OK;
    if (operations->leading) {
        log_event(LOG_INFO, "hooks at providers are led to another public address",
                  LOG_Z("publicUrl", operations->config.hub->public_url));
    }
    return err;
}

/* ---- the wall clock was set */

#define SHIFT_SOON_NS (3600 * NS_PER_SECOND)

struct shift {
    struct operations *operations;
    int64_t from_ns, to_ns;
    unsigned count;
    uint64_t numbers[OPERATIONS_SHIFT_MAX];
};

static bool shift_note(void *context, struct slice key, struct slice value)
{
    struct shift *shift = context;
    int64_t due_ns = (int64_t)key_get_u64(key.at + 2);
    uint64_t number = key_get_u64(key.at + 10);
    (void)value;
    if (due_ns > shift->from_ns + SHIFT_SOON_NS || shift->count == OPERATIONS_SHIFT_MAX) {
        return false;
    }
    if (due_ns > shift->to_ns && !find_live(shift->operations, number)) {
        shift->numbers[shift->count++] = number;
    }
    return true;
}

static enum bk_err shift_all(struct store_txn *txn, void *context)
{
    struct shift *shift = context;
    struct key prefix;
    key_operations_due(&prefix);
    shift->count = 0;
    enum bk_err err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, shift_note, shift);
    for (unsigned i = 0; err == BK_OK && i < shift->count; i++) {
        struct json_tree tree;
        struct operation operation;
        json_tree_init(&tree);
        err = operation_read(txn, shift->numbers[i], &tree, &operation);
        bool waits = operation.state == OPERATION_PENDING || operation.late_ns != 0;
        if (err == BK_OK && waits && operation.due_ns != 0) {
            operation.due_ns -= shift->from_ns - shift->to_ns;
            operation.late_ns -= operation.late_ns != 0 ? shift->from_ns - shift->to_ns : 0;
            err = operation_put(txn, &operation);
        }
        json_tree_fini(&tree);
    }
    return err;
}

void operations_clock_was_set(struct operations *operations, int64_t from_ns, int64_t to_ns)
{
    static struct shift shift; /* the control thread's */
    memset(operations->holds, 0, sizeof operations->holds);
    operations->woken = true;
    if (to_ns >= from_ns) {
        return;
    }
    shift = (struct shift){.operations = operations, .from_ns = from_ns, .to_ns = to_ns};
    enum bk_err err = store_update(hub_store(operations->config.hub), shift_all, &shift);
    if (err != BK_OK) {
        log_event(LOG_WARN, "work at providers waits for a time of day that is far away",
                  LOG_Z("why", bk_err_text(err)), LOG_Z("advice", "becket retry does it now"));
    }
}

/* ---- by hand */

struct retry {
    uint64_t number;
    int64_t now_ns;
};

static enum bk_err retry_one(struct store_txn *txn, void *context)
{
    const struct retry *retry = context;
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, retry->number, &tree, &operation);
    if (err == BK_OK && operation.due_ns == 0) {
        err = BK_CONFLICT;
    }
    if (err == BK_OK) {
        operation.due_ns = retry->now_ns;
        if (operation.state != OPERATION_DONE) {
            operation.state = OPERATION_PENDING;
            operation.attempts = 0;
        }
        err = operation_put(txn, &operation);
    }
    json_tree_fini(&tree);
    return err;
}

enum bk_err operations_retry(struct operations *operations, uint64_t number, int64_t now_ns)
{
    struct retry retry = {number, now_ns};
    struct live *live = find_live(operations, number);
    memset(operations->holds, 0, sizeof operations->holds); /* somebody knows better */
    if (live) {
        live->again = true;
        return BK_OK;
    }
    operations->woken = true;
    return store_update(hub_store(operations->config.hub), retry_one, &retry);
}

static enum bk_err give_up_one(struct store_txn *txn, void *context)
{
    const uint64_t *number = context;
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, *number, &tree, &operation);
    if (err == BK_OK && operation.intent != PROVIDER_HOOK_REMOVE &&
        operation.intent != PROVIDER_POST) {
        err = BK_CONFLICT;
    }
    json_tree_fini(&tree);
    return err == BK_OK ? operation_drop(txn, *number) : err;
}

/* One that is under way finds its record gone, and ends. */
enum bk_err operations_give_up(struct operations *operations, uint64_t number)
{
    operations->woken = true;
    return store_update(hub_store(operations->config.hub), give_up_one, &number);
}
