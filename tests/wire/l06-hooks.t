#!/usr/bin/env python3
"""Hooks at GitHub, GitLab and Gitea, of repositories and of all that an organization has, through links and sources: over
pages, with limits, refusals, lost and cut answers; drift, rotation, removal."""
import hashlib
import hmac
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *

PUBLIC = 'https://hooks.example'
# what is asked of a repository's hooks, by how its name ends
FAULTS = {'503': Reply(503, {'message': 'Unavailable'}), 'cut': CUT, 'lost': LOST,
          '429': Reply(429, {'message': 'Slow down'}, {'Retry-After': '1'})}


def source(kind, name, thing, resource, events='[{type: push}]'):
    return '''
kind: EventSource
metadata: {name: %s}
spec: {path: %s, integration: {name: %s}, resource: {type: %s, name: "%s"}, events: %s}
''' % (name, name, kind, thing, resource, events)


def link(kind, name, setting, resource):
    return '''
kind: IntegrationLink
metadata: {name: %s}
spec: {type: %s, integration: {name: %s}, team: {name: core}, settings: {%s: "%s"}}
''' % (name, kind, kind, setting, resource)


def status(server, name, kind='event-sources'):
    answer = server.api('GET', '/api/v1/%s/%s' % (kind, name))
    return answer.json['status'] if answer.status == 200 else {}


def retry(server, name):
    return server.api('POST', '/api/v1/operations/%s/retry' % status(server, name)['operation'])


def address(hook):
    return hook.get('url') or hook['config']['url']


def key(hook):
    return hook.get('token') or hook['config']['secret']


def stranger(kind, n):
    if kind == 'gitlab':
        return dict({name: False for name in GitLab.SWITCHES}, url='https://other.example/hooks/%d' % n, token='x',
                    enable_ssl_verification=True, alert_status='executable')
    return {'active': True, 'events': ['push'], 'config': {'url': 'https://other.example/hooks/%d' % n, 'content_type': 'json'}}


def fault_once(double, before):
    """The first call that makes a hook of a repository called …-503, …-cut: so."""
    done = set()

    def fault(call):
        for name, what in FAULTS.items():
            mark = (name, call.method)
            if call.path.split('/hooks')[0].endswith(name) and '/hooks' in call.path and mark not in done:
                if call.method in before:
                    done.add(mark)
                    return what
        return None
    double.fault = fault


KINDS = {'github': (GitHub, 'repositories', 'organizations', 'repository', 'organization'),
         'gitea': (Gitea, 'repositories', 'organizations', 'repository', 'organization'),
         'gitlab': (GitLab, 'projects', 'groups', 'project', 'group')}


def came_in(server, kind, hooks):
    """What the provider sends to the hook that was made, with the key that it was given: the event that is wanted, and one
    that is not, as that provider calls them."""
    hook = [h for h in hooks.values() if address(h) == PUBLIC + '/hooks/%s-all' % kind][0]
    secret, states = key(hook), []
    for event in ('push', 'release'):
        body = json.dumps({'object_kind': event, 'n': kind}).encode()
        is_equal(server.post('/hooks/%s-all' % kind, body, headers_of(kind, event, secret, body)).status, 200, kind + ': a webhook')
    events = server.api('GET', '/api/v1/events?source=%s-all' % kind).json['items']
    is_equal([e['state'] for e in events], ['rejected', 'accepted'], kind + ': what is wanted comes through, the rest does not')


def headers_of(kind, event, secret, body):
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return dict({'github': {'X-GitHub-Event': event, 'X-Hub-Signature-256': 'sha256=' + mac, 'X-GitHub-Delivery': kind + event + mac[:8]},
                 'gitea': {'X-Gitea-Event': event, 'X-Gitea-Signature': mac, 'X-Gitea-Delivery': kind + event + mac[:8]},
                 'gitlab': {'X-Gitlab-Event': event.title() + ' Hook', 'X-Gitlab-Token': secret}}[kind],
                **{'Content-Type': 'application/json'})


def entries_of_links(server, doubles):
    """A push to what a link watches becomes an entry of the team, at each of them."""
    server.apply('kind: User\nmetadata: {name: ann}\nspec: {fullName: Ann}\n---\nkind: Team\nmetadata: {name: core}\nspec: {members: [ann]}'
                 + ''.join('\n---\nkind: IntegrationUser\nmetadata: {name: ann-%s}\nspec: {integration: {name: %s}, user: {name: ann}, uid: "9", '
                           'nickname: ann, email: ann@example.com}' % (kind, kind) for kind in KINDS))
    for kind, row in KINDS.items():
        hook = [h for h in getattr(doubles[kind], row[1])['acme/hello'].values() if address(h).startswith(PUBLIC)][0]
        person = {'name': 'Ann', 'email': 'ann@example.com', 'username': 'ann'}
        body = json.dumps({'object_kind': 'push', 'ref': 'refs/heads/main', 'user_id': 9, 'user_username': 'ann', 'pusher': person,
                           'sender': {'id': 9, 'login': 'ann'}, 'repository': {'full_name': 'acme/hello', 'default_branch': 'main'},
                           'project': {'path_with_namespace': 'acme/hello', 'default_branch': 'main'},
                           'commits': [{'id': hashlib.sha1(kind.encode()).hexdigest(), 'message': 'pushed to ' + kind, 'timestamp': '2026-01-02T03:04:05Z', 'author': person,
                                        'url': 'https://x.example/1', 'distinct': True}]}).encode()
        is_equal(server.post(address(hook)[len(PUBLIC):], body, headers_of(kind, 'push', key(hook), body)).status, 200, kind + ': a push')
        ok(when(lambda: any('pushed to ' + kind in e['body'] for e in server.api('GET', '/api/v1/entries?team=core').json['items'])),
           kind + ': becomes an entry')


def late_switches(server, double):
    """GitLab's events that came later: switched on where wanted, off where somebody else switched them on."""
    hooks = double.projects.setdefault('acme/late', {})
    server.apply(source('gitlab', 'late', 'project', 'acme/late', '[{type: Milestone Hook}, {type: emoji}, {type: note_events}]'))
    retry(server, 'late')
    ok(when(lambda: status(server, 'late').get('state') == 'ready'), 'late: %s' % status(server, 'late'))
    on = lambda: {n for h in hooks.values() for n, v in h.items() if v is True and n.endswith('_events')}
    is_equal(on(), {'milestone_events', 'emoji_events', 'note_events'}, 'what is wanted is on')
    for hook in hooks.values():
        hook.update(feature_flag_events=True, emoji_events=False)
    retry(server, 'late')
    ok(when(lambda: on() == {'milestone_events', 'emoji_events', 'note_events'}), 'and mended: %s' % on())
    server.apply(source('gitlab', 'late', 'project', 'acme/late', '[{type: milestones}]'))
    ok(when(lambda: 'has no event milestones' in status(server, 'late').get('message', '')), str(status(server, 'late')))
    server.api('DELETE', '/api/v1/event-sources/late')
    ok(when(lambda: not hooks), 'gone')


def test_hooks():
    doubles = {kind: row[0]() for kind, row in KINDS.items()}
    with Server(options=['--public-url', PUBLIC]) as server:
        documents = ['kind: Team\nmetadata: {name: core}\nspec: {}\n']
        for kind, (_, own, wide, thing, whole) in KINDS.items():
            double = doubles[kind]
            double.page_size = 2
            known = getattr(double, own)
            known['acme/hello'] = {n: stranger(kind, n) for n in range(1, 6)}
            getattr(double, wide)['acme'] = {n: stranger(kind, n) for n in range(11, 16)}
            documents += [integration(double, kind), link(kind, kind, thing, 'acme/hello'),
                          source(kind, kind + '-all', whole, 'acme')]
            for name in FAULTS:
                known['acme/%s' % name] = {}
                documents.append(source(kind, '%s-%s' % (kind, name), thing, 'acme/%s' % name))
            fault_once(double, ('POST',))
        server.apply('---'.join(documents))
        for kind, (_, own, wide, thing, whole) in KINDS.items():
            double = doubles[kind]
            known, hooks = getattr(double, own), getattr(double, wide)['acme']
            for name in ('link-' + kind, kind + '-all', *('%s-%s' % (kind, name) for name in FAULTS)):
                ok(when(lambda: status(server, name).get('state') == 'ready'), '%s is ready: %s' % (name, status(server, name)))
            is_equal([len(known['acme/' + name]) for name in FAULTS], [1] * len(FAULTS), kind + ': one hook each')
            is_equal((len(known['acme/hello']), len(hooks)), (6, 6), kind + ': strangers are left alone')
            is_equal(sorted(address(h) for h in hooks.values())[0], PUBLIC + '/hooks/%s-all' % kind, kind + ': of all it has')
            events = [h for h in known['acme/hello'].values() if address(h).startswith(PUBLIC)][0]
            ok(events.get('merge_requests_events') is True and events['issues_events'] is True and
               events['tag_push_events'] is False if kind == 'gitlab' else
               sorted(events['events']) == ['issues', 'pull_request', 'push'], kind + ': what a link wants')
        for kind, (_, own, wide, thing, whole) in KINDS.items():
            double, name = doubles[kind], kind + '-all'
            hooks = getattr(double, wide)['acme']
            double.fault = lambda call: None
            mine = lambda: [n for n, h in hooks.items() if address(h) == PUBLIC + '/hooks/%s' % name]
            ok(retry(server, 'link-' + kind).status == 200 and
               when(lambda: status(server, 'link-' + kind).get('state') == 'ready'), 'looked at again')
            changes = [c for c in double.calls if c.method in ('PATCH', 'PUT')]
            ok(not [c for c in changes if '/hello' in c.path], '%s: what is right is not written: %s' % (kind, changes))
            del hooks[mine()[0]]
            retry(server, name)
            ok(when(lambda: len(mine()) == 1), kind + ': a hook that was deleted is made again')
            hook = hooks[mine()[0]]
            hook['alert_status' if kind == 'gitlab' else 'active'] = 'disabled' if kind == 'gitlab' else False
            when(lambda: status(server, name).get('state') == 'ready')
            retry(server, name)
            ok(when(lambda: hook.get('alert_status', 'executable') == 'executable' and hook.get('active', True)),
               kind + ': one that was switched off is switched on')
            before = key(hook)
            server.api('POST', '/api/v1/event-sources/%s/reset-key' % name)
            ok(when(lambda: key(hook) != before), kind + ': a new key')
            is_equal(len(mine()), 1, 'in the same hook')
        for kind, (_, own, wide, thing, whole) in KINDS.items():
            came_in(server, kind, getattr(doubles[kind], wide)['acme'])
        entries_of_links(server, doubles)
        late_switches(server, doubles['gitlab'])
        # refusals, as the link tells them
        for kind, (_, own, wide, thing, whole) in KINDS.items():
            double = doubles[kind]
            refusals = {'auth': Reply(401, {'message': 'no'}), 'forbidden': Reply(403, {'message': 'no scope'}),
                        'not_found': Reply(404, {'message': 'not here'}), 'refused': Reply(422, {'message': 'no such event'}),
                        'down': Reply(502, None), 'odd': Reply(200, {'what': 'is this'}),
                        'limited': Reply(429, {'message': 'later'}, {'Retry-After': '60'})}
            for reason, reply in refusals.items():
                double.fault = lambda call: reply
                retry(server, 'link-' + kind)
                ok(when(lambda: status(server, kind, 'integration-links').get('reason') == reason),
                   '%s: %s is told' % (kind, reason))
                told = status(server, kind, 'integration-links')
                ok(told['message'] and told['advice'] and kind in told['message'].lower(), str(told))
                words = {'github': 'admin:repo_hook', 'gitea': 'write:repository', 'gitlab': 'Maintainer role'}[kind]
                ok((words in told['advice']) == (reason == 'forbidden'), 'what right is missing: ' + told['advice'])
            double.fault = lambda call: None
            retry(server, 'link-' + kind)
        for kind, (_, own, wide, thing, whole) in KINDS.items():
            ok(when(lambda: status(server, kind, 'integration-links').get('state') == 'ready'), kind + ': mended')
            fault_once(doubles[kind], ('DELETE',))
        # removal
        for item in server.api('GET', '/api/v1/integration-links').json['items']:
            is_equal(server.api('DELETE', '/api/v1/integration-links/' + item['metadata']['name']).status, 204, 'unlinked')
        for item in server.api('GET', '/api/v1/event-sources').json['items']:
            server.api('DELETE', '/api/v1/event-sources/' + item['metadata']['name'])
        for kind, (_, own, wide, thing, whole) in KINDS.items():
            known, hooks = getattr(doubles[kind], own), getattr(doubles[kind], wide)['acme']
            left = lambda: [address(h) for of in [*known.values(), hooks] for h in of.values() if address(h).startswith(PUBLIC)]
            ok(when(lambda: not left()), '%s: nothing is left: %s' % (kind, left()))
            is_equal((len(known['acme/hello']), len(hooks)), (5, 5), 'but what others made')
        # what is wrong on our side
        gone, kind = doubles['gitea'], 'gitea'
        server.apply(integration(gone, kind).replace('allowPrivate: true', 'allowPrivate: false')
                     .replace('http://', 'https://') +
                     '---' + source(kind, 'ours', 'repository', 'acme/hello') + '''
---
kind: Integration
metadata: {name: nobody}
spec: {type: github, url: "https://github.com/acme", auth: {use: AUTH_TYPE_OAUTH, oauth: {clientId: a, clientSecret: {value: b}}}}
---
kind: EventSource
metadata: {name: no-person}
spec: {integration: {name: nobody}, resource: {type: repository, name: hello}}
---
kind: Integration
metadata: {name: typo}
spec: {type: gitlab, url: "https://gitlab.invalid/acme", auth: {use: AUTH_TYPE_TOKEN, token: {value: x}}}
---
kind: Team
metadata: {name: core}
spec: {title: Core}
---
kind: IntegrationLink
metadata: {name: typo}
spec: {type: gitlab, integration: {name: typo}, team: {name: core}, settings: {project: hello}}
''')
        for name, reason, words in (('ours', 'blocked', 'set allowPrivate: true'), ('no-person', 'setup', 'goes on by itself'),
                                    ('link-typo', 'unreachable', 'check url and apiUrl')):
            ok(when(lambda: status(server, name).get('reason') == reason), '%s is told: %s' % (reason, status(server, name)))
            ok(words in status(server, name)['advice'], status(server, name)['advice'])
        code, out, err = server.cli('get', 'integration-links')
        ok(code == 0 and 'become entries of core' in out and 'check url' in out, 'links say what they do and what is wrong: ' + out)
        code, out, err = server.cli('get', 'event-sources')
        ok('open /auth/nobody' in out and 'set allowPrivate' in out, 'sources, too')
        ok('Core' in server.cli('get', 'teams')[1], 'teams have titles')
        code, out, err = server.cli('retry', 'ours')
        ok(code == 1 and 'becket get operations' in err, 'retry says where to look: ' + err)
        answer = server.api('POST', '/api/v1/apply', source('gitlab', 'x', 'organization', 'acme').encode())
        ok(answer.status == 400 and 'must be project or group for GitLab' in answer.body.decode(), answer.body.decode()[:200])
    for double in doubles.values():
        double.close()


test_hooks()
done()
