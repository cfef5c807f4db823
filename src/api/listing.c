#include "api/listing.h"

#include "base/time.h"

/* A page that is this large ends, however few rows it has. */
#define PAGE_BYTES_MAX (8U << 20)

static enum api_step end_page(struct api_call *call, struct api_listing *listing, bool more)
{
    struct buf *body = &call->response->body;
    buf_add_str(body, "],\"next\":\"");
    if (listing->cursor(call, listing, more)) {
        buf_add_str(body, "\"}");
    } else {
        body->bytes -= sizeof ",\"next\":\"" - 1;
        buf_add_byte(body, '}');
    }
    return api_json(call, 200);
}

static enum api_step step(struct api_call *call)
{
    struct api_listing *listing = (struct api_listing *)(void *)call->response->work;
    size_t budget = API_STEP_BYTES;
    while (listing->left != 0 && call->response->body.bytes < PAGE_BYTES_MAX) {
        enum bk_err err = listing->next(call, listing, &budget);
        if (err == BK_NOT_FOUND) {
            return end_page(call, listing, false);
        }
        if (err == BK_AGAIN) {
            bool late =
                call->request->now_ns - listing->started_ns > API_LIST_MS * (uint64_t)NS_PER_MS;
            return late ? end_page(call, listing, true) : API_AGAIN;
        }
        if (err != BK_OK) {
            return api_fail(call, err, "reading the journal");
        }
        listing->left--;
    }
    return end_page(call, listing, true);
}

void api_listing_row(struct api_call *call, struct api_listing *listing)
{
    if (listing->count++ != 0) {
        buf_add_byte(&call->response->body, ',');
    }
}

void api_listing_begin(struct api_call *call, struct api_listing *listing)
{
    listing->work.resume = step;
    listing->left = api_limit(call);
    listing->started_ns = call->request->now_ns;
    call->response->work = &listing->work;
}

enum api_step api_listing_run(struct api_call *call, struct api_listing *listing, enum bk_err err)
{
    (void)listing;
    if (err == BK_INVALID) {
        return api_invalid(call, "cursor",
                           "cursor is not one that this list gave; begin without it");
    }
    if (err != BK_OK) {
        return api_fail(call, err, "reading the journal");
    }
    buf_add_str(&call->response->body, "{\"items\":[");
    return step(call);
}
