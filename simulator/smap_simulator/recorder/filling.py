"""The calls on open files: bytes in and out, barriers, locks, and descriptors."""

from __future__ import annotations

from smap_simulator import history, locks
from smap_simulator.image import DIRECTORY, FILE
from smap_simulator.inode import Inode
from smap_simulator.recorder import talking
from smap_simulator.recorder.machine import Connection, File, Process, Stream
from smap_simulator.recorder.naming import change_mode, change_owner
from smap_simulator.recorder.scene import Act, Scene, drained, taken
from smap_simulator.recorder.strace import Call, bytes_of, descriptor_of, flags_of, member, number_of, parts

_UNSEEN = "bytes came into a watched file in a way that strace does not show"

_CLONES = ("FICLONE", "FICLONERANGE", "FIDEDUPERANGE", "BTRFS_IOC_CLONE")


# Bytes


def content(call: Call) -> bytes | None:
    """What a call wrote, as far as it was taken; None where the log does not tell."""
    assert call.result is not None
    word = call.arguments[1]
    if call.name.startswith(("writev", "pwritev")):
        pieces = [bytes_of(member(part, "iov_base")) for part in parts(word)]
        data = None if None in pieces else b"".join(piece or b"" for piece in pieces)
    else:
        data = bytes_of(word)
    return data[: call.result] if data is not None and len(data) >= call.result else None


def write(scene: Scene, process: Process, call: Call) -> None:
    """write(2) and its relations."""
    thing = scene.thing(process, call.arguments[0], call)
    if thing is None or not call.result:
        return
    data = content(call)
    if data is None:
        scene.note(call, "what was written is not in the log")
        data = bytes(call.result)
    if isinstance(thing, Stream):
        thing.data += data
    elif isinstance(thing, Connection):
        talking.hear(scene, process, call, thing, data)
    elif isinstance(thing, File) and thing.inode.kind == FILE:
        _write(scene, process, call, thing, data)


def _write(scene: Scene, process: Process, call: Call, file: File, data: bytes) -> None:
    inode = file.inode
    at = number_of(call.arguments[3]) if call.name.startswith("pwrite") else None
    if call.name == "pwritev2" and at == -1:
        at = None
    if call.name == "pwritev2" and any("RWF_APPEND" in word for word in call.arguments[4:]):
        at = len(inode.data)
    offset = file.offset_bytes if at is None else at
    if file.appending:  # pwrite(2): on Linux it appends as well, whatever the offset
        offset = len(inode.data)
    if at is None:
        file.offset_bytes = offset + len(data)
    scene.disk.put(inode, offset, data)
    if inode.number in scene.nameless:
        return
    scene.tell(process, call, history.Write, inode.number, offset, data)
    if file.sync:
        scene.tell(process, call, history.Fsync, inode.number, file.sync == "data")


def read(scene: Scene, process: Process, call: Call) -> None:
    """read(2) and its relations; the bytes themselves need not be in the log."""
    thing = scene.thing(process, call.arguments[0], call)
    if thing is None or not call.result:
        return
    if isinstance(thing, Connection):
        talking.read(thing, call.result, bytes_of(call.arguments[1]))
    elif isinstance(thing, Stream):
        scene.read_by(process, thing, drained(thing, call.result))
    elif isinstance(thing, File):
        at = number_of(call.arguments[3]) if call.name.startswith("pread") else None
        at = None if at == -1 else at
        offset = thing.offset_bytes if at is None else at
        if at is None:
            thing.offset_bytes += call.result
        scene.read_by(process, thing, taken(thing.inode, offset, call.result))


def seek(scene: Scene, process: Process, call: Call) -> None:
    """lseek(2)."""
    thing = scene.thing(process, call.arguments[0], call)
    if isinstance(thing, File):
        thing.offset_bytes = call.result or 0


def list_(scene: Scene, process: Process, call: Call) -> None:
    """getdents64(2): told once for each reading of a directory from its beginning."""
    thing = scene.thing(process, call.arguments[0], call)
    if isinstance(thing, File) and thing.inode.kind == DIRECTORY and not thing.offset_bytes:
        thing.offset_bytes = 1
        scene.tell(process, call, history.Look, "listdir", thing.inode.number, thing.inode.mode)


def truncate(scene: Scene, process: Process, call: Call) -> None:
    """ftruncate(2), truncate(2)."""
    if call.name == "ftruncate":
        thing = scene.thing(process, call.arguments[0], call)
        inode = thing.inode if isinstance(thing, File) else None
    else:
        spot = scene.spot(process, call)
        inode = spot.inode if spot is not None else None
    if inode is not None:
        _resize(scene, process, call, inode, number_of(call.arguments[1]) or 0)


def _resize(scene: Scene, process: Process, call: Call, inode: Inode, size: int) -> None:
    scene.disk.cut(inode, size)
    if inode.number not in scene.nameless:
        scene.tell(process, call, history.Truncate, inode.number, size)


def fallocate(scene: Scene, process: Process, call: Call) -> None:
    """fallocate(2): a longer file; holes and the like are only a note."""
    thing = scene.thing(process, call.arguments[0], call)
    if not isinstance(thing, File):
        return
    mode = call.arguments[1]
    end = (number_of(call.arguments[2]) or 0) + (number_of(call.arguments[3]) or 0)
    if mode == "0":
        if end > len(thing.inode.data):
            _resize(scene, process, call, thing.inode, end)
    elif mode != "FALLOC_FL_KEEP_SIZE":
        scene.note(call, f"{mode}: no history tells of that")


def unseen(scene: Scene, process: Process, call: Call) -> None:
    """sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2): bytes that no log shows."""
    into, out = (0, 1) if call.name in ("sendfile", "vmsplice") else (2, 0) if call.name != "tee" else (1, 0)
    target = scene.thing(process, call.arguments[into], call)
    if isinstance(target, File):
        scene.note(call, _UNSEEN)
    source = None if call.name == "vmsplice" else scene.thing(process, call.arguments[out], call)
    if not isinstance(source, File) or not call.result:
        return
    at = call.arguments[2 if call.name == "sendfile" else 1]
    if at == "NULL":
        offset, source.offset_bytes = source.offset_bytes, source.offset_bytes + call.result
    else:
        offset = number_of(at.split("=>")[0].strip("[] ")) or 0
    data = taken(source.inode, offset, call.result)
    scene.read_by(process, source, data)
    if isinstance(target, Stream):
        target.data += data


def mmap(scene: Scene, process: Process, call: Call) -> None:
    """mmap(2) of a watched file: what is stored or read through it is invisible."""
    if len(call.arguments) < 5:
        return
    thing = scene.thing(process, call.arguments[4], call)
    if not isinstance(thing, File):
        return
    if "PROT_WRITE" in call.arguments[2] and "MAP_SHARED" in call.arguments[3]:
        scene.note(call, _UNSEEN)
    elif process.mailing is not None and process.mailing.is_input(thing):
        scene.note(call, "the mailer mapped its input: how much it read is not known, all of it is assumed")
        process.mailing.read[:] = thing.inode.data


def ioctl(scene: Scene, process: Process, call: Call) -> None:
    """ioctl(2): close-on-exec, and clones."""
    fd, _ = descriptor_of(call.arguments[0])
    if call.arguments[1] in ("FIOCLEX", "FIONCLEX"):
        _set_closes(process, fd, closes=call.arguments[1] == "FIOCLEX")
    elif call.arguments[1] in _CLONES and isinstance(scene.thing(process, call.arguments[0], call), File):
        scene.note(call, _UNSEEN)


def behind(scene: Scene, process: Process, call: Call) -> None:
    """io_uring_setup(2), io_setup(2): whatever is asked for there, nobody sees."""
    scene.note(call, "what is asked for there is not seen")


# Barriers


def sync(scene: Scene, process: Process, call: Call) -> None:
    """fsync(2), fdatasync(2)."""
    thing = scene.thing(process, call.arguments[0], call)
    if isinstance(thing, File) and thing.inode.number not in scene.nameless:
        scene.tell(process, call, history.Fsync, thing.inode.number, call.name == "fdatasync")


def sync_all(scene: Scene, process: Process, call: Call) -> None:
    """sync(2), and syncfs(2) of the watched disk."""
    if call.name == "sync" or isinstance(scene.thing(process, call.arguments[0], call), File):
        scene.tell(process, call, history.Syncfs)


def fchmod(scene: Scene, process: Process, call: Call) -> None:
    """fchmod(2)."""
    thing = scene.thing(process, call.arguments[0], call)
    if isinstance(thing, File):
        change_mode(scene, process, call, thing.inode, call.arguments[1])


def fchown(scene: Scene, process: Process, call: Call) -> None:
    """fchown(2)."""
    thing = scene.thing(process, call.arguments[0], call)
    if isinstance(thing, File):
        change_owner(scene, process, call, thing.inode, call.arguments[1:3])


# Locks


def flock(scene: Scene, process: Process, call: Call) -> None:
    """flock(2), which the kernel granted."""
    thing = scene.thing(process, call.arguments[0], call)
    if not isinstance(thing, File):
        return
    how = flags_of(call.arguments[1])
    if "LOCK_UN" in how:
        if locks.drop_flock(thing):
            scene.tell(process, call, history.Unlock, thing.inode.number, "flock")
        return
    thing.inode.flocks[thing] = "LOCK_EX" in how
    scene.tell(process, call, history.Lock, thing.inode.number, "flock", "LOCK_EX" in how)


def fcntl(scene: Scene, process: Process, call: Call) -> None:
    """fcntl(2): locks, descriptors and flags."""
    command = call.arguments[1]
    if command.startswith(("F_SETLK", "F_OFD_SETLK")):
        thing = scene.thing(process, call.arguments[0], call)
        if isinstance(thing, File):
            _lock(scene, process, call, thing, of_file=command.startswith("F_OFD"))
        return
    fd, _ = descriptor_of(call.arguments[0])
    if command in ("F_DUPFD", "F_DUPFD_CLOEXEC"):
        _duplicate(scene, process, call, closes=command != "F_DUPFD")
    elif command == "F_SETFD":
        _set_closes(process, fd, closes="FD_CLOEXEC" in call.arguments[2])
    elif command == "F_SETFL":
        thing = scene.thing(process, call.arguments[0], call)
        if isinstance(thing, File):
            thing.appending = "O_APPEND" in call.arguments[2]


def _lock(scene: Scene, process: Process, call: Call, file: File, *, of_file: bool) -> None:
    word, inode = call.arguments[2], file.inode
    kind = member(word, "l_type")
    if (number_of(member(word, "l_start") or "0"), number_of(member(word, "l_len") or "0")) != (0, 0):
        scene.note(call, "a lock on a part of a file is told as one on the whole")
    if kind == "F_UNLCK":
        had = file.ofd_lock is not None if of_file else locks.drop_fcntl(inode, process.leader)
        file.ofd_lock = None if of_file else file.ofd_lock
        if had:
            scene.tell(process, call, history.Unlock, inode.number, "fcntl")
        return
    exclusive = kind == "F_WRLCK"
    if of_file:
        file.ofd_lock = exclusive
    else:
        inode.fcntls[process.leader] = exclusive
    scene.tell(process, call, history.Lock, inode.number, "fcntl", exclusive)


# Descriptors


def close(scene: Scene, process: Process, call: Call) -> None:
    """close(2): whatever it returns, the descriptor is gone."""
    fd, _ = descriptor_of(call.arguments[0])
    if fd is not None:
        scene.close(process, fd, call)


def close_range(scene: Scene, process: Process, call: Call) -> None:
    """close_range(2)."""
    first, last = number_of(call.arguments[0]) or 0, number_of(call.arguments[1])
    flags = call.arguments[2]
    if "CLOSE_RANGE_UNSHARE" in flags:
        unshare(process)
    for fd in sorted(process.table.slots):
        if fd >= first and (last is None or fd <= last):
            if "CLOSE_RANGE_CLOEXEC" in flags:
                process.table.slots[fd].closes = True
            else:
                scene.close(process, fd, call)


def unshare(process: Process) -> None:
    """From now on the process has a table of its own."""
    if process.table.users > 1:
        process.table.users -= 1
        process.table = process.table.copy()


def dup(scene: Scene, process: Process, call: Call) -> None:
    """dup(2), dup2(2), dup3(2)."""
    fd, _ = descriptor_of(call.arguments[0])
    if fd != call.result:
        closes = call.name == "dup3" and "O_CLOEXEC" in call.arguments[2]
        _duplicate(scene, process, call, closes=closes)


def _duplicate(scene: Scene, process: Process, call: Call, *, closes: bool) -> None:
    new = call.result
    assert new is not None
    thing = scene.thing(process, call.arguments[0], call)
    if thing is None:
        scene.close(process, new, call)
    else:
        scene.install(process, new, thing, call, closes=closes)


def _set_closes(process: Process, fd: int | None, *, closes: bool) -> None:
    slot = process.table.slots.get(fd) if fd is not None else None
    if slot is not None:
        slot.closes = closes


def pipe(scene: Scene, process: Process, call: Call) -> None:
    """pipe(2), pipe2(2), and socketpair(2) taken for one."""
    word = call.arguments[3] if call.name == "socketpair" else call.arguments[0]
    closes = any("CLOEXEC" in flags for flags in call.arguments)
    stream = Stream()
    for end in parts(word):
        fd, _ = descriptor_of(end)
        if fd is not None:
            scene.install(process, fd, stream, call, closes=closes)


ACTS: dict[str, Act] = {
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2"), write),
    **dict.fromkeys(("read", "readv", "pread64", "preadv", "preadv2"), read),
    **dict.fromkeys(("ftruncate", "truncate"), truncate),
    **dict.fromkeys(("sendfile", "copy_file_range", "splice", "tee", "vmsplice"), unseen),
    **dict.fromkeys(("io_uring_setup", "io_setup"), behind),
    **dict.fromkeys(("getdents", "getdents64"), list_),
    **dict.fromkeys(("fsync", "fdatasync"), sync),
    **dict.fromkeys(("sync", "syncfs"), sync_all),
    **dict.fromkeys(("dup", "dup2", "dup3"), dup),
    **dict.fromkeys(("pipe", "pipe2", "socketpair"), pipe),
    "lseek": seek,
    "fallocate": fallocate,
    "mmap": mmap,
    "ioctl": ioctl,
    "fchmod": fchmod,
    "fchown": fchown,
    "flock": flock,
    "fcntl": fcntl,
    "close": close,
    "close_range": close_range,
}
