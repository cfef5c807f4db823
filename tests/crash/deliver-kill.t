#!/usr/bin/env python3
"""kill -9 during deliveries, again and again: every acknowledged event reaches every destination, under one id, and few
come twice. ROUNDS=50"""
import collections
import os
import random
import sys
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

rounds = int(os.environ.get('ROUNDS', '5'))
rng = random.Random(int(os.environ.get('SEED', '1')))
sink = Sink()
sink.start()
sink.manner('/flaky', failing=0.2)
server = Server()
server.apply(GITHUB_SOURCE + ''.join('''---
kind: Destination
metadata: {name: %s}
spec:
  url: %s
  allowPrivate: true
  retry: {schedule: [100ms, 200ms, 200ms, 400ms, 1s, 1s, 1s, 1s, 1s, 1s], jitter: 0.1}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, sink.url('/' + name), name, name) for name in ('good', 'flaky')))

acknowledged, kills = {}, 0
for round_number in range(rounds):
    load = Load(server.port, connections=2, body_bytes=(10, 2000)).start()
    time.sleep(rng.uniform(0.5, 1.5))
    server.kill()
    kills += 1
    load.stop()
    acknowledged.update(load.acknowledged)
    server.start()
ids = set(answer[0] for answer in acknowledged.values())
ok(len(ids) > rounds * 100, '%d kills, %d events acknowledged' % (kills, len(ids)))
for name in ('good', 'flaky'):
    path = '/' + name
    end = time.monotonic() + 120
    while time.monotonic() < end and not ids <= set(sink.ids(path)):
        time.sleep(0.2)
    came = collections.Counter(sink.ids(path))
    missing = ids - set(came)
    is_equal(len(missing), 0, '%s: every event arrived at least once' % name)
    extra = sum(count - 1 for count in came.values())
    ok(extra <= max(len(came) * 0.01, kills * 20),
       '%s: %d of %d deliveries were repeated (%.2f %%)' % (name, extra, len(came), 100.0 * extra / len(came)))
    bodies = {}
    for request in sink.got(path):
        if bodies.setdefault(request.id, request.body) != request.body:
            ok(False, '%s: one id, two bodies' % name)
            break
    else:
        ok(True, '%s: an id is always the same event' % name)
is_equal(server.stop(), 0, 'SIGTERM ends it with 0')
code, out, err = server.cli('journal', 'check', '--data', server.data)
is_equal(code, 0, 'journal check finds nothing wrong')
diag(out + err if code else out.strip())
server.__exit__()
sink.close()
done()
