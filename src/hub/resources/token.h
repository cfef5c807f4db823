/* token.h - who may use the admin API.
 *
 * Purpose     Random 256-bit tokens, shown once, kept only as SHA-256. A role allows what the roles
 *             below it allow: admin > write > read. One that is bound to a canvas is good for what
 *             is in that canvas, and for nothing of the server itself.
 * People      A token may be a User's: several tokens of a person are that person, in every canvas
 *             where the token is good: a name is one person. One that is nobody's is a machine's,
 *             and whatever it connects or links is of the user that is
 *             called as the token is. Which of the two decides what else it may do: hub/README.md,
 *             "Whose".
 * Text        "bkt_" and 43 characters of base64url.
 * Time        A token is found by its hash, so how long a check takes says nothing about a token.
 * Store       "t/" hash: the record. "T/" name: the hash. "c/": by id, by canvas, by user, and
 *             those of role admin that are good everywhere.
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
    char user[NAME_BYTES_MAX + 1];   /* whose it is; empty = a machine's */
    char last4[5];
    int64_t created_ns;
    int64_t used_ns; /* to the hour; 0 = not yet (token_use.h) */
};

/* The user that a token acts for. */
static inline struct slice token_user(const struct token_info *info)
{
    return slice_str(info->user[0] != '\0' ? info->user : info->name);
}

struct token_request {
    struct slice name;
    enum token_role role;
    struct slice canvas; /* empty = all */
    struct slice user;   /* empty = nobody's; else of that canvas or of the default one */
};
/* BK_INVALID: bad name. BK_EXISTS: the name is taken. BK_NOT_FOUND: *ret_missing says what there is
 * not: "canvas" or "user". */
enum bk_err token_create(struct hub *hub, const struct token_request *request, int64_t now_ns,
                         struct token_info *ret_info, char ret_text[TOKEN_TEXT_BYTES],
                         const char **ret_missing) BK_MUST_CHECK;
/* BK_UNAUTHENTICATED unless it is a token of ours. */
enum bk_err token_check(struct hub *hub, struct slice text,
                        struct token_info *ret_info) BK_MUST_CHECK;
/* By name or id. BK_NOT_FOUND. BK_IN_USE: it is the last admin token. */
enum bk_err token_revoke(struct hub *hub, struct slice name_or_id) BK_MUST_CHECK;
enum bk_err token_get(struct hub *hub, struct slice name_or_id,
                      struct token_info *ret_info) BK_MUST_CHECK;
typedef bool token_each_fn(void *context, const struct token_info *info);
/* In order of name, from the one behind `behind` on (empty = all). */
enum bk_err token_each(struct hub *hub, struct slice behind, token_each_fn *each,
                       void *context) BK_MUST_CHECK;
/* One that is bound to this canvas exists. */
enum bk_err token_of_canvas(struct store_txn *txn, struct slice canvas,
                            bool *ret_any) BK_MUST_CHECK;
/* One exists that would be nobody's without this User. */
enum bk_err token_of_user(struct store_txn *txn, struct slice canvas, struct slice user,
                          bool *ret_any) BK_MUST_CHECK;
/* {"id","name","role","canvas","user","last4","createdAt","lastUsedAt"}; canvas only where it is
 * bound to one, user only where it is somebody's, lastUsedAt only where it was used. */
void token_info_json(const struct token_info *info, struct buf *json);

/* For a store of before "c/"; says itself that it was done. */
enum bk_err token_index_fill(struct store_txn *txn) BK_MUST_CHECK;

/* Used by hub_open: the token `admin` and <data>/admin.token (0600) when there is no token at all;
 * then token_known() knows them. */
enum bk_err token_bootstrap(struct hub *hub, const char *data_directory,
                            int64_t now_ns) BK_MUST_CHECK;

#endif
