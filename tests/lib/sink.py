"""A receiver of deliveries whose manners are chosen by path; it remembers all that came.

    with Sink() as sink:
        sink.manner('/in', status=200)                     # always
        sink.manner('/flaky', answers=[500, 500, 200])     # per webhook-id, the last one for ever
        ...
        sink.wait('/in', 10)
        sink.got('/in')[0].headers['webhook-id']
"""
import base64
import hashlib
import hmac
import random
import socket
import struct
import threading
import time


class Request:
    def __init__(self, path, headers, body, status, connection=0, peer=None):
        self.path, self.headers, self.body, self.status = path, headers, body, status
        self.connection = connection  # number of it, 1, 2, ...
        self.peer = peer  # common name of the certificate that was shown
        self.at = time.time()

    @property
    def id(self):
        return self.headers.get('webhook-id', '')


class Sink:
    def __init__(self, port=0, context=None):
        """context: an ssl.SSLContext, for TLS."""
        self.context = context
        self.failed = []  # what went wrong in handshakes
        self.closed = set()  # numbers of connections that ended
        self.lock = threading.Condition()
        self.requests = {}
        self.manners = {}
        self.seen = {}
        self.connections = 0
        self.port = port
        self.listener = None
        self.open = False
        self.sockets = set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *args):
        self.close()

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(('127.0.0.1', self.port))
        self.listener.listen(512)
        self.port = self.listener.getsockname()[1]
        self.open = True
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def close(self):
        self.open = False
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for sock in list(self.sockets):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def url(self, path):
        return 'http%s://127.0.0.1:%d%s' % ('s' if self.context else '', self.port, path)

    def manner(self, path, status=200, answers=None, headers=(), body=b'ok', delay=0, reset=False, failing=0.0,
               failing_bodies=None):
        with self.lock:
            self.manners[path] = dict(answers=answers or [status], headers=list(headers), body=body, delay=delay,
                                      reset=reset, failing=failing, failing_bodies=failing_bodies)

    def got(self, path, status=None):
        with self.lock:
            return [r for r in self.requests.get(path, []) if status is None or r.status == status]

    def ids(self, path, status=200):
        return [r.id for r in self.got(path, status)]

    def wait(self, path, count, seconds=20, status=200):
        """Until so many different ids were answered with this status."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if len(set(self.ids(path, status))) >= count:
                return True
            time.sleep(0.02)
        return False

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                number = self.connections
                self.sockets.add(sock)
            threading.Thread(target=self._secure if self.context else self._serve, args=(sock, number),
                             daemon=True).start()

    def _secure(self, raw, number):
        try:
            raw.settimeout(20)
            sock = self.context.wrap_socket(raw, server_side=True)
        except OSError as e:
            with self.lock:
                self.failed.append(str(e))
                self.closed.add(number)
                self.sockets.discard(raw)
            raw.close()
            return
        with self.lock:
            self.sockets.discard(raw)
            self.sockets.add(sock)
        subject = (sock.getpeercert() or {}).get('subject', ())
        self._serve(sock, number, next((v for part in subject for k, v in part if k == 'commonName'), None))

    def _serve(self, sock, number, peer=None):
        data = b''
        try:
            while self.open:
                while b'\r\n\r\n' not in data:
                    more = sock.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b'\r\n\r\n')
                lines = head.decode('latin-1').split('\r\n')
                path = lines[0].split(' ')[1].split('?')[0]
                headers = {}
                for line in lines[1:]:
                    name, _, value = line.partition(':')
                    headers[name.strip().lower()] = value.strip()
                length = int(headers.get('content-length', 0))
                while len(data) < length:
                    more = sock.recv(65536)
                    if not more:
                        return
                    data += more
                body, data = data[:length], data[length:]
                if not self._answer(sock, path, headers, body, number, peer):
                    return
        except OSError:
            pass
        finally:
            with self.lock:
                self.sockets.discard(sock)
                self.closed.add(number)
            sock.close()

    def _answer(self, sock, path, headers, body, number=0, peer=None):
        with self.lock:
            manner = self.manners.get(path) or dict(answers=[200], headers=[], body=b'ok', delay=0, reset=False,
                                                    failing=0.0, failing_bodies=None)
            key = (path, headers.get('webhook-id'))
            index = self.seen.get(key, 0)
            self.seen[key] = index + 1
            status = manner['answers'][min(index, len(manner['answers']) - 1)]
            failing_bodies = manner['failing_bodies']
            if random.random() < manner['failing'] or (failing_bodies and failing_bodies in body):
                status = 500
            self.requests.setdefault(path, []).append(Request(path, headers, body, status, number, peer))
        if manner['delay']:
            time.sleep(manner['delay'])
        if manner['reset'] or status == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            return False
        lines = ['HTTP/1.1 %d X' % status, 'Content-Length: %d' % len(manner['body'])]
        lines += manner['headers'] if status != 200 or len(manner['answers']) == 1 else []
        sock.sendall(('\r\n'.join(lines) + '\r\n\r\n').encode() + manner['body'])
        return True


def signature_fits(request, secret):
    """Standard Webhooks, by the letter of its specification."""
    key = base64.b64decode(secret.removeprefix('whsec_'))
    signed = ('%s.%s.' % (request.id, request.headers['webhook-timestamp'])).encode() + request.body
    want = 'v1,' + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return want in request.headers['webhook-signature'].split(' ')
