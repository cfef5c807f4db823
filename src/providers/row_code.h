/* row_code.h - what no row can say: functions that rows of ROW_CODE name. */
#ifndef BECKET_PROVIDERS_ROW_CODE_H
#define BECKET_PROVIDERS_ROW_CODE_H

#include "providers/program.h"

row_verify_fn jwt_verify, sns_verify, paypal_verify, http_signature_verify, adyen_verify,
    contentful_verify;
/* A token by itself, against a row of an issuer and an audience: signature, both of these, times,
 * the row's claims. */
enum scheme_verdict jwt_check(const struct scheme_row *row, const struct scheme_request *request,
                              struct slice text);
/* The other direction: what stands where the row looks for the token; else header lines. */
enum bk_err jwt_sign(const struct scheme *scheme, const struct program *program,
                     const struct scheme_send *send, struct slice body, struct buf *ret_value);
enum bk_err http_signature_sign(const struct scheme *scheme, const struct program *program,
                                const struct scheme_send *send, struct slice body,
                                struct buf *headers);
/* The body becomes a notification whose message is what `body` holds. */
enum bk_err sns_sign(const struct scheme *scheme, const struct program *program,
                     const struct scheme_send *send, struct buf *body, struct buf *headers);
enum bk_err paypal_sign(const struct scheme *scheme, const struct program *program,
                        const struct scheme_send *send, struct slice body, struct buf *headers);
enum bk_err contentful_sign(const struct scheme *scheme, const struct program *program,
                            const struct scheme_send *send, struct slice body, struct buf *headers);

#endif
