/* verify.h - between the files that verify, and those that explain and sign. */
#ifndef BECKET_PROVIDERS_VERIFY_H
#define BECKET_PROVIDERS_VERIFY_H

#include "providers/place.h"

/* What a request says about its signature. Filled step by step; see scheme_read(). */
struct signature {
    uint8_t bytes[SIGNATURE_BYTES_MAX];
    uint16_t count; /* of LANE_PUBLIC_KEY */
    enum lane_kind lane;
};
struct reading {
    const struct scheme *scheme;
    const struct program *program;
    struct slice header;     /* text of the signature */
    struct slice timestamp;  /* as signed */
    int64_t timestamp_value; /* in the program's unit */
    struct slice id;
    unsigned signature_count;
    unsigned part_count;
    struct signature *signatures; /* SIGNATURES_MAX */
    struct slice *parts;          /* OPS_MAX, and one that does not count */
};

/* The scheme that is meant: of type auto, the one of the provider that the request looks like. NULL
 * = none of them. */
const struct scheme *scheme_resolve(const struct scheme *scheme, const struct http_head *head);
/* The same for a request that may be prepared. */
static inline const struct scheme *resolve(const struct scheme *scheme,
                                           const struct scheme_request *request)
{
    return request->slots.scheme != NULL ? request->slots.scheme
                                         : scheme_resolve(scheme, request->head);
}

/* The program for this request, which is prepared, as for all that follow. */
const struct program *scheme_select(const struct scheme *scheme,
                                    const struct scheme_request *request);
/* Everything up to the point where keys are needed. SCHEME_GENUINE means: go on. */
enum scheme_verdict scheme_read(const struct scheme *scheme, const struct program *program,
                                const struct scheme_request *request,
                                struct signature signatures[SIGNATURES_MAX],
                                struct slice parts[OPS_MAX + 1], struct reading *ret_reading);
/* Does one of the keys match? Returns its index, or -1. */
int scheme_match(const struct reading *reading);
/* The same for what a first key of HMAC-SHA-256 did not decide; `first_failed`: there was one. */
enum scheme_verdict scheme_match_others(bool first_failed, const struct scheme *scheme,
                                        const struct program *program,
                                        const struct signature *signatures,
                                        unsigned signature_count, struct slice *parts);
/* Those of program->made. */
enum scheme_verdict signed_text_make(const struct program *program,
                                     const struct scheme_request *request,
                                     struct slice parts[OPS_MAX]);
/* Does what the source configures besides secrets allow the sender? */
bool extra_allows(const struct scheme *scheme, const struct scheme_request *request);
/* The request has nothing where this program's signature would be in the body: what the ways behind
 * it say. */
enum scheme_verdict scheme_verify_next(const struct scheme *scheme, struct scheme_request *request,
                                       struct scheme_answer *ret_answer,
                                       const struct program *program);
/* Of programs that check no text. */
program_verify_fn verify_secret;
/* The secret in its places of what is hashed; empty again when that is done. */
static inline void parts_show_secret(const struct program *program, struct slice *parts,
                                     struct slice secret)
{
    for (unsigned rest = program->secrets; rest != 0; rest &= rest - 1) {
        parts[__builtin_ctz(rest)] = secret;
    }
}
/* A plain hash over parts. Gives its bytes. */
size_t hash_parts(enum hmac_algorithm algorithm, const struct slice *parts, unsigned part_count,
                  uint8_t ret_digest[HMAC_BYTES_MAX]);
/* "Scheme credentials": the scheme's name in any case, one blank. */
bool scheme_credentials(struct slice value, struct slice lower_scheme, struct slice *ret_rest);

#endif
