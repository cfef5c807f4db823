/* trouble.h - what is wrong with an object, in one line; for `get` and `status`. */
#ifndef BECKET_CLI_TROUBLE_H
#define BECKET_CLI_TROUBLE_H

#include "base/buf.h"
#include "base/json.h"

/* Each adds to `text`; nothing where all is well. `object` as the API has it. */
/* Of what becket keeps at a provider: "what is wrong; what to do". */
void trouble_advice(struct buf *text, yyjson_mut_val *object);
/* Of an EventSource also what its sender did wrong last, until one is accepted. */
void trouble_of_source(struct buf *text, yyjson_mut_val *object);
/* Of a Destination why it is paused, else why the last delivery failed; and how many wait. */
void trouble_of_destination(struct buf *text, yyjson_mut_val *object);

#endif
