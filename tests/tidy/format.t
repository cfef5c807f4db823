#!/usr/bin/perl
# Description: what every text file keeps: 100 columns and no tabs in C, no trailing blanks, a last newline.
use strict;
use warnings;
use Encode qw(decode);
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

my (@long, @tabs, @blanks, @ends);
for my $file (project_files(qr{\.([ch]|def|md|pl|t|sh|py)$|^Makefile$|^\.ci/})) {
    next if $file =~ m{^fuzz/(corpus|regress)/|^tests/vectors/};
    my $text = slurp($file);
    my $c = $file =~ /\.([ch]|def)$/;
    push @ends, "$file: no newline at the end" if $text !~ /\n\z/;
    push @ends, "$file: carriage return" if $c && $text =~ /\r/;
    my $line = 0;
    for (split /\n/, $text) {
        $line++;
        if ($c) {
            my $columns = length decode('UTF-8', $_);
            push @long, "$file:$line: $columns columns" if $columns > 100;
            push @tabs, "$file:$line" if /\t/;
        }
        push @blanks, "$file:$line" if /[ \t]$/ && $file !~ /\.md$/;
    }
}
check('C has at most 100 columns', @long);
check('C has no tabs', @tabs);
check('no blanks at the end of a line', @blanks);
check('text files end as text files do', @ends);
done_testing();
