#!/usr/bin/env python3
"""Only the store's disk stands still, and the control thread in it: webhooks go on, but it is not ready, for who would come to be
configured finds nobody; and it is when the disk moves again. What is asked of the journal twice counts once for a source's rate."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from faulty_disk import FaultyDisk

RATED = '''
kind: EventSource
metadata: {name: rated}
spec:
  type: github
  path: rated
  verification: {secrets: [{value: %s}]}
  limits: {bodyBytes: 1048576, perSecond: 24}
''' % SECRET

with FaultyDisk('control') as disk:
    server = disk.watch(Server(data=disk.link, threads=1))
    server.apply(GITHUB_SOURCE + '---' + RATED)

    # ---- large bodies wait for each other's writes, and are asked again with each of them
    bodies = [os.urandom(600000) for _ in range(20)]
    connections = [server.connect(timeout=30) for _ in bodies]
    time.sleep(1.1)  # all of its second is left
    for connection, body in zip(connections, bodies):
        connection.send(request_bytes('POST', '/hooks/rated', body, github(body, SECRET))[:-1])
    for connection, body in zip(connections, bodies):
        connection.send(body[-1:])
    statuses = [connection.read().status for connection in connections]
    is_equal(statuses.count(429), 0, 'twenty at once, of a source that may have 24 a second: %r' % sorted(set(statuses)))

    # ---- the control thread stands
    disk.hang('all', 'data.mdb')
    apply = Connection(server.admin, timeout=60)
    apply.send(request_bytes('POST', '/api/v1/apply', b'kind: Secret\nmetadata: {name: more}\nspec: {data: {a: b}}\n',
                             {'Content-Type': 'application/yaml', 'Authorization': 'Bearer ' + server.token}))
    ok(when(lambda: disk.counts.get('write') or disk.counts.get('fsync')), 'an apply stands in the disk')
    is_equal(server.get('/health/ready').status, 200, 'which may pass')
    began = time.monotonic()
    ok(when(lambda: server.get('/health/ready').status == 503, 14), 'it lasts: not ready')
    ok(time.monotonic() - began > 7, 'after ten seconds, not sooner: %.1f' % (time.monotonic() - began))
    answer = server.get('/health/ready')
    ok(b'has not answered for' in answer.body, 'and it is said why: %s' % answer.body.decode()[:90])
    body = os.urandom(300)
    is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, 'webhooks are taken all the while')
    disk.mend()
    ok(when(lambda: server.get('/health/ready').status == 200), 'the disk moves again: ready')
    apply.close()
    is_equal(server.stop(), 0, 'it stops in order')
done()
