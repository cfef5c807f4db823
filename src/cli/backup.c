/* backup, restore: a data directory, whole, to another place. Off line: they read the files
 * themselves, beside a server that runs. */
#include "cli/commands.h"

#include "base/ct.h"
#include "cli/remote.h"
#include "hub/data_key.h"
#include "journal/copy.h"
#include "ring/file.h"
#include "store/store.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKUP_PATH_BYTES   1024U
#define SMALL_FILE_BYTES    65536U
#define STATE_PART          "state.part" /* its final name says that all is there */

#define BACKUP_OPTIONS(what)                                                                       \
    {.name = "data",                                                                               \
     .letter = 'd',                                                                                \
     .kind = OPTION_TEXT,                                                                          \
     .flags = OPTION_ENV,                                                                          \
     .argument = "DIR",                                                                            \
     .fallback = "./becket-data",                                                                  \
     .help = what},                                                                                \
    OPTIONS_END

const struct option cli_backup_options[] = {BACKUP_OPTIONS("data directory to copy")};
const struct option cli_restore_options[] = {
    BACKUP_OPTIONS("data directory to make; it must be empty or not there")};

struct path {
    char text[BACKUP_PATH_BYTES];
};

static struct path path_in(const char *directory, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", directory, name);
    return path;
}

static bool is_there(const char *path)
{
    unsigned mode = 0;
    return file_mode(path, &mode) == BK_OK;
}

static void count_entry(const char *name, void *context)
{
    size_t *count = context;
    *count += strcmp(name, "lost+found") != 0;
}

static int make_target(const char *to)
{
    size_t entries = 0;
    enum bk_err err = directory_make(to);
    if (err == BK_OK) {
        err = directory_list(to, count_entry, &entries);
    }
    if (err != BK_OK) {
        return cli_error("cannot make %s: %s", to, bk_err_text(err));
    }
    return entries == 0 ? CLI_DONE
                        : cli_error("%s is not empty; name a directory that is new or empty", to);
}

/* ---- state and master key: a server may exchange the key meanwhile */

#define KEYS_SEEN_MAX 4U
#define STATE_TRIES   5U

struct keys_seen {
    bool sealed; /* there is a key to fit to */
    uint8_t wrapped[DATA_KEY_WRAPPED_BYTES];
    unsigned count;
    uint8_t at[KEYS_SEEN_MAX][MASTER_KEY_BYTES];
};

/* The next one first: when it has taken the other's place in between, that one is read. */
static void see_keys(const char *from, struct keys_seen *seen)
{
    static const char *const names[] = {MASTER_KEY_FILE_NEXT, MASTER_KEY_FILE};
    char why[MASTER_KEY_WHY_BYTES];
    for (unsigned i = 0; i < 2; i++) {
        struct path path = path_in(from, names[i]);
        seen->count += master_key_read(path.text, seen->at[seen->count], why) == BK_OK;
    }
}

/* One state, and all keys that were there before and after it was copied. */
static enum bk_err copy_once(struct store *store, const char *from, const char *part,
                             struct keys_seen *ret_seen)
{
    uint8_t before[DATA_KEY_WRAPPED_BYTES];
    *ret_seen = (struct keys_seen){.count = 0};
    see_keys(from, ret_seen);
    enum bk_err err = data_key_wrapped(store, before);
    ret_seen->sealed = err == BK_OK;
    if (err == BK_OK || err == BK_NOT_FOUND) {
        err = store_copy(store, part);
    }
    if (err == BK_OK && ret_seen->sealed) {
        err = data_key_wrapped(store, ret_seen->wrapped);
    }
    if (err == BK_OK && ret_seen->sealed &&
        memcmp(before, ret_seen->wrapped, sizeof before) != 0) {
        return BK_AGAIN;
    }
    see_keys(from, ret_seen);
    return err;
}

static int copy_state(const char *from, const char *to, struct keys_seen *ret_seen)
{
    char why[STORE_WHY_BYTES];
    struct store *store = NULL;
    struct path part = path_in(to, STATE_PART), file = path_in(to, STATE_PART "/data.mdb");
    if (store_open(from, &(struct store_options){.shared = true}, &store, why) != BK_OK) {
        return cli_error("%s", why);
    }
    enum bk_err err = directory_make(part.text);
    if (err == BK_OK) {
        err = copy_once(store, from, part.text, ret_seen);
    }
    for (unsigned i = 1; err == BK_AGAIN && i < STATE_TRIES; i++) {
        err = file_unlink(file.text);
        err = err == BK_OK ? copy_once(store, from, part.text, ret_seen) : err;
    }
    store_close(store);
    return err == BK_OK      ? CLI_DONE
           : err == BK_AGAIN ? cli_error("the master key was changed again and again meanwhile")
                             : cli_error("cannot write %s: %s", part.text, bk_err_text(err));
}

/* The one that opens the copy. None: it is elsewhere. */
static int copy_key(const char *from, const char *to, const struct keys_seen *seen)
{
    char why[MASTER_KEY_WHY_BYTES];
    struct path target = path_in(to, MASTER_KEY_FILE);
    for (unsigned i = 0; i < seen->count; i++) {
        if (!seen->sealed || data_key_fits(seen->wrapped, seen->at[i])) {
            return master_key_write(target.text, seen->at[i], why) == BK_OK ? CLI_DONE
                                                                           : cli_error("%s", why);
        }
    }
    if (seen->count > 0) {
        fprintf(stderr,
                "becket: %s/master.key does not open the secrets in it and was not copied\n",
                from);
    }
    return CLI_DONE;
}

static void print_problem(const struct check_problem *problem, void *context)
{
    (void)context;
    cli_error("%s at %llu: %s (%s)", problem->path, (unsigned long long)problem->offset,
              problem->what, bk_err_text(problem->err));
}

static int copy_journal(const char *from, const char *to, enum copy_space space,
                        struct check_totals *ret_totals)
{
    struct path source = path_in(from, "journal");
    struct path target = path_in(to, "journal");
    enum bk_err err = directory_make(target.text);
    if (err == BK_OK && is_there(source.text)) {
        err = journal_copy(source.text, target.text, space, print_problem, NULL, ret_totals);
    }
    return err == BK_OK ? CLI_DONE
                        : cli_error("cannot copy %s to %s: %s", source.text, target.text,
                                    bk_err_text(err));
}

static int copy_small_file(const char *from, const char *to, const char *name)
{
    struct path source = path_in(from, name);
    struct path target = path_in(to, name);
    char *text = NULL;
    size_t bytes = 0;
    enum bk_err err = file_read_all(source.text, SMALL_FILE_BYTES, &text, &bytes);
    if (err == BK_NOT_FOUND) {
        return CLI_DONE;
    }
    if (err != BK_OK) {
        return cli_error("cannot read %s: %s", source.text, bk_err_text(err));
    }
    err = file_replace(target.text, text, bytes);
    bk_wipe(text, bytes);
    free(text);
    return err == BK_OK ? CLI_DONE
                        : cli_error("cannot write %s: %s", target.text, bk_err_text(err));
}

/* In what it copies, each would copy the ones before it. Both are there. */
static bool is_inside(const char *to, const char *from)
{
    char *directory = realpath(from, NULL);
    char *place = realpath(to, NULL);
    size_t bytes = directory ? strlen(directory) : 0;
    bool inside =
        directory && place && strncmp(place, directory, bytes) == 0 && place[bytes] == '/';
    free(directory);
    free(place);
    return inside;
}

/* The store first (journal/copy.h says why), its name last: what was cut off in between is seen. */
static int copy_all(const char *from, const char *to, enum copy_space space,
                    struct check_totals *ret_totals)
{
    struct path part = path_in(to, STATE_PART);
    struct path state = path_in(to, "state");
    struct keys_seen seen = {.count = 0};
    int code = make_target(to);
    if (code == CLI_DONE && is_inside(to, from)) {
        rmdir(to);
        return cli_error("%s is inside of %s; name a directory elsewhere", to, from);
    }
    code = code == CLI_DONE ? copy_state(from, to, &seen) : code;
    code = code == CLI_DONE ? copy_journal(from, to, space, ret_totals) : code;
    code = code == CLI_DONE ? copy_key(from, to, &seen) : code;
    bk_wipe(&seen, sizeof seen);
    code = code == CLI_DONE ? copy_small_file(from, to, "admin.token") : code;
    if (code != CLI_DONE) {
        return code;
    }
    enum bk_err err = file_rename(part.text, state.text);
    if (err == BK_OK) {
        err = directory_sync(to);
    }
    return err == BK_OK ? CLI_DONE
                        : cli_error("cannot write %s: %s", state.text, bk_err_text(err));
}

static int tell(const char *from, const char *to, bool restore, const struct check_totals *totals)
{
    printf("%s %s to %s: %llu events, %llu rejected, %llu attempts\n",
           restore ? "restored" : "copied", from, to, (unsigned long long)totals->accepted,
           (unsigned long long)totals->rejected, (unsigned long long)totals->attempts);
    if (!is_there(path_in(to, MASTER_KEY_FILE).text)) {
        printf("the master key is not in it: keep BECKET_MASTER_KEY, or its file, elsewhere\n");
    } else if (!restore) {
        printf("the master key is in it: keep it as secret as the server\n");
    }
    if (restore) {
        printf("start it in the place of the server that it comes from: becket serve --data %s\n"
               "(beside that one it would deliver again what is owed, and lead hooks at providers "
               "to its own --public-url)\n",
               to);
    }
    return totals->problems == 0
               ? CLI_DONE
               : cli_error("%llu problems in the journal; what is damaged was copied as it is",
                           (unsigned long long)totals->problems);
}

static bool has_state(const char *from, bool restore)
{
    struct path state = path_in(from, "state/data.mdb");
    unsigned mode = 0;
    enum bk_err err = file_mode(state.text, &mode);
    if (err != BK_OK && err != BK_NOT_FOUND) {
        cli_error("cannot read %s: %s", state.text, bk_err_text(err));
    } else if (err != BK_OK && restore) {
        cli_error("%s is not a backup, or one that was not finished: it has no state", from);
    } else if (err != BK_OK) {
        cli_error("%s is not a data directory: it has no state; --data names it", from);
    }
    return err == BK_OK;
}

static int run(int argc, char **argv, bool restore)
{
    struct options options;
    struct check_totals totals = {0};
    int code;
    if (!cli_begin(&options, restore ? cli_restore_options : cli_backup_options, argc, argv,
                   &code)) {
        return code;
    }
    const char *data = option_text(&options, "data");
    const char *backup = options.argument_count == 1 ? options.arguments[0] : "";
    const char *from = restore ? backup : data;
    const char *to = restore ? data : backup;
    if (options.argument_count != 1) {
        code = restore ? cli_usage("restore takes the directory of a backup: becket restore "
                                   "/backup/becket --data /var/lib/becket")
                       : cli_usage("backup takes a new directory: becket backup /backup/becket "
                                   "--data /var/lib/becket");
    } else if (strlen(from) > BACKUP_PATH_BYTES / 2 || strlen(to) > BACKUP_PATH_BYTES / 2) {
        code = cli_usage("a path may have at most %u bytes", BACKUP_PATH_BYTES / 2);
    } else if (!has_state(from, restore)) {
        code = CLI_FAILED;
    } else {
        umask(077); /* LMDB would let others read its copy */
        code = copy_all(from, to, restore ? COPY_WRITTEN : COPY_SPARSE, &totals);
        code = code == CLI_DONE ? tell(from, to, restore, &totals) : code;
    }
    options_fini(&options);
    return code;
}

int cli_backup(int argc, char **argv)
{
    return run(argc, argv, false);
}

int cli_restore(int argc, char **argv)
{
    return run(argc, argv, true);
}
