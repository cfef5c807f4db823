/* crc32c.h - the Castagnoli CRC that guards journal frames and records.
 *
 * Purpose     CRC-32C (reflected polynomial 0x82f63b78, RFC 3720 B.4). On x86-64 with SSE4.2 and
 *             PCLMULQDQ three streams run side by side and are joined by carry-less
 *             multiplication; with VPCLMULQDQ long texts are folded 64 bytes a step; else a table.
 * Threads     Pure; any. The CPU is looked at once, before main.
 * Chaining    crc32c(crc32c(0, a), b) == crc32c(0, a then b). The value for nothing is 0.
 */
#ifndef BECKET_BASE_CRC32C_H
#define BECKET_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t seed, const void *at, size_t bytes);
/* The table version, for tests and for other CPUs. */
uint32_t crc32c_portable(uint32_t seed, const void *at, size_t bytes);

#endif
