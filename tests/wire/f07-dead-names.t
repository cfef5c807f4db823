#!/usr/bin/env python3
"""Three hundred destinations whose names nobody answers for: one with a good name that was never asked for either does not
wait for them, nor does one that is made later."""
import os, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from dns_double import DnsDouble
from sink import Sink

SOURCE = '''
kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: s3cr3t}]}}
'''
DEAD = 300


def destination(name, port, path):
    return '''---
kind: Destination
metadata: {name: %s}
spec: {url: "http://%s.test:%d%s", allowPrivate: true}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, name, port, path, name, name)


def post(server):
    body = json.dumps({'at': time.time()}).encode()
    server.post('/hooks/repo', body, github(body, 's3cr3t'))
    return time.time()


dns = DnsDouble()
for i in range(DEAD):
    dns.set('dead-%d.test' % i, 'A', 'hang')
    dns.set('dead-%d.test' % i, 'AAAA', 'hang')
for name in ('good', 'newer'):
    dns.set(name + '.test', 'A', '127.0.0.1')
with Sink() as sink, Server(options=['--resolver', dns.address], threads=1) as server:
    server.apply(SOURCE)
    for at in range(0, DEAD, 100):
        server.apply(''.join(destination('dead-%d' % i, 9, '/') for i in range(at, at + 100)))
    server.apply(destination('good', sink.port, '/good'))
    began = post(server)
    ok(sink.wait('/good', 1, 20), 'the good one gets its event')
    took = sink.got('/good')[0].at - began
    ok(took < 3, 'after %.2f s, behind %d names' % (took, DEAD))
    server.apply(destination('newer', sink.port, '/newer'))
    began = post(server)
    ok(sink.wait('/newer', 1, 20), 'one that is made beside them, too')
    took = sink.got('/newer')[0].at - began
    ok(took < 3, 'after %.2f s' % took)
    ok(sum(dns.count('dead-%d.test' % i, 'A') > 0 for i in range(DEAD)) > 200, 'though they are being asked for')
    server.kill()
done()
