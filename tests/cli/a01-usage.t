#!/usr/bin/env python3
"""Commands without a server: help, versions, exit codes, one-line errors, suggestions, verify."""
import hashlib, hmac, http.server, json, os, re, shutil, subprocess, sys, tempfile, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith('BECKET_')}


def run(*words, stdin=b'', **environment):
    p = subprocess.run([BECKET] + list(words), input=stdin, capture_output=True, timeout=60,
                       env=dict(CLEAN, **environment))
    return p.returncode, p.stdout.decode('utf-8', 'replace'), p.stderr.decode('utf-8', 'replace')


def refused(words, code, *parts, **environment):
    got, out, err = run(*words, **environment)
    good = ok(got == code and out == '' and err.startswith('becket: ') and err.count('\n') == 1 and
              all(p in err for p in parts), 'becket %s: %d, one line' % (' '.join(words), code))
    if not good:
        diag('%d %r %r' % (got, out, err))


COMMANDS = ['serve', 'apply', 'diff', 'get', 'describe', 'delete', 'events', 'event', 'verify', 'send', 'providers', 'journal',
            'token', 'bench', 'help', 'version']
code, out, err = run('help')
ok(code == 0 and all('\n  %s ' % c in out for c in COMMANDS), 'help lists the commands')
code, out, err = run()
ok(code == 2 and 'usage:' in out, 'without a command: 2')
for command in COMMANDS:
    code, out, err = run('help', command)
    ok(code == 0 and out.startswith('becket %s - ' % command) and 'usage: becket %s' % command in out and err == '',
       'help %s' % command)
    if command not in ('help', 'version'):
        same = run(command, '--help')
        ok(same == (0, out, ''), '%s --help says the same' % command)
code, out, err = run('--version')
ok(code == 0 and re.fullmatch(r'becket [0-9.]+ \((\S+ ([0-9]+\.[0-9.]+|of the system)(, )?){8}\)\n', out), '--version names all libraries: ' + out)
is_equal(run('version'), (0, out, ''), 'version says the same')

refused(['aply'], 2, 'did you mean apply?')
refused(['help', 'aply'], 2, 'did you mean apply?')
refused(['frobnicate'], 2, 'becket help')
refused(['--data', 'x', 'serve'], 2, 'behind the command')
refused(['apply', '--fil', 'x'], 2, 'did you mean --file?')
refused(['status', '--server', 'localhost:8081'], 2, 'must be a URL such as')
for address in ('http://127.0.0.1:8081?x=1', 'http://127.0.0.1:8081/#x'):
    refused(['status', '--server', address], 2, 'no ? or # in it')
    refused(['status'], 2, 'no ? or # in it', BECKET_URL=address)
refused(['apply'], 2, '-f FILE')
refused(['get'], 2, 'kind')
refused(['serve', '--resolver', 'name:53'], 2, 'no name server')
refused(['serve', '--resolver', '10.0.0.2', '--resolver', '1.2.3.4:0'], 2, 'no name server')
refused(['get', 'evensources'], 2, 'did you mean')
refused(['get', 'a', 'b', 'c'], 2)
refused(['get', 'source'], 2, 'did you mean event-source?')
refused(['get', 'links'], 2, 'did you mean integration-links?')
refused(['get', 'secrets', '-o=xml'], 2, 'not "xml"')
refused(['providers', 'strip'], 2, 'did you mean stripe?')
refused(['version', 'x'], 2, 'no argument')
refused(['serve', '--retain-age', '5'], 2, 'with its unit', '"5"')
refused(['serve', '--listen', '192.0.2.1:1234', '--data', os.path.join(tempfile.gettempdir(), 'becket-%d' % os.getpid())], 1,
        '--listen 192.0.2.1:1234: cannot listen there')
refused(['send', 'http://127.0.0.1:1/', '--type', 'github'], 2, '--secret is missing')
shutil.rmtree(os.path.join(tempfile.gettempdir(), 'becket-%d' % os.getpid()), ignore_errors=True)
for command in ('help', 'version', 'providers', 'help serve'):
    p = subprocess.run('"$BECKET" %s > /dev/full' % command, shell=True, capture_output=True, text=True, env=dict(CLEAN, BECKET=BECKET))
    is_equal((p.returncode, p.stderr), (1, 'becket: cannot write to standard output\n'), '%s to a full disk: 1, one line' % command)
    p = subprocess.run('"$BECKET" %s | true; "$BECKET" %s | head -n 1' % (command, command), shell=True, capture_output=True, text=True,
                       env=dict(CLEAN, BECKET=BECKET))
    is_equal(p.stderr, '', '%s to who does not read: not a word' % command)
for words in (['events'], ['deliveries'], ['replay'], ['listen', 's', '--forward', 'http://127.0.0.1:1/']):
    for name in ('--since', '--until'):
        if words[0] != 'listen' or name == '--since':
            refused(words + [name, '5x'], 2, name + ' must be a time', 'such as 1h')
# An unset variable of a script must not mean everything.
refused(['replay', '--since', '1h', '--source', ''], 2, '--source is empty')
refused(['replay', 'evt_01M8B0HH0F000G000000000001', '--to='], 2, '--to is empty')
refused(['token', 'create', 'ci', '--canvas', ''], 2, '--canvas is empty')
for words in (['pause', ''], ['resume', ''], ['retry', ''], ['reset-key', ''], ['event', ''], ['replay', ''], ['secrets', 'destination', ''],
              ['get', 'routes', ''], ['describe', 'route', ''], ['delete', 'route', ''], ['delete', '', 'r'], ['delete', 'operation', ''],
              ['token', 'revoke', ''], ['entry', 'delete', ''], ['backup', ''], ['restore', ''], ['send', ''], ['apply', '--', '']):
    refused(words, 2, words[0] + ': an argument is empty', 'becket help ' + words[0])
refused(['deliveries', '--event', 'abc'], 2, '--event takes an event', 'abc')
refused(['get', 'secrets', '--timeout', '0'], 2, '1ms or more')
refused(['serve', '--idle-timeout', '0'], 2, '1ms or more')
refused(['entry', 'create', 'x', '--team', 't', '--day', 'monday'], 2, 'a day such as')
refused(['entry', 'create', 'x'], 2, '--team')
refused(['entry', 'create', 'x', '--team', 't', '--body', 'y'], 2, '--body')
refused(['entry', 'update', 'x', '--team', 't'], 2, '--team')
refused(['entry', 'update', 'x'], 2, '--body')
refused(['entry', 'delete', 'x', '--status', 'done'], 2, 'takes none')
refused(['token', 'revoke', 'ci', '--role', 'admin'], 2, 'go with token create')
refused(['events', '--limit', '0'], 2, 'at least 1')
refused(['events', '--state', 'lost'], 2, 'accepted|rejected|duplicate')
refused(['event'], 2, 'becket event evt_')
refused(['token', 'make'], 2, 'create')
refused(['send'], 2, 'URL')
refused(['send', 'localhost:1'], 2, 'http://')
refused(['send', 'https://localhost:1'], 1, 'cannot connect')
refused(['verify'], 2, '--type')
refused(['verify', '--type', 'gihub', '--secret', 'x'], 2, 'did you mean github?')
refused(['verify', '--type', 'github', '--signed', '{body}', '--secret', 'x'], 2, '--type generic')
refused(['verify', '--type', 'github'], 2, 'secret')
refused(['get', 'secrets', '-o', 'xml'], 2, 'table|json|yaml')
refused(['get', 'secrets', '--data', '/nonexistent'], 1, 'no token', '--token')
refused(['get', 'secrets', '--token', 'x', '--server', 'http://127.0.0.1:1'], 1, 'becket serve', '--server')
refused(['get', 'secrets', '--token', 'x'], 1, 'becket serve', BECKET_URL='http://127.0.0.1:1')
refused(['get', 'secrets', '--token', 'x y'], 1, 'token')
refused(['get', 'secrets', '--server', 'nonsense', '--token', 'x'], 2, 'http://')
refused(['apply', '-f', '/nonexistent.yaml', '--token', 'x'], 1, '/nonexistent.yaml')
refused(['send', 'http://127.0.0.1:1/hooks/x', '--timeout', '2s'], 1, 'cannot connect')
refused(['journal', 'check', '--data', '/nonexistent'], 1, '--data')
refused(['get', '\x1b]0;x\x07'], 2, '\\x1b')
with tempfile.TemporaryDirectory() as empty:
    refused(['apply', '-f', empty, '--token', 'x'], 1, '*.yaml')

# ---- a page that says 200 to everything, as of a log-in in front: nothing was revoked or deleted there
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', '9')
        self.end_headers()
        self.wfile.write(b'<p>hi</p>')

    do_POST = do_DELETE = do_GET

    def log_message(self, *words):
        pass


page = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Page)
threading.Thread(target=page.serve_forever, daemon=True).start()
for words in (['delete', 'route', 'r'], ['token', 'revoke', 'ci'], ['entry', 'delete', 'x'], ['get', 'routes'], ['pause', 'app'], ['status'],
              ['secrets', 'app'], ['deliveries', '--destination', 'app']):
    refused(words, 1, 'a web page', '--server', BECKET_URL='http://127.0.0.1:%d' % page.server_port, BECKET_TOKEN='x')
page.shutdown()

# ---- verify: off line, as the server would check it
body = b'{"a":1}'
with tempfile.TemporaryDirectory() as base:
    path = os.path.join(base, 'body')
    with open(path, 'wb') as f:
        f.write(body)
    mac = hmac.new(b's3', body, hashlib.sha256).hexdigest()
    signed = ['--header', 'X-Hub-Signature-256: sha256=' + mac, '-H', 'X-GitHub-Event: push', '--body', path]
    code, out, err = run('verify', '--type', 'github', '--secret', 's3', *signed)
    ok(code == 0 and out == 'genuine: github, type push\n', 'genuine')
    code, out, err = run('verify', '--type', 'TYPE_GITHUB', '--secret', 'old', '--secret2', 's3', *signed)
    ok(code == 0, 'the second secret, the seeds\' spelling')
    code, out, err = run('verify', '--type', 'github', '--secret', 'other', *signed)
    ok(code == 1 and 'signature_wrong' in out, 'another secret')
    code, out, err = run('verify', '--type', 'github', '--secret', 's3', *signed[:-1], '-', stdin=body + b'\n')
    ok(code == 1 and 'line end' in out, 'a line feed too many is named')
    code, out, err = run('verify', '--type', 'github', '--secret', 's3', '--body', path)
    ok(code == 1 and 'signature_missing' in out and 'X-Hub-Signature-256' in out, 'no signature')
    code, out, err = run('verify', '--type', 'github', '--secret', 's3', '--header', 'nonsense', '--body', path)
    ok(code == 2 and 'nonsense' in err, 'a header that is none')
    stamp = '1700000000'
    mac = hmac.new(b'k', stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()
    striped = ['verify', '--type', 'stripe', '--secret', 'k', '-H', 'Stripe-Signature: t=%s,v1=%s' % (stamp, mac),
               '--body', path]
    code, out, err = run(*striped, '--now', '1700000100')
    ok(code == 0, 'stripe, in time')
    code, out, err = run(*striped, '--now', '1700009999')
    ok(code == 1 and 'stale' in out and '9999 s old' in out, 'stripe, too old: says how old')
    code, out, err = run(*striped, '--now', '1700009999', '--tolerance', '1d')
    ok(code == 0, 'with another tolerance')
    own = ['verify', '--type', 'generic', '--scheme', 'hmac', '--algorithm', 'sha512', '--signature-header', 'X-Sig',
           '--signature-format', 'v1={base64}', '--signed', '{timestamp}|{body}', '--timestamp-header', 'X-Ts',
           '--secret', 'k', '--body', path, '--now', '1000', '-H', 'X-Ts: 1000']
    mac = base64.b64encode(hmac.new(b'k', b'1000|' + body, hashlib.sha512).digest()).decode()
    code, out, err = run(*own, '-H', 'X-Sig: v1=' + mac)
    ok(code == 0 and out == 'genuine: generic\n', 'a scheme of one\'s own')
    code, out, err = run(*own, '-H', 'X-Sig: v2=' + mac)
    ok(code == 1, 'another form')
    code, out, err = run('verify', '--type', 'generic', '--scheme', 'hmac', '--signature-format', 'nonsense', '--secret',
                         'k', '--signature-header', 'X')
    ok(code == 2 and 'signature.format' in err, 'a scheme that cannot be')
    source = os.path.join(base, 'source.yaml')
    with open(source, 'w') as f:
        f.write('kind: Secret\nmetadata: {name: hub}\nspec: {data: {webhook: s3}}\n---\nkind: EventSource\n'
                'metadata: {name: repo}\nspec: {type: github, verification: {secrets: [{valueFrom: {secret: '
                '{name: hub, key: webhook}}}]}}\n')
    code, out, err = run('verify', '-f', source, *signed)
    ok(code == 0, 'from the document that declares it')
    code, out, err = run('verify', '-f', source, '--source', 'absent', *signed)
    ok(code == 2 and 'absent' in err, 'a source that is not in it')
    with open(source, 'a') as f:
        f.write('---\nkind: EventSource\nmetadata: {name: made}\nspec: {path: made}\n')
    code, out, err = run('send', 'http://127.0.0.1:1/', '-f', source, '--source', 'made')
    ok(code == 2 and 'becket secrets' in err, 'a key that is not in the file: where to find it')
    with open(source, 'a') as f:
        f.write('---\nkind: EventSource\nmetadata: {name: bad}\nspec: {tipe: x}\n')
    code, out, err = run('verify', '-f', source, *signed)
    ok(code == 1 and 'source.yaml:' in err and 'spec' in err, 'a document with a mistake: file and line')

# ---- send --dry-run signs what verify takes
    code, out, err = run('send', 'http://localhost/hooks/x', '--type', 'github', '--secret', 's3', '--body', path,
                         '--event', 'push', '--id', 'one', '--dry-run')
    head, _, rest = out.partition('\n\n')
    headers = dict(line.split(': ', 1) for line in head.split('\n')[1:])
    ok(code == 0 and rest == '{"a":1}\n' and headers['X-GitHub-Delivery'] == 'one' and
       headers['X-GitHub-Event'] == 'push', 'send --dry-run')
    ok(headers['X-Hub-Signature-256'] == 'sha256=' + hmac.new(b's3', body, hashlib.sha256).hexdigest(),
       'the signature is right')
done()
