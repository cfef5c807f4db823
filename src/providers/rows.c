/* The providers becket knows, by kind: one file for each. A new kind is a file, a line here and one
 * in rows.h. Type `auto` looks through them in this order, so whoever also sends another's headers
 * stands before it: forges before Meta, Meta before Intercom, all before the building blocks. */
#include "providers/rows.h"

#include "base/assert.h"

const struct row_table *const row_tables[] = {
    &rows_code,   &rows_payments,   &rows_messaging, &rows_chat,
    &rows_office, &rows_monitoring, &rows_cloud,     &rows_generic,
};
const size_t row_tables_count = bk_array_length(row_tables);

/* ---- what several of them have */

const struct scheme_answer empty_200 = {.status = 200};
const struct scheme_answer empty_202 = {.status = 202};
const struct scheme_answer empty_204 = {.status = 204};

const struct row_handshake head_handshakes[ROW_HANDSHAKES_MAX] = {
    {.is_unsigned = true, .methods = HEAD, .when = ""},
};

const struct scheme_row sent_in_query = {.kind = ROW_TOKEN, .header = "?token"};
const struct scheme_row sent_in_header = {
    .kind = ROW_TOKEN, .header = "X-Webhook-Token", .otherwise = &sent_in_query};
