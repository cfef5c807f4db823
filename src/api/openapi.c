/* The OpenAPI 3.1 document out of the table of routes. Schemas are written here; everything else
 * (paths,
 * methods, roles, parameters, bodies, status codes) is what the dispatcher itself goes by. */
#include "api/route.h"

#include "base/assert.h"
#include "base/json.h"

struct schema {
    const char *name;
    const char *json;
};

#define METADATA                                                                                   \
    "\"apiVersion\":{\"const\":\"v1\"},\"metadata\":{\"$ref\":\"#/components/schemas/Metadata\"}"
#define LIST_OF(NAME)                                                                              \
    "{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"items\":{\"type\":\"array\"," \
    "\"items\":{\"$ref\":\"#/components/schemas/" NAME "\"}},\"next\":{\"type\":\"string\"}}}"
#define TEXT "{\"type\":\"string\"}"
#define TIME "{\"type\":\"string\",\"format\":\"date-time\"}"
#define NAME "{\"type\":\"string\",\"pattern\":\"^[a-z0-9-]{1,63}$\"}"

#define COUNT "{\"type\":\"integer\"}"
#define FLAG  "{\"type\":\"boolean\"}"
#define ID    "{\"type\":[\"string\",\"integer\"]}"

/* Generators of clients take an object that says nothing of its members as one that has none. */
#define OBJECT         "{\"type\":\"object\",\"properties\":{"
#define TEXTS          "{\"type\":\"object\",\"additionalProperties\":" TEXT "}"
#define TEXT_LIST      "{\"type\":\"array\",\"items\":" TEXT "}"
#define TEXT_OR_LIST   "{\"oneOf\":[" TEXT "," TEXT_LIST "]}"
#define REFERENCE      "{\"$ref\":\"#/components/schemas/Reference\"}"
#define SECRET_VALUE   "{\"$ref\":\"#/components/schemas/SecretValue\"}"
#define SECRET_VALUES  "{\"type\":\"array\",\"items\":" SECRET_VALUE "}"
#define TEXT_OR_SECRET "{\"oneOf\":[" TEXT "," SECRET_VALUE "]}"
#define PLACE          OBJECT "\"header\":" TEXT ",\"field\":" TEXT
#define DOCUMENT       "{\"$ref\":\"#/components/schemas/Document\"}"
#define DOCUMENTS      "{\"type\":\"array\",\"items\":" DOCUMENT "}"
#define EXPRESSION     OBJECT "\"expression\":{\"type\":\"string\",\"maxLength\":4096}}}"
#define FILTERS                                                                                    \
    "{\"type\":\"array\",\"maxItems\":32,\"items\":" OBJECT                                        \
    "\"type\":{\"enum\":[\"FILTER_TYPE_DATA\",\"FILTER_TYPE_HEADER\"]},\"data\":" EXPRESSION       \
    ",\"header\":" EXPRESSION "}}}"

/* What becket tells of an object that it keeps at a provider. */
#define WORK_STATES "{\"enum\":[\"pending\",\"waiting\",\"ready\",\"error\"]}"
#define WORK_STATUS                                                                                \
    "\"state\":" WORK_STATES ",\"reason\":" TEXT ",\"message\":" TEXT ",\"advice\":" TEXT          \
    ",\"notice\":" TEXT ",\"operation\":" TEXT ",\"checkedAt\":" TIME ",\"nextAttemptAt\":" TIME

static const struct schema schemas[] = {
    {"Error", "{\"type\":\"object\",\"required\":[\"code\",\"message\",\"details\"],\"properties\":"
              "{\"code\":"
              "{\"enum\":[\"invalid\",\"unauthenticated\",\"forbidden\",\"not_found\",\"conflict\","
              "\"too_large\","
              "\"unsupported_media_type\",\"method_not_allowed\",\"unavailable\",\"internal\"]},"
              "\"message\":" TEXT ",\"details\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
              "\"properties\":{\"field\":" TEXT ",\"message\":" TEXT
              ",\"document\":{\"type\":\"integer\"},\"line\":{\"type\":\"integer\"},"
              "\"column\":{\"type\":\"integer\"}}}},"
              "\"more\":{\"type\":\"integer\",\"description\":\"mistakes that are not listed\"}}}"},
    {"Metadata", "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":" NAME
                 ",\"canvasId\":" NAME ",\"description\":" TEXT
                 ",\"domainType\":{\"enum\":[\"DOMAIN_TYPE_UNSPECIFIED\","
                 "\"DOMAIN_TYPE_ORGANIZATION\",\"DOMAIN_TYPE_CANVAS\"]}"
                 ",\"id\":{\"type\":\"string\",\"readOnly\":true},\"createdAt\":" TIME
                 ",\"updatedAt\":" TIME ",\"revision\":{\"type\":\"integer\",\"readOnly\":true}}}"},
    {"Canvas",
     "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"Canvas\"},\"spec\":"
     "{\"type\":\"object\",\"additionalProperties\":false}}}"},
    {"CanvasList", LIST_OF("Canvas")},
    {"Secret",
     "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"Secret\"},\"spec\":"
     "{\"type\":\"object\",\"description\":\"values read ***\",\"properties\":{\"provider\":" TEXT
     ",\"local\":{\"type\":\"object\",\"properties\":{\"data\":{\"type\":\"object\","
     "\"additionalProperties\":" TEXT
     "}}},\"data\":{\"type\":\"object\",\"additionalProperties\":" TEXT "}}}}}"},
    {"SecretList", LIST_OF("Secret")},
    {"SecretValue", "{\"type\":\"object\",\"description\":\"one of the two; a value reads ***\","
                    "\"properties\":{\"value\":" TEXT ",\"valueFrom\":" OBJECT "\"secret\":" OBJECT
                    "\"name\":" NAME ",\"key\":" TEXT ",\"domainType\":" TEXT "}}}}}}"},
    {"Reference", OBJECT "\"name\":" NAME ",\"domainType\":" TEXT "}}"},
    {"Verification", OBJECT
     "\"secrets\":" SECRET_VALUES ",\"tolerance\":" TEXT ",\"verifyToken\":" SECRET_VALUE
     ",\"origins\":" TEXT_LIST ",\"allow\":" TEXT_LIST ",\"trustedProxies\":" TEXT_LIST
     ",\"scheme\":" TEXT ",\"algorithm\":" TEXT ",\"signature\":" PLACE ",\"format\":" TEXT
     "}},\"timestamp\":" PLACE ",\"unit\":{\"enum\":[\"s\",\"ms\",\"rfc3339\"]}}},\"id\":" PLACE
     "}},\"type\":" PLACE ",\"template\":" TEXT "}},\"signed\":" TEXT ",\"issuer\":" TEXT
     ",\"audience\":" TEXT_OR_LIST ",\"claims\":{\"type\":\"object\",\"additionalProperties\":"
     "{\"type\":[\"string\",\"integer\",\"boolean\"]}},\"jwksUrl\":" TEXT ",\"allowPrivate\":" FLAG
     "}}"},
    {"EventSource",
     "{\"type\":\"object\",\"properties\":{" METADATA
     ",\"kind\":{\"const\":\"EventSource\"},\"spec\":"
     "{\"type\":\"object\",\"properties\":{\"type\":" TEXT ",\"path\":" TEXT
     ",\"verification\":{\"$ref\":\"#/components/schemas/Verification\"},"
     "\"dedupe\":{\"type\":\"object\",\"properties\":{\"window\":" TEXT
     "}},\"limits\":{\"type\":\"object\","
     "\"properties\":{\"bodyBytes\":{\"type\":\"integer\"},\"perSecond\":{\"type\":"
     "\"integer\"}}},\"integration\":" OBJECT "\"name\":" NAME ",\"domainType\":" TEXT
     "}},\"resource\":" OBJECT "\"type\":" TEXT ",\"name\":" TEXT
     "}},\"events\":{\"type\":\"array\",\"items\":" OBJECT "\"type\":" TEXT ",\"filters\":" FILTERS
     ",\"filterOperator\":{\"enum\":[\"FILTER_OPERATOR_AND\","
     "\"FILTER_OPERATOR_OR\"]}}}}}},\"status\":{\"type\":\"object\","
     "\"readOnly\":true,\"properties\":{" WORK_STATUS ",\"path\":" TEXT ",\"url\":" TEXT
     ",\"lastAccepted\":" OBJECT "\"at\":" TIME "}},\"lastRefused\":" OBJECT "\"at\":" TIME
     ",\"reason\":" TEXT ",\"message\":" TEXT "}},\"resourceId\":" TEXT ",\"resourceName\":" TEXT
     ",\"hookId\":" TEXT ",\"keyFingerprint\":" TEXT "}},\"key\":{\"type\":\"string\","
     "\"readOnly\":true,\"description\":"
     "\"signing key that was generated; only in the answer that created it\"}}}"},
    {"EventSourceList", LIST_OF("EventSource")},
    {"Destination",
     "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"Destination\"},"
     "\"spec\":{\"type\":\"object\",\"required\":[\"url\"],\"properties\":{\"url\":" TEXT
     ",\"headers\":{\"type\":\"object\",\"additionalProperties\":" TEXT_OR_SECRET
     "},\"signing\":{\"type\":\"object\",\"properties\":{"
     "\"scheme\":{\"enum\":[\"standard-webhooks\",\"none\"]},\"secrets\":" SECRET_VALUES
     "}},\"format\":{\"enum\":[\"original\",\"cloudevents-binary\","
     "\"cloudevents-structured\"]},\"tls\":" OBJECT "\"ca\":" TEXT_OR_SECRET
     ",\"clientCertificate\":" TEXT_OR_SECRET ",\"clientKey\":" SECRET_VALUE "}},\"timeout\":" TEXT
     ",\"retry\":{\"type\":\"object\",\"properties\":{\"schedule\":{\"type\":\"array\","
     "\"items\":" TEXT
     "},\"jitter\":{\"type\":\"number\"}}},\"concurrency\":{\"type\":\"integer\"},"
     "\"rateLimit\":{\"type\":\"object\",\"properties\":{\"perSecond\":{\"type\":\"integer\"}}},"
     "\"ordering\":{\"type\":\"object\",\"properties\":{\"mode\":{\"enum\":[\"none\",\"strict\"]},"
     "\"key\":" TEXT "}},\"allowPrivate\":{\"type\":\"boolean\"},\"paused\":{\"type\":"
     "\"boolean\"}}},\"status\":{\"type\":\"object\",\"readOnly\":true,\"properties\":{\"state\":"
     "{\"enum\":[\"ready\",\"paused\",\"error\"]},\"reason\":" TEXT ",\"since\":" TIME
     ",\"delivery\":" OBJECT "\"state\":{\"enum\":[\"live\",\"behind\",\"failing\",\"paused\"]},"
     "\"inflight\":" COUNT ",\"queued\":" COUNT ",\"backlog\":" COUNT ",\"retries\":" COUNT
     ",\"delivered\":" COUNT ",\"failed\":" COUNT ",\"dead\":" COUNT ",\"lost\":" COUNT
     ",\"oldestUndelivered\":" TIME ",\"nextRetryAt\":" TIME ",\"lastAttempt\":" OBJECT
     "\"at\":" TIME ",\"attempt\":" COUNT ",\"outcome\":" TEXT ",\"status\":" COUNT
     ",\"reason\":" TEXT "}}}}}},\"key\":{\"type\":\"string\",\"readOnly\":true,"
     "\"description\":"
     "\"signing secret that was generated; only in the answer that created it\"}}}"},
    {"DestinationList", LIST_OF("Destination")},
    {"RevealedSecrets",
     "{\"type\":\"object\",\"required\":[\"secrets\"],\"properties\":{\"secrets\":"
     "{\"type\":\"array\",\"items\":" TEXT "},\"verifyToken\":" TEXT "}}"},
    {"Route", "{\"type\":\"object\",\"properties\":{" METADATA
              ",\"kind\":{\"const\":\"Route\"},\"spec\":{\"type\":\"object\",\"required\":["
              "\"from\",\"to\"],\"properties\":{\"from\":{\"type\":\"array\",\"items\":{\"type\":"
              "\"object\","
              "\"properties\":{\"source\":" NAME ",\"types\":{\"type\":\"array\",\"items\":" TEXT
              "}}}},\"filters\":" FILTERS
              ",\"filterOperator\":{\"enum\":[\"FILTER_OPERATOR_AND\",\"FILTER_OPERATOR_OR\"]},"
              "\"to\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":"
              "{\"destination\":" NAME "}}}}}}}"},
    {"RouteList", LIST_OF("Route")},
    {"Auth", "{\"type\":\"object\",\"required\":[\"use\"],\"properties\":{\"use\":" TEXT
             ",\"token\":" SECRET_VALUE ",\"basic\":" OBJECT "\"username\":" TEXT
             ",\"password\":" SECRET_VALUE "}},\"app\":" OBJECT "\"appId\":" ID
             ",\"installationId\":" ID ",\"privateKey\":" SECRET_VALUE "}},\"oidc\":" OBJECT
             "\"audience\":" TEXT "}},\"oauth\":" OBJECT "\"clientId\":" TEXT
             ",\"clientSecret\":" SECRET_VALUE ",\"scopes\":" TEXT_OR_LIST ",\"authorizeUrl\":" TEXT
             ",\"tokenUrl\":" TEXT ",\"revokeUrl\":" TEXT ",\"identityUrl\":" TEXT
             ",\"issuer\":" TEXT ",\"clientAuth\":{\"enum\":[\"body\",\"basic\"]}}}}}"},
    {"Integration",
     "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"Integration\"},"
     "\"spec\":{\"type\":\"object\",\"required\":[\"type\",\"auth\"],\"properties\":{\"type\":" TEXT
     ",\"url\":" TEXT ",\"apiUrl\":" TEXT
     ",\"auth\":{\"$ref\":\"#/components/schemas/Auth\"},\"oidc\":" OBJECT "\"enabled\":" FLAG
     ",\"claims\":{\"type\":\"object\",\"additionalProperties\":" TEXT_OR_LIST
     "}}},\"allowPrivate\":{\"type\":\"boolean\"},\"check\":{\"type\":\"boolean\"}}},\"status\":{"
     "\"type\":\"object\",\"readOnly\":"
     "true,\"properties\":{" WORK_STATUS ",\"account\":" TEXT ",\"accountId\":" TEXT "}}}}"},
    {"IntegrationList", LIST_OF("Integration")},
    {"User",
     "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"User\"},"
     "\"spec\":{\"type\":\"object\",\"properties\":{\"fullName\":" TEXT ",\"email\":" TEXT "}}}}"},
    {"UserList", LIST_OF("User")},
    {"Team", "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"Team\"},"
             "\"spec\":{\"type\":\"object\",\"properties\":{\"title\":" TEXT
             ",\"members\":{\"type\":\"array\",\"items\":" NAME "}}}}}"},
    {"TeamList", LIST_OF("Team")},
    {"IntegrationUser",
     "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"IntegrationUser\"},"
     "\"spec\":{\"type\":\"object\",\"required\":[\"integration\",\"uid\"],\"properties\":{"
     "\"integration\":" REFERENCE ",\"user\":" REFERENCE ",\"provider\":" TEXT ",\"uid\":" TEXT
     ",\"nickname\":" TEXT ",\"fullName\":" TEXT ",\"email\":" TEXT ",\"workspace\":" TEXT
     ",\"workspaceName\":" TEXT ",\"scopes\":" TEXT ",\"expiresAt\":" TIME ",\"redirectUri\":" TEXT
     ",\"accessToken\":" SECRET_VALUE ",\"refreshToken\":" SECRET_VALUE "}},"
     "\"status\":{\"type\":\"object\",\"readOnly\":true,\"properties\":{" WORK_STATUS "}}}}"},
    {"IntegrationUserList", LIST_OF("IntegrationUser")},
    {"IntegrationLink",
     "{\"type\":\"object\",\"properties\":{" METADATA ",\"kind\":{\"const\":\"IntegrationLink\"},"
     "\"spec\":{\"type\":\"object\",\"required\":[\"type\"],\"properties\":{"
     "\"type\":{\"enum\":[\"github\",\"gitlab\",\"gitea\",\"slack\",\"discord\",\"generic\"]},"
     "\"integration\":" REFERENCE ",\"team\":" REFERENCE ",\"user\":" REFERENCE
     ",\"source\":" REFERENCE ",\"destination\":" REFERENCE ",\"settings\":" TEXTS
     ",\"statuses\":{\"type\":\"array\",\"items\":{\"enum\":["
     "\"done\",\"goal\",\"blocked\"]}},\"entry\":{\"type\":\"object\",\"properties\":{"
     "\"body\":" TEXT ",\"author\":" TEXT ",\"when\":" TEXT
     "}}}},\"status\":{\"type\":\"object\",\"readOnly\":true,\"properties\":{" WORK_STATUS
     ",\"shortName\":" TEXT ",\"summary\":" TEXT ",\"resourceId\":" TEXT ",\"resourceName\":" TEXT
     ",\"hookId\":" TEXT ",\"keyFingerprint\":" TEXT "}}}}"},
    {"IntegrationLinkList", LIST_OF("IntegrationLink")},
    {"Operation",
     "{\"type\":\"object\",\"properties\":{\"apiVersion\":{\"const\":\"v1\"},\"kind\":{\"const\":"
     "\"Operation\"},\"metadata\":" OBJECT "\"name\":" TEXT ",\"canvasId\":" TEXT ",\"id\":" TEXT
     ",\"createdAt\":" TIME ",\"updatedAt\":" TIME "}},\"spec\":" OBJECT "\"intent\":" TEXT
     ",\"object\":" OBJECT "\"kind\":" TEXT ",\"id\":" TEXT ",\"name\":" TEXT
     "}},\"integration\":" TEXT ",\"provider\":" TEXT ",\"resource\":" TEXT
     ",\"formerAddress\":" TEXT "}},\"status\":{\"type\":\"object\",\"properties\":{"
     "\"state\":{\"enum\":[\"pending\",\"done\",\"failed\"]},\"attempts\":{\"type\":\"integer\"},"
     "\"step\":" TEXT ",\"nextAttemptAt\":" TIME ",\"nextCheckAt\":" TIME ",\"reason\":" TEXT
     ",\"message\":" TEXT ",\"advice\":" TEXT ",\"memory\":" TEXTS ",\"calls\":"
     "{\"type\":\"array\",\"items\":" OBJECT "\"at\":" TIME ",\"status\":" COUNT
     ",\"tookMs\":" COUNT ",\"method\":" TEXT ",\"target\":" TEXT ",\"message\":" TEXT "}}}}}}}"},
    {"OperationList", LIST_OF("Operation")},
    {"Entry",
     "{\"type\":\"object\",\"required\":[\"id\",\"body\",\"status\",\"state\"],\"properties\":{"
     "\"id\":" TEXT ",\"body\":" TEXT ",\"occurredOn\":" TEXT
     ",\"status\":{\"enum\":[\"done\",\"goal\",\"blocked\"]},"
     "\"state\":{\"enum\":[\"ready\",\"unknown-author\",\"not-a-member\"]},\"user\":" TEXT
     ",\"author\":" TEXT ",\"team\":" TEXT ",\"canvasId\":" TEXT ",\"type\":" TEXT
     ",\"source\":" TEXT ",\"link\":" TEXT ",\"event\":" TEXT
     ",\"hops\":{\"type\":\"integer\"},\"createdAt\":" TIME ",\"updatedAt\":" TIME "}}"},
    {"EntryList", LIST_OF("Entry")},
    {"EntryRequest",
     "{\"type\":\"object\",\"required\":[\"team\",\"body\"],\"additionalProperties\":false,"
     "\"properties\":{\"team\":" NAME
     ",\"body\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":2000},\"user\":" NAME
     ",\"status\":{\"enum\":[\"done\",\"goal\",\"blocked\"]},"
     "\"occurredOn\":{\"type\":\"string\",\"format\":\"date\"}}}"},
    {"EntryChange",
     "{\"type\":\"object\",\"additionalProperties\":false,"
     "\"properties\":{\"body\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":2000},"
     "\"user\":{\"type\":\"string\"},\"status\":{\"enum\":[\"done\",\"goal\",\"blocked\"]},"
     "\"occurredOn\":{\"type\":\"string\",\"format\":\"date\"}}}"},
    {"Document",
     "{\"oneOf\":[{\"$ref\":\"#/components/schemas/Canvas\"},{\"$ref\":\"#/components/schemas/"
     "Secret\"},{\"$ref\":\"#/components/schemas/EventSource\"},{\"$ref\":\"#/components/schemas/"
     "Destination\"},{\"$ref\":\"#/components/schemas/Route\"},{\"$ref\":\"#/components/schemas/"
     "Integration\"},{\"$ref\":\"#/components/schemas/IntegrationUser\"},{\"$ref\":\"#/components/"
     "schemas/IntegrationLink\"},{\"$ref\":\"#/components/schemas/User\"},{\"$ref\":\"#/components/"
     "schemas/Team\"}]}"},
    {"Documents", "{\"description\":\"one document, a list of them, or {items: […]}; YAML may be "
                  "several documents\","
                  "\"oneOf\":[" DOCUMENT "," DOCUMENTS "," OBJECT "\"items\":" DOCUMENTS "}}]}"},
    {"ApplyResults", "{\"type\":\"object\",\"properties\":{\"results\":{\"type\":\"array\","
                     "\"items\":{\"type\":\"object\","
                     "\"properties\":{\"kind\":" TEXT ",\"name\":" TEXT ",\"canvasId\":" TEXT
                     ",\"id\":" TEXT ",\"revision\":" COUNT
                     ",\"action\":{\"enum\":[\"created\",\"updated\",\"unchanged\",\"deleted\","
                     "\"waiting\"]},"
                     "\"diff\":{\"type\":\"array\","
                     "\"items\":{\"type\":\"object\",\"properties\":{\"path\":" TEXT
                     ",\"before\":{},\"after\":{}}}},\"key\":" TEXT ",\"url\":" TEXT "}}}}}"},
    {"Token",
     "{\"type\":\"object\",\"properties\":{\"id\":" TEXT ",\"name\":" NAME
     ",\"role\":{\"enum\":[\"admin\",\"write\",\"read\"]},\"canvas\":" NAME ",\"user\":" NAME
     ",\"last4\":" TEXT ",\"createdAt\":" TIME ",\"lastUsedAt\":" TIME "}}"},
    {"OidcRotated", "{\"type\":\"object\",\"properties\":{\"published\":{\"type\":\"integer\"},"
                    "\"signsInSeconds\":{\"type\":\"integer\"}}}"},
    {"MasterKey",
     "{\"type\":\"object\",\"required\":[\"id\",\"place\",\"sealing\"],\"properties\":{"
     "\"id\":{\"type\":\"string\",\"description\":\"Tells keys apart; not the key\"},"
     "\"place\":{\"enum\":[\"data\",\"file\",\"environment\"]},\"since\":" TIME
     ",\"sealing\":{\"type\":\"boolean\",\"description\":\"Secrets are still being sealed anew\"},"
     "\"sealed\":{\"type\":\"integer\"},\"looked\":{\"type\":\"integer\"},"
     "\"of\":{\"type\":\"integer\"},\"before\":" TEXT ",\"warning\":" TEXT
     ",\"trouble\":{\"type\":\"string\",\"description\":\"Why sealing does not go on now\"}}}"},
    {"TokenList", LIST_OF("Token")},
    {"TokenRequest",
     "{\"type\":\"object\",\"required\":[\"name\",\"role\"],\"additionalProperties\":false,"
     "\"properties\":{\"name\":" NAME
     ",\"role\":{\"enum\":[\"admin\",\"write\",\"read\"]},\"canvas\":" NAME ",\"user\":" NAME "}}"},
    {"TokenCreated",
     "{\"allOf\":[{\"$ref\":\"#/components/schemas/Token\"},{\"type\":\"object\",\"properties\":"
     "{\"token\":" TEXT "}}]}"},
    {"Audit",
     "{\"type\":\"object\",\"properties\":{\"id\":" TEXT ",\"at\":" TIME ",\"actor\":" TEXT
     ",\"role\":" TEXT ",\"user\":" TEXT ",\"requestId\":" TEXT ",\"remote\":" TEXT
     ",\"action\":{\"enum\":[\"created\",\"updated\",\"deleted\",\"paused\","
     "\"resumed\",\"replayed\",\"revealed\",\"retried\",\"rotated\",\"logged-in\",\"logged-out\"]},"
     "\"kind\":" TEXT ",\"name\":" TEXT ",\"canvasId\":" TEXT ",\"cut\":{\"type\":\"boolean\"},"
     "\"diff\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
     "\"properties\":{\"path\":" TEXT ",\"before\":{},\"after\":{}}}}}}"},
    {"AuditList", LIST_OF("Audit")},
    {"Event",
     "{\"type\":\"object\",\"required\":[\"id\",\"source\",\"provider\",\"type\",\"deliveryId\","
     "\"receivedAt\",\"state\",\"reason\",\"headers\",\"contentType\",\"size\",\"remote\"],"
     "\"properties\":{"
     "\"id\":{\"type\":\"string\",\"pattern\":\"^evt_[0-9A-HJKMNP-TV-Z]{26}$\"},\"source\":" TEXT
     ",\"canvasId\":" TEXT ",\"provider\":" TEXT ",\"type\":" TEXT ",\"deliveryId\":" TEXT
     ",\"account\":" TEXT ",\"resource\":" TEXT ",\"receivedAt\":" TIME
     ",\"state\":{\"enum\":[\"accepted\",\"rejected\",\"duplicate\"]},\"reason\":" TEXT
     ",\"message\":" TEXT ",\"duplicateOf\":" TEXT ",\"method\":" TEXT ",\"target\":" TEXT
     ",\"headers\":{\"type\":\"object\",\"additionalProperties\":" TEXT
     "},\"headerLines\":{\"type\":\"array\",\"items\":" TEXT "},\"contentType\":" TEXT
     ",\"size\":{\"type\":\"integer\"},\"cut\":{\"type\":\"boolean\"},\"remote\":" TEXT "}}"},
    {"EventList", LIST_OF("Event")},
    {"ProviderList",
     "{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"items\":{"
     "\"type\":\"object\",\"properties\":{\"type\":" TEXT ",\"title\":" TEXT ",\"group\":" TEXT
     ",\"aliases\":" TEXT ",\"documentation\":" TEXT ",\"needs\":" TEXT ",\"verification\":" TEXT
     ",\"signed\":" TEXT ",\"toleranceSeconds\":{\"type\":\"integer\"},\"eventType\":" TEXT
     ",\"deliveryId\":" TEXT ",\"account\":" TEXT ",\"resource\":" TEXT ",\"handshakes\":" TEXT
     ",\"answer\":" TEXT ",\"auto\":{\"type\":\"boolean\"},\"canSend\":{\"type\":\"boolean\"},"
     "\"sendsWith\":{\"type\":\"string\"}}}}}}"},
    {"Delivery",
     "{\"type\":\"object\",\"required\":[\"event\",\"destination\",\"state\"],\"properties\":{"
     "\"event\":" TEXT ",\"destination\":" TEXT ",\"canvasId\":" TEXT ",\"source\":" TEXT
     ",\"stage\":{\"type\":\"string\",\"description\":"
     "\"how far a try came that got no answer\"}"
     ",\"state\":{\"enum\":[\"pending\",\"delivered\",\"failed\",\"dead\"]},\"attempt\":"
     "{\"type\":\"integer\"},\"status\":{\"type\":\"integer\"},\"reason\":" TEXT
     ",\"durationMs\":{\"type\":\"number\"},\"endedAt\":" TIME ",\"nextAttemptAt\":" TIME
     ",\"remote\":" TEXT ",\"answer\":" TEXT ",\"replay\":{\"type\":\"boolean\"}}}"},
    {"DeliveryList", LIST_OF("Delivery")},
    {"Replay", "{\"type\":\"object\",\"properties\":{\"events\":{\"type\":\"integer\"},"
               "\"deliveries\":{\"type\":\"integer\"},\"dryRun\":{\"type\":\"boolean\"}"
               ",\"destinations\":{\"type\":\"array\",\"items\":" TEXT
               ",\"description\":\"where one event goes by its routes\"}"
               ",\"gone\":{\"type\":\"integer\",\"description\":"
               "\"dead letters whose events are not kept any more\"},\"next\":" TEXT "}}"},
    {"Health", "{\"type\":\"object\",\"properties\":{\"status\":" TEXT "}}"},
    {"Openapi", "{\"type\":\"object\",\"additionalProperties\":true}"},
};

static const char *method_name(enum http_method method)
{
    switch ((int)method) {
    case HTTP_POST:
        return "post";
    case HTTP_PUT:
        return "put";
    case HTTP_DELETE:
        return "delete";
    default:
        return "get";
    }
}

static void add_text(struct buf *json, const char *name, const char *text)
{
    buf_printf(json, "\"%s\":", name);
    json_add_string(json, slice_str(text));
}

static void add_choices(struct buf *json, const char *choices)
{
    buf_add_str(json, "{\"enum\":[");
    for (const char *at = choices; *at != '\0';) {
        size_t bytes = strcspn(at, "|");
        json_add_string(json, slice_of(at, bytes));
        at += bytes;
        if (*at == '|') {
            buf_add_byte(json, ',');
            at++;
        }
    }
    buf_add_str(json, "]}");
}

static void add_param(struct buf *json, const struct api_param *param)
{
    buf_add_str(json, "{\"in\":\"query\",");
    add_text(json, "name", param->name);
    buf_add_byte(json, ',');
    add_text(json, "description", param->help);
    buf_add_str(json, ",\"schema\":");
    switch (param->kind) {
    case API_PARAM_FLAG:
        buf_add_str(json, "{\"type\":\"boolean\"}");
        break;
    case API_PARAM_LIMIT:
        buf_printf(json, "{\"type\":\"integer\",\"minimum\":1,\"maximum\":%u,\"default\":%u}",
                   API_LIMIT_MAX, API_LIMIT_DEFAULT);
        break;
    case API_PARAM_CHOICE:
        add_choices(json, param->choices);
        break;
    case API_PARAM_TEXT:
    case API_PARAM_TIME:
        buf_add_str(json, TEXT);
        break;
    }
    buf_add_byte(json, '}');
}

/* A change of one object: what is demanded of its revision. */
static bool has_conditions(const struct api_route *route)
{
    return route->kind != RESOURCE_KIND_COUNT &&
           (route->method == HTTP_PUT || route->method == HTTP_DELETE);
}

static void add_params(struct buf *json, const struct api_route *route)
{
    const char *brace = strchr(route->path, '{');
    const char *comma = "";
    buf_add_str(json, ",\"parameters\":[");
    if (brace != NULL) {
        buf_printf(json,
                   "{\"in\":\"path\",\"name\":\"%.*s\",\"required\":true,\"schema\":" TEXT "}",
                   (int)strcspn(brace + 1, "}"), brace + 1);
        comma = ",";
    }
    if (has_conditions(route)) {
        buf_printf(json,
                   "%s{\"in\":\"header\",\"name\":\"If-Match\",\"description\":\"ETags of the "
                   "revisions to change\",\"schema\":" TEXT "},"
                   "{\"in\":\"header\",\"name\":\"If-None-Match\",\"description\":\"ETags of those "
                   "not to change\",\"schema\":" TEXT "}",
                   comma);
        comma = ",";
    }
    for (size_t i = 0; route->params != NULL && route->params[i].name != NULL; i++) {
        buf_add_str(json, comma);
        add_param(json, &route->params[i]);
        comma = ",";
    }
    buf_add_byte(json, ']');
}

static void add_content(struct buf *json, const char *type, const char *schema)
{
    buf_printf(json, "\"%s\":{\"schema\":{\"$ref\":\"#/components/schemas/%s\"}}", type, schema);
}

static void add_body(struct buf *json, const struct api_route *route)
{
    if (route->body_schema == NULL) {
        return;
    }
    buf_add_str(json, ",\"requestBody\":{\"required\":true,\"content\":{");
    add_content(json, "application/json", route->body_schema);
    if (route->body == API_BODY_DOCUMENTS) {
        buf_add_byte(json, ',');
        add_content(json, "application/yaml", route->body_schema);
    }
    buf_add_str(json, "}}");
}

static bool takes_dry_run(const struct api_route *route)
{
    for (size_t i = 0; route->params != NULL && route->params[i].name != NULL; i++) {
        if (strcmp(route->params[i].name, "dryRun") == 0) {
            return true;
        }
    }
    return false;
}

static void add_responses(struct buf *json, const struct api_route *route)
{
    buf_printf(json, ",\"responses\":{\"%u\":{\"description\":\"%s\"", route->status,
               route->status == 201   ? "created"
               : route->status == 204 ? "done"
                                      : "ok");
    if (route->schema != NULL) {
        buf_add_str(json, ",\"content\":{");
        add_content(json, "application/json", route->schema);
        buf_add_byte(json, '}');
    } else if (route->answer_type != NULL) {
        buf_printf(json, ",\"content\":{\"%s\":{}}", route->answer_type);
    }
    if (route->status == 202 && takes_dry_run(route)) {
        buf_add_str(json, "},\"200\":{\"description\":\"dryRun: counted, nothing done\","
                          "\"content\":{");
        add_content(json, "application/json", route->schema);
        buf_add_byte(json, '}');
    }
    buf_add_str(json, "},\"default\":{\"description\":\"refused\",\"content\":{");
    add_content(json, "application/json", "Error");
    buf_add_str(json, "}}}");
}

static void add_operation(struct buf *json, const struct api_route *route)
{
    buf_printf(json, "\"%s\":{", method_name(route->method));
    add_text(json, "operationId", route->id);
    buf_add_byte(json, ',');
    add_text(json, "summary", route->summary);
    buf_printf(json, ",\"tags\":[\"%s\"]", route->tag);
    if (route->role == 0) {
        buf_add_str(json, ",\"security\":[]");
    } else {
        buf_printf(json, ",\"description\":\"Needs a token of role %s.\"",
                   token_role_name((enum token_role)route->role));
    }
    add_params(json, route);
    add_body(json, route);
    add_responses(json, route);
    buf_add_byte(json, '}');
}

/* Routes of one path are neighbours in the document, wherever they are in the table. */
static void add_paths(struct buf *json)
{
    const char *comma = "";
    for (size_t i = 0; i < api_route_count; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++) {
            seen = strcmp(api_routes[i].path, api_routes[j].path) == 0;
        }
        if (seen) {
            continue;
        }
        buf_printf(json, "%s\"%s\":{", comma, api_routes[i].path);
        comma = "";
        for (size_t j = i; j < api_route_count; j++) {
            if (strcmp(api_routes[i].path, api_routes[j].path) == 0) {
                buf_add_str(json, comma);
                add_operation(json, &api_routes[j]);
                comma = ",";
            }
        }
        buf_add_byte(json, '}');
        comma = ",";
    }
}

static void add_document(struct buf *json)
{
    buf_add_str(
        json,
        "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"becket\",\"version\":\"v1\",\"description\":"
        "\"Admin API of becket: sources, secrets, tokens, and the events that were received.\"},"
        "\"servers\":[{\"url\":\"/\"}],\"security\":[{\"token\":[]}],\"paths\":{");
    add_paths(json);
    buf_add_str(json, "},\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\","
                      "\"scheme\":\"bearer\"}},"
                      "\"schemas\":{");
    for (size_t i = 0; i < bk_array_length(schemas); i++) {
        buf_printf(json, "%s\"%s\":%s", i == 0 ? "" : ",", schemas[i].name, schemas[i].json);
    }
    buf_add_str(json, "}}}");
}

enum api_step api_openapi(struct api_call *call)
{
    struct buf *json = &call->api->openapi;
    if (json->bytes == 0) {
        buf_init(json, API_RESPONSE_BYTES_MAX);
        add_document(json);
    }
    if (json->overflow) {
        buf_fini(json);
        return api_fail(call, BK_NO_MEMORY, "openapi.json");
    }
    call->response->shared = buf_slice(json);
    return api_json(call, 200);
}
