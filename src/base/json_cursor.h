/* json_cursor.h - a place in JSON text, for readers that go over it without building a tree. */
#ifndef BECKET_BASE_JSON_CURSOR_H
#define BECKET_BASE_JSON_CURSOR_H

#include "base/slice.h"

struct json_cursor {
    const uint8_t *at;
    const uint8_t *end;
};

static inline void json_skip_blank(struct json_cursor *c)
{
    while (c->at < c->end &&
           (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) {
        c->at++;
    }
}

#endif
