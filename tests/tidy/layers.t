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

# The folders of hub/, from the top; each sees itself, those in its own line and those in the lines below
# (src/hub/README.md). Files of hub/ itself stand by their name.
my @hub = (
    [qw(operations people links resources)],
    [qw(reactor)],
    [qw(ingress)],
    [qw(deliveries)],
    [qw(events routes keys calls)],
    [qw(hub hub_private clock_sets data_key metrics)],
);
# Headers of hub/ that are seen from below: words and data, no work.
my %hub_words = map { ("hub/$_" => 1) } qw(
    resources/resource.h resources/compile.h resources/audit.h resources/token.h operations/github_app.h
    links/link_feed.h deliveries/flow.h deliveries/order.h);
my %hub_line;
$hub_line{$_->[1]} = $_->[0] for map { my $line = $_; map { [$line, $_] } @{ $hub[$line] } } 0 .. $#hub;
sub hub_place { $_[0] =~ m{hub/(\w+)[/.]} ? $1 : '' }

my (@up, @foreign, @unknown, %words_used);
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
            } elsif ($folder eq 'hub' && $target eq 'hub') {
                my ($here, $there) = map { $hub_line{ hub_place($_) } } "$file", "src/$header";
                push @unknown, "$file:$line: $header: a folder without a place in hub/ (tests/tidy/layers.t)"
                    unless defined $here && defined $there;
                next unless defined $here && defined $there && $there < $here;
                $words_used{$header} = 1;
                push @up, "$file:$line: $header is above it in hub/" unless $hub_words{$header};
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
check('headers seen from below are', grep { !$words_used{$_} } sort keys %hub_words);
check('libraries are seen only where they are wrapped', @foreign);
done_testing();
