/* Description: blocking files: direct and buffered, whole replacement, locks, directories, errors.
 */
#include "ring/file.h"
#include "directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[256];

static const char *at(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, 512, "%s/%s", directory, name);
    return path;
}

static void test_open(void)
{
    int file = -1;
    int other = -1;
    is_int(file_open(at("a"), FILE_READ, &file), BK_NOT_FOUND);
    is_int(file_open(at("a"), FILE_READ | FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &file), BK_OK);
    is_int(file_open(at("a"), FILE_WRITE | FILE_CREATE | FILE_EXCLUSIVE, &other), BK_EXISTS);
    unsigned mode = 0;
    is_int(file_mode(at("a"), &mode), BK_OK);
    is_uint(mode, 0600);
    ok((fcntl(file, F_GETFD) & FD_CLOEXEC) != 0, "closed in children");
    is_int(file_write(file, "hello world", 11, 3), BK_OK);
    char text[32] = {0};
    size_t bytes = 0;
    is_int(file_read(file, text, sizeof text, 0, &bytes), BK_OK);
    is_uint(bytes, 14, "short only at the end");
    is_mem(text, "\0\0\0hello world", 14);
    is_int(file_read(file, text, sizeof text, 100, &bytes), BK_OK);
    is_uint(bytes, 0);
    uint64_t size = 0;
    is_int(file_bytes(file, &size), BK_OK);
    is_uint(size, 14);
    is_int(file_sync(file), BK_OK);
    is_int(file_truncate(file, 5), BK_OK);
    is_int(file_bytes(file, &size), BK_OK);
    is_uint(size, 5);
    file_close(file);
    is_int(file_open(at("a"), FILE_WRITE | FILE_TRUNCATE, &file), BK_OK);
    is_int(file_bytes(file, &size), BK_OK);
    is_uint(size, 0);
    file_close(file);
    is_int(file_rename(at("a"), at("b")), BK_OK);
    is_int(file_rename(at("a"), at("b")), BK_NOT_FOUND);
    is_int(file_unlink(at("b")), BK_OK);
    is_int(file_unlink(at("b")), BK_NOT_FOUND);
}

static void test_direct(void)
{
    int file = -1;
    uint8_t *block = aligned_alloc(4096, 8192);
    uint8_t *back = aligned_alloc(4096, 8192);
    size_t bytes = 0;
    memset(block, 0x5a, 8192);
    is_int(file_open(at("d"), FILE_READ | FILE_WRITE | FILE_CREATE | FILE_DIRECT, &file), BK_OK);
    is_int(file_allocate(file, 1 << 20), BK_OK);
    enum bk_err err = file_zero(file, 0, 1 << 20);
    ok(err == BK_OK || err == BK_UNSUPPORTED, "write zeroes: %s", bk_err_name(err));
    is_int(file_read(file, back, 8192, 65536, &bytes), BK_OK);
    ok(bytes == 8192 && back[0] == 0 && back[8191] == 0, "allocated blocks read as zeros");
    is_int(file_write(file, block, 8192, 4096), BK_OK);
    is_int(file_read(file, back, 8192, 4096, &bytes), BK_OK);
    is_bytes(back, bytes, block, 8192);
    is_int(file_truncate(file, 4096 + 100), BK_OK);
    is_int(file_read(file, back, 8192, 4096, &bytes), BK_OK);
    is_uint(bytes, 100, "a direct read stops at the end, too");
    file_close(file);
    is_int(file_unlink(at("d")), BK_OK);
    free(block);
    free(back);
}

static void test_whole(void)
{
    char *text = NULL;
    size_t bytes = 0;
    is_int(file_read_all(at("w"), 100, &text, &bytes), BK_NOT_FOUND);
    is_int(file_replace(at("w"), "one", 3), BK_OK);
    is_int(file_replace(at("w"), "second", 6), BK_OK);
    is_int(file_read_all(at("w"), 5, &text, &bytes), BK_TOO_LARGE);
    is_int(file_read_all(at("w"), 6, &text, &bytes), BK_OK);
    is_str(text, "second");
    is_uint(bytes, 6);
    free(text);
    unsigned mode = 0;
    is_int(file_mode(at("w"), &mode), BK_OK);
    is_uint(mode, 0600);
    ok(access(at("w.new"), F_OK) != 0, "no temporary file is left");
    is_int(file_replace(at("none/w"), "x", 1), BK_NOT_FOUND);
    FILE *left = fopen(at("w.new"), "w");
    ok(left && fputs("longer than what comes", left) >= 0 && fclose(left) == 0 &&
       chmod(at("w.new"), 0644) == 0);
    is_int(file_replace(at("w"), "third", 5), BK_OK, "one that a crash left is in nobody's way");
    is_int(file_mode(at("w"), &mode), BK_OK);
    is_uint(mode, 0600, "and gives nobody its mode");
    is_int(file_replace(at("w"), "", 0), BK_OK, "an empty file");
    is_int(file_read_all(at("w"), 6, &text, &bytes), BK_OK);
    is_str(text, "");
    free(text);
    is_int(file_unlink(at("w")), BK_OK);
}

static void test_lock(void)
{
    int one = -1;
    int two = -1;
    is_int(file_open(at("l"), FILE_WRITE | FILE_CREATE, &one), BK_OK);
    is_int(file_open(at("l"), FILE_WRITE, &two), BK_OK);
    is_int(file_lock(one), BK_OK);
    is_int(file_lock(two), BK_BUSY, "another one has it");
    file_close(one);
    is_int(file_lock(two), BK_OK, "until it is closed");
    file_close(two);
    is_int(file_unlink(at("l")), BK_OK);
}

static void count_entry(const char *name, void *context)
{
    unsigned *count = context;
    *count += strcmp(name, "x") == 0 ? 1 : 100;
}

static void test_directories(void)
{
    unsigned count = 0;
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    unsigned mode = 0;
    is_int(directory_make(at("sub")), BK_OK);
    is_int(directory_make(at("sub")), BK_OK, "again");
    is_int(file_mode(at("sub"), &mode), BK_OK);
    is_uint(mode, 0700);
    is_int(directory_make(at("no/sub")), BK_NOT_FOUND);
    is_int(file_replace(at("sub/x"), "x", 1), BK_OK);
    is_int(directory_make(at("sub/x")), BK_EXISTS, "a file is in the way");
    is_int(directory_list(at("sub"), count_entry, &count), BK_OK);
    is_uint(count, 1, "only what is in it");
    is_int(directory_list(at("no"), count_entry, &count), BK_NOT_FOUND);
    is_int(directory_sync(at("sub")), BK_OK);
    is_int(directory_sync(at("no")), BK_NOT_FOUND);
    is_int(file_system_space(at("sub"), &free_bytes, &total_bytes), BK_OK);
    ok(total_bytes > 0 && free_bytes <= total_bytes);
    is_int(file_system_space(at("no"), &free_bytes, &total_bytes), BK_NOT_FOUND);
    is_int(file_unlink(at("sub/x")), BK_OK);
    rmdir(at("sub"));
}

static void test_full(void)
{
    int file = -1;
    if (file_open("/dev/full", FILE_WRITE, &file) != BK_OK) {
        skip("no /dev/full");
        return;
    }
    is_int(file_write(file, "x", 1, 0), BK_NO_SPACE, "a full disk");
    file_close(file);
}

int main(void)
{
    test_directory(directory, sizeof directory, true);
    test_open();
    test_direct();
    test_whole();
    test_lock();
    test_directories();
    test_full();
    rmdir(directory);
    return done_testing();
}
