#!/usr/bin/env python3
"""What the process may have of files and memory is small, from the start or all at once while it runs: it starts or says in one line what
is missing, is never ended by a signal for it, acknowledges nothing that is not stored, and goes on without a restart."""
import os, resource, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SECRET_N = 'kind: Secret\nmetadata: {name: s%d}\nspec: {data: {a: "%s"}}\n'

# ---- from the start
for ulimit, words in (('-f 16', 'RLIMIT_FSIZE'), ('-f 1024', 'RLIMIT_FSIZE'), ('-n 64', 'RLIMIT_NOFILE'), ('-v 500000', 'address space')):
    with Server(start=False) as server:
        try:
            server.start(prefix=['bash', '-c', 'ulimit %s; exec "$@"' % ulimit, 'bash'])
            ok(False, 'ulimit %s: it does not start' % ulimit)
        except RuntimeError as error:
            lines = server.log_text().splitlines()
            is_equal(server.process.returncode, 1, 'ulimit %s: exit code' % ulimit)
            ok(len(lines) == 1 and words in lines[0], 'ulimit %s: one line: %s' % (ulimit, lines[:2]))
        server.process = None

# ---- while it runs
KINDS = {'file size': (resource.RLIMIT_FSIZE, 1 << 20), 'address space': (resource.RLIMIT_AS, 1 << 20)}
for name, (kind, value) in KINDS.items():
    with Server(options=['--segment-bytes', '1M']) as server:
        server.apply(GITHUB_SOURCE)
        pid, acknowledged, statuses = server.process.pid, set(), {}
        before = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (min(value, 4096) if kind == resource.RLIMIT_FSIZE else value, before[1]))
        for i in range(600):
            body = os.urandom(9000)
            answer = server.post('/hooks/repo', body, github(body, SECRET))
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            if answer.status == 200:
                acknowledged.add(answer.json['id'])
        ok(set(statuses) <= {200, 503}, '%s: webhooks are stored or told 503: %r' % (name, statuses))
        answer = server.api('POST', '/api/v1/apply', (SECRET_N % (1, 'x' * 60000)).encode())
        ok(answer.status >= 500, '%s: an apply is refused: %r' % (name, answer))
        is_equal(server.process.poll(), None, '%s: it is alive' % name)
        resource.prlimit(pid, kind, before)
        ok(when(lambda: server.api('POST', '/api/v1/apply', (SECRET_N % (1, 'x' * 60000)).encode()).status == 200),
           '%s: an apply works again without a restart' % name)
        body = b'{"after":1}'
        ok(when(lambda: server.post('/hooks/repo', body, github(body, SECRET)).status == 200), '%s: webhooks, too' % name)
        stored = {event['id'] for event in server.events('state=accepted')}
        ok(acknowledged <= stored, '%s: what was acknowledged is there' % name)
        is_equal(server.stop(), 0, '%s: and stops in order' % name)
done()
