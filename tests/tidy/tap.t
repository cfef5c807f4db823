#!/usr/bin/perl
# Description: tests/tap.h reports what fails: a helper that always passes would hide everything.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Test::More;
use FindBin;
require "$FindBin::Bin/lib.pl";

my $dir = tempdir(CLEANUP => 1);
my $cc = $ENV{CC} // 'cc';

# Runs the body of a main; returns exit status, standard output, standard error.
sub run {
    my ($body) = @_;
    open my $c, '>', "$dir/t.c" or die $!;
    print $c "#include \"tests/tap.h\"\nint main(void)\n{\n$body\n}\n";
    close $c;
    system("$cc -Wall -Wextra -Wconversion -Wshadow -Wformat=2 -Wmissing-prototypes -Werror -I. "
        . "-o '$dir/t' '$dir/t.c'") == 0 or return (-1, '', '');
    my $out = `'$dir/t' 2>'$dir/err'`;
    return ($? >> 8, $out, slurp("$dir/err"));
}

my ($status, $out, $err) = run('ok(1, "one"); ok(1 == 1); is_int(-3, -3, "n %d", 7); is_str("a", "a");
    is_mem("ab", "ab", 2, "m"); is_uint(sizeof(int), 4u); skip("why"); return done_testing();');
is($status, 0, 'all passed: 0');
is($out, "ok 1 - one\nok 2 - 1 == 1\nok 3 - n 7\nok 4 - \"a\"\nok 5 - m\nok 6 - sizeof(int)\n"
    . "ok 7 # skip why\n1..7\n", 'its lines');

for my $failing ('ok(0, "x")', 'is_int(1, 2, "x")', 'is_uint(1u, 2u, "x")', 'is_str("a", "b", "x")',
    'is_str("a", NULL, "x")', 'is_mem("ab", "ac", 2, "x")', 'is_bytes("ab", 2, "ab", 1, "x")') {
    ($status, $out, $err) = run("$failing; ok(1, \"y\"); return done_testing();");
    is($status, 1, "$failing: exit status 1");
    like($out, qr/^not ok 1 - x\nok 2 - y\n1\.\.2\n/, "$failing: not ok");
    like($err, qr/^# failed: .*t\.c:4: /, "$failing: where");
}
($status, $out, $err) = run('is_mem("0123456789abcdefX", "0123456789abcdefY", 17, "x"); return done_testing();');
like($err, qr/#      got 000010: 58 +X\n#     want 000010: 59 +Y\n/, 'a hex dump of the rows that differ');
unlike($err, qr/000000/, 'and only of these');

($status) = run('return done_testing();');
is($status, 1, 'a program without a check fails');
($status, $out) = run('skip_all("no %s", "ring");');
is($out, "1..0 # skip no ring\n", 'skip_all');
is($status, 0, 'is no failure');
done_testing();
