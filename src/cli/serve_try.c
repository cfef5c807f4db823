/* serve_try.c - what is printed with --quick-start. */
#include "cli/serve.h"

#include "base/ct.h"
#include "base/log.h"
#include "hub/resources/quickstart.h"

#include <stdio.h>
#include <unistd.h>

/* How to call this very program: by its path, from where we are. */
static const char *name_program(char ret_program[4096])
{
    char directory[4096];
    ssize_t bytes = readlink("/proc/self/exe", ret_program, 4095);
    ret_program[bytes > 0 ? bytes : 0] = 0;
    size_t prefix = getcwd(directory, sizeof directory) ? strlen(directory) : 0;
    bool below = bytes > 0 && prefix && strncmp(ret_program, directory, prefix) == 0 &&
                 ret_program[prefix] == '/';
    if (!below) {
        return bytes > 0 ? ret_program : "becket";
    }
    /* "./becket": a name without a slash would be looked for in PATH. */
    char *name = ret_program + prefix + 1;
    if (strchr(name, '/') == NULL) {
        *--name = '/';
        *--name = '.';
    }
    return name;
}

/* As a shell reads it as one word. */
static void add_word(struct buf *text, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:[]";
    if (word[strspn(word, plain)] == '\0') {
        buf_add_str(text, word);
        return;
    }
    buf_add_byte(text, '\'');
    for (; *word != '\0'; word++) {
        if (*word == '\'') {
            buf_add_str(text, "'\\'");
        }
        buf_add_byte(text, (uint8_t)*word);
    }
    buf_add_byte(text, '\'');
}

/* Two commands. secret: NULL = it is not shown again, so the first one asks for it. */
static void print_try(const struct serve *serve, const char *secret)
{
    char program[4096];
    struct buf text, server, name_text;
    buf_init(&text, 64U << 10);
    buf_init(&server, 16U << 10);
    buf_init(&name_text, 16U << 10);
    add_word(&name_text, name_program(program));
    const char *name = buf_text(&name_text);
    buf_add_str(&server, "--data ");
    add_word(&server, serve->control.data_directory);
    buf_printf(&server, " --server %s://%s", serve->control.admin_tls ? "https" : "http",
               serve->admin_text);
    /* The public URL may be a proxy's that is not there yet; a certificate has its names. */
    buf_printf(&text,
               "\nTry it in a second terminal:\n\n"
               "  echo '{\"hello\":\"world\"}' | %s send %s%s/hooks/%s --type %s --secret ",
               name, serve->control.tls ? "" : "http://",
               serve->control.tls ? serve->public_url : serve->listen_text, QUICKSTART_NAME,
               QUICKSTART_TYPE);
    if (secret) {
        buf_add_str(&text, secret);
    } else {
        buf_printf(&text, "\"$(%s secrets event-source %s %s)\"", name, QUICKSTART_NAME,
                   buf_text(&server));
    }
    /* --since: whoever sends first and looks then shall see it all the same. */
    buf_printf(&text, " --body -\n  %s events --follow --since 1h %s\n\n", name, buf_text(&server));
    fputs(buf_text(&text), stdout);
    fflush(stdout);
    bk_wipe(text.at, text.bytes);
    buf_fini(&text);
    buf_fini(&server);
    buf_fini(&name_text);
}

void serve_print_try(struct serve *serve, struct control *control)
{
    struct quickstart quickstart;
    char why[HUB_WHY_BYTES];
    uint64_t number;
    struct hub *hub = control_hub(control);
    enum bk_err err = quickstart_apply(hub, control_wall_ns(control), &quickstart, why);
    if (err == BK_OK) {
        print_try(serve, quickstart.secret);
        explicit_bzero(&quickstart, sizeof quickstart);
    } else if (err == BK_EXISTS && hub_number(hub, RESOURCE_EVENT_SOURCE, SLICE_EMPTY,
                                              SLICE(QUICKSTART_NAME), &number) == BK_OK) {
        print_try(serve, NULL);
    } else if (err != BK_EXISTS) { /* else its source was deleted: it has served its purpose */
        log_event(LOG_WARN, "quick start failed", LOG_Z("why", why));
    }
}
