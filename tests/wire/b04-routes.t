#!/usr/bin/env python3
"""Destinations, routes and spec.events on a running server: by command and by API; what a source does not want is kept
with its reason."""
import json, os, re, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SET = '''kind: EventSource
metadata: {name: repo}
spec:
  type: github
  path: repo
  verification: {secrets: [{value: s3cret}]}
  events:
    - {type: push, filters: [{type: FILTER_TYPE_DATA, data: {expression: "$.ref == 'refs/heads/main'"}}]}
    - {type: release}
---
kind: Destination
metadata: {name: app}
spec: {url: "http://127.0.0.1:9/in", allowPrivate: true, paused: true}
---
kind: Route
metadata: {name: repo-to-app}
spec: {from: [{source: repo}], to: [{destination: app}]}
'''


def states(server, query=''):
    return [(e['type'], e['state'], e.get('reason')) for e in reversed(server.events(query))]


with Server() as server:
    def hook(body, event, delivery):
        return server.post('/hooks/repo', body, github(body, 's3cret', delivery, event))

    code, out, err = server.cli('apply', '-f', '-', stdin=SET.encode())
    ok(code == 0 and 'whsec_' in out, 'apply: the signing secret is shown')
    answers = [hook(b'{"ref":"refs/heads/main"}', 'push', 'a1'), hook(b'{"ref":"refs/heads/x"}', 'push', 'a2'),
               hook(b'{}', 'release', 'a3'), hook(b'{}', 'issues', 'a4'), hook(b'[1', 'push', 'a5')]
    is_equal([a.status for a in answers], [200] * 5, 'every genuine event is answered 200')
    is_equal(states(server), [('push', 'accepted', ''), ('push', 'rejected', 'filtered'),
                              ('release', 'accepted', ''), ('issues', 'rejected', 'filtered'),
                              ('push', 'rejected', 'filter_failed')],
             'and kept with what became of it')
    is_equal(server.api('GET', '/api/v1/events/%s/body' % answers[3].json['id']).body, b'{}', 'body and all')
    is_equal(hook(b'{"ref":"refs/heads/x"}', 'push', 'a2').json.get('duplicate'), True, 'duplicates of these too')
    is_equal(len(states(server, 'state=rejected')), 3, 'they can be searched for')

    # ---- JSON in a form, as GitHub sends it where nobody chose otherwise
    answers = [server.post('/hooks/repo', body, dict(github(body, 's3cret', 'f%d' % len(body)), **{'Content-Type': 'application/x-www-form-urlencoded'}))
               for body in (b'payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%7D', b'payload=%7B%22ref%22%3A%22x%22%7D')]
    is_equal([server.api('GET', '/api/v1/events/' + a.json['id']).json['reason'] for a in answers], ['', 'filtered'], 'expressions see it')

    # ---- what a route's filter fails on is in the log
    server.apply(SET.partition('---\n')[2].replace('to: [{', 'filters: [{data: {expression: "$.a.b == 1"}}], to: [{'))
    event = [hook(b'{}', 'release', 'l%d' % i) for i in range(9)][0].json['id']
    lines = when(lambda: [l for l in server.log_text().splitlines() if "a route's filter fails" in l])
    ok(1 <= len(lines) <= 2 and 'of nothing' in lines[0] and 'source=repo destination=app' in lines[0], 'and the log has the reason, once a core: %s' % lines)
    server.apply(SET)

    code, out, err = server.cli('get', 'destination', 'app')
    ok(code == 0 and 'paused' in out, 'get destination')
    code, out, err = server.cli('resume', 'app')
    ok(code == 1 and 'spec.paused' in err, 'a destination that its spec pauses is not resumed by hand')
    code, out, err = server.cli('apply', '-f', '-', stdin=SET.replace(', paused: true', '').encode())
    code, out, err = server.cli('pause', 'app')
    ok(code == 0 and 'paused (by hand)' in out, 'pause')
    hook(b'{}', 'release', 'waits')
    ok(when(lambda: re.search(r'(?m)^Destination +default +app +paused: by hand; [1-9]\d* wait$', server.cli('status')[1])),
       'status: paused, by whom, and how many wait') or diag(server.cli('status')[1])
    answer = server.api('POST', '/api/v1/destinations/app/resume')
    ok(answer.status == 200 and answer.json['status']['state'] == 'ready', 'resume by API')
    is_equal(server.api('POST', '/api/v1/destinations/none/pause').status, 404, 'pause: no such destination')
    code, out, err = server.cli('secrets', 'app')
    ok(code == 0 and out.startswith('whsec_'), 'secrets')
    code, out, err = server.cli('reset-key', 'app')
    ok(code == 1 and 'app is a Destination: apply its new secret in spec.signing.secrets' in err, 'reset-key of a destination: what to do') or diag(err)
    code, out, err = server.cli('apply', '-f', '-', stdin=b'kind: EventSource\nmetadata: {name: repo}\nspec: {type: github, events: [{filters: []}]}\n')
    ok(code == 1 and 'spec.events[0].type: is missing: as the provider names it, or * for all' in err, 'events of any type: *') or diag(err)
    code, out, err = server.cli('token', 'create', 'viewer', '--role', 'write')
    token = out.split()[-1]
    is_equal(server.api('GET', '/api/v1/destinations/app/secrets', token=token).status, 403, 'secrets are for admin only')
    answer = server.api('GET', '/api/v1/destinations/app', token=token)
    ok(answer.status == 200 and b'whsec' not in answer.body, 'and nowhere else')

    code, out, err = server.cli('delete', 'destination', 'app')
    ok(code == 1 and 'still used by Route "repo-to-app"' in err, 'a destination in use is not deleted')
    bad = SET.replace("$.ref ==", "$.ref =")
    code, out, err = server.cli('apply', '-f', '-', stdin=bad.encode())
    ok(code == 1 and 'spec.events[0].filters[0].data.expression: line 1, column 7' in err, 'a wrong expression has a place')
    for path in ('/api/v1/destinations', '/api/v1/routes'):
        is_equal(len(server.api('GET', path).json['items']), 1, path)
    document = server.api('GET', '/api/v1/openapi.json').json
    ok('/api/v1/destinations/{name}/pause' in document['paths'] and 'Route' in document['components']['schemas'],
       'the OpenAPI document has them')
    code, out, err = server.cli('delete', '-f', '-', stdin=SET.encode())
    ok(code == 0 and out.splitlines()[0] == 'deleted Route repo-to-app', 'delete -f goes by use')

    # A route that leads an event back to where it came from.
    code, out, err = server.cli('apply', '-f', '-', stdin=('''kind: EventSource
metadata: {name: loop}
spec: {type: generic, path: loop, verification: {scheme: none}}
---
kind: Destination
metadata: {name: back}
spec: {url: "http://127.0.0.1:%d/hooks/loop", allowPrivate: true, retry: {schedule: []}}
---
kind: Route
metadata: {name: round}
spec: {from: [{source: loop}], to: [{destination: back}]}
''' % server.port).encode())
    ok(code == 0, 'a loop: ' + err)
    is_equal(server.post('/hooks/loop', b'round').status, 200, 'an event for it')
    dead = []
    end = time.time() + 10
    while not dead and time.time() < end:
        time.sleep(0.1)
        dead = server.api('GET', '/api/v1/deliveries?destination=back&state=dead').json['items']
    time.sleep(0.3)
    is_equal(len(server.api('GET', '/api/v1/events?source=loop').json['items']), 16, 'it goes round 16 times')
    ok(len(dead) == 1 and 'loop' in json.dumps(dead), 'and ends with a word: %s' % dead)
done()
