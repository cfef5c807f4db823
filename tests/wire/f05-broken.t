#!/usr/bin/env python3
"""A disk that fails under a running server: every write and flush gives EIO. Nothing is acknowledged any more, hooks are told 503 with
Retry-After, it is live and not ready, reads and known deliveries go on as far as memory goes, and SIGTERM ends it."""
import ctypes, fcntl, os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

base = os.path.abspath(os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests', 'broken'))
image, mount, link = base + '.img', base + '.mnt', base + '.data'
EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587d, 2
if os.geteuid() != 0:
    skip_all('only root can mount a loop device')
os.makedirs(mount, exist_ok=True)
run = lambda *words: subprocess.run(words, capture_output=True, text=True)
if os.path.ismount(mount):
    run('umount', mount)
with open(image, 'wb') as f:
    f.truncate(160 << 20)
made = run('mkfs.ext4', '-q', '-F', '-m', '0', image)
mounted = run('mount', '-o', 'loop,noatime', image, mount)
if made.returncode or mounted.returncode:
    os.unlink(image)
    skip_all('this host does not allow a loop mount: ' + (made.stderr + mounted.stderr).strip())
os.mkdir(os.path.join(mount, 'data'), 0o700)
if os.path.islink(link):
    os.unlink(link)
os.symlink(os.path.join(mount, 'data'), link)
server = Server(data=link, threads=2, options=['--segment-bytes', '16M', '--drain-timeout', '3s'])
try:
    server.apply(GITHUB_SOURCE)
    token = server.token
    body = os.urandom(500)
    headers = github(body, SECRET)
    first = server.post('/hooks/repo', body, headers)
    is_equal(first.status, 200, 'a webhook before')
    folder = os.open(mount, os.O_RDONLY)
    fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, ctypes.c_uint32(NOLOGFLUSH))
    os.close(folder)
    statuses, slowest = {}, 0
    for _ in range(40):
        began = time.monotonic()
        answer = server.post('/hooks/repo', body, github(body, SECRET))
        slowest = max(slowest, time.monotonic() - began)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        if answer.status == 503 and 'retry-after' not in answer.headers:
            statuses['without Retry-After'] = 1
    ok(set(statuses) == {503}, 'nothing is acknowledged: %r' % statuses)
    ok(slowest < 12, 'the slowest answer took %.1f s' % slowest)
    is_equal(server.get('/health/live').status, 200, 'live')
    ready = server.get('/health/ready')
    ok(ready.status == 503 and b'disk' in ready.body, 'not ready: %s' % ready.body.decode())
    again = server.post('/hooks/repo', body, headers)
    is_equal((again.status, again.json.get('id')), (200, first.json['id']), 'what was acknowledged before is known')
    is_equal(server.post('/hooks/repo', body, github(body, 'guess')).status, 401, 'a forged one is refused')
    answer = server.api('POST', '/api/v1/apply', b'kind: Secret\nmetadata: {name: more}\nspec: {data: {a: b}}\n', token=token)
    ok(answer.status >= 500 and answer.status != 504, 'an apply is refused: %d %s' % (answer.status, answer.body.decode()[:80]))
    is_equal(server._once(server.admin, 'GET', '/metrics', b'', None).status, 200, 'metrics')
    began = time.monotonic()
    code = server.stop()
    ok(code in (0, 1) and time.monotonic() - began < 25, 'SIGTERM ends it: %r after %.1f s' % (code, time.monotonic() - began))
    run('umount', mount)
    is_equal(run('mount', '-o', 'loop,noatime', image, mount).returncode, 0, 'mounted again')
    server.start()
    stored = [event['id'] for event in server.events('state=accepted')]
    ok(first.json['id'] in stored, 'what was acknowledged is there')
    is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, 'and it works again')
    is_equal(server.stop(), 0, 'and stops in order')
finally:
    if server.process:
        server.kill()
    for _ in range(50):
        if run('umount', mount).returncode == 0:
            break
        time.sleep(0.1)
    os.unlink(link)
    os.unlink(image)
done()
