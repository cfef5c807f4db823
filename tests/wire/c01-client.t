#!/usr/bin/env python3
"""Calls of the HTTP client to real servers and to a hostile one: every answer told rightly, every bad one bounded, in time, and its connection never used again."""
import os, shutil, socket, ssl, subprocess, sys, tempfile, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

BUILD = os.environ.get('BECKET_BUILD', 'build')
ROOT = os.environ.get('BECKET_ROOT', '.')
HAND = os.path.join(BUILD, 'asan', 'tests', 'unit', 'http_client_test')
CERTS = os.path.join(ROOT, 'tests', 'vectors', 'tls')
if not os.path.exists(HAND):
    skip_all('the client\'s test program is not built: make test')
scratch = tempfile.mkdtemp()


class Call:
    def __init__(self, line):
        head, why, body = line.split('"')[0].split(), line.split('"')[1], line.rsplit('"', 1)[1].strip()
        self.id, self.err, self.stage = head[0], head[1], head[2]
        self.status, self.bytes, self.kept = int(head[3]), int(head[4]), int(head[5])
        self.cut, self.reused, self.repeated, self.ms = head[6] == '1', head[7] == '1', head[8] == '1', int(head[9])
        self.why, self.body = why, bytes.fromhex(body)

    def __repr__(self):
        return '%s at %s after %d ms, status %d, %d bytes %s: %s' % (
            self.err, self.stage, self.ms, self.status, self.bytes, 'reused' if self.reused else 'new', self.why)


class Result(list):
    stats = {}


def run(script, *options):
    """Calls by a script (see http_client_test.c); the list of how they ended, in that order."""
    hand = subprocess.run([HAND, '--script', '-', *options], input=script, capture_output=True, text=True, timeout=120)
    result = Result()
    for line in hand.stdout.splitlines():
        if line.startswith('stats '):
            result.stats = {k: int(v) for k, v in (w.split('=') for w in line.split()[1:])}
        elif '"' in line:
            result.append(Call(line))
    if hand.returncode != 0 or 'closed 1' not in hand.stdout:
        ok(False, 'the client ends well')
        diag(hand.stdout[-500:] + hand.stderr[-3000:])
    return result


class Peer:
    """Runs serve(connection, number) for each connection, in a thread of its own."""

    def __init__(self, serve, context=None):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        self.serve, self.context, self.count = serve, context, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self.one, args=(connection, self.count), daemon=True).start()

    def one(self, connection, number):
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
            self.serve(connection, number)
        except OSError:
            pass
        finally:
            connection.close()

    def url(self, path='/', scheme='http'):
        return '%s://127.0.0.1:%d%s' % (scheme, self.port, path)


def request(connection):
    """One request, read whole: its head, or None at the end."""
    data = b''
    while b'\r\n\r\n' not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, body = data.split(b'\r\n\r\n', 1)
    length = [int(l.split(b':')[1]) for l in head.split(b'\r\n') if l.lower().startswith(b'content-length:')]
    left = (length[0] if length else 0) - len(body)
    while left > 0:
        more = connection.recv(65536)
        if not more:
            return None
        left -= len(more)
    return head


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    connection.close()


GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood'

# ---- one bad answer, then good ones: each on a connection of its own


def endless(head, piece):
    def serve(connection, number):
        connection.sendall(head)
        while True:
            connection.sendall(piece)
    return serve


def text(answer):
    def serve(connection, number):
        connection.sendall(answer)
        time.sleep(5)
    return serve


def trickle(connection, number):
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n')
    for byte in b'x' * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
BAD = [
    ('endless headers', endless(b'HTTP/1.1 200 OK\r\n', b'X-More: and more\r\n' * 50), 'PROTOCOL', 'wait'),
    ('an endless header', endless(b'HTTP/1.1 200 OK\r\nX: ', b'a' * 4096), 'PROTOCOL', 'wait'),
    ('endless interim answers', endless(b'', b'HTTP/1.1 100 Continue\r\n\r\n'), 'PROTOCOL', 'wait'),
    ('endless chunks', endless(CHUNKED, b'1\r\nx\r\n' * 1000), 'TOO_LARGE', 'body'),
    ('an endless body', endless(b'HTTP/1.1 200 OK\r\n\r\n', b'x' * 65536), 'TOO_LARGE', 'body'),
    ('an endless chunk extension', endless(CHUNKED, b'1;' + b'x' * 4000), 'PROTOCOL', 'body'),
    ('endless trailers', endless(CHUNKED + b'0\r\n', b'A: b\r\n' * 100), 'PROTOCOL', 'body'),
    ('a length over the limit', text(b'HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n'), 'TOO_LARGE', 'body'),
    ('a length that cannot be', text(b'HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n'), 'PROTOCOL', 'wait'),
    ('two lengths', text(b'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx'), 'PROTOCOL', 'wait'),
    ('both framings', text(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
     'PROTOCOL', 'wait'),
    ('a folded header', text(b'HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n'), 'PROTOCOL', 'wait'),
    ('compressed framing', text(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'), 'PROTOCOL', 'wait'),
    ('no HTTP', text(b'220 mail.example ESMTP\r\n'), 'PROTOCOL', 'wait'),
    ('another protocol', text(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n'), 'PROTOCOL', 'wait'),
    ('a trickle', trickle, 'TIMEOUT', 'body'),
    ('silence', text(b''), 'TIMEOUT', 'wait'),
    ('half a head', text(b'HTTP/1.1 200 OK\r\nConte'), 'TIMEOUT', 'wait'),
    ('a body that stops', text(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'), 'TIMEOUT', 'body'),
    ('an early end', lambda c, n: c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'), 'PROTOCOL', 'body'),
]


def once_bad(title, bad, err, stage):
    def serve(connection, number):
        while request(connection):
            if number == 1:
                bad(connection, number)
                return
            connection.sendall(GOOD)
    peer = Peer(serve)
    calls = run('call a %s method=POST bytes=10 max=1000000 timeout=1500\nwait\n'
                'call b %s\nwait\ncall c %s\nwait\n' % (peer.url(), peer.url(), peer.url()))
    good = ok(len(calls) == 3 and calls[0].err == err and calls[0].stage == stage and calls[0].ms < 2500 and calls[0].why
              and calls[1].body == b'good' and not calls[1].reused and calls[2].reused and peer.count == 2,
              '%s: %s' % (title, calls[0].why if calls else 'nothing'))
    if not good:
        diag('\n'.join(map(repr, calls)))


with concurrent.futures.ThreadPoolExecutor(8) as pool:  # the slow ones wait for a time-out each
    for made in [pool.submit(once_bad, *row) for row in BAD]:
        made.result()

# ---- bytes behind an answer are nobody's answer

def poison(connection, number):
    while request(connection):
        connection.sendall(GOOD + (b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison' if number == 1 else b''))


peer = Peer(poison)
calls = run('call a %s\nwait\ncall b %s\nwait\n' % (peer.url(), peer.url()))
ok([c.body for c in calls] == [b'good', b'good'] and not calls[1].reused, 'bytes behind an answer go with their connection')


def late_poison(connection, number):
    while request(connection):
        connection.sendall(GOOD)
        if number == 1:
            time.sleep(0.1)
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison')


peer = Peer(late_poison)
calls = run('call a %s\nwait\nsleep 300\ncall b %s\nwait\n' % (peer.url(), peer.url()))
ok([c.body for c in calls] == [b'good', b'good'] and not calls[1].reused, 'and so do bytes that nobody asked for')

# ---- cut and reset at every byte

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'
for how in ('closed', 'reset'):
    at = [0]

    def cut(connection, number):
        while request(connection):
            place = at[0]
            at[0] += 1
            if place >= len(ANSWER):
                connection.sendall(ANSWER)
                continue
            for i in range(place):
                connection.sendall(ANSWER[i:i + 1])
            if how == 'reset':
                time.sleep(0.002)
                reset(connection)
            return
    peer = Peer(cut)
    count = len(ANSWER) + 1
    calls = run(''.join('call %d %s method=POST bytes=20\nwait\n' % (i, peer.url()) for i in range(count)))
    wrong = [c for c in calls[:-1] if c.err not in ('PROTOCOL', 'RESET') or c.reused]
    ok(len(calls) == count and not wrong and calls[-1].body == b'hello', 'an answer that is %s at each of its bytes' % how)
    if wrong:
        diag('\n'.join(map(repr, wrong)))

# ---- stale connections

def once(connection, number):
    if request(connection):
        connection.sendall(GOOD)


peer = Peer(once)
calls = run('call a %s\nwait\nsleep 200\ncall b %s\nwait\n' % (peer.url(), peer.url()))
ok(all(c.err == 'OK' and not c.reused and not c.repeated for c in calls) and calls.stats['stale'] >= 1,
   'a connection that was closed while idle is not handed out')
seen = []


def stale(connection, number):
    while True:
        head = request(connection)
        if not head:
            return
        seen.append((number, head.split()[1]))
        if len(seen) == 2:
            return  # the request on a reused connection arrives, and is not answered
        connection.sendall(GOOD)


peer = Peer(stale)
calls = run('call a %s\nwait\ncall b %s repeatable=1\nwait\n' % (peer.url('/a'), peer.url('/b')))
ok(calls[1].err == 'OK' and calls[1].repeated and not calls[1].reused and
   seen == [(1, b'/a'), (1, b'/b'), (2, b'/b')], 'a repeatable call is sent once more, on a new connection')
seen = []
peer = Peer(stale)
calls = run('call a %s\nwait\ncall b %s\nwait\n' % (peer.url('/a'), peer.url('/b')))
ok(calls[1].err == 'PROTOCOL' and not calls[1].repeated and len(seen) == 2, 'another call is not')


def never(connection, number):
    if request(connection):
        if number == 1:
            connection.sendall(GOOD)
            request(connection)


peer = Peer(never)
calls = run('call a %s\nwait\ncall b %s repeatable=1\nwait\n' % (peer.url(), peer.url()))
ok(calls[1].err == 'PROTOCOL' and calls[1].repeated and peer.count == 2, 'and never a third time')

# ---- early answers

def early(connection, number):
    connection.recv(1000)
    connection.sendall(b'HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!')
    time.sleep(0.2)
    reset(connection)


peer = Peer(early)
calls = run('call a %s method=POST bytes=50000000\nwait\n' % peer.url())
ok(calls[0].status == 413 and calls[0].body == b'no!', 'an answer before the request was sent: %r' % calls[0])

# ---- many calls, few connections

lock, now, most = threading.Lock(), [0], [0]


def slow(connection, number):
    while request(connection):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        connection.sendall(GOOD)


peer = Peer(slow)
calls = run('call a %s times=100\nwait\n' % peer.url(), '--per-origin', '5')
ok(all(c.err == 'OK' for c in calls) and peer.count == 5 and most[0] == 5, '100 calls by 5 connections, all busy')
calls = run('call a %s times=100 timeout=150\nwait\n' % peer.url(), '--per-origin', '2')
late = [c for c in calls if c.err == 'TIMEOUT']
ok(len(calls) == 100 and late and all(c.ms < 400 for c in calls) and any(c.stage == 'queue' for c in late),
   'a call that waits too long says so: %s' % (late[0].why if late else ''))

# ---- who may be called

closed = free_port()
calls = run('call a http://127.0.0.1:%d/\nwait\ncall b %s private=0\nwait\ncall c http://[::1]:%d/ private=0\nwait\n'
            'call d http://0x7f.1:%d/ private=0\nwait\n' % (closed, peer.url(), closed, peer.port))
ok(calls[0].err == 'REFUSED' and calls[0].stage == 'connect', 'nobody listens: %s' % calls[0].why)
ok(all(c.err == 'FORBIDDEN' and c.stage == 'policy' for c in calls[1:]), 'private addresses: %s' % calls[1].why)

# ---- through a proxy

tunnels = []


def proxy(connection, number):
    head = request(connection)
    tunnels.append(head)
    line = head.split(b'\r\n')[0].split()
    if b'Proxy-Authorization: Basic dXNlcjpwYSBzcw==' not in head:
        connection.sendall(b'HTTP/1.1 407 Who\r\nContent-Length: 6\r\n\r\nwho?!\n')
    elif line[0] == b'CONNECT':
        host, port = line[1].decode().rsplit(':', 1)
        with socket.create_connection((host.replace('tls.example', '127.0.0.1'), int(port))) as other:
            connection.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
            def pump(a, b):
                while True:
                    data = a.recv(65536)
                    if not data:
                        break
                    b.sendall(data)
                try:
                    b.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
            thread = threading.Thread(target=pump, args=(other, connection), daemon=True)
            thread.start()
            pump(connection, other)
            thread.join()
    else:
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(line[1]), line[1]))


gate = Peer(proxy)
way = 'http://user:pa%%20ss@127.0.0.1:%d' % gate.port
calls = run('call a http://hooks.example:8000/x?y=1 method=POST bytes=9\nwait\ncall b http://10.1.2.3/ private=0\nwait\n',
            '--http-proxy', way)
ok(calls[0].body == b'http://hooks.example:8000/x?y=1', 'http through a proxy: the whole URL, %r' % calls[0].body)
ok(calls[1].err == 'FORBIDDEN', 'a private literal address is refused there too')
calls = run('call a http://hooks.example/\nwait\n', '--http-proxy', 'http://127.0.0.1:%d' % gate.port)
ok(calls[0].status == 407, 'a proxy that wants to know who')
before = len(tunnels)
calls = run('call a http://127.0.0.1:%d/\nwait\n' % closed, '--http-proxy', way, '--no-proxy', '10.0.0.0/8,.example')
ok(len(tunnels) == before and calls[0].err == 'REFUSED', 'loopback goes directly')

# ---- TLS

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.maximum_version = ssl.TLSVersion.TLSv1_2
context.load_cert_chain(os.path.join(CERTS, 'server.pem'), os.path.join(CERTS, 'server.key'))
CA = ('--ca', os.path.join(CERTS, 'ca.pem'))


def plain(connection, number):
    while request(connection):
        connection.sendall(GOOD)


secure = Peer(plain, context)
url = secure.url(scheme='https')
calls = run('call a %s times=3\nwait\ncall b %s method=POST bytes=300000\nwait\n' % (url, url), '--per-origin', '1', *CA)
ok(len(calls) == 4 and all(c.body == b'good' for c in calls) and secure.count == 1, 'https, four calls on one connection')
calls = run('call a %s\nwait\n' % url)
ok(calls[0].err == 'UNAUTHENTICATED' and calls[0].stage == 'tls', 'without trust: %s' % calls[0].why)
goodbyes = []


def listens(connection, number):
    while request(connection):
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    goodbyes.append('close_notify')  # a cut raises instead


polite = Peer(listens, context)
calls = run('call a %s\nwait\n' % polite.url(scheme='https'), *CA)
end = time.monotonic() + 5
while not goodbyes and time.monotonic() < end:
    time.sleep(0.02)
is_equal((calls[0].body, goodbyes), (b'ok', ['close_notify']), 'an idle connection is closed with close_notify')
calls = run('call a https://localhost:%d/\nwait\n' % secure.port, *CA)
ok(calls[0].err == 'UNAUTHENTICATED' and calls[0].stage == 'tls', 'another name: %s' % calls[0].why)
calls = run('call a %s timeout=3000\nwait\n' % peer.url(scheme='https'), *CA)
ok(calls[0].err in ('PROTOCOL', 'TIMEOUT') and calls[0].stage == 'tls', 'a server without TLS: %s' % calls[0].why)
silent = Peer(text(b''))
calls = run('call a %s timeout=700\nwait\n' % silent.url(scheme='https'), *CA)
ok(calls[0].err == 'TIMEOUT' and calls[0].stage == 'tls' and calls[0].ms < 1200, 'a silent one: %s' % calls[0].why)


def cut_off(connection, number):
    request(connection)
    connection.sendall(b'HTTP/1.1 200 OK\r\n\r\nnot all')
    os.close(connection.detach())  # without close_notify


cutter = Peer(cut_off, context)
calls = run('call a %s\nwait\n' % cutter.url(scheme='https'), *CA)
ok(calls[0].err == 'PROTOCOL' and calls[0].stage == 'body', 'a stream that ends without close_notify: %s' % calls[0].why)
calls = run('call a https://127.0.0.1:%d/\nwait\n' % secure.port, '--https-proxy', way, *CA)
ok(calls[0].body == b'good', 'loopback over https goes directly')
before = len(tunnels)
calls = run('call a https://tls.example:%d/\nwait\n' % secure.port, '--https-proxy', way, *CA)
ok(len(tunnels) == before + 1 and tunnels[-1].startswith(b'CONNECT tls.example:%d HTTP/1.1\r\n' % secure.port) and
   calls[0].err == 'UNAUTHENTICATED' and calls[0].stage == 'tls', 'CONNECT, and the name is still checked: %s' % calls[0].why)
calls = run('call a https://tls.example/\nwait\n', '--https-proxy', 'http://127.0.0.1:%d' % gate.port, *CA)
ok(calls[0].err == 'UNAUTHENTICATED' and calls[0].stage == 'proxy', 'a proxy that refuses: %s' % calls[0].why)

# ---- openssl s_server, nginx

openssl = shutil.which('openssl')
if openssl:
    port = free_port()
    server = subprocess.Popen([openssl, 's_server', '-accept', '127.0.0.1:%d' % port, '-tls1_2', '-www', '-quiet',
                               '-cert', os.path.join(CERTS, 'server_rsa.pem'), '-key', os.path.join(CERTS, 'server_rsa.key')],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', port)) == 0:
                break
        time.sleep(0.05)
    calls = run('call a https://127.0.0.1:%d/\nwait\ncall b https://127.0.0.1:%d/\nwait\n' % (port, port),
                '--ca', os.path.join(CERTS, 'rsa_ca.pem'))
    ok(all(c.status == 200 for c in calls) and b'Reused' in calls[1].body,
       'openssl s_server, the second time with the session of the first')
    server.terminate()
    server.wait()
else:
    print('# openssl is not installed')

nginx = shutil.which('nginx') or next((p for p in ['/usr/sbin/nginx'] if os.path.exists(p)), None)
if nginx:
    port, tls_port = free_port(), free_port()
    with open(os.path.join(scratch, 'big.bin'), 'wb') as f:
        f.write(os.urandom(3000000))
    with open(os.path.join(scratch, 'nginx.conf'), 'w') as f:
        f.write('''daemon off; master_process off; pid {d}/pid; error_log {d}/error.log; events {{}}
http {{ access_log off; client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u;
scgi_temp_path {d}/s; client_max_body_size 1m; keepalive_requests 50; ssl_session_cache shared:s:1m;
server {{ listen 127.0.0.1:{p}; listen 127.0.0.1:{q} ssl; ssl_certificate {c}/server.pem; ssl_certificate_key {c}/server.key;
ssl_protocols TLSv1.2; root {d}; location /ok {{ return 200 "fine"; }} }} }}'''.format(d=scratch, p=port, q=tls_port, c=os.path.abspath(CERTS)))
    server = subprocess.Popen([nginx, '-c', os.path.join(scratch, 'nginx.conf')], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as s:
            if s.connect_ex(('127.0.0.1', tls_port)) == 0:
                break
        time.sleep(0.05)
    for base in ('http://127.0.0.1:%d' % port, 'https://127.0.0.1:%d' % tls_port):
        calls = run('call a {0}/ok times=200 repeatable=1\nwait\ncall b {0}/big.bin keep=3000000\nwait\n'
                    'call c {0}/ok method=POST bytes=900000\nwait\ncall d {0}/ok method=POST bytes=5000000\nwait\n'
                    'call e {0}/big.bin method=HEAD\nwait\n'.format(base), '--per-origin', '4', *CA)
        by = {c.id: c for c in calls}
        ok(len(calls) == 204 and sum(c.body == b'fine' for c in calls) == 201 and by['b'].bytes == 3000000 == by['b'].kept and
           by['d'].status == 413 and by['e'].status == 200 and by['e'].bytes == 0,
           'nginx by %s: 200 calls, 3 MB down, 0.9 MB up, 413 for 5 MB, HEAD' % base.split(':')[0])
    server.terminate()
    server.wait()
else:
    print('# nginx is not installed')
shutil.rmtree(scratch)
done()
