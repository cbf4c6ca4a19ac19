"""Events: what roles tell other programs with --json, on stderr, and that the demo hears it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.desks import admitting, at, opening, past, seat
from tests.support.past import ME, OTHER, Past, commits, state_of
from zkmarket.chain import Phase
from zkmarket.cli.output import progress_on
from zkmarket.demo.stage import Stage, events_in
from zkmarket.errors import SealError
from zkmarket.market import SealingKey, Seat
from zkmarket.progress import quiet, tell
from zkmarket.roles import Desk
from zkmarket.roles.admission import Awaited

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("commits")]
__all__ = ["at", "commits", "past"]  # the fixtures


class Listener(list[dict[str, Any]]):
    """A progress callback that takes events."""

    def __call__(self, text: str) -> None:
        pass

    def event(self, facts: dict[str, Any]) -> None:
        self.append(facts)


def test_a_callback_without_the_method_gets_none() -> None:
    tell(quiet, "verified", round=1)
    tell(heard := Listener(), "verified", round=1)
    assert heard == [{"event": "verified", "round": 1}]


@pytest.mark.parametrize("events", [False, True])
def test_they_are_lines_of_stderr_if_they_are_wanted(events: bool, capsys: pytest.CaptureFixture) -> None:
    with progress_on(silent=False, events=events) as progress:
        progress("a step")
        tell(progress, "received", round=2)
    out, err = capsys.readouterr()
    first, *rest = err.splitlines()
    assert (out, first) == ("", "· a step")
    assert [json.loads(line) for line in rest] == [{"event": "received", "round": 2}] * events


def test_quiet_means_none(capsys: pytest.CaptureFixture) -> None:
    with progress_on(silent=True, events=True) as progress:
        tell(progress, "received", round=2)
    assert capsys.readouterr() == ("", "")


def test_a_round_is_told_of_once_and_only_what_was_received(past: Past, at: Desk) -> None:
    at.progress = heard = Listener()
    past.started(1)
    past.settled(1, at.sealing_key, closed=False)
    served, verified = dict(past.store.blobs), set[int]()
    past.store.blobs.clear()
    for _ in range(2):
        at.receive(state_of(Phase.SETTLED), at.history.log(), may_claim=False, verified=verified)
    assert heard == [{"event": "verified", "round": 1}]
    past.store.blobs.update(served)
    for _ in range(2):
        at.receive(state_of(Phase.SETTLED), at.history.log(), may_claim=False, verified=verified)
    assert heard == [{"event": "verified", "round": 1}, {"event": "received", "round": 1}]


def test_who_is_refused_is_told_when_nothing_is_checked(past: Past, at: Desk) -> None:
    """While ezkl checks an update in another thread, it has the streams turned away: an event would be lost."""
    at.progress = heard = Listener()
    key = SealingKey.fresh()
    past.started(1, key=key.public)
    late = seat(past, key, opening(2), ME)
    admission, _ = admitting(past, at, key)
    admission.refuse(Awaited(1, OTHER, bytes(32)), SealError("never"))
    assert heard == []
    admission.admit(state_of(Phase.ADMIT), at.history.log(), key)
    admission.refuse_undelivered([Awaited(1, ME, late.word)])
    assert heard == [{"event": "refused", "round": 1, "trainer": who} for who in (OTHER, ME)]


# ---------------------------------------------------------------- the demo


def test_events_are_read_among_progress(tmp_path: Path) -> None:
    log = tmp_path / "auditor.log"
    log.write_text('· a step\n{"event": "verified", "round": 1}\n· {"event": "no"}\n{"event": "verified", "rou')
    assert events_in(log) == [{"event": "verified", "round": 1}]


def program(*events: tuple[str, int, str]) -> Any:
    """A program that has told of these: event, round, trainer."""
    told = [{"event": event, "round": number, "trainer": who} for event, number, who in events]
    return SimpleNamespace(
        told=lambda event, number: [one for one in told if (one["event"], one["round"]) == (event, number)]
    )


def test_the_clock_waits_for_every_decision() -> None:
    """As long as nobody is refused, the aggregator locks the round itself."""
    stage = Stage.__new__(Stage)
    seats = [Seat(ME, True, bytes(32)), Seat(OTHER, False, bytes(32))]
    project: Any = SimpleNamespace(seats=lambda: seats)
    stage.programs = {"aggregator": program()}
    assert not stage.all_decided(project, 1)
    stage.programs = {"aggregator": program(("refused", 1, OTHER))}
    assert stage.all_decided(project, 1) and not stage.all_decided(project, 2)
    seats[0] = replace(seats[0], admitted=False)
    assert not stage.all_decided(project, 1)


@pytest.mark.parametrize("silent", ["owner", "trainer-0", "auditor"])
def test_the_clock_waits_for_everybody_with_a_seat(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """trainer-1 has no seat."""
    stage = Stage.__new__(Stage)
    stage.names, stage.addresses = ["trainer-0", "trainer-1"], {"trainer-0": ME, "trainer-1": OTHER}
    log = SimpleNamespace(settled=lambda: [SimpleNamespace(trainers=(ME,))])
    monkeypatch.setattr("zkmarket.market.Log", lambda events: log)
    project: Any = SimpleNamespace(events=tuple)
    told = {name: program(("received", 1, ""), ("verified", 1, "")) for name in ("owner", "trainer-0", "auditor")}
    stage.programs = told
    assert stage.all_received(project, 1)
    stage.programs = told | {silent: program()}
    assert not stage.all_received(project, 1)
