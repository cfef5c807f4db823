#!/usr/bin/env python3
"""Receivers that are odd rather than hostile: Retry-After in every spelling, connections that say one thing and do another, IPv6
only, half-closed ones, answers while the request is still being sent; a loop through another becket; and what people do meanwhile:
replay in a pause, routes edited, a destination deleted with deliveries pending, or mended while a try of before is under way."""
import calendar
import email.utils
import os
import re
import socket
import sys
import threading
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink
from terminal import on_terminal

SOURCE = '''
kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: s3cr3t}]}, limits: {bodyBytes: 4194304}}
'''
OK = b'HTTP/1.1 200 OK\r\n'
GOOD = OK + b'Content-Length: 2\r\n\r\nok'


class Peer:
    """serve(connection, number of the connection, request's number on it, head) -> whether it goes on."""

    def __init__(self, serve, address='127.0.0.1'):
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        self.serve, self.count, self.got = serve, 0, []
        self.listener = socket.create_server((address, 0), family=family, backlog=50)
        host = '[%s]' % address if ':' in address else address
        self.url = 'http://%s:%d/' % (host, self.listener.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            self.count += 1
            threading.Thread(target=self.run, args=(connection, self.count), daemon=True).start()

    def run(self, connection, number):
        data, requests = b'', 0
        try:
            while True:
                while b'\r\n\r\n' not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                head, data = data.split(b'\r\n\r\n', 1)
                length = int(re.search(rb'(?i)content-length: (\d+)', head).group(1))
                while len(data) < length:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                data = data[length:]
                requests += 1
                self.got.append((number, re.search(rb'webhook-id: (\S+)', head).group(1).decode(), time.time()))
                if not self.serve(connection, number, requests, head):
                    return
        except OSError:
            pass
        finally:
            connection.close()


def says(answer, then=True):
    def serve(connection, number, request, head):
        connection.sendall(answer)
        return then
    return serve


def half(connection, number, request, head):
    connection.sendall(GOOD)
    connection.shutdown(socket.SHUT_WR)     # and reads on
    connection.settimeout(3)
    connection.recv(65536)
    return False


def resets(connection, number, request, head):
    connection.sendall(GOOD)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
    return False


def drips(connection, number, request, head):
    for byte in OK + b'Content-Length: 2\r\n\r\nok':
        connection.sendall(bytes([byte]))
        time.sleep(0.002)
    return True


def closes_second(connection, number, request, head):
    if request == 2 and number == 1:
        return False    # a keep-alive that ends just as the next one comes
    connection.sendall(GOOD)
    return True


def first_fails(answer):
    state = {}

    def serve(connection, number, request, head):
        connection.sendall(GOOD if state else answer)
        state['done'] = True
        return True
    return serve


def destination(name, url, more=''):
    return '''---
kind: Destination
metadata: {name: %s}
spec: {url: "%s", allowPrivate: true, timeout: 6s%s}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, url, more, name, name)


def post(server, n, pad=b''):
    body = b'{"n": %d, "pad": "%s"}' % (n, pad)
    answer = server.post('/hooks/repo', body, github(body, 's3cr3t'))
    assert answer.status == 200, answer
    return answer.json['id']


SAME, OTHER, ANY = 1, 2, None
MANNERS = [
    # name, what it does, connections for three events one after another
    ('both-connections', says(OK + b'Connection: Keep-Alive, close\r\nContent-Length: 2\r\n\r\nok'), 3),
    ('close-in-case', says(OK + b'Connection: CLOSE\r\nContent-Length: 2\r\n\r\nok'), 3),
    ('two-connection-lines', says(OK + b'Connection: keep-alive\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'), 3),
    ('keep-alive-zero', says(OK + b'Keep-Alive: timeout=0, max=0\r\nContent-Length: 2\r\n\r\nok'), ANY),
    ('keep-alive-lies', closes_second, ANY),
    ('old-with-length', says(b'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'), 3),
    ('half-closed', half, 3),
    ('resets', resets, 3),
    ('drips', drips, 1),
    ('continues', says(b'HTTP/1.1 100 Continue\r\n\r\n' * 8 + GOOD), 1),
    ('hints', says(b'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' + GOOD), 1),
    ('trailers', says(OK + b'Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2;ext="a;b"\r\nok\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\n\r\n'), 1),
    ('created', says(b'HTTP/1.1 201 Created\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n'), 1),
    ('accepted-bare', says(b'HTTP/1.1 202\r\nContent-Length: 0\r\n\r\n'), 1),
    ('reset-content', says(b'HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n'), 1),
    ('lines-end-with-lf', says(b'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'), ANY),
]


def delivered(server, name):
    found = server.api('GET', '/api/v1/deliveries?state=delivered&destination=' + name).json['items']
    return [delivery['event'] for delivery in found]


def manners():
    peers = {name: Peer(serve) for name, serve, _ in MANNERS}
    peers['six'] = Peer(says(GOOD), '::1')
    with Server(threads=1) as server:
        server.apply(SOURCE + ''.join(destination(name, peer.url) for name, peer in peers.items()))
        events = []
        for n in range(3):
            events.append(post(server, n))
            ok(when(lambda: all(events[-1] in [i for _, i, _ in peer.got] for peer in peers.values())), 'event %d reaches all' % n)
            # The answers, too: a connection that is still being answered on does not carry the next one.
            when(lambda: all(events[-1] in delivered(server, name) for name in peers if name != 'lines-end-with-lf'))
        for name, _, connections in MANNERS:
            tried = [i for _, i, _ in peers[name].got]
            states = sorted(set(d['state'] for d in server.api('GET', '/api/v1/deliveries?destination=' + name).json['items']))
            if name == 'lines-end-with-lf':
                ok(True, 'bare line feeds: %s' % states)
                continue
            is_equal(states, ['delivered'], '%s: delivered' % name)
            extra = 1 if name == 'keep-alive-lies' else 0
            is_equal(sorted(set(tried)), sorted(events), 'each event')
            ok(len(tried) <= 3 + extra, 'once: %d' % len(tried))
            if connections is not ANY:
                is_equal(peers[name].count, connections, '%s: on %d connections' % (name, connections))
        is_equal(peers['six'].count, 1, 'IPv6 alone')


def retry_after():
    now = time.time()
    forms = [
        # Retry-After, least and most seconds until the next try (the schedule says 0.2)
        (b'1', 0.9, 4), (b' 1 ', 0.9, 4), (b'0', 0, 2), (b'-5', 0, 2), (b'1.5', 0, 2), (b'soon', 0, 2), (b'', 0, 2), (b'1, 2', 0, 2),
        (email.utils.formatdate(now + 3, usegmt=True).encode(), 0.9, 6), (email.utils.formatdate(now - 99, usegmt=True).encode(), 0, 2),
        (b'Sunday, 06-Nov-94 08:49:37 GMT', 0, 2), (b'Sun Nov  6 08:49:37 1994', 0, 2), (b'0x10', 0, 2), (b'1' * 400, 86000, 100000),
    ]
    peers = [Peer(first_fails(b'HTTP/1.1 503 No\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n' % form)) for form, _, _ in forms]
    # With more of an excuse than anybody reads.
    page = b'sorry' * 300000
    for framing in (b'Content-Length: %d\r\n\r\n' % len(page), b'Transfer-Encoding: chunked\r\n\r\n%x\r\n' % len(page), b'\r\n'):
        forms.append((b'1', 0.9, 4))
        peers.append(Peer(first_fails(b'HTTP/1.1 429 No\r\nRetry-After: 1\r\n' + framing + page)))
    with Server(threads=1) as server:
        server.apply(SOURCE + ''.join(destination('after-%d' % i, peer.url, ', retry: {schedule: [200ms], jitter: 0}')
                                      for i, peer in enumerate(peers)))
        post(server, 1)
        when(lambda: all(len(peer.got) == 2 for peer, (_, least, _) in zip(peers, forms) if least < 1000), 8)
        for peer, (form, least, most) in zip(peers, forms):
            times = [at for _, _, at in peer.got]
            if least > 1000:
                is_equal(len(times), 1, 'Retry-After: %s...: not before tomorrow' % form[:20].decode())
            else:
                ok(len(times) == 2 and least <= times[1] - times[0] <= most, 'Retry-After: "%s": %s' %
                   (form.decode(), times[1] - times[0] if len(times) == 2 else times))
        for n in (len(forms) - 2, len(forms) - 1):
            answers = [d.get('answer', '')[:5] for d in server.api('GET', '/api/v1/deliveries?destination=after-%d' % n).json['items']]
            ok('sorry' in answers, 'the beginning of a long answer is kept: %s' % answers)
        server.kill()


def loop():
    """Another becket's word on what came through becket sixteen times is the last; anybody else's 508 is not."""
    with Server(threads=1) as server:
        server.apply(SOURCE)
        text = 'kind: EventSource\nmetadata: {name: open}\nspec: {type: generic, path: open, verification: {scheme: none}}\n'
        server.apply(text + '---\nkind: Destination\nmetadata: {name: round}\nspec: {url: "http://127.0.0.1:%d/hooks/open", allowPrivate: true, retry: {schedule: [200ms, 200ms]}}\n'
                     '---\nkind: Route\nmetadata: {name: round}\nspec: {from: [{source: open}], to: [{destination: round}]}\n' % server.port)
        server.post('/hooks/open', b'{"n": 1}', {'Content-Type': 'application/json'})
        dead = lambda name: server.api('GET', '/api/v1/deliveries?destination=%s&state=dead' % name).json['items']
        ok(when(lambda: dead('round')), 'a loop ends')
        time.sleep(0.6)
        found = server.api('GET', '/api/v1/deliveries?destination=round&limit=100').json['items']
        last = [d for d in found if d['state'] != 'delivered']
        ok(len(last) == 1 and last[0]['attempt'] == 1 and 'loop' in last[0]['reason'], 'with the first try: %s' % last)
        is_equal(len(found), 16, 'sixteen deliveries')
        peer = Peer(first_fails(b'HTTP/1.1 508 Resource Limit Is Reached\r\nContent-Length: 0\r\n\r\n'))
        server.apply(destination('limited', peer.url, ', retry: {schedule: [200ms]}'))
        post(server, 1)
        ok(when(lambda: len(peer.got) == 2), 'a host that is over its limits is tried again')


def meanwhile():
    with Sink() as sink, Server() as server:
        text = SOURCE + ''.join(destination(name, sink.url('/' + name), ', retry: {schedule: [200ms, 200ms, 200ms, 500ms, 500ms, 500ms, 1s, 1s, 1s]}')
                                for name in ('kept', 'gone', 'moved'))
        server.apply(text)
        first = post(server, 1)
        ok(all(sink.wait('/' + name, 1) for name in ('kept', 'gone', 'moved')), 'all get the first')

        # A replay of what was delivered, into a pause.
        server.api('POST', '/api/v1/destinations/kept/pause')
        code, out, err = server.cli('replay', first, '--to', 'kept')
        ok(code == 0, 'replayed in a pause: ' + out + err)
        time.sleep(0.4)
        is_equal(len(sink.got('/kept')), 1, 'nothing goes before it is resumed')
        fares = lambda name: server.status('destinations', name)['delivery']
        ok(fares('kept')['retries'] == 1 and 'nextRetryAt' not in fares('kept'), 'nor does its status say when')
        server.api('POST', '/api/v1/destinations/kept/resume')
        ok(when(lambda: len(sink.got('/kept')) == 2), 'then it goes, once')
        time.sleep(0.3)
        is_equal([r.id for r in sink.got('/kept')], [first, first], 'under its id')

        # What is due waits until the receiver may be asked again, and the status says so.
        server.apply(destination('held', sink.url('/held'), ', concurrency: 1, retry: {schedule: [%s], jitter: 0}' % ', '.join(['300ms'] * 32)))
        sink.manner('/held', status=500)
        for n in range(3):
            post(server, 10 + n)
        ok(when(lambda: fares('held')['retries'] == 3), 'three failed')
        sink.manner('/held', status=503, headers=['Retry-After: 1000'])
        ok(when(lambda: sink.got('/held', 503)), 'and are not to come for a while')
        until = lambda: calendar.timegm(time.strptime(fares('held')['nextRetryAt'][:19], '%Y-%m-%dT%H:%M:%S')) - time.time()
        time.sleep(0.5)
        # Up to a tenth later, where more than one was under way when it was told.
        ok(990 < until() < 1101, 'the next one goes in %.0f s' % until())

        # Mended: who resumes it does not wait for the schedule, and what it fails then costs no try of it.
        server.apply(destination('later', sink.url('/later'), ', retry: {schedule: [100ms, 1h]}'))
        sink.manner('/later', status=500)
        held = post(server, 1)
        def pending():
            return [(d['attempt'], d['nextAttemptAt']) for d in server.api('GET', '/api/v1/deliveries?destination=later&state=pending').json['items']]
        ok(when(lambda: [n for n, at in pending()] == [2]), 'two tries failed, the next is in an hour')
        def told():
            return [l for l in server.cli('get', 'destinations')[1].splitlines() if l.startswith('later ')][0]
        ok(when(lambda: told().endswith('the answer 500 is no success; 1 wait')), 'get destinations says why') or diag(told())
        server.apply('kind: Destination\nmetadata: {name: long}\nspec: {url: "http://127.0.0.1:9/%s", allowPrivate: true}\n' % ('x' * 300))
        shown = on_terminal([server.program, 'get', 'destinations'], 100, {'BECKET_URL': 'http://127.0.0.1:%d' % server.admin, 'BECKET_DATA': server.data, 'NO_COLOR': '1'})[1]
        ok('the answer 500 is no' in shown and max(map(len, shown.splitlines())) <= 100, 'also on a terminal, beside one with a long URL') or diag(shown)
        server.cli('delete', 'destination', 'long')
        code, out, err = server.cli('describe', 'destination', 'later')
        ok(code == 0 and out.count(' failed ') == 2 and 'latest deliveries' in out, 'describe has the latest deliveries') or diag(out)
        for again in range(3):
            before = pending()
            code, out, err = server.cli('resume', 'later')
            ok(code == 0 and '1 pending: what failed is tried now' in out, 'resume tells of it') or diag(out + err)
            ok(when(lambda: len(sink.got('/later')) == 3 + again), 'it is tried at once')
            ok(when(lambda: [n for n, at in pending()] == [2] and pending() != before), 'and waits again: no dead letter by looking')
        sink.manner('/later', status=200)
        server.cli('resume', 'later')
        ok(when(lambda: sink.ids('/later')[-1:] == [held] and pending() == []), 'delivered')
        code, out, err = server.cli('resume', 'later')
        is_equal(out, 'Destination later is ready\n', 'nothing waits any more')
        server.api('DELETE', '/api/v1/routes/to-later')
        server.apply(destination('once', sink.url('/once'), ', retry: {schedule: [1h]}'))
        sink.manner('/once', status=500)
        single = post(server, 1)
        states = lambda: [(d['state'], d['attempt']) for state in ('pending', 'dead') for d in
                          server.api('GET', '/api/v1/deliveries?destination=once&state=' + state).json['items']]
        for again in range(3):
            ok(when(lambda: len(sink.got('/once')) == 1 + again and states() == [('pending', 1)]),
               'nor where the schedule has one pause: %s' % states())
            server.cli('resume', 'once')
        sink.manner('/once', status=200)
        server.cli('resume', 'once')
        ok(when(lambda: sink.ids('/once') == [single] and states() == []), 'delivered')
        server.api('DELETE', '/api/v1/routes/to-once')

        # Deleted with deliveries under way and retries pending.
        sink.manner('/gone', status=500)
        for n in range(20):
            post(server, 10 + n)
        ok(when(lambda: len(sink.got('/gone', 500)) >= 8), 'it fails')
        is_equal(server.api('DELETE', '/api/v1/routes/to-gone').status // 100, 2, 'its route goes')
        is_equal(server.api('DELETE', '/api/v1/destinations/gone').status // 100, 2, 'and so does it')
        time.sleep(0.3)
        before = len(sink.got('/gone', 500))
        time.sleep(1.2)
        ok(len(sink.got('/gone', 500)) <= before, 'nothing comes there any more')
        ok(when(lambda: not any('gone' in name for name in server.metrics() if name.startswith('becket_deliver'))),
           'and no metric tells of it')
        server.apply(destination('gone', sink.url('/again')))
        event = post(server, 40)
        ok(when(lambda: sink.ids('/again') == [event]), 'one of the same name begins anew: %s' % sink.ids('/again'))

        # Its address and its routes are edited while deliveries are pending.
        sink.manner('/moved', status=500)
        more = [post(server, 50 + n) for n in range(10)]
        ok(when(lambda: len(sink.got('/moved', 500)) >= 3), 'it fails')
        server.apply(destination('moved', sink.url('/there')))
        ok(when(lambda: set(more) <= set(sink.ids('/there'))), 'what is pending goes to the new address')
        server.api('DELETE', '/api/v1/routes/to-moved')
        late = post(server, 70)
        ok(when(lambda: late in sink.ids('/kept')), 'without its route')
        ok(late not in sink.ids('/there'), 'nothing new comes')
        is_equal(server.stop(), 0, 'stops')


def one_probe():
    """The end of a probe of before a resume does not make room for a second one beside the one that is under way now."""
    slow = 2
    with Sink() as sink, Server(threads=2) as server:
        sink.manner('/app', status=500)
        server.apply(SOURCE + destination('app', sink.url('/app'), ', retry: {schedule: [%s], jitter: 0}' % ', '.join(['100ms'] * 32)))
        def open_breaker(before):
            ok(when(lambda: len(sink.got('/app', 500)) >= before + 9), 'the breaker is open')
            time.sleep(0.05)  # what is no probe has ended
            sink.manner('/app', status=502, delay=slow)
        for n in range(30):  # to both cores
            post(server, n)
        open_breaker(0)
        ok(when(lambda: len(sink.got('/app', 502)) == 1), 'a probe hangs')
        time.sleep(slow / 2)
        sink.manner('/app', status=500)
        before = len(sink.got('/app', 500))
        server.api('POST', '/api/v1/destinations/app/resume')
        open_breaker(before)
        ok(when(lambda: len(sink.got('/app', 502)) == 2, 1), 'resumed, and another one')
        first, second = (r.at for r in sink.got('/app', 502))
        time.sleep(max(0, first + slow + 0.3 - time.time()))
        ok(time.time() < second + slow, 'the second one is still under way when the first one ended')
        is_equal(len(sink.got('/app', 502)), 2, 'and no third')


def from_before():
    """The end of a try that began before a resume, or a new address, holds, pauses and opens nothing, and it is tried again at once."""
    slow = 3
    ends = {'probe': (502, []), 'hold': (503, ['Retry-After: 86400']), 'strict': (503, ['Retry-After: 86400']), 'gone': (410, [])}
    names = ['%s-%s' % (end, how) for end in ends for how in ('resumed', 'moved')]
    schedule = lambda name: ', retry: {schedule: [%s], jitter: 0}' % ', '.join(['200ms' if 'probe' in name else '1h'] * 32)
    with Sink() as sink, Server(threads=1) as server:
        def manner(name, **words):
            sink.manner('/' + name, **words)
        text = {name: destination(name, sink.url('/' + name), schedule(name) + (', ordering: {mode: strict}' if 'strict' in name else ''))
                for name in names}
        server.apply(SOURCE + ''.join(text.values()))
        probes = [name for name in names if name.startswith('probe')]
        for name in names:
            manner(name, status=500 if name in probes else 200)
        for n in range(10):
            post(server, 100 + n)
        state = lambda name: server.status('destinations', name).get('delivery', {}).get('state')
        ok(when(lambda: all(state(name) == 'failing' for name in probes)), 'two fail until their breakers are open')
        for name in names:
            status, headers = ends[name.split('-')[0]]
            manner(name, status=status, headers=headers, delay=slow)
        under_way = post(server, 2)
        ok(when(lambda: all(sink.got('/' + name, ends[name.split('-')[0]][0]) for name in names)), 'a try of each is under way')
        began = max(sink.got('/' + name, ends[name.split('-')[0]][0])[0].at for name in names)
        is_equal([len(sink.got('/' + name, 502)) for name in probes], [1, 1], 'of those that fail a probe, and no other')
        for name in names:
            if name.endswith('resumed'):
                manner(name)
                server.api('POST', '/api/v1/destinations/%s/resume' % name)
            else:
                server.apply(text[name].replace(sink.url('/' + name), sink.url('/new-' + name)))
        places = ['/' + name if name.endswith('resumed') else '/new-' + name for name in names]
        behind = post(server, 3)
        ok(when(lambda: all(behind in sink.ids(place) for place, name in zip(places, names) if 'strict' not in name), 2),
           'mended meanwhile: the next event does not wait') or diag([(p, behind in sink.ids(p)) for p in places])
        ok(time.time() < began + slow, 'the tries of before are still under way')
        time.sleep(max(0, began + slow + 0.3 - time.time()))
        last = post(server, 4)
        for place, name in zip(places, names):
            ok(when(lambda: {under_way, behind, last} <= set(sink.ids(place)), 2), '%s: how that ended does not count' % name)
            ok(when(lambda: state(name) == 'live', 2), 'and it is live: %s' % state(name))


def large():
    """An answer as soon as the head is there, and the rest of a large request unread for a while."""
    def serve(connection):
        data = b''
        while b'\r\n\r\n' not in data:
            data += connection.recv(4096)
        connection.sendall(b'HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        connection.shutdown(socket.SHUT_WR)
        time.sleep(1)
        while connection.recv(1 << 20):
            pass
        connection.close()

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    listener = socket.create_server(('127.0.0.1', 0))
    threading.Thread(target=accept, daemon=True).start()
    with Server(threads=1) as server:
        server.apply(SOURCE + destination('large', 'http://127.0.0.1:%d/' % listener.getsockname()[1], ', retry: {schedule: [1h]}'))
        post(server, 1, b'x' * 3000000)
        found = lambda: [d for d in server.api('GET', '/api/v1/deliveries?destination=large').json['items'] if d['state'] == 'failed']
        ok(when(found), 'refused by its head')
        ok('413' in found()[0]['reason'], 'the receiver\'s word is kept: %s' % found()[0]['reason'])


manners()
retry_after()
loop()
meanwhile()
at_once(one_probe, from_before)
large()
done()
