#!/usr/bin/perl
# Description: include lines point down only, as src/README.md draws the layers; libraries stay where they
# are wrapped.
use strict;
use warnings;
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

# A folder sees itself and the folders named here.
my %sees = (
    base      => [],
    ring      => [qw(base)],
    net       => [qw(ring base)],
    tls       => [qw(ring base)],
    http      => [qw(tls net ring base)],
    store     => [qw(http tls net ring base)],
    journal   => [qw(http tls net ring base)],
    providers => [qw(base)],
    hub       => [qw(providers journal store http tls net ring base)],
    api       => [qw(hub providers journal store http tls net ring base)],
    control   => [qw(api hub providers journal store http tls net ring base)],
    cli       => [qw(control api hub providers journal store http tls net ring base)],
);
# Single headers beyond that: providers see message types, never I/O.
my %also = (providers => { 'http/message.h' => 1 });
# A library's header is included only by the folders that wrap it.
my %library = (
    'liburing.h' => { ring => 1 },
    'lmdb.h'     => { store => 1 },
    'ares.h'     => { net => 1 },
);

my (@up, @foreign, @unknown);
for my $file (project_files(qr{^src/.*\.[ch]$})) {
    my ($folder) = $file =~ m{^src/([^/]+)/};
    $folder //= 'main';
    if ($folder ne 'main' && !$sees{$folder}) {
        push @unknown, "$file: folder $folder has no place in the layers (tests/tidy/layers.t)";
        next;
    }
    my %allowed = map { $_ => 1 } $folder eq 'main' ? qw(cli base) : ($folder, @{ $sees{$folder} });
    my $line = 0;
    for (split /\n/, slurp($file)) {
        $line++;
        if (/^\s*#\s*include\s+"([^"]+)"/) {
            my $header = $1;
            my ($target) = $header =~ m{^([^/]+)/};
            if (!defined $target) {
                # A table or header beside the file.
                push @up, "$file:$line: \"$header\": write the folder" if $header =~ /\.h$/;
            } elsif (!$allowed{$target} && !$also{$folder}{$header}) {
                push @up, "$file:$line: $folder must not see $header";
            }
        } elsif (/^\s*#\s*include\s+<([^>]+)>/) {
            my $owners = $library{$1};
            push @foreign, "$file:$line: <$1> belongs to " . join(' ', sort keys %$owners)
                if $owners && !$owners->{$folder};
        }
    }
}
check('every folder of src/ has its layer', @unknown);
check('include lines point down', @up);
check('libraries are seen only where they are wrapped', @foreign);
done_testing();
