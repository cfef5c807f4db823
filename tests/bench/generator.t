#!/usr/bin/env python3
"""Description: the load generator counts right: what it says it sent is what a server saw, and trouble is reported."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SECRET = 'it is a secret'
SOURCES = """
kind: EventSource
metadata: {name: hub}
spec: {type: github, path: hub, verification: {secrets: [{value: %s}]}}
---
kind: EventSource
metadata: {name: pay}
spec: {type: stripe, path: pay, verification: {secrets: [{value: %s}]}}
---
kind: EventSource
metadata: {name: std}
spec: {type: standard-webhooks, path: std, verification: {secrets: [{value: whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0}]}}
""" % (SECRET, SECRET)


def bench(url, *options, seconds=60):
    run = subprocess.run([BECKET, 'bench', url, '-o', 'json'] + [str(o) for o in options], capture_output=True,
                         text=True, timeout=seconds)
    try:
        run.json = json.loads(run.stdout)
    except ValueError:
        run.json = None
        diag(run.stdout + run.stderr)
    return run


class Wicked:
    """A server that answers the first requests of each connection with what it is told, then hangs up."""

    def __init__(self, answer, times):
        self.answer, self.times, self.seen = answer, times, []
        self.sock = socket.socket()
        self.sock.bind(('127.0.0.1', 0))
        self.sock.listen(64)
        self.url = 'http://127.0.0.1:%d/x' % self.sock.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.sock.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            for _ in range(self.times):
                data = b''
                while b'\r\n\r\n' not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                self.seen.append(data)
                for part in self.answer:
                    connection.sendall(part)
                    time.sleep(0.01)


with Server() as server:
    server.apply(SOURCES)
    hub = 'http://127.0.0.1:%d/hooks/hub' % server.port
    signed = ['--type', 'github', '--secret', SECRET]

    run = bench(hub, '-n', 500, '-c', 8, *signed)
    ok(run.returncode == 0, 'a clean run ends with 0')
    is_equal((run.json['answered'], run.json['status']), (500, {'200': 500}), 'so many were asked for, so many came')
    q = run.json['latencyNs']
    ok(0 < q['p50'] <= q['p90'] <= q['p99'] <= q['p99.9'] <= q['max'], 'quantiles are in order')
    events = server.events('source=hub&state=accepted')
    is_equal(len(events), 500, 'each was a new event')
    is_equal(len(set(e['deliveryId'] for e in events)), 500, 'with an id of its own')
    is_equal(events[0]['size'], 1024, 'of 1024 bytes')

    run = bench(hub, '-n', 400, '-c', 4, '--threads', 2, '--pipeline', 4, *signed)
    is_equal((run.returncode, run.json['status']), (0, {'200': 400}), 'two threads, pipelined')

    run = bench(hub, '-n', 300, '-c', 4, '--forged', 30, *signed)
    told = run.json
    ok(told['forgedSent'] > 30 and told['forgedAccepted'] == 0, 'forged ones were sent and refused')
    is_equal(told['status'].get('401'), told['forgedSent'], 'each with 401')
    is_equal(run.returncode, 0, 'which is as it should be')

    run = bench(hub, '-n', 300, '-c', 4, '--duplicates', 40, *signed)
    told = run.json
    ok(told['duplicatesSent'] > 50, 'duplicates were sent')
    is_equal(told['duplicatesTold'], told['duplicatesSent'], 'and told')

    run = bench(hub, '-n', 50, '-c', 2, '--type', 'github', '--secret', 'another')
    is_equal((run.returncode, run.json['unexpected'], run.json['status']), (1, 50, {'401': 50}),
             'a wrong secret is no success')

    for name, kind, secret in (('pay', 'stripe', SECRET), ('std', 'standard-webhooks',
                                                             'whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0')):
        url = 'http://127.0.0.1:%d/hooks/%s' % (server.port, name)
        run = bench(url, '-n', 200, '-c', 4, '--type', kind, '--secret', secret)
        is_equal((run.returncode, run.json and run.json['status']), (0, {'200': 200}), kind + ': genuine')
        ids = set(e['deliveryId'] for e in server.events('source=' + name + '&state=accepted'))
        is_equal(len(ids), 200, kind + ': ids of their own')

    run = bench(hub, '-d', '1s', '--warmup', '200ms', '--rate', 200, '-c', 8, '--watch', server.process.pid, *signed)
    told = run.json
    # A busy machine answers late: what was due but had no free connection is told, not forgotten.
    due = told['answered'] + told['overdue']
    ok(150 <= due <= 250, 'an open loop keeps its rate: %d answered, %d overdue' % (told['answered'], told['overdue']))
    ok(told['watch'][0]['cpuNs'] > 0, 'the watched process used some time')

    missing = 'http://127.0.0.1:%d/hooks/nobody' % server.port
    run = bench(missing, '-n', 10, '-c', 2)
    is_equal((run.returncode, run.json['status']), (1, {'404': 10}), '404 is counted, and no success')

split = Wicked([b'HTTP/1.1 200 OK\r\nConte', b'nt-Length: 5\r\n\r', b'\nhel', b'lo'], 100)
run = bench(split.url, '-n', 20, '-c', 2)
is_equal((run.returncode, run.json['status'], run.json['malformed']), (0, {'200': 20}, 0), 'answers in pieces')

closing = Wicked([b'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'], 1)
run = bench(closing.url, '-n', 20, '-c', 2)
is_equal((run.returncode, run.json['answered']), (0, 20), 'a server that closes after each answer')
ok(run.json['reconnects'] >= 18, 'is connected to again')

rude = Wicked([], 1)
run = bench(rude.url, '-n', 6, '-c', 2)
ok(run.returncode == 1 and run.json['lost'] == 6, 'requests that are never answered are lost, not counted')

odd = Wicked([b'HTTP/1.1 200 OK\r\n\r\nwhere does it end'], 1)
run = bench(odd.url, '-n', 4, '-c', 1)
ok(run.returncode == 1 and run.json['malformed'] == 4, 'an answer without a length is malformed')

mute = Wicked([b'HTTP/1.1 100 Continue\r\n\r\n'], 1000)
run = bench(mute.url, '-n', 4, '-c', 1, '--patience', '1s')
ok(run.returncode == 1 and run.json['stalled'], 'no answer at all: it gives up')

spread = Wicked([b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'], 1000)
run = bench(spread.url + '/{n}', '-n', 300, '-c', 2, '--spread', 10)
paths = set(data.split(b' ')[1] for data in spread.seen)
is_equal(paths, set(b'/x/%07d' % n for n in range(10)), 'requests go to all of several targets')

run = bench('http://127.0.0.1:%d/' % free_port(), '-d', '1s')
ok(run.returncode == 1 and 'listening' in run.stderr, 'nobody listens: one line says so')
run = bench('http://192.0.2.1/', '-d', '1s')
ok(run.returncode == 1 and '--allow-remote' in run.stderr, 'other machines are left alone')
for wrong in (['--rate', '10', '--pipeline', '2'], ['--forged', '101'], ['--type', 'nobody'], ['--secret', 'x'],
              ['--spread', '3'], ['-H', 'no colon'], ['--duration', '0s']):
    is_equal(bench(spread.url, *wrong).returncode, 2, 'usage: ' + ' '.join(wrong))
done()
