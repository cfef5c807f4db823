/* keys.h - every key of the store, with an example each. Nothing else builds keys.
 *
 * Numbers in keys and values are big-endian; names are 1-63 of a-z 0-9 - and end with a zero byte
 * where something follows, so keys of one canvas stand together and in order of name.
 *
 *   prefix   key                                        value
 *   "m/"     "m/format"                                 u32: STORE_FORMAT
 *            "m/revision"                               u64: last revision given to an object
 *            "m/number"                                 u64: last number given to an event source,
 *                                                       destination or route
 *            "m/uses"                                   "1": "R/" has what "r/" has
 *            "m/operation"                              u64: last number given to an operation
 *            "m/key"                                    data key, sealed under the master key
 *            "m/key-before"                             the data key before, sealed under that one,
 *                                                       while values are sealed under it
 *            "m/key-id"                                 8 hex digits, i64: which master key wraps,
 *                                                       and since when (store/master_key.h)
 *   "o/"     "o/E" "default\0" "payments"               the object (store/record.h); E, S, C = kind
 *   "i/"     "i/" 16 bytes of metadata.id               kind, canvas \0 name
 *   "n/"     "n/" u64 number                            canvas \0 name \0 type; kept for ever
 *   "N/"     "N/" u64 number                            kind, canvas \0 name of a destination or
 *                                                       route; kept for ever
 *   "P/"     "P/" u64 number                            why and since when (i64) it is paused
 *   "p/"     "p/" "payments"                            canvas \0 name of the source on it
 *   "r/"     "r/S" "default\0" "stripe\0" "E" "default\0" "payments"
 *                                                       wanted keys, each but the last with \0: the
 *                                                       source uses it; so for all references
 *   "R/"     "R/E" "default\0" "payments\0" "S" "default\0" "stripe"
 *                                                       empty: the same from the user's side
 *   "t/"     "t/" 32 bytes, SHA-256 of a token          token record (hub/resources/token.c)
 *   "T/"     "T/" "ci"                                  the token's hash, by name
 *   "c/"     "c/i" 16 bytes of its id                   its name; and
 *            "c/c" "red\0" "ci", "c/u" "alice\0" "laptop", "c/a" "admin"
 *                                                       empty: tokens of a canvas, of a user, of
 *                                                       role admin that are good everywhere
 *   "U/"     "U/" 16 bytes of a token's id              u64: when it was last used, to the hour
 *                                                       (hub/resources/token_use.h)
 *            "m/tokens"                                 "1": "c/" has all tokens
 *            "m/audit"                                  u64: last number given to an audit record
 *   "a/"     "a/" u64 number                            an audit record, JSON
 *                                                       (hub/resources/audit.c)
 *   "k/"     "k/" u64 number                            a key that signs tokens
 *                                                       (hub/keys/oidc_issuer.c)
 *   "q/"     "q/" u64 number                            an operation (hub/operations/operation.c)
 *   "Q/"     "Q/" i64 due time, u64 number              empty: it is to be done then
 *   "u/"     "u/" 16 bytes of metadata.id, u64 number   empty: it is for this object
 *   "O/"     "O/" "default\0" u64 number                empty: its object is in this canvas
 *   "z/"     "z/" "default\0" "hub\0" u64 number        u8 state, u8 intent: it is not done, or is
 *                                                       a check, at this integration
 *   "Z/"     "Z/" "default\0" "hub"                     u64: those of "z/" behind this number are
 *                                                       to be made due
 *            "m/operations"                             "1": "O/" and "z/" have what "q/" has
 *            "m/public-url"                             where providers were told to send, a text
 *            "m/leading"                                u64 number, u64 count, text: hooks of
 *                                                       operations behind this number are to be
 *                                                       led to this address; so many are
 *   "s/"     "s/" 16 bytes of metadata.id               status, where a provider has a part in
 *                                                       it: members of a JSON object
 *   "e/"     "e/" i64 due time, 16 bytes of id          empty: the token of this IntegrationUser is
 *                                                       to be renewed then
 *   "E/"     "E/" 16 bytes of metadata.id               i64: that time
 *   "f/"     "f/" 16 bytes of metadata.id               i64: a renewal of its token was
 *                                                       begun then, its outcome is not known
 *   "g/"     "g/" "default\0" "hub\0" "default\0" u64 ~updated "hub-7"
 *                                                       empty: an IntegrationUser of this
 *                                                       integration and canvas who has a token;
 *                                                       last changed, first
 *                                                       (hub/people/people_index.h)
 *   "h/"     "h/" "default\0" "hub\0" "u", 16 bytes of a hash "default\0" "hub-7"
 *                                                       empty: the same by uid (u), nickname (n),
 *                                                       mail address (e)
 *   "H/"     "H/" "default\0" "github\0" 16 bytes of a hash "hello"
 *                                                       empty: links of this type and repository
 *                                                       (hub/links/link_index.h)
 *   "Y/"     "Y/" "default\0" "core\0" "default\0" "chat"
 *                                                       empty: a link by which entries of this team
 *                                                       go out
 *   "I/"     "I/" "default\0" "github\0" "hub"          empty: integrations of this type
 *            "m/indexes"                                "1": these five have all objects
 *   "j/"     "j/" 32 bytes of hash                      a session of the pages
 *                                                       (hub/people/session.c)
 *   "J/"     "J/" 32 bytes of hash                      a sign-in that is under way, sealed
 *            "m/revocation"                             u64: last number given to a revocation
 *   "y/"     "y/" u64 number                            a token to be revoked (hub/people/people.c)
 *            "m/entry", "m/entries"                     u64: last number given to an entry; how far
 *                                                       events became entries
 *   "w/"     "w/" u64 number                            an entry, JSON (hub/links/entries.c)
 *   "W/"     "W/" 16 bytes of its id                    u64: its number
 *   "X/"     "X/t" "core\0" u64 ~number                 empty: entries of a team (t), user (u),
 *                                                       status (s), canvas (c); the newest first
 *            "m/entry-indexes"                          "1": "X/" has all entries
 *   "v/"     "v/" u64 number, u64 destination           empty: this entry is to become an event for
 *                                                       it (hub/links/outbox.h)
 *   "V/"     "V/" "default"                             u64: the source number of such events
 *   "d/"     "d/" u64 destination, i64 due ms, u64 position
 *                                                       a retry (hub/deliveries/dispatch_store.c)
 *   "b/"     "b/" u64 destination, u16 bucket           order per key: u64 position of the oldest
 *                                                       retry of it (hub/deliveries/order.h)
 *   "D/"     "D/" u64 destination                       u64: how many retries it has
 *   "x/"     "x/" u64 destination, u64 position         a dead letter
 *   "l/"     "l/" u64 destination, u16 journal          a lane's cursor and what is settled above
 *   "L/"     "L/" u16 journal                           u64: looked at by its core up to here
 *            "m/deliveries"                             u64: ms, the clock of due times when one
 *                                                       was kept last (hub/deliveries/dispatch.h)
 *            "m/clock"                                  i64, i64: the wall clock was set back, to
 *                                                       and from (hub/hub.h)
 */
#ifndef BECKET_STORE_KEYS_H
#define BECKET_STORE_KEYS_H

#include "base/assert.h"
#include "base/limits.h"
#include "base/slice.h"

#define KEY_FORMAT SLICE("m/format")
#define KEY_REVISION SLICE("m/revision")
#define KEY_NUMBER SLICE("m/number")
#define KEY_DATA_KEY SLICE("m/key")
#define KEY_DATA_KEY_BEFORE SLICE("m/key-before")
#define KEY_MASTER_KEY_ID SLICE("m/key-id")
#define KEY_USES SLICE("m/uses")
#define KEY_OPERATION_INDEXES SLICE("m/operations")
#define KEY_PUBLIC_URL SLICE("m/public-url")
#define KEY_LEADING SLICE("m/leading")
#define KEY_OBJECT_INDEXES SLICE("m/indexes")
#define KEY_TOKEN_INDEXES SLICE("m/tokens")
#define KEY_AUDIT_NUMBER SLICE("m/audit")
#define KEY_OPERATION_NUMBER SLICE("m/operation")
#define KEY_ENTRY_NUMBER SLICE("m/entry")
#define KEY_ENTRY_INDEXES SLICE("m/entry-indexes")
#define KEY_ENTRIES_CURSOR SLICE("m/entries")
#define KEY_DELIVERIES_CLOCK SLICE("m/deliveries")
#define KEY_CLOCK_SETS SLICE("m/clock")
#define KEY_REVOCATION_NUMBER SLICE("m/revocation")

/* Longest: a user by what it is called, 2 + 64 + 64 + 1 + 16 + 64 + 63. */
#define KEY_BYTES_MAX 300U

struct key {
    uint8_t at[KEY_BYTES_MAX];
    size_t bytes;
};

static inline struct slice key_slice(const struct key *key)
{
    return slice_of(key->at, key->bytes);
}

static inline void key_add(struct key *key, const void *at, size_t bytes)
{
    bk_assert(bytes <= KEY_BYTES_MAX - key->bytes);
    if (bytes > 0) {
        memcpy(key->at + key->bytes, at, bytes);
    }
    key->bytes += bytes;
}

static inline void key_start(struct key *key, char prefix)
{
    key->at[0] = (uint8_t)prefix;
    key->at[1] = '/';
    key->bytes = 2;
}

static inline void key_add_name(struct key *key, struct slice name)
{
    key_add(key, name.at, name.bytes);
    key_add(key, "", 1);
}

static inline void key_put_u64(uint8_t *at, uint64_t number)
{
    for (unsigned i = 0; i < 8; i++) {
        at[i] = (uint8_t)(number >> (56 - 8 * i));
    }
}

static inline uint64_t key_get_u64(const uint8_t *at)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < 8; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

/* All objects of a kind: "o/E". */
static inline void key_kind(struct key *key, uint8_t kind)
{
    key_start(key, 'o');
    key_add(key, &kind, 1);
}

/* All objects of a kind in a canvas: "o/E" "default\0". */
static inline void key_canvas(struct key *key, uint8_t kind, struct slice canvas)
{
    key_kind(key, kind);
    key_add_name(key, canvas);
}

static inline void key_object(struct key *key, uint8_t kind, struct slice canvas, struct slice name)
{
    key_canvas(key, kind, canvas);
    key_add(key, name.at, name.bytes);
}

static inline void key_id(struct key *key, const uint8_t id[16])
{
    key_start(key, 'i');
    key_add(key, id, 16);
}

static inline void key_number(struct key *key, uint64_t number)
{
    uint8_t at[8];
    key_put_u64(at, number);
    key_start(key, 'n');
    key_add(key, at, 8);
}

static inline void key_target(struct key *key, uint64_t number)
{
    uint8_t at[8];
    key_put_u64(at, number);
    key_start(key, 'N');
    key_add(key, at, 8);
}

static inline void key_pause(struct key *key, uint64_t number)
{
    key_target(key, number);
    key->at[0] = 'P';
}

static inline void key_path(struct key *key, struct slice path)
{
    key_start(key, 'p');
    key_add(key, path.at, path.bytes);
}

/* All users of an object. */
static inline void key_users(struct key *key, uint8_t kind, struct slice canvas, struct slice name)
{
    key_start(key, 'r');
    key_add(key, &kind, 1);
    key_add_name(key, canvas);
    key_add_name(key, name);
}

/* user_kind, user_canvas, user_name uses the object that key_users() names. */
static inline void key_add_user(struct key *users, uint8_t user_kind, struct slice user_canvas,
                                struct slice user_name)
{
    key_add(users, &user_kind, 1);
    key_add_name(users, user_canvas);
    key_add(users, user_name.at, user_name.bytes);
}

/* All that an object uses, and one of it. */
static inline void key_uses(struct key *key, uint8_t kind, struct slice canvas, struct slice name)
{
    key_start(key, 'R');
    key_add(key, &kind, 1);
    key_add_name(key, canvas);
    key_add_name(key, name);
}

static inline void key_add_used(struct key *uses, uint8_t used_kind, struct slice used_canvas,
                                struct slice used_name)
{
    key_add_user(uses, used_kind, used_canvas, used_name);
}

static inline void key_token_use(struct key *key, const uint8_t id[16])
{
    key_start(key, 'U');
    key_add(key, id, 16);
}

static inline void key_token(struct key *key, const uint8_t hash[32])
{
    key_start(key, 't');
    key_add(key, hash, 32);
}

static inline void key_token_name(struct key *key, struct slice name)
{
    key_start(key, 'T');
    key_add(key, name.at, name.bytes);
}

/* An index of tokens: by 'i'd, 'c'anvas, 'u'ser, or all 'a'dministrators' of the server. */
static inline void key_tokens_by(struct key *key, char by)
{
    key_start(key, 'c');
    key_add(key, &by, 1);
}

static inline void key_add_u64(struct key *key, uint64_t number)
{
    uint8_t at[8];
    key_put_u64(at, number);
    key_add(key, at, 8);
}

static inline void key_operation(struct key *key, uint64_t number)
{
    key_start(key, 'q');
    key_add_u64(key, number);
}

/* Everything that is due: "Q/". Times after 1970 only, so their order is that of their bytes. */
static inline void key_operations_due(struct key *key)
{
    key_start(key, 'Q');
}

static inline void key_operation_due(struct key *key, int64_t due_ns, uint64_t number)
{
    key_operations_due(key);
    key_add_u64(key, (uint64_t)due_ns);
    key_add_u64(key, number);
}

/* All operations whose object is in a canvas, and one of them. */
static inline void key_operations_in(struct key *key, struct slice canvas)
{
    key_start(key, 'O');
    key_add_name(key, canvas);
}

static inline void key_operation_in(struct key *key, struct slice canvas, uint64_t number)
{
    key_operations_in(key, canvas);
    key_add_u64(key, number);
}

/* All that waits at an integration, and one of it. */
static inline void key_waiting_at(struct key *key, struct slice canvas, struct slice integration)
{
    key_start(key, 'z');
    key_add_name(key, canvas);
    key_add_name(key, integration);
}

static inline void key_waiting(struct key *key, struct slice canvas, struct slice integration,
                               uint64_t number)
{
    key_waiting_at(key, canvas, integration);
    key_add_u64(key, number);
}

static inline void key_resume(struct key *key, struct slice canvas, struct slice integration)
{
    key_start(key, 'Z');
    key_add_name(key, canvas);
    key_add(key, integration.at, integration.bytes);
}

static inline void key_status(struct key *key, const uint8_t id[16])
{
    key_start(key, 's');
    key_add(key, id, 16);
}

static inline void key_operations_of(struct key *key, const uint8_t object[16])
{
    key_start(key, 'u');
    key_add(key, object, 16);
}

static inline void key_operation_of(struct key *key, const uint8_t object[16], uint64_t number)
{
    key_operations_of(key, object);
    key_add_u64(key, number);
}

/* Everything that is to be renewed: "e/". */
static inline void key_renewal(struct key *key, int64_t due_ns, const uint8_t id[16])
{
    key_start(key, 'e');
    key_add_u64(key, (uint64_t)due_ns);
    key_add(key, id, 16);
}

static inline void key_renewal_of(struct key *key, const uint8_t id[16])
{
    key_start(key, 'E');
    key_add(key, id, 16);
}

static inline void key_renewal_begun(struct key *key, const uint8_t id[16])
{
    key_start(key, 'f');
    key_add(key, id, 16);
}

/* ---- indexes of objects; "canvas \0 name" of the object is behind them (key_add_address) */

static inline void key_add_address(struct key *key, struct slice canvas, struct slice name)
{
    key_add_name(key, canvas);
    key_add(key, name.at, name.bytes);
}

/* Users with a token of an integration, those of a canvas, the one that changed last first. */
static inline void key_signed_in(struct key *key, struct slice canvas, struct slice integration,
                                 struct slice own)
{
    key_start(key, 'g');
    key_add_name(key, canvas);
    key_add_name(key, integration);
    key_add_name(key, own);
}

/* Users of an integration by what they are called there. */
static inline void key_called(struct key *key, struct slice canvas, struct slice integration,
                              char by, const uint8_t hash[16])
{
    key_start(key, 'h');
    key_add_name(key, canvas);
    key_add_name(key, integration);
    key_add(key, &by, 1);
    key_add(key, hash, 16);
}

/* All links of a type in a canvas; then those of a repository; then a name. */
static inline void key_links(struct key *key, struct slice canvas, struct slice type)
{
    key_start(key, 'H');
    key_add_name(key, canvas);
    key_add_name(key, type);
}

static inline void key_links_to(struct key *key, struct slice canvas, struct slice type,
                                const uint8_t repository[16])
{
    key_links(key, canvas, type);
    key_add(key, repository, 16);
}

/* All links by which entries of a team go out; then their addresses. */
static inline void key_ways_out(struct key *key, struct slice canvas, struct slice team)
{
    key_start(key, 'Y');
    key_add_name(key, canvas);
    key_add_name(key, team);
}

/* All integrations of a type in a canvas; then a name. */
static inline void key_integrations(struct key *key, struct slice canvas, struct slice type)
{
    key_start(key, 'I');
    key_add_name(key, canvas);
    key_add_name(key, type);
}

static inline void key_entry(struct key *key, uint64_t number)
{
    key_start(key, 'w');
    key_add_u64(key, number);
}

/* Entries by 't'eam, 'u'ser, 's'tatus, 'c'anvas; behind it ~number, so the newest are first. */
static inline void key_entries_by(struct key *key, char by, struct slice text)
{
    key_start(key, 'X');
    key_add(key, &by, 1);
    key_add_name(key, text);
}

static inline void key_entry_id(struct key *key, const uint8_t id[16])
{
    key_start(key, 'W');
    key_add(key, id, 16);
}

static inline void key_outbox(struct key *key, uint64_t number, uint64_t destination)
{
    key_start(key, 'v');
    key_add_u64(key, number);
    key_add_u64(key, destination);
}

static inline void key_entry_source(struct key *key, struct slice canvas)
{
    key_start(key, 'V');
    key_add(key, canvas.at, canvas.bytes);
}

static inline void key_revocation(struct key *key, uint64_t number)
{
    key_start(key, 'y');
    key_add_u64(key, number);
}

/* ---- deliveries. Positions as journal_position_pack() makes them. */

/* All rows of a destination under a prefix. */
static inline void key_of_destination(struct key *key, char prefix, uint64_t destination)
{
    key_start(key, prefix);
    key_add_u64(key, destination);
}

static inline void key_retry(struct key *key, uint64_t destination, uint64_t due_ms,
                             uint64_t position)
{
    key_of_destination(key, 'd', destination);
    key_add_u64(key, due_ms);
    key_add_u64(key, position);
}

static inline void key_retry_count(struct key *key, uint64_t destination)
{
    key_of_destination(key, 'D', destination);
}

static inline void key_dead(struct key *key, uint64_t destination, uint64_t position)
{
    key_of_destination(key, 'x', destination);
    key_add_u64(key, position);
}

static inline void key_add_u16(struct key *key, uint16_t number)
{
    uint8_t at[2] = {(uint8_t)(number >> 8), (uint8_t)number};
    key_add(key, at, sizeof at);
}

static inline void key_lane(struct key *key, uint64_t destination, uint16_t journal)
{
    key_of_destination(key, 'l', destination);
    key_add_u16(key, journal);
}

static inline void key_bucket(struct key *key, uint64_t destination, uint16_t bucket)
{
    key_of_destination(key, 'b', destination);
    key_add_u16(key, bucket);
}

static inline void key_through(struct key *key, uint16_t journal)
{
    key_start(key, 'L');
    key_add_u16(key, journal);
}

#endif
