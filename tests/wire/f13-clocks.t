#!/usr/bin/env python3
"""The wall clock is set by hours, forward and back, while the server runs (libfaketime tells it another time of day; the steady clock runs
on): signatures count by the new time; rates, retries, circuit breakers, duplicates and entries do not notice. Or it is read late."""
import glob, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from old_kernel import in_front
from sink import Sink

library = (glob.glob('/usr/lib/*/faketime/libfaketimeMT.so.1') + [None])[0]
if not library:
    skip_all('faketime is not installed')
with open(BECKET, 'rb') as file:
    if b'__asan_init' in file.read():
        skip_all('a build with sanitizers takes no other library in front')

HOUR = 3600
STRIPE = 'whsec_of_the_clock'
DOCUMENTS = GITHUB_SOURCE + '''---
kind: Secret
metadata: {name: pay}
spec: {data: {webhook: %s}}
---
kind: EventSource
metadata: {name: pay}
spec: {type: stripe, path: pay, verification: {secrets: [{valueFrom: {secret: {name: pay, key: webhook}}}]}}
---
kind: EventSource
metadata: {name: slow}
spec: {type: generic, path: slow, verification: {scheme: none}, limits: {perSecond: 2}}
---
kind: EventSource
metadata: {name: work}
spec: {type: generic, path: work, verification: {scheme: none}}
---
kind: Team
metadata: {name: core}
spec: {}
---
kind: IntegrationLink
metadata: {name: work}
spec: {type: generic, team: {name: core}, source: {name: work}, entry: {body: $.text}}
---
kind: Destination
metadata: {name: app}
spec: {url: "%s", allowPrivate: true, retry: {schedule: [500ms, 500ms, 500ms, 1h], jitter: 0}}
---
kind: Route
metadata: {name: to-app}
spec: {from: [{source: repo}], to: [{destination: app}]}
'''

with Sink() as sink:
    server = Server(start=False, options=['--sandbox', 'off'])
    clock = server.data + '.clock'

    def set_clock(seconds):
        with open(clock + '.new', 'w') as file:
            file.write('%+d\n' % seconds)
        os.rename(clock + '.new', clock)

    set_clock(0)

    def begin():
        server.start(environment=dict(os.environ, LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=clock, FAKETIME_NO_CACHE='1',
                                      FAKETIME_DONT_FAKE_MONOTONIC='1', FAKETIME_DONT_RESET='1'))
    begin()
    server.apply(DOCUMENTS % (STRIPE, sink.url('/app')))

    def github_post(body, delivery=None, headers=None):
        headers = headers or github(body, SECRET, delivery)
        return server.post('/hooks/repo', body, headers)

    def entries():
        return server.api('GET', '/api/v1/entries?limit=100').json['items']

    def one_more_entry(text, what):
        before = len(entries())
        server.post('/hooks/work', b'{"text":"%s"}' % text)
        ok(when(lambda: len(entries()) == before + 1, 5), '%s: an entry is made at once' % what)

    def rates(what):
        time.sleep(0.7)
        statuses = [server.post('/hooks/slow', b'%d' % i).status for i in range(12)]
        ok(200 in statuses and 429 in statuses, '%s: the rate limit holds, and lets some pass: %r' % (what, statuses))

    def signatures(what, now):
        body = b'{"id":"evt_%s"}' % os.urandom(6).hex().encode()
        is_equal(server.post('/hooks/pay', body, stripe(body, STRIPE, now)).status, 200, '%s: signed just now' % what)
        for other in (now - 2 * HOUR, now + 2 * HOUR):
            is_equal(server.post('/hooks/pay', body, stripe(body, STRIPE, other)).status, 401, '%s: signed hours off' % what)

    first = os.urandom(50)
    headers = github(first, SECRET)
    first_id = github_post(first, headers=headers).json['id']
    one_more_entry(b'before', 'at first')
    signatures('at first', time.time())
    for offset in (3 * HOUR, -3 * HOUR, 0):
        what = 'the clock is set to %+d h' % (offset // HOUR)
        set_clock(offset)
        time.sleep(0.2)
        is_equal(github_post(first, headers=headers).json.get('id'), first_id, '%s: a duplicate is one' % what)
        one_more_entry(b'at %d' % offset, what)
        signatures(what, time.time() + offset)
        rates(what)
        sink.manner('/app', status=500)
        before = len(sink.got('/app'))
        github_post(os.urandom(20))
        when(lambda: len(sink.got('/app')) > before)
        set_clock(offset + HOUR)
        ok(when(lambda: len(sink.got('/app')) >= before + 3, 8), '%s: and by another hour between tries: they go on' % what)
        ok(len(sink.got('/app')) <= before + 6, '%s: none storms: %d' % (what, len(sink.got('/app')) - before))
        sink.manner('/app')
        ok(when(lambda: server.status('destinations', 'app').get('delivery', {}).get('retries') == 0, 15), '%s: all arrive' % what)

    # What waits is read back from the journal, also after a start: it says that it is older than its route.
    set_clock(-5 * HOUR)
    time.sleep(0.2)
    server.cli('pause', 'app')
    before = len(sink.got('/app'))
    for i in range(3):
        github_post(os.urandom(30 + i))
    server.cli('resume', 'app')
    ok(when(lambda: len(sink.got('/app')) == before + 3, 5), 'events wait for a paused destination while the clock is hours back: %d of 3' % (len(sink.got('/app')) - before))
    server.cli('pause', 'app')
    for i in range(3):
        github_post(os.urandom(40 + i))
    is_equal(server.stop(), 0, 'stopped')
    set_clock(0)
    begin()
    server.cli('resume', 'app')
    ok(when(lambda: len(sink.got('/app')) == before + 6, 5), 'and over a start: %d of 6' % (len(sink.got('/app')) - before))
    is_equal(server.get('/health/ready').status, 200, 'ready')
    ok('the wall clock was set' in server.log_text(), 'the log says that it was set')
    is_equal(server.stop(), 0, 'stopped in order')
    shutil.rmtree(server.data, ignore_errors=True)

    # A dead letter is kept as long as its event, and a day at least.
    server = Server(start=False, options=['--sandbox', 'off', '--segment-bytes', '1M', '--retain-bytes', '4M'], threads=1)
    begin()
    server.apply(GITHUB_SOURCE + '''---
kind: Destination
metadata: {name: never}
spec: {url: "%s", allowPrivate: true, retry: {schedule: [100ms], jitter: 0}}
---
kind: Route
metadata: {name: to-never}
spec: {from: [{source: repo}], to: [{destination: never}]}
''' % sink.url('/never'))

    def dead():
        return [item['event'] for item in server.api('GET', '/api/v1/deliveries?state=dead').json['items']]

    def dies():
        sink.manner('/never', status=500)
        event = github_post(os.urandom(400000)).json['id']
        ok(when(lambda: event in dead()), 'a dead letter')
        sink.manner('/never')
        return event

    ids = [dies(), dies()]
    before = len(sink.got('/never'))
    for i in range(16):
        github_post(os.urandom(400000))
    ok(when(lambda: len(sink.got('/never')) == before + 16), 'others are delivered')
    time.sleep(0.3) # the last one's answer
    ids.append(dies())
    ok(when(lambda: server.api('GET', '/api/v1/events/' + ids[1]).status == 404), 'events go')
    is_equal(sorted(dead()), sorted(ids), 'their dead letters are kept for a day')
    server.stop()
    begin()
    time.sleep(0.5)
    is_equal(sorted(dead()), sorted(ids), 'also over a start')
    server.stop()
    set_clock(25 * HOUR)
    begin()
    ok(when(lambda: dead() == ids[2:]), 'and no longer, but for one whose event is there: %s' % dead())
    is_equal(server.stop(), 0, 'stopped in order')
    shutil.rmtree(server.data, ignore_errors=True)
    os.unlink(clock)

# Somebody had the processor between two looks, at the one clock and at the other.
with Sink() as sink, Server(start=False) as server:
    server.start(environment=in_front('''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now)
{
    static _Thread_local unsigned turn;
    int rc = ((int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime"))(clock, now);
    long late = clock == CLOCK_REALTIME ? turn++ % 4 * 5000000 : 0;
    now->tv_sec += (now->tv_nsec + late) / 1000000000;
    now->tv_nsec = (now->tv_nsec + late) % 1000000000;
    return rc;
}
'''))
    server.apply(DOCUMENTS % (STRIPE, sink.url('/app')))
    sink.manner('/app', status=503, headers=['Retry-After: 1000'])
    server.post('/hooks/repo', b'{}', github(b'{}', SECRET))
    when(lambda: server.status('destinations', 'app')['delivery'].get('nextRetryAt'))
    told = {server.status('destinations', 'app')['delivery']['nextRetryAt'] for _ in range(20)}
    is_equal(len(told), 1, 'a clock that is read late: when the next try is stays the same: %s' % sorted(told)[:2])
done()
