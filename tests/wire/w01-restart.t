#!/usr/bin/env python3
"""Restarts that nobody notices: sockets of a service manager, --take-over, sd_notify, a stop that is announced, PID 1. Under
load no request fails and nothing acknowledged is lost."""
import ctypes, os, shutil, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *


def listening(reuse_port=False, port=0):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(('127.0.0.1', port))
    sock.listen(1024)
    return sock


def activated(sockets, names):
    """What systemd does: descriptors from 3 on, and LISTEN_PID is the process itself."""
    count = len(sockets)
    moves = ' '.join('%d<&%d' % (40 + i, s.fileno()) for i, s in enumerate(sockets))
    final = ' '.join('%d<&%d' % (3 + i, 40 + i) for i in range(count))
    named = 'export LISTEN_FDNAMES=%s; ' % names if names else ''
    return ['bash', '-c', 'exec %s; exec %s; export LISTEN_FDS=%d LISTEN_PID=$$; %sexec "$@"' % (moves, final, count, named),
            'activated']


def answers(what, load):
    is_equal((load.failed[:3], load.refused), ([], 0), '%s: none of %d requests failed' % (what, len(load.sent)))
    ok(len(load.acknowledged) > 50, '%s: %d were acknowledged' % (what, len(load.acknowledged)))


def both_ends(what, server, load):
    """Everything that was acknowledged is there."""
    held = {e['deliveryId']: e['id'] for e in server.events('state=accepted')}
    lost = [d for d, (event, _) in load.acknowledged.items() if held.get(d) != event]
    is_equal(lost, [], '%s: nothing of %d acknowledged is lost' % (what, len(load.acknowledged)))


# ---- the service manager holds the sockets
for names, count in (('ingress:admin', 1), (None, 1), ('ingress:ingress:ingress:admin', 3)):
    first = listening(reuse_port=True)
    sockets = [first] + [listening(True, first.getsockname()[1]) for _ in range(count - 1)]
    admin = listening()
    what = 'sockets %s' % names
    for sock in sockets + [admin]:
        sock.setblocking(names is not None)  # NonBlocking=yes of a unit: no accept may end for it, or turn round and round
    with Server(start=False) as server:
        server.port, server.admin = first.getsockname()[1], admin.getsockname()[1]
        fds = [s.fileno() for s in sockets] + [admin.fileno()]

        def start():
            options = [] if names else ['--admin', '127.0.0.1:%d' % server.admin]
            server.start(same_ports=True, pass_fds=fds, prefix=activated(sockets + [admin], names), options=options)

        start()
        for _ in range(100):
            if ' ready ' in server.log_text():
                break
            time.sleep(0.05)
        ok('listen=127.0.0.1:%d' % server.port in server.log_text(), what + ': listens where they do')
        server.apply(GITHUB_SOURCE)
        load = Load(server.port, connections=8).start()
        time.sleep(0.5)
        for _ in range(2):
            is_equal(server.stop(), 0, what + ': stops in order under load')
            start()
            time.sleep(0.4)
        load.stop()
        answers(what, load)
        both_ends(what, server, load)
        used = server.cpu_s()
        time.sleep(1)
        ok(server.cpu_s() - used < 0.3, what + ': nothing spins')
    for s in sockets + [admin]:
        s.close()

bad = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
run = subprocess.run(activated([bad], None) + [BECKET, 'serve', '--data', '/nonexistent/x'], capture_output=True, text=True,
                     pass_fds=[bad.fileno()])
ok(run.returncode == 1 and 'LISTEN_FDS' in run.stderr and run.stderr.count('\n') == 1, 'a socket that does not listen: one line')
bad.close()

# ---- the old server hands its sockets to the new one
with Server() as server:
    server.apply(GITHUB_SOURCE)
    refused = subprocess.run([BECKET, 'serve', '--data', server.data], capture_output=True, text=True)
    ok(refused.returncode == 1 and '--take-over' in refused.stderr, 'a second server is refused, and told how')
    load = Load(server.port, connections=10, body_bytes=(10, 30000)).start()
    time.sleep(0.5)
    for i in range(3):
        old = server.process
        server.start(same_ports=True, options=['--take-over'])
        # Ready was the old one's answer perhaps: the new one is, once the old one has ended.
        is_equal(old.wait(20), 0, 'take-over %d: the old one ends in order' % i)
        for _ in range(200):
            if server.log_text().count(' ready ') >= i + 2:
                break
            time.sleep(0.05)
        ok(server.process.poll() is None, 'the new one serves')
        time.sleep(0.5)
    load.stop()
    answers('take-over', load)
    both_ends('take-over', server, load)
    mode = os.stat(os.path.join(server.data, 'becket.sock')).st_mode & 0o777
    is_equal(mode, 0o600, 'its socket is ours alone')
    peer = socket.socket(socket.AF_UNIX)
    os.chdir(server.data)
    peer.connect('becket.sock')
    peer.sendall(b'becket take-over 9\n')
    peer.settimeout(5)
    is_equal(peer.recv(100), b'', 'who greets otherwise gets nothing')
    is_equal(server.get('/health/ready').status, 200, 'and nothing happens')
    peer = socket.socket(socket.AF_UNIX)
    peer.connect('becket.sock')
    peer.sendall(b'becket take-over 2\n')
    data, given, _, _ = socket.recv_fds(peer, 100, 64)
    ok(data and given, 'who greets rightly is given the sockets')
    peer.close()
    for fd in given:
        os.close(fd)
    time.sleep(0.5)
    is_equal((server.process.poll(), server.get('/health/ready').status), (None, 200), 'who goes away with them ends nobody')
    old = server.process
    server.start(same_ports=True, options=['--take-over'])
    is_equal(old.wait(20), 0, 'and the next one who asks takes over')
    os.chdir('/')
    is_equal(server.stop(), 0, 'it stops in order')
    ok(not os.path.exists(os.path.join(server.data, 'becket.sock')), 'and leaves no socket')
    server.start(options=['--take-over'])
    is_equal(server.get('/health/ready').status, 200, 'with nobody there, --take-over just starts')

# ---- who is another user is given nothing and asked for nothing, also where the file's mode lets him in
def as_nobody(work):
    """In a process that is nobody's, below the data directory; what it says."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b'nothing'
        try:
            os.chdir(server.data)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            said = work()
        except OSError as error:
            said = repr(error).encode()
        os.write(write, said)
        os._exit(0)
    os.close(write)
    said = b''
    while not said.endswith(b'\n'):
        more = os.read(read, 1000)
        if not more:
            break
        said += more
    os.close(read)
    os.waitpid(pid, 0)
    return said


def nobody_asks():
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect('becket.sock')
        try:
            peer.sendall(b'becket take-over 2\n')
            data, given, _, _ = socket.recv_fds(peer, 100, 64)
        except (ConnectionResetError, BrokenPipeError):
            data, given = b'', []
        return b'%d bytes, %d sockets' % (len(data), len(given))


def nobody_listens():
    with socket.socket(socket.AF_UNIX) as own:
        own.bind('becket.sock')
        os.chmod('becket.sock', 0o666)
        own.listen(1)
        own.settimeout(20)
        peer, _ = own.accept()
        peer.settimeout(10)
        return b'%r' % peer.recv(100)


if os.geteuid() == 0:
    with Server() as server:
        os.chmod(server.data, 0o777)
        at = os.path.join(server.data, 'becket.sock')
        os.chmod(at, 0o666)
        is_equal(as_nobody(nobody_asks), b'0 bytes, 0 sockets', 'another user is given no sockets')
        is_equal(server.get('/health/ready').status, 200, 'and ends nothing')
        os.unlink(at)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            heard = pool.submit(as_nobody, nobody_listens)
            ok(when(lambda: os.path.exists(at) and os.stat(at).st_mode & 2), 'another user\'s socket lies in the place of ours')
            run = subprocess.run([BECKET, 'serve', '--data', server.data, '--take-over'], capture_output=True, text=True, timeout=30)
            ok(run.returncode == 1 and "another user's" in run.stderr, 'who is to take over does not believe it: ' + run.stderr.strip()[-80:])
            is_equal(heard.result(), b"b''", 'and says nothing to it')
        is_equal(server.get('/health/ready').status, 200, 'the server goes on')

# ---- one that is just stopping hands nothing over any more: it is waited for
with Server() as server:
    server.apply(GITHUB_SOURCE)

    def stopping():
        """SIGTERM, while a request is under way that takes a while. Returns that, once nobody is answered by it any more."""
        half = socket.create_connection(('127.0.0.1', server.port))
        half.sendall(b'POST /hooks/repo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{')
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        when(lambda: ' stopping ' in server.log_text().rpartition(' ready ')[2])
        return half

    half, old = stopping(), server.process
    threading.Timer(1, half.sendall, [b'    ']).start()
    server.start(same_ports=True, options=['--take-over'])
    is_equal((old.wait(10), server.get('/health/ready').status), (0, 200), 'take over from one that is stopping: it ends, then the new one serves')
    ok(' waiting for the server that is there to end ' in server.log_text(), 'which is said')
    half.close()

# ---- several at once take over from each other, one after the other
with Server() as server:
    server.apply(GITHUB_SOURCE)
    half = socket.create_connection(('127.0.0.1', server.port))  # the first one's stop takes a while
    half.sendall(b'POST /hooks/repo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{')
    load = Load(server.port, connections=4).start()
    time.sleep(0.3)
    old = server.process
    others = [subprocess.Popen(old.args + ['--take-over'], stdout=server.log, stderr=server.log) for _ in range(4)]
    time.sleep(1)
    half.sendall(b'    ')
    is_equal(old.wait(20), 0, 'several at once: the old one ends')
    ok(when(lambda: sum(p.poll() is None for p in others) == 1), 'one of them stays')
    server.process = next(p for p in others if p.poll() is None)
    is_equal([p.returncode for p in others if p is not server.process], [0, 0, 0], 'the others took over and handed over')
    ok(when(lambda: server.get('/health/ready').status == 200), 'and it serves')
    load.stop()
    answers('several at once', load)
    both_ends('several at once', server, load)
    half.close()

# ---- who could not go on ends nobody
with Server(options=['--drain-timeout', '2s']) as server:
    def try_to_take_over(*options, **environment):
        run = subprocess.run([BECKET, 'serve', '--data', server.data, '--take-over'] + list(options), capture_output=True,
                             text=True, env=dict(os.environ, **environment), timeout=20)
        is_equal((run.returncode, server.process.poll(), server.get('/health/ready').status), (1, None, 200),
                 'the old one goes on: ' + run.stderr.strip()[-70:])
        return run.stderr

    ok('nothing was taken over' in try_to_take_over(BECKET_MASTER_KEY='00' * 32), 'another master key')
    ok('/nonexistent' in try_to_take_over(BECKET_MASTER_KEY_FILE='/nonexistent'), 'a key file that is not there')
    try_to_take_over('--tls-cert', '/nonexistent', '--tls-key', '/nonexistent')
    try_to_take_over('--ca-file', '/nonexistent')

    # One of another version hangs up. An interruption before that is not what is said.
    at, aside = os.path.join(server.data, 'becket.sock'), os.path.join(server.data, 'aside.sock')
    os.rename(at, aside)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(at)
        other.listen(1)
        other.settimeout(20)
        run = subprocess.Popen([BECKET, 'serve', '--data', server.data, '--take-over'], stderr=subprocess.PIPE, text=True)
        peer, _ = other.accept()
        ok(peer.recv(100).startswith(b'becket take-over '), 'it asks')
        for send, state in ((None, 'S'), (signal.SIGSTOP, 'T'), (signal.SIGCONT, 'S')):
            if send:
                run.send_signal(send)
            when(lambda: open('/proc/%d/stat' % run.pid).read().rsplit(')', 1)[1].split()[0] == state)
        peer.close()
        said = run.communicate(timeout=20)[1]
    os.rename(aside, at)
    ok(run.returncode == 1 and said.count('\n') == 1 and 'another version' in said, 'nobody who hands over: ' + said.strip()[-90:])

    # Who waits for the old one has nobody behind it any more: a reload must not end it.
    server.apply(GITHUB_SOURCE)
    half = socket.create_connection(('127.0.0.1', server.port))
    half.sendall(b'POST /hooks/repo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{')
    time.sleep(0.2)
    old, ready = server.process, server._ready_lines()
    server.process = subprocess.Popen(old.args + ['--take-over', '--listen', '127.0.0.1:%d' % free_port()], stdout=server.log, stderr=server.log)
    for _ in range(200):
        if ' taking over ' in server.log_text():
            break
        time.sleep(0.02)
    server.process.send_signal(signal.SIGHUP)
    is_equal(old.wait(20), 0, 'the old one ends')
    for _ in range(400):
        if server.process.poll() is not None or server._ready_lines() > ready and ' reloaded ' in server.log_text():
            break
        time.sleep(0.02)
    is_equal((server.process.poll(), server.get('/health/ready').status), (None, 200), 'SIGHUP meanwhile is no end')
    ok(' reloaded ' in server.log_text(), 'but a reload')
    ok('an option is not used option=listen' in server.log_text(), 'and another --listen is said not to count')
    half.close()

# ---- sd_notify
folder = tempfile.mkdtemp()
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(folder + '/notify')
manager.settimeout(10)


def told(word, tries=20):
    for _ in range(tries):
        if word in manager.recv(4096).decode().split('\n'):
            return True
    return False


class Held:
    """One thread of a process stands still, as in a loop that never ends."""
    def __init__(self, pid, name):
        threads = {open('/proc/%d/task/%s/comm' % (pid, t)).read().strip(): int(t) for t in os.listdir('/proc/%d/task' % pid)}
        self.thread, self.libc = threads[name], ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]

    def __enter__(self):
        self.held = self.libc.ptrace(0x4206, self.thread, None, None) == 0 and self.libc.ptrace(0x4207, self.thread, None, None) == 0
        if self.held:
            os.waitpid(self.thread, 0x40000000)
        return self.held

    def __exit__(self, *args):
        if self.held:
            self.libc.ptrace(17, self.thread, None, None)


with Server(start=False) as server:
    server.start(environment=dict(os.environ, NOTIFY_SOCKET=folder + '/notify', WATCHDOG_USEC='400000'))
    ok(told('READY=1'), 'READY=1 when it serves')
    with Held(server.process.pid, 'becket-core-1') as held:
        if not held:
            skip('a reactor that hangs', 'no ptrace here')
        else:
            time.sleep(0.5)  # what was asked before may be answered
            manager.setblocking(False)
            try:
                while True:
                    manager.recv(4096)
            except BlockingIOError:
                pass
            manager.settimeout(2)
            try:
                ok(False, 'while a reactor hangs nobody says that all is well: %r' % manager.recv(4096))
            except socket.timeout:
                ok(True, 'while a reactor hangs nobody says that all is well')
            manager.settimeout(10)
    began = time.monotonic()
    ok(told('WATCHDOG=1') and told('WATCHDOG=1') and told('WATCHDOG=1'), 'WATCHDOG=1 again and again')
    ok(time.monotonic() - began < 5, 'in time (%.2f s)' % (time.monotonic() - began))
    server.process.send_signal(signal.SIGHUP)
    ok(told('RELOADING=1') and told('READY=1'), 'RELOADING=1, then READY=1')
    with open('/proc/%d/environ' % server.process.pid, 'rb') as f:
        f.read()
    server.process.send_signal(signal.SIGTERM)
    ok(told('STOPPING=1'), 'STOPPING=1')
    is_equal(server.process.wait(10), 0, 'and the end')
    server.process = None
    manager.close()
    name = 'becket-test-%d' % os.getpid()
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind('\0' + name)
    manager.settimeout(10)
    server.start(environment=dict(os.environ, NOTIFY_SOCKET='@' + name))
    ok(told('READY=1'), 'the same to a manager without a file')
    half, old, began = socket.create_connection(('127.0.0.1', server.port)), server.process, time.monotonic()
    half.sendall(b'GET /health/live HTTP/1.1\r\nHost: a\r\n')
    time.sleep(0.2)
    server.start(same_ports=True, options=['--take-over'], environment=dict(os.environ, NOTIFY_SOCKET='@' + name))
    is_equal(old.wait(20), 0, 'a take-over under its eyes')
    ok(time.monotonic() - began < 9, 'with half a request, within 5 s, for connections wait in the queue: %.1f s' % (time.monotonic() - began))
    half.close()
    manager.settimeout(1)
    lines = []
    try:
        while True:
            lines += manager.recv(4096).decode().split('\n')
    except socket.timeout:
        pass
    ok('MAINPID=%d' % server.process.pid in lines and lines.index('READY=1') > lines.index('MAINPID=%d' % server.process.pid), 'it hears who is the main process now, then that this one serves')
    ok('STOPPING=1' not in lines, 'and no word of an end: %r' % lines)
    server.stop()
manager.close()
shutil.rmtree(folder)

# ---- not ready first, then the drain
with Server(options=['--drain-delay', '2s']) as server:
    server.apply(GITHUB_SOURCE)
    load = Load(server.port, connections=4).start()
    time.sleep(0.3)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    answer = server.get('/health/ready')
    is_equal((answer.status, server.get('/health/live').status), (503, 200), 'stopping: not ready, but live')
    time.sleep(0.7)
    load.stop()
    answers('the delay', load)
    is_equal(server.process.wait(10), 0, 'then it ends')
    ok(2 <= time.monotonic() - began < 4, 'after the delay (%.1f s)' % (time.monotonic() - began))
    server.process = None
    server.start()
    both_ends('the delay', server, load)

# ---- as PID 1
unshare = shutil.which('unshare')
if os.geteuid() == 0 and unshare and subprocess.run([unshare, '-pf', '--mount-proc', 'true'], stderr=subprocess.DEVNULL).returncode == 0:
    with Server(start=False) as server:
        server.start(prefix=[unshare, '-pf', '--mount-proc', '--kill-child=KILL'])
        server.apply(GITHUB_SOURCE)
        is_equal(server.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status, 200, 'PID 1: serves')
        with open('/proc/%d/task/%d/children' % (server.process.pid, server.process.pid)) as f:
            child = int(f.read().split()[0])
        with open('/proc/%d/status' % child) as f:
            ok('NSpid:\t%d\t1\n' % child in f.read(), 'it is PID 1 of its namespace')
        os.kill(child, signal.SIGTERM)
        is_equal(server.process.wait(10), 0, 'and SIGTERM ends it in order')
        server.process = None
else:
    skip('PID 1', 'unshare needs root')
done()
