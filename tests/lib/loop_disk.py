"""A disk of its own for a test: an ext4 on a loop device, which can be full, stand still, fail, or lose its power.

    from loop_disk import LoopDisk
    with LoopDisk('overload', mib=160) as disk:          # the script is skipped where this cannot be had
        server = Server(data=disk.link)                  # its log lies beside the disk, not on it
        disk.watch(server)                               # killed at the end, if it still runs
        disk.freeze() ... disk.thaw()
"""
import ctypes
import fcntl
import os
import shutil

from becket import skip_all
from mounted import Mounted, run

EXT4_IOC_SHUTDOWN, NOLOGFLUSH = 0x8004587d, 2


class LoopDisk(Mounted):
    def __init__(self, name, mib=160, freezes=False):
        super().__init__(name)
        self.image = self.base + '.img'
        self.mib, self.freezes = mib, freezes
        self.frozen = False

    def __enter__(self):
        if os.geteuid() != 0:
            skip_all('only root can mount a loop device')
        if self.freezes and not shutil.which('fsfreeze'):
            skip_all('fsfreeze is not installed')
        os.makedirs(self.mount_point, exist_ok=True)
        if os.path.ismount(self.mount_point):  # of a run that was ended
            run('fsfreeze', '-u', self.mount_point)
            self.unmount()
        with open(self.image, 'wb') as f:
            f.truncate(self.mib << 20)
        made = run('mkfs.ext4', '-q', '-F', '-m', '0', self.image)
        mounted = made if made.returncode else self._mount()
        if mounted.returncode:
            os.unlink(self.image)
            skip_all('this host does not allow a loop mount: ' + mounted.stderr.strip())
        self.make_data()
        return self

    def __exit__(self, *args):
        self.thaw()
        self.kill_servers()
        self.unmount()
        os.unlink(self.link)
        os.unlink(self.image)

    def _mount(self):
        return run('mount', '-o', 'loop,noatime', self.image, self.mount_point)

    def again(self):
        """Unmounted and mounted anew: what was not durable is gone after cut()."""
        return self.unmount() and self._mount().returncode == 0

    def freeze(self):
        """Whatever is written from now on waits."""
        self.frozen = run('fsfreeze', '-f', self.mount_point).returncode == 0
        return self.frozen

    def thaw(self):
        if self.frozen:
            run('fsfreeze', '-u', self.mount_point)
            self.frozen = False

    def cut(self):
        """As when the power fails: nothing more reaches the device, every write and flush is EIO."""
        folder = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, ctypes.c_uint32(NOLOGFLUSH))
        finally:
            os.close(folder)
