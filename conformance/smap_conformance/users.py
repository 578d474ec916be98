"""Whom the programs of a target run as once they have dropped their rights."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """Whom the `userid` clause names."""

    name: str
    uid: int
    gid: int


def user_for_targets(name: str | None = None) -> User:
    """The unprivileged user of the run: as root `nobody` (or `name`), else whoever we are. LookupError if unknown."""
    if os.geteuid() != 0:
        uid = os.geteuid()
        if name is not None:
            raise LookupError(f"only root can run a target as another user: leave {name!r} out, or be root")
        try:
            return User(pwd.getpwuid(uid).pw_name, uid, os.getegid())
        except KeyError:
            return User(str(uid), uid, os.getegid())
    try:
        entry = pwd.getpwnam(name or "nobody")
    except KeyError:
        raise LookupError(f"no user {name or 'nobody'!r} in the password database: name another with --user") from None
    if entry.pw_uid == 0:
        raise LookupError(f"{entry.pw_name!r} is root: --user wants an unprivileged one")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)
