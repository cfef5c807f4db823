/* page.h - inside of api/: what the pages share. */
#ifndef BECKET_API_PAGE_H
#define BECKET_API_PAGE_H

#include "api/form.h"
#include "api/route.h"
#include "hub/people/session.h"

#define SESSIONS_MAX 512U /* at hand; more are in the store */
#define SECRET_TEXT  SESSION_TEXT
#define FLASH_BYTES  320U

/* A session that is at hand. */
struct session {
    bool used;
    uint8_t hash[32];
    char csrf[SECRET_TEXT + 1]; /* made from the cookie: it is nowhere else */
    struct token_info token;
    char canvas[NAME_BYTES_MAX + 1]; /* chosen with ?canvas=; empty: the default one */
    char user[NAME_BYTES_MAX + 1];   /* chosen by an administrator; empty: the token's */
    int64_t idle_ns, end_ns;         /* wall clock: over then */
    int64_t kept_idle_ns;            /* what the store has of it */
    bool flash_bad;
    char flash[FLASH_BYTES]; /* shown once */
};

struct web {
    struct session sessions[SESSIONS_MAX];
};

struct page {
    struct api_call *call;
    struct web *web;
    struct session *session; /* NULL: nobody is logged in */
    struct slice path, query;
    struct slice segment; /* what stood for {name}, decoded */
    struct slice form;    /* of a POST */
    struct slice canvas;  /* whose things it shows: the token's, else the one that was chosen */
    struct slice user;    /* for whom it acts: the token's, else whom an administrator has chosen */
    bool https;
};

typedef enum api_step page_fn(struct page *page);

/* 32 random bytes as text, and the hash that is kept. */
void page_secret(char ret_text[SECRET_TEXT + 1]);
void page_hash(struct slice text, uint8_t ret_hash[32]);
bool page_same(const uint8_t a[32], const uint8_t b[32]);

/* "http://host" of these pages, as browsers reach them. */
void page_base(const struct page *page, struct buf *text);

/* ---- answering */
struct buf *page_begin(struct page *page, const char *title);
enum api_step page_end(struct page *page, unsigned status);
/* A page of one sentence. */
__attribute__((format(printf, 4, 5))) enum api_step page_says(struct page *page, unsigned status,
                                                              const char *title, const char *format,
                                                              ...);
/* The location is escaped already. */
enum api_step page_redirect(struct page *page, const char *location);
/* The same after a form, to where a provider's page may follow: browsers check form-action on every
 * step of a redirect, so the chain is broken by a page. */
enum api_step page_move(struct page *page, const char *location);
void page_cookie(struct page *page, const char *name, const char *value, unsigned seconds);
bool page_cookie_value(const struct page *page, const char *name, struct slice *ret_value);
const char *page_cookie_name(const struct page *page, const char *https, const char *http);
/* Shown on the next page. */
__attribute__((format(printf, 3, 4))) void page_flash(struct page *page, bool bad,
                                                      const char *format, ...);
/* <input type=hidden> with the session's CSRF token. */
void page_csrf(struct page *page, struct buf *html);

/* ---- sessions.c */
/* By its cookie; NULL: nobody is logged in. */
void session_find(struct page *page);
/* For who has this token; what was there before ends. */
void session_begin(struct page *page, const struct token_info *token);
/* For good. */
enum bk_err session_end(struct page *page, struct session *session) BK_MUST_CHECK;
void session_cookie_clear(struct page *page);
/* Whose things are shown, and for whom: as chosen before, or by this request. False when it was
 * answered: there is no such canvas, or it is not the token's; the form was made for somebody else.
 */
bool page_choose(struct page *page);
/* After a wait the page is made anew; what it needs must be in its work. */
bool page_resume(struct api_call *call, const uint8_t session[32], const char *canvas,
                 struct page *ret_page);
/* As the session's token: only_canvas and only_user. */
void page_apply_as(const struct page *page, struct apply_options *options);
/* Whose doings these are, for the audit records. */
void page_actor(const struct page *page, struct audit_actor *ret_actor);

/* ---- connect_exchange.c: from a code to an account. named: the answer said whose it is. */
enum api_step connect_exchange(struct page *page, const struct sign_in *flow, struct slice code,
                               bool named);
enum api_step connect_failed(struct page *page, const struct sign_in *flow, const char *message);

/* ---- handlers: page.c, login_pages.c, connect.c, disconnect_pages.c, link_pages.c,
 * settings_pages.c, sessions.c */
page_fn page_style, page_login, page_login_post, page_logout;
page_fn page_connect, page_callback, page_failure, page_slack, page_slack_signin,
    page_slack_signout, page_disconnect;
page_fn page_catalogue, page_link_form, page_link_create, page_link_delete, page_settings,
    page_team, page_user, page_act_for;

#endif
