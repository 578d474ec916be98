"""Clients for the wait mode, cheap enough to leave the machine to smap: `load.py PORT CLIENTS SESSIONS MESSAGES HOW`.

One process, one epoll, the bytes made up beforehand. Each client has `SESSIONS` sessions of `MESSAGES` messages one
after the other. HOW is `lockstep` (every command waits for its reply, as RFC 5321 has it) or `pipelined` (MAIL,
RCPT and DATA in one piece, against the rules of a server that does not offer it, and taken all the same).
Prints the seconds from the first connection to the last farewell. A reply that is not the expected one ends it.
"""

import select
import socket
import sys
import time

_LINE = b"All work and no play makes Jack a dull boy, and one thousand bytes an ordinary message.\r\n"
MESSAGE = b"Subject: load\r\n\r\n" + _LINE * 11 + b".\r\n"  # 1 kB

# What to send, and the codes that answer it
Steps = list[tuple[bytes, list[bytes]]]


def script(messages: int, *, pipelined: bool) -> Steps:
    """One session after its greeting."""
    envelope: Steps = [
        (b"MAIL FROM:<load@outside.example>\r\n", [b"250"]),
        (b"RCPT TO:<user@inside.example>\r\n", [b"250"]),
        (b"DATA\r\n", [b"354"]),
    ]
    if pipelined:
        envelope = [(b"".join(sent for sent, _ in envelope), [code for _, codes in envelope for code in codes])]
    once: Steps = [*envelope, (MESSAGE, [b"250"])]
    return [(b"HELO load.example\r\n", [b"250"]), *once * messages, (b"QUIT\r\n", [b"221"])]


class Client:
    """One client, with its sessions one after the other."""

    __slots__ = ("_at", "_awaited", "_got", "_port", "_sessions", "_steps", "connection")

    def __init__(self, port: int, sessions: int, steps: Steps) -> None:
        self._port = port
        self._sessions = sessions
        self._steps = steps
        self._connect()

    def _connect(self) -> None:
        self.connection = socket.create_connection(("127.0.0.1", self._port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        self._at = 0
        self._awaited = [b"220"]

    def go_on(self) -> bool:
        """Take what has arrived and send what follows; False when the session is over."""
        self._got += self.connection.recv(4096)
        if not self._got:
            sys.exit("load: the server hung up")
        if self._got.count(b"\n") < len(self._awaited):
            return True
        codes = [line[:3] for line in self._got.splitlines()]
        if codes != self._awaited:
            sys.exit(f"load: {b' '.join(self._awaited).decode()} awaited, got {self._got!r}")
        if self._at == len(self._steps):
            self.connection.close()
            return False
        self._got = b""
        sent, self._awaited = self._steps[self._at]
        self._at += 1
        self.connection.sendall(sent)
        return True

    def again(self) -> bool:
        """Begin the next session; False when there is none."""
        self._sessions -= 1
        if not self._sessions:
            return False
        self._connect()
        return True


def run(port: int, clients: int, sessions: int, steps: Steps) -> float:
    """Seconds for all clients to be done."""
    epoll = select.epoll()
    by_fd: dict[int, Client] = {}
    began_s = time.perf_counter()

    def register(client: Client) -> None:
        by_fd[client.connection.fileno()] = client
        epoll.register(client.connection.fileno(), select.EPOLLIN)

    for _ in range(clients):
        register(Client(port, sessions, steps))
    while by_fd:
        for fd, _ in epoll.poll():
            client = by_fd[fd]
            if not client.go_on():
                del by_fd[fd]
                if client.again():
                    register(client)
    return time.perf_counter() - began_s


def main() -> None:
    port, clients, sessions, messages = (int(word) for word in sys.argv[1:5])
    print(run(port, clients, sessions, script(messages, pipelined=sys.argv[5] == "pipelined")))


if __name__ == "__main__":
    main()
