#!/usr/bin/env python3
"""Requests as RFC 9110 and 9112 have them, and as they must not be: each case of cases.md and of tests/http on the wire,
however it is cut, and between others. What is refused closes the connection, and nothing behind it is answered."""
import os, re, shlex, sys
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SOURCES = GITHUB_SOURCE + """
---
kind: EventSource
metadata: {name: open}
spec: {type: generic, path: open, verification: {scheme: none}, limits: {bodyBytes: 1000}}
---
kind: EventSource
metadata: {name: small}
spec: {type: generic, path: small, verification: {scheme: none}, limits: {bodyBytes: 10}}
"""
GOOD = b'GET /health/live HTTP/1.1\r\nHost: good\r\n\r\n'
REFUSED = {'BAD': 400, 'TOO_LONG': 431, 'URI_TOO_LONG': 414, 'BAD_VERSION': 505, 'NOT_IMPLEMENTED': 501}
ROOT = os.environ.get('BECKET_ROOT') or os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')


def unescape(text):
    def one(match):
        token = match.group(1)
        if token[0] == '{':
            times, _, what = token[1:-1].partition('*')
            return int(times) * unescape(what).decode('latin-1')
        return chr(int(token[1:], 16)) if token[0] == 'x' else {'r': '\r', 'n': '\n', 't': '\t'}.get(token, token)
    return re.sub(r'\\(x[0-9a-fA-F]{2}|\{\d+\*[^}]*\}|.)', one, text).encode('latin-1')


def blocks(path):
    """(line, title, kind, text of the block's lines) of each pair of blocks."""
    title = kind = message = None
    where, line, lines = None, 0, []
    with open(path, encoding='utf-8') as f:
        for number, text in enumerate(f, 1):
            text = text.rstrip('\n')
            if where is None and text.startswith('## '):
                title = text[3:]
            elif where is None and text.startswith('```'):
                where, lines = text[3:], []
            elif where is not None and text == '```':
                if where in ('request', 'response', 'chunked'):
                    kind, message, line = where, lines, number - len(lines) - 1
                else:
                    yield line, title, kind, message, lines
                where = None
            elif where is not None:
                lines.append(text)


class Want:
    """One answer: a status, or any that is not a parser's refusal; whether the connection ends; checks."""

    def __init__(self, status, close, checks=()):
        self.status, self.close, self.checks = status, close, checks

    def problem(self, answer):
        if self.status is None:
            if answer.status in (400, 414, 431, 505):
                return 'is refused with %d' % answer.status
        elif answer.status != self.status:
            return 'status %d, not %d' % (answer.status, self.status)
        if self.close is not None and (answer.headers.get('connection') == 'close') != self.close:
            return 'Connection: %s' % answer.headers.get('connection')
        for name, value in self.checks:
            got = answer.body.decode('latin-1') if name == 'body' else \
                answer.headers.get('content-length' if name == 'length' else name)
            if got != value:
                return '%s is %r, not %r' % (name, got, value)
        return None


class Case:
    def __init__(self, name, data, wants, heads, whole_only=False, silent=False):
        self.name, self.data, self.wants, self.heads = name, data, wants, heads
        self.whole_only, self.silent = whole_only, silent

    @property
    def closes(self):
        return bool(self.wants) and self.wants[-1].close is True


def wire_cases(path):
    for line, title, kind, message, lines in blocks(path):
        whole_only = 'only whole' in lines
        wants, heads = [], []
        for text in lines:
            if text == 'only whole':
                continue
            words = shlex.split(text) if "'" in text else text.split()
            checks = [tuple(w.split('=', 1)) for w in words[1:] if '=' in w]
            wants.append(Want(int(words[0]), 'close' in words, checks))
            heads.append('empty' in words)
        data = b''.join(unescape(l) for l in message)
        yield Case('cases.md:%d: %s' % (line, title), data, wants, heads, whole_only)


def parser_cases(path):
    """A request of tests/http: what the parser refuses is refused on the wire, what it takes is answered."""
    for line, title, kind, message, lines in blocks(path):
        if kind != 'request':
            continue
        name = '%s:%d: %s' % (os.path.basename(path), line, title)
        data = b''.join(unescape(l) for l in message)
        facts = dict(l.partition(' ')[::2] for l in lines[1:])
        result = lines[0]
        if result in REFUSED:
            # A head that dribbles in is looked at when a line ends.
            data += b'' if data.endswith(b'\n') else b'\r\n'
            yield Case(name, data, [Want(REFUSED[result], True)], [False])
        elif result == 'PARTIAL':
            yield Case(name, data, [], [], whole_only=True, silent=True)
        elif not facts.get('rest') and b'chunked\r\n' not in data.lower() and \
                int(re.search(rb'content-length:\s*(\d+)', data.lower() + b'content-length:0').group(1)) == 0 and \
                b'\ncontent-length' not in data.lower():
            closes = facts.get('keep-alive') == 'no' or None
            yield Case(name, data, [Want(None, closes)], [data.startswith(b'HEAD ')])


def play(port, data, wants, heads, closes):
    """Send it, read the answers. What is wrong, or None."""
    try:
        connection = Connection(port, timeout=20)
    except OSError as error:
        return 'cannot connect: %r' % error
    sent(connection, data)
    return hear(connection, wants, heads, closes)


def sent(connection, part):
    try:
        connection.send(part)
        return True
    except OSError:
        return False  # refused before it was all sent


def hear(connection, wants, heads, closes, kept=None):
    """Read the answers. What is wrong, or None. `kept`: where a connection goes that is good at the end."""
    good = False
    try:
        for want, head in zip(wants, heads):
            answer = connection.read(head_only=head)
            while answer.status == 100:
                answer = connection.read(head_only=head)
            problem = want.problem(answer)
            if problem:
                return problem
            if want.status is None and answer.headers.get('connection') == 'close':
                return None
        if closes:
            return None if connection.at_end() else 'is not closed'
        connection.send(GOOD)
        answer = connection.read()
        good = answer.status == 200
        return None if good else 'then a good request gets %d' % answer.status
    except (Broken, OSError, ValueError) as error:
        return repr(error)
    finally:
        if good and kept is not None:
            kept.append(connection)
        else:
            connection.close()


def silent(port, data):
    connection = Connection(port)
    try:
        connection.send(data)
        connection.sock.settimeout(0.05)
        try:
            got = connection.sock.recv(100)
            return 'says %r' % got
        except socket.timeout:
            return None
    finally:
        connection.close()


def run(port, case):
    """All the ways to send one case; a list of what went wrong."""
    data, wants, heads, closes = case.data, case.wants, case.heads, case.closes
    if case.silent:
        problem = silent(port, data)
        return ['whole: ' + problem] if problem else []
    found = []

    def note(how, problem):
        if problem and len(found) < 5:
            found.append('%s: %s' % (how, problem))

    note('whole', play(port, data, wants, heads, closes))
    good = Want(200, False)
    note('behind a good request', play(port, GOOD + data, [good] + wants, [False] + heads, closes))
    if not closes and None not in (w.status for w in wants):
        note('before a good request', play(port, data + GOOD, wants + [good], heads + [False], False))
    elif closes:
        note('before a good request', play(port, data + GOOD, wants, heads, True))
    if case.whole_only:
        return found
    step = 1 if len(data) <= 300 else len(data) // 40
    kept, cuts = [], range(1, len(data), step)
    for first in range(0, len(cuts), 16):  # so many wait together between their halves
        wave = [(cut, kept.pop() if kept else Connection(port, timeout=20)) for cut in cuts[first:first + 16]]
        begun = [sent(connection, data[:cut]) for cut, connection in wave]
        time.sleep(0.001)
        for (cut, connection), well in zip(wave, begun):
            if well:
                sent(connection, data[cut:])
        for cut, connection in wave:
            note('cut at %d' % cut, hear(connection, wants, heads, closes, kept))
    for connection in kept:
        connection.close()
    return found


def dribble(port, cases):
    """Byte by byte, many cases side by side: what went wrong by case."""
    said = {}
    for first in range(0, len(cases), 64):
        wave = [(case, Connection(port, timeout=20)) for case in cases[first:first + 64]]
        sending = wave
        for i in range(max(len(case.data) for case, _ in wave)):
            sending = [(case, c) for case, c in sending if i < len(case.data) and sent(c, case.data[i:i + 1])]
            time.sleep(0.0005)
        for case, connection in wave:
            said[case] = hear(connection, case.wants, case.heads, case.closes)
    return said


with Server() as server:
    server.apply(SOURCES)
    here = os.path.join(ROOT, 'tests', 'wire', 'cases.md')
    cases = list(wire_cases(here))
    ok(len(cases) > 40, 'there are %d cases of the wire' % len(cases))
    folder = os.path.join(ROOT, 'tests', 'http')
    for name in sorted(os.listdir(folder)):
        if name.endswith('.md') and name not in ('README.md', 'response.md', 'chunked.md'):
            cases += parser_cases(os.path.join(folder, name))
    ok(len(cases) > 200, 'and %d with those of the parser' % len(cases))
    dribbled = dribble(server.port, [c for c in cases if not c.silent and not c.whole_only and len(c.data) <= 400])
    with ThreadPoolExecutor(4) as pool:
        for case, found in zip(cases, pool.map(lambda c: run(server.port, c), cases)):
            found += ['byte by byte: ' + dribbled[case]] if dribbled.get(case) else []
            if not ok(not found, case.name):
                for line in found:
                    diag(line)
    ok(server.get('/health/live').status == 200, 'the server is well')
    # The admin listener: the same rules, and the authority of an absolute target is what counts as Host.
    for target, host, status in (('http://localhost/api/v1/event-sources', 'evil.example', 200),
                                 ('http://evil.example/api/v1/event-sources', 'localhost', 421),
                                 ('*', 'localhost', 204)):
        connection = Connection(server.admin)
        method = 'OPTIONS' if target == '*' else 'GET'
        connection.send(('%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n' %
                         (method, target, host, server.token)).encode())
        is_equal(connection.read().status, status, 'admin: %s %s with Host %s' % (method, target, host))
        connection.close()
    # What may be there once only: who is in front may have looked at the other one.
    for name, first, second in (('Authorization', 'Bearer ' + server.token, 'Bearer ' + server.token),
                                ('authorization', 'Bearer nobody', 'Bearer ' + server.token), ('Cookie', 'a=1', 'b=2'),
                                ('Content-Type', 'application/json', 'text/plain'), ('Origin', 'http://localhost', 'null')):
        connection = Connection(server.admin)
        own = '' if name.lower() == 'authorization' else 'Authorization: Bearer %s\r\n' % server.token
        connection.send(('GET /api/v1/event-sources HTTP/1.1\r\nHost: localhost\r\n%s%s: %s\r\nX: y\r\n%s: %s\r\n\r\n' %
                         (own, name, first, name.upper(), second)).encode())
        is_equal(connection.read().status, 400, 'admin: two of %s' % name)
        connection.close()
    is_equal(server.stop(), 0, 'and stops in order')
done()
