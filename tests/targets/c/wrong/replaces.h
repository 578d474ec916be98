/* Wrong: BAD-02. A message that is set aside is renamed over whatever has its name in baddir already. */
#ifndef WRONG_H
#define WRONG_H
#include <stdio.h>

#define renameat2(from, name, to, new_name, flags) renameat(from, name, to, new_name)
#endif
