/* listing.h - lists that are read from the journals: a page in steps, each within a budget.
 *
 * Purpose     GET /api/v1/events and /api/v1/deliveries: the array, its commas, where a page ends
 *             (items, bytes, time), and `next`. What a row is and where the list goes on is the
 *             handler's.
 * Ownership   The handler's own struct begins with the listing; it is freed with the response.
 * Threads     The control thread.
 */
#ifndef BECKET_API_LISTING_H
#define BECKET_API_LISTING_H

#include "api/route.h"

struct api_listing {
    struct api_work work;
    /* Append one row, behind api_listing_row(). BK_NOT_FOUND: that was the last one. BK_AGAIN: the
     * budget of the step is used up. */
    enum bk_err (*next)(struct api_call *call, struct api_listing *listing, size_t *budget);
    /* The page ends: append the cursor. False = there is nothing behind it; `more`: the list was
     * not at its end. */
    bool (*cursor)(struct api_call *call, struct api_listing *listing, bool more);
    unsigned left;
    unsigned count;
    uint64_t started_ns;
};

/* Set the members above but work.free_work; the response owns it from here on. */
void api_listing_begin(struct api_call *call, struct api_listing *listing);
/* The scan has begun, or not: BK_INVALID is a cursor of something else. */
enum api_step api_listing_run(struct api_call *call, struct api_listing *listing, enum bk_err err);
/* Before each row. */
void api_listing_row(struct api_call *call, struct api_listing *listing);

#endif
