#!/usr/bin/env python3
"""Strict order: events that come one after the other, over any connection and core, are delivered in that order, through
failures and a restart; and 410 pauses a destination until it is resumed."""
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
    sink.manner('/gone', status=200)
    is_equal(server.api('POST', '/api/v1/destinations/gone/resume').status, 200, 'resumed')
    ok(sink.wait('/gone', 120, 60), 'it gets everything that waited')
    values = server.metrics()
    ok(values.get('becket_deliveries_total{destination="strict",outcome="delivered"}', 0) > 0, 'metrics count deliveries')
    ok('becket_delivery_lag_seconds{destination="gone"}' in values and 'becket_retry_pending' in values, 'and lag and retries')
    is_equal(server.stop(), 0, 'stops')
done()
