#!/usr/bin/env python3
"""SIGTERM while the disk stands still and the control thread stands in it: not ready at once, listeners closed soon, who waits is
answered, and the process ends within its time with exit code 1. A second SIGTERM ends it at once. What no signal can end, a thread
that waits for the file system in the kernel, ends when the disk moves again; nothing acknowledged is lost."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from loop_disk import LoopDisk

DOCUMENT = b'kind: Secret\nmetadata: {name: n%d}\nspec: {data: {a: b}}\n'


def threads_alive(process):
    """States of the threads that still run, or could: those that stand in the kernel are D, a thread that is gone Z."""
    states = []
    for task in os.listdir('/proc/%d/task' % process.pid):
        try:
            with open('/proc/%d/task/%s/stat' % (process.pid, task)) as f:
                states.append(f.read().rpartition(') ')[2].split()[0])
        except OSError:
            pass
    return [state for state in states if state not in 'DZX']


def refuses(port):
    try:
        Connection(port, timeout=2).close()
        return False
    except OSError:
        return True


def until(condition, seconds):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def stand(server, number):
    """The control thread stands in an apply; the API request that waits for it."""
    apply = Connection(server.admin, timeout=30)
    apply.send(request_bytes('POST', '/api/v1/apply', DOCUMENT % number, {'Content-Type': 'application/yaml', 'Authorization': 'Bearer ' + server.token}))
    time.sleep(0.3)
    return apply


with LoopDisk('stop-frozen', freezes=True) as disk:
    server = disk.watch(Server(data=disk.link, threads=2, options=['--segment-bytes', '16M', '--drain-timeout', '2s']))
    server.apply(GITHUB_SOURCE)
    body = os.urandom(500)
    headers = github(body, SECRET)
    first = server.post('/hooks/repo', body, headers)
    is_equal(first.status, 200, 'a webhook before')
    idle = server.connect()
    is_equal(idle.request('GET', '/health/ready').status, 200, 'ready')
    if not ok(disk.freeze(), 'the file system stands still'):
        raise SystemExit
    apply = stand(server, 1)
    waiting = server.connect(timeout=30)
    again = os.urandom(500)
    waiting.send(request_bytes('POST', '/hooks/repo', again, github(again, SECRET)))
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    answer = server.get('/health/ready')
    ok(answer.status == 503 and b'stopping' in answer.body, 'not ready at once: %s' % answer.body.decode())
    is_equal(server.get('/health/live').status, 200, 'but live')
    took = until(lambda: refuses(server.port) and refuses(server.admin), 4)
    ok(took is not None, 'both listeners are closed after %s' % (took and '%.1f s' % (time.monotonic() - began)))
    took = until(lambda: not threads_alive(server.process), 12)
    ok(took is not None, 'nothing of it runs any more after %.1f s: drain timeout and 3 s' % (time.monotonic() - began))
    ok(4 < time.monotonic() - began < 8, 'neither sooner')
    ok('the control thread stands' in server.log_text() and 'the stop took too long' in server.log_text(), 'the log says why')
    answer = waiting.read()
    ok(answer.status == 503 and 'retry-after' in answer.headers, 'who waited for the disk is told so: %d' % answer.status)
    disk.thaw()
    is_equal(server.process.wait(20), 1, 'the exit code tells that it was no orderly end')
    server.log.close()
    server.start()
    ok(first.json['id'] in [event['id'] for event in server.events('state=accepted')], 'what was acknowledged is there')

    disk.freeze()
    stand(server, 2)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    took = until(lambda: not threads_alive(server.process), 3)
    ok(took is not None, 'a second SIGTERM ends it at once: %.1f s' % (time.monotonic() - began))
    disk.thaw()
    is_equal(server.process.wait(20), 1, 'with 1')
    server.log.close()
    server.start()

    # It moves again before the time is over: an orderly end.
    disk.freeze()
    apply = stand(server, 3)
    server.process.send_signal(signal.SIGTERM)
    took = until(lambda: refuses(server.port), 3)
    ok(took is not None, 'the listeners are closed')
    disk.thaw()
    is_equal(server.process.wait(20), 0, 'a disk that moves again in time: it ends in order')
    is_equal(apply.read().status, 200, 'and answers what it had')
    server.log.close()
    server.start()
    is_equal(server.apply(DOCUMENT % 3)['results'][0]['action'], 'unchanged', 'which was done')
    is_equal(server.stop(), 0, 'and stops in order')

    # Its log lies on the same disk: whoever says something stands there, too.
    own_log = os.path.join(disk.mount_point, 'own.log')
    server.log_text = lambda: open(own_log).read() if os.path.exists(own_log) else ''
    for second, least, most in ((None, 4, 9), (signal.SIGINT, 0.5, 4)):
        server.start(prefix=['sh', '-c', 'exec "$@" 2>>' + own_log, 'sh'])
        disk.freeze()
        stand(server, 4 if second else 5)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        if second:
            time.sleep(0.2)
            server.process.send_signal(second)
        took = until(lambda: not threads_alive(server.process), 14)
        lasted = time.monotonic() - began
        ok(took is not None and least < lasted < most, 'the log stands as well, %s: nothing runs any more after %.1f s' %
           ('a second signal' if second else 'one signal', lasted))
        disk.thaw()
        is_equal(server.process.wait(20), 1, 'with 1')
        server.log.close()
    server.process = None
done()
