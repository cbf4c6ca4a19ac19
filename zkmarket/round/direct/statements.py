"""The direct circuits: statements, rows, noise, sizes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ... import backend
from ...backend import (
    VALUES,
    Compilation,
    Exportable,
    Operation,
    Runs,
    check_one_block,
    check_table,
    sequence,
    usable_rows,
)
from ...build import Columns
from ...build.statements import SALTS, Circuit, Inputs, noise_covers, sorted_noise, table_bound
from ...circuits import NOISE
from ...crypto import random_scalars, scalar_hex, to_hex
from ...errors import DomainError, InputError, RuleError
from ...rules import GAMES, INTEGER_LIMIT, Domain, MultiKrum, RuleSet, check_score
from .rules import OUTPUTS, Rule

TABLE = [{"Sigmoid": {"scale": 1.0}}]
"""The lookup of the updates' values, as ezkl writes it."""

Places = Mapping[int, int]
NOWHERE: Places = {}
"""Values by their place: value j of all N·D is of update j // D."""


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
    settled = Domain.of(RuleSet(n, d, table_bound(logrows), beta_max, rule, score), logrows - 1)
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
    numbers: dict[str, Any] = {
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

    def module() -> Exportable:
        from ...circuits.aggregation import Aggregation

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
        code=("zkmarket/round/direct/rules.py", "zkmarket/round/direct/statements.py"),
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
    numbers: dict[str, Any] = {
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

    def module() -> Exportable:
        from ...circuits.round import Round

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
        code=("zkmarket/round/direct/rules.py", "zkmarket/round/direct/statements.py"),
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


def noise(circuit: Circuit) -> list[int]:
    """128 values of either sign, uniform over all digits; those that are sorted along have one bit less."""
    assert circuit.domain is not None
    bits, short = circuit.domain.bits, circuit.numbers["sorted_noise"]
    return [secrets.choice((-1, 1)) * secrets.randbelow(1 << (bits - (at < short))) for at in range(NOISE)]
