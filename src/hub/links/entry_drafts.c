#include "hub/links/entry_drafts.h"

#include "base/json.h"
#include "base/percent.h"

#include <stdio.h>
#include <yyjson.h>

static yyjson_mut_val *get(yyjson_mut_val *value, const char *path)
{
    while (value && *path) {
        size_t bytes = strcspn(path, "/");
        value = yyjson_mut_is_obj(value) ? yyjson_mut_obj_getn(value, path, bytes) : NULL;
        path += bytes + (path[bytes] == '/');
    }
    return value;
}

static struct slice text_at(yyjson_mut_val *value, const char *path, struct arena *arena)
{
    value = get(value, path);
    if (yyjson_mut_is_uint(value)) {
        return slice_str(
            arena_printf(arena, "%llu", (unsigned long long)yyjson_mut_get_uint(value)));
    }
    struct slice text = yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
    char *copy = text.bytes > 0 ? arena_copy(arena, text.at, text.bytes) : NULL;
    return slice_of(copy, copy ? text.bytes : 0);
}

static bool is_word(yyjson_mut_val *value, const char *path, const char *word)
{
    value = get(value, path);
    return yyjson_mut_is_str(value) && strcmp(yyjson_mut_get_str(value), word) == 0;
}

/* At most bytes_max, and no part of a character. */
static struct slice cut(struct slice text, size_t bytes_max)
{
    if (text.bytes > bytes_max) {
        text.bytes = bytes_max;
        while (text.bytes > 0 && (text.at[text.bytes] & 0xc0) == 0x80) {
            text.bytes--;
        }
    }
    return text;
}

static struct slice first_line(struct slice text)
{
    size_t end = slice_find(text, '\n');
    text = slice_of(text.at, end);
    while (text.bytes > 0 && text.at[text.bytes - 1] == '\r') {
        text.bytes--;
    }
    return slice_trim(text);
}

void entry_draft_text(struct entry_draft *draft, struct slice text, struct arena *arena)
{
    text = slice_trim(text);
    draft->status = SLICE("done");
    if (slice_starts(text, SLICE("[] ")) || slice_starts(text, SLICE("[ ] "))) {
        draft->status = SLICE("goal");
        text = slice_trim(slice_skip(text, text.at[1] == ']' ? 3 : 4));
    } else if (slice_starts(text, SLICE("! "))) {
        draft->status = SLICE("blocked");
        text = slice_trim(slice_skip(text, 2));
    }
    text = cut(text, ENTRY_BODY_BYTES);
    char *copy = text.bytes > 0 ? arena_copy(arena, text.at, text.bytes) : NULL;
    draft->body = slice_of(copy, copy ? text.bytes : 0);
}

static struct entry_draft *add(struct entry_drafts *drafts)
{
    if (drafts->count == ENTRY_DRAFTS_MAX) {
        return NULL;
    }
    struct entry_draft *draft = &drafts->at[drafts->count++];
    *draft = (struct entry_draft){.status = SLICE("done")};
    return draft;
}

/* A line and where it is. */
static void set_line(struct entry_draft *draft, struct slice line, struct slice url,
                     struct arena *arena)
{
    line = cut(first_line(line), ENTRY_BODY_BYTES - 500);
    url = url.bytes <= 480 ? url : SLICE_EMPTY;
    draft->body = slice_str(arena_printf(
        arena, "%.*s%s%.*s", (int)line.bytes, line.bytes ? (const char *)line.at : "",
        line.bytes && url.bytes ? " " : "", (int)url.bytes, url.bytes ? (const char *)url.at : ""));
}

static void read_commits(yyjson_mut_val *json, struct arena *arena, struct entry_drafts *drafts)
{
    yyjson_mut_val *commit;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(get(json, "commits"), &iter);
    while ((commit = yyjson_mut_arr_iter_next(&iter)) != NULL) {
        struct entry_draft *draft = yyjson_mut_is_obj(commit) ? add(drafts) : NULL;
        if (!draft) {
            continue;
        }
        set_line(draft, text_at(commit, "message", arena), text_at(commit, "url", arena), arena);
        draft->nickname = text_at(commit, "author/username", arena);
        draft->email = text_at(commit, "author/email", arena);
        draft->part = text_at(commit, "id", arena);
    }
}

static void read_git(struct slice type, yyjson_mut_val *json, struct arena *arena,
                     struct entry_drafts *drafts)
{
    struct entry_draft *draft;
    bool closed = is_word(json, "action", "closed");
    if (slice_equal(type, SLICE("push"))) {
        read_commits(json, arena, drafts);
    } else if (slice_equal(type, SLICE("issues")) && closed && (draft = add(drafts)) != NULL) {
        set_line(draft, text_at(json, "issue/title", arena), text_at(json, "issue/html_url", arena),
                 arena);
        draft->uid = text_at(json, "sender/id", arena);
        draft->nickname = text_at(json, "sender/login", arena);
    } else if (slice_equal(type, SLICE("pull_request")) && closed &&
               yyjson_mut_get_bool(get(json, "pull_request/merged")) &&
               (draft = add(drafts)) != NULL) {
        set_line(draft, text_at(json, "pull_request/title", arena),
                 text_at(json, "pull_request/html_url", arena), arena);
        draft->uid = text_at(json, "pull_request/user/id", arena);
        draft->nickname = text_at(json, "pull_request/user/login", arena);
    }
}

static void read_gitlab(yyjson_mut_val *json, struct arena *arena, struct entry_drafts *drafts)
{
    struct entry_draft *draft;
    bool issue =
        is_word(json, "object_kind", "issue") && is_word(json, "object_attributes/action", "close");
    bool merge = is_word(json, "object_kind", "merge_request") &&
                 is_word(json, "object_attributes/action", "merge");
    if (is_word(json, "object_kind", "push")) {
        read_commits(json, arena, drafts);
    } else if ((issue || merge) && (draft = add(drafts)) != NULL) {
        set_line(draft, text_at(json, "object_attributes/title", arena),
                 text_at(json, "object_attributes/url", arena), arena);
        draft->uid = text_at(json, "user/id", arena);
        draft->nickname = text_at(json, "user/username", arena);
        draft->email = text_at(json, "user/email", arena);
    }
}

/* ---- Slack: a command is a form */

static struct slice field(struct slice form, const char *name, struct arena *arena)
{
    struct slice wanted = slice_str(name);
    while (form.bytes > 0) {
        size_t end = slice_find(form, '&');
        struct slice pair = slice_of(form.at, end);
        size_t equals = slice_find(pair, '=');
        form = slice_skip(form, end + 1);
        if (!slice_equal(slice_of(pair.at, equals), wanted)) {
            continue;
        }
        struct slice value = slice_skip(pair, equals + 1);
        uint8_t *out = arena_take(arena, value.bytes + 1);
        return out ? slice_of(out, percent_decode_form(value, out)) : value;
    }
    return SLICE_EMPTY;
}

static void read_slack(struct slice body, struct arena *arena, struct entry_drafts *drafts)
{
    struct slice text = field(body, "text", arena), uid = field(body, "user_id", arena);
    if (text.bytes == 0 || uid.bytes == 0 || field(body, "command", arena).bytes == 0) {
        return;
    }
    struct entry_draft *draft = add(drafts);
    entry_draft_text(draft, text, arena);
    draft->uid = uid;
    draft->nickname = field(body, "user_name", arena);
    if (draft->body.bytes == 0) {
        drafts->count--;
    }
}

void entry_drafts_read(struct slice link_type, struct slice event_type, struct slice body,
                       struct arena *arena, struct entry_drafts *ret_drafts)
{
    struct json_tree tree;
    struct json_problem problem;
    ret_drafts->count = 0;
    if (slice_equal(link_type, SLICE("slack"))) {
        read_slack(body, arena, ret_drafts);
        return;
    }
    json_tree_init(&tree);
    if (json_parse(body, &tree, &problem) == BK_OK) {
        if (slice_equal(link_type, SLICE("gitlab"))) {
            read_gitlab(tree.roots[0], arena, ret_drafts);
        } else {
            read_git(event_type, tree.roots[0], arena, ret_drafts);
        }
    }
    json_tree_fini(&tree);
}
