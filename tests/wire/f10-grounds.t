#!/usr/bin/env python3
"""A data directory on file systems that are not the developer's: a short life on each, with a kill, rolling and retention, a backup and,
where there is a device, a cut of its power. What an acknowledgement is worth there is said; what cannot be is refused in one line.
GROUNDS=all: on all kinds that the host has."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from grounds import *

CHEAP = 5
SAYS = {'tmpfs': 'in memory', 'overlayfs': 'overlay', 'volatile overlayfs': 'flushes nothing', 'bindfs': 'FUSE',
        'fuse-overlayfs': 'FUSE', 'exfat': 'FUSE'}


def loaded(server, seconds):
    load = Load(server.port, connections=4, body_bytes=(1000, 40000)).start()
    time.sleep(seconds)
    return load


def life(ground):
    name = ground.name
    with ground:
        if ground.why:
            skip(name, ground.why)
            return
        server = ground.watch(Server(data=ground.link, threads=2, options=['--segment-bytes', '2M', '--retain-bytes', '0'], start=False))
        server.start()
        said = [line for line in server.log_text().splitlines() if ' warn ' in line and 'no hand-over' not in line]
        is_equal([SAYS[name] in line for line in said] if name in SAYS else said, [True] if name in SAYS else [],
                 '%s: what is to be said of it: %s' % (name, said[0][30:110] if said else 'nothing'))
        server.apply(GITHUB_SOURCE)
        load = loaded(server, 0.4)
        server.kill()
        load.stop()
        acknowledged, sent = dict(load.acknowledged), dict(load.sent)
        server.start()
        compare(server, acknowledged, sent, '%s: a kill' % name)
        if ground.cuts:
            load = loaded(server, 0.3)
            ground.cut()
            time.sleep(0.5)
            server.kill()
            load.stop()
            acknowledged.update(load.acknowledged)
            sent.update(load.sent)
            why = ground.again()
            if not ok(not why, '%s: mounted again: %s' % (name, why)):
                return
            server.start()
            compare(server, acknowledged, sent, '%s: a power cut' % name)
        copy = ground.base + '.backup'
        shutil.rmtree(copy, ignore_errors=True)
        code, out, err = server.cli('backup', copy, '--data', server.data)
        ok(code == 0, '%s: a backup: %s' % (name, (out + err).splitlines()[0])) or diag(err)
        shutil.rmtree(copy, ignore_errors=True)
        is_equal(server.stop(), 0, '%s: stopped' % name)
        server.start(options=['--retain-bytes', '16M'])
        loaded(server, 0.3).stop()
        ok(when(lambda: sum(os.path.getsize(os.path.join(ground.data, 'journal', f)) for f in os.listdir(ground.data + '/journal')
                            if f.startswith('j')) <= 20 << 20), '%s: retention' % name)
        body = os.urandom(100)
        is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, '%s: and it takes events' % name)
        is_equal(server.stop(), 0, '%s: stopped in order' % name)


def refused(ground, what, *words):
    with ground:
        if ground.why:
            skip(what, ground.why)
            return
        server = Server(data=ground.link, start=False)
        try:
            ground.watch(server).start()
            ok(False, what + ': it started')
        except RuntimeError:
            lines = server.log_text().splitlines()
            ok(len(lines) == 1 and all(word in lines[0] for word in words), '%s: %s' % (what, lines[0][-160:])) or diag(lines)
            server.process = None


def kept(ground):
    """No permissions that stay: refused before there is a key that all can read."""
    refused(ground, 'no permissions', 'umask=077')
    ok(not os.path.exists(os.path.join(ground.data, 'master.key')), 'and there is no key yet')


def fill(ground):
    with open(os.path.join(ground.mount_point, 'ballast'), 'wb', buffering=0) as ballast:
        for size in (1 << 20, 4096, 1 << 20, 4096):
            try:
                while True:
                    ballast.write(os.urandom(size))
            except OSError:
                run('sync', '-f', ground.mount_point)


def written_in_place(ground):
    path = os.path.join(ground.mount_point, 'in-place')
    open(path, 'w').close()
    run('chattr', '+C', path)
    with open(path, 'wb') as file:
        file.write(bytes(4096))
    return path


def as_memory(path):
    """Can it be written to through a map? Where there is no room, btrfs of Linux 6.1 and 6.12 says no, that of 6.18 yes."""
    code = 'import mmap, sys; f = open(sys.argv[1], "r+b"); mmap.mmap(f.fileno(), 4096)[0] = 1'
    return run(sys.executable, '-c', code, path).returncode == 0


def full(old):
    """A file system that copies what is overwritten needs room for it: becket's files are overwritten in place. `old`: but LMDB's
    lock file is not, as in the data directory of an older becket."""
    what = 'btrfs, full%s' % (', an older lock file' if old else '')
    ground = Block('full %d' % old, 'f10', 'mkfs.btrfs -q -f', mib=160)
    with ground:
        if ground.why:
            skip(what, ground.why)
            return
        server = ground.watch(Server(data=ground.link, threads=1, options=['--segment-bytes', '2M'], start=False))
        if old:
            os.mkdir(os.path.join(ground.data, 'state'), 0o700)
            open(os.path.join(ground.data, 'state', 'lock.mdb'), 'w').close()
        server.start()
        server.apply(GITHUB_SOURCE)
        file = written_in_place(ground)
        fill(ground)
        waits = old or not as_memory(file)
        statuses, acknowledged = {}, {}
        for i in range(300):
            body = os.urandom(20000)
            headers = github(body, SECRET)
            connection = server.connect(timeout=30)  # with an older lock file the control thread waits, and so does this
            answer = connection.request('POST', '/hooks/repo', body, headers)
            connection.close()
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            if answer.status == 200:
                acknowledged[headers['X-GitHub-Delivery']] = (answer.json['id'], hashlib.sha256(body).hexdigest())
            elif waits:
                break
        ok(set(statuses) == {200, 503} and statuses[200] > 20, '%s: the room there was is used, then 503: %r' % (what, statuses))
        is_equal(server.process.poll(), None, '%s: it lives' % what)
        is_equal(when(lambda: server.get('/health/ready').status == 503), True, '%s: not ready' % what)
        if not waits:
            ok(len(server.events()) >= len(acknowledged), '%s: reads go on' % what)
        os.unlink(os.path.join(ground.mount_point, 'ballast'))
        run('sync', '-f', ground.mount_point)
        body = os.urandom(100)
        ok(when(lambda: server.post('/hooks/repo', body, github(body, SECRET)).status == 200), '%s: with room again it takes events' % what)
        ok(when(lambda: server.get('/health/ready').status == 200), '%s: and is ready' % what)
        stored = {event['deliveryId'] for event in server.events('state=accepted')}
        is_equal([d for d in acknowledged if d not in stored], [], '%s: what was acknowledged is there' % what)
        is_equal(server.stop(), 0, '%s: stopped' % what)


all_grounds = grounds('f10')
chosen = all_grounds if os.environ.get('GROUNDS') == 'all' else all_grounds[:CHEAP]
wanted = [ground for ground in chosen if os.environ.get('GROUNDS', 'all') in ('all', ground.name)] or \
    [ground for ground in all_grounds if ground.name == os.environ['GROUNDS']]
works = [lambda ground=ground: life(ground) for ground in wanted]
if os.environ.get('GROUNDS') == 'all':
    works += [lambda: full(True)]
if os.environ.get('GROUNDS', 'all') == 'all':
    works += [lambda: full(False),
              lambda: kept(Block('exfat-open', 'f10', 'mkfs.exfat', mount=['mount.exfat-fuse'], mib=64)),
              lambda: refused(Fuse('unmapped', 'f10', 'bindfs', '-o', 'direct_io', '{base}.low', '{mount}'), 'no mmap', 'mmap', 'local')]
for at in range(0, len(works), 3):
    at_once(*works[at:at + 3])
done()
