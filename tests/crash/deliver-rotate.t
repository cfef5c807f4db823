#!/usr/bin/env python3
"""Secrets are rotated under load, with kill -9 in between and retries pending: a destination's signing secret, twice within the
grace, while it is paused, and in a Secret that it refers to; a source's secret. Every delivery verifies with what was told by then,
by the algorithm of Standard Webhooks; no event is lost. SECONDS=3"""
import base64
import hashlib
import hmac
import os
import sys
import time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

seconds = float(os.environ.get('SECONDS', '0.2'))
MARGIN = 0.5    # what was signed before may still be on its way


def key(letter):
    return 'whsec_' + base64.b64encode(letter.encode() * 32).decode()


def signed_by(request, letters):
    """Which of these keys made one of its signatures."""
    found = set()
    given = [s.split(',', 1)[1] for s in request.headers['webhook-signature'].split(' ') if s.startswith('v1,')]
    content = ('%s.%s.' % (request.headers['webhook-id'], request.headers['webhook-timestamp'])).encode() + request.body
    for letter in letters:
        mac = hmac.new(base64.b64decode(key(letter)[6:]), content, hashlib.sha256).digest()
        if any(hmac.compare_digest(base64.b64encode(mac).decode(), one) for one in given):
            found.add(letter)
    return found, len(given)


def source(*secrets):
    return '''
kind: Secret
metadata: {name: hub}
spec: {data: {%s}}
---
kind: EventSource
metadata: {name: repo}
spec:
  type: github
  path: repo
  verification: {secrets: [%s]}
''' % (', '.join('k%d: %s' % (i, s) for i, s in enumerate(secrets)),
       ', '.join('{valueFrom: {secret: {name: hub, key: k%d}}}' % i for i in range(len(secrets))))


def values(letters):
    return ', '.join('{value: %s}' % key(letter) for letter in letters)


def destinations(letters, paused='false'):
    text = '''---
kind: Secret
metadata: {name: signing}
spec: {data: {%s}}
''' % ', '.join('s%d: %s' % (i, key(letter)) for i, letter in enumerate(letters))
    refs = ', '.join('{valueFrom: {secret: {name: signing, key: s%d}}}' % i for i in range(len(letters)))
    for name, secrets in (('good', values(letters)), ('flaky', values(letters)), ('held', values(letters)), ('refers', refs)):
        text += '''---
kind: Destination
metadata: {name: %s}
spec:
  url: %s
  allowPrivate: true
  paused: %s
  signing: {secrets: [%s]}
  retry: {schedule: [200ms, 400ms, 800ms, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s], jitter: 0.2}
---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, sink.url('/' + name), paused if name == 'held' else 'false', secrets, name, name)
    return text


NAMES = ('good', 'flaky', 'held', 'refers')
told = []   # (from, to, letters): between an apply's begin and its answer both may be right
acknowledged = {}


def rotate(server, letters, paused='false'):
    began = time.time()
    server.apply(destinations(letters, paused))
    told.append((began, time.time(), letters))


def load_for(server, secret, kill=False):
    load = Load(server.port, connections=3, body_bytes=(10, 1500), secret=secret).start()
    time.sleep(seconds)
    if kill:
        server.kill()
    load.stop()
    acknowledged.update(load.acknowledged)
    if kill:
        server.start()
    return load


with Sink() as sink, Server() as server:
    sink.manner('/flaky', failing=0.3)
    server.apply(source('first-secret'))
    rotate(server, 'a')
    load_for(server, 'first-secret')

    for letters, kill in (('ba', True), ('cb', False), ('dc', True), ('d', True)):
        load = Load(server.port, connections=3, body_bytes=(10, 1500), secret='first-secret').start()
        time.sleep(seconds / 2)
        rotate(server, letters)
        if kill:
            server.kill()       # at once: what was told before it died is kept
        load.stop()
        acknowledged.update(load.acknowledged)
        if kill:
            server.start()
        load_for(server, 'first-secret', kill=not kill)

    # A source's secret: both, then the new one alone; senders change in between.
    load = Load(server.port, connections=2, secret='first-secret').start()
    server.apply(source('second-secret', 'first-secret'))
    other = Load(server.port, connections=2, secret='second-secret').start()
    time.sleep(seconds)
    load.stop()
    other.stop()
    ok(load.refused == 0 and other.refused == 0, 'within the grace of a source both secrets are right (%d, %d refused)' %
       (load.refused, other.refused))
    acknowledged.update(load.acknowledged)
    acknowledged.update(other.acknowledged)
    server.apply(source('second-secret'))
    server.kill()
    server.start()
    load = load_for(server, 'second-secret')
    is_equal(load.refused, 0, 'and after it the new one')
    old = load_for(server, 'first-secret')
    ok(not old.acknowledged and old.refused > 0, 'not the old one')

    # While it is paused: what waits is signed when it goes.
    rotate(server, 'd', paused='true')
    load_for(server, 'second-secret')
    rotate(server, 'e', paused='true')
    server.kill()
    server.start()
    rotate(server, 'e')
    resumed = time.time()
    load_for(server, 'second-secret')

    # A secret that somebody refers to cannot go.
    answer = server.api('DELETE', '/api/v1/secrets/signing')
    ok(answer.status == 409 and b'refers' in answer.body, 'a Secret in use stays: %s' % answer)
    answer = server.api('POST', '/api/v1/apply', b'kind: Secret\nmetadata: {name: signing}\nspec: {data: {other: %s}}\n' % key('f').encode())
    ok(answer.status == 400 and b'refers' in answer.body, 'and so does its key: %s' % answer)
    time.sleep(max(0, resumed + MARGIN - time.time()))
    while not load_for(server, 'second-secret').acknowledged:   # a machine with much to do
        pass

    ids = set(event for event, _ in acknowledged.values())
    for name in NAMES:
        end = time.monotonic() + 60
        while time.monotonic() < end and not ids <= set(sink.ids('/' + name)):
            time.sleep(0.2)
        is_equal(len(ids - set(sink.ids('/' + name))), 0, '%s: each of %d events arrived' % (name, len(ids)))
        wrong, late, total = [], [], 0
        for request in sink.got('/' + name):
            total += 1
            found, count = signed_by(request, 'abcdef')
            stamp = request.at
            now = [letters for began, ended, letters in told if ended + MARGIN < stamp]
            soon = [letters for began, ended, letters in told if began <= stamp and stamp <= ended + MARGIN]
            may = [set(letters) for letters in ([now[-1]] if now else []) + soon]
            if found not in may or count != len(found):
                wrong.append((stamp, found, may))
        is_equal(len(wrong), 0, '%s: %d requests are each signed by all that were told, and by no other: %s' %
                 (name, total, wrong[:2]))
    is_equal(sorted(set().union(*(signed_by(r, 'abcdef')[0] for r in sink.got('/held') if r.at > resumed + MARGIN))), ['e'],
             'what waited in a pause is signed by the new one')
    is_equal(server.stop(), 0, 'stops')
done()
