/* Description: custom rows that say the same are one row, and their schemes are small; those that
 * differ in anything are not; what does not fit any more has a row of its own and works as well. */
#include "providers/kept_rows.h"
#include "providers/scheme.h"
#include "tap.h"

#include <stdlib.h>

static struct scheme_row *row_of(const struct scheme_custom *custom)
{
    struct scheme_row *row;
    const char *field = "", *message = "";
    if (scheme_row_custom(custom, &row, &field, &message) != BK_OK) {
        bail_out("%s %s", field, message);
    }
    return row;
}

static size_t scheme_size(const struct scheme_row *row)
{
    const struct slice secret = SLICE("s3cr3t-of-a-source");
    struct scheme *scheme;
    const char *message;
    size_t bytes = 0;
    is_int(scheme_compile(row, &secret, 1, -1, &scheme, &bytes, &message), BK_OK);
    scheme_wipe(scheme);
    free(scheme);
    return bytes;
}

int main(void)
{
    struct scheme_custom plain = {.signature_header = SLICE("X-Signature")};
    struct scheme_custom same = plain, other = plain;
    char header[] = "X-Signature"; /* the same text elsewhere */
    same.signature_header = slice_str(header);
    struct scheme_row *row = row_of(&plain);
    ok(row_of(&same) == row, "one row for the same words");
    ok(row->kept != NULL, "which is kept");
    scheme_row_free(row);
    ok(row_of(&same) == row, "freeing it does nothing");
    ok(scheme_size(row) < 512, "its schemes are small: %zu bytes", scheme_size(row));

    other.signed_template = SLICE("x.{body}");
    ok(row_of(&other) != row, "another template");
    other = plain;
    other.allow_private = true;
    ok(row_of(&other) != row, "a flag");
    other = plain;
    other.signature_header = SLICE_EMPTY;
    other.signature_field = SLICE("/X-Signature");
    ok(row_of(&other) != row, "the same text in another member");

    struct scheme_row *last = NULL;
    char name[64];
    for (unsigned i = 0; i < 2 * KEPT_ROWS_MAX; i++) {
        snprintf(name, sizeof name, "X-Signature-%u", i);
        other = plain;
        other.signature_header = slice_str(name);
        last = row_of(&other);
        if (last->kept == NULL) {
            scheme_row_free(last);
        }
    }
    last = row_of(&other);
    ok(last->kept == NULL, "no more are kept than KEPT_ROWS_MAX");
    size_t own = scheme_size(last);
    ok(own > 512, "then each scheme has a plan of its own: %zu bytes", own);
    scheme_row_free(last);
    ok(row_of(&plain) == row, "those that are kept stay");

    struct scheme_custom wrong = {.scheme = SLICE("magic")};
    const char *field, *message;
    bool refused = scheme_row_custom(&wrong, &last, &field, &message) != BK_OK;
    ok(refused, "%s", message);
    ok(last == NULL, "a wrong one is not kept");
    return done_testing();
}
