/* web.h - the pages for people on the admin listener: signing in, connecting, links.
 *
 * Purpose     Server-rendered HTML, no script. A session begins with an API token at /login.
 * Sessions    256 random bits in a cookie (HttpOnly, SameSite=Lax; `__Host-` over https), kept as
 *             SHA-256 (hub/people/session.h): a restart asks nobody for the token again. 12 h, or
 *             2 h without a request; a log-out or a revoked token ends them for good.
 *             Log-ins and log-outs leave audit records.
 * Forms       Every form has the session's CSRF token; a request that another site made is refused.
 *             A GET changes nothing but what is shown (tests/wire/a04-pages.t walks the table).
 * Headers     Content-Security-Policy `default-src 'none'; style-src 'self'; …`, so nothing that
 *             got into a page could run. Everything from outside is escaped (api/form.h).
 * Threads     The control thread.
 */
#ifndef BECKET_API_WEB_H
#define BECKET_API_WEB_H

#include "api/api.h"

/* Is it a page's path? */
bool web_owns(const struct api_request *request);
/* Of a path that is nobody's: is it a browser that asks? web_handle() has a page for it. */
bool web_wants_page(const struct api_request *request);
struct api_call;
enum api_step web_handle(struct api_call *call);
void web_close(struct web *web);

#endif
