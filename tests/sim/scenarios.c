#include "scenario.h"

const struct scenario scenarios[] = {
    {"contract", "ring.h, told by tests/unit/ring_contract_test.c", contract_configure,
     contract_run, NULL},
    {"journal", "the journal through crashes and faults", journal_configure, journal_run, NULL},
    {"journal-storm", "retention on a disk that fails all the time", journal_configure,
     journal_storm_run, NULL},
    {"journal-sweep", "the journal with each operation of the disk failing once",
     journal_sweep_configure, journal_sweep_run, NULL},
    {"server", "webhooks from the sender to the disk, through faults and crashes", server_configure,
     server_run, NULL},
    {"canary-flush", "a log that does not flush loses what it acknowledged", canary_configure,
     canary_flush_run, "is not on the disk"},
    {"canary-ack", "a server that does not flush loses what it acknowledged", server_configure,
     canary_ack_run, "and is not on the disk|it was durable"},
    {"canary-leak", "a receive buffer is not given back", canary_configure, canary_leak_run,
     "not given back"},
    {"canary-stale", "a receive buffer is read after it was given back", canary_configure,
     canary_stale_run, "use-after-poison|what was read is garbage"},
    {"canary-close", "a handle is closed with a receive armed", canary_configure, canary_close_run,
     "closed with 1 operations in flight"},
    {"canary-send", "bytes change while they are sent", canary_configure, canary_send_run,
     "changed in flight"},
    {"canary-sleep", "two threads wait for each other", canary_configure, canary_sleep_run,
     "nothing will happen"},
};
const unsigned scenario_count = sizeof scenarios / sizeof scenarios[0];
