#!/usr/bin/env python3
"""Another library's tokens are accepted and ours by it: jose as issuer of every algorithm, and as judge of what becket
issues. Wants node and the packages of .ci/signers; their folder is in BECKET_NODE_MODULES, or build/signers."""
import os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from node import *

script = node_script('jose.mjs', 'jose')

issuer = subprocess.Popen(['node', script, 'serve'], stdout=subprocess.PIPE)
try:
    said = json.loads(issuer.stdout.readline())
    with Server() as server:
        server.apply("""
kind: EventSource
metadata: {name: jose}
spec:
  type: generic
  path: jose
  verification: {scheme: jwt, issuer: "%s", audience: becket, claims: {repository_id: 74}, allowPrivate: true}
""" % said['issuer'])
        for alg, token in said['tokens'].items():
            status = server.post('/hooks/jose', b'{}', {'Authorization': 'Bearer ' + token}).status
            taken = alg != 'HS256'
            is_equal(status, 200 if taken else 401, alg + (' is taken' if taken else ' is refused'))
finally:
    issuer.kill()

unit = os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'asan', 'tests', 'unit', 'hub_oidc_issuer_test')
if os.path.exists(unit):
    sample = os.path.join(os.path.dirname(script), 'sample.json')
    subprocess.run([unit], env=dict(os.environ, BECKET_OIDC_SAMPLE=sample), stdout=subprocess.DEVNULL, check=True)
    judged = subprocess.run(['node', script, 'judge'], stdin=open(sample, 'rb'), capture_output=True)
    ok(judged.returncode == 0, 'jose takes a token of becket')
    if judged.returncode == 0:
        payload = json.loads(judged.stdout)['payload']
        is_equal(payload['exp'] - payload['iat'], 300, 'for five minutes')
    else:
        diag(judged.stderr.decode())
else:
    skip('jose takes a token of becket', 'hub_oidc_issuer_test is not built')
done()
