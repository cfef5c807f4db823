#!/usr/bin/env python3
"""Answers of the API that nobody reads: documents that never change are not copied for each who asks, other ones have one limit for
all, and beyond it those who have read nothing for longest are closed. The API goes on, who reads slowly is not among them, and
`memoryMaxMiB` stays true."""
import os, re, struct, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

MIB = 1 << 20
LIMIT = 40 * MIB


def resident(server):
    with open('/proc/%d/status' % server.process.pid) as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1)) * 1024


def asks(server, path):
    """A connection whose answer has begun; the kernel holds little of what it does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.connect(('127.0.0.1', server.admin))
    sock.sendall(request_bytes('GET', path, b'', {'Authorization': 'Bearer ' + server.token}))
    sock.recv(1, socket.MSG_PEEK)
    return sock


def whole(sock, pause=0.0, piece=1 << 16):
    """How many bytes come until it ends, or the answer is whole."""
    data = b''
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    try:
        while True:
            more = sock.recv(piece)
            data += more
            head, _, body = data.partition(b'\r\n\r\n')
            length = re.search(rb'\r\nContent-Length: (\d+)', head)
            if not more or (length and len(body) >= int(length.group(1))):
                return len(body)
            if pause:
                time.sleep(pause)
    except OSError:
        return len(data)


with Server(threads=1) as server:
    server.apply(GITHUB_SOURCE)
    # ---- what never changes
    size = len(server.api('GET', '/api/v1/openapi.json').body)
    before = resident(server)
    unread = [asks(server, '/api/v1/openapi.json') for _ in range(400)]
    is_equal(server.api('GET', '/api/v1/openapi.json').body[:12], b'{"openapi":"', '400 who asked do not read: it is still given')
    grown = resident(server) - before
    ok(grown < 12 * MIB, '400 copies of %d bytes are not made: %d KiB more' % (size, grown >> 10))
    is_equal(whole(unread[0]), size, 'who reads late has all of it')
    is_equal(server.api('HEAD', '/api/v1/openapi.json').headers['content-length'], str(size), 'HEAD tells its length')
    for sock in unread:
        sock.close()

    # ---- what is made for who asks
    body = os.urandom(4 * MIB)
    headers, taken = github(body, SECRET), []
    when(lambda: taken.append(server.post('/hooks/repo', body, headers)) or taken[-1].status == 200)
    path = '/api/v1/events/%s/body' % taken[-1].json['id']
    stream = asks(server, '/api/v1/events/stream')
    ok(when(lambda: b'200 OK' in stream.recv(20, socket.MSG_PEEK)), 'a stream begins')
    kept = Connection(server.admin)
    read = [len(kept.request('GET', path, b'', {'Authorization': 'Bearer ' + server.token}).body) for _ in range(24)]
    ok(set(read) == {len(body)} and 'answer dropped' not in server.log_text(), 'who reads has 96 MiB, one answer after the other')
    slow, got = asks(server, path), []
    reader = threading.Thread(target=lambda: got.append(whole(slow, 0.02)))
    reader.start()
    before = resident(server)
    unread, most, lasted = [], 0, []
    for i in range(40):
        unread.append(asks(server, path))
        began = time.monotonic()
        is_200 = server.api('GET', '/api/v1/event-sources').status == 200
        lasted.append(time.monotonic() - began if is_200 else 99)
        most = max(most, resident(server) - before)
    ok(max(lasted) < 5, '40 who asked for 4 MiB do not read: others are answered, the last after %.0f ms' % (max(lasted) * 1000))
    ok(most < LIMIT + 20 * MIB, 'and it takes %d MiB at most' % (most >> 20))
    is_equal(whole(unread[-1]), len(body), 'the newest one has its answer')
    ended = sum(whole(sock) < len(body) for sock in unread[:10])
    is_equal(ended, 10, 'the oldest ones were closed')
    reader.join()
    is_equal(got, [len(body)], 'who reads slowly has all of it, though it came first')
    stream.settimeout(0.5)
    told = server.log_text().count(' answer dropped ')
    ok(1 <= told <= 40, 'the log tells of it: %d lines' % told)
    for sock in unread + [slow, stream]:
        sock.close()
    ok(when(lambda: resident(server) - before < 16 * MIB), 'and it is given back: %d MiB more' % ((resident(server) - before) >> 20))

    # ---- a pipeline of one who does not read
    time.sleep(1.1)  # the log tells of eight a second
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(('127.0.0.1', server.admin))
    sock.settimeout(20)
    sock.sendall(request_bytes('GET', path, b'', {'Authorization': 'Bearer ' + server.token}) * 16)
    ok(when(lambda: server.log_text().count(' answer dropped ') > told), 'sixteen at once of one connection are too many')
    is_equal(server.api('GET', '/api/v1/event-sources').status, 200, 'which is nobody else\'s concern')
    ok(when(lambda: resident(server) - before < 16 * MIB), 'and they are given back')
    sock.close()
    is_equal(server.stop(), 0, 'it stops in order')
done()
