#include "http/write.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/percent.h"

#include <stdio.h>

/* user:password of a proxy or provider */
#define BASIC_BYTES_MAX 1023U

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

void http_write_target_begin(struct http_write *write, struct slice method)
{
    if (!http_write_name_fits(method) || write->bytes > 0 || write->in_target) {
        fail(write, BK_INVALID);
    }
    write->in_target = true;
    put(write, method);
    put(write, SLICE(" "));
}

void http_write_target_text(struct http_write *write, struct slice text)
{
    if (!write->in_target || !target_fits(text)) {
        fail(write, BK_INVALID);
    }
    put(write, text);
}

void http_write_target_data(struct http_write *write, struct slice data)
{
    bool dots = slice_equal(data, SLICE(".")) || slice_equal(data, SLICE(".."));

    if (!write->in_target || dots) {
        fail(write, BK_INVALID);
    }
    for (size_t i = 0; i < data.bytes && write->err == BK_OK; i++) {
        char text[3];
        put(write, slice_of(text, percent_encode(slice_of(data.at + i, 1), text)));
    }
}

void http_write_target_end(struct http_write *write, const struct http_origin *origin)
{
    char host[URL_AUTHORITY_BYTES_MAX];
    size_t space = slice_find(slice_of(write->at, write->bytes), ' ');
    size_t host_bytes = url_authority(origin->host, origin->port, origin->tls, false, host);

    if (!write->in_target || space + 1 >= write->bytes || write->at[space + 1] != '/') {
        fail(write, BK_INVALID);
    }
    write->in_target = false;
    put(write, SLICE(" HTTP/1.1\r\n"));
    http_write_header(write, SLICE("Host"), slice_of(host, host_bytes));
}

void http_write_request(struct http_write *write, struct slice method,
                        const struct http_origin *origin, struct slice path, struct slice query)
{
    if ((query.bytes > 0 && query.at[0] != '?') || slice_find(path, '?') < path.bytes) {
        fail(write, BK_INVALID);
    }
    http_write_target_begin(write, method);
    http_write_target_text(write, path);
    http_write_target_text(write, query);
    http_write_target_end(write, origin);
}

/* ---- header lines */

void http_write_header(struct http_write *write, struct slice name, struct slice value)
{
    if (write->in_target || !http_write_name_fits(name) || !http_write_value_fits(value)) {
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

void http_write_header_basic(struct http_write *write, struct slice name, struct slice user,
                             struct slice password)
{
    uint8_t plain[BASIC_BYTES_MAX];
    char value[6 + BASE64_ENCODED(BASIC_BYTES_MAX)] = "Basic ";
    size_t bytes = user.bytes + 1 + password.bytes;

    if (user.bytes > sizeof plain || password.bytes > sizeof plain || bytes > sizeof plain ||
        slice_find(user, ':') < user.bytes) {
        fail(write, BK_INVALID);
        return;
    }
    if (user.bytes > 0) {
        memcpy(plain, user.at, user.bytes);
    }
    plain[user.bytes] = ':';
    if (password.bytes > 0) {
        memcpy(plain + user.bytes + 1, password.at, password.bytes);
    }
    size_t value_bytes = 6 + base64_encode(plain, bytes, BASE64_STANDARD, value + 6);
    http_write_header(write, name, slice_of(value, value_bytes));
    bk_wipe(plain, sizeof plain);
    bk_wipe(value, sizeof value);
}

enum bk_err http_write_end(struct http_write *write, struct slice *ret_head)
{
    if (write->in_target || write->bytes == 0) {
        fail(write, BK_INVALID);
    }
    put(write, SLICE("\r\n"));
    if (write->err == BK_OK) {
        *ret_head = slice_of(write->at, write->bytes);
    }
    return write->err;
}
