#!/usr/bin/env python3
"""Events by command: list, filters, one event, its bytes, following without loss; send; the journal off line."""
import http.server, json, os, signal, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

OPEN = '''
---
kind: EventSource
metadata: {name: open}
spec: {type: generic, path: open, verification: {scheme: none}}
'''


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


with Server() as server:
    server.apply(GITHUB_SOURCE + OPEN)
    url = 'http://127.0.0.1:%d/hooks/' % server.port
    code, out, err = server.cli('send', url + 'repo', '--type', 'github', '--secret', SECRET, '--event', 'issues',
                                '--id', 'first')
    ok(code == 0 and out.startswith('200 {"id":"evt_'), 'send')
    first = json.loads(out[4:])['id']
    code, out, err = server.cli('send', url + 'repo', '--type', 'github', '--secret', SECRET, '--id', 'first')
    ok(code == 0 and '"duplicate":true' in out and first in out, 'the same delivery id again')
    code, out, err = server.cli('send', url + 'repo', '--type', 'github', '--secret', 'wrong')
    ok(code == 1 and out.startswith('401 '), 'a wrong secret: exit code 1')
    code, out, err = server.cli('send', url + 'absent', '--body', '-', stdin=b'x')
    ok(code == 1 and out.startswith('404 '), 'unsigned, to nobody')
    evil = b'a\x1b]0;owned\x07\xe2\x80\xae\xff\x00b'
    code, out, err = server.cli('send', url + 'open', '--body', '-', '-H', 'X-Evil: \x1b[31mred', stdin=evil)
    # a control character in a header is refused by the server: send it without
    code, out, err = server.cli('send', url + 'open', '--body', '-', '-H', 'Content-Type: application/x-evil',
                                stdin=evil)
    ok(code == 0, 'bytes that are no text')
    second = json.loads(out[4:])['id']

    ok(until(lambda: len(server.events()) == 4), 'four events')
    code, out, err = server.cli('events')
    lines = out.splitlines()
    ok(code == 0 and lines[0].split() == ['RECEIVED', 'ID', 'SOURCE', 'TYPE', 'STATE', 'SIZE'] and len(lines) == 5,
       'events: a table')
    ok(second in lines[1] and first in lines[-1], 'newest first')
    for option, value, count in (('--source', 'open', 1), ('--source', 'repo', 3), ('--type', 'nope', 0),
                                 ('--type', 'issues', 1), ('--state', 'rejected', 1), ('--state', 'duplicate', 1),
                                 ('--since', '1h', 4), ('--until', '1h', 0),
                                 ('--since', '2020-02-29', 4), ('--until', '2020-02-29', 0), ('--limit', '2', 2),
                                 ('--delivery', 'first', 2), ('--delivery', 'fir', 0), ('--canvas', 'default', 4)):
        code, out, err = server.cli('events', option, value, '-o', 'json')
        ok(code == 0 and err == '' and len(json.loads(out)['items']) == count, 'events %s %s: %d' % (option, value, count))
    # A name that nothing has is no empty list.
    for words, what in ((['events', '--source', 'nope'], 'EventSource nope in canvas default'),
                        (['events', '--canvas', 'x'], 'Canvas x'),
                        (['events', '--source', 'nope', '-o', 'json'], 'becket get event-sources'),
                        (['deliveries', '--destination', 'nope'], 'Destination nope in canvas default'),
                        (['deliveries', '--canvas', 'x'], 'no Canvas x'),
                        (['replay', '--source', 'nope', '--since', '1h'], 'EventSource nope in canvas default'),
                        (['replay', '--since', '1h', '--to', 'nope'], 'Destination nope in canvas default'),
                        (['replay', 'evt_x'], 'evt_x is not an event'),
                        (['get', 'secret', 'nope'], 'Secret nope in canvas default'),
                        (['get', 'routes', '--canvas', 'x'], 'no Canvas x')):
        code, out, err = server.cli(*words)
        ok(code == 1 and out == '' and what in err and err.count('\n') == 1, ' '.join(words)) or diag('%d %r %r' % (code, out, err))
    os.environ['BECKET_CANVAS'] = 'x'
    for words in (['events'], ['deliveries'], ['replay', '--since', '1h'], ['get', 'routes']):
        is_equal(server.cli(*words)[0::2], (1, 'becket: there is no Canvas x\n'),
                 'BECKET_CANVAS counts for ' + words[0])
    del os.environ['BECKET_CANVAS']
    for words, what in ((['events', '--type', 'nope'], 'no events\n'), (['deliveries'], 'no deliveries\n'),
                        (['get', 'routes'], 'no routes in canvas default\n')):
        is_equal(server.cli(*words), (0, '', what), 'nothing there: ' + ' '.join(words))
    for since, count in (('1600000000', 1), ('1790000000', 1), (str(int(time.time()) + 3600), 0)):
        code, out, err = server.cli('events', '--since', since, '-n', '1', '-o', 'json')
        ok(code == 0 and len(json.loads(out)['items']) == count, 'since %s, in unix seconds: %d' % (since, count)) or diag(err)
    code, out, err = server.cli('events', '--since', 'yesterday')
    ok(code == 2 and 'since' in err and '2026-01-02T03:04:05Z' in err, 'a time that is none')

    code, out, err = server.cli('event', first)
    ok(code == 0 and 'X-GitHub-Event: issues\n' in out and '{"hello":"becket"}' in out and 'accepted' in out, 'event')
    code, out, err = server.cli('event', second)
    ok(code == 0 and '\x1b' not in out and '\u202e' not in out and 'not text' in out, 'event: nothing drives a terminal')
    p = subprocess.run([BECKET, 'event', second, '--body'], capture_output=True,
                       env=dict(os.environ, BECKET_URL='http://127.0.0.1:%d' % server.admin, BECKET_DATA=server.data))
    is_equal(p.stdout, evil, 'event --body: byte for byte')
    code, out, err = server.cli('event', first, '-o', 'json')
    event = json.loads(out)
    ok(event['id'] == first and event['deliveryId'] == 'first' and event['source'] == 'repo' and
       event['provider'] == 'github' and event['size'] == 18 and event['headers']['X-GitHub-Event'] == 'issues',
       'event -o json')
    code, out, err = server.cli('event', first[:-4] + 'ZZZZ')
    ok(code == 1 and 'no such event' in err, 'an event that is not there')
    code, out, err = server.cli('event', 'nonsense')
    ok(code == 1 and 'not an event' in err, 'an id that is none')
    answer = server.api('GET', '/api/v1/events/%s/body' % second)
    ok(answer.headers['content-type'] == 'application/octet-stream' and answer.headers['x-content-type-options'] ==
       'nosniff' and answer.headers['content-disposition'].startswith('attachment'), 'bodies never run in a browser')

    server.cli('delete', 'event-source', 'open')
    code, out, err = server.cli('events', '--source', 'open', '-o', 'json')
    ok(code == 0 and json.loads(out)['items'][0]['source'] == 'open', 'a deleted source keeps its name')
    server.apply(OPEN)

    # ---- pages over the API
    for order in ('asc', 'desc'):
        seen, cursor = [], ''
        for _ in range(20):
            page = server.api('GET', '/api/v1/events?limit=1&order=%s%s' % (order, cursor)).json
            seen += [e['id'] for e in page['items']]
            if not page['items'] or 'next' not in page:
                break
            cursor = '&cursor=' + page['next']
        ok(len(seen) == 4 and len(set(seen)) == 4 and (seen == sorted(seen)) == (order == 'asc'),
           'pages of one, %s' % order)
    ok(server.api('GET', '/api/v1/events?cursor=nonsense').status == 400, 'a cursor that is none')

    # ---- follow while many arrive: none is lost, none comes twice
    environment = dict(os.environ, BECKET_URL='http://127.0.0.1:%d' % server.admin, BECKET_DATA=server.data)
    follower = subprocess.Popen([BECKET, 'events', '--follow', '--source', 'open', '-o', 'json'],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    got = []
    reading = threading.Thread(target=lambda: got.extend(json.loads(l)['id'] for l in follower.stdout))
    reading.start()
    time.sleep(1.5)
    sent, lock = [], threading.Lock()

    def sender():
        connection = server.connect()
        for i in range(400):
            answer = connection.request('POST', '/hooks/open', b'x%d' % i)
            with lock:
                sent.append(answer.json['id'])
        connection.close()

    senders = [threading.Thread(target=sender) for _ in range(4)]
    [t.start() for t in senders]
    [t.join() for t in senders]
    ok(until(lambda: len(got) >= len(sent)), 'follow: all arrive')
    time.sleep(0.7)
    follower.send_signal(signal.SIGINT)
    is_equal(follower.wait(10), 0, 'Ctrl-C: exit code 0')
    reading.join()
    ok(len(got) == 1600 and sorted(got) == sorted(sent), 'follow: each once')
    is_equal(follower.stderr.read(), b'', 'follow: no complaints')
    code, out, err = server.cli('events', '--source', 'open', '--limit', '5000', '-o', 'json')
    ok(len(json.loads(out)['items']) == 1601, 'a limit over one page')

    # ---- metrics and the journal off line
    values = server.metrics()
    ok(values['becket_events_total{source="repo",state="duplicate"}'] == 1 and
       values['becket_ingress_requests_total{source="open",code="200"}'] >= 1600, 'metrics count them')
    code, out, err = server.cli('journal', 'check')
    ok(code == 0 and '1604 records: 1602 accepted, 1 rejected, 1 duplicates, 0 attempts' in out, 'journal check, while serving')
    server.stop()
    code, out, err = server.cli('journal', 'check', '-o', 'json')
    totals = json.loads(out)
    ok(code == 0 and totals['records'] == 1604 and totals['problems'] == 0, 'journal check')
    code, out, err = server.cli('journal', 'dump')
    ok(code == 0 and len({json.loads(l)['id'] for l in out.splitlines()}) == 1604, 'journal dump')
    code, out, err = server.cli('journal', 'dump', '-n', '3', '--bodies')
    ok(code == 0 and [json.loads(l)['body'] for l in out.splitlines()] and len(out.splitlines()) == 3, 'journal dump -n')
    ok(first in server.cli('journal', 'dump')[1], 'ids are those of the answers')
    for log in os.listdir(server.data + '/journal'):
        with open(os.path.join(server.data, 'journal', log), 'r+b') as f:
            at = f.read().find(b'x7')
            if log.endswith('.log') and at > 0:
                f.seek(at)
                f.write(b'y')
                break
    code, out, err = server.cli('journal', 'check')
    ok(code == 1 and log in err, 'a flipped bit is found and placed')

# ---- who follows goes on behind a restart
with Server() as server:
    server.apply(OPEN)
    followers = [subprocess.Popen([BECKET] + words + ['--data', server.data, '--server', 'http://127.0.0.1:%d' % server.admin],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for words in (['events', '--follow', '--source', 'open'], ['listen', 'open', '--forward', 'http://127.0.0.1:1/'])]
    time.sleep(1)
    server.stop()
    time.sleep(1)
    server.start(same_ports=True)
    after = server.post('/hooks/open', b'after').json['id']
    time.sleep(2.5)
    for follower, words in zip(followers, ('follow', 'listen')):
        follower.send_signal(signal.SIGINT)
        out, err = follower.communicate(timeout=10)
        ok(follower.returncode == 0 and out.count(after) == 1 and 'waiting for the server' in err and err.endswith('it answers again\n') and
           'becket: ' not in err, words + ': goes on behind a restart, and says so') or diag(out + err)

# ---- listen goes on behind an event that retention took between its line in the list and its body
class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, status, body):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        lists = self.path.startswith('/api/v1/events?')
        events = [{'id': 'evt_%d' % n, 'source': 'open', 'type': 'x', 'receivedAt': '2026-01-01T00:00:00.000Z', 'headers': {}} for n in (1, 2)]
        if lists:
            items, self.server.events = self.server.events, []
            self.answer(200, json.dumps({'items': items and events, 'next': 'c'}).encode())
        elif self.path.endswith('/evt_1/body'):
            self.answer(404, b'{"code":"not_found","message":"there is no event evt_1","details":[]}')
        else:
            self.answer(200, b'{}')


fake = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answers)
fake.events = [1]
threading.Thread(target=fake.serve_forever, daemon=True).start()
listener = subprocess.Popen([BECKET, 'listen', 'open', '--forward', 'http://127.0.0.1:1/', '--token', 't', '--server',
                             'http://127.0.0.1:%d' % fake.server_address[1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
lines = [listener.stdout.readline() for _ in range(2)]
ok('evt_1' in lines[0] and 'not there any more' in lines[0] and 'evt_2' in lines[1], 'listen: an event that is gone is told, and the next one forwarded') or diag(lines)
listener.send_signal(signal.SIGINT)
is_equal(listener.wait(10), 0, 'and it is ended by Ctrl-C only')


# ---- what was refused is judged again, off line
with Server() as server:
    server.apply(GITHUB_SOURCE + """
---
kind: EventSource
metadata: {name: stripe}
spec: {type: stripe, path: stripe, verification: {secrets: [{value: whsec_right}]}}
---
kind: EventSource
metadata: {name: lab}
spec: {type: gitlab, path: lab, verification: {secrets: [{value: right}]}}
---
kind: EventSource
metadata: {name: theirs}
spec: {type: github, path: theirs, verification: {secrets: [{value: %s}], allow: [192.0.2.0/24]}}
""" % SECRET)
    body = b'{"n":1,"text":"\xc3\xa4 \x00"}'
    old = time.time() - 86400
    sent = [('repo', github(body, 'another')), ('stripe', stripe(body, 'whsec_right', now=old)), ('lab', gitlab(body, 'wrong')), ('theirs', github(body, SECRET))]
    is_equal([server.post('/hooks/' + name, body, headers).status for name, headers in sent], [401, 401, 401, 403], 'refused')
    good = server.post('/hooks/repo', body, github(body, SECRET)).json['id']
    refused = {e['source']: e['id'] for e in server.events_when('state=rejected', 4)}

    def judged(source, *words):
        code, out, err = server.cli('verify', '--event', refused.get(source, source), *words)
        return code, out + err

    code, text = judged('repo', '--type', 'github', '--secret', SECRET)
    ok(code == 1 and text.startswith('not genuine (signature_wrong)') and 'note: the server refused it: no configured secret matches' in text,
       'verify --event: not with the secret of the source') or diag(text)
    code, text = judged('repo', '--type', 'github', '--secret', SECRET, '--secret2', 'another')
    ok(code == 0 and text.startswith('genuine: github, type push') and 'refused it' in text, 'but with that of the sender') or diag(text)
    code, text = judged('stripe', '--type', 'stripe', '--secret', 'whsec_right')
    ok(code == 1 and '(stale)' in text, 'stale, as it was when it came') or diag(text)
    code, text = judged('stripe', '--type', 'stripe', '--secret', 'whsec_right', '--now', str(int(old)))
    ok(code == 0, 'and genuine as of when it was signed') or diag(text)
    code, text = judged('lab', '--type', 'gitlab', '--secret', 'wrong')
    ok(code == 1 and 'note: X-Gitlab-Token is a secret, which is not kept' in text, 'a secret that is not kept is told') or diag(text)
    code, text = judged('theirs', '--type', 'github', '--secret', SECRET, '--allow', '192.0.2.0/24')
    ok(code == 1 and '127.0.0.1' in text, 'where it came from counts') or diag(text)
    ok(judged('theirs', '--type', 'github', '--secret', SECRET)[0] == 0 and judged(good, '--type', 'github', '--secret', SECRET)[1].count('\n') == 1, 'and what was accepted is genuine')
    twice = dict(github(body, SECRET), **{'x-hub-signature-256': 'sha256=' + '0' * 64, 'X-Note': 'a, b', 'x-note': 'c'})
    is_equal(server.post('/hooks/repo', body, twice).status, 401, 'a signature that is there twice')
    twice = [e for e in server.events_when('state=rejected&source=repo', 2) if e['reason'] == 'signature_doubled']
    is_equal([line for line in twice[0]['headerLines'] if 'ote' in line], ['X-Note: a, b', 'x-note: c'], 'its headers can be told apart')
    code, text = judged(twice[0]['id'], '--type', 'github', '--secret', SECRET)
    ok(code == 1 and text.startswith('not genuine (signature_doubled)'), 'and it is judged as it came') or diag(text)
    for words, part in ((['evt_x'], '26 characters'), ([good, '--body', '-'], 'do not go with --event'), ([good, '--header', 'a: b'], 'do not go with --event')):
        code, out, err = server.cli('verify', '--type', 'github', '--secret', 'x', '--event', *words)
        ok(code == 2 and part in err and err.count('\n') == 1, 'wrong usage: ' + ' '.join(words)[:40]) or diag(err)
    code, text = judged('evt_01M8B0HH0F000G000000000001', '--type', 'github', '--secret', 'x')
    ok(code == 1 and text.startswith('becket: ') and text.count('\n') == 1, 'one that is not there: one line') or diag(text)

# ---- lists have pages, and an end
class Pages(Answers):
    """Dead letters on two pages; and of anything else a page that is behind itself."""
    def do_GET(self):
        letter = {'event': 'evt_1', 'canvasId': 'default', 'state': 'dead'}
        if self.path == '/api/v1/me':
            body = {'name': 'admin', 'role': 'admin'}
        elif self.path == '/health/ready':
            body = {'status': 'ready'}
        elif self.path.startswith('/api/v1/deliveries?') and self.server.rolls:
            self.server.rolls += 1
            body = {'items': [dict(letter, destination='app')] * 1000, 'next': str(self.server.rolls)}
        elif self.path.startswith('/api/v1/deliveries?') and self.server.ends:
            many = 'cursor=' not in self.path
            body = dict({'items': [dict(letter, destination='app')] * (1000 if many else 500) + [dict(letter, destination='web')] * (0 if many else 3)},
                        **({'next': 'two'} if many else {}))
        else:
            body = {'items': [dict(letter, destination='app', name='x')], **({} if self.server.ends else {'next': 'again'})}
        self.answer(200, json.dumps(body).encode())

    def do_POST(self):
        self.answer(200, json.dumps({'events': 0, 'deliveries': 5, 'gone': 0} if 'dryRun' in self.path else {'events': 0, 'deliveries': 0, 'gone': 0, 'next': 'again'}).encode())


pages = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Pages)
pages.ends, pages.rolls = True, 0
threading.Thread(target=pages.serve_forever, daemon=True).start()


def paged(*words):
    run = subprocess.run(['timeout', '5', BECKET, *words, '--token', 't', '--server', 'http://127.0.0.1:%d' % pages.server_address[1]], capture_output=True, text=True)
    return run.returncode, run.stdout, run.stderr


code, out, err = paged('status')
is_equal((code, [line.split()[2:6] for line in out.splitlines() if 'given up' in line]), (0, [['app', 'given', 'up:', '1500;'], ['web', 'given', 'up:', '3;']]),
         'status counts dead letters over pages, and tells of each destination') or diag(err)
pages.rolls = 1
code, out, err = paged('status')
ok(code == 0 and 'given up: 20000 or more;' in out and pages.rolls < 30, 'but does not count for ever') or diag((code, out, err))
pages.ends, pages.rolls = False, 0
for words in (['status'], ['get', 'secrets'], ['token', 'list'], ['deliveries', '-n', '2000'], ['events', '-n', '2000'], ['audit', '-n', '2000'],
              ['replay', '--state', 'dead'], ['events', '--follow'], ['listen', 'x', '--forward', 'http://127.0.0.1:1/']):
    code, out, err = paged(*words)
    follows = words[0] == 'listen' or '--follow' in words  # the first page was shown; what it says on top is no mistake
    ok(code == 1 and (follows or (out, err.count('\n')) == ('', 1)) and 'has no end' in err.splitlines()[-1], ' '.join(words) + ': a list without an end is told as one') or diag((code, out, err[:300]))


# ---- what a server says of itself, whoever answers there, drives no terminal
class Drives(Answers):
    def do_GET(self):
        evil = 'x\x1b]0;owned\x07\u202e\n'
        body = {'code': 'x', 'message': evil, 'id': evil, 'place': evil, 'since': evil, 'trouble': evil, 'sealing': True, 'items': []}
        self.answer(503 if self.path == '/health/ready' else 200, json.dumps(body).encode())


drives = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Drives)
threading.Thread(target=drives.serve_forever, daemon=True).start()
for words in (['status'], ['key', 'show']):
    run = subprocess.run([BECKET, *words, '--token', 't', '--server', 'http://127.0.0.1:%d' % drives.server_address[1]], capture_output=True, text=True)
    ok('owned' in run.stdout and not set(run.stdout + run.stderr) & set('\x1b\x07\u202e'), ' '.join(words) + ': nothing of an answer drives a terminal') or diag(run)
done()
