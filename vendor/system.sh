#!/bin/sh
# system.sh - for make SYSTEM_LIBS=...: say which packages are missing, in one line.
#
#   vendor/system.sh NAME...   names as in vendor/pins; CC names the compiler
set -eu

missing=
for name; do
    case $name in
        liburing)  header=liburing.h package=liburing-dev ;;
        lmdb)      header=lmdb.h package=liblmdb-dev ;;
        bearssl)   header=bearssl.h package=libbearssl-dev ;;
        yyjson)    header=yyjson.h package=libyyjson-dev ;;
        libyaml)   header=yaml.h package=libyaml-dev ;;
        libsodium) header=sodium.h package=libsodium-dev ;;
        cares)     header=ares.h package=libc-ares-dev ;;
        pcre2)     header=pcre2.h package=libpcre2-dev ;;
        *)         echo "SYSTEM_LIBS: no library $name, see vendor/pins" >&2; exit 1 ;;
    esac
    echo "#include <$header>" | ${CC:-cc} -E -DPCRE2_CODE_UNIT_WIDTH=8 - > /dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
hint="apt-get install$missing"
case $missing in
    *yyjson*) hint="$hint; libyyjson-dev is not in Debian 12: there, take all but it from the system with
    make SYSTEM_LIBS='liburing lmdb bearssl libyaml libsodium cares pcre2'" ;;
esac
echo "SYSTEM_LIBS: missing$missing ($hint)" | tr -s '\n ' ' ' >&2
echo >&2
exit 1
