"""`python3 -m smap_reference DIRECTORY`: two programs, for this interpreter and this place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import smap_reference.__main__ as installer

ROOT = Path(installer.__file__).parent.parent


def test_it_writes_two_programs_and_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["smap_reference", str(tmp_path / "new/libexec")])
    before = os.umask(0o077)
    try:
        assert installer.main() == 0
    finally:
        os.umask(before)
    paths = [tmp_path / "new/libexec/smap", tmp_path / "new/libexec/smapd"]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    for path, module in zip(paths, ("receiving", "delivering"), strict=True):
        assert path.stat().st_mode & 0o7777 == 0o755
        first, *rest = path.read_text("utf-8").splitlines()
        assert first.startswith("#!/")
        assert first.endswith(" -IS")
        assert f"    sys.path.insert(0, {str(ROOT)!r})" in rest
        assert f"from smap_reference.posix.{module} import main" in rest
    assert sorted(os.listdir(tmp_path / "new/libexec")) == [
        "smap",
        "smap_reference." + sys.implementation.cache_tag,
        "smapd",
    ]


def test_what_it_writes_runs_whatever_the_environment_says(tmp_path: Path) -> None:
    smap, smapd = installer.install(str(tmp_path))
    hostile = {"PYTHONPATH": "/nonexistent", "PYTHONHOME": "/nonexistent", "PYTHONINSPECT": "1", "PATH": os.defpath}
    for program in (smap, smapd):
        arguments = [] if program == smap else ["-x"]
        done = subprocess.run(
            [program, *arguments], check=False, env=hostile, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 64  # it came as far as looking at what it was given


@pytest.mark.parametrize("arguments", [[], ["-h"], ["a", "b"]])
def test_it_says_how_it_is_used(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["smap_reference", *arguments])
    assert installer.main() == 64
    assert capsys.readouterr().err.startswith("usage: python3 -m smap_reference DIRECTORY")


def test_where_it_cannot_write_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["smap_reference", str(tmp_path / "file")])
    assert installer.main() == 73
    assert capsys.readouterr().err == f"{tmp_path}/file: File exists; name a directory you can write to\n"
