#!/usr/bin/env python3
"""Entries by hand and entries to destinations: signed, once under one webhook-id, retried, dead letters, paused; never back
through the link they came in by; kill -9 between; and how the command line shows them."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *
from sink import Sink, signature_fits

SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
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
kind: EventSource
metadata: {name: inhouse}
spec: {type: generic, path: inhouse, verification: {scheme: token, secrets: [{value: tok-1234567}]}}
---
kind: Destination
metadata: {name: app}
spec:
  url: %(app)s
  allowPrivate: true
  headers: {X-Env: prod}
  signing: {scheme: standard-webhooks, secrets: [{value: %(secret)s}]}
  retry: {schedule: [100ms, 100ms], jitter: 0}
---
kind: Destination
metadata: {name: goals}
spec: {url: "%(goals)s", allowPrivate: true}
---
kind: IntegrationLink
metadata: {name: both}
spec: {type: generic, team: {name: core}, source: {name: inhouse}, entry: {body: $.text, author: $.who}, destination: {name: app}}
---
kind: IntegrationLink
metadata: {name: out}
spec: {type: generic, team: {name: core}, destination: {name: app}}
---
kind: IntegrationLink
metadata: {name: only-goals}
spec: {type: generic, team: {name: core}, destination: {name: goals}, statuses: [goal]}
'''


def create(server, **fields):
    return server.api('POST', '/api/v1/entries', json.dumps(fields).encode(), {'Content-Type': 'application/json'})


def bodies(sink, path):
    return [json.loads(request.body)['body'] for request in sink.got(path)]


chat = Slack()
with Sink() as sink, Server() as server:
    server.apply(WORLD % {'app': sink.url('/app'), 'goals': sink.url('/goals'), 'secret': SECRET})
    server.apply('''
kind: Integration
metadata: {name: slack}
spec: {type: slack, url: "%s", apiUrl: "%s", check: false, allowPrivate: true, auth: {use: AUTH_TYPE_TOKEN, token: {value: %s}}}
---
kind: IntegrationLink
metadata: {name: chat}
spec: {type: slack, integration: {name: slack}, team: {name: core}, settings: {channel: C0123456789}}
''' % (chat.url, chat.url, chat.token))

    answer = create(server, team='core', body='wrote the tests', user='anna')
    is_equal(answer.status, 201, 'an entry by hand')
    entry = answer.json
    is_equal({k: entry.get(k) for k in ('body', 'status', 'state', 'user', 'author', 'team', 'type', 'canvasId')},
             {'body': 'wrote the tests', 'status': 'done', 'state': 'ready', 'user': 'anna', 'author': 'admin', 'team': 'core',
              'type': 'api', 'canvasId': 'default'}, 'as it was written')
    is_equal(server.api('GET', '/api/v1/entries/' + entry['id']).json, entry, 'and kept')
    ok(when(lambda: len(sink.got('/app')) == 1), 'it goes to the destination')
    request = sink.got('/app')[0]
    is_equal(json.loads(request.body), entry, 'as the API shows it')
    ok(signature_fits(request, SECRET), 'signed')
    is_equal((request.headers.get('becket-type'), request.headers.get('becket-source'), request.headers.get('content-type'),
              request.headers.get('x-env'), request.headers.get('becket-attempt')),
             ('entry.created', 'becket.entries', 'application/json', 'prod', '1'), 'with these headers')
    ok(request.id.startswith('evt_'), 'under the id of an event')
    event = server.api('GET', '/api/v1/events/' + request.id).json
    is_equal((event['source'], event['type'], event['provider'], event['state'], event['deliveryId']),
             ('becket.entries', 'entry.created', 'becket', 'accepted', entry['id']), 'which can be looked at')
    ok(when(lambda: any('anna: wrote the tests' in m['text'] for m in chat.messages)), 'and to the channel')
    time.sleep(0.3)
    is_equal(len(sink.got('/app')), 1, 'two links to one destination: once')
    is_equal(len(sink.got('/goals')), 0, 'not where only goals go')

    answer = create(server, team_id='core', body='[] write more', occurred_on='2026-02-28')
    is_equal((answer.status, answer.json['status'], answer.json['occurredOn'], answer.json['body'], answer.json.get('user')),
             (201, 'goal', '2026-02-28', 'write more', None), 'in the words of I Done This, without a user')
    ok(when(lambda: bodies(sink, '/goals') == ['write more']), 'a goal goes there as well')
    ok(when(lambda: any('admin (goal): write more' in m['text'] for m in chat.messages)), 'with the name of who asked')
    for fields, field in (({'team': 'core'}, 'body'), ({'team': 'core', 'body': '  '}, 'body'), ({'body': 'x'}, 'team'),
                          ({'team': 'none', 'body': 'x'}, 'team'), ({'team': 'core', 'body': 'x', 'user': 'bert'}, 'user'),
                          ({'team': 'core', 'body': 'x', 'status': 'perhaps'}, 'status'),
                          ({'team': 'core', 'body': 'x', 'occurredOn': '2026-02-30'}, 'occurredOn'),
                          ({'team': 'core', 'body': 'x', 'occurredOn': 'today'}, 'occurredOn'),
                          ({'team': 'core', 'body': 'x' * 2001}, 'body'), ({'team': 'core', 'body': 'x', 'more': 'y'}, 'more'),
                          ({'team': 'core', 'body': 7}, 'body')):
        answer = create(server, **fields)
        is_equal((answer.status, answer.json['details'][0]['field']), (400, field), 'refused: %.40s' % fields)
    is_equal(server.api('POST', '/api/v1/entries', b'[1]', {'Content-Type': 'application/json'}).status, 400, 'no object')
    is_equal(server.api('POST', '/api/v1/entries', b'{', {'Content-Type': 'application/json'}).status, 400, 'no JSON')
    is_equal(len(server.api('GET', '/api/v1/entries').json['items']), 2, 'nothing of it is kept')

    own = {'Authorization': 'Bearer tok-1234567', 'Content-Type': 'application/json'}
    before = len(sink.got('/app'))
    server.api('DELETE', '/api/v1/integration-links/out')
    server.post('/hooks/inhouse', json.dumps({'text': 'came in', 'who': 'anna'}).encode(), own)
    ok(when(lambda: any('came in' in m['text'] for m in chat.messages)), 'what came in by a link goes out by the others')
    time.sleep(0.3)
    is_equal(len(sink.got('/app')), before, 'never through its own')

    sink.manner('/app', answers=[500, 200])
    create(server, team='core', body='again', user='anna')
    ok(when(lambda: bodies(sink, '/app')[before:] == ['again', 'again']), 'tried again')
    is_equal(len({r.id for r in sink.got('/app')[before:]}), 1, 'under the same id')
    sink.manner('/app', status=500)
    create(server, team='core', body='dead', user='anna')
    ok(when(lambda: len(server.api('GET', '/api/v1/deliveries?state=dead').json['items']) == 1), 'a dead letter')
    dead = server.api('GET', '/api/v1/deliveries?state=dead').json['items'][0]
    is_equal((dead['destination'], dead['source']), ('app', 'becket.entries'), 'which says whose')
    sink.manner('/app', status=200)
    is_equal(server.api('POST', '/api/v1/events/%s/replay?to=app' % dead['event']).status, 202, 'replayed')
    ok(when(lambda: sink.got('/app')[-1].status == 200 and bodies(sink, '/app')[-1] == 'dead'), 'and delivered')

    before = len(sink.got('/app'))
    server.api('POST', '/api/v1/destinations/app/pause')
    create(server, team='core', body='paused', user='anna')
    time.sleep(0.5)
    is_equal(len(sink.got('/app')), before, 'a paused destination gets none')
    server.kill()
    server.start()
    server.api('POST', '/api/v1/destinations/app/resume')
    ok(when(lambda: bodies(sink, '/app')[before:] == ['paused']), 'but later, also after kill -9')

    before = len(sink.got('/app'))
    for round in range(3):
        for n in range(20):
            is_equal(create(server, team='core', body='many %d' % (round * 20 + n), user='anna').status, 201, 'taken')
        time.sleep(0.001 * round)
        server.kill()
        server.start()
    ok(when(lambda: len(set(bodies(sink, '/app')[before:])) == 60), 'kill -9 at any time loses none: %d' %
       len(set(bodies(sink, '/app')[before:])))
    ids = {}
    for r in sink.got('/app')[before:]:
        ids.setdefault(json.loads(r.body)['id'], set()).add(r.id)
    is_equal([i for i in ids.values() if len(i) > 1], [], 'each under one webhook-id')
    made, cursor = {}, ''
    while cursor is not None:
        page = server.api('GET', '/api/v1/events?source=becket.entries&limit=1000' + cursor).json
        cursor = '&cursor=' + page['next'] if 'next' in page else None
        for event in page['items']:
            made[event['deliveryId']] = made.get(event['deliveryId'], 0) + 1
    is_equal({i: made.get(i) for i in ids if made.get(i) != 1}, {}, 'each is one event, also where a kill came between it and its delivery')

    is_equal(server.api('DELETE', '/api/v1/destinations/app').status, 409, 'a destination that a link names stays')
    for spec, word in (('{type: generic, team: {name: core}}', 'destination'),
                       ('{type: generic, user: {name: anna}, destination: {name: app}}', 'give team'),
                       ('{type: generic, team: {name: core}, destination: {name: nowhere}}', 'nowhere'),
                       ('{type: generic, team: {name: core}, destination: {name: app}, source: {name: inhouse}}', 'body is missing')):
        answer = server.api('POST', '/api/v1/apply', ('kind: IntegrationLink\nmetadata: {name: bad}\nspec: ' + spec).encode())
        ok(answer.status == 400 and word in answer.body.decode(), 'refused: %s' % answer.body.decode()[:120])
    link = server.api('GET', '/api/v1/integration-links/only-goals').json
    is_equal(link['status']['summary'], 'New entries of core go to destination goals.', 'a link says what it does')

    # Two links that lead each other's entries back to a source of ours.
    server.apply('''
kind: Team
metadata: {name: round}
spec: {}
---
kind: EventSource
metadata: {name: loop}
spec: {type: generic, path: loop, verification: {scheme: none}}
---
kind: Destination
metadata: {name: back}
spec: {url: "http://127.0.0.1:%d/hooks/loop", allowPrivate: true, retry: {schedule: []}}
---
kind: IntegrationLink
metadata: {name: loop-in}
spec: {type: generic, team: {name: round}, source: {name: loop}, entry: {body: $.body, author: "'anna'"}}
---
kind: IntegrationLink
metadata: {name: loop-out}
spec: {type: generic, team: {name: round}, destination: {name: back}}
''' % server.port)
    server.post('/hooks/loop', b'{"body":"round and round"}')
    ok(when(lambda: server.api('GET', '/api/v1/deliveries?destination=back&state=dead').json['items']), 'a loop of links ends')
    dead = server.api('GET', '/api/v1/deliveries?destination=back&state=dead').json['items']
    ok(len(dead) == 1 and 'loop' in json.dumps(dead), 'with a word: %s' % dead)
    rounds = [e.get('hops', 0) for e in server.api('GET', '/api/v1/entries?team=round').json['items']]
    is_equal(rounds, list(range(15, -1, -1)), 'after 16 rounds, each counted')

    code, out, _ = server.cli('get', 'entries')
    ok(code == 0 and 'wrote the tests' in out and 'anna' in out, 'listed: ' + out[:200])
    code, out, _ = server.cli('get', 'entry', entry['id'], '-o', 'json')
    is_equal(json.loads(out), entry, 'one by its id')
    is_equal(server.cli('get', 'entries', 'nothing')[0], 1, 'none')
chat.close()
done()
