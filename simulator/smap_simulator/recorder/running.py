"""Processes: forks, threads, programs that are executed, ends; and what paths and rights mean to each."""

from __future__ import annotations

import re

from smap_simulator import history
from smap_simulator.recorder.filling import unshare
from smap_simulator.recorder.machine import File, Mailing, Process
from smap_simulator.recorder.scene import Act, Scene
from smap_simulator.recorder.strace import Call, Ended, descriptor_of, number_of, parts, text_of
from smap_simulator.recorder.tree import join

_CLONE = re.compile(r"CLONE_\w+")


def fork(scene: Scene, process: Process, call: Call) -> None:
    """fork(2), vfork(2), clone(2), clone3(2)."""
    assert call.result is not None
    flags = set(_CLONE.findall(" ".join(call.arguments)))
    shares_files = "CLONE_FILES" in flags
    if shares_files:
        process.table.users += 1
    is_thread = "CLONE_THREAD" in flags
    scene.processes[call.result] = Process(
        call.result,
        process.leader if is_thread else call.result,
        process.table if shares_files else process.table.copy(),
        process.where if "CLONE_FS" in flags else process.where.copy(),
        process.uid,
        process.gid,
        process.mailing,
    )
    if not is_thread:
        scene.tell(process, call, history.Spawn, call.result, scene.executing.get(call.result, ()))


def words(call: Call) -> tuple[str, ...]:
    """The arguments of a program that is executed."""
    return tuple(text_of(word) or "" for word in parts(call.arguments[2 if call.name == "execveat" else 1]))


def execute(scene: Scene, process: Process, call: Call) -> None:
    """execve(2), execveat(2): descriptors that close then do; a mailer begins its run."""
    unshare(process)
    for fd in [fd for fd, slot in process.table.slots.items() if slot.closes]:
        scene.close(process, fd, call)
    if call.program == "mailer" and process.mailing is None:
        thing = process.thing(0)
        process.mailing = Mailing(process.leader, words(call), thing)
        scene.tell(process, call, history.MailerStart, process.mailing.argv, process.mailing.inode)
        if isinstance(thing, File) and not thing.readable:
            scene.note(call, "the mailer's standard input cannot be read")


def ended(scene: Scene, end: Ended) -> None:
    """A process, or a thread, is no more."""
    process = scene.processes.pop(end.pid, None)
    if process is None:
        return
    mailing = process.mailing
    own = process.pid == process.leader
    if mailing is not None and mailing.process == process.pid:
        fields = (mailing.argv, bytes(mailing.read), end.status, mailing.inode)
        scene.events.append(history.MailerEnd(process.leader, end.program, *fields))
    scene.leave(process, end.program)
    if own:
        scene.events.append(history.Exit(process.leader, end.program, end.status))


# What paths and rights mean


def chdir(scene: Scene, process: Process, call: Call) -> None:
    """chdir(2)."""
    path = text_of(call.arguments[0])
    if path is not None:
        process.where.cwd = join(process.where.root, process.where.cwd, path)


def fchdir(scene: Scene, process: Process, call: Call) -> None:
    """fchdir(2)."""
    thing = scene.thing(process, call.arguments[0], call)
    _, where = descriptor_of(call.arguments[0])
    if isinstance(thing, File):
        process.where.cwd = scene.tree.path(thing.inode)
    elif where is not None:
        process.where.cwd = where


def chroot(scene: Scene, process: Process, call: Call) -> None:
    """chroot(2)."""
    path = text_of(call.arguments[0])
    if path is not None:
        process.where.root = join(process.where.root, process.where.cwd, path)


def umask(scene: Scene, process: Process, call: Call) -> None:
    """umask(2)."""
    process.where.umask = number_of(call.arguments[0]) or 0


def leave_shared(scene: Scene, process: Process, call: Call) -> None:
    """unshare(2)."""
    if "CLONE_FS" in call.arguments[0]:
        process.where = process.where.copy()
    if "CLONE_FILES" in call.arguments[0]:
        unshare(process)


def elsewhere(scene: Scene, process: Process, call: Call) -> None:
    """pivot_root(2), setns(2): from here on paths are guesses."""
    scene.note(call, "what paths mean to the process from here on is not known")


def set_ids(scene: Scene, process: Process, call: Call) -> None:
    """setuid(2), setreuid(2), setresuid(2), setfsuid(2), and the same for groups: who owns what is made from here."""
    numbers = [number_of(word) for word in call.arguments]
    effective = numbers[1] if len(numbers) > 1 else numbers[0]
    if effective is None or effective in (-1, 0xFFFFFFFF):
        return
    if "gid" in call.name:
        process.gid = effective
    else:
        process.uid = effective


ACTS: dict[str, Act] = {
    **dict.fromkeys(("fork", "vfork", "clone", "clone3"), fork),
    **dict.fromkeys(("execve", "execveat"), execute),
    "chdir": chdir,
    "fchdir": fchdir,
    "chroot": chroot,
    "umask": umask,
    "unshare": leave_shared,
    **dict.fromkeys(("pivot_root", "setns"), elsewhere),
    **dict.fromkeys(
        ("setuid", "setreuid", "setresuid", "setfsuid", "setgid", "setregid", "setresgid", "setfsgid"), set_ids
    ),
}
