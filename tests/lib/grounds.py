"""File systems of their own for a test, each on a loop device or above another directory.

    from grounds import grounds
    for ground in grounds('f10'):
        with ground:
            if ground.why: …                             # this host has none of the kind
            server = ground.watch(Server(data=ground.link))
            ground.cut(); ground.again()                 # where ground.cuts

A ground whose power can be cut lies on two: the file system under test, on a loop device whose image is on an ext4 that is shut
down (loop_disk.py). To the one under test that is a device that fails from then on; what it had flushed is there afterwards.
"""
import os
import shutil

from loop_disk import LoopDisk
from mounted import Mounted, run


class Ground(Mounted):
    cuts = False
    patience = 100

    def __init__(self, name, test, mib=200):
        super().__init__(test + '-' + name.replace(' ', '-'))
        self.name, self.mib, self.test = name, mib, test

    def __enter__(self):
        os.makedirs(self.mount_point, exist_ok=True)
        self.unmount()  # of a run that was ended
        self.why = 'only root can mount it' if os.geteuid() != 0 else self.open()
        if not self.why:
            self.make_data()
        return self

    def __exit__(self, *args):
        self.kill_servers()
        self.close()
        if os.path.islink(self.link):
            os.unlink(self.link)
        if os.path.exists(self.link + '.log'):
            os.unlink(self.link + '.log')

    def mount(self, *words):
        """'', or why not."""
        made = run('mount', *words)
        return '' if made.returncode == 0 else 'cannot be mounted here: ' + (made.stderr.strip().splitlines() or ['?'])[0]


class Memory(Ground):
    def open(self):
        return self.mount('-t', 'tmpfs', '-o', 'size=%dm' % self.mib, 'none', self.mount_point)

    def close(self):
        self.unmount()


class Overlay(Ground):
    options = ''

    def open(self):
        for part in ('low', 'up', 'work'):
            shutil.rmtree(self.base + '.' + part, ignore_errors=True)
            os.makedirs(self.base + '.' + part)
        return self.mount('-t', 'overlay', '-o', 'lowerdir={0}.low,upperdir={0}.up,workdir={0}.work{1}'.format(self.base, self.options),
                          'none', self.mount_point)

    def close(self):
        self.unmount()
        for part in ('low', 'up', 'work'):
            shutil.rmtree(self.base + '.' + part, ignore_errors=True)


class Volatile(Overlay):
    options = ',volatile'


class Fuse(Ground):
    """A FUSE file system above a directory of the host: `program` gets that directory and the mount point."""

    def __init__(self, name, test, *program):
        super().__init__(name, test)
        self.program = program

    def open(self):
        if not os.path.exists('/dev/fuse'):
            return 'there is no /dev/fuse'
        if not shutil.which(self.program[0]):
            return self.program[0] + ' is not installed'
        for part in ('low', 'up', 'work'):
            os.makedirs(self.base + '.' + part, exist_ok=True)
        made = run(*[word.format(base=self.base, mount=self.mount_point) for word in self.program])
        return '' if made.returncode == 0 else 'cannot be mounted here: ' + (made.stderr.strip().splitlines() or ['?'])[0]

    def close(self):
        self.unmount()
        for part in ('low', 'up', 'work'):
            shutil.rmtree(self.base + '.' + part, ignore_errors=True)


class Block(Ground):
    """A file system on a loop device, whose image is on an ext4 that can be cut, frozen, or be too small for it.
    `make` and `mount`: commands that the device, and the mount point, are appended to."""

    def __init__(self, name, test, make, mount=('mount',), sector=512, mib=200, below_mib=0, cuts=True):
        super().__init__(name, test, mib)
        self.cuts = cuts
        self.make, self.how, self.sector = make.split(), list(mount), sector
        self.below = LoopDisk(os.path.basename(self.base) + '-below', mib=below_mib or mib + 64)
        self.device = ''

    def open(self):
        missing = [program for program in (self.make[0], self.how[0]) if not shutil.which(program)]
        if missing:
            return missing[0] + ' is not installed'
        self.below.__enter__()
        self.image = os.path.join(self.below.mount_point, 'image')
        with open(self.image, 'wb') as f:
            f.truncate(self.mib << 20)
        why = self.attach()
        if not why:
            made = run(*self.make, self.device)
            why = '' if made.returncode == 0 else 'cannot be made: ' + made.stderr.strip().splitlines()[-1]
        return why or self.mount(*self.how, self.device, self.mount_point)

    def mount(self, *words):
        made = run(*words)
        said = (made.stderr + made.stdout).strip().splitlines() or ['?']
        return '' if made.returncode == 0 else 'cannot be mounted here: ' + said[-1]

    def attach(self):
        made = run('losetup', '-f', '--show', '-b', str(self.sector), self.image)
        self.device = made.stdout.strip()
        return '' if made.returncode == 0 else 'no loop device: ' + made.stderr.strip()

    def detach(self):
        if self.device:
            run('losetup', '-d', self.device)
        self.device = ''

    def close(self):
        if self.device:
            self.below.thaw()
            self.unmount()
            self.detach()
            self.below.__exit__()

    def cut(self):
        self.below.cut()

    def again(self):
        """Mounted anew, as after a power cut."""
        if not self.unmount():
            return 'it cannot be unmounted'
        self.detach()
        if not self.below.again():
            return 'what is below cannot be mounted again'
        return self.attach() or self.mount(*self.how, self.device, self.mount_point)


def grounds(test):
    ext4, xfs, btrfs = 'mkfs.ext4 -q -F -m 0', 'mkfs.xfs -q -f', 'mkfs.btrfs -q -f'
    over = 'lowerdir={base}.low,upperdir={base}.up,workdir={base}.work'
    return [
        Memory('tmpfs', test),
        Overlay('overlayfs', test),
        Block('ext4 of 1 KiB blocks', test, ext4 + ' -b 1024'),
        Block('xfs on 4 KiB sectors', test, xfs, sector=4096, mib=320),
        Block('btrfs', test, btrfs),
        Fuse('bindfs', test, 'bindfs', '{base}.low', '{mount}'),
        # The rest where somebody asks for all.
        Volatile('volatile overlayfs', test),
        Block('ext4', test, ext4),
        Block('ext4 without journal', test, ext4 + ' -O ^has_journal', cuts=False),  # it would want fsck
        Block('ext4 on 4 KiB sectors', test, ext4, sector=4096),
        Block('xfs', test, xfs, mib=320),
        Block('btrfs compressed', test, btrfs, mount=['mount', '-o', 'compress=zstd']),
        Block('exfat', test, 'mkfs.exfat', mount=['mount.exfat-fuse', '-o', 'umask=077']),
        Fuse('fuse-overlayfs', test, 'fuse-overlayfs', '-o', over, '{mount}'),
    ]
