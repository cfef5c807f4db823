/* How long this disk takes to make 4 KiB durable: O_DIRECT writes with RWF_DSYNC into a file that
 * was written before, one at a time, as the journal does at its smallest. Every acknowledgement
 * waits for one of these, so latencies are read as multiples of it.
 *
 *   flush DIRECTORY [SECONDS] [BYTES] [ring]     prints one line of JSON; the file is removed
 *
 * ring: through a ring, as the journal does; else by a blocking call (durable_write.h). */
#include "cli/bench_histogram.h"
#include "clock.h"
#include "durable_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES (16U << 20)

static struct bench_histogram histogram;

static int stop(const char *what)
{
    fprintf(stderr, "flush: %s: %s\n", what, strerror(errno));
    return 1;
}

static bool prepare(int file, const void *block, size_t bytes)
{
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += (off_t)bytes) {
        if (pwrite(file, block, bytes, at) != (ssize_t)bytes) {
            return false;
        }
    }
    return fsync(file) == 0;
}

int main(int argc, char **argv)
{
    char path[4096];
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    bool by_ring = argc > 4 && strcmp(argv[4], "ring") == 0;
    size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) : 4096;
    if (argc < 2 || bytes == 0 || bytes % 4096 != 0 || FILE_BYTES % bytes != 0) {
        fprintf(stderr, "usage: flush DIRECTORY [SECONDS] [BYTES: a divisor of 16 MiB] [ring]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/flush-probe-%d", argv[1], (int)getpid());
    void *block = aligned_alloc(4096, bytes);
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
    if (file < 0 || !block) {
        return stop(path);
    }
    (void)unlink(path);
    memset(block, 0xa5, bytes);
    if (!prepare(file, block, bytes)) {
        return stop("preparing the file");
    }
    uint64_t begin_ns = now_ns();
    uint64_t before_ns = begin_ns;
    off_t at = 0;
    while ((double)(before_ns - begin_ns) < seconds * 1e9) {
        if (!(by_ring ? durable_write_by_ring : durable_write_by_call)(file, block, bytes, at)) {
            return stop("write");
        }
        uint64_t after_ns = now_ns();
        bench_histogram_add(&histogram, after_ns - before_ns);
        before_ns = after_ns;
        at = (at + (off_t)bytes) % (off_t)FILE_BYTES;
    }
    printf("{\"bytes\":%zu,\"flushes\":%llu,\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"p99.9\":%llu,"
           "\"max\":%llu}\n",
           bytes, (unsigned long long)histogram.count,
           (unsigned long long)bench_histogram_quantile(&histogram, 500000),
           (unsigned long long)bench_histogram_quantile(&histogram, 900000),
           (unsigned long long)bench_histogram_quantile(&histogram, 990000),
           (unsigned long long)bench_histogram_quantile(&histogram, 999000),
           (unsigned long long)histogram.max_ns);
    free(block);
    close(file);
    return 0;
}
