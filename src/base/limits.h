/* limits.h - every fixed bound in one place. A number without its reason does not belong here. */
#ifndef BECKET_BASE_LIMITS_H
#define BECKET_BASE_LIMITS_H

/* Reactors; journal ids on disk may go to 1023. */
#define CORES_MAX 64U
/* Request line and headers; offsets fit in uint16_t. 431 beyond. */
#define HTTP_HEAD_BYTES_MAX 16384U
/* 414 beyond. */
#define HTTP_TARGET_BYTES_MAX 8192U
/* 431 beyond. */
#define HTTP_HEADERS_MAX 100U
/* Chunked trailers are read and dropped. */
#define HTTP_TRAILER_BYTES_MAX 8192U
/* A source's limit when it names none. */
#define BODY_BYTES_DEFAULT 1048576U
/* The largest limit a source may name; GitHub sends up to 25 MB. */
#define BODY_BYTES_MAX 33554432U
/* Rotation needs two. */
#define SECRETS_PER_SOURCE_MAX 8U
/* Unanswered requests of one connection before we stop reading it. */
#define PIPELINE_DEPTH_MAX 16U
/* One webhook almost always fits. */
#define RECV_BUFFER_BYTES 16384U
/* A power of two; 16 MiB of address space, resident as used. */
#define RECV_BUFFERS_PER_CORE 1024U
/* Resource names: 1 to 63 of a-z 0-9 -. */
#define NAME_BYTES_MAX 63U
/* Longer ids are hashed whole but reported cut. */
#define DELIVERY_ID_BYTES_MAX 255U
#define EVENT_TYPE_BYTES_MAX  255U

#endif
