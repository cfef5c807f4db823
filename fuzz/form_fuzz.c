/* form_fuzz - any bytes as a form, a query, a Cookie header, a page's text and an event's body:
 * what is decoded is UTF-8 without NUL, what is written is plain HTML text that cannot leave its
 * place. */
#include "api/form.h"
#include "base/assert.h"
#include "base/percent.h"
#include "hub/links/entry_drafts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_html(struct slice text)
{
    struct buf html, again;
    buf_init(&html, 1U << 20);
    buf_init(&again, 1U << 20);
    html_add(&html, text);
    for (size_t i = 0; i < html.bytes; i++) {
        uint8_t c = html.at[i];
        bk_assert(c != '<' && c != '>' && c != '"' && c != '\'' && c != 0);
    }
    percent_add(&again, text);
    for (size_t i = 0; i < again.bytes; i++) {
        bk_assert(again.at[i] > ' ' && again.at[i] < 0x7f && !strchr("&?#\"'<>/", again.at[i]));
    }
    buf_fini(&html);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"state", "code", "iss",  "error",
                                        "csrf",  "next", "name", "a"};
    static const char *const links[] = {"github", "gitlab", "gitea", "slack"};
    static const char *const types[] = {"push", "issues", "pull_request"};
    static struct entry_drafts drafts;
    struct slice text = slice_of(data, size), value;
    struct arena arena;
    arena_init(&arena, 4U << 20);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (form_field(text, names[i], &arena, &value)) {
            bk_assert(value.bytes <= size && slice_find(value, 0) == value.bytes);
            check_html(value);
            if (form_is_own_path(value)) {
                bk_assert(value.at[0] == '/' && (value.bytes == 1 || value.at[1] != '/'));
            }
        }
    }
    if (cookie_find(text, "a", &value)) {
        bk_assert(slice_find(value, ';') == value.bytes);
    }
    check_html(text);
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 3; k++) {
            entry_drafts_read(slice_str(links[i]), slice_str(types[k]), text, &arena, &drafts);
            bk_assert(drafts.count <= ENTRY_DRAFTS_MAX);
            for (unsigned n = 0; n < drafts.count; n++) {
                bk_assert(drafts.at[n].body.bytes <= ENTRY_BODY_BYTES);
            }
        }
    }
    arena_fini(&arena);
    return 0;
}
