#!/usr/bin/env python3
"""Every request of a sign-in, to the letter, for each provider (our_requests.py): where the browser is sent, the code, who it is, the
renewal, the end. GitHub's and Slack's own descriptions judge their parts, where they are there: Slack's knows GET alone."""
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *
from openapi import Description
from our_requests import SIGN_INS, SLACK_BY_QUERY, Requests, object_of

FOLDER = os.environ.get('BECKET_DESCRIPTIONS') or os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'descriptions')
CHECKER = Requests({}).checker


class SignInServer(Double):
    """Knows every code, gives tokens that are soon over, and judges what comes."""

    def __init__(self, kind):
        self.kind, self.wrong, self.seen, self.count = kind, [], [], 0
        super().__init__('unused')

    def judge(self, name, call):
        request = SIGN_INS[self.kind].get(name)
        self.seen.append(name)
        if request is None:
            self.wrong.append('%s: becket makes no request %s' % (self.kind, name))
            return
        wrong = Requests({'headers': request['headers']}).header_wrongs(call.headers)
        wrong += Requests({}).body_wrongs(call.method, request, call.headers, call.body)
        wrong += [] if call.method == request.get('method', 'GET' if name == 'identity' else 'POST') else ['method ' + call.method]
        self.wrong += ['%s %s: %s' % (self.kind, name, w) for w in wrong]

    def answer(self, call):
        self.count += 1
        if call.path == '/user':
            self.judge('identity', call)
            return Reply(200, {'id': 7, 'sub': '7', 'account_id': '7', 'login': 'octo', 'username': 'octo', 'name': 'Octo'})
        if call.path != '/token':
            self.judge('revoke', call)
            return Reply(200, {'ok': True, 'revoked': True})
        form = dict(urllib.parse.parse_qsl(call.body.decode()))
        self.judge(form.get('grant_type') or 'token', call)
        return Reply(200, {'ok': True, 'access_token': 'access-%d' % self.count, 'token_type': 'bearer', 'scope': 'x',
                           'refresh_token': 'refresh-%d' % self.count, 'expires_in': 3 if self.count < 3 else 9999,
                           'team': {'id': 'T1', 'name': 'Acme'}, 'authed_user': {'id': 'U061F7AUR'}})


class DescribedSlack(Double):
    """Only what Slack's description of its API has: 405 for a POST, and nothing is done then."""
    ours = Requests(SLACK_BY_QUERY)

    def __init__(self, code, description):
        self.code, self.description, self.revoked, self.refused = code, description, [], 0
        super().__init__('unused')

    def answer(self, call):
        if call.method == 'POST':
            self.refused += 1
            return Reply(405, {'title': 'the method is not described'})
        self.misfits += self.ours.wrongs(call.method, call.path, call.query_text, call.headers, call.body)
        if self.description:
            self.misfits += self.description.wrongs(call.method, call.path.removeprefix('/api'), call.query_text, dict(call.headers),
                                                    call.body)
        if call.path == '/api/auth.revoke':
            self.revoked.append(call.query['token'])
            return Reply(200, {'ok': True, 'revoked': True})
        if call.query['code'] != self.code:
            return Reply(200, {'ok': False, 'error': 'invalid_code'})
        return Reply(200, {'ok': True, 'access_token': 'xoxb-by-query', 'token_type': 'bot', 'scope': 'chat:write',
                           'team': {'id': 'T1', 'name': 'Acme'}, 'authed_user': {'id': 'U061F7AUR'}})


def described(name):
    file = os.path.join(FOLDER, name + '.json')
    return Description(file) if os.path.exists(file) else None


github, slack = described('github'), described('slack')


def sign_in(server, kind, requests):
    browser = Browser(server.admin)
    browser.login(server.token)
    double = SignInServer(kind)
    revoke = ('/applications/the-client/grant' if kind == 'github' else '/revoke') if 'revoke' in requests else None
    server.apply('''
kind: Integration
metadata: {name: %s}
spec:
  type: %s
  url: %s/acme
  %s
  allowPrivate: true
  check: false
  auth:
    use: oauth
    oauth: {clientId: the-client, clientSecret: {value: the-secret}, authorizeUrl: "%s/authorize", tokenUrl: "%s/token"%s%s}
''' % (kind, kind, double.url, 'apiUrl: "%s"' % double.url if kind not in ('google', 'atlassian') else '', double.url, double.url,
       ', revokeUrl: "%s%s"' % (double.url, revoke) if revoke else '',
       ', identityUrl: "%s/user"' % double.url if 'identity' in requests else ''))
    where = urllib.parse.urlsplit(browser.get('/auth/' + kind).where or '')
    asked = urllib.parse.parse_qsl(where.query, keep_blank_values=True)
    is_equal(CHECKER.check(requests['authorize'], dict(asked), 'authorize'), [], kind + ': where the browser is sent')
    is_equal(len(dict(asked)), len(asked), kind + ': each name once')
    back = dict(asked).get('redirect_uri', '') + '?' + urllib.parse.urlencode({'code': 'a+code/1', 'state': dict(asked).get('state', '')})
    back = urllib.parse.urlsplit(back)
    browser.get(back.path + '?' + back.query)
    people = lambda: [p['metadata']['name'] for p in server.api('GET', '/api/v1/integration-users').json['items']
                      if p['spec']['integration']['name'] == kind]
    ok(when(lambda: people()), kind + ': connected')
    ok(when(lambda: 'refresh_token' in double.seen), kind + ': renewed')
    for name in people():
        server.api('DELETE', '/api/v1/integration-users/' + name)
    ok(not revoke or when(lambda: 'revoke' in double.seen), kind + ': revoked')
    is_equal(sorted(set(requests) - {'authorize'} - set(double.seen)), [], kind + ': all of its requests were made')
    is_equal(double.wrong, [], kind + ': and each to the letter')
    if kind == 'github' and github:
        call = next(c for c in double.calls if c.method == 'DELETE')
        is_equal(github.wrongs('DELETE', call.path, call.query_text, dict(call.headers), call.body), [], 'as GitHub describes it')
    double.server.shutdown()
    double.server.server_close()


with Server() as server:
    at_once(*[lambda kind=kind, requests=requests: sign_in(server, kind, requests) for kind, requests in SIGN_INS.items()])
    browser = Browser(server.admin)
    browser.login(server.token)
    double = DescribedSlack('a+code/2', slack)
    server.apply('kind: Integration\nmetadata: {name: described}\nspec: {type: slack, url: "%s", apiUrl: "%s", allowPrivate: true, '
                 'check: false, auth: {use: oauth, oauth: {clientId: the-client, clientSecret: {value: planted-secret}, authorizeUrl: '
                 '"%s/authorize", tokenUrl: "%s/api/oauth.v2.access", revokeUrl: "%s/api/auth.revoke"}}}' % ((double.url,) * 5))
    where = urllib.parse.urlsplit(browser.get('/auth/described').where or '')
    asked = dict(urllib.parse.parse_qsl(where.query))
    back = urllib.parse.urlsplit(asked['redirect_uri'] + '?' + urllib.parse.urlencode({'code': 'a+code/2', 'state': asked['state']}))
    browser.get(back.path + '?' + back.query)
    people = lambda: [p['metadata']['name'] for p in server.api('GET', '/api/v1/integration-users').json['items']
                      if p['spec']['integration']['name'] == 'described']
    ok(when(people), 'a server that knows GET alone: connected')
    for name in people():
        server.api('DELETE', '/api/v1/integration-users/' + name)
    ok(when(lambda: double.revoked == ['xoxb-by-query']), 'and revoked: %s' % double.revoked)
    is_equal((double.refused, double.misfits), (2, []), 'each was tried as a POST, and sent to the letter')
    double.close()
    said = server.log_text()
    ok('planted-secret' not in said and 'xoxb-by-query' not in said, 'no log has what was in a query')
    # A renewal that is refused for good: the account says so, and whoever works with it, with what to do.
    double = SignIn()
    double.expires_in = 2
    server.apply('kind: Integration\nmetadata: {name: tired}\nspec: {type: github, url: "%s/acme", apiUrl: "%s", allowPrivate: true, auth: '
                 '{use: oauth, oauth: {clientId: %s, clientSecret: {value: %s}, authorizeUrl: "%s/authorize", tokenUrl: "%s/token", '
                 'identityUrl: "%s/user"}}}\n---\nkind: EventSource\nmetadata: {name: tired}\nspec: {integration: {name: tired}, resource: '
                 '{type: repository, name: hello}}' % ((double.url,) * 2 + (double.client, double.secret) + (double.url,) * 3))
    status = lambda plural, name='tired': server.api('GET', '/api/v1/%s/%s' % (plural, name)).json.get('status', {})

    def connect():
        back = urllib.parse.urlsplit(double.allow(browser.get('/auth/tired').where))
        browser.get(back.path + '?' + back.query)
    double.fault = lambda call: Reply(400, {'error': 'invalid_grant'}) if b'grant_type=refresh_token' in call.body else None
    connect()
    for plural in ('integrations', 'event-sources'):
        ok(when(lambda: '/auth/tired' in status(plural).get('message', '') and 'connected again' in status(plural)['message']),
           'an account that cannot be renewed: %s say what to do: %s' % (plural, status(plural)))
    ok('/auth/tired' in server.cli('get', 'integration', 'tired', '-o', 'yaml')[1], 'to who asks for it')
    double.fault, double.expires_in = lambda call: None, 3600
    connect()
    ok(when(lambda: status('integrations').get('state') == 'ready'), 'connected again: %s' % status('integrations'))
    ok(when(lambda: status('event-sources').get('reason') == 'not_found'), 'and work goes on: %s' % status('event-sources'))
    double.close()
done()
