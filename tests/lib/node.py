"""Providers' own libraries, in node, as signers and judges of what becket takes and sends. Wants node and the packages of .ci/signers;
their folder is in BECKET_NODE_MODULES, or build/signers.

    script = node_script('judges.mjs', 'razorpay', '@adyen')      the test is skipped where these are not there
    said = node_json(script, 'verify', requests)
"""
import base64
import json
import os
import shutil
import subprocess

from becket import BECKET, diag, skip_all


def node_folder(*packages):
    """Where these packages are; the test is skipped when they are not."""
    folder = os.environ.get('BECKET_NODE_MODULES') or os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'signers')
    if not shutil.which('node'):
        skip_all('node is not installed')
    if not all(os.path.isdir(os.path.join(folder, 'node_modules', p)) for p in packages):
        skip_all('the packages of .ci/signers are not in %s: npm install --prefix %s' % (folder, folder))
    return folder


def node_script(name, *packages):
    """A script of tests/lib, where node finds its packages."""
    folder = node_folder(*packages)
    return shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), folder)


def node_json(script, what, value=None):
    """What the script says to this word and what it is given."""
    p = subprocess.run(['node', script, what], input=json.dumps(value).encode() if value else b'', capture_output=True, timeout=120)
    if p.returncode:
        diag(p.stderr.decode()[-2000:])
    return json.loads(p.stdout)


def signed_by_becket(type, key, body):
    """The request that `becket send` would post, as the scripts take it; key: options. No body: the one that becket makes."""
    url = 'https://hooks.example.com'
    p = subprocess.run([BECKET, 'send', url.replace('https', 'http') + '/hooks/x?a=1', '--url', url + '/hooks/x?a=1', '--dry-run', '--type', type,
                        '--event', 'a.b'] + key + (['--body', '-'] if body else []), input=body or b'', capture_output=True, timeout=60)
    head, _, body = p.stdout.partition(b'\n\n')
    lines = head.decode().split('\n')
    return {'type': type, 'headers': dict(l.split(': ', 1) for l in lines[1:] if l), 'url': url + lines[0].split(' ')[1],
            'body': base64.b64encode(body[:-1]).decode()}
