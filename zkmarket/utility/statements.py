"""The utility circuit's statement, public values and witness."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from ..backend import WITHOUT_LOOKUP, Compilation, Exportable, Operation, check_every_block, check_table, usable_rows
from ..build.statements import Circuit, Inputs
from ..circuits.plan import CircuitPlan, CrossEntropy, Squares, Stage
from ..crypto import LOW_128, P, digest_int, hash_words, random_scalars, scalar_hex, small_hex, to_hex
from ..errors import ArtifactError
from ..networks import evaluate, rows_of

CODE = (
    "circuits/plan.py",
    "zkmarket/utility/statements.py",
    *(f"zkmarket/networks/{file}.py" for file in ("plan", "planner", "layout", "evaluation")),
)
"""What decides the numbers of a utility circuit: it names the cached keys."""


# ---------------------------------------------------------------- the statement


def check_names(plan: CircuitPlan) -> list[str]:
    """What each output that must be 0 checks, in the circuit's order."""
    names: list[str] = []
    for step in plan.steps:
        if isinstance(step, Stage):
            names += [f"{step.name}: ReLU"] * step.relu
            names.append(f"{step.name}: digits")
            names += [f"{step.name}: digits of gaps", f"{step.name}: maximum is a value"] * (step.pool is not None)
            names.append(f"{step.name}: linear part and quotient")
        elif isinstance(step, CrossEntropy):
            names += ["logits: cap", "logits: digits", "logits: linear part and quotient"]
            names += ["logits: maximum is a logit", "logits: label"]
            names += ["loss: λ is enough", "loss: λ − 1 is not", "prediction"]
        elif isinstance(step, Squares):
            names += ["outputs: digits", "outputs: linear part and quotient"]
    return names


def statement(plan: CircuitPlan) -> Circuit:
    """The utility circuit of a plan."""
    bound = plan.radix // 2
    instances = plan.public["noise"][0] + 1 + len(check_names(plan)) + 2
    check_every_block(plan.sequence, plan.first_lookup, plan.logrows)

    numbers = {"plan": plan.to_json()}

    def module() -> Exportable:
        from ..circuits.utility import Utility as Module

        return Module(**numbers)

    rows, inputs = rows_of(plan), sum(plan.lengths)
    return Circuit(
        "utility.py",
        module,
        numbers,
        Compilation(plan.logrows, lookup_range=(-bound, bound - 1)),
        lookups=[{"Exp": {"scale": 1.0, "base": float(str(np.float32(plan.base)))}}],
        range_checks=[],
        sorts=[],
        rows=(rows * 95 // 100, rows * 105 // 100 + 64),
        counted=(rows * 95 // 100 + inputs, rows * 105 // 100 + 64 + inputs),
        instances=instances,
        committed=list(plan.lengths),
        sample=lambda: sample_inputs(plan),
        refused=lambda: _refused(plan),
        placed=lambda placed: check_placement(plan, placed),
        code=CODE,
    )


def check_placement(plan: CircuitPlan, placed: Sequence[Operation]) -> None:
    """Raise ArtifactError unless one operation, of the plan's size and place, looks something up.

    The rows are those of a synthesis: there the plan has put noise into every block of columns.
    """
    looked = [op for op in placed if op.name not in WITHOUT_LOOKUP]
    if len(looked) != 1:
        raise ArtifactError(f"the circuit looks up in {[op.name for op in looked][:5]}: wanted one exponential")
    check_table(looked, "EXP", plan.first_lookup, plan.sequence, plan.logrows)


def sample_inputs(plan: CircuitPlan) -> Inputs:
    """Honest inputs: zeros everywhere, challenges that nothing was absorbed for."""
    empty = np.zeros(plan.params, np.int64)
    values = np.zeros(plan.counts["validation"], np.int64)
    columns = columns_of(plan, "theta", empty) + columns_of(plan, "validation", values)
    columns += columns_of(plan, "witness", witness_cells(plan, evaluate(plan, empty, values).cells))
    return [*columns, last_column(plan, public_values(plan, b"\0" * 32))]


def _refused(plan: CircuitPlan) -> dict[str, tuple[Inputs, str]]:
    """Noise outside the table, in every block at once: each block's own lookup argument must refuse it, in its row."""
    inputs, usable = sample_inputs(plan), usable_rows(plan.logrows)
    row, reasons = plan.first_lookup, []
    for kind, start, count in plan.sequence:
        if kind == "noise":
            inputs[-1][plan.public["noise"][0] + start] = scalar_hex(plan.radix // 2)
            reasons.append(rf"(?=.*Lookup \(index: {row // usable}\)[^\n]* offset {row % usable}\b)")
        row += count
    return {"noise outside the table": (inputs, "(?s)" + "".join(reasons))}


# ---------------------------------------------------------------- columns


def public_values(plan: CircuitPlan, seed: bytes) -> list[int]:
    """Everything that the circuit echoes: constants, statistics of batch-norms, powers of the challenges.

    Each value goes where the circuit reads it, by its index: the order of a plan's names must not decide what a
    verifier takes a public value for.
    """
    public = plan.public
    values: list[int | None] = [None] * public["noise"][0]

    def put(start: int, given: Sequence[int]) -> None:
        place = slice(start, start + len(given))
        if values[place] != [None] * len(given):
            raise ArtifactError(f"the plan puts two public values in one place, or one beyond the last: at {start}")
        values[place] = [value % P for value in given]

    for constant, at in plan.constants.items():
        put(at, [constant])
    for name, vector in plan.vectors.items():
        put(public[name][0], vector)
    for name in ("a", "c", "e", "f"):
        start, count = public[name]
        put(start, _powers(_challenge(seed, name), count))
    if "tie" in public:
        tie = _challenge(seed, "tie")
        put(public["tie"][0], [tie])
        put(public["ties"][0], [tie * k for k in range(public["ties"][1])])
    filled = [value for value in values if value is not None]
    if len(filled) < len(values):
        raise ArtifactError(f"the plan says what {len(filled)} of its {len(values)} public values are")
    return filled


def _powers(challenge: int, count: int) -> list[int]:
    out, power = [], 1
    for _ in range(count):
        out.append(power)
        power = power * challenge % P
    return out


def _challenge(seed: bytes, name: str) -> int:
    return digest_int(hash_words(seed, name)) & LOW_128


def last_column(plan: CircuitPlan, public: Sequence[int]) -> list[str]:
    """The last input: public values ‖ noise that is drawn here and never used again ‖ salts."""
    bound = plan.radix // 2
    start, count = plan.public["noise"]
    assert len(public) == start
    noise = [scalar_hex(secrets.randbelow(2 * bound) - bound) for _ in range(count)]
    salts = random_scalars(plan.lengths[-1] - start - count)
    return [scalar_hex(value) for value in public] + noise + to_hex(salts)


def columns_of(
    plan: CircuitPlan, kind: str, values: np.ndarray | list[str], salts: np.ndarray | None = None
) -> list[list[str]]:
    """Values (int64, or field strings) in chunks, each with its salts; fresh ones where none are given."""
    size, count = plan.chunks[kind]
    if salts is None:
        many = len(plan.columns[kind])
        salts = random_scalars(many * count).reshape(many, count, 32)
    columns = []
    for at, chunk in enumerate(salts):
        part = values[at * size : (at + 1) * size]
        part = part if isinstance(part, list) else small_hex(part)
        if kind == "theta":
            part = part + [scalar_hex(0)] * (size - len(part))
        columns.append(part + to_hex(chunk))
    return columns


def witness_cells(plan: CircuitPlan, cells: dict[str, np.ndarray]) -> list[str]:
    """The witness column by the plan's order of names; the inverse of each t_label is added (0 where it is 0)."""
    if "label_gap" in cells:
        inverses = [pow(int(gap), -1, P) if gap else 0 for gap in cells["label_gap"]]
    out: list[str] = []
    for name, (_, count) in plan.witness.items():
        part = [scalar_hex(v) for v in inverses] if name == "inverse" else small_hex(cells[name])
        assert len(part) == count, f"{name} has {len(part)} cells, wanted {count}"
        out += part
    return out
