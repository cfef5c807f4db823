"""own_network - run a test in a network of its own, where public addresses are this machine's.

    from own_network import enter, PUBLIC
    enter()                 starts the test again inside, or skips it where the kernel does not allow that

Inside there is a loopback only: 127.0.0.1, ::1 and PUBLIC are this machine, everything else cannot be reached, and
nothing leaves it. That makes it the place to test what may be connected to.
"""
import fcntl
import os
import socket
import struct
import subprocess
import sys

from becket import skip_all

PUBLIC = '1.2.3.4'


def interface_up(name, address):
    """As ip(8) would: address/8 on the interface, up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack('16sHH4s8x', name.encode(), socket.AF_INET, 0, socket.inet_aton(address))
        fcntl.ioctl(s, 0x8916, request)                                         # SIOCSIFADDR
        fcntl.ioctl(s, 0x8914, struct.pack('16sH14x', name.encode(), 0x41))     # SIOCSIFFLAGS up, running


def enter():
    if os.environ.get('BECKET_OWN_NETWORK'):
        try:
            interface_up('lo', '127.0.0.1')
            interface_up('lo:1', PUBLIC)
        except OSError as error:
            skip_all('no loopback of our own: %s' % error)
        return
    for unshare in (['unshare', '--net'], ['unshare', '--net', '--map-root-user']):
        if subprocess.run(unshare + ['true'], capture_output=True).returncode == 0:
            os.environ['BECKET_OWN_NETWORK'] = '1'
            os.execvp('unshare', unshare + [sys.executable] + sys.argv)
    skip_all('unshare cannot make a network here')
