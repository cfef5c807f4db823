#!/usr/bin/env python3
"""becket key rotate: another master key under a server that runs. Nobody is refused meanwhile, the key before is gone from the disk,
whoever is killed at whatever moment starts with one of the two, backups open with their own. ROUNDS=n kills more often."""
import glob, os, random, shutil, stat, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from terminal import Terminal

ROUNDS = int(os.environ.get('ROUNDS', '6'))
MANY = '---\n'.join('kind: Secret\nmetadata: {name: m%d}\nspec: {data: {k: planted-many-%d}}\n' % (i, i) for i in range(1500))
folder = tempfile.mkdtemp(prefix='becket-key-')


def key_of(data):
    with open(os.path.join(data, 'master.key')) as file:
        return file.read().strip()


def words(name):
    return 'whsec-planted-%s' % name


def source(name):
    return """kind: EventSource
metadata: {name: %s}
spec: {type: github, path: %s, verification: {secrets: [{value: %s}]}}
""" % (name, name, words(name))


def genuine(server, names):
    return [server.post('/hooks/' + name, b'{}', github(b'{}', words(name))).status for name in names]


def found(data, text):
    """Files in which it is, in clear."""
    return [path for path in glob.glob(data + '/**', recursive=True)
            if os.path.isfile(path) and text.encode() in open(path, 'rb').read()]


def run(*arguments, env=None):
    done_process = subprocess.run([BECKET] + list(arguments), capture_output=True, text=True, timeout=60, env=env)
    return done_process.returncode, done_process.stdout, done_process.stderr


with Server() as server:
    names = ['one', 'two', 'three']
    server.apply(GITHUB_SOURCE)
    server.apply('---\n'.join(source(name) for name in names))
    server.apply(MANY)
    old = key_of(server.data)
    backup = os.path.join(folder, 'before')
    is_equal(run('backup', backup, '--data', server.data)[0], 0, 'a backup of before')

    code, out, err = server.cli('key', 'show')
    ok(code == 0 and 'master.key of the data directory' in out and 'all secrets are sealed' in out, 'becket key show: ' + out.splitlines()[0])
    before = server.cli('key', 'show', '-o', 'json')[1]
    kept = server.data + '.kept'
    os.link(os.path.join(server.data, 'master.key'), kept)  # the very file, by another name
    load = Load(server.port, connections=4).start()
    code, out, err = server.cli('key', 'rotate')
    ok(code == 0 and err == '' and 'was overwritten' in out and '1504 records' in out, 'becket key rotate: ' + ' '.join((out + err).split()))
    load.stop()
    ok(load.acknowledged and not load.failed and not load.refused, 'the load did not notice (%d)' % len(load.acknowledged))
    new = key_of(server.data)
    ok(new != old, 'there is another key')
    is_equal(stat.S_IMODE(os.stat(os.path.join(server.data, 'master.key')).st_mode), 0o600, '0600')
    is_equal(found(server.data, old), [], 'the old one is nowhere')
    with open(kept, 'rb') as file:
        is_equal(set(file.read()), {0}, 'nor in the file that had it')
    os.unlink(kept)
    is_equal(found(server.data, 'planted'), [], 'no secret either')
    is_equal(genuine(server, names), [200] * 3, 'secrets are what they were')
    after = json.loads(server.cli('key', 'show', '-o', 'json')[1])
    ok(after['id'] != json.loads(before)['id'] and after['sealing'] is False, 'as -o json has it')
    record = server.api('GET', '/api/v1/audit?limit=1').json['items'][0]
    ok(record['action'] == 'rotated' and record['kind'] == 'MasterKey' and record['actor'] == 'admin' and
       record['diff'] == [{'path': 'id', 'before': json.loads(before)['id'], 'after': after['id']}], 'the audit tells who: %r' % record)
    code, out, err = server.cli('key', 'rotate', '-o', 'json')
    ok(code == 0 and json.loads(out)['id'] != after['id'], 'and again, as JSON')

    # ---- seen on a terminal
    terminal = Terminal([BECKET, 'key', 'rotate', '--server', 'http://127.0.0.1:%d' % server.admin, '--data', server.data])
    terminal.read()
    ok('sealing anew: ' in terminal.text and 'was overwritten' in terminal.text, 'a terminal shows how far it is')

    # ---- who may
    writer = server.api('POST', '/api/v1/tokens', b'{"name":"w2","role":"write"}', {'Content-Type': 'application/json'}).json['token']
    is_equal(server.api('POST', '/api/v1/master-key/rotate', token=writer).status, 403, 'a writer may not')
    for wrong in (['key'], ['key', 'turn'], ['key', 'show', '--oidc'], ['key', 'rotate', 'now']):
        is_equal(server.cli(*wrong)[0], 2, 'becket %s' % ' '.join(wrong))

    # ---- a backup beside changes of the key
    for i in range(3):
        other = os.path.join(folder, 'beside%d' % i)
        rotating = subprocess.Popen([BECKET, 'key', 'rotate', '--server', 'http://127.0.0.1:%d' % server.admin, '--data', server.data],
                                    stdout=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 0.03))
        code, out, err = run('backup', other, '--data', server.data)
        rotating.wait()
        is_equal((code, err), (0, ''), 'a backup beside a change of the key')
        with Server(data=other) as copy:
            is_equal(genuine(copy, names), [200] * 3, 'opens')

    # ---- killed at some moment
    keys, started = set(), 0
    for i in range(ROUNDS):
        was = key_of(server.data)
        rotating = subprocess.Popen([BECKET, 'key', 'rotate', '--server', 'http://127.0.0.1:%d' % server.admin, '--data', server.data],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.001, 0.02))
        server.kill()
        rotating.wait()
        server.start(same_ports=True)
        keys.add(key_of(server.data) == was)
        started += genuine(server, names) == [200] * 3 and not os.path.exists(os.path.join(server.data, 'master.key.next'))
        when(lambda: not server.api('GET', '/api/v1/master-key').json['sealing'])
    is_equal(started, ROUNDS, 'killed %d times, it starts with one of the two keys (%s)' %
             (ROUNDS, ', '.join('the old one' if key else 'the new one' for key in sorted(keys))))
    is_equal(genuine(server, names), [200] * 3, 'and nothing is lost')
    last = key_of(server.data)
    server.stop()

    # ---- keys that do not fit
    data = os.path.join(folder, 'restored')
    is_equal(run('restore', backup, '--data', data)[0], 0, 'the backup of before is restored')
    is_equal(key_of(data), old, 'with its own key')
    with Server(data=data) as copy:
        is_equal(genuine(copy, names), [200] * 3, 'and opens')
    with open(os.path.join(data, 'master.key'), 'w') as file:
        file.write(last)
    code, out, err = run('serve', '--data', data, '--listen', '127.0.0.1:%d' % free_port(), '--admin', '127.0.0.1:%d' % free_port())
    ok(code == 1 and 'a backup needs the key of its own time' in err and err.count('\n') == 1, 'with the key of now it does not: ' + err.strip())
    other = os.path.join(folder, 'unfit')
    code, out, err = run('backup', other, '--data', data)
    ok(code == 0 and 'does not open the secrets' in err and not os.path.exists(os.path.join(other, 'master.key')),
       'a backup takes no key along that opens nothing: ' + err.strip())
    os.chmod(os.path.join(server.data, 'master.key'), 0o644)
    code, out, err = run('serve', '--data', server.data, '--listen', '127.0.0.1:%d' % free_port(), '--admin', '127.0.0.1:%d' % free_port())
    ok(code == 1 and 'chmod 600' in err and err.count('\n') == 1, 'a key that others may read is refused')
    os.chmod(os.path.join(server.data, 'master.key'), 0o600)

# ---- a full disk
disk = os.path.join(folder, 'disk')
os.mkdir(disk)
if os.geteuid() == 0 and subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk], capture_output=True).returncode == 0:
    try:
        with Server(data=os.path.join(disk, 'data'), threads=1) as server:
            server.apply(MANY)
            server.apply(source('one'))
            for left, told in ((0, 'no space left'), (64, 'cannot be sealed anew now')):
                was = key_of(server.data)
                with open(os.path.join(disk, 'fill'), 'wb', buffering=0) as file:
                    try:
                        while True:
                            file.write(b'x' * 4096)
                    except OSError:
                        file.truncate(max(0, file.tell() - left * 1024))
                code, out, err = server.cli('key', 'rotate')
                ok(code == 1 and told in err and err.count('\n') == 1, 'with %d KiB left: %s' % (left, err.strip()))
                ok((key_of(server.data) == was) == (left == 0) and not os.path.exists(os.path.join(server.data, 'master.key.next')),
                   'one key is left, %s' % ('the old one' if left == 0 else 'the new one'))
                os.unlink(os.path.join(disk, 'fill'))
            ok(when(lambda: not server.api('GET', '/api/v1/master-key').json['sealing']), 'with room again it goes on by itself')
            is_equal(genuine(server, ['one']), [200], 'and nothing is lost')
    finally:
        subprocess.run(['umount', '-l', disk])
else:
    skip('a full disk', 'no tmpfs can be mounted here')

# ---- a key from elsewhere
first, second = os.urandom(32).hex(), os.urandom(32).hex()
data = os.path.join(folder, 'elsewhere')
with Server(data=data, start=False) as server:
    server.start(environment=dict(os.environ, BECKET_MASTER_KEY=first))
    server.apply(source('one'))
    code, out, err = server.cli('key', 'rotate')
    ok(code == 1 and 'BECKET_MASTER_KEY_BEFORE' in err and err.count('\n') == 1, 'a key of the environment: ' + err.strip())
    server.stop()
    server.start(environment=dict(os.environ, BECKET_MASTER_KEY=second, BECKET_MASTER_KEY_BEFORE=first))
    is_equal(genuine(server, ['one']), [200], 'is changed at a start')
    with open('/proc/%d/environ' % server.process.pid, 'rb') as file:
        shown = file.read()
    ok(first.encode() not in shown and second.encode() not in shown, 'and neither is to be seen')
    when(lambda: not server.api('GET', '/api/v1/master-key').json['sealing'])
    server.stop()
    server.start(environment=dict(os.environ, BECKET_MASTER_KEY=second))
    is_equal(genuine(server, ['one']), [200], 'and the new one is enough from then on')
    server.stop()
    server.process = None
    code, out, err = run('serve', '--data', data, '--listen', '127.0.0.1:%d' % free_port(), '--admin', '127.0.0.1:%d' % free_port(), env=dict(os.environ, BECKET_MASTER_KEY=first))
    ok(code == 1 and 'is not the one' in err, 'the old one does not fit any more: ' + err.strip())
shutil.rmtree(folder)
done()
