#!/usr/bin/env python3
"""A server whose destinations have names: name servers by --resolver, also wrong ones, and none of its events goes where
the policy forbids. In a network of its own, with the sandbox on."""
import os, signal, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from dns_double import DnsDouble
from own_network import PUBLIC, enter

SOURCE = '''
kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: s3cr3t}]}}
'''
reached = []    # (address of ours, name in the Host line, webhook-id)


def receive(connection):
    """One request a connection, so that each delivery asks for its name again."""
    try:
        data = b''
        while b'\r\n\r\n' not in data:
            more = connection.recv(65536)
            if not more:
                return
            data += more
        headers = dict(line.split(': ', 1) for line in data.split(b'\r\n\r\n')[0].decode().split('\r\n')[1:])
        headers = {name.lower(): value for name, value in headers.items()}
        address = connection.getsockname()[0].replace('::ffff:', '')
        reached.append((address, headers['host'].rsplit(':', 1)[0], headers.get('webhook-id')))
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    except OSError:
        pass
    finally:
        connection.close()


def listen():
    listener = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)

    def accept():
        while True:
            threading.Thread(target=receive, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def destination(name, port, private='false'):
    return '''---
kind: Destination
metadata: {name: %s}
spec:
  url: http://%s.test:%d/
  allowPrivate: %s
  retry: {schedule: [%s], jitter: 0.1}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, name, port, private, ', '.join(['1s'] * 32), name, name)


def post(server, count=1):
    ids = []
    for i in range(count):
        body = b'{"n":%d}' % i
        answer = server.post('/hooks/repo', body, github(body, 's3cr3t'))
        ids.append(answer.json['id'])
    return ids


def at(name):
    return [(address, event) for address, host, event in list(reached) if host == name + '.test']


def main():
    enter()
    dns, port = DnsDouble(), listen()
    dns.set('good.test', 'A', PUBLIC)
    dns.set('inside.test', 'A', '127.0.0.1')
    dns.set('inside6.test', 'AAAA', '::1')
    dns.set('allowed.test', 'A', '127.0.0.1')
    dns.set('mixed.test', 'A', '127.0.0.1,%s,10.0.0.1' % PUBLIC)
    dns.set('rebind.test', 'A', PUBLIC + ' ttl=0', '127.0.0.1 ttl=0')
    dns.set('quiet.test', 'A', PUBLIC)
    dns.set('quiet.test', 'AAAA', 'hang')
    dns.set('broken.test', 'A', 'servfail')
    dns.set('garbage.test', 'A', 'garbage')
    dns.set('hang.test', 'A', 'hang')
    dns.set('hang.test', 'AAAA', 'hang')
    dns.set('only6.test', 'AAAA', '::1')
    dns.set('dual6.test', 'A', '203.0.113.9')  # nobody is there
    dns.set('dual6.test', 'AAAA', '::1')
    dns.set('dual4.test', 'A', '127.0.0.1')
    dns.set('dual4.test', 'AAAA', '2001:db8::9')
    names = ('good', 'inside', 'inside6', 'mixed', 'rebind', 'quiet', 'broken', 'garbage', 'hang', 'absent')
    with Server(options=['--resolver', dns.address], threads=1) as server:
        server.apply(SOURCE + ''.join(destination(name, port) for name in names) + ''.join(destination(name, port, 'true') for name in ('allowed', 'only6', 'dual6', 'dual4')))
        first = post(server)[0]
        for name, address in (('good', PUBLIC), ('mixed', PUBLIC), ('rebind', PUBLIC), ('quiet', PUBLIC),
                              ('allowed', '127.0.0.1'), ('only6', '::1'), ('dual6', '::1'), ('dual4', '127.0.0.1')):
            ok(when(lambda: at(name)), '%s gets its event' % name)
            is_equal(at(name), [(address, first)], 'once, at the right address')
        is_equal(dns.count('good.test', 'A'), 1, 'one question')
        more = post(server, 20)
        ok(when(lambda: len(at('good')) == 21), 'and more')
        is_equal(sorted(event for _, event in at('good')), sorted([first] + more), 'each once')
        is_equal(dns.count('good.test', 'A'), 1, 'without asking again')
        time.sleep(5.5)
        before = len(at('rebind'))
        last = post(server)[0]
        ok(when(lambda: len(at('good')) == 22), 'the good one goes on')
        ok(when(lambda: dns.count('rebind.test', 'A') > 1), 'the other name is asked for again')
        time.sleep(1)
        is_equal(len(at('rebind')), before, 'and leads to nobody now')

        # What was wrong is mended.
        dns.set('broken.test', 'A', PUBLIC)
        ok(when(lambda: len({event for _, event in at('broken')}) == 22), 'after SERVFAIL: the events arrive')
        dns.set('absent.test', 'A', PUBLIC)
        asked = dns.count('absent.test', 'A')
        server.process.send_signal(signal.SIGHUP)
        ok(when(lambda: 'reloaded' in server.log_text()), 'SIGHUP')
        server.api('POST', '/api/v1/destinations/absent/resume')  # else the breaker's next probe comes half a minute later
        ok(when(lambda: len({event for _, event in at('absent')}) == 22, 5), 'and a name that was not there, which counts for 30 s, is asked for at once')
        ok(dns.count('absent.test', 'A') > asked, 'it was asked for again')
        is_equal(at('inside') + at('inside6') + at('garbage') + at('hang'), [], 'nothing went where it must not')
        is_equal({address for address, host, _ in reached if host not in (
            'allowed.test', 'only6.test', 'dual6.test', 'dual4.test')}, {PUBLIC}, 'nowhere')
        try:
            with open('/proc/sys/net/ipv6/conf/lo/disable_ipv6', 'w') as f:
                f.write('1')
        except OSError as error:
            skip('IPv6 off', str(error))
        else:
            dns.set('off6.test', 'AAAA', '::1')
            server.apply(destination('off6', port, 'true'))
            post(server)
            said = lambda: server.status('destinations', 'off6').get('delivery', {}).get('lastAttempt', {}).get('reason', '')
            ok(when(lambda: '::1 port %d: host or network unreachable' % port in said(), 5), 'without IPv6: %s' % said())
        post(server)
        is_equal(server.stop(), 0, 'stops while names are being asked for')


main()
done()
