/* key: the master key of the secrets, and the key of tokens for providers. */
#include "cli/commands.h"

#include "cli/remote.h"

#include <time.h>
#include <yyjson.h>

#define ASK_AGAIN_MS 200

const struct option cli_key_options[] = {
    {.name = "oidc",
     .kind = OPTION_FLAG,
     .help = "rotate: the key that tokens for providers are signed with"},
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

/* What happens when; nobody has to do anything meanwhile. */
static void say_oidc(uint64_t signs_in_seconds)
{
    char from[32];
    time_t at = time(NULL) + (time_t)signs_in_seconds;
    struct tm local;
    if (signs_in_seconds == 0) {
        puts("made the first key; it is published and signs from now on");
        return;
    }
    from[strftime(from, sizeof from, "%H:%M:%S", localtime_r(&at, &local))] = '\0';
    printf("made a new key; it is published now and signs from %s on (in %llu minutes)\n"
           "the key before signs until then, and stays published for a day after it\n",
           from, (unsigned long long)(signs_in_seconds / 60));
}

static int rotate_oidc(struct remote *remote, const struct options *options)
{
    struct client_response response = {0};
    struct json_tree tree;
    enum print_format format = print_format(option_text(options, "output"));
    int code = CLI_FAILED;
    json_tree_init(&tree);
    if (remote_call(remote, "POST", "/api/v1/oidc/rotate", NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            say_oidc(yyjson_mut_get_uint(value_at(tree.roots[0], "signsInSeconds")));
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return code;
}

/* ---- the master key */

struct master {
    char id[16], before[16], place[16], since[32], warning[512], trouble[128];
    bool sealing;
    uint64_t sealed, looked, of;
};

static void keep(yyjson_mut_val *object, const char *name, char *to, size_t size)
{
    struct buf safe;
    buf_init(&safe, 4096);
    print_safe(&safe, text_at(object, name), false);
    slice_keep(buf_slice(&safe), to, size);
    buf_fini(&safe);
}

static void read_master(yyjson_mut_val *object, struct master *ret_master)
{
    keep(object, "id", ret_master->id, sizeof ret_master->id);
    keep(object, "place", ret_master->place, sizeof ret_master->place);
    keep(object, "since", ret_master->since, sizeof ret_master->since);
    keep(object, "trouble", ret_master->trouble, sizeof ret_master->trouble);
    ret_master->sealing = yyjson_mut_get_bool(value_at(object, "sealing"));
    ret_master->sealed = yyjson_mut_get_uint(value_at(object, "sealed"));
    ret_master->looked = yyjson_mut_get_uint(value_at(object, "looked"));
    ret_master->of = yyjson_mut_get_uint(value_at(object, "of"));
}

static bool ask(struct remote *remote, const char *method, const char *target,
                struct json_tree *tree)
{
    struct client_response response = {0};
    bool good = remote_call(remote, method, target, NULL, SLICE_EMPTY, &response) &&
                remote_json(&response, tree);
    client_response_fini(&response);
    return good;
}

static void print_master(const struct master *master)
{
    static const char *const words[][2] = {
        {"data", "master.key of the data directory"},
        {"file", "the file of BECKET_MASTER_KEY_FILE"},
        {"environment", "BECKET_MASTER_KEY"},
    };
    const char *place = "";
    char since[32] = "-";
    for (unsigned i = 0; i < 3; i++) {
        place = strcmp(words[i][0], master->place) == 0 ? words[i][1] : place;
    }
    if (master->since[0] != '\0') {
        print_time(slice_str(master->since), since);
    }
    printf("master key %s, from %s, since %s\n", master->id, place, since);
    if (master->sealing) {
        printf("secrets are being sealed anew after its change: %llu of about %llu looked at\n",
               (unsigned long long)master->looked, (unsigned long long)master->of);
        if (master->trouble[0] != '\0') {
            printf("it does not go on now: %s\n", master->trouble);
        }
    } else {
        puts("all secrets are sealed under it");
    }
}

static int show(struct remote *remote, enum print_format format)
{
    struct json_tree tree;
    struct master master = {.id = ""};
    json_tree_init(&tree);
    bool good = ask(remote, "GET", "/api/v1/master-key", &tree);
    if (good && format != PRINT_TABLE) {
        print_value(tree.roots[0], format);
    } else if (good) {
        read_master(tree.roots[0], &master);
        print_master(&master);
    }
    json_tree_fini(&tree);
    return good ? CLI_DONE : CLI_FAILED;
}

/* The server goes on by itself; who waits sees how far it is. */
static bool wait_until_sealed(struct remote *remote, struct master *master)
{
    while (master->sealing && master->trouble[0] == '\0') {
        struct json_tree tree;
        const struct timespec pause = {.tv_nsec = ASK_AGAIN_MS * 1000000L};
        if (master->of > 0) {
            remote_progress("sealing anew: %llu of about %llu", (unsigned long long)master->looked,
                            (unsigned long long)master->of);
        }
        nanosleep(&pause, NULL);
        json_tree_init(&tree);
        bool good = ask(remote, "GET", "/api/v1/master-key", &tree);
        if (good) {
            read_master(tree.roots[0], master);
        }
        json_tree_fini(&tree);
        if (!good) {
            return false;
        }
    }
    remote_progress(NULL);
    return true;
}

static void say_rotated(const struct master *master, enum print_format format)
{
    if (format == PRINT_TABLE) {
        printf("the master key is a new one (%s) and lies in master.key of the data directory\n",
               master->id);
        if (master->warning[0] == '\0') {
            printf("the one before (%s) was overwritten and is gone\n", master->before);
        }
        printf("%llu records were sealed anew\n"
               "backups of before open with the master.key that is in them; make a new backup\n",
               (unsigned long long)master->sealed);
    }
}

static int rotate(struct remote *remote, enum print_format format)
{
    struct json_tree tree;
    struct master master = {.id = ""};
    json_tree_init(&tree);
    bool good = ask(remote, "POST", "/api/v1/master-key/rotate", &tree);
    if (good) {
        read_master(tree.roots[0], &master);
        keep(tree.roots[0], "before", master.before, sizeof master.before);
        keep(tree.roots[0], "warning", master.warning, sizeof master.warning);
    }
    json_tree_fini(&tree);
    if (!good) {
        return CLI_FAILED;
    }
    bool known = wait_until_sealed(remote, &master);
    if (known && master.sealing) {
        return cli_error("the master key is a new one (%s), but secrets cannot be sealed anew now: "
                         "%s; the server goes on by itself, `becket key show` tells how far it is",
                         master.id, master.trouble);
    }
    if (!known) {
        return cli_error("the master key is a new one (%s), but it is not known whether all "
                         "secrets are sealed under it; `becket key show` tells",
                         master.id);
    }
    if (format != PRINT_TABLE && show(remote, format) != CLI_DONE) {
        return CLI_FAILED;
    }
    say_rotated(&master, format);
    return master.warning[0] == '\0'
               ? CLI_DONE
               : cli_error("the one before (%s) is still on the disk, and the next start removes "
                           "it: %s",
                           master.before, master.warning);
}

int cli_key(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    int code;
    if (!cli_begin(&options, cli_key_options, argc, argv, &code)) {
        return code;
    }
    const char *verb = options.argument_count == 1 ? options.arguments[0] : "";
    bool shows = strcmp(verb, "show") == 0, oidc = option_flag(&options, "oidc");
    if ((!shows && strcmp(verb, "rotate") != 0) || (shows && oidc)) {
        code = cli_usage("key takes: rotate, rotate --oidc, or show");
    } else {
        enum print_format format = print_format(option_text(&options, "output"));
        code = CLI_FAILED;
        if (remote_open(&remote, &options)) {
            code = shows  ? show(&remote, format)
                   : oidc ? rotate_oidc(&remote, &options)
                          : rotate(&remote, format);
        }
        remote_fini(&remote);
    }
    options_fini(&options);
    return code;
}
