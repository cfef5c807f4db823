/* Description: the mail part of the ring's contract, by itself, so that it also runs under
 * ThreadSanitizer. */
#define RING_CONTRACT_MAIL_ONLY
#pragma GCC diagnostic ignored "-Wunused-function"
#include "ring_contract_test.c"
