"""A program that changes a directory in every way that a receiver or a smapd might.

    python -IS odd_calls.py PART DIRECTORY

The directory holds `spool` and `bad`. Parts are functions here; each begins in the spool directory.
"""

import contextlib
import fcntl
import mmap
import os
import socket
import struct
import sys
import threading

F_OFD_SETLK = 37


def bytes_in_every_way() -> None:
    fd = os.open("m1", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, b"one\n")
    os.pwrite(fd, b"XY", 1)
    os.writev(fd, [b"a", b"", b"bc"])
    os.pwritev(fd, [b"q", b"r"], 10)
    os.lseek(fd, 3, os.SEEK_END)
    os.write(fd, b"end")
    os.ftruncate(fd, 25)
    os.posix_fallocate(fd, 0, 30)
    appending = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_SYNC, 0o600)
    os.write(appending, b"x")
    os.lseek(appending, 0, os.SEEK_SET)
    os.write(appending, b"y")
    os.pwrite(appending, b"z", 0)  # appends all the same
    later = os.open("m1", os.O_WRONLY | os.O_TRUNC)
    os.write(later, b"anew")
    fcntl.fcntl(later, fcntl.F_SETFL, os.O_APPEND)
    os.lseek(later, 0, os.SEEK_SET)
    os.write(later, b"+")
    os.truncate("log", 2)


def names_in_every_way() -> None:
    bad = os.open("../bad", os.O_RDONLY | os.O_DIRECTORY)
    for name in ("a", "b", "c", "sub/../d"):
        os.makedirs("sub", exist_ok=True)
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o666))
    os.link("a", "a2", dst_dir_fd=bad)
    os.rename("b", "b2", dst_dir_fd=bad)
    os.replace("c", "../bad/b2")
    os.mkdir("made", 0o700, dir_fd=bad)
    os.rmdir("made", dir_fd=bad)
    os.rename("sub", "renamed")
    os.close(os.open("renamed/e", os.O_WRONLY | os.O_CREAT, 0o640))
    os.unlink("e", dir_fd=os.open("renamed", os.O_RDONLY))
    os.fchdir(bad)
    os.close(os.open("f", os.O_WRONLY | os.O_CREAT, 0o600))
    os.chmod("a2", 0o711)
    os.chown("f", -1, -1)
    os.umask(0o077)
    os.close(os.open(os.path.join(os.getcwd(), "g"), os.O_WRONLY | os.O_CREAT, 0o666))
    for attempt in (lambda: os.unlink("nothing"), lambda: os.open("g", os.O_CREAT | os.O_EXCL)):
        with contextlib.suppress(OSError):
            attempt()


def descriptors_in_every_way() -> None:
    first = os.open("m1", os.O_WRONLY | os.O_CREAT, 0o644)
    fcntl.flock(first, fcntl.LOCK_EX)
    copies = [os.dup(first), os.dup2(first, 50), fcntl.fcntl(first, fcntl.F_DUPFD, 60)]
    os.close(first)
    other = os.open("m1", os.O_RDWR)
    fcntl.lockf(other, fcntl.LOCK_EX)
    os.close(copies.pop())  # and with it goes the lock of the process
    if os.fork() == 0:
        os.write(50, b"child ")
        os._exit(3)
    os.wait()
    opened: list[int] = []

    def work() -> None:
        os.write(50, b"thread ")
        opened.append(os.open("m4", os.O_WRONLY | os.O_CREAT, 0o644))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    os.write(opened[0], b"opened by the thread")
    here, there = socket.socketpair()
    if os.fork() == 0:
        os.closerange(50, 51)
        _, passed, _, _ = socket.recv_fds(there, 1, 1)
        os.write(passed[0], b"passed ")
        os._exit(0)
    socket.send_fds(here, [b"x"], [50])
    os.wait()
    os.dup2(50, 1, inheritable=True)
    os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "echo shell; echo new > m2; mv m2 m3"], os.environ), 0)
    os.close(1)
    os.closerange(40, 70)  # the last of them but one
    os.close(copies[0])


def locks_of_open_files() -> None:
    fd = os.open("m1", os.O_RDWR | os.O_CREAT, 0o644)
    whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    fcntl.fcntl(fd, F_OFD_SETLK, whole)
    copy = os.dup(fd)
    os.close(fd)
    os.close(copy)
    fd = os.open("m1", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_SH, 10, 5)
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    second = os.open("m1", os.O_RDWR)
    fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with contextlib.suppress(BlockingIOError):  # what was held is lost in the conversion
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def beneath_a_changed_root() -> None:
    os.chdir("..")
    os.chroot("spool")
    os.chdir("/")
    os.setgid(65534)
    os.setuid(65534)
    os.close(os.open("/m1", os.O_WRONLY | os.O_CREAT, 0o644))
    os.close(os.open("../m2", os.O_WRONLY | os.O_CREAT, 0o644))
    os.rename("m1", "/m3")


def without_a_name() -> None:
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o640)
    os.write(fd, b"made before it was named")
    os.fsync(fd)
    os.link(f"/proc/self/fd/{fd}", "named", dst_dir_fd=os.open(".", os.O_RDONLY))


def unseen_by_mmap() -> None:
    fd = os.open("m1", os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(fd, 4096)
    mmap.mmap(fd, 4096)[0:3] = b"odd"


def unseen_by_sendfile() -> None:
    fd = os.open("m1", os.O_WRONLY | os.O_CREAT, 0o644)
    os.sendfile(fd, os.open("/etc/passwd", os.O_RDONLY), 0, 10)


def unseen_by_copy() -> None:
    source = os.open("m1", os.O_RDWR | os.O_CREAT, 0o644)
    os.write(source, b"to be copied")
    os.copy_file_range(source, os.open("m2", os.O_WRONLY | os.O_CREAT, 0o644), 12, 0)


def with_a_link() -> None:
    os.symlink("m1", "link")
    os.close(os.open("link", os.O_WRONLY | os.O_CREAT, 0o644))
    os.symlink(os.path.abspath("../bad"), "aside")
    os.close(os.open("aside/m2", os.O_WRONLY | os.O_CREAT, 0o644))
    os.unlink("link")


if __name__ == "__main__":
    os.chdir(os.path.join(sys.argv[2], "spool"))
    globals()[sys.argv[1]]()
