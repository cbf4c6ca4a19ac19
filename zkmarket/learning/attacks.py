"""Trainers that cheat, for the demo and the tests: what each sends instead of an honest update."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from .datasets import Dataset
    from .lesson import Learn, Lesson
    from .streams import Stream


ATTACKS = {
    "sign-flip": "the opposite of the honest update",
    "noise": "noise as long as the honest update",
    "scale": "five times the opposite of the honest update",
    "label-flip": "an honest update of data with wrong labels",
    "free-ride": "no training: the last aggregate again, and next to nothing in the first round",
    "copy": "another's digest and CID, under one's own name",
    "out-of-range": "an honest update with one value beyond the range, so that the round could not be proven",
    "collude": "clones: one honest update, submitted by several identities, one more than the filter bears",
}


REFUSED = ("copy", "out-of-range")
"""What an aggregator gives no receipt for: the digest binds its sender, and the range is checked at admission."""


def poisoned(attack: str, honest: np.ndarray, last: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """An attacker's update, from the one that it would have made honestly and the last aggregate's mean."""
    length = np.linalg.norm(honest)
    if attack == "sign-flip":
        return -honest
    if attack == "noise":
        noise = rng.normal(size=honest.shape)
        return np.asarray(noise * length / np.linalg.norm(noise))
    if attack == "scale":
        return -5 * honest
    if attack == "free-ride":
        return rng.normal(size=honest.shape) * 1e-3 if last is None else last
    return honest  # poisoned are a label-flipper's data, a copied digest, an opened value, identities: not the update


def wrong_labels(data: Dataset | Stream) -> Dataset:
    """The same inputs with the classes in reverse order."""
    from .datasets import Dataset

    if not isinstance(data, Dataset) or not data.labelled:
        raise InputError("label-flip needs class labels of rows in memory")
    return Dataset(data.inputs, data.targets.max() - data.targets)


def attacking(attack: str, learn: Learn, seed: int) -> Learn:
    """The poisoned `learn`."""
    rng = np.random.default_rng(seed)
    return lambda lesson: poisoned(attack, _honest(attack, learn, lesson), lesson.last, rng)


def _honest(attack: str, learn: Learn, lesson: Lesson) -> np.ndarray:
    return np.zeros_like(lesson.theta) if attack == "free-ride" else learn(lesson)
