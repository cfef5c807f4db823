#!/usr/bin/env python3
"""Who may lead the credential of an integration, an account or a destination to another address: administrators, and who has it. An attempt is on record."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *


def token(server, *words):
    code, out, err = server.cli('token', 'create', *words)
    return out.split()[-1]


def hub(auth, url='https://git.example', api='https://git.example/api'):
    return 'kind: Integration\nmetadata: {name: hub}\nspec: {type: github, url: "%s", apiUrl: "%s", check: false, auth: %s}' % (url, api, auth)


INLINE = '{use: token, token: {value: "%s"}}'
SECRET = 'kind: Secret\nmetadata: {name: key}\nspec: {data: {token: "%s"}}\n---\n'
REFERRED = '{use: token, token: {valueFrom: {secret: {name: key, key: token}}}}'
OAUTH = '{use: oauth, oauth: {clientId: c, clientSecret: {value: "%s"}, authorizeUrl: "https://a.example/a", tokenUrl: "%s"}}'
ELSEWHERE = {'api': 'https://elsewhere.example/api'}

with Server() as server:
    write = token(server, 'ci', '--role', 'write')
    bound = token(server, 'ci-default', '--role', 'write', '--canvas', 'default')

    def apply(text, who=write, query=''):
        answer = server.api('POST', '/api/v1/apply' + query, text.encode(), token=who)
        return answer.status, answer.body.decode()

    def refused(text, what, says, who=write):
        status, body = apply(text, who)
        ok(status == 403 and says in body and json.loads(body)['code'] == 'forbidden', '%s: is refused: %d %s' % (what, status, body[:300]))

    def done_(text, what, who=write):
        status, body = apply(text, who)
        ok(status == 200, '%s: %d %s' % (what, status, body[:300]))

    done_(hub(INLINE % 'ghp_one'), 'a machine makes one')
    done_(hub(INLINE % '***'), 'and keeps it as it is')
    for who, name in ((write, 'a machine'), (bound, 'bound to a canvas')):
        refused(hub(INLINE % '***', **ELSEWHERE), name + ', another apiUrl', 'give that again, here or as its Secret', who)
        refused(hub(INLINE % '***', 'https://elsewhere.example'), name + ', another url', 'send its credential elsewhere', who)
        status, body = apply(hub(INLINE % '***', **ELSEWHERE), who, '?dryRun=true')
        ok(status == 403, name + ': a dry run says so, too')
    put = server.api('PUT', '/api/v1/integrations/hub', b'{"spec":{"type":"github","url":"https://elsewhere.example","check":false,'
                     b'"apiUrl":"https://elsewhere.example","auth":{"use":"token","token":{"value":"***"}}}}', {'Content-Type': 'application/json'}, token=write)
    ok(put.status == 403, 'by PUT: %r' % put)
    is_equal(server.api('GET', '/api/v1/integrations/hub').json['spec']['apiUrl'], 'https://git.example/api', 'it is where it was')
    records = [r for r in server.api('GET', '/api/v1/audit').json['items'] if r['action'] == 'refused']
    is_equal([(r['actor'], r['kind'], r['name']) for r in records],
             [('ci', 'Integration', 'hub')] + [(n, 'Integration', 'hub') for n in ('ci-default', 'ci-default', 'ci', 'ci')],
             'each attempt is on record, the newest first')
    is_equal(records[-1]['diff'], [{'path': 'spec/apiUrl', 'before': 'https://git.example/api', 'after': 'https://elsewhere.example/api'}],
             'with where to')
    ok('refused' in server.cli('audit')[1], 'and is listed')
    done_(hub(INLINE % 'ghp_one', **ELSEWHERE), 'who has the credential leads it elsewhere')
    done_(hub(INLINE % 'ghp_two'), 'or a new one')
    done_(hub(INLINE % '***', **ELSEWHERE), 'an administrator may', None)

    done_(SECRET % 'ghp_three' + hub(REFERRED), 'a Secret, with the integration')
    refused(hub(REFERRED, **ELSEWHERE), 'without the Secret', 'give that again')
    refused(SECRET % '***' + hub(REFERRED, **ELSEWHERE), 'with the Secret as it is shown', 'give that again')
    done_(SECRET % 'ghp_three' + hub(REFERRED, **ELSEWHERE), 'with the Secret')

    done_(hub('{use: none}'), 'without a credential')
    done_(hub('{use: none}', **ELSEWHERE), 'it may lead anywhere')
    done_(hub('{use: oidc}'), 'tokens that becket issues', None)
    refused(hub('{use: oidc}', **ELSEWHERE), 'to another address', 'could use its tokens at the old one')
    done_(hub('{use: none}', **ELSEWHERE), 'without them')
    refused(hub('{use: oidc}', **ELSEWHERE), 'and with them again', 'could use its tokens at the old one')
    is_equal(server.api('GET', '/api/v1/audit').json['items'][0]['diff'],
             [{'path': 'spec/auth/use', 'before': 'AUTH_TYPE_NONE', 'after': 'AUTH_TYPE_OIDC'}], 'on record')
    cloud = lambda api: hub('{use: oidc, oidc: {audience: "https://cloud.example"}}', 'https://cloud.example', api).replace('name: hub', 'name: cloud')
    refused(cloud('https://elsewhere.example'), 'a token for its url, sent elsewhere', 'audience')
    refused(cloud('http://cloud.example'), 'or in clear', 'audience')
    done_(cloud('https://cloud.example:443/api'), 'to its url')

    done_(hub(OAUTH % ('s3cr3t', 'https://a.example/t')), 'a client secret')
    refused(hub(OAUTH % ('***', 'https://elsewhere.example/t')), 'another token endpoint', 'give that again')
    done_(hub(OAUTH % ('s3cr3t', 'https://b.example/t')), 'with the secret')
    done_('kind: IntegrationUser\nmetadata: {name: ann}\nspec: {integration: {name: hub}, uid: "7", accessToken: {value: "gho_1"}}',
          'somebody is connected', None)
    refused(hub(OAUTH % ('s3cr3t', 'https://c.example/t')), 'then also with the secret', 'tokens of those who are connected')
    done_(hub(OAUTH % ('***', 'https://c.example/t')), 'but an administrator may', None)

    account = lambda at, access, refresh='ghr_1': ('kind: IntegrationUser\nmetadata: {name: bot}\nspec: {integration: {name: %s}, uid: "8", '
                                                   'accessToken: {value: "%s"}, refreshToken: {value: "%s"}}' % (at, access, refresh))
    done_(hub(INLINE % 'ghp_two', **ELSEWHERE).replace('name: hub', 'name: own'), 'another integration')
    done_(account('hub', 'gho_2'), 'an account', None)
    refused(account('own', '***', '***'), 'it goes to another integration', 'would send its tokens')
    refused(account('own', 'gho_3', '***'), 'with one of its tokens', 'would send its tokens')
    record = server.api('GET', '/api/v1/audit').json['items'][0]
    is_equal((record['action'], record['kind'], record['diff'][0]),
             ('refused', 'IntegrationUser', {'path': 'spec/integration/name', 'before': 'hub', 'after': 'own'}), 'on record')
    done_(account('own', '***', '***'), 'an administrator may', None)

    place = lambda url, value: ('kind: Destination\nmetadata: {name: app}\nspec: {url: "%s", headers: {X-Plain: "1", Authorization: {value: "%s"}}}'
                                % (url, value))
    done_(place('https://app.example/a', 'Bearer one'), 'a destination with a secret')
    done_(place('https://app.example/b', '***'), 'at another path')
    refused(place('https://elsewhere.example/b', '***'), 'at another address', 'would send its secrets')
    refused(place('http://app.example/b', '***'), 'or in clear', 'would send its secrets')
    is_equal(server.api('GET', '/api/v1/audit').json['items'][0]['kind'], 'Destination', 'on record')
    done_(place('https://elsewhere.example/b', 'Bearer one'), 'who has it may')
    done_(place('https://app.example/b', '***'), 'an administrator, too', None)
done()
