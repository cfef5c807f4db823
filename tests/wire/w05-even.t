#!/usr/bin/env python3
"""Few long connections on many cores: whatever the kernel's hash says, each core has its share of them, nothing is lost on the way, and
what goes away makes room for what comes."""
import collections, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'


def core_of(event):
    """An event's id has its journal, which is its core, behind the ten digits of its time."""
    value = 0
    for digit in event[14:18]:
        value = value * 32 + DIGITS.index(digit)
    return value >> 4


def cores(connections):
    found = collections.Counter()
    for connection in connections:
        body = os.urandom(100)
        connection.send(request_bytes('POST', '/hooks/repo', body, github(body, SECRET)))
    for connection in connections:
        found[core_of(connection.read().json['id'])] += 1
    return found


for threads, count in ((4, 8), (2, 64)):
    with Server(threads=threads) as server:
        server.apply(GITHUB_SOURCE)
        connections = [server.connect() for _ in range(count)]
        found = cores(connections)
        share = count // threads
        ok(len(found) == threads and max(found.values()) <= share + 1 + share // 4, '%d connections on %d cores: %s' % (count, threads, sorted(found.values())))
        ok(cores(connections) == found, 'where they are they stay')
        # All of one core's go away, and as many come.
        for _ in range(3):
            first = cores(connections)
            gone = [c for c in connections[:count // 2]]
            for connection in gone:
                connection.close()
            connections = connections[count // 2:]
            time.sleep(0.2)
            connections += [server.connect() for _ in gone]
        found = cores(connections)
        ok(max(found.values()) <= share + 1 + share // 4, 'after others came in their place: %s' % sorted(found.values()))
        # Many that come and go at once, while it stops.
        load = Load(server.port, connections=16, repeat=0.1).start()
        flood = []
        for _ in range(200):
            flood.append(server.connect())
            flood[-1].send(request_bytes('GET', '/health/live'))
        ok(all(c.read().status == 200 for c in flood), 'two hundred more at once are answered')
        code = server.stop()
        load.stop()
        is_equal(code, 0, 'it stops in order')
        server.start()
        held = set(e['deliveryId'] for e in server.events('state=accepted'))
        is_equal(len([d for d in load.acknowledged if d not in held]), 0, 'nothing of %d acknowledged is lost' % len(load.acknowledged))
done()
