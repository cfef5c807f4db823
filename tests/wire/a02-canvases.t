#!/usr/bin/env python3
"""Who may do what: every route of openapi.json with a token of each role, of no canvas, of this one, of another one, and
with none, against the table below. A route that is not in the table fails. Nobody sees or changes what is another
canvas's, by name, by id, by a document or by a page; accounts and links of people are theirs and administrators'."""
import http.client
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from browser import Browser
from doubles import *

RANK = {'none': 0, 'read': 1, 'write': 2, 'admin': 3}
# operationId -> (least role, of what): a canvas's object, the whole server, or anybody's.
TABLE = {}
KINDS = {'Secret': 'secrets', 'Integration': 'integrations', 'User': 'users', 'Team': 'teams',
         'IntegrationUser': 'integration-users', 'IntegrationLink': 'integration-links', 'EventSource': 'event-sources',
         'Destination': 'destinations', 'Route': 'routes'}
for kind in KINDS:
    TABLE.update({'list' + kind: ('read', 'canvas'), 'get' + kind: ('read', 'canvas'), 'create' + kind: ('write', 'canvas'),
                  'update' + kind: ('write', 'canvas'), 'delete' + kind: ('write', 'canvas')})
TABLE.update({
    'apply': ('write', 'canvas'),
    'listCanvas': ('read', 'canvas'), 'getCanvas': ('read', 'canvas'),
    'createCanvas': ('write', 'server'), 'updateCanvas': ('write', 'server'), 'deleteCanvas': ('write', 'server'),
    'pauseDestination': ('write', 'canvas'), 'resumeDestination': ('write', 'canvas'),
    'getDestinationSecrets': ('admin', 'canvas'), 'getEventSourceSecrets': ('admin', 'canvas'),
    'resetEventSourceKey': ('write', 'canvas'),
    'listEntry': ('read', 'canvas'), 'getEntry': ('read', 'canvas'), 'createEntry': ('write', 'canvas'),
    'updateEntry': ('write', 'canvas'), 'postEntry': ('write', 'canvas'), 'deleteEntry': ('write', 'canvas'),
    'listOperation': ('read', 'canvas'), 'getOperation': ('read', 'canvas'), 'retryOperation': ('write', 'canvas'),
    'deleteOperation': ('write', 'canvas'),
    'listEvent': ('read', 'canvas'), 'streamEvent': ('read', 'canvas'), 'getEvent': ('read', 'canvas'),
    'getEventBody': ('read', 'canvas'), 'replayEvent': ('write', 'canvas'), 'replay': ('write', 'canvas'),
    'listDelivery': ('read', 'canvas'),
    'rotateOidcKey': ('admin', 'server'), 'getMasterKey': ('admin', 'server'), 'rotateMasterKey': ('admin', 'server'),
    'listToken': ('admin', 'server'), 'createToken': ('admin', 'server'),
    'getToken': ('admin', 'server'), 'deleteToken': ('admin', 'server'), 'listAudit': ('admin', 'server'),
    'listProvider': ('read', 'anybody'), 'getMe': ('read', 'anybody'),
    'getOpenapi': ('none', 'anybody'), 'getMetrics': ('none', 'anybody'), 'getLive': ('none', 'anybody'),
    'getReady': ('none', 'anybody'),
})

SPECS = {
    'Secret': {'data': {'k': 'planted-blue'}},
    'Integration': {'type': 'github', 'url': 'https://github.com/acme', 'check': False, 'auth': {'use': 'none'}},
    'User': {'fullName': 'Blue'},
    'Team': {'title': 'Blue'},
    'IntegrationUser': {'integration': {'name': 'blue-1'}, 'uid': '7'},
    'IntegrationLink': {'type': 'generic', 'team': {'name': 'blue-1'}, 'source': {'name': 'blue-1'},
                        'entry': {'body': '$.text'}},
    'EventSource': {'verification': {'secrets': [{'value': 'blue-key'}]}, 'type': 'github'},
    'Destination': {'url': 'http://127.0.0.1:1/', 'allowPrivate': True},
    'Route': {'from': [{'source': 'blue-1'}], 'to': [{'destination': 'blue-1'}]},
    'Canvas': {},
}


def document(kind, name, canvas='blue', **more):
    metadata = {'name': name} if kind == 'Canvas' else {'name': name, 'canvasId': canvas}
    return {'kind': kind, 'metadata': metadata, 'spec': dict(SPECS[kind], **more)}


hub = GitHub()
hub.repositories['acme/hello'] = {}
shm = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None  # many commits, and none that has to last
with tempfile.TemporaryDirectory(prefix='becket-canvases-', dir=shm) as data, \
        Server(data=os.path.join(data, 'data'), options=['--durability', 'none']) as server:
    def ask(method, path, token, body=None):
        """Only the head of what has no end."""
        connection = http.client.HTTPConnection('127.0.0.1', server.admin, timeout=20)
        headers = {'Authorization': 'Bearer ' + token} if token else {}
        data = None
        if body is not None:
            data, headers['Content-Type'] = json.dumps(body).encode(), 'application/json'
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        answer.text = '' if 'event-stream' in (answer.getheader('Content-Type') or '') else answer.read().decode('utf-8', 'replace')
        connection.close()
        return answer

    def make_token(name, role, canvas=None):
        body = dict({'name': name, 'role': role}, **({'canvas': canvas} if canvas else {}))
        answer = ask('POST', '/api/v1/tokens', server.token, body)
        assert answer.status == 201, answer.text
        return json.loads(answer.text)['token']

    def get(path):
        return json.loads(ask('GET', path, server.token).text)

    server.apply('kind: Canvas\nmetadata: {name: blue}\n---\nkind: Canvas\nmetadata: {name: red}\n')
    server.apply(json.dumps([document(kind, 'blue-1') for kind in KINDS]))
    server.apply('kind: Integration\nmetadata: {name: hub, canvasId: blue}\nspec: {type: github, url: "%s/acme", apiUrl: "%s", '
                 'allowPrivate: true, auth: {use: AUTH_TYPE_TOKEN, token: {value: %s}}}' % (hub.url, hub.url, hub.token))
    body = b'{"ref":"refs/heads/blue"}'
    path = get('/api/v1/event-sources/blue-1?canvas=blue')['status']['path']
    event = server.post(path if path.startswith('/') else '/hooks/' + path, body, github(body, 'blue-key')).json['id']
    entry = json.loads(ask('POST', '/api/v1/entries?canvas=blue', server.token, {'team': 'blue-1', 'body': 'blue'}).text)['id']
    end = time.monotonic() + 10
    while time.monotonic() < end and not (get('/api/v1/operations')['items'] and
                                          get('/api/v1/deliveries?event=' + event)['items']):
        time.sleep(0.05)
    operation = get('/api/v1/operations')['items'][0]['metadata']['name']
    ids = {kind: get('/api/v1/%s/blue-1?canvas=blue' % plural)['metadata']['id'] for kind, plural in KINDS.items()}
    ids['Canvas'] = get('/api/v1/canvases/blue')['metadata']['id']

    # ---- the tokens
    tokens = {('none', None): None}
    for role in ('read', 'write', 'admin'):
        tokens[role, None] = make_token('all-' + role, role)
        for canvas in ('blue', 'red'):
            tokens[role, canvas] = make_token('%s-%s' % (canvas, role), role, canvas)
    is_equal(ask('POST', '/api/v1/tokens', server.token, {'name': 'x', 'role': 'read', 'canvas': 'green'}).status, 400,
             'a token of a canvas that is not there')
    is_equal(ask('POST', '/api/v1/tokens', server.token, {'name': 'x', 'role': 'read', 'canvas': ''}).status, 400,
             'a token of no canvas by mistake')
    is_equal(ask('DELETE', '/api/v1/canvases/red', server.token).status, 409, 'a canvas with tokens stays')
    is_equal(get('/api/v1/tokens/blue-read')['canvas'], 'blue', 'it says of which canvas it is')

    def another_entry():
        return json.loads(ask('POST', '/api/v1/entries?canvas=blue', server.token, {'team': 'blue-1', 'body': 'blue'}).text)['id']

    # ---- what to ask of each route
    count = 0

    def requests_of(operation_id, method, path, parameters, own):
        """[(path, body, how)]: the same about blue, by every way there is to name it."""
        global count
        kind = next((k for k in list(KINDS) + ['Canvas'] if operation_id in ('get' + k, 'update' + k, 'delete' + k)), None)
        kind = {'pauseDestination': 'Destination', 'resumeDestination': 'Destination', 'getDestinationSecrets': 'Destination',
                'getEventSourceSecrets': 'EventSource', 'resetEventSourceKey': 'EventSource'}.get(operation_id, kind)
        names = ['']
        count += 1
        if kind:
            name = 'blue-1' if kind != 'Canvas' else 'blue'
            if method == 'DELETE' and own:
                name = 'blue-%d' % (count + 100)
                server.apply(json.dumps([document(kind, name)]))
            at = '/api/v1/canvases/' if kind == 'Canvas' else '/api/v1/%s/' % KINDS[kind]
            found = get(at + name + ('' if kind == 'Canvas' else '?canvas=blue'))['metadata']
            names = [name, found['id']]
        elif operation_id in ('getToken', 'deleteToken'):
            names = ['spare-%d' % count if own else 'all-read']
            if own:
                make_token(names[0], 'read')
        elif '{' in path:
            names = [another_entry() if operation_id == 'deleteEntry' and own else entry if 'entries' in path else event if 'events' in path else operation]
        body = None
        if method in ('POST', 'PUT'):
            created = operation_id.removeprefix('create')
            if operation_id.startswith('create') and created in SPECS:
                body = document(created, 'blue-new-%d' % count)
            elif operation_id.startswith('update') and kind:
                body = document(kind, names[0])
                if kind == 'IntegrationUser':
                    body['spec']['nickname'] = 'n%d' % count
            body = {'apply': [document('User', 'blue-apply-%d' % count)], 'createToken': {'name': 'new-%d' % count, 'role': 'read'},
                    'createEntry': {'team': 'blue-1', 'body': 'more %d' % count},
                    'updateEntry': {'body': 'more %d' % count}, 'postEntry': {'body': 'more %d' % count}}.get(operation_id, body)
        more = '&since=1h' if operation_id == 'replay' else ''
        more += '&dryRun=true' if 'dryRun' in parameters and 'replay' in operation_id else ''
        for i, name in enumerate(names):
            filled = re.sub(r'\{\w+\}', name, path)
            way = 'by id' if i else 'by name'
            if 'canvas' in parameters:
                yield filled + '?canvas=blue' + more, body, way + ', of blue'
                if not (method == 'DELETE' and own):
                    yield filled + '?' + more, body, way
                if method == 'GET':
                    yield filled + '?canvas=' + ids['Canvas'] + more, body, way + ', of its id'
            else:
                yield filled + ('?' + more if more else ''), body, way

    def wanted(role, canvas, least, what, path, operation_id):
        """The statuses that are right; '' when the answer must not know blue at all."""
        if least == 'none':
            return [200]
        if role == 'none':
            return [401]
        if RANK[role] < RANK[least]:
            return [403]
        if what == 'anybody' or canvas is None:
            return [200, 201, 202, 204] if canvas is None else [200]
        if what == 'server':
            return [403]
        if canvas == 'blue':
            return [200, 201, 202, 204]
        return [403] if 'canvas=' in path else [403, 404, 'nothing of blue']

    document_of_api = get('/api/v1/openapi.json')
    operations = [(o['operationId'], m.upper(), p, [x['name'] for x in o.get('parameters', [])])
                  for p, methods in document_of_api['paths'].items() for m, o in methods.items()]
    is_equal(sorted(set(o[0] for o in operations) ^ set(TABLE)), [], 'every route is in the table, and only routes are')
    snapshot = lambda: {plural: get('/api/v1/%s?canvas=blue' % plural)['items'] for plural in KINDS.values()}
    for operation_id, method, path, parameters in operations:
        least, what = TABLE.get(operation_id, ('admin', 'server'))
        wrong, before, tried = [], None, 0
        order = sorted(tokens, key=lambda t: (t[1] is None, t[1] == 'blue', RANK[t[0]]))  # who may least first
        for (role, canvas) in order:
            own = (canvas is None or (canvas == 'blue' and what != 'server')) and role != 'none' and RANK[role] >= RANK[least]
            for asked, body, how in requests_of(operation_id, method, path, parameters, own):
                if own and not ('canvas=' in asked or canvas == 'blue' or 'canvas' not in parameters):
                    continue  # of an unbound token that names no canvas: the default one, where nothing is
                if own and 'by id' in how and method == 'DELETE':
                    continue  # it went by its name
                answer = ask(method, asked, tokens[role, canvas], body)
                right = wanted(role, canvas, least, what, asked, operation_id)
                good = answer.status in right
                if own and answer.status == 409:
                    good = True  # it is there already, or done: that is known only to who may know
                if own and method == 'PUT' and 'by id' in how:
                    good = answer.status == 400  # a document has its name
                if 'nothing of blue' in right:
                    good = answer.status in (403, 404) or (answer.status in (200, 202) and 'blue' not in answer.text) or \
                        (operation_id.startswith('create') or operation_id == 'apply') and answer.status in (400, 403)
                tried += 1
                if not good:
                    wrong.append('%s of %s, %s: %d %s' % (role, canvas, how, answer.status, answer.text[:200]))
        is_equal(wrong, [], '%s, %s %s: %d requests' % (operation_id, method, path, tried))

    # ---- documents and names of another canvas
    red = tokens['write', 'red']
    before = snapshot()
    for what in ({'kind': 'User', 'metadata': {'name': 'ben', 'canvasId': 'blue'}, 'spec': {}},
                 {'kind': 'User', 'metadata': {'name': 'ben', 'canvasId': ids['Canvas']}, 'spec': {}},
                 {'kind': 'User', 'metadata': {'name': 'ben', 'canvasId': 'default'}, 'spec': {}},
                 {'kind': 'Canvas', 'metadata': {'name': 'green'}, 'spec': {}}):
        is_equal(ask('POST', '/api/v1/apply', red, [document('User', 'fine', 'red'), what]).status, 403, 'apply of %s' % what)
        is_equal(ask('POST', '/api/v1/apply?dryRun=true', red, what).status, 403, 'nor to try it')
    is_equal(get('/api/v1/users?canvas=red')['items'], [], 'all or nothing')
    is_equal(ask('POST', '/api/v1/apply', red, {'kind': 'User', 'metadata': {'name': 'ruby'}, 'spec': {}}).status, 200,
             'without a canvas it is the token\'s')
    is_equal([u['metadata']['canvasId'] for u in get('/api/v1/users?canvas=red')['items']], ['red'], 'and it is there')
    is_equal(ask('POST', '/api/v1/apply?prune=true', red, {'kind': 'User', 'metadata': {'name': 'ruby'}, 'spec': {}}).status,
             200, 'prune')
    is_equal(snapshot(), before, 'blue is as it was')
    again = {get('/api/v1/destinations/blue-1?canvas=blue')['status']['delivery'].get('nextRetryAt') for _ in range(40)}
    is_equal(len(again), 1, 'nor does it change when one asks again: %s' % sorted(again)[:2])
    for what in ('/api/v1/deliveries', '/api/v1/deliveries?event=' + event, '/api/v1/events', '/api/v1/entries',
                 '/api/v1/operations', '/api/v1/deliveries?state=dead', '/api/v1/deliveries?state=pending'):
        is_equal(json.loads(ask('GET', what, red).text)['items'], [], 'red: nothing in ' + what)
    ok(json.loads(ask('GET', '/api/v1/deliveries', tokens['read', 'blue']).text)['items'], 'blue: its deliveries')
    is_equal([{d['canvasId'] for d in get('/api/v1/deliveries?%s' % query)['items']} for query in ('canvas=blue', 'canvas=red', 'canvas=default')],
             [{'blue'}, set(), set()], 'who may see all asks for one canvas')
    is_equal([c['metadata']['name'] for c in json.loads(ask('GET', '/api/v1/canvases', red).text)['items']], ['red'],
             'the only canvas that a bound token knows')
    is_equal(ask('GET', '/api/v1/deliveries?destination=' + ids['Destination'], red).status, 400, 'a destination by its id')

    # ---- what the default canvas shares, and what it does not: a secret could go anywhere, and events be read
    server.apply(json.dumps([document('Secret', 'shared', 'default'), document('EventSource', 'shared', 'default'),
                             document('Team', 'shared', 'default'), document('Team', 'own', 'red'),
                             document('Destination', 'shared', 'default')]))
    lent = {'valueFrom': {'secret': {'name': 'shared', 'key': 'k'}}}
    borrowing = dict(document('EventSource', 'lent', 'red'), spec={'type': 'github', 'verification': {'secrets': [lent]}})
    own = document('Destination', 'own', 'red')
    for who in ('write', 'admin'):
        token = tokens[who, 'red']
        for what in (borrowing, dict(own, spec=dict(own['spec'], headers={'X-Key': lent})),
                     dict(document('Integration', 'lent', 'red'),
                          spec={'type': 'github', 'url': 'https://github.com/acme', 'check': False,
                                'auth': {'use': 'AUTH_TYPE_TOKEN', 'token': lent}}),
                     [own, dict(document('Route', 'lent', 'red'),
                                spec={'from': [{'source': 'shared'}], 'to': [{'destination': 'own'}]})],
                     dict(document('IntegrationLink', 'lent', 'red'),
                          spec={'type': 'generic', 'team': {'name': 'own'}, 'source': {'name': 'shared'},
                                'entry': {'body': '$'}}),
                     dict(document('IntegrationLink', 'lent', 'red'),
                          spec={'type': 'generic', 'team': {'name': 'shared'}, 'destination': {'name': 'shared'}})):
            answer = ask('POST', '/api/v1/apply', token, what)
            ok(answer.status == 400 and 'in the canvas that your token is for' in answer.text,
               '%s of red borrows no secret, no events and no entries: %s' % (who, str(what)[:60])) or diag(answer.text)
    is_equal(ask('POST', '/api/v1/apply', red, dict(document('IntegrationLink', 'team', 'red'),
                                                    spec={'type': 'generic', 'team': {'name': 'own'},
                                                          'destination': {'name': 'shared'}})).status, 200,
             'destinations of the default canvas may be referred to')
    said = {'team': 'shared', 'body': 'hello'}
    is_equal(ask('POST', '/api/v1/entries', red, said).status, 400, 'nothing is written to another canvas\'s team')
    is_equal(ask('POST', '/api/v1/entries?canvas=red', server.token, said).status, 201, 'but by who may')
    server.apply(json.dumps([borrowing]))
    answer = ask('GET', '/api/v1/event-sources/lent/secrets?canvas=red', tokens['admin', 'red'])
    ok(answer.status == 403 and 'planted' not in answer.text, 'lent by who may, and not shown: %d' % answer.status)
    is_equal(ask('GET', '/api/v1/event-sources/lent/secrets?canvas=red', server.token).status, 200, 'to who is bound to none it is')

    # ---- an Integration or a Secret of the default canvas is the organization's, unless it is that canvas's own
    def integration(name, canvas='default', domain=None, **spec):
        made = dict(document('Integration', name, canvas), spec=dict(
            {'type': 'github', 'url': 'https://github.com/acme', 'check': False, 'auth': {'use': 'none'}}, **spec))
        made['metadata'].update({'domainType': 'DOMAIN_TYPE_' + domain} if domain else {})
        return made

    def account(name, canvas, integration):
        return dict(document('IntegrationUser', name, canvas), spec={'integration': {'name': integration}, 'uid': '7'})

    server.apply(json.dumps([integration('common'), integration('said', domain='ORGANIZATION'), integration('kept', domain='CANVAS')]))
    for name, status in (('common', 200), ('said', 200), ('kept', 400)):
        answer = ask('POST', '/api/v1/apply', red, account('of-' + name, 'red', name))
        is_equal(answer.status, status, 'red uses the Integration %s of default' % name) or diag(answer.text)
        is_equal(ask('POST', '/api/v1/apply', server.token, account('also-' + name, 'red', name)).status, status,
                 'nor does it for who may all' if status == 400 else 'everybody may')
    is_equal(ask('POST', '/api/v1/apply', server.token, account('here', 'default', 'kept')).status, 200, 'in its own canvas it is used')
    found = get('/api/v1/integrations/kept')
    is_equal(found['metadata'].get('domainType'), 'DOMAIN_TYPE_CANVAS', 'it says so')
    is_equal(json.loads(ask('POST', '/api/v1/apply', server.token, found).text)['results'][0]['action'], 'unchanged',
             'and what was read can be applied')
    answer = ask('POST', '/api/v1/apply', server.token, integration('common', domain='CANVAS'))
    ok(answer.status == 400 and 'other canvases use' in answer.text, 'what others use is not taken from them: %s' % answer.text)
    answer = ask('POST', '/api/v1/apply', server.token, integration('kept'))
    is_equal(json.loads(answer.text)['results'][0]['diff'][0]['path'], 'metadata.domainType', 'it can be given to all')
    is_equal(ask('POST', '/api/v1/apply', red, account('of-kept', 'red', 'kept')).status, 200, 'who use it then')
    is_equal(ask('POST', '/api/v1/apply', server.token, integration('no', 'red', 'ORGANIZATION')).status, 400,
             'what is a canvas\'s is not the organization\'s')
    is_equal(ask('POST', '/api/v1/apply', server.token, integration('no', domain='GALAXY')).status, 400, 'nor anything else')
    def source(domain, canvas='red', name='common'):
        made = document('EventSource', 'by-domain', canvas)
        made['spec'] = {'integration': {'name': name, 'domainType': 'DOMAIN_TYPE_' + domain}, 'resource': {'type': 'repository', 'name': 'x'}}
        return made

    for domain, status, what in (('ORGANIZATION', 200, 'the organization\'s'), ('UNSPECIFIED', 200, 'either'), ('CANVAS', 400, 'not its own'),
                                 ('GALAXY', 400, 'nonsense')):
        answer = ask('POST', '/api/v1/apply?dryRun=true', red, source(domain))
        is_equal(answer.status, status, 'a reference that says of which domain: ' + what) or diag(answer.text)
    ask('POST', '/api/v1/apply', red, integration('common', 'red'))
    for domain, status, what in (('ORGANIZATION', 400, 'it is the canvas\'s'), ('CANVAS', 200, 'its own')):
        is_equal(ask('POST', '/api/v1/apply?dryRun=true', red, source(domain)).status, status, 'with one of its own: ' + what)
    hidden = dict(document('Secret', 'hidden', 'default'))
    hidden['metadata']['domainType'] = 'DOMAIN_TYPE_CANVAS'
    server.apply(json.dumps([hidden]))
    by_token = {'use': 'AUTH_TYPE_TOKEN', 'token': {'valueFrom': {'secret': {'name': 'hidden', 'key': 'k'}}}}
    answer = ask('POST', '/api/v1/apply', server.token, integration('no', 'red', auth=by_token))
    ok(answer.status == 400 and 'no Secret' in answer.text, 'a Secret, too')
    answer = ask('POST', '/api/v1/apply', server.token, integration('no', auth=by_token))
    ok(answer.status == 400 and 'own' in answer.text, 'the organization\'s Integration uses none of one canvas')
    is_equal(ask('POST', '/api/v1/apply', server.token, integration('yes', domain='CANVAS', auth=by_token)).status, 200, 'its own does')

    # ---- for whom becket issues tokens
    cloud = lambda audience=None, canvas='default', **more: integration('cloud', canvas, **dict(
        {'type': 'gitlab', 'url': 'https://cloud.example',
         'auth': {'use': 'AUTH_TYPE_OIDC', **({'oidc': {'audience': audience}} if audience else {})}}, **more))
    for who in (tokens['write', None], red, tokens['admin', 'red']):
        canvas = 'default' if who == tokens['write', None] else 'red'
        answer = ask('POST', '/api/v1/apply', who, cloud('sts.amazonaws.com', canvas))
        ok(answer.status == 403 and 'audience' in answer.text, 'a token for anybody is had by who has a say on all alone') or \
            diag(answer.text)
        is_equal(ask('POST', '/api/v1/apply', who, cloud('https://cloud.example', canvas)).status, 200, 'one for whom it is sent to')
        is_equal(ask('POST', '/api/v1/apply', who, cloud(None, canvas)).status, 200, 'or for the integration itself')
    is_equal(ask('POST', '/api/v1/apply', server.token, cloud('sts.amazonaws.com')).status, 200, 'by who may')
    writer = tokens['write', None]
    is_equal(ask('POST', '/api/v1/apply', writer, cloud('sts.amazonaws.com', check=True)).status, 200, 'the rest of it by others')
    for more in ({'url': 'https://evil.example'}, {'apiUrl': 'https://evil.example'}):
        is_equal(ask('POST', '/api/v1/apply', writer, cloud('sts.amazonaws.com', **more)).status, 403, 'who do not send it elsewhere')
    is_equal(ask('POST', '/api/v1/apply', writer, cloud('other')).status, 403, 'nor to somebody else')

    # ---- accounts and links of people
    ann, ben = make_token('ann', 'write', 'blue'), make_token('ben', 'write', 'blue')
    mine = document('IntegrationUser', 'account', user={'name': 'ann'})
    server.apply(json.dumps([document('User', 'ann'), document('User', 'ben')]))
    at = '/api/v1/integration-users/account?canvas=blue'
    is_equal(ask('POST', '/api/v1/integration-users?canvas=blue', ben, mine).status, 403, 'nobody connects somebody else')
    is_equal(ask('POST', '/api/v1/integration-users?canvas=blue', ann, mine).status, 201, 'one\'s own account')
    is_equal(ask('PUT', at, ben, document('IntegrationUser', 'account', user={'name': 'ben'})).status, 403, 'nor takes it over')
    is_equal(ask('PUT', at, ann, document('IntegrationUser', 'account', user={'name': 'ben'})).status, 403, 'nor gives it away')
    is_equal(ask('DELETE', at, ben).status, 403, 'nor disconnects somebody else')
    answer = ask('DELETE', at, ben)
    ok("is ann's" in answer.text, answer.text)
    is_equal(ask('POST', '/api/v1/apply?prune=true', ben, document('IntegrationUser', 'blue-1')).status, 403, 'prune neither')
    is_equal(ask('PUT', at, tokens['admin', 'blue'], document('IntegrationUser', 'account', user={'name': 'ben'})).status, 200,
             'an administrator of the canvas may')
    is_equal(ask('DELETE', at, ann).status, 403, 'now it is another\'s')
    is_equal(ask('DELETE', at, ben).status, 204, 'one\'s own')

    # ---- the pages
    server.apply(json.dumps([mine, document('IntegrationUser', 'free')]))
    SPECS['Integration'] = {'type': 'gitlab', 'url': 'https://gitlab.com', 'check': False,
                            'auth': {'use': 'AUTH_TYPE_OAUTH', 'oauth': {'clientId': 'blue-client'}}}
    server.apply(json.dumps([document('Integration', 'lab')]))
    people = {}
    for who, token in (('ann', ann), ('ben', ben), ('red', red), ('all', server.token), ('chief', tokens['admin', 'blue'])):
        people[who] = Browser(server.admin)
        people[who].login(token)
    ok('account' in people['ann'].get('/users/ann/settings').text and
       '/auth/account/disconnect' in people['ann'].get('/users/ann/settings').text, 'ann sees her account')
    page = people['ben'].get('/users/ann/settings').text
    ok('Disconnect<' not in page, 'ben has no button for it')
    form = people['ben'].form(people['ben'].get('/settings').text, '/logout')
    answer = people['ben'].request('POST', '/auth/account/disconnect', form)
    ok(answer.status == 403 and 'ann' in answer.text, 'nor does the address work: %d' % answer.status)
    is_equal(get('/api/v1/integration-users/account?canvas=blue')['spec']['user'], {'name': 'ann'}, 'still connected')
    is_equal(people['red'].get('/users/ann/settings').status, 404, 'red does not know her')
    form = people['red'].form(people['red'].get('/settings').text, '/logout')
    answer = people['red'].request('POST', '/auth/account/disconnect', dict(form, canvas='blue'))
    is_equal(answer.status, 403, 'a form with another canvas')
    for name in ('account', get('/api/v1/integration-users/account?canvas=blue')['metadata']['id']):
        people['red'].request('POST', '/auth/%s/disconnect' % name, form)
        is_equal(ask('GET', at, server.token).status, 200, 'red disconnects nobody by %s' % name)
    is_equal(people['red'].get('/settings?canvas=blue').status, 403, 'a page of another canvas')
    is_equal(people['red'].get('/auth/lab').status, 404, 'its integrations')
    is_equal(people['red'].get('/auth/lab?canvas=blue').status, 403, 'however asked for')
    where = people['ann'].get('/auth/lab').where
    ok(where.startswith('https://gitlab.com/oauth/authorize?') and 'blue-client' in where, 'its own: %s' % where)
    is_equal(people['all'].get('/auth/lab').status, 404, 'who is bound to none is in the default one')
    is_equal(people['all'].get('/settings?canvas=nowhere').status, 404, 'a canvas that is not there')
    ok('/settings?canvas=red' in people['all'].get('/settings?canvas=blue').text, 'and chooses')
    ok(people['all'].get('/auth/lab').where.startswith('https://gitlab.com/'), 'which stays chosen')
    ok('href="/settings?canvas=' not in people['ann'].get('/settings').text, 'a bound one has no choice')
    form = people['chief'].form(people['chief'].get('/users/ann/settings').text, '/auth/account/disconnect')
    is_equal(people['chief'].request('POST', '/auth/account/disconnect', form).status, 302, 'an administrator disconnects')
    is_equal(ask('GET', at, server.token).status, 404, 'and it is gone')

    # ---- a canvas that was deleted and is made again is another one
    def fill(text):
        """A canvas green with one of everything, and what came of it: the ids of an event and an entry, and a token."""
        server.apply('kind: Canvas\nmetadata: {name: green}\n')
        server.apply(json.dumps([document('Team', 'us', 'green'), document('Destination', 'app', 'green'),
                                 dict(document('EventSource', 'in', 'green'), spec={'type': 'github', 'path': 'green',
                                      'verification': {'secrets': [{'value': 'green-key'}]}}),
                                 dict(document('Route', 'all', 'green'), spec={'from': [{'source': 'in'}], 'to': [{'destination': 'app'}]}),
                                 dict(document('IntegrationLink', 'out', 'green'),
                                      spec={'type': 'generic', 'team': {'name': 'us'}, 'destination': {'name': 'app'}}),
                                 dict(document('Integration', 'hub', 'green'), spec=dict(
                                      {'type': 'github', 'url': hub.url + '/acme', 'apiUrl': hub.url, 'allowPrivate': True,
                                       'auth': {'use': 'AUTH_TYPE_TOKEN', 'token': {'value': hub.token}}}))]))
        body = json.dumps({'text': text}).encode()
        event = server.post('/hooks/green', body, github(body, 'green-key')).json['id']
        entry = json.loads(ask('POST', '/api/v1/entries?canvas=green', server.token, {'team': 'us', 'body': text}).text)['id']
        token = make_token('green-' + text, 'admin', 'green')
        end = time.monotonic() + 10
        while time.monotonic() < end and any(not n for n in seen(token)):
            time.sleep(0.05)
        return event, entry, token

    def seen(token):
        """How many events, entries, operations and deliveries there are for a token."""
        return [len(json.loads(ask('GET', '/api/v1/' + what, token).text)['items']) for what in
                ('events', 'entries', 'operations', 'deliveries?event=' + EVENT[0] if EVENT[0] else 'deliveries')]

    EVENT = [None]
    old_event, old_entry, old_token = fill('old')
    is_equal([n > 0 for n in seen(old_token)], [True] * 4, 'what is in a canvas: %s' % seen(old_token))
    old_operation = json.loads(ask('GET', '/api/v1/operations', old_token).text)['items'][0]['metadata']['name']
    ask('DELETE', '/api/v1/tokens/green-old', server.token)
    for plural, name in (('routes', 'all'), ('integration-links', 'out'), ('event-sources', 'in'), ('integrations', 'hub'),
                         ('destinations', 'app'), ('teams', 'us')):
        is_equal(ask('DELETE', '/api/v1/%s/%s?canvas=green' % (plural, name), server.token).status, 204, 'no more ' + plural)
    is_equal(ask('DELETE', '/api/v1/canvases/green', server.token).status, 204, 'the canvas is deleted')
    is_equal(get('/api/v1/events/' + old_event)['canvasId'], 'green', 'its event is kept')
    server.apply('kind: Canvas\nmetadata: {name: green}\n')
    token = make_token('green-empty', 'admin', 'green')
    for start in (False, True):
        if start:
            server.kill()
            server.start()
        is_equal(seen(token), [0, 0, 0, 0], 'another one of its name knows nothing of it%s' % (', after a kill' if start else ''))
        is_equal([ask('GET', path, token).status for path in (
            '/api/v1/events/' + old_event, '/api/v1/events/%s/body' % old_event, '/api/v1/entries/' + old_entry,
            '/api/v1/operations/' + old_operation)], [404] * 4, 'nor by ids')
        is_equal([ask(m, path, token, b).status for m, path, b in (
            ('PUT', '/api/v1/entries/' + old_entry, {'body': 'x'}), ('DELETE', '/api/v1/entries/' + old_entry, None),
            ('POST', '/api/v1/operations/%s/retry' % old_operation, None), ('POST', '/api/v1/events/%s/replay' % old_event, None))],
            [404] * 4, 'nor changes it')
        is_equal(json.loads(ask('POST', '/api/v1/replay?since=1h&dryRun=true', token).text)['events'], 0, 'nor has it replayed')
    is_equal('canvasId' in get('/api/v1/events/' + old_event), False, 'the event is of no canvas now')
    is_equal(get('/api/v1/entries/' + old_entry)['body'], 'old', 'who may all still finds what there was')
    new_event, new_entry, new_token = fill('new')
    is_equal([n > 0 for n in seen(new_token)], [True] * 4, 'what is in the new one: %s' % seen(new_token))
    is_equal(ask('GET', '/api/v1/events/' + new_event, new_token).status, 200, 'its event')
    is_equal([e['body'] for e in json.loads(ask('GET', '/api/v1/entries', new_token).text)['items']], ['new'], 'its entries')
    ok(any(e['source'] == 'becket.entries' for e in json.loads(ask('GET', '/api/v1/events', new_token).text)['items']),
       'the events of its entries')

    # ---- a canvas that is not there is no empty list, and one goes by its id as well
    for path in ('events', 'events/stream', 'deliveries', 'entries', 'operations', 'routes', 'secrets/x'):
        answer = ask('GET', '/api/v1/%s?canvas=nowhere' % path, server.token)
        is_equal((answer.status, 'no Canvas nowhere' in answer.text), (404, True), path + ' of no canvas')
    is_equal(ask('POST', '/api/v1/replay?since=1h&dryRun=true&canvas=nowhere', server.token).status, 404, 'nor is it replayed')
    by_id = get('/api/v1/canvases/green')['metadata']['id']
    is_equal(get('/api/v1/events?canvas=' + by_id), get('/api/v1/events?canvas=green'), 'events by the id of their canvas')

    # ---- the command line
    code, out, err = server.cli('token', 'create', 'cli', '--role', 'write', '--canvas', 'red')
    ok(code == 0 and out.startswith('bkt_'), 'token create --canvas') or diag(err)
    made = out.strip()
    code, out, err = server.cli('get', 'users', '--token', made)
    ok(code == 0 and 'ruby' in out, 'it is at home without a word') or diag(out + err)
    code, out, err = server.cli('get', 'users', '--canvas', 'blue', '--token', made)
    ok(code == 1 and 'red' in err, 'and nowhere else: %s' % err.strip())
    with open(os.path.join(server.data, 'red.yaml'), 'w') as file:
        file.write('kind: Destination\nmetadata: {name: keyed, canvasId: red}\nspec: {url: "https://192.0.2.1/"}\n')
    code, out, err = server.cli('apply', '-f', file.name)
    told = re.search('`becket (secrets keyed.*)` shows it again', out)
    ok(told and server.cli(*told.group(1).split())[1].strip() in out, 'the command that shows a key again works') or diag(out + err)
    code, out, err = server.cli('token', 'list')
    ok('red' in out and 'all' in out, 'the list tells it')
    server.kill()
    server.start()
    is_equal(ask('GET', '/api/v1/users?canvas=blue', made).status, 403, 'after a kill, too')
hub.close()
done()
