#!/usr/bin/perl
# Description: every header of src/ says on its first line what it is, is guarded, and compiles alone.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

plan skip_all => 'flags are missing: run through make tidy' unless defined $ENV{BECKET_CFLAGS};
my $cc = $ENV{CC} // 'cc';
my $said = tempdir(CLEANUP => 1) . '/said';

# A source whose first line of code is a header has compiled that one alone: every build looks at it.
my %first;
for my $file (project_files(qr{^src/.*\.c$})) {
    my ($code) = slurp($file) =~ m{\A(?:\s|/\*.*?\*/|//[^\n]*)*([^\n]*)}s;
    $first{"src/$1"} = 1 if $code =~ /^#include "([^"]+)"/;
}

my (@untitled, @unguarded, @dependent, %guards);
for my $file (project_files(qr{^src/.*\.h$})) {
    my $text = slurp($file);
    my ($name) = $file =~ m{([^/]+)$};
    push @untitled, "$file: the first line is not \"/* $name - what it is...\""
        unless $text =~ m{\A/\* (?:\w+/)*\Q$name\E - \S};
    # A template: its first line says "to be included by", and its includer defines what it needs.
    next if $text =~ m{\A/\*[^\n]* to be included by };
    if ($text =~ /^#ifndef (\w+)\n#define \1\n/m) {
        push @unguarded, "$file: guard $1 is also in $guards{$1}" if $guards{$1};
        $guards{$1} = $file;
    } elsif ($text !~ /^#pragma once$/m) {
        push @unguarded, "$file: no include guard";
    }
    next if $first{$file};
    (my $include = $file) =~ s{^src/}{};
    open my $compiler, '|-', "$cc $ENV{BECKET_CFLAGS} -x c -fsyntax-only - 2>'$said'"
        or die "$cc: $!";
    print $compiler "#include \"$include\"\n";
    push @dependent, "$file:\n" . slurp($said) unless close $compiler;
}
check('headers start with their name and purpose', @untitled);
check('headers are guarded', @unguarded);
check('headers compile alone', @dependent);
done_testing();
