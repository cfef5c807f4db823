#!/usr/bin/env python3
"""Deliveries and replays by command and by API; events forwarded to a local program."""
import datetime, http.server, json, os, signal, ssl, subprocess, sys, tempfile, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from certs import Certs
from sink import Sink as TlsSink

received = []
status = [200]


class Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('content-length', 0)))
        received.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(status[0])
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')

    def log_message(self, *args):
        pass


sink = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Sink)
threading.Thread(target=sink.serve_forever, daemon=True).start()
port = sink.server_address[1]

SET = '''kind: EventSource
metadata: {name: repo}
spec: {type: github, path: repo, verification: {secrets: [{value: s3cret}]}}
---
kind: Destination
metadata: {name: app}
spec: {url: "http://127.0.0.1:%d/in", allowPrivate: true, retry: {schedule: [1h]}}
---
kind: Destination
metadata: {name: other}
spec: {url: "http://127.0.0.1:%d/other", allowPrivate: true}
---
kind: Route
metadata: {name: repo-to-app}
spec:
  from: [{source: repo, types: [push]}]
  filters: [{type: FILTER_TYPE_DATA, data: {expression: "$.n != 3"}}]
  to: [{destination: app}]
''' % (port, port)

with Server() as server:
    def hook(n, event='push'):
        body = json.dumps({'n': n}).encode()
        return server.post('/hooks/repo', body, github(body, 's3cret', 'd%d' % n, event)).json['id']

    ok(server.cli('apply', '-f', '-', stdin=SET.encode())[0] == 0, 'apply')
    ids = [hook(n) for n in range(1, 6)] + [hook(6, 'issues')]
    ok(when(lambda: len(received) == 4), 'the route delivers what its type and filter let through')
    time.sleep(0.3)
    is_equal(sorted(json.loads(body)['n'] for _, _, body in received), [1, 2, 4, 5], 'and nothing else')
    ok(all(h['webhook-id'] in ids and h['becket-source'] == 'repo' for _, h, _ in received), 'with their ids')

    def deliveries(query=''):
        return server.api('GET', '/api/v1/deliveries' + query).json['items']

    ok(when(lambda: len(deliveries()) == 4), 'GET /api/v1/deliveries: every try')
    is_equal({d['state'] for d in deliveries('?destination=app')}, {'delivered'}, 'of a destination')
    is_equal([d['event'] for d in deliveries('?event=' + ids[0])], [ids[0]], 'of an event')
    is_equal(deliveries('?state=failed'), [], 'by state')
    is_equal(server.api('GET', '/api/v1/deliveries?destination=none').status, 400, 'no such destination')
    is_equal(server.api('GET', '/api/v1/deliveries?event=x').status, 400, 'no such id')
    code, out, err = server.cli('deliveries', '--event', ids[1])
    ok(code == 0 and ids[1] in out and 'delivered' in out and '200' in out, 'becket deliveries')
    answer = server.api('GET', '/api/v1/destinations/app').json['status']
    ok(answer['state'] == 'ready' and 'delivery' in answer, 'status tells how deliveries go')

    received.clear()
    code, out, err = server.cli('replay', ids[0], '--dry-run')
    ok(code == 0 and 'would replay 1 event as 1 delivery: app\n' == out, 'replay --dry-run of one: where to') or diag(out)
    is_equal(server.api('POST', '/api/v1/events/%s/replay?dryRun=true' % ids[0]).json,
             {'events': 1, 'deliveries': 1, 'dryRun': True, 'destinations': ['app']}, 'by the API, too')
    code, out, err = server.cli('replay', '--source', 'repo', '--type', 'nothing*', '--since', '1h')
    ok(code == 0 and 'nothing to replay' in out, 'none that fits is said: %s' % out.strip())
    code, out, err = server.cli('replay', ids[0])
    ok(code == 0 and when(lambda: len(received) == 1) and received[0][1]['webhook-id'] == ids[0],
       'replay of one, with the same id')
    received.clear()
    code, out, err = server.cli('deliveries', '--event', ids[5])
    ok(code == 0 and out == '' and 'no route led it anywhere' in err and '--dry-run' in err, 'one that went nowhere: where to look') or diag(err)
    code, out, err = server.cli('replay', ids[5])
    ok(code == 1 and 'no route wants this event, by its type or their filters;' in err, 'an event that no route wants') or diag(err)
    code, out, err = server.cli('replay', ids[5], '--to', 'other')
    ok(code == 0 and when(lambda: len(received) == 1) and received[0][0] == '/other', 'goes where it is sent')
    received.clear()
    code, out, err = server.cli('replay', '--source', 'repo', '--since', '1h', '--dry-run', '-o', 'json')
    is_equal(json.loads(out)['deliveries'], 4, 'a query is counted')
    time.sleep(0.3)
    is_equal(received, [], 'and a dry run sends nothing')
    code, out, err = server.cli('replay', '--source', 'repo', '--since', '1h')
    ok(code == 0 and when(lambda: len(received) == 4), 'and replayed: %s' % (out or err).strip())
    received.clear()
    code, out, err = server.cli('replay', '--since', '1h', '--to', 'other', '--rate', '1000')
    ok(code == 0 and when(lambda: len(received) == 6) and {p for p, _, _ in received} == {'/other'},
       'everything to one destination, at a rate')
    received.clear()
    code, out, err = server.cli('replay', '--since', '1h', '--to', 'other', '--rate', '2')
    when(lambda: received)
    server.cli('pause', 'other')
    server.cli('resume', 'other')
    time.sleep(0.5)
    ok(len(received) < 5, 'who resumes hurries what failed, not a slow replay: %d came' % len(received))
    ok(when(lambda: len(received) == 6), 'which goes on at its rate')
    is_equal(server.api('POST', '/api/v1/replay').status, 400, 'a replay without since')
    is_equal(server.api('POST', '/api/v1/events/evt_x/replay').status, 404, 'an id that is none')

    # However many want it: nobody is left out.
    many = ''.join("""---
kind: Destination
metadata: {name: many-%d}
spec: {url: "http://127.0.0.1:%d/many/%d", allowPrivate: true}
""" % (i, port, i) for i in range(600))
    many += ''.join("""---
kind: Route
metadata: {name: to-many-%d}
spec: {from: [{source: repo}], to: [%s]}
""" % (r, ', '.join('{destination: many-%d}' % i for i in range(r, 600, 20))) for r in range(20))
    many += """---
kind: Route
metadata: {name: again}
spec: {from: [{source: repo}], to: [{destination: many-1}, {destination: many-21}]}
"""
    is_equal(server.cli('apply', '-f', '-', stdin=many.encode())[0], 0, 'apply of 600 destinations')
    received.clear()
    answer = server.api('POST', '/api/v1/events/%s/replay' % ids[5])
    ok(answer.status // 100 == 2, 'replay of one event to all of them')
    ok(when(lambda: len({p for p, _, _ in received}) == 600, 20), 'each gets it (%d)' % len({p for p, _, _ in received}))
    time.sleep(0.3)
    is_equal(len(received), 600, 'once')
    received.clear()
    code, out, err = server.cli('replay', '--source', 'repo', '--since', '1h', '--dry-run', '-o', 'json')
    is_equal(json.loads(out)['deliveries'], 6 * 600 + 4, 'a query counts all of them')
    for r in list(range(20)):
        server.api('DELETE', '/api/v1/routes/to-many-%d' % r)
    server.api('DELETE', '/api/v1/routes/again')

    status[0] = 500
    failing = hook(7)
    ok(when(lambda: [d['event'] for d in deliveries('?state=pending')] == [failing]), 'a failed one is pending')
    ok(when(lambda: [d['status'] for d in deliveries('?state=failed')] == [500]), 'and the try tells its status')
    is_equal(deliveries('?state=pending')[0].get('reason'), 'the answer 500 is no success', 'why it is pending is told')
    server.cli('pause', 'app')
    is_equal(deliveries('?state=pending')[0].get('reason'), 'its destination is paused', 'also that it is paused')
    server.cli('resume', 'app')
    status[0] = 200

    # What was given up is told, and sent again to where it was to go, and nothing else.
    server.apply('\n---\n'.join('kind: Destination\nmetadata: {name: frail-%d}\n'
                                'spec: {url: "http://127.0.0.1:%d/frail-%d", allowPrivate: true, retry: {schedule: [100ms], jitter: 0}}'
                                % (i, port, i) for i in (1, 2)) + """
---
kind: Route
metadata: {name: frail}
spec: {from: [{source: repo, types: [frail]}], to: [{destination: frail-1}, {destination: frail-2}]}
""")
    status[0] = 500
    frail = [hook(n, 'frail') for n in (20, 21)]
    ok(when(lambda: len(deliveries('?state=dead')) == 4), 'two events are given up by two destinations')
    status[0] = 200
    fine = hook(22, 'frail')
    ok(when(lambda: len(deliveries('?state=delivered&event=' + fine)) == 2), 'then they are up again')
    told = [['frail-1', 'given', 'up:', '2;'], ['frail-2', 'given', 'up:', '2;']]
    ok(when(lambda: [line.split()[2:6] for line in server.cli('status')[1].splitlines() if 'given up' in line] == told),
       'status goes on to tell of it')
    received.clear()
    code, out, err = server.cli('replay', '--state', 'dead', '--destination', 'frail-1', '--dry-run')
    ok(code == 0 and 'would replay 2 events as 2 deliveries' in out, 'replay --state dead --dry-run')
    part = lambda query: server.api('POST', '/api/v1/replay?' + query)
    first = part('state=dead&dryRun=true&limit=3').json
    rest = part('state=dead&dryRun=true&limit=3&cursor=' + first.get('next', '')).json
    is_equal(((first['deliveries'], rest['deliveries']), 'next' in rest), ((3, 1), False), 'in parts, by the API')
    server.apply('kind: Canvas\nmetadata: {name: elsewhere}\n')
    bound = server.api('POST', '/api/v1/tokens', json.dumps({'name': 'bound', 'role': 'write', 'canvas': 'elsewhere'}).encode(),
                       {'Content-Type': 'application/json'}).json['token']
    is_equal(server.api('POST', '/api/v1/replay?state=dead', token=bound).json['deliveries'], 0, 'and never those of another canvas')
    is_equal([part(query).status for query in ('state=dead&source=repo', 'since=1h&destination=app', 'since=1h&cursor=x', 'state=dead&cursor=x',
                                               'state=dead&destination=none', 'state=pending')], [400] * 6, 'what it does not take')
    asked = lambda: len([item for item in server.api('GET', '/api/v1/audit?limit=1000').json['items'] if item['action'] == 'replayed'])
    before = asked()
    code, out, err = server.cli('replay', '--state', 'dead', '--destination', 'frail-1', '--rate', '1')
    ok(code == 0 and 'replaying 2 events as 2 deliveries' in out and when(lambda: len(received) == 2), 'and without, at a rate')
    is_equal(asked() - before, 1, 'asked for at once')
    ok(when(lambda: len(deliveries('?state=delivered&destination=frail-1')) == 3), 'both are delivered')
    last, first = (datetime.datetime.fromisoformat(d['endedAt'].replace('Z', '+00:00')) for d in
                   deliveries('?state=delivered&destination=frail-1')[:2])
    ok((last - first).total_seconds() > 0.2, 'a second apart: %s' % (last - first))
    is_equal({(path, h['webhook-id']) for path, h, _ in received}, {('/frail-1', id) for id in frail}, 'to the one that is named')
    ok(when(lambda: len(deliveries('?state=dead')) == 2), 'what is delivered is no dead letter any more')
    received.clear()
    code, out, err = server.cli('replay', '--state', 'dead')
    ok(code == 0 and when(lambda: len(received) == 2), 'and all of them')
    is_equal({(path, h['webhook-id']) for path, h, _ in received}, {('/frail-2', id) for id in frail}, 'each to its own')
    ok(when(lambda: not deliveries('?state=dead')), 'none is left')
    code, out, err = server.cli('replay', '--state', 'dead')
    ok(code == 0 and 'nothing to replay: no dead letter' in out, 'which is said')
    ok('given up' not in server.cli('status')[1], 'and status is silent')
    for words in (['--state', 'dead', '--source', 'repo'], ['--destination', 'app', '--since', '1h'],
                  ['--state', 'dead', ids[0]]):
        is_equal(server.cli('replay', *words)[0], 2, 'what does not go together: %s' % ' '.join(words[:3]))
    server.cli('delete', 'route', 'frail')
    server.cli('delete', 'destination', 'frail-1')
    code, out, err = server.cli('deliveries', '--event', frail[0])
    ok(' frail-2 ' in out and ' deleted #' in out, 'a destination that is gone is told as such') or diag(out)

    received.clear()
    listener = subprocess.Popen([server.program, 'listen', 'repo', '--forward', 'http://127.0.0.1:%d/dev' % port,
                                 '--server', 'http://127.0.0.1:%d' % server.admin, '--data', server.data],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    listener.stderr.readline()
    time.sleep(0.6)
    forwarded = hook(8, 'issues')
    ok(when(lambda: any(p == '/dev' for p, _, _ in received)), 'becket listen forwards')
    path, headers, body = next(r for r in received if r[0] == '/dev')
    ok(body == b'{"n": 8}' and headers['webhook-id'] == forwarded and headers['x-github-event'] == 'issues' and
       headers['becket-type'] == 'issues' and headers['becket-hops'] == '1', 'body, id and the provider\'s headers')
    ok(forwarded in listener.stdout.readline(), 'and says so')
    listener.terminate()
    is_equal(listener.wait(10), 0, 'it ends when told')

    # A replay that is ended says what goes on without it: of a server that takes two parts, and then stands still.
    parts = []

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            dry = 'dryRun' in self.path
            parts.extend([] if dry else [self.path])
            if len(parts) == 3:
                time.sleep(5)
            answer = b'{"events":1,"deliveries":%d}' % (9000 if dry else 1800)
            self.send_response(200)
            self.send_header('Content-Length', str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    slow = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Slow)
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        parts.clear()
        replay = subprocess.Popen([server.program, 'replay', '--since', '1h', '--token', 'x', '--server',
                                   'http://127.0.0.1:%d' % slow.server_address[1]], stderr=subprocess.PIPE, text=True)
        ok(when(lambda: len(parts) == 3), 'a replay in parts')
        replay.send_signal(number)
        out, err = replay.communicate(timeout=10)
        ok(replay.returncode == -number and err.count('\n') == 1 and 'after 3600 of 9000 deliveries' in err and
           '--state pending' in err and 'becket pause' in err, 'is ended: %s' % err.strip())
    slow.shutdown()
    server.apply(json.dumps({'kind': 'EventSource', 'metadata': {'name': 'odd'}, 'spec': {
        'type': 'generic', 'path': 'odd', 'verification': {'scheme': 'none', 'type': {'field': '/type'}}}}))
    received.clear()
    listener = subprocess.Popen([server.program, 'listen', 'odd', '--forward', 'http://127.0.0.1:%d/odd' % port,
                                 '--server', 'http://127.0.0.1:%d' % server.admin, '--data', server.data],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    listener.stderr.readline()
    time.sleep(0.6)
    Connection(server.port).request('POST', '/hooks/odd', b'{"type":"a%\r\nX-Evil: 1"}')
    if ok(when(lambda: any(p == '/odd' for p, _, _ in received)), 'becket listen forwards what has an odd type'):
        headers = next(h for p, h, _ in received if p == '/odd')
        ok(headers['becket-type'] == 'a%25%0D%0AX-Evil:%201' and 'x-evil' not in headers, 'which stays in its line')
    listener.terminate()
    listener.wait(10)
    stray = subprocess.Popen([server.program, 'listen', 'rep', '--forward', 'http://127.0.0.1:%d/dev' % port,
                              '--server', 'http://127.0.0.1:%d' % server.admin, '--data', server.data],
                             stderr=subprocess.PIPE, text=True)
    ok('no EventSource rep' in stray.stderr.readline(), 'a source that is not there is told')
    stray.terminate()
    stray.wait(10)
    code, out, err = server.cli('listen', 'repo', '--forward', 'http://192.0.2.1/')
    ok(code == 2 and '--allow-remote' in err, 'not to another machine')
    code, out, err = server.cli('listen', 'repo', '--forward', 'http://127.0.0.1.example.test/')
    ok(code == 2 and '--allow-remote' in err, 'whatever its name begins with')
    listener = subprocess.Popen([server.program, 'listen', 'repo', '--forward', 'http://dev.localhost:%d/dev' % port, '--server',
                                 'http://127.0.0.1:%d' % server.admin, '--data', server.data], stderr=subprocess.PIPE, text=True)
    ok('forwarding events of repo' in listener.stderr.readline(), 'a name below localhost is this machine')
    listener.terminate()
    listener.wait(10)

    broken = server.post('/hooks/repo', b'[1', github(b'[1', 's3cret', 'broken')).json['id']
    code, out, err = server.cli('replay', broken, '--dry-run')
    ok(code == 1 and 'a filter fails on it: the body is not JSON' in err, 'or that a filter fails on: why') or diag(err)

    # A program that is being written may speak TLS, by an authority of one's own.
    with tempfile.TemporaryDirectory() as directory:
        certs = Certs(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certs.make('dev'))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with TlsSink(context=context) as sink:
            listener = subprocess.Popen([server.program, 'listen', 'repo', '--forward', sink.url('/dev'), '--since', '1h', '--ca-file',
                                         certs.path('ca.pem'), '--server', 'http://127.0.0.1:%d' % server.admin, '--data', server.data],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            said = listener.stdout.readline()
            ok(sink.wait('/dev', 1, 5), 'becket listen forwards by TLS to whom --ca-file vouches for: %s' % said.strip())
            listener.terminate()
            listener.wait(10)
done()
