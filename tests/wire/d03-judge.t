#!/usr/bin/env python3
"""The receivers' own libraries judge what a destination receives: standardwebhooks from npm its signatures, cloudevents its
CloudEvents. Wants node and the packages of .ci/signers; their folder is in BECKET_NODE_MODULES, or build/signers."""
import base64
import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from node import *
from sink import Sink

folder = node_folder('standardwebhooks', 'cloudevents')

JUDGE = '''
const { Webhook } = require('standardwebhooks');
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(cases.map(c => {
    try { new Webhook(c.secret).verify(c.body, c.headers); return 'genuine'; } catch (e) { return e.message; }
})));
'''

READER = '''
const { HTTP } = require('cloudevents');
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(cases.map(c => {
    try {
        const e = HTTP.toEvent({ headers: c.headers, body: Buffer.from(c.body, 'base64').toString() });
        e.validate();
        return [e.id, e.source, e.type, ArrayBuffer.isView(e.data) ? Buffer.from(e.data).toString('base64') : e.data];
    } catch (e) { return e.message; }
})));
'''


def judge(cases, by=JUDGE):
    run = subprocess.run(['node', '-e', by], input=json.dumps(cases), capture_output=True, text=True, cwd=folder)
    if run.returncode != 0:
        raise RuntimeError(run.stderr)
    return json.loads(run.stdout)


def destination(*secrets):
    return '''---
kind: Destination
metadata: {name: app}
spec:
  url: %s
  allowPrivate: true
  signing: {scheme: standard-webhooks, secrets: [%s]}
''' % (sink.url('/app'), ', '.join('{value: %s}' % secret for secret in secrets))


OLD, NEW = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'
with Sink() as sink, Server() as server:
    server.apply(GITHUB_SOURCE + '''---
kind: Destination
metadata: {name: app}
spec:
  url: %s
  allowPrivate: true
  signing: {scheme: standard-webhooks, secrets: [{value: %s}, {value: %s}]}
---
kind: Route
metadata: {name: all}
spec: {from: [{source: repo}], to: [{destination: app}]}
''' % (sink.url('/app'), NEW, OLD))
    for text in ('{"plain": 1}', '{"wide": "grüße \u2603"}', '{"numbers": [1.0, 1e3, 9007199254740993]}', '  {"spaces" : true }\n'):
        body = text.encode()
        ok(server.post('/hooks/repo', body, github(body, SECRET)).status == 200, 'posted ' + text.strip())
    ok(sink.wait('/app', 4), 'delivered')
    cases = [dict(secret=secret, body=r.body.decode(), headers=r.headers) for secret in (NEW, OLD) for r in sink.got('/app')]
    is_equal(judge(cases), ['genuine'] * 8, 'genuine with the new and with the old secret')
    broken = [dict(case, body=case['body'] + ' ') for case in cases]
    ok(all('genuine' != verdict for verdict in judge(broken)), 'and it is a judge: an altered body is refused')

    # Rotated under load: the receiver knows one secret at any time, and takes the new one while both sign.
    server.apply(destination(OLD))
    time.sleep(0.2)     # what was signed with both is there
    seen = len(sink.got('/app'))
    ids, over = set(), threading.Event()

    def post():
        number = 0
        while not over.is_set():
            number += 1
            body = json.dumps({'number': number, 'of': threading.get_ident()}).encode()
            ids.add(server.post('/hooks/repo', body, github(body, SECRET)).json['id'])

    posters = [threading.Thread(target=post) for _ in range(2)]
    for poster in posters:
        poster.start()
    time.sleep(0.3)
    server.apply(destination(NEW, OLD))
    time.sleep(0.5)
    switched = time.time()
    time.sleep(0.5)
    server.apply(destination(NEW))
    time.sleep(0.3)
    over.set()
    for poster in posters:
        poster.join()
    when(lambda: ids <= set(sink.ids('/app')))
    ok(ids and ids <= set(sink.ids('/app')), 'each of %d events arrived' % len(ids))
    cases = [dict(secret=OLD if r.at < switched else NEW, body=r.body.decode(), headers=r.headers) for r in sink.got('/app')[seen:]]
    refused = [verdict for verdict in judge(cases) if verdict != 'genuine']
    is_equal(refused, [], 'a receiver that knows one of the two refuses none of %d deliveries' % len(cases))
    signatures = [len(c['headers']['webhook-signature'].split(' ')) for c in cases]
    ok(set(signatures) == {1, 2}, 'signed by one, by both, by one: %s' % {n: signatures.count(n) for n in set(signatures)})
# CloudEvents: what is read is the event, in either mode, of a body that is JSON, text, no text at all, or nothing.
BODIES = {'push': ('application/json', b'{"n":1,"wide":"gr\xc3\xbc\xc3\x9fe"}'), 'form': ('application/x-www-form-urlencoded', b'a=b&c=d'),
          'bytes': ('application/octet-stream', b'\xff\x00\x01'), 'nothing': ('text/plain', b'')}
with Sink() as sink, Server() as server:
    yaml = GITHUB_SOURCE
    for mode in ('binary', 'structured'):
        yaml += '''---
kind: Destination
metadata: {name: %s}
spec: {url: "%s", allowPrivate: true, format: cloudevents-%s}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (mode, sink.url('/' + mode), mode, mode, mode)
    server.apply(yaml)
    ids = {}
    for event, (media, body) in BODIES.items():
        ids[event] = server.post('/hooks/repo', body, dict(github(body, SECRET, event=event), **{'Content-Type': media})).json['id']
    want = {event: [ids[event], '/event-sources/repo', event] for event in BODIES}
    for mode in ('binary', 'structured'):
        ok(sink.wait('/' + mode, len(BODIES)), mode + ': delivered')
        read = judge([dict(headers=r.headers, body=base64.b64encode(r.body).decode()) for r in sink.got('/' + mode)], READER)
        is_equal({e[2] if isinstance(e, list) else '?': e[:3] for e in read}, want, 'read as the events that they are')
        data = {e[2]: e[3] for e in read if isinstance(e, list)}
        is_equal(data.get('push'), json.loads(BODIES['push'][1]), 'the data of one that is JSON')
        if mode == 'structured':
            is_equal(data.get('bytes'), base64.b64encode(BODIES['bytes'][1]).decode(), 'and of one that is no text')
done()
