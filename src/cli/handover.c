#include "cli/handover.h"

#include "base/log.h"
#include "ring/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST_INHERITED 3
#define GREETING        "becket take-over 2\n"
#define TAKEN           "!" /* by who asked, when it has the sockets: who gave up meanwhile … */
#define GONE            "." /* … ends nobody. The answer to that: the old one ends now */
#define SOCKET_NAME     "becket.sock"
#define PATIENCE_S      5
#define SHORT_OF_US     100000U

static void add(struct control_sockets *sockets, int socket, bool admin)
{
    if (admin) {
        sockets->admin[sockets->admin_count++] = socket;
    } else {
        sockets->ingress[sockets->ingress_count++] = socket;
    }
}

/* ---- from the service manager */

/* The n-th of "a:b:c". */
static struct slice name_of(const char *names, int n)
{
    struct slice rest = names ? slice_str(names) : SLICE_EMPTY;
    for (; n > 0 && rest.bytes; n--) {
        rest = slice_skip(rest, slice_find(rest, ':') + 1);
    }
    return slice_of(rest.at, slice_find(rest, ':'));
}

static bool same_port(const struct ring_address *one, const struct ring_address *two)
{
    return one->port == two->port && one->family == two->family;
}

static bool take_inherited(int count, const char *names, const struct ring_address *admin,
                           struct control_sockets *sockets, char *ret_why)
{
    for (int i = 0; i < count; i++) {
        int socket = FIRST_INHERITED + i;
        struct ring_address address;
        struct slice name = name_of(names, i);
        if (socket_address(socket, &address) != BK_OK) {
            snprintf(ret_why, HANDOVER_WHY_BYTES,
                     "LISTEN_FDS: descriptor %d is no listening TCP socket; use ListenStream= with "
                     "Accept=no",
                     socket);
            return false;
        }
        (void)fcntl(socket, F_SETFD, FD_CLOEXEC);
        bool named = slice_equal(name, SLICE("admin")) || slice_equal(name, SLICE("ingress"));
        add(sockets, socket,
            named ? slice_equal(name, SLICE("admin")) : same_port(&address, admin));
    }
    return true;
}

bool handover_inherit(const struct ring_address *admin, struct control_sockets *ret_sockets,
                      char ret_why[HANDOVER_WHY_BYTES])
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    long count = fds ? strtol(fds, NULL, 10) : 0;
    bool good = true;
    if (pid && strtol(pid, NULL, 10) == (long)getpid() && count > 0) {
        if (count > (long)CORES_MAX) {
            snprintf(ret_why, HANDOVER_WHY_BYTES, "LISTEN_FDS: at most %u sockets", CORES_MAX);
            good = false;
        } else {
            good =
                take_inherited((int)count, getenv("LISTEN_FDNAMES"), admin, ret_sockets, ret_why);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return good;
}

/* ---- one message with descriptors: how many are the ingress's, how many the admin's */

struct parcel {
    char greeting[sizeof GREETING - 1];
    uint8_t ingress_count;
    uint8_t admin_count;
};

union control_space {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(2 * CORES_MAX * sizeof(int))];
};

static bool parcel_send(int peer, const struct control_sockets *sockets)
{
    struct parcel parcel = {.ingress_count = (uint8_t)sockets->ingress_count,
                            .admin_count = (uint8_t)sockets->admin_count};
    memcpy(parcel.greeting, GREETING, sizeof parcel.greeting);
    unsigned count = sockets->ingress_count + sockets->admin_count;
    union control_space space = {.bytes = {0}};
    struct iovec vector = {&parcel, sizeof parcel};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), sockets->ingress, sockets->ingress_count * sizeof(int));
    memcpy(CMSG_DATA(header) + sockets->ingress_count * sizeof(int), sockets->admin,
           sockets->admin_count * sizeof(int));
    return sendmsg(peer, &message, MSG_NOSIGNAL) == (ssize_t)sizeof parcel;
}

static bool parcel_receive(int peer, struct control_sockets *sockets)
{
    struct parcel parcel = {.ingress_count = 0};
    union control_space space;
    struct iovec vector = {&parcel, sizeof parcel};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = space.bytes,
                             .msg_controllen = sizeof space.bytes};
    ssize_t bytes;
    do {
        errno = 0;
        bytes = recvmsg(peer, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    } while (bytes < 0 && errno == EINTR); /* the kernel's own work may interrupt, too */
    struct cmsghdr *header = bytes > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    unsigned wanted = (unsigned)parcel.ingress_count + parcel.admin_count;
    if (bytes != (ssize_t)sizeof parcel || !header || header->cmsg_type != SCM_RIGHTS ||
        memcmp(parcel.greeting, GREETING, sizeof parcel.greeting) != 0 || wanted == 0 ||
        parcel.ingress_count > CORES_MAX || parcel.admin_count > CORES_MAX ||
        header->cmsg_len != CMSG_LEN(wanted * sizeof(int))) {
        return false;
    }
    for (unsigned i = 0; i < wanted; i++) {
        int socket;
        memcpy(&socket, CMSG_DATA(header) + i * sizeof(int), sizeof socket);
        add(sockets, socket, i >= parcel.ingress_count);
    }
    return true;
}

/* ---- the address: below the directory's descriptor, for the name of a socket may have 107 bytes
 * only */

static socklen_t address_in(int directory, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "/proc/self/fd/%d/" SOCKET_NAME,
             directory);
    return sizeof *ret_address;
}

static bool peer_is_ours(int peer)
{
    struct ucred who;
    socklen_t bytes = sizeof who;
    return getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 &&
           (who.uid == geteuid() || who.uid == 0);
}

/* The other side's word, which is one byte. */
static bool hears(int peer)
{
    char byte;
    ssize_t bytes;
    do {
        errno = 0;
        bytes = recv(peer, &byte, 1, 0);
    } while (bytes < 0 && errno == EINTR);
    return bytes == 1;
}

static void be_patient(int peer)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    (void)setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

/* NULL: connected; else why not, which may be errno's text. */
static const char *reach(int peer, int directory)
{
    struct sockaddr_un address;
    if (directory < 0 || peer < 0) {
        return strerror(errno);
    }
    be_patient(peer);
    socklen_t bytes = address_in(directory, &address);
    if (connect(peer, (struct sockaddr *)&address, bytes) != 0) {
        return strerror(errno);
    }
    return peer_is_ours(peer) ? NULL : "it is another user's";
}

/* The sockets, both sides knowing it. */
static bool fetch(int peer, struct control_sockets *ret_sockets)
{
    return send(peer, GREETING, sizeof GREETING - 1, MSG_NOSIGNAL) ==
               (ssize_t)sizeof GREETING - 1 &&
           parcel_receive(peer, ret_sockets) && send(peer, TAKEN, 1, MSG_NOSIGNAL) == 1 &&
           hears(peer);
}

/* Also the other end of a connection that was cut: a stop begins by hearing nobody any more. */
static bool is_deaf(int directory)
{
    struct sockaddr_un address;
    socklen_t bytes = address_in(directory, &address);
    int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool deaf = peer >= 0 && directory >= 0 &&
                connect(peer, (struct sockaddr *)&address, bytes) != 0 &&
                (errno == ECONNREFUSED || errno == ENOENT);
    if (peer >= 0) {
        close(peer);
    }
    return deaf;
}

enum handover handover_ask(const char *data_directory, struct control_sockets *ret_sockets,
                           char ret_why[HANDOVER_WHY_BYTES])
{
    int directory = open(data_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *why = reach(peer, directory);
    if (!why && !fetch(peer, ret_sockets)) {
        why = errno == EAGAIN ? "no answer in time"
              : errno != 0    ? strerror(errno)
                              : "no sockets came; it is of another version, or already stopping";
    }
    enum handover answer = !why                 ? HANDOVER_TAKEN
                           : is_deaf(directory) ? HANDOVER_NOBODY
                                                : HANDOVER_REFUSED;
    if (why) {
        snprintf(ret_why, HANDOVER_WHY_BYTES,
                 "the server on %.120s does not hand over (" SOCKET_NAME
                 ": %s); stop it, or let it end",
                 data_directory, why);
    }
    if (peer >= 0) {
        close(peer);
    }
    if (directory >= 0) {
        close(directory);
    }
    return answer;
}

/* ---- answering */

static struct {
    pthread_mutex_t lock;
    bool over;
    int listener;
    const struct control_sockets *sockets;
    struct control *control;
} offer = {.lock = PTHREAD_MUTEX_INITIALIZER, .listener = -1};

/* The sockets are open as long as the offer is. */
static bool give(int peer)
{
    pthread_mutex_lock(&offer.lock);
    bool given = !offer.over && parcel_send(peer, offer.sockets);
    pthread_mutex_unlock(&offer.lock);
    given = given && hears(peer);
    pthread_mutex_lock(&offer.lock);
    given = given && !offer.over; /* a stop may have come */
    offer.over |= given;
    pthread_mutex_unlock(&offer.lock);
    if (given) {
        (void)send(peer, GONE, 1, MSG_NOSIGNAL);
    }
    return given;
}

static bool greeted(int peer)
{
    char text[sizeof GREETING - 1];
    return recv(peer, text, sizeof text, MSG_WAITALL) == (ssize_t)sizeof text &&
           memcmp(text, GREETING, sizeof text) == 0;
}

static void *offer_main(void *context)
{
    (void)context;
    for (;;) {
        int peer = accept4(offer.listener, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0) {
            bool short_of = errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
                            errno == ENOBUFS; /* for a while */
            if (short_of) {
                (void)usleep(SHORT_OF_US);
            }
            if (short_of || errno == EINTR || errno == ECONNABORTED) {
                continue;
            }
            return NULL; /* also when it was shut down */
        }
        be_patient(peer);
        bool given = peer_is_ours(peer) && greeted(peer) && give(peer);
        close(peer);
        if (given) {
            handover_stop(); /* the next one asks who has them now */
            control_hand_over(offer.control);
            return NULL;
        }
    }
}

/* -1: ret_why says why. */
static int listen_in(const char *data_directory, char *ret_why)
{
    struct sockaddr_un address;
    int directory = open(data_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int listener = directory >= 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool good = listener >= 0;
    if (good) {
        socklen_t bytes = address_in(directory, &address);
        (void)unlinkat(directory, SOCKET_NAME, 0); /* of one that is gone: we have the lock */
        mode_t mask = umask(0177);
        good = bind(listener, (struct sockaddr *)&address, bytes) == 0 && listen(listener, 4) == 0;
        umask(mask);
    }
    if (!good) {
        int error = errno;
        bool no_proc = listener >= 0 && access("/proc/self/fd", F_OK) != 0;
        snprintf(ret_why, HANDOVER_WHY_BYTES, "%s",
                 no_proc ? "there is no /proc, by which " SOCKET_NAME " is reached"
                         : strerror(error));
    }
    if (directory >= 0) {
        close(directory);
    }
    if (!good && listener >= 0) {
        close(listener);
        listener = -1;
    }
    return listener;
}

bool handover_offer(const char *data_directory, const struct control_sockets *sockets,
                    struct control *control, char ret_why[HANDOVER_WHY_BYTES])
{
    pthread_t thread;
    int listener = listen_in(data_directory, ret_why);
    bool good = listener >= 0;
    if (good) {
        pthread_mutex_lock(&offer.lock); /* a stop may come at any time, on another thread */
        offer.listener = listener;
        offer.sockets = sockets;
        offer.control = control;
        pthread_mutex_unlock(&offer.lock);
        int error = pthread_create(&thread, NULL, offer_main, NULL);
        good = error == 0;
        if (good) {
            pthread_detach(thread);
        } else {
            snprintf(ret_why, HANDOVER_WHY_BYTES, "no thread for it: %s", strerror(error));
        }
    }
    if (!good && listener >= 0) {
        pthread_mutex_lock(&offer.lock);
        offer.listener = -1;
        pthread_mutex_unlock(&offer.lock);
        close(listener);
    }
    return good;
}

void handover_stop(void)
{
    pthread_mutex_lock(&offer.lock);
    offer.over = true;
    if (offer.listener >= 0) {
        (void)shutdown(offer.listener, SHUT_RDWR); /* wakes its thread */
    }
    pthread_mutex_unlock(&offer.lock);
}

void handover_end(const char *data_directory)
{
    char path[4096];
    handover_stop();
    if (offer.listener >= 0) {
        snprintf(path, sizeof path, "%s/" SOCKET_NAME, data_directory);
        (void)unlink(path);
    }
}
