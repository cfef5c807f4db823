#include "hub/operations/former.h"

#include "base/base64.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"

#include <stdlib.h>

/* Of the set, when it leads elsewhere now; else NULL. */
static struct apply_work *moved_integration(const struct apply *apply,
                                            const struct operation *operation)
{
    struct apply_work *work = apply_find_work(
        apply, RESOURCE_INTEGRATION, operation->integration_canvas, operation->integration);
    return work && work->document && work->moved ? work : NULL;
}

/* As it was: what the transaction has written does not count. */
static enum bk_err read_former_at(struct apply *apply, struct store_txn *before,
                                  const struct apply_work *work, struct apply_former *former)
{
    struct record old, now;
    struct integration_view was, is;
    enum bk_err err = hub_record(before, RESOURCE_INTEGRATION, work->canvas, work->name, &old);
    if (err == BK_OK) {
        err = hub_record(apply->txn, RESOURCE_INTEGRATION, work->canvas, work->name, &now);
    }
    if (err == BK_OK) {
        err = integration_view_open(old.spec, &was);
    }
    if (err != BK_OK) {
        return err;
    }
    err = integration_view_open(now.spec, &is);
    if (err == BK_OK && was.provider && is.provider) {
        struct slice use = integration_text(&was, "auth/use");
        char why[PROVIDER_WHY_BYTES];
        former->spec = apply_keep(apply, old.spec);
        former->url = apply_keep(apply, integration_text(&was, "url"));
        former->base = integration_api_base(&was, apply->arena);
        former->left = !slice_equal(former->base, integration_api_base(&is, apply->arena));
        former->by_person = slice_equal(use, SLICE("AUTH_TYPE_OAUTH"));
        if (former->left && !former->by_person && !slice_equal(use, SLICE("AUTH_TYPE_NONE")) &&
            !slice_equal(use, SLICE("AUTH_TYPE_OIDC"))) {
            err = integration_open_credential(apply->hub, before, &was, &old, work->canvas,
                                              apply->arena, why, &former->credential);
            err = err == BK_NOT_FOUND || err == BK_INVALID ? BK_OK : err; /* said when it is due */
        }
    }
    if (err == BK_OK) {
        integration_view_close(&is);
    }
    integration_view_close(&was);
    return err == BK_OK && apply->arena->overflow ? BK_NO_MEMORY : err;
}

static enum bk_err read_former(struct apply *apply, struct apply_work *work)
{
    struct store_txn *before;
    if (work->former.known) {
        return BK_OK;
    }
    enum bk_err err = store_read(hub_store(apply->hub), &before);
    if (err != BK_OK) {
        return err;
    }
    work->former.known = true;
    err = read_former_at(apply, before, work, &work->former);
    store_read_end(before);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* A removal for a place to which its integration does not lead any more: where that is. */
enum bk_err former_note(struct apply *apply, struct operation *removal)
{
    struct apply_work *work = moved_integration(apply, removal);
    if (removal->former_spec.bytes > 0 || !work) {
        return BK_OK;
    }
    enum bk_err err = read_former(apply, work);
    if (err == BK_OK && work->former.url.bytes > 0) {
        removal->facts.url = work->former.url;
    }
    if (err == BK_OK && work->former.left) {
        removal->former_spec = work->former.spec;
        removal->former_base = work->former.base;
    }
    return err;
}

/* And what it takes to get in there: sealed, in text, which the caller inits and keeps. */
enum bk_err former_seal(struct apply *apply, struct operation *removal, struct buf *text)
{
    struct apply_work *work = moved_integration(apply, removal);
    if (removal->former_spec.bytes == 0 || removal->former_credential.bytes > 0 || !work) {
        return BK_OK;
    }
    struct slice plain = work->former.credential;
    if (work->former.by_person) {
        enum bk_err err = people_token(apply->hub, apply->txn, removal->integration_canvas,
                                       removal->integration, removal->canvas, apply->arena, &plain);
        if (err != BK_OK) {
            return err == BK_NOT_FOUND ? BK_OK : err;
        }
    }
    size_t bytes = plain.bytes + SEAL_OVERHEAD_BYTES;
    size_t encoded_bytes = BASE64_ENCODED(bytes) + 1;
    uint8_t *sealed = plain.bytes > 0 ? malloc(bytes + encoded_bytes) : NULL;
    if (!sealed) {
        return plain.bytes > 0 ? BK_NO_MEMORY : BK_OK;
    }
    char *encoded = (char *)sealed + bytes;
    seal_value(&apply->hub->seal, removal->object, SLICE(OPERATION_FORMER), plain, sealed);
    buf_add(text, encoded, base64_encode(sealed, bytes, BASE64_STANDARD, encoded));
    free(sealed);
    removal->former_credential = buf_slice(text);
    return text->overflow ? BK_TOO_LARGE : BK_OK;
}

/* ---- when it is due */

/* What the integration called with when it led elsewhere. */
enum bk_err former_open(struct hub *hub, const struct operation *operation, struct arena *arena,
                        struct slice *ret_text)
{
    struct slice text = operation->former_credential;
    size_t bytes;
    uint8_t *sealed = arena_take(arena, text.bytes + 3);
    uint8_t *plain = arena_take(arena, text.bytes + 1);
    if (!sealed || !plain) {
        return BK_NO_MEMORY;
    }
    if (!base64_decode(text, BASE64_STANDARD, sealed, text.bytes + 3, &bytes)) {
        return BK_CORRUPT;
    }
    enum bk_err err = seal_open(&hub->seal, operation->object, SLICE(OPERATION_FORMER),
                                slice_of(sealed, bytes), plain, &bytes);
    *ret_text = slice_of(plain, err == BK_OK ? bytes : 0);
    return err;
}

static enum bk_err renew_text(const struct hub *hub, struct operation *operation, char *text,
                              uint8_t *sealed, uint8_t *again)
{
    size_t bytes;
    if (!base64_decode(operation->former_credential, BASE64_STANDARD, sealed,
                       operation->former_credential.bytes + 3, &bytes)) {
        return BK_EXISTS; /* nobody can open it, under whatever key */
    }
    enum bk_err err = seal_renew(&hub->seal, operation->object, SLICE(OPERATION_FORMER),
                                 slice_of(sealed, bytes), again);
    if (err == BK_OK) {
        operation->former_credential =
            slice_of(text, base64_encode(again, bytes, BASE64_STANDARD, text));
    }
    return err;
}

enum bk_err former_renew(const struct hub *hub, struct slice record, struct buf *json)
{
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    enum bk_err err = operation_decode(record, &tree, &operation);
    if (err == BK_OK) {
        size_t room = operation.former_credential.bytes + 8;
        uint8_t *at = room > 8 ? malloc(3 * room) : NULL;
        err = at ? renew_text(hub, &operation, (char *)at, at + room, at + 2 * room)
              : room > 8 ? BK_NO_MEMORY
                         : BK_EXISTS;
        if (err == BK_OK) {
            operation_encode(&operation, json);
        }
        free(at);
    }
    json_tree_fini(&tree);
    return err;
}
