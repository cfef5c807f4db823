#!/usr/bin/env python3
"""A disk that stands still for good: no flush returns. Health and metrics answer all the same, also on the admin listener and also
while the control thread stands in the disk; hooks and API requests are told 503 with Retry-After when their time is over, new ones at
once; when the disk moves again everything goes on without a restart, and what was refused is there at most once."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from loop_disk import LoopDisk

PATIENCE = 10
JWT_SOURCE = '''
kind: EventSource
metadata: {name: token}
spec:
  type: generic
  path: token
  verification: {scheme: jwt, issuer: "http://127.0.0.1:9", audience: becket, allowPrivate: true}
'''
url64 = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b'=').decode()


def timed(call):
    began = time.monotonic()
    answer = call()
    return answer, time.monotonic() - began


def admin_get(path):
    return server._once(server.admin, 'GET', path, b'', None)


with LoopDisk('frozen', freezes=True) as disk:
    server = disk.watch(Server(data=disk.link, threads=2, options=['--segment-bytes', '16M']))
    server.apply(GITHUB_SOURCE + '---' + JWT_SOURCE)
    first = os.urandom(500)
    first_headers = github(first, SECRET)
    first_answer = server.post('/hooks/repo', first, first_headers)
    is_equal(first_answer.status, 200, 'a webhook before')
    series = admin_get('/metrics').body
    ok(b'becket_events_total{source="repo"' in series, 'metrics name the source')
    if not ok(disk.freeze(), 'the file system stands still'):
        raise SystemExit
    began = time.monotonic()
    hooks = []
    for size in (1000, 200000):  # the second is written from the buffer it came in
        body = os.urandom(size)
        headers = github(body, SECRET)
        connection = Connection(server.port, timeout=30)
        connection.send(request_bytes('POST', '/hooks/repo', body, headers))
        hooks.append((connection, body, headers))
    # The control thread stands in this one.
    apply = Connection(server.admin, timeout=30)
    document = b'kind: Secret\nmetadata: {name: more}\nspec: {data: {a: b}}\n'
    apply.send(request_bytes('POST', '/api/v1/apply', document, {'Content-Type': 'application/yaml', 'Authorization': 'Bearer ' + server.token}))
    time.sleep(0.3)
    # What strangers ask of it meanwhile is kept up to 3 MiB of 12; the rest is for who has a token.
    form = {'Content-Type': 'application/x-www-form-urlencoded'}
    strangers = []
    for _ in range(8):
        strangers.append(Connection(server.admin, timeout=30))
        strangers[-1].send(request_bytes('POST', '/login', b'#' * (1 << 20), form))
    answers, took = timed(lambda: [connection.read().status for connection in strangers[4:]])
    ok(answers == [503] * 4 and took < 4, 'forms beyond what is kept: %s in %.1f s' % (answers, took))
    answer, took = timed(lambda: server.api('POST', '/api/v1/apply', b'#' * (8 << 20), token='guessed'))
    ok(answer.status == 401 and took < 4, 'a wrong token: %d in %.1f s' % (answer.status, took))
    large = Connection(server.admin, timeout=30)
    large.send(request_bytes('POST', '/api/v1/apply', b'#' * (7 << 20), {'Content-Type': 'application/yaml', 'Authorization': 'Bearer ' + server.token}))
    # It would have to fetch this one's key.
    token = '.'.join([url64({'alg': 'RS256', 'kid': 'k'}), url64({'iss': 'http://127.0.0.1:9', 'aud': 'becket', 'exp': time.time() + 600}), 'AAAA'])
    keyless = Connection(server.port, timeout=30)
    keyless.send(request_bytes('POST', '/hooks/token', b'{}', {'Authorization': 'Bearer ' + token}))
    reading = Connection(server.admin, timeout=30)
    reading.send(request_bytes('GET', '/api/v1/event-sources', b'', {'Authorization': 'Bearer ' + server.token}))
    for name, get in (('ingress', server.get), ('admin', admin_get)):
        answer, took = timed(lambda: get('/health/live'))
        ok(answer.status == 200 and took < 4, '%s: live in %.0f ms' % (name, took * 1000))
    answer, took = timed(lambda: admin_get('/metrics'))
    ok(answer.status == 200 and took < 8, 'metrics in %.1f s' % took)
    ok(b'becket_stalled_seconds{what="journal"}' in answer.body and b'becket_ring_enters_total' in answer.body, 'with what is known without it')
    ok(b'becket_events_total{' not in answer.body, 'and without series that would seem to begin anew')
    while time.monotonic() < began + 6.5:
        time.sleep(0.1)
    for name, get in (('ingress', server.get), ('admin', admin_get)):
        answer, took = timed(lambda: get('/health/ready'))
        ok(answer.status == 503 and took < 4 and b'has not flushed for' in answer.body, '%s: not ready: %s' % (name, answer.body.decode()[:90]))
    answer = keyless.read()
    ok(answer.status == 503 and answer.json['code'] == 'key_unavailable' and 'retry-after' in answer.headers,
       'a hook that waits for a key is told so: %s' % answer.body.decode()[:90])
    # A load balancer has taken it out by now; what comes all the same waits no longer than it must.
    for connection, _, _ in hooks:
        answer = connection.read()
        took = time.monotonic() - began
        ok(answer.status == 503 and 'retry-after' in answer.headers and PATIENCE - 1 < took < PATIENCE + 6,
           'a hook that waits for the disk: %d after %.1f s' % (answer.status, took))
    body = os.urandom(100)
    late = github(body, SECRET)
    answer, took = timed(lambda: server.post('/hooks/repo', body, late))
    ok(answer.status == 503 and 'retry-after' in answer.headers and took < 4, 'a new one: %d after %.1f s' % (answer.status, took))
    answer, took = timed(lambda: server.post('/hooks/repo', first, first_headers))
    ok(answer.status == 200 and answer.json['id'] == first_answer.json['id'] and took < 4, 'one that is on the disk is still known')
    answer, took = timed(lambda: server.post('/hooks/repo', first, github(first, 'wrong')))
    ok(answer.status == 401 and took < 4, 'a forged one is refused as ever')
    for connection, name in ((apply, 'an apply'), (reading, 'a request behind it'), (large, 'a large one behind strangers\'')):
        answer = connection.read()
        took = time.monotonic() - began
        ok(answer.status == 503 and b'the disk has not' in answer.body and took < PATIENCE + 8, '%s: %d after %.1f s' % (name, answer.status, took))
    answer, took = timed(lambda: server.api('GET', '/api/v1/event-sources'))
    ok(answer.status == 503 and 'retry-after' in answer.headers and took < 4, 'a new API request: %d at once' % answer.status)
    disk.thaw()
    end = time.monotonic() + 15
    while server.get('/health/ready').status != 200 and time.monotonic() < end:
        time.sleep(0.1)
    is_equal(server.get('/health/ready').status, 200, 'when the disk moves again it is ready without a restart')
    for connection, body, headers in hooks + [(None, body, late)]:
        again, further = server.post('/hooks/repo', body, headers), server.post('/hooks/repo', body, headers)
        ok(again.status == further.status == 200 and again.json['id'] == further.json['id'], 'what was refused is taken, or was kept, once')
    is_equal(server.apply(document)['results'][0]['action'], 'unchanged', 'the apply that was told 503 was done in the end, as it said that it might')
    ok(b'becket_events_total{source="repo"' in admin_get('/metrics').body, 'metrics are whole again')
    is_equal(len(server.events('state=accepted')), 4, 'no event is there twice')
    is_equal(server.stop(), 0, 'and it stops in order')
done()
