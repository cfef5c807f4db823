#!/usr/bin/env python3
"""What changes around a hook that was made: the repository's name, our public address, the integration's owner or server, a
credential that is lost for good; and what a provider that asks to slow down is spared."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *


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
        state = lambda name: server.status('event-sources', name).get('state')
        ok(when(lambda: (state('one'), state('two')) == ('ready', 'error')), 'one is refused: %s' % server.status('event-sources', 'two'))
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
        ok(when(lambda: there(double) == []), 'and nothing stays at the one before: %s' % there(double))
        answer = server.api('POST', '/api/v1/apply', hub('acme', server_of_own).replace('type: github', 'type: gitea').encode())
        ok(answer.status == 400 and 'cannot change while EventSource' in answer.body.decode(), 'another type: %s' % answer.body.decode()[:200])
        is_equal(server.api('GET', '/api/v1/integrations/hub').json['spec']['type'], 'github', 'is refused')
    double.close()
    server_of_own.close()


def test_left():
    """Where an integration led before, its hooks go with what it called with then: the server was down, its Secret has another value
    by now, the removal of another source waited there. Two names of one server are no loss."""
    old, new = GitHub('ghp_old'), GitHub('ghp_new')
    for of in (old, new):
        of.repositories.update({'acme/' + n: {} for n in ('one', 'two', 'three')})
    there = lambda of: [(n, len(h)) for n, h in sorted(of.repositories.items()) if h]
    hub = lambda url: ('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                       'check: false, allowPrivate: true, auth: {use: token, token: {valueFrom: {secret: {name: key, key: token}}}}}' % url)
    secret = lambda of: 'kind: Secret\nmetadata: {name: key}\nspec: {data: {token: %s}}\n---\n' % of.token
    source = lambda n, m: ('\n---\nkind: EventSource\nmetadata: {name: %s}\nspec: {integration: {name: hub}, path: %s, resource: {type: '
                           'repository, name: %s}}' % (n, n, m))
    with Server() as server:
        operations = lambda: {o['metadata']['name']: o for o in server.api('GET', '/api/v1/operations').json['items']}
        waiting = lambda: [o for o in operations().values() if o['status']['state'] != 'done']
        server.apply(secret(old) + hub(old.url) + source('one', 'one') + source('two', 'two') + source('three', 'three'))
        ok(when(lambda: there(old) == [('acme/one', 1), ('acme/three', 1), ('acme/two', 1)]), 'made')
        old.fault = lambda call: Reply(503, {'message': 'not now'})
        server.api('DELETE', '/api/v1/event-sources/three')
        ok(when(lambda: any(o['status'].get('reason') for o in waiting())), 'the removal of one waits')
        server.apply(secret(new) + hub(new.url) + source('two', 'three'))
        ok(when(lambda: there(new) == [('acme/one', 1), ('acme/three', 1)]), 'at the new one: %s' % there(new))
        ok(when(lambda: len(waiting()) == 3 and all(o['status'].get('reason') for o in waiting())), 'three removals wait: %s' % waiting())
        is_equal({o['spec'].get('formerAddress') for o in waiting()}, {old.url}, 'at the old address, as they tell')
        ok('ghp_' not in json.dumps(operations()) and old.url in server.cli('get', 'operations', '-o', 'yaml')[1], 'and no more than that')
        server.kill()
        old.fault = lambda call: None
        server.start()
        for o in waiting():
            server.api('POST', '/api/v1/operations/%s/retry' % o['metadata']['name'])
        ok(when(lambda: there(old) == []), 'up again, over a kill, nothing is left: %s' % there(old))
        ok(when(lambda: not waiting()), 'and all is done')
        is_equal(there(new), [('acme/one', 1), ('acme/three', 1)], 'the new ones stay')
        is_equal({c.headers.get('Authorization') for c in old.calls}, {'Bearer ghp_old'}, 'the old one saw its own credential alone')
        is_equal({c.headers.get('Authorization') for c in new.calls}, {'Bearer ghp_new'}, 'so did the new one')
        count = len(new.calls)
        server.apply(hub(new.url.replace('127.0.0.1', 'localhost')))
        ok(when(lambda: len([c for c in new.calls[count:] if c.method == 'DELETE']) == 2 and not waiting() and
                there(new) == [('acme/one', 1), ('acme/three', 1)]), 'another name of the same server: %s' % there(new))
    old.close()
    new.close()


def test_unanswered():
    """A hook whose making got no answer is at the old server all the same, also when looking for it failed before the integration
    was led elsewhere. At an address that was mistyped nothing was made: nobody is sent there to remove it."""
    old, wrong, new = GitHub('ghp_old'), GitHub('ghp_wrong'), GitHub('ghp_new')
    for of in (old, wrong, new):
        of.repositories['acme/hello'] = {}
    hub = lambda of: ('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                      'check: false, allowPrivate: true, auth: {use: token, token: {value: %s}}}' % (of.url, of.token))
    with Server() as server:
        operations = lambda: server.api('GET', '/api/v1/operations').json['items']
        all_done = lambda: all(o['status']['state'] == 'done' for o in operations())
        made = lambda of: len(of.repositories['acme/hello'])
        not_now = Reply(503, {'message': 'not now'})
        old.fault = lambda call: CUT if call.method == 'POST' else not_now if made(old) else None
        server.apply(hub(old) + '\n---\nkind: EventSource\nmetadata: {name: s}\nspec: {integration: {name: hub}, resource: '
                     '{type: repository, name: hello}}')
        ok(when(lambda: made(old) == 1 and server.status('event-sources', 's').get('reason')), 'made, and the answer is lost')
        count = len(old.calls)
        server.api('POST', '/api/v1/operations/%s/retry' % operations()[0]['metadata']['name'])
        ok(when(lambda: len(old.calls) > count and operations()[0]['status']['state'] == 'pending'), 'nor is it found again')
        ok('hookId' not in server.status('event-sources', 's'), 'so nobody knows its number')
        wrong.fault = lambda call: not_now
        server.apply(hub(wrong))
        old.fault = lambda call: None
        ok(when(lambda: made(old) == 0), 'led elsewhere: it is removed from the old server: %d' % made(old))
        ok(when(lambda: wrong.calls), 'the new address is a mistake')
        server.apply(hub(new))
        ok(when(lambda: made(new) == 1 and all_done()), 'which is mended: %s' % operations())
        is_equal([o['spec'].get('formerAddress') for o in operations() if o['spec'].get('formerAddress')], [old.url],
                 'one removal, at the old server')
        server.apply(hub(wrong))
        ok(when(lambda: made(new) == 0), 'and once more, with a hook that was made')
        server.apply(hub(new))
        ok(when(lambda: made(new) == 1 and all_done()), 'mended')
        is_equal(sorted({o['spec']['formerAddress'] for o in operations() if o['spec'].get('formerAddress')}), sorted({old.url, new.url}),
                 'nothing was to be removed where nothing was made')
        is_equal({c.method for c in wrong.calls}, {'GET'}, 'there somebody looked, that is all')
        for of in (old, wrong, new):
            is_equal({c.headers.get('Authorization') for c in of.calls}, {'Bearer ' + of.token}, 'each saw its own credential alone')
    for of in (old, wrong, new):
        of.close()


def test_overtaken():
    """A hook whose making takes long, while its source is given another repository, or led to another server: what comes of it in
    the end is removed all the same."""
    one, two = GitHub('ghp_one'), GitHub('ghp_two')
    for of in (one, two):
        of.repositories.update({'acme/old': {}, 'acme/new': {}})
        of.pause = lambda method, path: 3 if method == 'POST' and 'old' in path else 0
    hub = lambda of: ('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                      'check: false, allowPrivate: true, auth: {use: token, token: {value: %s}}}' % (of.url, of.token))
    source = lambda repository: ('kind: EventSource\nmetadata: {name: s}\nspec: {path: s, integration: {name: hub}, resource: '
                                 '{type: repository, name: %s}}' % repository)
    made = lambda of: (len(of.repositories['acme/old']), len(of.repositories['acme/new']))
    with Server() as server:
        idle = lambda: all(o['status']['state'] == 'done' for o in server.api('GET', '/api/v1/operations').json['items'])
        server.apply(hub(one) + '\n---\n' + source('old'))
        ok(when(lambda: one.calls), 'it is looked for, and then made, slowly')
        time.sleep(0.5)
        server.apply(source('new'))
        time.sleep(3)
        ok(when(lambda: made(one) == (0, 1) and idle()), 'another repository meanwhile: %s' % (made(one),))
        server.apply(source('old'))
        time.sleep(0.7)
        server.apply(hub(two))
        time.sleep(3)
        ok(when(lambda: made(one) == (0, 0) and made(two) == (1, 0) and idle()), 'another server meanwhile: %s %s' % (made(one), made(two)))
    one.close()
    two.close()


def test_made_again():
    """Sources that are deleted and made again, with the same address, while their provider is down: what is to be removed and what
    is to be made are both waiting then, in any order."""
    double, names = GitHub(), ['r%d' % n for n in range(8)]
    double.repositories.update({'acme/' + n: {} for n in names})
    source = 'kind: EventSource\nmetadata: {name: %s}\nspec: {path: %s, integration: {name: hub}, resource: {type: repository, name: %s}}'
    with Server() as server:
        server.apply('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                     'check: false, allowPrivate: true, auth: {use: token, token: {value: %s}}}' % (double.url, double.token))
        everything = '\n---\n'.join(source % (n, n, n) for n in names)
        server.apply(everything)
        made = lambda: [len(double.repositories['acme/' + n]) for n in names]
        idle = lambda: all(o['status']['state'] == 'done' for o in server.api('GET', '/api/v1/operations').json['items'])
        ok(when(lambda: made() == [1] * 8 and idle()), 'hooks')
        until = time.monotonic() + 4
        double.fault = lambda call: Reply(503, {'message': 'not now'}) if time.monotonic() < until else None
        for name in names:
            server.api('DELETE', '/api/v1/event-sources/' + name)
        time.sleep(1)
        server.apply(everything)
        ok(when(idle, 40), 'all is done')
        time.sleep(0.5)
        is_equal(made(), [1] * 8, 'each has its hook')
        ok(when(idle, 40) and made() == [1] * 8, 'and keeps it')
    double.close()


def test_refused_later():
    """A credential that is not taken any more while a hook is made: the integration says so, too, not only the source. A page for
    browsers is called that."""
    double = GitHub()
    double.repositories.update({'acme/one': {}, 'acme/two': {}})
    with Server() as server:
        server.apply('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                     'allowPrivate: true, auth: {use: token, token: {value: %s}}}' % (double.url, double.token))
        ok(when(lambda: server.status('integrations', 'hub').get('state') == 'ready'), 'it is good when it is checked')
        double.fault = lambda call: Reply(401, {'message': 'Bad credentials'}) if len(double.calls) > 2 else None
        source = lambda n: server.apply('kind: EventSource\nmetadata: {name: %s}\nspec: {integration: {name: hub}, resource: '
                                        '{type: repository, name: %s}}' % (n, n))
        source('one')
        ok(when(lambda: server.status('event-sources', 'one').get('reason') == 'auth'), 'then not: the source says so')
        ok(when(lambda: server.status('integrations', 'hub').get('reason') == 'auth'), 'and the integration: %s' %
           server.status('integrations', 'hub'))
        double.fault = lambda call: Reply(200, b'<html>We are back soon</html>')
        source('two')
        ok(when(lambda: 'answered 200 with' in server.status('event-sources', 'two').get('message', '')), 'a page: %s' %
           server.status('event-sources', 'two').get('message'))
        double.fault = lambda call: Reply(200, b' ' * 9000000)
        source('three')
        said = lambda: server.status('event-sources', 'three')
        ok(when(lambda: 'over the limit' in said().get('message', '')), 'an answer without an end: %s' % said())
        ok(said()['reason'] == 'odd' and said()['state'] == 'error', 'is not asked for again and again')
    double.close()


def test_given_up():
    """A provider that lets nobody in any more does not keep an integration from being deleted, when a person says so."""
    double = GitHub()
    double.repositories['acme/hello'] = hooks = {}
    with Server() as server:
        server.apply('kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "https://github.com/acme", apiUrl: "%s", '
                     'check: false, allowPrivate: true, auth: {use: token, token: {value: %s}}}\n---\nkind: EventSource\nmetadata: '
                     '{name: s}\nspec: {integration: {name: hub}, resource: {type: repository, name: hello}}' % (double.url, double.token))
        ok(when(lambda: hooks and server.status('event-sources', 's').get('state') == 'ready'), 'a hook')
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


def test_late():
    """A hook whose making was still on its way when the server was killed and its source deleted: looked for once more. Not where
    a source has that very hook again."""
    double = GitHub()
    hooks = double.repositories['acme/hello'] = {}
    source = 'kind: EventSource\nmetadata: {name: s}\nspec: {path: s, integration: {name: github}, resource: {type: repository, name: hello}}'
    operations = lambda: server.api('GET', '/api/v1/operations').json['items']
    done = lambda: [o for o in operations() if o['spec']['intent'] == 'hook-remove' and o['status']['state'] == 'done']
    with Server(options=['--public-url', 'https://hooks.example']) as server:
        server.apply(integration(double, 'github'))
        for again in (False, True):
            double.pause = lambda method, path: 4 if method == 'POST' else 0
            calls = len(double.calls)
            server.apply(source)
            ok(when(lambda: len(double.calls) > calls), 'looked for')
            time.sleep(0.3)
            server.kill()
            server.start()
            is_equal(server.api('DELETE', '/api/v1/event-sources/s').status, 204, 'deleted while it is made')
            ok(when(lambda: done() and not hooks), 'removed, as it seems: %s' % [o['status'] for o in operations()])
            ok(when(lambda: hooks), 'the hook that came late')
            next_check = done()[-1]['status'].get('nextCheckAt')
            ok(next_check, 'it is looked for once more: %s' % next_check)
            double.pause = lambda method, path: 0
            if again:
                server.apply(source)
                ok(when(lambda: server.status('event-sources', 's').get('state') == 'ready'), 'a source has it again')
            calls = len(double.calls)
            name = done()[-1]['metadata']['name']
            server.api('POST', '/api/v1/operations/%s/retry' % name)
            if again:
                ok(when(lambda: name not in str(done())), 'that is not looked at')
                is_equal(([c.method for c in double.calls[calls:]], len(hooks)), ([], 1), 'and stays')
            else:
                ok(when(lambda: not hooks), 'and gone')
                ok(when(lambda: done()[-1]['status'].get('nextCheckAt') == next_check), 'until it must have come')
    double.close()


def run(*tests):
    for test in tests:
        test()


# Most of it waits; two at a time.
at_once(lambda: run(test_renamed, test_moved, test_elsewhere, test_left, test_unanswered, test_overtaken),
        lambda: run(test_made_again, test_refused_later, test_given_up, test_limits, test_late))
done()
