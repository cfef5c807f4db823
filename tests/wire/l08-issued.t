#!/usr/bin/env python3
"""An integration whose service takes tokens that becket issues (AUTH_TYPE_OIDC): every call has one of five minutes, which
the service verifies with the keys that becket publishes; where that cannot work the apply says so."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *

if not shutil.which('openssl'):
    skip_all('openssl is not installed')


def decoded(text):
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))


def der(tag, data):
    size = bytes([len(data)]) if len(data) < 128 else b'\x82' + len(data).to_bytes(2, 'big')
    return bytes([tag]) + size + data


def pem_of(jwk):
    number = lambda text: der(2, b'\0' + decoded(text))
    key = der(0x30, number(jwk['n']) + number(jwk['e']))
    info = der(0x30, der(0x30, bytes.fromhex('06092a864886f70d0101010500')) + der(3, b'\0' + key))
    return '-----BEGIN PUBLIC KEY-----\n' + base64.encodebytes(info).decode() + '-----END PUBLIC KEY-----\n'


class TakesIssued(Semaphore):
    """A Semaphore behind something that takes tokens of an issuer."""

    def __init__(self):
        self.issuer, self.claims, self.refused, self.keys = None, [], [], None
        super().__init__()

    def authenticate(self, call):
        wrong = self.wrong(call.headers.get('Authorization', ''))
        if wrong:
            self.refused.append(wrong)
            return Reply(401, {'message': wrong})
        return None

    def wrong(self, header):
        scheme, _, token = header.partition(' ')
        if scheme != 'Bearer' or token.count('.') != 2:
            return 'no token: %.20s' % header
        head, claims = (json.loads(decoded(part)) for part in token.split('.')[:2])
        found = [k for k in self.keys['keys'] if k['kid'] == head.get('kid')]
        if head['alg'] != 'RS256' or not found:
            return 'an unknown key'
        with tempfile.NamedTemporaryFile('w') as key, tempfile.NamedTemporaryFile() as mac:
            key.write(pem_of(found[0]))
            key.flush()
            mac.write(decoded(token.split('.')[2]))
            mac.flush()
            if subprocess.run(['openssl', 'dgst', '-sha256', '-verify', key.name, '-signature', mac.name],
                              input=token.rpartition('.')[0].encode(), capture_output=True).returncode:
                return 'a wrong signature'
        now = time.time()
        if not claims['nbf'] <= now + 1 or not now < claims['exp'] <= now + 301 or claims['iss'] != self.issuer:
            return 'wrong times or issuer: %s' % claims
        self.claims.append(claims)
        return None


double = TakesIssued()
double.projects['hello'] = '11111111-2222-4333-8444-555555555555'
with Server() as server:
    integration = '''
kind: Integration
metadata: {name: sem}
spec: {type: semaphore, url: "%s", allowPrivate: true, auth: {use: oidc%%s}}
---
kind: EventSource
metadata: {name: project}
spec: {integration: {name: sem}, resource: {type: project, name: hello}}
''' % double.url
    double.issuer = json.loads(server.get('/.well-known/openid-configuration').body or b'{}').get('issuer') or \
        'http://127.0.0.1:%d' % server.port
    keys = lambda: json.loads(server.get('/.well-known/jwks.json').body or b'{}')
    when(lambda: keys().get('keys'))
    double.keys = keys()
    server.apply(integration % '')
    of = lambda kind, name: server.api('GET', '/api/v1/%s/%s' % (kind, name)).json
    ok(when(lambda: of('event-sources', 'project')['status']['state'] == 'ready'), 'the hook is made: %s' %
       of('event-sources', 'project')['status'])
    ok(double.notifications and double.secrets and not double.refused, 'with nothing but issued tokens: %s' % double.refused)
    id_of = of('integrations', 'sem')['metadata']['id']
    claims = double.claims[-1]
    is_equal({k: claims[k] for k in ('sub', 'aud', 'integration', 'canvas')},
             {'sub': 'app-installation:' + id_of, 'aud': id_of, 'integration': 'sem', 'canvas': 'default'}, 'whose call it is')
    is_equal(claims['exp'] - claims['iat'], 300, 'five minutes')
    seen = {c['jti']: c['exp'] for c in double.claims}
    ok(len(seen) > 1 and all(len(name) == 32 for name in seen), 'each has a name of its own')
    ok(when(lambda: of('integrations', 'sem')['status']['state'] == 'ready'), 'and its check')
    server.api('POST', '/api/v1/oidc/rotate')
    double.keys = keys()
    is_equal(len(double.keys['keys']), 2, 'a key more')
    server.apply(integration % ', oidc: {audience: "https://ci.example"}')
    ok(when(lambda: any(c['aud'] == 'https://ci.example' for c in double.claims), 5), 'an audience of its own, after a rotation')
    server.apply(integration % '')
    server.kill()
    server.start(same_ports=True)
    double.keys = keys()
    count = len(double.claims)
    is_equal(server.api('DELETE', '/api/v1/event-sources/project').status, 204, 'deleted after a kill')
    ok(when(lambda: not double.notifications and not double.secrets), 'and removed at the provider')
    ok(len(double.claims) > count and not double.refused, 'with issued tokens: %s' % double.refused)

    for kind, more, word in (('github', 'url: "https://github.com/acme"', 'AUTH_TYPE_APP'), ('slack', '', 'Slack takes no'),
                             ('discord', '', 'Discord takes no')):
        answer = server.api('POST', '/api/v1/apply', ('kind: Integration\nmetadata: {name: no}\nspec: {type: %s, auth: {use: '
                                                      'AUTH_TYPE_OIDC}, %s}' % (kind, more)).encode())
        ok(answer.status == 400 and word in answer.body.decode(), '%s: %s' % (kind, answer.body.decode()[:300]))
    answer = server.api('POST', '/api/v1/apply', b'kind: Integration\nmetadata: {name: yes}\nspec: {type: github, check: false, auth: '
                        b'{use: AUTH_TYPE_OIDC}, url: "https://github.com/acme", apiUrl: "https://gateway.example"}')
    is_equal(answer.status, 200, 'behind a gateway')
double.close()


class Service(Double):
    """Some service of somebody's: what it answers to the address that it was given, and to whom."""

    def __init__(self):
        self.says, self.takes = 404, lambda header: True
        super().__init__('')

    def answer(self, call):
        return Reply(self.says if self.takes(call.headers.get('Authorization', '')) else 401, {'message': 'no'},
                     {'Location': '/login'} if self.says == 302 else {'Retry-After': '1'} if self.says == 429 else {})


service, issuer = Service(), TakesIssued()
with Server() as server:
    of = lambda: server.api('GET', '/api/v1/integrations/any').json['status']

    def told(auth, state, words='', more=''):
        server.apply('kind: Integration\nmetadata: {name: any}\nspec: {type: TYPE_HTTP, url: "%s/deploy/v1", allowPrivate: true, '
                     'auth: %s%s}' % (service.url, auth, more))
        ok(when(lambda: of()['state'] == state and words in of().get('message', '')), '%s: %s %s: %s' % (auth, state, words, of()))
    service.takes = lambda header: header == 'Bearer t0k3n-of-some-service'
    told('{use: token, token: {value: t0k3n-of-some-service}}', 'ready')
    is_equal([(c.method, c.path) for c in service.calls], [('GET', '/deploy/v1')], 'the address itself is asked for')
    told('{use: token, token: {value: another}}', 'error', 'does not accept the credential (401)')
    service.takes = lambda header: header == 'Basic ' + base64.b64encode(b'ann:s3cret-password').decode()
    told('{use: basic, basic: {username: ann, password: {value: s3cret-password}}}', 'ready')
    server.apply(
        'kind: Integration\nmetadata: {name: quiet}\nspec: {type: http, check: false, url: "%s", allowPrivate: true, auth: '
        '{use: token, token: {value: x-y-z-1}}}' % service.url)
    keys = lambda: json.loads(server.get('/.well-known/jwks.json').body or b'{}')
    issuer.issuer = 'http://127.0.0.1:%d' % server.port
    service.takes = lambda header: (setattr(issuer, 'keys', keys()) or True) and not issuer.wrong(header)
    told('{use: AUTH_TYPE_OIDC, oidc: {audience: "https://deploy.example"}}', 'ready')
    ok(issuer.claims and issuer.claims[-1]['aud'] == 'https://deploy.example' and issuer.claims[-1]['integration'] == 'any',
       'an issued token, for whom it was asked: %s' % issuer.claims)
    issuer.issuer = 'https://another.example'
    told('{use: AUTH_TYPE_OIDC}', 'error', '401')
    service.takes = lambda header: True
    for says, state, words in ((200, 'ready', ''), (302, 'ready', ''), (405, 'ready', ''), (403, 'error', 'forbids it (403)'),
                               (500, 'pending', 'answers 500'), (429, 'pending', 'slow down')):
        service.says = says
        told('{use: token, token: {value: "t0k3n-%d"}}' % says, state, words)
    is_equal(len([c for c in service.calls if c.path == '/']), 0, 'check: false is not checked')
    answer = server.api('POST', '/api/v1/apply', b'kind: EventSource\nmetadata: {name: s}\nspec: {integration: {name: any}, '
                        b'resource: {type: repository, name: x}}')
    ok(answer.status == 400 and 'makes no hooks' in answer.body.decode(), 'it makes no hooks: %s' % answer.body.decode()[:200])
service.close()
issuer.close()
done()
