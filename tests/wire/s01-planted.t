#!/usr/bin/env python3
"""Planted secrets of every kind are found nowhere: not in the data directory (journals, store with its free pages), the log,
any answer of the API that openapi.json names, pages, error texts, metrics, what the command line prints, process
arguments, nor in a core: there is none, and what a debugger would dump holds nothing. Providers and destinations
that send our own secrets back at us are no way out either."""
import base64
import glob
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *
from sink import Sink

KEY = subprocess.run(['openssl', 'genrsa', '2048'], capture_output=True).stdout.decode()
SIGNING = 'whsec_' + base64.b64encode(b'planted-signing-key-of-32-bytes!').decode()
SHORT = 'pl4nt3d'  # shorter than what is taken out of a text that is still to be read
PLANTED = {  # what it is: the text that must not be found
    'an integration token': 'planted-integration-token',
    'a token by reference': 'planted-referred-token',
    'a client secret': 'planted-client-secret',
    'an access token': 'planted-access-token',
    'a refresh token': 'planted-refresh-token',
    'a webhook secret': 'planted-webhook-secret',
    'a shown token': 'planted-gitlab-token',
    'a verify token': 'planted-verify-token',
    'a destination key': SIGNING,
    'a header of a destination': 'planted-header-value',
    'a password': 'planted-basic-password',
    'a password in a url': 'planted-url-password',
    'a short token': SHORT,
}
if KEY:
    PLANTED['a private key'] = KEY.splitlines()[3]


FORMS = {  # how a text may come back
    'plain': lambda text: text,
    'percent': lambda text: ''.join('%%%02x' % c for c in text.encode()),
    'escaped': lambda text: ''.join('\\u%04x' % ord(c) for c in text),
    'entities': lambda text: ''.join('&#%d;' % ord(c) for c in text),
    'base64': lambda text: base64.b64encode(text.encode()).decode(),
    'base64-url': lambda text: base64.urlsafe_b64encode(('x' + text).encode()).decode(),
    'base64-part': lambda text: base64.b64encode(('me:' + text + ':x').encode()).decode(),
    'hex': lambda text: text.encode().hex(),
    'hex-large': lambda text: text.encode().hex().upper(),
}


def marks(secret):
    """What would tell of it, in any of the forms."""
    found = [form(secret) for name, form in FORMS.items() if not name.startswith('base64')]
    for shift in range(3) if len(secret) >= 8 else [0]:
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode((' ' * shift + secret).encode()).decode().rstrip('=')
            found.append(text[4:-3] if len(secret) >= 8 else text)
    return {text.encode() for text in found}


class Echo(GitHub):
    """It tells everybody what it was sent, in the form that the path begins with."""

    def answer(self, call):
        form = FORMS.get(call.path.split('/')[1], FORMS['plain'])
        sent = form(call.headers.get('Authorization', '').partition(' ')[2] or call.body.decode())
        return Reply(422, {'message': 'no: ' + sent, 'error': sent, 'error_description': sent,
                           'login': sent, 'id': sent})


def echoing(echo):
    return ''.join('''
---
kind: Integration
metadata: {name: %s}
spec: {type: github, url: "https://github.com/acme", apiUrl: "%s/%s", allowPrivate: true, auth: {use: token, token: {value: %s}}}
''' % (name, echo.url, form, secret) for form in FORMS for name, secret in (
        ('long-' + form, PLANTED['an integration token']), ('short-' + form, SHORT))
        if secret != SHORT or form not in ('base64-url', 'base64-part'))


def documents(double, echo, sink):
    lines = '\n'.join('        ' + line for line in KEY.splitlines())
    return '''
kind: Secret
metadata: {name: kept}
spec: {data: {token: planted-referred-token, header: planted-header-value}}
---
kind: User
metadata: {name: ann}
spec: {}
---
kind: Integration
metadata: {name: inline}
spec: {type: github, url: "https://github.com/acme", apiUrl: "%(github)s", allowPrivate: true,
       auth: {use: token, token: {value: planted-integration-token}}}
---
kind: Integration
metadata: {name: referred}
spec: {type: github, url: "https://github.com/acme", apiUrl: "%(echo)s", allowPrivate: true,
       auth: {use: token, token: {valueFrom: {secret: {name: kept, key: token}}}}}
---
kind: Integration
metadata: {name: basic}
spec: {type: github, url: "https://github.com/acme", apiUrl: "%(echo)s", allowPrivate: true,
       auth: {use: basic, basic: {username: ann, password: {value: planted-basic-password}}}}
---
kind: Integration
metadata: {name: signed-in}
spec: {type: gitea, url: "%(echo)s", allowPrivate: true, auth: {use: oauth, oauth: {clientId: c,
       clientSecret: {value: planted-client-secret}, tokenUrl: "%(echo)s/token"}}}
---
kind: IntegrationUser
metadata: {name: ann-there}
spec: {integration: {name: signed-in}, user: {name: ann}, uid: "7", nickname: ann, expiresAt: "2020-01-01T00:00:00Z",
       accessToken: {value: planted-access-token}, refreshToken: {value: planted-refresh-token}}
---
kind: EventSource
metadata: {name: repo}
spec: {integration: {name: inline}, resource: {type: repository, name: hello}, events: [{type: push}]}
---
kind: EventSource
metadata: {name: refused}
spec: {integration: {name: referred}, resource: {type: repository, name: hello}, events: [{type: push}]}
---
kind: EventSource
metadata: {name: hub}
spec: {type: github, path: hub, verification: {secrets: [{value: planted-webhook-secret}]}}
---
kind: EventSource
metadata: {name: lab}
spec: {type: gitlab, path: lab, verification: {secrets: [{value: planted-gitlab-token}]}}
---
kind: EventSource
metadata: {name: meta}
spec: {type: meta, path: meta, verification: {secrets: [{value: planted-webhook-secret}], verifyToken: {value: planted-verify-token}}}
---
kind: EventSource
metadata: {name: made}
spec: {type: generic, path: made}
---
kind: Destination
metadata: {name: app}
spec: {url: "%(sink)s/in", allowPrivate: true, retry: {schedule: [1s, 1h]},
       headers: {X-Secret: {valueFrom: {secret: {name: kept, key: header}}}},
       signing: {scheme: standard-webhooks, secrets: [{value: "%(signing)s"}]}}
---
kind: Route
metadata: {name: out}
spec: {from: [{source: hub}], to: [{destination: app}]}
''' % {'github': double.url, 'echo': echo.url, 'sink': sink, 'signing': SIGNING} + ('''
---
kind: Integration
metadata: {name: app}
spec:
  type: github
  url: https://github.com/acme
  apiUrl: %s
  allowPrivate: true
  auth:
    use: app
    app:
      appId: "1"
      installationId: "2"
      privateKey:
        value: |
%s
''' % (echo.url, '\n'.join('          ' + line for line in KEY.splitlines())) if KEY else '')


def mistakes():
    """Documents with a secret beside a mistake: what is said of them must not quote it."""
    yield b'kind: Integration\nmetadata: {name: x}\nspec: {type: github, auth: {use: token, token: {vlue: planted-integration-token}}}'
    yield b'kind: Integration\nmetadata: {name: x}\nspec: {type: github, auth: {use: token, token: planted-integration-token}}'
    yield b'kind: Secret\nmetadata: {name: x}\nspec: {data: {token: planted-integration-token}'
    yield b'kind: Secret\nmetadata: {name: x}\nspec:\n  data: {token: [planted-integration-token]}'
    yield b'{"kind":"Secret","metadata":{"name":"x"},"spec":{"data":{"k":"planted-integration-token"}'
    yield b'kind: Destination\nmetadata: {name: x}\nspec: {url: "https://ann:planted-url-password@app.example/in"}'
    yield b'kind: Integration\nmetadata: {name: x}\nspec: {type: http, url: "https://ann:planted-url-password@app.example/in"}'
    yield b'kind: Integration\nmetadata: {name: x}\nspec: {type: github, url: "https://github.com/a", apiUrl: ' \
          b'"http://ann:planted-url-password@127.0.0.1:1", allowPrivate: true, auth: {use: none}}'
    yield b'kind: EventSource\nmetadata: {name: x}\nspec: {type: svix, verification: {secrets: [{value: whsec_planted-webhook-secret}]}}'
    yield b'kind: EventSource\nmetadata: {name: x}\nspec: {type: nothing, verification: {secrets: [planted-webhook-secret]}}'


class Hunt:
    def __init__(self, server):
        self.server, self.found, self.places = server, [], 0

    def look(self, place, text):
        text = text if isinstance(text, bytes) else text.encode()
        self.places += 1
        self.found += ['%s in %s' % (what, place) for what, secret in PLANTED.items() if any(m in text for m in marks(secret))]

    def files(self):
        for path in glob.glob(self.server.data + '/**', recursive=True):
            if os.path.isfile(path) and not path.endswith(('admin.token', 'master.key')):
                with open(path, 'rb') as f:
                    self.look(os.path.relpath(path, self.server.data), f.read())
        self.look('the log', self.server.log_text())

    def api(self):
        described = self.server.api('GET', '/api/v1/openapi.json').json
        names = {}
        for path, item in described['paths'].items():
            if 'get' in item and '{' not in path and not path.endswith('/stream'):
                answer = self.server.api('GET', path)
                self.look('GET ' + path, answer.body)
                try:
                    names[path] = [o.get('id') or o['metadata']['name'] for o in answer.json['items']] + \
                        [o['metadata']['name'] for o in answer.json['items'] if 'metadata' in o]
                except (ValueError, KeyError, TypeError):
                    pass
        for path, item in described['paths'].items():
            parent = path.partition('/{')[0]
            if 'get' in item and '{' in path and not path.endswith('/{name}/secrets'):  # those are asked for
                for name in names.get(parent, [])[:50] + ['nobody']:
                    self.look('GET ' + path, self.server.api('GET', re.sub(r'\{[^}]*\}', name, path)).body)
        for text in mistakes():
            answer = self.server.api('POST', '/api/v1/apply?dryRun=true', text)
            self.look('an error text of %r' % text[:40], answer.body)
            for plural in ('integrations', 'secrets', 'destinations'):
                self.look('an error text', self.server.api('POST', '/api/v1/' + plural, text).body)
        self.look('metrics', self.server.api('GET', '/metrics').body)

    def commands(self):
        for kind in ('secrets', 'integrations', 'integration-users', 'event-sources', 'destinations', 'operations', 'tokens',
                     'integration-links', 'users', 'routes'):
            for form in ('json', 'yaml', 'table'):
                code, out, err = self.server.cli('get', kind, '-o', form)
                self.look('becket get %s -o %s' % (kind, form), out + err)
        for kind, name in (('integration', 'inline'), ('integration', 'basic'), ('event-source', 'hub'), ('destination', 'app'),
                           ('integration-user', 'ann-there'), ('secret', 'kept')):
            self.look('becket describe', ''.join(self.server.cli('describe', kind, name)[1:]))
        for words in (('events',), ('events', '--state', 'rejected'), ('deliveries', '--destination', 'app'), ('audit',),
                      ('journal', 'dump', '--data', self.server.data)):
            self.look('becket ' + ' '.join(words[:2]), ''.join(self.server.cli(*words)[1:]))

    def process(self):
        for name in ('cmdline', 'environ', 'comm', 'maps'):
            with open('/proc/%d/%s' % (self.server.process.pid, name), 'rb') as f:
                self.look('/proc/PID/' + name, f.read())


def memory_of(core):
    """The memory in a core, without its notes: what vector registers copied last is in those."""
    with open(core, 'rb') as f:
        text = f.read()
    table, size, count = struct.unpack_from('<Q', text, 32)[0], *struct.unpack_from('<HH', text, 54)
    parts = [struct.unpack_from('<IIQQQQQQ', text, table + i * size) for i in range(count)]
    return b''.join(text[p[2]:p[2] + p[5]] for p in parts if p[0] == 1)


def events(server):
    body = b'{"ref":"refs/heads/main"}'
    server.post('/hooks/hub', body, github(body, PLANTED['a webhook secret']))
    server.post('/hooks/hub', body, github(body, 'another'))
    server.post('/hooks/lab', body, {'Content-Type': 'application/json', 'X-Gitlab-Event': 'Push Hook',
                                     'X-Gitlab-Token': PLANTED['a shown token']})
    server.post('/hooks/lab', body, {'Content-Type': 'application/json', 'X-Gitlab-Token': 'wrong'})
    server.get('/hooks/meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token=' + PLANTED['a verify token'])
    server.get('/hooks/meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong')


double, echo = GitHub('planted-integration-token'), Echo('x')
double.repositories['acme/hello'] = {}
cores = tempfile.mkdtemp(prefix='cores-', dir=os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests'))
here = os.getcwd()
with Sink() as sink:
    header = PLANTED['a header of a destination']
    sink.manner('/in', answers=[500], body=' '.join(form(header) for form in FORMS.values()).encode())
    server = Server(start=False)
    server.data, server.program = os.path.abspath(server.data), os.path.abspath(server.program)
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    os.chdir(cores)
    server.start()
    os.chdir(here)
    results = server.apply(documents(double, echo, sink.url('')))['results']
    keys = [r['key'] for r in results if r.get('key')]
    ok(keys, 'a key was made')
    PLANTED['a key that was made'] = keys[0]
    made = server.api('POST', '/api/v1/tokens', b'{"name":"planted","role":"read"}', {'Content-Type': 'application/json'}).json
    PLANTED['a token of the API'] = made['token']
    server.api('GET', '/api/v1/integrations', token=made['token'])
    server.api('GET', '/api/v1/integrations?token=' + made['token'], token='wrong-' + made['token'])
    hook = lambda: list(double.repositories['acme/hello'].values())
    ok(when(hook), 'a hook was made at the provider')
    PLANTED['the key of a hook'] = hook()[0]['config']['secret']
    browser = Browser(server.admin)
    browser.login(server.token)
    PLANTED['a session'] = max(browser.cookies.values(), key=len)
    pages = ['/integrations', '/integrations/github/link', '/settings', '/auth/inline', '/auth/signed-in', '/users/ann/settings']
    for path in pages:
        browser.get(path)
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(browser.get('/auth/signed-in').where).query))
    answer = browser.get('/auth/signed-in/callback?code=planted&state=' + query['state'])
    ok(answer.where.startswith('/auth/failure'), 'a sign-in was refused: ' + answer.where)
    browser.get(answer.where)
    events(server)
    ok(when(lambda: sink.got('/in')), 'a delivery was tried')
    ok(when(lambda: 'could not be renewed' in server.log_text() or 'cannot be renewed' in server.log_text()),
       'a renewal was refused')
    status = lambda name: server.api('GET', '/api/v1/integrations/' + name).json['status']
    server.apply(echoing(echo)[5:])
    for name in ['referred', 'basic'] + ['long-' + form for form in FORMS]:
        ok(when(lambda: status(name).get('state') == 'error'), '%s was refused: %s' % (name, status(name)))
    # What is replaced leaves free pages behind.
    server.apply('kind: Integration\nmetadata: {name: inline}\nspec: {type: github, url: "https://github.com/acme", apiUrl: '
                 '"%s", allowPrivate: true, auth: {use: token, token: {value: planted-second-token}}}' % double.url)
    PLANTED['a second token'] = 'planted-second-token'
    server.api('POST', '/api/v1/event-sources/made/reset-key')
    server.api('DELETE', '/api/v1/integration-users/ann-there')

    hunt = Hunt(server)
    hunt.api()
    hunt.commands()
    hunt.process()
    for text in browser.seen:
        hunt.look('a page', text)
    hunt.files()
    is_equal(sorted(set(hunt.found)), [], 'nothing is found in %d places' % hunt.places)

    if shutil.which('gcore'):
        done_process = subprocess.run(['gcore', '-o', os.path.join(cores, 'gcore'), str(server.process.pid)],
                                      capture_output=True)
        dumped = glob.glob(os.path.join(cores, 'gcore*'))
        hunt.found = []
        for path in dumped:
            hunt.look('a dump of the living process', memory_of(path))
            os.unlink(path)
        if dumped:
            is_equal(sorted(set(hunt.found)), [], 'what a debugger dumps holds none')
    else:
        skip('what a debugger dumps', 'gcore is not installed')
    pid = server.process.pid
    server.process.send_signal(signal.SIGABRT)
    status = os.waitpid(pid, 0)[1]
    ok(os.WIFSIGNALED(status) and not os.WCOREDUMP(status), 'a crash leaves no core')
    is_equal(os.listdir(cores), [], 'nor a file')
    server.process = None
    server.log.close()
    hunt.found = []
    hunt.files()
    is_equal(sorted(set(hunt.found)), [], 'nor is anything found after the crash')
    shutil.rmtree(server.data, ignore_errors=True)
shutil.rmtree(cores, ignore_errors=True)
double.close()
echo.close()
done()
