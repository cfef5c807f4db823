#!/usr/bin/env python3
"""CloudEvents' batches: every event of one request becomes an event of its own, all durable before the answer; each is
de-duplicated by source and id; what is not a good batch leaves nothing. And what repeats without a delivery id."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

BATCH = {'Content-Type': 'application/cloudevents-batch+json; charset=utf-8', 'Authorization': 'Bearer s3cret-token'}


def source(name, type, **spec):
    return {'kind': 'EventSource', 'metadata': {'name': name},
            'spec': dict({'type': type, 'path': name, 'verification': {'secrets': [{'value': 's3cret-token'}]}}, **spec)}


def event(id, source='/a', type='t.one', **more):
    return dict({'specversion': '1.0', 'id': id, 'source': source, 'type': type}, **more)


def hook(server, path, body, headers):
    return Connection(server.port).request('POST', '/hooks/' + path, body, headers)


def batch(server, events, path='ce', headers=BATCH, **style):
    return hook(server, path, json.dumps(events, **style).encode(), headers)


with Server(threads=2) as server:
    server.apply(json.dumps([source('ce', 'cloudevents'), source('off', 'cloudevents', dedupe={'window': '0s'}),
                             source('some', 'cloudevents', events=[{'type': 't.two'}]),
                             source('zoom', 'zoom'), source('hub', 'github')]))
    events = [event('1', data={'n': 1, 'deep': [[[{'x': ']'}]]]}), event('2', type='t.two', data='gr\u00fc\u00dfe, "]}'),
              event('1', source='/b', datacontenttype='text/plain')]
    a = batch(server, events, indent=2, ensure_ascii=False)
    ok(a.status == 200 and (a.json['events'], a.json['duplicates']) == (3, 0), 'three events: %r' % a)
    got = server.events('source=ce&state=accepted')
    got.sort(key=lambda e: e['id'])
    ok([(e['type'], e['deliveryId'], e['account']) for e in got] ==
       [('t.one', '1', '/a'), ('t.two', '2', '/a'), ('t.one', '1', '/b')], 'each with its type, id and source')
    ok([json.loads(server.body_of(e['id'])) for e in got] == events, 'each with its own body')
    ok(server.body_of(got[1]['id']).decode().startswith('{\n'), 'as it was written')
    ok(a.json['id'] == got[0]['id'], 'the answer has the first one\'s id')
    raw = server.api('GET', '/api/v1/events/%s' % got[1]['id'])
    ok('application/cloudevents+json; charset=utf-8' in raw.body.decode() and 's3cret-token' not in raw.body.decode(),
       'its head is that of one event, its secret is blanked')
    again = batch(server, events[1:] + [event('4')])
    ok(again.status == 200 and (again.json['events'], again.json['duplicates']) == (3, 2), 'what was there is no event')
    twice = batch(server, [event('5'), event('5'), event('6')])
    ok((twice.json['events'], twice.json['duplicates']) == (3, 1), 'an event twice in one batch is one')
    alone = hook(server, 'ce', json.dumps(event('6')).encode(), dict(BATCH, **{
        'Content-Type': 'application/cloudevents+json'}))
    ok(alone.json.get('duplicate') is True, 'and the same as alone')
    headers = {'Authorization': 'Bearer s3cret-token', 'ce-id': '6', 'ce-source': '/c', 'ce-type': 't', 'ce-specversion': '1.0'}
    ok('duplicate' not in hook(server, 'ce', b'x', headers).json, 'binary: the id of another source is another')
    ok(hook(server, 'ce', b'x', headers).json.get('duplicate') is True, 'binary: the same source and id')
    count = len(server.events('source=ce&state=accepted'))
    is_equal(count, 7, 'seven events')
    stray = batch(server, [event('7'), event('8')], headers=dict(BATCH, **{'ce-id': 'x', 'ce-source': 'y'}))
    ok((stray.status, stray.json['events'], stray.json['duplicates']) == (200, 2, 0),
       'headers of one event do not name those of a batch')
    count += 2
    a = batch(server, [])
    ok((a.status, a.json['events']) == (200, 0), 'an empty batch')

    # ---- nothing of what is not good
    good = json.dumps(event('9'))
    for body, what in ((good, 'one event'), ('', 'nothing'), ('[' + good, 'no end'), ('[' + good + ',]', 'a comma'),
                       ('[' + good + ']]', 'more behind'), ('x' + good + ']', 'no beginning'), (',' + good + ']', 'a comma first'),
                       ('[' + good + ',1]', 'a number'), ('[' + good + ',[]]', 'a list'), ('[' + good + ',{}]', 'no event'),
                       ('[' + good + ',{"id":"","source":"s","type":"t","specversion":"1.0"}]', 'an empty id'),
                       ('[' + good + ',{"id":7,"source":"s","type":"t","specversion":"1.0"}]', 'an id that is a number'),
                       ('[' + good + ',{"source":"s","type":"t","specversion":"1.0"}]', 'no id'),
                       ('[' + good + ',{"id":"a","source":"s","specversion":"1.0"}]', 'no type'),
                       ('[' + good + ',{"id":"a","type":"s","specversion":"1.0"}]', 'no source')):
        is_equal(hook(server, 'ce', body.encode(), BATCH).status, 400, 'refused: ' + what)
    is_equal(hook(server, 'ce', b'[' + good.encode() + b',"\xff"]', BATCH).status, 400, 'refused: not UTF-8')
    ok(batch(server, [event('9')], headers=dict(BATCH, Authorization='Bearer x')).status == 401, 'refused: not genuine')
    is_equal(len(server.events('source=ce&state=accepted')), count, 'nothing of these was stored')
    big = batch(server, [event(str(i), data='x' * 20000) for i in range(100, 140)])
    ok(big.status == 413 and 'smaller' in big.body.decode(), 'too much together: 413')
    big = batch(server, [event('100', data='x' * 140000)])
    ok(big.status == 413, 'one too large: 413')
    is_equal(len(server.events('source=ce&state=accepted')), count, 'nothing of these was stored')
    a = batch(server, [event('b%d' % i, data='x' * 200) for i in range(600)])
    ok(a.status == 200 and (a.json['events'], a.json['duplicates']) == (600, 0), '600 events at once')
    a = batch(server, [event('b%d' % i, data='x' * 200) for i in range(600)])
    ok(a.status == 200 and (a.json['events'], a.json['duplicates']) == (600, 600), 'and again')

    # ---- chunked, without de-duplication, with a filter
    c = Connection(server.port)
    body = json.dumps([event('c1'), event('c2')]).encode()
    head = 'POST /hooks/ce HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer s3cret-token\r\n' \
        'Content-Type:application/cloudevents-batch+json\r\n\r\n'
    c.send(head.encode() + b'%x\r\n%s\r\n0\r\n\r\n' % (len(body), body))
    a = c.read()
    ok(a.json['events'] == 2 and json.loads(server.body_of(a.json['id'])) == event('c1'), 'chunked')
    a = batch(server, [event('1'), event('1')], path='off')
    ok((a.json['events'], a.json['duplicates']) == (2, 0), 'without de-duplication')
    is_equal(len(server.events('source=off&state=accepted')), 2, 'both are there')
    a = batch(server, [event('1'), event('2', type='t.two')], path='some')
    ok(a.status == 200 and [e['deliveryId'] for e in server.events('source=some&state=accepted')] == ['2'],
       'each is filtered by itself')
    rejected = server.events('source=some&state=rejected')
    ok([e['deliveryId'] for e in rejected] == ['1'], 'the other one is kept as filtered')
    ok(hook(server, 'hub', b'[]', BATCH).status == 401, 'of another provider it is no batch')

    # ---- the same batch on many connections at once
    answers = []

    def race():
        for i in range(20):
            answers.append(batch(server, [event('r%d-%d' % (i, j)) for j in range(20)]))

    threads = [threading.Thread(target=race) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for i in range(20):  # whoever got 503 comes again
        answers.append(batch(server, [event('r%d-%d' % (i, j)) for j in range(20)]))
    ok(all(a.status in (200, 503) for a in answers), 'taken, or to come again: %s' % sorted({a.status for a in answers}))
    got = [e['deliveryId'] for e in server.events('source=ce&state=accepted') if e['deliveryId'].startswith('r')]
    ok(len(got) == 400 and len(set(got)) == 400, 'each event once: %d of %d' % (len(set(got)), len(got)))

    # ---- what has no delivery id, and repeats the body
    def zoom(n):
        body, now = b'{"event":"meeting.started","event_ts":%d}' % n, str(int(time.time()))
        mac = hmac.new(b's3cret-token', b'v0:' + now.encode() + b':' + body, hashlib.sha256).hexdigest()
        return hook(server, 'zoom', body, {'x-zm-signature': 'v0=' + mac, 'x-zm-request-timestamp': now})

    ok([zoom(n).status for n in (1, 1, 2, 1)] == [204] * 4, 'all are acknowledged')
    ok(len(server.events('source=zoom&state=accepted')) == 2, 'the same body again is a repetition, another is an event')
    body = b'{"zen":1}'
    signed = {k: v for k, v in github(body, 's3cret-token').items() if k != 'X-GitHub-Delivery'}
    ok(all('duplicate' not in hook(server, 'hub', body, signed).json for _ in range(2)),
       'where a provider has ids, a body is none')

    server.kill()
    server.start()
    a = batch(server, [event('b%d' % i, data='x' * 200) for i in range(600)])
    ok((a.json['events'], a.json['duplicates']) == (600, 600), 'known after a crash')
done()
