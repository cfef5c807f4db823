#!/usr/bin/env python3
"""Who signed in, by an ID token: its signature, issuer, audience, nonce and times are looked at, its keys are fetched, and
nobody is connected by one that is wrong in any way. The issuer in the callback, too (RFC 9207)."""
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *

if not shutil.which('openssl'):
    skip_all('openssl is not installed')

INTEGRATION = '''
kind: Integration
metadata: {name: idp}
spec:
  type: http
  url: %s
  allowPrivate: true
  auth:
    use: AUTH_TYPE_OAUTH
    oauth: {clientId: %s, clientSecret: {value: %s}, scopes: openid email, authorizeUrl: "%s/authorize",
            tokenUrl: "%s/token"%s}
'''

def path_of(location):
    url = urllib.parse.urlsplit(location)
    return url.path + ('?' + url.query if url.query else '')

def connect(browser, double, more=''):
    return browser.get(path_of(double.allow(browser.get('/auth/idp').where)) + more)

def without(name):
    return lambda head, claims: claims.pop(name)

def setting(**more):
    return lambda head, claims: claims.update(more)

double = OpenId()
stranger = SigningKey('one')
with Server() as server:
    def apply(more):
        server.apply(INTEGRATION % (double.url, double.client, double.secret, double.url, double.url, more))

    try:
        apply('')
        ok(False, 'without identityUrl and issuer')
    except RuntimeError as error:
        ok('or issuer' in str(error), 'without identityUrl and issuer nobody can be told apart: %s' % error)
    apply(', issuer: "%s"' % double.url)
    browser = Browser(server.admin)
    browser.login(server.token)
    is_equal(connect(browser, double).where, '/settings', 'connected')
    person = server.api('GET', '/api/v1/integration-users').json['items'][0]['spec']
    is_equal({k: person.get(k) for k in ('uid', 'nickname', 'email')},
             {'uid': 'ann-1', 'nickname': 'ann', 'email': 'ann@example.com'}, 'who it is')
    is_equal([c.path for c in double.calls], ['/.well-known/openid-configuration', '/token', '/.well-known/openid-configuration',
                                              '/keys'], 'keys were fetched once; whether it names itself was asked before the code went')
    server.api('DELETE', '/api/v1/integration-users/' + server.api('GET', '/api/v1/integration-users').json['items'][0]
               ['metadata']['name'])

    now = time.time()
    signature = lambda token: token[:-8] + ('AAAAAAAA' if token[-8:] != 'AAAAAAAA' else 'BBBBBBBB')
    none = lambda token: url64(b'{"alg":"none"}') + '.' + token.split('.')[1] + '.'
    hs256 = lambda token: url64(b'{"alg":"HS256","kid":"one"}') + '.' + token.split('.')[1] + '.' + 'A' * 43
    altered = lambda token: '.'.join([token.split('.')[0], url64(json.dumps(dict(json.loads(
        base64.urlsafe_b64decode(token.split('.')[1] + '==')), sub='root')).encode()), token.split('.')[2]])

    for word, spoil, token in (
            ('another issuer', setting(iss='https://evil.example'), None),
            ('no issuer', without('iss'), None),
            ('another client', setting(aud='client-2'), None),
            ('no audience', without('aud'), None),
            ('two audiences and nobody named', setting(aud=[double.client, 'client-2']), None),
            ('made for another client', setting(azp='client-2'), None),
            ('another sign-in', setting(nonce='x' * 43), None),
            ('no nonce', without('nonce'), None),
            ('an empty nonce', setting(nonce=''), None),
            ('too old', setting(iat=now - 900, exp=now - 600), None),
            ('without an end', without('exp'), None),
            ('from the future', setting(iat=now + 900, exp=now + 1200), None),
            ('without its time', without('iat'), None),
            ('of nobody', without('sub'), None),
            ('of a number', setting(sub=7), None),
            ('a spoilt signature', None, signature),
            ('an altered claim', None, altered),
            ('no signature', None, none),
            ('signed with a secret', None, hs256),
            ('an unknown key', lambda head, claims: head.update(kid='two'), None),
            ('something critical', lambda head, claims: head.update(crit=['b64'], b64=False), None),
            ('no token at all', None, lambda token: ''),
            ('no token in it', None, lambda token: 'a.b.c'),
            ('too long', setting(more='x' * 9000), None)):
        double.spoil = spoil or (lambda head, claims: None)
        double.mangle = token or (lambda token: token)
        answer = connect(browser, double)
        ok(answer.where.startswith('/auth/failure?message=') and 'ID%20token' in answer.where or 'publishes' in answer.where,
           '%s: %s' % (word, urllib.parse.unquote(answer.where)[:150]))
    double.spoil, double.mangle = lambda head, claims: None, lambda token: token
    double.key, double.keys = stranger, double.keys
    answer = connect(browser, double)
    ok('signature' in answer.where, 'a key of a stranger under the same name: %s' % answer.where)
    is_equal(server.api('GET', '/api/v1/integration-users').json['items'], [], 'nobody is connected by any of these')

    double.key = double.keys[0]
    double.spoil = setting(aud=[double.client, 'client-2'], azp=double.client)
    is_equal(connect(browser, double).where, '/settings', 'two audiences and this client named')
    double.spoil = lambda head, claims: None
    answer = connect(browser, double, '&iss=' + urllib.parse.quote(double.url + '/', ''))
    is_equal(answer.status, 400, 'the issuer in the callback is compared letter by letter')
    is_equal(connect(browser, double, '&iss=' + urllib.parse.quote(double.url, '')).status, 302, 'the right one')
    is_equal(connect(browser, double, '&iss=a&iss=b').status, 400, 'two of them')
    names_itself = lambda call: Reply(200, {'issuer': double.url, 'jwks_uri': double.url + '/keys',
                                            'authorization_response_iss_parameter_supported': True}) \
        if call.path == '/.well-known/openid-configuration' else None
    double.fault, calls = names_itself, len(double.calls)
    answer = connect(browser, double)
    ok('/auth/failure' in answer.where and 'iss' in answer.where, 'none, of a provider that always names itself: %s' % answer.where)
    is_equal([c.path for c in double.calls[calls:]], ['/.well-known/openid-configuration'], 'the code went nowhere')
    is_equal(connect(browser, double, '&iss=' + urllib.parse.quote(double.url, '')).where, '/settings', 'and with its name')
    double.fault = lambda call: None
    # a client's id with a blank is one audience, not two
    apply(', issuer: "%s"' % double.url)
    server.apply((INTEGRATION % (double.url, '"my client"', double.secret, double.url, double.url, ', issuer: "%s"' % double.url)))
    double.client, before = 'my client', double.client
    double.spoil = setting(aud='my')
    ok('/auth/failure' in connect(browser, double).where, 'a token for a client who is called as half of this one')
    double.spoil = lambda head, claims: None
    is_equal(connect(browser, double).where, '/settings', 'and one for this one')
    double.client = before
    apply(', issuer: "%s"' % double.url)

    # ES256, keys that cannot be fetched, and an issuer that is another one.
    other = OpenId('ES256')
    double, first = other, double
    apply(', issuer: "%s"' % other.url)
    is_equal(connect(browser, other).where, '/settings', 'ES256')
    other.user = {'sub': 'ann-1', 'name': 'Ann'}
    apply(', issuer: "%s", identityUrl: "%s/user"' % (other.url, other.url))
    is_equal(connect(browser, other).where, '/settings', 'ID token and identityUrl agree')
    other.user = {'sub': 'eve-1', 'name': 'Eve'}
    answer = connect(browser, other)
    ok('two%20people' in answer.where, 'and when they do not: %s' % answer.where)
    other.close()
    third = double = OpenId('ES256')
    third.fault = lambda call: Reply(500, {}) if call.path == '/keys' else None
    apply(', issuer: "%s"' % third.url)
    answer = connect(browser, third)
    ok('cannot%20be%20fetched' in answer.where, 'no keys: %s' % answer.where)
    third.close()
    first.close()
done()
