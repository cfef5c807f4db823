/* replay.c - a main for fuzz targets without libFuzzer: corpus and past crashes as a TAP test.
 *
 *     build/asan/fuzz/url_replay                 what is in fuzz/corpus/url and fuzz/regress/url
 *     build/asan/fuzz/url_replay FILE|DIR...     only these
 *
 * After the files as they are it runs mutated copies of them, always in the same sequence:
 * BECKET_FUZZ_MUTATIONS of them (4000 unless set), or as many as fit in BECKET_FUZZ_SECONDS (3
 * unless set). That is no fuzzing, only a cheap guard for machines without clang. Each input stands
 * alone in its own heap block, so AddressSanitizer sees a read past either end. An input that ends
 * the program is written to build/crash/TARGET first.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

enum {
    INPUTS_MAX = 65536,
    INPUT_BYTES_MAX = 1 << 20,
    MUTATIONS = 4000,
    SECONDS = 3,
};

struct input {
    uint8_t *data;
    size_t size;
};

static char target[128];
static char crash_path[640];
static struct input inputs[INPUTS_MAX];
static size_t input_count;
/* What runs now, for the death callback. */
static struct input running;

/* Async-signal-safe: this runs in a dying program. */
static void save_running(void)
{
    static const char text[] = "# the input is in ";
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    ssize_t n = write(fd, running.data, running.size);
    n += write(STDERR_FILENO, text, sizeof text - 1);
    n += write(STDERR_FILENO, crash_path, strlen(crash_path));
    n += write(STDERR_FILENO, "\n", 1);
    (void)n;
    close(fd);
}

static void on_signal(int number)
{
    save_running();
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_deaths(void)
{
    const char *build = getenv("BECKET_BUILD");
    char directory[400];
    snprintf(directory, sizeof directory, "%s/crash", build ? build : "build");
    mkdir(directory, 0755);
    snprintf(crash_path, sizeof crash_path, "%s/%s", directory, target);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(save_running);
        return;
    }
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
    signal(SIGILL, on_signal);
}

static void run_one(const uint8_t *data, size_t size)
{
    /* A block of exactly this size; malloc(0) would be no place to catch a read of one byte. */
    uint8_t *copy = malloc(size ? size : 1);
    if (copy == NULL)
        bail_out("no memory");
    if (size > 0)
        memcpy(copy, data, size);
    running = (struct input){copy, size};
    LLVMFuzzerTestOneInput(copy, size);
    running = (struct input){NULL, 0};
    free(copy);
}

static bool load_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    if (data == NULL)
        bail_out("no memory");
    size_t size = fread(data, 1, INPUT_BYTES_MAX, file);
    fclose(file);
    if (input_count == INPUTS_MAX)
        bail_out("more than %d inputs", INPUTS_MAX);
    uint8_t *fitted = realloc(data, size ? size : 1);
    inputs[input_count++] = (struct input){fitted ? fitted : data, size};
    return true;
}

/* A file, or the files of a directory and its folders in the order of their names. */
static bool load(const char *path)
{
    struct dirent **entries;
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    if (!S_ISDIR(st.st_mode))
        return load_file(path);
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        return false;
    for (int i = 0; i < n; i++) {
        char child[4096];
        int length = snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        bool hidden = entries[i]->d_name[0] == '.';
        free(entries[i]);
        if (!hidden && length < (int)sizeof child && !load(child))
            diag("cannot read %s", child);
    }
    free(entries);
    return true;
}

/* SplitMix64. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit == 0 ? 0 : (size_t)(next_random(state) % limit);
}

/* One change to the input in place; the buffer holds INPUT_BYTES_MAX bytes. Returns the new size.
 */
static size_t mutate(uint8_t *data, size_t size, uint64_t *state)
{
    static const uint8_t telling[] = {
        0,   1,    0x7f, 0x80, 0xff, '\r', '\n', ' ', ':', ';', ',', '=',
        '"', '\\', '%',  '&',  '/',  '.',  '{',  '}', '0', '9', '-', '+',
    };
    size_t at = below(state, size);
    size_t length = 1 + below(state, 16);
    switch (below(state, 6)) {
    case 0:
        if (size > 0)
            data[at] = (uint8_t)(data[at] ^ (1u << below(state, 8)));
        return size;
    case 1:
        if (size > 0)
            data[at] = telling[below(state, sizeof telling)];
        return size;
    case 2:
        return at; /* cut */
    case 3:        /* remove a piece */
        length = length < size - at ? length : size - at;
        memmove(data + at, data + at + length, size - at - length);
        return size - length;
    case 4: /* repeat a piece */
        length = length < size - at ? length : size - at;
        if (size + length > INPUT_BYTES_MAX)
            return size;
        memmove(data + at + length, data + at, size - at);
        return size + length;
    default: { /* a piece of another input over this one */
        const struct input *other = &inputs[below(state, input_count)];
        size_t from = below(state, other->size);
        length = below(state, other->size - from + 1);
        length = length < INPUT_BYTES_MAX - at ? length : INPUT_BYTES_MAX - at;
        if (length > 0)
            memcpy(data + at, other->data + from, length);
        return at + length > size ? at + length : size;
    }
    }
}

static long setting(const char *name, long otherwise)
{
    const char *value = getenv(name);
    return value == NULL ? otherwise : strtol(value, NULL, 10);
}

static void run_mutations(void)
{
    long count = setting("BECKET_FUZZ_MUTATIONS", MUTATIONS);
    time_t end = time(NULL) + setting("BECKET_FUZZ_SECONDS", SECONDS);
    uint64_t state = 1;
    long done = 0;
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    if (data == NULL)
        bail_out("no memory");
    for (; done < count && time(NULL) <= end; done++) {
        const struct input *base = &inputs[below(&state, input_count)];
        size_t size = base->size;
        memcpy(data, base->data, size);
        for (size_t i = 0, n = 1 + below(&state, 4); i < n; i++)
            size = mutate(data, size, &state);
        run_one(data, size);
    }
    free(data);
    ok(true, "%s: mutated inputs", target);
    printf("# %ld of them\n", done);
}

static void name_target(const char *program)
{
    const char *slash = strrchr(program, '/');
    snprintf(target, sizeof target, "%s", slash ? slash + 1 : program);
    char *suffix = strstr(target, "_replay");
    if (suffix != NULL)
        *suffix = '\0';
}

int main(int argc, char **argv)
{
    static const char *const homes[] = {"corpus", "regress"};
    name_target(argv[0]);
    catch_deaths();
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        ok(load(argv[i]), "%s can be read", argv[i]);
    for (size_t i = 0; argc == 1 && i < 2; i++) {
        const char *root = getenv("BECKET_ROOT");
        char path[512];
        snprintf(path, sizeof path, "%s/fuzz/%s/%s", root ? root : ".", homes[i], target);
        if (!load(path) && i == 0)
            diag("%s has no corpus (%s)", target, path);
    }
    size_t files = input_count;
    for (size_t i = 0; i < files; i++)
        run_one(inputs[i].data, inputs[i].size);
    ok(true, "%s: %zu files", target, files);
    run_one((const uint8_t *)"", 0);
    ok(true, "%s: no bytes at all", target);
    if (input_count == 0)
        inputs[input_count++] = (struct input){calloc(1, 16), 16};
    run_mutations();
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return done_testing();
}
