#include "api/route.h"

#include "base/assert.h"

static const struct api_param list_params[] = {
    {"canvas", API_PARAM_TEXT, "canvas to list; `default` when absent", NULL},
    {"limit", API_PARAM_LIMIT, "items of a page", NULL},
    {"cursor", API_PARAM_TEXT, "`next` of the page before", NULL},
    {0},
};
static const struct api_param reset_params[] = {
    {"canvas", API_PARAM_TEXT, "canvas the source is in; `default` when absent", NULL},
    {"now", API_PARAM_FLAG,
     "refuse the key before at once; else it is accepted until the next reset", NULL},
    {0},
};
static const struct api_param operation_params[] = {
    {"canvas", API_PARAM_TEXT, "canvas of the objects; all when absent", NULL},
    {"limit", API_PARAM_LIMIT, "items of a page", NULL},
    {"cursor", API_PARAM_TEXT, "`next` of the page before", NULL},
    {0},
};
static const struct api_param entry_params[] = {
    {"canvas", API_PARAM_TEXT, "canvas of the links; all when absent", NULL},
    {"team", API_PARAM_TEXT, "of this team", NULL},
    {"user", API_PARAM_TEXT, "of this user", NULL},
    {"status", API_PARAM_CHOICE, "with this status", "done|goal|blocked"},
    {"limit", API_PARAM_LIMIT, "items of a page", NULL},
    {"cursor", API_PARAM_TEXT, "`next` of the page before", NULL},
    {0},
};
static const struct api_param entry_create_params[] = {
    {"canvas", API_PARAM_TEXT, "canvas of the team; `default` when absent", NULL},
    {0},
};
/* For what is in no canvas. */
static const struct api_param page_params[] = {
    {"limit", API_PARAM_LIMIT, "items of a page", NULL},
    {"cursor", API_PARAM_TEXT, "`next` of the page before", NULL},
    {0},
};
static const struct api_param canvas_params[] = {
    {"canvas", API_PARAM_TEXT, "canvas the object is in; `default` when absent", NULL},
    {0},
};
static const struct api_param apply_params[] = {
    {"dryRun", API_PARAM_FLAG, "check and compare, change nothing", NULL},
    {"prune", API_PARAM_FLAG,
     "also delete objects of the given kinds and canvases that the documents do not name", NULL},
    {"delete", API_PARAM_FLAG,
     "delete what the documents name instead; what is not there is fine. What has the action "
     "`waiting` is there until its hooks at the provider are removed: ask again",
     NULL},
    {"canvas", API_PARAM_TEXT, "canvas of documents that name none; `default` when absent", NULL},
    {0},
};
static const struct api_param audit_params[] = {
    {"since", API_PARAM_TIME,
     "made at or after: RFC 3339, a day (UTC), unix seconds, or a duration before now", NULL},
    {"until", API_PARAM_TIME, "made before", NULL},
    {"kind", API_PARAM_TEXT, "only of objects of this kind; also Token, Entry, Event, Session",
     NULL},
    {"name", API_PARAM_TEXT, "only of objects of this name", NULL},
    {"actor", API_PARAM_TEXT, "only by the token of this name", NULL},
    {"limit", API_PARAM_LIMIT, "items of a page", NULL},
    {"cursor", API_PARAM_TEXT,
     "`next` of the page before, with the same query; a page may have fewer items and a `next`",
     NULL},
    {0},
};
static const struct api_param event_params[] = {
    {"source", API_PARAM_TEXT, "name of the event source; deleted ones are found too", NULL},
    {"canvas", API_PARAM_TEXT, "canvas of the event source; all when absent", NULL},
    {"type", API_PARAM_TEXT, "event type as the provider names it; invoice.*: all that begin so",
     NULL},
    {"delivery", API_PARAM_TEXT, "the id that the provider gave to its delivery", NULL},
    {"state", API_PARAM_CHOICE, "state of the event", "accepted|rejected|duplicate"},
    {"since", API_PARAM_TIME,
     "received at or after: RFC 3339, a day (UTC), unix seconds, or a duration before now", NULL},
    {"until", API_PARAM_TIME, "received before", NULL},
    {"order", API_PARAM_CHOICE,
     "desc: newest first. asc: oldest first; `next` is then always there and continues with what "
     "comes later, without a gap",
     "desc|asc"},
    {"limit", API_PARAM_LIMIT, "items of a page", NULL},
    {"cursor", API_PARAM_TEXT, "`next` of the page before, with the same order", NULL},
    {0},
};

static const struct api_param stream_params[] = {
    {"source", API_PARAM_TEXT, "name of the event source", NULL},
    {"canvas", API_PARAM_TEXT, "canvas of the event source; all when absent", NULL},
    {"type", API_PARAM_TEXT, "event type as the provider names it; invoice.*: all that begin so",
     NULL},
    {"state", API_PARAM_CHOICE, "state of the event", "accepted|rejected|duplicate"},
    {"since", API_PARAM_TIME, "begin here; now when absent", NULL},
    {0},
};
static const struct api_param delivery_params[] = {
    {"destination", API_PARAM_TEXT, "name of the destination", NULL},
    {"canvas", API_PARAM_TEXT,
     "only to destinations in this canvas; absent: in all, and `destination` is one of `default`",
     NULL},
    {"event", API_PARAM_TEXT, "id of the event", NULL},
    {"state", API_PARAM_CHOICE,
     "pending: will be tried again. dead: given up. Else tries that were made, newest first",
     "pending|delivered|failed|dead"},
    {"since", API_PARAM_TIME, "the try ended at or after", NULL},
    {"until", API_PARAM_TIME, "the try ended before", NULL},
    {"limit", API_PARAM_LIMIT, "items of a page", NULL},
    {"cursor", API_PARAM_TEXT, "`next` of the page before, with the same query", NULL},
    {0},
};
static const struct api_param replay_event_params[] = {
    {"to", API_PARAM_TEXT, "only to this destination; else to where routes lead now", NULL},
    {"canvas", API_PARAM_TEXT, "canvas of that destination; `default` when absent", NULL},
    {"dryRun", API_PARAM_FLAG, "count only", NULL},
    {0},
};
static const struct api_param replay_params[] = {
    {"source", API_PARAM_TEXT, "only events of this event source", NULL},
    {"canvas", API_PARAM_TEXT, "canvas of source and destination", NULL},
    {"type", API_PARAM_TEXT, "only events of this type; invoice.*: all that begin so", NULL},
    {"state", API_PARAM_CHOICE,
     "dead: not the events of a time, but what was given up, each to where it was to go", "dead"},
    {"destination", API_PARAM_TEXT, "with state: only what was to go to this one", NULL},
    {"since", API_PARAM_TIME,
     "received at or after (wanted); with state: given up at or after", NULL},
    {"until", API_PARAM_TIME, "before that; now when absent", NULL},
    {"to", API_PARAM_TEXT, "only to this destination; else to where routes lead now", NULL},
    {"rate", API_PARAM_TEXT, "deliveries a second at most; 0 = as fast as they are taken", NULL},
    {"delaySeconds", API_PARAM_TEXT, "when the first is due; to replay a query in parts", NULL},
    {"dryRun", API_PARAM_FLAG, "count only", NULL},
    {"limit", API_PARAM_LIMIT, "with state: so many; all when absent", NULL},
    {"cursor", API_PARAM_TEXT, "with state: `next` of the part before", NULL},
    {0},
};

/* The five routes of a kind of object. NAME is for operation ids and schemas. */
#define OBJECT_ROUTES(PLURAL, NAME, KIND, LIST_PARAMS, PARAMS)                                     \
    {HTTP_GET,    "/api/v1/" PLURAL,                                                               \
     TOKEN_READ,  api_objects_list,                                                                \
     KIND,        API_BODY_NONE,                                                                   \
     LIST_PARAMS, "list" NAME,                                                                     \
     PLURAL,      "List, in order of name",                                                        \
     NULL,        200,                                                                             \
     NAME "List", NULL},                                                                           \
        {HTTP_POST,   "/api/v1/" PLURAL,                                                           \
         TOKEN_WRITE, api_objects_create,                                                          \
         KIND,        API_BODY_DOCUMENTS,                                                          \
         PARAMS,      "create" NAME,                                                               \
         PLURAL,      "Create",                                                                    \
         NAME,        201,                                                                         \
         NAME,        NULL},                                                                       \
        {HTTP_GET,   "/api/v1/" PLURAL "/{name}",                                                  \
         TOKEN_READ, api_objects_get,                                                              \
         KIND,       API_BODY_NONE,                                                                \
         PARAMS,     "get" NAME,                                                                   \
         PLURAL,     "Get one, by name or id",                                                     \
         NULL,       200,                                                                          \
         NAME,       NULL},                                                                        \
        {HTTP_PUT,    "/api/v1/" PLURAL "/{name}",                                                 \
         TOKEN_WRITE, api_objects_update,                                                          \
         KIND,        API_BODY_DOCUMENTS,                                                          \
         PARAMS,      "update" NAME,                                                               \
         PLURAL,      "Replace one; with If-Match only the revision that was read",                \
         NAME,        200,                                                                         \
         NAME,        NULL},                                                                       \
    {                                                                                              \
        HTTP_DELETE, "/api/v1/" PLURAL "/{name}", TOKEN_WRITE, api_objects_delete, KIND,           \
            API_BODY_NONE, PARAMS, "delete" NAME, PLURAL, "Delete one", NULL, 204, NULL, NULL      \
    }

#define NO_KIND RESOURCE_KIND_COUNT

const struct api_route api_routes[] = {
    {HTTP_POST, "/api/v1/apply", TOKEN_WRITE, api_apply, NO_KIND, API_BODY_DOCUMENTS, apply_params,
     "apply", "apply", "Create, update or delete a set of objects, all or nothing", "Documents",
     200, "ApplyResults", NULL},
    OBJECT_ROUTES("canvases", "Canvas", RESOURCE_CANVAS, page_params, NULL),
    OBJECT_ROUTES("secrets", "Secret", RESOURCE_SECRET, list_params, canvas_params),
    OBJECT_ROUTES("integrations", "Integration", RESOURCE_INTEGRATION, list_params, canvas_params),
    OBJECT_ROUTES("users", "User", RESOURCE_USER, list_params, canvas_params),
    OBJECT_ROUTES("teams", "Team", RESOURCE_TEAM, list_params, canvas_params),
    OBJECT_ROUTES("integration-users", "IntegrationUser", RESOURCE_INTEGRATION_USER, list_params,
                  canvas_params),
    OBJECT_ROUTES("integration-links", "IntegrationLink", RESOURCE_INTEGRATION_LINK, list_params,
                  canvas_params),
    OBJECT_ROUTES("event-sources", "EventSource", RESOURCE_EVENT_SOURCE, list_params,
                  canvas_params),
    OBJECT_ROUTES("destinations", "Destination", RESOURCE_DESTINATION, list_params, canvas_params),
    {HTTP_POST, "/api/v1/destinations/{name}/pause", TOKEN_WRITE, api_destinations_pause,
     RESOURCE_DESTINATION, API_BODY_NONE, canvas_params, "pauseDestination", "destinations",
     "Stop deliveries to it; its events wait, and retries stand still", NULL, 200, "Destination",
     NULL},
    {HTTP_POST, "/api/v1/destinations/{name}/resume", TOKEN_WRITE, api_destinations_resume,
     RESOURCE_DESTINATION, API_BODY_NONE, canvas_params, "resumeDestination", "destinations",
     "Go on with deliveries, also after it answered 410", NULL, 200, "Destination", NULL},
    {HTTP_GET, "/api/v1/destinations/{name}/secrets", TOKEN_ADMIN, api_objects_secrets,
     RESOURCE_DESTINATION, API_BODY_NONE, canvas_params, "getDestinationSecrets", "destinations",
     "What its requests are signed with, in clear", NULL, 200, "RevealedSecrets", NULL},
    OBJECT_ROUTES("routes", "Route", RESOURCE_ROUTE, list_params, canvas_params),
    {HTTP_POST, "/api/v1/event-sources/{name}/reset-key", TOKEN_WRITE, api_sources_reset_key,
     RESOURCE_EVENT_SOURCE, API_BODY_NONE, reset_params, "resetEventSourceKey", "event-sources",
     "Make a new signing key; the answer is the only one that shows it", NULL, 200, "EventSource",
     NULL},
    {HTTP_GET, "/api/v1/event-sources/{name}/secrets", TOKEN_ADMIN, api_objects_secrets,
     RESOURCE_EVENT_SOURCE, API_BODY_NONE, canvas_params, "getEventSourceSecrets", "event-sources",
     "What it verifies requests with, in clear: given, generated, or brought by its provider", NULL,
     200, "RevealedSecrets", NULL},
    {HTTP_GET, "/api/v1/entries", TOKEN_READ, api_entries_list, NO_KIND, API_BODY_NONE,
     entry_params, "listEntry", "entries", "What people did, the newest first", NULL, 200,
     "EntryList", NULL},
    {HTTP_POST, "/api/v1/entries", TOKEN_WRITE, api_entries_create, NO_KIND, API_BODY_JSON,
     entry_create_params, "createEntry", "entries",
     "Write one by hand; it goes out through the team's links", "EntryRequest", 201, "Entry", NULL},
    {HTTP_GET, "/api/v1/entries/{id}", TOKEN_READ, api_entries_get, NO_KIND, API_BODY_NONE, NULL,
     "getEntry", "entries", "Get one", NULL, 200, "Entry", NULL},
    {HTTP_PUT, "/api/v1/entries/{id}", TOKEN_WRITE, api_entries_update, NO_KIND, API_BODY_JSON,
     NULL, "updateEntry", "entries",
     "Change what is given of one; what of it went out is neither recalled nor sent again",
     "EntryChange", 200, "Entry", NULL},
    {HTTP_POST, "/api/v1/entries/{id}", TOKEN_WRITE, api_entries_update, NO_KIND, API_BODY_JSON,
     NULL, "postEntry", "entries", "The same, as clients of I Done This do it", "EntryChange", 200,
     "Entry", NULL},
    {HTTP_DELETE, "/api/v1/entries/{id}", TOKEN_WRITE, api_entries_delete, NO_KIND, API_BODY_NONE,
     NULL, "deleteEntry", "entries",
     "Delete one; what of it went out stays where it is, the rest does not go out", NULL, 204, NULL,
     NULL},
    {HTTP_GET, "/api/v1/operations", TOKEN_READ, api_operations_list, NO_KIND, API_BODY_NONE,
     operation_params, "listOperation", "operations",
     "List the work at providers, in order of number", NULL, 200, "OperationList", NULL},
    {HTTP_GET, "/api/v1/operations/{name}", TOKEN_READ, api_operations_get, NO_KIND, API_BODY_NONE,
     canvas_params, "getOperation", "operations", "Get one, with its last calls", NULL, 200,
     "Operation", NULL},
    {HTTP_DELETE, "/api/v1/operations/{name}", TOKEN_WRITE, api_operations_delete, NO_KIND,
     API_BODY_NONE, NULL, "deleteOperation", "operations",
     "Give up a removal or a message that cannot be done; what is at the provider stays there",
     NULL, 204, NULL, NULL},
    {HTTP_POST, "/api/v1/operations/{name}/retry", TOKEN_WRITE, api_operations_retry, NO_KIND,
     API_BODY_NONE, NULL, "retryOperation", "operations", "Try it now", NULL, 200, "Operation",
     NULL},
    {HTTP_POST, "/api/v1/oidc/rotate", TOKEN_ADMIN, api_oidc_rotate, NO_KIND, API_BODY_NONE, NULL,
     "rotateOidcKey", "tokens", "Publish a new key for the tokens that becket issues", NULL, 200,
     "OidcRotated", NULL},
    {HTTP_GET, "/api/v1/master-key", TOKEN_ADMIN, api_master_key_get, NO_KIND, API_BODY_NONE, NULL,
     "getMasterKey", "tokens", "Which key wraps the secrets, and whether all are sealed under it",
     NULL, 200, "MasterKey", NULL},
    {HTTP_POST, "/api/v1/master-key/rotate", TOKEN_ADMIN, api_master_key_rotate, NO_KIND,
     API_BODY_NONE, NULL, "rotateMasterKey", "tokens",
     "Make a new one, destroy the one before, and begin to seal all secrets anew", NULL, 200,
     "MasterKey", NULL},
    {HTTP_GET, "/api/v1/me", TOKEN_READ, api_me, NO_KIND, API_BODY_NONE, NULL, "getMe", "tokens",
     "The token that asks: its role, its canvas, and whose it is", NULL, 200, "Token", NULL},
    {HTTP_GET, "/api/v1/tokens", TOKEN_ADMIN, api_tokens_list, NO_KIND, API_BODY_NONE, page_params,
     "listToken", "tokens", "List, in order of name; without the tokens themselves", NULL, 200,
     "TokenList", NULL},
    {HTTP_POST, "/api/v1/tokens", TOKEN_ADMIN, api_tokens_create, NO_KIND, API_BODY_JSON, NULL,
     "createToken", "tokens", "Create; the answer is the only one that shows the token",
     "TokenRequest", 201, "TokenCreated", NULL},
    {HTTP_GET, "/api/v1/tokens/{name}", TOKEN_ADMIN, api_tokens_get, NO_KIND, API_BODY_NONE, NULL,
     "getToken", "tokens", "Get one, by name or id", NULL, 200, "Token", NULL},
    {HTTP_DELETE, "/api/v1/tokens/{name}", TOKEN_ADMIN, api_tokens_delete, NO_KIND, API_BODY_NONE,
     NULL, "deleteToken", "tokens", "Revoke one, by name or id", NULL, 204, NULL, NULL},
    {HTTP_GET, "/api/v1/audit", TOKEN_ADMIN, api_audit_list, NO_KIND, API_BODY_NONE, audit_params,
     "listAudit", "audit", "Who changed what: the newest first, without secrets", NULL, 200,
     "AuditList", NULL},
    {HTTP_GET, "/api/v1/events", TOKEN_READ, api_events_list, NO_KIND, API_BODY_NONE, event_params,
     "listEvent", "events", "Search the events that were received", NULL, 200, "EventList", NULL},
    {HTTP_GET, "/api/v1/events/stream", TOKEN_READ, api_events_stream, NO_KIND, API_BODY_NONE,
     stream_params, "streamEvent", "events",
     "Events as they arrive, as server-sent events; Last-Event-ID goes on where it ended", NULL,
     200, NULL, "text/event-stream"},
    {HTTP_GET, "/api/v1/events/{id}", TOKEN_READ, api_events_get, NO_KIND, API_BODY_NONE, NULL,
     "getEvent", "events", "Get one", NULL, 200, "Event", NULL},
    {HTTP_GET, "/api/v1/events/{id}/body", TOKEN_READ, api_events_body, NO_KIND, API_BODY_NONE,
     NULL, "getEventBody", "events", "The body, byte for byte as it was received", NULL, 200, NULL,
     "application/octet-stream"},
    {HTTP_GET, "/api/v1/providers", TOKEN_READ, api_providers, NO_KIND, API_BODY_NONE, NULL,
     "listProvider", "server", "What a source's type may be, and what each needs", NULL, 200,
     "ProviderList", NULL},
    {HTTP_POST, "/api/v1/events/{id}/replay", TOKEN_WRITE, api_events_replay, NO_KIND,
     API_BODY_NONE, replay_event_params, "replayEvent", "events",
     "Deliver one event again, as a new try with the same webhook-id", NULL, 202, "Replay", NULL},
    {HTTP_POST, "/api/v1/replay", TOKEN_WRITE, api_replay, NO_KIND, API_BODY_NONE, replay_params,
     "replay", "events",
     "Deliver the accepted events of a query again, oldest first, or dead letters", NULL, 202,
     "Replay", NULL},
    {HTTP_GET, "/api/v1/deliveries", TOKEN_READ, api_deliveries_list, NO_KIND, API_BODY_NONE,
     delivery_params, "listDelivery", "deliveries", "What became of events", NULL, 200,
     "DeliveryList", NULL},
    {HTTP_GET, "/api/v1/openapi.json", 0, api_openapi, NO_KIND, API_BODY_NONE, NULL, "getOpenapi",
     "server", "This document", NULL, 200, "Openapi", NULL},
    {HTTP_GET, "/metrics", 0, api_metrics, NO_KIND, API_BODY_NONE, NULL, "getMetrics", "server",
     "Prometheus metrics", NULL, 200, NULL, "text/plain"},
    {HTTP_GET, "/health/live", 0, api_live, NO_KIND, API_BODY_NONE, NULL, "getLive", "server",
     "The process answers", NULL, 200, "Health", NULL},
    {HTTP_GET, "/health/ready", 0, api_ready, NO_KIND, API_BODY_NONE, NULL, "getReady", "server",
     "The server takes webhooks; 503 and a reason when it does not", NULL, 200, "Health", NULL},
};
const size_t api_route_count = bk_array_length(api_routes);

const char *const api_routes_by_canvas[] = {
    "listCanvas", "getCanvas",    "getEntry",       "updateEntry",
    "postEntry",  "deleteEntry",  "retryOperation", "deleteOperation",
    "getEvent",   "getEventBody", "listProvider",   "getMe",
    NULL};
