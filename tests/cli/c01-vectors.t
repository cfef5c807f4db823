#!/usr/bin/env python3
"""becket verify decides every vector of tests/vectors, and says why it refuses one."""
import glob, json, os, subprocess, sys, tempfile
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

VECTORS = os.environ.get('VECTORS', os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'vectors'))
TYPES = [p['type'] for p in json.loads(subprocess.run([BECKET, 'providers', '-o', 'json'], capture_output=True,
                                                      timeout=60).stdout)['items']]


def body_of(case):
    recipe = case.get('body_recipe')
    if recipe:
        return base64.b64decode(recipe['unit_base64']) * recipe['repeat']
    return base64.b64decode(case.get('body_base64') or '')


def words_of(type, case, request):
    config = case.get('config') or {}
    words = ['--type', type, '--now', str(case['now_unix']), '--method', request.get('method') or 'POST']
    secrets = case.get('secrets') or [s for s in (case.get('secret'), config.get('secret'), config.get('public_key')) if s]
    if type == 'generic' and 'allow' in config:
        words += ['--scheme', 'none', '--peer', config['peer']]
        words += [w for c in config['allow'] for w in ('--allow', c)]
    elif type == 'generic':
        words += ['--algorithm', config['algorithm'], '--signature-header', config['header'], '--signature-format',
                  '%s{%s}' % (config.get('prefix') or '', config['encoding'])]
    words += ['--verify-token', config['verify_token']] if 'verify_token' in config else []
    words += [w for o in config.get('allowed_origins') or [] for w in ('--origin', o)]
    words += ['--rate', str(config['rate'])] if 'rate' in config else []
    words += ['--url', request['url']] if request.get('url') else []
    for secret in secrets:
        words += ['--secret', secret]
    for name, value in (request.get('headers') or {}).items():
        words += ['--header', '%s: %s' % (name, value)]
    return words, secrets


def run(words, body):
    with tempfile.NamedTemporaryFile() as f:
        f.write(body)
        f.flush()
        p = subprocess.run([BECKET, 'verify'] + words + ['--body', f.name], capture_output=True, timeout=60)
    return p.returncode, p.stdout.decode('utf-8', 'replace'), p.stderr.decode('utf-8', 'replace')


files = sorted(glob.glob(os.path.join(VECTORS, '*.json')))
for path in files:
    name = os.path.basename(path)[:-5]
    type = 'generic' if name in ('generic_hmac', 'ip_allow') else name
    if name in ('handshakes', 'outbound'):
        continue
    for case in json.load(open(path)):
        config = case.get('config') or {}
        if case.get('certs') or case.get('jwks') or config.get('allow') == [] or 'require_digest' in config:
            continue  # keys that are fetched, and what cannot be written as options: see the unit test
        words, secrets = words_of(type, case, case)
        code, out, err = run(words, body_of(case))
        good = code == (0 if case['expect'] == 'accept' else 1) and err == ''
        good = good and (out.startswith('genuine') or out.startswith('handshake') if code == 0 else
                         out.startswith('not genuine ('))
        if not ok(good and not any(len(s) > 8 and s in out for s in secrets), '%s: %s' % (case['id'], case['note'])):
            diag('%d %r %r' % (code, out, err))

for case in json.load(open(os.path.join(VECTORS, 'handshakes.json'))):
    kind = case['scheme'].replace('msgraph', 'microsoft-graph').replace('x-crc', 'x-twitter-crc')
    type = max((t for t in TYPES if kind.startswith(t + '-')), key=len)
    words, secrets = words_of(type, case, case['request'])
    if not secrets and type not in ('asana', 'notion'):
        words += ['--secret', 'any']
    code, out, err = run(words, body_of(case['request']))
    want = case['response']['status']
    good = out.startswith('handshake of %s: answered with %d' % (type, want)) if want < 300 else \
        code == 1 and out.startswith('not genuine (')
    if not ok(good and code == (0 if want < 300 else 1), '%s: %s' % (case['id'], case['note'])):
        diag('%d %r %r' % (code, out, err))
ok(len(files) >= 40, '%d files' % len(files))
done()
