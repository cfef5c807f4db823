#!/usr/bin/env python3
"""Signing in at a provider: state bound to the browser and used once, PKCE, who it is, tokens renewed once and across
kill -9, disconnecting revokes; sessions and forms of the pages; nothing of the tokens anywhere."""
import glob
import os
import re
import resource
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *


def integration(double, kind='github', name='hub', extra=''):
    return '''
kind: Integration
metadata: {name: %s}
spec:
  type: %s
  url: %s/acme
  apiUrl: %s
  allowPrivate: true
  check: false
  auth:
    use: AUTH_TYPE_OAUTH
    oauth:
      clientId: %s
      clientSecret: {value: %s}
      authorizeUrl: %s/authorize
      tokenUrl: %s/token
      revokeUrl: %s/revoke
      identityUrl: %s/user
%s''' % (name, kind, double.url, double.url, double.client, double.secret, double.url, double.url, double.url, double.url,
         extra)


def path_of(location):
    url = urllib.parse.urlsplit(location)
    return url.path + ('?' + url.query if url.query else '')


def connect(browser, double, name='hub'):
    answer = browser.get('/auth/' + name)
    return browser.get(path_of(double.allow(answer.where)))


def planted(server, browser, secrets):
    """Where one of the secrets is found."""
    found = []
    for path in glob.glob(server.data + '/**', recursive=True):
        if os.path.isfile(path) and not path.endswith(('admin.token', 'master.key')):
            with open(path, 'rb') as f:
                text = f.read()
            found += [path for s in secrets if s.encode() in text]
    pages = ''.join(browser.seen)
    found += ['a page' for s in secrets if s in pages]
    found += ['the log' for s in secrets if s in server.log_text()]
    for plural in ('integrations', 'integration-users', 'users', 'audit', 'operations'):
        text = server.api('GET', '/api/v1/' + plural).body.decode()
        found += [plural for s in secrets if s in text]
    return found


def test_sessions():
    with Server() as server:
        browser = Browser(server.admin)
        answer = browser.get('/integrations')
        is_equal((answer.status, answer.where), (302, '/login?next=%2Fintegrations'), 'nobody is logged in')
        is_equal(browser.login('bkt_wrong').status, 403, 'a wrong token')
        answer = browser.login(server.token)
        is_equal((answer.status, answer.where), (302, '/integrations'), 'a right one')
        ok('HttpOnly' in answer.cookie_line and 'SameSite=Lax' in answer.cookie_line, 'the cookie is for servers only')
        before = dict(browser.cookies)
        answer = browser.get('/integrations')
        is_equal(answer.status, 200, 'the catalogue')
        policy = answer.getheader('Content-Security-Policy')
        ok("default-src 'none'" in policy and "style-src 'self'" in policy and 'unsafe' not in policy, policy)
        fields = browser.form(answer.text, '/logout')
        is_equal(browser.request('POST', '/logout', {'csrf': 'x'}).status, 403, 'a form that was not made here')
        is_equal(browser.request('POST', '/logout', fields, {'Origin': 'https://evil.example'}).status, 403,
                 'a form of another site')
        is_equal(browser.request('POST', '/logout', fields, {'Sec-Fetch-Site': 'cross-site'}).status, 403, 'likewise')
        browser.login(server.token)
        ok(browser.cookies != before, 'a login gives a new session')
        other = Browser(server.admin)
        other.cookies = before
        is_equal(other.get('/integrations').status, 302, 'the old one is over')
        fields = browser.form(browser.get('/integrations').text, '/logout')
        browser.request('POST', '/logout', fields)
        is_equal(browser.get('/integrations').status, 302, 'logged out')
        for path in ('//evil.example', 'https://evil.example', '/\\evil.example', '/a%0d%0aX: y'):
            page = browser.get('/login?next=' + urllib.parse.quote(path))
            fields = dict(browser.form(page.text, '/login'), token=server.token)
            is_equal(browser.request('POST', '/login', fields).where, '/integrations', 'no way out to %r' % path)
        made = server.api('POST', '/api/v1/tokens', b'{"name":"reader","role":"read"}', {'Content-Type': 'application/json'})
        reader = Browser(server.admin)
        reader.login(made.json['token'])
        is_equal(reader.get('/auth/hub').status, 403, 'who may only read does not connect')
        server.api('DELETE', '/api/v1/tokens/reader')
        is_equal(reader.get('/integrations').status, 302, 'a revoked token ends its sessions')
        is_equal(browser.request('GET', '/integrations', headers={'Host': 'evil.example'}).status, 421, 'another host')
        is_equal(browser.request('PUT', '/login', {}).status, 405, 'no such method')


def test_round_trip():
    double = SignIn()
    with Server() as server:
        server.apply(integration(double))
        is_equal(server.status('integrations', 'hub').get('reason'), 'disconnected', 'nobody has connected it')
        browser = Browser(server.admin)
        browser.login(server.token)
        answer = browser.get('/auth/hub')
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.where).query))
        is_equal(answer.status, 302, 'to the provider')
        is_equal(query['redirect_uri'], 'http://localhost:%d/auth/hub/callback' % server.admin, 'back to here exactly')
        ok(len(query['state']) >= 22, 'a state')
        back = path_of(double.allow(answer.where))
        thief = Browser(server.admin)
        thief.login(server.token)
        answer = browser.get('/auth/github')
        ok(answer.status == 302 and '/auth/hub/callback' in urllib.parse.unquote(answer.where), 'by its type as well')
        is_equal(browser.get('/auth/nobody').status, 404, 'no such integration')
        answer = browser.get(back)
        is_equal((answer.status, answer.where), (302, '/integrations/github/link'), 'connected')
        person = server.api('GET', '/api/v1/integration-users').json['items'][0]
        is_equal(person['metadata']['name'], 'hub-583231', 'one for each account')
        is_equal({k: person['spec'].get(k) for k in ('provider', 'uid', 'nickname', 'user', 'accessToken')},
                 {'provider': 'github', 'uid': '583231', 'nickname': 'octo', 'user': {'name': 'admin'},
                  'accessToken': {'value': '***'}}, 'who it is')
        is_equal(server.api('GET', '/api/v1/users/admin').status, 200, 'its user')
        is_equal(server.status('integrations', 'hub').get('state'), 'ready', 'the integration is connected')
        is_equal(browser.get(back).status, 400, 'a state is good for once')
        is_equal(browser.get('/auth/hub/callback?code=x&state=made-up').status, 400, 'a state of nobody')
        is_equal(browser.get('/auth/hub/callback?code=x').status, 400, 'no state')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        is_equal(thief.get(back).status, 400, 'another browser')
        is_equal(browser.get(back).status, 400, 'and then it is over')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        twins, count = [Browser(server.admin) for _ in range(3)], len(double.calls)
        for twin in twins:
            twin.cookies = dict(browser.cookies)
        double.fault = lambda call: time.sleep(0.2)
        answers = at_once(*[lambda twin=twin: twin.get(back) for twin in twins])
        is_equal(sorted(a.status for a in answers), [302, 400, 400], 'of three callbacks at once one counts')
        is_equal([c.path for c in double.calls[count:]], ['/token', '/user'], 'and the code goes out once')
        double.fault = lambda call: None
        ways = [path_of(double.allow(browser.get('/auth/hub').where)) for _ in range(2)]
        is_equal([browser.get(way).where for way in ways], ['/integrations/github/link'] * 2, 'two tabs, one after the other')
        server.apply(integration(double, name='other'))
        back = path_of(double.allow(browser.get('/auth/hub').where))
        is_equal(browser.get(back.replace('/auth/hub/', '/auth/other/')).status, 400, 'the way back of another integration')
        is_equal(server.api('DELETE', '/api/v1/integrations/other').status, 204, 'which nobody has connected')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        half = Browser(server.admin)
        half.cookies = {n: v for n, v in browser.cookies.items() if 'signin' not in n}
        answer = half.get(back)
        ok(answer.status == 400 and 'another browser' in answer.text, 'the session without the cookie of the sign-in')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        half.cookies = {n: v for n, v in browser.cookies.items() if 'signin' in n}
        half.login(server.token)
        answer = half.get(back)
        ok(answer.status == 400 and 'somebody else' in answer.text, 'the cookie of the sign-in in another session')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        half.cookies = {n: v for n, v in browser.cookies.items() if 'signin' in n}
        is_equal(half.get(back).status, 400, 'nobody logged in')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        is_equal(browser.get(back + '&iss=https%3A%2F%2Fevil.example').status, 400, 'another issuer')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        is_equal(browser.get(back + '&iss=' + urllib.parse.quote(double.url, '')).status, 302, 'the right issuer')
        state = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(browser.get('/auth/hub').where).query))['state']
        answer = browser.get('/auth/hub/callback?error=access_denied&error_description=' +
                             urllib.parse.quote('<script>alert(1)</script>') + '&state=' + state)
        ok(answer.where.startswith('/auth/failure?message=') and answer.where.endswith('&strategy=hub'), answer.where)
        page = browser.get(answer.where)
        ok('<script' not in page.text and '&lt;script&gt;' in page.text, 'what the provider says is escaped')
        answer = browser.get('/auth/hub', headers={'Sec-Fetch-Site': 'cross-site'})
        ok(answer.status == 200 and 'href="/auth/hub"' in answer.text, 'another site cannot begin it')
        for number, fault in ((1, Reply(500, {})), (1, LOST), (1, CUT), (1, Reply(200, {'error': 'bad_verification_code'})),
                              (1, Reply(200, ['odd'])), (2, Reply(401, {})), (2, LOST), (2, CUT)):
            first = len(double.calls)
            double.fault = lambda call: fault if call.number - first >= number else None
            answer = connect(browser, double)
            ok(answer.where.startswith('/auth/failure?message='), 'a fault in call %d: %s' % (number, answer.where))
        double.fault = lambda call: None
        is_equal(len(server.api('GET', '/api/v1/integration-users').json['items']), 1, 'nothing half made')
        is_equal(connect(browser, double).status, 302, 'connected again')
        server.apply('kind: Integration\nmetadata: {name: plain}\nspec: {type: github, url: "https://github.com/a", '
                     'check: false, auth: {use: none}}')
        is_equal(browser.get('/auth/plain').status, 409, 'one that nobody signs in to')
        secrets = ['access-planted-%d' % n for n in range(1, double.count + 1)] + [double.secret]
        is_equal(planted(server, browser, secrets), [], 'the tokens are nowhere in clear')
        is_equal(server.api('DELETE', '/api/v1/integrations/hub').status, 409, 'an integration with users stays')
        is_equal(server.api('DELETE', '/api/v1/integration-users/hub-583231').status, 204, 'disconnected')
        ok(when(lambda: double.revoked == list(double.access)), 'and revoked: %s' % double.revoked)
        is_equal(server.status('integrations', 'hub').get('reason'), 'disconnected', 'the integration says so')
        back = path_of(double.allow(browser.get('/auth/hub').where))

        def goes(call):
            if call.path == '/user':
                is_equal(server.api('DELETE', '/api/v1/integrations/hub').status, 204, 'now it can go')
        double.fault = goes
        answer = urllib.parse.unquote(browser.get(back).where)
        ok('no Integration "hub"' in answer and 'told to take back' in answer, 'while somebody signs in: %s' % answer)
        ok(when(lambda: set(double.revoked) >= double.access), 'and what was given meanwhile is given back: %s' % double.revoked)
    double.close()


def test_renewal():
    double = SignIn()
    double.expires_in = 2
    with Server() as server:
        server.apply(integration(double))
        browser = Browser(server.admin)
        browser.login(server.token)
        connect(browser, double)
        ok(when(lambda: len(double.used) >= 1), 'a token is renewed before it ends')
        double.expires_in = 3600
        ok(when(lambda: server.api('GET', '/api/v1/integration-users/hub-583231').json['spec']['expiresAt'] >
                time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time.time() + 1800))), 'and what came is kept')
        count = len(double.calls)
        time.sleep(2)
        is_equal(len(double.calls), count, 'once')
        double.expires_in = 2
        connect(browser, double)
        double.fault = lambda call: Reply(503, {}) if call.path == '/token' else None
        ok(when(lambda: 'could not be renewed yet' in server.log_text()), 'a provider that is down')
        double.fault = lambda call: None
        double.expires_in = 3600
        used = len(double.used)
        ok(when(lambda: len(double.used) > used, 15), 'is asked again')
        double.expires_in = 2
        connect(browser, double)
        double.expires_in = 3600
        server.kill()
        used = len(double.used)
        server.start()
        ok(when(lambda: len(double.used) > used or not double.refresh), 'after kill -9 as well')
        browser = Browser(server.admin)
        browser.login(server.token)
        double.expires_in = 1
        double.fault = lambda call: Reply(400, {'error': 'invalid_grant'}) if b'refresh_token' in call.body else None
        connect(browser, double)
        ok(when(lambda: server.status('integration-users', 'hub-583231').get('state') == 'error'), 'a dead grant')
        told = server.status('integration-users', 'hub-583231')
        ok('invalid_grant' in told['message'] and '/auth/hub' in told['advice'], str(told))
        double.fault = lambda call: None
        double.expires_in = 3600
        connect(browser, double)
        is_equal(server.status('integration-users', 'hub-583231').get('state'), 'ready', 'mended by connecting again')
        last = max(double.refresh, key=lambda t: int(t.rsplit('-', 1)[1]))
        double.fault = lambda call: Reply(503, {}) if call.path == '/revoke' else None
        server.api('DELETE', '/api/v1/integration-users/hub-583231')
        when(lambda: any(c.path == '/revoke' for c in double.calls))
        server.kill()
        double.fault = lambda call: None
        server.start()
        ok(when(lambda: last in double.revoked), 'a revocation is not forgotten over kill -9')
        browser = Browser(server.admin)
        browser.login(server.token)
        double.expires_in = 2
        connect(browser, double)
        double.expires_in = 3600
        begun = threading.Event()

        def slow(call):
            if b'refresh_token' in call.body and call.path == '/token':
                begun.set()
                time.sleep(0.5)
        double.fault = slow
        begun.wait(10)
        is_equal(server.api('DELETE', '/api/v1/integration-users/hub-583231').status, 204, 'disconnected while it is renewed')
        ok(when(lambda: len(double.access & set(double.revoked)) == 1), 'what came of that is revoked, too: %s' % double.revoked)
        is_equal(server.api('GET', '/api/v1/integration-users').json['items'], [], 'and nobody is connected')
        secrets = ['access-planted-%d' % n for n in range(1, double.count + 1)]
        secrets += ['refresh-planted-%d' % n for n in range(1, double.count + 1)]
        is_equal(planted(server, browser, secrets), [], 'the tokens are nowhere in clear')
    double.close()


def test_given_back():
    """Tokens of a sign-in that comes to nothing are given back; not where it might take something from who is connected."""
    double = SignIn()
    double.expires_in = 3600

    def given():
        return {'access-planted-%d' % n for n in range(1, double.count + 1)} & double.access | double.refresh
    with Server() as server:
        server.apply(integration(double).replace('type: github', 'type: gitlab'))
        browser = Browser(server.admin)
        browser.login(server.token)
        double.fault = lambda call: Reply(503, {}) if call.path == '/user' else None
        answer = urllib.parse.unquote(connect(browser, double).where)
        ok('told to take back' in answer, 'who it is was not told: %s' % answer)
        ok(when(lambda: given() and given() <= set(double.revoked)), 'all of it is given back: %s' % double.revoked)

        def elsewhere(call):
            if call.path == '/token':
                page = browser.get('/integrations')
                browser.request('POST', '/logout', browser.form(page.text, '/logout'))
        double.fault = elsewhere
        is_equal(connect(browser, double).status, 400, 'logged out meanwhile')
        ok(when(lambda: given() <= set(double.revoked)), 'given back, too: %s' % double.revoked)

        browser.login(server.token)
        double.fault = lambda call: None
        is_equal(connect(browser, double).where, '/integrations/gitlab/link', 'connected')
        kept, revoked = set(double.access), list(double.revoked)
        double.fault = lambda call: Reply(503, {}) if call.path == '/user' else None
        answer = urllib.parse.unquote(connect(browser, double).where)
        ok('may list becket now' in answer, 'somebody is connected: %s' % answer)
        time.sleep(0.5)
        is_equal(double.revoked, revoked, 'and loses nothing')
        secrets = ['%s-planted-%d' % (what, n) for n in range(1, double.count + 1) for what in ('access', 'refresh')]
        is_equal(planted(server, browser, secrets + [double.secret]), [], 'the tokens are nowhere in clear')
    double.close()


def limit_store(server, full):
    """No file of it may grow, nor any be written but at its beginning: what a full disk is to the store."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE,
                     (4096 if full else resource.RLIM_INFINITY, resource.RLIM_INFINITY))


# SIGXFSZ is ignored, so that a write over the limit fails instead of ending the process.
LIMITED = ['sh', '-c', 'trap "" XFSZ; exec "$@"', 'sh']


def test_restart():
    """Sessions and sign-ins that are under way are kept over kill -9; who logged out stays so."""
    double = SignIn()
    with Server(start=False) as server:
        server.start(prefix=LIMITED)
        server.apply(integration(double))
        browser, other = Browser(server.admin), Browser(server.admin)
        browser.login(server.token)
        other.login(server.token)
        left = dict(other.cookies)
        other.request('POST', '/logout', other.form(other.get('/integrations').text, '/logout'))
        fields = browser.form(browser.get('/integrations').text, '/logout')
        back = path_of(double.allow(browser.get('/auth/hub').where))
        used = path_of(double.allow(browser.get('/auth/hub').where))
        is_equal(browser.get(used).where, '/integrations/github/link', 'connected')
        kept = [f for f in glob.glob(server.data + '/state/*') if os.path.isfile(f)]
        state = re.search('state=([^&]*)', back).group(1)
        ok(not any(secret.encode() in open(f, 'rb').read() for f in kept for secret in
                   list(browser.cookies.values()) + [state, fields['csrf']]), 'cookies and states are nowhere in clear')
        server.kill()
        server.start(same_ports=True, prefix=LIMITED)
        is_equal(browser.get('/integrations').status, 200, 'logged in over a kill')
        other.cookies = left
        is_equal(other.get('/integrations').status, 302, 'who logged out stays so')
        is_equal(browser.get(used).status, 400, 'a state is used for good')
        thief = Browser(server.admin)
        thief.login(server.token)
        answer = browser.get(back)
        is_equal((answer.status, answer.where), (302, '/integrations/github/link'), 'a sign-in that was begun before goes on')
        is_equal(browser.get(back).status, 400, 'once')
        is_equal(browser.form(browser.get('/integrations').text, '/logout')['csrf'], fields['csrf'], 'forms of before are good')

        back = path_of(double.allow(browser.get('/auth/hub').where))
        count = len(double.calls)
        limit_store(server, True)
        answer = browser.get('/auth/hub')
        ok(answer.status == 503 and 'takes no writes' in answer.text, 'no room: no sign-in begins')
        answer = browser.get(back)
        ok(answer.status == 503 and 'has not been completed' in answer.text, 'nor is one ended: %d' % answer.status)
        is_equal(len(double.calls), count, 'the provider is not asked for what could not be kept')
        answer = browser.request('POST', '/logout', fields)
        ok(answer.status == 503 and 'Not logged out' in answer.text, 'a log-out that cannot be kept says so')
        limit_store(server, False)
        is_equal(browser.get(back).where, '/integrations/github/link', 'with room again it is completed')
        is_equal(browser.request('POST', '/logout', fields).status, 302, 'and logged out')
        server.kill()
        server.start(same_ports=True, prefix=LIMITED)
        is_equal(browser.get('/integrations').status, 302, 'for good')

        # A renewal whose answer comes when there is no room.
        browser.login(server.token)
        double.expires_in = 2
        def full(call):
            if b'refresh_token' in call.body:
                limit_store(server, True)
                double.expires_in = 3600
        double.fault = full
        connect(browser, double)
        first = len(double.used)
        ok(when(lambda: 'cannot be stored yet' in server.log_text() or len(double.used) > first), 'renewed')
        double.fault = lambda call: None
        time.sleep(1.5)
        is_equal(len(double.used), first + 1, 'and not stored, for want of room, nor asked for again')
        limit_store(server, False)
        ok(when(lambda: 'a token was renewed' in server.log_text()), 'held, and stored when there is room')
        is_equal(len(double.used), first + 1, 'by one call')
        is_equal(server.status('integration-users', 'hub-583231').get('state'), 'ready', 'and all is well')
    double.close()


def test_slack():
    double = SlackSignIn()
    with Server(start=False) as server:
        server.start()
        browser = Browser(server.admin)
        is_equal(browser.request('HEAD', '/slack').status, 404, 'Slack is not set up')
        browser.login(server.token)
        is_equal(browser.get('/slack').status, 404, 'nor can it be connected')
        server.stop()
        server.start(environment=dict(os.environ, GITPLOY_SLACK_CLIENT_ID='env-id', GITPLOY_SLACK_CLIENT_SECRET='env-planted',
                                      GITPLOY_SERVER_PROTO='http', GITPLOY_SERVER_HOST='ci.localhost:%d' % server.admin))
        browser = Browser(server.admin)
        is_equal(browser.request('HEAD', '/slack').status, 200, 'by the environment')
        browser.login(server.token)
        answer = browser.get('/slack')
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.where).query))
        ok(answer.where.startswith('https://slack.com/oauth/v2/authorize?'), answer.where)
        is_equal((query['client_id'], re.sub(r'\d+', 'N', query['redirect_uri'])),
                 ('env-id', 'http://ci.localhost:N/slack/signin'), 'Gitploy\'s address')
        server.stop()
        server.start()
        server.apply(integration(double, 'slack', 'slack').replace('    identityUrl: %s/user\n' % double.url, '')
                     .replace('      identityUrl: %s/user\n' % double.url, ''))
        browser = Browser(server.admin)
        browser.login(server.token)
        answer = browser.get(path_of(double.allow(browser.get('/slack').where)))
        is_equal((answer.status, answer.where), (302, '/settings'), 'connected')
        person = server.api('GET', '/api/v1/integration-users').json['items'][0]
        is_equal((person['spec']['uid'], person['spec']['workspace']), ('U061F7AUR', 'T1'), 'who and where')
        double.fault = lambda call: Reply(200, {'ok': False, 'error': 'invalid_code'})
        answer = browser.get(path_of(double.allow(browser.get('/slack').where)))
        ok(answer.where.startswith('/auth/failure') and 'invalid_code' in answer.where, 'ok: false is seen')
        back = path_of(double.allow(browser.get('/slack').where))
        is_equal(browser.get(back.replace('/slack/signin', '/auth/slack/callback')).status, 400, 'each way back is its own')
        answer = browser.get('/slack/signout')
        form = browser.form(answer.text, '/slack/signout')
        ok(answer.status == 200 and form, 'signing out is asked for')
        ok(server.api('GET', '/api/v1/integration-users').json['items'], 'a GET changes nothing')
        is_equal(browser.request('POST', '/slack/signout', dict(form, csrf='')).status, 403, 'nor does another\'s form')
        is_equal(browser.request('POST', '/slack/signout', form).where, '/settings', 'signed out')
        is_equal(browser.get('/slack/signout').where, '/settings', 'once')
        is_equal(server.api('GET', '/api/v1/integration-users').json['items'], [], 'and gone')
        is_equal(planted(server, browser, ['xoxb-planted-1', 'env-planted', double.secret]), [], 'no token in clear')
    double.close()


at_once(test_given_back, test_sessions, test_restart, test_slack, test_round_trip, test_renewal)
done()
