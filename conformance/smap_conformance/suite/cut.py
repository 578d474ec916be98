"""Recordings of real runs, cut at every point under every model, and the real smapd on what is left.

A scene sends its messages, lets smapd and the mailer do their part, and ends everybody; what was recorded is cut, the
remnants are recovered from side by side, and each broken guarantee is confirmed with its remnants laid down alone
before anything is said of the target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from smap_simulator import history as happening
from smap_simulator.check import NO_JOURNAL
from smap_simulator.history import History, Message
from smap_simulator.mailer import ACCEPTS, PERMFAIL, Script, always, first
from smap_simulator.mailer import TEMPFAIL as KEPT

from smap_conformance.expect import Miss, missed, not_measured
from smap_conformance.lab import Lab
from smap_conformance.laying import Outcome, lay, over, recover, recover_alone
from smap_conformance.place import Place
from smap_conformance.powercut import Broken, State, Survey, renumbered, worst
from smap_conformance.remnant import Disguise, Remnant, token
from smap_conformance.suite.load import Sent, a_message, send_all
from smap_conformance.tracing import Trace

ALONE_MAX = 12  # so many remnants are laid down alone, each with a smapd of its own
OTHERS_MAX = 3  # histories in which two calls went the other way round
HISTORY = "history.jsonl"  # the artefact that a page draws, and `smaplab replay ID --history` takes


def letters(*sizes: int) -> list[Sent]:
    """A message of about each size, with the token that it is known by."""
    return [a_message(token(chr(ord("a") + at)), size) for at, size in enumerate(sizes)]


# Scenes


@dataclass(frozen=True)
class Scene:
    """Messages in one session, then smapd with a mailer that behaves so. `runs`: how often it is to have run."""

    sizes: tuple[int, ...]
    script: Script | None = None  # None: no smapd
    runs: int = 0


SCENES = {
    "two messages in one session": Scene((300, 500)),
    "a message of several blocks": Scene((9000,)),
    "a delivery": Scene((300,), always(ACCEPTS), 1),
    "a move to baddir": Scene((300,), always(PERMFAIL), 1),
    "a temporary failure, then a delivery": Scene((300,), first(1, KEPT), 2),
}


def recorded(lab: Lab, scene: Scene) -> list[History]:
    """What the target did in a scene. Not measured where the recorder could not see all of it.

    Where calls overlapped, and it is not known which came first, the other ways follow.
    """
    with lab.place(trace=Trace()) as place:
        played(place, scene)
        return [seen_whole(place), *(other for other in place.recording().others(OTHERS_MAX) if not other.notes)]


def played(place: Place, scene: Scene) -> None:
    """All that happens in a scene; in the end everybody is gone."""
    send_all(place, letters(*scene.sizes))
    if scene.script is not None:
        delivered_as(place, scene.script, scene.runs)


def delivered_as(place: Place, script: Script, runs: int) -> None:
    """Start smapd, and end it when the mailer has run so often and the spool is empty."""
    place.mailer.script(script)
    smapd = place.start_smapd()
    place.wait_runs(runs)
    place.wait("the spool after the mailer's last run", "no whole file left", lambda: not place.whole())
    over(place, smapd, runs)


def seen_whole(place: Place, messages: tuple[Message, ...] = ()) -> History:
    """The recording of a place where everybody has ended. `messages` lay in the spool before."""
    history = place.recording(messages).history
    if history.notes:
        not_measured(f"the recording has gaps: {'; '.join(history.notes)}")
    return history


def recovery_recorded(lab: Lab, survey: Survey, state: State, scene: Scene) -> History:
    """What smapd did with a crash state, with the scene's mailer; its inodes are those of the state."""
    assert scene.script is not None
    with lab.place(trace=Trace()) as place:
        for remnant in state.remnants:
            lay(place, remnant, Disguise(0, {}))
        delivered_as(place, scene.script, scene.runs)
        return renumbered(seen_whole(place, survey.history.messages), state.crash.image)


def beginnings(survey: Survey) -> list[State]:
    """Crash states that a recovery has work with: a promised message in the spool; one on its way to baddir, if any."""
    found = []
    for wanted in (is_in_the_spool, is_in_both):
        states = (
            state
            for state in survey.states
            if state.crash.model not in NO_JOURNAL and wanted(state) and survey.past(state.crash).promises
        )
        found += list(islice(states, 1))
    return found


def is_in_the_spool(state: State) -> bool:
    """Whether there is a whole message, and nothing else."""
    return [len(remnant.files) for remnant in state.remnants if remnant.marked] == [1]


def is_in_both(state: State) -> bool:
    """Whether a message has a name in the spool and another one in baddir."""
    return any(remnant.marked and len(remnant.files) > 1 for remnant in state.remnants)


# Judging


class Trial:
    """One recording in a lab: its survey, the outcome of each remnant, and what is broken."""

    def __init__(self, lab: Lab, survey: Survey, tally: Counter[str]) -> None:
        self._lab, self.survey, self._tally = lab, survey, tally
        self.outcomes: dict[str, Outcome] = {}
        tally.update(survey.counts)

    def recover(self) -> None:
        """The real smapd, once, for every remnant; alone where side by side tells too little."""
        remnants = list(self.survey.remnants.values())
        try:
            self.outcomes = recover(self._lab, remnants, self.survey.made)
            self._tally["recoveries"] += len(remnants)
        except ValueError:  # names that leave too little to change
            self.outcomes = {}
        whole = [remnant for remnant in remnants if self._is_whole(remnant)]
        if not whole:
            return
        if not self._is_delivered(whole[0]):
            alone = self._alone(whole[0])
            if not alone.runs:
                not_measured("this smapd does not deliver the file of its own smap when it is put back by its name")
            self.outcomes = {whole[0].digest: alone}  # it takes no disguise: all alone, then, the marked ones first
            for remnant in sorted(remnants, key=lambda each: not each.marked)[:ALONE_MAX]:
                if remnant.digest not in self.outcomes:
                    self._alone(remnant)
        for remnant in remnants:
            if self._is_doubtful(remnant) and self._tally["laid alone"] < ALONE_MAX:
                self._alone(remnant)

    def _is_whole(self, remnant: Remnant) -> bool:
        """Whether it is a promised message just as smap left it: what any smapd must deliver."""
        past = self.survey.past()
        whole = [past.whole(each.inode) for each in past.promises if each.message == remnant.label]
        return remnant.marked and len(remnant.files) == 1 and remnant.files[0].data in whole

    def _is_delivered(self, remnant: Remnant) -> bool:
        outcome = self.outcomes.get(remnant.digest)
        return outcome is not None and bool(outcome.runs)

    def _is_doubtful(self, remnant: Remnant) -> bool:
        """Whether it has gone from the spool, and nobody knows what the mailer was given."""
        outcome = self.outcomes.get(remnant.digest)
        if outcome is None or outcome.alone or outcome.runs:
            return False
        return {(left.place, left.path) for left in remnant.files} != outcome.names

    def _alone(self, remnant: Remnant) -> Outcome:
        self._tally["laid alone"] += 1
        self._tally["recoveries"] += 1
        found = self.outcomes[remnant.digest] = recover_alone(self._lab, remnant)
        return found

    def confirmed(self) -> list[Broken]:
        """The first state that breaks each rule, with as few omissions as can be, seen alone as well."""
        for _ in range(ALONE_MAX):
            found = [
                self.survey.minimal(each, self.outcomes) for each in worst(list(self.survey.broken(self.outcomes)))
            ]
            unsure = [
                remnant
                for each in found
                for remnant in self.survey.state(each.id).remnants
                if not self.outcomes[remnant.digest].alone
            ]
            if not unsure:
                return found
            for remnant in unsure:
                if not self.outcomes[remnant.digest].alone:
                    self._alone(remnant)
        return found

    def _is_complete(self) -> None:
        """Not measured, unless each remnant has an outcome."""
        left_out = len(self.survey.remnants.keys() - self.outcomes.keys())
        if left_out:
            not_measured(
                f"this smapd takes its own files under their own names only, so each crash state needs a smapd of its"
                f" own: {left_out} of {len(self.survey.remnants)} remnants were left out"
            )

    def judge(self, rules: Sequence[str]) -> None:
        """Miss for each rule that is broken, in this order, told as counterexamples; the history is an artefact.

        The scene is the disk that the crash left, by the first of them. Where nothing is broken, and not every state
        was recovered from, the case is not measured.
        """
        found = sorted((it for it in self.confirmed() if it.rule in rules), key=lambda it: rules.index(it.rule))
        if not found:
            self._is_complete()
            return
        with self._lab.place() as place:
            for remnant in self.survey.state(found[0].id).remnants:
                lay(place, remnant, Disguise(0, {}))
            place.exhibits[HISTORY] = happening.dump(self.survey.history)
            misses, told = [], []
            for each in found:
                example = self.survey.example(each, self.outcomes, f"smaplab replay {each.id} --history {HISTORY}")
                told.append(example.plain())
                place.exhibits.setdefault("counterexample.json", example.json())  # the worst one is drawn
                what = f"a crash of {example.state.model} at {example.state.id}"
                misses.append(Miss(what, acceptable(each), actual(each, example.hint), each.rule))
            place.exhibits["counterexamples"] = "\n".join(told)
            missed(misses)


def acceptable(broken: Broken) -> str:
    """What would have been right."""
    return {
        "LOST": "each message that got its 250 delivered, or whole in the spool or in baddir",
        "BADDIR": "a message on its way to baddir in one of the two",
        "MARK": "mode 755 on nothing but a whole message",
        "PARTIAL": "nothing but whole messages at the mailer",
        "DUPLICATE": "no second delivery once the first is over",
        "STUCK": "each whole message delivered",
    }.get(broken.violation.word, broken.violation.sentence)


def actual(broken: Broken, hint: str) -> str:
    """What came, in one line."""
    each = broken.violation
    told = " ".join(filter(None, (f"{each.word}:", each.message, each.detail)))
    return f"{told}; {hint}" if hint else told
