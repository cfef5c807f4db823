#!/usr/bin/env python3
"""An answer that comes before its request was sent whole, on a connection that was used before: perhaps bytes behind the
answer before it. It is not believed; the delivery is made again on a connection of its own, where it is."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
BIG = b'{"pad":"%s"}' % (b'x' * (10 << 20))
whole, early = [], []   # body lengths that were read to their end; requests answered unread


def connection(sock, number):
    reader, requests = sock.makefile('rb'), 0
    try:
        while True:
            length = 0
            line = reader.readline()
            if not line:
                return
            while line not in (b'\r\n', b''):
                if line.lower().startswith(b'content-length:'):
                    length = int(line.split(b':')[1])
                line = reader.readline()
            requests += 1
            if length > 1 << 20 and (requests > 1 or always_early):
                early.append(number)
                sock.sendall(ANSWER)
                reader.read()  # until the peer is gone
                return
            whole.append(len(reader.read(length)))
            sock.sendall(ANSWER)
    except OSError:
        pass
    finally:
        sock.close()


def accept(listener):
    number = 0
    while True:
        sock, _ = listener.accept()
        number += 1
        threading.Thread(target=connection, args=(sock, number), daemon=True).start()


always_early = False
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
listener.bind(('127.0.0.1', 0))
listener.listen(16)
threading.Thread(target=accept, args=(listener,), daemon=True).start()

with Server(threads=1) as server:
    server.apply('''
kind: EventSource
metadata: {name: s}
spec: {type: github, path: s, limits: {bodyBytes: 12582912}, verification: {secrets: [{value: k}]}}
---
kind: Destination
metadata: {name: d}
spec: {url: "http://127.0.0.1:%d/in", allowPrivate: true, concurrency: 1, retry: {schedule: [1h]}}
---
kind: Route
metadata: {name: r}
spec: {from: [{source: s}], to: [{destination: d}]}
''' % listener.getsockname()[1])

    def delivered():
        return server.api('GET', '/api/v1/destinations/d').json['status']['delivery']['delivered']

    is_equal(server.post('/hooks/s', b'{}', github(b'{}', 'k')).status, 200, 'a small event')
    ok(when(lambda: delivered() == 1), 'is delivered, and its connection is kept')
    is_equal(server.post('/hooks/s', BIG, github(BIG, 'k')).status, 200, 'a large one')
    ok(when(lambda: delivered() == 2), 'is delivered')
    is_equal((early, whole), ([1], [2, len(BIG)]), 'whole, on another connection')
    always_early, before = True, len(whole)
    other = BIG.replace(b'pad', b'PAD')
    server.post('/hooks/s', other, github(other, 'k'))
    ok(when(lambda: delivered() == 3), 'who always answers early is believed in the end')
    is_equal((len(whole), len(early)), (before, 3), 'with two tries')
done()
