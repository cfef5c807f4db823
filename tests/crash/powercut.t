#!/usr/bin/env python3
"""Power cuts: the data directory is on an ext4 of its own on a loop device; the file system is shut down under load
without flushing its journal, mounted again, and the server restarted. ROUNDS=10"""
import os, random, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *
from loop_disk import LoopDisk

rounds = int(os.environ.get('ROUNDS', '10'))
rng = random.Random(int(os.environ.get('SEED', '1')))
acknowledged, sent, late = {}, {}, 0
with LoopDisk('powercut', mib=1024) as disk:
    server = disk.watch(Server(data=disk.link))
    server.apply(GITHUB_SOURCE)
    for round_number in range(rounds):
        load = Load(server.port, repeat=0.1).start()
        time.sleep(rng.uniform(0.1, 0.5))
        disk.cut()
        # Writes that were under way at the cut may still come true, on a busy disk after a while: those are on
        # the device, and compared below. What is acknowledged after that would be a lie.
        time.sleep(1)
        with load.lock:
            before = dict(load.acknowledged)
        time.sleep(0.2)
        server.kill()
        load.stop()
        late += len(set(load.acknowledged) - set(before))
        acknowledged.update(load.acknowledged)
        sent.update(load.sent)
        if not disk.again():
            raise RuntimeError('cannot mount again')
        server.start()
    ok(len(acknowledged) > rounds * 5, '%d cuts, %d events acknowledged' % (rounds, len(acknowledged)))
    is_equal(late, 0, 'nothing was acknowledged behind a cut')
    compare(server, acknowledged, sent, '%d power cuts' % rounds)
    is_equal(server.stop(), 0, 'SIGTERM ends it with 0')
    code, out, err = server.cli('journal', 'check', '--data', disk.data)
    is_equal(code, 0, 'journal check finds nothing wrong')
    diag(out + err if code else out.strip())
done()
