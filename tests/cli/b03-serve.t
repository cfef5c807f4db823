#!/usr/bin/env python3
"""How serve is told what to do: what SIGHUP changes and what it says, addresses and URLs that are refused, help that
names the variables there are."""
import fcntl, os, re, shutil, socket, subprocess, sys, threading, urllib.request
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *


def refused(words, *parts):
    done_process = subprocess.run([BECKET] + words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    ok(done_process.returncode != 0 and all(p in done_process.stderr for p in parts),
       'refused: ' + ' '.join(words)[:60]) or diag(done_process)


def said(server, text, wait=10):
    end = time.monotonic() + wait
    while text not in server.log_text() and time.monotonic() < end:
        time.sleep(0.02)
    return text in server.log_text()


with tempfile.TemporaryDirectory() as base:
    file = os.path.join(base, 'file')
    open(file, 'w').close()
    for url in ('foo', 'http://', 'https:///x', 'http://a b', 'http://a/?q=', 'http://' + 'a' * 600):
        refused(['serve', '--data', os.path.join(base, 'd'), '--public-url', url], '--public-url')
    refused(['serve', '--data', file], 'file of this name')
    refused(['serve', '--data', file + '/below'], 'cannot be made: not found')
    refused(['serve', '--data', os.path.join(base, 'd'), '--config', base], 'is a directory')
    refused(['serve', '--data', os.path.join(base, 'd'), '--tls-cert', base, '--tls-key', base], 'is a directory')
    refused(['serve', '--data', os.path.join(base, 'd'), '--listen', '127.0.0.1:1234', '--admin', '127.0.0.1:1234'], '--listen and --admin are both 127.0.0.1:1234')
    os.makedirs(os.path.join(base, 'torn', 'state'))
    with open(os.path.join(base, 'torn', 'state', 'data.mdb'), 'wb') as f:
        f.write(b'x' * 8192)
    refused(['serve', '--data', os.path.join(base, 'torn'), '--listen', '127.0.0.1:%d' % free_port(), '--admin', '127.0.0.1:%d' % free_port()],
            'it is damaged; put a copy')
    with Server(data=os.path.join(base, 'cut')) as server:
        server.apply(''.join('---\nkind: EventSource\nmetadata: {name: s%d}\nspec: {type: generic, verification: {scheme: none}}\n' % i for i in range(40)))
        cut = server.data
    with open(os.path.join(cut, 'state', 'data.mdb'), 'r+b') as f:
        f.truncate(6 * 4096)
    refused(['serve', '--data', cut, '--listen', '127.0.0.1:%d' % free_port(), '--admin', '127.0.0.1:%d' % free_port()],
            'the file ends before it)')

    # A first start that cannot listen leaves nothing behind; the port of one that was just killed may be taken for a moment.
    with socket.socket() as busy:
        busy.bind(('127.0.0.1', 0))
        busy.listen(1)
        port = busy.getsockname()[1]
        for option, others in (('--listen', '--admin'), ('--admin', '--listen')):
            refused(['serve', '--data', os.path.join(base, 'new'), option, '127.0.0.1:%d' % port, others, '127.0.0.1:%d' % free_port()],
                    '%s 127.0.0.1:%d: in use' % (option, port))
            ok(not os.path.exists(os.path.join(base, 'new')), 'and no data directory is left')
        threading.Timer(0.3, busy.close).start()
        with Server(data=os.path.join(base, 'new'), start=False) as server:
            server.port, server.admin = port, free_port()
            ok(server.start(same_ports=True), 'one that becomes free in a moment is waited for')

    one = subprocess.run([BECKET, 'serve', '--data', os.path.join(base, 'd'), '--tls-cert', file], capture_output=True, text=True, timeout=30)
    ok(one.returncode == 2 and 'in pairs' in one.stderr, 'a certificate without a key is wrong usage')
    refused(['serve', '--data', os.path.join(base, 'd'), '--ca-file', file + 'x', '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'], '--ca-file: ')

    config = os.path.join(base, 'serve.yaml')

    def configure(text):
        with open(config, 'w') as f:
            f.write(text)

    configure('log-level: info\nretain-age: 7d\n')
    with Server(options=['--config', config, '--public-url', 'https://hooks.example/base/']) as server:
        configure('log-level: debug\nretain-age: 8d\nlog-format: json\n')
        server.process.send_signal(signal.SIGHUP)
        ok(said(server, '"event":"reloaded"'), 'SIGHUP reads the file again, the log changes at once')
        ok(said(server, '"for":"retain-age"'), 'and names what needs a restart')
        configure('log-level: loud\n')
        server.process.send_signal(signal.SIGHUP)
        ok(said(server, 'not reloaded') and said(server, 'loud'), 'a wrong file is told, nothing changes')
        is_equal(server.get('/health/ready').status, 200, 'and the server goes on')
        source = 'kind: EventSource\nmetadata: {name: s}\nspec: {type: generic, verification: {scheme: none}}\n'
        dry = server.api('POST', '/api/v1/apply?dryRun=true', source.encode()).json['results'][0]
        ok(dry['action'] == 'created' and 'url' not in dry, 'a dry run tells no address that will not be')
        url = server.apply(source)['results'][0]['url']
        ok(re.fullmatch('https://hooks.example/base/hooks/[0-9a-f]{32}', url), 'the address is below the public URL')
        dry = server.api('POST', '/api/v1/apply?dryRun=true', source.replace('generic,', 'generic, limits: {bodyBytes: 1000},').encode()).json
        is_equal(dry['results'][0].get('url'), url, 'and stays')
        is_equal(server.stop(), 0, 'SIGTERM: 0')

# ---- port 0: one that is free
with tempfile.TemporaryDirectory() as base:
    log = os.path.join(base, 'log')
    with open(log, 'w') as out:
        process = subprocess.Popen([BECKET, 'serve', '--data', os.path.join(base, 'd'), '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0',
                                    '--threads', '2'], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    end, ready = time.monotonic() + 10, None
    while not ready and time.monotonic() < end:
        time.sleep(0.02)
        with open(log) as f:
            ready = re.search(r' ready listen=127\.0\.0\.1:(\d+) admin=127\.0\.0\.1:(\d+) publicUrl=http://127\.0\.0\.1:(\d+)', f.read())
    ok(ready and ready[1] == ready[3] and '0' not in ready.groups() and ready[1] != ready[2], 'free ports are taken, and told')
    asked = [urllib.request.urlopen('http://127.0.0.1:%s/health/ready' % port, timeout=10).status for port in ready.groups() * 8]
    ok(set(asked) == {200}, 'both listeners answer there')
    process.send_signal(signal.SIGTERM)
    is_equal(process.wait(20), 0, 'SIGTERM: 0')

# ---- a log that nobody reads
reads, writes = os.pipe()
fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, 4096)
with Server(start=False, threads=1) as server:
    server.port, server.admin = free_port(), free_port()
    server.log = os.fdopen(writes, 'wb')
    server.process = subprocess.Popen([BECKET, 'serve', '--data', server.data, '--listen', '127.0.0.1:%d' % server.port, '--admin', '127.0.0.1:%d' % server.admin,
                                       '--threads', '1'], stdin=subprocess.DEVNULL, stdout=writes, stderr=writes)
    ok(when(lambda: server.get('/health/ready').status == 200), 'a log that nobody reads: it starts')
    began = time.monotonic()
    for _ in range(60):
        server.apply(GITHUB_SOURCE)
    ok(time.monotonic() - began < 5 and server.get('/health/ready').status == 200, 'changes go on when the pipe is full')
    text = os.read(reads, 65536)
    server.apply(GITHUB_SOURCE)
    text += os.read(reads, 65536)
    ok(b'lines are lost lines=' in text and all(re.match(rb'20\d\d-', line) for line in text.splitlines()), 'who reads on is told how many are lost; none is cut') or diag(text)
    is_equal(server.stop(), 0, 'and SIGTERM ends it in order')
os.close(reads)

# ---- a copy of the data directory is a backup
with Server() as server:
    server.apply(GITHUB_SOURCE)
    for i in range(20):
        server.post('/hooks/repo', b'{"n": %d}' % i, github(b'{"n": %d}' % i, SECRET))
    server.stop()
    copy = server.data + '-copy'
    subprocess.run(['cp', '-a', server.data + '/.', copy], check=True)
    server.start()
    server.post('/hooks/repo', b'{}', github(b'{}', SECRET))
    server.cli('delete', 'event-source', 'repo')
    server.stop()
    shutil.rmtree(server.data)
    os.rename(copy, server.data)
    server.start()
    ok(len(server.events()) == 20 and server.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status == 200,
       'restored: events, objects and secrets are those of the copy')
    code, out, err = server.cli('journal', 'check')
    ok(code == 0, 'and every checksum is right: %s%s' % (out, err))

for command in ('apply', 'events', 'journal', 'verify', 'send', 'token'):
    text = subprocess.run([BECKET, 'help', command], capture_output=True, text=True, timeout=30).stdout
    ok(re.search(r'\(\$BECKET_[A-Z]+\)', text) and 'may be repeated) (may' not in text, 'help %s names variables' % command)
done()
