/* filter_set.c - several expressions and event types as one test */
#include "hub/routes/filter_private.h"

#include <stdlib.h>

static bool type_wanted(const struct filter_set *set, struct slice type)
{
    for (unsigned i = 0; i < set->type_count; i++) {
        struct slice want = set->types[i];
        bool open = want.bytes > 0 && want.at[want.bytes - 1] == '*';
        if (open ? slice_starts(type, slice_of(want.at, want.bytes - 1))
                 : slice_equal(type, want)) {
            return true;
        }
    }
    return set->type_count == 0;
}

enum filter_result filter_set_test(const struct filter_set *set, struct filter_event *event)
{
    if (!type_wanted(set, event->type)) {
        return FILTER_FALSE;
    }
    for (unsigned i = 0; i < set->count; i++) {
        enum filter_result result = filter_test(set->filters[i], event);
        if (result == FILTER_FAILED || (result == FILTER_TRUE) == set->any) {
            return result;
        }
    }
    return set->count == 0 || !set->any ? FILTER_TRUE : FILTER_FALSE;
}

struct filter_set *filter_set_make(struct filter *const *filters, unsigned count, bool any,
                                   const struct slice *types, unsigned type_count)
{
    size_t bytes =
        sizeof(struct filter_set) + count * sizeof(struct filter *) + type_count * sizeof *types;
    size_t text = bytes;
    for (unsigned i = 0; i < type_count; i++) {
        bytes += types[i].bytes;
    }
    struct filter_set *set = calloc(1, bytes);
    if (!set) {
        return NULL;
    }
    uint8_t *at = (uint8_t *)set + text;
    set->types = (struct slice *)(void *)(set + 1);
    set->filters = (struct filter **)(void *)(set->types + type_count);
    set->count = count;
    set->any = any;
    set->type_count = type_count;
    if (count > 0) {
        memcpy(set->filters, filters, count * sizeof(struct filter *));
    }
    for (unsigned i = 0; i < type_count; i++) {
        memcpy(at, types[i].at, types[i].bytes);
        set->types[i] = slice_of(at, types[i].bytes);
        at += types[i].bytes;
    }
    return set;
}

void filter_set_free(struct filter_set *set)
{
    for (unsigned i = 0; set && i < set->count; i++) {
        filter_free(set->filters[i]);
    }
    free(set);
}

void filter_sets_free(struct filter_set **sets, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        filter_set_free(sets[i]);
    }
    free(sets);
}
