/* entries.h - what people did, for their teams: events of links become entries, entries go out.
 *
 * Purpose     Every accepted event of a source that a link refers to is read back from the journal,
 *             turned into drafts (links/entry_drafts.h, or a generic link's expressions), and
 *             stored as an entry of the right user and team (links/entry.h), which sends it out.
 * Once        An entry's id is made from what it is about (commit, else event and part) and its
 *             team, so the same event gives one entry per team whatever links match. Entries, the
 *             operations that they cause and the journal's cursor are one transaction: kill -9
 *             loses none and repeats none.
 * Authors     Found among the integration's users by uid, name or mail address, and then checked
 *             against the team's members. Others' entries are kept, without a user, and do not go
 *             out.
 * Store       "m/entries": the cursor.
 * Cost        Only events of sources that a link refers to are read back, one by one; the cores say
 *             which (links/link_feed.h). At a start, after a change of links, and when such events
 *             come faster than that, the journal is read from where it was left, in the background,
 *             ENTRIES_STEP_BYTES a turn.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_ENTRIES_H
#define BECKET_HUB_ENTRIES_H

#include "hub/hub.h"
#include "journal/catalog.h"

#define ENTRIES_STEP_BYTES (256U << 10)
#define ENTRIES_POLL_NS    (100 * 1000000LL)

struct entries;
struct link_feed;

/* feeds: of the cores, by journal (links/link_feed.h); count 0 = every event is read. */
enum bk_err entries_open(struct hub *hub, struct catalog *catalog, struct link_feed *const *feeds,
                         unsigned feed_count, struct entries **ret_entries) BK_MUST_CHECK;
void entries_close(struct entries *entries);
/* Once per turn; when (wall clock) it wants to be called again. */
int64_t entries_run(struct entries *entries, int64_t now_ns);
/* Retention asks (catalog_guard): is an event of this complete segment, up to `through`, still to
 * be looked at? Then it stays. */
bool entries_owed(const struct entries *entries, uint16_t journal, uint64_t through);

#endif
