#!/usr/bin/env python3
"""Before Linux 6.13 a ring's table keeps what is taken out of it until everything older has ended: connections would be closed for
nobody but us. There the process's own descriptors are used. Here, on any kernel, the question that tells is answered as an old one does."""
import os, subprocess, sys, tempfile
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from sink import Sink

SHIM = '''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
ssize_t recv(int fd, void *at, size_t bytes, int flags)
{
    if (bytes == 1 && flags == MSG_DONTWAIT) {
        errno = EAGAIN;
        return -1;
    }
    return ((ssize_t (*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv"))(fd, at, bytes, flags);
}
'''


def shim():
    base = tempfile.mkdtemp(prefix='shim-', dir=os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests'))
    source, library = os.path.join(base, 'shim.c'), os.path.join(base, 'shim.so')
    with open(source, 'w') as file:
        file.write(SHIM)
    subprocess.run([os.environ.get('CC', 'cc'), '-shared', '-fPIC', '-o', library, source], check=True)
    return os.path.abspath(library)


def descriptors(server):
    return len(os.listdir('/proc/%d/fd' % server.process.pid))


def settles(server, wanted):
    when(lambda: descriptors(server) <= wanted, 5)
    return descriptors(server)


with Server(start=False, threads=2, options=['--segment-bytes', '4M', '--retain-bytes', '12M']) as server, Sink() as sink:
    server.start(environment=dict(os.environ, LD_PRELOAD=shim()))
    ok('direct-descriptors' not in server.log_text() and 'multishot' in server.log_text(), 'an old kernel\'s table is not used')
    server.apply(GITHUB_SOURCE)
    server.apply('kind: Destination\nmetadata: {name: sink}\nspec: {url: "%s", allowPrivate: true}\n---\n'
                 'kind: Route\nmetadata: {name: all}\nspec: {from: [{source: repo}], to: [{destination: sink}]}\n' % sink.url('/all'))
    idle = server.connect()
    idle.send(request_bytes('GET', '/health/live'))
    is_equal(idle.read().status, 200, 'a connection that stays')
    before = descriptors(server)
    for _ in range(300):
        connection = server.connect()
        connection.send(request_bytes('GET', '/health/live', headers={'Connection': 'close'}))
        if connection.read().status != 200 or connection.sock.recv(1) != b'':
            break
        connection.close()
    else:
        ok(True, 'three hundred that are closed by the server: each sees its end')
    ok(settles(server, before + 2) <= before + 2, 'and none is left: %d, then %d' % (before, descriptors(server)))
    many = [server.connect() for _ in range(200)]
    for connection in many:
        connection.send(request_bytes('GET', '/health/live'))
    ok(all(c.read().status == 200 for c in many), 'two hundred at once, on both cores')
    for connection in many:
        connection.close()
    ok(settles(server, before + 2) <= before + 2, 'who goes away is let go: %d' % descriptors(server))

    load = Load(server.port, connections=8).start()
    time.sleep(2)
    load.stop()
    ok(load.acknowledged and not load.failed and not load.refused, 'webhooks are taken')
    ok(sink.wait('/all', len(load.acknowledged), 30), 'and delivered: %d' % len(load.acknowledged))
    segments = [name for name in os.listdir('/proc/%d/fd' % server.process.pid)
                if os.readlink('/proc/%d/fd/%s' % (server.process.pid, name)).endswith('(deleted)')]
    is_equal(segments, [], 'a segment that retention removed is not kept open')
    is_equal(server.stop(), 0, 'it stops in order')
done()
