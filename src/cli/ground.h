/* ground.h - what the data directory stands on: is it a file system that keeps what it was told to
 * keep?
 *
 * Purpose     "Acknowledged" means on disk. Some file systems answer a flush and have nothing on a
 *             disk (tmpfs, an overlay mounted volatile, barriers switched off), or leave it to
 *             others (network, FUSE). That is somebody's choice, so it is said and not refused.
 *             Permissions that do not stay are refused: keys and tokens would lie open.
 */
#ifndef BECKET_CLI_GROUND_H
#define BECKET_CLI_GROUND_H

#include <stdbool.h>

/* What there is to say of the file system that `file` lies on, most serious first; NULL: nothing.
 * *ret_effect and *ret_advice belong to it. */
const char *ground_trouble(int file, const char **ret_effect, const char **ret_advice);

/* Does `file`, which is ours, stay closed to others? false: not even chmod helps. */
bool ground_keeps_modes(int file, unsigned *ret_mode);

#endif
