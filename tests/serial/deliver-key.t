#!/usr/bin/env python3
"""One key of a strictly ordered destination after an outage: how fast its backlog drains from the store, also over kill -9: in
order, nothing lost, little twice; and while every fiftieth try fails. EVENTS=20000 KILLS=0 for the full size."""
import collections
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

events = int(os.environ.get('EVENTS', '300'))
kills = int(os.environ.get('KILLS', '1'))


class Receiver:
    """As fast as Python is: the ids of what came in one list, in order; 500 to all while `failing`."""

    def __init__(self):
        self.failing, self.every, self.tries, self.got, self.times = True, 0, 0, [], []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    sock, _ = self.listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(sock, selectors.EVENT_READ, bytearray())
                    continue
                try:
                    more = key.fileobj.recv(65536)
                except OSError:
                    more = b''
                if not more:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                key.data.extend(more)
                self.serve(key.fileobj, key.data)

    def serve(self, sock, data):
        while True:
            end = data.find(b'\r\n\r\n')
            if end < 0:
                return
            head = bytes(data[:end]).lower()
            length = int(head.split(b'content-length: ', 1)[1].split(b'\r', 1)[0])
            if len(data) < end + 4 + length:
                return
            self.tries += 1
            failing = self.failing or (self.every and self.tries % self.every == 0)
            if not failing:
                self.got.append((head.split(b'webhook-id: ', 1)[1].split(b'\r', 1)[0],
                                 bytes(data[end + 4:end + 4 + length])))
                self.times.append(time.monotonic())
            del data[:end + 4 + length]
            try:
                sock.send(b'HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n' % (b'500 No' if failing else b'200 OK'))
            except OSError:
                return


def post_all(server, first, count):
    """One after another, so that their order is known; on two connections, for two cores."""
    connections = [server.connect(), server.connect()]
    for number in range(first, first + count):
        body = b'{"order": 7, "n": %d}' % number
        answer = connections[number % 2].request('POST', '/hooks/repo', body, github(body, SECRET))
        assert answer.status == 200, answer
    for connection in connections:
        connection.close()


def status(server):
    return server.api('GET', '/api/v1/destinations/keyed').json['status']['delivery']


def wait_for(check, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.02)
    return False


receiver = Receiver()
with Server(options=['--retain-bytes', '4G']) as server:
    server.apply(GITHUB_SOURCE + '''---
kind: Destination
metadata: {name: keyed}
spec:
  url: http://127.0.0.1:%d/
  allowPrivate: true
  ordering: {mode: strict, key: $.order}
  retry: {schedule: [%s], jitter: 0}
---
kind: Route
metadata: {name: all}
spec: {from: [{source: repo}], to: [{destination: keyed}]}
''' % (receiver.port, ', '.join(['%dms' % max(300, events // 2)] * 32)))
    for number in range(kills + 1):
        receiver.failing = True
        post_all(server, number * events, events)
        ok(wait_for(lambda: status(server)['retries'] == events, 60), 'all %d wait in the store' % events)
        start = len(receiver.got)
        receiver.failing = False
        if number < kills:      # while they drain
            wait_for(lambda: len(receiver.got) > start + events * (number + 1) // (kills + 1), 60)
            server.kill()
            server.start()
        whole = (number + 1) * events
        ok(wait_for(lambda: len(set(receiver.got)) == whole, 30 + events / 100), 'all of them arrive')
        ok(wait_for(lambda: status(server)['retries'] == 0, 30), 'and the store has none any more')
        came = [int(body.split(b'"n": ')[1][:-1]) for _, body in receiver.got[start:]]
        again = len(came) - len(set(came))
        firsts = list(dict.fromkeys(came))
        ok(firsts == sorted(firsts), 'each for the first time in order')
        backwards = [i for i in range(1, len(came)) if came[i] < came[i - 1]]
        if not ok(len(backwards) <= (number < kills), 'going back only once, after the kill'):
            diag(str([came[max(0, i - 3):i + 4] for i in backwards[:8]]))
        if number < kills:
            ok(again <= max(300, events // 10), 'and %d were repeated' % again)
        else:
            is_equal(again, 0, 'nothing twice')
            took = receiver.times[-1] - receiver.times[start]
            diag('%d events of one key in %.2f s: %.0f per second' % (events, took, events / took))
    receiver.failing = True
    start, few = len(receiver.got), min(events, 200)
    post_all(server, (kills + 1) * events, few)
    ok(wait_for(lambda: status(server)['retries'] == few, 60), 'some more')
    receiver.failing, receiver.every = False, 50
    ok(wait_for(lambda: len(receiver.got) >= start + few, 60), 'all of them arrive though every fiftieth try fails')
    came = [int(body.split(b'"n": ')[1][:-1]) for _, body in receiver.got[start:]]
    ok(came == sorted(set(came)), 'each once and in order')
    ok(wait_for(lambda: status(server)['retries'] == 0, 30), 'and the store has none')
    is_equal(server.stop(), 0, 'stops')
done()
