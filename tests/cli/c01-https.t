#!/usr/bin/env python3
"""Commands over https: the server's certificate is checked, and every refusal says why."""
import http.server, os, ssl, sys, tempfile, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from certs import Certs


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        answer = b'{"bytes":%d}' % len(body)
        self.send_response(200)
        if self.path in ('/end', '/cut'):
            self.close_connection = True
        else:
            self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        if self.path == '/end':
            try:
                self.connection.unwrap()  # close_notify
            except OSError:
                pass

    def do_GET(self):
        self.do_POST()

    def log_message(self, *args):
        pass


class Https:
    def __init__(self, pem, key, version=None, ciphers=None):
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.handle_error = lambda *a: None
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if ciphers:
            context.set_ciphers(ciphers)
        context.load_cert_chain(pem, key)
        if version:
            context.minimum_version = context.maximum_version = version
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_address[1]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


def send(url, *options, stdin=b'{}'):
    done = subprocess.run([BECKET, 'send', url, '--type', 'github', '--secret', 's', '--body', '-', '--timeout', '10s']
                          + list(options), input=stdin, capture_output=True,
                          env=dict(os.environ, BECKET_CA_FILE=''))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


with tempfile.TemporaryDirectory() as directory:
    certs = Certs(directory)
    ca = certs.path('ca.pem')
    for kind in ('prime256v1', 'secp384r1', 'rsa:2048'):
        with Https(*certs.make('good-' + kind.replace(':', ''), kind=kind)) as https:
            for host in ('localhost', '127.0.0.1'):
                code, out, err = send('https://%s:%d/x' % (host, https.port), '--ca-file', ca)
                is_equal((code, out, err), (0, '200 {"bytes":2}\n', ''), '%s, by %s' % (kind, host))
    with Https(*certs.make('good')) as https:
        code, out, err = send('https://localhost:%d/x' % https.port, '--ca-file', ca, stdin=b'[' + b'7,' * 700000 + b'7]')
        is_equal((code, out), (0, '200 {"bytes":1400003}\n'), 'a large body')
        code, out, err = send('https://localhost:%d/end' % https.port, '--ca-file', ca)
        is_equal((code, out), (0, '200 {"bytes":2}\n'), 'an answer that ends with the connection')
        code, out, err = send('https://localhost:%d/cut' % https.port, '--ca-file', ca)
        ok(code == 1 and 'close_notify' in err, 'the same without a goodbye may be half of it')
        code, out, err = send('https://localhost:%d/x' % https.port)
        ok(code == 1 and 'unknown CA' in err, 'the system does not know this authority')
        code, out, err = send('https://localhost:%d/x' % https.port, '--ca-file', certs.path('good.key'))
        ok(code == 1 and '--ca-file' in err and ':1: this is no certificate' in err, 'a key is no authority')
        code, out, err = send('https://localhost:%d/x' % https.port, '--ca-file', certs.path('none.pem'))
        ok(code == 1 and 'none.pem: not found' in err, 'a file that is not there')
        code, out, err = send('http://localhost:%d/x' % https.port)
        ok(code == 1 and 'is it https://?' in err, 'http:// to a port of TLS')

    refused = [
        ('expired', dict(start=-864000, end=-86400), 'the certificate expired on'),
        ('early', dict(start=86400), 'the certificate is not valid before'),
        ('name', dict(san='DNS:other.example'), 'not for localhost but for other.example'),
        ('noname', dict(san=None), 'names nobody'),
        ('self', dict(ca=None), 'self-signed and not one we trust; --ca-file FILE'),
        ('usage', dict(usage='clientAuth'), 'wrong usage'),
        ('mail', dict(usage='emailProtection'), 'wrong usage'),
        ('weakkey', dict(kind='rsa:1024'), 'weak key'),
        ('weakhash', dict(digest='sha1'), 'SHA-1'),
    ]
    for name, how, words in refused:
        pem, key = certs.make(name, **how)
        try:
            https = Https(pem, key, ciphers='DEFAULT:@SECLEVEL=0')
        except ssl.SSLError as problem:
            skip(name, 'this OpenSSL does not serve it: %s' % problem)
            continue
        with https:
            code, out, err = send('https://localhost:%d/x' % https.port, '--ca-file', ca)
            ok(code == 1 and out == '' and words in err, '%s is refused: %s' % (name, err.strip()))
    certs.ca('unknown')
    with Https(*certs.make('byunknown', ca='unknown')) as https:
        code, out, err = send('https://localhost:%d/x' % https.port, '--ca-file', ca)
        ok(code == 1 and 'unknown CA' in err, 'an unknown authority: %s' % err.strip())
    pem, key = certs.make('versions')
    for version, words in ((ssl.TLSVersion.TLSv1_1, 'TLS'), (ssl.TLSVersion.TLSv1_3, 'TLS 1.2 is not spoken by both')):
        try:
            https = Https(pem, key, version=version, ciphers='DEFAULT:@SECLEVEL=0')
        except (ssl.SSLError, ValueError) as problem:
            skip(str(version), 'this OpenSSL does not speak it: %s' % problem)
            continue
        with https:
            code, out, err = send('https://localhost:%d/x' % https.port, '--ca-file', ca)
            ok(code == 1 and words in err, '%s is refused: %s' % (version.name, err.strip()))
    with Https(pem, key, version=ssl.TLSVersion.TLSv1_2, ciphers='AES128-SHA256:ECDHE+AES:!AESGCM') as https:
        code, out, err = send('https://localhost:%d/x' % https.port, '--ca-file', ca)
        ok(code == 1 and 'no common version or suite' in err, 'only old suites: %s' % err.strip())

done()
