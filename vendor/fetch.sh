#!/bin/sh
# fetch.sh - bring the pinned source archives into build/vendor/src, and check each against its SHA-256.
#
#   vendor/fetch.sh            from BECKET_VENDOR_DIR when it is set, else through apt-get source
#   vendor/fetch.sh DIR        the same, then copy the archives to DIR (a BECKET_VENDOR_DIR for others)
#
# Needs no root and writes only below build/: apt gets private list, cache and state directories. The
# mirror is the one this host already uses, with the suite that carries the pinned versions; proxy and
# credential settings of the host's apt stay in force. BECKET_VENDOR_MIRROR=URL names another mirror.
set -eu

cd "$(dirname "$0")/.."
pins=vendor/pins
src=build/vendor/src
suite=trixie

die() {
    echo "vendor: $*" >&2
    exit 1
}

other_ways='set BECKET_VENDOR_DIR to a directory with the archives of vendor/pins,'
other_ways="$other_ways or use the distribution's libraries: make SYSTEM_LIBS=1"

# matches FILE SHA256: true when FILE exists with this sum.
matches() {
    [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$2" ]
}

# accept FILE SHA256: move a downloaded or copied file into the cache, or say why not.
accept() {
    matches "$1" "$2" ||
        die "checksum of $(basename "$1") is $(sha256sum "$1" | cut -d ' ' -f 1), pinned is $2"
    mv "$1" "$src/"
}

# The first Debian mirror in this host's apt sources: an entry whose suite is a release itself, not its
# security or update pocket, and that has "main". Prints the URI.
host_mirror() {
    codename=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}") || codename=
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v codename="$codename" '
        function release(s) {
            return s == codename || s ~ /^(stable|testing|sid|unstable|bookworm|trixie|forky)$/
        }
        function flush_entry(   i, n, s) {
            n = split(suites, s, /[ \t]+/)
            for (i = 1; i <= n; i++)
                if (release(s[i]) && components ~ /(^|[ \t])main([ \t]|$)/ && enabled != "no") {
                    split(uris, s, /[ \t]+/)
                    print s[1]
                    exit
                }
            uris = suites = components = enabled = ""
        }
        /^[ \t]*$/     { flush_entry(); next }
        /^#/           { next }
        /^[A-Za-z-]+:/ { key = tolower($1); value = $0; sub(/^[^:]*:[ \t]*/, "", value) }
        /^[ \t]/       { value = $0; sub(/^[ \t]+/, "", value) }
        key == "uris:"       { uris = uris (uris == "" ? "" : " ") value }
        key == "suites:"     { suites = suites " " value }
        key == "components:" { components = components " " value }
        key == "enabled:"    { enabled = value }
        END { flush_entry() }' | head -n 1 > "$apt/mirror"
    if [ ! -s "$apt/mirror" ]; then
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
            sed -e 's/\[[^]]*\]//' -e 's/#.*//' | awk -v codename="$codename" '
            ($1 == "deb" || $1 == "deb-src") && / main( |$)/ &&
            ($3 == codename || $3 ~ /^(stable|testing|sid|unstable|bookworm|trixie|forky)$/) {
                print $2
                exit
            }' > "$apt/mirror"
    fi
    cat "$apt/mirror"
}

# apt-get with every directory below build/, no hooks of the host, but its Acquire settings (proxies).
private_apt() {
    APT_CONFIG="$apt/apt.conf" apt-get -q "$@"
}

# write_sources OPTIONS: the one source entry.
write_sources() {
    echo "deb-src [$1] $mirror $suite main" > "$apt/sources.list"
}

prepare_apt() {
    command -v apt-get > /dev/null || die "no apt-get here: $other_ways"
    apt=$PWD/build/vendor/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/state" "$apt/empty"
    : > "$apt/status"
    mirror=${BECKET_VENDOR_MIRROR:-$(host_mirror)}
    [ -n "$mirror" ] || die "no Debian mirror in this host's apt sources: $other_ways"
    {
        apt-config dump | grep -E '^Acquire::' || true
        cat << EOF
Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "$apt/empty";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "$apt/empty";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$apt/empty";
Dir::State "$apt/state";
Dir::State::Lists "$apt/lists";
Dir::State::Status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Log "$apt/state";
APT::Sandbox::User "root";
APT::Get::List-Cleanup "false";
Acquire::Retries "3";
Acquire::Languages "none";
EOF
    } > "$apt/apt.conf"
    keyring=
    for key in /usr/share/keyrings/debian-archive-keyring.gpg \
        /usr/share/keyrings/debian-archive-keyring.pgp; do
        [ ! -f "$key" ] || keyring=$key
    done
    if [ -n "$keyring" ]; then
        write_sources "signed-by=$keyring"
        private_apt -o APT::Update::Error-Mode=any update > "$apt/log" 2>&1 && return
    fi
    # A keyring older than the suite, or none: every archive is still checked by its pinned SHA-256.
    write_sources "trusted=yes"
    private_apt -o APT::Update::Error-Mode=any update >> "$apt/log" 2>&1 ||
        die "no source list from the Debian mirror (details: build/vendor/apt/log): $other_ways"
}

# from_pool PACKAGE ARCHIVE: by its name from the mirror's pool, where a version stays for a while after the
# suite went on to the next.
from_pool() {
    case $1 in
        lib?*) section=$(echo "$1" | cut -c 1-4) ;;
        *)     section=$(echo "$1" | cut -c 1) ;;
    esac
    APT_CONFIG="$apt/apt.conf" /usr/lib/apt/apt-helper download-file \
        "${mirror%/}/pool/main/$section/$1/$2" "$tmp/$2" >> "$apt/log" 2>&1
}

# from_apt PACKAGE ARCHIVE SHA256
from_apt() {
    [ -n "${apt:-}" ] || prepare_apt
    listed=yes
    (cd "$tmp" && private_apt source --download-only --tar-only "$1" >> "$apt/log" 2>&1) || listed=no
    if [ ! -f "$tmp/$2" ] && ! from_pool "$1" "$2"; then
        rm -f "$tmp/$2"
        [ "$listed" = yes ] ||
            die "apt-get source $1 failed (details: build/vendor/apt/log): $other_ways"
        die "the mirror's $1 is $(cd "$tmp" && echo "$1"*), pinned is $2: $other_ways"
    fi
    accept "$tmp/$2" "$3"
}

# from_dir ARCHIVE SHA256
from_dir() {
    [ -f "$BECKET_VENDOR_DIR/$1" ] || die "BECKET_VENDOR_DIR=$BECKET_VENDOR_DIR has no $1"
    cp "$BECKET_VENDOR_DIR/$1" "$tmp/"
    accept "$tmp/$1" "$2"
}

mkdir -p "$src"
exec 9> build/vendor/.fetch.lock
flock 9
tmp=$PWD/build/vendor/fetch.tmp
rm -rf "$tmp"
mkdir -p "$tmp"

grep -v '^#' "$pins" > "$tmp/pins"
while read -r name version archive sha256 package licence; do
    matches "$src/$archive" "$sha256" && continue
    echo "  FETCH   $name $version ($licence)"
    if [ -n "${BECKET_VENDOR_DIR:-}" ]; then
        from_dir "$archive" "$sha256"
    else
        from_apt "$package" "$archive" "$sha256"
    fi
done < "$tmp/pins"

if [ $# -gt 0 ]; then
    mkdir -p "$1"
    while read -r name version archive sha256 package licence; do
        cp "$src/$archive" "$1/"
    done < "$tmp/pins"
    echo "vendor: $1 now serves as BECKET_VENDOR_DIR"
fi
rm -rf "$tmp"
