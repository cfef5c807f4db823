/* limits.h - every fixed bound in one place. A number without its reason does not belong here. */
#ifndef BECKET_BASE_LIMITS_H
#define BECKET_BASE_LIMITS_H

#define CORES_MAX 64U                     /* reactors; journal ids on disk may go to 1023 */
#define HTTP_HEAD_BYTES_MAX 16384U        /* request line + headers; offsets fit in uint16_t; 431 beyond */
#define HTTP_TARGET_BYTES_MAX 8192U       /* 414 beyond */
#define HTTP_HEADERS_MAX 100U             /* 431 beyond */
#define HTTP_TRAILER_BYTES_MAX 8192U      /* chunked trailers are read and dropped */
#define BODY_BYTES_DEFAULT 1048576U       /* a source's limit when it names none */
#define BODY_BYTES_MAX 33554432U          /* the largest limit a source may name (GitHub sends up to 25 MB) */
#define SECRETS_PER_SOURCE_MAX 8U         /* rotation needs two */
#define PIPELINE_DEPTH_MAX 16U            /* unanswered requests of one connection before we stop reading it */
#define RECV_BUFFER_BYTES 16384U          /* one webhook almost always fits */
#define RECV_BUFFERS_PER_CORE 1024U       /* power of two; 16 MiB of address space, resident as used */
#define NAME_BYTES_MAX 63U                /* resource names: 1-63 of a-z 0-9 - */
#define DELIVERY_ID_BYTES_MAX 255U        /* longer ids are hashed whole but reported cut */
#define EVENT_TYPE_BYTES_MAX 255U

#endif
