/* pair.h: what smap and smapd share: the table, giving up root's rights, the lock on a spool file.
 *
 * A spool file is the heading, in lines that end with LF, and then the body:
 *     FROM sender         once; "FROM " and nothing for the null sender
 *     RCPT recipient      once or more
 *     BODY
 * Mode 644 is partial, 755 is whole. Whoever writes or delivers it holds the lock. */
#ifndef PAIR_H
#define PAIR_H

#include <stdint.h>
#include <sys/types.h>

#ifndef NETPERM_PATH
#define NETPERM_PATH "/usr/local/etc/netperm-table"
#endif

#define PARTIAL 0644
#define WHOLE 0755
#define VALUE_BYTES 512            /* of one value in the table, its NUL counted */
#define COMPLAINT_BYTES 1024
#define NO_LIMIT UINT64_MAX

#define HEADING_FROM "FROM "
#define HEADING_RCPT "RCPT "
#define HEADING_BODY "BODY\n"
#define ADDRESS_BYTES 320          /* local part of 64, @, domain of 255 (RFC 5321 4.5.3.1) */

#ifdef LOCK_FCNTL
#define MESSAGE_OPEN O_RDWR        /* an fcntl(2) write lock wants a descriptor that may write */
#else
#define MESSAGE_OPEN O_RDONLY
#endif

enum clause { USERID, DIRECTORY, MAXBYTES, MAXRECIP, TIMEOUT, EXECUTABLE, SENDMAIL, BADDIR, WAKEUP, CLAUSES };

struct setting {
    int line;                      /* where it stands in the table; 0: nowhere */
    char text[VALUE_BYTES];
    uint64_t number;               /* NO_LIMIT where it is not given */
};

struct table {
    struct setting of[CLAUSES];
    uid_t uid;
    gid_t gid;
};

extern char complaint[COMPLAINT_BYTES];   /* why one of these returned -1, as a line for the log */

void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void complain_of(const struct table *table, enum clause clause, const char *why);
int read_table(struct table *table, const char *program);
int become_user(const struct table *table);
int lock_file(int fd);             /* exclusive, never waits; -1: somebody holds it (or errno says what else) */
int open_file(const char *path, int flags);    /* open(2), close-on-exec, carried on from EINTR; makes it PARTIAL */
int sync_directory(const char *path);          /* 0: the names in it are durable */

#endif
