"""Verbs of the aggregator."""

from __future__ import annotations

import argparse

from ..progress import Progress
from .desk import Answer, lines, open_desk
from .trainer import import_keyring

# ---------------------------------------------------------------- aggregator, auditor


def aggregator_run(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import aggregator

    with open_desk(arguments, progress) as desk:
        import_keyring(arguments, desk)
        result = aggregator.Aggregator(desk, arguments.trainers, arguments.withdraw).run()
    return result, lines(result)


def aggregator_status(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from ..roles import aggregator

    with open_desk(arguments, progress) as desk:
        result = aggregator.status(desk)
    return result, lines(result)
