"""A terminal of some width, for what programs show to people only."""
import fcntl, os, pty, select, signal, struct, subprocess, termios, time

from becket import skip_all


class Terminal:
    """A program whose three standard streams are one terminal; stdout may be a pipe instead."""

    def __init__(self, words, columns=80, env=None, cwd=None):
        try:
            self.master, slave = pty.openpty()
        except OSError as error:
            skip_all('no terminal can be made here: %s; is /dev/pts mounted?' % error)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        environment = dict(os.environ, TERM='xterm')
        environment.update(env or {})
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=cwd,
                                        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        os.close(slave)
        self.data = b''

    @property
    def text(self):
        return self.data.decode('utf-8', 'replace').replace('\r\n', '\n')

    def read(self, until=None, seconds=20):
        """What it says until `until` comes or it ends."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    data = b''
                if not data:
                    break
                self.data += data
            if until is not None and until in self.text:
                break
        return self.text

    def key(self, byte):
        os.write(self.master, byte)

    def wait(self, seconds=20):
        self.read(seconds=seconds)
        try:
            return self.process.wait(seconds)
        finally:
            os.close(self.master)


def on_terminal(words, columns=80, env=None, cwd=None):
    """(exit code, everything that it showed)"""
    terminal = Terminal(words, columns, env, cwd)
    code = terminal.wait()
    return code, terminal.text
