/* smapd: scans the spool directory, and has a copy of itself deliver each whole message.
 *
 * Without an argument it is the daemon, which only looks, forks and waits. With one it is a copy: it locks the message of
 * that name, runs the mailer, and removes the message, keeps it, or moves it to baddir. */
#include "pair.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define COPIES 20                    /* deliveries at a time */
#define WAKEUP_S 60
#define WAKEUP_MAX_S 1000000000      /* 30 years; time_t has room for it */
#define MAILER_S 3600                /* after this a mailer is killed and the message kept */
#define SENDMAIL_PATH "/usr/sbin/sendmail"
#define SENDMAIL_WORDS 16            /* of the sendmail clause */
#define RUN_RECIPIENTS 4096          /* of one run of the mailer, if its argument list has room for them */
#define RUN_BYTES_SHARE 2            /* an argument list may take one part in so many of ARG_MAX */
#define LOGGED_BYTES 64
#define MODE_BITS 07777
#define DELIVERED_ALREADY 01755      /* of a message that is delivered and could not be removed */
#define NEW_NAMES 100                /* that are tried where the name is taken in baddir */

static struct table table;
static sigset_t awaited, none;       /* what is blocked here and waited for; and what the programs we start get */

static pid_t wait_again(pid_t pid, int *status, int flags)
{
    pid_t found;

    do
        found = waitpid(pid, status, flags);
    while (found < 0 && errno == EINTR);
    return found;
}

/* What a copy does */

static struct {
    int fd;
    const char *name, *sender, *recipients;    /* the first RCPT line's address; each ends with NUL */
    char shown[NAME_MAX + 1];                  /* the name for the log */
    size_t count;
    off_t body;
    struct stat entry;
} message;

enum fate { DELIVERED, KEPT, ASIDE };

static bool is_for_us(const struct stat *entry)
{
    mode_t mode = entry->st_mode & MODE_BITS;

    return S_ISREG(entry->st_mode) && (mode == WHOLE || mode == DELIVERED_ALREADY);
}

static void make_printable(char shown[NAME_MAX + 1], const char *name)
{
    size_t at;

    for (at = 0; at < NAME_MAX && name[at] != 0; at++)
        shown[at] = name[at] > ' ' && name[at] <= '~' ? name[at] : '?';
    shown[at] = 0;
}

/* The address in a heading line that begins with `word`, made a string; NULL where it is none. *at moves behind it. */
static const char *take_address(char **at, const char *end, const char *word)
{
    size_t bytes = strlen(word), room = (size_t)(end - *at);
    char *address = *at + bytes, *c;

    if (room <= bytes || memcmp(*at, word, bytes) != 0)
        return NULL;
    for (c = address; c < end && c - address <= ADDRESS_BYTES && *c > ' ' && *c <= '~'; c++)
        ;
    if (c == end || *c != '\n')
        return NULL;
    *c = 0;
    *at = c + 1;
    return address;
}

/* Map the file for ourselves alone, so that lines become strings where they are. False: no heading that can be read. */
static bool read_heading(void)
{
    const size_t mark = strlen(HEADING_BODY), bytes = (size_t)message.entry.st_size;
    const char *end, *address;
    char *start, *at;

    if (bytes == 0)
        return false;
    start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, message.fd, 0);
    if (start == MAP_FAILED) {
        syslog(LOG_ERR, "error file=%s reason=\"mmap: %m\"", message.shown);
        exit(EX_OSERR);
    }
    at = start;
    end = start + bytes;
    message.sender = take_address(&at, end, HEADING_FROM);
    if (message.sender == NULL)
        return false;
    message.recipients = at + strlen(HEADING_RCPT);
    for (; (address = take_address(&at, end, HEADING_RCPT)) != NULL; message.count++)
        if (*address == 0 || *address == '-')    /* smap takes none that a mailer could take for an option */
            return false;
    message.body = at - start + (off_t)mark;
    return message.count > 0 && (size_t)(end - at) >= mark && memcmp(at, HEADING_BODY, mark) == 0;
}

static _Noreturn void become_mailer(char *const arguments[])
{
    static char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "SHELL=/bin/sh", NULL};
    int null = open_file("/dev/null", O_RDWR);

    if (null >= 0 && lseek(message.fd, message.body, SEEK_SET) == message.body && setpgid(0, 0) == 0 &&
        dup2(message.fd, 0) == 0 && dup2(null, 1) == 1 && dup2(null, 2) == 2 &&
        sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        (void)execve(arguments[0], arguments, environment);
    syslog(LOG_ERR, "error file=%s reason=\"%s cannot be executed: %m\"", message.shown, arguments[0]);
    _exit(EX_OSERR);
}

/* Run the mailer and wait for its end, not for ever. Its wait status, or -1. */
static int run_mailer(char *const arguments[])
{
    const struct timespec most = {.tv_sec = MAILER_S};
    siginfo_t ended;
    pid_t pid = fork(), found;
    int status;

    if (pid < 0) {
        syslog(LOG_ERR, "error file=%s reason=\"fork: %m\"", message.shown);
        return -1;
    }
    if (pid == 0)
        become_mailer(arguments);
    while ((found = wait_again(pid, &status, WNOHANG)) == 0)
        if (sigtimedwait(&awaited, &ended, &most) < 0 && errno == EAGAIN)
            (void)kill(-pid, SIGKILL);           /* one of the next looks sees its end */
    return found == pid ? status : -1;
}

/* One run of the mailer judged: the exit status and nothing else. `why` gets the words for the log. */
static enum fate judge(int status, char why[LOGGED_BYTES])
{
    int code = status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;

    if (code >= 0)
        (void)snprintf(why, LOGGED_BYTES, "mailer: exit status %d", code);
    else if (status != -1)
        (void)snprintf(why, LOGGED_BYTES, "mailer: killed by signal %d", WTERMSIG(status));
    else
        (void)snprintf(why, LOGGED_BYTES, "mailer: not started");
    switch (code) {
    case 0:
        return DELIVERED;
    case -1:
    case EX_NOINPUT:
    case EX_OSERR:
    case EX_OSFILE:
    case EX_CANTCREAT:
    case EX_IOERR:
    case EX_TEMPFAIL:
        return KEPT;
    default:
        return ASIDE;
    }
}

/* Hand the message to the mailer, in as many parts as its argument lists need. One part that has to be tried again ends
 * it; one that was refused does not keep the others from their mail. */
static enum fate hand_over(char why[LOGGED_BYTES])
{
    static char *arguments[SENDMAIL_WORDS + RUN_RECIPIENTS + 3];
    static char command[VALUE_BYTES] = SENDMAIL_PATH;
    const size_t most = (size_t)sysconf(_SC_ARG_MAX) / RUN_BYTES_SHARE;
    char part_why[LOGGED_BYTES], *rest = command, *word;
    const char *recipient = message.recipients;
    size_t fixed = 1, words = 0, bytes, left = message.count;
    enum fate fate = DELIVERED, part;

    if (table.of[SENDMAIL].line != 0)
        (void)strcpy(command, table.of[SENDMAIL].text);
    arguments[0] = strtok_r(rest, " \t", &rest);
    arguments[fixed++] = (char[]){"-f"};
    arguments[fixed++] = (char *)(uintptr_t)message.sender;
    while ((word = strtok_r(NULL, " \t", &rest)) != NULL && fixed < SENDMAIL_WORDS + 2)
        arguments[fixed++] = word;
    while (left > 0) {
        for (words = fixed, bytes = 0; left > 0 && words < fixed + RUN_RECIPIENTS && bytes < most; words++, left--) {
            arguments[words] = (char *)(uintptr_t)recipient;
            bytes += strlen(recipient) + 1 + sizeof *arguments;
            recipient += strlen(recipient) + 1 + strlen(HEADING_RCPT);
        }
        arguments[words] = NULL;
        part = judge(run_mailer(arguments), part_why);
        if (part != DELIVERED)
            (void)strcpy(why, part_why);
        if (part == KEPT)
            return KEPT;
        if (part == ASIDE)
            fate = ASIDE;
    }
    return fate;
}

/* Where it cannot be removed it gets a mark of its own, lest it be delivered at every scan from now on: then removing it
 * is all that is left to do, and is tried at each. */
static void remove_message(void)
{
    if (unlink(message.name) != 0) {
        syslog(LOG_ERR, "error file=%s reason=\"delivered, and cannot be removed: %m\"", message.shown);
        if (fchmod(message.fd, DELIVERED_ALREADY) != 0)
            syslog(LOG_ERR, "error file=%s reason=\"cannot be marked as delivered: %m\"", message.shown);
        return;
    }
    if (sync_directory(".") != 0)
        syslog(LOG_ERR, "error file=%s reason=\"removed, perhaps not for good: %m\"", message.shown);
}

/* The name for it in baddir: its own, or with a number where something else has that. -1: it cannot be moved. */
static int rename_into(int baddir, char to[NAME_MAX + 1])
{
    struct stat there;
    int number, bytes = snprintf(to, NAME_MAX + 1, "%s", message.shown);

    for (number = 1; bytes >= 0 && bytes <= NAME_MAX && number < NEW_NAMES; number++) {
        if (renameat2(AT_FDCWD, message.name, baddir, to, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return -1;
        if (fstatat(baddir, to, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_ino == message.entry.st_ino &&
            there.st_dev == message.entry.st_dev)
            return unlink(message.name);         /* a power cut left both names: the move is done but for this */
        bytes = snprintf(to, NAME_MAX + 1, "%s.%d", message.name, number);
    }
    errno = ENAMETOOLONG;
    return -1;
}

/* Move the message to baddir, so that no power cut finds it in neither: a disk without a journal may write the two
 * directories in any order, so it is held in baddir under a hidden name until the new one is durable. */
static void set_aside(const char *why)
{
    const char *path = table.of[BADDIR].text;
    char hold[LOGGED_BYTES], to[NAME_MAX + 1], shown[NAME_MAX + 1];
    int baddir = open_file(path, O_RDONLY | O_DIRECTORY);

    (void)snprintf(hold, sizeof hold, ".hold-%llu", (unsigned long long)message.entry.st_ino);
    if (baddir < 0 || (linkat(AT_FDCWD, message.name, baddir, hold, 0) != 0 && errno != EEXIST) || fsync(baddir) != 0 ||
        rename_into(baddir, to) != 0) {
        syslog(LOG_ERR, "kept file=%s reason=\"%s; cannot be moved to %s: %m\"", message.shown, why, path);
        if (baddir >= 0)
            (void)unlinkat(baddir, hold, 0);     /* the message itself is in the spool still */
        return;
    }
    if (fsync(baddir) != 0 || sync_directory(".") != 0)
        syslog(LOG_ERR, "error file=%s reason=\"moved to %s, perhaps not for good: %m\"", message.shown, path);
    else if (unlinkat(baddir, hold, 0) != 0)
        syslog(LOG_ERR, "error file=%s reason=\"%s/%s cannot be removed: %m\"", message.shown, path, hold);
    make_printable(shown, to);
    syslog(LOG_WARNING, "aside file=%s baddir=%s as=%s reason=\"%s\"", message.shown, path, shown, why);
}

/* Whether the message is ours: locked by us, and still what has the name. The lock ends with the descriptor. */
static bool claim(const char *name)
{
    struct stat now;

    message.name = name;
    make_printable(message.shown, name);
    message.fd = open_file(name, MESSAGE_OPEN | O_NOFOLLOW | O_NONBLOCK);
    if (message.fd < 0) {
        if (errno != ENOENT)
            syslog(LOG_ERR, "error file=%s reason=\"open: %m\"", message.shown);
        return false;
    }
    if (lock_file(message.fd) != 0) {
        if (errno != EWOULDBLOCK && errno != EACCES)
            syslog(LOG_ERR, "error file=%s reason=\"lock: %m\"", message.shown);
        return false;
    }
    if (fstat(message.fd, &message.entry) != 0 || fstatat(AT_FDCWD, name, &now, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    return is_for_us(&now) && now.st_ino == message.entry.st_ino && now.st_dev == message.entry.st_dev;
}

static int deliver(const char *name)
{
    char why[LOGGED_BYTES] = "the heading cannot be read";
    enum fate fate = ASIDE;

    if (!claim(name))
        return EXIT_SUCCESS;
    if (access(".", W_OK) != 0) {                /* it could not be removed: do not deliver it at every scan */
        syslog(LOG_ERR, "kept file=%s reason=\"the spool directory: %m\"", message.shown);
        return EXIT_SUCCESS;
    }
    if ((message.entry.st_mode & MODE_BITS) == DELIVERED_ALREADY) {
        remove_message();
        return EXIT_SUCCESS;
    }
    if (read_heading())
        fate = hand_over(why);
    if (fate == DELIVERED) {
        remove_message();
        syslog(LOG_INFO, "delivered file=%s from=<%s> recipients=%zu", message.shown, message.sender, message.count);
    } else if (fate == ASIDE && table.of[BADDIR].line != 0)
        set_aside(why);
    else
        syslog(LOG_WARNING, "kept file=%s reason=\"%s\"", message.shown, why);
    return EXIT_SUCCESS;
}

/* What the daemon does */

static struct {
    pid_t pid;                       /* 0: free */
    dev_t device;
    ino_t inode;
} copies[COPIES];

static bool stopping;

static void collect_copies(void)
{
    int status, slot;
    pid_t pid;

    while ((pid = wait_again(-1, &status, WNOHANG)) > 0) {
        for (slot = 0; slot < COPIES && copies[slot].pid != pid; slot++)
            ;
        if (slot < COPIES)
            copies[slot].pid = 0;
        if (WIFSIGNALED(status))
            syslog(LOG_ERR, "error reason=\"copy %ld was killed by signal %d\"", (long)pid, WTERMSIG(status));
        else if (WEXITSTATUS(status) != EXIT_SUCCESS)
            syslog(LOG_ERR, "error reason=\"copy %ld: exit status %d\"", (long)pid, WEXITSTATUS(status));
    }
}

/* Wait for the end of a copy, for SIGTERM, or (not NULL) for so long. */
static void wait_for_event(const struct timespec *most)
{
    siginfo_t event;
    int number = most == NULL ? sigwaitinfo(&awaited, &event) : sigtimedwait(&awaited, &event, most);

    if (number == SIGTERM)
        stopping = true;
    collect_copies();
}

static int free_slot(void)
{
    int slot;

    for (slot = 0; slot < COPIES && copies[slot].pid != 0; slot++)
        ;
    return slot;
}

static bool under_way(const struct stat *entry)
{
    int slot;

    for (slot = 0; slot < COPIES; slot++)
        if (copies[slot].pid != 0 && copies[slot].inode == entry->st_ino && copies[slot].device == entry->st_dev)
            return true;
    return false;
}

/* Start a copy for the message; -1: no more can be started now. */
static int start_copy(const char *name, const struct stat *entry)
{
    const char *executable = table.of[EXECUTABLE].text;
    int slot;
    pid_t pid;

    while ((slot = free_slot()) == COPIES && !stopping)
        wait_for_event(NULL);
    if (stopping)
        return -1;
    pid = fork();
    if (pid < 0) {
        syslog(LOG_ERR, "error reason=\"fork: %m\"");
        return -1;
    }
    if (pid == 0) {
        if (sigprocmask(SIG_SETMASK, &none, NULL) == 0)
            (void)execl(executable, executable, name, (char *)NULL);
        syslog(LOG_ERR, "error reason=\"%s cannot be executed: %m\"", executable);
        _exit(EX_OSERR);
    }
    copies[slot].pid = pid;
    copies[slot].device = entry->st_dev;
    copies[slot].inode = entry->st_ino;
    return 0;
}

static void scan(void)
{
    struct dirent *found = NULL;
    struct stat entry;
    DIR *directory = opendir(".");

    if (directory == NULL) {
        syslog(LOG_ERR, "error reason=\"the spool directory cannot be read: %m\"");
        return;
    }
    while (!stopping && (errno = 0, found = readdir(directory)) != NULL)
        if (fstatat(AT_FDCWD, found->d_name, &entry, AT_SYMLINK_NOFOLLOW) == 0 && is_for_us(&entry) &&
            !under_way(&entry) && start_copy(found->d_name, &entry) != 0)
            break;
    if (found == NULL && errno != 0)
        syslog(LOG_ERR, "error reason=\"the spool directory cannot be read: %m\"");
    (void)closedir(directory);
}

static void scan_for_ever(void)
{
    uint64_t wakeup = table.of[WAKEUP].number == NO_LIMIT ? WAKEUP_S : table.of[WAKEUP].number;
    struct timespec now, next, left;

    while (!stopping) {
        if (clock_gettime(CLOCK_MONOTONIC, &next) != 0)
            abort();
        next.tv_sec += (time_t)(wakeup < WAKEUP_MAX_S ? wakeup : WAKEUP_MAX_S);
        scan();
        while (!stopping) {
            if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
                abort();
            left.tv_sec = next.tv_sec - now.tv_sec - (next.tv_nsec < now.tv_nsec);
            left.tv_nsec = next.tv_nsec - now.tv_nsec + (next.tv_nsec < now.tv_nsec ? 1000000000 : 0);
            if (left.tv_sec < 0)
                break;
            wait_for_event(&left);
        }
    }
    while (wait_again(-1, NULL, 0) > 0)
        ;                                        /* the deliveries under way */
    syslog(LOG_INFO, "stopped");
}

/* The beginning */

static int check_directories(void)
{
    struct stat spool, baddir;
    const char *path = table.of[BADDIR].text;

    if (chdir(table.of[DIRECTORY].text) != 0 || access(".", R_OK | W_OK | X_OK) != 0 || stat(".", &spool) != 0) {
        complain_of(&table, DIRECTORY, strerror(errno));
        return -1;
    }
    if (table.of[BADDIR].line == 0)
        return 0;
    if (stat(path, &baddir) != 0 || (!S_ISDIR(baddir.st_mode) && (errno = ENOTDIR)) || access(path, W_OK | X_OK) != 0) {
        complain_of(&table, BADDIR, strerror(errno));
        return -1;
    }
    if (baddir.st_dev != spool.st_dev) {
        complain_of(&table, BADDIR, "on another device than the spool directory");
        return -1;
    }
    return 0;
}

static int prepare(void)
{
    if (read_table(&table, "smapd") != 0)
        return -1;
    if (table.of[EXECUTABLE].line == 0) {
        complain_of(&table, EXECUTABLE, "the line is missing");
        return -1;
    }
    return become_user(&table);
}

static int become_daemon(void)
{
    int null = open("/dev/null", O_RDWR);
    pid_t pid;

    if (null < 0 || (pid = fork()) < 0)
        return -1;
    if (pid > 0)
        _exit(EXIT_SUCCESS);
    if (setsid() < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        return -1;
    return null > 2 ? close(null) : 0;
}

int main(int count, char **arguments)
{
    int number, null;

    closefrom(3);
    while ((null = open("/dev/null", O_RDWR)) >= 0 && null <= 2)
        ;                                        /* 0, 1 and 2 are something, then */
    if (null < 0 || close(null) != 0)
        return EX_OSERR;
    (void)umask(022);
    for (number = 1; number < NSIG; number++)
        if (number != SIGKILL && number != SIGSTOP)
            (void)signal(number, SIG_DFL);       /* whatever was ignored by who started us; EINVAL for libc's own */
    (void)sigemptyset(&none);
    awaited = none;
    (void)sigaddset(&awaited, SIGCHLD);
    if (count < 2)
        (void)sigaddset(&awaited, SIGTERM);
    openlog("smapd", LOG_PID | LOG_NDELAY, LOG_MAIL);
    if (sigprocmask(SIG_SETMASK, &awaited, NULL) != 0 || prepare() != 0)
        goto refused;
    if (count > 1) {
        if (chdir(table.of[DIRECTORY].text) == 0)
            return deliver(arguments[1]);
        complain_of(&table, DIRECTORY, strerror(errno));
        goto refused;
    }
    if (check_directories() != 0)
        goto refused;
    if (become_daemon() != 0) {
        complain("cannot go to the background: %s", strerror(errno));
        goto refused;
    }
    syslog(LOG_INFO, "started directory=%s", table.of[DIRECTORY].text);
    scan_for_ever();
    return EXIT_SUCCESS;

refused:
    syslog(LOG_ERR, "refused to start: %s", complaint);
    (void)fprintf(stderr, "smapd: refused to start: %s\n", complaint);
    return EX_CONFIG;
}
