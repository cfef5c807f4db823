#!/usr/bin/env python3
"""README.md and src/guides/ are true: each yaml block applies (dry run, with the other blocks of its page to refer to), each becket
command line has a command, words and options that exist, each page, place, kind and metric they name is there."""
import glob
import os
import re
import shlex
import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from openapi import Description

ROOT = os.environ.get('BECKET_ROOT', os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
TLS = os.path.join(ROOT, 'tests', 'vectors', 'tls')
WRONG = []  # what is wrong with the page at hand


def read(*names):
    with open(os.path.join(*names)) as f:
        return f.read()


def blocks(text, kind):
    """[(line, text)] of the fenced blocks of this kind."""
    return [(text.count('\n', 0, m.start()) + 1, m.group(1)) for m in re.finditer(r'(?ms)^```%s\n(.*?)^```$' % kind, text)]


# ---- yaml

# What nobody wants to read in a guide stands there as words.
PEMS = {'"PEM of the authority"': 'CERTIFICATE', '"PEM of our certificate"': 'CERTIFICATE', '"PEM of its key"': 'KEY',
        '"PEM of its RSA key"': 'KEY'}


def pem(kind):
    return json.dumps(read(TLS, 'client_rsa.pem' if kind == 'CERTIFICATE' else 'client_rsa.key'))


def documents(block):
    """(kind, canvas, name) → text. A block is documents of the form that the guides keep to: kind and metadata on a line each."""
    found = {}
    for text in re.split(r'(?m)^---\n', block):
        kind = re.search(r'(?m)^kind: (\w+)$|^kind: (\w+) ', text)
        name = re.search(r'(?m)^metadata: \{name: ([a-z0-9-]+)(?:, canvasId: ([a-z0-9-]+))?', text)
        if not kind or not name:
            WRONG.append('a document without "kind: …" and "metadata: {name: …" on lines of their own: %r' % text[:60])
            continue
        for words, what in PEMS.items():
            text = text.replace(words, pem(what))
        found[(kind.group(1) or kind.group(2), name.group(2), name.group(1))] = text
    return found


API = []  # its description, once


def described(server, results):
    """What of the specs /api/v1/openapi.json does not have."""
    if not API:
        API.append(Description(server.api('GET', '/api/v1/openapi.json').json))
    return [w for result in results for change in result.get('diff', []) if change['path'] == 'spec'
            for w in API[0].check(API[0].root['components']['schemas'][result['kind']]['properties']['spec'], change['after'],
                                  '%s %s: spec' % (result['kind'], result['name']))]


def check_yaml(server, text):
    parts = [(line, documents(block)) for line, block in blocks(text, 'yaml')]
    for line, own in parts:
        around = {}
        for _, others in parts:
            around.update(others)
        around.update(own)
        answer = server.api('POST', '/api/v1/apply?dryRun=true', '---\n'.join(t.rstrip() + '\n' for t in around.values()).encode())
        if answer.status != 200:
            WRONG.append('the yaml block at line %d does not apply: %s' % (line, answer.body.decode()[:600]))
        else:
            WRONG.extend('openapi.json: %s' % w for w in described(server, answer.json['results']))
    return len(parts)


# ---- commands

HELP = {}


def help_of(server, command):
    if command not in HELP:
        code, out, _ = server.cli('help', command)
        HELP[command] = out if code == 0 else None
    return HELP[command]


KINDS = {}


def is_kind(server, word):
    if word not in KINDS:
        KINDS[word] = server.cli('get', word)[0] == 0
    return KINDS[word]


def check_option(text, option):
    """Does the help name it? With a value attached or as a word of its own."""
    name = option.split('=')[0]
    return re.search(r'(?m)^\s+(?:-\w, )?%s(?: |$)|^\s+%s, --' % (re.escape(name), re.escape(name)), text) is not None


def check_command(server, where, words):
    """words: those behind `becket`, up to the end of the command."""
    if not words or words[0].startswith('COMMAND') or words[0] == '…':
        return
    text = help_of(server, words[0])
    if text is None:
        WRONG.append('%s: there is no command %s' % (where, words[0]))
        return
    for word in words[1:]:
        if re.match(r'--?[a-z]', word) and not check_option(text, word):
            WRONG.append('%s: becket %s has no option %s' % (where, words[0], word))
    first = words[1] if len(words) > 1 and not words[1].startswith('-') else None
    if first and words[0] in ('token', 'entry', 'journal', 'key') and first not in text.split('options:')[0]:
        WRONG.append('%s: becket %s takes no %s' % (where, words[0], first))
    if first and words[0] in ('get', 'describe', 'delete') and first != 'KIND' and not is_kind(server, first):
        WRONG.append('%s: there is no kind %s' % (where, first))
    if first and words[0] == 'help' and first != 'COMMAND' and help_of(server, first) is None:
        WRONG.append('%s: there is no command %s' % (where, first))
    if first and words[0] == 'providers' and server.cli('providers', first)[0] != 0:
        WRONG.append('%s: there is no provider %s' % (where, first))


def check_line(server, where, line):
    """Each command of a line of sh: behind assignments, pipes and &&."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        WRONG.append('%s: %s' % (where, error))
        return 0
    command, found = [], 0
    for word in words + ['|']:
        if word not in ('|', '&&', ';', '&'):
            command.append(word)
            continue
        while command and re.match(r'[A-Z_]+=', command[0]):
            command.pop(0)
        if command and os.path.basename(command[0]) == 'becket':
            check_command(server, where, command[1:])
            found += 1
        command = []
    return found


def check_commands(server, text):
    found = 0
    for line, block in blocks(text, 'sh'):
        for offset, one in enumerate(block.replace('\\\n', ' ').splitlines()):
            found += check_line(server, 'line %d' % (line + 1 + offset), one)
    for line, block in blocks(text, 'ini'):
        for start in re.findall(r'(?m)^ExecStart=/usr/local/bin/(becket .*)$', block):
            found += check_line(server, 'line %d' % line, start)
    plain = re.sub(r'(?ms)^```.*?^```$', lambda m: '\n' * m.group(0).count('\n'), text)
    for m in re.finditer(r'`([^`\n]+)`', plain):
        where = 'line %d' % (plain.count('\n', 0, m.start()) + 1)
        if m.group(1).startswith('becket '):
            found += check_line(server, where, m.group(1))
        elif re.match(r'--[a-z]', m.group(1)):
            option = m.group(1).split()[0].split('=')[0]
            commands = re.findall(r'(?m)^  ([a-z-]+) ', server.cli('help')[1])
            if not any(check_option(help_of(server, c) or '', option) for c in commands):
                WRONG.append('%s: no command has the option %s' % (where, option))
    return found


# ---- what they name

def anchor(title):
    return re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-')


def check_names(server, path, text, metrics):
    for target in re.findall(r'\]\(([^)]+)\)', text):
        file, _, place = target.partition('#')
        if file.startswith('http'):
            continue
        there = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        if not os.path.exists(os.path.join(ROOT, there)):
            WRONG.append('there is no page %s' % target)
        elif place and place not in [anchor(t) for t in re.findall(r'(?m)^#+ (.*)$', read(ROOT, there))]:
            WRONG.append('there is no place %s' % target)
    for name in re.findall(r'`((?:src|tests|bench|fuzz|vendor)/[\w./-]*)`', text):
        if not os.path.exists(os.path.join(ROOT, name)):
            WRONG.append('there is no file %s' % name)
    shown = ''.join(block for _, block in blocks(text, 'text'))
    for name in re.findall(r'`(becket_\w+)', text) + re.findall(r'\b(becket_\w+)', shown):
        if name not in metrics:
            WRONG.append('there is no metric %s' % name)
    paths = server.api('GET', '/api/v1/openapi.json').json['paths']
    for name in re.findall(r'/api/v1(?:/[\w{}.-]*\w}?)+', text):
        if name not in paths and not name.startswith('/api/v1/sources/'):  # those take hooks, as Superplane's did
            WRONG.append('the API has no %s' % name)
    options = ['--' + name[len('BECKET_'):].lower().replace('_', '-') for name in re.findall(r'BECKET_[A-Z_]*[A-Z]', text)]
    for option in options:
        shown = any(check_option(help_of(server, c) or '', option) for c in ('serve', 'apply'))
        if not shown and option not in ('--url', '--master-key', '--master-key-file', '--master-key-before', '--master-key-before-file'):
            WRONG.append('no option is set by BECKET_%s' % option[2:].upper().replace('-', '_'))


with Server() as server:
    names = {re.sub(r'\{.*', '', name) for name in server.metrics()}
    # What is not counted yet is declared all the same.
    names |= set(re.findall(r'# TYPE (\w+)', server.api('GET', '/metrics').body.decode()))
    yaml = commands = 0
    for page in ['README.md'] + sorted('src/guides/' + os.path.basename(p) for p in glob.glob(os.path.join(ROOT, 'src/guides/*.md'))):
        WRONG.clear()
        text = read(ROOT, page)
        yaml += check_yaml(server, text)
        commands += check_commands(server, text)
        check_names(server, page, text, names)
        if not ok(not WRONG, page):
            for line in WRONG:
                diag('%s: %s' % (page, line))
    ok(yaml >= 20 and commands >= 60, 'looked at %d yaml blocks and %d commands' % (yaml, commands))

    # The README's first minute as it stands there, against this server.
    text = read(ROOT, 'README.md')
    folder = tempfile.mkdtemp(prefix='guides-', dir=os.path.dirname(server.data))
    for _, block in blocks(text, 'yaml'):
        with open(os.path.join(folder, re.match(r'# (\S+\.yaml)', block).group(1)), 'w') as f:
            f.write(block)
    payments = os.path.join(folder, 'payments.yaml')
    is_equal(server.cli('apply', '-f', payments)[0], 0, 'payments.yaml applies')
    code, out, err = server.cli('send', 'http://127.0.0.1:%d/hooks/payments' % server.port, '-f', payments)
    ok(code == 0 and 'evt_' in out, 'and a webhook is taken that was signed with it: %s%s' % (out.strip(), err.strip()))
    is_equal(server.cli('apply', '-f', os.path.join(folder, 'deliver.yaml'))[0], 0, 'deliver.yaml applies behind it')
    shutil.rmtree(folder)
done()
