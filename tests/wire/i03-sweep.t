#!/usr/bin/env python3
# Seconds: 900
"""The life of a hook at each provider (made, given other events and another key, led to another server, removed) with one fault at one of its calls: an
error, a lost call, a cut answer, the server killed before the provider does it, or after. In the end the provider has one hook
and the key that the source takes, none is left at the server before, and then none at all. The same for the messages of a link to a chat: each is in
the channel and at the server that the link led to when it was written, once. SWEEP=all tries every fault at every call, with
SWEEP_KIND=github SWEEP_PART=2/5 the second fifth of them at one provider; else a few are drawn (SWEEP=seed)."""
import hashlib
import hmac
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *

PUBLIC = 'https://hooks.example'
FAULTS = ['503', 'lost', 'cut', 'limit', 'killed before', 'killed after']


def when(check, seconds=25):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if check():
                return True
        except (OSError, ValueError, KeyError, Broken):
            pass
        time.sleep(0.03)
    return False


class Kind:
    def __init__(self, name, make, resource, keep):
        self.name, self.make, self.resource, self.keep = name, make, resource, keep

    def things(self, double):
        """What there is of ours: (address, key) of each hook; Semaphore's secret without its notification counts, too."""
        if self.keep == 'messages':
            return [(double.channels.get(m['channel'], m['channel']), (m.get('text') or m['content']).strip().rpartition(': ')[2])
                    for m in double.messages]
        if self.name == 'semaphore':
            keys = [d['data']['env_vars'][0]['value'] for d in double.secrets.values()]
            urls = [d['spec']['rules'][0]['notify']['webhook']['endpoint'] for d in double.notifications.values()]
            return list(zip(urls + [''] * (len(keys) - len(urls)), keys + [''] * (len(urls) - len(keys))))
        hooks = getattr(double, self.keep)['acme/hello'].values()
        return [(h.get('url') or h['config']['url'], h.get('token') or h['config']['secret']) for h in hooks]

    def signed(self, key, body):
        mac = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        return dict({'github': {'X-GitHub-Event': 'push', 'X-Hub-Signature-256': 'sha256=' + mac, 'X-GitHub-Delivery': mac},
                     'gitea': {'X-Gitea-Event': 'push', 'X-Gitea-Signature': mac, 'X-Gitea-Delivery': mac},
                     'gitlab': {'X-Gitlab-Event': 'Push Hook', 'X-Gitlab-Token': key},
                     'semaphore': {'X-Semaphore-Signature-256': 'sha256=' + mac}}[self.name], **{'Content-Type': 'application/json'})


KINDS = [Kind('github', GitHub, 'repository', 'repositories'), Kind('gitea', Gitea, 'repository', 'repositories'),
         Kind('gitlab', GitLab, 'project', 'projects'), Kind('semaphore', Semaphore, 'project', 'projects'), Kind('slack', Slack, 'channel', 'messages'),
         Kind('discord', Discord, 'channel', 'messages')]


class Life:
    plural = 'event-sources'

    def __init__(self, kind, number=0, fault=None):
        self.kind, self.number, self.fault, self.problems, self.calls = kind, number, fault, [], 0
        self.double, self.other = kind.make(), kind.make('t0k3n-of-the-other')
        for double in (self.double, self.other):
            self.furnish(double)
            double.fault = self.at_call
        self.server = Server(options=['--public-url', PUBLIC])
        self.wounded = threading.Event()

    def furnish(self, double):
        getattr(double, self.kind.keep)['hello' if self.kind.name == 'semaphore' else 'acme/hello'] = \
            '11111111-1111-4111-8111-111111111111' if self.kind.name == 'semaphore' else {}

    def at_call(self, call):
        self.calls += 1
        if self.calls != self.number:
            return None
        reply = {'503': Reply(503, {'message': 'not now'}), 'lost': LOST, 'cut': CUT,
                 'limit': Reply(429, {'message': 'later'}, {'Retry-After': '1'})}.get(self.fault)
        if reply:
            return reply
        self.server.process.kill()   # the rest is the life's own thread's
        self.wounded.set()
        return LOST if self.fault == 'killed before' else CUT

    def heal(self):
        if self.wounded.is_set():
            self.wounded.clear()
            self.server.kill()
            self.server.start(same_ports=True)

    def until(self, check, what):
        def healed():
            self.heal()
            return check()
        if not when(healed):
            self.problems.append('%s: %s; %s; %s' % (what, self.kind.things(self.double), self.status(), self.server.log_text()[-1500:]))

    def status(self):
        try:
            return self.server.api('GET', '/api/v1/%s/s' % self.plural).json.get('status')
        except (OSError, Broken):
            return None

    def ask(self, method, path, body=b''):
        """Until it was answered: who was killed is asked again; that it was done before is fine."""
        def done():
            answer = self.server.api(method, path, body)
            return answer.status < 300 or (method == 'DELETE' and answer.status == 404)
        self.until(done, '%s %s' % (method, path))

    def source(self, event):
        return ('kind: EventSource\nmetadata: {name: s}\nspec: {path: s, integration: {name: i}, resource: {type: %s, name: hello}, '
                'events: [{type: %s}]}' % (self.kind.resource, event)).encode()

    def right(self):
        things = self.kind.things(self.double)
        if (self.status() or {}).get('state') != 'ready' or len(things) != 1 or things[0][0] != PUBLIC + '/hooks/s':
            return False
        body = b'{"object_kind":"push","n":"%s"}' % os.urandom(8).hex().encode()
        return self.server.post('/hooks/s', body, self.kind.signed(things[0][1], body)).status == 200

    def run(self):
        try:
            self.live()
            self.until(lambda: all(o['status']['state'] == 'done' for o in self.server.api('GET', '/api/v1/operations').json['items']),
                       'all operations done')
        finally:
            self.server.stop()
            for of in (self.double, self.other):
                of.server.shutdown()
                of.server.server_close()
        return self.problems + self.double.misfits + self.other.misfits

    def live(self):
        kind, double, other = self.kind, self.double, self.other
        owner = '' if kind.name == 'semaphore' else '/acme'
        integration = lambda of: (
            'kind: Integration\nmetadata: {name: i}\nspec: {type: %s, url: "%s%s", apiUrl: "%s", check: false, allowPrivate: true, '
            'auth: {use: token, token: {value: %s}}}' % (kind.name, of.url, owner, of.url, of.token)).encode()
        self.ask('POST', '/api/v1/apply', integration(double))
        self.ask('POST', '/api/v1/apply', self.source('pipeline_done' if kind.name == 'semaphore' else 'push'))
        self.until(self.right, 'made')
        if kind.name != 'semaphore':
            self.ask('POST', '/api/v1/apply', self.source('release') .replace(b'events: [', b'events: [{type: push}, '))
            self.until(self.right, 'with other events')
        before = kind.things(double)[0][1] if kind.things(double) else ''
        self.ask('POST', '/api/v1/event-sources/s/reset-key')
        self.until(lambda: self.right() and kind.things(double)[0][1] != before, 'with another key')
        self.double = other
        self.ask('POST', '/api/v1/apply', integration(other))
        self.until(self.right, 'at another server')
        self.until(lambda: not kind.things(double), 'and not at the one before')
        self.until(self.right, 'still at the other')
        self.ask('DELETE', '/api/v1/event-sources/s')
        self.until(lambda: not kind.things(other), 'removed')


class ChatLife(Life):
    plural = 'integration-links'

    def furnish(self, double):
        double.channels['C0000000002' if self.kind.name == 'slack' else '41771983423143938'] = 'second'

    def link(self, channel):
        name = {'slack': {'general': '#general', 'second': 'C0000000002'},
                'discord': {'general': '41771983423143937', 'second': '41771983423143938'}}[self.kind.name][channel]
        self.ask('POST', '/api/v1/apply', ('kind: IntegrationLink\nmetadata: {name: s}\nspec: {type: %s, integration: {name: i}, '
                                           'team: {name: core}, settings: {channel: "%s"}}' % (self.kind.name, name)).encode())
        self.until(self.ready, 'a link to ' + channel)

    def ready(self):
        return (self.status() or {}).get('state') == 'ready' and self.status().get('resourceId')

    def lead(self, of, token=None):
        base = of.url + ('/api/v10' if self.kind.name == 'discord' else '')
        self.ask('POST', '/api/v1/apply', (
            'kind: Integration\nmetadata: {name: i}\nspec: {type: %s, url: "%s", apiUrl: "%s", check: false, allowPrivate: true, '
            'auth: {use: token, token: {value: %s}}}' % (self.kind.name, of.url, base, token or of.token)).encode())

    def is_idle(self):
        """What is in doubt can be looked for only where it was posted: it is known before the link leads elsewhere."""
        return not [o for o in self.server.api('GET', '/api/v1/operations').json['items'] if o['spec']['intent'] == 'post']

    def say(self, text):
        """An entry, once, whoever is killed: what was stored is not asked for again."""
        def said():
            there = [e['body'] for e in self.server.api('GET', '/api/v1/entries').json['items']]
            if text not in there:
                self.server.api('POST', '/api/v1/entries', json.dumps({'team': 'core', 'body': text}).encode(),
                                {'Content-Type': 'application/json'})
            return text in there
        self.until(said, 'an entry')

    def live(self):
        kind, double, other = self.kind, self.double, self.other
        self.lead(double)
        self.ask('POST', '/api/v1/apply', b'kind: Team\nmetadata: {name: core}\nspec: {}')
        self.link('general')
        self.say('one')
        self.until(lambda: kind.things(double) == [('general', 'one')], 'the first')
        self.until(lambda: self.status()['state'] == 'ready', 'all is well')
        self.link('second')
        self.say('two')
        self.until(lambda: ('second', 'two') in kind.things(double), 'in another channel')
        self.lead(double, 'a-token-that-is-not-taken')
        self.say('three')
        self.until(lambda: (self.status() or {}).get('reason') == 'auth', 'refused')
        self.lead(double)
        self.until(lambda: ('second', 'three') in kind.things(double) and self.is_idle(), 'what waited goes')
        self.lead(other)
        self.until(self.ready, 'at another server')
        self.say('four')
        self.until(lambda: ('second', 'four') in kind.things(other), 'said there')
        self.ask('DELETE', '/api/v1/integration-links/s')
        self.say('five')
        self.until(self.is_idle, 'nothing waits')
        time.sleep(0.3)
        if (kind.things(double), kind.things(other)) != ([('general', 'one'), ('second', 'two'), ('second', 'three')],
                                                         [('second', 'four')]):
            self.problems.append('in the end: %s, %s' % (kind.things(double), kind.things(other)))


which, only = os.environ.get('SWEEP') or str(int(time.time())), os.environ.get('SWEEP_KIND')
kinds = [kind for kind in KINDS if only in (None, kind.name)]
with ThreadPoolExecutor(6) as pool:
    def lead(*what):
        life = (ChatLife if what[0].keep == 'messages' else Life)(*what)
        return life.run(), life.calls
    counts = {}
    for kind, led in [(kind, pool.submit(lead, kind)) for kind in kinds]:
        problems, counts[kind] = led.result()
        is_equal(problems, [], '%s: without a fault, %d calls' % (kind.name, counts[kind]))
    tries = [(kind, number, fault) for kind in kinds for number in range(1, counts[kind] + 1) for fault in FAULTS]
    part, _, parts = os.environ.get('SWEEP_PART', '1/1').partition('/')
    tries = tries[int(part) - 1::int(parts)]
    if which != 'all':
        diag('SWEEP=%s' % which)
        random.seed(which)
        tries = random.sample(tries, 4)
    for (kind, number, fault), led in [(t, pool.submit(lead, *t)) for t in tries]:
        is_equal(led.result()[0], [], '%s: %s at call %d of %d' % (kind.name, fault, number, counts[kind]))
done()
