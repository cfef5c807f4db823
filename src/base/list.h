/* list.h - intrusive doubly linked list. A node is in one list or detached (next == NULL).
 *
 * Ownership   The caller owns nodes and must remove one before it frees it.
 * Threads     One at a time.
 */
#ifndef BECKET_BASE_LIST_H
#define BECKET_BASE_LIST_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *head)
{
    head->next = head;
    head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != NULL;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    bk_assert(!list_linked(node));
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node)
{
    bk_assert(list_linked(node));
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

static inline struct list *list_pop_front(struct list *head)
{
    if (list_empty(head)) {
        return NULL;
    }
    struct list *node = head->next;
    list_remove(node);
    return node;
}

/* Move all nodes of `source` to the end of `target`; `source` is empty afterwards. */
static inline void list_splice_back(struct list *target, struct list *source)
{
    if (list_empty(source)) {
        return;
    }
    source->next->prev = target->prev;
    source->prev->next = target;
    target->prev->next = source->next;
    target->prev = source->prev;
    list_init(source);
}

#endif
