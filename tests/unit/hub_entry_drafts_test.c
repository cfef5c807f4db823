/* What providers' payloads say somebody did, and the rows of links. */
#include "hub/links/entry_drafts.h"
#include "hub/links/link.h"
#include "tap.h"

static struct arena arena;
static struct entry_drafts drafts;

static unsigned read_event(const char *link, const char *type, const char *body)
{
    entry_drafts_read(slice_str(link), slice_str(type), slice_str(body), &arena, &drafts);
    return drafts.count;
}

static bool is(struct slice text, const char *wanted)
{
    return slice_equal(text, slice_str(wanted));
}

static void test_github(void)
{
    ok(read_event("github", "push",
                  "{\"commits\":[{\"id\":\"c1\",\"message\":\"  "
                  "One\\r\\n\\nmore\",\"url\":\"https://h/1\","
                  "\"author\":{\"username\":\"anna\",\"email\":\"a@x\"}},7,{}]}") == 2);
    ok(is(drafts.at[0].body, "One https://h/1") && is(drafts.at[0].nickname, "anna") &&
       is(drafts.at[0].email, "a@x") && is(drafts.at[0].part, "c1") &&
       is(drafts.at[0].status, "done"));
    ok(is(drafts.at[1].body, "") && is(drafts.at[1].part, ""));
    ok(read_event("github", "issues",
                  "{\"action\":\"closed\",\"issue\":{\"title\":\"T\",\"html_url\":\"u\"},"
                  "\"sender\":{\"id\":7,\"login\":\"x\"}}") == 1);
    ok(is(drafts.at[0].body, "T u") && is(drafts.at[0].uid, "7") && is(drafts.at[0].nickname, "x"));
    ok(read_event("github", "issues", "{\"action\":\"opened\",\"issue\":{\"title\":\"T\"}}") == 0);
    ok(read_event(
           "gitea", "pull_request",
           "{\"action\":\"closed\",\"pull_request\":{\"merged\":true,\"title\":\"P\",\"user\":"
           "{\"id\":8}}}") == 1);
    ok(is(drafts.at[0].uid, "8") && is(drafts.at[0].body, "P"));
    ok(read_event("gitea", "pull_request",
                  "{\"action\":\"closed\",\"pull_request\":{\"merged\":\"yes\"}}") == 0);
    ok(read_event("github", "push", "{\"commits\":\"odd\"}") == 0);
    ok(read_event("github", "push", "[]") == 0);
    ok(read_event("github", "push", "not JSON") == 0);
    ok(read_event("github", "ping", "{\"zen\":\"x\"}") == 0);
}

static void test_gitlab(void)
{
    ok(read_event("gitlab", "push",
                  "{\"object_kind\":\"push\",\"commits\":[{\"id\":\"c\",\"message\":\"M\","
                  "\"author\":{\"email\":\"e\"}}]}") == 1);
    ok(read_event("gitlab", "merge_request",
                  "{\"object_kind\":\"merge_request\",\"user\":{\"id\":3,\"username\":\"u\"},"
                  "\"object_attributes\":{\"action\":\"merge\",\"title\":\"T\",\"url\":\"w\"}}") ==
       1);
    ok(is(drafts.at[0].body, "T w") && is(drafts.at[0].nickname, "u"));
    ok(read_event(
           "gitlab", "merge_request",
           "{\"object_kind\":\"merge_request\",\"object_attributes\":{\"action\":\"open\"}}") == 0);
}

static void test_slack(void)
{
    ok(read_event("slack", "", "command=%2Fdone&text=wrote+it%21&user_id=U1&user_name=anna") == 1);
    ok(is(drafts.at[0].body, "wrote it!") && is(drafts.at[0].uid, "U1") &&
       is(drafts.at[0].nickname, "anna"));
    ok(read_event("slack", "", "command=x&text=%5B%5D+later&user_id=U1") == 1);
    ok(is(drafts.at[0].body, "later") && is(drafts.at[0].status, "goal"));
    ok(read_event("slack", "", "command=x&text=%21+stuck&user_id=U1") == 1);
    ok(is(drafts.at[0].status, "blocked"));
    ok(read_event("slack", "", "text=x&user_id=U1") == 0, "no command");
    ok(read_event("slack", "", "command=x&text=&user_id=U1") == 0, "nothing said");
    ok(read_event("slack", "", "command=x&text=%5B%5D+&user_id=U1") <= 1);
}

static void test_length(void)
{
    struct entry_draft draft;
    char text[ENTRY_BODY_BYTES + 3];
    memset(text, 'a', sizeof text);
    memcpy(text + ENTRY_BODY_BYTES - 1, "\xc3\xbc", 2);
    entry_draft_text(&draft, slice_of(text, sizeof text), &arena);
    ok(draft.body.bytes == ENTRY_BODY_BYTES - 1, "cut between characters: %zu", draft.body.bytes);
}

static struct slice value(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "channel") == 0      ? SLICE("#dev")
           : strcmp(name, "repository") == 0 ? SLICE("hello")
                                             : SLICE_EMPTY;
}

/* A new type appears nowhere when its row is not whole. */
static void test_rows(void)
{
    struct buf text;
    char name[NAME_BYTES_MAX + 1];
    buf_init(&text, 4096);
    for (size_t i = 0; i < link_type_count; i++) {
        const struct link_type *row = &link_types[i];
        ok(row->title && row->about && row->fields && row->summary &&
               (row->for_team || row->for_user),
           "%s: whose, what, and in words", row->name);
        ok(!row->makes_hook || (row->integration && row->resource_type && row->resource_setting &&
                                link_field_find(row, slice_str(row->resource_setting))),
           "%s: what its hook is on", row->name);
        ok(!row->posts || link_field_find(row, slice_str(row->channel_setting)), "%s: where to",
           row->name);
        ok(link_type_find(slice_str(row->name)) == row, "%s: is found", row->name);
    }
    ok(link_type_find(SLICE("TYPE_GITHUB")) == link_type_find(SLICE("github")));
    ok(link_type_find(SLICE("stripe")) == NULL);
    link_summary(link_type_find(SLICE("slack")), SLICE("core"), value, NULL, &text);
    ok(strcmp(buf_text(&text), "New entries of core are posted to #dev.") == 0);
    ok(link_source_name(SLICE("abc"), name) && strcmp(name, "link-abc") == 0);
    char longest[NAME_BYTES_MAX + 1];
    memset(longest, 'a', sizeof longest);
    ok(!link_source_name(slice_of(longest, NAME_BYTES_MAX), name));
    buf_fini(&text);
}

int main(void)
{
    arena_init(&arena, 8U << 20);
    test_github();
    test_gitlab();
    test_slack();
    test_length();
    test_rows();
    arena_fini(&arena);
    return done_testing();
}
