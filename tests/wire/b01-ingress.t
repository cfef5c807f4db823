#!/usr/bin/env python3
"""Webhooks in: each provider's genuine request is stored byte for byte, forged ones are refused and kept, handshakes
are answered, duplicates are told."""
import os, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

WHSEC = 'whsec_' + base64.b64encode(b'0123456789abcdef01234567').decode()
SOURCES = GITHUB_SOURCE + """
---
kind: EventSource
metadata: {name: lab}
spec: {type: gitlab, path: lab, verification: {secrets: [{value: gitlab-plain-token}]}}
---
kind: EventSource
metadata: {name: ci}
spec: {type: TYPE_SEMAPHORE, path: ci, verification: {secrets: [{value: semaphore-secret}]}}
---
kind: EventSource
metadata: {name: chat}
spec: {type: slack, path: chat, verification: {secrets: [{value: slack-secret}]}}
---
kind: EventSource
metadata: {name: payments}
spec: {type: stripe, path: payments, verification: {secrets: [{value: whsec_old}, {value: whsec_new}], tolerance: 300s}}
---
kind: EventSource
metadata: {name: standard}
spec: {type: standard-webhooks, path: standard, verification: {secrets: [{value: %s}]}}
---
kind: EventSource
metadata: {name: inhouse}
spec:
  type: generic
  path: inhouse
  verification:
    scheme: hmac
    algorithm: sha256
    signature: {header: X-Signature-256, format: "sha256={hex}"}
    timestamp: {header: X-Timestamp}
    id: {header: X-Delivery}
    signed: "{timestamp}.{body}"
    secrets: [{value: inhouse-secret}]
  limits: {bodyBytes: 1000}
---
kind: EventSource
metadata: {name: slow}
spec: {type: generic, path: slow, verification: {scheme: none}, limits: {perSecond: 2}}
""" % WHSEC


def inhouse(body, delivery, now=None):
    stamp = str(int(now or time.time()))
    mac = hmac.new(b'inhouse-secret', stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()
    return {'X-Timestamp': stamp, 'X-Delivery': delivery, 'X-Signature-256': 'sha256=' + mac}


with Server() as server:
    results = server.apply(SOURCES)['results']
    ok(all(r['action'] == 'created' for r in results), 'one document set makes secret and sources')

    # ---- genuine ones of each kind, read back byte for byte
    binary = bytes(range(256)) * 3
    cases = [
        ('repo', '/hooks/repo', b'{"zen": "x"}', github(b'{"zen": "x"}', SECRET), 'push'),
        ('repo', '/hooks/repo', binary, github(binary, SECRET), 'push'),
        ('repo', '/hooks/repo', b'', github(b'', SECRET), 'push'),
        ('lab', '/hooks/lab', b'{"object_kind":"push"}', gitlab(b'', 'gitlab-plain-token'), 'Push Hook'),
        ('ci', '/hooks/ci', b'{"pipeline":{}}', semaphore(b'{"pipeline":{}}', 'semaphore-secret'), 'pipeline_done'),
        ('chat', '/hooks/chat', b'{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}',
         slack(b'{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}', 'slack-secret'), None),
        ('payments', '/hooks/payments', b'{"id":"evt_1","type":"invoice.paid"}',
         stripe(b'{"id":"evt_1","type":"invoice.paid"}', 'whsec_new'), 'invoice.paid'),
        ('standard', '/hooks/standard', b'{"type":"a.b"}', standard(b'{"type":"a.b"}', WHSEC), 'a.b'),
        ('inhouse', '/hooks/inhouse', b'plain text', inhouse(b'plain text', 'd-1'), None),
    ]
    for source, path, body, headers, kind in cases:
        answer = server.post(path, body, headers)
        if not ok(answer.status == 200, '%s: accepted' % source):
            diag(answer)
            continue
        # Slack wants an empty answer; all others get the id.
        name = answer.json['id'] if answer.body else server.events('source=' + source)[0]['id']
        ok(name.startswith('evt_') and (source == 'chat') == (answer.body == b''), '%s: answered as it expects' % source)
        event = server.api('GET', '/api/v1/events/' + name).json
        got = server.api('GET', '/api/v1/events/%s/body' % name)
        is_equal(got.body, body, '%s: the body comes back byte for byte' % source)
        is_equal((event['source'], event['state'], event['size']), (source, 'accepted', len(body)), '%s: described' % source)
        if kind:
            is_equal(event['type'], kind, '%s: event type' % source)
    lab = [e for e in server.events('source=lab')][0]
    ok('gitlab-plain-token' not in json.dumps(lab), 'a token in a header is not shown')

    # ---- forged ones: 401, kept with the reason
    body = b'{"amount":1}'
    signed = github(body, SECRET)
    forged = [
        ('wrong secret', '/hooks/repo', body, github(body, 'guess')),
        ('altered body', '/hooks/repo', body + b' ', signed),
        ('no signature', '/hooks/repo', body, {'X-GitHub-Event': 'push'}),
        ('empty signature', '/hooks/repo', body, dict(signed, **{'X-Hub-Signature-256': ''})),
        ('sha1 prefix', '/hooks/repo', body,
         dict(signed, **{'X-Hub-Signature-256': signed['X-Hub-Signature-256'].replace('sha256', 'sha1')})),
        ('stale', '/hooks/payments', body, stripe(body, 'whsec_new', time.time() - 400)),
        ('from the future', '/hooks/payments', body, stripe(body, 'whsec_new', time.time() + 400)),
        ('wrong token', '/hooks/lab', body, gitlab(body, 'gitlab-plain-tokex')),
        ('stale slack', '/hooks/chat', body, slack(body, 'slack-secret', time.time() - 400)),
    ]
    for name, path, data, headers in forged:
        answer = server.post(path, data, headers)
        ok(answer.status == 401 and 'message' in answer.json, '%s: refused with 401' % name)
    doubled = server.connect()
    doubled.send(request_bytes('POST', '/hooks/repo', body, signed).replace(
        b'X-Hub-Signature-256', b'X-Hub-Signature-256: sha256=00\r\nX-Hub-Signature-256', 1))
    is_equal(doubled.read().status, 401, 'doubled signature header: refused')
    rejected = server.events_when('state=rejected', len(forged) + 1)
    # Best effort: what comes while the journal is busy (a slow disk, a sanitizer) is refused but not kept, and counted.
    dropped = server.metrics()['becket_quarantine_dropped_total']
    is_equal(len(rejected) + dropped, len(forged) + 1, 'all of them are in the quarantine, or counted as dropped')
    ok(dropped <= 2, 'and few were dropped: %d' % dropped)
    ok(all(e.get('reason') for e in rejected), 'each with a reason')
    ok(any('stale' in json.dumps(e).lower() for e in rejected), 'a stale one says so')

    # ---- handshakes
    challenge = b'{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd"}'
    answer = server.post('/hooks/chat', challenge, slack(challenge, 'slack-secret'))
    ok(answer.status == 200 and b'3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd' in answer.body, 'Slack url_verification is answered')
    is_equal(server.post('/hooks/chat', challenge, slack(challenge, 'wrong')).status, 401, 'but not to a forger')
    count = len(server.events('state=accepted'))
    ping = b'{"zen":"Keep it logically awesome.","hook_id":1}'
    is_equal(server.post('/hooks/repo', ping, github(ping, SECRET, event='ping')).status, 200, 'GitHub ping: 200')
    is_equal(len(server.events('state=accepted')), count, 'handshakes make no events')

    # ---- duplicates
    body = b'{"n":1}'
    headers = github(body, SECRET)
    first = server.post('/hooks/repo', body, headers).json
    second = server.post('/hooks/repo', body, headers)
    is_equal(second.json, {'id': first['id'], 'duplicate': True}, 'a repeated delivery: the first id, duplicate')
    is_equal(len([e for e in server.events('state=accepted') if e['deliveryId'] == headers['X-GitHub-Delivery']]), 1,
             'one event')
    is_equal(len(server.events_when('state=duplicate', 1)), 1, 'and one duplicate that can be found')
    # Where type and id are in the body, which a duplicate is kept without.
    paid = b'{"id":"evt_twice","type":"invoice.paid"}'
    told = b'{"type":"event_callback","event_id":"Ev_twice","event":{"type":"app_mention"}}'
    made = b'{"type":"user.created"}'
    for path, repeated, signed in (('payments', paid, stripe(paid, 'whsec_new')), ('chat', told, slack(told, 'slack-secret')),
                                   ('standard', made, standard(made, WHSEC))):
        for _ in range(3):
            is_equal(server.post('/hooks/' + path, repeated, signed).status, 200, 'repeated to ' + path)
        is_equal(len(server.events_when('state=duplicate&source=' + path, 2)), 2, 'two duplicates of ' + path + ' can be found')
    # Or in the part of a refused body that is cut off.
    refused = len(server.events('state=rejected&source=payments'))
    late = b'{"pad":"%s","id":"evt_late","type":"invoice.late"}' % (b'x' * 20000)
    is_equal(server.post('/hooks/payments', late, stripe(late, 'another')).status, 401, 'a long forged one')
    kept = server.events_when('state=rejected&source=payments', refused + 1)
    ok(len(kept) == refused + 1 and kept[0]['size'] == 16384, 'is kept in part')
    # The same deliveries from many connections at once: one event each.
    deliveries = [github(body, SECRET) for _ in range(50)]
    ids, lock = {}, threading.Lock()

    def race():
        connection = server.connect()
        for h in deliveries:
            answer = connection.request('POST', '/hooks/repo', body, h)
            with lock:
                ids.setdefault(h['X-GitHub-Delivery'], set()).add((answer.status, answer.json['id']))
        connection.close()

    racers = [threading.Thread(target=race) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    ok(all(len(s) == 1 and next(iter(s))[0] == 200 for s in ids.values()), 'eight racing connections: one id per delivery')

    # ---- addresses, methods, limits
    is_equal(server.post('/hooks/nobody', b'{}').status, 404, 'unknown source: 404')
    is_equal(server.post('/', b'{}').status, 404, 'nothing else is served')
    answer = server.get('/hooks/repo')
    ok(answer.status == 405 and 'POST' in answer.headers.get('allow', ''), 'GET on a hook: 405 with Allow')
    is_equal(server.post('/hooks/inhouse', b'x' * 1001, inhouse(b'x' * 1001, 'd-2')).status, 413, 'over the limit: 413')
    is_equal(server.post('/hooks/inhouse', b'x' * 1000, inhouse(b'x' * 1000, 'd-3')).status, 200, 'at the limit: 200')
    connection = server.connect()
    connection.send(b'POST /hooks/inhouse HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n')
    ok(connection.read().status == 413 and connection.at_end(), '413 before the body is read, then the end')
    statuses = [server.post('/hooks/slow', b'{}').status for _ in range(8)]
    ok(statuses.count(429) >= 4 and statuses[0] == 200, 'over the rate: 429')
    answer = [a for a in (server.post('/hooks/slow', b'{}') for _ in range(8)) if a.status == 429][0]
    ok('retry-after' in answer.headers, 'with Retry-After')
    for hops, status in (('15', 200), ('16', 508), ('99999999999999999999', 508), ('x', 508)):
        answer = server.post('/hooks/inhouse', b'around', dict(inhouse(b'around', 'd-hops-' + hops), **{'Becket-Hops': hops}))
        is_equal((answer.status, answer.json.get('code')), (status, None if status == 200 else 'loop'), 'one that came through becket %s times' % hops[:6])
    is_equal(server.get('/health/live').status, 200, 'live')
    is_equal(server.get('/health/ready').status, 200, 'ready')

    # ---- filters and order
    ok(all(e['source'] == 'payments' for e in server.events('source=payments')), 'filtered by source')
    ok(server.events('type=invoice.paid') and all(e['type'] == 'invoice.paid' for e in server.events('type=invoice.paid')),
       'filtered by type')
    times = [e['receivedAt'] for e in server.events()]
    is_equal(times, sorted(times, reverse=True), 'newest first')
    whole = server.events()
    is_equal([e['id'] for e in server.events(limit=7)], [e['id'] for e in whole], 'small pages give the same list')
    middle = whole[len(whole) // 2]['receivedAt']
    ok(all(e['receivedAt'] >= middle for e in server.events('since=' + middle.replace(':', '%3A'))), 'filtered by time')

    # ---- a restart changes nothing
    server.stop()
    server.start()
    is_equal([e['id'] for e in server.events()], [e['id'] for e in whole], 'the same events after a restart')
    ok(server.post('/hooks/repo', body, headers).json.get('duplicate'), 'and duplicates are still known')
    code, out, err = server.cli('journal', 'check', '--data', server.data)
    is_equal((code, err), (0, ''), 'every checksum of the journal is right')
    server.stop()
    files = b''.join(open(os.path.join(d, f), 'rb').read() for d, _, fs in os.walk(server.data) for f in fs)
    for secret in (SECRET, 'gitlab-plain-token', 'semaphore-secret', 'whsec_new', 'inhouse-secret', WHSEC):
        ok(secret.encode() not in files, 'no plain secret on disk: ' + secret[:6] + '...')

# ---- the quarantine belongs to all: who fills it leaves room for the others
with Server(threads=1) as server:
    server.apply(GITHUB_SOURCE)
    for name in ('quiet', 'third'):
        server.apply(GITHUB_SOURCE.replace('name: repo', 'name: ' + name).replace('path: repo', 'path: ' + name))
    noise, connection = os.urandom(16000), server.connect()
    for path, count in (('repo', 120), ('quiet', 1), ('third', 60), ('quiet', 1)):
        for _ in range(count):
            connection.request('POST', '/hooks/' + path, noise, github(noise, 'guess'))
    # Answers do not wait for what is refused to be on disk.
    dropped = server.metrics()['becket_quarantine_dropped_total']
    rejected = server.events_when('state=rejected', 182 - dropped)
    kept = {}
    for event in rejected:
        kept[event['source']] = kept.get(event['source'], 0) + 1
    is_equal(kept.get('quiet'), 2, 'refused requests of a quiet source are kept beside those of noisy ones: %r' % kept)
    ok(25 <= kept['repo'] <= 40 and 8 <= kept['third'] <= 25, 'which are kept as far as there is room')
    is_equal(sum(kept.values()) + dropped, 182, 'and counted beyond')
done()
