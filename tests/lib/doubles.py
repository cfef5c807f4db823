"""Doubles of providers' APIs for wire tests: they answer as the providers' documentation says, refuse what does not
fit (our_requests.py), and fail on demand. One class a provider, one thread a double.

    github = GitHub(token='ghp_1')
    github.repositories['acme/hello'] = {}
    github.fault = lambda call: Answer(503) if call.number == 2 else None
"""
import base64
import json
import re
import subprocess
import tempfile
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import our_requests
from becket import is_equal

class Call:
    def __init__(self, number, method, path, query, headers, body):
        self.number, self.method, self.path = number, method, path
        self.query = dict(urllib.parse.parse_qsl(query))
        self.query_text, self.headers, self.body = query, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Reply:
    def __init__(self, status, body=None, headers=None):
        self.status, self.body, self.headers = status, body, headers or {}


CUT = object()   # the work is done, the answer is cut off
LOST = object()  # nothing is done, the connection closes


class Double:
    ours = None  # the requests that are made of this provider; all others are refused

    def __init__(self, token):
        self.token = token
        self.misfits = []
        self.calls = []
        self.fault = lambda call: None
        self.pause = lambda method, path: 0  # seconds until it is looked at; others come first
        self.lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def run(self):
                length = int(self.headers.get('Content-Length') or 0)
                body = self.rfile.read(length)
                url = urllib.parse.urlsplit(self.path)
                time.sleep(double.pause(self.command, url.path))
                with double.lock:
                    call = Call(len(double.calls) + 1, self.command, url.path, url.query, self.headers, body)
                    double.calls.append(call)
                    fault = double.fault(call)
                    if fault is LOST:
                        self.close_connection = True
                        return
                    reply = fault if isinstance(fault, Reply) else double.answer(call)
                if fault is CUT:
                    self.close_connection = True
                    return
                text = b'' if reply.body is None else reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header('Content-Type', 'application/json; charset=utf-8')
                    self.send_header('Content-Length', str(len(text)))
                self.end_headers()
                if reply.status != 204:
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = run

            def log_message(self, *arguments):
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request, address):
                pass  # a client that was killed

        self.server = Quiet(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = 'http://127.0.0.1:%d' % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        if self.ours:
            is_equal(self.misfits, [], '%s: every request is one of ours' % type(self).__name__)

    def answer(self, call):
        wrong = self.ours.wrongs(call.method, call.path, call.query_text, call.headers, call.body) if self.ours else []
        if wrong:
            self.misfits += wrong
            return Reply(422, {'message': 'it does not fit: ' + wrong[0]})
        refused = self.authenticate(call)
        return refused or self.route(call)


def integration(double, kind, name=None):
    """The document of one that leads to the double, not checked, with its token."""
    return '''
kind: Integration
metadata: {name: %s}
spec: {type: %s, url: "%s/acme", apiUrl: "%s", check: false, allowPrivate: true,
       auth: {use: AUTH_TYPE_TOKEN, token: {value: %s}}}
''' % (name or kind, kind, double.url, double.url, double.token)


def valid(schema, value):
    """A few words of JSON schema: type by example, nested; unknown members are refused."""
    if isinstance(schema, dict):
        return isinstance(value, dict) and set(value) <= set(schema) and all(valid(schema[k], v) for k, v in value.items())
    if isinstance(schema, list):
        return isinstance(value, list) and all(valid(schema[0], v) for v in value)
    return isinstance(value, schema)


class GitHub(Double):
    """https://docs.github.com/en/rest/repos/webhooks"""
    ours = our_requests.Requests(our_requests.GITHUB)
    HOOK = {'name': str, 'active': bool, 'events': [str],
            'config': {'url': str, 'content_type': str, 'secret': str, 'insecure_ssl': str}}

    page_size = 100

    def __init__(self, token='ghp_double'):
        self.repositories = {}
        self.organizations = {}
        self.renamed = {}         # old name -> (number, new name)
        self.issued = set()
        self.next_id = 100
        self.may = True
        super().__init__(token)

    def authenticate(self, call):
        if not call.headers.get('User-Agent'):
            return Reply(403, {'message': 'Request forbidden by administrative rules.'})
        match = re.fullmatch(r'/app/installations/(\d+)/access_tokens', call.path)
        if match:
            return self.app_token(call, match.group(1))
        if call.headers.get('Authorization', '').partition(' ')[2] not in {self.token} | self.issued:
            return Reply(401, {'message': 'Bad credentials', 'documentation_url': 'https://docs.github.com/rest'})
        return None

    def app_token(self, call, installation):
        """A JWT of the app, checked by openssl with its public key (self.app: id, installation, PEM file)."""
        scheme, _, jwt = call.headers.get('Authorization', '').partition(' ')
        if not getattr(self, 'app', None) or scheme != 'Bearer' or jwt.count('.') != 2:
            return Reply(401, {'message': 'A JSON web token could not be decoded'})
        pad = lambda text: base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
        signed, _, signature = jwt.rpartition('.')
        head, claims = (json.loads(pad(part)) for part in signed.split('.'))
        now = time.time()
        with tempfile.NamedTemporaryFile() as mac:
            mac.write(pad(signature))
            mac.flush()
            genuine = subprocess.run(['openssl', 'dgst', '-sha256', '-verify', self.app[2], '-signature', mac.name],
                                     input=signed.encode(), capture_output=True).returncode == 0
        if head.get('alg') != 'RS256' or not genuine or str(claims.get('iss')) != self.app[0] or \
                not claims['iat'] <= now < claims['exp'] <= now + 600:
            return Reply(401, {'message': 'A JSON web token could not be decoded'})
        if installation != self.app[1]:
            return Reply(404, {'message': 'Not Found'})
        token = 'ghs_%d' % len(self.calls)
        self.issued.add(token)
        until = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now + 3600))
        return Reply(201, {'token': token, 'expires_at': until, 'permissions': {}})

    def route(self, call):
        if call.path == '/user':
            return Reply(200, {'login': 'octo', 'id': 583231}, {'X-OAuth-Scopes': 'repo, admin:repo_hook'})
        for old, (number, new) in self.renamed.items():
            if call.path.startswith('/repos/' + old):
                place = '%s/repositories/%d%s' % (self.url, number, call.path[len('/repos/' + old):])
                return Reply(301 if call.method == 'GET' else 307, {'message': 'Moved Permanently', 'url': place},
                             {'Location': place + ('?' + call.query_text if call.query_text else '')})
            call.path = re.sub('^/repositories/%d(?=/|$)' % number, '/repos/' + new, call.path)
        match = re.fullmatch(r'/(?:repos/([^/]+/[^/]+)|orgs/([^/]+))(/hooks(?:/(\d+))?)?', call.path)
        if not match:
            return Reply(404, {'message': 'Not Found'})
        known = self.repositories if match.group(1) else self.organizations
        name = urllib.parse.unquote(match.group(1) or match.group(2))
        if name not in known:
            return Reply(404, {'message': 'Not Found'})
        if not match.group(3):
            return Reply(200, {'id': 7, 'name': name.split('/')[1], 'full_name': name} if match.group(1) else
                         {'id': 8, 'login': name})
        if not self.may:
            return Reply(403, {'message': 'Resource not accessible by personal access token'})
        hooks = known[name]
        if match.group(4):
            return self.one_hook(call, hooks, int(match.group(4)))
        if call.method == 'GET':
            return self.list_hooks(call, hooks)
        if call.method != 'POST' or not valid(self.HOOK, call.json) or call.json.get('name') != 'web':
            return Reply(422, {'message': 'Validation Failed', 'errors': [{'resource': 'Hook', 'code': 'invalid'}]})
        if any(h['config']['url'] == call.json['config']['url'] for h in hooks.values()):
            return Reply(422, {'message': 'Validation Failed',
                               'errors': [{'message': 'Hook already exists on this repository'}]})
        self.next_id += 1
        hooks[self.next_id] = call.json
        return Reply(201, self.shown(self.next_id, call.json))

    def shown(self, number, hook):
        return {'type': 'Repository', 'id': number, 'name': 'web', 'active': hook['active'], 'events': hook['events'],
                'config': dict(hook['config'], secret='********')}

    def list_hooks(self, call, hooks):
        if not set(call.query) <= {'page', 'per_page'}:
            return Reply(422, {'message': 'Invalid request.'})
        page, size = int(call.query.get('page', 1)), min(int(call.query.get('per_page', 30)), self.page_size)
        ids = sorted(hooks)
        part = ids[(page - 1) * size:page * size]
        more = {'Link': '<%s%s?page=%d>; rel="next"' % (self.url, call.path, page + 1)} if len(ids) > page * size else {}
        return Reply(200, [self.shown(n, hooks[n]) for n in part], more)

    def one_hook(self, call, hooks, number):
        if number not in hooks:
            return Reply(404, {'message': 'Not Found'})
        if call.method == 'DELETE':
            del hooks[number]
            return Reply(204)
        if call.method == 'PATCH':
            if not valid(self.HOOK, dict(call.json)):
                return Reply(422, {'message': 'Validation Failed'})
            hooks[number].update(call.json)
        return Reply(200, self.shown(number, hooks[number]))


class Semaphore(Double):
    """https://docs.semaphore.io/reference/api"""
    ours = our_requests.Requests(our_requests.SEMAPHORE)
    SECRET = {'apiVersion': str, 'kind': str, 'metadata': {'name': str}, 'data': {'env_vars': [{'name': str, 'value': str}]}}
    RULE = {'name': str, 'filter': {'projects': [str], 'branches': [str], 'pipelines': [str], 'results': [str]},
            'notify': {'webhook': {'endpoint': str, 'secret': str}, 'slack': {}}}
    NOTIFICATION = {'apiVersion': str, 'kind': str, 'metadata': {'name': str}, 'spec': {'rules': [RULE]}}

    def __init__(self, token='sem_double'):
        self.projects = {}
        self.secrets = {}
        self.notifications = {}
        self.next_id = 0
        super().__init__(token)

    def authenticate(self, call):
        if call.headers.get('Authorization') != 'Token ' + self.token:
            return Reply(401, {'message': 'Unauthorized'})
        return None

    def route(self, call):
        kind, _, name = call.path.removeprefix('/api/v1alpha/').removeprefix('/api/v1beta/').partition('/')
        name = urllib.parse.unquote(name)
        if kind == 'projects':
            if not name:
                return Reply(200, [self.project(n) for n in self.projects])
            return Reply(200, self.project(name)) if name in self.projects else Reply(404, {'message': 'Not found'})
        store, schema = {'secrets': (self.secrets, self.SECRET),
                         'notifications': (self.notifications, self.NOTIFICATION)}.get(kind, (None, None))
        if store is None:
            return Reply(404, {'message': 'Not found'})
        if call.method == 'POST':
            document = call.json
            new = document.get('metadata', {}).get('name')
            if not valid(schema, document) or not new or re.fullmatch(r'[0-9a-f-]{36}', new):
                return Reply(400, {'message': 'malformed'})
            if kind == 'notifications' and 'slack' not in document['spec']['rules'][0]['notify']:
                return Reply(500, {'message': 'internal error'})
            if new in store:
                return Reply(400, {'message': 'name [%s] has already been taken' % new})
            self.next_id += 1
            document['metadata']['id'] = '00000000-0000-4000-8000-%012d' % self.next_id
            store[new] = document
            return Reply(200, document)
        found = name if name in store else next((n for n, d in store.items() if d['metadata']['id'] == name), None)
        if found is None:
            return Reply(404, {'message': 'Not found'})
        if call.method == 'DELETE':
            del store[found]
            return Reply(200, {})
        return Reply(200, store[found])

    def project(self, name):
        return {'metadata': {'name': name, 'id': self.projects[name]}, 'spec': {'repository': {'url': 'git@x:%s' % name}}}


class SignIn(Double):
    """An OAuth 2 server as GitHub's and GitLab's are: code with PKCE, rotating refresh tokens, revocation, identity.
    https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps, RFC 6749, 7009, 7636"""

    def __init__(self, client='client-1', secret='client-secret-1'):
        self.client, self.secret = client, secret
        self.redirects = set()    # allowed redirect_uris; empty = any
        self.codes = {}           # code -> (redirect_uri, challenge)
        self.access = set()
        self.refresh = set()
        self.used = set()         # refresh tokens that were used before
        self.expires_in = None
        self.user = {'id': 583231, 'login': 'octo', 'name': 'Octo <b>Cat</b>', 'email': 'octo@example.com'}
        self.revoked = []
        self.count = 0
        super().__init__(secret)

    def authenticate(self, call):
        return None

    def allow(self, location):
        """What the browser does at the provider: the page is shown, the person agrees; the callback's address."""
        url = urllib.parse.urlsplit(location)
        query = dict(urllib.parse.parse_qsl(url.query))
        assert query['client_id'] == self.client and query['response_type'] == 'code', query
        if not isinstance(self, SlackSignIn):  # Slack has no PKCE
            assert query['code_challenge_method'] == 'S256' and len(query['code_challenge']) == 43, query
        self.count += 1
        code = 'code-%d' % self.count
        self.codes[code] = (query['redirect_uri'], query.get('code_challenge'))
        return query['redirect_uri'] + '?' + urllib.parse.urlencode({'code': code, 'state': query['state']})

    def grant(self):
        self.count += 1
        tokens = {'access_token': 'access-planted-%d' % self.count, 'token_type': 'bearer', 'scope': 'repo'}
        self.access = {tokens['access_token']}
        if self.expires_in is not None:
            tokens.update(expires_in=self.expires_in, refresh_token='refresh-planted-%d' % self.count)
            self.refresh.add(tokens['refresh_token'])
        return Reply(200, tokens)

    def route(self, call):
        if call.path == '/user':
            token = (call.headers.get('Authorization') or '').removeprefix('Bearer ')
            return Reply(200, self.user) if token in self.access else Reply(401, {'message': 'Bad credentials'})
        form = dict(urllib.parse.parse_qsl(call.body.decode()))
        if call.path == '/token' and call.method == 'POST':
            if (form.get('client_id'), form.get('client_secret')) != (self.client, self.secret):
                return Reply(200, {'error': 'incorrect_client_credentials'})
            if form.get('grant_type') == 'authorization_code':
                return self.exchange(form)
            token = form.get('refresh_token')
            if token not in self.refresh:
                return Reply(400, {'error': 'invalid_grant', 'error_description': 'The refresh token is unknown'})
            self.refresh.discard(token)
            self.used.add(token)
            return self.grant()
        if call.path == '/revoke':
            self.revoked.append(form.get('token') or (call.body and call.json.get('access_token')))
            return Reply(200, {})
        return Reply(404, {'message': 'Not Found'})

    def exchange(self, form):
        redirect, challenge = self.codes.pop(form.get('code'), (None, None))
        import base64
        import hashlib
        digest = hashlib.sha256(form.get('code_verifier', '').encode()).digest()
        if redirect is None or redirect != form.get('redirect_uri') or \
                base64.urlsafe_b64encode(digest).decode().rstrip('=') != challenge:
            return Reply(200, {'error': 'bad_verification_code', 'error_description': 'The code is incorrect or expired.'})
        return self.grant()


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


class SigningKey:
    """A key of an OpenID provider, made and used by openssl: RS256 or ES256."""

    def __init__(self, kid, algorithm='RS256'):
        self.kid, self.algorithm = kid, algorithm
        self.file = tempfile.NamedTemporaryFile(suffix='.pem')
        make = {'RS256': ['genrsa', '2048'], 'ES256': ['ecparam', '-genkey', '-noout', '-name', 'prime256v1']}[algorithm]
        self.file.write(subprocess.run(['openssl'] + make, check=True, capture_output=True).stdout)
        self.file.flush()
        if algorithm == 'RS256':
            text = subprocess.run(['openssl', 'rsa', '-in', self.file.name, '-noout', '-modulus'], check=True,
                                  capture_output=True).stdout.decode().strip()
            self.jwk = {'kty': 'RSA', 'use': 'sig', 'alg': 'RS256', 'kid': kid, 'e': 'AQAB',
                        'n': url64(bytes.fromhex(text.split('=')[1]))}
        else:
            point = subprocess.run(['openssl', 'ec', '-in', self.file.name, '-pubout', '-outform', 'DER'], check=True,
                                   capture_output=True).stdout[-64:]
            self.jwk = {'kty': 'EC', 'crv': 'P-256', 'use': 'sig', 'kid': kid, 'x': url64(point[:32]), 'y': url64(point[32:])}

    def sign(self, head, claims):
        text = url64(json.dumps(head).encode()) + '.' + url64(json.dumps(claims).encode())
        signature = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', self.file.name], input=text.encode(), check=True,
                                   capture_output=True).stdout
        if self.algorithm == 'ES256':  # SEQUENCE of two INTEGERs, to two numbers of 32 bytes
            first = signature[4:4 + signature[3]]
            second = signature[6 + len(first):]
            signature = b''.join(part.lstrip(b'\0').rjust(32, b'\0') for part in (first, second))
        return text + '.' + url64(signature)


class OpenId(SignIn):
    """An OpenID provider without a userinfo endpoint: the ID token says who it is. `spoil(head, claims)` may alter them;
    `key` signs, `keys` are published. https://openid.net/specs/openid-connect-core-1_0.html"""

    def __init__(self, algorithm='RS256'):
        self.key = SigningKey('one', algorithm)
        self.keys = [self.key]
        self.spoil = lambda head, claims: None
        self.mangle = lambda token: token
        self.nonce = {}
        super().__init__()

    def allow(self, location):
        back = super().allow(location)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(location).query))
        self.nonce['code-%d' % self.count] = query.get('nonce')
        return back

    def route(self, call):
        if call.path == '/.well-known/openid-configuration':
            return Reply(200, {'issuer': self.url, 'jwks_uri': self.url + '/keys'})
        if call.path == '/keys':
            return Reply(200, {'keys': [k.jwk for k in self.keys]})
        reply = super().route(call)
        form = dict(urllib.parse.parse_qsl(call.body.decode()))
        if call.path == '/token' and reply.status == 200 and 'access_token' in reply.body:
            now = int(time.time())
            head = {'alg': self.key.algorithm, 'typ': 'JWT', 'kid': self.key.kid}
            claims = {'iss': self.url, 'aud': self.client, 'sub': 'ann-1', 'iat': now, 'exp': now + 300,
                      'nonce': self.nonce.get(form.get('code')), 'preferred_username': 'ann', 'email': 'ann@example.com'}
            self.spoil(head, claims)
            reply.body['id_token'] = self.mangle(self.key.sign(head, claims))
        return reply


class SlackSignIn(SignIn):
    """https://api.slack.com/authentication/oauth-v2: everything is 200, `ok` tells."""

    def route(self, call):
        form = dict(urllib.parse.parse_qsl(call.body.decode()))
        if call.path != '/token':
            return Reply(200, {'ok': False, 'error': 'unknown_method'})
        basic = base64.b64encode(('%s:%s' % (self.client, self.secret)).encode()).decode()
        if call.headers.get('Authorization') != 'Basic ' + basic or 'client_secret' in form:
            return Reply(200, {'ok': False, 'error': 'bad_client_secret'})
        if self.codes.pop(form.get('code'), (None,))[0] != form.get('redirect_uri'):
            return Reply(200, {'ok': False, 'error': 'invalid_code'})
        return Reply(200, {'ok': True, 'access_token': 'xoxb-planted-1', 'token_type': 'bot', 'scope': 'chat:write',
                           'team': {'id': 'T1', 'name': 'Acme'}, 'authed_user': {'id': 'U061F7AUR'}})


class Slack(Double):
    """https://docs.slack.dev/reference/methods: 200 with ok:false for what is refused, 429 with Retry-After for too much.
    Forms or JSON. Nothing but the ids of its blocks tells that a message is there twice."""
    ours = our_requests.Requests(our_requests.SLACK)
    BLOCK = {'type': str, 'block_id': str, 'text': {'type': str, 'text': str}}

    def __init__(self, token='xoxb-double'):
        self.channels = {'C0123456789': 'general'}
        self.messages = []
        self.scopes = {'chat:write', 'channels:read', 'channels:history'}
        self.says_scopes = True   # in a header of each answer
        self.outside = set()      # channels that the app is not in
        self.page_size = 100
        super().__init__(token)

    def authenticate(self, call):
        if call.headers.get('Authorization') != 'Bearer ' + self.token:
            return Reply(200, {'ok': False, 'error': 'invalid_auth'})
        needed = {'conversations.list': 'channels:read', 'conversations.info': 'channels:read', 'chat.postMessage': 'chat:write',
                  'conversations.history': 'channels:history'}.get(call.path.rpartition('/')[2])
        if call.path.endswith('/conversations.list') and 'private' in call.query.get('types', '') and needed in self.scopes:
            needed = 'groups:read'
        if needed and needed not in self.scopes:
            return Reply(200, {'ok': False, 'error': 'missing_scope', 'needed': needed, 'provided': ','.join(self.scopes)})
        return None

    def page(self, call, items):
        """Cursors are opaque: a number that nobody should read."""
        start = int(base64.b64decode(call.query['cursor'])) if call.query.get('cursor') else 0
        size = min(int(call.query.get('limit', 100)), self.page_size)
        more = start + size < len(items)
        return items[start:start + size], {'next_cursor': base64.b64encode(b'%d' % (start + size)).decode() if more else ''}

    def answer(self, call):
        reply = super().answer(call)
        reply.headers = dict(reply.headers, **{'X-OAuth-Scopes': ', '.join(sorted(self.scopes))}) if self.says_scopes else reply.headers
        return reply

    def route(self, call):
        method = call.path.rpartition('/')[2]
        if method == 'auth.test':
            return Reply(200, {'ok': True, 'team': 'Acme', 'team_id': 'T1', 'user_id': 'UBOT'})
        if method == 'conversations.list':
            channels, more = self.page(call, [{'id': i, 'name': n} for i, n in self.channels.items()])
            return Reply(200, {'ok': True, 'channels': channels, 'response_metadata': more})
        if method == 'conversations.info':
            channel = call.query.get('channel')
            if channel not in self.channels:
                return Reply(200, {'ok': False, 'error': 'channel_not_found'})
            return Reply(200, {'ok': True, 'channel': {'id': channel, 'name': self.channels[channel]}})
        if method == 'conversations.history':
            if call.query.get('channel') not in self.channels:
                return Reply(200, {'ok': False, 'error': 'channel_not_found'})
            if call.query['channel'] in self.outside:
                return Reply(200, {'ok': False, 'error': 'not_in_channel'})
            found = [dict(m, ts='1.%d' % n) for n, m in enumerate(self.messages, 1) if m['channel'] == call.query['channel']]
            messages, more = self.page(call, found[::-1])
            return Reply(200, {'ok': True, 'messages': messages, 'has_more': bool(more['next_cursor']),
                               'response_metadata': more})
        if method == 'chat.postMessage':
            form = call.headers.get('Content-Type') == 'application/x-www-form-urlencoded'
            message = dict(urllib.parse.parse_qsl(call.body.decode())) if form else call.json
            if isinstance(message.get('blocks'), str):
                message['blocks'] = json.loads(message['blocks'])
            if not valid({'channel': str, 'text': str, 'blocks': [self.BLOCK]}, message):
                return Reply(200, {'ok': False, 'error': 'invalid_arguments'})
            if any(len(b['text']['text']) > 3000 or len(b['block_id']) > 255 for b in message.get('blocks', [])):
                return Reply(200, {'ok': False, 'error': 'invalid_blocks'})
            if message['channel'] not in self.channels:
                return Reply(200, {'ok': False, 'error': 'channel_not_found'})
            self.messages.append(message)
            return Reply(200, {'ok': True, 'channel': message['channel'], 'ts': '1.%d' % len(self.messages)})
        return Reply(200, {'ok': False, 'error': 'unknown_method'})


class Discord(Double):
    """https://discord.com/developers/docs/resources/message: the same nonce by the same author is one message, for a while;
    the history is empty for who may not read it, and has no nonces."""
    ours = our_requests.Requests(our_requests.DISCORD)
    MESSAGE = {'content': str, 'allowed_mentions': {'parse': [str]}, 'nonce': str, 'enforce_nonce': bool}

    def __init__(self, token='discord-double'):
        self.channels = {'41771983423143937': 'general'}
        self.hidden = set()       # channels that the bot may not see
        self.messages = []
        self.limit = None         # messages until 429
        self.forgets = False      # nonces
        self.reads = True         # Read Message History
        super().__init__(token)

    def history(self, call, channel):
        """Those behind `after`, the oldest of them, the newest first. Ids begin with a time: milliseconds since 2015."""
        found = [m for m in self.messages if m['channel'] == channel and int(m['id']) > int(call.query['after'])]
        shown = [{'id': m['id'], 'content': m['content'].strip(), 'author': {'id': '80351110224678912', 'bot': True}}
                 for m in found[:int(call.query['limit'])]]
        return Reply(200, shown[::-1] if self.reads else [])

    def authenticate(self, call):
        if not re.match(r'DiscordBot \(\S+, \S+\)', call.headers.get('User-Agent', '')):
            return Reply(403, {'message': 'error code: 1010'})
        if call.headers.get('Authorization') != 'Bot ' + self.token:
            return Reply(401, {'message': '401: Unauthorized', 'code': 0})
        return None

    def route(self, call):
        path = call.path.removeprefix('/api/v10')
        if path == '/users/@me':
            return Reply(200, {'id': '80351110224678912', 'username': 'becket', 'bot': True})
        match = re.fullmatch(r'/channels/([^/]+)(/messages)?', path)
        channel = match and match.group(1)
        if not match or (channel not in self.channels and channel not in self.hidden):
            return Reply(404, {'message': 'Unknown Channel', 'code': 10003})
        if channel in self.hidden:
            return Reply(403, {'message': 'Missing Access', 'code': 50001})
        if not match.group(2):
            return Reply(200, {'id': channel, 'type': 0, 'name': self.channels[channel], 'guild_id': '1'})
        if call.method == 'GET':
            return self.history(call, channel)
        message = call.json
        if not valid(self.MESSAGE, message) or not 1 <= len(message['content']) <= 2000 or len(message.get('nonce', '')) > 25:
            return Reply(400, {'message': 'Invalid Form Body', 'code': 50035, 'errors': {}})
        if self.limit is not None:
            if self.limit == 0:
                return Reply(429, {'message': 'You are being rate limited.', 'retry_after': 0.5, 'global': False},
                             {'Retry-After': '1', 'X-RateLimit-Remaining': '0', 'X-RateLimit-Reset-After': '0.5',
                              'X-RateLimit-Scope': 'user'})
            self.limit -= 1
        if message.get('enforce_nonce') and not self.forgets:
            for other in self.messages:
                if other.get('nonce') == message['nonce']:
                    return Reply(200, {'id': other['id'], 'content': other['content']})
        number = str((int(time.time() * 1000) - 1420070400000 << 22) + len(self.messages))
        self.messages.append(dict(message, channel=channel, id=number))
        return Reply(200, {'id': number, 'content': message['content'], 'nonce': message.get('nonce')})


class GitLab(Double):
    """https://docs.gitlab.com/api/project_webhooks/ and group_webhooks: two hooks to one address are no mistake there; every
    switch has a default; a hook that failed too often is disabled."""
    ours = our_requests.Requests(our_requests.GITLAB)
    SWITCHES = our_requests.GITLAB_SWITCHES + our_requests.GITLAB_LATE
    HOOK = dict({name: bool for name in SWITCHES}, url=str, token=str, enable_ssl_verification=bool)

    def __init__(self, token='glpat-double'):
        self.projects = {}
        self.groups = {}
        self.scopes = {'api'}
        self.next_id = 40
        self.page_size = 100
        super().__init__(token)

    def authenticate(self, call):
        bearer = call.headers.get('Authorization', '').removeprefix('Bearer ')
        if self.token not in (call.headers.get('PRIVATE-TOKEN'), bearer):
            return Reply(401, {'message': '401 Unauthorized'})
        if 'api' not in self.scopes and '/hooks' in call.path:
            return Reply(403, {'error': 'insufficient_scope', 'error_description': 'The request requires higher privileges than '
                               'provided by the access token.', 'scope': 'api'})
        return None

    def route(self, call):
        path = call.path.removeprefix('/api/v4')
        if path == '/version':
            return Reply(200, {'version': '18.4.0', 'revision': 'c0ffee'})
        if path == '/user':
            return Reply(200, {'id': 5, 'username': 'tanuki', 'name': 'T', 'state': 'active'})
        match = re.fullmatch(r'/(projects|groups)/([^/]+)(/hooks(?:/(\d+))?)?', path)
        if not match:
            return Reply(404, {'error': '404 Not Found'})
        known = self.projects if match.group(1) == 'projects' else self.groups
        name = urllib.parse.unquote(match.group(2))
        if name not in known:
            return Reply(404, {'message': '404 %s Not Found' % match.group(1)[:-1].title()})
        if not match.group(3):
            return Reply(200, {'id': 12, 'path_with_namespace': name} if known is self.projects else {'id': 13, 'full_path': name})
        hooks, wide = known[name], known is self.groups
        if match.group(4):
            return self.one_hook(call, hooks, int(match.group(4)), wide)
        if call.method == 'GET':
            return self.list_hooks(call, hooks)
        refused = self.refuse(call, wide)
        if refused:
            return refused
        self.next_id += 1
        hooks[self.next_id] = self.filled(call.json, wide)
        return Reply(201, self.shown(self.next_id, hooks[self.next_id]))

    def filled(self, body, wide):
        switches = self.SWITCHES + (['subgroup_events', 'member_events', 'project_events'] if wide else [])
        return dict({name: name == 'push_events' for name in switches}, enable_ssl_verification=True,
                    alert_status='executable', **{}) | body

    def refuse(self, call, wide):
        schema = dict(self.HOOK, subgroup_events=bool, member_events=bool, project_events=bool) if wide else self.HOOK
        if not valid(schema, call.json) or 'url' not in call.json:
            return Reply(400, {'error': 'url is missing'})
        if not re.match(r'https?://[^/]', call.json['url']):
            return Reply(422, {'error': 'Invalid url given'})
        return None

    def shown(self, number, hook):
        return dict({k: v for k, v in hook.items() if k != 'token'}, id=number, created_at='2026-01-01T00:00:00.000Z')

    def list_hooks(self, call, hooks):
        page, size = int(call.query.get('page', 1)), min(int(call.query.get('per_page', 20)), self.page_size)
        ids = sorted(hooks)
        more = len(ids) > page * size
        return Reply(200, [self.shown(n, hooks[n]) for n in ids[(page - 1) * size:page * size]],
                     {'X-Page': str(page), 'X-Per-Page': str(size), 'X-Next-Page': str(page + 1) if more else '',
                      'X-Total': str(len(ids))})

    def one_hook(self, call, hooks, number, wide):
        if number not in hooks:
            return Reply(404, {'message': '404 Not found'})
        if call.method == 'DELETE':
            del hooks[number]
            return Reply(204)
        if call.method == 'PUT':
            refused = self.refuse(call, wide)
            if refused:
                return refused
            hooks[number].update(call.json, alert_status='executable')
        return Reply(200, self.shown(number, hooks[number]))


class Gitea(GitHub):
    """https://docs.gitea.com/api: like GitHub, but two hooks to one address are no mistake, and an event is told with its
    parts."""
    ours = our_requests.Requests(our_requests.GITEA)
    HOOK = {'type': str, 'active': bool, 'events': [str], 'config': {'url': str, 'content_type': str, 'secret': str}}
    PARTS = {'pull_request': ['pull_request', 'pull_request_assign', 'pull_request_label', 'pull_request_milestone',
                              'pull_request_comment', 'pull_request_review_approved', 'pull_request_sync'],
             'issues': ['issues', 'issue_assign', 'issue_label', 'issue_milestone', 'issue_comment']}

    def __init__(self, token='gitea-double'):
        super().__init__(token)
        self.page_size = 50

    def authenticate(self, call):
        if call.headers.get('Authorization') not in ('token ' + self.token, 'Bearer ' + self.token):
            return Reply(401, {'message': 'invalid username, password or token', 'url': self.url + '/api/swagger'})
        if not self.may and '/hooks' in call.path:
            return Reply(403, {'message': 'token does not have at least one of required scope(s): [write:repository]'})
        call.path = call.path.removeprefix('/api/v1')
        return None

    def route(self, call):
        create = re.fullmatch(r'/(?:repos/([^/]+/[^/]+)|orgs/([^/]+))/hooks', call.path)
        if not create or call.method != 'POST':
            return super().route(call)
        name = urllib.parse.unquote(create.group(1) or create.group(2))
        known = self.repositories if create.group(1) else self.organizations
        if name not in known:
            return Reply(404, {'message': 'The target couldn\'t be found.'})
        if not valid(self.HOOK, call.json) or call.json.get('type') != 'gitea' or 'url' not in call.json.get('config', {}):
            return Reply(422, {'message': 'Missing config option: url'})
        self.next_id += 1
        known[name][self.next_id] = call.json
        return Reply(201, self.shown(self.next_id, call.json))

    def shown(self, number, hook):
        events = [part for event in hook['events'] for part in self.PARTS.get(event, [event])]
        return {'id': number, 'type': 'gitea', 'active': hook['active'], 'events': events, 'branch_filter': '*',
                'config': {k: v for k, v in hook['config'].items() if k != 'secret'}}

    def list_hooks(self, call, hooks):
        if not set(call.query) <= {'page', 'limit'}:
            return Reply(422, {'message': 'unknown parameter'})
        call.query['per_page'] = call.query.pop('limit', '30')
        return super().list_hooks(call, hooks)
