#!/usr/bin/env python3
"""HTTP framing against the real binary: splits, pipelines, chunked, Expect, large bodies, half-close, bad requests."""
import os, random, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

with Server() as server:
    server.apply(GITHUB_SOURCE)

    def signed(body):
        return request_bytes('POST', '/hooks/repo', body, github(body, SECRET))

    def stored(answer, body, name):
        if not ok(answer.status == 200, name + ': accepted'):
            diag(answer)
            return
        is_equal(server.body_of(answer.json['id']) == body, True, name + ': stored as sent')

    body = b'{"hello":"world"}'
    connection = server.connect()
    data = signed(body)
    for i in range(0, len(data)):
        connection.send(data[i:i + 1])
    stored(connection.read(), body, 'byte by byte')

    rng = random.Random(1)
    for size in (0, 1, 1000, 15000, 16384, 17000, 60000, 131072, 140000, 700000, 3000000):
        body = rng.randbytes(size)
        data = signed(body)
        connection.send(data)
        stored(connection.read(), body, 'body of %d' % size)
        at = rng.randint(1, len(data) - 1)
        data = signed(body)
        connection.send(data[:at])
        time.sleep(0.01)
        connection.send(data[at:])
        stored(connection.read(), body, 'body of %d in two parts' % size)

    # ---- pipelining: answers in order, whatever their kind
    parts, kinds = [], []
    for i in range(100):
        body = b'{"n":%d}' % i + b' ' * rng.randint(0, 2000)
        kind = rng.choice([200, 200, 200, 401, 404])
        path = '/hooks/nobody' if kind == 404 else '/hooks/repo'
        secret = 'wrong' if kind == 401 else SECRET
        parts.append(request_bytes('POST', path, body, github(body, secret)))
        kinds.append(kind)
    connection.send(b''.join(parts))
    is_equal([connection.read().status for _ in kinds], kinds, 'a hundred pipelined requests are answered in order')
    half = server.connect()
    half.send(b''.join(parts))
    half.sock.shutdown(socket.SHUT_WR)
    is_equal([half.read().status for _ in kinds], kinds, 'also when the sender half-closes behind them')
    ok(half.at_end(), 'and then the connection ends')

    # Far more than a pipeline holds, of all sizes and kinds, while answers are read late: what is gathered meanwhile.
    parts, wanted = [], []
    for i in range(4000):
        body = b'{"long":%d}' % i + b' ' * rng.choice([0, 0, 0, 100, 3000])
        kind = rng.choice(['nobody', 'forged', 'chunked', 'signed'] if i % 10 == 0 else ['nobody', 'live'])
        if i % 200 == 100:  # what is refused by its head ends the connection
            kind, body = 'signed', body + rng.randbytes(rng.choice([17000, 140000]))
        data = request_bytes('GET', '/health/live') if kind == 'live' else \
            request_bytes('POST', '/hooks/nobody' if kind == 'nobody' else '/hooks/repo', body,
                          github(body, 'wrong' if kind == 'forged' else SECRET, 'long-%d' % i))
        if kind == 'chunked':
            data = data.replace(b'Content-Length: %d' % len(body), b'Transfer-Encoding: chunked')
            data = data[:len(data) - len(body)] + b'%x\r\n%s\r\n0\r\n\r\n' % (len(body), body)
        parts.append(data)
        wanted.append((200 if kind in ('signed', 'chunked', 'live') else 401 if kind == 'forged' else 404,
                       hashlib.sha256(body).hexdigest() if kind in ('signed', 'chunked') else None))
    long = server.connect(timeout=30)
    sender = threading.Thread(target=long.send, args=(b''.join(parts),))
    sender.start()
    time.sleep(0.3)
    answers = [long.read() for _ in wanted]
    sender.join()
    is_equal([answer.status for answer in answers], [status for status, _ in wanted], 'four thousand are answered in order')
    taken = [(answer.json['id'], digest) for answer, (_, digest) in zip(answers, wanted) if digest]
    is_equal([d for _, d in taken], [hashlib.sha256(server.body_of(event)).hexdigest() for event, _ in taken],
             'and the %d that are taken are stored as sent' % len(taken))

    # ---- chunked
    def chunked(body, sizes, extra=b''):
        headers = github(body, SECRET)
        head = request_bytes('POST', '/hooks/repo', b'', headers).replace(b'Content-Length: 0', b'Transfer-Encoding: chunked')
        out, at = [head], 0
        for size in sizes:
            piece = body[at:at + size]
            at += size
            if piece:
                out.append(b'%x%s\r\n%s\r\n' % (len(piece), extra, piece))
        if at < len(body):
            out.append(b'%X\r\n%s\r\n' % (len(body) - at, body[at:]))
        return b''.join(out) + b'0\r\nX-Trailer: a\r\n\r\n'

    connection = server.connect()
    for size in (0, 1, 5, 1000, 20000, 300000):
        body = rng.randbytes(size)
        connection.send(chunked(body, [1, 2, 3, 700, 5000], b';name=value'))
        stored(connection.read(), body, 'chunked body of %d' % size)
    body = rng.randbytes(400)
    data = chunked(body, [7, 100])
    for i in range(len(data)):
        connection.send(data[i:i + 1])
    stored(connection.read(), body, 'chunked, byte by byte')
    connection.send(chunked(body, [9]) + signed(b'{}'))
    stored(connection.read(), body, 'chunked with a request behind it')
    stored(connection.read(), b'{}', 'the request behind it')

    # ---- Expect: 100-continue
    body = rng.randbytes(100000)
    head = request_bytes('POST', '/hooks/repo', body, dict(github(body, SECRET), Expect='100-continue'))[:-len(body)]
    connection.send(head)
    is_equal(connection.read().status, 100, 'Expect: 100-continue is answered with 100')
    connection.send(body)
    stored(connection.read(), body, 'and then the body is taken')
    connection.send(head.replace(b'/hooks/repo', b'/hooks/none'))
    is_equal(connection.read().status, 404, 'Expect on an unknown source: the final answer at once')
    connection.close()
    connection = server.connect()
    connection.send(request_bytes('POST', '/hooks/none', b'{}', {'Expect': '100-continue'})[:-2])
    is_equal(connection.read().status, 404, 'also when the body would be small')
    connection.close()

    # ---- connection handling
    connection = server.connect()
    answer = connection.request('POST', '/hooks/repo', b'', dict(github(b'', SECRET), Connection='close'))
    ok(answer.status == 200 and answer.headers.get('connection') == 'close' and connection.at_end(), 'Connection: close')
    connection = server.connect()
    connection.send(b'GET /health/live HTTP/1.0\r\n\r\n')
    ok(connection.read().status == 200 and connection.at_end(), 'HTTP/1.0 closes')
    connection = server.connect()
    connection.send(b'GET /health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    ok(connection.read().headers.get('connection') == 'keep-alive', 'HTTP/1.0 keep-alive when asked')
    connection = server.connect()
    answer = connection.request('HEAD', '/health/live')
    ok(answer.status == 200 and int(answer.headers['content-length']) > 0, 'HEAD has the length but no body')
    is_equal(connection.request('GET', '/health/live').status, 200, 'and the next answer is in step')
    ok('date' in answer.headers, 'answers carry Date')

    # ---- what must be refused, and the connection closed
    refused = [
        ('no Host', b'GET / HTTP/1.1\r\n\r\n', 400),
        ('two Hosts', b'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400),
        ('space before colon', b'GET / HTTP/1.1\r\nHost : a\r\n\r\n', 400),
        ('obs-fold', b'GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n', 400),
        ('bare LF', b'GET / HTTP/1.1\nHost: a\n\n', 400),
        ('CL and TE', b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400),
        ('two lengths', b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400),
        ('signed length', b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n', 400),
        ('huge length', b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n', 400),
        ('unknown coding', b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n', (400, 501)),
        ('bad chunk', b'POST /hooks/repo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 400),
        ('HTTP/2.0', b'GET / HTTP/2.0\r\nHost: a\r\n\r\n', 505),
        ('no version', b'GET /\r\n\r\n', 400),
        ('nonsense', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400),
        ('long target', b'GET /' + b'a' * 9000 + b' HTTP/1.1\r\nHost: a\r\n\r\n', 414),
        ('long head', b'GET / HTTP/1.1\r\nHost: a\r\n' + b'X: ' + b'a' * 20000 + b'\r\n\r\n', 431),
        ('many headers', b'GET / HTTP/1.1\r\nHost: a\r\n' + b'X: y\r\n' * 200 + b'\r\n', 431),
        ('NUL in a value', b'GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n', 400),
    ]
    for name, data, status in refused:
        connection = server.connect()
        connection.send(data)
        try:
            got = connection.read().status
        except (Broken, OSError) as error:
            got = repr(error)
        wanted = status if isinstance(status, tuple) else (status,)
        if ok(got in wanted and connection.at_end(), '%s: %s and closed' % (name, status)) is False:
            diag(got)
        connection.close()
    # ---- heads that dribble in: what can never become valid is answered at once, also without a line end
    hopeless = [
        ('a control byte in the target', b'GET /a\x01b'),
        ('a version that is none', b'GET / HTTX'),
        ('a space in a field name', b'GET / HTTP/1.1\r\nX y'),
        ('a NUL in a value', b'GET / HTTP/1.1\r\nHost: a\r\nX: abc\0'),
        ('a method that is too long', b'A' * 100),
    ]
    for name, data in hopeless:
        connection = server.connect(timeout=5)
        try:
            for i in range(len(data)):
                connection.send(data[i:i + 1])
                time.sleep(0.002)
        except OSError:
            pass
        try:
            got = connection.read().status
        except (Broken, OSError) as error:
            got = repr(error)
        is_equal(got in (400, 501), True, name + ', byte by byte: refused before a line ended') or diag(got)
        connection.close()

    # ---- each byte that is no part of a field, around the name and the value of Transfer-Encoding, beside a Content-Length that ends
    # somewhere else: who strips it reads another request than who does not, so nobody is answered but with a refusal, and it is the last
    taken = []
    for byte in [bytes([n]) for n in (*range(1, 0x21), *range(0x7f, 0x100))]:
        for field in (byte + b'Transfer-Encoding: chunked', b'Transfer-Encoding' + byte + b': chunked',
                      b'Transfer-Encoding:' + byte + b'chunked', b'Transfer-Encoding: chunked' + byte):
            connection = server.connect(timeout=5)
            connection.send(b'POST /hooks/repo HTTP/1.1\r\nHost: a\r\n' + field + b'\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG')
            try:
                status = connection.read().status
                if status not in (400, 501) or not connection.at_end():
                    taken.append((field, status))
            except (OSError, Broken) as error:
                taken.append((field, repr(error)))
            connection.close()
    is_equal(taken, [], 'nothing hides Transfer-Encoding')

    # ---- refused before its body: who sends on for a while, and only then reads, finds the answer; who is silent is not waited for
    TOO_LARGE = b'POST /hooks/repo HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n'

    def sends_on():
        connection = server.connect()
        connection.send(TOO_LARGE)
        try:
            for _ in range(35):
                connection.send(b'x' * 20000)
                time.sleep(0.1)
            return connection.read().status
        except (OSError, Broken) as error:
            return repr(error)

    def is_silent():
        connection = server.connect()
        connection.send(TOO_LARGE)
        try:
            connection.read()
            time.sleep(3.1)
            for _ in range(2):
                connection.send(b'x')
                time.sleep(0.1)
            return 'still there'
        except (OSError, Broken):
            return 'gone'

    sent_on, silent = at_once(sends_on, is_silent)
    is_equal(sent_on, 413, 'a refusal waits for who sends on')
    is_equal(silent, 'gone', 'and not for who does not')
    is_equal(server.get('/health/live').status, 200, 'the server is well')
    is_equal(server.stop(), 0, 'and stops in order')
done()
