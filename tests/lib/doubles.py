"""Doubles of providers' APIs for wire tests: they answer as the providers' documentation says, refuse what does not
fit, and fail on demand. One class a provider, one thread a double.

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


class Call:
    def __init__(self, number, method, path, query, headers, body):
        self.number, self.method, self.path, self.query = number, method, path, query
        self.headers, self.body = headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Reply:
    def __init__(self, status, body=None, headers=None):
        self.status, self.body, self.headers = status, body, headers or {}


CUT = object()   # the work is done, the answer is cut off
LOST = object()  # nothing is done, the connection closes


class Double:
    def __init__(self, token):
        self.token = token
        self.calls = []
        self.fault = lambda call: None
        self.lock = threading.Lock()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def run(self):
                length = int(self.headers.get('Content-Length') or 0)
                body = self.rfile.read(length)
                url = urllib.parse.urlsplit(self.path)
                with double.lock:
                    call = Call(len(double.calls) + 1, self.command, url.path,
                                dict(urllib.parse.parse_qsl(url.query)), self.headers, body)
                    double.calls.append(call)
                    fault = double.fault(call)
                    if fault is LOST:
                        self.close_connection = True
                        return
                    reply = fault if isinstance(fault, Reply) else double.answer(call)
                if fault is CUT:
                    self.close_connection = True
                    return
                text = b'' if reply.body is None else json.dumps(reply.body).encode()
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

    def answer(self, call):
        refused = self.authenticate(call)
        return refused or self.route(call)


def valid(schema, value):
    """A few words of JSON schema: type by example, nested; unknown members are refused."""
    if isinstance(schema, dict):
        return isinstance(value, dict) and set(value) <= set(schema) and all(valid(schema[k], v) for k, v in value.items())
    if isinstance(schema, list):
        return isinstance(value, list) and all(valid(schema[0], v) for v in value)
    return isinstance(value, schema)


class GitHub(Double):
    """https://docs.github.com/en/rest/repos/webhooks"""
    HOOK = {'name': str, 'active': bool, 'events': [str],
            'config': {'url': str, 'content_type': str, 'secret': str, 'insecure_ssl': str}}

    def __init__(self, token='ghp_double'):
        self.repositories = {}
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
        match = re.fullmatch(r'/repos/([^/]+/[^/]+)(/hooks(?:/(\d+))?)?', call.path)
        name = match and urllib.parse.unquote(match.group(1))
        if not match or name not in self.repositories:
            return Reply(404, {'message': 'Not Found'})
        if not match.group(2):
            return Reply(200, {'id': 7, 'name': name.split('/')[1], 'full_name': name})
        if not self.may:
            return Reply(403, {'message': 'Resource not accessible by personal access token'})
        hooks = self.repositories[name]
        if match.group(3):
            return self.one_hook(call, hooks, int(match.group(3)))
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
        page, size = int(call.query.get('page', 1)), min(int(call.query.get('per_page', 30)), 100)
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
        if (form.get('client_id'), form.get('client_secret')) != (self.client, self.secret):
            return Reply(200, {'ok': False, 'error': 'bad_client_secret'})
        if self.codes.pop(form.get('code'), (None,))[0] != form.get('redirect_uri'):
            return Reply(200, {'ok': False, 'error': 'invalid_code'})
        return Reply(200, {'ok': True, 'access_token': 'xoxb-planted-1', 'token_type': 'bot', 'scope': 'chat:write',
                           'team': {'id': 'T1', 'name': 'Acme'}, 'authed_user': {'id': 'U061F7AUR'}})


class Slack(Double):
    """https://api.slack.com/web: 200 with ok:false for what is refused, 429 with Retry-After for too much."""

    def __init__(self, token='xoxb-double'):
        self.channels = {'C0123456789': 'general'}
        self.messages = []
        super().__init__(token)

    def authenticate(self, call):
        if call.headers.get('Authorization') != 'Bearer ' + self.token:
            return Reply(200, {'ok': False, 'error': 'invalid_auth'})
        return None

    def route(self, call):
        method = call.path.rpartition('/')[2]
        if method == 'auth.test':
            return Reply(200, {'ok': True, 'team': 'Acme', 'team_id': 'T1', 'user_id': 'UBOT'})
        if method == 'conversations.list':
            channels = [{'id': i, 'name': n} for i, n in self.channels.items()]
            return Reply(200, {'ok': True, 'channels': channels, 'response_metadata': {'next_cursor': ''}})
        if method == 'conversations.info':
            channel = call.query.get('channel')
            if channel not in self.channels:
                return Reply(200, {'ok': False, 'error': 'channel_not_found'})
            return Reply(200, {'ok': True, 'channel': {'id': channel, 'name': self.channels[channel]}})
        if method == 'chat.postMessage':
            form = call.headers.get('Content-Type') == 'application/x-www-form-urlencoded'
            message = dict(urllib.parse.parse_qsl(call.body.decode())) if form else call.json
            if not valid({'channel': str, 'text': str}, message):
                return Reply(200, {'ok': False, 'error': 'invalid_arguments'})
            if message['channel'] not in self.channels:
                return Reply(200, {'ok': False, 'error': 'channel_not_found'})
            self.messages.append(message)
            return Reply(200, {'ok': True, 'channel': message['channel'], 'ts': '1.%d' % len(self.messages)})
        return Reply(200, {'ok': False, 'error': 'unknown_method'})


class Gitea(GitHub):
    """https://docs.gitea.com/api: GitHub's hooks but for pages, the type of a hook and the scheme of the token."""
    HOOK = {'type': str, 'active': bool, 'events': [str], 'config': {'url': str, 'content_type': str, 'secret': str}}

    def route(self, call):
        if call.method == 'POST' and call.path.endswith('/hooks'):
            if not valid(self.HOOK, call.json) or call.json.get('type') != 'gitea':
                return Reply(422, {'message': 'invalid'})
            call.body = json.dumps(dict(call.json, name='web')).encode()
            self.HOOK = dict(self.HOOK, name=str)
        return super().route(call)

    def shown(self, number, hook):
        return {'type': 'gitea', 'id': number, 'active': hook['active'], 'events': hook['events'],
                'config': {k: v for k, v in hook['config'].items() if k != 'secret'}}

    def list_hooks(self, call, hooks):
        page, size = int(call.query.get('page', 1)), int(call.query.get('limit', 30))
        ids = sorted(hooks)
        more = {'Link': '<%s?page=%d>; rel="next"' % (call.path, page + 1)} if len(ids) > page * size else {}
        return Reply(200, [self.shown(n, hooks[n]) for n in ids[(page - 1) * size:page * size]], more)


class GitLab(Double):
    """https://docs.gitlab.com/api/project_webhooks/"""

    def __init__(self, token='glpat-double'):
        self.projects = {}
        self.next_id = 0
        super().__init__(token)

    def authenticate(self, call):
        return None if call.headers.get('PRIVATE-TOKEN') == self.token else Reply(401, {'message': '401 Unauthorized'})

    def route(self, call):
        if call.path == '/user':
            return Reply(200, {'id': 1, 'username': 'octo', 'name': 'Octo'})
        match = re.fullmatch(r'/projects/([^/]+)(/hooks(?:/(\d+))?)?', call.path)
        name = match and urllib.parse.unquote(match.group(1))
        if name not in self.projects:
            return Reply(404, {'message': '404 Project Not Found'})
        hooks = self.projects[name]
        if not match.group(2):
            return Reply(200, {'id': 5, 'path_with_namespace': name})
        if not match.group(3):
            if call.method == 'GET':
                return Reply(200, [self.shown(n, h) for n, h in hooks.items()], {'X-Next-Page': ''})
            self.next_id += 1
            hooks[self.next_id] = call.json
            return Reply(201, self.shown(self.next_id, call.json))
        number = int(match.group(3))
        if number not in hooks:
            return Reply(404, {'message': '404 Not found'})
        if call.method == 'DELETE':
            del hooks[number]
            return Reply(204)
        hooks[number] = call.json
        return Reply(200, self.shown(number, call.json))

    def shown(self, number, hook):
        return dict({k: v for k, v in hook.items() if k != 'token'}, id=number, alert_status='executable')


class Discord(Double):
    """https://discord.com/developers/docs/resources/channel"""

    def __init__(self, token='discord-double'):
        self.channels = {'41771983423143937': 'general'}
        self.messages = []
        super().__init__(token)

    def authenticate(self, call):
        if not re.match(r'DiscordBot \(\S+, \S+\)', call.headers.get('User-Agent') or ''):
            return Reply(403, {'message': 'error code: 1010'})
        return None if call.headers.get('Authorization') == 'Bot ' + self.token else \
            Reply(401, {'message': '401: Unauthorized', 'code': 0})

    def route(self, call):
        if call.path == '/users/@me':
            return Reply(200, {'id': '80351110224678912', 'username': 'becket', 'discriminator': '0'})
        match = re.fullmatch(r'/channels/(\d+)(/messages)?', call.path)
        if not match or match.group(1) not in self.channels:
            return Reply(404, {'message': 'Unknown Channel', 'code': 10003})
        if not match.group(2):
            return Reply(200, {'id': match.group(1), 'type': 0, 'name': self.channels[match.group(1)]})
        self.messages.append(call.json)
        return Reply(200, {'id': str(334385199974967042 + len(self.messages)), 'content': call.json['content']})
