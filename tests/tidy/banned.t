#!/usr/bin/perl
# Description: calls that have a better replacement, memory taken where the hot path runs, and lines of the log that have a
# field twice.
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
# Where reactors run, memory is taken at start only: in a function that opens or creates something, or in
# one of these, each with its reason. (The journal's catalog, index and scans are the store thread's.)
my $hot_files = qr{^src/(ring/|http/|journal/(journal|format)\.)};
my $starts = qr/_(open|create|new|init|start|take_memory)$|^take_memory$/;
my %may_allocate = (
    'src/http/answer.c:answer_build'      => 'large answers of the control plane',
    'src/ring/file_posix.c:file_read_all' => 'configuration files, read by the store thread',
);
my $allocation = qr/\b(malloc|calloc|realloc|reallocarray|strdup|strndup|asprintf|vasprintf|aligned_alloc
                      |posix_memalign)\s*\(/x;

# All I/O, clocks and entropy pass through the seam (ring/ring.h, ring/file.h), or the simulator lies.
# Commands of cli/ that are no server (benchmark client, admin client) talk to the kernel themselves.
my $outside = qr/\b(socket|connect|accept4?|bind|listen|recv|recvfrom|recvmsg|send|sendto|sendmsg
                   |read|write|pread|pwrite|readv|writev|open|openat|creat|close|fsync|fdatasync|fopen
                   |unlink|rename|poll|ppoll|select|epoll_wait|clock_gettime|gettimeofday|time
                   |nanosleep|usleep|sleep|getrandom|getentropy|getaddrinfo)\s*\(/x;
my %may_go_outside = (
    'src/base/log.c'    => 'lines to standard error with the time of day',
    'src/base/assert.c' => 'the last words',
    'src/store/store_fault.c' => 'a signal handler that waits for room',
);

my (@banned, @allocating, @seam);
for my $file (project_files(qr{^(src|tests|fuzz|bench)/.*\.[ch]$})) {
    my %ban = $file =~ m{^src/} ? (%everywhere, %in_src) : %everywhere;
    my $names = join '|', sort keys %ban;
    my $hot = $file =~ $hot_files;
    my $inside = $file =~ m{^src/(?!ring/|cli/)} && !$may_go_outside{$file};
    my ($line, $function) = (0, '');
    my $text = bare_c(slurp($file));
    my %own = map { $_ => 1 } $text =~ /^static [^;=\n]*?(\w+)\(/mg;
    for (split /\n/, $text) {
        $line++;
        $function = $1 if /^[a-z][^;=]*?(\w+)\(/;
        push @banned, "$file:$line: $1: instead: $ban{$1}" while /(?<![\w.>])($names)\s*\(/g;
        push @seam, "$file:$line: $1" if $inside && /(?<![\w.>])$outside/ && !$own{$1};
        push @allocating, "$file:$line: $1 in $function"
            if $hot && /$allocation/ && $function !~ $starts && !$may_allocate{"$file:$function"};
    }
}
# A line of the log is one JSON object: of two members of one name most readers see one.
my @twice;
for my $file (project_files(qr{^src/.*\.c$})) {
    my $text = slurp($file);
    while ($text =~ /\blog_event(\((?:"(?:\\.|[^"\\])*"|[^()"]|(?1))*\))/g) {
        my %seen = (time => 1, level => 1, event => 1);
        push @twice, map { "$file: $_" } grep { $seen{$_}++ } $1 =~ /\bLOG_[SZI]\(\s*"(\w+)"/g;
    }
}
check('no banned calls', @banned);
check('no field of the log is there twice', @twice);
check('no memory is taken on the hot path', @allocating);
check('I/O, clocks and entropy pass through ring/', @seam);
done_testing();
