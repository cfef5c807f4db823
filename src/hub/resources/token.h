/* token.h - who may use the admin API.
 *
 * Purpose     Random 256-bit tokens, shown once, kept only as SHA-256. A role allows what the roles
 *             below it allow: admin > write > read. One that is bound to a canvas is good for what
 *             is in that canvas, and for nothing of the server itself.
 * Text        "bkt_" and 43 characters of base64url.
 * Time        A token is found by its hash, so how long a check takes says nothing about a token.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_TOKEN_H
#define BECKET_HUB_TOKEN_H

#include "hub/hub.h"

enum token_role { TOKEN_READ = 1, TOKEN_WRITE = 2, TOKEN_ADMIN = 3 };
/* "read", "write", "admin"; NULL-safe for unknown numbers ("unknown"). */
const char *token_role_name(enum token_role role);
bool token_role_find(struct slice text, enum token_role *ret_role);

#define TOKEN_TEXT_BYTES 48U /* "bkt_" + 43 + NUL */

struct token_info {
    char id[HUB_ID_TEXT_BYTES];
    char name[NAME_BYTES_MAX + 1];
    enum token_role role;
    char canvas[NAME_BYTES_MAX + 1]; /* empty = all */
    char last4[5];
    int64_t created_ns;
};

/* canvas: empty = all. BK_INVALID: bad name. BK_EXISTS: the name is taken. BK_NOT_FOUND: there is
 * no such canvas. */
enum bk_err token_create(struct hub *hub, struct slice name, enum token_role role,
                         struct slice canvas, int64_t now_ns, struct token_info *ret_info,
                         char ret_text[TOKEN_TEXT_BYTES]) BK_MUST_CHECK;
/* BK_UNAUTHENTICATED unless it is a token of ours. */
enum bk_err token_check(struct hub *hub, struct slice text,
                        struct token_info *ret_info) BK_MUST_CHECK;
/* By name or id. BK_NOT_FOUND. BK_IN_USE: it is the last admin token. */
enum bk_err token_revoke(struct hub *hub, struct slice name_or_id) BK_MUST_CHECK;
enum bk_err token_get(struct hub *hub, struct slice name_or_id,
                      struct token_info *ret_info) BK_MUST_CHECK;
typedef bool token_each_fn(void *context, const struct token_info *info);
/* In order of name. */
enum bk_err token_each(struct hub *hub, token_each_fn *each, void *context) BK_MUST_CHECK;
/* One that is bound to this canvas exists. */
enum bk_err token_of_canvas(struct store_txn *txn, struct slice canvas,
                            bool *ret_any) BK_MUST_CHECK;
/* {"id","name","role","canvas","last4","createdAt"}; canvas only where it is bound to one. */
void token_info_json(const struct token_info *info, struct buf *json);

/* Used by hub_open: the token `admin` and <data>/admin.token (0600) when there is no token at all.
 * */
enum bk_err token_bootstrap(struct hub *hub, const char *data_directory,
                            int64_t now_ns) BK_MUST_CHECK;

#endif
