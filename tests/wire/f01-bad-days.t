#!/usr/bin/env python3
"""Everything that can be wrong at the start is one clear line and a quick end; nothing is touched."""
import ctypes, os, resource, struct, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

# A start that fails ends the process as it is; what it had is no leak for a build with sanitizers to report.
os.environ.setdefault('ASAN_OPTIONS', 'detect_leaks=0')


def start(data, *options, preexec=None, environment=None, seconds=10, program=BECKET):
    """(exit code, stderr) of a serve that should refuse to start."""
    process = subprocess.Popen([program, 'serve', '--data', data, '--listen', '127.0.0.1:%d' % free_port(), '--admin',
                                '127.0.0.1:%d' % free_port(), '--threads', '1', '--segment-bytes', '1M'] + list(options),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=preexec, env=environment)
    try:
        _, err = process.communicate(timeout=seconds)
        return process.returncode, err.decode()
    except subprocess.TimeoutExpired:
        process.kill()
        return None, process.communicate()[1].decode()


def refused(got, name, *words, code=1):
    status, err = got
    lines = [l for l in err.splitlines() if l.strip()]
    fine = status == code and len(lines) == 1 and all(w.lower() in err.lower() for w in words)
    if not ok(fine, name):
        diag('exit %r: %s' % (status, err))


def deny_io_uring(errno_value):
    """A seccomp filter, as container engines install it: io_uring_setup fails with errno."""
    def install():
        libc = ctypes.CDLL(None, use_errno=True)
        code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050000 | errno_value), (0x06, 0, 0, 0x7fff0000)]
        program = b''.join(struct.pack('HBBI', *c) for c in code)
        buffer = ctypes.create_string_buffer(program)

        class Fprog(ctypes.Structure):
            _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
        fprog = Fprog(len(code), ctypes.cast(buffer, ctypes.c_void_p).value)
        libc.prctl(38, 1, 0, 0, 0)
        if libc.prctl(22, 2, ctypes.byref(fprog), 0, 0):
            os._exit(99)
    return install


with Server(threads=1) as server:
    data = server.data
    refused(start(data), 'a second server on the same data directory', data, 'in use')
    port = server.port
    refused(start(data + '-b', '--listen', '127.0.0.1:%d' % port), 'a busy port', 'in use', '--listen')
    shutil.rmtree(data + '-b', ignore_errors=True)
    for error, name in ((1, 'EPERM'), (38, 'ENOSYS')):
        began = time.monotonic()
        refused(start(data + '-c', preexec=deny_io_uring(error)), 'io_uring refused with ' + name, 'io_uring', 'seccomp')
        ok(time.monotonic() - began < 1, 'within a second')
        shutil.rmtree(data + '-c', ignore_errors=True)
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    refused(start(data + '-d', preexec=limit), 'RLIMIT_NOFILE too low', 'RLIMIT_NOFILE', 'raise')
    shutil.rmtree(data + '-d', ignore_errors=True)
    if os.geteuid() == 0:
        plain = tempfile.mkdtemp(prefix='becket-f01-')    # the checkout may be where only root comes
        os.chown(plain, 65534, 65534)

        def nobody():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
            os.setgid(65534)
            os.setuid(65534)
        copy = os.path.join(plain, 'becket')
        shutil.copy(BECKET, copy)
        status, err = start(plain + '/data', preexec=nobody, seconds=4, program=copy)
        if status is None:
            ok(True, 'RLIMIT_MEMLOCK 64 KiB is enough on this kernel')
        else:
            refused((status, err), 'RLIMIT_MEMLOCK too low', 'RLIMIT_MEMLOCK')
        # What an ordinary user has where nobody set anything is enough for any number of cores, also behind a kill.
        def ordinary():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
            os.setgid(65534)
            os.setuid(65534)
        with Server(data=plain + '/data', program=copy, start=False) as many:
            os.makedirs(many.data, exist_ok=True, mode=0o700)
            os.chown(many.data, 65534, 65534)
            many.threads, started = 4, 0
            for i in range(16):  # what a killed one had locked is given back a moment later
                many.threads = 6 if i == 15 else 4
                try:
                    many.start(preexec=ordinary)
                    started += 1
                    many.kill()
                except RuntimeError as error:
                    diag(str(error)[-200:])
            is_equal(started, 16, 'four and six cores start with 8 MiB of locked memory, right behind a kill')
            many.start(preexec=ordinary)
            many.apply(GITHUB_SOURCE)
            is_equal([many.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status for _ in range(20)], [200] * 20, 'and take events')
        shutil.rmtree(plain)

    server.apply(GITHUB_SOURCE)
    is_equal(server.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status, 200, 'the first server is unharmed')
    server.stop()

    key = os.path.join(data, 'master.key')
    os.chmod(key, 0o644)
    refused(start(data), 'a world-readable key file', 'master.key', 'chmod')
    os.chmod(key, 0o600)
    right = open(key, 'rb').read()
    environment = dict(os.environ, BECKET_MASTER_KEY='00' * 32)
    refused(start(data, environment=environment), 'a wrong master key', 'key')
    is_equal(open(key, 'rb').read(), right, 'the key file is untouched')

    # A first start without a good key leaves nothing that a second one would go on with.
    os.mkdir(data + '-k')
    open(data + '-k.key', 'w').write('0' * 63)
    os.chmod(data + '-k.key', 0o600)
    for name, value, words in (('BECKET_MASTER_KEY', '0' * 63, ['BECKET_MASTER_KEY', '64 hex digits']),
                               ('BECKET_MASTER_KEY_FILE', data + '-k.key', [data + '-k.key', 'no master key']),
                               ('BECKET_MASTER_KEY_FILE', data + '-none', [data + '-none', 'cannot read']),
                               ('BECKET_MASTER_KEY_BEFORE', 'x', ['BECKET_MASTER_KEY_BEFORE', 'not a key'])):
        environment = dict(os.environ, **{name: value})
        refused(start(data + '-k', environment=environment), '%s=%s' % (name, os.path.basename(value)), *words)
        is_equal(os.listdir(data + '-k'), [], 'and the directory is empty as it was')
        refused(start(data + '-new', environment=environment), 'where there is none', *words)
        ok(not os.path.exists(data + '-new'), 'there is none')
    shutil.rmtree(data + '-k')
    os.unlink(data + '-k.key')

    segments = sorted(f for f in os.listdir(os.path.join(data, 'journal')) if f.endswith('.log'))
    path = os.path.join(data, 'journal', segments[0])
    original = open(path, 'rb').read()
    server.start()
    is_equal(len(server.events('state=accepted')), 1, 'after all that the event is there')
    server.stop()

    for words, name, want in (
            (['--listen', 'nonsense'], 'an address that is none', ('nonsense', 'ADDR:PORT')),
            (['--lisen', '127.0.0.1:1'], 'a misspelt option', ('--lisen', '--listen')),
            (['--threads', '0'], 'no threads', ('threads',)),
            (['--durability', 'maybe'], 'an unknown durability', ('fsync',))):
        refused(start(data, *words), name, *want, code=2)
    refused(start('/proc/nowhere'), 'a data directory that cannot be made', '/proc/nowhere')
done()
