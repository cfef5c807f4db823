"""Certificates for wire tests, made with the openssl command into a directory of the test."""
import os
import shutil
import subprocess
import time

from becket import skip_all

VECTORS = os.environ.get('VECTORS', os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'vectors'))


def have_openssl():
    try:
        return subprocess.run(['openssl', 'version'], capture_output=True).returncode == 0
    except OSError:
        return False


class Certs:
    """ca.pem is trusted; make('name', ...) gives name.pem and name.key."""

    def __init__(self, directory):
        if not have_openssl():
            skip_all('the openssl command is not installed')
        self.directory = directory
        self.ca('ca')

    def path(self, name):
        return os.path.join(self.directory, name)

    def run(self, *arguments, stdin=None):
        done = subprocess.run(('openssl',) + arguments, cwd=self.directory, capture_output=True, input=stdin)
        if done.returncode:
            raise RuntimeError('openssl %s: %s' % (arguments, done.stderr.decode('utf-8', 'replace')))

    def key(self, name, kind='prime256v1'):
        if kind == 'rsa:4096':  # made once: finding its primes takes a second or three
            shutil.copyfile(os.path.join(VECTORS, 'crypto', 'rsa_4096.key'), self.path(name + '.key'))
        elif kind.startswith('rsa:'):
            self.run('genrsa', '-out', name + '.key', kind[4:])
        else:
            self.run('ecparam', '-name', kind, '-genkey', '-noout', '-out', name + '.key')
        os.chmod(self.path(name + '.key'), 0o600)

    def ca(self, name):
        self.key(name)
        # Python 3.13 believes no authority that does not say what its key is for.
        self.run('req', '-x509', '-new', '-key', name + '.key', '-subj', '/CN=authority ' + name, '-days', '30', '-addext',
                 'keyUsage=critical,keyCertSign,cRLSign', '-out', name + '.pem')

    def make(self, name, san='DNS:localhost,IP:127.0.0.1', kind='prime256v1', ca='ca', digest='sha256',
             usage='serverAuth', extra=(), start=None, end=None):
        """start, end: seconds from now."""
        self.key(name, kind)
        with open(self.path(name + '.ext'), 'w') as f:
            f.write('basicConstraints=CA:FALSE\n')
            if ca is not None:
                f.write('authorityKeyIdentifier=keyid\n')
            if san:
                f.write('subjectAltName=%s\n' % san)
            if usage:
                f.write('extendedKeyUsage=%s\n' % usage)
            for line in extra:
                f.write(line + '\n')
        self.run('req', '-new', '-key', name + '.key', '-subj', '/CN=' + name, '-out', name + '.csr')
        when = [time.strftime('%Y%m%d%H%M%SZ', time.gmtime(time.time() + s))
                for s in (-3600 if start is None else start, 30 * 86400 if end is None else end)]
        with open(self.path('ca.conf'), 'w') as f:
            f.write('[ca]\ndefault_ca=c\n[c]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\npolicy=p\nunique_subject=no\n'
                    'rand_serial=yes\n[p]\ncommonName=supplied\n' %
                    (self.path('index'), self.path('serial'), self.directory))
        open(self.path('index'), 'a').close()
        signer = ['-selfsign', '-keyfile', name + '.key'] if ca is None else ['-cert', ca + '.pem', '-keyfile',
                                                                              ca + '.key']
        self.run('ca', '-batch', '-notext', '-config', 'ca.conf', '-md', digest, '-startdate', when[0], '-enddate',
                 when[1], '-extfile', name + '.ext', '-in', name + '.csr', '-out', name + '.pem', *signer)
        return self.path(name + '.pem'), self.path(name + '.key')
