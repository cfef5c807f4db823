#!/usr/bin/env python3
"""Where outgoing calls must not go, whatever the name, its spelling or its name server says: addresses are checked when
they are connected to. Runs in a network of its own, where 1.2.3.4 is this machine too, so nothing leaves it."""
import http.server, os, socket, subprocess, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from dns_double import DnsDouble
from own_network import PUBLIC, enter

HAND = os.path.join(os.environ.get('BECKET_BUILD') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..',
                    'build'), 'asan', 'tests', 'unit', 'http_client_test')


class Target(http.server.BaseHTTPRequestHandler):
    """Notes at which of our addresses a call came in, and ends the connection after it."""
    reached = []
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        Target.reached.append((self.connection.getsockname()[0].replace('::ffff:', ''), self.headers['Host']))
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(b'ok')

    def log_message(self, *_):
        pass


class DualServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


def reached():
    seen, Target.reached[:] = list(Target.reached), []
    return seen


enter()
if not os.path.exists(HAND):
    skip_all('http_client_test is not built: make build/asan/tests/unit/http_client_test')

server = DualServer(('::', 0), Target)
port = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
dns = DnsDouble()


def calls(*lines):
    """What the hand says of each call: id -> (error, stage, status, why)."""
    done = subprocess.run([HAND, '--script', '-', '--resolver', dns.address], input='\n'.join(lines) + '\nwait\n',
                          capture_output=True, text=True, timeout=100)
    said = {}
    for line in done.stdout.splitlines():
        words = line.split(' ')
        if len(words) > 10 and '"' in line:
            said[words[0]] = (words[1], words[2], int(words[3]), line.split('"')[1])
    if done.returncode != 0:
        print('#', done.stdout[-2000:], done.stderr[-2000:])
    ok(done.returncode == 0 and 'closed 1' in done.stdout, 'the client closes in order')
    return said


# ---- every spelling of what is inside
inside = ['127.0.0.1', '127.1', '127.255.255.254', '0x7f.1', '0x7f000001', '0177.0.0.1', '2130706433', '0', '0.0.0.0',
          'localhost', 'LOCALHOST.', 'a.localhost', '127.0.0.1.', '[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]',
          '[0:0:0:0:0:ffff:127.0.0.1]', '[::127.0.0.1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '[fe80::1]', '[fd00::1]',
          '[fd00:ec2::254]', '10.0.0.1', '172.16.0.1', '192.168.1.1', '100.64.0.1', '169.254.169.254', '0xa9fea9fe',
          '2852039166', '198.18.0.1', '192.0.0.1', '224.0.0.1', '255.255.255.255', '240.0.0.1', '[ff02::1]']
said = calls(*['call c%d http://%s:%d/ private=0' % (i, host, port) for i, host in enumerate(inside)])
for i, host in enumerate(inside):
    got = said.get('c%d' % i, ('nothing',) * 4)
    ok(got[0] == 'FORBIDDEN' and got[1] == 'policy', '%s is refused: %s' % (host, got[3]))
is_equal(reached(), [], 'and nothing was connected to')

# ---- names that lead inside
names = {'loop4.test': ('A', '127.0.0.1'), 'loop6.test': ('AAAA', '::1'), 'zero.test': ('A', '0.0.0.0'),
         'alias.test': ('A', 'cname=inner.test 127.0.0.1'), 'mapped.test': ('AAAA', '::ffff:127.0.0.1'),
         'nat.test': ('AAAA', '64:ff9b::7f00:1'), 'metadata.google.internal': ('A', '169.254.169.254'),
         'both.test': ('A', '10.0.0.1,127.0.0.1')}
for name, (kind, answer) in names.items():
    dns.set(name, kind, answer)
said = calls(*['call %s http://%s:%d/ private=0' % (name, name, port) for name in names])
for name in names:
    got = said.get(name, ('nothing',) * 4)
    ok(got[0] == 'FORBIDDEN' and got[1] == 'policy', '%s is refused: %s' % (name, got[3]))
is_equal(reached(), [], 'and nothing was connected to')

# ---- a public name; one whose answer holds both; one that changes
dns.set('good.test', 'A', PUBLIC)
dns.set('mixed.test', 'A', '127.0.0.1,10.0.0.1,' + PUBLIC)
dns.set('six.test', 'A', PUBLIC)
dns.set('six.test', 'AAAA', '::1')
dns.set('noroute.test', 'A', PUBLIC)
dns.set('noroute.test', 'AAAA', '2606::1')
dns.set('rebind.test', 'A', PUBLIC + ' ttl=0', '127.0.0.1 ttl=0')
dns.set('back.test', 'A', '127.0.0.1 ttl=0', PUBLIC + ' ttl=0')
said = calls(*['call %s http://%s:%d/ private=0' % (name, name, port)
               for name in ('good.test', 'mixed.test', 'six.test', 'noroute.test', 'rebind.test', 'back.test')],
             'wait', 'call at-once http://rebind.test:%d/ private=0' % port, 'wait', 'sleep 5300',
             'call later http://rebind.test:%d/ private=0' % port, 'call again http://back.test:%d/ private=0' % port)
for name in ('good.test', 'mixed.test', 'six.test', 'noroute.test', 'rebind.test', 'at-once', 'again'):
    is_equal(said.get(name, ('nothing',))[0], 'OK', '%s is reached' % name)
is_equal(said['back.test'][0], 'FORBIDDEN', 'a name that leads inside is refused')
is_equal(said['later'][:2], ('FORBIDDEN', 'policy'), 'a name that now leads inside too: %s' % said['later'][3])
seen = reached()
is_equal({address for address, _ in seen}, {PUBLIC}, 'only the public address was connected to')
is_equal(sorted(host for _, host in seen).count('rebind.test:%d' % port), 2, 'and the Host line keeps the name')

# ---- allowed by the origin
said = calls('call yes http://loop4.test:%d/ private=1' % port, 'call never http://224.0.0.1:%d/ private=1' % port)
is_equal(said['yes'][0], 'OK', 'allowPrivate lifts it')
is_equal([address for address, _ in reached()], ['127.0.0.1'], 'for the address that was asked for')
is_equal(said['never'][0], 'FORBIDDEN', 'but no multicast: %s' % said['never'][3])

# ---- name servers that fail
for name, answer in {'servfail.test': 'servfail', 'hang.test': 'hang', 'garbage.test': 'garbage', 'loop.test': 'loop'}.items():
    dns.set(name, 'A', answer)
    dns.set(name, 'AAAA', answer)
dns.set('lies.test', 'A', 'wrongid ' + PUBLIC)
dns.set('big.test', 'A', 'truncate ' + PUBLIC)
said = calls(*['call %s http://%s:%d/ private=0' % (name, name, port)
               for name in ('servfail.test', 'hang.test', 'garbage.test', 'loop.test', 'absent.test', 'lies.test', 'big.test')],
             'call short http://hang.test:%d/ private=0 timeout=100' % port)
for name in ('servfail.test', 'hang.test', 'garbage.test', 'loop.test', 'absent.test', 'short'):
    got = said.get(name, ('nothing',) * 4)
    ok(got[0] in ('UNREACHABLE', 'TIMEOUT', 'PROTOCOL', 'NOT_FOUND') and got[1] in ('dns', 'queued'),
       '%s fails in words: %s, %s' % (name, got[0], got[3]))
is_equal(said['absent.test'][0], 'NOT_FOUND', 'what does not exist is called so')
is_equal([said['lies.test'][0], said['big.test'][0]], ['OK', 'OK'], 'lies do not hinder, nor long answers')
is_equal({address for address, _ in reached()}, {PUBLIC}, 'and are not believed')

done()
