"""What the command line prints of an answer or a failure: for people, and with --json for programs."""

from __future__ import annotations

import argparse
import json

import pytest

from zkmarket.cli.output import Answer
from zkmarket.cli.parser import main
from zkmarket.errors import TransactionReverted
from zkmarket.progress import Progress

pytestmark = pytest.mark.unit

REASON = "WrongPhase(have=CREATED, want=SUBMIT)"


def test_a_refusal_is_a_sentence_and_for_programs_what_the_contract_said(capsys: pytest.CaptureFixture[str]) -> None:
    def run(arguments: argparse.Namespace, progress: Progress) -> Answer:
        raise TransactionReverted("join was reverted: too early", REASON)

    assert main(["trainer", "join", "--state", "ann", "--json"], run) == 4
    out, err = capsys.readouterr()
    assert err == "zkmarket trainer: join was reverted: too early\n"
    assert json.loads(out) == {
        "error": "TransactionReverted",
        "message": "join was reverted: too early",
        "exit_code": 4,
        "reason": REASON,
    }
