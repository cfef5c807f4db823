#!/usr/bin/env python3
"""Sources made, changed, deleted and made again at random, the integration led to and fro, keys renewed, the server killed, while
two GitHubs are slow, lose calls and answers, and refuse. In the end there is one hook for each source, with its events and the key
that it takes, where the integration leads, and none elsewhere. WALK=seed and STEPS=number for another, or a longer one."""
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *

seed, steps = os.environ.get('WALK') or str(int(time.time())), int(os.environ.get('STEPS', 15))
drawn, REPOSITORIES = random.Random(seed), ['r0', 'r1', 'r2']
diag('WALK=%s STEPS=%d' % (seed, steps))
places, faulty = [GitHub('ghp_one'), GitHub('ghp_two')], True


def fault(call):
    """Of a hundred calls."""
    n = drawn.randrange(100) if faulty else 100
    return LOST if n < 8 else CUT if n < 18 else Reply(503, {}) if n < 25 else \
        Reply(429, {}, {'Retry-After': '1'}) if n < 28 else Reply(401, {'message': 'Bad credentials'}) if n < 30 else None


for place in places:
    place.repositories.update({'acme/' + r: {} for r in REPOSITORIES})
    place.fault = fault
    place.pause = lambda method, path: drawn.choice((0, 0, 0.1, 0.5) if method == 'GET' else (0, 0, 0.05, 0.3, 1.2)) if faulty else 0


def hooks(place):
    return sorted((h['config']['url'].rpartition('/')[2], r, sorted(h['events'])) for r in REPOSITORIES
                  for h in place.repositories['acme/' + r].values())


with Server(options=['--durability', 'none']) as server:
    def lead(place):
        server.apply('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                     'check: false, allowPrivate: true, auth: {use: token, token: {value: %s}}}' % (place.url, place.token))

    def waiting():
        return [o for o in server.api('GET', '/api/v1/operations').json['items'] if o['status']['state'] != 'done']

    def settled():
        for operation in waiting():
            server.api('POST', '/api/v1/operations/%s/retry' % operation['metadata']['name'])
        time.sleep(0.3)
        return not waiting()

    here, wanted = 0, {}
    lead(places[here])
    for step in range(steps):
        what, name = drawn.random(), drawn.choice('abc')
        if what < 0.5:
            wanted[name] = (drawn.choice(REPOSITORIES), drawn.choice(('push', 'release')))
            server.apply('kind: EventSource\nmetadata: {name: %s}\nspec: {path: %s, integration: {name: hub}, resource: {type: repository, '
                         'name: %s}, events: [{type: %s}]}' % ((name, name) + wanted[name]))
        elif what < 0.7:
            server.api('DELETE', '/api/v1/event-sources/' + name)
            wanted.pop(name, None)
        elif what < 0.78 and name in wanted:
            server.api('POST', '/api/v1/event-sources/%s/reset-key' % name)
        elif what < 0.86:
            here = 1 - here
            lead(places[here])
        elif what < 0.92:
            server.kill()
            server.start(same_ports=True)
        time.sleep(drawn.choice((0, 0.02, 0.1, 0.4, 1)))
    faulty = False
    ok(when(settled, 60), 'all operations are done') or diag(waiting())
    time.sleep(1.3)  # what was late
    ok(when(settled, 30), 'and stay so')
    is_equal(hooks(places[here]), sorted((name, r, [event]) for name, (r, event) in wanted.items()), 'a hook for each source')
    is_equal(hooks(places[1 - here]), [], 'none elsewhere')
    taken = {}
    for name, (repository, event) in wanted.items():
        body = json.dumps({'n': name}).encode()
        for hook in places[here].repositories['acme/' + repository].values():
            if hook['config']['url'].endswith('/' + name):
                taken[name] = server.post('/hooks/' + name, body, github(body, hook['config']['secret'], event=event)).status
    is_equal(taken, {name: 200 for name in wanted}, 'with the key that it takes')
for place in places:
    place.close()
done()
