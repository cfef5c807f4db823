#!/usr/bin/perl
# Description: no function or variable is defined twice. An archive would hide it: the linker takes the
# first and never looks at the second.
use strict;
use warnings;
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

my $archive = 'build/release/libbecket.a';
plan skip_all => "$archive is not built" unless -e $archive;
plan skip_all => 'nm (binutils) is missing' unless `nm --version 2>/dev/null`;

my %where;
for (split /\n/, `nm -A --defined-only --extern-only '$archive'`) {
    my ($object, $kind, $name) = /^[^:]+:([^:]+):\S*\s+([A-Z])\s+(\S+)$/ or next;
    push @{ $where{$name} }, $object if $kind =~ /[TDBRC]/;
}
ok(keys %where > 0, 'there are symbols');
check('each is defined once',
    map { "$_: @{ $where{$_} }" } grep { @{ $where{$_} } > 1 } sort keys %where);
done_testing();
