#!/usr/bin/env python3
"""Integrations against doubles of GitHub and Semaphore: the credential is checked, hooks are made with a key of their
own, mended when they drift, removed with their source; with a fault in every call and a kill -9 at every call."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *


def integration(double, token, kind='github', path='/acme', api=True):
    return '''
kind: Secret
metadata: {name: token}
spec: {data: {token: %s}}
---
kind: Integration
metadata: {name: hub}
spec:
  type: TYPE_%s
  url: %s
%s  auth: {use: AUTH_TYPE_TOKEN, token: {valueFrom: {secret: {name: token, key: token}}}}
  allowPrivate: true
''' % (token, kind.upper(), double.url + path, '  apiUrl: %s\n' % double.url if api else '')


SOURCE = '''
---
kind: EventSource
metadata: {name: repo}
spec:
  integration: {name: hub}
  resource: {type: repository, name: hello}
  events: [{type: push}]
'''


def get(server, kind, name):
    return server.api('GET', '/api/v1/%s/%s' % (kind, name))


def status(server, kind, name):
    answer = get(server, kind, name)
    return answer.json['status'] if answer.status == 200 else {}


def when(check, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if check():
                return True
        except OSError:
            pass
        time.sleep(0.03)
    return False


def test_life():
    github_double = GitHub()
    github_double.repositories['acme/hello'] = {}
    with Server() as server:
        answer = server.apply(integration(github_double, github_double.token) + SOURCE)
        ok(len(answer['results']) == 3, 'applied')
        ok(when(lambda: status(server, 'integrations', 'hub').get('state') == 'ready'), 'the credential is checked')
        is_equal(status(server, 'integrations', 'hub').get('account'), 'octo', 'whose it is')
        ok(when(lambda: status(server, 'event-sources', 'repo').get('state') == 'ready'), 'the hook is made')
        hooks = github_double.repositories['acme/hello']
        is_equal(len(hooks), 1, 'one hook')
        counts = {k: v for k, v in server.metrics().items() if k.startswith('becket_provider_calls_total')}
        is_equal(counts.get('becket_provider_calls_total{type="github",operation="hook-ensure",code="201"}'), 1,
                 'the calls are counted: %s' % counts)
        hook = list(hooks.values())[0]
        source = status(server, 'event-sources', 'repo')
        is_equal(hook['config']['url'], source['url'], 'to our address')
        is_equal(hook['events'], ['push'], 'for the events of the source')
        path = '/hooks/' + source['path']
        body = b'{"ref":"refs/heads/main"}'
        is_equal(server.post(path, body, github(body, hook['config']['secret'])).status, 200, 'what it sends is taken')
        is_equal(server.post(path, body, github(body, 'another')).status, 401, 'what another signs is not')

        calls = len(github_double.calls)
        server.apply(integration(github_double, github_double.token) + SOURCE)
        time.sleep(0.5)
        is_equal(len(github_double.calls), calls, 'applying the same again calls nobody')

        server.stop()
        server.start()
        operation = status(server, 'event-sources', 'repo')['operation']
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: [h['config']['url'] for h in hooks.values()] == [status(server, 'event-sources', 'repo')['url']]),
           'the hook follows when our address changes')

        hook['active'] = False
        operation = status(server, 'event-sources', 'repo')['operation']
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: list(hooks.values())[0]['active']), 'a hook that was switched off is mended')

        old = list(hooks.values())[0]['config']['secret']
        path = '/hooks/' + status(server, 'event-sources', 'repo')['path']
        code, out, err = server.cli('reset-key', 'repo')
        ok(code == 0 and len(out.strip()) == 44, 'a new key: %s' % err)
        ok(when(lambda: list(hooks.values())[0]['config']['secret'] == out.strip()), 'the hook gets it')
        is_equal(server.post(path, body, github(body, old)).status, 200, 'what was signed with the old one is taken')
        is_equal(server.post(path, body, github(body, out.strip())).status, 200, 'and with the new one')
        code, out, err = server.cli('reset-key', 'repo', '--now')
        is_equal(server.post(path, body, github(body, old)).status, 401, 'a leaked one can be refused at once')
        ok(when(lambda: list(hooks.values())[0]['config']['secret'] == out.strip()), 'the hook follows')
        is_equal(len(hooks), 1, 'one hook still')

        ok(server.api('DELETE', '/api/v1/integrations/hub').status == 409, 'an integration in use stays')
        ok(server.api('DELETE', '/api/v1/event-sources/repo').status == 204, 'the source goes')
        ok(when(lambda: not hooks), 'and its hook with it')
        ok(when(lambda: server.api('DELETE', '/api/v1/integrations/hub').status == 204), 'now it can go')
        ok(github_double.token not in server.log_text(), 'no token in the log')
    github_double.close()


def test_refusals():
    github_double = GitHub()
    with Server() as server:
        server.apply(integration(github_double, 'ghp_wrong'))
        ok(when(lambda: status(server, 'integrations', 'hub').get('state') == 'error'), 'a wrong token is told')
        told = status(server, 'integrations', 'hub')
        ok('401' in told['message'] and told['advice'] and told['reason'] == 'auth', str(told))
        server.apply(integration(github_double, github_double.token) + SOURCE)
        ok(when(lambda: status(server, 'integrations', 'hub').get('state') == 'ready'), 'a right one mends it')
        ok(when(lambda: status(server, 'event-sources', 'repo').get('reason') == 'not_found'), 'no such repository')
        operation = status(server, 'event-sources', 'repo')['operation']
        github_double.repositories['acme/hello'] = {}
        github_double.may = False
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: status(server, 'event-sources', 'repo').get('reason') == 'forbidden'), 'a scope is missing')
        github_double.may = True
        server.apply(integration(github_double, github_double.token).replace('metadata: {name: token}',
                     'metadata: {name: token, description: again}'))
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: status(server, 'event-sources', 'repo').get('state') == 'ready'), 'and mended')

        def new_token(token):
            server.apply('kind: Secret\nmetadata: {name: token}\nspec: {data: {token: %s}}' % token)
        new_token('ghp_stale')
        ok(when(lambda: status(server, 'integrations', 'hub').get('state') == 'error'), 'a secret that changes is tried')
        code, out, err = server.cli('get', 'integrations')
        ok('github' in out and 'error' in out and '401' in out, 'the table says what is wrong: %s%s' % (out, err))
        new_token(github_double.token)
        ok(when(lambda: status(server, 'integrations', 'hub').get('state') == 'ready'), 'and again')
        code, out, err = server.cli('get', 'integration', 'hub')
        ok('ready' in out and 'octo' in out, 'and whose it is')
        code, out, err = server.cli('get', 'operations')
        ok('check' in out and 'hook-ensure' in out and 'repo' in out, 'operations say what they do: %s' % out)
        answer = server.api('POST', '/api/v1/apply', b'''
kind: Integration
metadata: {name: bad}
spec: {type: TYPE_GITLUB, url: "ftp://x", auth: {use: AUTH_TYPE_MAGIC}}
''')
        fields = {d['field'] for d in answer.json['details']}
        ok({'spec.type', 'spec.url', 'spec.auth.use'} <= fields, 'every mistake at once: %s' % sorted(fields))
        answer = server.api('POST', '/api/v1/apply', b'''
kind: Integration
metadata: {name: elsewhere}
spec: {type: github, url: "https://git.example/acme", auth: {use: none}}
''')
        ok(answer.status == 400, 'a url of GitHub is on github.com')
        file = os.path.join(server.data, 'all.yaml')
        with open(file, 'w') as f:
            f.write(integration(github_double, github_double.token) + SOURCE)
        is_equal(server.cli('apply', '-f', file)[0], 0, 'again')
        ok(when(lambda: github_double.repositories['acme/hello']), 'a hook')
        github_double.fault = lambda call: Reply(503, {'message': 'not now'}) if '/hooks' in call.path else None
        code, out, err = server.cli('delete', '-f', file, '--timeout', '1s')
        ok(code == 1 and 'deleted EventSource' in out and 'waiting Integration hub' in out and 'waiting Secret token' in out and
           'get operations' in err, 'what waits for the provider: %s%s' % (out, err))
        is_equal(server.api('GET', '/api/v1/secrets/token').status, 200, 'and what that needs')
        github_double.fault = lambda call: None
        code, out, err = server.cli('delete', '-f', file)
        ok(code == 0 and 'deleted Secret token' in out, 'what a file declares goes: %s%s' % (out, err))
        ok(not github_double.repositories['acme/hello'], 'and what was made of it')
        is_equal(server.api('GET', '/api/v1/integrations/hub').status, 404, 'the integration too')
    github_double.close()


def test_renamed():
    """A repository with a new name is found where GitHub says it is, at GitHub only; nobody else gets the token."""
    double, thief = GitHub(), GitHub()
    double.repositories['acme/old'] = hooks = {}
    of = lambda: server.api('GET', '/api/v1/event-sources/s').json.get('status', {})
    again = lambda: server.api('POST', '/api/v1/operations/%s/retry' % of()['operation'])
    with Server() as server:
        server.apply('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                     'allowPrivate: true, auth: {use: token, token: {value: %s}}}\n---\nkind: EventSource\nmetadata: {name: s}\nspec: '
                     '{integration: {name: hub}, resource: {type: repository, name: old}}' % (double.url, double.token))
        ok(when(lambda: of().get('state') == 'ready' and hooks), 'a hook')
        double.repositories['acme/new'] = double.repositories.pop('acme/old')
        double.renamed['acme/old'] = (7, 'acme/new')
        next(iter(hooks.values()))['active'] = False
        again()
        ok(when(lambda: all(h['active'] for h in hooks.values())), 'mended under its new name')
        hooks.clear()
        again()
        ok(when(lambda: len(hooks) == 1), 'and made anew: %s' % of())
        double.fault = lambda call: Reply(301, {}, {'Location': call.path})
        again()
        ok(when(lambda: 'circles' in of().get('message', '')), 'round and round: %s' % of())
        for place in (thief.url + '/user', '//127.0.0.1:1/user', thief.url.replace('http:', 'https:') + '/', 'x:y', ''):
            double.fault = lambda call: Reply(301, {}, {'Location': place})
            again()
            ok(when(lambda: of().get('reason') == 'odd' and of()['state'] == 'error'), 'not to %r: %s' % (place, of()))
        is_equal(len(thief.calls), 0, 'nobody else is asked')
        double.fault = lambda call: None
        server.api('DELETE', '/api/v1/event-sources/s')
        ok(when(lambda: not hooks), 'and removed')
    double.close()
    thief.close()


def test_moved():
    """With another public address all hooks are led to it at once, also those that the provider refused for the old one."""
    double = GitHub()
    double.repositories.update({'acme/one': {}, 'acme/two': {}})
    double.fault = lambda call: Reply(422, {'message': 'Validation Failed', 'errors': [{'message': 'url is not supported'}]}) \
        if call.method == 'POST' and call.path.startswith('/repos/acme/two') and b'localhost' in call.body else None
    urls = lambda: [h['config']['url'] for n in ('acme/one', 'acme/two') for h in double.repositories[n].values()]
    server = Server(options=['--public-url', 'http://localhost:8080'])
    try:
        server.apply('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                     'check: false, allowPrivate: true, auth: {use: token, token: {value: %s}}}' % (double.url, double.token) + ''.join(
                         '\n---\nkind: EventSource\nmetadata: {name: %s}\nspec: {integration: {name: hub}, path: %s, resource: '
                         '{type: repository, name: %s}}' % (n, n, n) for n in ('one', 'two')))
        state = lambda name: status(server, 'event-sources', name).get('state')
        ok(when(lambda: (state('one'), state('two')) == ('ready', 'error')), 'one is refused: %s' % status(server, 'event-sources', 'two'))
        server.stop()
        count = len(double.calls)
        server.start()
        time.sleep(0.5)
        is_equal(len(double.calls), count, 'with the same address nobody is asked')
        server.stop()
        server.options = []
        server.start(options=['--public-url', 'https://hooks.example'])
        ok(when(lambda: urls() == ['https://hooks.example/hooks/one', 'https://hooks.example/hooks/two'], 5), 'with another: %s' % urls())
        ok(when(lambda: (state('one'), state('two')) == ('ready', 'ready')), 'both are ready')
    finally:
        server.stop()
        double.close()


def test_elsewhere():
    """An integration that is given another owner or another server: the hooks of its sources follow, whether these are applied
    again, too, or not, and nothing stays at the old owner."""
    double, server_of_own = GitHub(), GitHub()
    for of in (double, server_of_own):
        of.repositories.update({'acme/hello': {}, 'other/hello': {}, 'fixed/hello': {}})
    there = lambda of: [(n, len(h)) for n, h in sorted(of.repositories.items()) if h]

    def hub(owner, of):
        return ('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/%s", apiUrl: "%s", check: false, '
                'allowPrivate: true, auth: {use: token, token: {value: %s}}}' % (owner, of.url, of.token))

    def source(name, resource, event='push'):
        return ('\n---\nkind: EventSource\nmetadata: {name: %s}\nspec: {integration: {name: hub}, path: %s, resource: {type: repository, '
                'name: %s}, events: [{type: %s}]}' % (name, name, resource, event))
    with Server() as server:
        server.apply(hub('acme', double) + source('short', 'hello') + source('whole', 'fixed/hello'))
        ok(when(lambda: there(double) == [('acme/hello', 1), ('fixed/hello', 1)]), 'made: %s' % there(double))
        dry = server.api('POST', '/api/v1/apply?dryRun=true', hub('other', double).encode())
        server.apply(hub('other', double))
        ok(dry.status == 200 and when(lambda: there(double) == [('fixed/hello', 1), ('other/hello', 1)]), 'another owner: %s' % there(double))
        server.apply(hub('acme', double) + source('short', 'hello', 'release'))
        ok(when(lambda: there(double) == [('acme/hello', 1), ('fixed/hello', 1)]), 'with the source itself: %s' % there(double))
        is_equal([h['events'] for h in double.repositories['acme/hello'].values()], [['release']], 'as it is now')
        server.apply(hub('acme', server_of_own))
        ok(when(lambda: there(server_of_own) == [('acme/hello', 1), ('fixed/hello', 1)]), 'another server: %s' % there(server_of_own))
        answer = server.api('POST', '/api/v1/apply', hub('acme', server_of_own).replace('type: github', 'type: gitea').encode())
        ok(answer.status == 400 and 'cannot change while EventSource' in answer.body.decode(), 'another type: %s' % answer.body.decode()[:200])
        is_equal(server.api('GET', '/api/v1/integrations/hub').json['spec']['type'], 'github', 'is refused')
    double.close()
    server_of_own.close()


def test_given_up():
    """A provider that lets nobody in any more does not keep an integration from being deleted, when a person says so."""
    double = GitHub()
    double.repositories['acme/hello'] = hooks = {}
    with Server() as server:
        server.apply('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                     'check: false, allowPrivate: true, auth: {use: token, token: {value: %s}}}\n---\nkind: EventSource\nmetadata: '
                     '{name: s}\nspec: {integration: {name: hub}, resource: {type: repository, name: hello}}' % (double.url, double.token))
        ok(when(lambda: hooks and status(server, 'event-sources', 's').get('state') == 'ready'), 'a hook')
        operations = lambda: server.api('GET', '/api/v1/operations').json['items']
        code, out, err = server.cli('delete', 'operation', operations()[0]['metadata']['name'])
        ok(code == 1 and 'delete that' in err, 'what a source wants goes with it: ' + err)
        double.fault = lambda call: Reply(401, {'message': 'Bad credentials'})
        server.cli('delete', 'event-source', 's')
        ok(when(lambda: operations() and operations()[-1]['status']['state'] == 'failed'), 'the removal is refused')
        name = operations()[-1]['metadata']['name']
        code, out, err = server.cli('delete', 'integration', 'hub')
        ok(code == 1 and 'becket delete operation ' + name in err, 'how to get rid of it: ' + err)
        code, out, err = server.cli('delete', 'operation', name)
        ok(code == 0, 'given up: %s%s' % (out, err))
        is_equal(server.cli('delete', 'operation', name)[0], 1, 'once')
        code, out, err = server.cli('delete', 'integration', 'hub')
        ok(code == 0, 'and deleted: %s%s' % (out, err))
        ok(len(hooks) == 1 and all(o['metadata']['name'] != name for o in operations()), 'what was made stays')
        ok('Operation' in server.cli('audit')[1], 'who gave it up is on record')
    double.close()


def test_limits():
    """A provider that asks to slow down is left alone by everything of that integration, as long as it says."""
    double, other = GitHub(), GitHub('ghp_other')
    names = ['r%d' % i for i in range(12)]
    for of in (double, other):
        of.repositories.update({'acme/' + n: {} for n in names})
    until = time.monotonic() + 2.5
    limits = [Reply(429, {'message': 'later'}, {'Retry-After': '2'})]
    double.fault = lambda call: limits[0] if time.monotonic() < until else None
    source = 'kind: EventSource\nmetadata: {name: %s-%s}\nspec: {integration: {name: %s}, resource: {type: repository, name: %s}}'
    one = 'kind: Integration\nmetadata: {name: %s}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", check: false, ' \
          'allowPrivate: true, auth: {use: token, token: {value: %s}}}'
    with Server() as server:
        until = time.monotonic() + 2.5
        server.apply('\n---\n'.join([one % ('a', double.url, double.token), one % ('b', other.url, other.token)] +
                                    [source % (i, n, i, n) for i in 'ab' for n in names]))
        ok(when(lambda: all(other.repositories['acme/' + n] for n in names), 2), 'another integration goes on')
        ok(len(double.calls) <= 4, 'who is asked to wait does not ask for each: %d calls' % len(double.calls))
        began = time.monotonic()
        ok(when(lambda: all(double.repositories['acme/' + n] for n in names)), 'then all of it is made, %.1f s later' %
           (time.monotonic() - began))
        ok(len(double.calls) < 40, 'with %d calls' % len(double.calls))
        # what is used up is told by an answer that is none the worse for it
        limits[0], until = None, 0
        count = len(double.calls)
        double.fault = lambda call: Reply(200, [], {'X-RateLimit-Remaining': '0', 'X-RateLimit-Reset': str(int(time.time()) + 2)}) \
            if call.number == count + 1 else None
        server.apply('\n---\n'.join(source % ('c', n, 'a', n) for n in names))
        time.sleep(0.8)
        ok(len(double.calls) - count <= 8, 'nothing is left: %d calls' % (len(double.calls) - count))
        ok(when(lambda: all(len(double.repositories['acme/' + n]) == 2 for n in names)), 'until the window ends')
    double.close()
    other.close()


def test_faults():
    """A fault in each call of the life of a hook, and the server killed in it."""
    def life(prepare, during=None):
        double = GitHub()
        double.repositories['acme/hello'] = {}
        server = Server(options=['--public-url', 'https://hooks.example'])  # the ports change with each start
        try:
            prepare(double, server)
            server.apply(integration(double, double.token).replace('allowPrivate', 'check: false\n  allowPrivate') + SOURCE)
            if during:
                during(double, server)
            made = when(lambda: status(server, 'event-sources', 'repo').get('state') == 'ready')
            once = len(double.repositories['acme/hello']) == 1
            double.fault = lambda call: None
            server.api('DELETE', '/api/v1/event-sources/repo')
            gone = when(lambda: not double.repositories['acme/hello'])
            return made and once and gone
        finally:
            server.stop()
            double.close()

    kinds = {'a 503': Reply(503, {'message': 'Unavailable'}), 'a cut answer': CUT, 'a lost call': LOST,
             'a limit': Reply(403, {'message': 'API rate limit exceeded'}, {'X-RateLimit-Remaining': '0', 'Retry-After': '1'})}
    for number in (1, 2):
        for name, fault in kinds.items():
            def prepare(double, server, number=number, fault=fault):
                double.fault = lambda call: fault if call.number == number else None
            ok(life(prepare), '%s in call %d' % (name, number))
        def during(double, server, number=number):
            when(lambda: len(double.calls) >= number)
            server.kill()
            server.start()
        ok(life(lambda double, server: None, during), 'kill -9 at call %d' % number)


def test_app():
    double = GitHub()
    double.repositories['acme/hello'] = {}
    with tempfile.TemporaryDirectory() as keys:
        private, public = keys + '/key.pem', keys + '/public.pem'
        subprocess.run('openssl genrsa -traditional -out %s 2048 && openssl rsa -in %s -pubout -out %s' %
                       (private, private, public), shell=True, check=True, capture_output=True)
        double.app = ('1234', '99', public)
        pem = open(private).read()
        with Server() as server:
            server.api('POST', '/api/v1/secrets', json.dumps(
                {'kind': 'Secret', 'metadata': {'name': 'app'}, 'spec': {'data': {'key': pem}}}).encode(),
                {'Content-Type': 'application/json'})
            server.apply('''
kind: Integration
metadata: {name: hub}
spec:
  type: github
  url: %s/acme
  apiUrl: %s
  allowPrivate: true
  auth: {use: AUTH_TYPE_APP, app: {appId: 1234, installationId: 99, privateKey: {valueFrom: {secret: {name: app, key: key}}}}}
''' % (double.url, double.url) + SOURCE)
            ok(when(lambda: status(server, 'integrations', 'hub').get('state') == 'ready'), 'an app can log in')
            ok(when(lambda: status(server, 'event-sources', 'repo').get('state') == 'ready'), 'and make hooks')
            bought = sum('/access_tokens' in c.path for c in double.calls)
            ok(bought <= 2, 'the token is used again: %d bought' % bought)
            double.issued.clear()
            operation = status(server, 'event-sources', 'repo')['operation']
            server.api('POST', '/api/v1/operations/%s/retry' % operation)
            ok(when(lambda: status(server, 'event-sources', 'repo').get('reason') == 'auth'), 'a token that was revoked')
            server.api('POST', '/api/v1/operations/%s/retry' % operation)
            ok(when(lambda: status(server, 'event-sources', 'repo').get('state') == 'ready'), 'the next run buys another')
            ok(pem.splitlines()[5] not in server.log_text() and 'ghs_' not in server.log_text(), 'no secret in the log')
    double.close()


def test_semaphore():
    semaphore = Semaphore()
    semaphore.projects['semaphore-demo-go'] = '11111111-1111-4111-8111-111111111111'
    with Server() as server:
        answer = server.apply(integration(semaphore, semaphore.token, 'semaphore', path='', api=False) + '''
---
apiVersion: v1
kind: EventSource
metadata: {name: my-project}
spec:
  integration: {name: hub}
  resource: {type: project, name: semaphore-demo-go}
''')
        ok(len(answer['results']) == 3, 'applied')
        ok(when(lambda: status(server, 'event-sources', 'my-project').get('state') == 'ready'), 'provisioned')
        is_equal((len(semaphore.secrets), len(semaphore.notifications)), (1, 1), 'a secret and a notification')
        rule = list(semaphore.notifications.values())[0]['spec']['rules'][0]
        is_equal(rule['notify']['webhook']['endpoint'], status(server, 'event-sources', 'my-project')['url'], 'our address')
        is_equal(rule['filter']['projects'], ['semaphore-demo-go'], 'the project')
        key = list(semaphore.secrets.values())[0]['data']['env_vars'][0]['value']
        body = b'{"pipeline":{"id":"p","state":"done","result":"passed"},"workflow":{"id":"w"}}'
        signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        answer = server.post('/hooks/' + status(server, 'event-sources', 'my-project')['path'], body,
                             {'X-Semaphore-Signature-256': 'sha256=' + signature, 'Content-Type': 'application/json'})
        is_equal(answer.status, 200, 'what Semaphore signs is taken')
        server.api('DELETE', '/api/v1/event-sources/my-project')
        ok(when(lambda: not semaphore.secrets and not semaphore.notifications), 'nothing is left behind')
    semaphore.close()


test_life()
test_refusals()
test_semaphore()
test_app()
test_renamed()
test_moved()
test_given_up()
test_elsewhere()
test_limits()
test_faults()
done()
