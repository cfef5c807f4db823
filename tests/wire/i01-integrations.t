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


def test_life():
    github_double = GitHub()
    github_double.repositories['acme/hello'] = {}
    with Server() as server:
        answer = server.apply(integration(github_double, github_double.token) + SOURCE)
        ok(len(answer['results']) == 3, 'applied')
        ok(when(lambda: server.status('integrations', 'hub').get('state') == 'ready'), 'the credential is checked')
        is_equal(server.status('integrations', 'hub').get('account'), 'octo', 'whose it is')
        ok(when(lambda: server.status('event-sources', 'repo').get('state') == 'ready'), 'the hook is made')
        hooks = github_double.repositories['acme/hello']
        is_equal(len(hooks), 1, 'one hook')
        counts = {k: v for k, v in server.metrics().items() if k.startswith('becket_provider_calls_total')}
        is_equal(counts.get('becket_provider_calls_total{type="github",operation="hook-ensure",code="201"}'), 1,
                 'the calls are counted: %s' % counts)
        hook = list(hooks.values())[0]
        source = server.status('event-sources', 'repo')
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
        operation = server.status('event-sources', 'repo')['operation']
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: [h['config']['url'] for h in hooks.values()] == [server.status('event-sources', 'repo')['url']]),
           'the hook follows when our address changes')

        hook['active'] = False
        operation = server.status('event-sources', 'repo')['operation']
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: list(hooks.values())[0]['active']), 'a hook that was switched off is mended')

        old = list(hooks.values())[0]['config']['secret']
        path = '/hooks/' + server.status('event-sources', 'repo')['path']
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
        ok(when(lambda: server.status('integrations', 'hub').get('state') == 'error'), 'a wrong token is told')
        told = server.status('integrations', 'hub')
        ok('401' in told['message'] and told['advice'] and told['reason'] == 'auth', str(told))
        server.apply(integration(github_double, github_double.token) + SOURCE)
        ok(when(lambda: server.status('integrations', 'hub').get('state') == 'ready'), 'a right one mends it')
        ok(when(lambda: server.status('event-sources', 'repo').get('reason') == 'not_found'), 'no such repository')
        operation = server.status('event-sources', 'repo')['operation']
        github_double.repositories['acme/hello'] = {}
        github_double.may = False
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: server.status('event-sources', 'repo').get('reason') == 'forbidden'), 'a scope is missing')
        github_double.may = True
        server.apply(integration(github_double, github_double.token).replace('metadata: {name: token}',
                     'metadata: {name: token, description: again}'))
        server.api('POST', '/api/v1/operations/%s/retry' % operation)
        ok(when(lambda: server.status('event-sources', 'repo').get('state') == 'ready'), 'and mended')

        def new_token(token):
            server.apply('kind: Secret\nmetadata: {name: token}\nspec: {data: {token: %s}}' % token)
        new_token('ghp_stale')
        ok(when(lambda: server.status('integrations', 'hub').get('state') == 'error'), 'a secret that changes is tried')
        code, out, err = server.cli('get', 'integrations')
        ok('github' in out and 'error' in out and '401' in out, 'the table says what is wrong: %s%s' % (out, err))
        new_token(github_double.token)
        ok(when(lambda: server.status('integrations', 'hub').get('state') == 'ready'), 'and again')
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
            made = when(lambda: server.status('event-sources', 'repo').get('state') == 'ready')
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
    def fault_in(number, fault):
        def prepare(double, server):
            double.fault = lambda call: fault if call.number == number else None
        return lambda: life(prepare)

    def kill_in(number):
        def during(double, server):
            when(lambda: len(double.calls) >= number)
            server.kill()
            server.start()
        return lambda: life(lambda double, server: None, during)

    lives = {'%s in call %d' % (name, number): fault_in(number, fault) for number in (1, 2) for name, fault in kinds.items()}
    lives.update({'kill -9 at call %d' % number: kill_in(number) for number in (1, 2)})
    for name, lived in zip(lives, at_once(*lives.values())):
        ok(lived, name)


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
            ok(when(lambda: server.status('integrations', 'hub').get('state') == 'ready'), 'an app can log in')
            ok(when(lambda: server.status('event-sources', 'repo').get('state') == 'ready'), 'and make hooks')
            bought = sum('/access_tokens' in c.path for c in double.calls)
            ok(bought <= 2, 'the token is used again: %d bought' % bought)
            double.issued.clear()
            operation = server.status('event-sources', 'repo')['operation']
            server.api('POST', '/api/v1/operations/%s/retry' % operation)
            ok(when(lambda: server.status('event-sources', 'repo').get('reason') == 'auth'), 'a token that was revoked')
            server.api('POST', '/api/v1/operations/%s/retry' % operation)
            ok(when(lambda: server.status('event-sources', 'repo').get('state') == 'ready'), 'the next run buys another')
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
        ok(when(lambda: server.status('event-sources', 'my-project').get('state') == 'ready'), 'provisioned')
        is_equal((len(semaphore.secrets), len(semaphore.notifications)), (1, 1), 'a secret and a notification')
        rule = list(semaphore.notifications.values())[0]['spec']['rules'][0]
        is_equal(rule['notify']['webhook']['endpoint'], server.status('event-sources', 'my-project')['url'], 'our address')
        is_equal(rule['filter']['projects'], ['semaphore-demo-go'], 'the project')
        key = list(semaphore.secrets.values())[0]['data']['env_vars'][0]['value']
        body = b'{"pipeline":{"id":"p","state":"done","result":"passed"},"workflow":{"id":"w"}}'
        signature = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        answer = server.post('/hooks/' + server.status('event-sources', 'my-project')['path'], body,
                             {'X-Semaphore-Signature-256': 'sha256=' + signature, 'Content-Type': 'application/json'})
        is_equal(answer.status, 200, 'what Semaphore signs is taken')
        server.api('DELETE', '/api/v1/event-sources/my-project')
        ok(when(lambda: not semaphore.secrets and not semaphore.notifications), 'nothing is left behind')
    semaphore.close()


test_life()
test_refusals()
test_semaphore()
test_app()
test_faults()
done()
