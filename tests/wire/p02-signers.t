#!/usr/bin/env python3
"""The providers' own libraries: what they sign, a running server takes; what `becket send` signs, they take; GitHub's
example payloads go in typed and come back byte for byte. Wants node and the packages of .ci/signers; their folder is in
BECKET_NODE_MODULES, or build/signers."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from node import *

WHSEC = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
script = node_script('signers.mjs', 'stripe', '@sendgrid')


def source(type, secret):
    return {'kind': 'EventSource', 'metadata': {'name': type},
            'spec': {'type': type, 'path': type, 'verification': {'secrets': [{'value': secret}]}}}


with Server(threads=1) as server:
    base = 'http://127.0.0.1:%d' % server.port
    libraries = node_json(script, 'begin', {'base': base})
    signed = libraries['signed']
    ok(len(signed) >= 20, '%d requests signed' % len(signed))
    for r in signed:
        server.apply(json.dumps([source(r['type'], r['secret'])]))
        body = base64.b64decode(r['body'])
        path = '/hooks/' + r['type'] + r.get('query', '')
        a = Connection(server.port).request('POST', path, body, r['headers'])
        if not ok(a.status in (200, 204) and r.get('verifies', True),
                  '%s: signed by its library, taken (%r…)' % (r['type'], body[:24])):
            diag('%r %r' % (a, r))
        a = Connection(server.port).request('POST', path, body[:-1] + bytes([body[-1] ^ 1]), r['headers'])
        ok(a.status == 401, '%s: altered, refused' % r['type'])

    # ---- becket send, and what their verifiers say
    requests, keys = [], libraries['keys']
    for type, key in keys.items():
        key['path'] = os.path.join(server.data, type + '.pem')
        with open(key['path'], 'w') as f:
            f.write(key['pem'])
    for type, secret in (('discord', keys['discord']['public']), ('sendgrid', keys['sendgrid']['public']),
                         ('github', 's3cret'), ('stripe', 'whsec_x'), ('standard-webhooks', WHSEC), ('svix', WHSEC),
                         ('slack', 'slack-s'), ('twilio', 'tw-token'), ('line', 'line-s')):
        for text in (b'{"type":"a.b","n":1}', '{"t":"grüße"}'.encode(), None):
            key = ['--private-key', keys[type]['path']] if type in keys else ['--secret', secret]
            requests.append(dict(signed_by_becket(type, key, text), secret=secret))
    for form in (b'MediaUrl=b&MediaUrl=a&MediaUrl=b&Empty=', b'Body=gr%C3%BC%C3%9Fe+%26+%2B&B=2&a=x%20y&%C3%BC=1'):
        requests.append(dict(signed_by_becket('twilio', ['--secret', 'tw-token'], form), secret='tw-token'))
    for r, said in zip(requests, node_json(script, 'verify', requests)):
        ok(said is True, '%s: what becket send signs, its library takes (%s)' % (r['type'], said))

    # ---- GitHub's examples
    examples = libraries['examples']
    server.apply(json.dumps([source('github', 's')]))
    connection = Connection(server.port)
    sent, wrong = {}, 0
    for i, e in enumerate(examples):
        body = e['body'].encode()
        a = connection.request('POST', '/hooks/github', body, dict(github(body, 's', 'ex-%d' % i, e['event'])))
        wrong += a.status != 200
        if e['event'] != 'ping':
            sent[a.json['id']] = (e['event'], body)
    ok(wrong == 0 and len(sent) > 150, '%d examples taken' % len(sent))
    stored = {e['id']: e for e in server.events('source=github&state=accepted')}
    ok(all(stored[i]['type'] == event for i, (event, _) in sent.items()), 'each with its type')
    ok(all(server.body_of(stored[i]['id']) == body for i, (_, body) in sent.items()), 'each byte for byte')
done()
