#!/usr/bin/env python3
"""kill -9 under load, again and again: what was acknowledged is there once, as it was sent. ROUNDS=50"""
import os, random, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))
from becket import *

rounds = int(os.environ.get('ROUNDS', '50'))
rng = random.Random(int(os.environ.get('SEED', '1')))
acknowledged, sent, slowest = {}, {}, 0.0
server = Server()
server.apply(GITHUB_SOURCE)
for round_number in range(rounds):
    load = Load(server.port, repeat=0.1, body_bytes=(10, 3000) if round_number % 5 else (10, 400000)).start()
    time.sleep(rng.uniform(0.05, 0.25))
    server.kill()
    load.stop()
    acknowledged.update(load.acknowledged)
    sent.update(load.sent)
    server.start()
    slowest = max(slowest, server.started_s)
ok(len(acknowledged) > rounds * 20, '%d rounds acknowledged %d events' % (rounds, len(acknowledged)))
compare(server, acknowledged, sent, '%d kills' % rounds)

# Deliveries from before the last kill are still known as duplicates.
again = random.Random(2).sample(sorted(acknowledged), 5)
load = Load(server.port)
answers = []
for delivery in again:
    body = server.body_of(acknowledged[delivery][0])
    answers.append(server.post('/hooks/repo', body, github(body, SECRET, delivery)))
ok(all(a.status == 200 and a.json.get('duplicate') for a in answers), 'repeated deliveries are duplicates after restarts')
is_equal([a.json['id'] for a in answers], [acknowledged[d][0] for d in again], 'and answer with the first id')
ok(slowest < 3, 'the slowest restart took %.2f s' % slowest)
is_equal(server.stop(), 0, 'SIGTERM ends it with 0')
code, out, err = server.cli('journal', 'check', '--data', server.data)
is_equal(code, 0, 'journal check finds nothing wrong')
diag(out + err if code else out.strip())
server.__exit__()
done()
