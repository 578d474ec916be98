"""One test-running process's laboratory: the sandbox, the target in it, and the places where cases happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smap_conformance.expect import Miss, Overdue
from smap_conformance.patience import OVERDUE_MAX, Patience
from smap_conformance.place import Place, Shape
from smap_conformance.sandbox import Sandbox
from smap_conformance.target import Target, interpreter_paths, reference
from smap_conformance.users import User


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says about a run."""

    target: Target | None  # None: the reference
    user: User
    timeout_scale: float = 1.0
    isolate: bool = True


class Lab:
    """Opened once for each pytest session or worker; `place()` for each case or example."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.patience = Patience(settings.timeout_scale)
        self._number = 0
        self._open: list[Place] = []
        self._last_scene: dict[str, str] = {}
        self.sanity_miss: Miss | None = None
        self.sanity_done = False
        needed = [*interpreter_paths(), *(settings.target.needs if settings.target else ())]
        self.sandbox = Sandbox(settings.user, needed, isolate=settings.isolate)
        try:
            self.target = settings.target or self._make_reference()
        except BaseException:
            self.sandbox.close()
            raise

    def _make_reference(self) -> Target:
        directory = self.sandbox.work / "reference"
        directory.mkdir(mode=0o755)
        return reference(directory)

    @property
    def scale(self) -> float:
        """Every bound is multiplied by this."""
        return self.patience.scale

    def place(self, **shape: Any) -> Place:
        """A new place (`Shape` has the options); use it in a `with` statement."""
        self._number += 1
        place = Place(self, self._number, Shape(**shape))
        self._open.append(place)
        return place

    def closing(self, place: Place, failed: bool) -> None:
        """A place is about to close: keep its scene when it closes for a failure."""
        if failed:
            self._last_scene = place.describe()
        if place in self._open:
            self._open.remove(place)

    def begin_case(self) -> None:
        """Forget the scene of the last failure."""
        self._last_scene = {}

    def scene(self) -> dict[str, str]:
        """What the failing place looked like (file name → text)."""
        described = [place.describe() for place in self._open if place.root.exists()]
        return described[-1] if described else self._last_scene

    def sanity(self, deliver: Callable[[Place], None]) -> Miss | None:
        """The first sanity delivery, once for each process: None when mail gets through."""
        if not self.sanity_done:
            self.sanity_miss = self.try_delivery(deliver)
            self.sanity_done = True  # not when the machine has no means for it
            if isinstance(self.sanity_miss, Overdue):
                self.patience.overdue = OVERDUE_MAX + 1
        return self.sanity_miss

    def try_delivery(self, deliver: Callable[[Place], None]) -> Miss | None:
        """One delivery in a place of its own; the Miss if the target failed it."""
        try:
            with self.place() as place:
                deliver(place)
        except Miss as miss:
            return miss
        return None

    def close(self) -> None:
        """Leave nothing behind."""
        self.sandbox.close()
