#!/usr/bin/env python3
"""GET /api/v1/events/stream: events as they arrive, filters, resuming, a heartbeat's place, many listeners, one that
does not read, one that goes away, and a stop of the server."""
import http.client, json, os, socket, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SET = '''kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: s3cret}]}}
---
kind: EventSource
metadata: {name: other}
spec: {type: generic, path: other, verification: {scheme: none}}
'''


class Stream:
    def __init__(self, server, query='', last=None, token=None):
        self.socket = socket.create_connection(('127.0.0.1', server.admin), 10)
        head = 'GET /api/v1/events/stream%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n' % (
            query, token or server.token)
        head += 'Last-Event-ID: %s\r\n' % last if last else ''
        self.socket.sendall((head + '\r\n').encode())
        self.bytes = b''
        self.until(b'\r\n\r\n')
        self.head, self.bytes = self.bytes.split(b'\r\n\r\n', 1)

    def until(self, what, wait=10):
        self.socket.settimeout(wait)
        while what not in self.bytes:
            try:
                more = self.socket.recv(65536)
            except socket.timeout:
                return False
            if not more:
                return False
            self.bytes += more
        return True

    def events(self, count, wait=10):
        """The next events: [(id, data)]."""
        got = []
        while len(got) < count and self.until(b'\n\n', wait):
            block, self.bytes = self.bytes.split(b'\n\n', 1)
            fields = dict(line.split(': ', 1) for line in block.decode().splitlines() if ': ' in line)
            if 'data' in fields:
                got.append((fields['id'], json.loads(fields['data'])))
        return got


with Server() as server:
    server.apply(SET)

    def hook(n, event='push'):
        body = json.dumps({'n': n}).encode()
        return server.post('/hooks/repo', body, github(body, 's3cret', 'd%d' % n, event)).json['id']

    def api(method, path, body=None):
        connection = http.client.HTTPConnection('127.0.0.1', server.admin, timeout=10)
        connection.request(method, path, json.dumps(body) if body else None,
                           {'Authorization': 'Bearer ' + server.token, 'Content-Type': 'application/json'})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return json.loads(text) if text else None

    ear = api('POST', '/api/v1/tokens', {'name': 'ear', 'role': 'read'})['token']
    mouth = api('POST', '/api/v1/tokens', {'name': 'mouth', 'role': 'read'})['token']
    doomed, other = Stream(server, token=ear), Stream(server, token=mouth)
    hook(100)
    is_equal([len(s.events(1)) for s in (doomed, other)], [1, 1], 'two tokens listen')
    api('DELETE', '/api/v1/tokens/ear')
    end = not doomed.until(b'never')
    hook(101)
    ok(end and b'data' not in doomed.bytes, 'a stream ends with its token')
    is_equal(len(other.events(1)), 1, 'and no other does')

    first = hook(1)
    stream = Stream(server)
    ok(stream.head.startswith(b'HTTP/1.1 200 ') and b'Content-Type: text/event-stream' in stream.head and
       b'Content-Length' not in stream.head, 'the head comes at once')
    filtered = Stream(server, '?source=repo&type=release')
    ids = [hook(n) for n in range(2, 5)]
    got = stream.events(3)
    is_equal([data['id'] for _, data in got], ids, 'events as they arrive, none from before')
    began = time.time()
    ids.append(hook(5, 'release'))
    is_equal([d['id'] for _, d in stream.events(1)], ids[3:], 'and the next')
    ok(time.time() - began < 2, 'soon: %.0f ms' % ((time.time() - began) * 1000))
    is_equal([d['id'] for _, d in filtered.events(1)], ids[3:], 'a filtered stream sees its own only')

    again = Stream(server, last=got[0][0])
    is_equal([d['id'] for _, d in again.events(3)], ids[1:4], 'Last-Event-ID goes on behind it')
    again = Stream(server, last=first)
    is_equal([d['id'] for _, d in again.events(5)][-4:], ids, 'an event\'s own id, too')
    old = Stream(server, '?since=1h')
    is_equal(len(old.events(5)), 5, 'since: from before')
    is_equal(server.api('GET', '/api/v1/events/stream', headers={'Last-Event-ID': '!!'}).status, 400, 'no id at all')
    is_equal(server.get('/api/v1/events/stream').status, 404, 'not on the ingress listener')

    fresh = Stream(server)
    fresh.until(b'\n\n')
    place = [line[4:] for line in fresh.bytes.decode().splitlines() if line.startswith('id: ')]
    fresh.socket.close()
    missed = hook(6)
    is_equal(len(stream.events(1)), 1, 'another event')
    fresh = Stream(server, last=(place + [None])[0])
    is_equal([d['id'] for _, d in fresh.events(1, 2)], [missed], 'who was cut off before the first event misses none')
    fresh.socket.close()

    # One that does not read: its backlog is the journal, and nobody waits for it.
    lazy = Stream(server)
    for s in (filtered, again, old):
        s.socket.close()
    big = b'x' * 100
    for n in range(600):
        server.post('/hooks/other', big, {'X-Long': 'y' * 3000})
    is_equal(len(stream.events(600)), 600, 'another listener sees everything')
    is_equal(len(lazy.events(600)), 600, 'and so does the lazy one when it reads')
    streams = [Stream(server) for _ in range(60)]
    answers = [Stream(server).head[:12] for _ in range(3)]
    ok(b'HTTP/1.1 200' in answers[0] or b'HTTP/1.1 503' in answers[0], 'many listeners')
    last = hook(10000)
    is_equal([s.events(1)[0][1]['id'] for s in streams[:5]], [last] * 5, 'each is told')
    began = time.time()
    server.stop()
    ok(time.time() - began < 10, 'a stop of the server ends them: %.1f s' % (time.time() - began))
    ok(not streams[0].until(b'never', 5), 'they see the end')
done()
