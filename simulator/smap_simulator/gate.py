"""What stands before each system call of a simulated process.

At the gate the world switches processes, injects faults and kills; behind it, the call does what the kernel would.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast

from smap_simulator.history import Failed
from smap_simulator.inode import failure

if TYPE_CHECKING:
    from smap_simulator.descriptors import Descriptors

P = ParamSpec("P")
T = TypeVar("T")


class Gate(Protocol):
    """See the module."""

    def before(self, call: str) -> None:
        """Called before each call; may switch to other processes, raise the error of a fault, or never return."""

    def after(self, call: str) -> None:
        """Called when the call has done its work; may raise all the same (close), or never return."""

    def write_bytes_max(self, size_bytes: int) -> int:
        """How many of `size_bytes` bytes a write may take."""

    def hang(self) -> None:
        """The call waits for something that never comes."""


class OpenGate:
    """A gate that lets everything through; a call that would wait for ever fails with EAGAIN."""

    def before(self, call: str) -> None:
        """Nothing stands here."""

    def after(self, call: str) -> None:
        """Nor here."""

    def write_bytes_max(self, size_bytes: int) -> int:
        """All of them."""
        return size_bytes

    def hang(self) -> None:
        """Nobody else is there to wait for."""
        raise failure(errno.EAGAIN)


class InjectedError(OSError):
    """An error that a fault made; it is recorded as such, and goes on to the program as the error of its errno."""


def call(method: Callable[Concatenate[Descriptors, P], T]) -> Callable[Concatenate[Descriptors, P], T]:
    """A system call: through the gate, with its failure recorded."""
    name = method.__name__

    @wraps(method)
    def gated(self: Descriptors, *args: P.args, **kwargs: P.kwargs) -> T:
        inode = self.inode_of(args[0]) if args else 0
        try:
            self.gate.before(name)
            result = method(self, *args, **kwargs)
            self.gate.after(name)
        except OSError as error:
            injected = type(error) is InjectedError
            number = error.errno or errno.EIO
            self.tell(Failed(self.process, self.program, name, number, inode, injected))
            self.gate.after(name)
            if injected:
                raise failure(number) from None
            raise
        return result

    return cast("Callable[Concatenate[Descriptors, P], T]", gated)
