"""Connections: what a client sent and was told, and descriptors that are passed from process to process."""

from __future__ import annotations

import re

from smap_simulator import history
from smap_simulator.dialogue import Dialogue
from smap_simulator.history import Event, Message, Reply
from smap_simulator.recorder.machine import Connection, File, Listener, Process, Stream
from smap_simulator.recorder.scene import Act, Scene, drained
from smap_simulator.recorder.strace import Call, bytes_of, descriptor_of, member, parts

_RIGHTS = re.compile(r"cmsg_type=SCM_RIGHTS, cmsg_data=\[([^\]]*)\]")


def hear(scene: Scene, process: Process, call: Call, connection: Connection, data: bytes) -> None:
    """Bytes to a client: the replies that they complete. What each promises is worked out when all is over."""
    *lines, connection.unfinished = (connection.unfinished + data).split(b"\r\n")
    for line in lines:
        if line[3:4] == b"-" or not line[:3].isdigit():
            continue
        connection.heard.append((len(scene.events), connection.read_bytes))
        text = line[4:].decode("latin-1")
        scene.tell(process, call, Reply, connection.session, int(line[:3]), text)


def read(connection: Connection, count: int, data: bytes | None) -> None:
    """Bytes from a client."""
    connection.read_bytes += count
    if data is not None:
        connection.received += data[:count]


def send(scene: Scene, process: Process, call: Call) -> None:
    """sendto(2), sendmsg(2), sendmmsg(2)."""
    _pass_on(scene, process, call)
    thing = scene.thing(process, call.arguments[0], call)
    if not call.result or not isinstance(thing, Connection | Stream):
        return
    data = bytes_of(call.arguments[1]) if call.name == "sendto" else _vectors(call.arguments[1])
    if data is None:
        scene.note(call, "what was sent is not in the log")
        return
    data = data[: call.result] if call.name != "sendmmsg" else data
    if isinstance(thing, Stream):
        thing.data += data
    else:
        hear(scene, process, call, thing, data)


def _vectors(word: str) -> bytes | None:
    """The bytes of a message, or of an array of messages."""
    if word.startswith("["):
        found = [_vectors(member(part, "msg_hdr")) for part in parts(word)]
    else:
        found = [bytes_of(member(part, "iov_base")) for part in parts(member(word, "msg_iov"))]
    return None if None in found else b"".join(piece or b"" for piece in found)


def receive(scene: Scene, process: Process, call: Call) -> None:
    """recvfrom(2), recvmsg(2), recvmmsg(2)."""
    _take_over(scene, process, call)
    thing = scene.thing(process, call.arguments[0], call)
    peeked = any("MSG_PEEK" in word for word in call.arguments[2:])
    if not call.result or peeked or call.name == "recvmmsg":
        return
    if isinstance(thing, Stream):
        scene.read_by(process, thing, drained(thing, call.result))
    elif isinstance(thing, Connection):
        word = call.arguments[1]
        read(thing, call.result, bytes_of(word) if call.name == "recvfrom" else _vectors(word))


def accept(scene: Scene, process: Process, call: Call) -> None:
    """accept(2), accept4(2): the next client of a listening smap."""
    assert call.result is not None
    if not isinstance(scene.thing(process, call.arguments[0], call), Listener):
        return
    ours = [one for one in scene.connections if one.session < 0]
    connection = ours[0] if ours else Connection(len(scene.connections) + 1)
    if ours:
        connection.session = -connection.session
    else:
        scene.connections.append(connection)
    closes = any("SOCK_CLOEXEC" in word for word in call.arguments)
    scene.install(process, call.result, connection, call, closes=closes)


# Descriptors that go from process to process


def _pass_on(scene: Scene, process: Process, call: Call) -> None:
    for word in call.arguments[1:2]:
        for found in _RIGHTS.finditer(word):
            for each in parts(f"[{found[1]}]"):
                thing = scene.thing(process, each, call)
                _, where = descriptor_of(each)
                if isinstance(thing, File) and where is not None:
                    thing.references += 1  # on its way
                    scene.passed.setdefault(where, []).append(thing)
                    scene.note(call, "a descriptor of a watched file was passed to another process")


def _take_over(scene: Scene, process: Process, call: Call) -> None:
    for word in call.arguments[1:2]:
        for found in _RIGHTS.finditer(word):
            for each in parts(f"[{found[1]}]"):
                fd, where = descriptor_of(each)
                if fd is not None and where is not None and scene.passed.get(where):
                    file = scene.passed[where].pop(0)
                    closes = any("MSG_CMSG_CLOEXEC" in flags for flags in call.arguments[2:])
                    scene.install(process, fd, file, call, closes=closes)
                    file.references -= 1


# When all is over


def settle(scene: Scene) -> list[Message]:
    """Write into each reply what it promises; returns the messages that the clients meant to send."""
    messages: list[Message] = []
    for connection in sorted(scene.connections, key=lambda one: abs(one.session)):
        script = connection.script if connection.script is not None else bytes(connection.received)
        dialogue = Dialogue(abs(connection.session), script)
        for at, read_bytes in connection.heard:
            dialogue.sent_bytes = min(read_bytes, len(script))
            reply = scene.events[at]
            assert isinstance(reply, Reply)
            promise = dialogue.reply(reply.code)
            scene.events[at] = _promising(reply, promise)
        messages += dialogue.messages
    return messages


def _promising(reply: Reply, promise: str) -> Event:
    fields = (reply.process, reply.program, reply.session, reply.code, reply.text, promise)
    return history.Reply(*fields)


ACTS: dict[str, Act] = {
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), send),
    **dict.fromkeys(("recvfrom", "recvmsg", "recvmmsg"), receive),
    **dict.fromkeys(("accept", "accept4"), accept),
}
