"""docs/INSTALL.md and samples/, followed to the letter on a machine of our own: see firewall.py."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from firewall import NAMESPACES, PATH, PATHS

FIREWALL = Path(__file__).with_name("firewall.py")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "INSTALL.md"
NEEDS = {
    "inetd": ["inetd"],
    "xinetd": ["xinetd"],
    "tcpserver": ["tcpserver"],
    "systemd": ["systemd-socket-activate", "setpriv"],
}
PACKAGES = {
    "inetd": "openbsd-inetd", "xinetd": "xinetd", "tcpserver": "ucspi-tcp", "systemd-socket-activate": "systemd",
    "systemctl": "systemd", "systemd-analyze": "systemd", "setpriv": "util-linux", "useradd": "passwd",
    "python3": "python3",
}  # fmt: skip


def must_have(*programs: str) -> None:
    """Skip, and say what for; where everything should be there, fail."""
    missing = [name for name in programs if shutil.which(name, path=PATHS) is None]
    if missing:
        absent(f"no {' '.join(missing)} here: apt-get install {' '.join(PACKAGES[name] for name in missing)}")


def absent(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def _a_machine_to_install_on() -> None:
    if os.geteuid() != 0:
        pytest.skip("installing is done as root")
    must_have("useradd", "python3")
    if subprocess.run([*NAMESPACES, "true"], check=False, capture_output=True).returncode:
        absent("no namespaces here: unshare is refused")
    old = "import sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([str(shutil.which("python3", path=PATH)), "-c", old], check=False).returncode:
        absent("the system's python3 is older than 3.11")


def on_the_firewall(*case: str) -> dict[str, Any]:
    """Run a case of firewall.py; what it found."""
    done = subprocess.run(
        [*NAMESPACES, sys.executable, str(FIREWALL), *case],
        env={"PATH": PATHS, "LANG": "C.UTF-8"}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_page_installs() -> None:
    assert on_the_firewall("install") == {
        "/var/spool/smap": "smap:smap 700",
        "/var/spool/smap.bad": "smap:smap 700",
        "/usr/local/etc/netperm-table": "root:root 644",
        "/usr/local/libexec/smap": "root:root 755",
        "/usr/local/libexec/smapd": "root:root 755",
    }


@pytest.mark.parametrize(
    ("how", "server"),
    [("nowait", server) for server in sorted(NEEDS)] + [("wait", "inetd"), ("wait", "systemd"), ("wait", "xinetd")],
)
def test_a_mail_through_each_super_server(how: str, server: str) -> None:
    must_have(*NEEDS[server])
    found = on_the_firewall(how, server)
    assert found["is"] == "smap:smap 755"
    heading, received, message = re.split(r"(?<=BODY\n)(Received: .*\n)", found["text"])
    assert heading == "FROM me@example.com\nRCPT postmaster\nRCPT you@example.org\nBODY\n"
    assert f"from client.example ([127.0.0.1]) by {os.uname().nodename} with SMTP id {found['name']};" in received
    assert message == f"Subject: {server}\n\nOne.\n.\nTwo.\n"
    taken, left = found["log"]
    assert f"taken file={found['name']} peer=127.0.0.1 helo=client.example from=<me@example.com>" in taken
    assert left.endswith("left peer=127.0.0.1 reason=quit messages=1")


@pytest.mark.parametrize("started_by", ["rc.local", "smapd.service"])
def test_the_whole_way(started_by: str) -> None:
    must_have("inetd")
    found = on_the_firewall("delivered", started_by)
    assert found["complaint"] == ""
    assert found["arguments"] == ["-i", "-f", "me@example.com", "postmaster", "you@example.org"]
    assert re.fullmatch(r"Received: .*\nSubject: delivered\n\nOne\.\n\.\nTwo\.\n", found["message"])
    taken, delivered = (re.search(r" file=(\S+)", line) for line in found["log"])
    assert taken is not None
    assert delivered is not None
    assert taken[1] == delivered[1]


def test_the_printed_session_and_log_are_what_happens() -> None:
    must_have("inetd")
    found = on_the_firewall("first mail")
    assert found["happened"] == found["printed"]
    printed = re.findall(r"^(smapd?\[\d+\]: .*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [_nameless(line) for line in found["log"]] == [_nameless(line) for line in printed]


def _nameless(log_line: str) -> str:
    """A log line without what differs from run to run."""
    text = re.sub(r"^<\d+>\w+ +\d+ [\d:]+ ", "", log_line)
    return re.sub(r"\[\d+\]", "[N]", re.sub(r"file=\S+", "file=F", text))


def test_cron_has_the_mailer_try_again() -> None:
    assert on_the_firewall("cron") == {"when": ["7,22,37,52", "*", "*", "*", "*"], "arguments": ["-q"]}


def test_systemd_finds_nothing_wrong_with_the_units() -> None:
    must_have("systemd-analyze")
    found = on_the_firewall("units")
    assert len(found["units"]) == 5
    assert (found["status"], found["said"]) == (0, "")


def test_old_partial_files_are_found_and_others_left() -> None:
    assert on_the_firewall("looked after") == {"left": ["locked", "new", "whole"]}


def test_an_upgrade_changes_over() -> None:
    must_have("inetd")
    found = on_the_firewall("upgraded")
    assert "'/usr/local/lib/smap.2'" in found["program"]
    assert " taken " in found["log"]


@pytest.mark.parametrize("socket_unit", ["smap.socket", "smap-wait.socket"])
def test_no_storm_of_clients_and_no_table_of_no_use_ends_the_socket(socket_unit: str) -> None:
    must_have("systemctl")
    assert on_the_firewall("stormed", socket_unit) == {"unit": "Result=success", "mail": 1}
