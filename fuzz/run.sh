#!/bin/sh
# run.sh - run fuzz targets with libFuzzer for a bounded time; called by `make fuzz`.
#
#   fuzz/run.sh SECONDS SEED JOBS TARGET...
#
# With seed 0 every run searches elsewhere; with another the same inputs are tried in the same order.
# New inputs go to build/fuzz/corpus/TARGET, what fails to build/fuzz/crash/TARGET-*, the log to
# build/fuzz/log/TARGET. A failure is told at once with the command that repeats it.
set -eu

seconds=$1
seed=$2
jobs=$3
shift 3
cd "$(dirname "$0")/.."
mkdir -p build/fuzz/crash build/fuzz/log

printf '%s\n' "$@" | xargs -P "$jobs" -I '{}' sh -c '
    t=$1
    new=build/fuzz/corpus/$t
    mkdir -p "$new"
    set -- -max_total_time='"$seconds"' -seed='"$seed"' -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/crash/$t-"
    [ ! -f "fuzz/dict/$t.dict" ] || set -- "$@" "-dict=fuzz/dict/$t.dict"
    set -- "$@" "$new"
    for d in "fuzz/corpus/$t" "fuzz/regress/$t"; do [ ! -d "$d" ] || set -- "$@" "$d"; done
    if build/fuzz/fuzz/${t}_fuzz "$@" > "build/fuzz/log/$t" 2>&1; then
        runs=$(sed -n "s/^stat::number_of_executed_units: *//p" "build/fuzz/log/$t")
        cover=$(sed -n "s/.* cov: \([0-9]*\) .*/\1/p" "build/fuzz/log/$t" | tail -n 1)
        echo "fuzz: $t: $runs runs, coverage $cover, nothing found"
    else
        tail -n 40 "build/fuzz/log/$t"
        crash=$(ls -t build/fuzz/crash/"$t"-* 2> /dev/null | head -n 1)
        echo "fuzz: $t FAILED; again: build/fuzz/fuzz/${t}_fuzz $crash"
        exit 1
    fi' sh '{}'
