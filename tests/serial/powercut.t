#!/usr/bin/env python3
"""Power cuts: the data directory is on an ext4 of its own on a loop device; the file system is shut down under load
without flushing its journal, mounted again, and the server restarted. ROUNDS=10"""
import ctypes, fcntl, os, random, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

rounds = int(os.environ.get('ROUNDS', '10'))
rng = random.Random(int(os.environ.get('SEED', '1')))
base = os.path.abspath(os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests', 'powercut'))
image, mount = base + '.img', base + '.mnt'
EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587d, 2


def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


def unmount():
    for _ in range(50):
        if run('umount', mount).returncode == 0 or not os.path.ismount(mount):
            return True
        time.sleep(0.1)
    return False


if os.geteuid() != 0:
    skip_all('only root can mount a loop device')
os.makedirs(mount, exist_ok=True)
if os.path.ismount(mount):
    unmount()
with open(image, 'wb') as f:
    f.truncate(1 << 30)
made = run('mkfs.ext4', '-q', '-F', image)
mounted = made.returncode == 0 and run('mount', '-o', 'loop', image, mount)
if made.returncode or mounted.returncode:
    os.unlink(image)
    skip_all('this host does not allow a loop mount: ' + (made.stderr + (mounted.stderr if mounted else '')).strip())


def cut_power():
    fd = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, ctypes.c_uint32(NOLOGFLUSH))
    finally:
        os.close(fd)


data = os.path.join(mount, 'data')
os.mkdir(data, 0o700)
acknowledged, sent, late = {}, {}, 0
server = Server(data=data)
try:
    server.apply(GITHUB_SOURCE)
    for round_number in range(rounds):
        load = Load(server.port, repeat=0.1).start()
        time.sleep(rng.uniform(0.1, 0.5))
        cut_power()
        # Writes that were under way at the cut may still come true, on a busy disk after a while: those are on
        # the device, and compared below. What is acknowledged after that would be a lie.
        time.sleep(1)
        with load.lock:
            before = dict(load.acknowledged)
        time.sleep(0.2)
        server.kill()
        load.stop()
        late += len(set(load.acknowledged) - set(before))
        acknowledged.update(load.acknowledged)
        sent.update(load.sent)
        if not unmount() or run('mount', '-o', 'loop', image, mount).returncode:
            raise RuntimeError('cannot mount again')
        server.start()
    ok(len(acknowledged) > rounds * 5, '%d cuts, %d events acknowledged' % (rounds, len(acknowledged)))
    is_equal(late, 0, 'nothing was acknowledged behind a cut')
    compare(server, acknowledged, sent, '%d power cuts' % rounds)
    is_equal(server.stop(), 0, 'SIGTERM ends it with 0')
    code, out, err = server.cli('journal', 'check', '--data', data)
    is_equal(code, 0, 'journal check finds nothing wrong')
    diag(out + err if code else out.strip())
finally:
    if server.process:
        server.kill()
    unmount()
    os.unlink(image)
done()
