"""How long a webhook takes from before its POST until a receiver has it."""
import json
import time

from becket import SECRET, github, ok


def delays_ms(server, sink, path, total, events, pause_s):
    """Pours `events` signed ones in. Milliseconds from before each POST until the sink had it at `path`, ascending; `total` is
    how many it has by then, with those of before."""
    sent = {}
    for number in range(events):
        body = json.dumps({'n': number, 'total': total}).encode()
        headers = github(body, SECRET)
        began = time.time()
        answer = server.post('/hooks/repo', body, headers)
        assert answer.status == 200, answer
        sent[answer.json['id']] = began
        time.sleep(pause_s)
    ok(sink.wait(path, total, 20), 'all %d arrive' % total)
    return sorted(1e3 * (r.at - sent[r.id]) for r in sink.got(path) if r.id in sent)


def quantile(ascending, part):
    return ascending[min(len(ascending) - 1, int(part * len(ascending)))]
