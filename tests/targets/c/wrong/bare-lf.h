/* Wrong: SMTP-05. A bare LF from the client is made CRLF on the way in, as a server does that reads lines through a text
 * layer; so LF.LF ends a message, and what follows it is a second one that another server never saw. */
#ifndef WRONG_H
#define WRONG_H
#include <sys/socket.h>
#include <sys/types.h>

static inline ssize_t recv_text(int fd, char *text, size_t room, int flags)
{
    static char last;
    char read[1024];
    ssize_t got = recv(fd, read, room / 2 < sizeof read ? room / 2 : sizeof read, flags), at, made = 0;

    for (at = 0; at < got; last = read[at++]) {
        if (read[at] == '\n' && last != '\r')
            text[made++] = '\r';
        text[made++] = read[at];
    }
    return got <= 0 ? got : made;
}

#define recv recv_text
#endif
