/* pair.c: see pair.h. Descriptor 2 may be a client's socket: what is wrong is left in `complaint`. */
#include "pair.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define NUMBER_DIGITS 15           /* far from overflow, in bytes as in milliseconds */
#define UID_DIGITS 9
#define NOGROUP 65534
#define PASSWD_PATH "/etc/passwd"
#define BLANKS " \t\r\n"

enum kind { USER, PATH, COMMAND, NUMBER };

static const struct {
    const char *name;
    enum kind kind;
} clauses[CLAUSES] = {
    [USERID] = {"userid", USER},         [DIRECTORY] = {"directory", PATH},   [MAXBYTES] = {"maxbytes", NUMBER},
    [MAXRECIP] = {"maxrecip", NUMBER},   [TIMEOUT] = {"timeout", NUMBER},     [EXECUTABLE] = {"executable", PATH},
    [SENDMAIL] = {"sendmail", COMMAND},  [BADDIR] = {"baddir", PATH},         [WAKEUP] = {"wakeup", NUMBER},
};

char complaint[COMPLAINT_BYTES];

void complain(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(complaint, sizeof complaint, format, arguments);
    va_end(arguments);
}

void complain_of(const struct table *table, enum clause clause, const char *why)
{
    const struct setting *it = &table->of[clause];

    if (it->line == 0)
        complain("%s: %s: %s", NETPERM_PATH, clauses[clause].name, why);
    else
        complain("%s line %d: %s %.100s: %s", NETPERM_PATH, it->line, clauses[clause].name, it->text, why);
}

static bool is_number(const char *text, size_t most_digits)
{
    size_t digits = strspn(text, "0123456789");

    return digits > 0 && digits <= most_digits && text[digits] == 0;
}

/* The account by name or number. fgetpwent(3) reads the file and nothing else, so that a static program needs no
 * NSS modules; a user of another database is given by number, and gets the group of nobody. */
static const char *find_user(struct table *table, const char *text)
{
    bool numeric = is_number(text, UID_DIGITS), found = false;
    struct passwd *entry;
    FILE *file = fopen(PASSWD_PATH, "re");

    if (numeric) {
        table->uid = (uid_t)strtoul(text, NULL, 10);
        table->gid = NOGROUP;
    }
    while (file != NULL && !found && (entry = fgetpwent(file)) != NULL)
        if (numeric ? entry->pw_uid == table->uid : strcmp(entry->pw_name, text) == 0) {
            table->uid = entry->pw_uid;
            table->gid = entry->pw_gid;
            found = true;
        }
    if (file != NULL && fclose(file) != 0)
        return "cannot read " PASSWD_PATH;
    if (!found && !numeric)
        return "no such user in " PASSWD_PATH;
    return table->uid == 0 ? "give a user other than root" : NULL;
}

/* What is wrong with the value, or NULL. */
static const char *take_value(struct table *table, enum clause clause, const char *text)
{
    struct setting *it = &table->of[clause];
    enum kind kind = clauses[clause].kind;

    if (*text == 0)
        return "give a value";
    if (kind != COMMAND && text[strcspn(text, BLANKS)] != 0)
        return "give one word";
    if ((kind == PATH || kind == COMMAND) && *text != '/')
        return "give an absolute path";
    if (kind == USER)
        return find_user(table, text);
    if (kind == NUMBER) {
        if (!is_number(text, NUMBER_DIGITS) || strtoull(text, NULL, 10) == 0)
            return "give a whole number, 1 or more; leave the line out for the default";
        it->number = strtoull(text, NULL, 10);
    }
    return NULL;
}

/* Whether a list of names, blanks and commas between them, names the program or all programs. */
static bool names(const char *list, const char *program)
{
    size_t bytes;

    for (list += strspn(list, ", \t"); *list != 0; list += bytes, list += strspn(list, ", \t")) {
        bytes = strcspn(list, ", \t");
        if ((bytes == 1 && *list == '*') || (bytes == strlen(program) && memcmp(list, program, bytes) == 0))
            return true;
    }
    return false;
}

/* One line. The first that gives a clause is obeyed; a clause that nobody knows is logged and passed over. */
static int take_line(struct table *table, char *line, int number, const char *program)
{
    char *colon, *value, *clause = line + strspn(line, BLANKS);
    const char *wrong;
    size_t bytes;
    int which;

    for (bytes = strlen(line); bytes > 0 && strchr(BLANKS, line[bytes - 1]) != NULL; line[--bytes] = 0)
        ;
    if (*clause == 0 || *clause == '#')
        return 0;
    colon = strchr(line, ':');
    if (colon == NULL) {
        clause[strcspn(clause, BLANKS)] = 0;
        if (!names(clause, program))
            return 0;                            /* somebody else's line, whatever it means */
        complain("%s line %d: no colon behind %s", NETPERM_PATH, number, clause);
        return -1;
    }
    *colon = 0;
    if (!names(clause, program))
        return 0;
    clause = colon + 1 + strspn(colon + 1, BLANKS);
    value = clause + strcspn(clause, BLANKS);
    if (*value != 0)
        *value++ = 0;
    value += strspn(value, BLANKS);
    for (which = 0; which < CLAUSES && strcmp(clause, clauses[which].name) != 0; which++)
        ;
    if (which == CLAUSES)
        syslog(LOG_WARNING, "%s line %d: unknown clause %.40s passed over", NETPERM_PATH, number, clause);
    if (which == CLAUSES || table->of[which].line != 0)
        return 0;
    table->of[which].line = number;
    if (strlen(value) >= VALUE_BYTES)
        wrong = "too long";
    else {
        (void)strcpy(table->of[which].text, value);
        wrong = take_value(table, (enum clause)which, value);
    }
    if (wrong != NULL)
        complain_of(table, (enum clause)which, wrong);
    return wrong == NULL ? 0 : -1;
}

int read_table(struct table *table, const char *program)
{
    char line[LINE_BYTES];
    int number, done = 0;
    enum clause clause;
    FILE *file = fopen(NETPERM_PATH, "re");

    memset(table, 0, sizeof *table);
    for (clause = 0; clause < CLAUSES; clause++)
        table->of[clause].number = NO_LIMIT;
    if (file == NULL) {
        complain("%s: %s", NETPERM_PATH, strerror(errno));
        return -1;
    }
    for (number = 1; done == 0 && fgets(line, sizeof line, file) != NULL; number++) {
        if (strchr(line, '\n') == NULL && strlen(line) == sizeof line - 1) {
            complain("%s line %d: longer than %d bytes", NETPERM_PATH, number, LINE_BYTES - 1);
            done = -1;
        } else
            done = take_line(table, line, number, program);
    }
    if (done == 0 && ferror(file)) {
        complain("%s: %s", NETPERM_PATH, strerror(errno));
        done = -1;
    }
    if (fclose(file) != 0 && done == 0) {
        complain("%s: %s", NETPERM_PATH, strerror(errno));
        done = -1;
    }
    for (clause = USERID; done == 0 && clause <= DIRECTORY; clause++)
        if (table->of[clause].line == 0) {
            complain_of(table, clause, "the line is missing");
            done = -1;
        }
    return done;
}

int become_user(const struct table *table)
{
    uid_t real, effective, saved;

    if (getresuid(&real, &effective, &saved) == 0 && real == table->uid && effective == real && saved == real)
        return 0;                                /* started as that user: there is nothing to give up */
    if (setgroups(1, &table->gid) == 0 && setresgid(table->gid, table->gid, table->gid) == 0 &&
        setresuid(table->uid, table->uid, table->uid) == 0)
        return 0;
    complain_of(table, USERID, strerror(errno));
    return -1;
}

int lock_file(int fd)
{
#ifdef LOCK_FCNTL
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_SETLK, &whole);
#else
    return flock(fd, LOCK_EX | LOCK_NB);
#endif
}

int open_file(const char *path, int flags)
{
    int fd;

    do
        fd = open(path, flags | O_CLOEXEC, PARTIAL);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int sync_directory(const char *path)
{
    int fd = open_file(path, O_RDONLY | O_DIRECTORY), done;

    if (fd < 0)
        return -1;
    done = fsync(fd);
    return close(fd) == 0 ? done : -1;
}
