"""`python3 -m smap_reference DIRECTORY`: install the two programs there, as a firewall runs them.

    DIRECTORY/smap, DIRECTORY/smapd           the programs: a few lines for this very interpreter
    DIRECTORY/smap_reference.cpython-311      what they import, compiled, in one file (see `archive`)

The interpreter is isolated (-I) and without site-packages (-S): nothing that a user's environment or another package
could change, and half the start-up time. After a change to the reference, run this again; until then the
programs go on with what was packed. Under an interpreter of another version they import the reference from where it
was now.
"""

import marshal
import os
import sys
from types import CodeType

from . import archive

_PROGRAM = """#!{interpreter} -IS
import marshal
import sys

try:
    with open({packed!r} + sys.implementation.cache_tag, "rb") as file:
        code, modules = marshal.loads(file.read())
    exec(code)
    sys.meta_path.insert(0, Archive(modules))
except FileNotFoundError:
    sys.path.insert(0, {root!r})

from smap_reference.posix.{module} import main

main()
"""

_HERE = os.path.dirname(os.path.abspath(__file__))


def install(directory: str) -> list[str]:
    """Write the programs `smap` and `smapd`, and what they import, into `directory`; the paths of the programs."""
    # The base interpreter: one in a virtual environment is a link that needs the environment's site-packages.
    interpreter = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    os.makedirs(directory, exist_ok=True)
    packed = os.path.join(os.path.abspath(directory), "smap_reference.")
    finder = _compiled(os.path.join(_HERE, "archive.py"))
    # First what is imported, then who imports it: at no instant does a program miss its modules.
    _replace(packed + sys.implementation.cache_tag, marshal.dumps((finder, _modules())), 0o644)
    written = []
    for program, module in (("smap", "receiving"), ("smapd", "delivering")):
        path = os.path.join(os.path.abspath(directory), program)
        text = _PROGRAM.format(interpreter=interpreter, packed=packed, root=os.path.dirname(_HERE), module=module)
        _replace(path, text.encode("utf-8"), 0o755)
        written.append(path)
    return written


def _replace(path: str, content: bytes, mode: int) -> None:
    """Write a file; whoever opens `path` finds the old one or the new one, whole."""
    with open(path + ".new", "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
    os.rename(path + ".new", path)


def _modules() -> "archive.Packed":
    """Every module but the installer."""
    found = {}
    for folder, _, names in os.walk(_HERE):
        package = os.path.relpath(folder, os.path.dirname(_HERE)).replace(os.sep, ".")
        for name in names:
            module, extension = os.path.splitext(name)
            if extension != ".py" or module == "__main__":
                continue
            is_package = module == "__init__"
            code = _compiled(os.path.join(folder, name))
            found[package if is_package else f"{package}.{module}"] = (is_package, archive.pack(code))
    return found


def _compiled(path: str) -> CodeType:
    with open(path, "rb") as file:
        return compile(file.read(), path, "exec", dont_inherit=True)


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(
            "usage: python3 -m smap_reference DIRECTORY    (writes the programs smap and smapd there)", file=sys.stderr
        )
        return os.EX_USAGE
    try:
        print("\n".join(install(sys.argv[1])))
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror}; name a directory you can write to", file=sys.stderr)
        return os.EX_CANTCREAT
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
