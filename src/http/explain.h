/* explain.h - what is wrong with the head of an answer that the parser refused.
 *
 * Purpose     The parser says no as fast as it can and keeps nothing. Who has to mend the server at
 *             the other end wants to know where: which line, which header. So the head is looked at
 *             once more, slowly, and only after it was refused.
 * Says        The number of the line, the name of its header where it has one, what is wrong. Never
 *             a value: it may be a secret.
 * Threads     Any; no state.
 */
#ifndef BECKET_HTTP_EXPLAIN_H
#define BECKET_HTTP_EXPLAIN_H

#include <stddef.h>
#include <stdint.h>

#define HTTP_EXPLAIN_BYTES 112U

/* "line 3 (x-name): a control byte"; empty where nothing is wrong.
 * Requires: http_parse_response() said something else than PARTIAL about these bytes. */
void http_explain_response(const uint8_t *at, size_t bytes, char ret_text[HTTP_EXPLAIN_BYTES]);

#endif
