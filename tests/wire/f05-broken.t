#!/usr/bin/env python3
"""A disk that fails under a running server: every write and flush gives EIO. Nothing is acknowledged any more, hooks are told 503 with
Retry-After, it is live and not ready, reads and known deliveries go on as far as memory goes, and SIGTERM ends it soon, although what
became of deliveries cannot be kept; the next start brings them."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from loop_disk import LoopDisk
from sink import Sink

with LoopDisk('broken') as disk, Sink() as sink:
    server = disk.watch(Server(data=disk.link, threads=2, options=['--segment-bytes', '16M', '--drain-timeout', '15s']))
    server.apply(GITHUB_SOURCE + '''---
kind: Destination
metadata: {name: slow}
spec: {url: "%s", allowPrivate: true, retry: {schedule: [200ms, 1h], jitter: 0}}
---
kind: Route
metadata: {name: to-slow}
spec: {from: [{source: repo}], to: [{destination: slow}]}
''' % sink.url('/slow'))
    sink.manner('/slow', status=500, delay=0.4)
    token = server.token
    body = os.urandom(500)
    headers = github(body, SECRET)
    first = server.post('/hooks/repo', body, headers)
    is_equal(first.status, 200, 'a webhook before')
    disk.cut()
    statuses, slowest = {}, 0
    for _ in range(40):
        began = time.monotonic()
        answer = server.post('/hooks/repo', body, github(body, SECRET))
        slowest = max(slowest, time.monotonic() - began)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status == 503 and 'retry-after' not in answer.headers:
            statuses['without Retry-After'] = 1
    ok(set(statuses) == {503}, 'nothing is acknowledged: %r' % statuses)
    ok(slowest < 12, 'the slowest answer took %.1f s' % slowest)
    is_equal(server.get('/health/live').status, 200, 'live')
    ready = server.get('/health/ready')
    ok(ready.status == 503 and b'disk' in ready.body, 'not ready: %s' % ready.body.decode())
    again = server.post('/hooks/repo', body, headers)
    is_equal((again.status, again.json.get('id')), (200, first.json['id']), 'what was acknowledged before is known')
    is_equal(server.post('/hooks/repo', body, github(body, 'guess')).status, 401, 'a forged one is refused')
    answer = server.api('POST', '/api/v1/apply', b'kind: Secret\nmetadata: {name: more}\nspec: {data: {a: b}}\n', token=token)
    ok(answer.status >= 500 and answer.status != 504, 'an apply is refused: %d %s' % (answer.status, answer.body.decode()[:80]))
    is_equal(server._once(server.admin, 'GET', '/metrics', b'', None).status, 200, 'metrics')
    began = time.monotonic()
    code = server.stop()
    ok(code in (0, 1) and time.monotonic() - began < 4, 'SIGTERM ends it: %r after %.1f s' % (code, time.monotonic() - began))
    ok(sink.got('/slow'), 'there was something to keep: %d tries' % len(sink.got('/slow')))
    sink.manner('/slow')
    ok(disk.again(), 'mounted again')
    server.start()
    server.api('POST', '/api/v1/events/%s/replay?to=slow' % first.json['id'], token=token)
    ok(sink.wait('/slow', 1), 'the delivery arrives')
    stored = [event['id'] for event in server.events('state=accepted')]
    ok(first.json['id'] in stored, 'what was acknowledged is there')
    is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, 'and it works again')
    is_equal(server.stop(), 0, 'and stops in order')
done()
