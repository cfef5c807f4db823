/* filter_lookup.c - members of maps, headers, elements and parts of lists and texts */
#include "hub/routes/filter_run.h"

#include <yyjson.h>

/* The first header of this name, in any case. */
struct filter_value filter_header_value(const struct filter_event *event, struct slice name)
{
    uint8_t lower[256];
    struct filter_value none = {.type = FILTER_NIL};
    if (!event->head || name.bytes == 0 || name.bytes > sizeof lower) {
        return none;
    }
    for (size_t i = 0; i < name.bytes; i++) {
        lower[i] = ascii_lower(name.at[i]);
    }
    const struct http_header *header = http_find(event->head, slice_of(lower, name.bytes), NULL);
    return header ? filter_of_text(http_header_value(event->head, header)) : none;
}

yyjson_val *filter_member(yyjson_val *object, struct slice name)
{
    size_t index, max;
    yyjson_val *key, *value, *last = NULL;
    yyjson_obj_foreach(object, index, max, key, value)
    {
        last = unsafe_yyjson_equals_strn(key, (const char *)name.at, name.bytes) ? value : last;
    }
    return last;
}

bool filter_take_member(struct filter_run *run, const struct filter_value *map, struct slice name,
                        struct filter_value *ret_value)
{
    if (map->type != FILTER_MAP) {
        return filter_fail(run, "cannot take \"%.*s\" of %s",
                           (int)(name.bytes > 60 ? 60 : name.bytes), (const char *)name.at,
                           filter_type_name(map));
    }
    if (filter_is_headers(map)) {
        *ret_value = filter_header_value(run->event, name);
        return filter_charge(run, 4);
    }
    yyjson_val *json = filter_json_of(map);
    if (!filter_charge(run, yyjson_obj_size(json) / 8)) {
        return false;
    }
    *ret_value = filter_of_json(filter_member(json, name));
    return true;
}

size_t filter_list_count(const struct filter_value *list)
{
    return list->literal ? list->as.list.count : yyjson_arr_size(filter_json_of(list));
}

static struct filter_value list_item(const struct filter_value *list, size_t index)
{
    return list->literal ? list->as.list.items[index]
                         : filter_of_json(yyjson_arr_get(filter_json_of(list), index));
}

bool filter_take_index(struct filter_run *run, struct filter_value *what,
                       const struct filter_value *index)
{
    if (what->type == FILTER_MAP) {
        if (index->type != FILTER_STRING) {
            return filter_fail(run, "a field's name must be text, not %s", filter_type_name(index));
        }
        return filter_take_member(run, what, index->as.text, what);
    }
    if (what->type != FILTER_LIST) {
        return filter_fail(run, "cannot take an element of %s", filter_type_name(what));
    }
    if (index->type != FILTER_INT) {
        return filter_fail(run, "a list's index must be a whole number, not %s",
                           filter_type_name(index));
    }
    int64_t count = (int64_t)filter_list_count(what), at = index->as.integer;
    at += at < 0 ? count : 0;
    if (at < 0 || at >= count) {
        return filter_fail(run, "there is no element %lld in a list of %lld",
                           (long long)index->as.integer, (long long)count);
    }
    /* A list of scalars is found at once, another is walked. */
    if (!filter_charge(run, (uint64_t)at / 8)) {
        return false;
    }
    *what = list_item(what, (size_t)at);
    return true;
}

/* Negative counts from the end; what is beyond is cut. */
static bool bound(struct filter_run *run, const struct filter_value *value, int64_t open,
                  int64_t count, int64_t *ret_bound)
{
    if (value->type == FILTER_NIL) {
        *ret_bound = open;
        return true;
    }
    if (value->type != FILTER_INT) {
        return filter_fail(run, "bounds must be whole numbers, not %s", filter_type_name(value));
    }
    int64_t at = value->as.integer;
    at = at < -count ? 0 : at < 0 ? at + count : at > count ? count : at;
    *ret_bound = at;
    return true;
}

static bool slice_list(struct filter_run *run, struct filter_value *what, int64_t from, int64_t to)
{
    uint32_t count = (uint32_t)(to - from);
    if (!filter_charge(run, (uint64_t)to)) {
        return false;
    }
    struct filter_value *items =
        filter_scratch_take(run->event->scratch, (count + 1) * sizeof *items);
    if (!items) {
        return filter_fail(run, "the expression needs too much memory on this event");
    }
    if (what->literal) {
        memcpy(items, what->as.list.items + from, count * sizeof *items);
    } else {
        size_t index, max, put = 0;
        yyjson_val *item;
        yyjson_arr_foreach(filter_json_of(what), index, max, item)
        {
            if ((int64_t)index >= from && (int64_t)index < to) {
                items[put++] = filter_of_json(item);
            }
        }
    }
    *what = (struct filter_value){
        .type = FILTER_LIST, .literal = true, .as.list = {.items = items, .count = count}};
    return true;
}

bool filter_take_slice(struct filter_run *run, struct filter_value *what,
                       const struct filter_value *bounds)
{
    int64_t count, from = 0, to = 0;
    if (what->type == FILTER_STRING) {
        count = (int64_t)what->as.text.bytes;
    } else if (what->type == FILTER_LIST) {
        count = (int64_t)filter_list_count(what);
    } else {
        return filter_fail(run, "cannot take a part of %s", filter_type_name(what));
    }
    if (!bound(run, &bounds[0], 0, count, &from) || !bound(run, &bounds[1], count, count, &to)) {
        return false;
    }
    from = from > to ? to : from;
    if (what->type == FILTER_STRING) {
        what->as.text = slice_of(what->as.text.at + from, (size_t)(to - from));
        return true;
    }
    return slice_list(run, what, from, to);
}
