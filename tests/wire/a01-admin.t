#!/usr/bin/env python3
"""The admin side: whom it believes, what it records, and what never leaves: secrets in answers, logs, files; log lines that
somebody else wrote."""
import os, re, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

PLANTED = ['planted-%s-7f3a9c51' % where for where in
           ('inline', 'secret', 'rotated', 'header', 'bearer', 'form')]
SOURCES = """
kind: Secret
metadata: {name: vault}
spec: {data: {key: %s}}
---
kind: EventSource
metadata: {name: plain}
spec: {type: github, path: plain, verification: {secrets: [{value: %s}]}}
---
kind: EventSource
metadata: {name: kept}
spec: {type: github, path: kept, verification: {secrets: [{valueFrom: {secret: {name: vault, key: key}}}]}}
---
kind: EventSource
metadata: {name: lab}
spec: {type: gitlab, path: lab, verification: {secrets: [{value: %s}]}}
""" % (PLANTED[1], PLANTED[0], PLANTED[3])

answers = []


def ask(server, method, path, body=b'', headers=None, token=None):
    answer = server.api(method, path, body, headers, token)
    answers.append(repr(answer.headers).encode() + answer.body)
    return answer


with Server(options=['--admin-host', 'admin.example, other.example', '--admin-host', 'third.example', '--log-level', 'debug', '--log-format', 'json']) as server:
    admin = server.token
    # ---- who is believed
    for host, status in (('localhost', 200), ('127.0.0.1:1', 200), ('admin.example', 200), ('OTHER.example.:8081', 200), ('third.example', 200),
                         ('evil.example', 421), ('admin.example.evil.example', 421)):
        connection = Connection(server.admin)
        connection.send(('GET /api/v1/tokens HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n' % (host, admin)).encode())
        is_equal(connection.read().status, status, 'Host %s: %d' % (host, status))
        connection.close()

    # ---- who shows no good token sends no large body: nothing of these is there when the answer comes
    bearer = 'Authorization: Bearer %s\r\n' % admin
    token = json.dumps({'name': 'short-lived', 'role': 'read'}).encode()
    revoked = server.api('POST', '/api/v1/tokens', token, {'Content-Type': 'application/json'}).json['token']
    connection = Connection(server.admin)
    connection.send(('POST /api/v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: 100-continue\r\n'
                     'Authorization: Bearer %s\r\n\r\n' % revoked).encode())
    is_equal(connection.read().status, 100, 'a token that was made just now is known')
    connection.close()
    server.api('DELETE', '/api/v1/tokens/short-lived')
    other = admin[:-1] + ('A' if admin[-1] != 'A' else 'E')
    for target, more, status in (('/api/v1/apply', 'Content-Length: 8000000\r\n', 401),
                                 ('/api/v1/apply', 'Content-Length: 1\r\nExpect: 100-continue\r\n', 401),
                                 ('/api/v1/apply', 'Transfer-Encoding: chunked\r\n', 401),
                                 ('/api/v1/apply', 'Authorization: Bearer %s\r\nContent-Length: 8000000\r\n' % other, 401),
                                 ('/api/v1/apply', 'Authorization: Bearer %s\r\nContent-Length: 8000000\r\n' % revoked, 401),
                                 ('/api/v1/apply', 'Authorization: Bearer bkt_\r\nTransfer-Encoding: chunked\r\n', 401),
                                 ('/api/v1/apply', 'Authorization: Basic YTpi\r\nContent-Length: 8000000\r\n', 401),
                                 ('/login', 'Content-Length: 8000000\r\n', 413),
                                 ('/api/v1/apply', bearer + 'Content-Length: 9000000\r\n', 413),
                                 ('/api/v1/apply', bearer + 'Content-Length: 8000000\r\nExpect: 100-continue\r\n', 100)):
        connection = Connection(server.admin)
        connection.send(('POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n' % (target, more)).encode())
        answer = connection.read()
        is_equal(answer.status, status, 'POST %s, %r: %d before its body' % (target, more.replace(bearer, 'a token, ')[:-2], status))
        if status != 100:
            ok(answer.headers['connection'] == 'close' and answer.json['message'], 'which is the last on that connection')
        if status == 401:
            is_equal(answer.headers.get('www-authenticate'), 'Bearer realm="becket"', 'and says what is wanted')
        connection.close()

    # ---- changes are recorded with who, what, before and after
    ask(server, 'POST', '/api/v1/apply', SOURCES.encode())
    made = ask(server, 'POST', '/api/v1/tokens', b'{"name":"robot","role":"write"}', {'Content-Type': 'application/json'})
    robot = made.json['token']
    answers.pop()  # the one answer that shows a token
    reader = server.api('POST', '/api/v1/tokens', b'{"name":"eyes","role":"read"}', {'Content-Type': 'application/json'}).json['token']
    changed = SOURCES.replace('path: plain', 'path: plainer').replace(PLANTED[1], PLANTED[2])
    answer = ask(server, 'POST', '/api/v1/apply', changed.encode(), token=robot)
    is_equal(answer.status, 200, 'a robot changes path and secret')
    request = answer.headers.get('x-request-id')
    ok(re.match(r'^[0-9a-f]{16}$', request or ''), 'the answer has a request id')
    ask(server, 'DELETE', '/api/v1/event-sources/lab', token=robot)
    ask(server, 'DELETE', '/api/v1/tokens/eyes')
    records = ask(server, 'GET', '/api/v1/audit').json['items']
    told = [(r['actor'], r['action'], r['kind'], r['name']) for r in records]
    is_equal(told[:2], [('admin', 'deleted', 'Token', 'eyes'), ('robot', 'deleted', 'EventSource', 'lab')], 'newest first')
    ok(('robot', 'updated', 'EventSource', 'plain') in told and ('robot', 'updated', 'Secret', 'vault') in told,
       'updates say who')
    path = [r for r in records if r['action'] == 'updated' and r['name'] == 'plain'][0]
    ok({'path': 'spec.path', 'before': 'plain', 'after': 'plainer'} in path['diff'], 'with before and after')
    is_equal((path['requestId'], path['remote'], path['role']), (request, '127.0.0.1', 'write'), 'request, address and role')
    ok(('becket', 'created', 'Token', 'admin') in told, 'the first token was made by the server itself')
    before = len(records)
    ask(server, 'POST', '/api/v1/apply?dryRun=true', SOURCES.encode())
    ask(server, 'POST', '/api/v1/apply', changed.replace('kind: EventSource\nmetadata: {name: lab}', 'kind: Nonsense\nmetadata: {name: lab}').encode())
    ask(server, 'DELETE', '/api/v1/event-sources/nobody')
    is_equal(len(ask(server, 'GET', '/api/v1/audit').json['items']), before, 'what changed nothing is not recorded')
    is_equal(ask(server, 'POST', '/api/v1/oidc/rotate').status, 200, 'the key of our own tokens is replaced')
    records = ask(server, 'GET', '/api/v1/audit').json['items']
    is_equal((records[0]['actor'], records[0]['action'], records[0]['kind'], records[0]['diff']),
             ('admin', 'rotated', 'OidcKey', [{'path': 'published', 'before': 0, 'after': 1}]), 'which is recorded, too')
    first = ask(server, 'GET', '/api/v1/audit?limit=2').json
    second = ask(server, 'GET', '/api/v1/audit?limit=2&cursor=' + first['next']).json
    is_equal([r['id'] for r in first['items'] + second['items']], [r['id'] for r in records[:4]], 'in pages')
    split = records[2]['at']
    listed = lambda query: [r['id'] for r in ask(server, 'GET', '/api/v1/audit?' + query).json['items']]
    is_equal(listed('since=%s&limit=1000' % split), [r['id'] for r in records if r['at'] >= split], 'since a time')
    is_equal(listed('until=%s&limit=1000' % split), [r['id'] for r in records if r['at'] < split], 'before one')
    is_equal(listed('since=%s&until=%s' % (split, split)), [], 'in no time')
    is_equal(ask(server, 'GET', '/api/v1/audit?since=tomorrow').status, 400, 'a time that is none')
    for query, keep in (('kind=event-source&name=plain', lambda r: (r['kind'], r['name']) == ('EventSource', 'plain')),
                        ('kind=EVENTSOURCES', lambda r: r['kind'] == 'EventSource'), ('name=vault', lambda r: r['name'] == 'vault'),
                        ('actor=robot', lambda r: r['actor'] == 'robot'), ('kind=tokens', lambda r: r['kind'] == 'Token'),
                        ('kind=OidcKey', lambda r: r['kind'] == 'OidcKey'),
                        ('actor=robot&name=lab', lambda r: (r['actor'], r['name']) == ('robot', 'lab'))):
        want = [r['id'] for r in records if keep(r)]
        ok(0 < len(want) < len(records) and listed(query + '&limit=1000') == want, 'of what is asked for: ' + query) or diag((listed(query), want))
    for query in ('name=plain%22,%22canvasId%22:%22default', 'name=plai', 'actor=rob', 'name=nobody'):
        is_equal(listed(query + '&limit=1000'), [], 'nothing else: ' + query)
    answer = ask(server, 'GET', '/api/v1/audit?kind=nonsense')
    ok(answer.status == 400 and 'no kind nonsense' in answer.json['message'], 'a kind that is none')
    code, out, err = server.cli('audit', 'source', 'plain')
    ok(code == 1 and 'no kind source' in err, 'becket audit, the same') or diag(out + err)
    code, out, err = server.cli('audit', 'event-source', 'plain', '-o', 'json')
    is_equal((code, [r['id'] for r in json.loads(out or '{"items":[]}')['items']]), (0, [r['id'] for r in records if (r['kind'], r['name']) == ('EventSource', 'plain')]), 'becket audit KIND NAME')
    ok(server.cli('audit', 'event-source', 'nobody')[::2] == (0, 'no records\n') and {server.cli('audit', *words)[0] for words in (('a', 'b', 'c'), ('token', ''), ('',))} == {2}, 'none of nobody')
    is_equal(ask(server, 'GET', '/api/v1/audit', token=robot).status, 403, 'only for the role admin')
    is_equal(ask(server, 'GET', '/api/v1/audit?cursor=x').status, 400, 'a made-up cursor')
    code, out, err = server.cli('audit', '--limit', '5')
    ok(code == 0 and 'robot' in out and 'spec.path' in out, 'becket audit') or diag(out + err)
    code, out, err = server.cli('audit', '--since', '1h', '--until', split, '-o', 'json')
    is_equal((code, [r['id'] for r in json.loads(out)['items']]), (0, [r['id'] for r in records if r['at'] < split][:50]), 'becket audit --since --until')
    is_equal(server.cli('audit', '--until', '2020-01-01')[:2] + ('no records' in server.cli('audit', '--until', '2020-01-01')[2],), (0, '', True), 'none of then')
    made = 'kind: EventSource\nmetadata: {name: made}\nspec: {type: generic, verification: {scheme: hmac, signature: {header: X-S}}}\n'
    server.apply(made)
    for words, told in (([], 'accepted until the next'), (['--now'], 'refused from now on')):
        code, out, err = server.cli('reset-key', 'made', *words)
        ok(code == 0 and len(out.split()) == 1 and told in err, 'becket reset-key %s: %s' % (' '.join(words), err.strip()))
        record = ask(server, 'GET', '/api/v1/audit').json['items'][0]
        is_equal((record['action'], record['name'], record['diff']),
                 ('updated', 'made', [{'path': 'key', 'before': '***', 'after': '(changed)'}]), 'its record tells that the key changed')
    code, out, err = server.cli('audit', '-o', 'json', '--token', robot)
    ok(code == 1 and 'admin' in err, 'and what it says without the role')

    # ---- when each was last used: at most one write a token and hour, and not while somebody waits
    tokens = lambda: {t['name']: t for t in ask(server, 'GET', '/api/v1/tokens').json['items']}
    ask(server, 'POST', '/api/v1/tokens', b'{"name":"idle","role":"read"}', {'Content-Type': 'application/json'})
    ok(when(lambda: 'lastUsedAt' in tokens()['robot'], 10), 'a token that was used says when')
    ok('lastUsedAt' not in tokens()['idle'], 'one that was not does not')
    first, written = tokens()['robot']['lastUsedAt'], lambda: os.stat(os.path.join(server.data, 'state', 'data.mdb')).st_mtime_ns
    time.sleep(2.2)  # of `idle`, too
    before = written()
    ask(server, 'GET', '/api/v1/audit', token=robot)
    time.sleep(2.5)
    is_equal(tokens()['robot']['lastUsedAt'], first, 'it is not written anew with each use')
    is_equal(written(), before, 'nothing is written for it')
    code, out, err = server.cli('get', 'tokens')
    ok('USED' in out.splitlines()[0], 'get tokens shows it: ' + out)

    # ---- wrong tokens are slowed down, and never shown
    codes = [server.api('GET', '/api/v1/tokens', token='bkt_' + PLANTED[4] + 'x' * 19).status for _ in range(25)]
    is_equal((codes[:20], codes[24]), ([401] * 20, 429), 'after 20 wrong tokens: wait')
    is_equal(ask(server, 'GET', '/api/v1/tokens').status, 200, 'a good one is never held up')

    # ---- a header that decides is there once: who is in front may have looked at the other one
    for name in ('Authorization', 'Cookie', 'Content-Type', 'If-Match', 'If-None-Match', 'Origin', 'Sec-Fetch-Site', 'Last-Event-ID'):
        value = 'Bearer ' + server.token if name == 'Authorization' else 'x'
        for path in ('/api/v1/me', '/login'):
            answer = Connection(server.admin).request('GET', path, headers={name: value, name.lower(): value})
            is_equal((answer.status, answer.json['message']), (400, 'the header %s is there twice' % name.lower()), '%s twice: %s' % (name, path))

    # ---- while the control thread is busy, who shows no token has half of the room
    many = ''.join('---\nkind: EventSource\nmetadata: {name: m%d}\nspec: {type: generic, verification: {scheme: none}}\n' % i for i in range(3000))
    allowed, connections = {'Authorization': 'Bearer ' + server.token}, [Connection(server.admin) for _ in range(16)]
    calls = lambda headers: request_bytes('GET', '/api/v1/me', headers=headers) * 16
    connections[0].send(request_bytes('POST', '/api/v1/apply?dryRun=true', many.encode(), dict(allowed, **{'Content-Type': 'application/yaml'})))
    for connection in connections[2:]:
        connection.send(calls({}))
    connections[1].send(calls(allowed))
    statuses = [[connection.read().status for _ in range(16)] for connection in connections[1:]]
    strangers = sum(statuses[1:], [])
    ok(strangers.count(401) + strangers.count(503) == 224 and strangers.count(503) >= 50, 'of 224 strangers at once some are told 503: %d' % strangers.count(503))
    is_equal((connections[0].read().status, statuses[0]), (200, [200] * 16), 'and who shows a token is served')
    for connection in connections:
        connection.close()
    connections = [Connection(server.admin) for _ in range(19)]
    connections[0].send(request_bytes('POST', '/api/v1/apply?dryRun=true', many.encode(), dict(allowed, **{'Content-Type': 'application/yaml'})))
    for connection in connections[1:]:
        connection.send(calls(allowed))
    statuses = sum([[connection.read().status for _ in range(16)] for connection in connections[1:]], [])
    ok(statuses.count(200) + statuses.count(503) == 288 and 256 > statuses.count(200) >= 200, 'of 288 with a token, too: %d are served' % statuses.count(200))
    for connection in connections:
        connection.close()

    # ---- strings that would write log lines of their own
    evil = 'x%0d%0a{"level":"info","event":"forged"}%1b[31m'
    server.get('/hooks/' + evil)
    ask(server, 'GET', '/api/v1/event-sources/' + evil)
    ask(server, 'DELETE', '/api/v1/event-sources/' + evil)
    ask(server, 'POST', '/api/v1/apply', b'kind: "x\\r\\nforged"\nmetadata: {name: "\\e[31m"}\n')
    body = b'{"a":1}'
    headers = github(body, PLANTED[0])
    headers['X-GitHub-Event'] = 'push", "event":"forged'
    is_equal(server.post('/hooks/plainer', body, headers).status, 200, 'an event type with quotes is taken')
    # Every secret in every place that may hold one by mistake.
    ask(server, 'POST', '/api/v1/apply', changed.encode())
    for event in ('Push Hook', 'Tag Hook'):
        is_equal(server.post('/hooks/lab', b'{"t":1}', gitlab(b'', PLANTED[3], event=event)).status, 200, 'a token in a header')
    is_equal(server.post('/hooks/lab', b'{}', gitlab(b'', PLANTED[3] + 'x')).status, 401, 'a wrong one')
    ask(server, 'POST', '/api/v1/apply', ('kind: Secret\nmetadata: {name: UPPER}\nspec: {data: {k: %s}}' % PLANTED[5]).encode())
    ask(server, 'POST', '/api/v1/apply', ('kind: EventSource\nmetadata: {name: b}\nspec: {type: github, secret: %s}' % PLANTED[5]).encode())
    for url in ('/api/v1/secrets', '/api/v1/secrets/vault', '/api/v1/event-sources', '/api/v1/event-sources/plain',
                '/api/v1/events', '/api/v1/audit', '/metrics', '/api/v1/openapi.json', '/api/v1/tokens'):
        ask(server, 'GET', url)
    ask(server, 'POST', '/api/v1/apply', changed.encode())
    is_equal(server.stop(), 0, 'stops in order')
    lines = [l for l in server.log_text().splitlines() if l]
    wrong = []
    for line in lines:
        try:
            if json.loads(line).get('event') == 'forged':
                wrong.append(line)
        except ValueError:
            wrong.append(line)
    is_equal(wrong, [], 'every log line (%d) is one JSON object of ours' % len(lines))
    ok(any(request in l and 'robot' in l for l in lines), 'the log knows the request by its id')
    places = {'logs': server.log_text().encode(), 'answers': b'\n'.join(answers),
              'files': b''.join(open(os.path.join(d, f), 'rb').read() for d, _, fs in os.walk(server.data)
                                for f in fs if f != 'admin.token' and not f.endswith('.sock'))}
    for where, text in places.items():
        found = [p for p in PLANTED + [robot, reader, admin] if p.encode() in text]
        if where == 'answers':
            found = [p for p in found if p not in PLANTED[5:]]  # an answer may repeat what its own request got wrong
        is_equal(found, [], 'no secret in ' + where)
done()
