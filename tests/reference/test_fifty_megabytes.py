"""A big message of every kind of byte, through both programs, in little memory."""

from fifty_megabytes import BODY_BYTES, body_of_every_kind, carry, is_well
from own_log import Log
from own_mailer import Mailer
from programs import Installation


def test_fifty_megabytes_arrive_identical_in_little_memory(place: Installation, log: Log, mailer: Mailer) -> None:
    body = body_of_every_kind()
    assert len(body) >= BODY_BYTES
    assert set(body) == set(range(256))
    figures = carry(place, log, mailer, body)
    assert figures["replies"] == [220, 250, 250, 250, 354, 250]
    assert is_well(figures), figures


def test_the_judge_knows_a_wrong_byte_and_much_memory() -> None:
    well: dict[str, object] = {"sent sha256": "a", "delivered sha256": "a", "smap peak kB": 100}
    assert is_well(well)
    assert not is_well(well | {"delivered sha256": "b"})
    assert not is_well(well | {"smap peak kB": 40 << 10})
