/* url_fuzz - any bytes as a URL: what is accepted is in its one normal form: written and parsed
 * again it is the same, and no byte of it can end a request line or a header. */
#include "base/assert.h"
#include "base/url.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bytes(const struct url *url)
{
    size_t host_bytes = strlen(url->host);
    bk_assert(host_bytes > 0 && host_bytes <= URL_HOST_BYTES_MAX && url->port != 0);
    for (size_t i = 0; i < host_bytes; i++) {
        uint8_t c = (uint8_t)url->host[i];
        bk_assert(c > 0x20 && c < 0x7f && c == ascii_lower(c));
        bk_assert(strchr("/?#@\\%[]", c) == NULL);
        bk_assert(c != ':' || url->host_kind == URL_HOST_IPV6);
    }
    bk_assert(url->host[host_bytes - 1] != '.');
    bk_assert(url->path.bytes > 0 && url->path.at[0] == '/');
    bk_assert(url->query.bytes == 0 || url->query.at[0] == '?');
    for (size_t i = 0; i < url->path.bytes; i++) {
        bk_assert(url->path.at[i] > 0x20 && url->path.at[i] < 0x7f && url->path.at[i] != '?');
    }
    for (size_t i = 0; i < url->query.bytes; i++) {
        bk_assert(url->query.at[i] > 0x20 && url->query.at[i] < 0x7f && url->query.at[i] != '#');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[URL_BYTES_MAX + URL_AUTHORITY_BYTES_MAX + 16];
    char authority[URL_AUTHORITY_BYTES_MAX];
    struct url url, again;
    const char *why = NULL;

    if (url_parse(slice_of(data, size), &url, &why) != BK_OK) {
        bk_assert(why != NULL);
        return 0;
    }
    check_bytes(&url);
    bk_assert(url_authority(url.host, url.port, url.tls, true, authority) == strlen(authority));
    int bytes = snprintf(text, sizeof text, "http%s://%s%.*s%.*s", url.tls ? "s" : "", authority,
                         (int)url.path.bytes, (const char *)url.path.at, (int)url.query.bytes,
                         (const char *)url.query.at);
    if ((size_t)bytes > URL_BYTES_MAX) { /* the address or the port grew longer */
        return 0;
    }
    bk_assert(url_parse(slice_of(text, (size_t)bytes), &again, &why) == BK_OK);
    bk_assert(again.tls == url.tls && again.port == url.port);
    bk_assert(again.host_kind == url.host_kind && strcmp(again.host, url.host) == 0);
    bk_assert(memcmp(again.address, url.address, sizeof url.address) == 0);
    bk_assert(slice_equal(again.path, url.path) && slice_equal(again.query, url.query));
    return 0;
}
