/* file_magic.h - file systems of other machines and programs, by what statfs(2) calls them; those
 * that the headers of an older kernel do not name. The others are in linux/magic.h.
 */
#ifndef BECKET_RING_FILE_MAGIC_H
#define BECKET_RING_FILE_MAGIC_H

#include <linux/magic.h>

#define FUSE_MAGIC 0x65735546UL
#define SMB2_MAGIC 0xFE534D42UL
#define CIFS_MAGIC 0xFF534D42UL
#define CEPH_MAGIC 0x00C36400UL
#define NINE_MAGIC 0x01021997UL

#endif
