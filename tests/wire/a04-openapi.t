#!/usr/bin/env python3
"""Every answer of the admin API is as /api/v1/openapi.json says: status, content type, each field; every operation is asked for
what is there, what is not, and nonsense."""
import json, os, sys, tempfile, time, urllib.parse
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from openapi import Description

OBJECTS = [
    ('secrets', {'kind': 'Secret', 'metadata': {'name': 's'}, 'spec': {'data': {'token': 't', 'k': 'v'}}}),
    ('canvases', {'kind': 'Canvas', 'metadata': {'name': 'c', 'description': 'for a test'}}),
    ('users', {'kind': 'User', 'metadata': {'name': 'u'}, 'spec': {'fullName': 'U', 'email': 'u@x.example'}}),
    ('teams', {'kind': 'Team', 'metadata': {'name': 't'}, 'spec': {'title': 'T', 'members': ['u']}}),
    ('integrations', {'kind': 'Integration', 'metadata': {'name': 'i'}, 'spec': {
        'type': 'github', 'url': 'https://github.com/acme', 'apiUrl': 'http://127.0.0.1:9', 'allowPrivate': True,
        'auth': {'use': 'AUTH_TYPE_TOKEN', 'token': {'valueFrom': {'secret': {'name': 's', 'key': 'token'}}}}}}),
    ('integration-users', {'kind': 'IntegrationUser', 'metadata': {'name': 'iu'}, 'spec': {
        'integration': {'name': 'i'}, 'user': {'name': 'u'}, 'uid': '1', 'nickname': 'n'}}),
    ('event-sources', {'kind': 'EventSource', 'metadata': {'name': 'repo'}, 'spec': {
        'type': 'github', 'path': 'repo', 'verification': {'secrets': [{'value': 's3cr3t'}]}, 'dedupe': {'window': '1h'},
        'limits': {'bodyBytes': 1000, 'perSecond': 50}, 'events': [
            {'type': 'pu*', 'filters': [{'type': 'FILTER_TYPE_DATA', 'data': {'expression': '$.n > 0'}}],
             'filterOperator': 'FILTER_OPERATOR_AND'}]}}),
    ('destinations', {'kind': 'Destination', 'metadata': {'name': 'd'}, 'spec': {
        'url': 'http://127.0.0.1:9/x', 'allowPrivate': True, 'headers': {'X-A': 'b'}, 'timeout': '1s',
        'retry': {'schedule': ['100ms', '1h'], 'jitter': 0.1}, 'concurrency': 2, 'rateLimit': {'perSecond': 50},
        'ordering': {'mode': 'none'}}}),
    ('routes', {'kind': 'Route', 'metadata': {'name': 'r'}, 'spec': {
        'from': [{'source': 'repo', 'types': ['push']}], 'to': [{'destination': 'd'}],
        'filters': [{'data': {'expression': 'true'}}], 'filterOperator': 'FILTER_OPERATOR_OR'}}),
    ('integration-links', {'kind': 'IntegrationLink', 'metadata': {'name': 'l'}, 'spec': {
        'type': 'github', 'integration': {'name': 'i'}, 'team': {'name': 't'}, 'settings': {'repository': 'hello'}}}),
]
wrong, asked, counted = [], set(), 0


def ask(server, api, method, path, body=None, kind='application/json', headers=()):
    """One request; what of its answer the description does not have goes to `wrong`."""
    global counted
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    answer = server.api(method, path, raw or b'', dict({'Content-Type': kind} if raw is not None else {}, **dict(headers)))
    found = api.operation(method, path.partition('?')[0])
    where = '%s %s: %d' % (method, path, answer.status)
    counted += 1
    if isinstance(found, str):
        wrong.append(where + ' ' + found)
        return answer
    operation = found[0]
    asked.add(operation['operationId'])
    said = operation['responses'].get(str(answer.status)) or (operation['responses']['default'] if answer.status >= 400 else None)
    content = (said or {}).get('content', {})
    media = answer.headers.get('content-type', '').partition(';')[0]
    if said is None:
        wrong.append(where + ' is no status of it')
    elif not content and answer.body:
        wrong.append(where + ' has a body')
    elif content and media not in content and '*/*' not in content:
        wrong.append('%s is %s, not %s' % (where, media, list(content)))
    elif media == 'application/json':
        wrong.extend(where + ' ' + w for w in api.check(content[media]['schema'], json.loads(answer.body), 'answer'))
    return answer


def objects(server, api):
    for plural, document in OBJECTS:
        base = '/api/v1/' + plural
        one = base + '/' + document['metadata']['name']
        made = ask(server, api, 'POST', base, document)
        ok(made.status == 201, 'POST %s' % base) or diag(repr(made.body))
        for body in (document, {'kind': 'Foo'}, b'{', {'metadata': {'name': 'Bad Name'}, 'spec': {'zz': 1}}, b''):
            ask(server, api, 'POST', base, body)
        for query in ('', '?limit=1', '?limit=0', '?cursor=zz', '?canvas=none'):
            ask(server, api, 'GET', base + query)
        ask(server, api, 'GET', base, headers={'Authorization': 'Bearer wrong'})
        ask(server, api, 'GET', base, headers={'Authorization': ''})
        got = json.loads(ask(server, api, 'GET', one).body)
        for body, headers in ((document, ()), (got, ()), (document, {'If-Match': '"1"'}), (document, {'If-Match': 'x'})):
            ask(server, api, 'PUT', one, body, headers=headers)
        for method in ('GET', 'DELETE'):
            ask(server, api, method, base + '/none')
        for name in ('None', '%12', '%C3%A9', 'a%2Fb', 'a' * 64):
            is_equal(ask(server, api, 'PUT', base + '/' + name, {}).status, 404, 'PUT of one that cannot be: ' + name)


def events(server, api):
    for n, secret in ((1, 's3cr3t'), (2, 'wrong'), (0, 's3cr3t'), (1, 's3cr3t')):
        body = b'{"n": %d}' % n
        server.post('/hooks/repo', body, dict(github(body, secret), **{'X-GitHub-Delivery': str(n)}))
    when(lambda: len(server.api('GET', '/api/v1/deliveries?state=pending').json['items']) == 1)
    found = json.loads(ask(server, api, 'GET', '/api/v1/events').body)['items']
    is_equal(sorted(e['state'] for e in found), ['accepted', 'duplicate', 'rejected', 'rejected'], 'events of each state')
    for event in found:
        ask(server, api, 'GET', '/api/v1/events/' + event['id'])
        ask(server, api, 'GET', '/api/v1/events/%s/body' % event['id'])
    first = [e['id'] for e in found if e['state'] == 'accepted'][0]
    for query in ('since=5x', 'state=zz', 'limit=-1', 'order=zz', 'source=none', 'type=%00', 'cursor=1', 'canvas=zz'):
        ask(server, api, 'GET', '/api/v1/events?' + query)
    ask(server, api, 'GET', '/api/v1/events/evt_x')
    for query in ('', '?to=none', '?dryRun=true', '?to=d'):
        ask(server, api, 'POST', '/api/v1/events/%s/replay%s' % (first, query))
        ask(server, api, 'POST', '/api/v1/replay' + (query + '&' if query else '?') + 'since=1h')
    ask(server, api, 'POST', '/api/v1/replay')
    for query in ('', '?state=pending', '?state=failed', '?state=dead', '?destination=none', '?state=zz', '?event=' + first, '?limit=1'):
        ask(server, api, 'GET', '/api/v1/deliveries' + query)
    for verb in ('pause', 'resume'):
        for name in ('d', 'none'):
            ask(server, api, 'POST', '/api/v1/destinations/%s/%s' % (name, verb))
    ask(server, api, 'GET', '/api/v1/destinations/d')


def told_nothing(node, place):
    """Objects whose members are not described: generators of clients make them such as can have none."""
    if isinstance(node, list):
        return [w for i, item in enumerate(node) for w in told_nothing(item, '%s[%d]' % (place, i))]
    if not isinstance(node, dict):
        return []
    found = [place] if node.get('type') == 'object' and not {'properties', 'additionalProperties'} & set(node) else []
    return found + [w for name, item in node.items() for w in told_nothing(item, place + '/' + name)]


def others(server, api):
    for name in ('repo', 'none'):
        ask(server, api, 'GET', '/api/v1/event-sources/%s' % name)
        for verb, method in (('secrets', 'GET'), ('reset-key', 'POST'), ('reset-key?now=true', 'POST')):
            ask(server, api, method, '/api/v1/event-sources/%s/%s' % (name, verb))
    ask(server, api, 'GET', '/api/v1/destinations/d/secrets')
    text = b'kind: Secret\nmetadata: {name: x}\nspec: {data: {k: v}}\n'
    made = b'kind: EventSource\nmetadata: {name: x}\nspec: {type: generic, verification: {scheme: hmac}}\n'
    for query, body in (('?dryRun=true', text), ('', text), ('?prune=zz', text), ('?delete=true', text), ('', b'kind: ['), ('', b''),
                        ('', made), ('?delete=true', made), ('?dryRun=true', made)):
        ask(server, api, 'POST', '/api/v1/apply' + query, body, kind='application/yaml')
    ask(server, api, 'POST', '/api/v1/apply', b'a', kind='text/plain')
    entry = json.loads(ask(server, api, 'POST', '/api/v1/entries', {'team': 't', 'body': '[] x', 'user': 'u'}).body)['id']
    ask(server, api, 'POST', '/api/v1/entries', {'team': 'none'})
    ask(server, api, 'GET', '/api/v1/entries')
    for method, body in (('GET', None), ('PUT', {'body': 'y'}), ('POST', {'status': 'done'}), ('PUT', {'zz': 1}), ('DELETE', None), ('GET', None)):
        ask(server, api, method, '/api/v1/entries/' + entry, body)
    ask(server, api, 'POST', '/api/v1/tokens', {'name': 'reader', 'role': 'read', 'user': 'u'})
    ask(server, api, 'POST', '/api/v1/tokens', {'name': 'reader', 'role': 'x'})
    for method, path in (('GET', 'me'), ('GET', 'tokens'), ('GET', 'tokens/reader'), ('DELETE', 'tokens/reader'), ('GET', 'tokens/reader'),
                         ('GET', 'audit'), ('GET', 'audit?limit=1000'), ('GET', 'audit?limit=x'), ('GET', 'providers'),
                         ('GET', 'openapi.json'), ('POST', 'oidc/rotate'), ('GET', 'master-key'), ('POST', 'master-key/rotate'), ('GET', 'master-key')):
        ask(server, api, method, '/api/v1/' + path)
    for path in ('/metrics', '/health/live', '/health/ready'):
        ask(server, api, 'GET', path)


def removals(server, api):
    for plural, document in reversed(OBJECTS):
        ask(server, api, 'DELETE', '/api/v1/%s/%s' % (plural, document['metadata']['name']))
    work = json.loads(ask(server, api, 'GET', '/api/v1/operations').body)['items']
    ok(work, 'there is work at the provider that waits')
    for name in [o['metadata']['name'] for o in work] + ['op-999']:
        for method, more in (('GET', ''), ('POST', '/retry'), ('DELETE', '')):
            ask(server, api, method, '/api/v1/operations/%s%s' % (name, more))


with tempfile.TemporaryDirectory() as base, Server() as server:
    path = os.path.join(base, 'openapi.json')
    with open(path, 'wb') as f:
        f.write(server.api('GET', '/api/v1/openapi.json').body)
    api = Description(path)
    for part in (objects, events, others, removals):
        part(server, api)
    is_equal(told_nothing(api.root['components']['schemas'], ''), [], 'every object says what may be in it')
    is_equal([w for _, document in OBJECTS for w in api.check({'$ref': '#/components/schemas/Documents'}, document, document['kind'])], [],
             'what is sent is as described')
    is_equal(sorted(set(wrong))[:20], [], 'all %d answers are as described' % counted)
    known = {o['operationId'] for item in api.root['paths'].values() for method, o in item.items()}
    is_equal(sorted(known - asked), ['streamEvent'], 'every operation was asked')
done()
