/* Wrong: MAILER-01. The mailer is run by a shell, from a line in which the addresses stand as they are: what system(3)
 * and popen(3) make of it. The quotes about each address do not help against one with a quote in it. */
#ifndef WRONG_H
#define WRONG_H
#include <string.h>
#include <unistd.h>

#define ONE_WORD 100000 /* the kernel takes no longer one; so many recipients are handed over as they should be */

static inline int execve_by_shell(char *const arguments[], char *const environment[])
{
    static char line[ONE_WORD];
    char *const words[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, line, NULL};
    char *const *word;
    size_t bytes = 0;

    for (word = arguments; *word != NULL && bytes + strlen(*word) + sizeof "exec '' " < ONE_WORD; word++) {
        strcat(strcat(strcat(line + bytes, word == arguments ? "exec '" : "'"), *word), "' ");
        bytes += strlen(line + bytes);
    }
    return *word == NULL ? execve(words[0], words, environment) : execve(arguments[0], arguments, environment);
}

#define execve(path, arguments, environment) execve_by_shell(arguments, environment)
#endif
