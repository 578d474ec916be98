/* smap: one SMTP client on descriptor 0, each of its messages a file of its own in the spool directory.
 *
 * There is no memory but what stands in this file: the envelope goes into the spool file as the client gives it, so the
 * file is made at MAIL and removed wherever the message comes to nothing. Every wait ends at one deadline. */
#include "pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define COMMAND_BYTES 512            /* with CRLF (RFC 5321 4.5.3.1.4); a longer line is refused whole */
#define LOCAL_BYTES 64
#define DOMAIN_BYTES 255
#define NAME_BYTES 64                /* of a spool file */
#define HOST_BYTES 256
#define BUFFER_BYTES 16384
#define REPLIES_BYTES 4096
#define TRIED_NAMES 100
#define LOGGED_BYTES 200             /* of a refused line */
#define LOGGED_RECIPIENTS_BYTES 450
#define UNREAD_BYTES 1000000         /* taken from the socket before it is closed, lest a reset overtake the last reply */
#define SESSIONS 200                 /* at a time, where we accept them ourselves */

static struct table table;
static char host[HOST_BYTES], peer[INET6_ADDRSTRLEN] = "unknown", helo[COMMAND_BYTES];
static uint64_t deadline_ms = NO_LIMIT;

static struct {                      /* the connection: what was read ahead, and the replies that are not sent yet */
    char in[BUFFER_BYTES], out[REPLIES_BYTES];
    size_t in_at, in_end, out_end;
} client;

static struct {                      /* the message under way; fd is -1 where there is none */
    int fd, error;                   /* error: the first errno that writing met */
    char name[NAME_BYTES], buffer[BUFFER_BYTES], from[ADDRESS_BYTES + 1], to[LOGGED_RECIPIENTS_BYTES];
    size_t buffered;
    uint64_t bytes, body_at, recipients;
} message = {.fd = -1};

static enum { START, GREETED, SENDER, RECIPIENTS } state = START;

static _Noreturn void lost(const char *why);

/* Waiting */

static uint64_t now_ms(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        abort();
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void start_clock(void)
{
    if (table.of[TIMEOUT].number != NO_LIMIT)
        deadline_ms = now_ms() + table.of[TIMEOUT].number * 1000;
}

/* Whether the client is ready before the deadline. One who is always ready has no more time than others. */
static bool wait_for(short events)
{
    struct pollfd one = {.fd = 0, .events = events};
    uint64_t now;
    int left = -1, ready;

    do {
        if (deadline_ms != NO_LIMIT) {
            now = now_ms();
            if (now >= deadline_ms)
                return false;
            left = deadline_ms - now > INT32_MAX ? INT32_MAX : (int)(deadline_ms - now);
        }
        ready = poll(&one, 1, left);
    } while (ready == 0 || (ready < 0 && errno == EINTR));
    return ready > 0;                /* an error of poll ends the session as a time-out does */
}

/* Replies: they are kept until we wait for input, so that a pipelined session costs few segments */

static void send_replies(void)
{
    size_t at = 0;
    ssize_t sent;

    while (at < client.out_end) {
        sent = send(0, client.out + at, client.out_end - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0)
            at += (size_t)sent;
        else if (errno == EAGAIN) {
            if (!wait_for(POLLOUT))
                lost("timed out: the client reads no replies");
        } else if (errno != EINTR)
            lost("connection lost");
    }
    client.out_end = 0;
}

static void reply(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void reply(const char *format, ...)
{
    char line[COMMAND_BYTES];
    va_list arguments;
    int bytes;

    va_start(arguments, format);
    bytes = vsnprintf(line, sizeof line - 2, format, arguments);
    va_end(arguments);
    if (bytes < 0)
        abort();
    if ((size_t)bytes > sizeof line - 3)
        bytes = sizeof line - 3;
    if (client.out_end + (size_t)bytes + 2 > sizeof client.out)
        send_replies();
    memcpy(client.out + client.out_end, line, (size_t)bytes);
    client.out_end += (size_t)bytes;
    memcpy(client.out + client.out_end, "\r\n", 2);
    client.out_end += 2;
}

/* The spool file */

static void drop_message(const char *why)
{
    if (message.fd < 0)
        return;
    if (unlink(message.name) != 0) {
        syslog(LOG_ERR, "error file=%s peer=%s reason=\"cannot remove it: %m\"", message.name, peer);
        if (fchmod(message.fd, PARTIAL) != 0)
            syslog(LOG_ERR, "error file=%s peer=%s reason=\"cannot unmark it: %m\"", message.name, peer);
    }
    (void)close(message.fd);         /* removed, or partial: there is nothing left to go wrong */
    message.fd = -1;
    syslog(LOG_INFO, "dropped file=%s peer=%s reason=\"%s\"", message.name, peer, why);
}

static int write_buffer(void)
{
    size_t at = 0;
    ssize_t written;

    while (message.error == 0 && at < message.buffered) {
        written = write(message.fd, message.buffer + at, message.buffered - at);
        if (written > 0)
            at += (size_t)written;
        else if (written == 0)
            message.error = ENOSPC;
        else if (errno != EINTR)
            message.error = errno;
    }
    message.buffered = 0;
    return message.error == 0 ? 0 : -1;
}

static void put(char byte)
{
    if (message.fd < 0)
        return;                      /* dropped: what still comes is only counted out */
    if (message.buffered == sizeof message.buffer)
        (void)write_buffer();        /* the error stays in `message` */
    message.buffer[message.buffered++] = byte;
    message.bytes++;
}

static void put_text(const char *text)
{
    while (*text != 0)
        put(*text++);
}

static int open_message(void)
{
    static unsigned count;
    struct timespec now;
    int tries;

    message.error = 0;
    message.buffered = 0;
    message.bytes = message.recipients = 0;
    message.to[0] = 0;
    for (tries = 0; tries < TRIED_NAMES; tries++) {
        if (clock_gettime(CLOCK_REALTIME, &now) != 0)
            break;
        (void)snprintf(message.name, sizeof message.name, "m%lld.%06ld.%ld.%u", (long long)now.tv_sec,
                       now.tv_nsec / 1000, (long)getpid(), count++);
        message.fd = open_file(message.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
        if (message.fd >= 0 || errno != EEXIST)
            break;
    }
    if (message.fd < 0)
        message.error = errno;
    else if (lock_file(message.fd) != 0)
        message.error = errno;
    return message.error == 0 ? 0 : -1;
}

/* The promise. A failed fsync is final: asked again, it would say 0 and mean nothing. */
static int keep_message(void)
{
    int fd;

    if (write_buffer() != 0)
        return -1;
    if (fsync(message.fd) != 0 ||                    /* the mark never names less than the whole message */
        fchmod(message.fd, WHOLE) != 0 ||
        fsync(message.fd) != 0 ||                    /* the mark is durable before the promise */
        sync_directory(".") != 0) {                     /* and so is the name */
        message.error = errno;
        return -1;
    }
    fd = message.fd;
    message.fd = -1;
    if (close(fd) != 0) {                            /* gives up the lock, the mark being set */
        message.error = errno;
        (void)unlink(message.name);
        return -1;
    }
    syslog(LOG_INFO, "taken file=%s peer=%s helo=%.64s from=<%s> to=%s recipients=%llu bytes=%llu", message.name, peer,
           helo, message.from, message.to, (unsigned long long)message.recipients, (unsigned long long)(message.bytes - message.body_at));
    return 0;
}

static void machine_failed(void)
{
    bool full = message.error == ENOSPC || message.error == EDQUOT;

    errno = message.error;
    syslog(LOG_ERR, "error file=%s peer=%s reason=\"%m\"", message.name, peer);
    drop_message("the machine failed");
    reply(full ? "452 No room for it now, try again later" : "451 Cannot take it now, try again later");
    state = GREETED;
}

/* The end */

static _Noreturn void end(const char *why, int status)
{
    drop_message(why);
    syslog(LOG_INFO, "left peer=%s reason=\"%s\"", peer, why);
    exit(status);
}

static _Noreturn void lost(const char *why)
{
    end(why, EXIT_SUCCESS);
}

/* Say the last words. What the client has sent besides is read and forgotten: closing on it would reset the connection. */
static _Noreturn void leave(const char *why, const char *words)
{
    size_t unread = 0;
    ssize_t got;

    reply("%s", words);
    send_replies();
    while (unread < UNREAD_BYTES && (got = recv(0, client.in, sizeof client.in, MSG_DONTWAIT)) > 0)
        unread += (size_t)got;
    end(why, EXIT_SUCCESS);
}

static _Noreturn void timed_out(void)
{
    static const char words[] = "421 Timed out, closing\r\n";

    (void)send(0, words, sizeof words - 1, MSG_DONTWAIT | MSG_NOSIGNAL);    /* if it can be said at once */
    lost("timed out");
}

/* Input */

static void fill_input(void)
{
    ssize_t got;

    send_replies();
    do {
        if (!wait_for(POLLIN))
            timed_out();
        got = recv(0, client.in, sizeof client.in, MSG_DONTWAIT);
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    if (got <= 0)
        lost(got == 0 ? "closed by the client" : "connection lost");
    client.in_at = 0;
    client.in_end = (size_t)got;
}

static inline char next_byte(void)
{
    if (client.in_at == client.in_end)
        fill_input();
    return client.in[client.in_at++];
}

/* A command without its CRLF, which alone ends it. False for one that is refused whatever it says: it is too long, or
 * there is something else in it than printable ASCII. */
static bool read_command(char line[COMMAND_BYTES])
{
    bool plain = true, cr = false;
    size_t bytes = 0;
    char c;

    for (;;) {
        c = next_byte();
        if (cr && c == '\n')
            break;
        if (cr)
            plain = false;
        cr = c == '\r';
        if (cr)
            continue;
        if (c < ' ' || c > '~')
            plain = false;
        if (bytes < COMMAND_BYTES - 2)
            line[bytes++] = c > ' ' && c <= '~' ? c : c == ' ' ? ' ' : '?';
        else
            plain = false;
    }
    while (bytes > 0 && line[bytes - 1] == ' ')
        bytes--;
    line[bytes] = 0;
    return plain;
}

static void refuse(const char *line, const char *words)
{
    syslog(LOG_INFO, "refused peer=%s reply=\"%s\" line=\"%.*s\"", peer, words, LOGGED_BYTES, line);
    reply("%s", words);
}

/* Addresses */

static bool all_of(const char *text, size_t bytes, const char *others)
{
    size_t at;

    for (at = 0; at < bytes; at++)
        if (!((text[at] >= 'a' && text[at] <= 'z') || (text[at] >= 'A' && text[at] <= 'Z') ||
              (text[at] >= '0' && text[at] <= '9') || (text[at] != 0 && strchr(others, text[at]) != NULL)))
            return false;
    return true;
}

/* A mailbox that a mailer can take for nothing else: atoms and dots, a domain or none, no sign in front that acts. */
static bool is_harmless(const char *address, size_t bytes)
{
    const char *at = memchr(address, '@', bytes);
    size_t local = at == NULL ? bytes : (size_t)(at - address), domain = at == NULL ? 0 : bytes - local - 1;

    if (local == 0 || local > LOCAL_BYTES || strchr("-|/.~#", *address) != NULL)
        return false;
    if (!all_of(address, local, "!#$%&'*+-/=?^_`{|}~."))
        return false;
    return at == NULL || (domain > 0 && domain <= DOMAIN_BYTES && at[1] != '-' && at[1] != '.' &&
                          all_of(at + 1, domain, "-."));
}

/* The address of `MAIL FROM:<…>` or `RCPT TO:<…>` into `address`; or the reply that refuses it. */
static const char *read_path(const char *argument, const char *word, bool null_is_fine, char address[ADDRESS_BYTES + 1])
{
    const char *close, *route;
    size_t bytes = strlen(word);

    if (strncasecmp(argument, word, bytes) != 0 || argument[bytes] != ':')
        return "501 Syntax: MAIL FROM:<address> or RCPT TO:<address>";
    argument += bytes + 1;
    argument += strspn(argument, " ");
    close = strchr(argument, '>');
    if (*argument++ != '<' || close == NULL)
        return "501 Write the address between < and >";
    if (close[1] != 0)
        return close[1] == ' ' ? "555 No parameters are known here" : "501 There is more behind the address";
    if (*argument == '@' && (route = memchr(argument, ':', (size_t)(close - argument))) != NULL)
        argument = route + 1;                        /* a source route is taken and left out (RFC 5321 4.1.1.3) */
    bytes = (size_t)(close - argument);
    if (bytes > ADDRESS_BYTES || !((bytes == 0 && null_is_fine) || (bytes > 0 && is_harmless(argument, bytes))))
        return "553 Address not taken here";
    memcpy(address, argument, bytes);
    address[bytes] = 0;
    return NULL;
}

/* Commands */

static void start_over(const char *why)
{
    drop_message(why);
    if (state != START)
        state = GREETED;
}

static void do_helo(const char *line, const char *argument)
{
    char *c;

    if (*argument == 0) {
        refuse(line, "501 Say who you are: HELO name");
        return;
    }
    start_over("HELO");
    state = GREETED;
    (void)strcpy(helo, argument);                    /* shorter than the line it came in */
    for (c = helo; *c != 0; c++)
        if (!all_of(c, 1, "-._:[]"))
            *c = '?';
    reply("250 %s", host);
}

static void do_mail(const char *line, const char *argument)
{
    char address[ADDRESS_BYTES + 1];
    const char *wrong = read_path(argument, "FROM", true, address);

    if (state != GREETED)
        refuse(line, state == START ? "503 Say HELO first" : "503 There is a sender already");
    else if (wrong != NULL)
        refuse(line, wrong);
    else if (open_message() != 0)
        machine_failed();
    else {
        (void)strcpy(message.from, address);
        put_text(HEADING_FROM);
        put_text(address);
        put('\n');
        state = SENDER;
        reply("250 Sender OK");
    }
}

static void do_rcpt(const char *line, const char *argument)
{
    char address[ADDRESS_BYTES + 1];
    const char *wrong = read_path(argument, "TO", false, address);
    size_t logged;

    if (state != SENDER && state != RECIPIENTS)
        refuse(line, "503 Say MAIL first");
    else if (wrong != NULL)
        refuse(line, wrong);
    else if (message.recipients >= table.of[MAXRECIP].number)
        refuse(line, "452 Too many recipients");
    else {
        put_text(HEADING_RCPT);
        put_text(address);
        put('\n');
        if (message.error != 0) {
            machine_failed();
            return;
        }
        message.recipients++;
        logged = strlen(message.to);
        if (logged + strlen(address) + 3 < sizeof message.to)
            (void)snprintf(message.to + logged, sizeof message.to - logged, "%s<%s>", logged ? "," : "", address);
        state = RECIPIENTS;
        reply("250 Recipient OK");
    }
}

static void put_received(void)
{
    char date[NAME_BYTES];
    const char *words[] = {"Received: from ", helo, " ([", peer, "])\n\tby ", host, " with SMTP id ", message.name, ";\n\t",
                           date, "\n"};
    time_t now = time(NULL);
    struct tm utc;
    size_t at;

    if (gmtime_r(&now, &utc) == NULL || strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &utc) == 0)
        abort();
    for (at = 0; at < sizeof words / sizeof *words; at++)
        put_text(words[at]);
}

/* Read to CRLF . CRLF, undoing the dot transparency at the start of lines; lines end with LF in the file. A bare LF ends
 * no line here, but would for the mailer, dots and all: a message with one is refused. */
static void gather(const char *line)
{
    enum { LINE, DOT, DOT_CR, TEXT, CR } at = LINE;
    bool bare_lf = false, too_large = false;
    char c;

    for (;;) {
        c = next_byte();
        if (at == LINE && c == '.') {
            at = DOT;
            continue;
        }
        if (at == DOT && c == '\r') {
            at = DOT_CR;
            continue;
        }
        if (at == DOT_CR && c == '\n')
            break;
        if (at == DOT_CR)
            at = CR;                                 /* `.` was the transparency's, CR is the text's */
        if (at == CR && c != '\n')
            put('\r');
        if (at != CR && c == '\n')
            bare_lf = true;
        if (c == '\r') {
            at = CR;
            continue;
        }
        put(c);
        at = at == CR && c == '\n' ? LINE : TEXT;
        if (message.fd >= 0 && message.error != 0)
            drop_message("the machine failed");
        if (message.fd >= 0 && message.bytes - message.body_at > table.of[MAXBYTES].number) {
            too_large = true;
            drop_message("larger than maxbytes");
        }
    }
    state = GREETED;
    if (too_large)
        refuse(line, "552 Message too large");
    else if (bare_lf)
        refuse(line, "554 A bare LF in the message: end lines with CRLF");
    else if (message.error != 0 || keep_message() != 0)
        machine_failed();
    else {
        reply("250 Message taken");
        start_clock();
    }
    drop_message("refused");
}

static void do_data(const char *line, const char *argument)
{
    if (state != RECIPIENTS)
        refuse(line, "503 Say MAIL and RCPT first");
    else if (*argument != 0)
        refuse(line, "501 DATA takes no argument");
    else {
        put_text(HEADING_BODY);
        put_received();
        message.body_at = message.bytes;
        if (write_buffer() != 0) {                   /* known to have room before the client is asked to send */
            machine_failed();
            return;
        }
        reply("354 End with CRLF.CRLF");
        gather("end of data");
    }
}

static void do_rset(const char *line, const char *argument)
{
    if (*argument != 0)
        refuse(line, "501 RSET takes no argument");
    else {
        start_over("RSET");
        reply("250 Forgotten");
    }
}

static void do_noop(const char *line, const char *argument)
{
    (void)line, (void)argument;
    reply("250 OK");
}

static void do_vrfy(const char *line, const char *argument)
{
    (void)line, (void)argument;
    reply("252 Nothing is told of anybody; send mail and see");
}

static void do_quit(const char *line, const char *argument)
{
    if (*argument != 0)
        refuse(line, "501 QUIT takes no argument");
    else
        leave("QUIT", "221 Closing");
}

static void do_nothing(const char *line, const char *argument)
{
    (void)argument;
    refuse(line, "502 Not done here");
}

static void do_http(const char *line, const char *argument)
{
    (void)argument;                                  /* a web browser, made to send SMTP in the body of its request */
    syslog(LOG_INFO, "refused peer=%s reply=\"421\" line=\"%.*s\"", peer, LOGGED_BYTES, line);
    leave("no mail client", "421 This is no web server, closing");
}

static const struct {
    const char *verb;
    void (*act)(const char *line, const char *argument);
} commands[] = {
    {"HELO", do_helo},    {"EHLO", do_helo},    {"MAIL", do_mail},    {"RCPT", do_rcpt},    {"DATA", do_data},
    {"RSET", do_rset},    {"NOOP", do_noop},    {"VRFY", do_vrfy},    {"QUIT", do_quit},    {"EXPN", do_nothing},
    {"HELP", do_nothing}, {"TURN", do_nothing}, {"SEND", do_nothing}, {"SOML", do_nothing}, {"SAML", do_nothing},
    {"GET", do_http},     {"POST", do_http},    {"PUT", do_http},     {"HEAD", do_http},    {"OPTIONS", do_http},
    {"CONNECT", do_http},
};

static _Noreturn void serve(void)
{
    char line[COMMAND_BYTES];
    size_t verb, which;

    start_clock();
    reply("220 %s SMTP smap", host);
    for (;;) {
        if (!read_command(line)) {
            refuse(line, "500 Line too long, or not plain ASCII with CRLF at its end");
            continue;
        }
        verb = strcspn(line, " ");
        for (which = 0; which < sizeof commands / sizeof *commands; which++)
            if (strlen(commands[which].verb) == verb && strncasecmp(line, commands[which].verb, verb) == 0)
                break;
        if (which == sizeof commands / sizeof *commands)
            refuse(line, "500 Unknown command");
        else
            commands[which].act(line, line + verb + strspn(line + verb, " "));
    }
}

/* The beginning */

static void learn_names(void)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
    char *c;

    if (gethostname(host, sizeof host - 1) != 0)
        (void)strcpy(host, "localhost");
    for (c = host; *c != 0; c++)
        if (!all_of(c, 1, "-."))
            *c = '?';
    if (getpeername(0, (struct sockaddr *)&address, &bytes) != 0)
        return;
    if (address.ss_family == AF_INET)
        (void)inet_ntop(AF_INET, &four->sin_addr, peer, sizeof peer);
    else if (address.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        (void)inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, peer, sizeof peer);
    else if (address.ss_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &six->sin6_addr, peer, sizeof peer);
}

/* Into the jail and out of root's rights; -1 and a complaint where anything at all is refused. */
static int enter_jail(void)
{
    const char *directory = table.of[DIRECTORY].text;

    if (chdir(directory) != 0 || chroot(".") != 0 || chdir("/") != 0) {
        complain_of(&table, DIRECTORY, strerror(errno));
        return -1;
    }
    if (become_user(&table) != 0)
        return -1;
    if (access(".", R_OK | W_OK | X_OK) != 0) {
        complain_of(&table, DIRECTORY, strerror(errno));
        return -1;
    }
    return 0;
}

/* inetd's `wait`: descriptor 0 listens. Returns in a child that has a client there instead. */
static void accept_clients(void)
{
    struct pollfd listener = {.fd = 0, .events = POLLIN};
    unsigned sessions = 0;
    int fd;

    for (;;) {
        while (sessions > 0 && waitpid(-1, NULL, sessions < SESSIONS ? WNOHANG : 0) > 0)
            sessions--;
        if (poll(&listener, 1, -1) < 0 || (fd = accept4(0, NULL, NULL, SOCK_CLOEXEC)) < 0) {
            if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) {
                syslog(LOG_ERR, "error reason=\"accept: %m\"");
                (void)sleep(1);
            }
            continue;
        }
        switch (fork()) {
        case -1:
            syslog(LOG_ERR, "error reason=\"fork: %m\"");
            break;
        case 0:
            if (dup2(fd, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
                _exit(EX_OSERR);
            (void)close(fd);
            return;
        default:
            sessions++;
        }
        (void)close(fd);
    }
}

int main(void)
{
    int listens = 0;
    socklen_t bytes = sizeof listens;

    closefrom(3);
    (void)umask(022);
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
        signal(SIGCHLD, SIG_DFL) == SIG_ERR)
        return EX_OSERR;
    tzset();                                         /* syslog(3) finds no time zone in the jail */
    openlog("smap", LOG_PID | LOG_NDELAY, LOG_MAIL);
    if (getsockopt(0, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) == 0 && listens != 0)
        accept_clients();
    learn_names();
    if (read_table(&table, "smap") != 0 || enter_jail() != 0) {
        syslog(LOG_ERR, "refused to start: %s", complaint);
        reply("421 No mail is taken here now");
        send_replies();
        return EX_CONFIG;
    }
    serve();
}
