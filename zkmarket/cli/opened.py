"""What the verb `open` does with an aggregate of a verified round: the mean update, or the model after the round."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..build import Build, Manifest
from ..errors import InputError, OpeningMismatch
from ..files import save_npz
from ..progress import Progress
from ..round import Aggregate, Decision, Theta, check_theta_bits, is_theta_file, moved, open_aggregate
from ..rules import theta_bits_for, weight
from ..updates import load_model_file, model_integers
from .output import Answer


def opened(arguments: argparse.Namespace, build: Build, decision: Decision, progress: Progress) -> Answer:
    """Check the aggregate against its proven commitment, and move the model by it.

    Raises OpeningMismatch: the aggregate is not the proven one, or the model after it not the chain's.
    """
    from ..market import points_hash  # loads what talks to chains

    manifest = build.manifest
    received = Aggregate.load(arguments.aggregate, manifest)
    mean = open_aggregate(build, decision, received)
    accepted = sum(decision.mask)
    about = f"aggregate of {accepted} updates opens its proven commitment"
    if arguments.model is None:
        place = arguments.output or Path("aggregate.npz")
        save_npz(place, manifest.layout.unflatten(mean) if manifest.layout else {"params": mean})
        result = {"model": str(place), "params": manifest.params, "accepted": accepted}
        return result, f"{about}; their mean, without a model (--model), in {place}"
    before, rest = _model_before(arguments, manifest, progress)
    after = moved(before, received, weight(arguments.rate, accepted, before.bits))
    digest = points_hash(after.points(build)).hex()
    wanted = arguments.commitment and arguments.commitment.lower().removeprefix("0x")
    if wanted and wanted != digest:
        raise OpeningMismatch(f"the model after the round is not the chain's: its commitment is {digest}, not {wanted}")
    place = arguments.output or Path("model.npz")
    floats = after.floats(manifest)
    save_npz(place, (manifest.layout.unflatten(floats) if manifest.layout else {"params": floats}) | rest)
    integers = place.with_suffix(".theta.npz")
    after.save(integers)
    result = {"model": str(place), "params": manifest.params, "accepted": accepted}
    result |= {"integers": str(integers), "theta": digest, "theta_bits": after.bits}
    return result, f"{about}; model in {place}, its integers in {integers}, their commitment {digest}"


def _model_before(
    arguments: argparse.Namespace, manifest: Manifest, progress: Progress
) -> tuple[Theta, dict[str, Any]]:
    """The model before a round, and what else its file holds."""
    if is_theta_file(arguments.model):
        theta = Theta.load(arguments.model, manifest)
        if arguments.theta_bits not in (None, theta.bits):
            raise InputError(f"{arguments.model} has {theta.bits} theta_bits: got --theta-bits {arguments.theta_bits}")
        return theta, {}
    bits = theta_bits_for([arguments.rate], manifest.trainers) if arguments.theta_bits is None else arguments.theta_bits
    check_theta_bits(bits)
    model, rest = load_model_file(arguments.model, manifest.layout, progress)
    values = model_integers(model, manifest.fixed_point.scale_bits + bits)
    return Theta.first(manifest, values, bits), rest
