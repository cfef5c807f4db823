/* etag.h - what a request demands of an object's revision: If-Match, If-None-Match.
 *
 * An ETag is the revision in quotes. A list names tags with commas between, or everything: "*".
 * A weak tag counts as a strong one, for proxies that pack an answer weaken its tag, and a bare
 * number as a tag. Tags that were never ours are none of any revision.
 * Source: RFC 9110 8.8.3, 13.1.1, 13.1.2.
 */
#ifndef BECKET_HUB_ETAG_H
#define BECKET_HUB_ETAG_H

#include "base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Is it such a list? One that is absent (no `at`) is; one that is there and says nothing is not:
 * who lost the tag on the way meant to be careful. */
bool etag_list_valid(struct slice list);
/* Does it name that revision? Requires: etag_list_valid(). */
bool etag_list_names(struct slice list, uint64_t revision);

#endif
