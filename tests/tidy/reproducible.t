#!/usr/bin/perl
# Description: the same source gives the same object, twice and in another directory.
use strict;
use warnings;
use Cwd qw(getcwd);
use File::Temp qw(tempdir);
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

plan skip_all => 'flags are missing: run through make tidy' unless defined $ENV{BECKET_CFLAGS};
my $cc = $ENV{CC} // 'cc';
my $here = getcwd();
my $there = tempdir('a place XXXXX', TMPDIR => 1, CLEANUP => 1);
system("cp -R src '$there/' && mkdir '$there/build' && ln -s '$here/build/vendor' '$there/build/vendor'") == 0
    or die;

my @different;
for my $file (grep { -s } (project_files(qr{^src/base/.*\.c$}))[0 .. 5]) {
    system("$cc $ENV{BECKET_CFLAGS} -c -o '$there/a.o' $file 2>/dev/null") == 0 or next;
    system("cd '$there' && $cc $ENV{BECKET_CFLAGS} -c -o b.o $file") == 0 or next;
    push @different, $file if slurp("$there/a.o") ne slurp("$there/b.o");
}
check('objects do not know when and where they were made', @different);
check('no date or time in the source',
    grep { bare_c(slurp($_)) =~ /\b__(?:DATE|TIME|TIMESTAMP)__\b/ } project_files(qr{^src/.*\.[ch]$}));
done_testing();
