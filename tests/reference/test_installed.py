"""The installer: what it writes runs without the sources, and an interpreter of another version falls back on them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Installation, interpreter

# smapd, without its table: everything is imported by the time it complains, to the terminal too.
REFUSES = (78, "put netperm-table there")


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path, may_measure=False)  # measured programs import the sources
    yield installation
    installation.close()


def start(installed: Installation) -> tuple[int, str]:
    """smapd's exit status and its mend."""
    installed.table_path.unlink(missing_ok=True)
    done = subprocess.run([installed.smapd], env=installed.environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.rpartition("; ")[2].partition(",")[0]


def archive_of(installed: Installation) -> Path:
    (found,) = installed.smap.parent.glob("smap_reference.*")
    return found


def test_the_programs_run_without_the_sources(installed: Installation) -> None:
    shutil.rmtree(installed.root / "lib")
    assert start(installed) == REFUSES


def test_under_another_version_they_import_the_sources(installed: Installation) -> None:
    archive = archive_of(installed)
    archive.rename(archive.with_suffix(".cpython-27"))
    assert start(installed) == REFUSES
    shutil.rmtree(installed.root / "lib")
    assert start(installed)[0] == 1


def test_the_archive_belongs_to_the_version_that_packed_it(installed: Installation) -> None:
    program = installed.smap.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!").removesuffix(" -IS")
    argv = [program, "-IS", "-c", "import sys; print(sys.implementation.cache_tag)"]
    tag = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    assert archive_of(installed).name == f"smap_reference.{tag}"


def test_what_is_installed_again_takes_the_place_of_what_was(installed: Installation) -> None:
    module = installed.root / "lib/smap_reference/posix/identity.py"
    module.write_text(
        module.read_text(encoding="utf-8").replace("put netperm-table there", "mend it"), encoding="utf-8"
    )
    assert start(installed) == REFUSES, "what was packed goes on"
    subprocess.run(
        [interpreter(), "-m", "smap_reference", str(installed.smap.parent)],
        cwd=installed.root / "lib", check=True, capture_output=True,
    )  # fmt: skip
    assert start(installed) == (78, "mend it")
    assert not list(installed.smap.parent.glob("*.new"))


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["--help"]])
def test_wrong_arguments_are_told_how(arguments: list[str], tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "smap_reference", *arguments]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("usage: python3 -m smap_reference DIRECTORY")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_a_line_of_complaint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    argv = [sys.executable, "-m", "smap_reference", str(tmp_path / "file" / "libexec")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 73
    assert done.stderr == f"{tmp_path / 'file' / 'libexec'}: Not a directory; name a directory you can write to\n"
