/* files.h - the documents that -f names: files, directories, standard input, as one text.
 *
 * Purpose     The server takes one stream of documents and answers with its line numbers; here they
 *             are put together, and lines found again in their files.
 * Limits      FILES_BYTES_MAX together, as the server takes them.
 */
#ifndef BECKET_CLI_FILES_H
#define BECKET_CLI_FILES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "cli/client.h"
#include "cli/option.h"

#define FILES_BYTES_MAX (8U << 20)

#define FILE_OPTION                                                                                \
    {                                                                                              \
        .name = "file", .letter = 'f', .kind = OPTION_TEXT, .flags = OPTION_LIST,                  \
        .argument = "FILE|DIR|-", .help = "documents, YAML or JSON; - is standard input"           \
    }

#define RECURSIVE_OPTION                                                                           \
    {                                                                                              \
        .name = "recursive", .letter = 'R', .kind = OPTION_FLAG,                                   \
        .help = "directories with all that is below them"                                          \
    }

struct file_part {
    const char *path;
    unsigned first_line; /* of `text`, from 1 */
};

struct files {
    bool recursive; /* look into folders of folders, too (set by files_read) */
    bool whole;     /* what is not read would be deleted: refuse folders that are not looked into */
    struct arena arena;
    struct buf text;
    struct file_part *parts;
    unsigned count;
    unsigned size;
};

void files_init(struct files *files);
void files_fini(struct files *files);
/* A file, a directory (its *.yaml, *.yml, *.json, by name; then its folders, where that is wanted;
 * else it is said that there are documents in one) or "-". False after an error was printed. */
bool files_add(struct files *files, const char *path);
/* Where a line of the text came from: "app.yaml:12". */
const char *files_place(struct files *files, unsigned line);

/* All that --file names; the table has RECURSIVE_OPTION, too. `whole`: see struct files. False
 * after an error was printed. */
bool files_read(struct files *files, const struct options *options, bool whole);
/* Prints why the server refused them, each mistake with its file and line. Gives the exit code. */
int files_invalid(struct files *files, const struct client_response *response);

/* A whole file, pipe or standard input ("-"), malloc'ed. False after an error was printed. */
bool file_or_stdin(const char *path, size_t bytes_max, char **ret_text, size_t *ret_bytes);

#endif
