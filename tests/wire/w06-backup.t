#!/usr/bin/env python3
"""becket backup beside a server under load, also while old segments are removed, and becket restore: what was acknowledged
before is there, secrets open, repeats are known, deliveries that waited go on. Half a backup is refused."""
import itertools, os, shutil, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

DELIVERY = """kind: Destination
metadata: {name: app}
spec: {url: "http://127.0.0.1:%d/in", allowPrivate: true}
---
kind: Route
metadata: {name: all}
spec: {from: [{source: waits}], to: [{destination: app}]}
---
kind: EventSource
metadata: {name: waits}
spec: {type: github, path: waits, verification: {secrets: [{value: of-the-backup}]}}
"""
folder = tempfile.mkdtemp(prefix='becket-backup-')


def becket(*words):
    run = subprocess.run([BECKET] + list(words), capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout, run.stderr


def copied(server, name):
    """A backup, restored: the data directory."""
    backup, data = os.path.join(folder, name), os.path.join(folder, name + '-data')
    code, out, err = becket('backup', backup, '--data', server.data)
    is_equal((code, err), (0, ''), '%s: beside the server' % name)
    code, out, err = becket('restore', backup, '--data', data)
    is_equal((code, err), (0, ''), '%s: restored' % name)
    ok('becket serve --data %s\n' % data in out and '--public-url' in out, '%s: and how it is started, and where not' % name)
    code, out, err = becket('journal', 'check', '--data', data)
    is_equal((code, err, 'unfinished' in out), (0, '', False), '%s: every checksum, and no torn end' % name)
    shutil.rmtree(backup)
    return data


def refused(what, *words, told):
    code, out, err = becket(*words)
    if not ok(code == 1 and told in err and err.count('\n') == 1, what):
        diag('%r %r %r' % (code, out, err))


with Sink() as sink, Server() as server:
    server.apply(GITHUB_SOURCE)
    server.apply(DELIVERY % sink.port)
    server.cli('pause', 'app')
    waiting = [server.post('/hooks/waits', b'{}', github(b'{}', 'of-the-backup', delivery='w%d' % i)).json['id'] for i in range(5)]
    load = Load(server.port, connections=6, body_bytes=(10, 20000)).start()
    time.sleep(0.7)
    with load.lock:
        before = dict(load.acknowledged)
    data = copied(server, 'load')
    load.stop()
    ok(len(before) > 20 and not load.failed and not load.refused, 'the load did not notice (%d before)' % len(before))
    refused('a backup goes nowhere where something is', 'backup', data, '--data', server.data, told='not empty')
    inside = os.path.join(server.data, 'backup', '')
    refused('nor into what it copies', 'backup', inside, '--data', server.data, told='is inside of')
    ok(not os.path.exists(inside), 'and nothing is left there')
    refused('nor does a restore', 'restore', server.data, '--data', data, told='not empty')
    server.stop()    # its deliveries would look like the other's
    with Server(data=data) as again:
        compare(again, before, dict(load.sent, w0='', w1='', w2='', w3='', w4=''), 'restored')
        answer = again.post('/hooks/waits', b'{}', github(b'{}', 'of-the-backup', delivery='w0'))
        is_equal(answer.json, {'id': waiting[0], 'duplicate': True}, 'its secrets open, and it knows repeats')
        is_equal(sink.got('/in'), [], 'what waited waits')
        is_equal(again.cli('resume', 'app')[0], 0, 'until the destination is resumed')
        sink.wait('/in', len(waiting))
        is_equal(sorted(r.id for r in sink.got('/in')), sorted(waiting), 'then it is delivered')

    refused('no data directory', 'backup', os.path.join(folder, 'x'), '--data', os.path.join(folder, 'none'), told='no state')
    ok(not os.path.exists(os.path.join(folder, 'x')), 'and nothing is made')
    if os.geteuid() == 0:
        copy = os.path.join(folder, 'becket')    # the checkout may be where only root comes
        shutil.copy(BECKET, copy)
        os.chmod(folder, 0o755)
        run = subprocess.run([copy, 'backup', '/tmp/never', '--data', data], capture_output=True, text=True, user=65534)
        ok(run.returncode == 1 and 'permission denied' in run.stderr, 'who may not read it is told that')
    backup = os.path.join(folder, 'cold')
    is_equal(becket('backup', backup, '--data', data)[0], 0, 'of a server that is stopped')
    modes = {oct(os.stat(os.path.join(d, n)).st_mode & 0o077) for d, _, names in os.walk(backup) for n in names + ['.']}
    is_equal(modes, {'0o0'}, 'nobody else may read it')
    os.rename(os.path.join(backup, 'state'), os.path.join(backup, 'state.part'))
    refused('half a backup', 'restore', backup, '--data', os.path.join(folder, 'y'), told='not finished')
    os.rename(os.path.join(backup, 'state.part'), os.path.join(backup, 'state'))
    segment = os.path.join(backup, 'journal', sorted(os.listdir(os.path.join(backup, 'journal')))[0])
    with open(segment, 'r+b') as f:
        f.seek(300000)    # padding is not covered
        f.write(b'damage' * 1000)
    code, out, err = becket('restore', backup, '--data', os.path.join(folder, 'y'))
    if not ok(code == 1 and 'problem' in err and segment in err, 'a backup that is damaged is told'):
        diag('%r %r %r' % (code, out, err))

# ---- while retention removes what is being copied
with Server(options=['--segment-bytes', '1M', '--retain-bytes', '4M'], threads=1) as server:
    server.apply(GITHUB_SOURCE)
    load = Load(server.port, connections=1, body_bytes=(30000, 60000)).start()
    time.sleep(0.5)
    for i in range(3):
        data = copied(server, 'retained-%d' % i)
    load.stop()
    with Server(data=data, threads=1) as again:
        events = again.events('state=accepted')
        ok(events and all(e['deliveryId'] in load.sent for e in events), 'what is left is served (%d events)' % len(events))

# ---- while its store is written: half of what a look finds there is of another moment
SOURCE = 'kind: EventSource\nmetadata: {name: s%d, description: "%s"}\nspec: {type: github, verification: {secrets: [{value: of-the-backup}]}}\n'
with Server() as server:
    server.apply('---\n'.join(SOURCE % (i, 'first') for i in range(2000)))
    stopping = threading.Event()

    def change():
        for n in itertools.count():
            if stopping.is_set():
                return
            server.apply(SOURCE % (n * 37 % 2000, 'y' * (n % 300)))

    writers = [threading.Thread(target=change) for _ in range(2)]
    for writer in writers:
        writer.start()
    told = [becket('backup', os.path.join(folder, 'written-%d' % i), '--data', server.data)[::2] for i in range(20)]
    stopping.set()
    for writer in writers:
        writer.join()
    is_equal(set(told), {(0, '')}, 'twenty backups while objects change')
shutil.rmtree(folder)
done()
