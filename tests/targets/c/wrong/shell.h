/* Wrong: MAILER-01. The mailer is run by a shell, from a line in which the addresses stand as they are: what system(3)
 * and popen(3) make of it. The quotes about each address do not help against one with a quote in it. */
#ifndef WRONG_H
#define WRONG_H
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline int execve_by_shell(char *const arguments[], char *const environment[])
{
    char *const words[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, calloc(1, 1 << 20), NULL};
    char *const *word;
    size_t bytes = 0;

    for (word = arguments; words[2] != NULL && *word != NULL && bytes + strlen(*word) + 4 < 1 << 20; word++) {
        strcat(strcat(strcat(words[2] + bytes, word == arguments ? "exec '" : "'"), *word), "' ");
        bytes += strlen(words[2] + bytes);
    }
    return execve(words[0], words, environment);
}

#define execve(path, arguments, environment) execve_by_shell(arguments, environment)
#endif
