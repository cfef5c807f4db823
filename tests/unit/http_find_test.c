/* http_find: first header of a name in any case, how many there are, every length, no near misses.
 * */
#include "http/message.h"
#include "tap.h"

static char text[8192];

/* A head over `name: value` lines, without a parser. */
static void build(struct http_head *head, const char *const *names, unsigned count)
{
    memset(head, 0, sizeof *head);
    size_t at = 0;
    head->at = (const uint8_t *)text;
    for (unsigned i = 0; i < count; i++) {
        struct http_header *h = &head->headers[head->header_count++];
        h->name_at = (uint16_t)at;
        h->name_bytes = (uint16_t)strlen(names[i]);
        h->value_at = (uint16_t)(at + h->name_bytes + 2);
        h->value_bytes = 1;
        head->tags[i] = http_name_tag((const uint8_t *)names[i], h->name_bytes);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s: %c\r\n", names[i], (int)('a' + i));
    }
}

int main(void)
{
    static struct http_head head;
    unsigned count = 9;
    const char *const names[] = {"Host", "X-GitHub-Event", "x-hub-signature", "X-HUB-SIGNATURE-256",
                                 "Te",   "x-github-event"};
    build(&head, names, 6);
    const struct http_header *h = http_find(&head, SLICE("x-github-event"), &count);
    ok(h == &head.headers[1], "the first one");
    is_uint(count, 2, "and how many");
    ok(http_find(&head, SLICE("x-hub-signature"), NULL) == &head.headers[2], "not a longer name");
    ok(http_find(&head, SLICE("x-hub-signature-256"), &count) == &head.headers[3], "any case");
    is_uint(count, 1);
    ok(http_find(&head, SLICE("te"), NULL) == &head.headers[4], "a short name");
    ok(http_find(&head, SLICE("x-gitlab-token"), &count) == NULL, "none");
    is_uint(count, 0);

    /* Several at once: the same answers, also behind the sixteenth header. */
    static char many_text[40][24];
    const char *many[40];
    for (unsigned i = 0; i < 40; i++) {
        snprintf(many_text[i], sizeof many_text[i], i % 3 ? "X-Name-%u" : "x-a-longer-name-%u",
                 i % 19);
        many[i] = many_text[i];
    }
    for (unsigned n = 0; n <= 40; n++) {
        struct slice wanted[16];
        uint8_t tags[16][16], at[16];
        char lower[16][24];
        unsigned differ = 0;
        build(&head, many, n);
        for (unsigned i = 0; i < 16; i++) {
            snprintf(lower[i], sizeof lower[i], i % 2 ? "x-name-%u" : "x-a-longer-name-%u", i + 2);
            wanted[i] = slice_str(lower[i]);
            memset(tags[i], http_name_tag(wanted[i].at, wanted[i].bytes), sizeof tags[i]);
        }
        uint32_t found = http_locate(&head, wanted, (const uint8_t(*)[16])tags, 16, at);
        for (unsigned i = 0; i < 16; i++) {
            h = http_find(&head, wanted[i], &count);
            differ += (h == NULL ? 0 : (unsigned)(h - head.headers) + 1) != at[i];
            differ += (count > 1) != (found >> (16 + i) & 1);
            differ += (h != NULL) != (found >> i & 1);
        }
        is_uint(differ, 0, "%u headers", n);
    }

    /* Every byte value at every place of names of every length: only case may differ. */
    unsigned wrong = 0;
    for (size_t n = 1; n < 40; n++) {
        char lower[40] = "", name[40] = "";
        for (size_t i = 0; i < n; i++) {
            lower[i] = "abcdefghijklmnopqrstuvwxyz-_.!0123456789@[`{"[(i * 7 + n) % 44];
        }
        for (size_t place = 0; place < n; place++) {
            for (unsigned c = 1; c < 256; c++) {
                memcpy(name, lower, sizeof name);
                name[place] = (char)c;
                const char *const one[] = {name};
                build(&head, one, 1);
                bool want = ascii_lower((uint8_t)c) == (uint8_t)lower[place];
                wrong += (http_find(&head, slice_of(lower, n), NULL) != NULL) != want;
            }
        }
    }
    is_uint(wrong, 0, "letters in either case and nothing else is the same");
    return done_testing();
}
