"""What the scripts in tests/wire, tests/crash and tests/serial need: a server on free ports, signed requests, TAP.

    from becket import *
    with Server() as server:
        server.apply(SOURCE)
        ok(server.post('/hooks/repo', body, github(body, 's3cr3t')).status == 200, 'accepted')
    done()
"""
import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

BECKET = os.environ.get('BECKET', 'build/becket')

# ---- TAP

_count = 0
_failed = 0
_lock = threading.RLock()  # some worlds run at once


def ok(condition, name):
    global _count, _failed
    with _lock:
        _count += 1
        if not condition:
            _failed += 1
        print('%s %d - %s' % ('ok' if condition else 'not ok', _count, name.replace('#', '\\#')), flush=True)
    return bool(condition)


def is_equal(got, want, name):
    if not ok(got == want, name):
        diag('got  %r' % (got,))
        diag('want %r' % (want,))
    return got == want


def diag(text):
    for line in str(text).splitlines():
        print('# ' + line, file=sys.stderr, flush=True)


def skip(name, reason):
    global _count
    _count += 1
    print('ok %d - %s # skip %s' % (_count, name, reason), flush=True)


def skip_all(reason):
    print('1..0 # SKIP ' + reason)
    sys.exit(0)


def done():
    print('1..%d' % _count)
    sys.exit(1 if _failed else 0)


def when(check, seconds=20):
    """What check() says as soon as that is true, within so many seconds; a server that does not answer yet is asked again."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = check()
        except OSError:
            found = False
        if found or time.monotonic() >= end:
            return found
        time.sleep(0.03)


def at_once(*works):
    """What each of these functions gives; they have nothing in common, and mostly wait."""
    with concurrent.futures.ThreadPoolExecutor(len(works)) as pool:
        return [work.result() for work in [pool.submit(work) for work in works]]


# ---- the server

_ports = set()


def free_port():
    """Below the ports that the kernel gives to connections: one of those would be somebody's while a server starts anew.
    None twice."""
    while True:
        with _lock, socket.socket() as s:
            port = random.randrange(12000, 32000)
            try:
                if port not in _ports:
                    s.bind(('127.0.0.1', port))
                    _ports.add(port)
                    return port
            except OSError:
                pass


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return '<%d %r>' % (self.status, self.body[:200])


class Broken(Exception):
    """The connection ended before an answer was whole."""


class Connection:
    """One keep-alive HTTP/1.1 connection, as little as possible between the test and the bytes."""

    def __init__(self, port, timeout=10, source=None):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=timeout, source_address=source and (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b''

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _more(self):
        data = self.sock.recv(65536)
        if not data:
            raise Broken('closed by the server')
        self.rest += data

    def read(self, head_only=False):
        while b'\r\n\r\n' not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(':')
            headers[name.strip().lower()] = value.strip()
        status = int(lines[0].split(' ')[1])
        length = 0 if head_only or status in (100, 204) else int(headers.get('content-length', 0))
        while len(self.rest) < length:
            self._more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return Answer(status, headers, body)

    def at_end(self, timeout=5):
        """True when the server closes, False when it sends more or keeps the connection."""
        self.sock.settimeout(timeout)
        try:
            return self.rest == b'' and self.sock.recv(1) == b''
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def request(self, method, path, body=b'', headers=None):
        self.send(request_bytes(method, path, body, headers))
        return self.read(head_only=method == 'HEAD')


def request_bytes(method, path, body=b'', headers=None):
    lines = ['%s %s HTTP/1.1' % (method, path), 'Host: localhost']
    for name, value in (headers or {}).items():
        lines.append('%s: %s' % (name, value))
    if body or method in ('POST', 'PUT'):
        lines.append('Content-Length: %d' % len(body))
    return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1') + body


class Server:
    def __init__(self, data=None, options=(), threads=2, program=None, start=True):
        self.own = data is None
        base = os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests')
        os.makedirs(base, exist_ok=True)
        self.data = data or tempfile.mkdtemp(prefix='data-', dir=base)
        self.options = list(options)
        self.threads = threads
        self.program = program or BECKET
        self.process = None
        self.port = self.admin = 0
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stop()
        if self.own:
            shutil.rmtree(self.data, ignore_errors=True)

    def start(self, wait=30, options=(), environment=None, pass_fds=(), same_ports=False, prefix=(), preexec=None):
        """Start and wait until ready. Raises with what the server said when it does not get there."""
        if not same_ports:
            self.port, self.admin = free_port(), free_port()
        ready_lines = self._ready_lines()
        self.log = open(self.data.rstrip('/') + '.log', 'ab')
        began = time.monotonic()
        self.process = subprocess.Popen(
            list(prefix) + [self.program, 'serve', '--data', self.data, '--listen', '127.0.0.1:%d' % self.port, '--admin',
             '127.0.0.1:%d' % self.admin, '--segment-bytes', '16M'] +
            (['--threads', str(self.threads)] if self.threads else []) + self.options + list(options),
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment, pass_fds=pass_fds, preexec_fn=preexec)
        while time.monotonic() - began < wait:
            if self.process.poll() is not None:
                raise RuntimeError('serve ended with %d: %s' % (self.process.returncode, self.log_text()[-2000:]))
            try:
                # It listens a moment before it is sandboxed and says so.
                if self.get('/health/ready').status == 200 and self._ready_lines() > ready_lines:
                    self.started_s = time.monotonic() - began
                    return self
            except (OSError, Broken):
                pass
            time.sleep(0.01)
        raise RuntimeError('not ready after %d s: %s' % (wait, self.log_text()[-2000:]))

    def _ready_lines(self):
        try:
            text = self.log_text()
        except OSError:
            return 0
        return text.count(' info ready ') + text.count('"event":"ready"')

    def log_text(self):
        with open(self.data.rstrip('/') + '.log', 'rb') as f:
            return f.read().decode('utf-8', 'replace')

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        self.process = None

    def stop(self, wait=30):
        """SIGTERM and wait; returns the exit code."""
        if not self.process:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = None
        self.log.close()
        self.process = None
        return code

    def cpu_s(self):
        """Seconds of a core that it has used."""
        return time.clock_gettime(~self.process.pid << 3 | 2)  # clock_getcpuclockid()

    @property
    def token(self):
        with open(os.path.join(self.data, 'admin.token')) as f:
            return f.read().strip()

    def connect(self, timeout=10):
        return Connection(self.port, timeout)

    def _once(self, port, method, path, body, headers):
        connection = Connection(port)
        try:
            return connection.request(method, path, body, headers)
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self._once(self.port, 'GET', path, b'', headers)

    def post(self, path, body, headers=None):
        return self._once(self.port, 'POST', path, body, headers)

    def api(self, method, path, body=b'', headers=None, token=None):
        headers = dict(headers or {})
        headers.setdefault('Authorization', 'Bearer ' + (token or self.token))
        if body and 'Content-Type' not in headers:
            headers['Content-Type'] = 'application/yaml'
        return self._once(self.admin, method, path, body, headers)

    def apply(self, yaml):
        answer = self.api('POST', '/api/v1/apply', yaml.encode() if isinstance(yaml, str) else yaml)
        if answer.status != 200:
            raise RuntimeError('apply: %r' % answer)
        return answer.json

    def status(self, plural, name):
        """Of an object; {} when it is not there."""
        return self.api('GET', '/api/v1/%s/%s' % (plural, name)).json.get('status', {})

    def events(self, query='', limit=1000):
        """All events that match, newest first, over all pages."""
        items, cursor = [], ''
        while True:
            page = self.api('GET', '/api/v1/events?limit=%d%s%s' % (limit, query and '&' + query, cursor)).json
            items += page['items']
            if not page.get('next'):
                return items
            cursor = '&cursor=' + page['next']

    def events_when(self, query, count, wait=10):
        """The same, once there are so many: answers do not wait for what is refused or repeated to be on disk."""
        end = time.monotonic() + wait
        while True:
            found = self.events(query)
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.02)

    def body_of(self, event):
        return self.api('GET', '/api/v1/events/%s/body' % event).body

    def cli(self, *words, stdin=b''):
        """Run a client command against this server: (exit code, stdout, stderr)."""
        environment = dict(os.environ, BECKET_URL='http://127.0.0.1:%d' % self.admin, BECKET_DATA=self.data,
                           NO_COLOR='1')
        done_process = subprocess.run([self.program] + list(words), input=stdin, capture_output=True, timeout=60,
                                      env=environment)
        return (done_process.returncode, done_process.stdout.decode('utf-8', 'replace'),
                done_process.stderr.decode('utf-8', 'replace'))

    def metrics(self):
        values = {}
        for line in self.api('GET', '/metrics').body.decode().splitlines():
            if line and not line.startswith('#'):
                name, _, value = line.rpartition(' ')
                values[name] = float(value)
        return values


# ---- signing, independent of becket's own code

def github(body, secret, delivery=None, event='push'):
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {'Content-Type': 'application/json', 'X-GitHub-Event': event,
            'X-GitHub-Delivery': delivery or str(uuid.uuid4()), 'X-Hub-Signature-256': 'sha256=' + mac}


def stripe(body, secret, now=None):
    stamp = str(int(now if now is not None else time.time()))
    mac = hmac.new(secret.encode(), stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()
    return {'Content-Type': 'application/json', 'Stripe-Signature': 't=%s,v1=%s' % (stamp, mac)}


def slack(body, secret, now=None):
    stamp = str(int(now if now is not None else time.time()))
    mac = hmac.new(secret.encode(), b'v0:' + stamp.encode() + b':' + body, hashlib.sha256).hexdigest()
    return {'Content-Type': 'application/json', 'X-Slack-Request-Timestamp': stamp, 'X-Slack-Signature': 'v0=' + mac}


def semaphore(body, secret, delivery=None):
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {'Content-Type': 'application/json', 'X-Semaphore-Webhook-Id': delivery or str(uuid.uuid4()),
            'X-Semaphore-Signature-256': mac}


def standard(body, secret, delivery=None, now=None):
    stamp = str(int(now if now is not None else time.time()))
    delivery = delivery or 'msg_' + uuid.uuid4().hex
    key = base64.b64decode(secret.split('_', 1)[1])
    mac = hmac.new(key, delivery.encode() + b'.' + stamp.encode() + b'.' + body, hashlib.sha256).digest()
    return {'Content-Type': 'application/json', 'webhook-id': delivery, 'webhook-timestamp': stamp,
            'webhook-signature': 'v1,' + base64.b64encode(mac).decode()}


def gitlab(body, secret, event='Push Hook', delivery=None):
    return {'Content-Type': 'application/json', 'X-Gitlab-Token': secret, 'X-Gitlab-Event': event,
            'Idempotency-Key': delivery or str(uuid.uuid4())}


SECRET = 's3cr3t-of-the-tests'
GITHUB_SOURCE = """
kind: Secret
metadata: {name: hub}
spec: {data: {webhook: %s}}
---
kind: EventSource
metadata: {name: repo}
spec:
  type: github
  path: repo
  verification: {secrets: [{valueFrom: {secret: {name: hub, key: webhook}}}]}
  limits: {bodyBytes: 4194304}
""" % SECRET


# ---- load: many connections that post unique, signed webhooks and note what was acknowledged

class Load:
    def __init__(self, port, connections=8, body_bytes=(10, 3000), secret=SECRET, path='/hooks/repo', repeat=0.0):
        self.port, self.secret, self.path, self.repeat = port, secret, path, repeat
        self.body_bytes = body_bytes
        self.lock = threading.Lock()
        self.acknowledged = {}   # delivery -> (event id, sha256 of the body)
        self.refused = 0         # answers other than 200
        self.failed = []         # no answer at all
        self.sent = {}           # delivery -> sha256
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(connections)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _run(self, index):
        rng = random.Random(os.urandom(8))
        noise = os.urandom(2 * self.body_bytes[1])
        connection = None
        while not self.stopping.is_set():
            size, start = rng.randint(*self.body_bytes), rng.randrange(self.body_bytes[1])
            body = (os.urandom(10) + noise[start:start + size])[:size]  # another one each time, and cheap
            headers = github(body, self.secret)
            delivery, digest = headers['X-GitHub-Delivery'], hashlib.sha256(body).hexdigest()
            with self.lock:
                self.sent[delivery] = digest
            try:
                for _ in range(2 if rng.random() < self.repeat else 1):
                    if not connection:
                        connection = Connection(self.port, timeout=20)
                    answer = connection.request('POST', self.path, body, headers)
                    if answer.headers.get('connection') == 'close':
                        connection.close()
                        connection = None
                    if answer.status == 200:
                        with self.lock:
                            self.acknowledged[delivery] = (answer.json['id'], digest)
                    else:
                        self.refused += 1
                        time.sleep(0.02)  # it may say so for long
            except (OSError, Broken, ValueError) as error:
                with self.lock:
                    self.failed.append(repr(error))
                if connection:
                    connection.close()
                connection = None
                time.sleep(0.005)
        if connection:
            connection.close()


def compare(server, acknowledged, sent, what):
    """Every acknowledged delivery is there exactly once, with its bytes; nothing else but sent ones; nothing twice."""
    seen, doubled, altered, foreign = {}, 0, 0, 0
    for event in server.events('state=accepted'):
        delivery = event['deliveryId']
        doubled += delivery in seen
        seen[delivery] = event['id']
        foreign += delivery not in sent
    lost = [d for d in acknowledged if d not in seen]
    renamed = [d for d, (event, _) in acknowledged.items() if seen.get(d) not in (None, event)]
    sample = list(acknowledged.items())
    step = max(1, len(sample) // 300)
    for delivery, (event, digest) in sample[::step]:
        altered += hashlib.sha256(server.body_of(event)).hexdigest() != digest
    is_equal(len(lost), 0, '%s: no acknowledged event is lost (of %d)' % (what, len(acknowledged)))
    is_equal(doubled, 0, '%s: none is there twice' % what)
    is_equal(len(renamed), 0, '%s: each has the id that was acknowledged' % what)
    is_equal(altered, 0, '%s: none is altered (%d bodies read)' % (what, len(sample[::step])))
    is_equal(foreign, 0, '%s: nothing that was not sent' % what)
