#!/usr/bin/env python3
"""kill -9 at every call of a sign-in, of a renewal and of a revocation, before the provider has done its work and after;
then at any moment, ROUNDS times (1). Afterwards there is nobody, or somebody whose tokens the provider takes, or the
status says what to do; what was disconnected is revoked; a sign-in that was cut says so and can be made again."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *

ROUNDS = int(os.environ.get('ROUNDS', '1'))
INTEGRATION = '''
kind: Integration
metadata: {name: hub}
spec:
  type: github
  url: %s/acme
  apiUrl: %s
  allowPrivate: true
  check: false
  auth: {use: AUTH_TYPE_OAUTH, oauth: {clientId: %s, clientSecret: {value: %s}, authorizeUrl: "%s/authorize", tokenUrl: "%s/token",
         revokeUrl: "%s/revoke", identityUrl: "%s/user"}}
'''


def path_of(location):
    url = urllib.parse.urlsplit(location)
    return url.path + ('?' + url.query if url.query else '')


double = SignIn()
shm = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
with tempfile.TemporaryDirectory(prefix='becket-connect-kill-', dir=shm) as directory, \
        Server(data=os.path.join(directory, 'data'), options=['--durability', 'none'], threads=1) as server:
    server.apply(INTEGRATION % ((double.url,) * 2 + (double.client, double.secret) + (double.url,) * 4))
    browser = Browser(server.admin)
    browser.login(server.token)

    def people():
        return server.api('GET', '/api/v1/integration-users').json['items']

    def kill_at(word, after):
        """At the first call whose path or body has the word."""
        done = []

        def fault(call):
            if done or word not in call.path + call.body.decode():
                return None
            done.append(call)
            if after:
                double.answer(call)
            server.process.send_signal(signal.SIGKILL)
            return LOST
        double.fault = fault
        return done

    def again():
        server.process.wait()
        server.log.close()
        server.process = None
        double.fault = lambda call: None
        server.start(same_ports=True)

    def get(path):
        try:
            return browser.get(path)
        except (OSError, http.client.HTTPException):
            return None

    def disconnect():
        for person in people():
            server.api('DELETE', '/api/v1/integration-users/' + person['metadata']['name'])

    import http.client
    for word in ('authorization_code', '/user'):
        for after in (False, True):
            what = 'killed %s %s' % ('after' if after else 'before', word)
            back = path_of(double.allow(browser.get('/auth/hub').where))
            killed = kill_at(word, after)
            is_equal((get(back), len(killed)), (None, 1), what)
            again()
            is_equal(people(), [], what + ': nobody is half connected')
            answer = browser.get(back)
            ok(answer.status == 400 and 'begin again' in answer.text, what + ': and the page says so')
            is_equal(browser.get(path_of(double.allow(browser.get('/auth/hub').where))).where, '/integrations/github/link',
                     what + ': again it works')
            disconnect()

    for after in (False, True):
        what = 'killed %s a renewal' % ('after' if after else 'before')
        double.expires_in = 2
        killed = kill_at('refresh_token=', after)
        browser.get(path_of(double.allow(browser.get('/auth/hub').where)))
        ok(when(lambda: killed), what)
        double.expires_in = 3600
        again()
        if after:
            ok(when(lambda: people()[0]['status']['state'] == 'error'), what + ': it is lost')
            told = people()[0]['status']
            ok('was lost' in told['message'] and '/auth/hub' in told['advice'], what + ': in words: %s' % told)
            browser.get(path_of(double.allow(browser.get('/auth/hub').where)))
        else:
            ok(when(lambda: people()[0]['spec'].get('expiresAt', '') > time.strftime('%Y-%m-%dT%H:%M', time.gmtime(time.time() + 1800))),
               what + ': it is made')
        is_equal(people()[0]['status']['state'], 'ready', what + ': and good')
        token = 'access-planted-%d' % double.count
        for late in (False, True) if after or ROUNDS > 1 else ():
            what = 'killed %s a revocation' % ('after' if late else 'before')
            killed = kill_at('/revoke', late)
            disconnect()
            ok(when(lambda: killed), what)
            again()
            is_equal(people(), [], what + ': disconnected')
            ok(when(lambda: token in double.revoked), what + ': and revoked')
            double.expires_in = 3600 if after else None
            browser.get(path_of(double.allow(browser.get('/auth/hub').where)))
            token = 'access-planted-%d' % double.count
        disconnect()

    # At any moment. Whoever is there at the end can be renewed, or says what is wrong.
    seed = int(os.environ.get('SEED', random.randrange(1 << 30)))
    dice = random.Random(seed)
    for turn in range(ROUNDS):
        double.expires_in = dice.choice([None, 1, 2, 3600])
        moment = dice.choice([0, 0.002, 0.005, 0.01, 0.02, 0.05, 1.2]) * dice.random() * 2
        timer = threading.Timer(moment, lambda: server.process and server.process.send_signal(signal.SIGKILL))
        timer.start()
        begun = get('/auth/hub')
        if begun is not None and begun.status == 302 and begun.where.startswith(double.url):
            get(path_of(double.allow(begun.where)))
        if dice.random() < 0.5:
            try:
                disconnect()
            except (OSError, Broken):
                pass
        timer.join()
        double.expires_in = 3600
        again()
        settled = when(lambda: all(p['status']['state'] == 'error' and '/auth/hub' in p['status'].get('advice', '') or
                                   p['status']['state'] == 'ready' for p in people()), 10)
        if not ok(settled and len(people()) <= 1, 'round %d, seed %d: nobody, or all is well, or it says what to do' % (turn, seed)):
            diag(people())
        if browser.get('/integrations').status != 200:
            browser.login(server.token)
            ok(False, 'round %d, seed %d: still logged in' % (turn, seed))
        answer = browser.get(path_of(double.allow(browser.get('/auth/hub').where)))
        is_equal((answer.where, people()[0]['status']['state']), ('/integrations/github/link', 'ready'),
                 'round %d, seed %d: and again it works' % (turn, seed))
double.close()
done()
