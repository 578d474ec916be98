"""All modules of the reference, compiled, in one file: how the installed programs import them. Pure.

Strategy: a program that inetd starts for each client, or smapd for each message, spends more time on finding its
modules, one file after the other, than on running them. So the installer (`python3 -m smap_reference`) packs them, and
the programs hand the pack to `Archive`. What is run is what was there when it was installed, in one piece.
"""

import marshal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Packed = dict[str, tuple[bool, bytes]]  # name -> whether it is a package, its code


def pack(code: "CodeType") -> bytes:
    """One module's code, as it lies in the archive. Only the interpreter version that packed it can read it."""
    return marshal.dumps(code)


class Archive:
    """A finder for sys.meta_path, and the loader of what it finds (PEP 451)."""

    def __init__(self, packed: "Packed") -> None:
        self._packed = packed

    def find_spec(self, name: str, path: object, target: object = None) -> "ModuleSpec | None":
        if name not in self._packed:
            return None
        spec_type = type(sys.__spec__)  # importing it by its name would cost as much as five modules of ours
        return spec_type(name, self, is_package=self._packed[name][0])  # type: ignore[arg-type]

    def create_module(self, spec: object) -> None:
        """None asks for an ordinary module."""

    def exec_module(self, module: "ModuleType") -> None:
        exec(marshal.loads(self._packed[module.__name__][1]), vars(module))  # noqa: S102, S302 - what we packed ourselves
