#!/usr/bin/env python3
"""The store's file is cut short under a running server, or its disk fails where it has not been read yet: LMDB reads through a map,
so both are a signal. One line says so, in the format of the log, the exit code is 1, and the next start refuses the damaged file in
words, or goes on where the disk is back. What was acknowledged is there."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SECRETS = '---\n'.join('kind: Secret\nmetadata: {name: s%d}\nspec: {data: {a: "%s"}}\n' % (i, 'x' * 3000) for i in range(60))


def asked(server):
    """Whatever reads the store, until the server is gone."""
    token = server.token
    for name in range(60):
        try:
            server.api('GET', '/api/v1/secrets/s%d' % name, token=token)
        except (OSError, Broken):
            break
    try:
        return server.process.wait(5)
    except subprocess.TimeoutExpired:
        return None


def last_line(server):
    return (server.log_text().splitlines() or [''])[-1]


for form in 'text', 'json':
    with Server(options=['--log-format', form]) as server:
        server.apply(GITHUB_SOURCE + '---\n' + SECRETS)
        body = b'{"a":1}'
        first = server.post('/hooks/repo', body, github(body, SECRET))
        store = os.path.join(server.data, 'state', 'data.mdb')
        with open(store, 'rb') as f:
            kept = f.read()
        os.truncate(store, 12288)
        is_equal(asked(server), 1, 'cut short (%s): the exit code' % form)
        line = last_line(server)
        if form == 'json':
            told = json.loads(line)
            ok(told['level'] == 'error' and told['event'] == 'the store cannot be read' and 'cut short' in told['why'] and
               told['path'] == os.path.dirname(store), 'one object says why: %s' % line)
        else:
            ok(' error the store cannot be read path=' in line and 'cut short' in line and 'SIGBUS' in line, 'one line says why: %s' % line)
        server.process = None
        try:
            server.start()
            ok(False, 'the damaged file is refused')
        except RuntimeError as error:
            ok('it is damaged' in str(error), 'the next start refuses it in words')
        server.process = None
        with open(store, 'wb') as f:
            f.write(kept)
        server.start()
        ok(first.json['id'] in [event['id'] for event in server.events('state=accepted')], 'what was acknowledged is there')

# Other bytes than were written: what cannot be read is told, once.
with Server() as server:
    server.apply(GITHUB_SOURCE + '---\n' + SECRETS)
    token, store = server.token, os.path.join(server.data, 'state', 'data.mdb')
    with open(store, 'r+b') as f:
        for page in range(2, os.path.getsize(store) // 4096):
            f.seek(page * 4096)
            f.write(bytes([0xa5]) * 4096)
    statuses = {server.api('GET', '/api/v1/secrets/s%d' % i, token=token).status for i in range(20)}
    is_equal(statuses, {500}, 'damaged: what cannot be read is no answer')
    is_equal(server.log_text().count(' error the store is damaged '), 1, 'and the log says so, once')
    body = b'{"b":1}'
    is_equal(server.post('/hooks/repo', body, github(body, SECRET)).status, 200, 'webhooks are taken on')

# A SIGBUS that somebody sends keeps its own end.
with Server() as server:
    server.process.send_signal(signal.SIGBUS)
    is_equal(server.process.wait(5), -signal.SIGBUS, 'a signal that somebody sent ends it as such')
    ok('cannot be read' not in server.log_text(), 'and nothing else is blamed')
    server.process = None
done()
