"""Direct circuits: the plain statements on committed updates, for small models and as a reference.

Two circuits, for updates of one chunk, on the commitments that everything else uses:

- ``aggregation`` (circuits/aggregation.py): weighted sum, coordinate-wise median or trimmed sum. The last two
  are not linear, so no homomorphism gives them.
- ``round`` (circuits/round.py): filter, scores and sum at once. It decides what `settlement.decide` and the
  folded path decide, without a challenge, and costs N(N+1)/2 inner products of D rows instead of one of C.

The result is *committed* (a column more, of which the circuit proves that it holds the result: its commitment
is one of the proof's points) or *opened* (public outputs), chosen when keys are made. Prove and verify stand
side by side; so do the integer oracles, which must agree with the circuits in every bit.

Nothing else proves a bound of the values for these circuits, so that they look each one up in a table of one column:
their bound is the table's, T = 2^(K−1) − 4, not the project's Q. A build whose honest updates may reach beyond T has no
direct circuits.

Each proof opens the columns that it takes: it spends one salt of every update, retries included.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence

import numpy as np

from ... import backend
from ...backend import Proof, ProofJob
from ...build.statements import Circuit
from ...crypto import Point, random_scalars, scalar_hex
from ...errors import BackendError, InputError, RuleError
from ...progress import Progress, quiet
from .. import settlement
from ..aggregate import sum_updates
from ..commitment import Commitment, Opening, check_opening, column_of
from ..proof import Aggregate
from .keys import Direct
from .rules import check_weights, combine_updates, decide
from .statements import fresh, noise, table_of
from .verify import check_result, read_aggregation, read_round

# ---------------------------------------------------------------- prove


def prove_aggregation(
    direct: Direct,
    openings: Sequence[Opening],
    commitments: Sequence[Commitment],
    weights: Sequence[int] | None = None,
    progress: Progress = quiet,
) -> tuple[Proof, Aggregate]:
    """Combine N opened updates and prove it.

    Args:
        weights: of a mean, one small integer an update; default 1 each.

    Returns:
        The proof, and the result with salts; where it is committed these open its commitment.

    Raises:
        OpeningMismatch: an update does not open its commitment.
        RuleError: weights that are not small, or too few of them.
    """
    rule = direct.rule
    assert rule is not None
    manifest = direct.build.manifest
    if rule.name != "mean" and weights is not None:
        raise RuleError(f"only a mean has weights: the rule is {rule}")
    _check_openings(direct, openings, commitments)
    weights = [1] * len(openings) if weights is None else list(weights)
    check_weights(weights, manifest.trainers)
    values = combine_updates(rule, np.stack([opening.values for opening in openings]), weights)
    salts = random_scalars(manifest.salts).reshape(1, manifest.salts, 32)
    result = Aggregate(values, salts)
    head = weights if rule.name == "mean" else noise(direct.circuit)
    proof = _prove(direct, openings, result, head, "aggregation proof", progress)
    combined = read_aggregation(direct, commitments, proof, weights if rule.name == "mean" else None)
    _check_own(combined.values, combined.point, result, direct)
    return proof, result


def prove_direct_round(
    direct: Direct,
    openings: Sequence[Opening],
    commitments: Sequence[Commitment],
    beta: int | None = None,
    progress: Progress = quiet,
) -> tuple[Proof, Aggregate | None]:
    """Filter, score and add up N opened updates, and prove it.

    Returns:
        The proof, and the sum of the accepted with the sum of their salts, so that its commitment is the one that
        the folded path computes; or None where too few are accepted.

    Raises:
        OpeningMismatch: an update does not open its commitment.
        InputError: the aggregate would be opened, and too few are accepted to open it.
    """
    manifest = direct.build.manifest
    beta = manifest.beta_max if beta is None else beta
    settlement.check_beta(manifest, beta)
    _check_openings(direct, openings, commitments)
    outcome = decide(manifest, np.stack([opening.values for opening in openings]), beta)
    withheld = sum(outcome.mask) < manifest.min_accepted
    if withheld and not direct.committed:
        raise InputError(
            f"the aggregate cannot be opened: {sum(outcome.mask)} updates are accepted, wanted at least"
            f" {manifest.min_accepted}, or it reveals them; use a round whose aggregate is committed"
        )
    total = sum_updates(manifest, openings, outcome.mask)
    head = [beta, *noise(direct.circuit)]
    proof = _prove(direct, openings, total, head, "round proof", progress)
    decision = read_round(direct, commitments, beta, proof)
    if decision.outcome != outcome:
        raise BackendError(f"the circuit and the integer oracle disagree: got {decision.outcome}, wanted {outcome}")
    _check_own(decision.values, decision.point, total, direct)
    return proof, None if withheld else total


def noise_of_table(circuit: Circuit) -> list[int]:
    """Uniform values of the table, 128 for each block of columns that looks values up."""
    low, high = table_of(circuit.how.logrows)
    count = sum(count for kind, _, count in circuit.numbers["sequence"] if kind == "noise")
    return [low + secrets.randbelow(high - low + 1) for _ in range(count)]


def deadline(direct: Direct) -> float:
    """Seconds for one step: `backend.deadline` goes by the rows of one block, this by those of all."""
    rows = json.loads(direct.files.settings.read_text())["num_rows"]
    return backend.deadline(max(direct.circuit.how.logrows, math.ceil(math.log2(rows))))


def _prove(
    direct: Direct, openings: Sequence[Opening], result: Aggregate, head: list[int], what: str, progress: Progress
) -> Proof:
    chunk = direct.build.manifest.chunk
    columns = [column_of(opening.values, opening.salts, 0, chunk) for opening in openings]
    if direct.committed:
        columns.append(column_of(result.values, result.salts, 0, chunk))
    last = [scalar_hex(v) for v in [*head, *noise_of_table(direct.circuit)]]
    job = ProofJob(what, direct.files, [*columns, last + fresh(direct.circuit.numbers["salts"])])
    return backend.prove([job], progress, deadline(direct))[0]


def _check_openings(direct: Direct, openings: Sequence[Opening], commitments: Sequence[Commitment]) -> None:
    n = direct.build.manifest.trainers
    if len(openings) != n or len(commitments) != n:
        raise InputError(
            f"a direct circuit takes {n} updates: got {len(openings)} openings, {len(commitments)} commitments"
        )
    for slot, (opening, commitment) in enumerate(zip(openings, commitments, strict=True), start=1):
        check_opening(direct.build, opening, commitment.points, slot)


def _check_own(values: tuple[int, ...] | None, point: Point | None, result: Aggregate, direct: Direct) -> None:
    """A prover's last look: what its own proof says is what it computed."""
    if point is not None:
        check_result(direct.build, point, result)
    elif values != tuple(result.values.tolist()):
        raise BackendError("the circuit and the integer oracle disagree on the result")
