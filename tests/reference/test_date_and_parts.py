"""Small pure functions of the two programs: the date of the trace line, argument lists, what an exit status means."""

import email.utils
import itertools
import os
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smap_reference import limit
from smap_reference.smap import date
from smap_reference.smapd import ASIDE, DELIVERED, KEPT, OUTCOMES, outcome, parts

LAST_S = 253_402_300_799  # the end of the year 9999: four digits are all that RFC 5322 has for it


@given(st.integers(0, LAST_S))
@example(0)
@example(951_782_400)  # 29 February 2000
@example(4_107_542_399)  # 28 February 2100, which has no 29th
@example(LAST_S)
def test_the_date(now_s: int) -> None:
    assert date(now_s) == email.utils.format_datetime(datetime.fromtimestamp(now_s, UTC))
    assert email.utils.parsedate_to_datetime(date(now_s)).timestamp() == now_s


def test_the_first_and_last_day_of_each_month_for_500_years() -> None:
    for year in range(1970, 2470):
        for month in range(1, 13):
            first = datetime(year, month, 1, tzinfo=UTC)
            for now_s in (int(first.timestamp()), int(first.timestamp()) - 1):
                if now_s >= 0:
                    assert date(now_s) == email.utils.format_datetime(datetime.fromtimestamp(now_s, UTC))


RECIPIENTS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=40)


@given(RECIPIENTS, st.integers(1, 200))
def test_each_recipient_is_in_one_part_in_order(recipients: list[bytes], most: int) -> None:
    cut = list(parts(recipients, most))
    assert [recipient for part in cut for recipient in part] == recipients
    sizes = [[len(recipient) + 9 for recipient in part] for part in cut]
    assert all(sum(part) <= most or len(part) == 1 for part in sizes)
    # Greedy: no part could have had the next one's first.
    assert all(sum(part) + following[0] > most for part, following in itertools.pairwise(sizes))


def test_a_usual_message_is_one_part() -> None:
    usual = [b"l" * 64 + b"@" + b"d" * 100] * 500
    assert list(parts(usual, limit.ARGUMENT_BYTES_MAX)) == [usual]


@pytest.mark.parametrize("status", range(-64, 256))
def test_every_exit_status(status: int) -> None:
    later = {os.EX_NOINPUT, os.EX_OSERR, os.EX_OSFILE, os.EX_CANTCREAT, os.EX_IOERR, os.EX_TEMPFAIL}
    wanted = KEPT if status < 0 or status in later else DELIVERED if status == 0 else ASIDE
    assert outcome(status) == wanted


def test_only_one_status_means_delivered() -> None:
    assert [status for status, meant in OUTCOMES.items() if meant == DELIVERED] == [0]
