#!/usr/bin/env python3
"""Links: the five routes of every type, catalogue and settings; a hook is made and removed with its link; a partner that
refuses is shown on the form again and nothing is kept; texts from outside are escaped; kill -9 while a link is made."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\'&amp;{{7*7}}'


def with_token(double, kind, name, extra=''):
    return '''
kind: Integration
metadata: {name: %s}
spec:
  type: %s
  url: %s/acme
  apiUrl: %s
  auth: {use: AUTH_TYPE_TOKEN, token: {value: %s}}
  allowPrivate: true
  check: false
%s''' % (name, kind, double.url, double.url, double.token, extra)


TEAM = '''
---
kind: User
metadata: {name: anna}
spec: {fullName: Anna}
---
kind: Team
metadata: {name: core}
spec: {title: Core, members: [anna]}
'''


def links(server):
    return server.api('GET', '/api/v1/integration-links').json['items']


def fill(browser, kind, **fields):
    """The form of a type, filled in and sent."""
    page = browser.get('/integrations/%s/link' % kind)
    form = browser.form(page.text, '/integrations/%s/link' % kind)
    return browser.request('POST', '/integrations/%s/link' % kind, dict(form, **fields))


def remove(browser, page, kind):
    form = browser.form(page, '/integrations/%s/link' % kind)
    return browser.request('POST', '/integrations/%s/link' % kind, form)


def test_github():
    double = GitHub()
    double.repositories['acme/hello'] = {}
    with Server() as server:
        browser = Browser(server.admin)
        browser.login(server.token)
        ok('not set up' in browser.get('/integrations').text, 'the catalogue of an empty server')
        is_equal(browser.get('/integrations/github/link').status, 404, 'nothing to link with')
        is_equal(browser.get('/integrations/trello/link').status, 404, 'no such type')
        server.apply(with_token(double, 'github', 'hub') + TEAM)
        ok('not added' in browser.get('/integrations').text, 'now it can be added')
        answer = fill(browser, 'github', repository='hello')
        is_equal((answer.status, answer.where), (302, '/teams/core/settings'), 'linked')
        is_equal(len(double.repositories['acme/hello']), 1, 'its hook is there')
        hook = list(double.repositories['acme/hello'].values())[0]
        is_equal(sorted(hook['events']), ['issues', 'pull_request', 'push'], 'for these events')
        page = browser.get('/teams/core/settings').text
        ok('hello become entries of core' in page and 'Remove' in page, 'shown among the settings')
        ok('added, 1 link' in browser.get('/integrations').text, 'and in the catalogue')
        is_equal(links(server)[0]['status']['state'], 'ready', 'ready')
        name = links(server)[0]['metadata']['name']
        is_equal(server.api('DELETE', '/api/v1/event-sources/link-' + name).status, 409, 'its source goes only with it')
        form = browser.form(page, '/integrations/github/link')
        is_equal(browser.request('POST', '/integrations/github/link', dict(form, csrf='x')).status, 403, 'not by another form')
        is_equal(browser.request('DELETE', '/integrations/gitlab/link?name=%s&csrf=%s' % (name, form['csrf'])).status, 404,
                 'not as another type')
        is_equal(remove(browser, page, 'github').where, '/teams/core/settings', 'removed')
        ok(when(lambda: not double.repositories['acme/hello']), 'and its hook with it')
        is_equal((links(server), server.api('GET', '/api/v1/event-sources').json['items']), ([], []), 'nothing is left')

        for repository, words in (('nobody-has-it', 'Not Found'), (EVIL, 'GitHub'), ('x' * 300, '200 bytes')):
            answer = fill(browser, 'github', repository=repository)
            is_equal(answer.status, 422, 'refused: %.20s' % repository)
            ok('<script' not in answer.text and 'onerror=alert(2)>' not in answer.text, 'escaped')
            ok('role="alert"' in answer.text, 'and told')
            form = browser.form(answer.text, '/integrations/github/link')
            is_equal(form['repository'], repository, 'the form keeps what was written')
        is_equal(links(server), [], 'no link is half made')
        answer = fill(browser, 'github', repository='hello', team='nobody')
        ok(answer.status == 422 and 'there is no Team' in answer.text, 'a team that is not there')
        answer = fill(browser, 'github', repository='')
        ok(answer.status == 422 and 'repository is missing' in answer.text, 'nothing written')
        for fault in (Reply(503, {}), Reply(403, {'message': 'Resource not accessible'}), LOST, Reply(401, {})):
            double.fault = lambda call: fault
            answer = fill(browser, 'github', repository='hello')
            ok(answer.status == 422 and 'did not agree' in answer.text, 'a partner that fails is shown')
            is_equal(links(server), [], 'and no link is kept')
        double.fault = lambda call: None
        ok(when(lambda: not double.repositories['acme/hello']), 'nothing is left at the provider')
        server.apply('kind: IntegrationLink\nmetadata: {name: gone}\nspec: {type: github, integration: {name: hub}, team: {name: core}, '
                     'settings: {repository: gone}}\n')
        ok(when(lambda: '<p class="bad">GitHub does not know gone (404): Not Found; check the name' in browser.get('/teams/core/settings').text),
           'what is wrong, and what to do')
        ok('ul.cards p.bad{color:var(--bad)}' in browser.get('/style.css').text, 'in the colour of what is wrong')
        is_equal(server.api('DELETE', '/api/v1/integration-links/gone').status, 204, 'it goes')

        double.fault = lambda call: time.sleep(1.5)
        thread = threading.Thread(target=lambda: swallow(lambda: fill(browser, 'github', repository='hello')))
        thread.start()
        when(lambda: links(server))
        server.kill()
        thread.join()
        double.fault = lambda call: None
        server.start()
        ok(when(lambda: links(server) and links(server)[0]['status']['state'] == 'ready'), 'after kill -9 it is made whole')
        is_equal(len(double.repositories['acme/hello']), 1, 'once')
        browser = Browser(server.admin)
        browser.login(server.token)
        remove(browser, browser.get('/teams/core/settings').text, 'github')
        ok(when(lambda: not double.repositories['acme/hello']), 'and goes')
        server.apply('''
kind: IntegrationLink
metadata: {name: by-yaml}
spec: {type: TYPE_GITHUB, integration: {name: hub}, team: {name: core}, settings: {repository: hello}}
''')
        ok(when(lambda: len(double.repositories['acme/hello']) == 1), 'by YAML as well')
        server.apply(with_token(double, 'github', 'hub') + '''
---
kind: EventSource
metadata: {name: other}
spec: {type: github, path: other, verification: {secrets: [{value: s3cr3t}]}}
''')
        answer = server.api('POST', '/api/v1/apply?prune=true', b'kind: EventSource\nmetadata: {name: other}\n'
                            b'spec: {type: github, path: other, verification: {secrets: [{value: s3cr3t}]}}')
        is_equal([r['action'] for r in answer.json['results']], ['unchanged'], 'a prune of sources leaves links alone')
        is_equal(server.api('DELETE', '/api/v1/integration-links/by-yaml').status, 204, 'and by the API')
        ok(when(lambda: not double.repositories['acme/hello']), 'it goes')
    double.close()


def swallow(function):
    try:
        function()
    except Exception:
        pass


def test_slack():
    double = Slack()
    with Server() as server:
        server.apply(with_token(double, 'slack', 'slack') + TEAM)
        browser = Browser(server.admin)
        browser.login(server.token)
        answer = fill(browser, 'slack', channel='#general')
        is_equal((answer.status, answer.where), (302, '/teams/core/settings'), 'linked')
        is_equal(links(server)[0]['status'].get('resourceId'), 'C0123456789', 'the channel was looked up')
        ok('posted to #general' in browser.get('/teams/core/settings').text, 'and is shown')
        answer = fill(browser, 'slack', channel='#nowhere')
        ok(answer.status == 422 and '#nowhere' in answer.text, 'a channel that is not there')
        double.fault = lambda call: Reply(429, {'ok': False, 'error': 'ratelimited'}, {'Retry-After': '30'})
        answer = fill(browser, 'slack', channel='#general')
        is_equal(answer.status, 422, 'a rate limit is told')
        double.fault = lambda call: None
        is_equal(len(links(server)), 1, 'one link')
        remove(browser, browser.get('/teams/core/settings').text, 'slack')
        is_equal(links(server), [], 'removed')
    double.close()


def test_generic():
    with Server() as server:
        server.apply('''
kind: EventSource
metadata: {name: inhouse}
spec: {type: generic, path: inhouse, verification: {scheme: token, secrets: [{value: tok-1234567}]}}
''' + TEAM)
        browser = Browser(server.admin)
        browser.login(server.token)
        answer = fill(browser, 'generic', team='', source='inhouse', body='$.text', author='$.who')
        is_equal((answer.status, answer.where), (302, '/users/admin/settings'), 'a link of a user')
        ok('inhouse become entries of admin' in browser.get('/users/admin/settings').text, 'among his settings')
        answer = fill(browser, 'generic', team='core', source='inhouse', body='$.text +', author='$.who')
        ok(answer.status == 422 and 'id="body-wrong"' in answer.text, 'an expression that is none')
        answer = fill(browser, 'generic', team='core', body='$.text')
        is_equal(answer.status, 422, 'no source')
        is_equal(browser.get('/teams/%3Cscript%3E/settings').status, 404, 'no such team')
        ok('<script' not in browser.get('/teams/%3Cscript%3E/settings').text, 'escaped')


test_github()
test_slack()
test_generic()
done()
