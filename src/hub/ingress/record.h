/* record.h - what the journal keeps of a request.
 *
 * Purpose     Head and body as they came, the places of event type and delivery id in them, and
 *             which bytes are secrets: these are overwritten on their way into the journal.
 * Threads     One core.
 */
#ifndef BECKET_HUB_RECORD_H
#define BECKET_HUB_RECORD_H

#include "hub/ingress/intake.h"

#define RECORD_REDACTIONS_MAX 8U

void record_entry(const struct intake *intake, enum journal_record_type type,
                  struct journal_entry *ret_entry);
/* Its head alone, and which event was the first. */
void record_entry_duplicate(const struct intake *intake, const struct dedupe_claim *claim,
                            struct journal_entry *ret_entry);
/* After body_bytes was lowered: a type or id that was in the part that is not kept has no place any
 * more. */
void record_forget_cut(struct journal_entry *entry);

/* The secrets of a request; at most RECORD_REDACTIONS_MAX. */
static inline unsigned record_redactions(const struct intake *intake,
                                         struct journal_redaction *ret_redactions)
{
    _Static_assert(sizeof(struct scheme_redaction) == sizeof(struct journal_redaction) &&
                       offsetof(struct scheme_redaction, bytes) ==
                           offsetof(struct journal_redaction, bytes),
                   "same shape");
    return scheme_redactions(intake->source->scheme, &intake->request,
                             (struct scheme_redaction *)(void *)ret_redactions,
                             RECORD_REDACTIONS_MAX);
}

/* Copies into the frame: up to JOURNAL_SMALL_BYTES_MAX. Errors are journal_append()'s. */
static inline enum bk_err record_append(struct ingress *ingress, const struct intake *intake,
                                        const struct journal_entry *entry, uint64_t *ret_sequence)
{
    struct journal_redaction redactions[RECORD_REDACTIONS_MAX];
    unsigned count = record_redactions(intake, redactions);
    return journal_append(ingress->journal, entry, intake->message->head->at, redactions, count,
                          ret_sequence);
}

/* Larger ones: the journal writes from the exchange's buffer itself, which is the exchange's
 * handler_buffer until then. So secrets are blanked in place, and put back when the journal cannot
 * take the message now (journal_append_large()). */
enum bk_err record_append_large(struct ingress *ingress, struct http_exchange *exchange,
                                const struct intake *intake, const struct journal_entry *entry,
                                uint64_t *ret_sequence) BK_MUST_CHECK;

#endif
