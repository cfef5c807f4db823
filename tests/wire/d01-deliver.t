#!/usr/bin/env python3
"""Deliveries to real receivers: one that works, is slow, fails, throttles, redirects, resets, is dead; restarts in
between."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink, signature_fits

SECRET_TEXT = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
SOURCE = '''
kind: EventSource
metadata: {name: repo}
spec:
  type: github
  path: repo
  verification: {secrets: [{value: s3cr3t}]}
'''


def destination(sink, name, path=None, more=''):
    return '''---
kind: Destination
metadata: {name: %s}
spec:
  url: %s
  allowPrivate: true
  signing: {scheme: standard-webhooks, secrets: [{value: %s}]}
  retry: {schedule: [200ms, 300ms, 500ms, 1s, 1s, 1s, 1s, 1s], jitter: 0.1}
%s---
kind: Route
metadata: {name: to-%s}
spec: {from: [{source: repo}], to: [{destination: %s}]}
''' % (name, sink.url(path or '/' + name), SECRET_TEXT, more, name, name)


def post(server, count, start=0, event='push'):
    connection = server.connect()
    ids = []
    for i in range(count):
        body = json.dumps({'n': start + i}).encode()
        answer = connection.request('POST', '/hooks/repo', body, github(body, 's3cr3t', event=event))
        assert answer.status == 200, answer
        ids.append(answer.json['id'])
    connection.close()
    return ids


def one_kind(sink, server):
    """Of a provider that sends one kind of event only no request says which. Its name counts all the same: for the source's own events, for
    routes, and for who receives it; as it comes, and read back from the journal."""
    server.apply('''
kind: EventSource
metadata: {name: bot}
spec: {type: telegram, path: bot, verification: {secrets: [{value: s3cr3t}]}, events: [{type: update}]}
---
kind: Destination
metadata: {name: bots}
spec: {url: %s, allowPrivate: true}
---
kind: Route
metadata: {name: updates}
spec: {from: [{source: bot, types: [update]}], to: [{destination: bots}]}
''' % sink.url('/bots'))

    def update(number):
        body = b'{"update_id":%d}' % number
        answer = server.post('/hooks/bot', body, {'Content-Type': 'application/json', 'X-Telegram-Bot-Api-Secret-Token': 's3cr3t'})
        assert answer.status == 200, answer

    update(1)
    ok(sink.wait('/bots', 1, 5), 'one kind of event, which no request names: a route that asks for it gets it')
    is_equal([(e['type'], e['state']) for e in server.events('source=bot')], [('update', 'accepted')], 'its source takes it')
    is_equal(server.api('POST', '/api/v1/destinations/bots/pause').status, 200, 'paused')
    update(2)
    is_equal(server.api('POST', '/api/v1/destinations/bots/resume').status, 200, 'and resumed')
    ok(sink.wait('/bots', 2, 5), 'read back it is the same')
    is_equal([r.headers.get('becket-type') for r in sink.got('/bots')], ['update'] * 2, 'and the receiver is told')


def as_cloudevents(sink, server):
    """The same event in every format, at once and, after a failure, read back from the journal; one becket takes it from another."""
    yaml = '''
kind: Secret
metadata: {name: bus}
spec: {data: {authorization: Bearer t0k3n}}
'''
    formats = ('original', 'cloudevents-binary', 'cloudevents-structured')
    for name in formats:
        yaml += destination(sink, name, more='  format: %s\n' % name)
        sink.manner('/' + name, answers=[500, 200])
    # Into a source of one's own, in both ways.
    for name in formats[1:]:
        yaml += '''---
kind: EventSource
metadata: {name: %s}
spec: {type: cloudevents, path: %s, verification: {secrets: [{value: t0k3n}]}}
''' % (name, name)
        yaml += destination(sink, 'back-' + name, more='''  format: %s
  headers: {Authorization: {valueFrom: {secret: {name: bus, key: authorization}}}}
''' % name).replace(sink.url('/back-' + name), 'http://127.0.0.1:%d/hooks/%s' % (server.port, name))
    server.apply(yaml)
    id = post(server, 1)[0]
    got = {}
    for name in formats:
        ok(sink.wait('/' + name, 1, 10), name + ': delivered, the second time')
        both = sink.got('/' + name)
        ok([r.status for r in both] == [500, 200] and both[0].body == both[1].body, 'as it was the first time')
        ok(all(signature_fits(r, SECRET_TEXT) for r in both), 'signed as it is sent')
        got[name] = both[1]
    plain, binary, structured = (got[name] for name in formats)
    is_equal(binary.body, plain.body, 'binary: the body as it came')
    is_equal({k: v for k, v in binary.headers.items() if k.startswith('ce-') and k != 'ce-time'},
             {'ce-specversion': '1.0', 'ce-id': id, 'ce-source': '/event-sources/repo', 'ce-type': 'push'}, 'and its attributes')
    event = json.loads(structured.body)
    is_equal(event.pop('time'), binary.headers['ce-time'], 'one time')
    is_equal(event, {'specversion': '1.0', 'id': id, 'source': '/event-sources/repo', 'type': 'push', 'datacontenttype': 'application/json',
                     'data': json.loads(plain.body)}, 'structured: one document')
    is_equal(structured.headers['content-type'], 'application/cloudevents+json; charset=utf-8', 'which says what it is')
    for name in formats[1:]:
        taken = when(lambda: server.events('source=' + name))
        is_equal([(e['type'], e['deliveryId'], e['state']) for e in taken], [('push', id, 'accepted')], 'a source takes it back in')


def main():
    with Sink() as sink, Server() as server:
        server.apply(SOURCE)
        before = post(server, 3)
        server.apply(destination(sink, 'good'))
        ids = post(server, 50, start=100)
        ok(sink.wait('/good', 50), 'every event arrives')
        is_equal(sorted(sink.ids('/good')), sorted(ids), 'once, under its own id, and none from before the route')
        first = sink.got('/good')[0]
        ok(all(signature_fits(r, SECRET_TEXT) for r in sink.got('/good')), 'signed by Standard Webhooks')
        ok(abs(int(first.headers['webhook-timestamp']) - time.time()) < 10, 'with the time of sending')
        is_equal((first.headers['becket-source'], first.headers['becket-type'], first.headers['becket-attempt']),
                 ('repo', 'push', '1'), 'source, type and attempt are told')
        # Which of them comes first is nobody's promise: several are under way at once.
        is_equal(sorted(json.loads(r.body)['n'] for r in sink.got('/good')), list(range(100, 150)), 'the bodies as they were')
        ok('x-github-event' in first.headers and 'x-hub-signature-256' in first.headers, "the provider's own headers")
        ok(first.headers['traceparent'].startswith('00-'), 'a trace')
        ok(sink.connections <= 40, 'over connections that are kept (%d for 50)' % sink.connections)

        # Every manner at once; the good one must not notice.
        sink.manner('/flaky', answers=[500, 503, 200])
        sink.manner('/redirect', status=302, headers=['Location: ' + sink.url('/good')])
        sink.manner('/throttle', answers=[429, 200], headers=['Retry-After: 2'])
        sink.manner('/reset', answers=[0, 0, 200])
        sink.manner('/slow', delay=1)
        sink.manner('/dead', status=500)
        yaml = ''
        for name in ('flaky', 'redirect', 'throttle', 'reset', 'slow', 'dead'):
            yaml += destination(sink, name)
        dead_port = free_port()
        yaml += destination(sink, 'nobody').replace(sink.url('/nobody'), 'http://127.0.0.1:%d/' % dead_port)
        server.apply(yaml)
        ids = post(server, 4, start=200)
        began = time.monotonic()
        ok(sink.wait('/good', 54, 5), 'the good one gets them at once, whatever the others do')
        ok(time.monotonic() - began < 3, 'soon')
        ok(sink.wait('/flaky', 4), '500, 503, then 200: delivered')
        attempts = sorted(int(r.headers['becket-attempt']) for r in sink.got('/flaky') if r.id == ids[0])
        is_equal(attempts, [1, 2, 3], 'as attempt 3, under the same webhook-id')
        ok(sink.wait('/throttle', 4), '429 with Retry-After, then 200: delivered')
        for event in ids:
            times = [r.at for r in sink.got('/throttle') if r.id == event]
            if not ok(times[1] - times[0] >= 1.9, 'not before it said (%.1f s)' % (times[1] - times[0])):
                break
        ok(sink.wait('/reset', 4), 'two resets, then 200: delivered')
        ok(sink.wait('/slow', 4), 'the slow one, too')
        ok(when(lambda: len(sink.got('/redirect', 302)) >= 8), 'a redirect is a failure and tried again')
        is_equal(len(set(sink.ids('/good'))), 54, 'and never followed')

        # A restart goes on where it was.
        code = server.stop()
        is_equal(code, 0, 'a stop with retries pending')
        sink.manner('/dead', status=200)
        with_sink = Sink(dead_port)
        with_sink.start()
        server.start()
        ok(sink.wait('/dead', 4, 30), 'what failed is delivered after a restart')
        ok(when(lambda: len(set(r.id for r in with_sink.got('/'))) == 4, 40), 'and what nobody listened to')
        is_equal(len(sink.ids('/good')), 54, 'nothing twice')
        more = post(server, 10, start=300)
        ok(sink.wait('/good', 64), 'and new ones go on')
        with_sink.close()
        time.sleep(1.5)
        server.kill()
        server.start()
        time.sleep(1)
        duplicates = len(sink.ids('/good')) - len(set(sink.ids('/good')))
        is_equal(duplicates, 0, 'a kill when all is quiet repeats nothing')
        is_equal(server.stop(), 0, 'stops')


def hand_over():
    """A receiver that hangs is cut early enough for the old server to end in order."""
    with Sink() as sink, Server() as server:
        sink.manner('/hang', delay=60)
        server.apply(SOURCE + destination(sink, 'hang'))
        ids = post(server, 3)
        time.sleep(0.5)
        old = server.process
        server.start(same_ports=True, options=['--take-over'])
        is_equal(old.wait(20), 0, 'a hand-over while a receiver hangs')
        ok('drain timed out' not in server.log_text(), 'is orderly')
        sink.manner('/hang', delay=0)
        ok(sink.wait('/hang', 3), 'and the next one delivers')
        is_equal(sorted(set(sink.ids('/hang'))), sorted(ids), 'the same events')


main()
hand_over()
with Sink() as receiver, Server() as one_server:
    one_kind(receiver, one_server)
with Sink() as receiver, Server() as one_server:
    one_server.apply(SOURCE)
    as_cloudevents(receiver, one_server)
done()
