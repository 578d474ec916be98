"""What the tests of the reference's processes share: an installation, a log daemon and a mailer of the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from own_log import Log
from own_mailer import Mailer
from programs import Installation, installation

StartSmapd = Callable[..., int]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool directory with a baddir in it, as the working directory."""
    (tmp_path / "bad").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def place(root: None) -> Iterator[Installation]:
    with installation() as built:
        yield built


@pytest.fixture
def log(place: Installation) -> Iterator[Log]:
    log = Log(place.root)
    yield log
    log.close()


@pytest.fixture
def mailer(place: Installation) -> Mailer:
    return Mailer(place)


@pytest.fixture
def smapd(place: Installation, log: Log, mailer: Mailer) -> StartSmapd:
    """Start smapd in the foreground, with these clauses; its process id."""

    def start(**clauses: object) -> int:
        place.table(smapd={"sendmail": mailer.path, **clauses})
        return place.start(*log.before, place.smapd).pid

    return start
