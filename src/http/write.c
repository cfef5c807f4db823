#include "http/write.h"

#include <stdio.h>

void http_write_init(struct http_write *write, void *at, size_t bytes_max)
{
    *write = (struct http_write){.at = at, .bytes_max = bytes_max};
}

static void fail(struct http_write *write, enum bk_err err)
{
    if (write->err == BK_OK) {
        write->err = err;
    }
}

static void put(struct http_write *write, struct slice text)
{
    if (write->err != BK_OK) {
        return;
    }
    if (text.bytes > write->bytes_max - write->bytes) {
        fail(write, BK_TOO_LARGE);
        return;
    }
    if (text.bytes > 0) {
        memcpy(write->at + write->bytes, text.at, text.bytes);
        write->bytes += text.bytes;
    }
}

/* ---- what may stand where */

bool http_write_name_fits(struct slice name)
{
    for (size_t i = 0; i < name.bytes; i++) {
        uint8_t c = name.at[i];
        if (!ascii_is_alphanumeric(c) && (c == 0 || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return name.bytes > 0;
}

bool http_write_value_fits(struct slice value)
{
    for (size_t i = 0; i < value.bytes; i++) {
        uint8_t c = value.at[i];
        if ((c < 0x20 && c != '\t') || c > 0x7e) {
            return false;
        }
    }
    return slice_trim(value).bytes == value.bytes;
}

static bool target_fits(struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        if (!ascii_is_alphanumeric(c) && (c == 0 || strchr("-._~!$&'()*+,;=:@/?%[]", c) == NULL)) {
            return false;
        }
    }
    return true;
}

/* ---- the request line */

void http_write_request(struct http_write *write, struct slice method,
                        const struct http_origin *origin, struct slice path, struct slice query)
{
    char host[URL_AUTHORITY_BYTES_MAX];
    size_t host_bytes = url_authority(origin->host, origin->port, origin->tls, false, host);
    bool begins = path.bytes > 0 && path.at[0] == '/' && slice_find(path, '?') == path.bytes &&
                  (query.bytes == 0 || query.at[0] == '?');

    if (!begins || write->bytes > 0 || !http_write_name_fits(method) || !target_fits(path) ||
        !target_fits(query)) {
        fail(write, BK_INVALID);
    }
    put(write, method);
    put(write, SLICE(" "));
    put(write, path);
    put(write, query);
    put(write, SLICE(" HTTP/1.1\r\n"));
    http_write_header(write, SLICE("Host"), slice_of(host, host_bytes));
}

/* ---- header lines */

void http_write_header(struct http_write *write, struct slice name, struct slice value)
{
    if (!http_write_name_fits(name) || !http_write_value_fits(value)) {
        fail(write, BK_INVALID);
    }
    put(write, name);
    put(write, SLICE(": "));
    put(write, value);
    put(write, SLICE("\r\n"));
}

void http_write_header_number(struct http_write *write, struct slice name, uint64_t number)
{
    char text[24];
    int bytes = snprintf(text, sizeof text, "%llu", (unsigned long long)number);

    http_write_header(write, name, slice_of(text, (size_t)bytes));
}

enum bk_err http_write_end(struct http_write *write, struct slice *ret_head)
{
    if (write->bytes == 0) {
        fail(write, BK_INVALID);
    }
    put(write, SLICE("\r\n"));
    if (write->err == BK_OK) {
        *ret_head = slice_of(write->at, write->bytes);
    }
    return write->err;
}
