#!/usr/bin/env python3
"""Only what was promised listens: in a network where nobody else lives, the sockets of all protocols are looked at. By default both
listeners are on loopback; a public ingress takes nothing of the admin side with it, and what is not served there is not there."""
import os, sys
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, '..', 'lib'))
from becket import *
from own_network import enter, PUBLIC

enter()


def address_of(text):
    """0100007F:1F90, words in the machine's order."""
    host, _, port = text.partition(':')
    raw = bytes.fromhex(host)
    if sys.byteorder == 'little':
        raw = b''.join(raw[i:i + 4][::-1] for i in range(0, len(raw), 4))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, raw), int(port, 16)


def sockets():
    """{(protocol, address, port): how many}: TCP that listens, all of UDP and raw."""
    found = {}
    for protocol in ('tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'raw', 'raw6'):
        path = '/proc/net/' + protocol
        if not os.path.exists(path):
            continue
        with open(path) as f:
            for line in f.read().splitlines()[1:]:
                fields = line.split()
                if protocol.startswith('tcp') and fields[3] != '0A':
                    continue
                key = (protocol.rstrip('6'),) + address_of(fields[1])
                found[key] = found.get(key, 0) + 1
    return found


def unix_listeners():
    """Paths, and abstract names with @."""
    with open('/proc/net/unix') as f:
        lines = [line.split() for line in f.read().splitlines()[1:]]
    return [fields[7] for fields in lines if len(fields) > 7 and int(fields[3], 16) & 0x10000]


is_equal(sockets(), {}, 'nobody listens here before')

# As it comes: no option but where the data is.
base = os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests')
data = tempfile.mkdtemp(prefix='data-', dir=base)
with open(data + '.log', 'wb') as log:
    process = subprocess.Popen([BECKET, 'serve', '--data', data, '--threads', '3', '--segment-bytes', '16M'], stdout=log, stderr=log)
    end = time.monotonic() + 20
    while b' ready ' not in open(data + '.log', 'rb').read() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    is_equal(sockets(), {('tcp', '127.0.0.1', 8080): 3, ('tcp', '127.0.0.1', 8081): 1}, 'by default: loopback, one for each thread, one admin')
    listening = [name for name in unix_listeners() if name.startswith('@') or 'becket' in name]
    ok(len(listening) <= 1 and not [n for n in listening if n.startswith('@')], 'no abstract socket, which every user could reach: %r' % listening)
    process.terminate()
    is_equal(process.wait(30), 0, 'it stops')
    is_equal(sockets(), {}, 'and nobody listens')
shutil.rmtree(data)
os.unlink(data + '.log')


def from_outside(port, target, headers=None):
    connection = Connection.__new__(Connection)
    connection.sock = socket.create_connection((PUBLIC, port), timeout=5)
    connection.rest = b''
    try:
        return connection.request('GET', target, b'', headers)
    finally:
        connection.close()


# The ingress on all addresses, the admin listener where it was.
with Server(threads=2, start=False) as server:
    server.log = open(server.data + '.log', 'ab')
    server.process = subprocess.Popen([BECKET, 'serve', '--data', server.data, '--threads', '2', '--segment-bytes', '16M', '--listen', ':9090',
                                       '--admin', '127.0.0.1:9091'], stdout=server.log, stderr=server.log)
    server.port, server.admin = 9090, 9091
    end = time.monotonic() + 20
    while ' ready ' not in server.log_text() and time.monotonic() < end:
        time.sleep(0.02)
    is_equal(sockets(), {('tcp', '0.0.0.0', 9090): 2, ('tcp', '127.0.0.1', 9091): 1}, 'a public ingress: the admin listener is on loopback')
    is_equal(from_outside(9090, '/health/live').status, 200, 'health from outside')
    token = {'Authorization': 'Bearer ' + server.token}
    for target in ('/', '/metrics', '/api/v1/event-sources', '/api/v1/tokens', '/api/v1/openapi.json', '/integrations', '/auth/github'):
        answers = {from_outside(9090, target).status, from_outside(9090, target, token).status}
        is_equal(answers, {404}, 'nothing of the admin side there, with a token neither: ' + target)
    try:
        from_outside(9091, '/health/live')
        ok(False, 'the admin listener cannot be reached from outside')
    except OSError as error:
        ok(True, 'the admin listener cannot be reached from outside: %s' % error)
    # Work that goes out opens sockets, and none of them listens.
    server.apply(GITHUB_SOURCE + """
---
kind: Destination
metadata: {name: nowhere}
spec: {url: "http://localhost:9/in", allowPrivate: true}
---
kind: Route
metadata: {name: all}
spec: {from: [{source: repo}], to: [{destination: nowhere}]}
""")
    body = b'{}'
    server.post('/hooks/repo', body, github(body, SECRET))
    time.sleep(0.5)
    tcp = {key: count for key, count in sockets().items() if key[0] == 'tcp'}
    is_equal(tcp, {('tcp', '0.0.0.0', 9090): 2, ('tcp', '127.0.0.1', 9091): 1}, 'deliveries make no listener')
    is_equal(server.stop(), 0, 'it stops')
done()
