#!/usr/bin/env python3
"""A certified OpenID provider (npm oidc-provider) as the issuer of a source's tokens, which changes its keys while becket runs.
Wants node and the packages of .ci/browser; their folder is in BECKET_BROWSER_MODULES, or build/browser."""
import os, shutil, subprocess, sys, urllib.parse, urllib.request
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

folder = os.environ.get('BECKET_BROWSER_MODULES') or os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'browser')
if not shutil.which('node'):
    skip_all('node is not installed')
if not os.path.isdir(os.path.join(folder, 'node_modules', 'oidc-provider')):
    skip_all('the packages of .ci/browser are not in %s: npm install --prefix %s' % (folder, folder))
script = shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib', 'oidc_issuer.mjs'), folder)
provider = subprocess.Popen(['node', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
AUDIENCE = 'https://hooks.example/'


def tell(line):
    provider.stdin.write(line + '\n')
    provider.stdin.flush()
    while True:
        answer = provider.stdout.readline()
        if answer.startswith('{'):
            return json.loads(answer)
        if not answer:
            raise RuntimeError('the provider ended')


def token(issuer, audience=AUDIENCE):
    form = urllib.parse.urlencode({'grant_type': 'client_credentials', 'client_id': 'ci', 'client_secret': 'ci-secret',
                                   'resource': audience}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(issuer + '/token', form, timeout=20) as answer:
        return json.loads(answer.read())['access_token']


def kid(text):
    return json.loads(base64.urlsafe_b64decode(text.split('.')[0] + '=='))['kid']


try:
    issuer = tell('keys RS256')['issuer']
    with Server(threads=2) as server:
        server.apply("""
kind: EventSource
metadata: {name: ci}
spec:
  type: generic
  path: ci
  verification: {scheme: jwt, issuer: "%s", audience: "%s", claims: {repository_id: 74, client_id: ci}, allowPrivate: true}
""" % (issuer, AUDIENCE))

        def post(text):
            return server.post('/hooks/ci', b'{}', {'Authorization': 'Bearer ' + text, 'Content-Type': 'application/json'})

        first = token(issuer)
        is_equal(post(first).status, 200, 'a token of the provider (%s) is taken' % kid(first))
        is_equal(post(token(issuer, 'https://other.example/')).status, 401, 'one for another audience is not')
        body = first.split('.')
        forged = '.'.join((body[0], body[1][:-4] + ('AAAA' if body[1][-4:] != 'AAAA' else 'BBBB'), body[2]))
        is_equal(post(forged).status, 401, 'an altered one is not')

        # ---- one more key, which signs from now on
        time.sleep(2.1)  # sets are not fetched again before (KEY_RETRY_SECONDS)
        tell('add PS256')
        second = token(issuer)
        ok(kid(second) != kid(first), 'it signs with another key')
        is_equal(post(second).status, 200, 'the new key (PS256) is fetched when it is wanted')
        is_equal(post(first).status, 200, 'the one before still counts, as it is published')

        # ---- all keys change
        time.sleep(2.1)
        tell('keys ES256 EdDSA')
        third = token(issuer)
        is_equal(post(third).status, 200, 'only new keys (ES256): taken')
        is_equal(post(first).status, 401, 'what was signed with a withdrawn one is refused')
        is_equal(post(second).status, 401, 'and with the other')

        # ---- the provider is gone
        provider.kill()
        provider.wait(10)
        is_equal(post(third).status, 200, 'without the provider, known keys serve on')
        answer = post(first)
        ok(answer.status in (401, 503), 'unknown ones do not: %d' % answer.status)
        log = server.log_text()
        ok(not [t for t in (first, second, third) if t in log or t.split('.')[2] in log], 'no token is in the log')
finally:
    provider.kill()
done()
