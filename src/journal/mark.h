/* mark.h - which segments of a journal there have to be, for a start that finds fewer.
 *
 * Purpose     What retention removed cannot be told from what was lost by the names that are left.
 *             So a small file for each journal says: the first one is this one at the latest, and
 *             the last one there was is this; and which they are, for one of another directory in
 *             their place. Written before a segment is removed, and after one was made.
 * Name        "old-marks-j0". A becket that does not know it takes it for rubbish and removes it at
 *             its start, and what it removes later misleads nobody; who finds none believes the
 *             names, and makes one.
 * Failure     One that cannot be written is removed.
 * Threads     As the catalog's.
 */
#ifndef BECKET_JOURNAL_MARK_H
#define BECKET_JOURNAL_MARK_H

#include "journal/catalog_state.h"

/* The name of such a file. */
bool mark_name_parse(const char *name, uint16_t *ret_journal);
void mark_path(const struct catalog *catalog, uint16_t journal, char ret_path[CATALOG_PATH_BYTES]);
/* BK_NOT_FOUND: there is none, or none that is whole. */
enum bk_err mark_read(const struct catalog *catalog, uint16_t journal,
                      struct journal_mark *ret_mark) BK_MUST_CHECK;
/* Of the segments that are there; at least one. */
void mark_of(const struct catalog_journal *journal, struct journal_mark *ret_mark);
/* Is it the one that the mark means, or of none of its numbers? */
bool mark_agrees(const struct journal_mark *mark, const struct segment *segment);
/* Durable, or there is none any more. */
enum bk_err mark_write(const struct catalog *catalog, uint16_t journal,
                       const struct journal_mark *mark) BK_MUST_CHECK;

#endif
