#!/usr/bin/env python3
"""Requests to providers fit the descriptions that these publish (OpenAPI), to the letter, and answers of every shape that
a description allows are understood: all members, the fewest, null wherever it may be, numbers beyond a double, members
that are not there yet, the example of a header on every page. Wants the descriptions in build/descriptions (.ci/run brings
them; of GitLab's requests what its client library types); GitLab's and Discord's answers are in lib/answers.py otherwise."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *
import answers
from openapi import Description

FOLDER = os.environ.get('BECKET_DESCRIPTIONS') or os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'descriptions')
KINDS = {'github': (GitHub, 'acme/hello'), 'gitea': (Gitea, 'acme/hello'), 'gitlab': (GitLab, 'acme/hello'),
         'slack': (Slack, '#general'), 'discord': (Discord, '41771983423143937')}
# What a description may leave out although it is there, and what becket does without.
LEFT_OUT = {'gitlab': ['/user']}
# Of requests alone: what a client library knows of a provider whose own description is in no package.
HOOKS = os.path.join(FOLDER, 'gitlab-hooks.json')
hooks_alone = Description(HOOKS) if os.path.exists(HOOKS) else None
present = {kind: os.path.join(FOLDER, kind + '.json') for kind in KINDS}
present = {kind: file for kind, file in present.items() if os.path.exists(file)}


def judged(kind, description, way):
    """The provider's double, which refuses what does not fit and answers in one of the ways."""
    class Judged(KINDS[kind][0]):
        def answer(self, call):
            base = description.base() if call.path.startswith(description.base() + '/') else ''
            path = call.path[len(base):]
            if path in LEFT_OUT.get(kind, ()) and not description.knows(path):
                return Reply(404, {'message': '404 Not Found'})
            if kind in present:
                self.wrong += ['%s %s: %s' % (call.method, path, w) for w in description.wrongs(
                    call.method, path, call.query_text, dict(call.headers), call.body)]
            elif kind == 'gitlab' and hooks_alone and hooks_alone.knows(path):
                self.wrong += ['%s %s: %s' % (call.method, path, w) for w in hooks_alone.wrongs(
                    call.method, path, call.query_text, dict(call.headers), call.body)]
            if self.wrong:
                return Reply(422, {'message': self.wrong[-1]})
            call.path = path
            reply = super().answer(call)
            if way == 'odd' and kind == 'gitlab':
                reply.body = ids_as_text(reply.body)
            reply.body = description.answer(call.method, path, reply.status, reply.body, way)
            if way == 'full':
                reply.headers = dict(description.headers(call.method, path, reply.status), **reply.headers)
            return reply
    double = Judged.__new__(Judged)
    double.wrong = []
    double.__init__()
    double.next_id = 2 ** 53 if way == 'full' else 100
    return double


def ids_as_text(body):
    """As GitLab's description has them."""
    if isinstance(body, list):
        return [ids_as_text(item) for item in body]
    return {n: str(v) if n == 'id' else v for n, v in body.items()} if isinstance(body, dict) else body


def integration(kind, double, base):
    return '''
kind: Integration
metadata: {name: %s}
spec: {type: %s, url: "%s", apiUrl: "%s", allowPrivate: true, auth: {use: token, token: {value: "%s"}}}
''' % (kind, kind, {'github': 'https://github.com/acme', 'gitea': double.url + '/acme', 'gitlab': double.url + '/acme'}.get(
        kind, double.url), double.url + base, double.token)


def ready(server, double, plural, name, what):
    ok(when(lambda: double.wrong or server.status(plural, name).get('state') in ('ready', 'error')) and
       server.status(plural, name).get('state') == 'ready', '%s: %s' % (what, server.status(plural, name).get('message')))


def again(server, plural, name):
    server.api('POST', '/api/v1/operations/%s/retry' % server.status(plural, name)['operation'])


def hooks(server, kind, double, what, wide=False):
    of, lab = {}, kind == 'gitlab'
    known = (double.groups if lab else double.organizations) if wide else (double.projects if lab else double.repositories)
    known['acme' if wide else 'acme/hello'] = of
    thing = ('group' if lab else 'organization') if wide else ('project' if lab else 'repository')
    server.apply('kind: EventSource\nmetadata: {name: %s}\nspec: {integration: {name: %s}, resource: {type: %s, name: %s}, '
                 'events: [{type: push}]}' % (kind, kind, thing, 'acme' if wide else 'hello'))
    ready(server, double, 'event-sources', kind, what + ': a hook is made')
    hook = next(iter(of.values()), {'config': {}})
    if kind == 'gitlab':
        hook['push_events'] = False
    else:
        hook['active'] = False
    again(server, 'event-sources', kind)
    ok(when(lambda: of and all(h.get('push_events', h.get('active')) for h in of.values())), what + ': and mended')
    server.api('POST', '/api/v1/event-sources/%s/reset-key' % kind)
    ready(server, double, 'event-sources', kind, what + ': a new key')
    server.api('DELETE', '/api/v1/event-sources/' + kind)
    ok(when(lambda: not of), what + ': and removed')


def app(server, double, base, what):
    """A GitHub App buys its token first."""
    key = subprocess.run(['openssl', 'genrsa', '2048'], capture_output=True).stdout.decode()
    with tempfile.NamedTemporaryFile('w', suffix='.pem') as public:
        subprocess.run(['openssl', 'rsa', '-pubout', '-out', public.name], input=key.encode(), capture_output=True)
        double.app = ('1', '2', public.name)
        server.apply(json.dumps({'kind': 'Integration', 'metadata': {'name': 'app'}, 'spec': {
            'type': 'github', 'url': 'https://github.com/acme', 'apiUrl': double.url + base, 'allowPrivate': True,
            'auth': {'use': 'app', 'app': {'appId': 1, 'installationId': 2, 'privateKey': {'value': key}}}}}))
        ready(server, double, 'integrations', 'app', what + ': an app')


def messages(server, kind, double, what):
    server.apply('kind: Team\nmetadata: {name: team-%s}\nspec: {}' % kind)
    for name, channel in (('link-' + kind, KINDS[kind][1]), ('id-' + kind, next(iter(double.channels)))):
        server.apply('kind: IntegrationLink\nmetadata: {name: %s}\nspec: {type: %s, integration: {name: %s}, '
                     'team: {name: team-%s}, settings: {channel: "%s"}}' % (name, kind, kind, kind, channel))
        ready(server, double, 'integration-links', name, '%s: channel %s' % (what, channel))
    answer = server.api('POST', '/api/v1/entries', json.dumps({'team': 'team-' + kind, 'body': 'done & "dusted"'}).encode(),
                        {'Content-Type': 'application/json'})
    ok(answer.status == 201 and when(lambda: double.wrong or len(double.messages) == 2), '%s: posted: %s' % (what, answer.body))
    is_equal(len(double.messages), 2, what + ': to both')


def walk(kind, description, way):
    double = judged(kind, description, way)
    what = '%s, %s answers' % (kind, way)
    with Server() as server:
        server.apply(integration(kind, double, description.base()))
        ready(server, double, 'integrations', kind, what + ': checked')
        (messages if kind in ('slack', 'discord') else hooks)(server, kind, double, what)
        if kind not in ('slack', 'discord') and (kind != 'gitlab' or description.knows('/groups/acme/hooks')):
            hooks(server, kind, double, what + ', of all it has', True)
        if kind == 'github' and shutil.which('openssl'):
            app(server, double, description.base(), what)
    is_equal(double.wrong, [], what + ': every request fits')
    ok(double.calls, what + ': it was called')
    double.close()


for kind in sorted(KINDS):
    if kind not in present and kind not in answers.OURS:
        skip(kind, 'its description is not in %s' % FOLDER)
        continue
    description = Description(present.get(kind) or answers.OURS[kind])
    at_once(*[lambda way=way: walk(kind, description, way) for way in ('full', 'least', 'odd')])
done()
