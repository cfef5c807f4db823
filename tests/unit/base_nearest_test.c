/* Description: the word that was meant. */
#include "base/nearest.h"
#include "tap.h"

static const char *near(const char *text)
{
    static const char *const words[] = {"EventSource", "Secret", "Canvas", "path",
                                        "signature",   "signed", NULL};
    return nearest_word(slice_str(text), words);
}

int main(void)
{
    is_str(near("evensource"), "EventSource", "a letter is missing");
    is_str(near("secrets"), "Secret", "one too many");
    is_str(near("paht"), "path", "two were swapped");
    is_str(near("Event"), "EventSource", "the beginning of one");
    is_str(near("can"), "Canvas");
    is_str(near("sign"), "signed", "of two the shorter one");
    ok(near("ca") == NULL, "two letters are no beginning");
    ok(near("deployment") == NULL);
    ok(near("") == NULL);
    ok(near("a word that is longer than any that there is, and nobody meant") == NULL);
    return done_testing();
}
