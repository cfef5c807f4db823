#!/usr/bin/env python3
"""What a server gives up once it is set up: the kernel says so of every thread, nothing of it hinders the work, and an ordinary
user on a read-only root is enough."""
import glob, os, re, shutil, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

with open(BECKET, 'rb') as program:
    if b'__asan_init' in program.read():
        skip_all('builds with sanitizers have no sandbox')


def facts(path):
    with open(path) as f:
        return dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)


with Server() as server:
    server.apply(GITHUB_SOURCE)
    for _ in range(100):  # it listens before it is sandboxed
        if ' ready ' in server.log_text():
            break
        time.sleep(0.05)
    threads = glob.glob('/proc/%d/task/*/status' % server.process.pid)
    ok(len(threads) >= 4, 'control thread, reactors, hand-over: %d threads' % len(threads))
    is_equal(sorted({facts(t)['NoNewPrivs'] for t in threads}), ['1'], 'none gains privileges')
    is_equal(sorted({facts(t)['Seccomp'] for t in threads}), ['2'], 'each has a filter of system calls')
    sandbox = re.search(r'sandbox="?([^"\n]*?)"? connectionsPerThread', server.log_text()).group(1)
    ok('seccomp' in sandbox, 'the line before ready tells: ' + sandbox)
    ready = re.search(r' ready listen=.*', server.log_text()).group(0)
    ok(all(f' {name}=' in ready for name in ('admin', 'threads', 'durability', 'memoryMaxMiB')) and
       re.search(r' ring="[^"]*restricted', ready), 'one line ready says all, and that the rings are restricted')
    if os.geteuid() != 0:
        is_equal(os.stat('/proc/%d/environ' % server.process.pid).st_uid, 0, 'not dumpable: /proc is not for its user')
    # All that a server does, in short.
    for body in (b'{}', b'x' * 200000, b'y' * 3000000):
        is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, '%d bytes are taken' % len(body))
    is_equal(server.post('/hooks/repo', b'{}', github(b'{}', 'no')).status, 401, 'forged ones are not')
    ok(server.metrics()['becket_resident_bytes'] > 0, 'metrics read /proc')
    load = Load(server.port, connections=8, body_bytes=(10, 60000)).start()
    for i in range(20):
        server.apply('kind: EventSource\nmetadata: {name: s%d}\nspec: {type: generic, path: s%d, verification: {scheme: none}}' % (i, i))
    time.sleep(2)  # journal segments are made, filled and removed meanwhile
    server.process.send_signal(signal.SIGHUP)
    load.stop()
    is_equal((load.failed[:3], load.refused), ([], 0), 'none of %d requests failed' % len(load.sent))
    ok(server.process.poll() is None, 'it is alive')
    is_equal(server.stop(), 0, 'and stops in order')
    server.start(options=['--sandbox', 'off'])
    time.sleep(0.2)
    is_equal(facts('/proc/%d/status' % server.process.pid)['Seccomp'], '0', '--sandbox off: without')
    is_equal(server.stop(), 0, 'stopped')

# ---- an ordinary user, the root read-only
setpriv, unshare = shutil.which('setpriv'), shutil.which('unshare')
if os.geteuid() == 0 and setpriv and unshare:
    base = tempfile.mkdtemp(prefix='becket-user-', dir='/tmp')
    os.chmod(base, 0o755)
    program = os.path.join(base, 'becket')
    shutil.copy(BECKET, program)
    data = os.path.join(base, 'data')
    os.mkdir(data, 0o700)
    os.chown(data, 65534, 65534)
    script = ('mount --bind "$0" "$0" && mount -o remount,ro,bind / && '
              'exec %s --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all "$@"' % setpriv)
    if subprocess.run([unshare, '-m', 'sh', '-c', script, data, 'true'], capture_output=True).returncode == 0:
        server = Server(data=data, program=program, start=False)
        server.start(prefix=[unshare, '-m', 'sh', '-c', script, data])
        status = facts('/proc/%d/status' % server.process.pid)
        is_equal((status['Uid'].split()[0], status['CapEff'].strip('0')), ('65534', ''), 'an ordinary user without capabilities')
        is_equal(os.stat('/proc/%d/environ' % server.process.pid).st_uid, 0, 'not dumpable: its /proc is not for that user')
        server.apply(GITHUB_SOURCE)
        is_equal(server.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status, 200, 'takes a webhook')
        modes = {f: os.stat(os.path.join(d, f)).st_mode & 0o77 for d, _, fs in os.walk(data) for f in fs}
        is_equal([f for f, mode in modes.items() if mode], [], 'files are for their owner only')
        is_equal(server.stop(), 0, 'and stops in order')
    else:
        skip('ordinary user', 'no mounts of our own here')
    shutil.rmtree(base, ignore_errors=True)
else:
    skip('ordinary user', 'needs root to become another')
done()
