#!/usr/bin/env python3
"""A disk that stands still under load: connections beyond the slots are not accepted, what is full is not read, then 503 with
Retry-After, in this order; one loud source does not take the place of a quiet one; nothing that was acknowledged is missing."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from loop_disk import LoopDisk


SLOTS = 64


def answer_of(connection, wait):
    """None: it did not come in time."""
    connection.sock.settimeout(wait)
    try:
        answer = connection.read()
        return answer
    except (OSError, Broken):
        return None


with LoopDisk('overload', freezes=True) as disk:
    server = disk.watch(Server(data=disk.link, threads=1, options=['--connections', str(SLOTS), '--segment-bytes', '16M']))
    server.apply(GITHUB_SOURCE)
    server.apply(GITHUB_SOURCE.replace('name: repo', 'name: quiet').replace('path: repo', 'path: quiet'))
    sent = {}

    def webhook(path, size):
        body = os.urandom(size)
        headers = github(body, SECRET)
        return request_bytes('POST', path, body, headers), headers['X-GitHub-Delivery'], hashlib.sha256(body).hexdigest()

    loud = [server.connect() for _ in range(40)]
    quiet, stream = server.connect(), server.connect()
    for connection in loud:  # all are accepted, and it has spare segments
        is_ok = connection.request('GET', '/health/live').status == 200
        if not is_ok:
            ok(False, 'a connection works before')
    if not ok(disk.freeze(), 'the file system stands still'):
        raise SystemExit
    began = time.monotonic()
    for connection in loud:
        data, delivery, digest = webhook('/hooks/repo', 60000)
        connection.send(data)
        sent[connection] = (delivery, digest)
    time.sleep(0.5)
    data, delivery, digest = webhook('/hooks/quiet', 1000)
    quiet.send(data)
    sent[quiet] = (delivery, digest)

    # 1: what has no slot is not accepted
    more = [server.connect() for _ in range(SLOTS)]
    for connection in more:
        connection.send(request_bytes('GET', '/health/live'))
    time.sleep(0.5)
    served = [c for c in more if answer_of(c, 0.001)]
    is_equal(len(served), SLOTS - len(loud) - 2, 'as many connections as slots are served, the others wait unaccepted')

    # 2: what cannot be taken is not read: a client that keeps sending is stopped by TCP
    stream.sock.settimeout(0.5)
    pushed, stopped = 0, False
    data, _, _ = webhook('/hooks/repo', 100000)
    try:
        while pushed < 64 << 20:
            pushed += stream.sock.send(data)
    except socket.timeout:
        stopped = True
    ok(stopped, 'a client that goes on sending is not read after %d KiB' % (pushed >> 10))
    early = [c for c in loud if answer_of(c, 0.001)]
    ok(not early and time.monotonic() - began < 4, 'nobody was answered so far (%.1f s)' % (time.monotonic() - began))

    # 3: then they are told so
    refused, waiting = [], []
    for connection in loud:
        left = began + 7.5 - time.monotonic()  # at ten they would be told so, too
        answer = answer_of(connection, max(left, 0.01))
        (refused if answer else waiting).append((connection, answer))
    statuses = {answer.status for _, answer in refused}
    is_equal(statuses, {503}, 'after 5 s those that the journal could not take are told 503 (%d of %d)' % (len(refused), len(loud)))
    ok(all('retry-after' in answer.headers for _, answer in refused), 'with Retry-After')
    ok(0 < len(waiting) < len(loud), '%d are on their way to the disk and wait' % len(waiting))
    is_equal(answer_of(quiet, 0.1), None, 'so does the quiet source, which the loud one has left room for')

    disk.thaw()
    acknowledged = {}
    for connection in [c for c, _ in waiting] + [quiet]:
        answer = answer_of(connection, 20)
        if answer and answer.status == 200:
            delivery, digest = sent[connection]
            acknowledged[delivery] = (answer.json['id'], digest)
    is_equal(len(acknowledged), len(waiting) + 1, 'when it moves again they are acknowledged')
    for connection in loud + more + [stream]:
        connection.close()
    end = time.monotonic() + 15
    while server.get('/health/ready').status != 200 and time.monotonic() < end:
        time.sleep(0.1)
    is_equal(server.get('/health/ready').status, 200, 'and it is ready without a restart')
    server.kill()
    server.start()
    stored = {event['id'] for event in server.events()}
    ok(all(event in stored for event, _ in acknowledged.values()), 'each of them is there after a kill')
    bad = [e for e, digest in acknowledged.values() if hashlib.sha256(server.body_of(e)).hexdigest() != digest]
    is_equal(bad, [], 'byte for byte')
    is_equal(server.stop(), 0, 'and it stops in order')
done()
