#!/usr/bin/env python3
"""Deliveries over TLS with a CA and a client certificate of the destination's own: believed and shown to whom they are
meant for, and nobody else; openssl as the judge; rotation, mistakes told where they stand."""
import json, os, signal, socket, ssl, struct, subprocess, sys, tempfile, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from certs import Certs
from sink import Sink

scratch = tempfile.mkdtemp()
certs = Certs(scratch)
certs.ca('private')
certs.ca('clients')
certs.ca('stranger')
certs.make('server', ca='private')
certs.key('mute')
certs.run('req', '-x509', '-new', '-key', 'mute.key', '-subj', '/CN=mute', '-days', '30', '-addext', 'keyUsage=critical,digitalSignature',
          '-out', 'mute.pem')
for name in ('one', 'two'):
    certs.make(name, san=None, ca='clients', usage='clientAuth')
certs.make('rsa', san=None, ca='clients', usage='clientAuth', kind='rsa:2048')
certs.make('large', san=None, ca='clients', usage='clientAuth', kind='rsa:4096')
certs.make('unknown', san=None, ca='stranger', usage='clientAuth')


def pem(name):
    with open(certs.path(name)) as f:
        return f.read()


def block(text, indent):
    return '|\n' + ''.join(' ' * indent + line + '\n' for line in text.splitlines())


def secret(name, **data):
    return '---\nkind: Secret\nmetadata: {name: %s}\nspec:\n  data:\n%s' % (
        name, ''.join('    %s: %s' % (key, block(text, 6)) for key, text in data.items()))


def client(name):
    return secret('client-' + name, cert=pem(name + '.pem'), key=pem(name + '.key'))


def from_secret(name, key):
    return '{valueFrom: {secret: {name: %s, key: %s}}}' % (name, key)


SOURCE = '''
kind: EventSource
metadata: {name: repo}
spec:
  type: github
  path: repo
  verification: {secrets: [{value: s3cr3t}]}
'''


def destination(name, url, ca=None, identity=None, more=''):
    tls = ''
    if ca:
        tls += '    ca: %s' % (block(pem(ca + '.pem'), 6) if '{' not in ca else ca + '\n')
    if identity:
        tls += '    clientCertificate: %s\n    clientKey: %s\n' % (from_secret('client-' + identity, 'cert'),
                                                                  from_secret('client-' + identity, 'key'))
    return '''---
kind: Destination
metadata: {name: %s}
spec:
  url: %s
  allowPrivate: true
  retry: {schedule: [300ms, 500ms, 1s, 1s, 1s], jitter: 0}
%s%s---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, url, '  tls:\n' + tls if tls else '', more, name, name)


def post(server, count=1):
    ids = []
    for i in range(count):
        body = json.dumps({'n': i}).encode()
        answer = server.post('/hooks/repo', body, github(body, 's3cr3t'))
        assert answer.status == 200, answer
        ids.append(answer.json['id'])
    return ids


def why(server, name, seconds=10):
    """What the last failed attempt at a destination said."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = server.api('GET', '/api/v1/destinations/' + name).json['status']
        last = status.get('delivery', {}).get('lastAttempt', {})
        if last.get('reason'):
            return last['reason']
        time.sleep(0.1)
    return json.dumps(status)


def server_context(verify=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.path('server.pem'), certs.path('server.key'))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if verify:
        context.load_verify_locations(certs.path(verify + '.pem'))
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def mistakes(server):
    good = pem('private.pem')
    cases = [
        ('a CA that is no PEM', 'tls: {ca: nonsense}', 'spec.tls.ca', 'no certificate in it'),
        ('a CA that may not issue', 'tls: {ca: %s}' % json.dumps(pem('mute.pem')), 'spec.tls.ca', 'its keyUsage does not let it issue'),
        ('a CA that is cut', 'tls: {ca: "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n"}',
         'spec.tls.ca', 'ca:1'),
        ('a key in the open', 'tls: {clientCertificate: %s, clientKey: abc}' % from_secret('client-one', 'cert'),
         'spec.tls.clientKey', 'keep it in a Secret'),
        ('a certificate without a key', 'tls: {clientCertificate: %s}' % from_secret('client-one', 'cert'),
         'spec.tls.clientKey', 'is missing'),
        ('a key without a certificate', 'tls: {clientKey: %s}' % from_secret('client-one', 'key'),
         'spec.tls.clientCertificate', 'is missing'),
        ('a key of another certificate', 'tls: {clientCertificate: %s, clientKey: %s}' % (
            from_secret('client-one', 'cert'), from_secret('client-two', 'key')), 'spec.tls.clientKey', 'not the one'),
        ('a certificate in the place of the key', 'tls: {clientCertificate: %s, clientKey: %s}' % (
            from_secret('client-one', 'cert'), from_secret('client-one', 'cert')), 'spec.tls.clientKey',
         'no private key'),
        ('a server\'s certificate', 'tls: {clientCertificate: %s, clientKey: %s}' % (
            from_secret('of-server', 'cert'), from_secret('of-server', 'key')), 'spec.tls.clientCertificate',
         'not for a client'),
        ('a Secret that is missing', 'tls: {ca: %s}' % from_secret('nowhere', 'ca'),
         'spec.tls.ca.valueFrom.secret', 'no Secret'),
        ('an unknown field', 'tls: {insecure: true}', 'spec.tls.insecure', ''),
    ]
    server.apply(client('one') + client('two') +
                 secret('of-server', cert=pem('server.pem'), key=pem('server.key')))
    for name, tls, field, words in cases:
        answer = server.api('POST', '/api/v1/apply', (
            'kind: Destination\nmetadata: {name: wrong}\nspec:\n  url: https://127.0.0.1:1/\n  %s\n' % tls).encode())
        found = [d for d in answer.json.get('details', []) if d['field'] == field]
        ok(answer.status == 400 and found and words in found[0]['message'], '%s: told at %s (%s)' % (
            name, field, found[0]['message'] if found else answer.body))
    answer = server.api('POST', '/api/v1/apply', (
        'kind: Destination\nmetadata: {name: wrong}\nspec:\n  url: http://127.0.0.1:1/\n  tls:\n    ca: %s' %
        block(good, 6)).encode())
    ok(answer.status == 400 and answer.json['details'][0]['field'] == 'spec.tls', 'and tls without https')
    is_equal(server.api('GET', '/api/v1/destinations/wrong').status, 404, 'nothing of it was kept')


def rotated():
    """--ca-file and the system's authorities are read again on SIGHUP, also in the sandbox: whom they name then is believed. A file
    that is wrong changes nothing."""
    elsewhere = tempfile.TemporaryDirectory()
    ca_file, store = certs.path('rotated.pem'), os.path.join(elsewhere.name, 'system.pem')
    def write(path, text):
        with open(path, 'w') as f:
            f.write(text)
    def hangup(words):
        before = server.log_text().count(words)
        server.process.send_signal(signal.SIGHUP)
        ok(when(lambda: server.log_text().count(words) > before), 'SIGHUP: ' + words)
    def refused():
        return [d['reason'] for d in server.api('GET', '/api/v1/deliveries?destination=app&state=failed').json['items']]
    write(ca_file, pem('stranger.pem'))
    write(store, pem('stranger.pem'))
    with Sink(context=server_context()) as sink, Server(threads=1, options=['--ca-file', ca_file], start=False) as server:
        server.start(environment=dict(os.environ, SSL_CERT_FILE=store))
        sink.manner('/app', headers=['Connection: close'])
        server.apply(SOURCE + destination('app', sink.url('/app')).replace('[300ms, 500ms, 1s, 1s, 1s]', '[1h, 1h, 1h, 1h]'))
        ids = post(server)
        ok(when(lambda: len(refused()) == 1 and 'authority' in refused()[0]), 'an authority that is not in --ca-file')
        write(ca_file, pem('stranger.pem') + pem('private.pem'))
        hangup('other certificate authorities are believed')
        server.cli('resume', 'app')
        ok(when(lambda: sink.ids('/app') == ids), 'is believed once it is, without a restart')
        write(ca_file, 'nonsense')
        hangup('certificate authorities not reloaded, the old ones stay')
        ids += post(server)
        ok(when(lambda: sink.ids('/app') == ids), 'and still with a file that is wrong')
        write(ca_file, pem('stranger.pem'))
        hangup('other certificate authorities are believed')
        ids += post(server)
        ok(when(lambda: len(refused()) == 2 and 'authority' in refused()[0]),
           'no longer when it is taken out: no session of before is offered')
        write(store, pem('private.pem'))
        hangup('other certificate authorities are believed')
        server.cli('resume', 'app')
        ok(when(lambda: sink.ids('/app') == ids), 'again, when it is one of the system\'s')
        os.unlink(store)
        hangup('certificate authorities not reloaded, the old ones stay')


def twins(server):
    """An authority that was made anew under its old name: whoever has a certificate of either is believed."""
    for name in ('old', 'new'):
        certs.key(name)
        certs.run('req', '-x509', '-new', '-key', name + '.key', '-subj', '/CN=one name', '-days', '30', '-addext',
                  'keyUsage=critical,keyCertSign,cRLSign', '-out', name + '.pem')
        certs.make('by-' + name, ca=name)
    both = json.dumps(pem('old.pem') + pem('new.pem'))
    for name in ('old', 'new'):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certs.path('by-%s.pem' % name), certs.path('by-%s.key' % name))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with Sink(context=context) as sink:
            server.apply(destination('twin-' + name, sink.url('/in'), more='  tls: {ca: %s}\n' % both))
            event = post(server)[0]
            ok(when(lambda: event in sink.ids('/in')), 'two authorities of one name: the %s one' % name)
            server.api('DELETE', '/api/v1/routes/to-twin-' + name)


def trust(server):
    with Sink(context=server_context()) as sink:
        server.apply(SOURCE + secret('pki', ca=pem('private.pem')) +
                     destination('own-ca', sink.url('/own-ca'), 'private') +
                     destination('secret-ca', sink.url('/secret-ca'), from_secret('pki', 'ca')) +
                     destination('wrong-ca', sink.url('/wrong-ca'), 'stranger') +
                     destination('default-ca', sink.url('/default-ca')))
        post(server, 3)
        ok(sink.wait('/own-ca', 3), 'a private CA is believed where the destination names it')
        ok(sink.wait('/secret-ca', 3), 'also from a Secret')
        for name in ('wrong-ca', 'default-ca'):
            said = why(server, name)
            ok('authority' in said or 'unknown' in said or 'self-signed' in said,
               '%s: the attempt says why (%s)' % (name, said))
            is_equal(len(sink.got('/' + name)), 0, 'and nothing was sent to one origin with other trust')
        numbers = [{r.connection for r in sink.got('/' + name)} for name in ('own-ca', 'secret-ca')]
        ok(not numbers[0] & numbers[1], 'each has connections of its own')
        spec = server.api('GET', '/api/v1/destinations/own-ca').json['spec']
        is_equal(spec['tls']['ca'], pem('private.pem'), 'a CA can be read back')
        # A change that leaves the trust alone leaves connections warm.
        before = sink.connections  # one of them may have been opened for an event that another one took
        server.apply(destination('own-ca', sink.url('/own-ca'), 'private', more='  timeout: 9s\n'))
        post(server, 4)
        ok(sink.wait('/own-ca', 7), 'after another change')
        ok(any(r.connection <= before for r in sink.got('/own-ca')[3:]), 'connections are still used')
        # The CA of the wrong one is mended: what failed arrives.
        server.apply(destination('wrong-ca', sink.url('/wrong-ca'), 'private'))
        ok(sink.wait('/wrong-ca', 7), 'a mended CA: what was refused arrives')
        server.api('DELETE', '/api/v1/routes/to-default-ca')
        server.api('DELETE', '/api/v1/destinations/default-ca')
        is_equal(server.stop(), 0, 'stop')
        server.start()
        post(server)
        ok(sink.wait('/secret-ca', 8), 'and a start')
        for name in ('own-ca', 'secret-ca', 'wrong-ca'):
            server.api('DELETE', '/api/v1/routes/to-' + name)
            is_equal(server.api('DELETE', '/api/v1/destinations/' + name).status // 100, 2, 'removed')
        ok(when(lambda: len(sink.closed) == sink.connections, 5), 'a removed destination leaves no connection open')


def identities(server):
    with Sink(context=server_context('clients')) as sink:
        server.apply(client('one') + client('two') + client('rsa') + client('large') + client('unknown') +
                     destination('none', sink.url('/none'), 'private') +
                     ''.join(destination(name, sink.url('/' + name), 'private', name)
                             for name in ('one', 'two', 'rsa', 'large', 'unknown')))
        post(server, 8)
        for name, shown in (('none', None), ('one', 'one'), ('two', 'two'), ('rsa', 'rsa'), ('large', 'large')):
            ok(sink.wait('/' + name, 8), '%s: arrives' % name)
            is_equal({r.peer for r in sink.got('/' + name)}, {shown}, 'with the certificate that is its own')
        said = why(server, 'unknown')
        ok('the peer refused the handshake: unknown CA' in said and not sink.got('/unknown'), 'a certificate that the peer refuses: %s' % said)
        # Rotation: a Secret changes, every destination of it shows the new one.
        old = {r.connection for r in sink.got('/one')}
        certs.make('one', san=None, ca='clients', usage='clientAuth')
        certs.run('req', '-new', '-key', 'one.key', '-subj', '/CN=one again', '-out', 'one.csr')
        certs.run('ca', '-batch', '-notext', '-config', 'ca.conf', '-md', 'sha256', '-days', '3', '-extfile', 'one.ext',
                  '-in', 'one.csr', '-out', 'one.pem', '-cert', 'clients.pem', '-keyfile', 'clients.key')
        server.apply(client('one'))
        ok(when(lambda: old <= sink.closed, 3), 'a new certificate: connections of the old one are closed')
        post(server)
        ok(sink.wait('/one', 9), 'and the next event')
        is_equal(sink.got('/one')[-1].peer, 'one again', 'comes with the new one')
        answer = server.api('POST', '/api/v1/apply', secret('client-one', cert=pem('one.pem'), key='rubbish').encode())
        ok(answer.status == 400 and 'no private key' in answer.body.decode(),
           'a Secret that would break it is refused: %s' % answer.json['details'][0]['message'])
        text = server.api('GET', '/api/v1/destinations').body.decode()
        ok('PRIVATE KEY' not in text and 'client-one' in text, 'keys are never shown')
        # In the document itself: sealed.
        server.apply('''
kind: Destination
metadata: {name: two}
spec:
  url: %s
  allowPrivate: true
  tls:
    ca: %s    clientCertificate: %s    clientKey:
      value: %s''' % (sink.url('/two'), block(pem('private.pem'), 6), block(pem('two.pem'), 6),
                      block(pem('two.key'), 8)))
        post(server)
        ok(sink.wait('/two', 10), 'a key in the document works, too')
        spec = server.api('GET', '/api/v1/destinations/two').json['spec']
        is_equal(spec['tls']['clientKey'], {'value': '***'}, 'and is not shown')
        answer = server.api('POST', '/api/v1/apply', json.dumps(
            {'kind': 'Destination', 'metadata': {'name': 'two'}, 'spec': spec}).encode(),
            {'Content-Type': 'application/json'})
        is_equal(answer.json.get('results', [{}])[0].get('action'), 'unchanged', 'what was read can be applied again')
        for name in ('none', 'one', 'two', 'rsa', 'large', 'unknown'):
            server.api('DELETE', '/api/v1/routes/to-' + name)
            server.api('DELETE', '/api/v1/destinations/' + name)


def read_until(peer, text):
    """What it prints, up to this text, or to its end."""
    got = b''
    while text not in got:
        piece = os.read(peer.stdout.fileno(), 65536)
        if not piece:
            break
        got += piece
    return got


def openssl_peer(server, name, *options, identity=None):
    """openssl s_server, and an event that is delivered to it, once: the next try is a minute away."""
    port = free_port()
    peer = subprocess.Popen(['openssl', 's_server', '-accept', '127.0.0.1:%d' % port, '-tls1_2', '-cert', certs.path('server.pem'),
                             '-key', certs.path('server.key'), *options],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    read_until(peer, b'ACCEPT\n')
    server.apply(destination(name, 'https://127.0.0.1:%d/%s' % (port, name), 'private', identity).replace('[300ms, 500ms,', '[60s,'))
    return peer, post(server)[0]


def s_server(server):
    """openssl s_server -Verify: its answer is typed by hand."""
    def run(identity):
        return openssl_peer(server, 'judge', '-Verify', '2', '-verify_return_error', '-CAfile', certs.path('clients.pem'), '-naccept',
                            '1', identity=identity)

    peer, event = run('two')
    got = read_until(peer, b'"n": 0}')
    ok(b'POST /judge' in got and event.encode() in got, 'openssl s_server -Verify lets it in')
    peer.stdin.write(b'HTTP/1.1 204 No Content\r\n\r\n')
    peer.stdin.flush()
    ok(when(lambda: server.api('GET', '/api/v1/destinations/judge').json['status']['delivery'].get('delivered') == 1),
       'and its answer counts')
    server.api('DELETE', '/api/v1/routes/to-judge')
    server.api('DELETE', '/api/v1/destinations/judge')
    peer.stdin.close()
    peer.wait(10)

    peer, event = run(None)
    said = why(server, 'judge')
    out = peer.communicate(timeout=10)[0].decode()
    ok('the peer refused the handshake' in said, 'without a certificate the attempt says: %s' % said)
    ok('peer did not return a certificate' in out, 'openssl saw none')


def renegotiates(server):
    """A peer that asks for another handshake behind the request, as some do for a certificate: it has none, and the attempt says so."""
    peer, _ = openssl_peer(server, 'again')
    read_until(peer, b'"n": 0}')
    peer.stdin.write(b'R\n')
    peer.stdin.flush()
    said = why(server, 'again')
    ok('another handshake' in said and 'client certificate' in said, 'a peer that negotiates again: %s' % said)
    peer.kill()
    peer.communicate()
    server.api('DELETE', '/api/v1/routes/to-again')
    server.api('DELETE', '/api/v1/destinations/again')


def hasty(server):
    """A peer that refuses in the middle of our flight and resets the connection: what it said counts."""
    listener = socket.create_server(('127.0.0.1', 0), backlog=16)
    context = server_context()

    def serve():
        for _ in range(12):
            peer = listener.accept()[0]
            received, sending = ssl.MemoryBIO(), ssl.MemoryBIO()
            engine = context.wrap_bio(received, sending, server_side=True)
            received.write(peer.recv(65536))
            try:
                engine.do_handshake()
            except ssl.SSLWantReadError:
                pass
            peer.sendall(sending.read())
            peer.recv(1)  # the first record of the answer; the others are on their way
            peer.sendall(bytes.fromhex('15030300020230'))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            peer.close()

    threading.Thread(target=serve, daemon=True).start()
    names = ['hasty%d' % i for i in range(12)]
    server.apply(''.join(destination(name, 'https://127.0.0.1:%d/%s' % (listener.getsockname()[1], name), 'private')
                         .replace('[300ms, 500ms,', '[60s,') for name in names))
    post(server)
    said = [why(server, name) for name in names]
    ok(all('the peer refused the handshake: unknown CA' in s for s in said),
       'an alert and a reset in the middle of the handshake: the alert counts (%s)' % ' | '.join(sorted(set(said))))
    for name in names:
        server.api('DELETE', '/api/v1/routes/to-' + name)
        server.api('DELETE', '/api/v1/destinations/' + name)


rotated()
with Server(options=['--ca-file', certs.path('ca.pem')], threads=1) as server:
    mistakes(server)
    trust(server)
    twins(server)
    identities(server)
    s_server(server)
    renegotiates(server)
    hasty(server)
    is_equal(server.stop(), 0, 'stops')
done()
