#!/usr/bin/env python3
"""A dead destination with a backlog: flat memory, one probe per interval, and the others do not notice; when it comes
back it gets everything. EVENTS=500000 for the full size."""
import os
import re
import subprocess
import sys
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

# Without deduplication: its table grows with the events, and is not what is measured here.
SOURCE = '''
kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: %s}]}, dedupe: {window: 0s}}
''' % SECRET
events = int(os.environ.get('EVENTS', '20000'))


def resident(server):
    with open('/proc/%d/status' % server.process.pid) as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1)) // 1024


def pour(server, count):
    """Signed events at 4,000 per second; the latencies of their acknowledgements."""
    run = subprocess.run([BECKET, 'bench', 'http://127.0.0.1:%d/hooks/repo' % server.port, '--type', 'github', '--secret',
                          SECRET, '-n', str(count), '-c', '8', '--rate', '4000', '--body-bytes', '500', '-o', 'json'],
                         capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stdout + run.stderr)
    return json.loads(run.stdout)


def delivered(server, name):
    return server.metrics().get('becket_deliveries_total{destination="%s",outcome="delivered"}' % name, 0)


def failed(server, name):
    return server.metrics().get('becket_deliveries_total{destination="%s",outcome="failed"}' % name, 0)


def wait_for(check, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.2)
    return False


dead_port = free_port()
retries = ', '.join(['4s'] * 30)  # else the few that failed first would come half a minute after the others
with Sink() as good, Server(options=['--retain-bytes', '4G']) as server:
    server.apply(SOURCE + ''.join('''---
kind: Destination
metadata: {name: %s}
spec: {url: "http://127.0.0.1:%d/%s", allowPrivate: true, concurrency: 64, retry: {schedule: [%s]}}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, port, name, retries, name, name) for name, port in (('good', good.port), ('dead', dead_port))))
    pour(server, events // 2)
    half = resident(server)
    pour(server, events // 2)
    full = resident(server)
    ok(full - half <= 10, 'memory is flat: %d MiB after one half, %d MiB after the other' % (half, full))
    ok(wait_for(lambda: delivered(server, 'good') >= events, 60 + events / 1000), 'the others get everything')
    status = server.api('GET', '/api/v1/destinations/dead').json['status']
    diag(json.dumps(status))
    calls = failed(server, 'dead')
    ok(calls < 200, 'the dead one was tried %d times for %d events' % (calls, events))
    before = failed(server, 'dead')
    time.sleep(3)
    ok(failed(server, 'dead') - before <= 3, 'and then once per interval')
    began = time.monotonic()
    server.kill()
    server.start()
    ok(server.started_s < 3, 'a start with that backlog takes %.2f s' % server.started_s)
    ok(delivered(server, 'good') <= 5, 'and repeats nothing that was delivered')
    back = Sink(dead_port)
    back.start()
    ok(wait_for(lambda: delivered(server, 'dead') >= events, 90 + events / 1000), 'back again, it gets everything')
    came = back.ids('/dead')
    is_equal(len(set(came)), events, 'each event')
    ok(len(came) - len(set(came)) <= 10, 'and few twice (%d)' % (len(came) - len(set(came))))
    ok(resident(server) - full <= 30, 'memory stays: %d MiB' % resident(server))
    is_equal(server.stop(), 0, 'stops')
    back.close()
done()
