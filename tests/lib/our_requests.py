"""The requests that becket makes of providers, each to the letter: path, query, headers, content type, body. Our own words, out of
the providers' documentation; the doubles refuse whatever is not here (tests/lib/doubles.py), so that a member too many, one
missing, or one of another type fails the test. What the providers themselves publish is asked by tests/wire/i02-schemas.t.

A schema is what openapi.Description.check() takes, but objects have no members beyond those named, and all that are not in
`optional` must be there.
"""
import json
import re
import urllib.parse

from openapi import Description

TEXT = {'type': 'string', 'minLength': 1}
FLAG = {'type': 'boolean'}


def word(pattern):
    return {'type': 'string', 'pattern': '^(%s)$' % pattern}


def a_list(of, least=0):
    return {'type': 'array', 'items': of, 'minItems': least, 'uniqueItems': True}


def object_of(members, optional=()):
    return {'type': 'object', 'properties': members, 'additionalProperties': False,
            'required': [name for name in members if name not in optional]}


ADDRESS = word(r'https?://[^/\s]+/\S*')
EVENTS = a_list(word(r'[a-z_*]+'), 1)
PAGE = word(r'[1-9][0-9]{0,5}')
CALLER = {'User-Agent': r'becket'}
JSON = {'Accept': r'application/json', 'Accept-Encoding': r'identity'}

# ---- GitHub: https://docs.github.com/en/rest/repos/webhooks, /rest/orgs/webhooks, /rest/apps/apps

GITHUB_CONFIG = object_of({'url': ADDRESS, 'content_type': word('json'), 'secret': TEXT, 'insecure_ssl': word('0')})
GITHUB_NEW = object_of({'name': word('web'), 'active': FLAG, 'events': EVENTS, 'config': GITHUB_CONFIG})
GITHUB_CHANGE = object_of({'active': FLAG, 'events': EVENTS, 'config': GITHUB_CONFIG})
GITHUB = {
    'headers': dict(CALLER, **{'Accept': r'application/vnd\.github\+json, application/json', 'Accept-Encoding': r'identity',
                               'X-GitHub-Api-Version': r'2022-11-28',
                               'Authorization': r'(Bearer|Basic) \S+'}),
    'GET /user': {},
    'GET /repos/{owner}/{repo}': {},
    'GET /orgs/{org}': {},
    'POST /app/installations/{number}/access_tokens': {},
}
GITHUB['GET /repositories/{number}'] = {}  # where GitHub leads to when a repository has a new name
for place in ('/repos/{owner}/{repo}', '/repositories/{number}', '/orgs/{org}'):
    GITHUB.update({
        'GET %s/hooks' % place: {'query': {'per_page': word('100'), 'page': PAGE}},
        'POST %s/hooks' % place: {'body': GITHUB_NEW},
        'PATCH %s/hooks/{number}' % place: {'body': GITHUB_CHANGE},
        'DELETE %s/hooks/{number}' % place: {},
    })

# ---- Gitea and Forgejo: https://docs.gitea.com/api

GITEA_CONFIG = object_of({'url': ADDRESS, 'content_type': word('json'), 'secret': TEXT})
GITEA = {
    'base': '/api/v1',
    'headers': dict(CALLER, **JSON, **{'Authorization': r'(token|Bearer|Basic) \S+'}),
    'GET /user': {},
    'GET /repos/{owner}/{repo}': {},
    'GET /orgs/{org}': {},
}
for place in ('/repos/{owner}/{repo}', '/orgs/{org}'):
    GITEA.update({
        'GET %s/hooks' % place: {'query': {'limit': word('50'), 'page': PAGE}},
        'POST %s/hooks' % place: {'body': object_of({'type': word('gitea'), 'active': FLAG, 'events': EVENTS,
                                                     'config': GITEA_CONFIG})},
        'PATCH %s/hooks/{number}' % place: {'body': object_of({'active': FLAG, 'events': EVENTS, 'config': GITEA_CONFIG})},
        'DELETE %s/hooks/{number}' % place: {},
    })

# ---- GitLab: https://docs.gitlab.com/api/project_webhooks/, https://docs.gitlab.com/api/group_webhooks/

GITLAB_SWITCHES = ['push_events', 'tag_push_events', 'merge_requests_events', 'note_events', 'issues_events',
                   'confidential_issues_events', 'pipeline_events', 'job_events', 'wiki_page_events', 'deployment_events',
                   'releases_events']
GITLAB_LATE = ['confidential_note_events', 'feature_flag_events', 'milestone_events', 'emoji_events',
               'resource_access_token_events', 'vulnerability_events']  # only where they are to change
GITLAB = {
    'base': '/api/v4',
    'headers': dict(CALLER, **JSON),
    'one of': {'PRIVATE-TOKEN': r'\S+', 'Authorization': r'(Bearer|Basic) \S+'},
    'GET /user': {},
    'GET /version': {},  # where /user is not known
    'GET /projects/{id}': {},
    'GET /groups/{id}': {},
}
for place, more, late in (('/projects/{id}', [], GITLAB_LATE),
                          ('/groups/{id}', ['subgroup_events'], GITLAB_LATE + ['member_events', 'project_events'])):
    hook = object_of(dict({'url': ADDRESS, 'token': TEXT, 'enable_ssl_verification': FLAG},
                          **{name: FLAG for name in GITLAB_SWITCHES + more + late}), late)
    GITLAB.update({
        'GET %s/hooks' % place: {'query': {'per_page': word('100'), 'page': PAGE}},
        'POST %s/hooks' % place: {'body': hook},
        'PUT %s/hooks/{number}' % place: {'body': hook},
        'DELETE %s/hooks/{number}' % place: {},
    })

# ---- Semaphore: https://docs.semaphore.io/reference/api

NAME = word(r'becket-webhook-[0-9a-f]{32}')
NONE = {'type': 'array', 'items': TEXT, 'maxItems': 0}
SEMAPHORE = {
    'headers': dict(JSON, **{'User-Agent': r'SemaphoreCI v2\.0 Client', 'Content-Type': r'application/json',
                             'Authorization': r'(Token|Bearer) \S+'}),
    'GET /api/v1alpha/projects': {},
    'GET /api/v1alpha/projects/{name}': {},
    'GET /api/v1beta/secrets/{name}': {},
    'DELETE /api/v1beta/secrets/{name}': {},
    'POST /api/v1beta/secrets': {'body': object_of({
        'apiVersion': word('v1beta'), 'kind': word('Secret'), 'metadata': object_of({'name': NAME}),
        'data': object_of({'env_vars': a_list(object_of({'name': word('WEBHOOK_SECRET'), 'value': TEXT}), 1)})})},
    'GET /api/v1alpha/notifications/{name}': {},
    'DELETE /api/v1alpha/notifications/{name}': {},
    'POST /api/v1alpha/notifications': {'body': object_of({
        'apiVersion': word('v1alpha'), 'kind': word('Notification'), 'metadata': object_of({'name': NAME}),
        'spec': object_of({'rules': a_list(object_of({
            'name': TEXT,
            'filter': object_of({'branches': NONE, 'pipelines': NONE, 'projects': a_list(TEXT, 1), 'results': NONE}),
            'notify': object_of({'webhook': object_of({'endpoint': ADDRESS, 'secret': NAME}), 'slack': object_of({})})}), 1)})})},
}

# ---- Slack: https://docs.slack.dev/reference/methods

CURSOR = {'type': 'string', 'minLength': 1}
CHANNEL = word(r'[CGD][A-Z0-9]{8,}')
SLACK = {
    'base': '/api',
    'headers': dict(CALLER, **JSON, **{'Authorization': r'Bearer \S+', 'token': r'\S+'}),
    'GET /auth.test': {},
    'GET /conversations.list': {'query': {'exclude_archived': word('true'), 'limit': word('200|999'),
                                          'types': word('public_channel(,private_channel)?'), 'cursor': CURSOR},
                                'optional': ['cursor']},
    'GET /conversations.info': {'query': {'channel': CHANNEL}},
    'GET /conversations.history': {'query': {'channel': TEXT, 'limit': word('100'), 'cursor': CURSOR}, 'optional': ['cursor']},
    'POST /chat.postMessage': {'form': object_of({'channel': TEXT, 'text': TEXT, 'blocks': {'type': 'json', 'of': a_list(object_of({
        'type': word('section'), 'block_id': word('becket-[0-9a-f]{24}'),
        'text': object_of({'type': word('mrkdwn'), 'text': dict(TEXT, maxLength=3000)})}), 1)}})},
}

# ---- Discord: https://discord.com/developers/docs/resources/channel, /resources/message

DISCORD = {
    'base': '/api/v10',
    'headers': dict(JSON, **{'User-Agent': r'DiscordBot \(https?://\S+, becket\)', 'Authorization': r'(Bot|Bearer) \S+'}),
    'GET /users/@me': {},
    'GET /channels/{number}': {},
    'GET /channels/{number}/messages': {'query': {'limit': word('100'), 'after': word(r'[0-9]{1,20}')}},
    'POST /channels/{number}/messages': {'body': object_of({
        'content': dict(TEXT, maxLength=2000), 'allowed_mentions': object_of({'parse': NONE}),
        'nonce': dict(TEXT, maxLength=25), 'enforce_nonce': {'type': 'boolean', 'enum': [True]}})},
}

# ---- signing in: the endpoints of each are at /authorize, /token, /revoke and /user here; `kind` is the integration's type.
# https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps, https://docs.gitlab.com/api/oauth2/,
# https://docs.gitea.com/development/oauth2-provider, https://docs.slack.dev/authentication/installing-with-oauth,
# https://discord.com/developers/docs/topics/oauth2, https://developers.google.com/identity/protocols/oauth2/web-server,
# https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/

VERIFIER = word(r'[A-Za-z0-9_-]{43}')
PKCE = {'code_challenge': VERIFIER, 'code_challenge_method': word('S256')}
SIGN_IN = {'response_type': word('code'), 'client_id': TEXT, 'redirect_uri': ADDRESS, 'scope': TEXT, 'state': word(r'[A-Za-z0-9_-]{22,}')}
GOOGLE_ASKS = {'access_type': word('offline'), 'prompt': word('consent'), 'include_granted_scopes': word('true')}
ATLASSIAN_ASKS = {'audience': word('api.atlassian.com'), 'prompt': word('consent')}
IN_FORM = {'client_id': TEXT, 'client_secret': TEXT}


def signing_in(asks={}, pkce=True, basic=False, refresh={}, revoke='form', agent=r'becket', identity=True, bare=False):
    code = {'grant_type': word('authorization_code'), 'code': TEXT, 'redirect_uri': ADDRESS}
    code.update({'code_verifier': VERIFIER} if pkce else {})
    again = dict({'grant_type': word('refresh_token'), 'refresh_token': TEXT}, **refresh)
    form = {} if basic else IN_FORM
    headers = dict(JSON, **{'User-Agent': agent})
    who = dict(headers, Authorization=r'Basic \S+') if basic else headers
    requests = {
        'authorize': object_of(dict(SIGN_IN, **dict(PKCE if pkce else {}, **asks)), ['scope']),
        'authorization_code': {'headers': who, 'form': object_of(dict(code, **form))},
        'refresh_token': {'headers': who, 'form': object_of(dict(again, **form))},
    }
    if identity:
        requests['identity'] = {'headers': dict(headers, Authorization=r'Bearer \S+')}
    if revoke == 'form':
        requests['revoke'] = {'method': 'POST', 'headers': headers if bare else who,
                              'form': object_of(dict({'token': TEXT}, **({} if bare else form)))}
    elif revoke == 'json':
        requests['revoke'] = {'method': 'DELETE', 'headers': dict(headers, Authorization=r'Basic \S+'),
                              'body': object_of({'access_token': TEXT})}
    return requests


SIGN_INS = {
    'github': signing_in(revoke='json'),
    'gitlab': signing_in(refresh={'redirect_uri': ADDRESS}),
    'gitea': signing_in(revoke=None),
    'slack': signing_in(pkce=False, basic=True, identity=False, bare=True),
    'discord': signing_in(basic=True, agent=r'DiscordBot \(https?://\S+, becket\)'),
    'google': signing_in(GOOGLE_ASKS),
    'atlassian': signing_in(ATLASSIAN_ASKS, pkce=False, revoke=None),
}

# Where the POST is not known: as Slack's description of its API has it, GET alone.
SLACK_BY_QUERY = {
    'base': '/api',
    'headers': dict(CALLER, **JSON),
    'GET /oauth.v2.access': {'query': {'code': TEXT, 'redirect_uri': ADDRESS, 'client_id': TEXT, 'client_secret': TEXT}},
    'GET /auth.revoke': {'query': {'token': TEXT}},
}

PARAMETER = {'number': r'[0-9]+'}  # what stands in braces; anything but a slash else


def unique_members(pairs):
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise ValueError('a member is there twice: %s' % ', '.join(names))
    return dict(pairs)


class Requests:
    """Of one provider: what is wrong with a request, in words; [] when it is one of ours."""
    FREE = {'host', 'connection', 'content-length', 'content-type', 'transfer-encoding', 'accept-encoding'}

    def __init__(self, table):
        self.base, self.headers, self.one_of = table.get('base', ''), table.get('headers', {}), table.get('one of', {})
        self.checker = Description.__new__(Description)
        self.checker.root = {}
        self.rows = []
        for name, request in table.items():
            method, _, path = name.partition(' ')
            if path.startswith('/'):
                pattern = re.sub(r'\\?\{(\w+)\\?\}', lambda m: '(%s)' % PARAMETER.get(m.group(1), r'[^/]+'), re.escape(path))
                self.rows.append((method, re.compile(pattern), name, request))

    def wrongs(self, method, path, query, headers, body):
        """headers: of http.server, as they came."""
        path = path.removeprefix(self.base)
        found = [(name, request) for m, pattern, name, request in self.rows if m == method and pattern.fullmatch(path)]
        if not found:
            return ['becket makes no request %s %s' % (method, path)]
        name, request = found[0]
        wrong = self.header_wrongs(headers) + self.query_wrongs(request, query) + self.body_wrongs(method, request, headers, body)
        return ['%s: %s' % (name, w) for w in wrong]

    def header_wrongs(self, headers):
        wrong, names = [], [name.lower() for name, _ in headers.items()]
        wrong += ['header %s is there twice' % n for n in sorted(set(names)) if names.count(n) > 1]
        for name, pattern in self.headers.items():
            value = headers.get(name)
            if value is None:
                wrong.append('header %s is missing' % name)
            elif not re.fullmatch(pattern, value):
                wrong.append('header %s is %r' % (name, value))
        some = [n for n, pattern in self.one_of.items() if re.fullmatch(pattern, headers.get(n) or '')]
        if self.one_of and len(some) != 1:
            wrong.append('of the headers %s it has %d' % (', '.join(self.one_of), len(some)))
        known = self.FREE | {n.lower() for n in list(self.headers) + list(self.one_of)}
        return wrong + ['header %s is not known' % n for n in sorted(set(names) - known)]

    def query_wrongs(self, request, query):
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        schema = object_of(request.get('query', {}), request.get('optional', ()))
        return self.checker.check(schema, dict(pairs), 'query') if len(dict(pairs)) == len(pairs) else ['query: a name is there twice']

    def body_wrongs(self, method, request, headers, body):
        kind, schema = headers.get('Content-Type'), request.get('body')
        if method in ('POST', 'PUT', 'PATCH') and 'Content-Length' not in headers:
            return ['header Content-Length is missing']
        if not schema and 'form' not in request:
            return ['it takes no body'] if body or (kind and 'Content-Type' not in self.headers) else []
        if schema:
            if kind != 'application/json':
                return ['content type %r' % kind]
            try:
                return self.checker.check(schema, json.loads(body.decode(), object_pairs_hook=unique_members), 'body')
            except ValueError as problem:
                return ['body: %s' % problem]
        if kind != 'application/x-www-form-urlencoded':
            return ['content type %r' % kind]
        try:
            pairs = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
            value = unique_members(pairs)
            form = {n: s for n, s in request['form']['properties'].items() if s.get('type') != 'json'}
            wrong = []
            for name, inner in request['form']['properties'].items():  # JSON within a field
                if inner.get('type') == 'json' and name in value:
                    wrong += self.checker.check(inner['of'], json.loads(value.pop(name), object_pairs_hook=unique_members), name)
                elif inner.get('type') == 'json':
                    wrong.append('%s is missing' % name)
            return wrong + self.checker.check(object_of(form), value, 'form')
        except ValueError as problem:
            return ['form: %s' % problem]
