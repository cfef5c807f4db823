"""What a file system of a test's own has, whatever kind it is: where it is mounted, a data directory on it with a link beside it, and
servers, which are killed before it goes.

    class Kind(Mounted):                                 # faulty_disk.py, grounds.py, loop_disk.py
        def __enter__(self): …; self.make_data(); return self
        def __exit__(self, *args): self.kill_servers(); self.unmount(); …
"""
import os
import subprocess
import time


def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


class Mounted:
    patience = 50  # tenths of a second that an unmount may take

    def __init__(self, name):
        self.base = os.path.join(os.path.abspath(os.environ.get('BECKET_BUILD', 'build')), 'tests', name)
        self.mount_point, self.link = self.base + '.mnt', self.base + '.data'
        self.data = os.path.join(self.mount_point, 'data')
        self.servers = []

    def watch(self, server):
        self.servers.append(server)
        return server

    def kill_servers(self):
        for server in self.servers:
            if server.process:
                server.kill()

    def make_data(self):
        if not os.path.isdir(self.data):
            os.mkdir(self.data, 0o700)
        if os.path.islink(self.link):
            os.unlink(self.link)
        os.symlink(self.data, self.link)

    def unmount(self, where=None):
        where = where or self.mount_point
        for _ in range(self.patience):
            if run('umount', where).returncode == 0 or not os.path.ismount(where):
                return True
            time.sleep(0.1)
        return False
