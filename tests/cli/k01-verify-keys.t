#!/usr/bin/env python3
"""`becket verify` over every vector whose key is published: tokens, SNS, PayPal, SendGrid, and Drone's signatures."""
import base64, json, os, subprocess, sys, tempfile
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

vectors = os.environ.get('VECTORS') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'vectors')
with tempfile.NamedTemporaryFile('w+', suffix='.key') as key:
    for name in ('oidc_github', 'oidc_gitlab', 'oidc_semaphore', 'aws_sns', 'paypal', 'sendgrid', 'drone'):
        with open(os.path.join(vectors, name + '.json')) as file:
            cases = json.load(file)
        for case in cases:
            if 'require_digest' in (case.get('config') or {}):
                continue  # asks for less than becket does
            words = [BECKET, 'verify', '--type', name, '--now', str(case['now_unix']), '--body', '-']
            for header, value in case['headers'].items():
                words += ['--header', '%s: %s' % (header, value)]
            if 'url' in case:
                words += ['--url', case['url']]
            published = json.dumps(case['jwks']) if 'jwks' in case else next(iter(case.get('certs', {}).values()), None)
            if published:
                key.seek(0)
                key.truncate()
                key.write(published)
                key.flush()
                words += ['--key', key.name]
            if 'issuer' in case:
                words += ['--issuer', case['issuer'], '--audience', case['audience']]
            else:
                words += ['--secret', case.get('secret') or '*']
            run = subprocess.run(words, input=base64.b64decode(case['body_base64']), capture_output=True)
            is_equal(run.returncode, 0 if case['expect'] == 'accept' else 1, case['id'] + ': ' + case['note'])
done()
