/* handover.h - listening sockets that come from another process, or go to one.
 *
 * Purpose     A restart that refuses no connection. Either the service manager holds the sockets
 *             (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES as sd_listen_fds(3) has them), or the running
 *             server hands them to the next one: `serve --take-over` asks at <data>/becket.sock,
 *             gets the sockets, says that it has them, and waits for the lock of the data directory
 *             while the old server answers what it has and goes. What connects meanwhile waits in
 *             the queue. Who asks and does not take them changes nothing.
 * Trust       Only processes of the same user, or root, are answered.
 */
#ifndef BECKET_CLI_HANDOVER_H
#define BECKET_CLI_HANDOVER_H

#include "control/control.h"

#define HANDOVER_WHY_BYTES 256U

/* Sockets of the service manager; none is fine. `admin` tells which are the admin listener's where
 * they have no names. False: ret_why says what is wrong with them. */
bool handover_inherit(const struct ring_address *admin, struct control_sockets *ret_sockets,
                      char ret_why[HANDOVER_WHY_BYTES]);
enum handover {
    HANDOVER_TAKEN,
    HANDOVER_NOBODY, /* nobody hears: it is stopping, or could not offer its sockets at its start */
    HANDOVER_REFUSED,
};
/* Ask the server that runs on this data directory. If not taken, ret_why says why. */
enum handover handover_ask(const char *data_directory, struct control_sockets *ret_sockets,
                           char ret_why[HANDOVER_WHY_BYTES]);

/* Answer the next one: a thread of its own, which calls control_hand_over() when it has given the
 * sockets away. They must not change any more. False: ret_why says why nobody will be answered. */
bool handover_offer(const char *data_directory, const struct control_sockets *sockets,
                    struct control *control, char ret_why[HANDOVER_WHY_BYTES]);
/* Nobody is answered any more, and the sockets may be closed. Any thread; touches no disk. */
void handover_stop(void);
/* The same, and its address is gone. May be called again. */
void handover_end(const char *data_directory);

#endif
