/* Records between the TLS engine and the ring. */
#include "http/client_private.h"

#include <stdio.h>

void line_tls_begin(struct client_line *line)
{
    snprintf(line->why, sizeof line->why, "https is not supported yet");
    dial_fail(line, BK_UNSUPPORTED, HTTP_STAGE_TLS);
}

void line_tls_request(struct client_line *line)
{
    (void)line;
    bk_never("no TLS yet");
}

bool line_tls_received(struct client_line *line, uint8_t *at, size_t bytes, uint16_t buffer_id)
{
    (void)line, (void)at, (void)bytes, (void)buffer_id;
    bk_never("no TLS yet");
}

void line_tls_ended(struct client_line *line)
{
    (void)line;
    bk_never("no TLS yet");
}

void line_tls_send_done(struct client_line *line)
{
    (void)line;
    bk_never("no TLS yet");
}

void line_tls_drop(struct client_line *line)
{
    (void)line;
}
