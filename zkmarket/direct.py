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
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from circuits import NOISE

from . import backend, settlement, srs
from .aggregator import sum_updates
from .artifacts import Build, Manifest
from .backend import CircuitFiles, Compilation, Progress, Proof, ProofJob, quiet, usable_rows
from .build import keys_of
from .columns import Columns
from .commitment import Commitment, Opening, check_opening, column_of, commit_vector
from .contribution import GAMES, check_score
from .errors import BackendError, DomainError, InputError, OpeningMismatch, ProofRejected, RuleError
from .field import P, Point, decode_point, encode_point, random_scalars, scalar_hex, to_hex
from .placement import VALUES, Operation, Runs, check_one_block, check_table, sequence
from .round import Aggregate, check_slots
from .rules import INTEGER_LIMIT, MIN_ACCEPTED, SCORE_LIMIT, Domain, MultiKrum
from .settlement import Outcome
from .statements import SALTS, Circuit, Inputs, noise_covers, sorted_noise, table_bound

MAX_WEIGHT = (1 << 16) - 1
"""A weight is small: sums of N·MAX_WEIGHT·T are integers far below p."""

OUTPUTS = ("committed", "opened")

TABLE = [{"Sigmoid": {"scale": 1.0}}]
"""The lookup of the updates' values, as ezkl writes it."""

Places = Mapping[int, int]
NOWHERE: Places = {}
"""Values by their place: value j of all N·D is of update j // D."""


@dataclass(frozen=True)
class Rule:
    """How a coordinate's N values become one: ``mean``, ``median`` or ``trimmed:t=T``."""

    name: str
    trim: int = 0

    @classmethod
    def parse(cls, text: str) -> Rule:
        match = re.fullmatch(r"mean|median|trimmed:t=([0-9]{1,4})", text.replace(" ", ""))
        if not match:
            raise RuleError(f"unknown aggregation: got {text!r}, wanted mean, median or trimmed:t=T")
        return cls("trimmed", int(match[1])) if match[1] else cls(match[0])

    def __str__(self) -> str:
        return f"trimmed:t={self.trim}" if self.name == "trimmed" else self.name

    def check(self, n: int) -> None:
        """Raise RuleError unless the rule is defined for n updates. Nothing is ever clamped."""
        if n < MIN_ACCEPTED:
            raise RuleError(f"an aggregate needs at least {MIN_ACCEPTED} updates, or it reveals them: got N={n}")
        if self.name == "trimmed" and not 1 <= self.trim <= (n - 1) // 2:
            raise RuleError(f"trimmed needs 1 <= t and N > 2t: got N={n}, t={self.trim}")
        if self.name not in ("mean", "median", "trimmed") or (self.trim and self.name != "trimmed"):
            raise RuleError(f"unknown aggregation: got {self}")

    def divisor(self, n: int, weights: Sequence[int] | None = None) -> int:
        """What the result is to be divided by: Σ w, 1, or N − 2t."""
        if self.name == "mean":
            return sum(weights or [1] * n)
        return 1 if self.name == "median" else n - 2 * self.trim


# ---------------------------------------------------------------- the oracles


def combine_updates(rule: Rule, updates: np.ndarray, weights: Sequence[int] | None = None) -> np.ndarray:
    """The definition: (N, D) integers to (D,) integers.

    mean: Σ_i w_i u_ik (weights 1 where none are given). median: the ⌈N/2⌉-th smallest of a coordinate's values, which
    for even N is the lower of the two in the middle. trimmed: the sum of the values without the t smallest
    and the t largest (Yin et al. 2018). Sums, not quotients: `Rule.divisor` says by what to divide.
    """
    n = len(updates)
    rule.check(n)
    updates = np.asarray(updates, np.int64)
    if rule.name == "mean":
        return np.asarray([1] * n if weights is None else weights, np.int64) @ updates
    ordered = np.sort(updates, axis=0)
    if rule.name == "median":
        return ordered[(n + 1) // 2 - 1]
    return ordered[rule.trim : n - rule.trim].sum(axis=0)


def decide(manifest: Manifest, updates: np.ndarray, beta: int) -> Outcome:
    """The decision on (N, D) integer updates: their Gram matrix in Python integers, then settlement's oracle."""
    rows = [[int(v) for v in update] for update in updates]
    gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in rows] for u in rows]
    return settlement.decide(manifest, gram, beta)


def check_weights(weights: Sequence[int], n: int) -> None:
    """Raise RuleError unless these are N small weights of which at least three are not 0."""
    if len(weights) != n or any(type(w) is not int or not 0 <= w <= MAX_WEIGHT for w in weights):
        raise RuleError(f"weights are {n} integers from 0 to {MAX_WEIGHT}: got {list(weights)[:8]}")
    if sum(w > 0 for w in weights) < MIN_ACCEPTED:
        raise RuleError(
            f"at least {MIN_ACCEPTED} weights are not 0, or the sum reveals updates: got {list(weights)[:8]}"
        )


# ---------------------------------------------------------------- the statements in numbers


def sort_rows(n: int, digits: int) -> int:
    """Rows of sorting n values: n − 1 comparisons."""
    return (21 + 3 * digits) * (n - 1) + 3


def noise_rows(drawn: int, digits: int) -> int:
    """Rows of the noise: decomposed, `drawn` of it sorted, and both tied to an output."""
    return (NOISE + 1) * (10 + 3 * digits) + NOISE + 7 + sort_rows(drawn, digits)


def aggregation_lookup_rows(n: int, d: int, domain: Domain) -> int:
    """Rows from the first lookup to the last of a median or trimmed sum."""
    return noise_rows(sorted_noise(domain.bits), domain.digits) + d * sort_rows(n, domain.digits)


def round_lookup_rows(rule: MultiKrum, n: int, score: str, domain: Domain) -> int:
    """Rows from the first lookup to the last of a round."""
    digits, near = domain.digits, n - rule.f - 2
    constant = 4 + 3 * digits
    decision = 11 * n + n * sort_rows(2, digits)  # 2x + 1, its opposite, the larger one, and which it is
    distances = 1 + 3 * n * (n - 1) + constant + n * sort_rows(n - 1, digits) + (n * near if near > 1 else 0)
    bound = n + constant + decision
    mask = 3 * n + sort_rows(n, digits) + rule.m + n + decision + n
    scores = n * n + (2 * n if score == "leave-one-out" else 0) + decision + 2 * n
    median = sort_rows(n, digits)
    return noise_rows(sorted_noise(domain.bits), digits) + distances + bound + mask + scores + median


def output_rows(d: int, chunk: int, committed: bool) -> int:
    """Rows of the output: the committed column is compared row by row."""
    return 7 * chunk + 1 if committed else d


def product_end(start: int, length: int, usable: int) -> int:
    """The row after a dot product of so many values, from row `start`: wherever it reaches the end of a block, the
    running sum is copied, which takes a row of the next one."""
    over = length - (usable - start % usable)
    return start + length + (1 + over // (usable - 1) if over >= 0 else 0)


def pad_of(start: int, products: int, d: int, lookups: int, logrows: int) -> int:
    """Rows of the product between so many products of D values, from row `start` on, and the comparisons: 0, or as many
    as fill a block.

    Every block is a lookup argument of its own, with its own unblinded multiplicities: data in a block without
    noise would be bare. Rows are those of a proof, in whose blocks inputs take none.
    """
    usable = usable_rows(logrows)
    most = usable - 2  # what a product copies, and the second value that one has at least
    if lookups > most:
        raise DomainError(
            f"a direct circuit's lookups take {lookups} rows and must fit one block of columns, {most} at"
            f" 2^{logrows} rows: raise logrows, or lower the number of parameters or of trainers"
        )
    row = start
    for _ in range(products):
        row = product_end(row, d, usable)
    at = row % usable
    return 0 if at + lookups <= usable else max(2, usable - at)


def most_rows(rows: int, n: int, logrows: int) -> int:
    """With what ezkl copies at the ends of blocks, and wherever it reads the matrix."""
    return rows + rows // (usable_rows(logrows) - 1) + 2 * n * n + 16


def laid_out(rows: int, slices: int, n: int, logrows: int) -> tuple[int, int]:
    """(least, most) rows of a proof, from ezkl's count without what surely takes none; slices may take none either."""
    return rows - slices, most_rows(rows, n, logrows)


def arguments_of(rows: tuple[int, int], logrows: int) -> range:
    """How many blocks of columns a circuit of so many rows may have."""
    least, most = (backend.blocks_of(count, logrows) for count in rows)
    return range(least, most + 1)


def values_of_table(n: int, d: int, head: int, logrows: int, salts: int) -> tuple[Runs, int, int]:
    """How N·D values are looked up in the table, from the first row on: the runs, their rows, and the last input's
    length, in which the noise stands after `head` values."""
    runs, groups = sequence([("value", 0, n * d)], 0, logrows)
    last = head + groups * NOISE + salts
    if last >= usable_rows(logrows):
        raise DomainError(
            f"the noise of a direct circuit's {n * d} values takes {last} rows, wanted fewer than"
            f" {usable_rows(logrows)}: raise logrows, or lower the number of parameters or of trainers"
        )
    return runs, n * d + groups * NOISE, last


def check_placement(placed: Sequence[Operation], runs: Runs, logrows: int) -> None:
    """Raise ArtifactError unless all that is looked up lies among noise: values as planned, digits in one block."""
    check_table(placed, VALUES, 0, runs, logrows)
    check_one_block(placed, logrows)


def check_size(d: int, logrows: int) -> int:
    """C, if the updates are one chunk each."""
    chunk = Columns(logrows).values
    if not 2 <= d <= chunk:  # to ezkl a single value is a product of its own, for which it begins a new column
        raise DomainError(
            f"a direct circuit takes updates of one chunk, 2 to {chunk} parameters at 2^{logrows} rows: got {d};"
            " raise logrows"
        )
    return chunk


def check_noise(domain: Domain, what: str) -> None:
    if not noise_covers(NOISE * domain.digits, 1 << domain.digit_bits):
        raise DomainError(f"{NOISE} noise values do not cover what {what} reveals")


def value_domain(logrows: int) -> Domain:
    """What an aggregation compares: differences of two values of [−T, T), plus 1."""
    bounds = {"order of a coordinate's values": 2 * table_bound(logrows)}
    digit_bits = logrows - 1
    return Domain(bounds, 0, digit_bits, -(-max(bounds.values()).bit_length() // digit_bits))


def round_domain(logrows: int, n: int, d: int, beta_max: int, rule: MultiKrum, score: str) -> Domain:
    """What a round compares: the settlement's bounds, where those of a sign are of 2x + 1 against its opposite."""
    settled = Domain.of(n, d, table_bound(logrows), beta_max, rule, score, logrows - 1)
    signs = ("squared norm against beta", "krum score against the m-th", "sign of the score")
    bounds = {name: 2 * bound + 1 if name in signs else bound for name, bound in settled.bounds.items()}
    if max(bounds.values()) > INTEGER_LIMIT:
        raise DomainError(
            f"a round compares values of 2^{max(bounds.values()).bit_length()}, wanted at most 2^120: lower the number"
            " of parameters, of trainers, or logrows"
        )
    digits = -(-max(bounds.values()).bit_length() // settled.digit_bits)
    return Domain(bounds, settled.penalty, settled.digit_bits, digits)


def aggregation_statement(logrows: int, n: int, d: int, rule: Rule, output: str, salts: int = SALTS) -> Circuit:
    """The aggregation circuit of exactly N updates of D parameters."""
    rule.check(n)
    chunk, committed = check_size(d, logrows), is_committed(output)
    column, digit_bits = chunk + salts, logrows - 1
    columns = n + (1 if committed else 0)
    mean = rule.name == "mean"
    domain = None if mean else value_domain(logrows)
    runs, table, last = values_of_table(n, d, n if mean else NOISE, logrows, salts)
    lookups = 0
    if domain is not None:
        check_noise(domain, "an aggregation proof")
        lookups = aggregation_lookup_rows(n, d, domain)
        pad_of(0, 0, d, table + 2 + lookups, logrows)  # nothing else stands before them
    numbers = {
        "n": n,
        "params": d,
        "chunk": chunk,
        "salts": salts,
        "rule": rule.name,
        "trim": rule.trim,
        "committed": committed,
        "sorted_noise": 0 if domain is None else sorted_noise(domain.bits),
        "sequence": runs,
    }
    kept = {"mean": n, "median": n, "trimmed": n - 2 * rule.trim}[rule.name]
    result = d * (kept if kept > 1 else 0) + output_rows(d, chunk, committed)
    sliced = table + (0 if mean or committed else d)
    total = columns * column + last + table + sliced + 2 + (n if mean else 1) + lookups + result

    def module():
        from circuits.aggregation import Aggregation

        return Aggregation(**numbers)

    def inputs(noise: int = 1, values: Places = NOWHERE, of_table: Places = NOWHERE) -> Inputs:
        return sample_of(numbers, [1] * n if mean else [noise] * NOISE, values, of_table)

    low, high = table_of(logrows)
    how = Compilation(logrows, (low, high))
    sorts, refused = [], {}
    if domain is not None:
        how = Compilation(logrows, (low, high), decomp_base=1 << digit_bits, decomp_legs=domain.digits)
        sorts = [sorted_noise(domain.bits), *[n] * d]
        refused = {"noise beyond all digits": (inputs(noise=1 << domain.bits), "General synthesis error")}
    free = columns * column + last + sliced + chunk * committed + (0 if mean else sum(sorts) + NOISE)
    rows = laid_out(total - free, 0 if mean else n * d, n, logrows)
    before = [0] if mean else arguments_of(rows, logrows)
    return Circuit(
        "aggregation.py",
        module,
        numbers,
        how,
        lookups=TABLE,
        range_checks=[] if mean else [[-1, 1], [0, (1 << digit_bits) - 1]],
        sorts=sorts,
        rows=rows,
        counted=(total, most_rows(total, n, logrows)),
        instances=(n if mean else 0) + (1 if committed else d),
        committed=[*[column] * columns, last],
        sample=inputs,
        refused=lambda: refused | beyond_the_table(inputs, runs, logrows, before),
        domain=domain,
        placed=lambda placed: check_placement(placed, runs, logrows),
        code=("direct",),
    )


def round_statement(
    logrows: int, n: int, d: int, beta_max: int, rule: MultiKrum, score: str, output: str, salts: int = SALTS
) -> Circuit:
    """The round circuit of exactly N updates of D parameters."""
    rule.check(n)
    check_score(score)
    if not rule.only_krum or score not in GAMES:
        raise RuleError(
            f"a direct round is decided by multi-krum alone, with {' or '.join(GAMES)} scores: got {rule}, {score}"
        )
    chunk, committed = check_size(d, logrows), is_committed(output)
    column, digit_bits = chunk + salts, logrows - 1
    columns, entries = n + (1 if committed else 0), n * (n + 1) // 2
    domain = round_domain(logrows, n, d, beta_max, rule, score)
    check_noise(domain, f"the round proof of {n} trainers")
    lookups = round_lookup_rows(rule, n, score, domain)
    runs, table, last = values_of_table(n, d, 1 + NOISE, logrows, salts)
    pad = pad_of(table + 2, entries, d, lookups, logrows)
    numbers = {
        "n": n,
        "params": d,
        "chunk": chunk,
        "salts": salts,
        "f": rule.f,
        "m": rule.m,
        "penalty": domain.penalty,
        "score": score,
        "committed": committed,
        "pad": pad,
        "sorted_noise": sorted_noise(domain.bits),
        "sequence": runs,
    }

    def module():
        from circuits.round import Round

        return Round(**numbers)

    def inputs(noise: int = 1, values: Places = NOWHERE, of_table: Places = NOWHERE) -> Inputs:
        return sample_of(numbers, [1 << 20, *[noise] * NOISE], values, of_table)

    gram = entries * (d + 1) + (pad + 1 if pad else 0)
    known = 2 + entries + (pad > 0) + NOISE
    sorts = [sorted_noise(domain.bits), *[n - 1] * n, *[2] * (3 * n), n, n]
    result = d * (2 * n - 1) + output_rows(d, chunk, committed)
    total = columns * column + last + 2 * table + gram + known + NOISE + 5 + lookups + result
    free = columns * column + last + table + chunk * committed + sum(sorts) + 2 * NOISE + known
    rows = laid_out(total - free, 14 * n + n * n // 4, n, logrows)
    return Circuit(
        "round.py",
        module,
        numbers,
        Compilation(logrows, table_of(logrows), decomp_base=1 << digit_bits, decomp_legs=domain.digits),
        lookups=TABLE,
        range_checks=[[-1, 1], [0, (1 << digit_bits) - 1]],
        sorts=sorts,
        rows=rows,
        counted=(total, most_rows(total, n, logrows)),
        instances=2 * n + 2 + (1 if committed else d),
        committed=[*[column] * columns, last],
        sample=inputs,
        refused=lambda: {
            "noise beyond all digits": (inputs(noise=1 << domain.bits), "General synthesis error"),
            **beyond_the_table(inputs, runs, logrows, arguments_of(rows, logrows)),
        },
        domain=domain,
        placed=lambda placed: check_placement(placed, runs, logrows),
        code=("direct",),
    )


def is_committed(output: str) -> bool:
    if output not in OUTPUTS:
        raise InputError(f"unknown output: got {output!r}, wanted {' or '.join(OUTPUTS)}")
    return output == "committed"


def table_of(logrows: int) -> tuple[int, int]:
    """The table of one column: −T to T − 1."""
    bound = table_bound(logrows)
    return -bound, bound - 1


def sample_of(numbers: dict[str, Any], head: list[int], values: Places, of_table: Places) -> Inputs:
    """Updates of zeros, but for some values, and their result; the noise of the table is 0 but for some."""
    n, d, chunk, salts = (numbers[name] for name in ("n", "params", "chunk", "salts"))
    columns = [[0] * chunk for _ in range(n + numbers["committed"])]
    for at, value in values.items():
        columns[at // d][at % d] = value
    noise = [0] * sum(count for kind, _, count in numbers["sequence"] if kind == "noise")
    for at, value in of_table.items():
        noise[at] = value
    return [[scalar_hex(v) for v in column] + fresh(salts) for column in (*columns, [*head, *noise])]


def beyond_the_table(
    inputs: Callable[..., Inputs], runs: Runs, logrows: int, others: Sequence[int]
) -> dict[str, tuple[Inputs, str]]:
    """What the table must refuse, in its row and by the argument of its block of columns: the first of each run of
    values, or of noise, one below the table, and the last one above.

    Args:
        others: how many lookup arguments may come before the table's: those of the signs, one a block of columns.
    """
    (low, high), usable = table_of(logrows), usable_rows(logrows)
    wrong: dict[str, dict[int, int]] = {"value": {}, "noise": {}}
    reasons: dict[str, list[str]] = {"value": [], "noise": []}
    row = 0
    for kind, first, count in runs:
        for at, value in ((first, low - 1), (first + count - 1, high + 1)):
            wrong[kind][at] = value
            block, offset = divmod(row + at - first, usable)
            index = "|".join(str(block + before) for before in others)
            reasons[kind].append(rf"(?=.*Lookup \(index: (?:{index})\)[^\n]* offset {offset}\b)")
        row += count
    return {
        "values outside the table": (inputs(values=wrong["value"]), "(?s)" + "".join(reasons["value"])),
        "noise outside the table": (inputs(of_table=wrong["noise"]), "(?s)" + "".join(reasons["noise"])),
    }


def fresh(count: int) -> list[str]:
    return to_hex(random_scalars(count))


# ---------------------------------------------------------------- keys


@dataclass(frozen=True)
class Direct:
    """A direct circuit of a project, with its keys.

    Attributes:
        build: the project's, whose commitments the circuit takes.
        rule: of an aggregation; None for a round.
    """

    build: Build
    circuit: Circuit
    files: CircuitFiles
    rule: Rule | None

    @property
    def committed(self) -> bool:
        return self.circuit.numbers["committed"]


def aggregation_keys(build: Build, rule: Rule, output: str = "committed", progress: Progress = quiet) -> Direct:
    """Make or fetch the keys of an aggregation of the project's updates.

    Raises DomainError if the updates may have values beyond the table, or the circuit does not fit.
    """
    manifest = build.manifest
    check_bound(manifest)
    circuit = aggregation_statement(manifest.logrows, manifest.trainers, manifest.params, rule, output, manifest.salts)
    return Direct(build, circuit, _keys(build, circuit, progress), rule)


def round_keys(build: Build, output: str = "committed", progress: Progress = quiet) -> Direct:
    """Make or fetch the keys of the project's round in one circuit. Raises DomainError as `aggregation_keys`."""
    manifest = build.manifest
    check_bound(manifest)
    circuit = round_statement(
        manifest.logrows,
        manifest.trainers,
        manifest.params,
        manifest.beta_max,
        manifest.filter,
        manifest.score,
        output,
        manifest.salts,
    )
    return Direct(build, circuit, _keys(build, circuit, progress), None)


def check_bound(manifest: Manifest) -> None:
    """Raise DomainError unless the table holds every honest value, or a direct proof could be impossible."""
    table = table_bound(manifest.logrows)
    if manifest.bound > table:
        raise DomainError(
            f"a direct circuit looks values up in a table of [−{table}, {table}) at 2^{manifest.logrows} rows, and this"
            f" build's are in [−{manifest.bound}, {manifest.bound}): build with --value-bits {manifest.logrows - 1} or"
            " fewer, or with a larger --logrows"
        )


def _keys(build: Build, circuit: Circuit, progress: Progress) -> CircuitFiles:
    ceremony = srs.by_id(build.manifest.value["srs"]["id"])
    folder, entry = keys_of(circuit, ceremony, progress)
    return CircuitFiles(folder, ceremony.path(circuit.how.logrows), entry["proof_bytes"])


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
    combined = _read_aggregation(direct, commitments, proof, weights if rule.name == "mean" else None)
    _check_own(combined.values, combined.point, result, direct)
    return proof, result


def prove_round(
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
    decision = _read_round(direct, commitments, beta, proof)
    if decision.outcome != outcome:
        raise BackendError(f"the circuit and the integer oracle disagree: got {decision.outcome}, wanted {outcome}")
    _check_own(decision.values, decision.point, total, direct)
    return proof, None if withheld else total


def noise(circuit: Circuit) -> list[int]:
    """128 values of either sign, uniform over all digits; those that are sorted along have one bit less."""
    assert circuit.domain is not None
    bits, short = circuit.domain.bits, circuit.numbers["sorted_noise"]
    return [secrets.choice((-1, 1)) * secrets.randbelow(1 << (bits - (at < short))) for at in range(NOISE)]


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


# ---------------------------------------------------------------- verify


@dataclass(frozen=True)
class Combined:
    """What a verified aggregation proof says.

    Attributes:
        weights: of a mean; None otherwise.
        divisor: what the result is to be divided by.
        values, point: the result, opened or committed; the other is None.
    """

    rule: Rule
    weights: tuple[int, ...] | None
    divisor: int
    values: tuple[int, ...] | None
    point: Point | None


@dataclass(frozen=True)
class DirectDecision:
    """What a verified round proof says: mask, scores and ν as from a settlement, and the sum of the accepted."""

    outcome: Outcome
    values: tuple[int, ...] | None
    point: Point | None


def verify_aggregation(
    direct: Direct, commitments: Sequence[Commitment], proof: Proof, weights: Sequence[int] | None = None
) -> Combined:
    """Check an aggregation proof.

    Args:
        weights: those that the caller wants; None takes the proof's, and the caller must look at them.

    Raises ProofRejected with the reason.
    """
    _check_commitments(direct, commitments)
    combined = _read_aggregation(direct, commitments, proof, weights)
    backend.verify(direct.files, proof, "aggregation proof")
    return combined


def verify_round(direct: Direct, commitments: Sequence[Commitment], beta: int, proof: Proof) -> DirectDecision:
    """Check a round proof. Raises ProofRejected with the reason."""
    _check_commitments(direct, commitments)
    try:
        settlement.check_beta(direct.build.manifest, beta)
    except DomainError as error:
        raise ProofRejected(str(error)) from error
    decision = _read_round(direct, commitments, beta, proof)
    backend.verify(direct.files, proof, "round proof")
    return decision


def check_result(build: Build, point: Point, result: Aggregate) -> None:
    """Raise OpeningMismatch unless a received result opens the commitment that was proven."""
    if commit_vector(build, result.values, result.salts) != (point,):
        raise OpeningMismatch("the result does not open the commitment that was proven")


def _check_commitments(direct: Direct, commitments: Sequence[Commitment]) -> None:
    if not commitments:
        raise ProofRejected("a direct proof is about commitments: got none")
    check_slots(direct.build, commitments, commitments[0].round_id)


def _read_aggregation(
    direct: Direct, commitments: Sequence[Commitment], proof: Proof, weights: Sequence[int] | None
) -> Combined:
    n, rule = direct.build.manifest.trainers, direct.rule
    assert rule is not None
    what = "aggregation proof"
    _check_points(direct, commitments, proof, what)
    mean = rule.name == "mean"
    if not mean and weights is not None:
        raise RuleError(f"only a mean has weights: the rule is {rule}")
    used = proof.instances[:n] if mean else None
    if used is not None:
        if weights is not None and used != tuple(weights):
            raise ProofRejected(f"{what} uses other weights: got {list(used)[:8]}, wanted {list(weights)[:8]}")
        try:
            check_weights(used, n)
        except RuleError as error:
            raise ProofRejected(f"{what}: {error}") from error
    most = (sum(used) if used else rule.divisor(n)) * table_bound(direct.build.manifest.logrows)
    values, point = _read_result(direct, proof, n if mean else 0, most, what)
    return Combined(rule, used, rule.divisor(n, used), values, point)


def _read_round(direct: Direct, commitments: Sequence[Commitment], beta: int, proof: Proof) -> DirectDecision:
    manifest, what = direct.build.manifest, "round proof"
    n = manifest.trainers
    _check_points(direct, commitments, proof, what)
    if proof.instances[0] != beta:
        raise ProofRejected(f"{what} uses another norm bound: got {proof.instances[0]}, wanted {beta}")
    rest = proof.instances[1:]
    outcome = Outcome(rest[:n], rest[n : 2 * n], rest[2 * n])
    if any(bit not in (0, 1) for bit in outcome.mask):
        raise ProofRejected(f"{what}: a mask entry is neither 0 nor 1")
    if any(value >= SCORE_LIMIT for value in (*outcome.scores, outcome.nu)):
        raise ProofRejected(f"{what}: a score or ν is not below 2^64")
    if not direct.committed and sum(outcome.mask) < manifest.min_accepted:
        raise ProofRejected(
            f"{what} opens an aggregate of {sum(outcome.mask)} updates: wanted at least {manifest.min_accepted}"
        )
    values, point = _read_result(direct, proof, 2 * n + 2, n * table_bound(manifest.logrows), what)
    return DirectDecision(outcome, values, point)


def _check_points(direct: Direct, commitments: Sequence[Commitment], proof: Proof, what: str) -> None:
    """The proof is about these commitments, slot by slot, and has as many outputs as it should."""
    if len(proof.instances) != direct.circuit.instances:
        raise ProofRejected(f"{what} has {len(proof.instances)} instances: wanted {direct.circuit.instances}")
    n = direct.build.manifest.trainers
    if len(commitments) != n:
        raise ProofRejected(f"{what} is about {n} updates: got {len(commitments)} commitments")
    for slot, commitment in enumerate(commitments, start=1):
        if len(commitment.points) != 1 or proof.point(slot - 1) != encode_point(commitment.points[0]):
            raise ProofRejected(f"{what} is of another update than the one committed in slot {slot}")


def _read_result(
    direct: Direct, proof: Proof, start: int, most: int, what: str
) -> tuple[tuple[int, ...] | None, Point | None]:
    """The opened values, or the commitment of which the circuit says that every row is right."""
    manifest = direct.build.manifest
    if direct.committed:
        if proof.instances[start] != manifest.chunk:
            raise ProofRejected(
                f"{what}: the committed column holds the result in {proof.instances[start]} rows,"
                f" wanted all {manifest.chunk}"
            )
        return None, decode_point(proof.point(manifest.trainers))
    values = tuple(v if v <= P // 2 else v - P for v in proof.instances[start:])
    if any(abs(v) > most for v in values):
        raise ProofRejected(f"{what}: a value of the result is beyond {most}")
    return values, None
