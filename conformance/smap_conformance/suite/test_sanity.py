"""The whole way: one mail in through smap, out through smapd to an inside MTA, byte for byte."""

import pytest

from smap_conformance.lab import Lab
from smap_conformance.sanity import deliver_one

pytestmark = pytest.mark.sanity


@pytest.mark.rule("SCAN-02", "MAILER-03")
def test_a_mail_goes_in_and_comes_out_unchanged(lab: Lab) -> None:
    missed = lab.sanity(deliver_one)
    if missed is not None:
        raise missed
