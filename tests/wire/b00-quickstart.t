#!/usr/bin/env python3
"""The first minute: a fresh server prints two commands; run as printed, one sends a signed webhook, the other shows it."""
import os, shutil, signal, subprocess, sys, tempfile
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

place = tempfile.mkdtemp()
with Server(data=os.path.join(place, "it's a place"), options=['--quick-start']) as server:
    commands = []
    for _ in range(100):
        commands = [l.strip() for l in server.log_text().splitlines() if l.startswith('  ')]
        if len(commands) == 2:
            break
        time.sleep(0.05)
    if not is_equal(len(commands), 2, 'two commands are printed'):
        diag(server.log_text())
        done()
    send, follow = commands
    first = subprocess.run(send.replace('world', 'venus'), shell=True, capture_output=True, text=True, timeout=10)
    is_equal(first.returncode, 0, 'the first command, before anybody looks')
    follower = subprocess.Popen(follow, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    time.sleep(0.5)
    sent = subprocess.run(send, shell=True, capture_output=True, text=True, timeout=10)
    ok(sent.returncode == 0 and 'evt_' in sent.stdout, 'the first command sends a genuine webhook')
    diag(sent.stdout.strip() + sent.stderr.strip())
    time.sleep(1.5)
    os.killpg(follower.pid, signal.SIGINT)
    out, err = follower.communicate(timeout=10)
    event = [w for w in sent.stdout.replace('"', ' ').split() if w.startswith('evt_')][:1]
    ok(event and event[0] in out.decode(), 'the second command shows it')
    ok(first.stdout.split('"')[3] in out.decode(), 'and the one of before')
    diag(out.decode()[-600:] + err.decode()[-300:])
    again = subprocess.run(send.replace('world', 'mars'), shell=True, capture_output=True, text=True, timeout=10)
    ok(again.returncode == 0 and again.stdout != sent.stdout, 'sent again it is a new event')
    forged = subprocess.run(send.replace('whsec_', 'whsec_AAAA'), shell=True, capture_output=True, text=True, timeout=10)
    ok(forged.returncode == 1 and '401' in forged.stdout + forged.stderr, 'with another secret it is refused')
    server.stop()
    server.start()
    ok(when(lambda: server.log_text().count('Try it') == 2), 'a second start offers it again')
    is_equal(server.log_text().count('whsec_'), 1, 'and does not show the secret again')
    is_equal(len(server.events('state=accepted')), 3, 'and the events are there')
shutil.rmtree(place)
done()
