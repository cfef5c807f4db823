#!/usr/bin/env python3
"""Entries that are changed and deleted: what went out stays as it is, what did not goes out as it is then or not at all; whose
they are; what the audit records tell; lists by team, user, status and canvas, together."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *
from sink import Sink

WORLD = '''
kind: User
metadata: {name: anna}
spec: {}
---
kind: User
metadata: {name: bert}
spec: {}
---
kind: Team
metadata: {name: core}
spec: {members: [anna]}
---
kind: Team
metadata: {name: other}
spec: {}
---
kind: Destination
metadata: {name: app}
spec: {url: "%s", allowPrivate: true}
---
kind: IntegrationLink
metadata: {name: out}
spec: {type: generic, team: {name: core}, destination: {name: app}}
---
kind: Integration
metadata: {name: slack}
spec: {type: slack, url: "%s", apiUrl: "%s", check: false, allowPrivate: true, auth: {use: AUTH_TYPE_TOKEN, token: {value: %s}}}
---
kind: IntegrationLink
metadata: {name: chat}
spec: {type: slack, integration: {name: slack}, team: {name: core}, settings: {channel: C0123456789}}
---
kind: Integration
metadata: {name: hub}
spec: {type: github, url: "%s/acme", apiUrl: "%s", check: false, allowPrivate: true, auth: {use: AUTH_TYPE_TOKEN, token: {value: %s}}}
---
kind: IntegrationLink
metadata: {name: code}
spec: {type: github, integration: {name: hub}, team: {name: core}, settings: {repository: hello}}
'''


chat, hub = Slack(), GitHub()
hub.repositories['acme/hello'] = {}
with Sink() as sink, Server(options=['--durability', 'none']) as server:
    def ask(method, path, fields=None, token=None):
        body = json.dumps(fields).encode() if fields is not None else b''
        headers = {'Content-Type': 'application/json'} if fields is not None else {}
        return server.api(method, '/api/v1/entries' + path, body, dict(headers, **(
            {'Authorization': 'Bearer ' + token} if token else {})))

    def listed(query):
        return [e['body'] for e in ask('GET', query).json['items']]

    def token(name, *words):
        return server.cli('token', 'create', name, '--role', 'write', *words)[1].strip()

    def push(*commits):
        hook = list(hub.repositories['acme/hello'].values())[0]
        body = json.dumps({'ref': 'refs/heads/main', 'commits': [
            {'id': '%040x' % n, 'message': 'Mend %d' % n, 'url': 'https://github.com/acme/hello/commit/%d' % n,
             'author': {'username': 'AnnaCodes'}} for n in commits]}).encode()
        return server.post(urllib.parse.urlsplit(hook['config']['url']).path, body, github(body, hook['config']['secret'], event='push'))

    server.apply(WORLD % (sink.url('/app'), chat.url, chat.url, chat.token, hub.url, hub.url, hub.token))
    ok(when(lambda: hub.repositories['acme/hello']), 'the hook is made')

    # ---- what went out stays
    entry = ask('POST', '', {'team': 'core', 'body': 'wrote tests', 'user': 'anna'}).json
    ok(when(lambda: sink.got('/app') and chat.messages), 'it went out')
    event = sink.got('/app')[0].id
    ok(when(lambda: server.api('GET', '/api/v1/deliveries?event=' + event).json['items']), 'and is told')
    ok(not server.api('GET', '/api/v1/deliveries?event=' + event).json['items'][0].get('replay'), 'as no replay')
    at = '/' + entry['id']
    answer = ask('PUT', at, {'body': '[] write tests', 'occurredOn': '2026-01-31'})
    changed = answer.json
    is_equal((answer.status, changed['body'], changed['status'], changed['occurredOn'], changed['createdAt'], changed['user']),
             (200, 'write tests', 'goal', '2026-01-31', entry['createdAt'], 'anna'), 'what was given is another') or diag(answer.body)
    ok(changed['updatedAt'] >= entry['createdAt'], 'since then')
    is_equal(ask('GET', at).json, changed, 'and kept')
    is_equal(ask('PUT', at, {'body': 'write tests'}).json, changed, 'the same again changes nothing')
    is_equal(ask('POST', at, {'status': 'done'}).json['status'], 'done', 'by POST as well')
    time.sleep(0.4)
    is_equal((len(sink.got('/app')), [m['text'] for m in chat.messages]), (1, ['anna: wrote tests']), 'nothing is recalled nor sent again')
    for fields, field in (({'team': 'other'}, 'team'), ({'body': ' '}, 'body'), ({'status': 'x'}, 'status'), ({'user': 'bert'}, 'user'),
                          ({'occurredOn': 'x'}, 'occurredOn'), ({'author': 'x'}, 'author'), ({'body': 'x' * 2001}, 'body')):
        answer = ask('PUT', at, fields)
        is_equal((answer.status, answer.json['details'][0]['field']), (400, field), 'refused: %.40s' % fields)
    is_equal(ask('PUT', '/' + '0' * 32, {'body': 'x'}).status, 404, 'none')
    is_equal(ask('PUT', '/x', {'body': 'x'}).status, 404, 'no id')

    # ---- what did not go out yet
    chat.fault = lambda call: Reply(500, {})
    one, two = (ask('POST', '', {'team': 'core', 'body': text, 'user': 'anna'}).json for text in ('first', 'second'))
    ok(when(lambda: len(sink.got('/app')) == 3), 'the destination has them')
    ask('PUT', '/' + one['id'], {'body': 'first, better'})
    is_equal(ask('DELETE', '/' + two['id']).status, 204, 'deleted')
    is_equal([ask(m, '/' + two['id'], f).status for m, f in (('GET', None), ('PUT', {'body': 'x'}), ('DELETE', None))], [404] * 3, 'it is gone')
    chat.fault = lambda call: None
    for operation in server.api('GET', '/api/v1/operations').json['items']:
        server.api('POST', '/api/v1/operations/%s/retry' % operation['metadata']['name'])
    ok(when(lambda: any('first, better' in m['text'] for m in chat.messages)), 'the message is as the entry is then')
    ok(when(lambda: not any(o['status']['state'] == 'pending' for o in server.api('GET', '/api/v1/operations').json['items'])), 'nothing waits')
    ok(not any('second' in m['text'] for m in chat.messages), 'of the deleted one there is none')
    audit = [r for r in server.api('GET', '/api/v1/audit').json['items'] if r['kind'] == 'Entry']
    is_equal([(r['action'], r['name'] == n, r['canvasId'], r['actor']) for r, n in zip(audit, (two['id'], one['id'], two['id'], one['id']))],
             [('deleted', True, 'default', 'admin'), ('updated', True, 'default', 'admin'), ('created', True, 'default', 'admin'),
              ('created', True, 'default', 'admin')], 'audit records tell each') or diag(str(audit[:4]))
    is_equal(audit[1]['diff'], [{'path': 'body', 'before': 'first', 'after': 'first, better'}], 'with what changed')

    # ---- of events: an author who becomes known, a commit that comes again
    push(7)
    ok(when(lambda: listed('?user=') and ask('GET', '').json['items'][0].get('author') == 'AnnaCodes'), 'of somebody unknown')
    code = ask('GET', '').json['items'][0]
    is_equal((code['state'], len(chat.messages)), ('unknown-author', 2), 'which waits')
    is_equal(ask('PUT', '/' + code['id'], {'user': 'anna'}).json['state'], 'ready', 'it was anna')
    ok(when(lambda: any('anna: Mend 7' in m['text'] for m in chat.messages)), 'now it goes out')
    ask('PUT', '/' + code['id'], {'body': 'Mend seven', 'user': 'anna'})
    is_equal(ask('DELETE', '/' + code['id']).status, 204, 'deleted')
    push(7, 8)
    ok(when(lambda: len(listed('?team=core')) == 3), 'the next commit comes')
    is_equal([b for b in listed('?team=core') if 'Mend' in b], ['Mend 8 https://github.com/acme/hello/commit/8'] if any(
        'https' in b for b in listed('?team=core')) else ['Mend 8'], 'and the deleted one does not come back')
    server.kill()
    server.start()
    push(7)
    time.sleep(0.5)
    is_equal(len(listed('?team=core')), 3, 'nor after a kill')

    # ---- whose
    annas, berts, bound, machine = token('a', '--user', 'anna'), token('b', '--user', 'bert'), None, token('m')
    server.apply('kind: Canvas\nmetadata: {name: red}')
    bound = token('r', '--canvas', 'red')
    for who, status in ((berts, 403), (bound, 404), (annas, 200), (machine, 200)):
        is_equal(ask('PUT', at, {'body': 'by %d' % status}, who).status, status, 'changed by')
    is_equal(ask('PUT', at, {'user': 'bert'}, annas).status, 403, 'given to nobody else')
    for who, status in ((berts, 403), (bound, 404), (annas, 204)):
        is_equal(ask('DELETE', at, None, who).status, status, 'deleted by')

    # ---- lists
    for n in range(60):
        ask('POST', '', {'team': 'core' if n % 2 else 'other', 'body': 'n%d' % n, **({'user': 'anna'} if n % 3 == 0 else {}),
                         'status': ('done', 'goal', 'blocked')[n % 5 % 3]})
    for query, wanted in (('team=core', lambda n: n % 2), ('user=anna', lambda n: n % 3 == 0), ('status=blocked', lambda n: n % 5 % 3 == 2),
                          ('team=core&user=anna&status=goal', lambda n: n % 2 and n % 3 == 0 and n % 5 % 3 == 1),
                          ('team=core&canvas=default', lambda n: n % 2)):
        got = [b for b in listed('?' + query) if b[0] == 'n']
        is_equal(got, ['n%d' % n for n in range(59, -1, -1) if wanted(n)], query)
    for query in ('team=none', 'user=core', 'canvas=red', 'team=cor', 'team=' + 'x' * 100):
        is_equal(listed('?' + query), [], 'nothing of ' + query)
    pages, cursor = [], ''
    for _ in range(30):
        page = ask('GET', '?team=core&user=anna&limit=3' + cursor).json
        pages += [e['body'] for e in page['items']]
        if 'next' not in page:
            break
        cursor = '&cursor=' + page['next']
    is_equal(pages, listed('?team=core&user=anna'), 'page by page')

    # ---- one event, many links: none of it is cut off
    server.apply('kind: EventSource\nmetadata: {name: wide}\nspec: {type: github, path: github, verification: {secrets: [{value: k-1234567}]}}')
    server.apply('\n---\n'.join('kind: Team\nmetadata: {name: t%d}\nspec: {}\n---\nkind: IntegrationLink\nmetadata: {name: l%d}\nspec: '
                                '{type: github, integration: {name: hub}, team: {name: t%d}, settings: {repository: many}}' %
                                (n, n, n) for n in range(9)))
    body = json.dumps({'ref': 'refs/heads/main', 'repository': {'name': 'many', 'full_name': 'acme/many'}, 'commits': [
        {'id': '%040x' % (1000 + n), 'message': 'Mend %d' % n, 'author': {'username': 'x'}} for n in range(100)]}).encode()
    is_equal(server.post('/integrations/github/hook', body, github(body, 'k-1234567', event='push')).status, 200, 'a push of a hundred')
    count = lambda n: len(ask('GET', '?team=t%d&limit=1000' % n).json['items'])
    ok(when(lambda: sum(count(n) for n in range(9)) == 900), 'a hundred entries for each of nine teams: %s' % [count(n) for n in range(9)])

    # ---- the command line
    code, out, err = server.cli('entry', 'create', '! no disk', '--team', 'core', '--user', 'anna')
    made = out.strip()
    is_equal((code, ask('GET', '/' + made).json['status']), (0, 'blocked'), 'entry create') or diag(err)
    code, out, err = server.cli('entry', 'update', made, '--body', 'bought a disk', '--status', 'done', '-o', 'json')
    is_equal((code, json.loads(out)['body'], json.loads(out)['status']), (0, 'bought a disk', 'done'), 'entry update') or diag(err)
    code, out, err = server.cli('entry', 'delete', made)
    is_equal((code, ask('GET', '/' + made).status), (0, 404), 'entry delete: ' + out.strip())
    code, out, err = server.cli('delete', 'entry', made)
    is_equal((code, 'no entry' in err), (1, True), 'once: ' + err.strip())
    is_equal(server.cli('entry', 'update')[0], 2, 'usage')
chat.close()
hub.close()
done()
