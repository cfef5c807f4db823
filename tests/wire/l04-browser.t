#!/usr/bin/env python3
"""A whole OAuth round trip against a certified OpenID provider (npm oidc-provider), and the pages, in a real browser.
Wants node, Chromium, and the packages of .ci/browser; their folder is in BECKET_BROWSER_MODULES, or build/browser."""
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from doubles import *

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib')
folder = os.environ.get('BECKET_BROWSER_MODULES') or os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'browser')
browsers = ('chromium', 'chromium-browser', 'google-chrome', 'chromium-headless-shell')
chromium = next(filter(None, map(shutil.which, browsers)), None)
if not shutil.which('node'):
    skip_all('node is not installed')
if not chromium:
    skip_all('Chromium is not installed')
for package in ('oidc-provider', 'playwright-core'):
    if not os.path.isdir(os.path.join(folder, 'node_modules', package)):
        skip_all('the packages of .ci/browser are not in %s: npm install --prefix %s' % (folder, folder))
for script in ('oidc_provider.mjs', 'round_trip.mjs'):
    shutil.copy(os.path.join(here, script), folder)


class Idp:
    def __init__(self, redirect, seconds):
        self.process = subprocess.Popen(['node', os.path.join(folder, 'oidc_provider.mjs'), redirect, 'becket', 'idp-planted-0',
                                         str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.said = []
        self.issuer = json.loads(self.process.stdout.readline())['issuer']
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            if line.startswith('{'):  # it also warns
                self.said.append(json.loads(line))

    def count(self, word, **more):
        return sum(1 for s in self.said if s['word'] == word and all(s.get(k) == v for k, v in more.items()))

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


hub = GitHub()
hub.repositories['acme/hello'] = {}
with Server() as server:
    admin = 'http://127.0.0.1:%d' % server.admin
    idp = Idp(admin + '/auth/idp/callback', 6)
    server.apply('''
kind: Integration
metadata: {name: idp}
spec:
  type: http
  url: %s
  allowPrivate: true
  auth:
    use: AUTH_TYPE_OAUTH
    oauth: {clientId: becket, clientSecret: {value: idp-planted-0}, scopes: openid profile email offline_access,
            authorizeUrl: "%s/auth", tokenUrl: "%s/token", revokeUrl: "%s/token/revocation", identityUrl: "%s/me",
            issuer: "%s", clientAuth: basic}
---
kind: Integration
metadata: {name: hub}
spec: {type: github, url: "%s/acme", apiUrl: "%s", check: false, allowPrivate: true,
       auth: {use: AUTH_TYPE_TOKEN, token: {value: %s}}}
---
kind: Team
metadata: {name: core}
spec: {title: "%s"}
''' % ((idp.issuer,) * 6 + (hub.url, hub.url, hub.token, 'W' * 200)))
    pictures = os.environ.get('BECKET_PICTURES', '')

    def browse(disconnect):
        plan = {'admin': admin, 'token': server.token, 'issuer': idp.issuer, 'chromium': chromium, 'pictures': pictures,
                'disconnect': disconnect}
        p = subprocess.run(['node', os.path.join(folder, 'round_trip.mjs'), json.dumps(plan)], capture_output=True,
                           timeout=180)
        seen = json.loads(p.stdout) if p.stdout else {'failed': p.stderr.decode()[-1500:]}
        if not ok('failed' not in seen, 'the browser came through'):
            diag(seen['failed'])
            diag(idp.said)
            diag(server.log_text()[-3000:])
        return seen

    seen = browse(False)
    ok('idp is connected as ann' in (seen.get('status') or ''), 'connected: %s' % seen.get('status'))
    ok('GitHub did not agree' in (seen.get('refused') or ''), 'a refusal is shown: %s' % seen.get('refused'))
    is_equal((seen.get('links'), seen.get('linksAfter')), (1, 0), 'a link made and removed')
    is_equal(seen.get('wide'), [], 'nothing is wider than a telephone, whatever a team is called')
    is_equal((seen.get('errors'), seen.get('alerts'), seen.get('script')), ([], 0, 0), 'no script ran, none was refused')
    person = server.api('GET', '/api/v1/integration-users').json['items'][0]['spec']
    is_equal({k: person.get(k) for k in ('uid', 'nickname', 'fullName', 'email', 'provider')},
             {'uid': 'ann-1', 'nickname': 'ann', 'fullName': 'Ann <i>Example</i>', 'email': 'ann@example.com', 'provider': 'http'},
             'who it is')
    ok(when(lambda: idp.count('grant.success', grant='refresh_token') >= 2), 'renewed, with rotation, and again')
    is_equal(idp.count('grant.error'), 0, 'without a refusal')
    # The provider says so before becket has its answer; killed between the two, the next token would be lost with it.
    settled = lambda: server.api('GET', '/api/v1/integration-users').json['items'][0]['spec']['expiresAt']
    shown = settled()
    ok(when(lambda: settled() != shown), 'and kept')
    server.kill()
    time.sleep(0.3)
    renewed = idp.count('grant.success', grant='refresh_token')
    server.start(same_ports=True)
    ok(when(lambda: idp.count('grant.success', grant='refresh_token') > renewed), 'also after kill -9')
    person = server.api('GET', '/api/v1/integration-users').json['items'][0]
    is_equal(person['status']['state'], 'ready', 'no grant was lost')
    seen = browse(True)
    ok('Disconnected' in (seen.get('disconnected') or ''), 'disconnected')
    ok(when(lambda: idp.count('grant.revoked') or idp.count('destroyed')), 'and the provider has revoked it')
    is_equal(server.api('GET', '/api/v1/integration-users').json['items'], [], 'gone')
    idp.close()
hub.close()
done()
