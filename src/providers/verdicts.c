/* Verdicts in words. */
#include "providers/scheme.h"

static const struct {
    const char *name, *text;
} verdicts[SCHEME_VERDICT_COUNT] = {
    [SCHEME_GENUINE] = {"genuine", "the request is genuine"},
    [SCHEME_HANDSHAKE] = {"handshake", "the provider is setting the hook up; answered, not stored"},
    [SCHEME_SIGNATURE_MISSING] = {"signature_missing",
                                  "the signature header is missing or empty: does the sender have "
                                  "a secret configured?"},
    [SCHEME_SIGNATURE_MALFORMED] = {"signature_malformed",
                                    "the signature header does not look as this provider writes "
                                    "it: is the source of the right type?"},
    [SCHEME_SIGNATURE_DOUBLED] = {"signature_doubled",
                                  "a header that takes part in the signature is there twice"},
    [SCHEME_SIGNATURE_WRONG] = {"signature_wrong",
                                "no configured secret matches: another secret, or the body was "
                                "changed on its way"},
    [SCHEME_TIMESTAMP_MISSING] = {"timestamp_missing", "the timestamp is missing"},
    [SCHEME_TIMESTAMP_MALFORMED] = {"timestamp_malformed",
                                    "the timestamp is not written as this provider writes it"},
    [SCHEME_STALE] = {"stale", "the signature is right but too old: a delayed or repeated request, "
                               "or a wrong clock"},
    [SCHEME_FUTURE] = {"future", "the signature is right but from the future: compare the clocks"},
    [SCHEME_ID_MISSING] = {"id_missing", "the delivery id, which is part of what is signed, is "
                                         "missing"},
    [SCHEME_BODY_MALFORMED] = {"body_malformed",
                               "the request is not what its provider sends, or too large to check"},
    [SCHEME_KEY_WANTED] = {"key_wanted", "the sender's key has to be fetched first"},
    [SCHEME_KEY_UNAVAILABLE] = {"key_unavailable",
                                "the sender's key cannot be fetched now, so the signature cannot "
                                "be checked"},
    [SCHEME_KEY_UNKNOWN] = {"key_unknown", "signed with a key that its issuer does not publish, or "
                                           "that lies on a host that is not the provider's"},
    [SCHEME_TOKEN_EXPIRED] = {"token_expired", "the token is genuine but has expired"},
    [SCHEME_TOKEN_EARLY] = {"token_early",
                            "the token is genuine but not valid yet: compare the clocks"},
    [SCHEME_CLAIM_WRONG] = {"claim_wrong",
                            "issuer, audience or another claim of the token is not the one wanted"},
    [SCHEME_DIGEST_WRONG] = {"digest_wrong", "the body is not the one whose digest was signed"},
    [SCHEME_SENDER_REFUSED] = {"sender_refused",
                               "genuine, but from a sender that this source does not name"},
    [SCHEME_HANDSHAKE_REFUSED] = {"handshake_refused",
                                  "who sets the hook up shows another verifyToken, or comes from "
                                  "an origin that is not allowed"},
    [SCHEME_ADDRESS_REFUSED] = {"address_refused",
                                "the sender's address is not in the source's allow list"},
    [SCHEME_NO_SECRET_YET] = {"no_secret_yet",
                              "the provider has not yet brought the secret it signs with"},
    [SCHEME_TYPE_UNKNOWN] = {"type_unknown", "the request looks like no provider that this source "
                                             "has a secret for"},
};

const char *scheme_verdict_text(enum scheme_verdict verdict)
{
    bool known = (unsigned)verdict < SCHEME_VERDICT_COUNT && verdicts[verdict].text != NULL;
    return known ? verdicts[verdict].text : "unknown";
}

const char *scheme_verdict_name(enum scheme_verdict verdict)
{
    bool known = (unsigned)verdict < SCHEME_VERDICT_COUNT && verdicts[verdict].name != NULL;
    return known ? verdicts[verdict].name : "unknown";
}
