#!/usr/bin/env python3
"""Documents that are made to hurt: deep, wide, ambiguous, packed. Each is answered in time, within memory, and webhooks go on; what
is a webhook's body is stored as it came, whatever it is."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SOURCES = GITHUB_SOURCE + """
---
kind: EventSource
metadata: {name: pay}
spec: {type: stripe, path: pay, verification: {secrets: [{value: whsec_documents}]}, limits: {bodyBytes: 16777216}}
"""


def peak_mib(server):
    with open('/proc/%d/status' % server.process.pid) as f:
        return int([l for l in f if l.startswith('VmHWM')][0].split()[1]) >> 10


def timed(server, what, expected, seconds, method, path, body, headers=None):
    began = time.monotonic()
    answer = server.api(method, path, body, headers)
    took = time.monotonic() - began
    codes = expected if isinstance(expected, tuple) else (expected,)
    ok(answer.status in codes and took < seconds, '%s: %d in %.2f s' % (what, answer.status, took)) or diag(answer)
    return answer


def laughs(levels, width):
    lines = ['a0: &a0 ha']
    for i in range(1, levels + 1):
        lines.append('a%d: &a%d [%s]' % (i, i, ', '.join(['*a%d' % (i - 1)] * width)))
    return '\n'.join(lines).encode()


# ulimit -s: nothing may use the stack as deep as a document is.
with Server(start=False) as server:
    server.start(prefix=['bash', '-c', 'ulimit -s 1024; exec "$@"', 'stack'])
    server.apply(SOURCES)
    memory = peak_mib(server)
    yaml, js = {'Content-Type': 'application/yaml'}, {'Content-Type': 'application/json'}
    apply = '/api/v1/apply'
    for what, body, kind in (
            ('100,000 [', b'[' * 100000, js), ('100,000 [ in YAML', b'[' * 100000, yaml),
            ('100,000 {"a":', b'{"a":' * 100000, js), ('100,000 levels of YAML', b'\n'.join(b' ' * i + b'- ' for i in range(2000)), yaml),
            ('a billion laughs', laughs(9, 9), yaml), ('aliases', b'a: &a {x: 1}\nb: {<<: *a}', yaml),
            ('a tag', b'!!python/object/apply:os.system ["true"]', yaml), ('a tag on a field', b'kind: !secret Canvas', yaml),
            ('a key twice, JSON', b'{"kind":"Canvas","kind":"Secret","metadata":{"name":"x"}}', js),
            ('a key twice, YAML', b'kind: Canvas\nkind: Secret\nmetadata: {name: x}', yaml),
            ('something behind the document', b'{"kind":"Canvas","metadata":{"name":"x"}} x', js),
            ('NaN', b'{"kind":"Canvas","metadata":{"name":"x"},"spec":NaN}', js),
            ('half a surrogate', b'{"kind":"Canvas","metadata":{"name":"\\ud800"}}', js),
            ('overlong UTF-8', b'{"kind":"Canvas","metadata":{"name":"\xc0\xaf"}}', js),
            ('a NUL', b'{"kind":"Canvas","metadata":{"name":"a\\u0000b"}}', js),
            ('1e400', b'{"kind":"EventSource","metadata":{"name":"x"},"spec":{"type":"generic","limits":{"bodyBytes":1e400}}}', js),
            ('a number above 2^64', b'kind: EventSource\nmetadata: {name: x}\nspec: {type: generic, limits: {bodyBytes: 99999999999999999999}}', yaml)):
        answer = timed(server, what, (400, 413, 422), 1, 'POST', apply, body, kind)
        ok('code' in (answer.json if answer.body else {}), what + ': says why')
    wide = b'{' + b','.join(b'"k%d":1' % i for i in range(100000)) + b'}'
    timed(server, '100,000 keys', 400, 2, 'POST', apply, wide, js)
    timed(server, 'a string of 7 MB', 400, 2, 'POST', apply, b'{"kind":"%s"}' % (b'x' * 7000000), js)
    timed(server, 'a body over 8 MB', 413, 2, 'POST', apply, b'{"kind":"%s"}' % (b'x' * 9000000), js)
    for what, line in (('empty documents', b'---\n'), ('empty documents with an end', b'---\n...\n'), ('values for documents', b'- !!str a\n')):
        answer = timed(server, '8 MB of ' + what, 413, 2, 'POST', apply, line * (8000000 // len(line)), yaml)
        ok('too many documents' in answer.json['message'], what + ': says why')
    answer = timed(server, 'a form', 415, 1, 'POST', apply, b'kind=Canvas', {'Content-Type': 'application/x-www-form-urlencoded'})
    # What YAML 1.1 readers take for booleans are strings here.
    for word in ('on', 'no', 'y'):
        answer = timed(server, 'the name "%s"' % word, 200, 1, 'POST', apply, b'kind: Canvas\nmetadata: {name: %s}' % word.encode(), yaml)
        is_equal(answer.json['results'][0]['name'] if answer.status == 200 else answer, word, word + ' is a word')
    timed(server, 'a name of 7 MB', 400, 2, 'POST', apply, b'kind: User\nmetadata: {name: u}\nspec: {fullName: "%s"}' % (b'n' * 7000000), yaml)
    ok(peak_mib(server) - memory < 200, 'memory at its peak: %d MiB more' % (peak_mib(server) - memory))

    # ---- objects that are large: a page of a list ends, and the next one goes on
    kept = [{'type': 't%d' % i, 'filters': [{'type': 'FILTER_TYPE_DATA', 'data': {'expression': '$.a == "%s"' % ('x' * 3900)}} for _ in range(16)]}
            for i in range(64)]
    for name in ('large1', 'large2', 'large3', 'large4'):
        document = {'kind': 'EventSource', 'metadata': {'name': name}, 'spec': {'type': 'generic', 'verification': {'scheme': 'none'}, 'events': kept}}
        timed(server, 'a source of 4 MB', 200, 5, 'POST', apply, json.dumps(document).encode(), js)
    answer = timed(server, 'their list', 200, 5, 'GET', '/api/v1/event-sources', b'')
    ok(answer.json.get('next') and len(answer.body) < 16000000, 'ends a page before it is 16 MB')
    code, out, err = server.cli('get', 'event-sources')
    ok(code == 0 and all(name in out for name in ('large1', 'large4', 'pay', 'repo')), 'and the command lists all of them')

    # ---- a webhook's body is bytes: what is no JSON is taken and stored, and the type is what could be read of it
    def paid(what, body, seconds=1.0):
        began = time.monotonic()
        answer = server.post('/hooks/pay', body, stripe(body, 'whsec_documents'))
        took = time.monotonic() - began
        good = ok(answer.status in (200, 400) and took < seconds, 'webhook, %s: %d in %.2f s' % (what, answer.status, took))
        if good and answer.status == 200:
            is_equal(server.body_of(answer.json['id']) == body, True, what + ': stored byte for byte')
        return answer

    paid('100,000 [', b'{"id":"evt_deep","x":' + b'[' * 100000)
    paid('100,000 { before the id', b'{"x":' + b'{"a":' * 100000 + b'1' + b'}' * 100000 + b',"id":"evt_late","type":"a.b"}')
    paid('a string of 10 MB', b'{"s":"' + b'x' * 10000000 + b'","id":"evt_long","type":"a.b"}', 3)
    paid('big numbers', b'{"id":"evt_big","type":"a.b","n":[9007199254740993,1e400,-0,0.1,1E+2]}')
    first = paid('a key twice', b'{"id":"evt_one","type":"a.b","id":"evt_two"}')
    paid('a byte order mark', b'\xef\xbb\xbf{"id":"evt_bom","type":"a.b"}')
    paid('half a surrogate', b'{"id":"evt_\\ud800","type":"a.b"}')
    paid('overlong UTF-8', b'{"id":"evt_\xc0\xaf","type":"a.b"}')
    paid('a NUL', b'{"id":"evt_\\u0000","type":"a\\u0000b"}')
    paid('no JSON', b'\x00\x01\x02')
    paid('gzip', b'\x1f\x8b\x08\x00\x00\x00\x00\x00')
    paid('100,000 keys', wide[:-1] + b',"id":"evt_wide","type":"a.b"}')
    listed = server.api('GET', '/api/v1/events?limit=1000')
    ok(listed.status == 200 and json.loads(listed.body.decode('utf-8')), 'the list of them is JSON and UTF-8')
    body = b'{}'
    is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, 'webhooks go on')
    is_equal(server.stop(), 0, 'and it stops in order')
done()
