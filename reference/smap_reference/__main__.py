"""`python3 -m smap_reference DIRECTORY`: install the two programs there, as a firewall runs them.

Each is a few lines for this very interpreter, isolated (-I) and without site-packages (-S): nothing that a user's
environment or another package could change, and half the start-up time. They import the reference from where it
is now; to move it, run this again.
"""

import compileall
import os
import sys

_PROGRAM = """#!{interpreter} -IS
import sys

sys.path.insert(0, {root!r})
from smap_reference.posix.{module} import main

main()
"""


def install(directory: str) -> list[str]:
    """Write the programs `smap` and `smapd` into `directory`; their paths."""
    # The base interpreter: one in a virtual environment is a link that needs the environment's site-packages.
    interpreter = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    os.makedirs(directory, exist_ok=True)
    written = []
    for program, module in (("smap", "receiving"), ("smapd", "delivering")):
        path = os.path.join(os.path.abspath(directory), program)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(_PROGRAM.format(interpreter=interpreter, root=root, module=module))
            os.fchmod(file.fileno(), 0o755)
        os.rename(path + ".new", path)
        written.append(path)
    # Now, as whoever installs: not by the first client's smap, with whatever umask inetd has.
    compileall.compile_dir(os.path.dirname(os.path.abspath(__file__)), quiet=1)
    return written


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
