#!/bin/sh
# Seconds: 1200
# seeds.t - Description: every scenario of the simulator, for some seeds, also under the sanitizers.
#
#   tests/sim/seeds.t [FIRST COUNT]    these seeds of the release build only; seeds2.t to seeds4.t do so, so that
#                                      a thousand seeds are run side by side
#
# A failure ends with the seed and the command that repeats it. Long runs: make sim SEEDS=100000.
cd "${BECKET_ROOT:-$(dirname "$0")/../..}" || exit 1

number=0
failed=0

# check VARIANT FIRST COUNT
check() {
    program=build/$1/sim/sim_main
    number=$((number + 1))
    name="$number - $3 seeds from $2, $1"
    if [ ! -x "$program" ]; then
        echo "ok $name # skip $program is not built"
    elif said=$("$program" --seed "$2" --seeds "$3" 2>&1); then
        echo "ok $name"
    else
        failed=1
        echo "not ok $name"
        echo "$said" | tail -n 30 | sed 's/^/# /' >&2
    fi
}

if [ $# = 2 ]; then
    check release "$1" "$2"
else
    check release 1 200
    check asan 1001 12
fi
echo "1..$number"
exit $failed
