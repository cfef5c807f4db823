#!/usr/bin/env python3
"""Messages to Slack and Discord: each once, also when an answer is lost or the server is killed while it is posted; limits and
refusals are told by the link, and what waited goes when they are mended."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *


def status(server, name, kind='event-sources'):
    answer = server.api('GET', '/api/v1/%s/%s' % (kind, name))
    return answer.json['status'] if answer.status == 200 else {}


def test_messages():
    slack_double, discord = Slack(), Discord()
    slack_double.page_size = 3
    chats = '''
---
kind: IntegrationLink
metadata: {name: slack}
spec: {type: slack, integration: {name: slack}, team: {name: core}, settings: {channel: "#general"}}
---
kind: IntegrationLink
metadata: {name: discord}
spec: {type: discord, integration: {name: discord}, team: {name: core}, settings: {channel: "41771983423143937"}}
'''
    with Server() as server:
        server.apply('kind: Team\nmetadata: {name: core}\nspec: {}\n---' + integration(slack_double, 'slack') + '---' +
                     integration(discord, 'discord').replace(discord.url + '",', discord.url + '/api/v10",') + chats)
        ok(when(lambda: all(status(server, n, 'integration-links').get('resourceId') for n in ('slack', 'discord'))),
           'both channels are found: %s' % status(server, 'discord', 'integration-links'))

        def say(text):
            answer = server.api('POST', '/api/v1/entries', json.dumps({'team': 'core', 'body': text}).encode(),
                                {'Content-Type': 'application/json'})
            is_equal(answer.status, 201, 'said')

        def counts(text):
            return (sum(text in m['text'] for m in slack_double.messages), sum(text in m['content'] for m in discord.messages))

        def operations():
            return server.api('GET', '/api/v1/operations').body.decode()

        def is_idle():
            return not [o for o in server.api('GET', '/api/v1/operations').json['items'] if o['spec']['intent'] == 'post']

        def faulty(faults):
            """The first posting of a text that has this word: so."""
            for double in (slack_double, discord):
                done = set()

                def once(call, done=done):
                    for word, fault in faults.items():
                        if call.method == 'POST' and word.encode() in call.body and word not in done:
                            done.add(word)
                            return fault
                    return None
                double.fault = once
        say('plain')
        ok(when(lambda: counts('plain') == (1, 1)), 'in both channels')
        faults = {'answer-cut': CUT, 'call-lost': LOST, 'answer-503': Reply(503, {})}
        faulty(faults)
        for text in faults:
            say(text)
        ok(when(lambda: is_idle() and all(counts(text) == (1, 1) for text in faults)), 'once: %s' % [counts(t) for t in faults])
        discord.forgets = True
        faulty({'forgotten': CUT})
        say('forgotten')
        ok(when(lambda: is_idle() and counts('forgotten') == (1, 1)), 'Discord has forgotten the nonce: %s' % (counts('forgotten'),))
        discord.reads = False
        faulty({'unread': CUT})
        say('unread')
        ok(when(lambda: is_idle() and counts('unread') == (1, 2)), 'and does not show its history: twice rather than never')
        discord.forgets, discord.reads = False, True
        slack_double.scopes.discard('channels:history')
        faulty({'no-history': CUT})
        say('no-history')
        ok(when(lambda: is_idle() and counts('no-history') == (2, 1)), 'without the scope it is twice rather than never')
        slack_double.scopes.add('channels:history')
        slack_double.outside = set(slack_double.channels)
        faulty({'outside': CUT})
        say('outside')
        ok(when(lambda: is_idle() and counts('outside') == (2, 1)), 'nor does a history of a channel that the app is not in')
        slack_double.outside = set()
        slack_double.fault = discord.fault = lambda call: time.sleep(0.6) if call.method == 'POST' else None
        say('killed')
        ok(when(lambda: counts('killed') != (0, 0) or any('killed' in c.body.decode() for c in discord.calls)), 'on their way')
        server.kill()
        slack_double.fault = discord.fault = lambda call: None
        server.start()
        ok(when(lambda: is_idle() and counts('killed') == (1, 1)), 'kill -9 while it is posted: once: %s' % (counts('killed'),))
        discord.limit = 0
        say('limited')
        ok(when(lambda: status(server, 'discord', 'integration-links').get('reason') == 'limited'), 'a limit is told')
        discord.limit = None
        ok(when(lambda: counts('limited') == (1, 1)), 'and waited for')
        say('x' * 1990 + '\u00e4\u00f6\u00fc')
        ok(when(lambda: counts('x' * 1900) == (1, 1)), 'a long text is cut where Discord cuts')
        for reason, reply in (('auth', Reply(401, {'message': '401: Unauthorized', 'code': 0})),
                              ('forbidden', Reply(403, {'message': 'Missing Access', 'code': 50001})),
                              ('refused', Reply(400, {'message': 'Invalid Form Body', 'code': 50035})),
                              # last: the channel is looked for again, which is told, too
                              ('not_found', Reply(404, {'message': 'Unknown Channel', 'code': 10003}))):
            discord.fault = lambda call: reply
            say('refused ' + reason)
            ok(when(lambda: status(server, 'discord', 'integration-links').get('reason') == reason), '%s is told: %s' % (reason, operations()))
            told = status(server, 'discord', 'integration-links')
            ok(told['state'] == 'error' and told['advice'], str(told))
        discord.fault = lambda call: None
        for item in server.api('GET', '/api/v1/operations').json['items']:
            server.api('POST', '/api/v1/operations/%s/retry' % item['metadata']['name'])
        ok(when(lambda: is_idle() and all(counts('refused ' + r) == (1, 1) for r in ('auth', 'forbidden', 'not_found', 'refused'))),
           'when it is mended they go')
        ok(discord.token not in server.log_text() and slack_double.token not in server.log_text(), 'no token in the log')
    slack_double.close()
    discord.close()


def test_scopes():
    """What an app may not do is told when the link is made, in words that say what to do."""
    double = Slack()
    of = lambda server: status(server, 'slack', 'integration-links')
    link = '''
---
kind: IntegrationLink
metadata: {name: slack}
spec: {type: slack, integration: {name: slack}, team: {name: core}, settings: {channel: "%s"}}
'''
    with Server() as server:
        team = 'kind: Team\nmetadata: {name: core}\nspec: {}\n---' + integration(double, 'slack')
        server.apply(team + link % '#general')
        ok(when(lambda: of(server).get('state') == 'ready'), 'public channels are enough: %s' % of(server))
        ok('notice' not in of(server), 'nothing to say')
        server.apply(link % '#secret')
        ok(when(lambda: 'groups:read' in of(server).get('message', '')), 'a private one is not seen without a scope: %s' % of(server))
        double.scopes = {'chat:write', 'channels:read', 'groups:read'}
        double.channels['C9876543210'] = 'secret'
        server.apply(link % '#secret')
        server.api('POST', '/api/v1/operations/%s/retry' % of(server)['operation'])
        ok(when(lambda: of(server).get('state') == 'ready'), 'with it, it is: %s' % of(server))
        ok('channels:history' in of(server).get('notice', ''), 'what a lost answer will cost is said: %s' % of(server))
        for scopes, words in (({'channels:read', 'groups:read'}, 'add the scope chat:write'),
                              ({'chat:write'}, 'needed: channels:read: add this scope to the app and install it again')):
            double.scopes = scopes
            server.api('POST', '/api/v1/operations/%s/retry' % of(server)['operation'])
            server.apply(link % '#general')
            server.apply(link % '#secret')
            ok(when(lambda: words in of(server).get('message', '')), '%s: %s' % (words, of(server)))
            is_equal((of(server)['state'], of(server)['reason']), ('error', 'forbidden'), 'as forbidden')
        double.scopes, double.says_scopes = {'chat:write', 'channels:read'}, False
        server.apply(link % '#general')
        ok(when(lambda: of(server).get('state') == 'ready'), 'scopes that are not told are not missed: %s' % of(server))
        for error, words in (('not_in_channel', '/invite'), ('is_archived', 'archived'), ('not_allowed_token_type', 'xoxb'),
                             ('channel_not_found', 'invited')):
            double.fault = lambda call: Reply(200, {'ok': False, 'error': error}) if call.path.endswith('postMessage') else None
            server.api('POST', '/api/v1/entries', json.dumps({'team': 'core', 'body': error}).encode(),
                       {'Content-Type': 'application/json'})
            ok(when(lambda: error in of(server).get('message', '') and words in of(server)['message']), '%s: %s' % (error, of(server)))
    double.close()


def test_many_channels():
    """A channel of a workspace that has very many, behind pages that bring less than they were asked for."""
    double = Slack()
    double.channels = dict({'C%09d' % n: 'channel-%d' % n for n in range(400)}, C9999999999='general')
    double.page_size = 2
    with Server(options=['--durability', 'none']) as server:
        server.apply('kind: Team\nmetadata: {name: core}\nspec: {}\n---' + integration(double, 'slack') + '''
---
kind: IntegrationLink
metadata: {name: slack}
spec: {type: slack, integration: {name: slack}, team: {name: core}, settings: {channel: "#general"}}''')
        of = lambda: status(server, 'slack', 'integration-links')
        ok(when(lambda: of().get('resourceId') == 'C9999999999', 30), 'found: %s' % of())
        pages = [c for c in double.calls if c.path.endswith('conversations.list')]
        is_equal(len(pages), 202, 'on the last of so many pages, and one for who may not see private ones')
    double.close()


def test_links_change():
    """What waits goes where its link leads by now, and nowhere by a link that is another team's or another one of that name; nothing
    goes into the channel of before, whatever becomes of the new one; a channel that has another id is found again."""
    double, other = Slack(), Slack('xoxb-of-another-workspace')
    double.channels['C0000000002'] = 'second'
    other.channels = {'C0000000007': 'general'}
    of = lambda server: status(server, 'chat', 'integration-links')
    there = lambda double: [(double.channels[m['channel']], m['text'].rpartition(': ')[2]) for m in double.messages]

    def link(channel, team='core', at='slack'):
        return ('kind: IntegrationLink\nmetadata: {name: chat}\nspec: {type: slack, integration: {name: %s}, team: {name: %s}, '
                'settings: {channel: "%s"}}' % (at, team, channel))

    def found(server, channel):
        return when(lambda: (of(server).get('state'), of(server).get('resourceId')) == ('ready', channel))

    with Server(options=['--durability', 'none']) as server:
        def say(text, team='core'):
            server.api('POST', '/api/v1/entries', json.dumps({'team': team, 'body': text}).encode(), {'Content-Type': 'application/json'})

        def held(text):
            """It waits: Slack is down for this one."""
            double.fault = lambda call: Reply(503, {}) if call.path.endswith('postMessage') else None
            say(text)
            ok(when(lambda: of(server).get('reason') == 'down'), '%s: waits' % text)

        def let(where):
            # A retry of what is under way is that try, and would fail yet.
            tried = lambda o: o['status']['state'] == 'done' or o['status'].get('attempts')
            ok(when(lambda: all(tried(o) for o in server.api('GET', '/api/v1/operations').json['items'])), 'all was tried')
            double.fault = lambda call: None
            for item in server.api('GET', '/api/v1/operations').json['items']:
                server.api('POST', '/api/v1/operations/%s/retry' % item['metadata']['name'])
            ok(when(lambda: not [o for o in server.api('GET', '/api/v1/operations').json['items'] if o['spec']['intent'] == 'post']),
               'nothing waits')
            is_equal(there(double) + there(other), where, 'in the end: %s' % where)
            double.messages, other.messages = [], []

        server.apply('kind: Team\nmetadata: {name: core}\nspec: {}\n---\nkind: Team\nmetadata: {name: rest}\nspec: {}\n---' +
                     integration(double, 'slack') + '---' + integration(other, 'slack', 'two') + '---\n' + link('C0000000002'))
        ok(found(server, 'C0000000002'), 'a channel: %s' % of(server))
        held('of a link that went')
        server.api('DELETE', '/api/v1/integration-links/chat')
        server.apply(link('#general', 'rest'))
        ok(found(server, 'C0123456789'), 'another of that name')
        let([])
        server.apply(link('C0000000002'))
        ok(found(server, 'C0000000002'), 'a channel again')
        held('of a link that is given to another team')
        server.apply(link('#general', 'rest'))
        let([])
        server.apply(link('C0000000002'))
        ok(found(server, 'C0000000002'), 'back')
        held('of a link that goes to another workspace')
        server.apply(link('#general', at='two'))
        is_equal(server.api('DELETE', '/api/v1/integrations/slack').status, 204, 'nothing needs the one before')
        ok(found(server, 'C0000000007'), 'another channel')
        let([('general', 'of a link that goes to another workspace')])

        server.apply(integration(double, 'slack') + '---\n' + link('C0000000002'))
        ok(found(server, 'C0000000002'), 'and back')
        double.fault = lambda call: Reply(200, {'ok': False, 'error': 'channel_not_found'}) if '/conversations' in call.path else None
        server.apply(link('#general'))
        say('while it is not found')
        ok(when(lambda: of(server).get('reason') == 'not_found'), 'the new channel is not found: %s' % of(server))
        ok('resourceId' not in of(server), 'and nothing is said of the old one')
        let([('general', 'while it is not found')])

        double.fault = lambda call: Reply(200, {'ok': False, 'error': 'is_archived'}) if call.path.endswith('postMessage') else None
        calls = len(double.calls)
        say('into an archived one')
        ok(when(lambda: 'archived' in of(server).get('message', '')), 'a channel that is there and takes nothing: %s' % of(server))
        time.sleep(0.5)
        ok('archived' in of(server).get('message', '') and len(double.calls) - calls < 6, 'is told, and not asked again and again: %d' %
           (len(double.calls) - calls))
        let([('general', 'into an archived one')])

        double.channels = {'C0000000009': 'general'}
        say('by the name')
        ok(when(lambda: there(double) == [('general', 'by the name')]), 'a channel with another id is found: %s' % of(server))
        is_equal(of(server).get('resourceId'), 'C0000000009', 'which the link tells')
    double.close()
    other.close()


at_once(test_messages, test_scopes, test_many_channels, test_links_change)
done()
