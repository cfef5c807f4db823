#!/usr/bin/perl
# Description: build/becket is one file: it needs only the C library, is hardened, and names no build path.
use strict;
use warnings;
use Cwd qw(getcwd);
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

my $becket = $ENV{BECKET} // 'build/becket';
plan skip_all => 'build/becket is not built' unless -e $becket;
plan skip_all => 'readelf (binutils) is missing' unless `readelf --version 2>/dev/null`;

my $dynamic = `readelf -d '$becket'`;
my @needed = $dynamic =~ /\(NEEDED\).*\[(.*)\]/g;
SKIP: {
    skip 'libraries of the system may be shared', 1 if $ENV{BECKET_SYSTEM_LIBS};
    check('it needs the C library only', grep { !/^(libc\.so\.6|libm\.so\.6|ld-linux[\w-]*\.so\.\d)$/ } @needed);
}
unlike($dynamic, qr/\((RPATH|RUNPATH)\)/, 'no library path');
like($dynamic, qr/BIND_NOW|FLAGS_1.*NOW/, 'full RELRO: all symbols are bound at start');
like(`readelf -h '$becket'`, qr/Type:\s+DYN/, 'position independent');

my $segments = `readelf -lW '$becket'`;
like($segments, qr/GNU_RELRO/, 'relocations become read-only');
like($segments, qr/GNU_STACK.* RW /, 'the stack is not executable');
unlike($segments, qr/LOAD.* RWE /, 'no segment is writable and executable');
like(`readelf -sW '$becket'`, qr/__stack_chk_fail/, 'stack protector');

my $here = getcwd();
unlike(slurp($becket), qr{\Q$here\E/(?:src|build|vendor)/}, 'the directory of the build is not in it');
done_testing();
