/* kept_rows.h - custom rows that were built before: a million sources that say the same share one.
 *
 * Purpose     Most sources without a type of the table say nothing of their own, or the same as
 *             others. Their row is built, checked and planned once: a start does not do it a
 *             million times, and each scheme is as small as one of the table.
 * Ownership   A kept row lives as long as the process, as the table does; scheme_row_free() leaves
 *             it alone. KEPT_ROWS_MAX small ones are kept, those that come first; all others have a
 *             row and a plan of their own as before.
 * Threads     Any.
 */
#ifndef BECKET_PROVIDERS_KEPT_ROWS_H
#define BECKET_PROVIDERS_KEPT_ROWS_H

#include "base/sha256.h"
#include "providers/row.h"

#define KEPT_ROWS_MAX      256U
#define KEPT_ROW_BYTES_MAX 4096U

struct scheme_plan;

/* What a custom row is made of, as a name of it. */
void kept_row_print(const struct scheme_custom *custom, uint8_t ret_print[SHA256_BYTES]);
/* NULL = it is not kept. */
struct scheme_row *kept_row_find(const uint8_t print[SHA256_BYTES]);
/* True: row and plan are kept, and row->kept is the plan. False: they stay the caller's. */
bool kept_row_add(const uint8_t print[SHA256_BYTES], struct scheme_row *row,
                  struct scheme_plan *plan);

#endif
