#!/usr/bin/env python3
"""More of the providers' own libraries as judges: what they sign, or say is signed, a running server takes, and not when it is altered; what
`becket send` signs, they take. Wants node and the packages of .ci/signers, as p02-signers.t does."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from node import *

script = node_script('judges.mjs', 'razorpay', '@adyen', 'box-node-sdk', 'retell-sdk', 'livekit-server-sdk', '@easypost', 'terra-api', 'orb-billing')

with Server(options=['--public-url', 'https://hooks.example.com'], threads=1) as server:
    types = node_json(script, 'types')
    server.apply(json.dumps([{'kind': 'EventSource', 'metadata': {'name': t['type']}, 'spec': {
        'type': t['type'], 'path': t['type'], 'verification': {'secrets': [{'value': t['secret']}]}}} for t in types]))
    for r in node_json(script, 'sign', {'base': 'https://hooks.example.com'}):
        body, path = base64.b64decode(r['body']), '/hooks/' + r['type']
        a = Connection(server.port).request('POST', path, body, r['headers'])
        if not ok(a.status in (200, 204), '%s: signed as its library has it, taken' % r['type']):
            diag('%r %r %r' % (a.status, a.body, r))
        at = body.index(r['inside'].encode()) if 'inside' in r else len(body) - 1
        altered = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        a = Connection(server.port).request('POST', path, altered, r['headers'])
        ok(a.status == 401, '%s: altered, refused' % r['type'])

    requests = []
    for t in sorted(types, key=lambda t: t['type'] == 'paddle'):  # whose library believes a timestamp for five seconds only
        for text in (b'{"type":"a.b","n":1}', '{"t":"grüße"}'.encode(), None):
            requests.append(signed_by_becket(t['type'], ['--secret', t['secret']], text if t['type'] != 'linear' else None))
    # Judges that take everything are none. Vonage's looks at the token only, which has the hash of the body.
    altered = [dict(r, body=base64.b64encode(base64.b64decode(r['body']).replace(b'e', b'f', 1)).decode())
               for r in requests if r['type'] != 'vonage']
    said = node_json(script, 'verify', requests + altered)
    ok(all(s is False or isinstance(s, str) for s in said[len(requests):]), 'altered, their libraries refuse it')
    for r, said in zip(requests, said):
        if not ok(said is not False and not isinstance(said, str), '%s: what becket send signs, its library takes' % r['type']):
            diag('%r %r' % (said, r))
done()
