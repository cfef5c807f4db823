#!/usr/bin/env python3
"""In a container, or what is left of one: without /proc, /sys, /etc and devices, as process 1, without rights or the data directory's
owner's, with few threads, little memory, one CPU, no network but one. It works, or says in one line what is missing and how to mend it."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

if os.geteuid() != 0:
    skip_all('only root can make such surroundings')
with open(BECKET, 'rb') as file:
    if b'__asan_init' in file.read():
        skip_all('builds with sanitizers need more of the system')
if subprocess.run(['unshare', '-m', 'true'], capture_output=True).returncode:
    skip_all('no mounts of our own here')

base = tempfile.mkdtemp(prefix='becket-f11-', dir='/tmp')   # where others than root come
os.chmod(base, 0o755)
program = os.path.join(base, 'becket')
shutil.copy(BECKET, program)
NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all']


def inside(script, *flags):
    return ['unshare', '-m', *flags, 'sh', '-c', script + ' && exec "$@"', 'sh']


def bare(*words):
    """Nothing but the program, the C library and the data directory."""
    return ['bwrap', '--unshare-user', '--unshare-ipc', '--unshare-pid', '--unshare-uts', '--as-pid-1', '--die-with-parent', '--cap-drop', 'ALL', '--uid', '65534',
            '--gid', '65534', '--ro-bind', '/lib', '/lib', '--ro-bind-try', '/lib64', '/lib64', '--ro-bind', '/usr/lib', '/usr/lib',
            '--ro-bind', program, program, '--bind', words[0], words[0], '--hostname', 'nobody.knows']


def world(name, owner=0, threads=0):
    server = Server(data=os.path.join(base, name), start=False, program=program, threads=threads)
    os.mkdir(server.data, 0o700)
    os.chown(server.data, owner, owner)
    return server


def told(server):
    return [line for line in server.log_text().splitlines() if ' warn ' in line or ' error ' in line or line.startswith('becket: ')]


def works(name, prefix, owner=0, threads=0, says=(), stop=True):
    what = name.replace('-', ' ')
    server = world(name, owner, threads)
    try:
        server.start(prefix=prefix(server.data) if callable(prefix) else prefix)
        server.apply(GITHUB_SOURCE)
        is_equal(server.post('/hooks/repo', b'{}', github(b'{}', SECRET)).status, 200, '%s: a webhook' % what)
        lines = told(server)
        ok(len(lines) == len(says) and all(word in line for word, line in zip(says, lines)), '%s: says %r' % (what, lines and lines[0][25:100]))
        if stop:
            is_equal(server.stop(), 0, '%s: stops in order' % what)
    except RuntimeError as error:
        ok(False, '%s: %s' % (what, error))
    return server


def by_name():
    """`localhost` is this machine, also where no hosts file says so."""
    server = world('by-name')
    server.start()
    for command in (['status', '--server', 'http://LocalHost:%d' % server.admin, '--data', server.data],
                    ['send', 'http://localhost:%d/hooks/none' % server.port]):
        got = subprocess.run(inside('mount -t tmpfs none /etc') + [program, *command], capture_output=True, text=True)
        ok('ready' in got.stdout or '404' in got.stdout, 'without /etc %s finds localhost' % command[0]) or diag(got.stdout + got.stderr)
    server.stop()


def refused(name, prefix, *words, owner=0, mode=0o700, options=()):
    what = name.replace('-', ' ')
    server = world(name, owner)
    os.chmod(server.data, mode)
    try:
        server.start(prefix=prefix, options=options, wait=10)
        ok(False, '%s: it started' % what)
        server.stop()
    except RuntimeError:
        lines = server.log_text().splitlines()
        ok(len(lines) == 1 and all(word in lines[0] for word in words), '%s: %s' % (what, lines[0][:200])) or diag(lines)
        server.process = None


def process_one():
    """The init of a container: SIGTERM has no default action there, and nobody else ends it."""
    server = works('as-process-1', ['unshare', '-p', '-f', '--mount-proc'], stop=False)
    if not server.process:
        return
    pid = server.process.pid
    with open('/proc/%d/task/%d/children' % (pid, pid)) as children:
        os.kill(int(children.read().split()[0]), signal.SIGTERM)
    is_equal(server.process.wait(20), 0, 'as process 1: SIGTERM ends it with 0')
    server.process = None


def early_ends():
    """SIGTERM at any moment of a start."""
    server, codes, slowest = world('early-end'), set(), 0
    for i in range(16):
        server.port, server.admin = free_port(), free_port()
        process = subprocess.Popen([program, 'serve', '--data', server.data, '--listen', '127.0.0.1:%d' % server.port, '--admin',
                                    '127.0.0.1:%d' % server.admin], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(i * 0.008)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        codes.add(process.wait(30))
        slowest = max(slowest, time.monotonic() - began)
    ok(codes <= {0, -signal.SIGTERM} and slowest < 10, 'SIGTERM during a start ends it: %r, %.1f s at most' % (codes, slowest))
    server.start()
    is_equal((told(server), server.stop()), ([], 0), 'and harms nothing')


def closed_files():
    """Standard files that are closed: what is opened next must not become one, or the log would be written into the data directory."""
    server = world('closed-files')
    server.port, server.admin = free_port(), free_port()
    process = subprocess.Popen(['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh', program, 'serve', '--data', server.data, '--listen', '127.0.0.1:%d' %
                                server.port, '--admin', '127.0.0.1:%d' % server.admin])
    ok(when(lambda: server.get('/health/ready').status == 200), 'without standard files it starts')
    process.send_signal(signal.SIGTERM)
    is_equal(process.wait(20), 0, 'and ends')
    is_equal(os.path.getsize(os.path.join(server.data, 'becket.lock')), 0, 'nothing is logged into the data directory')


def little_memory():
    group = '/sys/fs/cgroup/memory/becket-f11-%d' % os.getpid()
    limit = group + '/memory.limit_in_bytes'
    if not os.path.isdir('/sys/fs/cgroup/memory'):
        group, limit = '/sys/fs/cgroup/becket-f11-%d' % os.getpid(), '/sys/fs/cgroup/becket-f11-%d/memory.max' % os.getpid()
    try:
        os.mkdir(group)
        with open(limit, 'w') as file:
            file.write(str(64 << 20))
    except OSError as error:
        if os.path.isdir(group):
            os.rmdir(group)
        skip('64 MiB of memory', 'no control group of our own: %s' % error)
        return
    server = works('64-MiB-of-memory', ['sh', '-c', 'echo $$ > %s/cgroup.procs; exec "$@"' % group, 'sh'], threads=2, says=['memory may not suffice'],
                   stop=False)
    if server.process:
        load = Load(server.port, connections=32, body_bytes=(1000, 60000)).start()
        time.sleep(0.7)
        load.stop()
        ok(len(load.acknowledged) > 50 and load.failed == [], '64 MiB of memory: under load, too: %d' % len(load.acknowledged)) or diag(load.failed[:3])
        is_equal(server.stop(), 0, '64 MiB of memory: stops in order')
    when(lambda: os.rmdir(group) is None, 2)


def one_cpu():
    server = works('8-threads-on-one-CPU', ['taskset', '-c', str(min(os.sched_getaffinity(0)))], threads=8, stop=False)
    for task in os.listdir('/proc/%d/task' % server.process.pid):
        os.sched_setaffinity(int(task), {max(os.sched_getaffinity(0))})
    is_equal((server.post('/hooks/repo', b'1', github(b'1', SECRET)).status, server.stop()), (200, 0), 'and moved to another while it runs')
    server = works('one-CPU', ['taskset', '-c', str(max(os.sched_getaffinity(0)))])
    ok(' threads=1 ' in server.log_text(), 'one CPU: one thread')


at_once(
    lambda: works('no-proc-sys-and-shm', inside('mount -t tmpfs none /proc && mount -t tmpfs none /sys && mount -t tmpfs -o ro none /dev/shm'),
                  says=['no hand-over']),
    lambda: works('empty-etc-and-dev', inside('mount -t tmpfs none /etc && mount -t tmpfs none /dev'), says=['no certificate authorities']),
    lambda: works('empty-environment', ['env', '-i', 'TZ=Nowhere/None', 'LC_ALL=xx_XX.UTF-9']),
    process_one,
    by_name)
at_once(early_ends, closed_files, one_cpu, little_memory)
at_once(
    lambda: refused('no-threads', NOBODY + ['sh', '-c', 'ulimit -u 1 2>/dev/null || ulimit -p 1; exec "$@"', 'sh'], 'RLIMIT_NPROC', '--pids-limit', owner=65534),
    lambda: refused('volume-of-another', NOBODY, 'volume-of-another', 'writable', mode=0o755),
    lambda: refused('no-IPv6', inside('echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6', '-n'), '[::1]:', '--listen', options=['--listen', '[::1]:8080']),
    lambda: refused('no-such-address', [], '10.255.255.1', '--listen', options=['--listen', '10.255.255.1:8080']))
if shutil.which('bwrap') and subprocess.run(bare(base) + ['--', '/bin/true'], capture_output=True).returncode in (0, 1, 127):
    server = works('nothing-but-the-program', lambda data: bare(data) + ['--'], says=['no certificate authorities', 'no hand-over'], stop=False)
    if server.process:
        server.kill()
else:
    skip('nothing but the program', 'bwrap is not installed, or may not')
shutil.rmtree(base)
done()
