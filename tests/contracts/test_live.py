"""The live page's data, of a project in each of its phases.

snapshot(project, terms)
├── it should say phase, people, seats and rounds as the chain has them, in JSON
└── LivePage: it should serve them, and a recording of all of it
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from tests.contracts.world import ETHER, Scene
from zkmarket.chain import LIBRARIES, Phase
from zkmarket.live import LivePage, app, snapshot

pytestmark = pytest.mark.chain


def told(scene: Scene) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(snapshot(scene.project, scene.project.terms())))
    return found


@pytest.mark.parametrize("phase", [Phase.CREATED, Phase.OPEN, Phase.SUBMIT, Phase.ADMIT, Phase.PROVE])
def test_a_phase(scene: Scene, phase: Phase) -> None:
    scene.reach(phase)
    found = told(scene)
    people = 0 if phase == Phase.CREATED else len(scene.trainers)
    seats = len(scene.trainers) if phase in (Phase.ADMIT, Phase.PROVE) else 0
    assert (found["phase"], len(found["members"]), len(found["seats"])) == (phase.name, people, seats)
    assert all(seat["admitted"] == (phase == Phase.PROVE) for seat in found["seats"])
    assert found["turn"].endswith(".") and found["settlements"] == []
    assert found["deadline"] == scene.project.state().deadline


def test_a_settled_round_and_the_page_of_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.reach(Phase.PROVE)
    scene.settle()
    found = told(scene)
    (round_,) = found["settlements"]
    assert [slot["trainer"] for slot in round_["slots"]] == [str(one) for one in scene.trainers]
    assert found["phase"] == "SETTLED" and found["settled"] == 1
    (settled,) = scene.project._of_round("Settled", 1)
    assert round_["transaction"] == settled.transaction
    pay = settled.arguments["settlement"]["pay"]
    assert sum(pay) <= ETHER and {one["paid"] for one in found["members"]} == {slot["pay"] for slot in round_["slots"]}

    monkeypatch.setattr(app, "script", lambda: "run()")
    got: list[Any] = []
    asked = {"PATH_INFO": "/replay.json", "REQUEST_METHOD": "GET"}
    body = b"".join(LivePage(scene.project).app(asked, lambda *given: got.extend(given)))
    assert got[0] == "200 OK"
    replay = json.loads(body)
    recording = json.loads(zlib.decompress(base64.b64decode(replay["recording"])))
    assert recording["project"] == scene.project.address and set(replay["known"]["code"]) == {"Factory", *LIBRARIES}
