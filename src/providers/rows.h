/* rows.h - what the files of rows share, and their list.
 *
 * Purpose     Answers, handshakes and ways of signing that rows of several files have. Only
 *             rows.c and rows_*.c include this.
 */
#ifndef BECKET_PROVIDERS_ROWS_H
#define BECKET_PROVIDERS_ROWS_H

#include "providers/row_code.h"

/* Methods besides POST. */
#define GET     (1U << HTTP_GET)
#define HEAD    (1U << HTTP_HEAD)
#define PUT     (1U << HTTP_PUT)
#define OPTIONS (1U << HTTP_OPTIONS)

extern const struct row_table rows_code, rows_payments, rows_messaging, rows_chat, rows_office,
    rows_monitoring, rows_cloud, rows_generic;

extern const struct scheme_answer empty_200, empty_202, empty_204;
extern const struct row_handshake head_handshakes[ROW_HANDSHAKES_MAX];

/* For providers that sign nothing and let the user add a header, credentials or a query. */
extern const struct scheme_row sent_in_query, sent_in_header;
#define SENT_ANYHOW                                                                                \
    .kind = ROW_AUTHORIZATION, .header = "Authorization", .otherwise = &sent_in_header
#define NEEDS_ANYHOW                                                                               \
    "A secret of your choice, sent as `Authorization: Bearer SECRET`, as Basic credentials "       \
    "`user:password`, in the header `X-Webhook-Token`, or as `?token=` of the URL"

/* The specification by its own names. */
#define SIGNED_AS_STANDARD_WEBHOOKS                                                                \
    .secret = SECRET_BASE64, .header = "webhook-signature", .format = "v1,{base64} ...",           \
    .timestamp = "webhook-timestamp", .signed_template = "{id}.{timestamp}.{body}",                \
    .id = "webhook-id"

#endif
