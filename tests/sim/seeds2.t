#!/bin/sh
# Seconds: 1200
# seeds2.t - Description: every scenario of the simulator, for 267 more seeds (seeds.t tells how to repeat one).
exec "${BECKET_ROOT:-$(dirname "$0")/../..}/tests/sim/seeds.t" 201 267
