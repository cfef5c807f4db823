#!/usr/bin/env python3
"""A dead destination and one that hangs do not delay a healthy one: from before the POST until its receiver has it, p50 and
p99, with and without the two beside it, in alternating rounds. ROUNDS=6 EVENTS=300"""
import os
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from delays import delays_ms, quantile
from sink import Sink

rounds = int(os.environ.get('ROUNDS', '4'))
events = int(os.environ.get('EVENTS', '200'))
DESTINATION = '''---
kind: Destination
metadata: {name: %s}
spec: {url: "%s", allowPrivate: true, timeout: 20s}
'''
ROUTE = '''---
kind: Route
metadata: {name: all}
spec: {from: [{source: repo}], to: [%s]}
'''


with Sink() as sink, Server(threads=2) as server:
    sink.manner('/hangs', delay=60)
    server.apply(GITHUB_SOURCE + DESTINATION % ('good', sink.url('/good')) + DESTINATION % ('hangs', sink.url('/hangs')) +
                 DESTINATION % ('dead', 'http://127.0.0.1:%d/dead' % free_port()))
    alone, beside, total = [], [], 0
    for round_number in range(rounds):
        server.apply(ROUTE % '{destination: good}')
        total += events
        alone += delays_ms(server, sink, '/good', total, events, 0.002)
        server.apply(ROUTE % '{destination: good}, {destination: hangs}, {destination: dead}')
        total += events
        beside += delays_ms(server, sink, '/good', total, events, 0.002)
    alone.sort()
    beside.sort()
    for name, values in (('alone', alone), ('beside', beside)):
        diag('%-7s p50 %.2f ms, p99 %.2f ms, max %.2f ms (%d events)' %
             (name, quantile(values, 0.5), quantile(values, 0.99), values[-1], len(values)))
    ok(quantile(beside, 0.5) <= 1.5 * quantile(alone, 0.5) + 1, 'p50 is the same')
    ok(quantile(beside, 0.99) <= 2 * quantile(alone, 0.99) + 10, 'p99 is the same')
    for name in ('dead', 'hangs'):
        status = server.api('GET', '/api/v1/destinations/%s' % name).json['status']['delivery']
        ok(status['delivered'] == 0 and status['backlog'] + status['retries'] + status['inflight'] > 0,
           'though %s has a backlog: %s' % (name, json.dumps(status)))
    server.kill()
done()
