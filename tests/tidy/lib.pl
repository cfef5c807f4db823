# lib.pl - what the scripts of tests/tidy share. They run from anywhere, on the checkout they are part of.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);

chdir dirname(abs_path(__FILE__)) . '/../..' or die "checkout: $!";

# Files of the project that match a pattern: tracked ones and new ones that are not ignored.
sub project_files {
    my ($pattern) = @_;
    my @files = -e '.git' ? split /\n/, `git -c safe.directory='*' ls-files -co --exclude-standard 2>/dev/null`
                          : ();
    @files = split /\n/, `find . -type f ! -path './build/*' ! -path './.git/*' | sed 's|^\\./||'`
        unless @files;
    return sort grep { -f && /$pattern/ } @files;
}

sub slurp {
    my ($path) = @_;
    open my $in, '<', $path or die "$path: $!";
    local $/;
    my $text = <$in>;
    return $text // '';
}

# C source with comments, strings and character constants blanked; line numbers stay as they are.
sub bare_c {
    my ($text) = @_;
    $text =~ s{(//[^\n]*|/\*.*?\*/)|("(?:\\.|[^"\\\n])*")|('(?:\\.|[^'\\\n])*')}{
        my ($comment, $string) = ($1, $2);
        my $all = $comment // $string // $3;
        defined $comment ? do { (my $lines = $all) =~ s/[^\n]//g; " $lines" }
            : defined $string ? '""' : "' '" }gse;
    return $text;
}

# check NAME, FAILURES...: one TAP line for a rule, each failure as a remark.
sub check {
    my ($name, @failures) = @_;
    Test::More::ok(!@failures, $name) or Test::More::diag(join "\n", @failures);
}

1;
