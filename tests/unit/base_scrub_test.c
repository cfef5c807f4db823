/* Description: secrets are overwritten wherever they stand in a text, and nothing else is. */
#include "base/scrub.h"
#include "tap.h"

static void scrubs(const char *text, const char *secret, const char *want, unsigned count)
{
    char copy[200];
    snprintf(copy, sizeof copy, "%s", text);
    is_uint(scrub(copy, strlen(copy), slice_str(secret)), count, "%s: times", text);
    is_str(copy, want, "%s", text);
}

int main(void)
{
    scrubs("bad token ghp_12345!", "ghp_12345", "bad token *********!", 1);
    scrubs("ghp_12345ghp_12345", "ghp_12345", "******************", 2);
    scrubs("ghp_1234", "ghp_12345", "ghp_1234", 0);
    scrubs("", "ghp_12345", "", 0);
    scrubs("a short one: abc", "abc", "a short one: abc", 0);
    scrubs("aaaaaaaaaaaaaaaaa", "aaaaaaaa", "****************a", 2);
    is_uint(scrub(NULL, 0, SLICE("ghp_12345")), 0, "nothing at all");
    is_uint(scrub(NULL, 0, SLICE_EMPTY), 0);
    ok(scrub_finds(SLICE("xx12345678"), SLICE("12345678")), "it is there");
    ok(!scrub_finds(SLICE("xx1234567"), SLICE("12345678")), "it is not");
    return done_testing();
}
