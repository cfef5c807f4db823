#!/usr/bin/env python3
"""More of the providers' own libraries as judges: what they sign, or say is signed, a running server takes, and not when it is altered; what
`becket send` signs, they take. Wants node and the packages of .ci/signers, as p02-signers.t does."""
import os, shutil, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

folder = os.environ.get('BECKET_NODE_MODULES') or os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'signers')
if not shutil.which('node'):
    skip_all('node is not installed')
if not all(os.path.isdir(os.path.join(folder, 'node_modules', p)) for p in ('razorpay', '@adyen', 'box-node-sdk', 'retell-sdk', 'livekit-server-sdk', '@easypost', 'terra-api')):
    skip_all('the packages of .ci/signers are not in %s: npm install --prefix %s' % (folder, folder))
shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib', 'judges.mjs'), folder)


def node(what, value=None):
    p = subprocess.run(['node', os.path.join(folder, 'judges.mjs'), what], input=json.dumps(value).encode() if value
                       else b'', capture_output=True, timeout=120)
    if p.returncode:
        diag(p.stderr.decode()[-2000:])
    return json.loads(p.stdout)


with Server(options=['--public-url', 'https://hooks.example.com'], threads=1) as server:
    types = node('types')
    server.apply(json.dumps([{'kind': 'EventSource', 'metadata': {'name': t['type']}, 'spec': {
        'type': t['type'], 'path': t['type'], 'verification': {'secrets': [{'value': t['secret']}]}}} for t in types]))
    for r in node('sign', {'base': 'https://hooks.example.com'}):
        body, path = base64.b64decode(r['body']), '/hooks/' + r['type']
        a = Connection(server.port).request('POST', path, body, r['headers'])
        if not ok(a.status in (200, 204), '%s: signed as its library has it, taken' % r['type']):
            diag('%r %r %r' % (a.status, a.body, r))
        at = body.index(r['inside'].encode()) if 'inside' in r else len(body) - 1
        altered = body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]
        a = Connection(server.port).request('POST', path, altered, r['headers'])
        ok(a.status == 401, '%s: altered, refused' % r['type'])

    requests = []
    for t in types:
        for text in (b'{"type":"a.b","n":1}', '{"t":"grüße"}'.encode(), None):
            p = subprocess.run([BECKET, 'send', 'http://hooks.example.com/hooks/x?a=1', '--url', 'https://hooks.example.com/hooks/x?a=1',
                                '--dry-run', '--type', t['type'], '--secret', t['secret'], '--event', 'a.b'] +
                               (['--body', '-'] if text and t['type'] != 'linear' else []), input=text or b'', capture_output=True, timeout=60)
            head, _, body = p.stdout.partition(b'\n\n')
            lines = head.decode().split('\n')
            requests.append({'type': t['type'], 'headers': dict(l.split(': ', 1) for l in lines[1:] if l),
                             'url': 'https://hooks.example.com' + lines[0].split(' ')[1], 'body': base64.b64encode(body[:-1]).decode()})
    # Judges that take everything are none. Vonage's looks at the token only, which has the hash of the body.
    altered = [dict(r, body=base64.b64encode(base64.b64decode(r['body']).replace(b'e', b'f', 1)).decode())
               for r in requests if r['type'] != 'vonage']
    said = node('verify', requests + altered)
    ok(all(s is False or isinstance(s, str) for s in said[len(requests):]), 'altered, their libraries refuse it')
    for r, said in zip(requests, said):
        if not ok(said is not False and not isinstance(said, str), '%s: what becket send signs, its library takes' % r['type']):
            diag('%r %r' % (said, r))
done()
