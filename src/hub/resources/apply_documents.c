/* apply_documents.c - the documents of a set: read, and what they imply. */
#include "hub/links/link.h"
#include "hub/resources/apply_private.h"

#include <stdlib.h>
#include <yyjson.h>

/* What was decoded has mistakes: all else that is wrong with the set is found, too, and nothing
 * done. */
static void look_only(struct apply *apply)
{
    const struct resource_problems *problems = &apply->outcome->problems;
    apply->decoded_count = problems->count;
    apply->decoded_dropped = problems->dropped;
    if (problems->count > 0) {
        apply->look_only = *apply->options;
        apply->look_only.dry_run = true;
        apply->options = &apply->look_only;
    }
}

/* A list, or {"items": […]}, counts as its elements. */
static yyjson_mut_val *list_of(yyjson_mut_val *root)
{
    if (yyjson_mut_is_arr(root)) {
        return root;
    }
    yyjson_mut_val *items = yyjson_mut_is_obj(root) ? yyjson_mut_obj_get(root, "items") : NULL;
    return yyjson_mut_is_arr(items) && !yyjson_mut_obj_get(root, "spec") ? items : NULL;
}

static size_t count_documents(const struct json_tree *tree)
{
    size_t count = 0;
    for (size_t i = 0; i < tree->count; i++) {
        yyjson_mut_val *list = list_of(tree->roots[i]);
        count += list ? yyjson_mut_arr_size(list) : 1;
    }
    return count;
}

/* A link that has a hook at the provider has an event source of its own, which comes and goes with
 * it. Behind the documents that were written. */
static enum bk_err imply_documents(struct apply *apply, struct json_tree *tree,
                                   struct resource_document *documents)
{
    size_t count = apply->count;
    for (size_t i = 0; i < count; i++) {
        const struct resource_document *document = &documents[i];
        if (document->kind != RESOURCE_INTEGRATION_LINK || document->broken ||
            !document->spec.link.type || !document->spec.link.type->makes_hook) {
            continue;
        }
        yyjson_mut_val *root = link_source_document(document, tree);
        struct resource_expect expect = {.canvas = document->canvas};
        size_t index = apply->count;
        if (!root) {
            return BK_NO_MEMORY;
        }
        if (resource_decode(tree, i, root, &expect, &documents[index], &apply->outcome->problems)) {
            documents[index].implied = true;
            apply->works[index].document = &documents[index];
            apply->count++;
        }
    }
    return BK_OK;
}

static void remember_unread(struct apply *apply, struct slice name)
{
    if (name.bytes > 0) {
        apply->unread[apply->unread_count++] = name;
    } else {
        apply->nameless = true;
    }
}

/* One to delete: it is found as apply would put it. */
static void want_document(struct apply *apply, struct json_tree *tree, yyjson_mut_val *root,
                          const struct resource_expect *expect, size_t number)
{
    struct resource_document document;
    if (resource_decode_address(tree, number, root, expect, &document, &apply->outcome->problems)) {
        apply->wanted[apply->wanted_count++] =
            (struct apply_wanted){document.kind, document.canvas, document.name};
    } else {
        remember_unread(apply, document.name);
    }
}

static void decode_one(struct apply *apply, struct json_tree *tree, yyjson_mut_val *root,
                       struct resource_document *documents, size_t number)
{
    const struct apply_options *options = apply->options;
    struct resource_expect expect = {options->canvas, options->one, options->kind, options->name};
    if (expect.canvas.bytes == 0) {
        expect.canvas = slice_str(RESOURCE_CANVAS_DEFAULT);
    }
    if (options->remove) {
        want_document(apply, tree, root, &expect, number);
        return;
    }
    struct resource_document *document = &documents[apply->count];
    resource_decode(tree, number, root, &expect, document, &apply->outcome->problems);
    if (document->addressed) {
        apply->works[apply->count++].document = document;
    } else {
        remember_unread(apply, document->name);
    }
}

/* At most so many documents are implied. */
static size_t count_links(const struct apply *apply, const struct json_tree *tree)
{
    size_t links = apply->options->one && apply->options->kind == RESOURCE_INTEGRATION_LINK;
    for (size_t i = 0; i < tree->count; i++) {
        yyjson_mut_val *list = list_of(tree->roots[i]), *item = tree->roots[i];
        for (size_t k = 0; k < (list ? yyjson_mut_arr_size(list) : 1); k++) {
            item = !list ? item : k == 0 ? yyjson_mut_arr_get_first(list) : item->next;
            yyjson_mut_val *kind =
                yyjson_mut_is_obj(item) ? yyjson_mut_obj_get(item, "kind") : NULL;
            enum resource_kind found;
            links += yyjson_mut_is_str(kind) && resource_kind_find(json_text(kind), &found) &&
                     found == RESOURCE_INTEGRATION_LINK;
        }
    }
    return links;
}

enum bk_err apply_decode_all(struct apply *apply, struct json_tree *tree)
{
    size_t count = count_documents(tree);
    bool nothing = tree->count == 0; /* an empty list is something: what `get` gives */
    if (nothing || (apply->options->one && count != 1)) {
        return apply_fail(apply, BK_INVALID,
                          nothing ? "there is no document in it"
                                  : "only one document is wanted here");
    }
    if (count > JSON_DOCUMENTS_MAX) {
        return apply_fail(apply, BK_TOO_LARGE, "too many documents (limit %u); apply them in parts",
                          JSON_DOCUMENTS_MAX);
    }
    size_t links = apply->options->remove ? 0 : count_links(apply, tree), number = 0;
    struct resource_document *documents =
        arena_take(apply->arena, (count + links + 1) * sizeof *documents);
    apply->works = calloc(count + links + 1, sizeof *apply->works);
    apply->sorted = calloc(count + links + 1, sizeof(struct apply_work *));
    apply->wanted = calloc(apply->options->remove ? count + 1 : 1, sizeof *apply->wanted);
    apply->unread = calloc(count + 1, sizeof *apply->unread);
    if (!documents || !apply->works || !apply->sorted || !apply->wanted || !apply->unread) {
        return BK_NO_MEMORY;
    }
    for (size_t i = 0; i < tree->count; i++) {
        yyjson_mut_val *list = list_of(tree->roots[i]), *item;
        size_t index, max;
        if (!list) {
            decode_one(apply, tree, tree->roots[i], documents, number++);
            continue;
        }
        yyjson_mut_arr_foreach(list, index, max, item)
        {
            decode_one(apply, tree, item, documents, number++);
        }
    }
    apply_sort_unread(apply);
    enum bk_err err = links > 0 ? imply_documents(apply, tree, documents) : BK_OK;
    if (err == BK_OK && apply->count == 0 && apply->wanted_count == 0) {
        err = apply_say_problems(apply);
    }
    look_only(apply);
    return err;
}
