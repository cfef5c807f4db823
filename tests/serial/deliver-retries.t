#!/usr/bin/env python3
"""A whole server with many pending retries: soon ready, small, and what is due goes. RETRIES=1000000 EVENTS=100000 for the
full size."""
import os, re, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

retries = int(os.environ.get('RETRIES', '100000'))
events = int(os.environ.get('EVENTS', '2000'))
due_s = max(4, retries // 20000)
HAND = os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'asan', 'tests', 'unit', 'hub_retries_scale_test')
if not os.path.exists(HAND):
    skip_all('its test program is not built: make test')
YAML = '''
kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: %s}]}, dedupe: {window: 0s}}
''' % SECRET


def resident(server):
    with open('/proc/%d/status' % server.process.pid) as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1)) / 1024


def pending(server):
    return server.metrics().get('becket_retry_pending', 0)


with Sink() as sink, Server(options=['--segment-bytes', '64M']) as server:
    server.apply(YAML)
    run = subprocess.run([BECKET, 'bench', 'http://127.0.0.1:%d/hooks/repo' % server.port, '--type', 'github', '--secret',
                          SECRET, '-n', str(events), '-c', '8', '--body-bytes', '500', '-o', 'json'], capture_output=True)
    is_equal(run.returncode, 0, '%d events' % events)
    server.apply(''.join('''---
kind: Destination
metadata: {name: d%d}
spec: {url: "%s", allowPrivate: true}
''' % (i, sink.url('/d%d' % i)) for i in range(10)))
    ids = [e['id'] for e in server.events()]
    server.stop()
    server.start()
    empty = resident(server)
    server.stop()
    began = time.monotonic()
    fill = subprocess.run([HAND, '--fill', server.data, str(retries), str(due_s)], input='\n'.join(ids) + '\n', text=True,
                          capture_output=True)
    is_equal(fill.returncode, 0, '%d retries put into its store (%.1f s) %s' % (
        retries, time.monotonic() - began, fill.stdout + fill.stderr))
    server.start()
    started = server.started_s
    ok(started <= 3, 'ready after %.2f s' % started)
    is_equal(pending(server), retries, 'all are known')
    small = resident(server)
    ok(small <= 128, 'resident: %.0f MiB (%.0f MiB without them)' % (small, empty))
    due = sum(1 for i in range(retries) if i // 10 % 100 == 0)
    end = time.monotonic() + 120
    while pending(server) > retries - due and time.monotonic() < end:
        time.sleep(0.3)
    is_equal(pending(server), retries - due, 'what is due goes: %d of them' % due)
    got = sum(len(sink.ids('/d%d' % i)) for i in range(10))
    is_equal(got, due, 'and arrives')
    after = resident(server)
    ok(after <= 128, 'resident then: %.0f MiB' % after)
    server.kill()
    server.start()
    small = resident(server)
    ok(server.started_s <= 3 and small <= 128, 'killed, ready after %.2f s, resident: %.0f MiB' % (server.started_s, small))
    is_equal(pending(server), retries - due, 'with the same')
    is_equal(server.stop(), 0, 'stops')
done()
