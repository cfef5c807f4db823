#!/usr/bin/env python3
"""A burst of far more senders than there are slots, in front of a full server: they wait their turn, and each has its answer. None is
reset, none is lost, whether it was accepted beyond the last slot or still stood in the backlog."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SLOTS, BURST = 8, 300


def take_all(server):
    idle = [server.connect() for _ in range(SLOTS)]
    for connection in idle:
        connection.request('GET', '/health/live')
    return idle


def world(work):
    def run():
        with Server(threads=1, options=['--connections', str(SLOTS)]) as server:
            server.apply(GITHUB_SOURCE)
            work(server)
            is_equal(server.stop(), 0, 'and it stops in order')
    return run


def burst(server, turn):
    # All slots are taken by connections that are idle; the accept is not armed, or may take all of the backlog at once.
    idle = take_all(server) if turn == 'full' else []
    senders = []
    for _ in range(BURST):
        body = os.urandom(200)
        connection = server.connect(timeout=20)
        connection.send(request_bytes('POST', '/hooks/repo', body, dict(github(body, SECRET), Connection='close')))
        senders.append(connection)
    time.sleep(0.3)
    for connection in idle:
        connection.close()
    statuses = {}
    for connection in senders:
        try:
            what = connection.read().status
            what = what if connection.at_end() else 'not closed'
        except (OSError, Broken) as problem:
            what = type(problem).__name__
        statuses[what] = statuses.get(what, 0) + 1
        connection.close()
    is_equal(statuses, {200: BURST}, '%s: %d senders at once for %d slots' % (turn, BURST, SLOTS))
    is_equal(len(server.events()), BURST, '%s: every event is there' % turn)


def gave_up(server):
    """Who gave up while it waited takes no slot and hurts nobody."""
    idle = take_all(server)
    gone = [server.connect() for _ in range(50)]
    for connection in gone:
        connection.send(b'POST /hooks/repo HTTP/1.1\r\n')
        connection.close()
    waiting = server.connect(timeout=20)
    waiting.send(request_bytes('GET', '/health/live'))
    for connection in idle:
        connection.close()
    is_equal(waiting.read().status, 200, 'who waits behind fifty that gave up has its answer')
    waiting.close()


def make_room(server):
    """Slots that idle connections keep are freed for those who wait, long before the idle time-out."""
    idle = take_all(server)
    began = time.monotonic()
    waiting = server.connect(timeout=30)
    waiting.send(request_bytes('GET', '/health/live'))
    status = waiting.read().status
    ok(status == 200 and time.monotonic() - began < 15, 'eight idle connections make room after %.1f s' % (time.monotonic() - began))
    for connection in idle + [waiting]:
        connection.close()


at_once(world(lambda server: burst(server, 'full')), world(lambda server: burst(server, 'with free slots')),
        world(gave_up), world(make_room))
done()
