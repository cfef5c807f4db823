#!/usr/bin/env python3
"""Who is who: tokens of people. Whatever route of openapi.json a person calls, about whatever is another's, it changes
nothing of theirs and shows none of their accounts and links; administrators act for somebody by their own choice, which
the audit records tell."""
import http.client
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser

SETUP = '''
kind: User
metadata: {name: ann}
spec: {}
---
kind: User
metadata: {name: ben}
spec: {fullName: Ben}
---
kind: Team
metadata: {name: bens}
spec: {members: [ben]}
---
kind: Team
metadata: {name: anns}
spec: {members: [ann]}
---
kind: Team
metadata: {name: all}
spec: {}
---
kind: Integration
metadata: {name: lab}
spec: {type: gitlab, url: "https://gitlab.example", check: false, auth: {use: AUTH_TYPE_OAUTH, oauth: {clientId: the-client}}}
---
kind: EventSource
metadata: {name: in}
spec: {type: generic, path: in, verification: {scheme: none}}
---
kind: IntegrationUser
metadata: {name: of-ben}
spec: {integration: {name: lab}, user: {name: ben}, uid: "7", nickname: bens-nickname}
---
kind: IntegrationUser
metadata: {name: of-ann}
spec: {integration: {name: lab}, user: {name: ann}, uid: "8", nickname: anns-nickname}
---
kind: IntegrationLink
metadata: {name: link-of-ben}
spec: {type: generic, user: {name: ben}, source: {name: in}, entry: {body: $.bens_text}}
---
kind: IntegrationLink
metadata: {name: link-of-bens}
spec: {type: generic, team: {name: bens}, source: {name: in}, entry: {body: $.text}}
'''
BENS = {'IntegrationUser': 'of-ben', 'IntegrationLink': 'link-of-ben', 'User': 'ben', 'Team': 'bens'}
PLURALS = {'IntegrationUser': 'integration-users', 'IntegrationLink': 'integration-links', 'User': 'users', 'Team': 'teams'}

with tempfile.TemporaryDirectory(prefix='becket-people-') as data, \
        Server(data=os.path.join(data, 'data'), options=['--durability', 'none']) as server:
    def ask(method, path, token, body=None):
        connection = http.client.HTTPConnection('127.0.0.1', server.admin, timeout=20)
        headers, sent = {'Authorization': 'Bearer ' + token}, None
        if body is not None:
            sent, headers['Content-Type'] = json.dumps(body).encode(), 'application/json'
        connection.request(method, path, sent, headers)
        answer = connection.getresponse()
        answer.text = '' if 'event-stream' in (answer.getheader('Content-Type') or '') else answer.read().decode('utf-8', 'replace')
        answer.json = json.loads(answer.text) if answer.text.startswith('{') else {}
        connection.close()
        return answer

    def get(path):
        return ask('GET', path, server.token).json

    def cli_token(*words):
        code, out, err = server.cli('token', 'create', *words)
        assert code == 0, err
        return out.strip()

    server.apply(SETUP)
    code, out, err = server.cli('token', 'create', 'x', '--user', 'nobody')
    ok(code == 1 and 'no User' in err, 'a token of nobody: %s' % err.strip())
    ann, ben = cli_token('anns-laptop', '--role', 'write', '--user', 'ann'), cli_token('bens', '--role', 'write', '--user', 'ben')
    reader, chief = cli_token('anns-phone', '--user', 'ann'), cli_token('chief', '--role', 'admin', '--user', 'ann')
    machine = cli_token('ci', '--role', 'write')
    code, out, err = server.cli('token', 'list')
    ok(re.search(r'anns-laptop +write +all +ann ', out), 'the list tells whose they are') or diag(out)
    is_equal(get('/api/v1/tokens/anns-laptop')['user'], 'ann', 'so does the API')
    is_equal({k: ask('GET', '/api/v1/me', reader).json.get(k) for k in ('name', 'role', 'user', 'canvas', 'token')},
             {'name': 'anns-phone', 'role': 'read', 'user': 'ann', 'canvas': None, 'token': None}, 'who am I?')
    code, out, err = server.cli('token', 'show', '--token', ann)
    is_equal((code, out.strip()), (0, 'token anns-laptop, role write, all canvases, user ann'), 'on the command line')
    is_equal(ask('DELETE', '/api/v1/users/ann', server.token).status, 409, 'a user with tokens stays')

    # ---- every route, about everything of ben's, by name and by id
    snapshot = lambda: {plural: get('/api/v1/' + plural)['items'] for plural in PLURALS.values()}
    ids = {kind: get('/api/v1/%s/%s' % (PLURALS[kind], name))['metadata']['id'] for kind, name in BENS.items()}
    specs = {kind: get('/api/v1/%s/%s' % (PLURALS[kind], name))['spec'] for kind, name in BENS.items()}
    before, wrong, tried, kinds = snapshot(), [], 0, set()
    bens_documents = [{'kind': kind, 'metadata': {'name': name}, 'spec': dict(specs[kind], **(
        {'fullName': 'x'} if kind == 'User' else {'title': 'x'} if kind == 'Team' else {'nickname': 'x'} if
        kind == 'IntegrationUser' else {'statuses': ['goal']}))} for kind, name in BENS.items()]
    bens_documents[0]['spec'].pop('provider', None)
    stolen = [{'kind': 'IntegrationUser', 'metadata': {'name': 'of-ben'}, 'spec': {'integration': {'name': 'lab'}, 'uid': '7',
                                                                                 'user': {'name': 'ann'}}},
              {'kind': 'IntegrationUser', 'metadata': {'name': 'forged'}, 'spec': {'integration': {'name': 'lab'}, 'uid': '7',
                                                                                 'user': {'name': 'ann'}}},
              {'kind': 'Team', 'metadata': {'name': 'bens'}, 'spec': {'members': ['ann', 'ben']}},
              {'kind': 'IntegrationLink', 'metadata': {'name': 'spy'},
               'spec': {'type': 'generic', 'team': {'name': 'bens'}, 'source': {'name': 'in'}, 'entry': {'body': '$.text'}}},
              {'kind': 'IntegrationLink', 'metadata': {'name': 'spy'},
               'spec': {'type': 'generic', 'user': {'name': 'ben'}, 'source': {'name': 'in'}, 'entry': {'body': '$.text'}}}]
    for path, methods in get('/api/v1/openapi.json')['paths'].items():
        for method, route in methods.items():
            kind = next((k for k, plural in PLURALS.items() if path.startswith('/api/v1/' + plural)), None)
            names = [BENS[kind], ids[kind]] if kind and '{' in path else ['bens', ids['User']] if '{' in path else ['']
            bodies = [None]
            if 'requestBody' in route:
                bodies = [d for d in bens_documents + stolen if d['kind'] == kind] or bens_documents + stolen + [stolen]
                bodies += [{'team': 'bens', 'body': 'not mine'}, {'team': 'all', 'user': 'ben', 'body': 'not mine'},
                           {'name': 'mine', 'role': 'admin'}, {'name': 'mine', 'role': 'read', 'user': 'ben'}]
            more = '?since=1h' if path.endswith('/replay') and '{' not in path else ''
            for name in names:
                for body in bodies:
                    for who, token in (('read', reader), ('write', ann)):
                        answer = ask(method.upper(), re.sub(r'\{\w+\}', name, path) + more, token, body)
                        tried += 1
                        kinds.add(kind)
                        if 'bens-nickname' in answer.text or 'bens_text' in answer.text or '"not mine"' in answer.text:
                            wrong.append('%s %s as %s shows: %s' % (method, path, who, answer.text[:200]))
                        if kind and body and answer.status < 300:
                            wrong.append('%s %s as %s: %d %s' % (method, path, who, answer.status, body))
                        if kind in ('IntegrationUser', 'IntegrationLink') and name and method == 'get' and answer.status != 404:
                            wrong.append('%s %s as %s: %d' % (method, path, who, answer.status))
    is_equal(wrong, [], '%d requests about what is another\'s' % tried)
    is_equal(snapshot(), before, 'nothing of it changed')
    ok(set(PLURALS) <= kinds and tried > 150, 'all kinds were asked for')
    is_equal(ask('POST', '/api/v1/apply?prune=true', ann, {'kind': 'User', 'metadata': {'name': 'ann'}, 'spec': {}}).status, 403,
             'nor by a prune')
    is_equal(snapshot(), before, 'nothing')

    # ---- where others' tokens go
    lab = get('/api/v1/integrations/lab')
    for more in ({'apiUrl': 'https://evil.example'}, {'url': 'https://evil.example'}):
        answer = ask('PUT', '/api/v1/integrations/lab', ann, {'spec': dict(lab['spec'], **more)})
        ok(answer.status == 403 and 'connected' in answer.text, 'nobody sends the tokens of others elsewhere: %d' % answer.status)
    is_equal(ask('POST', '/api/v1/integrations', ann, {'kind': 'Integration', 'metadata': {'name': 'own'}, 'spec': lab['spec']}).status,
             201, 'one\'s own integration')
    is_equal(ask('PUT', '/api/v1/integrations/own', ann, {'spec': dict(lab['spec'], apiUrl='https://api.example')}).status, 200,
             'may be changed')

    # ---- what is one's own
    is_equal([i['metadata']['name'] for i in ask('GET', '/api/v1/integration-users?limit=1', ann).json['items']], ['of-ann'],
             'a list has one\'s own')
    is_equal(ask('GET', '/api/v1/integration-users/of-ann', reader).status, 200, 'own account')
    is_equal(ask('GET', '/api/v1/integration-users/of-ben', ben).status, 200, 'theirs to them')
    is_equal(ask('GET', '/api/v1/integration-users/of-ben', machine).status, 200, 'and to who is nobody')
    is_equal(ask('PUT', '/api/v1/users/ann', ann, {'spec': {'fullName': 'Ann'}}).status, 200, 'one\'s own name')
    is_equal(ask('PUT', '/api/v1/teams/anns', ann, {'spec': {'members': ['ann', 'ben']}}).status, 200, 'the own team')
    mine = {'kind': 'IntegrationLink', 'metadata': {'name': 'mine'},
            'spec': {'type': 'generic', 'team': {'name': 'anns'}, 'source': {'name': 'in'}, 'entry': {'body': '$.text'}}}
    is_equal(ask('POST', '/api/v1/integration-links', ann, mine).status, 201, 'its link')
    is_equal(ask('DELETE', '/api/v1/integration-links/mine', ben).status, 204, 'by another member')
    is_equal(ask('POST', '/api/v1/integration-links', ann, dict(mine, spec=dict(mine['spec'], team={'name': 'all'}))).status, 201,
             'of a team without members')
    is_equal(ask('POST', '/api/v1/integration-links', ann, {'kind': 'IntegrationLink', 'metadata': {'name': 'alone'}, 'spec': dict(
        specs['IntegrationLink'], user={'name': 'ann'})}).status, 201, 'of oneself')
    is_equal(ask('PUT', '/api/v1/integration-users/of-ann', ann, {'spec': {'integration': {'name': 'lab'}, 'uid': '7'}}).status, 403,
             'who one is there, one does not write oneself')
    is_equal(ask('DELETE', '/api/v1/integration-users/of-ann', ann).status, 204, 'but disconnects')
    answer = ask('POST', '/api/v1/entries', ann, {'team': 'anns', 'body': 'wrote it'})
    ok(answer.status == 201 and answer.json['user'] == 'ann' and answer.json['author'] == 'anns-laptop', 'entries are one\'s own') \
        or diag(answer.text)
    is_equal(ask('POST', '/api/v1/entries', machine, {'team': 'anns', 'user': 'ben', 'body': 'x'}).status, 201, 'a machine\'s are whose it says')

    # ---- the pages
    people = {}
    for who, token in (('ann', ann), ('chief', chief), ('admin', server.token)):
        people[who] = Browser(server.admin)
        people[who].login(token)
    page = people['ann'].get('/settings').text
    ok('Settings of ann' in page and 'link-of-ben' not in page and 'Act for' not in page, 'one\'s own settings')
    is_equal(people['ann'].get('/users/ben/settings').status, 403, 'nobody else\'s')
    ok('/integrations/generic/link' not in people['ann'].get('/teams/bens/settings').text, 'no button for another team\'s links')
    form = people['ann'].form(people['ann'].get('/settings').text, '/logout')
    is_equal(people['ann'].request('POST', '/integrations/generic/link', dict(form, _method='delete', name='link-of-ben')).status, 403,
             'nor the address')
    is_equal(people['ann'].request('POST', '/integrations/generic/link', dict(form, _method='delete', name='link-of-bens')).status,
             403, 'nor of a team')
    is_equal(people['ann'].request('POST', '/auth/of-ben/disconnect', form).status, 403, 'nor their account')
    is_equal(people['ann'].request('POST', '/settings/user', dict(form, user='ben')).status, 403, 'nobody becomes somebody else')
    is_equal(people['ann'].request('POST', '/integrations/generic/link', dict(form, **{'for': 'ben'})).status, 403, 'by no form')
    link = dict(people['ann'].form(people['ann'].get('/integrations/generic/link').text, '/integrations/generic/link'), team='',
                source='in', body='$.text', user='ben')
    answer = people['ann'].request('POST', '/integrations/generic/link', link)
    is_equal((answer.status, answer.where), (302, '/users/ann/settings'), 'a link made there is her own')
    ok('Settings of ann' in people['chief'].get('/settings').text, 'an administrator is a person, too')
    admin = people['admin']
    ok('Settings of admin' in admin.get('/settings').text, 'who is nobody is called as the token')
    form = admin.form(admin.get('/settings').text, '/settings/user')
    ok(form and 'user' in form, 'and chooses')
    is_equal(admin.request('POST', '/settings/user', dict(form, user='ben', csrf='x')).status, 403, 'by their own form alone')
    admin.request('POST', '/settings/user', dict(form, user='nobody'))
    page = admin.get('/settings').text
    ok('no User' in page and 'Settings of admin' in page, 'nobody there')
    admin.request('POST', '/settings/user', dict(form, user='ben'))
    page = admin.get('/settings').text
    ok('Settings of ben' in page and 'You act for ben now' in page and 'for ben</span>' in page, 'acts for ben') or diag(page)
    link = dict(admin.form(admin.get('/integrations/generic/link').text, '/integrations/generic/link'), team='', source='in',
                body='$.text')
    is_equal(link['for'], 'ben', 'the form says for whom')
    answer = admin.request('POST', '/integrations/generic/link', link)
    is_equal((answer.status, answer.where), (302, '/users/ben/settings'), 'made for ben')
    record = next(r for r in get('/api/v1/audit')['items'] if r['kind'] == 'IntegrationLink')
    is_equal((record['actor'], record.get('user'), record['action']), ('admin', 'ben', 'created'), 'the audit tells both')
    server.kill()
    server.start()
    admin.port = people['ann'].port = server.admin
    ok('Settings of ben' in admin.get('/settings').text, 'chosen over a kill')
    form = admin.form(admin.get('/settings').text, '/settings/user')
    admin.request('POST', '/settings/user', dict(form, user=''))
    ok('Settings of admin' in admin.get('/settings').text, 'and back')
    answer = admin.request('POST', '/integrations/generic/link', link)
    is_equal(answer.where, '/users/ben/settings', 'a form of before is still for whom it was made')
    record = next(r for r in get('/api/v1/audit')['items'] if r['kind'] == 'IntegrationLink')
    is_equal(record.get('user'), 'ben', 'and told so')
    ok('Settings of ann' in people['ann'].get('/settings').text, 'the person\'s session, too')
    ask('DELETE', '/api/v1/tokens/anns-laptop', server.token)
    is_equal(people['ann'].get('/settings').status, 302, 'ends with its token')
    is_equal(ask('GET', '/api/v1/users', ann).status, 401, 'as the token does')
    is_equal(ask('GET', '/api/v1/users', reader).status, 200, 'and no other of hers')
done()
