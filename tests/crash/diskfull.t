#!/usr/bin/env python3
"""A full disk: 503 with Retry-After and no lie, reads go on, and it recovers by itself once there is room."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from loop_disk import LoopDisk, run

with LoopDisk('diskfull', mib=96) as disk:
    data, mount = disk.data, disk.mount_point
    server = disk.watch(Server(data=disk.link, threads=1, options=['--segment-bytes', '4M']))
    server.apply(GITHUB_SOURCE)
    acknowledged, refused, connection = {}, None, server.connect()
    ballast = open(os.path.join(mount, 'ballast'), 'wb')
    try:
        while True:
            ballast.write(b'x' * 65536)
            ballast.flush()
    except OSError:
        pass
    is_equal(server.get('/health/ready').status, 200, 'ready as long as there is room in the last segments')
    first = None
    for i in range(4000):
        body = os.urandom(8000)
        headers = github(body, SECRET)
        answer = connection.request('POST', '/hooks/repo', body, headers)
        if answer.status == 200:
            first = first or (body, headers, answer.json['id'])
            acknowledged[headers['X-GitHub-Delivery']] = (answer.json['id'], hashlib.sha256(body).hexdigest())
        else:
            refused = answer
            break
    ok(refused is not None and refused.status == 503, 'a full disk: 503 after %d events' % len(acknowledged))
    ok(refused is not None and 'retry-after' in refused.headers, 'with Retry-After')
    is_equal(server.get('/health/live').status, 200, 'still live')
    ready = server.get('/health/ready')
    ok(ready.status == 503 and b'disk full' in ready.body, 'but not ready: %s' % ready.body.decode())
    code, out, err = server.cli('status')
    ok(code == 1 and out.startswith('not ready: disk full'), 'becket status says so: 1') or diag(out + err)
    again = server.post('/hooks/repo', first[0], first[1])
    is_equal((again.status, again.json.get('id')), (200, first[2]), 'a duplicate of what is stored is answered as ever')
    is_equal(server.post('/hooks/repo', b'{}', github(b'{}', 'guess')).status, 401, 'a forged one is refused as ever')
    ok(len(server.events()) >= len(acknowledged), 'reads go on')
    answer = server.api('POST', '/api/v1/apply', b'kind: Secret\nmetadata: {name: big}\nspec: {data: {a: ' + b'x' * 60000 + b'}}\n')
    ok(answer.status in (200, 503, 507), 'an apply is taken or refused in words: %d' % answer.status)
    ballast.close()
    os.unlink(os.path.join(mount, 'ballast'))
    recovered, began = False, time.monotonic()
    while time.monotonic() - began < 15 and not recovered:
        body = os.urandom(100)
        headers = github(body, SECRET)
        answer = server.post('/hooks/repo', body, headers)
        recovered = answer.status == 200
        if recovered:
            acknowledged[headers['X-GitHub-Delivery']] = (answer.json['id'], hashlib.sha256(body).hexdigest())
        else:
            time.sleep(0.2)
    is_equal(server.get('/health/ready').status, 200, 'ready again')
    ok(recovered, 'with room again it takes events without a restart (%.1f s)' % (time.monotonic() - began))
    server.kill()
    server.start()
    compare(server, acknowledged, acknowledged, 'after the full disk and a kill')

    # Full and killed: the next start has no room for its first segments.
    def send(count):
        """Until one is refused, at most so many; the last status."""
        connection, status = server.connect(), 200
        for _ in range(count):
            body = os.urandom(8000)
            headers = github(body, SECRET)
            answer = connection.request('POST', '/hooks/repo', body, headers)
            status = answer.status
            if status != 200:
                break
            acknowledged[headers['X-GitHub-Delivery']] = (answer.json['id'], hashlib.sha256(body).hexdigest())
        return status

    def fill_and_kill():
        with open(os.path.join(mount, 'ballast'), 'wb', buffering=0) as ballast:
            for size in (65536, 512):
                try:
                    while True:
                        ballast.write(b'x' * size)
                except OSError:
                    pass
            is_equal(send(100000), 503, 'full again')
        server.kill()

    is_equal(send(1200), 200, 'several segments')
    time.sleep(0.5)
    fill_and_kill()
    refused = run('timeout', '20', BECKET, 'serve', '--data', data, '--listen', '127.0.0.1:%d' % free_port(), '--admin',
                  '127.0.0.1:%d' % free_port(), '--segment-bytes', '4M', '--threads', '2')
    ok(refused.returncode == 1 and '--retain-bytes' in refused.stderr, 'no room to start: %s' % refused.stderr.strip()[-120:])
    os.unlink(os.path.join(mount, 'ballast'))
    server.threads = 2
    server.start()
    compare(server, acknowledged, acknowledged, 'once there is room')
    fill_and_kill()
    server.start(options=['--retain-bytes', '1M'])
    body = os.urandom(100)
    is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, 'what need not be kept made room')
    is_equal(server.stop(), 0, 'SIGTERM ends it with 0')
done()
