#!/usr/bin/env python3
"""A destination is edited again and again while events flow, some tries fail and the server is killed: its address, concurrency,
order (none, strict, by key), secrets, rate, retries, pauses, other routes. Every acknowledged event arrives, and few come twice.
ROUNDS=20 SEED=7"""
import base64
import collections
import os
import random
import sys
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

rounds = int(os.environ.get('ROUNDS', '2'))
rng = random.Random(int(os.environ.get('SEED', '1')))
PATHS = ('/a', '/b', '/c')

def destination(sink, calm=False):
    order = rng.choice(('', '', '  ordering: {mode: strict}\n', '  ordering: {mode: strict, key: $.k}\n', "  ordering: {mode: strict, key: event.type}\n"))
    secrets = ', '.join('{value: whsec_%s}' % base64.b64encode(bytes([65 + i]) * 32).decode()
                        for i in rng.sample(range(6), rng.randint(1, 4)))
    return '''kind: Destination
metadata: {name: edited}
spec:
  url: %s
  allowPrivate: true
  paused: %s
  concurrency: %d
%s%s  signing: {secrets: [%s]}
  timeout: %ds
  retry: {schedule: [%s], jitter: 0.1}
---
kind: Route
metadata: {name: to-edited}
spec: {from: [{source: repo%s}], to: [{destination: edited}]}
''' % (sink.url(rng.choice(PATHS)), 'true' if not calm and rng.random() < 0.2 else 'false', 16 if calm else rng.choice((1, 2, 16, 64)), '' if calm else order,
       '  rateLimit: {perSecond: %d}\n' % rng.choice((500, 2000)) if not calm and rng.random() < 0.3 else '', secrets, rng.choice((2, 5)),
       ', '.join(rng.choice((['100ms'] * 30, ['200ms', '300ms'] * 15))), rng.choice(('', ', types: ["push"]')))

acknowledged, kills, edits = {}, 0, 0
with Sink() as sink, Server() as server:
    for path in PATHS:
        sink.manner(path, failing=0.02)
    server.apply(GITHUB_SOURCE + '---\n' + destination(sink, True))
    for number in range(rounds):
        load = Load(server.port, connections=3, body_bytes=(10, 2000)).start()
        end = time.monotonic() + rng.uniform(1, 2)
        while time.monotonic() < end:
            try:
                server.apply(destination(sink))
                edits += 1
                if rng.random() < 0.2:
                    server.api('POST', '/api/v1/destinations/edited/' + rng.choice(('pause', 'resume')))
            except RuntimeError as error:
                ok(False, str(error))
            time.sleep(rng.uniform(0, 0.15))
        if rng.random() < 0.7:
            server.kill()
            kills += 1
        load.stop()
        acknowledged.update(load.acknowledged)
        if not server.process:
            server.start()
    server.apply(destination(sink, True))
    server.api('POST', '/api/v1/destinations/edited/resume')
    ids = set(event for event, _ in acknowledged.values())
    got = lambda: [i for path in PATHS for i in sink.ids(path)]
    end = time.monotonic() + 60 + len(ids) / 500
    while time.monotonic() < end and not ids <= set(got()):
        time.sleep(0.2)
    came = collections.Counter(got())
    missing = ids - set(came)
    ok(not missing, '%d edits and %d kills: each of %d events arrived, but %d (%s)' % (edits, kills, len(ids), len(missing), sorted(missing)[:3]))
    extra = sum(count - 1 for count in came.values())
    ok(extra <= max(len(came) * 0.01, 64 * kills), '%d were repeated' % extra)
    status = lambda: server.api('GET', '/api/v1/destinations/edited').json['status']['delivery']
    ok(when(lambda: status()['retries'] == 0 and status()['backlog'] == 0 and status()['inflight'] == 0), 'nothing is left over: %s' % status())
    is_equal(status()['dead'] if 'dead' in status() else 0, 0, 'and nothing dead')
    is_equal(server.stop(), 0, 'stops')
done()
