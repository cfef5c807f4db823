#!/usr/bin/env python3
"""Before Linux 6.13 a ring's table keeps what is taken out of it until everything older has ended: connections would be closed for
nobody but us. There the process's own descriptors are used. Here, on any kernel, the question that tells is answered as an old one does."""
import os, resource, subprocess, sys, tempfile
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from old_kernel import old_kernel
from sink import Sink

def descriptors(server):
    return len(os.listdir('/proc/%d/fd' % server.process.pid))


def settles(server, wanted):
    when(lambda: descriptors(server) <= wanted, 5)
    return descriptors(server)


with Server(start=False) as server:
    try:
        server.start(environment=old_kernel(NO_SIGNALFD='1'))
        ok(False, 'no descriptor for signals: it does not start')
    except RuntimeError:
        lines = server.log_text().splitlines()
        is_equal(server.process.returncode, 1, 'no descriptor for signals: exit code 1')
        ok(len(lines) == 1 and 'RLIMIT_NOFILE' in lines[0], 'and one line says what is missing: %s' % lines[:2])
    server.process = None

OLD = old_kernel()

with Server(start=False, threads=2, options=['--segment-bytes', '4M', '--retain-bytes', '12M']) as server, Sink() as sink:
    server.start(environment=OLD)
    ok('direct-descriptors' not in server.log_text() and 'multishot' in server.log_text(), 'an old kernel\'s table is not used')
    server.apply(GITHUB_SOURCE)
    server.apply('kind: Destination\nmetadata: {name: sink}\nspec: {url: "%s", allowPrivate: true}\n---\n'
                 'kind: Route\nmetadata: {name: all}\nspec: {from: [{source: repo}], to: [{destination: sink}]}\n' % sink.url('/all'))
    idle = server.connect()
    idle.send(request_bytes('GET', '/health/live'))
    is_equal(idle.read().status, 200, 'a connection that stays')
    before = descriptors(server)
    for _ in range(300):
        connection = server.connect()
        connection.send(request_bytes('GET', '/health/live', headers={'Connection': 'close'}))
        if connection.read().status != 200 or connection.sock.recv(1) != b'':
            break
        connection.close()
    else:
        ok(True, 'three hundred that are closed by the server: each sees its end')
    ok(settles(server, before + 2) <= before + 2, 'and none is left: %d, then %d' % (before, descriptors(server)))
    many = [server.connect() for _ in range(200)]
    for connection in many:
        connection.send(request_bytes('GET', '/health/live'))
    ok(all(c.read().status == 200 for c in many), 'two hundred at once, on both cores')
    for connection in many:
        connection.close()
    ok(settles(server, before + 2) <= before + 2, 'who goes away is let go: %d' % descriptors(server))

    load = Load(server.port, connections=8).start()
    time.sleep(2)
    load.stop()
    ok(load.acknowledged and not load.failed and not load.refused, 'webhooks are taken')
    ok(sink.wait('/all', len(load.acknowledged), 30), 'and delivered: %d' % len(load.acknowledged))
    segments = [name for name in os.listdir('/proc/%d/fd' % server.process.pid)
                if os.readlink('/proc/%d/fd/%s' % (server.process.pid, name)).endswith('(deleted)')]
    is_equal(segments, [], 'a segment that retention removed is not kept open')
    is_equal(server.stop(), 0, 'it stops in order')
# There is a spare segment, but no descriptor for the core that is to write it.
with Server(start=False, threads=1, options=['--segment-bytes', '1M']) as server:
    begin = time.monotonic()
    server.start(environment=dict(OLD, NO_DUP='1'))
    server.apply(GITHUB_SOURCE)
    connection = server.connect()

    def post():
        body = os.urandom(8000)
        return connection.request('POST', '/hooks/repo', body, github(body, SECRET)).status

    is_equal({post() for _ in range(20)}, {200}, 'with descriptors')
    time.sleep(max(0, begin + 3.5 - time.monotonic()))
    statuses = set()
    for _ in range(600):
        statuses.add(post())
        if 503 in statuses:
            break
    ok(statuses <= {200, 503}, 'without any it waits, or says so: %s' % sorted(statuses))
    ok(when(lambda: post() == 200, 10), 'with descriptors again, it goes on')
    is_equal({post() for _ in range(400)}, {200}, 'over three segments')
    is_equal(server.stop(), 0, 'it stops in order')

for environment, what in ((None, 'with a table'), (OLD, 'without one')):
    for most, starts in ((4096, True), (600, False)):
        data = tempfile.mkdtemp(dir=os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests'))
        process = subprocess.Popen([BECKET, 'serve', '--data', data, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--threads', '2'],
                                   env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
        line = ''
        for line in process.stdout:
            if ' ready ' in line:
                break
        ok((' ready ' in line) == starts and (starts or 'raise it' in line), '%d descriptors, %s: %s' % (most, what, line.strip()[:90]))
        process.terminate()
        process.wait()
done()
