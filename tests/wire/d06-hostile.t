#!/usr/bin/env python3
"""Deliveries to receivers that answer in odd, wrong and endless ways, and through proxies that refuse: each attempt says
what was wrong, no connection is used again after a doubt, nothing costs memory or time, and the next event arrives."""
import gzip, json, os, re, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

SOURCE = '''
kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: s3cr3t}]}}
'''
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood'
sent = {}  # name: bytes that a receiver got rid of


def request(connection):
    data = b''
    while b'\r\n\r\n' not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b'\r\n\r\n', 1)
    length = [int(l.split(b':')[1]) for l in head.split(b'\r\n') if l.lower().startswith(b'content-length:')]
    while len(body) < (length[0] if length else 0):
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return head


class Peer:
    """The first connection answers `bad`, all others well."""

    def __init__(self, name, bad):
        self.name, self.bad, self.count, self.got = name, bad, 0, []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            self.count += 1
            threading.Thread(target=self.serve, args=(connection, self.count), daemon=True).start()

    def serve(self, connection, number):
        try:
            first = number == 1
            while True:
                head = request(connection)
                if not head:
                    return
                self.got.append((number, re.search(rb'webhook-id: (\S+)', head).group(1).decode()))
                if not first:
                    connection.sendall(GOOD)
                elif callable(self.bad):
                    if not self.bad(self, connection):
                        return
                else:
                    connection.sendall(self.bad)
                first = False
        except OSError:
            pass
        finally:
            connection.close()


def flood(head, piece, total=5 << 30):
    def serve(peer, connection):
        connection.settimeout(20)
        connection.sendall(head)
        sent[peer.name] = 0
        while sent[peer.name] < total:
            sent[peer.name] += connection.send(piece)
        return False
    return serve


def closes(answer):
    def serve(peer, connection):
        connection.sendall(answer)
        return False
    return serve


OK = b'HTTP/1.1 200 OK\r\n'
BIG = b'x' * 65536
FINE, DOUBT = 1, 2  # the connection serves the next event, or another one does
CASES = [
    # name, answer, delivered?, words of the attempt, connections for two events
    ('lengths-differ', OK + b'Content-Length: 2\r\nContent-Length: 3\r\n\r\nok', False, 'line 3 (Content-Length): it is there twice', DOUBT),
    ('length-list', OK + b'Content-Length: 2, 3\r\n\r\nok', False, 'line 2 (Content-Length): it is no number', DOUBT),
    ('length-signed', OK + b'Content-Length: +2\r\n\r\nok', False, 'malformed', DOUBT),
    ('length-huge', OK + b'Content-Length: 99999999999999999999999\r\n\r\nok', False, 'malformed', DOUBT),
    ('both', OK + b'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', False, '', DOUBT),
    ('fold', OK + b'X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok', False, 'line 3: it is folded', DOUBT),
    ('no-colon', OK + b'nonsense\r\nContent-Length: 2\r\n\r\nok', False, 'line 2: there is no colon', DOUBT),
    ('blank-before-colon', OK + b'Content-Length : 2\r\n\r\nok', False, 'malformed', DOUBT),
    ('nul', OK + b'X-A: \0\r\nContent-Length: 2\r\n\r\nok', False, 'line 2 (X-A): a zero byte', DOUBT),
    ('status-99', b'HTTP/1.1 99 Odd\r\nContent-Length: 2\r\n\r\nok', False, '', DOUBT),
    ('status-2000', b'HTTP/1.1 2000 Odd\r\nContent-Length: 2\r\n\r\nok', False, '', DOUBT),
    ('http-2', b'HTTP/2 200\r\ncontent-length: 2\r\n\r\nok', False, '', DOUBT),
    ('http-2-only', b'\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64\0\4\0\1\0\0\0\5\0\0\x40\0', False, 'it is HTTP/2, where HTTP/1.1 was spoken', DOUBT),
    ('http-2-goodbye', closes(b'\0\0\0\4\0\0\0\0\0\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\1'), False, 'it is HTTP/2', DOUBT),
    ('status-999', b'HTTP/1.1 999 Denied\r\nContent-Length: 2\r\n\r\nok', False, 'above 599', DOUBT),
    ('status-499', b'HTTP/1.1 499 Gone Home\r\nContent-Length: 2\r\n\r\nok', False, '499', FINE),
    ('misdirected', b'HTTP/1.1 421 Misdirected Request\r\nContent-Length: 2\r\n\r\nok', False, '421', FINE),
    ('see-other', b'HTTP/1.1 303 See Other\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n', False, 'the answer 303 is a redirect: not followed', FINE),
    ('permanent', b'HTTP/1.1 308 Permanent Redirect\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n', False, 'redirect', FINE),
    ('reset-body', b'HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello', True, '', FINE),
    ('chunk-overflow', OK + b'Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n', False, '', DOUBT),
    ('gzip-framing', OK + b'Transfer-Encoding: gzip\r\n\r\nok', False, '', DOUBT),
    ('switches', b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n', False, '', DOUBT),
    ('not-modified', b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', False, 'redirect', FINE),
    ('not-modified-length', b'HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n', False, 'redirect', DOUBT),
    ('interim-flood', b'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n' * 40 + GOOD, False, 'interim', DOUBT),
    ('interim-some', b'HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n' * 10 + GOOD, True, '', FINE),
    ('no-content', b'HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n', True, '', FINE),
    ('no-content-body', b'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello', True, '', DOUBT),
    ('no-content-length', b'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n', True, '', DOUBT),
    ('no-content-chunked', b'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', True, '', DOUBT),
    ('interim-length', b'HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n' + GOOD, True, '', DOUBT),
    ('interim-body', b'HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello' + GOOD, False, 'malformed: line 1: it does not begin', DOUBT),
    ('extra', GOOD + b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison', True, '', DOUBT),
    ('trailers', OK + b'Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 7\r\n\r\n', True, '', FINE),
    ('old-keep-alive', b'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok', True, '', None),
    ('old', closes(b'HTTP/1.0 200 OK\r\n\r\nok'), True, '', DOUBT),
    ('early-end', closes(OK + b'Content-Length: 10\r\n\r\nhalf'), False, 'middle', DOUBT),
    ('gzip', OK + b'Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n' % len(gzip.compress(b'a' * 99, mtime=0)) +
     gzip.compress(b'a' * 99, mtime=0), True, '', FINE),
    ('length-5g', flood(OK + b'Content-Length: 5368709120\r\n\r\n', BIG), True, '', DOUBT),
    ('chunked-5g', flood(OK + b'Transfer-Encoding: chunked\r\n\r\n', b'10000\r\n' + BIG + b'\r\n'), True, '', DOUBT),
    ('until-close-5g', flood(OK + b'\r\n', BIG), True, '', DOUBT),
    ('failure-5g', flood(b'HTTP/1.1 500 Oh\r\nContent-Length: 5368709120\r\n\r\n', BIG), False, '500', DOUBT),
    ('endless-line', flood(OK + b'X: ', BIG), False, '', DOUBT),
]


def resident(server):
    with open('/proc/%d/status' % server.process.pid) as f:
        return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1)) // 1024


def post(server, n):
    body = json.dumps({'n': n}).encode()
    answer = server.post('/hooks/repo', body, github(body, 's3cr3t'))
    assert answer.status == 200, answer
    return answer.json['id']


def destination(name, url):
    return '''---
kind: Destination
metadata: {name: %s}
spec: {url: "%s", allowPrivate: true, concurrency: 1, timeout: 6s, retry: {schedule: [1h]}}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, url, name, name)


def attempts(server, name):
    return {d['event']: d for d in server.api('GET', '/api/v1/deliveries?destination=%s&limit=50' % name).json['items']
            if d['state'] != 'pending'}


def hostile():
    with Server(threads=1) as server:  # one core, so that both events may share a connection
        peers = {name: Peer(name, bad) for name, bad, _, _, _ in CASES}
        server.apply(SOURCE + ''.join(destination(name, 'http://127.0.0.1:%d/' % peers[name].port) for name in peers))
        before = resident(server)
        first = post(server, 1)
        ok(when(lambda: all(first in attempts(server, name) for name in peers)), 'every first attempt ends')
        second = post(server, 2)
        ok(when(lambda: all(second in attempts(server, name) for name in peers)), 'and every second')
        for name, _, delivered, words, connections in CASES:
            tried = attempts(server, name)
            one, two = tried.get(first, {}), tried.get(second, {})
            said = one.get('reason', '')
            good = ok(one.get('state') == ('delivered' if delivered else 'failed') and words in said and
                      (delivered or said) and two.get('state') == 'delivered',
                      '%s: %s, %s' % (name, one.get('state'), said or one.get('status')))
            if not good:
                diag('%r\n%r\n%r' % (one, two, peers[name].got))
            if connections:
                is_equal(peers[name].count, connections, 'on %s connection' % ('the same' if connections == 1 else
                                                                              'another'))
            is_equal([i for _, i in peers[name].got], [first, second], 'each event once')
        ok(max(sent.values()) < 16 << 20, 'of 5 GB at most 16 MiB were taken off a receiver (%.1f MiB)' %
           (max(sent.values()) / 1048576))
        grown = resident(server) - before
        ok(grown < 48, 'memory is bounded (%d MiB more)' % grown)
        answer = attempts(server, 'gzip')[first].get('answer', '')
        ok(answer.startswith('\x1f') and len(answer) < 200, 'a compressed answer is kept as it came, and not unpacked')
        is_equal(server.stop(), 0, 'stops')


proxied = []


def proxy_of(manner):
    """What it does with a request: bytes to answer, or None to hang."""
    def serve(connection):
        try:
            while True:
                head = request(connection)
                if not head:
                    return
                proxied.append(head.split(b'\r\n')[0].decode())
                answer = manner(head)
                if answer is None:
                    time.sleep(20)
                    return
                connection.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
    listener = socket.create_server(('127.0.0.1', 0), backlog=50)
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def gate(head):
    host = head.split()[1].decode()
    if 'echo' in host:
        return b'HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n' % len(head) + head
    for word, answer in (('who', b'HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n'),
                         ('bad', b'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nno!\n'),
                         ('early', b'HTTP/1.1 200 OK\r\n\r\nand bytes that are no TLS\r\n\r\n'),
                         ('noise', b'SSH-2.0-x\r\n'), ('flood', b'HTTP/1.1 100 Continue\r\n\r\n' * 200)):
        if word in host:
            return answer
    return b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'


def proxies():
    port = proxy_of(gate)
    environment = dict(os.environ, HTTP_PROXY='http://me:s3creT9word@127.0.0.1:%d' % port, HTTPS_PROXY='http://127.0.0.1:%d' % port,
                       NO_PROXY='direct.test, .suffix.test ,192.0.2.0/24,198.51.100.7,2001:db8::/32')
    environment.pop('http_proxy', None), environment.pop('https_proxy', None), environment.pop('no_proxy', None)
    with Server(start=False) as server:
        server.start(environment=environment)
        through = {'plain': 'http://plain.test/', 'tls-who': 'https://who.test/', 'tls-bad': 'https://bad.test/',
                   'tls-early': 'https://early.test/', 'tls-noise': 'https://noise.test/',
                   'tls-flood': 'https://flood.test/', 'whole': 'http://notdirect.test/',
                   'near': 'http://198.51.100.8/', 'echo': 'http://echo.test/'}
        around = {'name': 'http://direct.test/', 'under': 'http://a.suffix.test/', 'range': 'http://192.0.2.77/',
                  'address': 'http://198.51.100.7/', 'six': 'http://[2001:db8::1]/'}
        server.apply(SOURCE + ''.join(destination(n, u) for n, u in list(through.items()) + list(around.items())))
        event = post(server, 1)
        ok(when(lambda: all(event in attempts(server, n) for n in through), 20), 'every attempt through the proxy ends')
        said = {n: attempts(server, n)[event] for n in through}
        is_equal((said['plain']['state'], said['whole']['state'], said['near']['state']), ('delivered',) * 3,
                 'plain ones go through it, also to those whose names only look like an exception')
        for name, words in (('tls-who', '407 to CONNECT: it wants a user and a password'), ('tls-bad', '502'), ('tls-early', ''), ('tls-noise', 'the proxy: the head of the answer is malformed: line 1: it does not begin'),
                            ('tls-flood', '')):
            reason = said[name].get('reason', '')
            ok(said[name]['state'] == 'failed' and words in reason and reason, '%s: %s' % (name, reason))
        answer = said['echo'].get('answer', '')
        ok('authorization: basic ' in answer.lower() and 'bWU6czNjcmVUOXdvcmQ' not in answer, 'a proxy that sends back its password: it is not kept: %s' % answer)
        ok('CONNECT who.test:443 HTTP/1.1' in proxied and 'POST http://plain.test/ HTTP/1.1' in proxied,
           'CONNECT for TLS, the whole URL else')
        hosts = ' '.join(proxied)
        ok(not any(h in hosts for h in ('//direct.test', 'suffix.test', '192.0.2.77', '198.51.100.7/', '2001:db8')),
           'and nothing that NO_PROXY names: %s' % hosts)
        server.process.kill()  # those that go directly to nowhere hang until their timeouts
        server.process.wait()
        server.process = None


def insists():
    """A receiver asks for a day, and more than there is; its operator need not wait."""
    with Server() as server, Sink() as sink:
        names = ('plain', 'strict', 'awake', 'keyed', 'moved')
        for name in names:
            sink.manner('/' + name, answers=[503], headers=['Retry-After: 99999999999999999999'])
        text = SOURCE + ''.join(destination(name, sink.url('/' + name)) for name in names)
        text = text.replace('/strict", ', '/strict", ordering: {mode: strict}, ')
        text = text.replace('/keyed", ', '/keyed", ordering: {mode: strict, key: "\'one\'"}, ')
        server.apply(text)
        first = post(server, 1)
        ok(when(lambda: all(len(sink.got('/' + name)) == 1 for name in names)), 'a day of Retry-After')
        second = post(server, 2)
        time.sleep(0.5)
        ok(all(len(sink.got('/' + name)) == 1 for name in names), 'nothing more goes there')
        for name in names:
            sink.manner('/' + name)
        for name in names[:2]:
            server.api('POST', '/api/v1/destinations/%s/pause' % name)
        for name in names[:4]:
            server.api('POST', '/api/v1/destinations/%s/resume' % name)
        server.apply(text.replace(sink.url('/moved'), sink.url('/new')))
        ok(when(lambda: second in sink.ids('/plain')), 'resumed: it goes on')
        ok(when(lambda: sink.ids('/strict') == [first, second]), 'in order, too: %s' % sink.ids('/strict'))
        ok(when(lambda: second in sink.ids('/new')), 'and where it is another address now')
        ok(when(lambda: sorted(sink.ids('/awake')) == sorted([first, second])), 'also where it was not paused')
        ok(when(lambda: sink.ids('/keyed') == [first, second]), 'and in order per key: %s' % sink.ids('/keyed'))


def large():
    """Receivers that hang keep memory for events that are larger than a slot; there is some left for who comes."""
    hanging = [socket.create_server(('127.0.0.1', 0), backlog=100) for _ in range(12)]
    with Server(threads=1) as server, Sink() as sink:
        text = ''.join(destination('hangs%d' % n, 'http://127.0.0.1:%d/' % l.getsockname()[1]) for n, l in enumerate(hanging))
        server.apply(SOURCE.replace('path: repo,', 'path: repo, limits: {bodyBytes: 2000000},') +
                     text.replace('concurrency: 1, timeout: 6s', 'concurrency: 16, timeout: 20s') +
                     destination('well', sink.url('/well')))
        slowest, body = 0, os.urandom(1500000)
        for n in range(8):
            signed = body + b'%08d' % n
            began = time.monotonic()
            event = server.post('/hooks/repo', signed, github(signed, 's3cr3t')).json['id']
            when(lambda: event in sink.ids('/well'))
            slowest = max(slowest, time.monotonic() - began)
        ok(slowest < 8, 'large events beside twelve that hang: the slowest took %.1f s' % slowest)
        server.kill()
    for listener in hanging:
        listener.close()


def holes():
    """Hosts that never answer a SYN take connections that are being opened; there are some left for who comes."""
    nowhere = []
    for _ in range(8):
        listener = socket.create_server(('127.0.0.1', 0), backlog=0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # its backlog is full
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        nowhere.append((listener, waiting))
    with Server(threads=1) as server, Sink() as sink:
        text = ''.join(destination('hole%d' % n, 'http://127.0.0.1:%d/' % l.getsockname()[1]) for n, (l, _) in enumerate(nowhere))
        text = text.replace('concurrency: 1, timeout: 6s', 'concurrency: 16, timeout: 20s')
        server.apply(SOURCE + text + '---' + SOURCE.replace('repo', 'other') +
                     destination('well', sink.url('/well')).replace('source: repo', 'source: other'))
        for n in range(20):
            post(server, n)
        time.sleep(0.3)
        body = b'{"n": 1}'
        server.post('/hooks/other', body, github(body, 's3cr3t'))
        ok(sink.wait('/well', 1, 6), 'a first connection beside eight that never come up')
        server.kill()
    for listener, waiting in nowhere:
        for one in waiting + [listener]:
            one.close()


hostile()
insists()
large()
holes()
proxies()
done()
