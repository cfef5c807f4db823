#!/usr/bin/env python3
"""Keys that others publish: a token is verified with the key its issuer has, fetched when it is wanted; keys change;
issuers are dead or slow; a flood of unknown keys costs one fetch. And becket's own documents, on both listeners."""
import os, sys, threading, subprocess, tempfile, http.client, http.server
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

if not shutil.which('openssl'):
    skip_all('openssl is not installed')

work = tempfile.mkdtemp(prefix='becket-keys-')


def url64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


class Key:
    def __init__(self, kid):
        self.kid = kid
        self.path = os.path.join(work, kid + '.pem')
        subprocess.run(['openssl', 'genrsa', '-out', self.path, '2048'], check=True, stderr=subprocess.DEVNULL)
        text = subprocess.run(['openssl', 'rsa', '-in', self.path, '-noout', '-modulus'], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode().strip()
        self.jwk = {'kty': 'RSA', 'use': 'sig', 'alg': 'RS256', 'kid': kid, 'e': 'AQAB',
                    'n': url64(bytes.fromhex(text.split('=')[1]))}

    def token(self, issuer, audience='becket', kid=None, **claims):
        now = int(time.time())
        head = {'alg': 'RS256', 'typ': 'JWT', 'kid': kid or self.kid}
        body = {'iss': issuer, 'aud': audience, 'iat': now, 'exp': now + 300, 'repository_id': '74', **claims}
        text = url64(json.dumps(head).encode()) + '.' + url64(json.dumps(body).encode())
        signature = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', self.path], input=text.encode(),
                                   stdout=subprocess.PIPE, check=True).stdout
        return text + '.' + url64(signature)


class Issuer:
    """Serves a discovery document and a set of keys, counts what is asked."""

    def __init__(self, keys, delay=0):
        self.keys, self.delay, self.asked = keys, delay, []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                issuer.asked.append(self.path)
                time.sleep(issuer.delay)
                if self.path == '/.well-known/openid-configuration':
                    answer = {'issuer': issuer.url, 'jwks_uri': issuer.url + '/keys'}
                elif self.path == '/keys':
                    answer = {'keys': [k.jwk for k in issuer.keys]}
                else:
                    self.send_error(404)
                    return
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header('Content-Length', str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = 'http://127.0.0.1:%d' % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def sets(self):
        return self.asked.count('/keys')


def source(name, issuer, extra=''):
    return """
---
kind: EventSource
metadata: {name: %s}
spec:
  type: generic
  path: %s
  verification: {scheme: jwt, issuer: "%s", audience: becket, claims: {repository_id: 74}, %s}
""" % (name, name, issuer, extra)


def bearer(token):
    return {'Authorization': 'Bearer ' + token, 'Content-Type': 'application/json'}


first, second, stranger = Key('first'), Key('second'), Key('stranger')
good, slow, private = Issuer([first]), Issuer([first], delay=30), Issuer([first])
dead = socket.socket()
dead.bind(('127.0.0.1', 0))  # bound, not listening: refused
dead_url = 'http://127.0.0.1:%d' % dead.getsockname()[1]

with Server() as server:
    server.apply(source('good', good.url, 'allowPrivate: true') + source('slow', slow.url, 'allowPrivate: true') +
                 source('dead', dead_url, 'allowPrivate: true') + source('private', private.url) +
                 source('set', good.url, 'jwksUrl: "%s/keys", allowPrivate: true' % good.url))

    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        server.post('/hooks/good', b'{"n":1}', bearer(first.token(good.url))).status)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    is_equal(answers, [200] * 8, 'eight at once wait for the key, and are accepted')
    is_equal(good.sets(), 1, 'which was fetched once')
    is_equal(server.post('/hooks/good', b'{}', bearer(first.token(good.url))).status, 200, 'then it is at hand')
    is_equal(good.sets(), 1, 'and not fetched again')
    is_equal(server.post('/hooks/set', b'{}', bearer(first.token(good.url))).status, 200, 'a set without discovery')

    for name, token in (('another audience', first.token(good.url, audience='other')),
                        ('another issuer', first.token('http://127.0.0.1:1')),
                        ('a claim', first.token(good.url, repository_id='75')),
                        ('expired', first.token(good.url, exp=int(time.time()) - 100)),
                        ('no end', first.token(good.url, exp=None)),
                        ("a stranger's key under a known name", stranger.token(good.url, kid='first')),
                        ('cut', first.token(good.url)[:-4]), ('nothing', 'x'), ('dots', '..')):
        is_equal(server.post('/hooks/good', b'{}', bearer(token)).status, 401, name)
    is_equal(server.post('/hooks/good', b'{}', {}).status, 401, 'no token')
    none = url64(b'{"alg":"none"}') + '.' + first.token(good.url).split('.')[1] + '.'
    is_equal(server.post('/hooks/good', b'{}', bearer(none)).status, 401, 'alg none')

    before = good.sets()
    codes = {server.post('/hooks/good', b'{}', bearer(stranger.token(good.url))).status for _ in range(20)}
    is_equal(codes, {401}, 'an unknown key soon after a fetch')
    ok(good.sets() - before <= 2, 'makes no fetch for each')  # none, when that took less than 2 s

    started = time.time()
    answer = server.post('/hooks/dead', b'{}', bearer(first.token(dead_url)))
    is_equal(answer.status, 503, 'an issuer that is not there: 503, for the sender to try again')
    ok(b'key_unavailable' in answer.body, 'with the reason')
    is_equal(server.post('/hooks/dead', b'{}', bearer(first.token(dead_url))).status, 503, 'remembered')
    ok(time.time() - started < 3, 'at once')
    started = time.time()
    answer = server.post('/hooks/slow', b'{}', bearer(first.token(slow.url)))
    is_equal((answer.status, answer.json['code']), (503, 'key_unavailable'), 'a slow issuer, and what it was that did not come')
    ok('retry-after' in answer.headers, 'with Retry-After')
    ok(1 < time.time() - started < 5, 'after its time')
    is_equal(server.post('/hooks/good', b'{}', bearer(first.token(good.url))).status, 200, 'others go on meanwhile')
    is_equal(server.post('/hooks/private', b'{}', bearer(first.token(private.url))).status, 503,
             'a private address without allowPrivate')
    is_equal(private.asked, [], 'is never called')

    for port in (server.port, server.admin):
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
        connection.request('GET', '/.well-known/openid-configuration')
        document = json.loads(connection.getresponse().read())
        is_equal(document['jwks_uri'], document['issuer'] + '/.well-known/jwks.json', 'discovery')
        connection.request('GET', '/.well-known/jwks.json')
        answer = connection.getresponse()
        is_equal((answer.getheader('Access-Control-Allow-Origin'), answer.getheader('Cache-Control')), ('*', 'public, max-age=300'),
                 'public to all')
        keys = json.loads(answer.read())['keys']
        ok(answer.status == 200 and len(keys) == 1 and keys[0]['alg'] == 'RS256' and 'd' not in keys[0], 'one key')
        connection.request('POST', '/.well-known/jwks.json', b'')
        is_equal(connection.getresponse().status, 405, 'only to be read')
    status, text, _ = server.cli('key', 'rotate', '--oidc')
    ok(status == 0 and 'it is published now and signs from' in text and '(in 10 minutes)' in text, 'becket key rotate --oidc: ' + text)
    keys = json.loads(server.get('/.well-known/jwks.json').body)['keys']
    is_equal(len({k['kid'] for k in keys}), 2, 'two keys are published')
shutil.rmtree(work)
done()
