#!/usr/bin/env python3
"""Every provider of the table against a running server: what `becket send` signs is taken; handshakes; secrets that a
provider brings; who may send; type auto; the addresses of other systems; what a source's status tells."""
import os, sys, urllib.parse
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

WHHEX = '44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056'
WHSEC = 'whsec_' + base64.b64encode(b'0123456789abcdef01234567').decode()


def command(*words):
    p = subprocess.run([BECKET] + list(words), capture_output=True, timeout=60)
    return p.returncode, p.stdout.decode('utf-8', 'replace'), p.stderr.decode('utf-8', 'replace')


def source(name, type, **verification):
    return {'kind': 'EventSource', 'metadata': {'name': name},
            'spec': dict({'type': type, 'path': name}, **({'verification': verification} if verification else {}))}


def secret_of(provider):
    """One that the row takes: whsec_ and base 64 is a text like any other where it need not be that."""
    if 'hexadecimal' in provider['needs']:
        return WHHEX
    return 'user:pass-word' if 'user:password' in provider['needs'] else WHSEC


def sha256_hex(secret, body):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def hook(server, method, path, body=b'', headers=None):
    return Connection(server.port).request(method, path, body, headers)


code, out, err = command('providers', '-o', 'json')
table = json.loads(out)['items']
ok(code == 0 and len(table) >= 120, 'becket providers -o json: %d' % len(table))
ok(all(p.get('needs') and p.get('title') and p.get('verification') for p in table), 'each says what it needs')
code, out, err = command('providers')
ok(code == 0 and out.count('\n') == len(table) + 1, 'a table')
code, out, err = command('providers', 'nobody')
ok(code == 2 and 'no provider' in err, 'an unknown one is refused')

with Server(threads=1) as server:
    ok(server.api('GET', '/api/v1/providers').json['items'] == table, 'the API has the same table')
    sending = [p for p in table if p.get('sendsWith') == 'the secret']
    server.apply(json.dumps([source(p['type'], p['type'], secrets=[{'value': secret_of(p)}]) for p in sending]))
    for p in sending:
        url = 'http://127.0.0.1:%d/hooks/%s' % (server.port, p['type'])
        code, out, err = command('send', url, '--type', p['type'], '--secret', secret_of(p), '--id', 'd-1',
                                 '--event', 'a.b')
        got = server.api('GET', '/api/v1/events?source=%s&state=accepted' % p['type']).json['items']
        good = ok(code == 0 and len(got) == 1 and got[0]['provider'] == p['type'],
                  '%s: what becket send signs is taken (%s)' % (p['type'], out.strip()[:70]))
        if not good:
            diag('%d %r %r %r' % (code, out, err, got))
        code, out, err = command('send', url, '--type', p['type'], '--secret',
                                 {WHSEC: WHSEC.replace('A', 'B'), WHHEX: WHHEX[::-1]}.get(secret_of(p), 'user:other'), '--id', 'd-2')
        ok(code == 1 and out.startswith('401 '), '%s: with another secret it is not' % p['type'])
    # ---- in small chunks, blanks around the values, and a proxy that tells another story of where it came to
    for p in sending:
        code, out, err = command('send', 'http://127.0.0.1:%d/hooks/%s' % (server.port, p['type']), '--type', p['type'], '--secret',
                                 secret_of(p), '--id', 'd-3', '--event', 'a.b', '--dry-run')
        head, _, body = out.partition('\n\n')
        first, *lines = head.split('\n')
        body = body[:-1].encode()
        raw = first + '\r\nHost: other.example:81\r\nTransfer-Encoding: chunked\r\nX-Forwarded-Proto: https\r\n' \
            'X-Forwarded-Host: other.example\r\nX-Forwarded-Port: 81\r\nForwarded: host=other.example;proto=https\r\n'
        raw += ''.join('%s: \t%s \t\r\n' % tuple(l.split(': ', 1)) for l in lines if not l.lower().startswith('host:'))
        chunks = b''.join(b'%x\r\n%s\r\n' % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7))
        connection = Connection(server.port)
        connection.send(raw.encode() + b'\r\n' + chunks + b'0\r\n\r\n')
        a = connection.read()
        if not ok(a.status in (200, 202, 204), '%s: in chunks, through a proxy' % p['type']):
            diag('%r %r %r' % (a.status, a.body, raw))
    # ---- those that sign with a private key: one of ours, the source trusts its public half
    def openssl(*words):
        p = subprocess.run(['openssl'] + list(words), capture_output=True, timeout=60)
        return p.stdout.decode() if p.returncode == 0 else None

    def key(name, *words):
        path = os.path.join(server.data, name + '.pem')
        openssl('genpkey', *words, '-out', path)
        return path, openssl('pkey', '-in', path, '-pubout')

    if not shutil.which('openssl'):
        skip('private keys', 'openssl is not installed')
    else:
        keys = {'ed': key('ed', '-algorithm', 'ed25519'), 'rsa': key('rsa', '-algorithm', 'RSA'),
                'ec': key('ec', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256')}
        raw = base64.b64encode(base64.b64decode(''.join(keys['ed'][1].split('\n')[1:-2]))[-32:]).decode()
        for name, type, kind, secret, words, more in (
                ('discord', 'discord', 'ed', base64.b64decode(raw).hex(), [], {}),
                ('discord-events', 'discord-events', 'ed', base64.b64decode(raw).hex(), [], {}),
                ('sendgrid', 'sendgrid', 'ec', keys['ec'][1], [], {}),
                ('telnyx', 'telnyx', 'ed', raw, [], {}), ('wise', 'wise', 'rsa', keys['rsa'][1], [], {}),
                ('travis', 'travis-ci', 'rsa', keys['rsa'][1], [], {}), ('plaid', 'plaid', 'ec', keys['ec'][1], [], {}),
                ('v1a', 'standard-webhooks', 'ed', 'whpk_' + raw, [], {}),
                ('g-ed', 'generic', 'ed', 'whpk_' + raw, ['ed25519'], {'scheme': 'ed25519'}),
                ('g-ec', 'generic', 'ec', keys['ec'][1], ['ecdsa-p256'], {'scheme': 'ecdsa-p256'}),
                ('g-raw', 'generic', 'ec', keys['ec'][1], ['ecdsa-p256-raw'], {'scheme': 'ecdsa-p256-raw'}),
                ('g-rsa', 'generic', 'rsa', keys['rsa'][1], ['rsa'], {'scheme': 'rsa'})):
            if more:
                more = dict(more, signature={'header': 'X-Sig'})
                words = ['--scheme', words[0], '--signature-header', 'X-Sig']
            server.apply(json.dumps([source(name, type, secrets=[{'value': secret}], **more)]))
            url = 'http://127.0.0.1:%d/hooks/%s' % (server.port, name)
            code, out, err = command('send', url, '--type', type, '--private-key', keys[kind][0], '--event', 'a.b', *words)
            if not ok(code == 0, '%s: signed with a private key, taken' % name):
                diag('%d %r %r' % (code, out, err))
            other = key('other-' + kind, *{'ed': ['-algorithm', 'ed25519'], 'rsa': ['-algorithm', 'RSA'],
                        'ec': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']}[kind])[0]
            code, out, err = command('send', url, '--type', type, '--private-key', other, *words)
            ok(code == 1 and out.startswith('401 '), '%s: with another one it is not' % name)
        for words, said in ((['sendgrid', '--private-key', keys['ed'][0]], 'not a key'),
                            (['sendgrid', '--secret', 'x'], '--private-key FILE'),
                            (['github', '--private-key', keys['ec'][0]], '--secret'),
                            (['aws-sns'], 'on a host of the provider'), (['paypal', '--secret', 'x'], '--cert-url URL'),
                            (['paypal', '--secret', 'x', '--private-key', keys['rsa'][0]], '--cert-url URL'),
                            (['aws-sns', '--private-key', keys['rsa'][0], '--cert-url', 'https://sns.us-east-1.amazonaws.com/a.pem'], '--secret is missing'),
                            (['paypal', '--secret', 'x', '--private-key', keys['ed'][0], '--cert-url', 'https://api.paypal.com/c'], 'right kind'),
                            (['github', '--secret', 'x', '--cert-url', 'https://api.paypal.com/c', '--dry-run', '--private-key', keys['ed'][0]], '--secret'),
                            (['paypal', '--secret', 'x'], 'becket verify --type paypal --key'),
                            (['auto', '--secret', 'x'], '--as github'), (['auto', '--as', 'githup', '--secret', 'x'], 'github?'),
                            (['auto', '--as', 'auto', '--secret', 'x'], '--as github'),
                            (['auto', '--as', 'aws-sns'], 'on a host of the provider'),
                            (['slack', '--as', 'github', '--secret', 'x'], 'of type auto')):
            code, out, err = command('send', 'http://127.0.0.1:1/x', '--type', *words)
            ok(code in (1, 2) and said in err, 'clear words: %s' % ' '.join(words)[:40])
    status = server.api('GET', '/api/v1/event-sources/stripe').json['status']
    ok(status['lastAccepted']['at'] and status['lastRefused']['reason'] == 'signature_wrong' and
       'secret' in status['lastRefused']['message'], 'status tells the last accepted and the last refused')

    # ---- types in several places
    def own(name, type):
        made = source(name, 'generic', scheme='token', signature={'header': 'X-Token'}, id={'header': 'X-Id'}, secrets=[{'value': 's'}])
        made['spec']['verification']['type'] = type
        return made
    some = source('some', 'sentry', secrets=[{'value': 's'}])
    some['spec']['events'] = [{'type': 'issue.c*'}]
    server.apply(json.dumps([source('joined', 'sentry', secrets=[{'value': 's'}]), some,
                             own('own', {'template': '{header:X-What}:{/sub/kind}:{?how}'})]))
    def types(name, query='state=accepted'):
        return [e.get('type') for e in server.api('GET', '/api/v1/events?source=%s&%s' % (name, query)).json['items']]
    for type in 'issue.created', 'issue.resolved', 'error':
        for name in 'joined', 'some':
            code, out, err = command('send', 'http://127.0.0.1:%d/hooks/%s' % (server.port, name), '--type', 'sentry', '--secret', 's',
                                     '--event', type, '--id', type)
            ok(code == 0, 'Sentry: %s is sent (%s)' % (type, out.strip()[:60]))
    is_equal(sorted(types('joined')), ['error', 'issue.created', 'issue.resolved'], 'Sentry: resource and action')
    is_equal(types('joined', 'type=issue.*&limit=1'), types('joined', 'type=issue.resolved'), 'asked for by the whole type')
    is_equal(types('some'), ['issue.created'], 'a source that takes some of them')
    spec = server.api('GET', '/api/v1/event-sources/own').json['spec']
    is_equal(spec['verification']['type'], {'template': '{header:X-What}:{/sub/kind}:{?how}'}, 'a template of one\'s own')
    is_equal(hook(server, 'POST', '/hooks/own?how=twice', b'{"sub":{"kind":"b"}}', {'X-Token': 's', 'X-What': 'a', 'X-Id': '1'}).status, 200, 'taken')
    is_equal(hook(server, 'POST', '/hooks/own', b'{}', {'X-Token': 's', 'X-What': 'a' * 300, 'X-Id': '2'}).status, 200, 'taken')
    is_equal(hook(server, 'POST', '/hooks/own?how=twice', b'{"sub":{"kind":"b"}}', {'X-Token': 's', 'X-Id': '3'}).status, 200, 'taken')
    a = hook(server, 'POST', '/hooks/own?how=twice', b'{"sub":{"kind":"b"}}', {'X-Token': 's', 'X-What': 'a', 'X-Id': '1'})
    ok(a.json.get('duplicate'), 'a repetition')
    is_equal(types('own'), ['', 'a' * 255, 'a:b:twice'], 'all its parts; the first alone; without the first none')
    ok(when(lambda: types('own', 'state=duplicate') == ['']), 'a repetition has no body that would tell')
    for wrong, said in (({'template': '{/a} {/b}'}, 'blank'), ({'template': '/a'}, 'like'), ({'field': '{/a}.{/b}'}, 'template'),
                        ({'template': '{/a}.{/b}', 'header': 'X'}, 'alone'), ({'template': '{/a}{/b}'}, 'character'),
                        ({'template': '{/a}.'}, 'character'), ({'template': '{/1}.{/2}.{/3}.{/4}'}, 'three')):
        a = server.api('POST', '/api/v1/apply', json.dumps(own('wrong', wrong)).encode())
        told = a.json.get('details', [{}])[0]
        ok(a.status >= 400 and told.get('field', '').startswith('spec.verification.type.') and said in told['message'],
           '%s is refused: %s' % (wrong, told))
    words = ['verify', '--type', 'generic', '--scheme', 'token', '--signature-header', 'X-Token', '--secret', 's', '--header', 'X-Token: s',
             '--header', 'X-What: a', '--type-template', '{header:X-What}/{/kind}', '--body', os.path.join(server.data, 'kind')]
    with open(words[-1], 'w') as f:
        f.write('{"kind":"b"}')
    code, out, err = command(*words)
    ok(code == 0 and 'type a/b' in out, 'becket verify: %s%s' % (out.strip(), err.strip()))

    # ---- handshakes
    server.apply(json.dumps([
        source('fb', 'meta', secrets=[{'value': 'app'}], verifyToken={'value': 'v t'}),
        source('fb2', 'meta', secrets=[{'value': 'app'}]),
        source('ms', 'microsoft-graph', secrets=[{'value': 'state'}]),
        source('x', 'x', secrets=[{'value': 'consumer'}]),
        source('box', 'dropbox', secrets=[{'value': 's'}]),
        source('okta1', 'okta', secrets=[{'value': 'static'}]),
        source('zm', 'zoom', secrets=[{'value': 's'}]),
        source('ce', 'cloudevents', secrets=[{'value': 's'}], origins=['a.example']),
        source('tr', 'trello', secrets=[{'value': 's'}]),
        source('mixed', 'auto', secrets=[{'value': 'consumer'}]),
        source('grid', 'event-grid', secrets=[{'value': 's'}])]))
    a = hook(server, 'GET', '/hooks/fb?hub.mode=subscribe&hub.challenge=1%2B1&hub.verify_token=v+t')
    ok((a.status, a.body) == (200, b'1+1') and a.headers['content-type'].startswith('text/plain'), 'Meta: challenge')
    ok(hook(server, 'GET', '/hooks/fb?hub.mode=subscribe&hub.challenge=1&hub.verify_token=no').status == 403,
       'Meta: another token')
    ok(hook(server, 'GET', '/hooks/fb?hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=v+t').status == 403,
       'Meta: another mode')
    ok(hook(server, 'GET', '/hooks/fb2?hub.mode=subscribe&hub.challenge=1&hub.verify_token=').status == 403,
       'Meta: without a token configured, none is right')
    spec = server.api('GET', '/api/v1/event-sources/fb').json['spec']
    ok(spec['verification']['verifyToken'] == {'value': '***'}, 'its token reads ***')
    a = hook(server, 'POST', '/hooks/ms?validationToken=a%3Cb%3E+c')
    ok((a.status, a.body) == (200, b'a<b> c') and a.headers['content-type'].startswith('text/plain') and
       a.headers.get('x-content-type-options') == 'nosniff', 'Graph: validation token, as text')
    good = json.dumps({'value': [{'clientState': 'state'}, {'clientState': 'state', 'changeType': 'created'}]})
    bad = json.dumps({'value': [{'clientState': 'state'}, {'clientState': 'other'}]})
    ok(hook(server, 'POST', '/hooks/ms', good.encode()).status == 202, 'Graph: 202')
    ok(hook(server, 'POST', '/hooks/ms', bad.encode()).status == 401, 'Graph: each notification has the state')
    ok(hook(server, 'POST', '/hooks/ms', b'{"value":[]}').status == 401, 'Graph: none is not enough')
    a = hook(server, 'GET', '/hooks/x?crc_token=abc&nonce=1')
    want = base64.b64encode(hmac.new(b'consumer', b'abc', hashlib.sha256).digest()).decode()
    ok(a.json == {'response_token': 'sha256=' + want}, 'X: CRC')
    # What it answers is the signature of a body that reads so: nobody gets one of a body that is an event.
    event = b'{"for_user_id":"1"}'
    for text in urllib.parse.quote(event), 'payload%3D%257B', 'a+b', 'a' * 257, '%ff', 'a%00':
        is_equal(hook(server, 'GET', '/hooks/x?crc_token=' + text).status, 400, 'X: no CRC of %.30s' % text)
    made = 'sha256=' + want
    is_equal(hook(server, 'POST', '/hooks/x', b'abc', {'x-twitter-webhooks-signature': made}).status, 400,
             'X: what a CRC may be is no event')
    signed = 'sha256=' + base64.b64encode(hmac.new(b'consumer', event, hashlib.sha256).digest()).decode()
    is_equal(hook(server, 'POST', '/hooks/x', event, {'x-twitter-webhooks-signature': signed}).status, 200, 'X: an event')
    for text in 'abc', urllib.parse.quote(event):
        a = hook(server, 'GET', '/hooks/mixed?crc_token=' + text, headers={'x-twitter-webhooks-signature': 'x'})
        ok(a.status == 401 and b'response_token' not in a.body, 'auto: a secret that is also of others signs no words of a stranger')
    is_equal(hook(server, 'POST', '/hooks/mixed', event, {'x-twitter-webhooks-signature': signed}).status, 200, 'auto: but X may send')
    ok(hook(server, 'GET', '/hooks/box?challenge=abc').body == b'abc', 'Dropbox: challenge')
    a = hook(server, 'GET', '/hooks/okta1', headers={'X-Okta-Verification-Challenge': 'a"b', 'Authorization': 'static'})
    ok(a.json == {'verification': 'a"b'}, 'Okta: challenge, escaped')
    ok(hook(server, 'GET', '/hooks/okta1', headers={'X-Okta-Verification-Challenge': 'a'}).status == 401,
       'Okta: not without the secret')
    a = hook(server, 'OPTIONS', '/hooks/ce', headers={'WebHook-Request-Origin': 'a.example'})
    ok(a.status == 200 and a.headers['webhook-allowed-origin'] == 'a.example' and
       a.headers['webhook-allowed-rate'] == '*' and 'POST' in a.headers['allow'], 'CloudEvents: granted')
    a = hook(server, 'OPTIONS', '/hooks/ce', headers={'WebHook-Request-Origin': 'b.example'})
    ok(a.status == 405 and 'webhook-allowed-origin' not in a.headers, 'CloudEvents: another origin')
    ok(hook(server, 'HEAD', '/hooks/tr').status == 200, 'Trello: HEAD')
    body = b'[{"id":"1","eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"c-1"}}]'
    a = hook(server, 'POST', '/hooks/grid?token=s', body, {'aeg-event-type': 'SubscriptionValidation'})
    ok(a.json == {'validationResponse': 'c-1'}, 'Event Grid: validation')
    ok(server.api('GET', '/api/v1/events?source=grid').json['items'] == [], 'handshakes are not stored')
    hook(server, 'POST', '/hooks/grid?token=s', b'[{"id":"2","eventType":"t"}]')
    event = server.api('GET', '/api/v1/events?source=grid').json['items'][0]
    ok(event['type'] == 't' and event['deliveryId'] == '2', 'Event Grid: an event')
    with open(os.path.join(server.data, 'dump'), 'wb') as f:
        subprocess.run([BECKET, 'journal', 'dump', '--data', server.data], stdout=f, stderr=subprocess.DEVNULL)
    ok('token=s ' not in open(os.path.join(server.data, 'dump'), encoding='latin-1').read(),
       'a token of the query is not in the journal')

    # ---- a secret that the provider brings
    for name, type, setup, body, header in (
            ('asana1', 'asana', {'X-Hook-Secret': 'brought-1'}, b'{}', 'X-Hook-Signature'),
            ('notion1', 'notion', {}, b'{"verification_token":"brought-1"}', 'X-Notion-Signature')):
        server.apply(json.dumps([source(name, type)]))
        status = server.api('GET', '/api/v1/event-sources/' + name).json['status']
        ok(status['state'] == 'waiting' and 'secret' in status['reason'], '%s waits for its secret' % type)
        event = b'{"events":[],"id":"n-1"}'
        signed = {header: ('sha256=' if type == 'notion' else '') + sha256_hex('brought-1', event)}
        a = hook(server, 'POST', '/hooks/' + name, event, signed)
        ok(a.status == 401 and a.json['code'] == 'no_secret_yet', '%s: until then nothing is taken' % type)
        a = hook(server, 'POST', '/hooks/' + name, body, setup)
        ok(a.status == 200 and a.headers.get('x-hook-secret') == setup.get('X-Hook-Secret'), '%s: echoed' % type)
        ok(hook(server, 'POST', '/hooks/' + name, event, signed).status == 200, '%s: its events are taken' % type)
        ok(server.api('GET', '/api/v1/event-sources/' + name).json['status']['state'] == 'ready', 'ready')
        again = {k: 'another' for k in setup}
        ok(hook(server, 'POST', '/hooks/' + name, body.replace(b'brought', b'another'), again).status == 401,
           '%s: it learns one secret only' % type)
        ok(server.apply(json.dumps([source(name, type)]))['results'][0]['action'] == 'unchanged', 'applied again')
    ok('brought-1' not in server.log_text() and 'notion1' in server.log_text(), 'the log tells that, not what')
    status = server.api('GET', '/api/v1/event-sources/notion1').json['status']
    ok('Notion brought' in status['message'] and 'becket secrets event-source notion1' in status['advice'],
       'the status of Notion tells how to read the token')
    ok('advice' not in server.api('GET', '/api/v1/event-sources/asana1').json['status'], 'Asana asks nobody for it')
    code, out, err = server.cli(*status['advice'].split('`')[1].split()[1:])
    is_equal((code, out), (0, 'brought-1\n'), 'and that command shows it')
    a = server.api('GET', '/api/v1/event-sources/notion1/secrets')
    ok(a.json == {'secrets': ['brought-1']} and a.headers['cache-control'] == 'no-store', 'the API too, uncached')
    is_equal(server.api('GET', '/api/v1/event-sources/fb/secrets').json, {'secrets': ['app'], 'verifyToken': 'v t'},
             'given ones are shown too, and the token of a handshake apart')
    made = server.apply(json.dumps([source('made', 'generic'),
                                    {'kind': 'Destination', 'metadata': {'name': 'made'},
                                     'spec': {'url': 'https://example.com/'}}]))['results']
    code, out, err = server.cli('secrets', 'made')
    ok(code == 1 and 'becket secrets event-source made' in err and 'whsec' not in out, 'two of that name: say which')
    is_equal(server.cli('secrets', 'source', 'made')[0], 2, 'which is no kind')
    code, out, err = server.cli('secrets', 'EventSource', 'made')
    ok(code == 0 and out == made[0]['key'] + '\n', 'a key that becket made')
    code, out, err = server.cli('secrets', 'destination', 'made')
    ok(code == 0 and out == made[1]['key'] + '\n', 'and of the destination')
    ok(server.cli('secrets', 'nobody')[0] == 1 and server.cli('secrets')[0] == 2, 'of nobody there is none')
    is_equal(server.api('GET', '/api/v1/event-sources/nobody/secrets').status, 404, 'by API')
    token = server.cli('token', 'create', 'writer', '--role', 'write')[1].split()[-1]
    a = server.api('GET', '/api/v1/event-sources/notion1/secrets', token=token)
    ok(a.status == 403 and b'brought' not in a.body, 'for administrators only')
    ok(server.cli('secrets', 'notion1', '--token', token)[0] == 1, 'on the command line too')
    records = server.api('GET', '/api/v1/audit?limit=3').json['items']
    is_equal([(r['action'], r['kind'], r['name']) for r in records],
             [('created', 'Token', 'writer'), ('revealed', 'Destination', 'made'), ('revealed', 'EventSource', 'made')],
             'who looked is in the audit')
    ok(not [r for r in records if 'whsec' in json.dumps(r)], 'without what was seen')
    raw = b''.join(open(os.path.join(d, f), 'rb').read() for d, _, fs in os.walk(os.path.join(server.data, 'state'))
                   for f in fs)
    ok(b'brought-1' not in raw, 'it lies sealed in the store')

    # ---- who may send
    server.apply(json.dumps([
        source('near', 'github', secrets=[{'value': 's'}], allow=['127.0.0.0/8']),
        source('far', 'github', secrets=[{'value': 's'}], allow=['192.30.252.0/22']),
        source('nobody', 'github', secrets=[{'value': 's'}], allow=[]),
        source('proxied', 'github', secrets=[{'value': 's'}], allow=['192.30.252.0/22', '2001:db8::/32'],
               trustedProxies=['127.0.0.1', '10.0.0.0/8']),
        source('inner', 'github', secrets=[{'value': 's'}], allow=['10.0.0.0/8'],
               trustedProxies=['127.0.0.1', '10.0.0.0/8'])]))
    body = b'{"a":1}'
    signed = {'X-Hub-Signature-256': 'sha256=' + sha256_hex('s', body), 'X-GitHub-Event': 'push'}
    line = '\r\nX-Forwarded-For: '
    for name, forwarded, want in (('near', None, 200), ('far', None, 403), ('far', '192.30.252.1', 403),
                                  ('nobody', None, 403), ('proxied', None, 403), ('proxied', '192.30.252.1', 200),
                                  ('proxied', '192.30.252.1, 10.1.2.3', 200),
                                  ('proxied', '192.30.252.1, 1.2.3.4', 403), ('proxied', 'nonsense', 403),
                                  ('proxied', '192.30.252.1, 10.1.2.3,', 403),
                                  # a port behind it, as some proxies write it; IPv6 in brackets
                                  ('proxied', '192.30.252.1:54321', 200), ('proxied', '1.2.3.4, 192.30.252.1:1, 10.1.2.3:80', 200),
                                  ('proxied', '[2001:db8::1]:443', 200), ('proxied', '[2001:db8::1]', 200), ('proxied', '2001:db8::1', 200),
                                  ('proxied', '[::ffff:192.30.252.1]:443', 200), ('proxied', '::ffff:192.30.252.1', 200),
                                  ('proxied', '192.30.252.1, 1.2.3.4:80', 403), ('proxied', '2001:db8::1, [2001:db9::1]:443', 403),
                                  ('proxied', '192.30.252.1:', 403), ('proxied', '192.30.252.1:123456', 403),
                                  ('proxied', '192.30.252.1:80:80', 403), ('proxied', '192.30.252.1:x', 403),
                                  ('proxied', '192.30.252.1/32:80', 403), ('proxied', '192.30.252.1:80/32', 403),
                                  ('proxied', '::ffff:192.30.252.1:80', 403), ('proxied', '[192.30.252.1]:80', 403),
                                  ('proxied', '[2001:db8::1', 403), ('proxied', '[2001:db8::1]443', 403),
                                  ('proxied', '[2001:db8::1]:', 403), ('proxied', '[2001:db8::1%1]:443', 403),
                                  ('proxied', '[[2001:db8::1]]', 403), ('proxied', '[]', 403), ('proxied', '"[2001:db8::1]:443"', 403),
                                  ('proxied', '192.30.252.1, unknown', 403), ('proxied', '192.30.252.1, _hidden', 403),
                                  ('proxied', 'for=192.30.252.1', 403), ('proxied', ',192.30.252.1', 200), ('proxied', ',', 403),
                                  # proxies that write a line of their own
                                  ('proxied', '192.30.252.1' + line + '10.1.2.3', 200),
                                  ('proxied', '1.2.3.4, 192.30.252.1' + line + '10.1.2.4, 10.1.2.3', 200),
                                  ('proxied', 'nonsense' + line + '10.1.2.3', 403),
                                  ('inner', '10.1.2.4' + line + '10.1.2.3', 200),
                                  ('inner', '1.2.3.4' + line + '10.1.2.3', 403)):
        headers = dict(signed, **({'X-Forwarded-For': forwarded} if forwarded else {}))
        a = hook(server, 'POST', '/hooks/' + name, body, headers)
        is_equal(a.status, want, '%s, X-Forwarded-For: %s' % (name, forwarded))
    got = server.api('GET', '/api/v1/event-sources/far').json
    ok(got['spec']['verification']['allow'] == ['192.30.252.0/22'] and
       got['status']['lastRefused']['reason'] == 'address_refused', 'and the status says why')
    for verification, words in (({'allow': ['1.2.3.4/33']}, 'block of addresses'), ({'allow': 'x'}, 'list'),
                                ({'trustedProxies': ['10.0.0.0/8']}, 'allow'), ({'verifyToken': {}}, 'value')):
        a = server.api('POST', '/api/v1/apply', json.dumps([source('bad', 'github', secrets=[{'value': 's'}],
                                                                   **verification)]).encode())
        ok(a.status == 400 and words in a.body.decode(), 'refused: %s' % json.dumps(verification))

    # ---- type auto
    server.apply(json.dumps([source('any', 'auto', secrets=[{'value': 's'}])]))
    ok(hook(server, 'POST', '/hooks/any', body, dict(signed, **{'X-GitHub-Delivery': 'g-1'})).status == 200,
       'auto: GitHub')
    a = hook(server, 'POST', '/hooks/any', body, {'X-Gitlab-Token': 's', 'X-Gitlab-Event': 'Push Hook'})
    ok(a.status == 200, 'auto: GitLab')
    a = hook(server, 'POST', '/hooks/any', body, {'X-Strange': '1'})
    ok(a.status == 401 and a.json['code'] == 'type_unknown', 'auto: nobody')
    got = server.api('GET', '/api/v1/events?source=any&state=accepted').json['items']
    ok([e['type'] for e in got] == ['Push Hook', 'push'] and got[1]['deliveryId'] == 'g-1', 'each with its type')
    ok([e['provider'] for e in got] == ['gitlab', 'github'], 'and its provider')
    url = 'http://127.0.0.1:%d/hooks/any' % server.port
    for type in ('slack', 'stripe', 'gitlab'):
        code, out, err = command('send', url, '--type', 'auto', '--as', type, '--secret', 's', '--id', 'as-' + type)
        event = server.api('GET', '/api/v1/events?source=any&limit=1').json['items'][0]
        ok(code == 0 and event['provider'] == type, 'auto: what becket send signs as %s is taken' % type)
    with open(os.path.join(server.data, 'any.yaml'), 'w') as f:
        f.write(json.dumps(source('any', 'auto', secrets=[{'value': 's'}])))
    ok(command('send', url, '-f', f.name, '--as', 'shopify')[0] == 0, 'with the document of the source, too')
    told = json.dumps({'repository': {'full_name': 'a/b', 'owner': {'login': 'a'}}}).encode()
    hook(server, 'POST', '/hooks/any', told, {'X-Hub-Signature-256': 'sha256=' + sha256_hex('s', told),
                                              'X-GitHub-Event': 'push', 'X-GitHub-Delivery': 'g-2'})
    event = server.api('GET', '/api/v1/events?source=any&state=accepted').json['items'][0]
    ok((event['account'], event['resource']) == ('a', 'a/b'), 'an event tells its account and what it is about')

    # ---- a row of one's own with all that it may say
    full = source('full', 'generic', scheme='hmac', algorithm='sha512', tolerance='10s', allow=['127.0.0.1/32'],
                  signature={'header': 'X-Sig', 'format': 't={timestamp},v1={base64},...'},
                  id={'header': 'X-Delivery', 'field': '/id'},
                  signed='{method}|{path}|{query}|{header:X-Extra}|{id}|{timestamp}.{body}',
                  secrets=[{'value': 'one'}, {'value': 'two'}])
    full['spec']['verification']['type'] = {'header': 'X-Type', 'field': '/event'}
    server.apply(json.dumps([full]))
    got = server.api('GET', '/api/v1/event-sources/full').json['spec']['verification']
    ok(got == dict(full['spec']['verification'], secrets=[{'value': '***'}] * 2), 'it reads back as it was given')
    with open(os.path.join(server.data, 'full.yaml'), 'w') as f:
        f.write(json.dumps(full))
    url = 'http://127.0.0.1:%d/hooks/full?x=1' % server.port
    words = ['send', url, '-f', f.name, '--id', 'f-1', '--event', 'a.b', '-H', 'X-Extra: e']
    code, out, err = command(*words)
    event = server.api('GET', '/api/v1/events?source=full&state=accepted').json['items'][:1]
    ok(code == 0 and event and (event[0]['type'], event[0]['deliveryId']) == ('a.b', 'f-1'), 'signed over a header too, taken')
    lines = command(*words, '--dry-run')[1].split('\n')
    headers = dict(line.split(': ', 1) for line in lines[2:lines.index('')])
    for change, want in (({}, 200), ({'X-Extra': 'f'}, 401), ({'X-Delivery': 'f-2'}, 401)):
        a = hook(server, 'POST', '/hooks/full?x=1', lines[-2].encode(), dict(headers, **change))
        is_equal(a.status, want, 'with %s' % change)
    is_equal(hook(server, 'POST', '/hooks/full?x=2', lines[-2].encode(), headers).status, 401, 'with another query')
    code, out, err = command(*words, '-H', 'X-Extra: twice')
    ok(code == 1 and 'cannot be signed' in err, 'a signed header twice is not sent')

    # ---- the addresses of other systems
    server.apply(json.dumps([source('plain', 'generic', secrets=[{'value': 's'}])]))
    js = {'Content-Type': 'application/json; charset=utf-8'}
    for path, headers, want in (
            ('/api/v1/sources/plain', dict(js, **{'X-Signature-256': 'sha256=' + sha256_hex('s', body)}), 200),
            ('/api/v1/sources/plain', dict(js, **{'X-Signature-256': 'sha256=' + sha256_hex('x', body)}), 403),
            ('/api/v1/sources/plain', js, 403),
            ('/api/v1/sources/plain', {'X-Signature-256': 'sha256=' + sha256_hex('s', body)}, 404),
            ('/api/v1/sources/near/github', dict(js, **signed), 200),
            ('/api/v1/sources/near/semaphore', dict(js, **signed), 404),
            ('/api/v1/sources/near/nonsense', dict(js, **signed), 404),
            ('/api/v1/sources/nowhere', js, 404), ('/api/v1/sources/near/', js, 404)):
        a = hook(server, 'POST', path, body, headers)
        ok(a.status == want and (want != 200 or a.body == b''), 'Superplane: %s %d' % (path, want))
    ok(hook(server, 'POST', '/api/v1/sources/plain', b'x' * 65537, js).status == 413, 'Superplane: 64 KiB')
    github = {'X-Hub-Signature-256': 'sha256=' + sha256_hex(WHSEC, body), 'X-GitHub-Event': 'push',
              'X-GitHub-Delivery': 'gp-1'}
    a = hook(server, 'POST', '/hooks', body, github)
    ok((a.status, a.body) == (200, b''), 'Gitploy: push')
    ok(hook(server, 'POST', '/hooks', body, dict(github, **{'X-GitHub-Event': 'ping'})).status == 200, 'Gitploy: ping')
    ok(hook(server, 'POST', '/hooks', body, dict(github, **{'X-GitHub-Event': 'issues'})).status == 400,
       'Gitploy: another event')
    ok(hook(server, 'POST', '/hooks', body, {k: v for k, v in github.items() if 'Delivery' not in k}).status == 400,
       'Gitploy: no delivery id')
    ok(hook(server, 'POST', '/hooks', body + b' ', github).status == 400, 'Gitploy: forged')
    a = hook(server, 'POST', '/integrations/github/hook', body, dict(github, **{'X-GitHub-Delivery': 'gp-2'}))
    ok((a.status, a.body) == (200, b''), 'I Done This: the hook of a provider')
    ok(hook(server, 'POST', '/integrations/nobody/hook', body, github).status == 404, 'I Done This: no such source')

    # ---- after a restart
    server.stop()
    server.start()
    event = b'{"events":[],"id":"n-2"}'
    ok(hook(server, 'POST', '/hooks/asana1', event, {'X-Hook-Signature': sha256_hex('brought-1', event)}).status == 200,
       'a learned secret is there after a restart')
done()
