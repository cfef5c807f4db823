/* The implementation of socket.h, and what ring_uring.c shares with it. */
#include "ring/socket.h"

#include "ring/socket_os.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>

socklen_t address_to_os(const struct ring_address *address, struct sockaddr_storage *ret_os)
{
    memset(ret_os, 0, sizeof *ret_os);
    if (address->family == 6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_os;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(address->port);
        memcpy(&v6->sin6_addr, address->at, 16);
        return sizeof *v6;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_os;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address->port);
    memcpy(&v4->sin_addr, address->at, 4);
    return sizeof *v4;
}

struct ring_address address_from_os(const struct sockaddr_storage *os)
{
    struct ring_address address = {.family = 0};
    if (os->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)os;
        address.family = 4;
        address.port = ntohs(v4->sin_port);
        memcpy(address.at, &v4->sin_addr, 4);
    } else if (os->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)os;
        address.port = ntohs(v6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            address.family = 4;
            memcpy(address.at, v6->sin6_addr.s6_addr + 12, 4);
        } else {
            address.family = 6;
            memcpy(address.at, v6->sin6_addr.s6_addr, 16);
        }
    }
    return address;
}

enum bk_err socket_listen(struct ring_address *address, bool reuse_port, unsigned backlog,
                          int *ret_socket)
{
    struct sockaddr_storage os;
    socklen_t os_bytes = address_to_os(address, &os);
    int fd = socket(os.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return bk_err_from_errno(errno);
    }
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int rc = reuse_port ? setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) : 0;
    if (rc == 0) {
        rc = bind(fd, (struct sockaddr *)&os, os_bytes);
    }
    if (rc == 0) {
        rc = listen(fd, (int)backlog);
    }
    if (rc == 0) {
        rc = getsockname(fd, (struct sockaddr *)&os, &os_bytes);
    }
    if (rc != 0) {
        enum bk_err err = bk_err_from_errno(errno);
        close(fd);
        return err;
    }
    *address = address_from_os(&os);
    *ret_socket = fd;
    return BK_OK;
}

enum bk_err socket_address(int socket, struct ring_address *ret_address)
{
    struct sockaddr_storage os = {.ss_family = AF_UNSPEC};
    socklen_t os_bytes = sizeof os;
    int kind = 0, listening = 0;
    socklen_t kind_bytes = sizeof kind, listening_bytes = sizeof listening;
    if (getsockopt(socket, SOL_SOCKET, SO_TYPE, &kind, &kind_bytes) != 0 || kind != SOCK_STREAM ||
        getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_bytes) != 0 ||
        !listening || getsockname(socket, (struct sockaddr *)&os, &os_bytes) != 0) {
        return BK_INVALID;
    }
    *ret_address = address_from_os(&os);
    return ret_address->family ? BK_OK : BK_INVALID;
}

void socket_close(int socket)
{
    close(socket);
}

void socket_pause(unsigned ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}
