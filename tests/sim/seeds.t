#!/bin/sh
# Seconds: 1200
# seeds.t - Description: every scenario of the simulator, for some seeds, also under the sanitizers.
#
#   tests/sim/seeds.t [FIRST COUNT]    these seeds of the release build only; seeds2.t to seeds4.t do so, so that
#                                      a thousand seeds are run side by side
#
# With BECKET_SIM_SECONDS in the environment no check begins a further seed after so many seconds (a tenth of its seeds
# are run in any case); its name, and a remark, say how many were run.
#
# A failure ends with the seed and the command that repeats it. Long runs: make sim SEEDS=100000.
cd "${BECKET_ROOT:-$(dirname "$0")/../..}" || exit 1

number=0
failed=0
# What only computes lets others go first.
idle="chrt --idle 0"
$idle true 2> /dev/null || idle=

# check VARIANT FIRST COUNT [--twice]
check() {
    program=build/$1/sim/sim_main
    number=$((number + 1))
    name="$number - $3 seeds from $2, $1${4:+, $4}"
    if [ ! -x "$program" ]; then
        echo "ok $name # skip $program is not built"
    elif said=$($idle "$program" --seed "$2" --seeds "$3" --seconds "${BECKET_SIM_SECONDS:-0}" ${4:+"$4"} 2>&1); then
        ran=$(echo "$said" | sed -n 's/^\([0-9]*\) of [0-9]* seeds were run$/\1/p')
        if [ "${ran:-$3}" = "$3" ]; then
            echo "ok $name"
        else
            echo "ok $number - $ran of $3 seeds from $2, $1"
            echo "# $ran of $3 seeds from $2 were run ($1), then $BECKET_SIM_SECONDS seconds had passed" >&2
        fi
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
    # TLS is in this one: randomness that is not the seed's would show.
    check release 13 1 --twice
fi
echo "1..$number"
exit $failed
