#!/usr/bin/env python3
"""Certificates that SNS and PayPal publish, fetched through a proxy that plays the internet, with an authority of our own
(--ca-file): taken when they lead to it, are valid and made out to the provider; else refused, each with its reason. An issuer's
certificate that is not sent along is fetched from where the certificate says."""
import os, ssl, subprocess, sys, tempfile, threading, zlib
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from certs import Certs

work = tempfile.mkdtemp(prefix='becket-certificates-')
certs = Certs(work)
certs.make('hosts', san='DNS:api.paypal.com,DNS:api.sandbox.paypal.com,DNS:sns.eu-central-1.amazonaws.com,'
           'DNS:sns.cn-north-1.amazonaws.com.cn')
certs.ca('stranger')
PAYPAL = 'DNS:messageverificationcerts.paypal.com'
# An authority between, as public ones have it.
certs.key('between')
with open(certs.path('between.ext'), 'w') as f:
    f.write('basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n')
certs.run('req', '-new', '-key', 'between.key', '-subj', '/CN=between', '-out', 'between.csr')
certs.run('x509', '-req', '-in', 'between.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-set_serial', '77', '-days', '30', '-extfile',
          'between.ext', '-out', 'between.pem')
certs.run('x509', '-in', 'between.pem', '-outform', 'DER', '-out', 'between.cer')
files = {}  # path: bytes; what the internet has


certs.key('one', 'rsa:2048')
certs.key('two', 'rsa:2048')
make_key = certs.key


def copy_key(name, kind='prime256v1'):
    """Making one for each takes long."""
    if kind == 'rsa:2048':
        shutil.copy(certs.path(('two' if name == 'pp-sandbox' else 'one') + '.key'), certs.path(name + ".key"))
    else:
        make_key(name, kind)


certs.key = copy_key


def publish(name, path, ca='ca', chain=(), **more):
    """A certificate for signing, at this path."""
    certs.make(name, kind='rsa:2048', ca=ca, **more)
    files[path] = b''.join(open(certs.path(n + '.pem'), 'rb').read() for n in (name,) + tuple(chain))


class Internet:
    """An HTTP proxy that ends TLS itself, whatever host is asked for."""

    def __init__(self):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certs.path('hosts.pem'), certs.path('hosts.key'))
        self.asked = []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = 'http://127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection = self.listener.accept()[0]
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            first = self.head(connection)
            if first and first[0] == 'CONNECT':
                connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
                connection = self.context.wrap_socket(connection, server_side=True)
                host, first = 'https://' + first[1].rsplit(':', 1)[0], self.head(connection)
            else:
                host = ''
            while first:
                url = host + first[1]
                self.asked.append(url)
                body = files.get(url)
                connection.sendall(b'HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s' % (
                    b'404 Not Found' if body is None else b'200 OK', len(body or b''), body or b''))
                first = self.head(connection)
        except (OSError, ssl.SSLError):
            pass
        finally:
            connection.close()

    def head(self, connection):
        data = b''
        while b'\r\n\r\n' not in data:
            more = connection.recv(4096)
            if not more:
                return None
            data += more
        return data.decode('latin-1').split('\r\n')[0].split(' ')


def signature(name, text):
    return base64.b64encode(subprocess.run(['openssl', 'dgst', '-sha256', '-sign', certs.path(name + ".key")], input=text,
                                           stdout=subprocess.PIPE, check=True).stdout).decode()


count = 0


def paypal(server, name, url):
    global count
    count += 1
    body = b'{"id":"WH-%d","event_type":"PAYMENT.SALE.COMPLETED"}' % count
    when = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())
    text = '%d|%s|hook-id|%d' % (count, when, zlib.crc32(body))
    return server.post('/hooks/paypal', body, {
        'PAYPAL-TRANSMISSION-ID': str(count), 'PAYPAL-TRANSMISSION-TIME': when, 'PAYPAL-CERT-URL': url,
        'PAYPAL-AUTH-ALGO': 'SHA256withRSA', 'PAYPAL-TRANSMISSION-SIG': signature(name, text.encode())})


def sns(server, name, url):
    global count
    count += 1
    values = {'Message': 'hello', 'MessageId': 'm-%d' % count, 'Timestamp': '2026-01-01T00:00:00.000Z',
              'TopicArn': 'arn:aws:sns:eu-central-1:1:t', 'Type': 'Notification'}
    text = ''.join('%s\n%s\n' % pair for pair in sorted(values.items()))
    body = dict(values, SignatureVersion='2', Signature=signature(name, text.encode()), SigningCertURL=url)
    return server.post('/hooks/sns', json.dumps(body).encode(), {'x-amz-sns-message-type': 'Notification'})


internet = Internet()
AIA = ('authorityInfoAccess=OCSP;URI:http://ocsp.example/,caIssuers;URI:http://ca.example/between.cer',)
API, SANDBOX = 'https://api.paypal.com/v1/notifications/certs/', 'https://api.sandbox.paypal.com/v1/notifications/certs/'
SNS, CHINA = 'https://sns.eu-central-1.amazonaws.com/', 'https://sns.cn-north-1.amazonaws.com.cn/'
EURO = 'DNS:sns.eu-central-1.amazonaws.com'
files['http://ca.example/between.cer'] = open(certs.path('between.cer'), 'rb').read()
# name of the key, URL, send, what is said when it is refused
CASES = [
    ('pp-good', API + 'CERT-1', paypal, None, dict(san=PAYPAL)),
    ('pp-chain', API + 'CERT-2', paypal, None, dict(san=PAYPAL, ca='between', chain=['between'])),
    ('pp-root', API + 'CERT-3', paypal, None, dict(san=PAYPAL, ca='between', chain=['between', 'ca'])),
    ('pp-fetched', API + 'CERT-4', paypal, None, dict(san=PAYPAL, ca='between', extra=AIA)),
    ('pp-sandbox', SANDBOX + 'CERT-5', paypal, None, dict(san='DNS:messageverificationcerts.sandbox.paypal.com')),
    ('pp-old', API + 'CERT-6', paypal, 'the certificate has expired', dict(san=PAYPAL, start=-90000, end=-3600)),
    ('pp-early', API + 'CERT-7', paypal, 'the certificate is not valid yet', dict(san=PAYPAL, start=3600)),
    ('pp-stranger', API + 'CERT-8', paypal, 'unknown CA', dict(san=PAYPAL, ca='stranger')),
    ('pp-self', API + 'CERT-9', paypal, 'self-signed', dict(san=PAYPAL, ca=None)),
    ('pp-name', API + 'CERT-10', paypal, 'not for messageverificationcerts', dict(san='DNS:www.example.com')),
    ('pp-broken', API + 'CERT-11', paypal, 'unknown CA', dict(san=PAYPAL, ca='between')),
    ('pp-lost', API + 'CERT-12', paypal, 'it answered 404',
     dict(san=PAYPAL, ca='between', extra=(AIA[0].replace('between.cer', 'nothing.cer'),))),
    ('pp-client', API + 'CERT-13', paypal, 'not for a server', dict(san=PAYPAL, usage='clientAuth')),
    ('sns-good', SNS + 'a.pem', sns, None, dict(san='DNS:sns.amazonaws.com', ca='between', extra=AIA)),
    ('sns-region', SNS + 'b.pem', sns, None, dict(san='DNS:sns-signing.eu-central-1.amazonaws.com,' + EURO)),
    ('sns-china', CHINA + 'c.pem', sns, None, dict(san='DNS:sns-cn-north-1.amazonaws.com.cn')),
    ('sns-other', SNS + 'd.pem', sns, 'not for sns.amazonaws.com but for sns.us-east-1', dict(san='DNS:sns.us-east-1.amazonaws.com')),
    ('sns-old', SNS + 'e.pem', sns, 'the certificate has expired', dict(san='DNS:sns.amazonaws.com', start=-90000, end=-60)),
    ('sns-stranger', SNS + 'f.pem', sns, 'unknown CA', dict(san='DNS:sns.amazonaws.com', ca='stranger')),
]
for name, url, send, why, how in CASES:
    publish(name, url, **how)

environment = dict({k: v for k, v in os.environ.items() if 'proxy' not in k.lower()}, https_proxy=internet.url,
                   http_proxy=internet.url, SSL_CERT_FILE=certs.path('ca.pem'))
server = Server(threads=1, options=['--ca-file', certs.path('ca.pem')], start=False)
try:
    server.start(environment=environment)
    server.apply("""
kind: EventSource
metadata: {name: paypal}
spec: {type: paypal, path: paypal, verification: {secrets: [{value: hook-id}]}}
---
kind: EventSource
metadata: {name: sns}
spec: {type: aws-sns, path: sns, verification: {secrets: [{value: "arn:aws:sns:eu-central-1:1:t"}]}}
""")
    for name, url, send, why, how in CASES:
        log = len(server.log_text())
        answer = send(server, name, url)
        if why is None:
            good = ok(answer.status == 200, '%s: taken' % name)
        else:
            good = ok(answer.status == 503 and answer.json['code'] == 'key_unavailable' and why in server.log_text()[log:],
                      '%s: refused: %s' % (name, why))
        if not good:
            diag('%d %r' % (answer.status, answer.body))
            diag(server.log_text()[log:])
    # ---- becket send with a key of ours, whose certificate lies where the provider's do
    for name, type, secret, url, status in (
            ('pp-good', 'paypal', 'hook-id', API + 'CERT-1', 200), ('sns-good', 'aws-sns', 'arn:aws:sns:eu-central-1:1:t', SNS + 'a.pem', 200),
            ('sns-china', 'aws-sns', 'arn:aws:sns:eu-*-1:1:t', CHINA + 'c.pem', 401), ('pp-good', 'paypal', 'another', API + 'CERT-1', 401),
            ('pp-sandbox', 'paypal', 'hook-id', API + 'CERT-1', 401), ('sns-stranger', 'aws-sns', 'arn:aws:sns:eu-central-1:1:t', SNS + 'f.pem', 503),
            ('pp-good', 'paypal', 'hook-id', 'https://pay.example/cert', None), ('sns-good', 'aws-sns', '*', 'https://sns.example.com/a.pem', None),
            ('sns-good', 'aws-sns', '*', SNS + 'a', None)):
        for body in ('{"text":"grüße \\u00fc \\n"}', 'hello\n"you"\t\\'):
            p = subprocess.run([BECKET, 'send', 'http://127.0.0.1:%d/hooks/%s' % (server.port, 'sns' if 'sns' in type else type), '--type', type,
                                '--secret', secret, '--private-key', certs.path(name + ".key"), '--cert-url', url, '--body', '-'],
                               input=body.encode(), capture_output=True, timeout=60)
            if not ok((b'no host of the provider' in p.stderr) if status is None else p.stdout.startswith(b'%d ' % status),
                      'becket send as %s, %s: %s' % (type, url, status)):
                diag('%r %r' % (p.stdout, p.stderr))
    event = server.events('source=sns&state=accepted')[0]
    is_equal(json.loads(server.body_of(event['id']))['Message'], 'hello\n"you"\t\\', 'the body is what the notification says')
    before = list(internet.asked)
    ok(send(server, 'sns-stranger', SNS + 'f.pem').status == 503 and paypal(server, 'pp-good', API + 'CERT-1').status == 200 and
       paypal(server, 'pp-fetched', API + 'CERT-4').status == 200 and internet.asked == before,
       'verdicts are kept, good and bad: nothing is fetched again')
    is_equal(before.count('http://ca.example/between.cer'), 2, "an issuer's was fetched for who did not send it, once each")
    is_equal(paypal(server, 'pp-sandbox', API + 'CERT-1').status, 401, "another key than the certificate's")
    for url in ('https://evil.example/cert', 'https://api.paypal.com.evil.example/c', 'http://api.paypal.com/c',
                'https://api.paypal.com:8443/c', 'https://api.paypal.com@evil.example/c'):
        is_equal(paypal(server, 'pp-good', url).status, 401, 'never fetched: ' + url)
    is_equal(internet.asked, before, 'indeed')
finally:
    server.stop()
    shutil.rmtree(server.data, ignore_errors=True)
    shutil.rmtree(work)
done()
