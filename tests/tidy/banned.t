#!/usr/bin/perl
# Description: calls that have a better replacement, and memory taken where the hot path runs.
use strict;
use warnings;
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

my %everywhere = (
    strcpy        => 'snprintf or memcpy with a known size',
    stpcpy        => 'snprintf or memcpy with a known size',
    strcat        => 'snprintf, or a buffer of base/buf.h',
    strncpy       => 'memcpy with a known size; it may leave no zero',
    strncat       => 'snprintf, or a buffer of base/buf.h',
    sprintf       => 'snprintf',
    vsprintf      => 'vsnprintf',
    gets          => 'fgets',
    strtok        => 'a slice and a scan; it keeps state',
    alloca        => 'a fixed array or an arena',
    tmpnam        => 'mkstemp',
    mktemp        => 'mkstemp',
    gethostbyname => 'net/dns',
);
my %in_src = (
    atoi    => 'a parser that reports errors; it has none',
    atol    => 'a parser that reports errors; it has none',
    atoll   => 'a parser that reports errors; it has none',
    atof    => 'a parser that reports errors; it has none',
    system  => 'a function; there is no shell in becket',
    popen   => 'a function; there is no shell in becket',
    rand    => 'ring entropy or a seeded generator',
    srand   => 'ring entropy or a seeded generator',
    random  => 'ring entropy or a seeded generator',
    regcomp => 'PCRE2 with match limits; glibc has none',
    regexec => 'PCRE2 with match limits; glibc has none',
    setjmp  => 'an error value',
    longjmp => 'an error value',
    assert  => 'bk_assert, which stays on in release',
);
# Where the hot path runs, memory is taken at start only. A file here says when it allocates.
my %allocates_at_start = ();
my $allocation = qr/\b(malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf|vasprintf|aligned_alloc
                      |posix_memalign)\s*\(/x;

my (@banned, @allocating);
for my $file (project_files(qr{^(src|tests|fuzz|bench)/.*\.[ch]$})) {
    my %ban = $file =~ m{^src/} ? (%everywhere, %in_src) : %everywhere;
    my $names = join '|', sort keys %ban;
    my $hot = $file =~ m{^src/(ring|http|journal)/} && !$allocates_at_start{$file};
    my $line = 0;
    for (split /\n/, bare_c(slurp($file))) {
        $line++;
        push @banned, "$file:$line: $1: instead: $ban{$1}" while /(?<![\w.>])($names)\s*\(/g;
        push @allocating, "$file:$line: $1" if $hot && /$allocation/;
    }
}
check('no banned calls', @banned);
check('no memory is taken on the hot path', @allocating);
done_testing();
