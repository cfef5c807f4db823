#!/bin/sh
# make.sh - makes the certificates of this folder anew (tests/vectors/tls/README.md says what each is for).
# They are committed, so that tests do not depend on an openssl; the tests' clock stands in 2030.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# key NAME KIND: EC curve or rsa:BITS
key() {
    case $2 in
    rsa:*) openssl genrsa -out "$1.key" "${2#rsa:}" 2> /dev/null ;;
    *) openssl ecparam -name "$2" -genkey -noout -out "$1.key" ;;
    esac
}

# certificate NAME ISSUER SUBJECT DIGEST EXTENSIONS...; ISSUER "self" for one that signs itself
certificate() {
    name=$1 issuer=$2 subject=$3 digest=$4
    shift 4
    : > "$work/ext"
    for line; do echo "$line" >> "$work/ext"; done
    openssl req -new -key "$name.key" -subj "/CN=$subject" -out "$work/req" 2> /dev/null
    if [ "$issuer" = self ]; then
        openssl x509 -req -in "$work/req" -signkey "$name.key" "-$digest" -days "${days:-36500}" \
            -set_serial "0x$(openssl rand -hex 8)" -extfile "$work/ext" -out "$name.pem" 2> /dev/null
    else
        openssl x509 -req -in "$work/req" -CA "$issuer.pem" -CAkey "$issuer.key" "-$digest" -days "${days:-36500}" \
            -set_serial "0x$(openssl rand -hex 8)" -extfile "$work/ext" -out "$name.pem" 2> /dev/null
    fi
}

ca='basicConstraints=critical,CA:TRUE'
caku='keyUsage=critical,keyCertSign,cRLSign'
leaf='basicConstraints=CA:FALSE'
ku='keyUsage=critical,digitalSignature'
eku='extendedKeyUsage=serverAuth'
san='subjectAltName=DNS:a.example,DNS:*.b.example,DNS:*.example,IP:127.0.0.1,IP:::1'

key ca prime256v1 && certificate ca self 'becket test CA' sha256 "$ca" "$caku"
key other_ca prime256v1 && certificate other_ca self 'another CA' sha256 "$ca" "$caku"
key rsa_ca rsa:2048 && certificate rsa_ca self 'becket test RSA CA' sha256 "$ca" "$caku"
key between prime256v1 && certificate between ca 'becket test intermediate' sha256 "$ca" "$caku"
key between_clients prime256v1 && certificate between_clients ca 'for clients' sha256 "$ca" "$caku" \
    extendedKeyUsage=clientAuth

key server prime256v1 && certificate server between a.example sha256 "$leaf" "$ku" "$eku" "$san"
cat between.pem >> server.pem
key server_rsa rsa:2048 && certificate server_rsa rsa_ca a.example sha256 "$leaf" "$ku" "$eku" "$san"
key server_p384 secp384r1 && certificate server_p384 ca c.example sha384 "$leaf" "$eku" subjectAltName=DNS:c.example
key client prime256v1 && certificate client ca somebody sha256 "$leaf" "$ku" extendedKeyUsage=clientAuth
key client_rsa rsa:2048 && certificate client_rsa rsa_ca somebody sha256 "$leaf" "$ku" extendedKeyUsage=clientAuth

# What must be refused.
key unknown prime256v1 && certificate unknown other_ca a.example sha256 "$leaf" "$ku" "$eku" "$san"
key self_signed prime256v1 && certificate self_signed self a.example sha256 "$leaf" "$ku" "$eku" "$san"
key for_clients prime256v1 && certificate for_clients ca a.example sha256 "$leaf" "$ku" extendedKeyUsage=clientAuth "$san"
key no_signing prime256v1 && certificate no_signing ca a.example sha256 "$leaf" keyUsage=critical,keyEncipherment "$san"
key as_ca prime256v1 && certificate as_ca ca a.example sha256 "$ca" "$eku" "$san"
key weak_key rsa:1024 && certificate weak_key ca a.example sha256 "$leaf" "$ku" "$eku" "$san"
key curve secp256k1 && certificate curve ca a.example sha256 "$leaf" "$ku" "$eku" "$san"
key sha1 prime256v1 && certificate sha1 ca a.example sha1 "$leaf" "$ku" "$eku" "$san"
key md5 prime256v1 && certificate md5 rsa_ca a.example md5 "$leaf" "$ku" "$eku" "$san"
key no_name prime256v1 && certificate no_name ca a.example sha256 "$leaf" "$ku" "$eku"
key by_leaf prime256v1 && certificate by_leaf server a.example sha256 "$leaf" "$ku" "$eku" "$san"
sed -n '1,/END CERT/p' server.pem >> by_leaf.pem
cat between.pem >> by_leaf.pem
key by_clients prime256v1 && certificate by_clients between_clients a.example sha256 "$leaf" "$ku" "$eku" "$san"
cat between_clients.pem >> by_clients.pem
key critical prime256v1 && certificate critical ca a.example sha256 "$leaf" "$ku" "$eku" "$san" 1.2.3.4.5=critical,DER:0500
# Valid at the tests' time, but its authority no longer is.
key old_ca prime256v1
days=400 certificate old_ca self 'becket test CA of old' sha256 "$ca" "$caku"
key by_old prime256v1 && certificate by_old old_ca a.example sha256 "$leaf" "$ku" "$eku" "$san"
# Authorities that may issue for some names only: one that is believed, and one below another.
many='subjectAltName=DNS:a.example,DNS:*.b.example,DNS:c.example,IP:127.0.0.1,IP:10.0.0.1,IP:::1'
key bounded_ca prime256v1 && certificate bounded_ca self 'becket test CA for some' sha256 "$ca" "$caku" \
    "nameConstraints=critical,permitted;DNS:A.example,permitted;DNS:b.example,permitted;IP:127.0.0.0/255.0.0.0,excluded;DNS:x.b.example"
key by_bounded prime256v1 && certificate by_bounded bounded_ca a.example sha256 "$leaf" "$ku" "$eku" "$many"
key within prime256v1 && certificate within ca 'below it, for some' sha256 "$ca" "$caku" \
    "nameConstraints=permitted;DNS:.b.example,excluded;IP:10.0.0.0/255.0.0.0"
key by_within prime256v1 && certificate by_within within a.example sha256 "$leaf" "$ku" "$eku" "$many"
cat within.pem >> by_within.pem
rm -f bounded_ca.key within.key old_ca.key between_clients.key other_ca.key between.key
