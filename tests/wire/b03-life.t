#!/usr/bin/env python3
"""The life of a connection: lengths that overflow, answers that close, memory that others hold, the order of a stop."""
import os, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SMALL = """
---
kind: EventSource
metadata: {name: small}
spec: {type: generic, path: small, verification: {scheme: none}, limits: {bodyBytes: 100}}
"""


def signed(body, path='/hooks/repo'):
    return request_bytes('POST', path, body, github(body, SECRET))


def head_of(length, path='/hooks/repo', more=''):
    return ('POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n' % (path, length, more)).encode()


def statuses(connection, count):
    got = []
    try:
        for _ in range(count):
            got.append(connection.read().status)
    except (Broken, OSError):
        got.append('closed')
    return got


def none_left(server, wait=10):
    """Wait until the server has closed every connection of the ingress listener; how many are left."""
    end = time.monotonic() + wait
    while True:
        left = server.metrics()['becket_connections{listener="ingress"}']
        if left == 0 or time.monotonic() > end:
            return left
        time.sleep(0.05)


with Server(options=['--request-memory', '4M']) as server:
    server.apply(GITHUB_SOURCE + SMALL)

    # ---- a length so large that adding the head's overflows: the rest is no second request
    for path, status in (('/hooks/repo', 413), ('/hooks/nobody', 404), ('/health/live', 405)):
        for length in (2 ** 64 - 1, 2 ** 64 - 6, 2 ** 64 - 60, 2 ** 63):
            connection = server.connect()
            connection.send(head_of(length, path) + b'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n' * 3)
            got = statuses(connection, 2)
            ok(got[0] in (status, 400) and got[1:] == ['closed'], 'length %d for %s: refused, closed' % (length, path)) or \
                diag(got)
            connection.close()
    connection = Connection(server.admin)
    connection.send(head_of(2 ** 64 - 60, '/api/v1/apply') + b'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n' * 3)
    ok(statuses(connection, 2)[1:] == ['closed'], 'the same on the admin listener')
    connection.close()

    # ---- an answer that closes ends the pipeline, also when the peer stays
    before = len(server.events('source=small'))
    connection = server.connect()
    connection.send(request_bytes('POST', '/hooks/small', b'x' * 101) + request_bytes('POST', '/hooks/small', b'y'))
    got = connection.read()
    is_equal((got.status, got.headers.get('connection')), (413, 'close'), 'over the limit: 413, and close is said')
    ok(connection.at_end(), 'nothing more is answered')
    is_equal(len(server.events('source=small')), before, 'and nothing behind it is taken in')
    is_equal(none_left(server), 0, 'the connection is gone though we hold it')
    connection.close()

    # ---- a body that there is never memory for: who tries again would do so for ever
    body = b'x' * 3500000
    answer = server.post('/hooks/repo', body, github(body, SECRET))
    ok(answer.status == 413 and b'--request-memory' in answer.body, 'a body for which there can never be memory: 413, and why') or diag(answer)
    head = b'POST /hooks/repo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
    connection = server.connect()
    connection.send(head + b'%x\r\n%s\r\n0\r\n\r\n' % (len(body), body))
    is_equal(connection.read().status, 413, 'the same in chunks')
    connection.close()
    body = b'x' * 1500000
    is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, 'a smaller one is taken')

    # ---- target with scheme and host (RFC 9112 3.2.2)
    connection = server.connect()
    body = b'{"absolute":1}'
    connection.send(signed(body, 'http://hooks.example:8080/hooks/repo'))
    is_equal(connection.read().status, 200, 'absolute-form target of a hook')
    connection.send(signed(body + b' ', 'HTTP://hooks.example/hooks/repo?x=/hooks/nobody'))
    is_equal(connection.read().status, 200, 'absolute-form target with a query')
    connection.send(b'GET http://hooks.example/health/live HTTP/1.1\r\nHost: hooks.example\r\n\r\n')
    is_equal(connection.read().status, 200, 'absolute-form target of the health check')
    connection.send(b'GET http://hooks.example HTTP/1.1\r\nHost: hooks.example\r\n\r\n')
    is_equal(connection.read().status, 404, 'absolute-form target without a path')
    connection.close()
    connection = Connection(server.admin)
    connection.send(signed(b'{"absolute":2}', 'http://hooks.example/hooks/repo'))
    is_equal(connection.read().status, 200, 'and on the admin listener')
    connection.close()

    # ---- a half-closed connection gets all its answers, however its end and our answers meet
    cut = 0
    for _ in range(60):
        bodies = [b'{"half":%d}' % i + b' ' * 1500 for i in range(60)]
        connection = server.connect()
        connection.send(b''.join(signed(body) for body in bodies))
        connection.sock.shutdown(socket.SHUT_WR)
        cut += statuses(connection, len(bodies)) != [200] * len(bodies)
        connection.close()
    is_equal(cut, 0, 'pipelines of half-closed connections are answered to the end')

    # ---- announced bodies take no memory before they come
    waiting = []
    for _ in range(40):
        connection = server.connect()
        connection.send(head_of(1000000, more='Expect: 100-continue\r\n'))
        waiting.append(connection)
    ok(all(c.read().status == 100 for c in waiting), '40 bodies of 1 MB are announced and asked for')
    for connection in waiting:
        connection.send(b'x')
    time.sleep(0.2)
    answer = server.post('/hooks/repo', b'z' * 200000, github(b'z' * 200000, SECRET))
    is_equal(answer.status, 200, 'another one of 200 KB is taken meanwhile')
    for connection in waiting:
        connection.close()
    none_left(server)

    # ---- many small buffers, given back, do not keep a large one from being taken
    waiting = []
    for _ in range(240):
        connection = server.connect()
        connection.send(b'POST /hooks/repo HTTP/1.1\r\nHost: x\r\n')
        waiting.append(connection)
    ok(server.get('/health/live').status == 200, '240 heads are half there')
    for connection in waiting:
        connection.close()
    none_left(server)
    for size in (100000, 1500000):
        bodies = [b'l' * size + b'%d' % i for i in range(4)]
        got = [server.post('/hooks/repo', body, github(body, SECRET)) for body in bodies]
        if not is_equal([g.status for g in got], [200] * 4, 'then bodies of %d bytes are taken' % size):
            diag(got)
    is_equal(server.stop(), 0, 'all of it came back')

# ---- a body larger than the journal's first, small segments does not wait for other traffic
with Server(threads=1) as server:
    server.apply(GITHUB_SOURCE)
    body = os.urandom(4190000)
    began = time.monotonic()
    answer = server.post('/hooks/repo', body, github(body, SECRET))
    is_equal(answer.status, 200, 'a large body is the first event')
    ok(time.monotonic() - began < 3, 'and is taken at once (%.2f s)' % (time.monotonic() - began))

# ---- the order of a stop
with Server(options=['--drain-timeout', '8s']) as server:
    server.apply(GITHUB_SOURCE)
    idle = [server.connect() for _ in range(5)]
    for connection in idle[1:]:
        connection.send(signed(b'{"idle":1}'))
        connection.read()
    half_body, half_head, slow_api = server.connect(), server.connect(), Connection(server.admin)
    body = b'{"half":"' + b'x' * 50000 + b'"}'
    message = signed(body)
    half_body.send(message[:30000])
    other = signed(b'{"head":1}')
    half_head.send(other[:60])
    token = server.token
    time.sleep(0.2)
    server.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    ok(all(connection.at_end() for connection in idle), 'stopping: idle connections are closed')
    try:
        late = socket.create_connection(('127.0.0.1', server.port), timeout=1)
        late.settimeout(2)
        refused = late.recv(1) == b''
        late.close()
    except (ConnectionRefusedError, ConnectionResetError):
        refused = True
    except socket.timeout:
        refused = False
    ok(refused, 'new ones are refused')
    half_body.send(message[30000:])
    half_head.send(other[60:])
    first, second = half_body.read(), half_head.read()
    is_equal((first.status, first.headers.get('connection')), (200, 'close'), 'a body that was half there is taken')
    is_equal((second.status, second.headers.get('connection')), (200, 'close'), 'a head that was half there too')
    for connection in (half_body, half_head, slow_api):
        connection.close()
    is_equal(server.process.wait(10), 0, 'exit code 0')
    ok(time.monotonic() - began < 4, 'soon after the last one')
    server.process = None
    server.start()
    is_equal(len(server.events('state=accepted')), 6, 'what was acknowledged is there')

    # A connection that never ends its request does not hold the stop beyond its time.
    stuck = server.connect()
    stuck.send(signed(body)[:30000])
    time.sleep(0.1)
    began = time.monotonic()
    is_equal(server.stop(), 0, 'a stuck connection: exit code 0')
    ok(6 < time.monotonic() - began < 11, 'at the drain timeout (%.1f s)' % (time.monotonic() - began))
    stuck.close()
    server.start()
    stuck = server.connect()
    stuck.send(signed(body)[:30000])
    time.sleep(0.1)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    server.process.send_signal(signal.SIGTERM)  # as `timeout` does: to the process, and to its group
    time.sleep(1.2)
    is_equal(server.process.poll(), None, 'SIGTERM twice in a moment is one')
    server.process.send_signal(signal.SIGTERM)
    is_equal(server.process.wait(3), 1, 'a second signal ends it at once')
    server.process = None
    stuck.close()
    # Under load nothing acknowledged is lost, whichever way it stops.
    server.start()
    load = Load(server.port, connections=12, repeat=0.2).start()
    time.sleep(1)
    is_equal(server.stop(), 0, 'stop under load: exit code 0')
    load.stop()
    server.start()
    held = set(e['deliveryId'] for e in server.events('state=accepted'))
    is_equal(len([d for d in load.acknowledged if d not in held]), 0,
             'nothing of %d acknowledged is lost' % len(load.acknowledged))

# ---- how much machine there is: a quota of half a CPU starts one core, not one per CPU
group = '/sys/fs/cgroup/cpu/becket-test-%d' % os.getpid()
try:
    os.mkdir(group)
    with open(group + '/cpu.cfs_quota_us', 'w') as f:
        f.write('50000')
except OSError:
    group = None
if group:
    wrapper = os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests', 'quota-%d' % os.getpid())
    with open(wrapper, 'w') as f:
        f.write('#!/bin/sh\necho $$ > %s/tasks\nexec %s "$@"\n' % (group, BECKET))
    os.chmod(wrapper, 0o755)
    with Server(program=wrapper, threads=None) as server:
        ok('threads=1 ' in server.log_text(), 'half a CPU: one core')
        ok(server.metrics().get('becket_resident_bytes', 0) > 1 << 20, 'resident memory is told')
    os.unlink(wrapper)
    time.sleep(0.2)
    os.rmdir(group)

# ---- and how much memory: what is not asked for is chosen to fit
group = '/sys/fs/cgroup/memory/becket-test-%d' % os.getpid()
try:
    os.mkdir(group)
    with open(group + '/memory.limit_in_bytes', 'w') as f:
        f.write(str(256 << 20))
except OSError:
    group = None
if group:
    wrapper = os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests', 'memory-%d' % os.getpid())
    with open(wrapper, 'w') as f:
        f.write('#!/bin/sh\necho $$ > %s/tasks\nexec %s "$@"\n' % (group, BECKET))
    os.chmod(wrapper, 0o755)
    most = lambda server: int(server.log_text().split('memoryMaxMiB=')[-1].split()[0])
    with Server(program=wrapper, threads=2) as server:
        ok(most(server) <= 192 and 'may not suffice' not in server.log_text(), '256 MiB: at most %d are used' % most(server))
        server.apply(GITHUB_SOURCE)
        is_equal(server.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status, 200, 'and it works')
    with Server(program=wrapper, threads=2, options=['--dedupe-memory', '300M']) as server:
        ok(most(server) > 256 and 'may not suffice' in server.log_text(), 'what is asked for is done, with a warning')
    os.unlink(wrapper)
    time.sleep(0.2)
    os.rmdir(group)

# ---- a log that nobody reads holds up no end
import fcntl, subprocess
with tempfile.TemporaryDirectory() as data:
    port, admin = free_port(), free_port()
    reader, log = os.pipe()
    process = subprocess.Popen([BECKET, 'serve', '--data', data, '--listen', '127.0.0.1:%d' % port, '--admin', '127.0.0.1:%d' % admin,
                                '--threads', '1', '--drain-timeout', '1s'], stdout=log, stderr=log)
    said = b''
    while b'ready' not in said and process.poll() is None:
        said += os.read(reader, 4096)
    for bytes in (4096, 1):
        flags = fcntl.fcntl(log, fcntl.F_GETFL)
        fcntl.fcntl(log, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        try:
            while True:
                os.write(log, b'x' * bytes)
        except BlockingIOError:
            fcntl.fcntl(log, fcntl.F_SETFL, flags)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        is_equal(process.wait(9), 0, 'the log is full: it ends in order')
    except subprocess.TimeoutExpired:
        process.kill()
        ok(False, 'the log is full: it ends')
    ok(time.monotonic() - began < 4, 'and nothing waits for who should read it: %.1f s' % (time.monotonic() - began))
    os.close(reader)
    os.close(log)

# ---- the number of cores may change between starts
with Server(threads=1) as server:
    server.apply(GITHUB_SOURCE)
    first = github(b'{}', SECRET)
    told = server.post('/hooks/repo', b'{}', first).json['id']
    for threads in (4, 2, 1, 3):
        is_equal(server.stop(), 0, 'stopped')
        server.threads = threads
        server.start()
        answer = server.post('/hooks/repo', b'{}', first)
        is_equal(answer.json, {'id': told, 'duplicate': True}, '%d threads: the first delivery is known' % threads)
        is_equal(server.body_of(told), b'{}', 'and can be read')
        for i in range(4):
            is_equal(server.post('/hooks/repo', b'{"i":1}', github(b'{"i":1}', SECRET)).status, 200, 'a new one is taken')
    is_equal(len(server.events('state=accepted')), 17, 'all of them are listed')
done()
