"""What the tests of the suite share: an installed reference."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The reference's smap and smapd, installed."""
    directory = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, "-m", "smap_reference", str(directory)], check=True, capture_output=True)
    return directory / "smap", directory / "smapd"
