/* store_fault.h - the store's file fails under the map: words, then the end.
 *
 * Purpose     LMDB reads its file through a map, so a page that is not there any more (the file was
 *             cut short) or that the disk cannot give is no error but a signal, SIGBUS, in the
 *             middle of a read. Nothing of the map can be believed from then on, and what is half
 *             done cannot be undone: the process ends, as it did, but says why and with
 *             STORE_FAULT_EXIT. What was acknowledged is in the journal, or committed.
 * Writing     Through a map only LMDB's lock file is written. Where a file system copies what is
 *             overwritten (btrfs) and is full, that is the same signal, but nothing is lost: the
 *             thread says so and waits until there is room, as for a disk that stands still.
 * Threads     Once, before others read. The signal comes on the thread that reads.
 * Limits      The files that becket maps are the store's. A SIGBUS that somebody sent, or from an
 *             address that cannot be, keeps its own end.
 */
#ifndef BECKET_STORE_STORE_FAULT_H
#define BECKET_STORE_STORE_FAULT_H

#define STORE_FAULT_EXIT 1

/* `path`: the store's directory, for the words. The last one counts. */
void store_fault_watch(const char *path);

#endif
