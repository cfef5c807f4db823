#!/usr/bin/env python3
"""Behind nginx and HAProxy: whatever a client sends, the proxy and becket agree where each request ends. After every case of
cases.md other clients of the same kept connections must still get their own answers, and on each connection between the two requests
and answers are one to one, read by somebody else. Behind Apache, Varnish, lighttpd, Caddy, Squid,
Traffic Server and nghttpx (which makes of HTTP/2 what we speak), too: what smuggles, and bodies of all kinds; an early refusal reaches who sends a large one."""
import os, shutil, sys
here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, '..', 'lib'))
from becket import *
from between import Between
from certs import Certs

SMUGGLES = [
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /nothing HTTP/1.1\r\nX: y\r\n\r\n',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nX',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nGET /',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nGET /',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\nxx\r\nhello\r\n0\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n',
    b'GET /health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\nGET /nothing HTTP/1.1\r\nHost: b\r\n',
    b'POST /hooks/open HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc',
    b'HEAD /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\n\r\n',
]

path = os.path.join(here, 'c01-conformance.t')
SOURCES = GITHUB_SOURCE + """
---
kind: EventSource
metadata: {name: open}
spec: {type: generic, path: open, verification: {scheme: none}, limits: {bodyBytes: 1000}}
---
kind: EventSource
metadata: {name: large}
spec: {type: generic, path: large, verification: {scheme: none}, limits: {bodyBytes: 1000000}}
"""


def wire_requests():
    """The bytes of cases.md, read by the program that runs them against becket alone."""
    source = open(path, encoding='utf-8').read().partition('\nwith Server()')[0]
    names = {'__name__': 'cases', '__file__': path}
    exec(compile(source, path, 'exec'), names)
    return [case.data for case in names['wire_cases'](os.path.join(here, 'cases.md'))]


def nginx(folder, port, upstream):
    program = shutil.which('nginx') or '/usr/sbin/nginx'
    if not os.access(program, os.X_OK):
        return None
    with open(folder + '/nginx.conf', 'w') as f:
        f.write("""daemon off; master_process off; pid %(d)s/pid; error_log %(d)s/error.log;
events { worker_connections 256; }
http { access_log off; client_body_temp_path %(d)s/b; proxy_temp_path %(d)s/p; fastcgi_temp_path %(d)s/f;
uwsgi_temp_path %(d)s/u; scgi_temp_path %(d)s/s;
upstream becket { server 127.0.0.1:%(u)d; keepalive 2; }
server { listen 127.0.0.1:%(p)d; location / { proxy_pass http://becket; proxy_http_version 1.1;
proxy_request_buffering off; proxy_set_header Connection ""; } } }""" % {'d': folder, 'u': upstream, 'p': port})
    return [program, '-p', folder, '-c', folder + '/nginx.conf', '-e', folder + '/error.log']


def nginx_of_the_guide(folder, port, upstream):
    """What src/guides/deploy.md says to put into conf.d, with our ports and certificate."""
    text = open(os.path.join(here, '..', '..', 'src', 'guides', 'deploy.md'), encoding='utf-8').read()
    block = text.partition('```nginx\n')[2].partition('```')[0]
    certs = Certs(folder)
    chain, key = certs.make('hooks')
    for old, new in (('127.0.0.1:8080', '127.0.0.1:%d' % upstream), ('listen 443', 'listen 127.0.0.1:%d' % port),
                     ('/etc/ssl/hooks/chain.pem', chain), ('/etc/ssl/hooks/key.pem', key)):
        assert old in block, old
        block = block.replace(old, new)
    command = nginx(folder, port, upstream)
    if command:
        with open(folder + '/nginx.conf') as f:
            head = f.read().partition('upstream becket')[0]
        with open(folder + '/nginx.conf', 'w') as f:
            f.write(head + block + '}')
    return command, certs


def haproxy(folder, port, upstream):
    program = shutil.which('haproxy') or '/usr/sbin/haproxy'
    if not os.access(program, os.X_OK):
        return None
    with open(folder + '/haproxy.cfg', 'w') as f:
        f.write("""defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
  http-reuse always
frontend front
  bind 127.0.0.1:%d
  default_backend becket
backend becket
  server one 127.0.0.1:%d maxconn 2
""" % (port, upstream))
    return [program, '-db', '-f', folder + '/haproxy.cfg']


def apache(folder, port, upstream):
    program, modules = '/usr/sbin/apache2', '/usr/lib/apache2/modules'
    if not os.access(program, os.X_OK):
        return None
    with open(folder + '/apache.conf', 'w') as f:
        f.write('ServerRoot %s\nServerName localhost\nListen 127.0.0.1:%d\nPidFile %s/pid\nErrorLog %s/error.log\n' %
                (folder, port, folder, folder))
        for module in ('mpm_event', 'authz_core', 'proxy', 'proxy_http'):
            f.write('LoadModule %s_module %s/mod_%s.so\n' % (module, modules, module))
        f.write('ProxyPass / http://127.0.0.1:%d/\n' % upstream)
    return [program, '-DFOREGROUND', '-f', folder + '/apache.conf']


def varnish(folder, port, upstream):
    program = '/usr/sbin/varnishd'
    if not os.access(program, os.X_OK) or not shutil.which('gcc'):
        return None
    with open(folder + '/becket.vcl', 'w') as f:
        f.write('vcl 4.1;\nbackend becket { .host = "127.0.0.1"; .port = "%d"; }\nsub vcl_recv { return (pass); }\n' % upstream)
    return [program, '-F', '-n', folder + '/varnish', '-a', '127.0.0.1:%d' % port, '-f', folder + '/becket.vcl', '-s', 'malloc,16m',
            '-T', 'none', '-j', 'none']


def lighttpd(folder, port, upstream):
    program = '/usr/sbin/lighttpd'
    if not os.access(program, os.X_OK):
        return None
    with open(folder + '/lighttpd.conf', 'w') as f:
        f.write('server.modules = ("mod_proxy")\nserver.document-root = "%s"\nserver.upload-dirs = ("%s")\nserver.port = %d\n'
                'server.bind = "127.0.0.1"\nserver.stream-request-body = 2\nserver.errorlog = "%s/error.log"\n'
                'proxy.server = ("" => (("host" => "127.0.0.1", "port" => %d)))\n' % (folder, folder, port, folder, upstream))
    return [program, '-D', '-f', folder + '/lighttpd.conf']


def nghttpx(folder, port, upstream):
    program = '/usr/sbin/nghttpx'
    if not os.access(program, os.X_OK):
        return None
    with open(folder + '/nghttpx.conf', 'w'):
        pass  # not the machine's, which listens elsewhere, too
    return [program, '--conf=' + folder + '/nghttpx.conf', '-f127.0.0.1,%d;no-tls' % port, '-b127.0.0.1,%d' % upstream, '-n1', '--errorlog-file=' + folder + '/error.log']


def caddy(folder, port, upstream):
    if not shutil.which('caddy'):
        return None
    with open(folder + '/Caddyfile', 'w') as f:
        f.write('{\n admin off\n auto_https off\n}\nhttp://:%d {\n bind 127.0.0.1\n reverse_proxy 127.0.0.1:%d\n}\n' % (port, upstream))
    return ['env', 'HOME=' + folder, 'caddy', 'run', '--config', folder + '/Caddyfile', '--adapter', 'caddyfile']


def reachable(folder):
    """By somebody else, whom a program becomes that is started as root."""
    return os.geteuid() != 0 or folder == '/' or (os.stat(os.path.dirname(folder)).st_mode & 1 and reachable(os.path.dirname(folder)))


def squid(folder, port, upstream):
    program = shutil.which('squid') or '/usr/sbin/squid'
    if not os.access(program, os.X_OK) or not reachable(folder):
        return None
    os.chmod(folder, 0o777)  # as root it becomes somebody else
    with open(folder + '/squid.conf', 'w') as f:
        f.write('http_port 127.0.0.1:%d accel defaultsite=localhost no-vhost\ncache_peer 127.0.0.1 parent %d 0 no-query originserver\n'
                'http_access allow all\ncache deny all\npid_filename %s/pid\ncache_log %s/log\naccess_log none\ncoredump_dir %s\n'
                'pinger_enable off\nnetdb_filename none\nshutdown_lifetime 0 seconds\n' % (port, upstream, folder, folder, folder))
    return [program, '-N', '-n', 'becket%d' % os.getpid(), '-f', folder + '/squid.conf']


def traffic_server(folder, port, upstream):
    program = shutil.which('traffic_server')
    if not program or not os.path.isdir('/etc/trafficserver') or not reachable(folder):
        return None
    os.chmod(folder, 0o777)
    for name in ('etc', 'var', 'run', 'log', 'cache', 'data'):
        os.mkdir(folder + '/' + name)
        os.chmod(folder + '/' + name, 0o777)
    for name in os.listdir('/etc/trafficserver'):
        if os.path.isfile('/etc/trafficserver/' + name):
            shutil.copy('/etc/trafficserver/' + name, folder + '/etc')
    for name, text in (('records.config', 'CONFIG proxy.config.http.server_ports STRING %d:ip-in=127.0.0.1\n'
                                          'CONFIG proxy.config.url_remap.pristine_host_hdr INT 1\nCONFIG proxy.config.http.cache.http INT 0\n' % port),
                       ('remap.config', 'map / http://127.0.0.1:%d/\n' % upstream), ('storage.config', '')):
        with open(folder + '/etc/' + name, 'w') as f:
            f.write(text)
    places = {'prefix': '', 'sysconfdir': '/etc', 'datadir': '/data', 'localstatedir': '/var', 'runtimedir': '/run', 'logdir': '/log', 'cachedir': '/cache'}
    with open(folder + '/runroot.yaml', 'w') as f:
        f.write('exec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nincludedir: /usr/include\nlibdir: /usr/lib/trafficserver\n'
                'libexecdir: /usr/lib/trafficserver/modules\n' + ''.join('%s: %s%s\n' % (k, folder, v) for k, v in places.items()))
    nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] if os.geteuid() == 0 else []
    return nobody + [program, '--run-root=' + folder + '/runroot.yaml']


LARGE = b'x' * 900000
WITH_BODIES = (  # what curl is told, the source, the answer
    (['--data-binary', '@-', '-H', 'Expect:'], 'open', '413'), (['--data-binary', '@-'], 'open', '413'),
    (['-X', 'POST', '-T', '-', '-H', 'Expect:'], 'open', '413'), (['-X', 'POST', '-T', '-', '-H', 'Expect: 100-continue'], 'open', '413'),
    (['--data-binary', '@-', '-H', 'Expect:'], 'large', '200'), (['--data-binary', '@-'], 'large', '200'),
    (['-X', 'POST', '-T', '-', '-H', 'Expect:'], 'large', '200'), (['-X', 'POST', '-T', '-', '-H', 'Expect: 100-continue'], 'large', '200'),
    (['--data-binary', '@-'], 'nobody', '404'), (['--data-binary', '@-'], 'repo', '401'),
    (['--http2', '-d', '{}'], 'open', '200'), (['-I'], 'open', '405'))


def bodies(port, extra=(), early=True):
    """What did not come as it should."""
    wrong = []
    for options, source, status in WITH_BODIES:
        if not early and status in ('401', '404', '413'):
            continue
        run = subprocess.run(['curl', '-s', '-m', '10', '-o', os.devnull, '-w', '%{http_code}', *extra, *options,
                              'http://127.0.0.1:%d/hooks/%s' % (port, source)], input=LARGE, capture_output=True)
        if run.stdout.decode() != status or run.returncode:
            wrong.append((options, source, run.stdout, run.returncode))
    return wrong


def ask(port, target, status):
    connection = Connection(port, timeout=10)
    try:
        return connection.request('GET', target).status == status
    except (OSError, Broken, ValueError):
        return False
    finally:
        connection.close()


def in_step(port):
    return all(ask(port, target, status) for target, status in
               (('/health/live', 200), ('/nothing', 404), ('/health/live', 200), ('/hooks/open', 405)))


skipped = []
with Server() as server:
    server.apply(SOURCES)
    all_requests = wire_requests() + SMUGGLES
    between = Between(server.port)
    for name, make, requests in (('nginx', nginx, all_requests), ('haproxy', haproxy, all_requests), ('apache', apache, SMUGGLES),
                                 ('varnish', varnish, SMUGGLES), ('lighttpd', lighttpd, SMUGGLES), ('nghttpx', nghttpx, SMUGGLES),
                                 ('caddy', caddy, SMUGGLES), ('squid', squid, SMUGGLES), ('traffic server', traffic_server, SMUGGLES)):
        folder = tempfile.mkdtemp(prefix=name.replace(' ', '-') + '-', dir=os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests'))
        folder = os.path.abspath(folder)
        port = free_port()
        command = make(folder, port, between.port)
        between.connections.clear()
        if not command:
            skipped.append(name)
            shutil.rmtree(folder)
            continue
        proxy = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            ok(when(lambda: in_step(port)), name + ': answers come through')
            body = b'{"through":"%s"}' % name.encode()
            connection = Connection(port)
            answer = connection.request('POST', '/hooks/repo', body, github(body, SECRET))
            ok(answer.status == 200 and server.body_of(answer.json['id']) == body, name + ': a signed webhook comes through')
            connection.close()
            wrong = []
            for data in requests:
                try:
                    connection = Connection(port, timeout=1)
                    connection.send(data)
                    connection.sock.shutdown(socket.SHUT_WR)
                    while connection.sock.recv(65536):
                        pass
                except OSError:
                    pass
                connection.close()
                if not in_step(port):
                    wrong.append(data[:120])
            is_equal(wrong, [], '%s: in step after each of %d requests' % (name, len(requests)))
            if shutil.which('curl'):
                # nghttpx forgets an answer that comes while it still sends, whoever gives it; nginx' as well. Caddy now and
                # then resets it away from who still sends.
                is_equal(bodies(port, early=name not in ('nghttpx', 'caddy')), [], name + ': bodies of all kinds, and early refusals of them')
                if name == 'nghttpx':
                    is_equal(bodies(port, ['--http2-prior-knowledge'], early=False), [], 'bodies that came over HTTP/2')
                ok(in_step(port), name + ': in step behind them')
        finally:
            proxy.terminate()
            proxy.wait(10)
            shutil.rmtree(folder, ignore_errors=True)
        count = len(between.connections)
        when(lambda: all(len(kept['at_end']) == 2 for kept in between.connections))
        ok(count > 0 and between.wrong() == [], '%s: on each of %d connections, requests and answers are one to one' % (name, count)) or diag('\n'.join(map(str, between.wrong())))
    between.close()
    server.apply("""kind: EventSource
metadata: {name: theirs}
spec: {type: github, path: theirs, limits: {bodyBytes: 4194304}, verification: {secrets: [{value: %s}], allow: [127.0.0.2/32],
       trustedProxies: [127.0.0.1/32]}}
""" % SECRET)
    folder = os.path.abspath(tempfile.mkdtemp(prefix='nginx-', dir=os.path.join(os.environ.get('BECKET_BUILD', 'build'), 'tests')))
    port = free_port()
    command, certs = nginx_of_the_guide(folder, port, server.port)
    if command:
        proxy = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            body = b'x' * 3000000
            got = []
            for address in ('127.0.0.2', '127.0.0.3'):
                request = ['curl', '-s', '-m', '10', '-o', os.devnull, '-w', '%{http_code}', '--interface', address, '--cacert',
                           certs.path('ca.pem'), '--retry', '20', '--retry-connrefused', '--retry-delay', '1', '--data-binary', '@-']
                for name, value in github(body, SECRET).items():
                    request += ['-H', '%s: %s' % (name, value)]
                got.append(subprocess.run(request + ['https://localhost:%d/hooks/theirs' % port], input=body,
                                          capture_output=True).stdout)
            is_equal(got, [b'200', b'403'], 'nginx of the guide: TLS, a large body, and becket knows who sends')
        finally:
            proxy.terminate()
            proxy.wait(10)
    shutil.rmtree(folder, ignore_errors=True)
    is_equal(server.stop(), 0, 'becket stops in order')
for name in skipped:
    skip(name, name + ' is not installed (or could not read its folder)')
done()
