#!/usr/bin/env python3
"""Objects by command: apply, diff, get, describe, delete; files, directories, standard input; tokens."""
import json, os, re, shutil, sys, tempfile, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

SECRET_YAML = 'kind: Secret\nmetadata: {name: hub}\nspec: {data: {webhook: v3rysecret}}\n'
SOURCE_YAML = '''kind: EventSource
metadata: {name: repo}
spec:
  type: github
  path: repo
  verification: {secrets: [{valueFrom: {secret: {name: hub, key: webhook}}}]}
'''

with Server() as server, tempfile.TemporaryDirectory() as base:
    def write(name, text):
        path = os.path.join(base, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)
        return path

    secret = write('d/1-secret.yaml', SECRET_YAML)
    source = write('d/2-source.yml', SOURCE_YAML)
    write('d/3-open.json', json.dumps({'kind': 'EventSource', 'metadata': {'name': 'open'},
                                       'spec': {'type': 'generic', 'path': 'open',
                                                'verification': {'scheme': 'none'}}}))
    write('d/notes.txt', 'not a document')
    folder = os.path.join(base, 'd')

    code, out, err = server.cli('apply', '-f', folder, '--dry-run')
    ok(code == 0 and out.count('created') == 3 and err == '', 'apply --dry-run of a directory')
    code, out, err = server.cli('get', 'secrets', '--server', 'http://127.0.0.1:%d' % server.port)
    ok(code == 1 and 'admin address' in err, 'asked at the hooks\' listener: says so')
    code, out, err = server.cli('get', 'secret', 'absent')
    ok(code == 1 and 'admin address' not in err, 'and does not where only the object is missing')
    for word in ('events', 'delivery', 'providers'):
        code, out, err = server.cli('get', word)
        ok(code == 2 and '`becket ' in err, '%s: no objects, but a command lists them' % word)
        ok(('`becket event ID`' in err) == word.startswith('event'), '%s: and one, where it can' % word)
    for words, told in (('port: {clientId: x}\ntriggerChannel: {type: KAFKA}\nintegrations: []\n', 'Port'),
                        ('executor: {type: TYPE_SEMAPHORE}\n', 'a Stage'), ('on: deployment\n', 'kind, metadata and spec')):
        code, out, err = server.cli('apply', '-f', '-', stdin=words.encode())
        ok(code == 1 and told in err and err.count('\n') == 1, 'a file of something else: one line (%s)' % told)
    many = ''.join('---\nkind: Secret\nmetadata: {name: s%d}\nspec: {data: {k: v}}\n' % i for i in range(100000))
    code, out, err = server.cli('apply', '-f', '-', stdin=many.encode())
    ok(code == 1 and 'in parts' in err and err.count('\n') == 1, 'too much at once: says how much may be')
    code, out, err = server.cli('get', 'event-sources', '-o', 'json')
    is_equal(json.loads(out), {'items': []}, 'nothing was made')
    code, out, err = server.cli('diff', '-f', folder)
    ok(code == 0 and '+ EventSource repo\n' in out and '+ Secret hub\n' in out, 'diff before')
    code, out, err = server.cli('diff', '-f', folder, '--exit-code')
    ok(code == 1 and 'v3rysecret' not in out, 'diff --exit-code')
    code, out, err = server.cli('apply', '-f', folder)
    ok(code == 0 and out.splitlines()[0].split() == ['ACTION', 'KIND', 'NAME', 'URL'] and
       any(l.split() == ['created', 'Secret', 'hub'] for l in out.splitlines()) and '/hooks/repo' in out, 'apply')
    code, out, err = server.cli('apply', '-f', secret, '-f', source, '-o', 'json')
    is_equal([r['action'] for r in json.loads(out)['results']], ['unchanged', 'unchanged'], 'again, two files')
    code, out, err = server.cli('apply', '-f', '/dev/stdin', '-f', source, '-o', 'json', stdin=SECRET_YAML.encode())
    ok(code == 0 and [r['action'] for r in json.loads(out)['results']] == ['unchanged', 'unchanged'], 'and from a pipe, as a shell makes one of <(sops -d secret.yaml)')
    os.mkdir(os.path.join(base, 'p'))
    os.mkfifo(os.path.join(base, 'p', 'secret.yaml'))
    code, out, err = server.cli('apply', '-f', os.path.join(base, 'p'))
    ok(code == 1 and 'a pipe' in err, 'but nobody waits for one that lies in a directory')
    code, out, err = server.cli('diff', '-f', folder, '--exit-code')
    is_equal((code, out, err), (0, '', ''), 'diff after')
    # Folders of folders: never passed over in silence, and never pruned for not being read.
    write('d/sub/deep/4.yaml', SOURCE_YAML.replace('repo', 'deep'))
    write('d/assets/logo.svg', '<svg/>')
    write('d/.git/config.yaml', 'nonsense')
    os.symlink('..', os.path.join(base, 'd', 'up'))
    inner = os.path.join(folder, 'sub')
    code, out, err = server.cli('diff', '-f', folder)
    is_equal((code, out, err), (0, '', 'note: %s is not looked into; --recursive does\n' % inner), 'a folder with documents: a note')
    for verb in ('apply', 'diff'):
        code, out, err = server.cli(verb, '-f', folder, '--prune')
        ok(code == 1 and out == '' and inner in err and '--recursive' in err and err.count('\n') == 1, verb + ' --prune: refused') or diag(err)
    code, out, err = server.cli('apply', '-R', '-f', folder, '--prune', '-o', 'json')
    ok(code == 0 and err == '' and [r['name'] for r in json.loads(out)['results'] if r['action'] != 'unchanged'] == ['deep'],
       '--recursive: read, too') or diag(err)
    code, out, err = server.cli('delete', '-f', inner)
    ok(code == 1 and '-R' not in out and 'no *.yaml' in err, 'a folder with folders alone') or diag(err)
    code, out, err = server.cli('delete', '--dry-run', '--recursive', '-f', inner)
    is_equal((code, out, err), (0, 'would be deleted: EventSource deep\n', ''), 'delete --dry-run')
    code, out, err = server.cli('delete', '--dry-run', 'event-source', 'deep')
    ok(code == 2 and '-f' in err, 'which is for files')
    code, out, err = server.cli('delete', '--recursive', '-f', inner)
    is_equal((code, out, err), (0, 'deleted EventSource deep\n', ''), 'delete --recursive: it was still there')
    code, out, err = server.cli('delete', '--recursive', '-f', inner)
    is_equal((code, out, err), (0, '', 'note: nothing to delete, what the documents name is not there\n'), 'again: done, and says why nothing happened')
    shutil.rmtree(inner)
    def told():
        return [l for l in server.cli('get', 'event-sources')[1].splitlines() if l.startswith('repo ')][0]
    code, out, err = server.cli('describe', 'event-source', 'repo')
    ok(code == 0 and out.endswith('latest events\n  none yet\n'), 'describe: none yet')
    is_equal(server.cli('describe', 'event-source', 'repo', '-o', 'json'), server.cli('get', 'event-source', 'repo', '-o', 'json'),
             'for programs it is what get prints')
    ok(server.post('/hooks/repo', b'{}', github(b'{}', 'another')).status == 401, 'refused')
    ok(when(lambda: 'refused: no configured secret' in told() and 'another secret' in told()), 'get event-sources says why its sender is refused') or diag(told())
    ok(server.post('/hooks/repo', b'{}', github(b'{}', 'v3rysecret')).status == 200, 'and it works')
    ok(when(lambda: 'refused' not in told()), 'not any more, when one is accepted') or diag(told())
    server.post('/hooks/repo', b'{}', github(b'{}', 'another'))
    when(lambda: 'refused' in told())
    code, out, err = server.cli('status')
    ok(code == 0 and out.startswith('ready\n') and re.search(r'(?m)^EventSource +default +repo +refused: no configured secret', out) and
       err == '', 'status: ready, and who asks for attention') or diag(out + err)
    got = json.loads(server.cli('status', '-o', 'json')[1])
    ok(got['ready'] is True and [(i['kind'], i['name']) for i in got['items']] == [('EventSource', 'repo')], 'status -o json')
    server.apply('kind: Canvas\nmetadata: {name: blue}\n---\nkind: Destination\nmetadata: {name: out, canvasId: blue}\nspec: {url: "http://127.0.0.1:9/"}\n')
    server.cli('pause', 'out', '--canvas', 'blue')
    code, out, err = server.cli('status')
    ok(code == 0 and re.search(r'(?m)^Destination +blue +out +paused: by hand$', out), 'of every canvas') or diag(out + err)
    token = server.cli('token', 'create', 'blue', '--canvas', 'blue')[1].strip()
    code, out, err = server.cli('status', '--token', token)
    ok(code == 0 and 'out' in out and 'repo' not in out and err == '', 'with a token of one canvas, of that one') or diag(out + err)
    server.cli('delete', 'destination', 'out', '--canvas', 'blue')
    ok(server.post('/hooks/repo', b'{}', github(b'{}', 'v3rysecret')).status == 200, 'one is accepted')
    ok(when(lambda: 'refused' not in told()), 'and it is not said any more') or diag(told())
    is_equal(server.cli('status')[:2], (0, 'ready; nothing asks for attention\n'), 'status: nothing')

    code, out, err = server.cli('apply', '-f', '-', stdin=SOURCE_YAML.replace('path: repo', 'path: other').encode())
    ok(code == 0 and 'updated' in out, 'standard input')
    code, out, err = server.cli('diff', '-f', source)
    ok(code == 0 and '~ EventSource repo\n' in out and '~ spec.path: other -> repo' in out, 'diff of a field')

    code, out, err = server.cli('get', 'event-sources')
    lines = out.splitlines()
    ok(code == 0 and lines[0].split() == ['NAME', 'TYPE', 'STATE', 'URL', 'UPDATED', 'WHAT', 'TO', 'DO'] and
       [l.split()[0] for l in lines[1:]] == ['open', 'repo'], 'get: a table')
    for spelling in ('EventSource', 'eventsources', 'EVENT-SOURCE', 'event_source'):
        code, out, err = server.cli('get', spelling, 'repo', '-o', 'json')
        ok(code == 0 and json.loads(out)['metadata']['name'] == 'repo', 'get %s' % spelling)
    code, out, err = server.cli('get', 'secret', 'hub', '-o', 'yaml')
    ok(code == 0 and 'webhook: "***"' in out and 'v3rysecret' not in out, 'secrets read ***')
    code, again, err = server.cli('apply', '-f', '-', stdin=out.encode())
    ok(code == 0 and 'unchanged' in again, 'what get prints can be applied')
    code, out, err = server.cli('get', 'secrets', '-o', 'yaml')
    code, again, err = server.cli('apply', '-f', '-', stdin=out.encode())
    ok(code == 0 and 'unchanged' in again, 'a list, too')
    code, out, err = server.cli('get', 'secrets', 'absent')
    ok(code == 1 and err == 'becket: there is no Secret absent in canvas default\n', 'get of what is not there')
    code, out, err = server.cli('describe', 'event-source', 'repo')
    ok(code == 0 and out.startswith('EventSource repo\n') and '\nlatest events\n' in out and 'accepted' in out,
       'describe')

    many = '---\n'.join('kind: Secret\nmetadata: {name: m%04d}\nspec: {data: {k: v}}\n' % i for i in range(1203))
    code, out, err = server.cli('apply', '-f', '-', stdin=many.encode())
    ok(code == 0 and out.count('created') == 1203, 'many at once')
    code, out, err = server.cli('get', 'secrets')
    ok(code == 0 and len(out.splitlines()) == 1205, 'get reads all pages')

    # mistakes: nothing changes, and each is said with file and line
    wrong = write('e/2-bad.yaml', 'kind: EventSource\nmetadata: {name: x}\nspec:\n  tipe: github\n  path: "a b"\n')
    write('e/1-good.yaml', SECRET_YAML.replace('hub', 'new'))
    code, out, err = server.cli('apply', '-f', os.path.join(base, 'e'))
    ok(code == 1 and '2-bad.yaml:4:' in err and '2-bad.yaml:5:' in err and '1-good' not in err,
       'mistakes with file and line')
    diag(err) if '2-bad.yaml:4:' not in err else None
    ok(server.cli('get', 'secret', 'new')[0] == 1, 'all or nothing')
    # what is wrong in a document and what is wrong between documents come in one round
    rounds = write('f/1-a.yaml', 'kind: EventSource\nmetadata: {name: x}\nspec:\n  type: githup\n  verification:\n    secrets:\n'
                   '      - valueFrom: {secret: {name: nobody, key: k}}\n')
    write('f/2-b.yaml', 'kind: Route\nmetadata: {name: r}\nspec:\n  from: [{source: x}, {source: y}]\n  to: [{destination: z}]\n')
    code, out, err = server.cli('apply', '-f', os.path.join(base, 'f'))
    places = [re.match(r'  .*/(\d-.\.yaml:\d+):\d+: (\S+): ', l) for l in err.splitlines()[1:]]
    is_equal([p and p.groups() for p in places],
             [('1-a.yaml:4', 'spec.type'), ('1-a.yaml:7', 'spec.verification.secrets[0].valueFrom.secret'),
              ('2-b.yaml:4', 'spec.from[1].source'), ('2-b.yaml:5', 'spec.to[0].destination')], 'every mistake at once')
    is_equal(err.splitlines()[0], 'becket: 4 mistakes, nothing was changed:', 'and how many there are')
    code, out, err = server.cli('apply', '-f', '-', stdin=b''.join(b'kind: Secrt\nmetadata: {name: x}\n---\n' for _ in range(250)))
    ok(code == 1 and err.startswith('becket: 250 mistakes') and err.endswith('\n  and 50 more\n'), 'very many are counted')
    code, out, err = server.cli('apply', '-f', '-', stdin=b'kind: Secrt\nmetadata: {name: x}\n')
    is_equal((code, err), (1, 'becket: standard input:1:7: kind: unknown kind; did you mean Secret?\n'), 'a single one is one line')
    code, out, err = server.cli('apply', '-f', write('broken.yaml', 'a: [1\nb: 2\n'))
    ok(code == 1 and 'broken.yaml:1:4: this [ is not closed' in err, 'YAML errors with file and line')

    # Written by hand, with every mistake: one line, the file, where, what to do.
    one = 'kind: Secret\nmetadata: {name: hand}\nspec:\n  data:\n    k: %s\n'
    for name, text, place, what in (
            ('tab', one % 'v\n\tj: w', ':6:1', 'a tab'), ('twice', one % 'v\n    k: w', ':6:5', '"k" is there twice'),
            ('indent', one % 'v\n   j: w', ':6:4', 'indentation'), ('anchor', one % '*v', ':5:8', 'no anchor'),
            ('colon', one % 'a: b', ':5:9', 'quotes'), ('at', one % '@v', ':5:8', 'quotes'), ('quote', one % '"v', ':5:8', 'not closed'),
            ('number', one % '5', ':5:8: spec.data.k', 'put it in quotes'), ('tag', one % '!x v', ':5:8', 'tag !x'),
            ('noname', 'kind: Secret\nspec: {data: {k: v}}\n', ':1:1: metadata.name', 'is missing'),
            ('nokind', 'metadata: {name: a}\n', ':1:1: kind', 'is missing'), ('kind', 'kind: Secrets2\n', ':1:7: kind', 'did you mean Secret?'),
            ('empty', '', '', ' is empty'), ('blank', ' \n\n', ': ', 'no document'), ('comments', '# a\n---\n---\n', ': ', 'no document'),
            ('latin1', b'kind: \xe4\n', ':1:7', 'not UTF-8'), ('utf16', 'kind: Secret\n'.encode('utf-16'), ':1:1', 'not UTF-8'),
            ('large', 'a' * 9000000, '', ' is over 8 MiB'), ('scalar', 'hello\n', ':1:1', 'must be a map'),
            ('json', '{"kind": "Secret" "a": 1}', ':1:19', 'comma'), ('json-two', '{"a": 1}\n{"a": 1}\n', ':2:1', 'a second value'),
            ('version', 'apiVersion: v2\n' + one % 'v', ':1:13: apiVersion', 'must be v1')):
        path = os.path.join(base, name + '.yaml')
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        code, out, err = server.cli('apply', '-f', path)
        lines = [line for line in err.splitlines() if what in line]
        ok(code == 1 and out == '' and len(lines) == 1 and path + place in lines[0], 'by hand: ' + name) or diag(err)
    for name, text in (('crlf', (one % 'v').replace('\n', '\r\n')), ('bom', '\ufeff' + one % 'v'), ('documents', '---\n---\n' + one % 'v' + '---\n# c\n...\n'),
                       ('anchors', one.replace('hand}', 'hand}  # &a').replace('data:', 'data: &d') % 'v'), ('list', json.dumps([{'kind': 'Secret', 'metadata': {'name': 'hand'}, 'spec': {'data': {'k': 'v'}}}]))):
        code, out, err = server.cli('apply', '-f', '-', '--dry-run', stdin=text.encode())
        ok(code == 0 and out.split()[-3:] == ['created', 'Secret', 'hand'], 'taken: ' + name) or diag(out + err)
    for words, what in ((['-f', 'https://example.com/x.yaml'], 'curl'), (['-f', os.path.join(base, 'no', 'where')], 'not found'), (['x.yaml'], 'apply -f x.yaml')):
        code, out, err = server.cli('apply', *words)
        ok(code != 0 and what in err and err.count('\n') == 1, 'apply %s' % ' '.join(words)) or diag(err)
    # in a sender of one's own, too
    code, out, err = server.cli('apply', '-f', '-', stdin=b'kind: EventSource\nmetadata: {name: g}\nspec: {type: generic, verification: {scheme: hmac, '
                                b'algorithm: md5, signature: X-Sig, signed: "{foo}", timestamp: {header: X-T, unit: years}, secrets: s3}}\n')
    ok(code == 1 and all('verification.' + f in err for f in ('algorithm', 'signature:', 'signed', 'timestamp.unit', 'secrets')) and
       's3' not in err.replace('secrets', ''), 'every mistake of a scheme at once') or diag(err)

    code, out, err = server.cli('delete', 'secret', 'hub')
    ok(code == 1 and 'repo' in err, 'a secret in use is not deleted')
    code, out, err = server.cli('delete', '-f', folder)
    ok(code == 0 and out.count('deleted') == 3, 'delete -f: users before what they use')
    server.cli('apply', '-f', folder)
    code, out, err = server.cli('get', 'event-sources', '-o', 'json')
    code, out, err = server.cli('delete', '-f', write('list.json', out))
    ok(code == 0 and out.count('deleted EventSource') == 2, 'delete -f of what get -o json gave: %s%s' % (out, err))
    # what get gives changes nothing, whatever there is of a kind
    for kind in ('canvases', 'secrets', 'users', 'teams', 'integrations', 'integration-users', 'event-sources', 'destinations',
                 'routes', 'integration-links'):
        for form in ('yaml', 'json'):
            listed = server.cli('get', kind, '-o', form)[1]
            code, out, err = server.cli('apply', '-f', '-', '-o', 'json', stdin=listed.encode())
            ok(code == 0 and all(r['action'] == 'unchanged' for r in json.loads(out)['results']),
               'get %s -o %s | apply: %s%s' % (kind, form, out[:200], err))
    # all or nothing: what something else uses keeps the whole set
    server.cli('apply', '-f', folder)
    server.apply('kind: EventSource\nmetadata: {name: stranger}\nspec: {type: github, path: stranger, verification: {secrets: '
                 '[{valueFrom: {secret: {name: hub, key: webhook}}}]}}')
    code, out, err = server.cli('delete', '-f', folder)
    ok(code == 1 and out == '' and 'stranger' in err, 'delete -f: one that is in use: %s%s' % (out, err))
    is_equal(len(json.loads(server.cli('get', 'event-sources', '-o', 'json')[1])['items']), 3, 'and nothing is gone')
    server.cli('delete', 'event-source', 'stranger')
    for text, word in (('kind: Secret\nmetadata: {name: hub}\n---\nkind: Sekret\nmetadata: {name: x}\n', ':4:7: kind: unknown kind; did you mean Secret?'),
                       ('kind: Secret\n', 'metadata.name: is missing'), ('kind: [\n', ':2:1'), ('', 'is empty'), ('# nothing\n', 'no document')):
        code, out, err = server.cli('delete', '-f', write('wrong.yaml', text))
        ok(code == 1 and out == '' and word in err, 'delete -f: %r: %s' % (text, err))
    # a document is found where apply would put it, or not at all
    server.apply('kind: Canvas\nmetadata: {name: other}\n---\nkind: User\nmetadata: {name: eve}\n---\n'
                 'kind: User\nmetadata: {name: eve, canvasName: other}\n')
    for metadata, word in (('name: eve, canvasId: 7', 'canvasId'), ('name: eve, canvas: other', 'canvas: '), ('name: eve, canvasId: Other!', 'canvasId')):
        code, out, err = server.cli('delete', '-f', write('where.yaml', 'kind: User\nmetadata: {%s}\n' % metadata))
        ok(code == 1 and out == '' and word in err, 'delete -f: {%s}: %s' % (metadata, err))
    code, out, err = server.cli('delete', '-f', write('where.yaml', 'kind: User\nmetadata: {name: eve, canvasName: other}\nspec: [1]\n'))
    ok(code == 0 and server.cli('get', 'user', 'eve', '--canvas', 'other')[0] == 1, 'the one of its canvas goes: %s%s' % (out, err))
    is_equal(server.cli('get', 'user', 'eve')[0], 0, 'and the one of the default canvas stays')
    server.cli('delete', '-f', '-', stdin=b'kind: User\nmetadata: {name: eve}\n---\nkind: Canvas\nmetadata: {name: other}\n')
    twice = write('twice.yaml', SECRET_YAML.replace('hub', 'nobody') + '---\n' + SOURCE_YAML + '---\n' + SOURCE_YAML)
    code, out, err = server.cli('delete', '-f', twice)
    ok(code == 0 and out == 'deleted EventSource repo\n', 'what is there twice or not at all: %s%s' % (out, err))
    many = '---\n'.join('kind: EventSource\nmetadata: {name: many-%d}\nspec: {type: github, path: many-%d, verification: {secrets: '
                       '[{valueFrom: {secret: {name: hub, key: webhook}}}]}}\n' % (i, i) for i in range(3000))
    server.apply(many)
    began = time.monotonic()
    code, out, err = server.cli('delete', '-f', write('many.yaml', many))
    took = time.monotonic() - began
    ok(code == 0 and out.count('deleted') == 3000 and took < 10, 'three thousand in %.1f s' % took)
    server.cli('delete', '-f', folder)
    code, out, err = server.cli('delete', 'event-source', 'repo')
    ok(code == 1 and 'no EventSource repo' in err, 'delete of what is not there')
    server.apply(GITHUB_SOURCE)
    server.apply(GITHUB_SOURCE.replace('name: hub', 'name: hub2').replace('name: repo', 'name: repo2').replace('path: repo', 'path: r2'))
    one = b'kind: Secret\nmetadata: {name: hub2}\nspec: {data: {webhook: %s}}\n' % SECRET.encode()
    code, out, err = server.cli('apply', '--prune', '-f', '-', stdin=one)
    ok(code == 1 and out == '' and 'Secret "hub" is still used by EventSource "repo"; pruning would delete it, which the documents '
       'do not name' in err, 'a prune says what it would delete') or diag(err)
    code, out, err = server.cli('apply', '--prune', '-f', '-', stdin=one.replace(b'hub2', b'hub3'))
    ok(code == 1 and 'EventSource "repo"; Secret "hub2" is still used by EventSource "repo2"; pruning would delete these' in err,
       'and of several') or diag(err)
    is_equal(server.cli('delete', 'event-source', 'repo')[0] + server.cli('delete', 'event-source', 'repo2')[0], 0, 'nobody uses them')
    is_equal(server.cli('delete', 'secret', 'hub')[0] + server.cli('delete', 'secret', 'hub2')[0], 0, 'and they go')
    code, out, err = server.cli('apply', '--prune', '-f', '-', stdin=SECRET_YAML.encode())
    ok(code == 0 and out.count('deleted') == 1203 and out.count('created') == 1, '--prune')

    # ---- canvases
    code, out, err = server.cli('apply', '-f', '-', stdin=b'kind: Canvas\nmetadata: {name: other}\n---\n' +
                                SECRET_YAML.replace('name: hub', 'name: hub, canvasId: other').encode())
    ok(code == 0, 'a canvas')
    code, out, err = server.cli('get', 'secrets', '--canvas', 'other', '-o', 'json')
    ok(code == 0 and len(json.loads(out)['items']) == 1, 'its own secrets')
    code, out, err = server.cli('get', 'secrets', '--canvas', 'nowhere')
    ok(code == 1 and 'no Canvas nowhere' in err, 'a canvas that is not there')

    # ---- a canvas that nobody declared, and what has no envelope
    code, out, err = server.cli('apply', '-f', '-', stdin=SECRET_YAML.replace('name: hub', 'name: hub, canvasId: elswhere').encode())
    ok(code == 0 and err.startswith('note: there is no Canvas elswhere') and err.count('\n') == 1, 'objects of no canvas: a note') or diag(err)
    code, out, err = server.cli('apply', '-f', '-', stdin=b'kind: Canvas\nmetadata: {name: elswhere}\n')
    is_equal((code, err), (0, ''), 'with it: no note')
    ok(len(server.cli('get', 'secrets', '--canvas', 'elswhere')[1].splitlines()) == 2, 'and they are listed')
    code, out, err = server.cli('describe', 'token', 'admin')
    ok(code == 0 and out.startswith('Token admin\n') and 'role: admin' in out, 'describe token') or diag(out)
    code, out, err = server.cli('describe', 'entry', '0123')
    is_equal((code, err), (1, 'becket: there is no entry 0123\n'), 'describe of an entry that is not there')

    # ---- tokens
    code, token, err = server.cli('token', 'create', 'ci')
    ok(code == 0 and token.startswith('bkt_') and 'only time' in err, 'token create')
    token = token.strip()
    ok(server.cli('get', 'secrets', '--token', token)[0] == 0, 'it may read')
    code, out, err = server.cli('apply', '-f', secret, '--token', token)
    ok(code == 1 and 'role write' in err, 'it may not write')
    code, out, err = server.cli('token', 'list')
    ok(code == 0 and any(l.split()[:2] == ['ci', 'read'] and token[-4:] in l.split() for l in out.splitlines()) and token not in out,
       'token list')
    is_equal(server.cli('get', 'tokens')[1], out, 'get tokens shows the same')
    code, out, err = server.cli('token', 'create', 'ci')
    ok(code == 1 and 'revoke' in err, 'a name once')
    code, out, err = server.cli('token', 'revoke', 'ci', '-o', 'json')
    is_equal((code, json.loads(out or '{}')), (0, {'kind': 'Token', 'name': 'ci', 'action': 'deleted'}), 'token revoke, in JSON')
    code, out, err = server.cli('get', 'secrets', '--token', token)
    is_equal((code, err), (1, "becket: this token is not valid: it was revoked, or is another server's\n"), 'then it is not valid')
    with tempfile.TemporaryDirectory() as other:
        with open(os.path.join(other, 'admin.token'), 'w') as file:
            file.write(token)
        code, out, err = server.cli('get', 'secrets', '--data', other)
        ok(code == 1 and err.count('\n') == 1 and "another server's; it comes from %s/admin.token: name this server's --data" % other in err,
           'one out of another data directory: from where it is') or diag(err)
    code, out, err = server.cli('token', 'revoke', 'admin')
    ok(code == 1 and 'last admin' in err, 'the last admin token stays')
    connection = Connection(server.admin)
    headers = {'Authorization': 'Bearer ' + server.token, 'Content-Type': 'application/json'}
    for i in range(1002):  # more than a page of the API
        connection.request('POST', '/api/v1/tokens', b'{"name":"t%d","role":"read"}' % i, headers)
    connection.close()
    for words in ([], ['-o', 'json']):
        out = server.cli('token', 'list', *words)[1]
        ok(out == server.cli('get', 'tokens', *words)[1] and 't1001' in out and 't999' in out, 'token list has all, as get tokens')
done()
