#!/usr/bin/env python3
"""Entries: events of links become entries of the right user and team, once; they go out through the team's other links;
unknown authors are kept; kill -9 between, a Slack that limits, refuses and comes back."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *

PEOPLE = '''
---
kind: User
metadata: {name: anna}
spec: {fullName: Anna}
---
kind: User
metadata: {name: bert}
spec: {}
---
kind: Team
metadata: {name: core}
spec: {members: [anna]}
---
kind: IntegrationUser
metadata: {name: hub-anna}
spec: {integration: {name: hub}, user: {name: anna}, uid: "77", nickname: AnnaCodes, email: anna@example.com}
---
kind: IntegrationUser
metadata: {name: hub-bert}
spec: {integration: {name: hub}, user: {name: bert}, uid: "78", nickname: bert}
---
kind: IntegrationUser
metadata: {name: slack-anna}
spec: {integration: {name: slack}, user: {name: anna}, uid: U061F7AUR}
'''
LINKS = '''
---
kind: IntegrationLink
metadata: {name: code}
spec: {type: github, integration: {name: hub}, team: {name: core}, settings: {repository: hello}}
---
kind: EventSource
metadata: {name: slack-in}
spec: {type: slack, path: slack, verification: {secrets: [{value: slack-signing-1}]}}
---
kind: IntegrationLink
metadata: {name: chat}
spec: {type: slack, integration: {name: slack}, team: {name: core}, settings: {channel: "#general"}, source: {name: slack-in}}
---
kind: EventSource
metadata: {name: inhouse}
spec: {type: generic, path: inhouse, verification: {scheme: token, secrets: [{value: tok-1234567}]}}
---
kind: IntegrationLink
metadata: {name: own}
spec:
  type: generic
  team: {name: core}
  source: {name: inhouse}
  entry: {body: $.text, author: $.who, when: "$.kind == 'note'"}
'''


def entries(server, query=''):
    return server.api('GET', '/api/v1/entries' + query).json['items']


def status(server, name):
    return server.api('GET', '/api/v1/integration-links/' + name).json['status']


def commit(n, **author):
    return {'id': '%040x' % n, 'message': 'Mend thing %d\n\nlong words' % n, 'url': 'https://github.com/acme/hello/commit/%d' % n,
            'author': author}


def push(server, double, commits, event='push', **more):
    hook = list(double.repositories['acme/hello'].values())[0]
    path = urllib.parse.urlsplit(hook['config']['url']).path
    body = json.dumps(dict({'ref': 'refs/heads/main', 'commits': commits}, **more)).encode()
    return server.post(path, body, github(body, hook['config']['secret'], event=event))


def command(server, text, user='U061F7AUR'):
    body = urllib.parse.urlencode({'command': '/done', 'text': text, 'user_id': user, 'user_name': 'x', 'team_id': 'T1',
                                   'channel_id': 'C9', 'trigger_id': str(time.time())}).encode()
    return server.post('/integrations/slack/hook', body,
                       dict(slack(body, 'slack-signing-1'), **{'Content-Type': 'application/x-www-form-urlencoded'}))


hub, chat = GitHub(), Slack()
hub.repositories['acme/hello'] = {}
with Server() as server:
    server.apply(integration(hub, 'github', 'hub') + '---' + integration(chat, 'slack', 'slack') + PEOPLE + LINKS)
    ok(when(lambda: status(server, 'code').get('state') == 'ready' and status(server, 'chat').get('resourceId')), 'linked')
    commits = [commit(1, username='annacodes'), commit(2, name='A', email='Anna@Example.com'), commit(3, username='stranger'),
               commit(4, username='bert')]
    is_equal(push(server, hub, commits).status, 200, 'a push, also of unknown authors, is taken')
    ok(when(lambda: len(entries(server)) == 4), 'one entry for each commit')
    found = {e['body']: e for e in entries(server)}
    mine = found['Mend thing 1 https://github.com/acme/hello/commit/1']
    is_equal({k: mine.get(k) for k in ('user', 'team', 'status', 'state', 'type', 'link', 'source')},
             {'user': 'anna', 'team': 'core', 'status': 'done', 'state': 'ready', 'type': 'github', 'link': 'code',
              'source': 'link-code'}, 'whose it is')
    is_equal(sorted(e['state'] for e in entries(server)), ['not-a-member', 'ready', 'ready', 'unknown-author'],
             'strangers are kept, apart')
    ok(when(lambda: len(chat.messages) == 2), 'two go out: %s' % chat.messages)
    is_equal(chat.messages[0]['channel'], 'C0123456789', 'to the channel as it was found')
    ok(any('anna: Mend thing 1 https://' in m['text'] for m in chat.messages), 'with their text')
    push(server, hub, commits)
    push(server, hub, [], 'issues', action='closed', issue={'title': 'It hurts', 'html_url': 'https://x/1'},
         sender={'id': 77, 'login': 'AnnaCodes'})
    push(server, hub, [], 'pull_request', action='closed',
         pull_request={'merged': True, 'title': 'Better', 'html_url': 'https://x/2', 'user': {'id': 77}})
    push(server, hub, [], 'pull_request', action='closed', pull_request={'merged': False, 'title': 'No', 'user': {'id': 77}})
    push(server, hub, [], 'issues', action='opened', issue={'title': 'New'}, sender={'id': 77})
    ok(when(lambda: len(chat.messages) == 4), 'a closed issue and a merged pull request')
    is_equal(len(entries(server)), 6, 'the same commits are no new entries')
    sent = len(chat.messages)
    is_equal(command(server, 'wrote the tests').status, 200, 'a Slack command at the provider-wide address')
    is_equal(command(server, '[] write more').status, 200, 'a goal')
    ok(when(lambda: len(entries(server, '?user=anna&status=goal')) == 1), 'is one')
    time.sleep(0.5)
    is_equal(len(chat.messages), sent, 'nothing goes back through the link it came in by')
    own = {'Authorization': 'Bearer tok-1234567', 'Content-Type': 'application/json'}
    for document in ({'kind': 'note', 'text': 'from inhouse', 'who': 'anna'}, {'kind': 'other', 'text': 'no'},
                     {'kind': 'note', 'who': 'anna'}):
        is_equal(server.post('/hooks/inhouse', json.dumps(document).encode(), own).status, 200, 'taken')
    ok(when(lambda: any('from inhouse' in m['text'] for m in chat.messages)), 'by expressions')
    is_equal(len(entries(server, '?limit=1000')), 9, 'and no more')
    page = server.api('GET', '/api/v1/entries?limit=4').json
    rest = server.api('GET', '/api/v1/entries?limit=100&cursor=' + page['next']).json
    is_equal((len(page['items']), len(rest['items']), 'next' in rest), (4, 5, False), 'in pages')
    is_equal(server.api('GET', '/api/v1/entries/' + mine['id']).json, mine, 'one by its id')
    is_equal(server.api('GET', '/api/v1/entries/nothing').status, 404, 'none')

    server.apply('''
kind: EventSource
metadata: {name: wide}
spec: {type: github, path: github, verification: {secrets: [{value: wide-secret-1}]}}
''')
    body = json.dumps({'ref': 'x', 'repository': {'name': 'hello', 'full_name': 'acme/hello'},
                       'commits': [commit(50, username='annacodes')]}).encode()
    is_equal(server.post('/integrations/github/hook', body, github(body, 'wide-secret-1')).status, 200, 'the wide address')
    ok(when(lambda: any('thing 50' in e['body'] and e['link'] == 'code' for e in entries(server))), 'leads to the right link')
    body = json.dumps({'repository': {'name': 'other'}, 'commits': [commit(51, username='annacodes')]}).encode()
    server.post('/integrations/github/hook', body, github(body, 'wide-secret-1'))
    ok(when(lambda: any('thing 50' in m['text'] for m in chat.messages)), 'and goes out')
    ok(not any('thing 51' in e['body'] for e in entries(server)), 'another repository is nobody\'s')

    sent = len(chat.messages)
    chat.fault = lambda call: Reply(429, {'ok': False, 'error': 'ratelimited'}, {'Retry-After': '1'})
    push(server, hub, [commit(10, username='annacodes')])
    ok(when(lambda: status(server, 'chat').get('reason') == 'limited'), 'a limit is told by the link')
    chat.fault = lambda call: None
    ok(when(lambda: len(chat.messages) == sent + 1), 'and waited for')
    ok(when(lambda: status(server, 'chat')['state'] == 'ready'), 'then it is ready again')
    chat.fault = lambda call: Reply(200, {'ok': False, 'error': 'token_revoked'})
    push(server, hub, [commit(11, username='annacodes')])
    ok(when(lambda: status(server, 'chat').get('state') == 'error'), 'a token that stopped working is told by the link')
    chat.fault = lambda call: None
    chat.token = 'xoxb-new'
    server.apply(integration(chat, 'slack', 'slack'))
    ok(when(lambda: any('thing 11' in m['text'] for m in chat.messages)), 'and the message goes when it is mended')
    ok(when(lambda: not any(o['spec']['intent'] == 'post' for o in server.api('GET', '/api/v1/operations').json['items'])),
       'messages that went out leave nothing behind')

    before = len(entries(server, '?limit=1000'))
    for n in range(100, 140):
        push(server, hub, [commit(n, username='annacodes')])
    server.kill()
    server.start()
    ok(when(lambda: len(entries(server, '?limit=1000')) == before + 40), 'after kill -9 none is lost or twice: %d of %d' %
       (len(entries(server, '?limit=1000')) - before, 40))
    ok(when(lambda: len({m['text'] for m in chat.messages if 'thing 1' in m['text'] and len(m['text']) > 20 and
                         '/commit/1' in m['text']} & {'anna: Mend thing %d https://github.com/acme/hello/commit/%d' % (n, n)
                                                      for n in range(100, 140)}) == 40), 'and all go out')
    server.apply('kind: IntegrationLink\nmetadata: {name: chat}\nspec: {type: slack, integration: {name: slack}, '
                 'team: {name: core}, settings: {channel: "#general"}, statuses: [goal]}')
    sent = len(chat.messages)
    own_body = json.dumps({'kind': 'note', 'text': 'plain', 'who': 'anna'}).encode()
    server.post('/hooks/inhouse', own_body, own)
    server.post('/hooks/inhouse', json.dumps({'kind': 'note', 'text': '[] wanted', 'who': 'anna'}).encode(), own)
    ok(when(lambda: any('(goal): wanted' in m['text'] for m in chat.messages)), 'only goals')
    is_equal(len(chat.messages), sent + 1, 'nothing else')
hub.close()
chat.close()
# ---- what nobody did: a link without an author
TOLD = """
---
kind: Team
metadata: {name: core}
spec: {members: [anna]}
---
kind: User
metadata: {name: anna}
spec: {}
---
kind: EventSource
metadata: {name: told}
spec: {type: generic, path: told, verification: {scheme: token, secrets: [{value: tok-1234567}]}}
---
kind: IntegrationLink
metadata: {name: told}
spec: {type: generic, team: {name: core}, source: {name: told}, entry: {body: "'deploy: ' + $.state"}}
---
kind: IntegrationLink
metadata: {name: chat}
spec: {type: slack, integration: {name: slack}, team: {name: core}, settings: {channel: "#general"}}
"""
chat = Slack()
with Server() as server:
    server.apply(integration(chat, 'slack', 'slack') + TOLD)
    ok(when(lambda: status(server, 'chat').get('resourceId')), 'linked')
    for state in ('success', 7, 8, 'failed'):
        body = json.dumps({'state': state}).encode()
        is_equal(server.post('/hooks/told', body, {'Authorization': 'Bearer tok-1234567'}).status, 200, 'taken')
    ok(when(lambda: len(chat.messages) == 2), 'it waits for nobody: entries of a link without an author go out')
    is_equal(sorted(m['text'] for m in chat.messages), ['deploy: failed', 'deploy: success'], 'as they are, without a name')
    is_equal([e['state'] for e in entries(server)], ['ready', 'ready'], 'also of a team that has members')
    lines = [line for line in server.log_text().splitlines() if 'expression fails on an event' in line]
    ok(len(lines) == 1 and ' link=told field=body eventId=evt_' in lines[0] and ' why=' in lines[0],
       'of events whose expression fails one line tells which, and why: %s' % lines)
done()
