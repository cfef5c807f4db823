#!/usr/bin/env python3
"""A flood of handshakes that nobody means to complete, beside healthy clients: those who have gone are not computed for, those
who say nothing make room, and who comes from another address waits for none of them.

    FLOOD=SECONDS tests/run tests/wire/t02-handshakes.t    of webhooks, beside 3000 a second (FLOOD_RATE) of each kind;
                                                           THREADS=1, FLOOD_KEY=rsa:2048 for another server"""
import multiprocessing, os, resource, select, ssl, struct, sys, tempfile, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from certs import Certs
from tls_server import *

HANDSHAKES_MAX = 512  # of one core
NEVER_LOST = 'established', 'plain', 'new', 'resumed, as they'
# Addresses are in one of 256 groups, by chance in one with a hostile one: so there are several.
HEALTHY = ['127.0.0.%d' % i for i in (1, 2, 3)]
HOSTILE = ['127.0.7.%d' % i for i in (1, 2, 3, 4)]
FIRST = 100           # of a flood, at once
NO_PORT_YET = 24      # IP_BIND_ADDRESS_NO_PORT
KINDS = {'close': 'who close behind their hello', 'reset': 'who reset behind their hello',
         'read': 'who reset when they are answered', 'hold': 'who say nothing more'}
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def hello():
    ctx = ssl.create_default_context()
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    try:
        ctx.wrap_bio(ssl.MemoryBIO(), out, server_hostname='localhost').do_handshake()
    except ssl.SSLWantReadError:
        return out.read()


HELLO = hello()


def stranger(port, number, data, lingers=False):
    """A connection from another address of this machine, and its first bytes."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
    sock.bind((HOSTILE[number % len(HOSTILE)], 0))
    if not lingers:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    try:
        sock.connect(('127.0.0.1', port))
    except BlockingIOError:
        pass
    try:
        sock.send(data)
    except OSError:
        pass  # refused
    return sock


def timed(server, source=None, session=None):
    """Seconds of the server's own time for a new connection with its handshake and one request: however long others had the
    processor meanwhile. None: it failed."""
    began = server.cpu_s()
    try:
        c = server.secure(source=source, session=session)
        status = c.request('GET', '/health/live').status
        c.close()
        return server.cpu_s() - began if status == 200 else None
    except (OSError, Broken):
        return None


def failed(server):
    return server.metrics()['becket_tls_handshakes_total{outcome="failed"}']


class Flood(threading.Thread):
    def __init__(self, port, kind, rate, clock=time.monotonic):
        super().__init__()
        self.port, self.kind, self.rate, self.clock = port, kind, rate, clock
        self.made = self.answered = 0
        self.over = threading.Event()
        self.start()

    def stop(self):
        self.over.set()
        self.join()

    def run(self):
        poll, live, kept = select.epoll(), {}, []
        began = self.clock()
        while not self.over.is_set():
            due = FIRST + int((self.clock() - began) * self.rate)
            while self.made < due and not self.over.is_set():
                sock = stranger(self.port, self.made, HELLO, self.kind == 'close')
                self.made += 1
                if self.kind in ('close', 'reset'):
                    sock.close()
                else:
                    live[sock.fileno()] = sock
                    poll.register(sock, select.EPOLLIN)
            for fd, _ in poll.poll(0.001):
                sock = live.pop(fd)
                poll.unregister(fd)
                try:
                    got = sock.recv(10)
                except OSError:
                    got = b''
                self.answered += len(got) > 0
                if got and self.kind == 'hold':
                    kept.append(sock)
                else:
                    sock.close()
            while len(kept) > 4000:
                kept.pop(0).close()
        for sock in kept + list(live.values()):
            sock.close()


def percentiles(times):
    times = sorted(times) or [0]
    return 'p50 %.1f, p99 %.1f, most %.1f ms' % tuple(1000 * times[int((len(times) - 1) * p)] for p in (0.5, 0.99, 1))


def elsewhere(work, *args):
    """In a process of its own, so that no interpreter is shared; ask the function that is returned for what it gave."""
    mine, theirs = multiprocessing.Pipe(False)

    def run():
        theirs.send(work(*args))
    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()

    def result():
        got = mine.recv()
        process.join()
        return got
    return result


def webhook(c, clock=time.monotonic):
    """Seconds for one that is acknowledged."""
    body = os.urandom(300).hex().encode()
    headers = github(body, SECRET)
    began = clock()
    status = c.request('POST', '/hooks/repo', body, headers).status
    if status != 200:
        raise Broken('answered %d' % status)
    return clock() - began


def keep_posting(connect, seconds, clock=time.monotonic):
    """Over connections that are open already."""
    c, times, lost, end = connect(), [], [], time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            times.append(webhook(c, clock))
        except (OSError, Broken) as e:
            lost.append(repr(e))
            c.close()
            c = connect()
        time.sleep(0.005)
    return times, lost


def come_and_post(server, source, seconds, session=None):
    """Over a new connection each time."""
    times, lost, end = [], [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            c = server.secure(source=source, session=session)
            webhook(c)
            times.append(time.monotonic() - began)
            c.close()
        except (OSError, Broken) as e:
            lost.append(repr(e))
        time.sleep(0.01)
    return times, lost


def latencies(server, seconds, session):
    """The same for who is connected already, with TLS and without (the admin listener), and for who comes, without a session and
    with one, also from the address of those who are hostile."""
    asking = {'established': elsewhere(keep_posting, lambda: server.secure(source=HEALTHY[0]), seconds),
              'plain': elsewhere(keep_posting, lambda: Connection(server.admin), seconds),
              'new': elsewhere(come_and_post, server, HEALTHY[1], seconds),
              'new, as they': elsewhere(come_and_post, server, HOSTILE[0], seconds),
              'resumed, as they': elsewhere(come_and_post, server, HOSTILE[0], seconds, session)}
    found = {}
    for name, result in asking.items():
        times, lost = found[name] = result()
        diag('%-16s %5d: %s; lost %d %s' % (name, len(times), percentiles(times), len(lost), sorted(set(lost))[:3]))
    return found


def flood_elsewhere(*args):
    """Returns a function that ends it and says how many there were, and were answered."""
    mine, theirs = multiprocessing.Pipe()

    def run():
        flood = Flood(*args)
        theirs.recv()
        flood.stop()
        theirs.send((flood.made, flood.answered))
    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()

    def stop():
        mine.send(None)
        got = mine.recv()
        process.join()
        return got
    return stop


with tempfile.TemporaryDirectory() as directory:
    certs = Certs(directory)
    cert = certs.make('server', kind=os.environ.get('FLOOD_KEY', 'prime256v1'))
    # One core, that they meet.
    with TlsServer(certs, ['--tls-cert', cert[0], '--tls-key', cert[1]], threads=1) as server:
        kept = server.secure()
        is_equal(kept.request('GET', '/health/live').status, 200, 'a connection from before')

        # ---- hellos whose senders have gone: nothing is computed for them
        before = failed(server)
        for i in range(1000):
            stranger(server.port, i, HELLO, i % 2 == 0).close()
        took = timed(server)
        ok(took is not None and took < 2, 'beside 1000 who have gone: %.0f ms' % (1000 * (took or 0)))
        ok(failed(server) - before < 250, 'few of them had a step computed') or diag(failed(server) - before)

        # ---- half a hello, and nothing more: the oldest make room, and not for each other only
        silent = [stranger(server.port, i, HELLO[:40]) for i in range(HANDSHAKES_MAX)]
        time.sleep(0.3)
        slow = [Connection(server.port, 5, source) for source in HEALTHY]
        for c in slow:
            c.send(HELLO[:40])
        silent += [stranger(server.port, i, HELLO[:40]) for i in range(HANDSHAKES_MAX)]
        took = timed(server)
        ok(took is not None and took < 2, 'beside 1024 who say nothing more: %.0f ms' % (1000 * (took or 0)))
        went_on = 0
        for c in slow:
            try:
                c.send(HELLO[40:])
                went_on += c.sock.recv(1) == b'\x16'
            except OSError:
                pass
            c.close()
        ok(went_on >= 2, 'older handshakes of small groups go on')
        ok('made room for others: too many handshakes at once' in server.log_text(), 'the log has it')
        gone = 0
        for sock in silent:
            try:
                gone += sock.recv(1) == b''
            except BlockingIOError:
                pass
            except OSError:
                gone += 1
        ok(HANDSHAKES_MAX <= gone < HANDSHAKES_MAX + 20, '%d of them made room' % gone)
        for sock in silent:
            sock.close()

        # ---- who waits for an answer
        flood = Flood(server.port, 'read', 1500)
        time.sleep(0.5)
        times = [timed(server, HEALTHY[i % len(HEALTHY)]) for i in range(9)]
        resumed = [timed(server, HOSTILE[i % len(HOSTILE)], kept.sock.session) for i in range(8)]
        began = server.cpu_s()
        status = kept.request('GET', '/health/live').status
        beside = server.cpu_s() - began
        flood.stop()
        served = [t for t in times if t is not None]
        ok(len(served) >= 6 and max(served) < 2, 'beside 1500 a second who go when they are answered: %s' % percentiles(served))
        ok(None not in resumed and max(resumed) < 1, 'who resumes a session, from their own addresses: %s' %
           percentiles([t for t in resumed if t is not None]))
        ok(status == 200 and beside < 1, 'and who was connected: %.1f ms' % (1000 * beside))
        is_equal(server.stop(), 0, 'and stops in order')

    # ---- steps of 8 ms (RSA 3072), and more of them than there can be: a commit's completion does not stand behind theirs. All
    # goes by the server's own time, so that it is the same however many others want the processor.
    slow = certs.make('slow', kind='rsa:3072')
    with TlsServer(certs, ['--tls-cert', slow[0], '--tls-key', slow[1]], threads=1) as server:
        server.apply(GITHUB_SOURCE)
        kept, plain = server.secure(), Connection(server.admin)
        stop = flood_elsewhere(server.port, 'read', 8000, server.cpu_s)
        time.sleep(1)
        asking = [elsewhere(keep_posting, lambda c=c: c, 1.5, server.cpu_s) for c in (kept, plain)]
        for name, (times, lost) in zip(('TLS', 'plain text'), [result() for result in asking]):
            ok(not lost and times and sorted(times)[len(times) // 2] < 0.04,
               'webhooks over what is open, %s, in the server\'s time: %s' % (name, percentiles(times))) or diag(lost)
        stop()
        is_equal(server.stop(), 0, 'and stops in order')

    # ---- requests that do not come whole have taken all memory for them: handshakes need none of it
    with TlsServer(certs, ['--tls-cert', cert[0], '--tls-key', cert[1], '--request-memory', '1M'], threads=1) as server:
        server.apply(GITHUB_SOURCE)
        half = [server.secure() for _ in range(32)]
        for c in half:
            c.send(b'POST /hooks/repo HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\nabc')
        time.sleep(0.3)
        last = server.secure()
        last.send(b'POST /hooks/repo HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\nabc')
        is_equal(last.read().status, 503, 'memory for requests is used up')
        took = timed(server)
        ok(took is not None, 'a new connection comes in all the same')
        for c in half:
            c.close()
        is_equal(server.stop(), 0, 'and stops in order')

    seconds = float(os.environ.get('FLOOD', 0))
    if seconds:
        with TlsServer(certs, ['--tls-cert', cert[0], '--tls-key', cert[1]], threads=int(os.environ.get('THREADS', 2))) as server:
            server.apply(GITHUB_SOURCE)
            session = server.secure().sock.session
            diag('alone')
            latencies(server, seconds, session)
            for kind, words in KINDS.items():
                stop = flood_elsewhere(server.port, kind, int(os.environ.get('FLOOD_RATE', 3000)))
                time.sleep(0.5)
                diag('beside those %s' % words)
                found = latencies(server, seconds, session)
                diag('they were %d, %d of them answered' % stop())
                lost = [why for name in NEVER_LOST for why in found[name][1]]
                ok(not lost and all(found[name][0] for name in NEVER_LOST),
                   'beside those %s nobody healthy is lost' % words)
                time.sleep(1)
done()
