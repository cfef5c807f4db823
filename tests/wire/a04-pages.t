#!/usr/bin/env python3
"""The pages attacked: every form of the table of pages without its CSRF token or from another site, every GET that changes
something, names and answers with markup in them, redirects to elsewhere, cookies that somebody else has planted, and who may
see and do what by which role. The table is read out of the source, so a new page cannot be forgotten."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\'&lt;'
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'src', 'api', 'web.c')) as source:
    TABLE = re.findall(r'\{HTTP_(\w+), "([^"]+)", (\w+), (\w+), (true|false)\}', source.read())
SEEN = {'0': 0, 'TOKEN_READ': 1, 'TOKEN_WRITE': 2, 'TOKEN_ADMIN': 3}
FILL = {'integration': 'hub', 'user': 'account', 'type': 'generic', 'name': 'ann'}


def path_of(location):
    url = urllib.parse.urlsplit(location)
    return url.path + ('?' + url.query if url.query else '')


double = SignIn()
with Server(options=['--durability', 'none']) as server:
    server.apply(json.dumps([
        {'kind': 'Canvas', 'metadata': {'name': 'blue', 'description': EVIL}, 'spec': {}},
        {'kind': 'User', 'metadata': {'name': 'ann'}, 'spec': {'fullName': EVIL, 'email': EVIL}},
        {'kind': 'Team', 'metadata': {'name': 'ann'}, 'spec': {'title': EVIL}},
        {'kind': 'Destination', 'metadata': {'name': 'app'}, 'spec': {'url': 'http://127.0.0.1:1/', 'allowPrivate': True}},
        {'kind': 'EventSource', 'metadata': {'name': 'in'}, 'spec': {'path': 'in'}},
        {'kind': 'Integration', 'metadata': {'name': 'hub'}, 'spec': {
            'type': 'github', 'url': double.url + '/acme', 'apiUrl': double.url, 'allowPrivate': True, 'check': False,
            'auth': {'use': 'AUTH_TYPE_OAUTH', 'oauth': {
                'clientId': double.client, 'clientSecret': {'value': double.secret}, 'authorizeUrl': double.url + '/authorize',
                'tokenUrl': double.url + '/token', 'identityUrl': double.url + '/user'}}}},
        {'kind': 'IntegrationUser', 'metadata': {'name': 'account'}, 'spec': {
            'integration': {'name': 'hub'}, 'user': {'name': 'ann'}, 'uid': EVIL, 'nickname': EVIL, 'fullName': EVIL,
            'email': EVIL, 'workspaceName': EVIL}},
        {'kind': 'IntegrationLink', 'metadata': {'name': 'mine'}, 'spec': {
            'type': 'generic', 'user': {'name': 'ann'}, 'source': {'name': 'in'}, 'entry': {'body': '$.text'}}},
        {'kind': 'IntegrationLink', 'metadata': {'name': 'code'}, 'spec': {
            'type': 'github', 'integration': {'name': 'hub'}, 'team': {'name': 'ann'}, 'settings': {'repository': EVIL}}}]))

    tokens = {role: server.cli('token', 'create', role + '-ann', '--role', role, '--user', 'ann')[1].strip()
              for role in ('read', 'write', 'admin')}
    snapshot = lambda: [server.api('GET', '/api/v1/' + plural).json['items'] for plural in
                        ('integration-users', 'integration-links', 'users', 'teams', 'tokens', 'event-sources')]
    spec = lambda: [[{k: v for k, v in o.items() if k not in ('status', 'lastUsedAt')} for o in kind] for kind in snapshot()]

    def browser_of(role):
        browser = Browser(server.admin)
        if role:
            browser.login(tokens[role])
        return browser

    def filled(path):
        return re.sub(r'\{(\w+)\}', lambda m: FILL[m.group(1)], path)

    ok(len(TABLE) > 20 and any(p[3] == 'page_act_for' for p in TABLE), 'the table has been read: %d pages' % len(TABLE))
    is_equal([p for p in TABLE if p[0] != 'GET' and p[4] == 'false'], [('POST', '/login', '0', 'page_login_post', 'false')],
             'whatever is no GET is a form with a CSRF token; but a login, which has no session yet')

    for path in ('/nothing', '/settings/more', '/integrations/hub'):
        for kind, accept in (('text/html', 'text/html,application/xhtml+xml,*/*;q=0.8'), ('application/json', '*/*')):
            answer = Connection(server.admin).request('GET', path, headers={'Accept': accept})
            ok(answer.status == 404 and answer.headers['content-type'].startswith(kind), '%s: nothing there, as %s' % (path, kind))
    is_equal(server.api('GET', '/api/v1/nothing', headers={'Accept': 'text/html'}).headers['content-type'], 'application/json',
             'the API speaks JSON to browsers, too')

    # ---- roles: every page with every role, and with nobody
    browsers = {role: browser_of(role) for role in (None, 'read', 'write', 'admin')}
    before, wrong = spec(), []
    for method, path, role, name, form in TABLE:
        for who, rank in ((None, 0), ('read', 1), ('write', 2), ('admin', 3)):
            if method != 'GET' and rank >= SEEN[role]:
                continue  # these change something: below
            answer = browsers[who].request(method, filled(path), {} if method != 'GET' else None)
            right = (302, 400, 404) if who is None and SEEN[role] == 0 else (302,) if who is None else \
                (200, 302, 400, 404) if rank >= SEEN[role] else (403,)
            if method == 'GET' and who is None and role == '0' and path in ('/login', '/style.css'):
                right = (200,)
            if answer.status not in right:
                wrong.append('%s %s as %s: %d' % (method, path, who, answer.status))
            if who is None and SEEN[role] > 0 and not answer.where.startswith('/login'):
                wrong.append('%s %s leads nobody to %s' % (method, path, answer.where))
            if '<script' in answer.text or 'onerror=alert(2)>' in answer.text or EVIL in answer.text:
                wrong.append('%s %s as %s has markup of others' % (method, path, who))
    is_equal(wrong, [], 'every page by every role')
    is_equal(spec(), before, 'and no GET changed a thing')

    # ---- forms
    wrong = []
    admin = browsers['admin']
    csrf = admin.form(admin.get('/settings').text, '/logout')['csrf']
    other = browser_of('admin')
    strange = other.form(other.get('/settings').text, '/logout')['csrf']
    for method, path, role, name, form in TABLE:
        if method == 'GET':
            continue
        fields = {'name': 'mine', 'team': '', 'source': 'in', 'body': '$.x', 'token': tokens['admin']}
        for words, more, headers in (
                ('no token', {}, {}), ('an empty one', {'csrf': ''}, {}), ('another session\'s', {'csrf': strange}, {}),
                ('half of it', {'csrf': csrf[:20]}, {}), ('twice', None, {}),
                ('another origin', {'csrf': csrf}, {'Origin': 'https://evil.example'}),
                ('no origin at all', {'csrf': csrf}, {'Origin': 'null'}),
                ('another port', {'csrf': csrf}, {'Origin': 'http://localhost:1'}),
                ('another site', {'csrf': csrf}, {'Sec-Fetch-Site': 'cross-site'})):
            if path == '/login' and not headers:
                continue
            sent = urllib.parse.urlencode(fields) + ('&csrf=%s&csrf=%s' % (csrf, csrf) if more is None else
                                                     '&' + urllib.parse.urlencode(more))
            for override in ([''] if method == 'POST' else ['&_method=delete']):
                answer = admin.request('POST', filled(path), sent + override, headers)
                if answer.status != 403:
                    wrong.append('%s %s with %s: %d' % (method, path, words, answer.status))
            if method == 'DELETE':
                answer = admin.request('DELETE', filled(path) + '?' + sent, None, headers)
                if answer.status != 403:
                    wrong.append('DELETE %s with %s: %d' % (path, words, answer.status))
    answer = admin.request('POST', '/logout', json.dumps({'csrf': csrf}), {'Content-Type': 'application/json'})
    wrong += [] if answer.status == 415 else ['a form that is none: %d' % answer.status]
    is_equal(wrong, [], 'no form without the session\'s own token, and none from elsewhere')
    is_equal(spec(), before, 'nothing was changed')
    ok('Settings of' in admin.get('/settings').text, 'still logged in')

    # ---- markup
    failing = '/auth/failure?message=%s&strategy=%s' % (urllib.parse.quote(EVIL), urllib.parse.quote(EVIL))
    pages = ['/settings', '/users/ann/settings', '/teams/ann/settings', '/integrations', '/integrations/generic/link?team=' +
             urllib.parse.quote(EVIL), '/integrations/github/link?integration=' + urllib.parse.quote(EVIL), failing,
             '/users/%s/settings' % urllib.parse.quote(EVIL, ''), '/teams/%s/settings' % urllib.parse.quote(EVIL, ''),
             '/integrations/%s/link' % urllib.parse.quote(EVIL, ''), '/auth/%s' % urllib.parse.quote(EVIL, ''),
             '/settings?links=%s&accounts=%s&teams=%s' % ((urllib.parse.quote(EVIL),) * 3), '/login?next=' + urllib.parse.quote(EVIL),
             '/settings?canvas=' + urllib.parse.quote(EVIL)]
    wrong = []
    for page in pages:
        answer = admin.get(page)
        if '<script' in answer.text or '<img' in answer.text or EVIL in answer.text:
            wrong.append(page)
        if "default-src 'none'" not in (answer.getheader('Content-Security-Policy') or '') or \
                "frame-ancestors 'none'" not in answer.getheader('Content-Security-Policy') or \
                answer.getheader('X-Content-Type-Options') != 'nosniff' or answer.getheader('Cache-Control') != 'no-store':
            wrong.append(page + ' lacks a header')
    ok(EVIL.split('<')[1] in admin.get('/users/ann/settings').text.replace('&gt;', '>'), 'the words are there')
    form = dict(admin.form(admin.get('/integrations/generic/link').text, '/integrations/generic/link'), team=EVIL, body=EVIL, source=EVIL)
    answer = admin.request('POST', '/integrations/generic/link', form)
    wrong += [] if answer.status == 422 and '<script' not in answer.text else ['a form that is wrong: %d' % answer.status]
    answer = admin.request('POST', '/settings/user', dict(admin.form(admin.get('/settings').text, '/settings/user'), user=EVIL))
    wrong += [] if '<script' not in admin.get('/settings').text else ['a note']
    for fault in (Reply(400, {'error': EVIL, 'error_description': EVIL}), Reply(500, EVIL.encode())):
        double.fault = lambda call, fault=fault: fault if call.path == '/token' else None
        answer = admin.follow(admin.get(path_of(double.allow(admin.get('/auth/hub').where))))
        wrong += [] if answer.status == 200 and '<script' not in answer.text else ['a provider\'s error: %d' % answer.status]
    double.fault = lambda call: None
    back = path_of(double.allow(admin.get('/auth/hub').where))
    answer = admin.follow(admin.get(re.sub('code=[^&]*', 'error=x&error_description=' + urllib.parse.quote(EVIL), back)))
    wrong += [] if answer.status == 200 and '<script' not in answer.text else ['a provider\'s word in the address']
    double.user = dict(double.user, login=EVIL, name=EVIL, email=EVIL)
    answer = admin.get(path_of(double.allow(admin.get('/auth/hub').where)))
    answer = admin.follow(answer)
    wrong += [] if '<script' not in answer.text and '<script' not in admin.get('/settings').text else ['who signed in']
    is_equal(wrong, [], 'names, answers and addresses with markup are shown as text')

    # ---- what is told to whom: by name, in either direction of writing, and to who does not see where a button stands
    text = admin.get('/users/ann/settings').text
    ok(text.count('<bdi>') == text.count('</bdi>') >= 2, 'names keep their direction of writing to themselves')
    ok('aria-label="Disconnect hub"' in text, 'a button says what it disconnects')
    ok('<p id="mine">' in text and 'aria-label="Remove Generic" aria-describedby="mine"' in text, 'and which link it removes')
    ok('<p class="hint"><bdi>' + EVIL.split('<')[0].replace('"', '&quot;').replace('>', '&gt;') in admin.get('/teams/ann/settings').text,
       'a team\'s title is shown')
    form = dict(admin.form(admin.get('/integrations/generic/link').text, '/integrations/generic/link'), body='$.x ++')
    answer = admin.request('POST', '/integrations/generic/link', form)
    ok('see below' in answer.text and 'spec.' not in answer.text and 'found &quot;+&quot;' in answer.text,
       'what is wrong stands beside its field, in no words of the API')
    answer = Browser(server.admin).request('POST', '/integrations/generic/link', form)
    is_equal(answer.where, '/login?next=%2Fintegrations%2Fgeneric%2Flink', 'who is not logged in any more comes back to the form')

    # ---- where a login leads
    wrong = []
    for place in ('//evil.example', '/\\evil.example', '\\/evil.example', 'https://evil.example', 'http:evil.example', 'evil.example',
                  '/\t/evil.example', '/\n/evil.example', '///evil.example', 'javascript:alert(1)', ' //evil.example', '/%2f/../\\evil',
                  '/\r\nSet-Cookie: a=b', '', 'x' * 400, '/' + 'x' * 400, '/a\x00b'):
        browser = Browser(server.admin)
        fields = browser.form(browser.get('/login?next=' + urllib.parse.quote(place, '')).text, '/login')
        for given in (fields['next'], place):
            answer = browser.request('POST', '/login', {'next': given, 'token': tokens['write']})
            where = answer.where or ''.join(re.findall('url=([^"]*)"', answer.text))
            if not where.startswith('/integrations') or answer.getheader('Set-Cookie', '').startswith('a=b'):
                wrong.append((place, answer.status, where))
    is_equal(wrong, [], 'a login leads to no other place')
    answer = Browser(server.admin).request('POST', '/login', {'next': '/settings', 'token': tokens['write']})
    is_equal(answer.where, '/settings', 'but to a page of ours')

    # ---- cookies that somebody planted
    attacker = browser_of('write')
    planted = dict(attacker.cookies)
    victim = Browser(server.admin)
    victim.cookies = dict(planted)
    victim.login(tokens['admin'])
    name = next(iter(planted))
    ok(victim.cookies[name] != planted[name], 'a login makes a new session')
    is_equal(attacker.get('/settings').status, 302, 'and the planted one is over')
    attacker = browser_of('write')
    begun = attacker.get('/auth/hub')
    back = path_of(double.allow(begun.where))  # the attacker's own account, in the attacker's own sign-in
    victim.cookies.update({k: v for k, v in attacker.cookies.items() if 'signin' in k})
    people = lambda: server.api('GET', '/api/v1/integration-users').json['items']
    count = len(people())
    answer = victim.get(back)
    is_equal((answer.status, len(people())), (400, count), 'nobody completes a sign-in that another session began, whatever cookie is planted')
    is_equal(attacker.get(back).status, 400, 'and its state is used up')
    nobody = Browser(server.admin)
    begun = attacker.get('/auth/hub')
    nobody.cookies = {k: v for k, v in attacker.cookies.items() if 'signin' in k}
    is_equal(nobody.get(path_of(double.allow(begun.where))).status, 400, 'nor without any session')
    begun = attacker.get('/auth/hub')
    code = path_of(double.allow(begun.where))
    attacker.request('POST', '/logout', attacker.form(attacker.get('/settings').text, '/logout'))
    attacker.login(tokens['write'])
    is_equal(attacker.get(code).status, 400, 'nor after a new login')
    answer = victim.get('/auth/hub', headers={'Sec-Fetch-Site': 'cross-site'})
    ok(answer.status == 200 and 'Connect</a>' in answer.text and not answer.where, 'another site\'s link begins none')
    victim.get('/settings?canvas=blue', headers={'Sec-Fetch-Site': 'cross-site'})
    ok('canvas blue' not in victim.get('/settings').text, 'nor chooses a canvas')
    victim.get('/settings?canvas=blue')
    ok('canvas blue' in victim.get('/settings').text, 'one\'s own does')
    cookie = Browser(server.admin).request('POST', '/login', {'next': '/', 'token': tokens['read']}).cookie_line
    ok('HttpOnly' in cookie and 'SameSite=Lax' in cookie, 'the cookie: ' + cookie.split('=')[0])

    # ---- for whom an account is connected is said by a form, not by a link
    server.apply('kind: User\nmetadata: {name: carl}\nspec: {}')
    double.user = dict(double.user, id=71, login='seventy-one', name='S', email='s1@example.com')
    victim.get('/settings?canvas=default')
    victim.get(path_of(double.allow(victim.get('/auth/hub?user=carl').where)))
    is_equal([p['spec']['user']['name'] for p in people() if p['spec'].get('nickname') == 'seventy-one'], ['ann'], 'not by a link')
    double.user = dict(double.user, id=72, login='seventy-two')
    form = victim.form(victim.get('/settings').text, '/logout')
    victim.get(path_of(double.allow(victim.request('POST', '/auth/hub', dict(form, user='carl')).where)))
    is_equal([p['spec']['user']['name'] for p in people() if p['spec'].get('nickname') == 'seventy-two'], ['carl'], 'by a form it is')
    double.user = dict(double.user, id=583231)

    # ---- one account is one person's
    server.apply('kind: User\nmetadata: {name: ben}\nspec: {}')
    double.user = dict(double.user, login='shared', name='S', email='s@example.com')
    for who in ('ann', 'ben'):
        tokens[who] = server.cli('token', 'create', 'w-' + who, '--role', 'write', '--user', who)[1].strip()
    ann, ben = Browser(server.admin), Browser(server.admin)
    ann.login(tokens['ann'])
    ben.login(tokens['ben'])
    ann.get(path_of(double.allow(ann.get('/auth/hub').where)))
    answer = ben.get(path_of(double.allow(ben.get('/auth/hub').where)))
    ok('/auth/failure' in answer.where and 'ann' in answer.where, 'nobody takes an account over: %s' % urllib.parse.unquote(answer.where))
    is_equal([p['spec'].get('user') for p in people() if p['spec'].get('nickname') == 'shared'], [{'name': 'ann'}], 'it stays hers')

    # ---- the audit records tell who was there
    records = server.api('GET', '/api/v1/audit?limit=1000').json['items']
    told = {(r['action'], r['kind']) for r in records}
    ok({('logged-in', 'Session'), ('logged-out', 'Session'), ('created', 'Token'), ('created', 'IntegrationUser')} <= told,
       'logins, log-outs, tokens, sign-ins') or diag(str(sorted(told)))
    record = next(r for r in records if r['action'] == 'logged-in' and r['actor'] == 'w-ben')
    is_equal((record['name'], record['user'], record['role']), ('w-ben', 'ben', 'write'), 'whose token it was')
    operation = server.api('GET', '/api/v1/operations').json['items'][0]['metadata']['name']
    server.api('POST', '/api/v1/operations/%s/retry' % operation)
    record = server.api('GET', '/api/v1/audit?limit=1').json['items'][0]
    is_equal((record['action'], record['kind'], record['name'], record['actor']), ('retried', 'Operation', operation, 'admin'), 'a retry')
    text = json.dumps(records)
    is_equal([t for t in tokens.values() if t in text], [], 'no token is in them')
double.close()
done()
