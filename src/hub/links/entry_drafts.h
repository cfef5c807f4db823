/* entry_drafts.h - what an event says somebody did: from a provider's payload to drafts of entries.
 *
 * Purpose     GitHub, Gitea: one for each commit of a push, for a closed issue, for a merged pull
 *             request. GitLab: the same in its words. Slack: the text of a command.
 * Limits      ENTRY_DRAFTS_MAX of one event; a text is cut at ENTRY_BODY_BYTES on a character.
 * Threads     Pure; any.
 */
#ifndef BECKET_HUB_ENTRY_DRAFTS_H
#define BECKET_HUB_ENTRY_DRAFTS_H

#include "base/arena.h"
#include "base/slice.h"

#define ENTRY_DRAFTS_MAX 100U
#define ENTRY_BODY_BYTES 2000U

struct entry_draft {
    struct slice body;   /* "message first line https://…" */
    struct slice status; /* "done", "goal" */
    /* Who did it, in the provider's words; empty = not told. */
    struct slice uid, nickname, email;
    struct slice part; /* what makes it one and the same in another event, too: a commit's id */
    bool nobody;       /* it does not wait for somebody of ours: nobody is said to have done it */
};

struct entry_drafts {
    unsigned count;
    struct entry_draft at[ENTRY_DRAFTS_MAX];
};

/* Of a link of this type ("github", "gitlab", "gitea", "slack"); texts in the arena. None: the
 * event says nothing of the kind. */
void entry_drafts_read(struct slice link_type, struct slice event_type, struct slice body,
                       struct arena *arena, struct entry_drafts *ret_drafts);

/* The text convention: "[] " in front makes a goal. Cuts and trims. */
void entry_draft_text(struct entry_draft *draft, struct slice text, struct arena *arena);

#endif
