#!/bin/sh
# Seconds: 1200
# seeds4.t - Description: every scenario of the simulator, for 266 more seeds (seeds.t tells how to repeat one).
exec "${BECKET_ROOT:-$(dirname "$0")/../..}/tests/sim/seeds.t" 735 266
