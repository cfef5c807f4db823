"""A disk that fails as it is told: a FUSE file system above a directory, whose reads, writes, flushes and allocations can be refused,
or hang, by the name of the file.

    from faulty_disk import FaultyDisk
    with FaultyDisk('faults') as disk:                   # the script is skipped where this cannot be had
        server = disk.watch(Server(data=disk.link))
        disk.fail('write', 'j0-', errno.ENOSPC)          # files whose name has this in it; '' = all
        disk.hang('fsync'); disk.mend()

The kernel's protocol (linux/fuse.h, version 7.31), as much of it as becket needs; a thread for each request that waits.
"""
import ctypes
import errno
import os
import shutil
import struct
import threading

from becket import skip_all
from mounted import Mounted, run

(LOOKUP, FORGET, GETATTR, SETATTR, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, OPENDIR,
 READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE, RENAME2) = (
    1, 2, 3, 4, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 20, 25, 26, 27, 28, 29, 30, 35, 36, 38, 42, 43, 45)
KINDS = {READ: 'read', WRITE: 'write', FSYNC: 'fsync', FALLOCATE: 'allocate', CREATE: 'create', SETATTR: 'truncate', FSYNCDIR: 'fsyncdir'}
WRITE_BYTES_MAX = 1 << 20
HEAD = struct.Struct('<IIQQIIII')


class FaultyDisk(Mounted):
    def __init__(self, name):
        super().__init__(name)
        self.below = self.base + '.low'
        self.faults = []         # (kind, part of the name, errno or None = hang)
        self.changed = threading.Condition()
        self.nodes, self.numbers = {1: self.below}, {self.below: 1}
        self.files, self.next = {}, 2
        self.lock = threading.RLock()
        self.counts = {}

    # ---- for the test
    def fail(self, kind, name='', number=errno.EIO):
        with self.changed:
            self.counts = {}
            self.faults.append((kind, name, number))

    def hang(self, kind, name=''):
        self.fail(kind, name, None)

    def mend(self):
        with self.changed:
            self.faults = []
            self.changed.notify_all()

    def __enter__(self):
        if os.geteuid() != 0 or not os.path.exists('/dev/fuse'):
            skip_all('only root can mount a FUSE file system, where there is /dev/fuse')
        if os.path.ismount(self.mount_point):
            run('umount', '-l', self.mount_point)
        shutil.rmtree(self.below, ignore_errors=True)
        os.makedirs(self.below)
        os.makedirs(self.mount_point, exist_ok=True)
        self.device = os.open('/dev/fuse', os.O_RDWR | os.O_CLOEXEC)
        libc = ctypes.CDLL(None, use_errno=True)
        options = b'fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other' % self.device
        if libc.mount(b'faulty', self.mount_point.encode(), b'fuse', ctypes.c_ulong(6), options) != 0:
            skip_all('this host does not allow a FUSE mount: ' + os.strerror(ctypes.get_errno()))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.make_data()
        return self

    def __exit__(self, *args):
        self.mend()
        self.kill_servers()
        if not self.unmount():
            run('umount', '-l', self.mount_point)
        os.unlink(self.link)
        shutil.rmtree(self.below, ignore_errors=True)

    # ---- the protocol
    def _serve(self):
        while True:
            try:
                request = os.read(self.device, WRITE_BYTES_MAX + 8192)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # unmounted
            _, opcode, unique, node, *_ = HEAD.unpack_from(request)
            body = request[HEAD.size:]
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT, DESTROY):
                continue
            if opcode in KINDS:
                threading.Thread(target=self._answer, args=(opcode, unique, node, body), daemon=True).start()
            else:
                self._answer(opcode, unique, node, body)

    def _answer(self, opcode, unique, node, body):
        number, reply = 0, b''
        try:
            self._fault(opcode, node, body)
            reply = self._run(opcode, node, body)
        except OSError as error:
            number = error.errno or errno.EIO
        try:
            os.write(self.device, struct.pack('<IiQ', 16 + len(reply), -number, unique) + reply)
        except OSError:
            pass  # nobody waits any more

    def _name(self, opcode, node, body):
        if opcode == CREATE:
            return body[16:].split(b'\0')[0].decode()
        with self.lock:
            return os.path.basename(self.nodes.get(node, ''))

    def _fault(self, opcode, node, body):
        kind = KINDS.get(opcode)
        if kind is None or (opcode == SETATTR and not struct.unpack_from('<I', body)[0] & 8):
            return
        name = self._name(opcode, node, body)
        with self.changed:
            while True:
                found = [fault for fault in self.faults if fault[0] in (kind, 'all') and fault[1] in name]
                if not found:
                    return
                self.counts[kind] = self.counts.get(kind, 0) + 1
                if found[0][2] is not None:
                    raise OSError(found[0][2], 'told so')
                self.changed.wait()

    def _attr(self, path):
        s = os.lstat(path)
        with self.lock:
            number = self.numbers.get(path, 1)
        return struct.pack('<QQQQQQIIIIIIIIII', number, s.st_size, s.st_blocks, int(s.st_atime), int(s.st_mtime), int(s.st_ctime), 0, 0, 0,
                           s.st_mode, s.st_nlink, s.st_uid, s.st_gid, 0, 4096, 0)

    def _entry(self, path):
        attr = self._attr(path)
        with self.lock:
            if path not in self.numbers:
                self.numbers[path], self.nodes[self.next] = self.next, path
                self.next += 1
            number = self.numbers[path]
        return struct.pack('<QQQQII', number, 0, 0, 0, 0, 0) + attr

    def _child(self, node, name):
        with self.lock:
            return os.path.join(self.nodes[node], name.split(b'\0')[0].decode())

    def _open(self, path, flags, mode=0):
        # What the kernel does with O_DIRECT it does above; a file below is as good without it.
        file = os.open(path, flags & ~(os.O_DIRECT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND) | os.O_CLOEXEC, mode)
        with self.lock:
            self.files[file] = path
        return struct.pack('<QII', file, 0, 0)

    def _moved(self, old, new):
        with self.lock:
            if new in self.numbers:
                self.nodes.pop(self.numbers.pop(new), None)
            if old in self.numbers:
                number = self.numbers.pop(old)
                self.numbers[new], self.nodes[number] = number, new

    def _run(self, opcode, node, body):
        with self.lock:
            path = self.nodes.get(node)
        if opcode == INIT:
            major, minor, ahead, flags = struct.unpack_from('<IIII', body)
            # 1: asynchronous reads; 32: large writes; 1 << 22: many pages at once
            return struct.pack('<IIIIHHIIHHIIHH', 7, 31, ahead, flags & (1 | 32 | 1 << 22), 64, 48, WRITE_BYTES_MAX, 1,
                               WRITE_BYTES_MAX >> 12, 0, 0, 0, 0, 0) + b'\0' * 20
        if opcode == LOOKUP:
            return self._entry(self._child(node, body))
        if opcode == GETATTR:
            return struct.pack('<QII', 0, 0, 0) + self._attr(path)
        if opcode == SETATTR:
            valid, _, _, size, _, _, _, _, _, _, _, mode, _, uid, gid, _ = struct.unpack_from('<IIQQQQQQIIIIIIII', body)
            if valid & 1:
                os.chmod(path, mode & 0o7777)
            if valid & 6:
                os.chown(path, uid if valid & 2 else -1, gid if valid & 4 else -1)
            if valid & 8:
                os.truncate(path, size)
            return struct.pack('<QII', 0, 0, 0) + self._attr(path)
        if opcode == MKNOD:
            mode, device, _, _ = struct.unpack_from('<IIII', body)
            child = self._child(node, body[16:])
            os.mknod(child, mode, device)
            return self._entry(child)
        if opcode == MKDIR:
            mode, _ = struct.unpack_from('<II', body)
            child = self._child(node, body[8:])
            os.mkdir(child, mode)
            return self._entry(child)
        if opcode in (UNLINK, RMDIR):
            child = self._child(node, body)
            (os.unlink if opcode == UNLINK else os.rmdir)(child)
            with self.lock:
                self.numbers.pop(child, None)
            return b''
        if opcode in (RENAME, RENAME2):
            target = struct.unpack_from('<Q', body)[0]
            names = body[8 if opcode == RENAME else 16:].split(b'\0')
            old, new = self._child(node, names[0]), self._child(target, names[1])
            os.rename(old, new)
            self._moved(old, new)
            return b''
        if opcode == OPEN:
            return self._open(path, struct.unpack_from('<I', body)[0])
        if opcode == CREATE:
            flags, mode, _, _ = struct.unpack_from('<IIII', body)
            child = self._child(node, body[16:])
            opened = self._open(child, flags | os.O_CREAT, mode)
            return self._entry(child) + opened
        if opcode == READ:
            file, offset, size = struct.unpack_from('<QQI', body)
            return os.pread(file, size, offset)
        if opcode == WRITE:
            file, offset, size = struct.unpack_from('<QQI', body)
            return struct.pack('<II', os.pwrite(file, body[40:40 + size], offset), 0)
        if opcode == FSYNC:
            os.fdatasync(struct.unpack_from('<Q', body)[0])
            return b''
        if opcode == FALLOCATE:
            file, offset, length, mode, _ = struct.unpack_from('<QQQII', body)
            if mode:
                raise OSError(errno.EOPNOTSUPP, 'only allocation')
            os.posix_fallocate(file, offset, length)
            return b''
        if opcode == STATFS:
            s = os.statvfs(self.below)
            return struct.pack('<QQQQQIIII', s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree, s.f_bsize, 255, s.f_frsize, 0) + b'\0' * 24
        if opcode == RELEASE:
            file = struct.unpack_from('<Q', body)[0]
            with self.lock:
                self.files.pop(file, None)
            os.close(file)
            return b''
        if opcode == OPENDIR:
            return struct.pack('<QII', 0, 0, 0)
        if opcode == READDIR:
            _, offset, size = struct.unpack_from('<QQI', body)
            reply = b''
            for i, name in enumerate(sorted(os.listdir(path))):
                text = name.encode()
                record = struct.pack('<QQII', 1000 + i, i + 1, len(text), 0) + text
                record += b'\0' * (-len(record) % 8)
                if i >= offset and len(reply) + len(record) <= size:
                    reply += record
                elif i >= offset:
                    break
            return reply
        if opcode in (FLUSH, RELEASEDIR, FSYNCDIR):
            return b''
        raise OSError(errno.ENOSYS, 'not of interest')
