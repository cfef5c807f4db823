#!/usr/bin/env python3
"""TLS at the listeners: openssl and curl as clients, certificates by name, resumption, reload without dropping anybody,
client certificates, and everything hostile a peer can do before and after the handshake."""
import os, ssl, sys, tempfile, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from certs import Certs
from tls_server import *

BODY = json.dumps({'ref': 'refs/heads/main', 'text': 'x' * 300}).encode()


class Trickle:
    """A TLS client whose bytes reach the server in pieces of our choice."""

    def __init__(self, port, ctx, piece, pause=0.0):
        self.raw = socket.create_connection(('127.0.0.1', port), timeout=10)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.inn, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.inn, self.out, server_hostname='localhost')
        self.piece, self.pause = piece, pause

    def flush(self):
        data = self.out.read()
        for i in range(0, len(data), self.piece):
            self.raw.sendall(data[i:i + self.piece])
            if self.pause:
                time.sleep(self.pause)

    def run(self, what, *arguments):
        while True:
            try:
                result = what(*arguments)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                data = self.raw.recv(65536)
                if not data:
                    raise Broken('closed')
                self.inn.write(data)


def cli(server, *arguments):
    done_ = subprocess.run([BECKET] + list(arguments), capture_output=True, timeout=30)
    return done_.returncode, done_.stdout.decode(), done_.stderr.decode()


def refused(what, port, ctx, name='localhost'):
    try:
        Secure(port, ctx, name).request('GET', '/health/live')
        return ok(False, what)
    except (ssl.SSLError, OSError, Broken) as problem:
        return ok(True, '%s: %s' % (what, str(problem)[:80]))


directory = tempfile.TemporaryDirectory()
certs = Certs(directory.name)
ca = certs.path('ca.pem')
ecdsa = certs.make('ecdsa')
rsa = certs.make('rsa', san='DNS:rsa.example', kind='rsa:2048')
other = certs.make('other', san='DNS:other.example,DNS:*.wild.example')
live = (certs.path('live.pem'), certs.path('live.key'))


def install(pair):
    for source, target in zip(pair, live):
        shutil.copyfile(source, target + '.new')
        os.chmod(target + '.new', 0o600)
        os.rename(target + '.new', target)


install(ecdsa)
OPTIONS = ['--tls-cert', live[0], '--tls-key', live[1], '--tls-cert', rsa[0], '--tls-key', rsa[1], '--tls-cert', other[0],
           '--tls-key', other[1]]


def drip(port, took):
    """A hello that comes a byte a second, until the connection ends."""
    slow = socket.create_connection(('127.0.0.1', port), timeout=20)
    slow.sendall(b'\x16\x03\x01')
    began = time.monotonic()
    try:
        while time.monotonic() - began < 16:
            slow.sendall(b'\x01')
            slow.settimeout(1)
            try:
                if slow.recv(1) == b'':
                    break
            except socket.timeout:
                pass
    except OSError:
        pass
    took.append(time.monotonic() - began)


with TlsServer(certs, OPTIONS) as server:
    took = []
    dripping = threading.Thread(target=drip, args=(server.port, took), daemon=True)
    dripping.start()
    ok('tls=ingress' in server.log_text() and 'publicUrl=https://' in server.log_text(), 'the ready line says it')
    server.apply(GITHUB_SOURCE)

    # ---- ordinary clients
    c = server.secure()
    is_equal(c.sock.version(), 'TLSv1.2', 'TLS 1.2')
    ok(c.request('GET', '/health/live').status == 200, 'a request')
    first = c.request('POST', '/hooks/repo', BODY, github(BODY, SECRET))
    ok(first.status == 200 and 'evt_' in first.json['id'], 'a webhook is taken')
    large = json.dumps({'pad': 'y' * 500000}).encode()
    ok(c.request('POST', '/hooks/repo', large, github(large, SECRET)).status == 200, 'a large one')
    bodies = [json.dumps({'n': i}).encode() for i in range(40)]
    c.send(b''.join(request_bytes('POST', '/hooks/repo', b, github(b, SECRET)) for b in bodies))
    ids = [c.read().json['id'] for b in bodies]
    ok(len(set(ids)) == 40, 'forty in one write, answered in order')
    b = b'{"chunked":1}'
    head = '\r\n'.join(['POST /hooks/repo HTTP/1.1', 'Host: x', 'Transfer-Encoding: chunked'] +
                       ['%s: %s' % kv for kv in github(b, SECRET).items()]) + '\r\n\r\n'
    c.send(head.encode() + b'5\r\n' + b[:5] + b'\r\n')
    c.send(b'%x\r\n' % len(b[5:]) + b[5:] + b'\r\n0\r\n\r\n')
    ok(c.read().status == 200, 'a chunked one')
    c.send(b'GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    ok(c.read().status == 200, 'the last one')
    c.sock.suppress_ragged_eofs = False
    ok(c.sock.recv(1) == b'', 'ends with close_notify, as Python wants it')
    c.close()
    code, out, err = server.cli('events', '--limit', '100', '-o', 'json')
    is_equal(len(json.loads(out)['items']), 43, 'all events are there, by the plain admin listener')

    done_ = subprocess.run(['openssl', 's_client', '-connect', '127.0.0.1:%d' % server.port, '-CAfile', ca, '-tls1_2',
                            '-reconnect', '-servername', 'localhost'], input=b'', capture_output=True)
    text = done_.stdout.decode() + done_.stderr.decode()
    ok('Verify return code: 0 (ok)' in text, 'openssl s_client verifies it')
    ok(text.count('New, TLSv1.2') == 1 and text.count('Reused, TLSv1.2') == 5, 'and resumes five times')
    if shutil.which('curl'):
        done_ = subprocess.run(['curl', '-sv', '--cacert', ca, '-w', ' %{num_connects}', '-o', '/dev/null', '-o',
                                '/dev/null'] + ['https://localhost:%d/health/live' % server.port] * 2, capture_output=True)
        text = done_.stderr.decode()
        ok(done_.returncode == 0 and done_.stdout.decode().split() == ['1', '0'], 'curl, two requests on one connection')
        ok('http/1.1' in text, 'ALPN says http/1.1')
    else:
        skip('curl', 'it is not installed')
        skip('curl', 'it is not installed')

    for extra, least in ((['-c', '4'], 4), (['-c', '4', '-H', 'Connection: close'], 60),
                         (['-c', '2', '-H', 'Connection: close', '--full-handshakes'], 60)):
        before = server.metrics()
        code, out, err = cli(server, 'bench', 'https://localhost:%d/hooks/repo' % server.port, '--ca-file', ca, '-n', '60',
                             '--type', 'github', '--secret', SECRET, '-o', 'json', *extra)
        after = server.metrics()
        made = sum(after[k] - before[k] for k in after if k.startswith('becket_tls_handshakes_total') and 'failed' not in k)
        resumed = [after[k] - before[k] for k in after if k.startswith('becket_tls') and 'resumed' in k][0]
        run = json.loads(out)
        ok(code == 0 and run['answered'] == 60 and made >= least and (resumed > 50) == (len(extra) == 4),
           'becket bench %s: %d handshakes, %d resumed' % (' '.join(extra), made, resumed))

    # ---- which certificate
    def subject(name, ciphers=None):
        ctx = context(ca)
        ctx.check_hostname = False
        if ciphers:
            ctx.set_ciphers(ciphers)
        with ctx.wrap_socket(socket.create_connection(('127.0.0.1', server.port)), server_hostname=name) as s:
            return dict(x[0] for x in s.getpeercert()['subject'])['commonName']

    is_equal([subject(n) for n in ('localhost', 'rsa.example', 'other.example', 'a.wild.example', 'none.example', None)],
             ['ecdsa', 'rsa', 'other', 'other', 'ecdsa', 'ecdsa'], 'the certificate goes by the name')
    is_equal(subject('localhost', 'ECDHE-RSA-AES256-GCM-SHA384'), 'rsa', 'who knows RSA only gets the RSA one')
    for cipher in ('ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305'):
        ctx = context(ca)
        ctx.set_ciphers(cipher)
        c = server.secure(ctx=ctx)
        ok(c.request('GET', '/health/live').status == 200 and c.sock.cipher()[0] == cipher, cipher)
        c.close()

    ctx = context(ca)
    ctx.set_ciphers('ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256')
    with ctx.wrap_socket(socket.create_connection(('127.0.0.1', server.port)), server_hostname='localhost') as s:
        is_equal(s.cipher()[0], 'ECDHE-ECDSA-AES128-GCM-SHA256', 'which of the suites is the server\'s choice')
    shell = subprocess.Popen(['openssl', 's_client', '-connect', '127.0.0.1:%d' % server.port, '-CAfile', ca, '-tls1_2', '-servername', 'localhost', '-legacy_renegotiation'],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    shell.stdin.write(b'R\n')  # another handshake
    shell.stdin.flush()
    threading.Timer(3, shell.kill).start()
    text = shell.stdout.read().decode()
    ok('RENEGOTIATING' in text and 'no renegotiation' in text, 'a second handshake is refused') or diag(text[-600:])
    shell.wait()

    # ---- refused clients
    for cipher in ('ECDHE-ECDSA-AES128-SHA256', 'AES128-GCM-SHA256'):
        ctx = context(ca)
        ctx.set_ciphers(cipher)
        refused('only %s' % cipher, server.port, ctx)
    refused('TLS 1.3 only', server.port, context(ca, version=ssl.TLSVersion.TLSv1_3))
    try:
        refused('TLS 1.1 only', server.port, context(ca, version=ssl.TLSVersion.TLSv1_1))
    except ValueError as problem:
        skip('TLS 1.1 only', str(problem))
    ctx = context(ca)
    ctx.set_alpn_protocols(['h2'])
    refused('HTTP/2 only', server.port, ctx)

    for offered, taken in ((['http/1.0'], 'http/1.0'), (['http/1.0', 'http/1.1'], 'http/1.1'), (['h2', 'http/1.0'], 'http/1.0')):
        ctx.set_alpn_protocols(offered)
        c = server.secure(ctx=ctx)
        is_equal(c.sock.selected_alpn_protocol(), taken, 'of the protocols %s' % ' and '.join(offered))
        c.close()

    ctx = context(ca)
    ctx.set_alpn_protocols(['http/1.1'])
    c = server.secure(ctx=ctx)
    session = c.sock.session
    c.close()
    # The refused one last: OpenSSL 3.5 does not offer a session again that a fatal alert came to.
    for names, reused in ((['h2', 'http/1.1'], True), ([], True), (['http/1.1'], True), (['http/1.0'], True), (['h2'], None)):
        ctx.set_alpn_protocols(names)
        try:
            c = server.secure(ctx=ctx, session=session)
            got = c.sock.session_reused if c.request('GET', '/health/live').status == 200 else 'bad'
        except (ssl.SSLError, OSError) as problem:
            got = None if 'no application protocol' in str(problem).lower().replace('_', ' ') else str(problem)
        is_equal(got, reused, 'a session resumed with the protocols %s' % names)

    # ---- bytes cut everywhere, and both halves slowly
    for piece in (1, 2, 5, 17, 64, 1000):
        t = Trickle(server.port, server.ctx, piece)
        t.run(t.tls.do_handshake)
        b = json.dumps({'piece': piece}).encode()
        t.run(t.tls.write, request_bytes('POST', '/hooks/repo', b, github(b, SECRET)) * 2)
        text = b''
        while text.count(b'evt_') < 2:
            text += t.run(t.tls.read, 65536)
        ok(text.count(b'HTTP/1.1 200') == 2, 'pieces of %d bytes' % piece)
        t.raw.close()

    # ---- hostile ones
    def raw(data, wait=5):
        s = socket.create_connection(('127.0.0.1', server.port), timeout=wait)
        try:
            s.sendall(data)
            got = b''
            while True:
                more = s.recv(65536)
                if not more:
                    return got
                got += more
        except ConnectionResetError:
            return got
        except socket.timeout:
            return None
        finally:
            s.close()

    is_equal(raw(b'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'), b'', 'plain HTTP is closed')
    ok(server.wait_log('the peer speaks plain HTTP'), 'and the log has a hint')
    for name, data in (('noise', os.urandom(300)), ('a huge record', b'\x16\x03\x01\xff\xff' + b'x' * 400),
                       ('application data first', b'\x17\x03\x03\x00\x05hello'), ('an alert', b'\x15\x03\x03\x00\x02\x02\x28'),
                       ('SSL 2', b'\x80\x2e\x01\x03\x01' + b'\0' * 41),
                       ('an endless hello', b'\x16\x03\x01\x40\x00\x01\xff\xff\xff' + b'\x03\x03' + b'a' * 16379)):
        ok(raw(data) is not None, '%s is closed' % name)
    time.sleep(1.1)
    empty = raw(b'\x16\x03\x01\x00\x00' * 1000, wait=1)
    ok(empty is None or empty == b'', 'empty records end nowhere')
    c = server.secure()
    raw_fd = socket.socket(fileno=os.dup(c.sock.fileno()))
    raw_fd.sendall(b'\x17\x03\x03\x00\x30' + os.urandom(48))
    try:
        got = c.sock.recv(1)
    except (ssl.SSLError, OSError) as problem:
        got = str(problem).lower().replace('_', ' ')
    ok('bad record mac' in str(got), 'a forged record ends an open connection, and it is told why') or diag(got)
    raw_fd.close()

    # ---- who cannot speak TLS fills no log
    count = lambda: server.log_text().count('tls refused')
    failed = lambda: server.metrics()['becket_tls_handshakes_total{outcome="failed"}']
    began, lines, before = time.monotonic(), count(), failed()
    for _ in range(100):
        with socket.create_connection(('127.0.0.1', server.port)) as s:
            s.sendall(b'\x80\x2e\x01\x03\x01' + b'\0' * 41)
            s.recv(100)
    windows = int(time.monotonic() - began) + 2
    ok(when(lambda: failed() - before >= 100), 'a hundred refused handshakes are counted')
    ok(0 < count() - lines <= 18 * windows < 100, 'and %d lines tell of them' % (count() - lines))

    # ---- a reload drops nobody
    kept = server.secure()
    ok(kept.request('GET', '/health/live').status == 200, 'a connection from before')
    before = kept.sock.getpeercert()['serialNumber']
    install(certs.make('ecdsa2'))
    server.process.send_signal(signal.SIGHUP)
    ok(server.wait_log('reloaded'), 'reloaded')
    fresh = server.secure()
    ok(fresh.sock.getpeercert()['serialNumber'] != before, 'new connections get the new certificate')
    ok(kept.request('GET', '/health/live').status == 200, 'the old connection goes on')
    with open(live[0], 'w') as f:
        f.write('-----BEGIN CERTIFICATE-----\nnot base 64!\n-----END CERTIFICATE-----\n')
    server.process.send_signal(signal.SIGHUP)
    ok(server.wait_log('certificates not reloaded, the old ones stay') and
       'live.pem:1: what is between the dashes is not base 64' in server.log_text(), 'a bad file is told, with file and line')
    ok(server.wait_log('warn reloaded, but for the certificates') and server.log_text().count('info reloaded') == 1,
       'and the reload was not whole')
    c = server.secure()
    ok(c.request('GET', '/health/live').status == 200 and kept.request('GET', '/health/live').status == 200,
       'and changes nothing')
    install(other)
    shutil.copyfile(ecdsa[1], live[1])
    server.process.send_signal(signal.SIGHUP)
    ok(server.wait_log('this key is not the one of the certificate'), 'a key of another certificate is told')

    # ---- many at once, and a drain with connections open
    failures = []

    def worker(number):
        try:
            for i in range(5):
                c = server.secure()
                b = json.dumps({'w': number, 'i': i}).encode()
                if c.request('POST', '/hooks/repo', b, github(b, SECRET)).status != 200:
                    failures.append('status')
                c.close()
        except Exception as problem:
            failures.append(repr(problem))
    workers = [threading.Thread(target=worker, args=(n,)) for n in range(16)]
    [w.start() for w in workers]
    [w.join() for w in workers]
    is_equal(failures, [], 'sixteen clients, eighty handshakes')
    counts = server.metrics()
    ok(counts['becket_tls_handshakes_total{outcome="full"}'] > 80 and counts['becket_tls_handshakes_total{outcome="failed"}'] > 5
       and counts['becket_tls_handshakes_total{outcome="resumed"}'] >= 5, 'metrics count them')
    dripping.join()
    took = took[0]
    ok(8 < took < 14, 'a byte a second: ended after %.1f s' % took)
    idle = server.secure()
    ok(idle.request('GET', '/health/live').status == 200, 'one that is idle then')
    idle.sock.suppress_ragged_eofs = False
    server.process.send_signal(signal.SIGTERM)
    is_equal(idle.sock.recv(1), b'', 'hears close_notify')
    is_equal(server.process.wait(10), 0, 'a drain with open connections')

# ---- client certificates, and the admin listener
client = certs.make('client', usage='clientAuth', san=None)
stranger_ca = certs.ca('stranger')
stranger = certs.make('stranger1', usage='clientAuth', san=None, ca='stranger')
install(ecdsa)
with TlsServer(certs, ['--tls-cert', live[0], '--tls-key', live[1], '--tls-client-ca', ca], admin_host='0.0.0.0') as server:
    ok('tls="both listeners"' in server.log_text(), 'an admin listener for others has TLS too')
    ctx = context(ca, client)
    c = server.secure(ctx=ctx)
    ok(c.request('GET', '/health/live').status == 200, 'a known client')
    session = c.sock.session
    c.close()
    refused('no client certificate', server.port, context(ca))
    ok(server.wait_log('the client showed no certificate, one is required'), 'it is told in the log')
    time.sleep(1.1)
    refused('a stranger', server.port, context(ca, stranger))
    ok(server.wait_log('unknown CA'), 'and so is the stranger')
    time.sleep(1.1)
    refused('a server as client', server.port, context(ca, ecdsa))
    ok(server.wait_log('the certificate is not for a client (wrong usage'), 'and the wrong usage')
    # Commands have no client certificate yet: the admin listener asks for one as well.
    code, out, err = cli(server, 'get', 'event-sources', '--server', 'https://localhost:%d' % server.admin, '--data',
                         server.data, '--ca-file', ca)
    ok(code == 1 and err, 'no command without a client certificate')

with TlsServer(certs, ['--tls-cert', live[0], '--tls-key', live[1]], admin_host='0.0.0.0') as server:
    code, out, err = cli(server, 'get', 'event-sources', '--server', 'https://localhost:%d' % server.admin, '--data',
                         server.data, '--ca-file', ca, '-o', 'json')
    ok(code == 0 and 'items' in json.loads(out), 'a command by https')
    code, out, err = cli(server, 'get', 'event-sources', '--server', 'http://localhost:%d' % server.admin, '--data',
                         server.data)
    ok(code == 1 and 'is it https://?' in err, 'by http it gets a hint')

# ---- a certificate that ends while the server runs
brief = certs.make('brief', end=4)
with TlsServer(certs, ['--tls-cert', brief[0], '--tls-key', brief[1]]) as server:
    expiry = server.metrics()['becket_tls_certificate_expiry_timestamp_seconds']
    ok(0 < expiry - time.time() < 5 and server.wait_log('a certificate expires soon'), 'said at the start, and in the metrics')
    ok(server.wait_log('a certificate has expired'), 'and when it has ended')

# ---- mistakes at the start
with tempfile.TemporaryDirectory() as data:
    def start(*options):
        done_ = subprocess.run([BECKET, 'serve', '--data', data, '--listen', '127.0.0.1:%d' % free_port(), '--admin',
                                '127.0.0.1:%d' % free_port()] + list(options), capture_output=True, timeout=20)
        return done_.returncode, done_.stderr.decode()

    code, err = start('--tls-cert', live[0])
    ok(code in (1, 2) and 'in pairs' in err, 'a certificate without a key')
    code, err = start('--tls-cert', certs.path('nothing.pem'), '--tls-key', live[1])
    ok(code == 1 and 'nothing.pem: not found' in err, 'no such file')
    os.chmod(live[1], 0o644)
    code, err = start('--tls-cert', live[0], '--tls-key', live[1])
    ok(code == 1 and 'chmod 600' in err, 'a key that others may read')
    os.chmod(live[1], 0o600)
    code, err = start('--tls-cert', live[0], '--tls-key', rsa[1])
    ok(code == 1 and 'not the one of the certificate' in err, 'a key of another certificate')
    code, err = start('--tls-cert', client[0], '--tls-key', client[1])
    ok(code == 1 and 'not for a server' in err, "a client's certificate")

done()
