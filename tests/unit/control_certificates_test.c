/* Description: when a server that runs looks at its certificates again. */
#include "control/certificates.h"
#include "tests/tap.h"

#define DAY 86400

int main(void)
{
    static const struct {
        int64_t left, next;
        const char *what;
    } rows[] = {
        {400 * DAY, DAY, "a reload may bring one that ends sooner: each day"},
        {14 * DAY + 3600, 3600, "two weeks before"},
        {14 * DAY, DAY, "from there on each day"},
        {2 * DAY, DAY, "and the next"},
        {3600, 3601, "when it ends"},
        {0, 1, "when it ends now"},
        {-1, DAY, "behind, each day"},
        {-100 * DAY, DAY, "for long"},
    };
    int64_t now = 1767322980;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        is_int(certificates_next_look(now + rows[i].left, now), now + rows[i].next, "%s",
               rows[i].what);
    }
    return done_testing();
}
