"""How many crash states there are, how fast they come, and how both grow: `python bench/growth.py`.

A state is enumerated when its image is built and hashed; the recoveries are those of states that a program can tell
apart. Every figure is of this machine, today.
"""

import time
from dataclasses import replace

from smap_simulator import client, programs, scenario, world
from smap_simulator.client import Client, Read, Send
from smap_simulator.crash import Crashes
from smap_simulator.history import History
from smap_simulator.image import Image
from smap_simulator.scenario import Scenario

MODELS = ("ext4-ordered", "strict-posix")
SIZES_BYTES = (512, 4096, 16384, 65536)
MESSAGES = (1, 2, 4, 8)


def session(messages: int, size_bytes: int) -> Scenario:
    """So many messages of that size, in one session."""
    line = b"x" * 62 + b"\r\n"
    sent = b"".join(
        client.transaction(b"s%d@a.example" % number, body=b"Subject: %d\r\n\r\n" % number + line * (size_bytes // 64))
        for number in range(messages)
    )
    return replace(scenario.ONE_MESSAGE, clients=(Client("", (Send(client.HELO + sent + client.QUIT), Read(999))),))


def measure(history: History, model: str, lab: programs.Programs, plain: Scenario) -> tuple[int, int, float, float]:
    """States, distinct ones, states a second, recoveries a second."""
    crashes = Crashes(history, model)
    began_s = time.perf_counter()
    found: dict[str, Image] = {}
    states = 0
    for cut in crashes.cuts():
        for state in crashes.states(cut):
            states += 1
            found.setdefault(state.digest, state.image)
    built_s = time.perf_counter()
    for image in found.values():
        world.run(scenario.recovery(image, plain, messages=history.messages), lab)
    return states, len(found), states / (built_s - began_s), len(found) / (time.perf_counter() - built_s)


def main() -> None:
    lab = programs.load()
    print("| messages | bytes | model | states | distinct | states/s | recoveries/s |")
    print("|---|---|---|---|---|---|---|")
    shapes = [(1, size_bytes) for size_bytes in SIZES_BYTES] + [(messages, 512) for messages in MESSAGES[1:]]
    for messages, size_bytes in shapes:
        plain = session(messages, size_bytes)
        history = world.run(plain, lab).history
        for model in MODELS:
            states, distinct, enumerated, recovered = measure(history, model, lab, plain)
            row = (messages, size_bytes, model, states, distinct, f"{enumerated:.0f}", f"{recovered:.0f}")
            print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
