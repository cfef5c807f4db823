#!/usr/bin/perl
# Description: archives come from BECKET_VENDOR_DIR when it is set, one with another sum is refused, and sanitizers see the inside of libraries.
use strict;
use warnings;
use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

my $here = getcwd();
my ($pin) = grep { !/^#/ } split /\n/, slurp('vendor/pins');
my ($name, $version, $archive) = split ' ', $pin;
plan skip_all => 'the libraries come from the system here' unless -e "build/vendor/src/$archive";

# A checkout of its own with one pinned library.
my $dir = tempdir(CLEANUP => 1);
mkdir "$dir/$_" or die $! for qw(vendor archives);
system(qw(cp vendor/fetch.sh), "$dir/vendor/") == 0 or die;
system('cp', "build/vendor/src/$archive", "$dir/archives/") == 0 or die;
open my $pins, '>', "$dir/vendor/pins" or die $!;
print $pins "# one\n$pin\n";
close $pins;

sub fetch { return scalar `cd '$dir' && BECKET_VENDOR_DIR='$dir/archives' vendor/fetch.sh @_ 2>&1` }

like(fetch(), qr/FETCH\s+\Q$name $version\E/, 'an archive is taken from BECKET_VENDOR_DIR');
is($? >> 8, 0, 'and accepted');
is(fetch(), '', 'the second time it is in the cache');
fetch("$dir/copy");
is(slurp("$dir/copy/$archive"), slurp("$dir/archives/$archive"), 'a directory for others holds the same bytes');

unlink "$dir/build/vendor/src/$archive";
open my $out, '>>', "$dir/archives/$archive" or die $!;
print $out 'x';
close $out;
like(fetch(), qr/^vendor: checksum of \Q$archive\E is [0-9a-f]{64}, pinned is [0-9a-f]{64}$/m,
    'a changed archive is refused in one line');
is($? >> 8, 1, 'and make stops');
ok(!-e "$dir/build/vendor/src/$archive", 'and nothing of it stays in the cache');

unlink "$dir/archives/$archive";
like(fetch(), qr/BECKET_VENDOR_DIR=\S+ has no \Q$archive\E/, 'a missing archive is named');
chdir $here;

# What these variants link is watched inside, too: for addresses, and in the fuzzer's for undefined behaviour.
my %checks = (asan => ['__asan_report'], fuzz => ['__asan_report', '__ubsan_handle']);
for my $variant (sort keys %checks) {
    my ($watched) = slurp('Makefile') =~ /^SANITIZED_$variant := (.*)/m;
    for my $library (split ' ', $watched) {
        my $file = "build/vendor-$variant/lib/lib" . ($library =~ s/^lib//r) . '.a';
      SKIP: {
            skip "$file is not made here", 1 unless -e $file;
            my %calls = map { $_ => 1 } `nm $file 2>/dev/null` =~ /(__asan_report|__ubsan_handle)/g;
            is_deeply([sort keys %calls], $checks{$variant}, "$file has the checks of its sanitizers");
        }
    }
}
done_testing();
