"""Between a proxy and becket: hands on what both say, keeps it, and pairs requests with answers on every connection, by a
reading of its own. Who is in front and who is behind agree only if no connection has an answer more than it had requests,
and one fewer, or one to a request that did not come whole, ends it.

    between = Between(server.port)      # the proxy's upstream is between.port
    ...
    wrong = between.wrong()             # [] is as it should be
"""
import re
import socket
import threading

FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
CHUNK = re.compile(rb'([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n')


def _behind_chunks(data, at):
    """Where a chunked body ends; None when it does not, or is none."""
    while True:
        line = CHUNK.match(data, at)
        if not line:
            return None
        at, size = line.end(), int(line[1], 16)
        if size == 0:
            break
        if data[at + size:at + size + 2] != b'\r\n':
            return None
        at += size + 2
    while True:  # trailers
        end = data.find(b'\r\n', at)
        if end <= at:
            return end + 2 if end == at else None
        at = end + 2


def messages(data, bodiless=lambda count, line: False):
    """The whole ones at the front, as (first line, fields), and what is left behind them."""
    found, at = [], 0
    while True:
        end = data.find(b'\r\n\r\n', at)
        lines = data[at:end].split(b'\r\n') if end >= 0 else [b'']
        fields = [FIELD.fullmatch(line) for line in lines[1:]]
        if end < 0 or not all(fields):
            return found, data[at:]
        fields = [(field[1].lower(), field[2].lower()) for field in fields]
        codings = [value for name, value in fields if name == b'transfer-encoding']
        lengths = {value for name, value in fields if name == b'content-length'}
        end += 4
        if bodiless(len(found), lines[0]):
            pass
        elif codings:
            end = _behind_chunks(data, end) if codings == [b'chunked'] and not lengths else None
        elif lengths:
            end = end + int(max(lengths)) if len(lengths) == 1 and max(lengths).isdigit() else None
        if end is None or end > len(data):
            return found, data[at:]
        if not re.match(rb'HTTP/1.1 1\d\d ', lines[0]):
            found.append((lines[0], fields))
        at = end


class Between:
    def __init__(self, port):
        self.upstream, self.connections = port, []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                proxy, _ = self.listener.accept()
                becket = socket.create_connection(('127.0.0.1', self.upstream))
            except OSError:
                return
            kept = {'asked': b'', 'said': b'', 'at_end': set()}
            self.connections.append(kept)
            for one, other, way in ((proxy, becket, 'asked'), (becket, proxy, 'said')):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._carry, args=(one, other, kept, way), daemon=True).start()

    @staticmethod
    def _carry(one, other, kept, way):
        try:
            while True:
                data = one.recv(65536)
                if not data:
                    break
                kept[way] += data
                other.sendall(data)
        except OSError:
            pass
        kept['at_end'].add(way)
        try:
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def wrong(self):
        """Connections on which requests and answers are not one to one: what was asked and said last."""
        found = []
        for kept in self.connections:
            asked, rest = messages(kept['asked'])
            heads = [line.startswith(b'HEAD ') for line, _ in asked] + [rest.startswith(b'HEAD ')]
            said, more = messages(kept['said'], lambda count, line: count < len(heads) and heads[count] or re.match(rb'HTTP/1.1 (1\d\d|204|304) ', line))
            ends = bool(said) and (b'connection', b'close') in said[-1][1]
            paired = len(said) == len(asked) or \
                len(said) == len(asked) + 1 and rest and ends or len(said) < len(asked) and ends  # what is refused ends it
            if not paired or more:
                found.append((len(asked), len(said), rest[:100], more[:100], kept['asked'][-200:], kept['said'][-200:]))
        return found

    def close(self):
        self.listener.close()
