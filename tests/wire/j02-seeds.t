#!/usr/bin/env python3
"""The documents that becket has to take word for word, with their comments and in their canvases, and what people write instead of
them: other spellings of the same, and mistakes, each told with its field, line and column."""
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser

SECRET = 'kind: Secret\nmetadata: {name: semaphore}\nspec: {provider: PROVIDER_LOCAL, local: {data: {token: t0k3n}}}\n'
INTEGRATION = '''kind: Integration
metadata:
  name: semaphore-integration
  canvasId: canvas-123
spec:

  #
  # Type of the integration.
  #
  type: TYPE_SEMAPHORE

  #
  # URL where the integration lives.
  #
  url: https://semaphore.semaphoreci.com
  auth:

    #
    # Any type of bearer token (personal API token, service account token, ...).
    #
    use: AUTH_TYPE_TOKEN
    token:
      valueFrom:
        secret:
          name: semaphore
          key: token

    # use: oidc

  oidc:
    enabled: true
    claims: {}
'''
SOURCE = '''apiVersion: v1
kind: EventSource
metadata:
  name: my-project
  canvasId: a1787a2e-dba7-42d0-8431-31dbf0252b92
spec:
  integration:
    name: semaphore-integration
  resource:
    type: project
    name: semaphore-demo-go
'''
RESOURCE = '  resource:\n    type: project\n    name: semaphore-demo-go\n'
FILTERED = SOURCE + '''  events:
  - type: pipeline_done
    filters:
    - {type: FILTER_TYPE_DATA, data: {expression: "$.pipeline.result == 'passed'"}}
    - {type: FILTER_TYPE_HEADER, header: {expression: "headers['X-Any'] == 'b'"}}
    filterOperator: FILTER_OPERATOR_OR
'''
GITHUB = 'kind: Integration\nmetadata: {name: gh}\nspec: {type: TYPE_GITHUB, url: "%s", auth: {use: AUTH_TYPE_TOKEN, token: {value: x}}}'

with Server(options=['--durability', 'none']) as server:
    def apply(text, really=False):
        answer = server.api('POST', '/api/v1/apply' + ('' if really else '?dryRun=true'), text.encode(),
                            {'Content-Type': 'application/json' if text[0] in '{[' else 'application/yaml'})
        return answer.status, ['%s@%s:%s %s' % (d['field'], d.get('line'), d.get('column'), d['message'])
                               for d in answer.json.get('details', [])]

    server.apply(SECRET)
    is_equal(apply(INTEGRATION, True), (200, []), 'the integration, in its canvas')
    status, told = apply(SOURCE)
    ok(status == 400 and 'spec.integration.name@8:5' in told[0], 'a source in another canvas does not see it: %s' % told)
    server.apply(INTEGRATION.replace('  canvasId: canvas-123\n', ''))
    is_equal(apply(SOURCE, True), (200, []), 'the source, with an integration that is all canvases\'')

    for what, text in (
            ('both at once', INTEGRATION.replace('canvas-123', 'one') + '---\n' + SOURCE.replace('a1787a2e-dba7-42d0-8431-31dbf0252b92', 'one')),
            ('lines that end as elsewhere', INTEGRATION.replace('\n', '\r\n')), ('a byte order mark', '\ufeff' + INTEGRATION),
            ('empty documents', '---\n---\n%s\n---\n# nothing\n---\n%s...\n' % (INTEGRATION, SOURCE)),
            ('JSON', json.dumps({'spec': {'auth': {'token': {'valueFrom': {'secret': {'key': 'token', 'name': 'semaphore'}}}, 'use': 'oidc'},
                                          'url': 'https://a.semaphoreci.com', 'type': 'TYPE_SEMAPHORE'},
                                 'metadata': {'name': 'a'}, 'kind': 'Integration'})),
            ('a list of JSON', json.dumps([{'kind': 'Canvas', 'metadata': {'name': 'x'}}])),
            ('lower case', INTEGRATION.replace('TYPE_SEMAPHORE', 'semaphore').replace('AUTH_TYPE_TOKEN', 'token')),
            ('use: oidc', INTEGRATION.replace('AUTH_TYPE_TOKEN', 'oidc')),
            ('canvasName', INTEGRATION.replace('canvasId', 'canvasName')),
            ('the organization\'s secret', INTEGRATION.replace('key: token', 'key: token\n          domainType: DOMAIN_TYPE_ORGANIZATION')),
            ('claims', INTEGRATION.replace('claims: {}', 'claims: {prj_id: [a, b], sub: c}')),
            ('the older dialect', SOURCE.replace(RESOURCE, '  semaphore: {project: semaphore-demo-go}\n')),
            ('both dialects, of one mind', SOURCE + '  semaphore: {project: semaphore-demo-go}\n'),
            ('events', FILTERED), ('an empty spec', SOURCE[:SOURCE.index('spec:')] + 'spec: {}\n'),
            ('GitHub', GITHUB % 'https://github.com/acme/')):
        is_equal(apply(text), (200, []), 'taken: ' + what)

    def mistake(base, old, new, told):
        ok(old in base, 'it has %r' % old)
        is_equal(apply(base.replace(old, new, 1)), (400, told), '%r instead of %r' % (new, old))

    for new, told in (('TYPE_NONE', 'no integration of this type is available'), ('5', 'must be text; put it in quotes'),
                      ('[a]', 'must be text'), ('""', 'must not be empty'), ('null', 'type is required')):
        mistake(INTEGRATION, 'TYPE_SEMAPHORE', new, ['spec.type@10:9 ' + told])
    for new, told in (('http://semaphore.semaphoreci.com', 'must begin with https://, or set allowPrivate'),
                      ('https://u:p@semaphore.semaphoreci.com', 'a user name or password in the URL is not accepted'),
                      ('https://semaphore.semaphoreci.com?x=1', 'must have no query'), ('42', 'must be text; put it in quotes')):
        mistake(INTEGRATION, 'https://semaphore.semaphoreci.com', new, ['spec.url@15:8 ' + told])
    mistake(INTEGRATION, 'enabled: true', 'enabled: yes', ['spec.oidc.enabled@31:14 must be true or false'])
    mistake(INTEGRATION, 'enabled: true', 'enable: true', ['spec.oidc.enable@31:5 unknown field; did you mean enabled?'])
    mistake(INTEGRATION, 'claims: {}', 'claims: []', ['spec.oidc.claims@32:13 must be a map'])
    mistake(INTEGRATION, '          key: token\n', '', ['spec.auth.token.valueFrom.secret.key@25:11 is missing'])
    mistake(INTEGRATION, 'key: token', 'key: nope', ['spec.auth.token.valueFrom.secret@23:7 Secret "semaphore" has no key "nope"'])
    mistake(INTEGRATION, 'kind: Integration', 'kind: Integraton', ['kind@1:7 unknown kind; did you mean Integration?'])
    mistake(INTEGRATION, '    use:', '\tuse:', ['@21:1 a tab: YAML is indented with spaces'])
    mistake(SOURCE, 'type: project', 'type: repository', ['spec.resource.type@10:11 must be project for Semaphore'])
    mistake(SOURCE, '    type: project\n', '', ['spec.resource.type@10:5 is missing'])
    mistake(SOURCE, '    name: semaphore-demo-go\n', '', ['spec.resource.name@10:5 is missing'])
    mistake(SOURCE, RESOURCE, '', ['spec.resource@7:3 is needed with an integration: {type: repository, name: …}, or type project where '
                                   'the service has those'])
    mistake(SOURCE, RESOURCE, RESOURCE + '  semaphore: {project: another}\n', ['spec.semaphore.project@12:24 is not what spec.resource names'])
    mistake(SOURCE, RESOURCE, '  semaphore: {project: a, branch: main}\n', ['spec.semaphore.branch@9:27 unknown field'])
    mistake(FILTERED, 'FILTER_TYPE_HEADER', 'FILTER_TYPE_UNKNOWN', ['spec.events[0].filters[1].type@16:14 must be FILTER_TYPE_DATA or '
                                                                    'FILTER_TYPE_HEADER'])
    mistake(FILTERED, 'FILTER_OPERATOR_OR', 'XOR', ['spec.events[0].filterOperator@17:21 must be FILTER_OPERATOR_AND or FILTER_OPERATOR_OR'])
    for url, told in (('https://gitlab.com/acme', 'must be on github.com; for a server of your own also give apiUrl'),
                      ('https://github.com/acme/hello', 'must end with the owner, https://github.com/OWNER: which repository is said by '
                       'what uses it')):
        is_equal(apply(GITHUB % url), (400, ['spec.url@3:32 ' + told]), url)

    # Endpoints are called as they are written: Django's end with a slash, others' have a query.
    endpoints = {'authorizeUrl': 'https://a.example/o/authorize/?p=1', 'tokenUrl': 'https://a.example/o/token/',
                 'revokeUrl': 'https://a.example/o/revoke_token/', 'identityUrl': 'https://a.example/o/userinfo/'}
    server.apply(json.dumps({'kind': 'Integration', 'metadata': {'name': 'own'}, 'spec': {
        'type': 'http', 'url': 'https://a.example/', 'check': False, 'auth': {'use': 'AUTH_TYPE_OAUTH', 'oauth': dict(
            endpoints, clientId='c', clientSecret={'value': 's3cret-of-c'})}}}))
    spec = server.api('GET', '/api/v1/integrations/own').json['spec']
    is_equal({k: spec['auth']['oauth'].get(k) for k in endpoints}, endpoints, 'endpoints as they were written')
    browser = Browser(server.admin)
    browser.login(server.token)
    where = browser.get('/auth/own').where
    ok(where.startswith(endpoints['authorizeUrl'] + '&response_type=code&'), 'asked there: ' + where[:80])
done()
