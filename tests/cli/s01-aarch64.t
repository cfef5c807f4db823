#!/bin/sh
# The sandbox's filter of system calls on aarch64, whose calls have other names and numbers: compiled for it and run
# under qemu, where both are here. (qemu-user knows no seccomp, so the program is interpreted by the test.)
cd "${BECKET_ROOT:-$(dirname "$0")/../..}" || exit 1
compiler=aarch64-linux-gnu-gcc
for tool in $compiler qemu-aarch64; do
    if ! command -v $tool > /dev/null; then
        echo "1..0 # SKIP $tool is not installed"
        exit 0
    fi
done
folder=$(mktemp -d "${TMPDIR:-/tmp}/becket-aarch64.XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
if ! $compiler -std=c17 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -static -Isrc -I. -o "$folder/test" \
    tests/unit/cli_sandbox_program_test.c; then
    echo 'not ok 1 - compiled for aarch64'
    echo '1..1'
    exit 1
fi
qemu-aarch64 "$folder/test"
