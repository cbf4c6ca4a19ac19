"""The statements of a project in numbers: what to compile, and what must be in it when it is compiled.

The torch modules of circuits/ are exported once, when keys are made; this file knows, without torch, which
lookups, tables, rows, inputs and outputs the compiled circuit must have. `check_settings` asserts them when a
build is made and each time one is loaded: ezkl's optimiser drops silently what no output depends on, and a
verifier takes the constraint system from the settings file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from circuits import NOISE

from .backend import Compilation, block_rows, blocks_of, run_args, usable_rows, versions
from .columns import MAX_LOGROWS, ROWS, Columns, base_rows
from .contribution import references
from .errors import ArtifactError, DomainError
from .field import random_scalars, scalar_hex, to_hex
from .placement import Operation, check_first_block
from .rules import DIGITS_LIMIT, ROOT_BITS, Domain, Filter, norm_bound

SALTS = 8
HISTOGRAM_BITS = 2 * 254
"""What a proof says of one lookup argument's multiplicities: a commitment and an evaluation."""

ARGUMENT_BITS = HISTOGRAM_BITS + 3 * 254
"""The same with its running sum: a commitment and two evaluations. ezkl blinds the running sums of all lookup
arguments of a proof with the same values, so that their differences are bare."""

Inputs = list[list[str]]


VALUE_BITS = 13
"""Of an update's value, where a project says nothing else."""

MAX_VALUE_BITS = 19
"""As in contracts/Factory.sol."""


def value_bound(value_bits: int) -> int:
    """Q: an honest value has so many bits, sign included."""
    return 1 << (value_bits - 1)


def table_bound(logrows: int) -> int:
    """A table of one column holds this bound's [−T, T): what direct circuits look their inputs up in."""
    return (1 << (logrows - 1)) - 4


def noise_entropy(values: int, table: int) -> float:
    """Bits of entropy (a lower bound) in the histogram of `values` uniform draws from `table` rows."""
    return values * math.log2(table) - math.lgamma(values + 1) / math.log(2)


def noise_covers(values: int, table: int) -> bool:
    """Whether `values` uniform draws from `table` rows hide what a proof reveals of one lookup argument."""
    return noise_entropy(values, table) >= HISTOGRAM_BITS and values * math.log2(table) >= ARGUMENT_BITS


def sorted_noise(bits: int) -> int:
    """How many noise values of so many bits must be sorted along to hide the sorts of the data."""
    return min(NOISE, -(-(ARGUMENT_BITS + 64) // (bits - 1)))


@dataclass(frozen=True)
class Circuit:
    """A statement with its numbers.

    Attributes:
        source: file in circuits/ that holds the torch module.
        module: makes the module (imports torch).
        numbers: its arguments; with the source and versions they decide the circuit.
        how: how it is compiled.
        lookups: static lookups that must be in the compiled circuit, as ezkl writes them.
        range_checks: range-check tables that must be.
        sorts: how many values each sort has; every one is a shuffle argument.
        rows: (least, most) rows that it lays out; fewer mean that a check was dropped.
        counted: (least, most) rows by ezkl's own count, which is higher: inputs and slices take no rows in a proof.
        instances: number of public outputs.
        committed: lengths of the committed inputs.
        sample: honest inputs, proven once when keys are made: the keys work, and a proof's length is known.
        refused: by name, inputs that the compiled circuit must refuse, and a pattern that the reason must match.
        placed: raises ArtifactError unless a synthesis on the sample puts everything where noise is; None where
            nothing is looked up.
        blocks: blocks of columns that it must have; None where it does not matter how many are empty.
        code: modules of zkmarket, besides this one, that decide numbers, sample, refused and placed.
    """

    source: str
    module: Callable[[], Any]
    numbers: dict[str, Any]
    how: Compilation
    lookups: list[dict[str, Any]]
    range_checks: list[list[int]]
    sorts: list[int]
    rows: tuple[int, int]
    counted: tuple[int, int]
    instances: int
    committed: list[int]
    sample: Callable[[], Inputs]
    refused: Callable[[], dict[str, tuple[Inputs, str]]] = dict
    domain: Domain | None = None
    placed: Callable[[Sequence[Operation]], None] | None = None
    blocks: int | None = None
    code: tuple[str, ...] = ()


def base_circuit(logrows: int) -> Circuit:
    """The base case of both arguments. It must hold no lookup: their zero knowledge depends on that."""
    columns = Columns(logrows)
    cells, rows = columns.length, base_rows(columns.rows, columns.width, logrows)
    numbers = {"logrows": logrows, "rows": columns.rows, "width": columns.width}

    def module():
        from circuits.base import Base

        return Base(**numbers)

    return Circuit(
        "base.py",
        module,
        numbers,
        Compilation(logrows),
        lookups=[],
        range_checks=[],
        sorts=[],
        rows=(rows, rows),
        counted=(2 * rows, 3 * rows),
        instances=4 + 2 * logrows,
        committed=[cells, cells, cells, 2 * logrows],
        sample=lambda: [*(to_hex(random_scalars(cells)) for _ in range(3)), to_hex(random_scalars(2 * logrows))],
        blocks=3,
    )


def settlement_logrows(
    n: int, d: int, bound: int, beta_max: int, rule: Filter, score: str, most: int | None = None
) -> int:
    """The smallest K at which the settlement of N trainers fits one block of columns.

    One block, because every further block would be a lookup argument of its own without noise; and
    columns are what a verifier on chain pays for.
    """
    for logrows in range(11, MAX_LOGROWS + 1):
        domain = Domain.of(n, d, bound, beta_max, rule, score, logrows - 1, most)
        if domain.bits <= DIGITS_LIMIT and settlement_rows(n, rule, score, domain) <= block_rows(logrows):
            return logrows
    raise DomainError(f"the settlement of {n} trainers needs more than 2^{MAX_LOGROWS} rows: lower N")


def settlement_statement(
    logrows: int,
    n: int,
    d: int,
    bound: int,
    beta_max: int,
    rule: Filter,
    score: str,
    salts: int,
    most: int | None = None,
) -> Circuit:
    """The settlement circuit of exactly N trainers. Digits are as wide as their table allows: fewer, fewer rows."""
    digit_bits = logrows - 1
    domain = Domain.of(n, d, bound, beta_max, rule, score, digit_bits, most)
    if domain.bits > DIGITS_LIMIT:
        raise DomainError(
            f"digits of {digit_bits} bits would have {domain.bits} bits together, wanted at most {DIGITS_LIMIT}:"
            " choose another number of rows for the settlement"
        )
    if not noise_covers(NOISE * domain.digits, 1 << digit_bits):
        raise DomainError(f"{NOISE} noise values do not cover what the settlement proof of {n} trainers reveals")
    numbers = {
        "n": n,
        "f": rule.f,
        "m": rule.m,
        "penalty": domain.penalty,
        "longest": norm_bound(d, bound),
        "score": score,
        "salts": salts,
        "sorted_noise": sorted_noise(domain.bits),
    }
    held = references(rule, score)
    if rule.sigma is not None:
        numbers["sigma"] = rule.sigma.as_integer_ratio()
    if rule.tau is not None:
        numbers["tau"] = rule.tau.as_integer_ratio()
    if held:
        numbers["references"] = held
    roots = n if score == "cosine-shapley" else 0
    if roots:
        numbers |= {"cap": domain.cap, "root_bits": ROOT_BITS}
    slots = 1 + n + len(held)
    entries = slots * (slots + 1) // 2
    last_norm = slot_entry(slots, n)

    def module():
        from circuits.settlement import Settlement

        return Settlement(**numbers)

    def inputs(norm: int = 0, noise: int = 1) -> Inputs:
        upper = [norm if at == last_norm else 0 for at in range(entries)]
        public_noise = [1] * (slots + 1) + [0] * roots + [noise] * NOISE
        return [
            [scalar_hex(v) for v in upper] + to_hex(random_scalars(salts)),
            [scalar_hex(v) for v in public_noise] + to_hex(random_scalars(salts)),
        ]

    beyond = 1 << domain.bits
    rows, counted = settlement_rows(n, rule, score, domain), counted_rows(n, rule, score, domain)
    return Circuit(
        "settlement.py",
        module,
        numbers,
        Compilation(logrows, decomp_base=1 << digit_bits, decomp_legs=domain.digits),
        lookups=[],
        range_checks=[[-1, 1], [0, (1 << digit_bits) - 1]],
        sorts=settlement_sorts(n, rule, domain),
        rows=(rows * 49 // 50, min(rows, block_rows(logrows))),
        counted=(counted * 49 // 50, counted * 51 // 50 + 2 * (salts - SALTS)),
        instances=slots + 2 * n + 3,
        committed=[entries + salts, slots + 1 + roots + NOISE + salts],
        sample=lambda: inputs(),
        refused=lambda: {
            "a squared norm beyond all digits": (inputs(norm=beyond), "General synthesis error"),
            "noise beyond all digits": (inputs(noise=beyond), "General synthesis error"),
        },
        domain=domain,
        placed=lambda placed: check_first_block(placed, logrows),
        blocks=1,
    )


def slot_entry(slots: int, slot: int) -> int:
    """Where the upper triangle of a matrix of so many slots, row by row, has the squared norm of one."""
    return slot * slots - slot * (slot - 1) // 2


def comparisons(n: int, noise_sorted: int, rule: Filter, score: str) -> int:
    """Decompositions in the settlement circuit.

    With Multi-Krum N sorts of N−1 and one of N, and 2N signs; the sort of the norms, one sign of the longest and one of
    the root, 2N signs of the norm bound, the noise and its sort; then 4N signs for three-sigma and for the cosine, and
    those of the score.
    """
    scored = {"equal": 0, "cosine-shapley": 6 * n}.get(score, 2 * n)
    if score == "root" and rule.tau is not None:
        scored = 0  # the signs of G_iR are there
    krum = n * (n - 2) + n - 1 + 2 * n if rule.m else 0
    further = 4 * n * ((rule.sigma is not None) + (rule.tau is not None))
    longest = 1 + ("root" in references(rule, score))
    return krum + n - 1 + 2 * n + longest + further + scored + NOISE + noise_sorted


def settlement_sorts(n: int, rule: Filter, domain: Domain) -> list[int]:
    """How many values each sort has: of noise, of distances and scores with Multi-Krum, of the squared norms."""
    return [sorted_noise(domain.bits), *([n - 1] * n + [n] if rule.m else []), n]


def settlement_rows(n: int, rule: Filter, score: str, domain: Domain) -> int:
    """An upper estimate of the rows that the settlement circuit lays out, within 2 % of what it does (tests/circuits).

    ezkl's own count, less what takes no rows in a proof: inputs, slices (of the noise, twice), sorted values, copies.
    """
    held = references(rule, score)
    slots, roots = 1 + n + len(held), n if score == "cosine-shapley" else 0
    inputs = slots * (slots + 1) // 2 + slots + 1 + roots + NOISE + 2 * SALTS
    free = inputs + sum(settlement_sorts(n, rule, domain)) + 2 * NOISE + 18 + 6 * n
    free += 30 * (rule.m > 0) + 12 * n * (rule.tau is not None) + (6 * n + n * n // 3) * ("last" in held)
    free -= 2 * n * ("root" in held)
    rows = counted_rows(n, rule, score, domain) - free
    return rows + rows // 200 + 16  # what is free differs a little from rule to rule


def counted_rows(n: int, rule: Filter, score: str, domain: Domain) -> int:
    """An estimate of ezkl's own count, within 2 %.

    Besides the digits: what Multi-Krum with Shapley scores takes, then what each other part takes more or less.
    """
    noise = sorted_noise(domain.bits)
    own = n * (n - rule.f - 2) + 53 * n * n // 2 + 132 * n + 1750 + SORT_ROWS * noise
    own += len(references(rule, score)) * (28 * n + 3 * n * n // 8 + 14)
    own += {"equal": -n * n - 37 * n, "root": -n * n - 28 * n, "novel": -14 * n, "cosine-shapley": 75 * n + 18}.get(
        score, 0
    )
    if not rule.m:
        own -= 25 * n * n + 20 * n + 20
    if rule.sigma is not None:
        own += n * n + 97 * n
    if rule.tau is not None:
        own += (63 if score != "root" else 53) * n
    return 3 * domain.digits * (comparisons(n, noise, rule, score) + 3) + own


SORT_ROWS = 21
"""Rows of one more sorted value, besides its digits."""


def project_circuits(
    n: int,
    d: int,
    logrows: int,
    value_bits: int,
    settlement: int,
    beta_max: int,
    rule: Filter,
    score: str,
    salts: int = SALTS,
    most: int | None = None,
) -> dict[str, Circuit]:
    """Every circuit of a project by name, in the order of the manifest."""
    return {
        "base": base_circuit(logrows),
        "settlement": settlement_statement(
            settlement, n, d, value_bound(value_bits), beta_max, rule, score, salts, most
        ),
    }


def check_settings(settings: dict[str, Any], circuit: Circuit, counted: bool = False) -> None:
    """Raise ArtifactError unless the compiled circuit still holds every check of its statement.

    With `counted`, of a circuit that was compiled with ezkl's own count of rows.

    The constraint system follows from the settings, so everything in them is compared but the equations of the
    products, which ezkl lists and does not use here.
    """
    if set(settings) != set(SETTINGS):
        raise ArtifactError(
            f"{circuit.source}: compiled circuit has parts {sorted(settings)}, wanted {sorted(SETTINGS)}"
        )
    how = circuit.how
    rows, usable = settings["num_rows"], usable_rows(how.logrows)
    inputs = len(circuit.committed)
    found = {
        **{name: (settings["run_args"].get(name), value) for name, value in run_args(how).items()},
        "arguments": (set(settings["run_args"]), set(run_args(how))),
        "version": (settings["version"], versions()["ezkl"]),
        "static lookups": (settings["required_lookups"], circuit.lookups),
        "range checks": (settings["required_range_checks"], circuit.range_checks),
        "shuffles": ((settings["num_shuffles"], settings["total_shuffle_col_size"]), sizes_of(circuit.sorts)),
        "dynamic lookups": ((settings["num_dynamic_lookups"], settings["total_dynamic_col_size"]), (0, 0)),
        "values of dynamic lookups": (settings["max_dynamic_input_len"], 0),
        "rows of challenges": (settings["einsum_params"]["total_einsum_col_size"], 0),
        "public outputs": (sum(math.prod(shape) for shape in settings["model_instance_shapes"]), circuit.instances),
        "outputs": (len(settings["model_instance_shapes"]), 1),
        "committed inputs": (settings["module_sizes"], {"polycommit": circuit.committed, "poseidon": [0, [0]]}),
        "scales": ((settings["model_input_scales"], settings["model_output_scales"]), ([0] * inputs, [0])),
        "types": ((settings["input_types"], settings["output_types"]), (["F32"] * inputs, ["F32"])),
        "blinding factors": (settings["num_blinding_factors"], None),
        "check mode": (settings["check_mode"], "UNSAFE"),
        "timestamp": (settings["timestamp"], 0),
        "columns of constants": (settings["total_const_size"] // usable, 0),
    }
    if circuit.blocks is not None and not counted:
        found["blocks of columns"] = blocks_of(rows, how.logrows), circuit.blocks
    for name, (got, wanted) in found.items():
        if got != wanted:
            raise ArtifactError(f"{circuit.source}: compiled circuit has {name} {got}, wanted {wanted}")
    check_rows(rows, circuit, counted)
    if settings["total_assignments"] != rows:
        raise ArtifactError(
            f"{circuit.source}: compiled circuit has {settings['total_assignments']} assignments: wanted {rows}"
        )


def check_rows(rows: int, circuit: Circuit, counted: bool = False) -> None:
    """Raise ArtifactError unless the circuit has about as many rows as its statement, by ezkl's own count or ours."""
    least, most = circuit.counted if counted else circuit.rows
    if not least <= rows <= most:
        what = "rows by ezkl's own count" if counted else "rows"
        raise ArtifactError(
            f"{circuit.source}: compiled circuit has {rows} {what}, wanted {least} to {most}:"
            " a check was dropped, or the circuit does not fit"
        )


def sizes_of(sorts: Sequence[int]) -> tuple[int, int]:
    """How many shuffles that is, and how many rows they have together."""
    return len(sorts), sum(sorts)


SETTINGS = (
    *("check_mode", "einsum_params", "input_types", "max_dynamic_input_len", "model_input_scales"),
    *("model_instance_shapes", "model_output_scales", "module_sizes", "num_blinding_factors", "num_dynamic_lookups"),
    *("num_rows", "num_shuffles", "output_types", "required_lookups", "required_range_checks", "run_args", "timestamp"),
    *("total_assignments", "total_const_size", "total_dynamic_col_size", "total_shuffle_col_size", "version"),
)
"""The parts of ezkl's settings."""

assert all(Columns(k).length < usable_rows(k) for k in ROWS)  # a full column gets a point too many from kzg_commit
