/* Wrong: CRASH-02. There is no fsync of the file once it has its mark, so the mark may not outlive a power cut after the
 * 250. fsync of the directory is no substitute under xfs and btrfs. */
#ifndef WRONG_H
#define WRONG_H
#include <sys/stat.h>
#include <unistd.h>

static inline int fsync_unless_marked(int fd)
{
    struct stat entry;

    if (fstat(fd, &entry) == 0 && S_ISREG(entry.st_mode) && (entry.st_mode & 0111) != 0)
        return 0;
    return fsync(fd);
}

#define fsync fsync_unless_marked
#endif
