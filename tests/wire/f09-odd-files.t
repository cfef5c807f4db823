#!/usr/bin/env python3
"""A data directory in which one file is gone, cut, another directory's, or no file: the start is refused in one line that tells what
to do, or it goes on with what is whole and says what is not. Never a signal, and never fewer events in silence. The same where files
are removed while they are used."""
import fcntl, itertools, os, shutil, stat, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

folder = tempfile.mkdtemp(prefix='becket-odd-')
EVENTS = 25


def made(name):
    with Server(data=os.path.join(folder, name), threads=1) as server:
        server.apply(GITHUB_SOURCE)
        for i in range(EVENTS):
            body = b'{"n":%d,"pad":"%s"}' % (i, b'x' * 3000)
            server.post('/hooks/repo', body, github(body, SECRET, delivery='%s%d' % (name, i)))
        # The next segment is made meanwhile, and noted when it is there.
        when(lambda: 'last %020d' % 2 in open(os.path.join(server.data, 'journal', 'old-marks-j0')).read())
        server.kill()
        return server.data


def refusal(data, prefix=(), options=()):
    """None: it started, with all events."""
    words = list(prefix) + [BECKET, 'serve', '--data', data, '--listen', '127.0.0.1:%d' % free_port(), '--admin', '127.0.0.1:%d' % free_port(),
                            '--segment-bytes', '16M', '--threads', '1', *options]
    try:
        run = subprocess.run(words, capture_output=True, text=True, timeout=8)
    except subprocess.TimeoutExpired:
        return None, ['becket: it started']
    told = [line for line in run.stderr.splitlines() if line.startswith('becket: ')]
    return run.returncode, told


def is_refused(data, what, *told):
    code, lines = refusal(data)
    if not ok(code == 1 and len(lines) == 1 and all(word in lines[0] for word in told), '%s: %s' % (what, lines[0][8:300] if lines else '')):
        diag('%r %r' % (code, lines))


def changed(data, path, change):
    """A copy of it, in which this was done to the file; nothing is left of the one before, nor of what its server said."""
    copy = os.path.join(folder, 'copy')
    shutil.rmtree(copy, ignore_errors=True)
    open(copy + '.log', 'w').close()
    subprocess.run(['cp', '-a', data, copy], check=True)
    change(os.path.join(copy, path))
    return copy


def as_folder(path):
    os.unlink(path)
    os.mkdir(path)


def as_link(path):
    os.unlink(path)
    os.symlink('/nonexistent/becket', path)


def as_itself(path):
    os.unlink(path)
    os.symlink(path, path)


def as_pipe(path):
    """Nobody is at its other end, and who opens it waits."""
    os.path.isdir(path) and shutil.rmtree(path) or os.path.lexists(path) and os.unlink(path)
    os.mkfifo(path)


def as_socket(path):
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as there:
        folder = os.open(os.path.dirname(path), os.O_PATH)
        there.bind('/proc/self/fd/%d/%s' % (folder, os.path.basename(path)))
        os.close(folder)


def as_device(path):
    os.unlink(path)
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def from_other(path):
    shutil.copy2(path.replace('/copy/', '/other/'), path)


def cut(size):
    return lambda path: os.truncate(path, size)


data, other = made('ours'), made('other')
FIRST, LAST, STATE = 'journal/j0-0000000001.log', 'journal/j0-0000000002.log', 'state/data.mdb'
for path in (FIRST, LAST):
    is_refused(changed(data, path, os.unlink), '%s is gone' % path, 'missing')
    is_refused(changed(data, path, from_other), '%s of another directory' % path, 'another directory')
    is_refused(changed(data, path, as_folder), '%s is a folder' % path, 'is a directory')
    is_refused(changed(data, path, as_link), '%s leads nowhere' % path, path)
for size in (0, 100):
    is_refused(changed(data, FIRST, cut(size)), 'the journal is cut to %d bytes' % size, FIRST)
for size in (4096, 8192, 30000, 65536 + 17):
    with Server(data=changed(data, FIRST, cut(size)), threads=1) as server:
        log = server.log_text()
        kept = len(server.events())
        ok('journal_cut_short' in log and kept < EVENTS, 'cut to %d bytes: %d events are whole, and what was lost is told' % (size, kept))
for path in (FIRST, LAST):
    copy = changed(data, path, from_other)
    code = subprocess.run([BECKET, 'journal', 'check', '--data', copy], capture_output=True, text=True)
    ok(code.returncode == 1 and 'another directory' in code.stderr, 'becket journal check tells it, too')
copy = changed(data, LAST, os.unlink)
code = subprocess.run([BECKET, 'journal', 'check', '--data', copy], capture_output=True, text=True)
ok(code.returncode == 1 and 'missing' in code.stderr, 'and what is missing: ' + code.stderr.splitlines()[0])
is_refused(changed(data, STATE, os.unlink), 'the state is gone', 'journal has events', 'move')
is_refused(changed(data, STATE, cut(0)), 'the state is empty', 'journal has events', 'move')
is_refused(changed(data, STATE, from_other), 'the state of another directory', 'master key')
is_refused(changed(data, STATE, as_folder), 'the state is a folder', 'is a directory')
is_refused(changed(data, 'master.key', as_folder), 'the key is a folder', 'no file')
is_refused(changed(data, 'master.key', from_other), "another directory's key", 'is not the one')
is_refused(changed(data, 'master.key', cut(20)), 'the key is cut', 'no master key in it')

def can_make_devices():
    try:
        os.mknod(os.path.join(folder, 'device'), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        return True
    except PermissionError:
        return False


NO_FILE = ((as_pipe, 'a pipe'), (as_socket, 'a socket')) + (((as_device, 'a device'),) if can_make_devices() else ())
for path, mend in ((FIRST, 'put'), (LAST, 'put'), (STATE, 'put'), ('state/lock.mdb', 'remove'), ('becket.lock', 'remove'),
                   ('master.key', 'no file')):
    for change, kind in NO_FILE:
        is_refused(changed(data, path, change), '%s is %s' % (path, kind), os.path.basename(path), 'no file', mend)
for path in (FIRST, LAST, 'becket.lock'):
    is_refused(changed(data, path, as_itself), '%s is a link to itself' % path, 'data directory' if path == 'becket.lock' else path, 'not found')
for path in ('state', 'journal'):
    is_refused(changed(data, path, as_pipe), '%s is a pipe' % path, path, 'move it away')
is_refused(changed(data, 'journal/j0-0000000001.idx', os.mkdir), 'an index is a folder', 'j0-0000000001.idx', 'remove')
for path, words in ((STATE, ['backup', os.path.join(folder, 'backup')]), (FIRST, ['journal', 'check']), ('admin.token', ['status'])):
    copy = changed(data, path, as_pipe)
    try:
        run = subprocess.run([BECKET] + words + ['--data', copy], capture_output=True, text=True, timeout=8)
        ok(run.returncode == 1 and run.stderr.strip(), 'becket %s does not wait at a pipe: %s' % (words[0], run.stderr.strip()[:200]))
    except subprocess.TimeoutExpired:
        ok(False, 'becket %s does not wait at a pipe' % words[0])


def with_pipes(copy):
    """Where what is made anew lies."""
    for path in ('journal/old-marks-j0', 'journal/j0-0000000001.idx', 'journal/spare-7.log', 'master.key.next', 'admin.token.new'):
        as_pipe(os.path.join(copy, path))


with Server(data=changed(data, '', with_pipes), threads=1) as server:
    ok(len(server.events()) == EVENTS, 'pipes where the mark, an index, a spare and half-made files lie keep nobody')
    mark = os.path.join(server.data, 'journal', 'old-marks-j0')
    ok(when(lambda: stat.S_ISREG(os.stat(mark).st_mode)), 'and the mark is made anew')
copy = changed(data, 'journal', lambda path: (shutil.rmtree(path), os.mkdir(path)))
with Server(data=copy, threads=1) as server:
    ok('journal_empty' in server.log_text(), 'a journal that is empty while the state is of before is told')

for path in ('journal/old-marks-j0', 'admin.token', 'becket.lock', 'state/lock.mdb'):
    for change in (os.unlink, cut(0)):
        copy = changed(data, path, change)
        with open(os.path.join(data, 'admin.token')) as file:
            token = file.read().strip()
        with Server(data=copy, threads=1) as server:
            items = server.api('GET', '/api/v1/events?limit=100', token=token).json['items']
            is_equal(len(items), EVENTS, 'nothing is missed where %s is %s' % (path, 'gone' if change is os.unlink else 'empty'))

# ---- removed while they are used: an acknowledgement would be worth nothing
def remove_files(data):
    for name in os.listdir(os.path.join(data, 'journal')):
        os.unlink(os.path.join(data, 'journal', name))


for used, name, remove in (('files', 'the files of the journal', remove_files), ('all', 'all of it', shutil.rmtree)):
    with Server(data=os.path.join(folder, used), threads=1) as server:
        def post(delivery):
            return server.post('/hooks/repo', b'{}', github(b'{}', SECRET, delivery=delivery)).status
        server.apply(GITHUB_SOURCE)
        ok(post('before') == 200 and when(lambda: os.path.exists(os.path.join(server.data, 'journal', 'j0-%010d.log' % 2))), 'an event, and a spare')
        remove(server.data)
        numbers = itertools.count()
        ok(when(lambda: post('behind %d' % next(numbers)) == 503), name + ': within a second nothing more is accepted into it')
        ok('journal_removed' in server.log_text(), 'and the log says why')
        if remove is remove_files:
            ok(when(lambda: post('after') == 200), 'but into new files')
            server.kill()
            code, lines = refusal(server.data)
            ok(code == 1 and 'their records are lost' in lines[-1], 'and the next start says what is lost')
        else:
            ok(post('again') == 503 and when(lambda: server.get('/health/ready').status == 503), 'nor into the spare, and it is not ready')
            os.mkdir(server.data)

# ---- what else is there
for others, mode, why in ((['notes'], 0o755, 'where others have files, their mode of the directory stays'), (['lost+found'], 0o700, 'else nobody else may look into it')):
    place = os.path.join(folder, 'beside-' + others[0])
    os.mkdir(place)
    os.chmod(place, 0o755)
    os.mkdir(os.path.join(place, others[0]))
    with Server(data=place, threads=1) as server:
        ok(stat.S_IMODE(os.stat(place).st_mode) == mode and ('others can list' in server.log_text()) == (mode == 0o755), why)

with Server(data=os.path.join(folder, 'locks'), threads=1) as server:
    server.apply(GITHUB_SOURCE)
    os.unlink(os.path.join(server.data, 'becket.lock'))
    for words in ([], ['--take-over']):
        code, lines = refusal(server.data, options=words)
        if not ok(code == 1 and 'another becket uses it' in lines[-1], 'who removed becket.lock of a server that runs starts no second one %s' % words):
            diag((code, lines))
    ok(server.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status == 200, 'and the first one goes on')
    shutil.rmtree(os.path.join(server.data, 'state'))
    ok(server.api('POST', '/api/v1/apply', GITHUB_SOURCE.replace('repo', 'two').encode()).status == 503, 'no change is taken into a state that was removed')
    ok('store_removed' in server.log_text(), 'and the log says why')

with Server(data=os.path.join(folder, 'soon'), threads=1) as server:
    server.kill()
    file = open(os.path.join(server.data, STATE), 'rb')
    fcntl.flock(file, fcntl.LOCK_EX)
    threading.Timer(0.3, file.close).start()
    try:
        server.start()
    except RuntimeError as error:
        diag(error)
    ok(server.process.poll() is None, 'who just ended and still holds the state is waited for')

if os.geteuid() == 0 and shutil.which('setpriv'):
    os.chmod(folder, 0o755)
    copy = changed(data, STATE, lambda path: None)
    code, lines = refusal(copy, ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'])
    if not ok(code == 1 and len(lines) == 1 and 'ermi' in lines[0], 'of another user: %s' % (lines[:1],)):
        diag((code, lines))
else:
    skip('of another user', 'wants root and setpriv')
shutil.rmtree(folder)
done()
