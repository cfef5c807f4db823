# lib.pl - what the programs of bench/ share: starting servers, running the generator, reading /proc.
#
# Everything is on loopback, bounded in time, and only processes started here are stopped. Files are
# below build/bench.
use strict;
use warnings;
use Cwd qw(abs_path);
use Digest::SHA qw(hmac_sha256_hex);
use Errno qw(EINTR);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep time);

our $root = abs_path(dirname(__FILE__) . '/..');
our $build = $ENV{BECKET_BUILD} // "$root/build";
our $becket = $ENV{BECKET} // "$build/becket";
our $programs = "$build/release/bench";
our $out = "$build/bench";
our @generator = $ENV{BENCH_GENERATOR} ? split(/ /, $ENV{BENCH_GENERATOR}) : ($becket, 'bench');
our @first; # before each program of a measurement
our $secret = 'a secret of the benchmark';
our $json = JSON::PP->new->canonical->pretty;
our $cpus = () = slurp('/proc/cpuinfo') =~ /^processor\s/mg;
our ($server_cpu, $load_cpu) = $cpus > 1 ? (0, 1) : (0, 0);
# The headers GitHub sends besides the signed ones, so that the head has a real one's size.
our @github_headers = (
    'Accept: */*',
    'User-Agent: GitHub-Hookshot/2cd1f0a',
    'X-GitHub-Hook-ID: 292430182',
    'X-GitHub-Hook-Installation-Target-ID: 79929171',
    'X-GitHub-Hook-Installation-Target-Type: repository',
);

make_path($out);
my %running;
END {
    my $status = $?;
    stop($_) for values %running;
    $? = $status;
}
$SIG{INT} = $SIG{TERM} = sub { exit 130 };

sub slurp
{
    my ($file) = @_;
    open my $in, '<', $file or return '';
    local $/;
    return scalar <$in> // '';
}

sub spew
{
    my ($file, $text) = @_;
    open my $to, '>', $file or die "$file: $!\n";
    print $to $text;
    close $to or die "$file: $!\n";
}

sub note { print STDERR "@_\n" }

# One line that is written over, on a terminal only.
sub progress
{
    return unless -t STDERR;
    printf STDERR "\r%-78.78s\r", "@_";
}

sub save
{
    my ($name, $data) = @_;
    spew("$out/$name.json", $json->encode($data));
    note("  $out/$name.json");
}

# ---- numbers

sub sorted { return sort { $a <=> $b } @_ }

sub median
{
    my @s = sorted(@_) or return;
    return @s % 2 ? $s[$#s / 2] : ($s[@s / 2 - 1] + $s[@s / 2]) / 2;
}

# Median and the second from each end: of 11 values the 2nd and the 10th, which bound the median with
# 98.8 % confidence.
sub spread
{
    my @s = sorted(grep { defined } @_) or return {};
    my ($low, $high) = @s >= 4 ? @s[1, -2] : @s[0, -1];
    return { median => 0 + median(@s), low => 0 + $low, high => 0 + $high, count => scalar @s };
}

# ---- /proc

# CPU time of a process with all its threads, in ns: what /proc tells of the living ones.
sub cpu_ns
{
    my ($pid) = @_;
    my $sum = 0;
    for my $file (glob "/proc/$pid/task/*/schedstat") {
        $sum += (split ' ', slurp($file))[0] // 0;
    }
    return $sum;
}

# Name => ns for kernel threads (children of kthreadd).
sub kernel_threads
{
    my %of;
    for my $dir (glob '/proc/[0-9]*') {
        my ($name, $parent) = slurp("$dir/stat") =~ /^\d+ \((.*)\) \S (\d+) / or next;
        next unless $parent == 2;
        my ($ns) = split ' ', slurp("$dir/schedstat");
        my ($pid) = $dir =~ /(\d+)$/;
        $of{"$pid $name"} = $ns // 0;
    }
    return \%of;
}

# Sums by kind what was used between two answers of kernel_threads().
sub kernel_used
{
    my ($before, $after) = @_;
    my %used;
    for my $key (keys %$after) {
        my $ns = $after->{$key} - ($before->{$key} // 0);
        my ($kind) = $key =~ m{^\d+ ([a-z_]+\d?)};
        $used{ $kind // 'other' } += $ns if $ns > 0;
    }
    return \%used;
}

# Jiffies of all CPUs: total, idle, steal.
sub machine_jiffies
{
    my (undef, @j) = split ' ', (split /\n/, slurp('/proc/stat'))[0];
    my $total = 0;
    $total += $_ for @j[0 .. 7];
    return { total => $total, idle => $j[3] + $j[4], steal => $j[7] };
}

sub resident_bytes
{
    my ($pid) = @_;
    my ($kib) = slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
    return defined $kib ? $kib * 1024 : undef;
}

# Sum over threads.
sub switches
{
    my ($pid) = @_;
    my %of = (voluntary => 0, involuntary => 0, threads => 0);
    for my $file (glob "/proc/$pid/task/*/status") {
        my $text = slurp($file);
        $of{threads}++;
        $of{voluntary} += $1 if $text =~ /^voluntary_ctxt_switches:\s+(\d+)/m;
        $of{involuntary} += $1 if $text =~ /^nonvoluntary_ctxt_switches:\s+(\d+)/m;
    }
    return \%of;
}

sub directory_bytes
{
    my ($dir) = @_;
    my ($kib) = (`du -sk '$dir' 2>/dev/null` // '') =~ /^(\d+)/;
    return ($kib // 0) * 1024;
}

sub machine
{
    my ($model) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)$/m;
    my ($flags) = slurp('/proc/cpuinfo') =~ /^(?:flags|Features)\s*:\s*(.*)$/m;
    my %has = map { $_ => 1 } split ' ', $flags // '';
    my ($kernel) = slurp('/proc/version') =~ /^Linux version (\S+)/;
    my %mitigations;
    for my $file (glob '/sys/devices/system/cpu/vulnerabilities/*') {
        my ($name) = $file =~ m{([^/]+)$};
        my ($text) = slurp($file) =~ /^(.*)$/m;
        $mitigations{$name} = $text if $text =~ /^Mitigation/;
    }
    my $commit = `git -C '$root' rev-parse --short HEAD 2>/dev/null` // '';
    my $dirty = `git -C '$root' status --porcelain -- src 2>/dev/null` // '';
    chomp $commit;
    return {
        cpu => $model // 'unknown', cpus => $cpus, kernel => $kernel // 'unknown',
        sha_ni => $has{sha_ni} ? JSON::PP::true : JSON::PP::false,
        avx512 => $has{avx512bw} ? JSON::PP::true : JSON::PP::false,
        commit => $commit . ($dirty ? '+changes' : ''), mitigations => \%mitigations,
        nginx => (`nginx -v 2>&1` // '') =~ m{nginx/(\S+)} ? $1 : undef,
        when => POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime),
        load => (split ' ', slurp('/proc/loadavg'))[0],
    };
}

# ---- processes

sub start
{
    my ($name, $log, @command) = @_;
    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        $SIG{INT} = $SIG{TERM} = 'DEFAULT';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $log or POSIX::_exit(127);
        open STDERR, '>&', \*STDOUT;
        exec { $command[0] } @command or POSIX::_exit(127);
    }
    my $process = { name => $name, pid => $pid, log => $log, owner => $$ };
    $running{$pid} = $process;
    return $process;
}

sub stop
{
    my ($process) = @_;
    return unless $process && $process->{owner} == $$ && delete $running{ $process->{pid} };
    kill 'TERM', $process->{pid};
    for (1 .. 250) {
        return if waitpid($process->{pid}, WNOHANG) != 0;
        sleep 0.02;
    }
    kill 'KILL', $process->{pid};
    waitpid $process->{pid}, 0;
}

sub pinned
{
    my ($cpu, @command) = @_;
    return $cpus > 1 ? ('taskset', '-c', $cpu, @command) : @command;
}

sub free_port
{
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0)
        or die "no free port: $@\n";
    return $socket->sockport;
}

# Seconds until somebody listens there.
sub wait_port
{
    my ($process, $port, $seconds) = @_;
    my $begin = time;
    while (time - $begin < ($seconds // 20)) {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port);
        return time - $begin if $socket;
        if (waitpid($process->{pid}, WNOHANG) > 0) {
            delete $running{ $process->{pid} };
            die "$process->{name} ended at once:\n" . slurp($process->{log});
        }
        sleep 0.002;
    }
    die "$process->{name} does not listen on port $port:\n" . slurp($process->{log});
}

# ---- servers. Each is a process with {port}, {url} and {watch}, the processes whose CPU time counts.

sub start_responder
{
    my $port = free_port();
    my $server = start('responder', "$out/responder.log",
        pinned($server_cpu, "$programs/responder", $port));
    wait_port($server, $port);
    return { %$server, url => "http://127.0.0.1:$port/hooks/bench", port => $port,
        watch => [ $server->{pid} ] };
}

# A certificate for 127.0.0.1 of an authority of its own; returns (authority, chain, key).
sub certificate
{
    my ($kind) = @_;
    my $dir = "$out/tls-$kind";
    make_path($dir);
    spew("$dir/ext", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n");
    my $key = $kind eq 'rsa' ? 'genrsa -out' : 'ecparam -name prime256v1 -genkey -noout -out';
    system("cd '$dir' && { openssl $key ca.key && openssl $key key.pem && chmod 600 key.pem"
        . ' && openssl req -x509 -new -key ca.key -subj /CN=ca -days 30 -out ca.pem'
        . ' && openssl req -new -key key.pem -subj /CN=bench -out csr'
        . ' && openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -set_serial 1 -days 20 -extfile ext -out chain.pem; } > log 2>&1') == 0
        or die "openssl: " . slurp("$dir/log");
    return map { "$dir/$_" } qw(ca.pem chain.pem key.pem);
}

sub has_nginx { return grep { -x "$_/nginx" } split(/:/, $ENV{PATH}), '/usr/sbin' }

# tls: {chain, key}: it listens with TLS at a second port, too.
sub start_nginx
{
    my (%o) = @_;
    my ($nginx) = has_nginx();
    my $port = free_port();
    my $tls_port = $o{tls} ? free_port() : 0;
    my $dir = "$out/nginx";
    my $tls = $o{tls} ? "listen 127.0.0.1:$tls_port ssl backlog=4096; ssl_certificate $o{tls}{chain}; "
        . "ssl_certificate_key $o{tls}{key}; ssl_protocols TLSv1.2; ssl_session_cache shared:tls:1m;" : '';
    remove_tree($dir);
    make_path($dir);
    my $mask = $cpus > 1 ? 'worker_cpu_affinity ' . ($o{cpu} // $server_cpu ? '10;' : '01;') : '';
    # As fast as it goes for this job: no log, connections never end, one recv takes head and body
    # (with the default of 1k for client_header_buffer_size it needs three system calls).
    spew("$dir/nginx.conf", <<"END");
daemon off;
worker_processes 1;
$mask
worker_rlimit_nofile 16384;
pid $dir/nginx.pid;
error_log $dir/error.log crit;
events {
    worker_connections 8192;
    multi_accept on;
}
http {
    access_log off;
    default_type application/json;
    keepalive_requests 4000000000;
    keepalive_timeout 1h;
    client_header_buffer_size 16k;
    client_body_buffer_size 16k;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;
    server {
        listen 127.0.0.1:$port backlog=4096;
        $tls
        location / {
            return 200 '{"id":"evt_00000000000000000000000000"}\\n';
        }
    }
}
END
    my $server = start('nginx', "$out/nginx.log", "$nginx/nginx", '-p', $dir, '-c', "$dir/nginx.conf");
    wait_port($server, $port);
    my @workers = split ' ', slurp("/proc/$server->{pid}/task/$server->{pid}/children");
    @workers = split ' ', `pgrep -P $server->{pid}` unless @workers;
    die "nginx has no worker\n" unless @workers;
    return { %$server, url => "http://127.0.0.1:$port/hooks/bench", port => $port, tls_port => $tls_port,
        watch => [ $server->{pid}, @workers ] };
}

# A source whose address is /hooks/NAME and that checks signatures as GitHub makes them.
sub source_yaml
{
    my ($name) = @_;
    return <<"END";
kind: EventSource
metadata: {name: $name}
spec:
  type: github
  path: $name
  verification:
    secrets: [{value: $secret}]
END
}

sub start_becket
{
    my ($name, %o) = @_;
    my ($port, $admin) = (free_port(), free_port());
    my $data = ($o{directory} // $out) . "/data-$name";
    remove_tree($data) unless $o{keep};
    my $begin = time;
    my $server = start($name, "$out/$name.log", pinned($o{cpu} // $server_cpu, @first, @{ $o{under} // [] },
        $o{program} // $becket, 'serve', '--data', $data, '--listen', "127.0.0.1:$port", '--admin', "127.0.0.1:$admin",
        '--threads', $o{threads} // 1, '--log-level', 'warn',
        $o{durability} ? ('--durability', $o{durability}) : (), @{ $o{flags} // [] }));
    wait_port($server, $port, $o{patience});
    $server = { %$server, url => "http://127.0.0.1:$port/hooks/bench", port => $port, data => $data,
        admin => "http://127.0.0.1:$admin", watch => [ $server->{pid} ], becket => 1,
        start_seconds => time - $begin };
    for (1 .. 100) {
        last if -s "$data/admin.token";
        sleep 0.01;
    }
    ($server->{token}) = slurp("$data/admin.token") =~ /^(\S+)/;
    apply($server, source_yaml('bench')) unless $o{empty};
    return $server;
}

sub call
{
    my ($server, $method, $path, $body, %headers) = @_;
    my $http = HTTP::Tiny->new(timeout => 600);
    $headers{Authorization} = "Bearer $server->{token}" if $server->{token};
    return $http->request($method, $server->{admin} . $path,
        { headers => \%headers, defined $body ? (content => $body) : () });
}

sub apply
{
    my ($server, $yaml) = @_;
    my $answer = call($server, 'POST', '/api/v1/apply', $yaml, 'Content-Type' => 'application/yaml');
    die "apply: $answer->{status} $answer->{content}\n" . slurp($server->{log}) unless $answer->{success};
    return $answer;
}

# Metric name => sum over its labels. Histograms appear by their _sum and _count.
sub metrics
{
    my ($server) = @_;
    my %of;
    my $answer = call($server, 'GET', '/metrics');
    return {} unless $answer->{success};
    for (split /\n/, $answer->{content}) {
        next unless /^(\w+)(?:\{[^}]*\})? ([-+0-9.e]+)$/;
        $of{$1} += $2 unless $1 =~ /_bucket$/;
    }
    return \%of;
}

# ---- measuring

# The generator against one server; returns its JSON and what /proc says beside it.
sub load
{
    my ($server, %o) = @_;
    my @command = (@first, @generator, $server->{url}, '-o', 'json', '--cpu', $load_cpu,
        '--connections', $o{connections} // 64, '--type', 'github', '--secret', $secret);
    push @command, '--header', $_ for @github_headers;
    push @command, '--body-bytes', $o{bytes} // 1024;
    push @command, '--warmup', ms($o{warmup} // 0.5) if defined $o{warmup} || !$o{requests};
    push @command, $o{requests} ? ('--requests', $o{requests}) : ('--duration', ms($o{seconds} // 3));
    push @command, '--rate', int $o{rate} if $o{rate};
    push @command, map { ('--watch', $_) } @{ $server->{watch} };
    push @command, @{ $o{flags} // [] };
    my $before = { kernel => kernel_threads(), jiffies => machine_jiffies(), switches => switches($server->{pid}) };
    $before->{metrics} = metrics($server) if $server->{becket};
    my $punts = $server->{becket} ? punts_begin($server->{pid}) : undef;
    my $text = run_for(($o{seconds} // 0) + 60, @command);
    my $result = eval { $json->decode($text) };
    $before->{punts} = punts_end($punts);
    die "generator: $text\n" unless $result;
    return with_costs($server, $result, $before);
}

# How often the ring gives an operation to a kernel worker (io-wq) instead of doing it itself. Wants perf, root and
# the kernel's tracepoint; undef without them.
sub punts_begin
{
    my ($pid) = @_;
    my $event = 'io_uring:io_uring_queue_async_work';
    our $has_punts //= system("perf stat -e $event true >/dev/null 2>&1") == 0 ? 1 : 0;
    return undef unless $has_punts;
    my $file = "$out/punts";
    unlink $file;
    my $child = fork // die "fork: $!\n";
    if ($child == 0) {
        $SIG{INT} = 'DEFAULT';
        exec('perf', 'stat', '-x', ',', '-o', $file, '-e', $event, '-p', $pid) or POSIX::_exit(127);
    }
    return { child => $child, file => $file };
}

sub punts_end
{
    my ($punts) = @_;
    return undef unless $punts;
    kill INT => $punts->{child};
    waitpid $punts->{child}, 0;
    return slurp($punts->{file}) =~ /^(\d+),/m ? $1 : undef;
}

sub ms { return int($_[0] * 1000) . 'ms' }

# Standard output of a command that must end within so many seconds.
sub run_for
{
    my ($seconds, @command) = @_;
    my $pid = open(my $from, '-|') // die "fork: $!\n";
    if ($pid == 0) {
        $SIG{INT} = $SIG{TERM} = 'DEFAULT';
        exec('timeout', $seconds, @command) or POSIX::_exit(127);
    }
    local $/;
    my $text = <$from> // '';
    close $from;
    return $text;
}

sub with_costs
{
    my ($server, $result, $before) = @_;
    my ($kernel, $jiffies) = (kernel_threads(), machine_jiffies());
    my $answered = $result->{answered} || 1;
    my $all = $result->{answeredWithWarmup} || 1;
    my $cpu = 0;
    $cpu += $_->{cpuNs} > 0 ? $_->{cpuNs} : 0 for @{ $result->{watch} };
    my $used = kernel_used($before->{kernel}, $kernel);
    my $kernel_ns = 0;
    $kernel_ns += $_ for values %$used;
    my $total = ($jiffies->{total} - $before->{jiffies}{total}) || 1;
    my $window = $result->{seconds} || 1;
    $result->{cost} = {
        serverUs => $cpu / 1e3 / $answered,
        serverCore => $cpu / 1e9 / $window,
        generatorUs => $result->{generator}{cpuNs} / 1e3 / $answered,
        generatorCore => $result->{generator}{cpuNs} / 1e9 / $window,
        kernelThreadsUs => $kernel_ns / 1e3 / $all,
        kernelThreads => { map { $_ => $used->{$_} / 1e3 / $all } grep { $used->{$_} / 1e3 / $all > 0.005 } keys %$used },
        steal => ($jiffies->{steal} - $before->{jiffies}{steal}) / $total,
        residentBytes => resident_bytes($server->{pid}),
    };
    # Who else was at work: busy time of all CPUs, less ours. The generator and the server were busy for the
    # warm-up, too; the measured share stands for it.
    my $share = $answered / $all || 1;
    my $ours = ($cpu + $result->{generator}{cpuNs}) / $share + $kernel_ns;
    my $busy = ($total - ($jiffies->{idle} - $before->{jiffies}{idle})) * 1e9 / POSIX::sysconf(&POSIX::_SC_CLK_TCK);
    my $span = $total * 1e9 / POSIX::sysconf(&POSIX::_SC_CLK_TCK) / $cpus;
    $result->{cost}{foreignCore} = ($busy - $ours) / $span;
    metrics_cost($server, $result, $before) if $server->{becket};
    $result->{disturbed} = JSON::PP::true
        if $result->{cost}{steal} > 0.01 || $result->{cost}{foreignCore} > 0.10;
    return $result;
}

sub metrics_cost
{
    my ($server, $result, $before) = @_;
    my $after = metrics($server);
    my %delta = map { $_ => $after->{$_} - ($before->{metrics}{$_} // 0) } keys %$after;
    my $requests = $delta{becket_ingress_requests_total} or return;
    my $commits = $delta{becket_journal_commit_seconds_count};
    my $switches = switches($server->{pid});
    $result->{inside} = {
        requests => $requests,
        entersPerRequest => ($delta{becket_ring_enters_total} // 0) / $requests,
        commits => $commits // 0,
        recordsPerCommit => $commits ? $delta{becket_journal_batch_records_sum} / $commits : undef,
        commitMs => $commits ? 1e3 * $delta{becket_journal_commit_seconds_sum} / $commits : undef,
        duplicates => $requests - ($delta{becket_events_total} // $requests),
        punts => $before->{punts},
        puntsPerCommit => $commits && defined $before->{punts} ? $before->{punts} / $commits : undef,
        switchesPerRequest => ($switches->{voluntary} - $before->{switches}{voluntary}) / $requests,
    };
}

# An answer that does not count: anything lost, refused or unasked for.
sub must_be_clean
{
    my ($server, $result) = @_;
    my @wrong = grep { $result->{$_} } qw(unexpected lost malformed connectErrors unanswered forgedAccepted stalled);
    return unless @wrong || !$result->{answered};
    die "$server->{name}: not a clean run: " . join(', ', map { "$_ $result->{$_}" } @wrong)
        . ' status ' . JSON::PP->new->canonical->encode($result->{status}) . "\n" . slurp($server->{log});
}

# How: 'ring', as the journal does it, or nothing.
sub flush_probe
{
    my ($seconds, $how) = @_;
    my $text = run_for(60, pinned($server_cpu, @first, "$programs/flush", $out, $seconds // 1, 4096, $how // ()));
    return eval { $json->decode($text) } // die "flush probe failed\n";
}

1;
