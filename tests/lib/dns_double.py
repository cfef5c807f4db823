#!/usr/bin/env python3
"""dns_double - a name server for tests that answers as it is told, also wrongly.

    from dns_double import DnsDouble            in a test: server = DnsDouble(); server.set(...); server.port
    python3 tests/lib/dns_double.py             for programs: first line on stdout is the port, then each
                                                command line on stdin gets one line back

Commands (methods of the same name):
    set NAME TYPE ANSWER | ANSWER ...   the answers to questions for NAME, in turn; the last one stays
    count NAME TYPE                     how often it was asked, UDP and TCP together
    tcp                                 how many questions came by TCP
    names                               every question so far, as NAME/TYPE
    down, up                            say nothing to anybody; talk again

TYPE is A or AAAA. An ANSWER is
    ADDRESS[,ADDRESS...] [ttl=N]        records (ttl 60)
    cname=NAME[,NAME...] ADDRESS...     a chain of aliases in front of them; without addresses only the chain
    nxdomain, nodata, servfail, refused
    hang                                no reply
    late=SECONDS ANSWER                 the answer, after a while
    truncate ANSWER                     "too long" by UDP, the answer by TCP
    garbage                             bytes that are no message, then nothing
    cut ANSWER                          the first half of the right message
    wrongid ANSWER                      the answer with another id (twice), then the right one
    wrongname ANSWER                    the answer to another question, then nothing
    loop                                aliases that lead to each other
    pointers                            names in it that are compressed into a circle
    beyond                              a name in it that points behind the end
    othertype ANSWER                    the right question, records of another type (TXT)
    absent=SECONDS                      no such name, with an SOA that says for how long
    notruncation                        "too long" by UDP and by TCP
    closes                              "too long" by UDP, by TCP the end at once
    trickle ANSWER                      "too long" by UDP, by TCP a byte each 20 ms
    huge                                more records than anybody wants, by TCP
A name that was never set does not exist.
"""
import ipaddress
import socket
import struct
import sys
import threading
import time

TYPES = {'A': 1, 'AAAA': 28, 'CNAME': 5, 'SOA': 6, 'TXT': 16, 'OPT': 41}
NAMES = {number: name for name, number in TYPES.items()}


def pack_name(name):
    return b''.join(bytes([len(label)]) + label.encode() for label in name.split('.') if label) + b'\0'


def read_question(message):
    at, labels = 12, []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode('ascii', 'replace'))
        at += 1 + message[at]
    kind, = struct.unpack('>H', message[at + 1:at + 3])
    return '.'.join(labels).lower(), NAMES.get(kind, str(kind)), message[12:at + 5]


def record(name, kind, ttl, data):
    return pack_name(name) + struct.pack('>HHIH', TYPES[kind], 1, ttl, len(data)) + data


def reply(message, question, records=(), code=0, flags=0x8180, id_change=0, count=None):
    number, = struct.unpack('>H', message[:2])
    head = struct.pack('>HHHHHH', number ^ id_change, flags | code, 1,
                       len(records) if count is None else count, 0, 0)
    return head + question + b''.join(records)


class Trickle(bytes):
    """A message that leaves byte by byte."""


class DnsDouble:
    def __init__(self, address='127.0.0.1'):
        self.lock = threading.Lock()
        self.answers, self.asked, self.order = {}, {}, []
        self.tcp_count, self.silent = 0, False
        for _ in range(50):     # a port that is free for both
            self.tcp_socket = socket.create_server((address, 0))
            self.port = self.tcp_socket.getsockname()[1]
            self.udp_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for option in (socket.SO_RCVBUF, 33):   # SO_RCVBUFFORCE, for root
                try:
                    self.udp_socket.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
                except OSError:
                    pass
            try:
                self.udp_socket.bind((address, self.port))
                break
            except OSError:
                self.tcp_socket.close()
                self.udp_socket.close()
        self.address = f'{address}:{self.port}'
        for run in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=run, daemon=True).start()

    # ---- commands

    def set(self, name, kind, *answers):
        with self.lock:
            self.answers[name.lower(), kind] = [answer.split() for answer in answers]

    def count(self, name, kind):
        with self.lock:
            return self.asked.get((name.lower(), kind), 0)

    def tcp(self):
        return self.tcp_count

    def names(self):
        with self.lock:
            return ' '.join(self.order)

    def down(self):
        self.silent = True

    def up(self):
        self.silent = False

    # ---- answering

    def take(self, name, kind):
        with self.lock:
            self.asked[name, kind] = self.asked.get((name, kind), 0) + 1
            self.order.append(f'{name}/{kind}')
            answers = self.answers.get((name, kind))
            if answers is None:
                known = any(other == name for other, _ in self.answers)
                return ['nodata' if known else 'nxdomain']
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def records(self, name, kind, words):
        ttl, chain, addresses = 60, [], []
        for word in words:
            if word.startswith('ttl='):
                ttl = int(word[4:])
            elif word.startswith('cname='):
                chain = word[6:].split(',')
            else:
                addresses += word.split(',')
        out = []
        for target in chain:
            out.append(record(name, 'CNAME', ttl, pack_name(target)))
            name = target
        return out + [record(name, kind, ttl, ipaddress.ip_address(a).packed) for a in addresses]

    def messages(self, message, question, name, kind, words, tcp):
        """The datagrams, or messages on a connection, that answer a question."""
        what, rest = words[0], words[1:]
        if what == 'hang':
            return []
        if what.startswith('late='):
            time.sleep(float(what[5:]))
            return self.messages(message, question, name, kind, rest, tcp)
        if what in ('nxdomain', 'nodata', 'servfail', 'refused'):
            code = {'nxdomain': 3, 'nodata': 0, 'servfail': 2, 'refused': 5}[what]
            return [reply(message, question, code=code)]
        if what in ('pointers', 'beyond'):
            # A pointer to itself, right behind the question; or one to where nothing is.
            at = 12 + len(question) if what == 'pointers' else 0x3fff
            return [reply(message, question, [struct.pack('>HHHIH', 0xc000 | at, TYPES[kind], 1, 60, 4) + b'\6\6\6\6'])]
        if what == 'othertype':
            return [reply(message, question, [record(name, 'TXT', 60, b'\7v=spf1 ')])]
        if what.startswith('absent='):
            soa = pack_name('ns.test') + pack_name('admin.test') + struct.pack('>IIIII', 1, 3600, 600, 86400, int(what[7:]))
            head = reply(message, question, code=3)
            return [head[:8] + b'\0\1' + head[10:] + record('test', 'SOA', int(what[7:]), soa)]
        if what in ('notruncation', 'closes', 'trickle') and not tcp or what == 'notruncation':
            return [reply(message, question, flags=0x8380)]
        if what == 'closes':
            raise OSError('closed')
        if what == 'trickle':
            return [Trickle(reply(message, question, self.records(name, kind, rest)))]
        if what == 'garbage':
            return [b'\x00', bytes(range(256)), message[:2] + b'\xff' * 40]
        if what == 'huge':
            records = [record(name, kind, 60, ipaddress.ip_address(n + 0x01020300).packed)
                       for n in range(2000)] if kind == 'A' else []
            return [reply(message, question, records)] if tcp else [
                reply(message, question, flags=0x8380)]
        if what == 'loop':
            records = [record(name, 'CNAME', 60, pack_name('b.' + name)),
                       record('b.' + name, 'CNAME', 60, pack_name(name))]
            return [reply(message, question, records)]
        if what == 'truncate':
            if not tcp:
                return [reply(message, question, flags=0x8380)]
            return self.messages(message, question, name, kind, rest, tcp)
        if what == 'cut':
            whole = reply(message, question, self.records(name, kind, rest))
            return [whole[:len(whole) // 2]]
        if what == 'wrongid':
            lie = self.records(name, kind, ['6.6.6.6' if kind == 'A' else '2606::6'])
            return [reply(message, question, lie, id_change=1),
                    reply(message, question, lie, id_change=0x8000),
                    reply(message, question, self.records(name, kind, rest))]
        if what == 'wrongname':
            other = pack_name('other.test') + question[-4:]
            return [reply(message, other, self.records('other.test', kind, rest))]
        return [reply(message, question, self.records(name, kind, words))]

    def answer(self, message, send, tcp):
        try:
            name, kind, question = read_question(message)
        except (IndexError, struct.error):
            return
        words = self.take(name, kind)
        if not self.silent:
            for out in self.messages(message, question, name, kind, words, tcp):
                send(out)

    def serve_udp(self):
        """Hundreds may come at once, on a busy machine: only those that sleep have a thread of their own."""
        while True:
            message, peer = self.udp_socket.recvfrom(65535)
            work = (message, lambda out, peer=peer: self.udp_socket.sendto(out, peer), False)
            if self.may_sleep(message):
                threading.Thread(target=self.answer, daemon=True, args=work).start()
            else:
                self.answer(*work)

    def may_sleep(self, message):
        try:
            name, kind, _ = read_question(message)
        except (IndexError, struct.error):
            return False
        with self.lock:
            return any(word.startswith('late=') for answer in self.answers.get((name, kind), []) for word in answer)

    def serve_connection(self, connection):
        try:
            while True:
                size, = struct.unpack('>H', connection.recv(2, socket.MSG_WAITALL))
                message = connection.recv(size, socket.MSG_WAITALL)
                self.tcp_count += 1
                self.answer(message, lambda out: self.send_by_tcp(connection, out), True)
        except (OSError, struct.error):
            connection.close()

    def send_by_tcp(self, connection, out):
        whole = struct.pack('>H', len(out)) + out
        if not isinstance(out, Trickle):
            connection.sendall(whole)
            return
        for byte in whole:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    def serve_tcp(self):
        while True:
            connection, _ = self.tcp_socket.accept()
            threading.Thread(target=self.serve_connection, args=(connection,), daemon=True).start()


def main():
    server = DnsDouble()
    print(server.port, flush=True)
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        if words[0] == 'set':
            server.set(words[1], words[2], *' '.join(words[3:]).split('|'))
            print('ok', flush=True)
        else:
            said = getattr(server, words[0])(*words[1:])
            print('ok' if said is None else said, flush=True)


if __name__ == '__main__':
    main()
