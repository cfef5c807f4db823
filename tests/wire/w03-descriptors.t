#!/usr/bin/env python3
"""The process's descriptors are used up: events are still taken, stored bodies are still read, nothing spins, what cannot go on says so,
and all is well without a restart once there is room. Connections are still accepted where a ring has a table for them (Linux 6.13);
before that they wait. On newer kernels both are looked at."""
import os, resource, select, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from old_kernel import old_kernel


def short_of_descriptors(server):
    plain = 'direct-descriptors' not in server.log_text()
    what = 'without a table: ' if plain else ''
    server.apply(GITHUB_SOURCE)
    pid, connection, stored = server.process.pid, server.connect(), []
    admin = Connection(server.admin)  # stays: no other can be had

    def body_of(event):
        return admin.request('GET', '/api/v1/events/%s/body' % event, headers={'Authorization': 'Bearer ' + server.token}).body

    for i in range(400):  # over three segments, so that the first are sealed
        body = os.urandom(8000)
        answer = connection.request('POST', '/hooks/repo', body, github(body, SECRET))
        if answer.status == 200:
            stored.append((answer.json['id'], body))
    body_of(stored[-1][0])  # accepted
    open_ones = {int(name) for name in os.listdir('/proc/%d/fd' % pid)}
    limit = min(set(range(len(open_ones) + 1)) - open_ones)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))

    held = [server.connect() for _ in range(50)]
    for i, one in enumerate(held):
        body = b'{"n":%d}' % i
        one.send(request_bytes('POST', '/hooks/repo', body, github(body, SECRET)))
    if plain:
        readable = select.select([one.sock for one in held], [], [], 1)[0]
        # An accept that was asked for before goes by the limit of then: there are up to 32.
        ok(len(readable) <= 32, what + 'no descriptor left (%d): 50 connections wait, but for %d' % (limit, len(readable)))
    else:
        is_equal({one.read().status for one in held}, {200},
                 'no descriptor left (%d): 50 connections are accepted and answered' % limit)
    for turn in range(2):
        same = [body_of(event) == body for event, body in stored[::40]]
        ok(all(same), what + 'bodies of all segments are read (%d of %d)' % (sum(same), len(same)))
    used = server.cpu_s()
    time.sleep(1)
    used = server.cpu_s() - used
    ok(used < 0.3, what + 'nothing spins: %.2f s of CPU in a second' % used)

    statuses, refused = {}, None
    for i in range(700):  # no new segment can be made
        body = os.urandom(8000)
        answer = connection.request('POST', '/hooks/repo', body, github(body, SECRET))
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status != 200:
            refused = answer
            break
        stored.append((answer.json['id'], body))
    ok(refused is not None and refused.status == 503 and 'retry-after' in refused.headers,
       what + 'without room for another segment: 503 with Retry-After') or diag(statuses)
    same = [body_of(event) == body for event, body in stored[::60]]
    ok(all(same), what + 'bodies are still read (%d of %d)' % (sum(same), len(same)))

    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    if plain:
        # Perhaps a moment before the journal has its next segment.
        ok({one.read().status for one in held} <= {200, 503}, what + 'with room again, those who waited are answered')
    end, status = time.monotonic() + 40, 0
    while status != 200 and time.monotonic() < end:
        body = os.urandom(8000)
        status = server.post('/hooks/repo', body, github(body, SECRET)).status
        time.sleep(0.1)
    is_equal(status, 200, what + 'with room again it goes on without a restart')
    is_equal(server.stop(), 0, what + 'and stops in order')


with Server(threads=1, options=['--segment-bytes', '1M']) as new:
    short_of_descriptors(new)
with Server(start=False, threads=1, options=['--segment-bytes', '1M']) as old:
    old.start(environment=old_kernel())
    short_of_descriptors(old)
done()
