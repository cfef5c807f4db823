#!/usr/bin/env python3
"""The process's descriptors are used up: connections are still accepted and events taken, stored bodies are still read, nothing spins,
what cannot go on says so, and all is well without a restart once there is room."""
import os, resource, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *


def cpu_s(pid):
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


with Server(threads=1, options=['--segment-bytes', '1M']) as server:
    server.apply(GITHUB_SOURCE)
    pid, connection, stored = server.process.pid, server.connect(), []
    for i in range(400):  # over three segments, so that the first are sealed
        body = os.urandom(8000)
        answer = connection.request('POST', '/hooks/repo', body, github(body, SECRET))
        if answer.status == 200:
            stored.append((answer.json['id'], body))
    open_ones = {int(name) for name in os.listdir('/proc/%d/fd' % pid)}
    limit = min(set(range(len(open_ones) + 1)) - open_ones)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))

    answers = []
    held = [server.connect() for _ in range(50)]
    for i, one in enumerate(held):
        body = b'{"n":%d}' % i
        answers.append(one.request('POST', '/hooks/repo', body, github(body, SECRET)))
    is_equal({a.status for a in answers}, {200}, 'no descriptor left (%d): 50 connections are accepted and answered' % limit)
    for turn in range(2):
        same = [server.body_of(event) == body for event, body in stored[::40]]
        ok(all(same), 'bodies of all segments are read (%d of %d)' % (sum(same), len(same)))
    used = cpu_s(pid)
    time.sleep(1)
    used = cpu_s(pid) - used
    ok(used < 0.3, 'nothing spins: %.2f s of CPU in a second' % used)

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
       'without room for another segment: 503 with Retry-After') or diag(statuses)
    same = [server.body_of(event) == body for event, body in stored[::60]]
    ok(all(same), 'bodies are still read (%d of %d)' % (sum(same), len(same)))

    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    end, status = time.monotonic() + 40, 0
    while status != 200 and time.monotonic() < end:
        body = os.urandom(8000)
        status = server.post('/hooks/repo', body, github(body, SECRET)).status
        time.sleep(0.1)
    is_equal(status, 200, 'with room again it goes on without a restart')
    is_equal(server.stop(), 0, 'and stops in order')
done()
