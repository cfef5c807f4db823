/* event_type.h - the type of an event that stands in several places of its request. */
#ifndef BECKET_BASE_EVENT_TYPE_H
#define BECKET_BASE_EVENT_TYPE_H

#include "base/limits.h"
#include "base/slice.h"

/* Adds `part` to what is in `room`, `joint` between; what does not fit is cut. Gives the bytes. */
static inline size_t event_type_add(uint8_t room[EVENT_TYPE_BYTES_MAX], size_t bytes, uint8_t joint,
                                    struct slice part)
{
    if (bytes != 0 && bytes < EVENT_TYPE_BYTES_MAX) {
        room[bytes++] = joint;
    }
    size_t more = EVENT_TYPE_BYTES_MAX - bytes;
    more = part.bytes < more ? part.bytes : more;
    if (more != 0) {
        memcpy(room + bytes, part.at, more);
    }
    return bytes + more;
}

#endif
