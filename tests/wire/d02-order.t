#!/usr/bin/env python3
"""Strict order: events that come one after the other, over any connection and core, are delivered in that order, through
failures and a restart; per key, a key that fails holds up no other; and 410 pauses a destination until it is resumed."""
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

DESTINATIONS = '''
kind: Destination
metadata: {name: strict}
spec:
  url: %s
  allowPrivate: true
  ordering: {mode: strict}
  retry: {schedule: [100ms, 100ms, 100ms, 100ms, 200ms, 200ms, 500ms, 500ms, 1s, 1s, 1s, 1s], jitter: 0}
---
kind: Destination
metadata: {name: gone}
spec: {url: %s, allowPrivate: true, retry: {schedule: [100ms, 100ms, 100ms, 1s, 1s, 1s, 1s]}}
---
kind: Route
metadata: {name: all}
spec: {from: [{source: repo}], to: [{destination: strict}, {destination: gone}]}
'''


def post(server, first, count):
    ids = []
    for number in range(first, first + count):
        body = json.dumps({'n': number}).encode()
        answer = server.post('/hooks/repo', body, github(body, SECRET))  # a new connection each: any core
        assert answer.status == 200, answer
        ids.append(answer.json['id'])
    return ids


def replay(server, sink, path, count):
    """All again, with kill -9 in between: the numbers in the order in which they were taken, each once."""
    pending = '/api/v1/deliveries?state=pending&destination=' + path[1:]
    when(lambda: server.api('GET', pending).json['items'] == [])  # what is pending is not put there twice
    before = len(sink.got(path, 200))
    answer = server.cli('replay', '--since', '1h', '--to', path[1:])
    assert answer[0] == 0, answer
    when(lambda: len(sink.got(path, 200)) > before + count // 3)
    server.kill()
    server.start()
    taken = lambda: list(dict.fromkeys(json.loads(r.body)['n'] for r in sink.got(path, 200)[before:]))
    when(lambda: len(taken()) == count, 30)
    return taken()


with Sink() as sink, Server(threads=2) as server:
    sink.manner('/strict', failing=0.2)
    sink.manner('/gone', status=410)
    server.apply(GITHUB_SOURCE + '---' + DESTINATIONS % (sink.url('/strict'), sink.url('/gone')))
    ids = post(server, 0, 60)
    server.stop()
    server.start()
    ids += post(server, 60, 60)
    ok(sink.wait('/strict', 120, 60), 'all arrive')
    came = list(dict.fromkeys(sink.ids('/strict')))
    is_equal(came, ids, 'in the order in which they were acknowledged')
    is_equal(sorted(json.loads(r.body)['n'] for r in sink.got('/strict', 200)), list(range(120)), 'each once')

    calls = len(sink.got('/gone', 410))
    ok(0 < calls < 40, '410: no more calls after the first few (%d for 120 events)' % calls)
    status = server.api('GET', '/api/v1/destinations/gone').json['status']
    is_equal(status['state'], 'paused', 'the destination is paused')
    oldest = lambda: server.status('destinations', 'gone')['delivery'].get('oldestUndelivered', '')
    ok(when(lambda: oldest() > '2026') and when(lambda: 0 < server.metrics().get('becket_delivery_lag_seconds{destination="gone"}', 0) < 300),
       'since when it waits is known behind a start, too: %s' % oldest())
    sink.manner('/gone', status=200)
    is_equal(server.api('POST', '/api/v1/destinations/gone/resume').status, 200, 'resumed')
    ok(sink.wait('/gone', 120, 60), 'it gets everything that waited')
    values = server.metrics()
    ok(values.get('becket_deliveries_total{destination="strict",outcome="delivered"}', 0) > 0, 'metrics count deliveries')
    ok('becket_delivery_lag_seconds{destination="gone"}' in values and 'becket_retry_pending' in values, 'and lag and retries')
    is_equal(replay(server, sink, '/strict', 120), list(range(120)), 'a replay is in order, too, also where a try fails')
    is_equal(server.stop(), 0, 'stops')

KEYED = '''
kind: Destination
metadata: {name: keyed}
spec:
  url: %s
  allowPrivate: true
  ordering: {mode: strict, key: $.order}
  retry: {schedule: [100ms, 100ms, 200ms, 200ms, 500ms, 500ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s], jitter: 0}
---
kind: Route
metadata: {name: all}
spec: {from: [{source: repo}], to: [{destination: keyed}]}
'''


def post_orders(server, first, count):
    for number in range(first, first + count):
        body = json.dumps({'n': number, 'order': 'order-%d' % (number % 6)}).encode()
        answer = server.post('/hooks/repo', body, github(body, SECRET))
        assert answer.status == 200, answer


with Sink() as sink, Server(threads=2) as server:
    sink.manner('/keyed', failing=0.1, failing_bodies=b'"order-2"')
    server.apply(GITHUB_SOURCE + '---' + KEYED % sink.url('/keyed'))
    post_orders(server, 0, 60)
    ok(sink.wait('/keyed', 50, 30), 'per key: five of six keys arrive while one is answered 500')
    server.kill()
    server.start()
    post_orders(server, 60, 60)
    ok(sink.wait('/keyed', 100, 30), 'and after kill -9')
    is_equal([r for r in sink.got('/keyed', 200) if b'"order-2"' in r.body], [], 'nothing of the one that fails')
    first = [r for r in sink.got('/keyed') if b'"order-2"' in r.body]
    is_equal(len(set(r.id for r in first)), 1, 'of which only the first one is tried')
    sink.manner('/keyed', failing=0.1)
    ok(sink.wait('/keyed', 120, 60), 'until it is taken')
    for key in range(6):
        came = [json.loads(r.body)['n'] for r in sink.got('/keyed', 200) if b'"order-%d"' % key in r.body]
        is_equal(list(dict.fromkeys(came)), list(range(key, 120, 6)), 'order-%d came in its order' % key)
    again = replay(server, sink, '/keyed', 120)
    is_equal(sorted(again, key=lambda n: n % 6), [n for key in range(6) for n in range(key, 120, 6)],
             'a replay is in order per key, too')
    is_equal(server.stop(), 0, 'stops')
done()
