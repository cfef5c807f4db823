"""becket with certificates, and clients for it."""
import socket
import ssl
import subprocess
import time

from becket import Connection, Server, free_port


def context(ca, cert=None, version=None):
    c = ssl.create_default_context(cafile=ca)
    c.maximum_version = version or ssl.TLSVersion.TLSv1_2
    if version == ssl.TLSVersion.TLSv1_1:
        c.minimum_version = version
        c.set_ciphers('DEFAULT:@SECLEVEL=0')
    if version == ssl.TLSVersion.TLSv1_3:
        c.minimum_version = version
    if cert:
        c.load_cert_chain(*cert)
    return c


class Secure(Connection):
    def __init__(self, port, ctx, name='localhost', timeout=10, session=None, source=None):
        super().__init__(port, timeout, source)
        self.sock = ctx.wrap_socket(self.sock, server_hostname=name, session=session)


class TlsServer(Server):
    """Its own start, for health is asked over TLS."""

    def __init__(self, certs, options, admin_host='127.0.0.1', threads=2):
        self.certs, self.ctx, self.admin_host = certs, context(certs.path('ca.pem')), admin_host
        super().__init__(options=options, threads=threads)

    def start(self, wait=30):
        self.port, self.admin = free_port(), free_port()
        self.log = open(self.data.rstrip('/') + '.log', 'ab')
        self.process = subprocess.Popen(
            [self.program, 'serve', '--data', self.data, '--listen', '127.0.0.1:%d' % self.port, '--admin',
             '%s:%d' % (self.admin_host, self.admin), '--segment-bytes', '16M', '--threads', str(self.threads)] + self.options,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        began = time.monotonic()
        while ' ready ' not in self.log_text():
            if self.process.poll() is not None or time.monotonic() - began > wait:
                raise RuntimeError('serve: ' + self.log_text()[-2000:])
            time.sleep(0.02)
        return self

    def secure(self, name='localhost', ctx=None, **more):
        return Secure(self.port, ctx or self.ctx, name, **more)

    def wait_log(self, text, seconds=10):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if text in self.log_text():
                return True
            time.sleep(0.02)
        return False
