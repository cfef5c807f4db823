#!/usr/bin/env python3
"""A disk that refuses single things, by file and by kind: no room for the journal or for the store alone, a failing write, flush, read or
allocation, one that hangs and comes back, a remount to read-only, a quota. Never an acknowledgement of
what is not there; hooks are told 503; readiness tells the truth; nothing spins; and without a restart all goes on when the fault is gone."""
import errno, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import GitHub, integration
from faulty_disk import FaultyDisk
from sink import Sink

DELIVER = '''
kind: Destination
metadata: {name: app}
spec: {url: "%s", allowPrivate: true, retry: {schedule: [1h, 1h]}}
---
kind: Destination
metadata: {name: late}
spec: {url: "%s", allowPrivate: true}
---
kind: Route
metadata: {name: both}
spec: {from: [{source: repo}], to: [{destination: app}, {destination: late}]}
'''
APPLY = 'kind: Secret\nmetadata: {name: s%d}\nspec: {data: {a: "%s"}}\n'


def journal_of(event):
    number = 0
    for c in event[4:]:
        number = number << 5 | '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.index(c)
    return number >> 64 & 0xffff


class World:
    def __init__(self, disk, name):
        self.disk, self.name = disk, name
        self.acknowledged, self.sent = {}, {}
        self.server = disk.watch(Server(data=disk.link, threads=1, options=['--segment-bytes', '1M', '--retain-bytes', '0']))
        self.server.apply(GITHUB_SOURCE)

    def send(self, count=1, size=3000):
        """{status: how many}"""
        statuses = {}
        for _ in range(count):
            body = os.urandom(size)
            headers = github(body, SECRET)
            digest = hashlib.sha256(body).hexdigest()
            self.sent[headers['X-GitHub-Delivery']] = digest
            connection = self.server.connect(timeout=30)
            answer = connection.request('POST', '/hooks/repo', body, headers)
            connection.close()
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            if answer.status == 200:
                self.acknowledged[headers['X-GitHub-Delivery']] = (answer.json['id'], digest)
            elif 'retry-after' not in answer.headers:
                statuses['without Retry-After'] = 1
        return statuses

    def is_calm(self):
        before = self.server.cpu_s()
        time.sleep(0.3)
        used = self.server.cpu_s() - before
        ok(used < 0.15, '%s: it does not spin (%.2f s of 0.3)' % (self.name, used))

    def refuses(self, why):
        """Until hooks are refused; what /health/ready says then."""
        statuses = {}
        end = time.monotonic() + 15
        while 503 not in statuses and time.monotonic() < end:
            statuses = self.send(20)
        statuses = self.send(5)
        is_equal(statuses, {503: 5}, '%s: hooks are refused' % self.name)
        state = self.server.get('/health/ready')
        ok(state.status == 503 and why in state.body.decode(), '%s: readiness: %s' % (self.name, state.body.decode()[:90]))
        is_equal(self.server.get('/health/live').status, 200, '%s: live' % self.name)
        self.is_calm()

    def recovers(self):
        self.disk.mend()
        began = time.monotonic()
        ok(when(lambda: self.send() == {200: 1}, 40), '%s: takes events again after %.1f s' % (self.name, time.monotonic() - began))
        ok(when(lambda: self.server.get('/health/ready').status == 200), '%s: is ready' % self.name)

    def compared(self):
        self.server.kill()
        self.server.start()
        compare(self.server, self.acknowledged, self.sent, self.name)


with FaultyDisk('f12') as disk:
    world = World(disk, 'no room for the journal')
    server = world.server
    is_equal(world.send(20), {200: 20}, 'the disk is well')
    disk.fail('allocate', '', errno.ENOSPC)
    disk.fail('create', 'tmp-', errno.ENOSPC)
    world.refuses('disk full')
    answer = server.api('POST', '/api/v1/apply', (APPLY % (1, 'x')).encode())
    is_equal(answer.status, 200, '%s: the store goes on' % world.name)
    world.recovers()

    world.name = 'every write to the journal is refused: no space'
    disk.fail('write', 'j0-', errno.ENOSPC)
    world.refuses('disk full')
    world.recovers()

    world.name = 'a flush of the journal fails'
    disk.fail('fsync', 'j0-', errno.EIO)
    world.refuses('disk fails')
    world.recovers()

    world.name = 'quota'
    disk.fail('write', '', errno.EDQUOT)
    disk.fail('allocate', '', errno.EDQUOT)
    world.refuses('disk full')
    answer = server.api('POST', '/api/v1/apply', (APPLY % (2, 'x')).encode())
    ok(answer.status in (503, 507), '%s: an apply is refused: %r' % (world.name, answer))
    world.recovers()
    is_equal(server.api('POST', '/api/v1/apply', (APPLY % (2, 'x')).encode()).status, 200, '%s: and taken later' % world.name)

    world.name = 'no room for the store'
    hub, full = GitHub(), threading.Event()
    hub.repositories['acme/hello'] = {}
    hub.pause = lambda method, path: 0 if full.wait(20) else 0
    server.apply(integration(hub, 'github') + '---\nkind: EventSource\nmetadata: {name: made}\nspec: {integration: {name: github}, '
                 'resource: {type: repository, name: hello}}\n')
    disk.fail('write', 'data.mdb', errno.ENOSPC)
    full.set()
    ok(when(lambda: 'operations cannot be stored' in server.log_text()), '%s: what a provider said waits to be stored' % world.name)
    is_equal({server.cli('token', 'create', 't%d' % i)[2] for i in range(10)}, {'becket: the disk is full, nothing was changed\n'},
             '%s: changes are refused, and why' % world.name)
    is_equal(server.log_text().count('operations cannot be stored'), 1, '%s: the log says it once, however much is asked' % world.name)
    answer = server.api('POST', '/api/v1/apply', (APPLY % (3, 'x' * 20000)).encode())
    ok(answer.status in (503, 507), '%s: an apply is refused: %r' % (world.name, answer))
    is_equal(world.send(50), {200: 50}, '%s: hooks go on' % world.name)
    world.is_calm()
    disk.mend()
    ok(when(lambda: server.api('POST', '/api/v1/apply', (APPLY % (3, 'x' * 20000)).encode()).status == 200), '%s: and later it is taken' % world.name)
    ok(when(lambda: server.status('event-sources', 'made').get('state') == 'ready'), '%s: the hook is made to its end' % world.name)
    is_equal(server.log_text().count('operations are stored again'), 1, '%s: which the log says, too' % world.name)

    world.name = 'events cannot be read'
    disk.fail('read', 'j0-', errno.EIO)
    answer = server.api('GET', '/api/v1/events?limit=5')
    ok(answer.status >= 500 or answer.status == 200, '%s: told in words: %r' % (world.name, answer))
    is_equal(world.send(50), {200: 50}, '%s: hooks go on' % world.name)
    is_equal(server.process.poll(), None, '%s: it lives' % world.name)
    disk.mend()
    ok(len(server.events('state=accepted')) >= len(world.acknowledged), '%s: later they can' % world.name)

    world.name = 'remounted to read only'
    disk.fail('write', '', errno.EROFS)
    disk.fail('allocate', '', errno.EROFS)
    disk.fail('create', '', errno.EROFS)
    world.refuses('disk fails')
    world.recovers()

    # f04-frozen.t waits until the sender is told. A FUSE file system keeps whoever submits a write: not the core.
    world.name = 'the disk hangs'
    disk.hang('all')
    body = os.urandom(100)
    headers = github(body, SECRET)
    world.sent[headers['X-GitHub-Delivery']] = hashlib.sha256(body).hexdigest()
    connection = server.connect(timeout=30)
    connection.send(request_bytes('POST', '/hooks/repo', body, headers))
    ok(when(lambda: disk.counts.get('write') or disk.counts.get('fsync'), 5), '%s: something waits for it' % world.name)
    is_equal(server.get('/health/live').status, 200, '%s: live' % world.name)
    is_equal(server.post('/hooks/repo', b'{}', github(b'{}', 'guess')).status, 401, '%s: others are answered' % world.name)
    world.is_calm()
    disk.mend()
    answer = connection.read()
    is_equal(answer.status, 200, '%s: then it is taken' % world.name)
    world.acknowledged[headers['X-GitHub-Delivery']] = (answer.json['id'], hashlib.sha256(body).hexdigest())
    world.compared()

    # What one journal does not give keeps nothing of another one waiting.
    world.name = 'deliveries cannot be read'
    server.stop()
    server.threads = 2
    server.start()
    with Sink() as sink:
        sink.manner('/app', status=500)
        sink.manner('/late')
        server.apply(DELIVER % (sink.url('/app'), sink.url('/late')))
        server.cli('pause', 'late')
        events = [[], []]
        while min(len(e) for e in events) < 4 and sum(len(e) for e in events) < 200:
            world.send()
            event = list(world.acknowledged.values())[-1][0]
            events[journal_of(event)].append(event)
        everything = sorted(events[0] + events[1])
        ok(min(len(e) for e in events) >= 4, '%s: each journal has some: %r' % (world.name, [len(e) for e in events]))
        when(lambda: server.status('destinations', 'app')['delivery']['retries'] == len(everything))
        before = len(server.log_text())
        disk.fail('read', 'j0-', errno.EIO)
        sink.manner('/app')
        server.cli('resume', 'app')
        server.cli('resume', 'late')
        for path in ('/app', '/late'):
            ok(when(lambda: set(events[1]) <= set(r.id for r in sink.got(path) if r.status == 200)),
               '%s: those of the other journal come to %s' % (world.name, path))
        said = server.log_text()[before:].count('the journal cannot be read: what waits in it is not delivered destination=')
        is_equal(said, 1, '%s: it is said, and not all the time' % world.name)
        disk.counts = {}
        world.is_calm()
        ok(disk.counts.get('read', 0) < 10, '%s: nor is it read all the time: %r' % (world.name, disk.counts))
        disk.mend()
        server.cli('resume', 'app')
        ok(when(lambda: sorted(sink.ids('/late')) == everything, 10), '%s: later the rest comes, each once' % world.name)
        ok(when(lambda: sorted(r.id for r in sink.got('/app') if r.status == 200) == everything, 40), '%s: also what had failed' % world.name)
    is_equal(server.stop(), 0, 'stopped in order')
done()
