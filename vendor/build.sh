#!/bin/sh
# build.sh - make build/vendor/lib/lib*.a and build/vendor/include/NAME/ from one pinned archive.
#
#   vendor/build.sh NAME [asan|fuzz]     NAME as in vendor/pins; CC names the compiler
#
# asan and fuzz: the same code with sanitizers, to build/vendor-asan/ or build/vendor-fuzz/. Vendored
# code has its own flags and none of the project's warnings. Libraries are compiled by the rules here, not by their own build
# systems (only liburing's configure runs, for it looks at the kernel's headers): no cmake, autoconf or
# libtool needed, and the same flags everywhere. What becket cannot link is not compiled: whole families of files
# by a pattern in their rule. Who comes to want one of them finds an undefined symbol, and takes it out of the pattern.
set -eu

name=$1
cd "$(dirname "$0")/.."
variant=${2:-}
archives=$PWD/build/vendor/src
out=$PWD/build/vendor${variant:+-$variant}
cc=${CC:-cc}
jobs=$(nproc 2> /dev/null || echo 2)
flags="-O2 -g1 -w -pthread -fPIE -fstack-protector-strong -ffunction-sections -fdata-sections"
case $($cc -dumpmachine) in x86_64*) flags="$flags -fcf-protection" ;; esac

# With sanitizers a fault ends the process, as in our own code. asan looks for addresses only, and optimizes only BearSSL, for
# whose arithmetic the tests would wait: more costs more to compile than all of the product. The fuzzer's variant looks
# for undefined behaviour, too, but not for what upstream does on purpose and every compiler and machine of ours bears.
level=-O0
case $name in
    bearssl) level=-O1 ;;
    pcre2 | yyjson) flags=$(echo "$flags" | sed s,-O2,-O1,) ;;
esac
case $variant in
    '') ;;
    asan) checks=address ;;
    fuzz)
        # memcpy() of no bytes from NULL; words read where they lie.
        checks="fuzzer-no-link,address,undefined -fno-sanitize=nonnull-attribute"
        flags="$flags -DBR_LE_UNALIGNED=0 -DBR_BE_UNALIGNED=0"
        ;;
    *)
        echo "vendor: no variant $variant" >&2
        exit 1
        ;;
esac
if [ -n "$variant" ]; then
    flags="$(echo "$flags" | sed s,-O[12],$level,) -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=$checks"
fi

die() {
    echo "vendor: $*" >&2
    exit 1
}

# unpack: the archive's content, without its top folder, to build/vendor/src/NAME.
unpack() {
    archive=$(awk -v n="$name" '$1 == n { print $3 }' vendor/pins)
    [ -n "$archive" ] || die "no library $name in vendor/pins"
    rm -rf "$out/src/$name"
    mkdir -p "$out/src/$name"
    tar -xf "$archives/$archive" --strip-components=1 -C "$out/src/$name"
}

# compile LIB FLAGS...: the C files named on standard input, relative to the working directory, become
# lib/LIB.a. No two of a library may share a base name: the objects are made in the working directory.
compile() {
    lib=$1
    shift
    # shellcheck disable=SC2086 # flags are several
    sort | xargs -P "$jobs" -n 1 $cc $flags "-ffile-prefix-map=$PWD=vendor/$name" "$@" -c ||
        die "$name does not compile with $cc"
    mkdir -p "$out/lib"
    rm -f "$out/lib/$lib.a.tmp"
    ar rcsD "$out/lib/$lib.a.tmp" ./*.o
    rm -f ./*.o
}

# headers FILE|DIR...: to include/NAME. One folder a library, so that SYSTEM_LIBS can choose.
headers() {
    rm -rf "${out:?}/include/$name"
    mkdir -p "$out/include/$name"
    cp -R "$@" "$out/include/$name/"
}

build_liburing() {
    sed -i 's/^TOP :=.*/TOP := ./' Makefile.common # it finds no version below a folder with a blank
    ./configure --cc="$cc" --use-libc > configure.log 2>&1 || die "liburing's configure failed"
    headers src/include/liburing.h src/include/liburing
    cd src
    ls setup.c queue.c register.c syscall.c version.c | compile liburing -D_GNU_SOURCE \
        -D_LARGEFILE_SOURCE -D_FILE_OFFSET_BITS=64 -DLIBURING_INTERNAL -Iinclude \
        -include ../config-host.h
}

build_lmdb() {
    cd libraries/liblmdb
    headers lmdb.h
    ls mdb.c midl.c | compile liblmdb
}

# BearSSL finds AES-NI, PCLMULQDQ and SSE2 by itself at run time. Left out is what its choices (br_*_get) do not take on
# 64-bit machines other than POWER, and what TLS does not need; i32_div32 is wanted by the i31 family.
build_bearssl() {
    headers inc/*.h
    find src -name '*.c' |
        grep -vE '[im]15|i32_([^d]|de)|pwr8|aes_(big|small|ct[._]|common)|des_tab|ctmul32|server_min|oaep|eax' |
        compile libbearssl -Isrc -Iinc
}

# Functions that must be inlined, each of them looked after by the sanitizer, cost it four times the rest.
build_yyjson() {
    headers src/yyjson.h
    ls src/yyjson.c | compile libyyjson -DYYJSON_DISABLE_NON_STANDARD=1 ${variant:+-Dyyjson_inline=inline}
}

# YAML is read only.
build_libyaml() {
    headers include/yaml.h
    ls src/*.c | grep -vE 'dumper|emitter|writer' | compile libyaml -Iinclude -DYAML_VERSION_MAJOR=0 -DYAML_VERSION_MINOR=2 \
        -DYAML_VERSION_PATCH=5 '-DYAML_VERSION_STRING="0.2.5"'
}

# becket wants Ed25519, which has one implementation with 128-bit products and no vector code. Compiled are the portable
# files of crypto_sign, of crypto_box with its sealed boxes, and what sodium_init() chooses from.
build_libsodium() {
    cd src/libsodium
    sed -e 's/@VERSION@/1.0.18/' -e 's/@SODIUM_LIBRARY_VERSION_MAJOR@/10/' \
        -e 's/@SODIUM_LIBRARY_VERSION_MINOR@/3/' -e 's/@SODIUM_LIBRARY_MINIMAL_DEF@//' \
        include/sodium/version.h.in > include/sodium/version.h
    headers include/sodium.h include/sodium
    endian=NATIVE_LITTLE_ENDIAN
    if echo __BYTE_ORDER__ | $cc -E -P - | grep -q 4321; then
        endian=NATIVE_BIG_ENDIAN
    fi
    find . -name '*.c' | grep -vE 'avx|sse|aesni|xmm6|sandy2x|crypto_(aead|auth|kdf|kx|secretstream)/' |
        grep -vE 'sha256|salsa20[18]|xchacha|ristretto|argon2(i|\.c|-encoding)|crypto_pwhash\.c' |
        compile libsodium -D_GNU_SOURCE=1 -DCONFIGURED=1 -D$endian=1 -DHAVE_TI_MODE=1 -DHAVE_PTHREAD=1 -DHAVE_WEAK_SYMBOLS=1 \
        -DHAVE_ATOMIC_OPS=1 -DHAVE_INLINE_ASM=1 -DHAVE_SYS_MMAN_H=1 -DHAVE_MMAP=1 -DHAVE_MLOCK=1 \
        -DHAVE_MADVISE=1 -DHAVE_MPROTECT=1 -DHAVE_POSIX_MEMALIGN=1 -DHAVE_GETPID=1 \
        -DHAVE_NANOSLEEP=1 -DHAVE_EXPLICIT_BZERO=1 -DHAVE_SYS_RANDOM_H=1 -DHAVE_GETRANDOM=1 \
        -DHAVE_LINUX_COMPATIBLE_GETRANDOM=1 -Iinclude/sodium -Iinclude
}

# The resolver polls c-ares' sockets from its own loop, so neither threads nor an event system of c-ares are
# wanted. What its configure would find out is the same on every Linux that becket runs on.
build_cares() {
    sed -e 's/^#undef CARES_HAVE_\(SYS\|ARPA\)_\(.*\)/#define CARES_HAVE_\1_\2 1/' \
        -e 's/@CARES_TYPEOF_ARES_SOCKLEN_T@/socklen_t/' -e 's/@CARES_TYPEOF_ARES_SSIZE_T@/ssize_t/' \
        include/ares_build.h.in > include/ares_build.h
    headers include/*.h
    cd src/lib
    {
        for f in AF_INET6 ARPA_INET_H ARPA_NAMESER_COMPAT_H ARPA_NAMESER_H ASSERT_H CLOCK_GETTIME \
            CLOCK_GETTIME_MONOTONIC CONNECT ERRNO_H FCNTL FCNTL_H FCNTL_O_NONBLOCK GETENV GETHOSTNAME \
            GETIFADDRS GETNAMEINFO GETRANDOM GETSERVBYPORT_R GETTIMEOFDAY IFADDRS_H IF_INDEXTONAME \
            IF_NAMETOINDEX INET_NTOP INET_PTON INTTYPES_H IOCTL IOCTL_FIONBIO LIMITS_H LONGLONG \
            MALLOC_H MEMMEM NETDB_H NETINET_IN_H NETINET_TCP_H NET_IF_H PF_INET6 POLL POLL_H RECV \
            RECVFROM SEND SENDTO SETSOCKOPT SOCKET SOCKLEN_T STAT STDBOOL_H STDINT_H STDIO_H STDLIB_H \
            STRCASECMP STRDUP STRINGS_H STRING_H STRNCASECMP STRNLEN STRUCT_ADDRINFO STRUCT_IN6_ADDR \
            STRUCT_SOCKADDR_IN6 STRUCT_SOCKADDR_IN6_SIN6_SCOPE_ID STRUCT_SOCKADDR_STORAGE \
            STRUCT_TIMEVAL SYS_IOCTL_H SYS_PARAM_H SYS_RANDOM_H SYS_SELECT_H SYS_SOCKET_H SYS_STAT_H \
            SYS_TIME_H SYS_TYPES_H SYS_UIO_H TIME_H UNISTD_H WRITEV; do
            echo "#define HAVE_$f 1"
        done
        sed 's/^/#define /' << EOF
CARES_RANDOM_FILE "/dev/urandom"
CARES_TYPEOF_ARES_SSIZE_T ssize_t
GETHOSTNAME_TYPE_ARG2 size_t
GETNAMEINFO_TYPE_ARG1 struct sockaddr *
GETNAMEINFO_TYPE_ARG2 socklen_t
GETNAMEINFO_TYPE_ARG46 socklen_t
GETNAMEINFO_TYPE_ARG7 int
GETSERVBYPORT_R_ARGS 6
RECVFROM_QUAL_ARG5
RECVFROM_TYPE_ARG1 int
RECVFROM_TYPE_ARG2 void *
RECVFROM_TYPE_ARG3 size_t
RECVFROM_TYPE_ARG4 int
RECVFROM_TYPE_ARG5 struct sockaddr *
RECVFROM_TYPE_RETV ssize_t
RECV_TYPE_ARG1 int
RECV_TYPE_ARG2 void *
RECV_TYPE_ARG3 size_t
RECV_TYPE_ARG4 int
RECV_TYPE_RETV ssize_t
SEND_TYPE_ARG1 int
SEND_TYPE_ARG2 const void *
SEND_TYPE_ARG3 size_t
SEND_TYPE_ARG4 int
SEND_TYPE_RETV ssize_t
EOF
    } > ares_config.h
    find . -name '*.c' | grep -vE 'thirdparty|windows|_win|_mac|android|event_(epoll|kqueue|poll|select|wake)' |
        grep -vE 'legacy/ares_(parse_[^p]|create|fds|getsock)' |
        compile libcares -D_GNU_SOURCE -DHAVE_CONFIG_H -DCARES_STATICLIB -DCARES_BUILDING_LIBRARY -I. -Iinclude -I../../include
}

# 8-bit code units and pcre2_match() only, and no JIT: filters are short, and their time is bounded by counted steps.
# NEWLINE 2 is LF, BSR 1 is any of Unicode's for \R.
build_pcre2() {
    cd src
    cp pcre2.h.generic pcre2.h
    cp pcre2_chartables.c.dist pcre2_chartables.c
    cp config.h.generic config.h
    headers pcre2.h
    ls pcre2_*.c | grep -vE 'jit|printint|ucptables|fuzzsupport|convert|dfa|dftables|maketables|serialize|subst' |
        compile libpcre2 -DHAVE_CONFIG_H -DPCRE2_CODE_UNIT_WIDTH=8 -DPCRE2_STATIC -DSUPPORT_PCRE2_8 \
            -DSUPPORT_UNICODE -DHAVE_MEMMOVE -I.
}

mkdir -p "$out"
exec 9> "$out/.build.lock"
flock 9
lib=$out/lib/lib${name#lib}.a
# Another make may have built it while this one waited for the lock.
if [ "$lib" -nt vendor/build.sh ] && [ "$lib" -nt vendor/pins ]; then
    exit 0
fi
echo "  VENDOR  $name${variant:+ $variant}"
unpack
cd "$out/src/$name"
"build_$name"
mv "$lib.tmp" "$lib"
