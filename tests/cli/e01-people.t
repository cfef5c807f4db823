#!/usr/bin/env python3
"""What people meet besides the commands' work: help that fits the terminal, the manual page, completion, narrow tables."""
import json, os, re, shutil, subprocess, sys, tempfile
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from terminal import Terminal, on_terminal

COMMANDS = re.findall(r'(?m)^  ([a-z-]+) ', subprocess.run([BECKET, 'help'], capture_output=True, text=True).stdout)
ok(len(COMMANDS) > 20, '%d commands' % len(COMMANDS))


def run(*words):
    p = subprocess.run([BECKET] + list(words), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    return p.returncode, p.stdout, p.stderr


# ---- help, in all places, as wide as there is room
helps = {c: run('help', c)[1] for c in COMMANDS}
for form in (lambda c: (c, '--help'), lambda c: (c, '-h'), lambda c: (c, 'help'), lambda c: ('--help', c), lambda c: ('-h', c)):
    wrong = [c for c in COMMANDS if c not in ('help', 'version') and run(*form(c)) != (0, helps[c], '')]
    is_equal(wrong, [], 'becket %s' % ' '.join(form('COMMAND')))
is_equal([c for c in COMMANDS if any(len(line) > 80 for line in helps[c].splitlines())], [], 'without a terminal: 80 columns')
for columns in (40, 80, 120, 200):
    text = ''.join(on_terminal([BECKET, 'help'] + ([c] if c else []), columns)[1] for c in ('', 'serve', 'verify'))
    long = [line for line in text.splitlines() if len(line) > min(columns, 100) and len(line.split()) > 1]
    is_equal(long, [], 'help on %d columns' % columns)
code, out, err = run('help', 'serve', 'now')
ok(code == 2 and err.count('\n') == 1, 'help of two commands: one line')

# ---- the manual page and completion, out of the same tables
code, page, err = run('help', '--man')
ok(code == 0 and page.count('\n.SS ') == len(COMMANDS), 'a manual page with every command')
options = {o for c in COMMANDS for o in re.findall(r'(?m)^  (?:-.,|   ) --([a-z0-9-]+)', helps[c])}
plain = page.replace('\\-', '-')
is_equal([o for o in options if not re.search(r'--%s\b' % o, plain)], [], 'and each of %d options' % len(options))
if shutil.which('groff'):
    p = subprocess.run(['groff', '-man', '-Tutf8', '-ww', '-z'], input=page, capture_output=True, text=True)
    is_equal((p.returncode, p.stderr), (0, ''), 'groff has nothing to say against it')
else:
    skip('groff has nothing to say against it', 'groff is not installed')
code, script, err = run('help', '--completion', 'bash')


def complete(*words):
    line = '%s\nCOMP_WORDS=(%s); COMP_CWORD=%d; _becket; echo "${COMPREPLY[*]}"' % (
        script, ' '.join("'%s'" % w for w in words), len(words) - 1)
    return subprocess.run(['bash', '-c', line], capture_output=True, text=True).stdout.split()


is_equal(complete('becket', 'rep'), ['replay'], 'completion: a command')
is_equal(complete('becket', 'get', 'event-s'), ['event-source', 'event-sources'], 'a kind')
is_equal(complete('becket', 'serve', '--log-l'), ['--log-level'], 'an option')
is_equal(complete('becket', 'events', '--state', 're'), ['rejected'], 'a value')
is_equal(complete('becket', 'apply', '-f', ''), [], 'a file: the shell\'s own')
code, zsh, err = run('help', '--completion', 'zsh')
ok(code == 0 and zsh.endswith(script) and 'bashcompinit\n' in zsh, 'zsh takes the same, behind its own word for that')
with tempfile.TemporaryDirectory() as base:
    p = subprocess.run(['make', '-s', 'install', 'DESTDIR=' + base, 'PREFIX=/usr'], capture_output=True, text=True,
                       cwd=os.environ.get('BECKET_ROOT', '.'))
    there = sorted(os.path.relpath(os.path.join(d, f), base) for d, _, files in os.walk(base) for f in files)
    is_equal(there, ['usr/bin/becket', 'usr/share/bash-completion/completions/becket', 'usr/share/man/man1/becket.1'],
             'make install brings them: %s' % p.stderr)

# ---- tables
code, text = on_terminal([BECKET, 'providers'], 80, {'NO_COLOR': '1'})
ok(code == 0 and max(len(line) for line in text.splitlines()) <= 80 and 'becket providers TYPE' in text, 'providers on 80 columns')
code, text = on_terminal([BECKET, 'providers'], 200, {'NO_COLOR': '1'})
ok('VERIFIED BY' in text and max(len(line) for line in text.splitlines()) <= 200, 'on 200, with how each is verified')
code, text = on_terminal([BECKET, 'providers', 'datadog'], 70)
ok(code == 0 and max(len(line) for line in text.splitlines()) <= 70, 'one provider on 70')
code, out, err = run('providers')
ok('VERIFIED BY' in out and '… \n' not in out and '…\n' not in out and err == '', 'whole, where no terminal is')

# ---- tables of a server
with Server(options=['--quick-start']) as server:
    env = {'BECKET_URL': 'http://127.0.0.1:%d' % server.admin, 'BECKET_DATA': server.data, 'NO_COLOR': '1'}
    server.apply(GITHUB_SOURCE)
    for event in ('push', 'pull_request_review_comment'):
        server.post('/hooks/repo', b'{}', github(b'{}', SECRET, event=event))
    for words in (['events'], ['get', 'event-sources'], ['audit'], ['token', 'list']):
        for columns in (80, 100):
            code, text = on_terminal([BECKET] + words, columns, env)
            widest = max(len(line) for line in text.splitlines())
            ok(code == 0 and widest <= columns, '%s on %d columns: %d' % (' '.join(words), columns, widest)) or diag(text)
    code, text = on_terminal([BECKET, 'events'], 70, env)
    ok(all(re.match(r'\d\d-\d\d \d\d:\d\d:\d\d  evt_\w{26}  repo', line) for line in text.splitlines()[1:]), 'a time without its year, ids whole')
    for values, bold in (({}, True), ({'NO_COLOR': '1'}, False), ({'NO_COLOR': ''}, True), ({'TERM': 'dumb'}, False)):
        code, text = on_terminal([BECKET, 'get', 'secrets'], 80, dict({k: v for k, v in env.items() if k != 'NO_COLOR'}, **values))
        is_equal('\x1b[1m' in text, bold, 'bold headings: %s' % values)

    # What is to be read has room: a time that nobody asked for goes before it.
    server.post('/hooks/repo', b'{}', github(b'{}', 'another'))
    when(lambda: 'refused' in server.cli('get', 'event-sources')[1])
    code, text = on_terminal([BECKET, 'get', 'event-sources'], 100, env)
    ok('refused: no conf' in text and 'WHAT TO DO' in text and 'UPDATED' not in text, 'why it is refused, on 100 columns') or diag(text)

    # ---- what `providers TYPE` says is to be applied can be
    wrong = []
    types = [i['type'] for i in json.loads(run('providers', '-o', 'json')[1])['items']]
    for kind in types + ['generic']:
        out = run('providers', kind)[1]
        example = ''.join(line[2:] + '\n' for line in out.split('its address)\n\n')[1].splitlines())
        code, out, err = server.cli('apply', '-f', '-', '--dry-run', stdin=example.encode())
        # Some secrets have a form that words do not.
        if code != 0 and not (err.count('\n') == 1 and ('verification.secrets' in err or 'data' in err)):
            wrong.append((kind, err, example))
    ok(len(types) > 50 and not wrong, 'the examples of %d types can be applied' % len(types)) or diag(wrong)

    # ---- Ctrl-C, and a terminal that something is read from
    for words, shown in ((['events', '-f'], 'RECEIVED'), (['listen', 'repo', '--forward', 'http://127.0.0.1:1/'], 'Ctrl-C ends it'),
                         (['apply', '-f', '-'], 'Ctrl-D'), (['send', 'http://127.0.0.1:%d/hooks/repo' % server.port, '--body', '-'], 'Ctrl-D')):
        terminal = Terminal([BECKET] + words, 80, env)
        if shown == 'RECEIVED':
            time.sleep(0.5)
            server.post('/hooks/repo', b'{}', github(b'{}', SECRET))
        text = terminal.read(shown, 10)
        terminal.key(b'\x03')
        code = terminal.wait(10)
        ok(shown in text and code in (0, -signal.SIGINT), '%s: Ctrl-C ends it: %d' % (words[0], code)) or diag(text)

    # ---- the quick start: what it prints works, also at a later start, which shows no secret
    for start in range(2):
        lines = [line for line in server.log_text().split(' ready ')[-1].splitlines() if line.startswith('  ')]
        secrets = 'whsec_' in ''.join(lines)
        is_equal((len(lines), secrets), (2, start == 0), 'start %d: two commands' % start)
        p = subprocess.run(['sh', '-c', lines[0]], capture_output=True, text=True, timeout=30)
        ok(p.returncode == 0 and p.stdout.startswith('200 '), 'the first one is taken: %s%s' % (p.stdout, p.stderr))
        p = subprocess.run(['sh', '-c', lines[1].replace('--follow', '--source quickstart')], capture_output=True, text=True, timeout=30)
        is_equal(len(p.stdout.splitlines()), start + 2, 'the second one shows it')
        if start == 0:
            server.stop()
            server.start()
    server.cli('delete', 'event-source', 'quickstart')
    server.stop()
    server.start()
    ok('Try it' not in server.log_text().split(' ready ')[-1], 'and says nothing more of a source that was deleted')
done()
