#!/usr/bin/perl
# Description: the top of the tree holds what it should, vendor/ no code of others, and no file speaks of
# the machine it was written on.
use strict;
use warnings;
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

my %top = map { $_ => 1 } qw(Makefile README.md LICENSE Dockerfile src vendor bench tests fuzz deploy);
my @odd = grep { my ($first) = m{^([^/]+)}; !$top{$first} && $first !~ /^\./ } project_files(qr/./);
check('nothing else at the top of the tree', @odd);

my %vendor = map { $_ => 1 } qw(README.md pins fetch.sh build.sh system.sh);
check('vendor/ holds rules, no code', grep { m{^vendor/(.*)} && !$vendor{$1} } project_files(qr{^vendor/}));

check('tests can be executed', grep { !-x } project_files(qr{^tests/\w+/[^/]*\.t$}));

my $path = qr{(?:^|[^a-zA-Z0-9_./\$\{\}-])/(?:work|root|home/\w+)/};
my $host = qr{https?://[a-z0-9.-]*(?:npm|debian|ubuntu|pypi|crates|maven|golang)[a-z0-9-]*\.(?:org|io|com|net)};
my @local;
for my $file (project_files(qr/./)) {
    next if -B $file || $file =~ m{^fuzz/(corpus|regress)/};
    my $line = 0;
    for (split /\n/, slurp($file)) {
        $line++;
        push @local, "$file:$line: $&" if /$path/ || /$host/;
    }
}
check('no path of a machine, no host of a package registry', @local);

my (@pins, %seen);
for (grep { !/^#/ } split /\n/, slurp('vendor/pins')) {
    my ($name, $version, $archive, $sha256, $package, $licence) = split ' ', $_, 6;
    push @pins, $_ if !$licence || $sha256 !~ /^[0-9a-f]{64}$/ || $archive !~ /\.tar\.[gx]z$/
        || $seen{$name}++ || index($archive, $version) < 0;
}
check('vendor/pins: six fields, a SHA-256, each library once', @pins);

my ($listed) = slurp('Makefile') =~ /^LIBRARIES := (.*)$/m;
is(join(' ', sort split ' ', $listed), join(' ', sort keys %seen), 'the Makefile knows the pinned libraries');
done_testing();
