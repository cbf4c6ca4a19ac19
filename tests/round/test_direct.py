"""The direct circuits' numbers, rules and refusals, without a circuit."""

from __future__ import annotations

import subprocess
from itertools import product

import pytest

from zkmarket.backend import (
    Compilation,
    Operation,
    check_every_block,
    check_one_block,
    check_table,
    noise_by_block,
    placement,
    sequence,
    usable_rows,
)
from zkmarket.build import ROWS
from zkmarket.build.statements import noise_covers, sorted_noise, table_bound
from zkmarket.circuits import NOISE
from zkmarket.errors import ArtifactError, BackendError, BackendTimeout, DomainError, InputError, RuleError
from zkmarket.round.direct import (
    MAX_WEIGHT,
    Rule,
    aggregation_statement,
    check_weights,
    pad_of,
    product_end,
    round_domain,
    round_statement,
    value_domain,
)
from zkmarket.rules import Domain, Filter, MultiKrum, RuleSet

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("text", ["mean", "median", "trimmed:t=2"])
def test_a_rule_is_read_as_it_is_written(text: str):
    assert str(Rule.parse(text)) == text


@pytest.mark.parametrize("text", ["", "average", "trimmed", "trimmed:t=-1", "median:t=1", "trimmed:t=²"])
def test_what_is_no_rule_is_refused(text: str):
    with pytest.raises(RuleError, match="unknown aggregation: got .*wanted mean, median or trimmed:t=T"):
        Rule.parse(text)


@pytest.mark.parametrize(
    ("rule", "n", "reason"),
    [
        (Rule("median"), 2, "at least 3 updates, or it reveals them: got N=2"),
        (Rule("trimmed", 0), 5, "1 <= t and N > 2t: got N=5, t=0"),
        (Rule("trimmed", 2), 4, "1 <= t and N > 2t: got N=4, t=2"),
        (Rule("median", 1), 5, "unknown aggregation"),
        (Rule("mode"), 5, "unknown aggregation"),
    ],
)
def test_a_rule_that_is_not_defined_for_n_is_refused(rule: Rule, n: int, reason: str):
    with pytest.raises(RuleError, match=reason):
        rule.check(n)


def test_divisors():
    assert Rule("mean").divisor(4) == 4
    assert Rule("mean").divisor(3, (2, 3, 5)) == 10
    assert Rule("median").divisor(4) == 1
    assert Rule("trimmed", 2).divisor(7) == 3


def test_weights_are_small_and_enough_of_them_count():
    check_weights((0, 1, MAX_WEIGHT, 1), 4)
    for bad in ((1, 1), (1, 1, -1), (1, 1, MAX_WEIGHT + 1), (1, 1, 1.0), (1, 1, True)):
        with pytest.raises(RuleError, match="weights are 3 integers from 0 to 65535"):
            check_weights(bad, 3)
    with pytest.raises(RuleError, match="at least 3 weights are not 0"):
        check_weights((0, 1, 1), 3)


def test_an_unknown_output_is_refused():
    with pytest.raises(InputError, match="unknown output: got 'public', wanted committed or opened"):
        aggregation_statement(10, 3, 40, Rule("mean"), "public")


# ---------------------------------------------------------------- one block of columns


def rows_one_by_one(start: int, length: int, usable: int) -> int:
    """The row after a product: each value takes one, and so does the running sum, copied as a block begins."""
    row = start
    for _ in range(length):
        row += 1
        row += row % usable == 0
    return row


@pytest.mark.parametrize("logrows", [4, 5])
def test_a_product_takes_a_row_more_wherever_it_reaches_the_end_of_a_block(logrows: int):
    usable = usable_rows(logrows)
    for start in range(2 * usable):
        for length in range(1, 4 * usable):
            assert product_end(start, length, usable) == rows_one_by_one(start, length, usable)


@pytest.mark.parametrize("logrows", [11, 13])
@pytest.mark.parametrize("lookups", [1, 500, 1500, "most"])
def test_the_pad_moves_all_lookups_into_one_block(logrows: int, lookups: int | str):
    usable = usable_rows(logrows)
    rows = usable - 2 if lookups == "most" else lookups
    moved = 0
    for before, products, d in product((0, 250), (1, 6, 10, 36), (2, *range(5, usable, 61), usable - 1, usable)):
        start = before
        for _ in range(products):
            start = product_end(start, d, usable)
        fits = start // usable == (start + rows - 1) // usable
        pad = pad_of(before, products, d, rows, logrows)
        assert (pad == 0) == fits, "moved only where it must be"
        if pad:
            assert pad > 1, "to ezkl a single value is a product of its own"
            moved += 1
            start = product_end(start, pad, usable)
        assert start // usable == (start + rows - 1) // usable
    assert moved or lookups == 1
    with pytest.raises(DomainError, match="must fit one block of columns"):
        pad_of(0, 0, 2, usable - 1, logrows)


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize("start", [0, 7, 600])
@pytest.mark.parametrize("count", [1, 16, 17, 889, 890, 891, 1018, 5000])
def test_every_block_that_looks_values_up_has_noise(count: int, start: int):
    """Every value once and in order, every noise value once, and 128 of them in each block from `start` on."""
    runs, groups = sequence([("value", 0, count)], start, 10)
    for kind, many in (("value", count), ("noise", groups * NOISE)):
        assert [at for k, first, n in runs if k == kind for at in range(first, first + n)] == list(range(many))
    blocks = noise_by_block(runs, start, 10)
    assert all(noise == NOISE for noise, data in blocks.values()) and sum(data for _, data in blocks.values()) == count
    assert list(blocks) == list(range(groups))
    check_every_block(runs, start, 10)
    for at, (kind, *_) in enumerate(runs):
        if kind == "noise":
            with pytest.raises(ArtifactError, match=r"columns looks up data with \d+ noise values: wanted 128"):
                check_every_block([*runs[:at], *runs[at + 1 :]], start, 10)


def test_values_are_looked_up_where_they_were_planned():
    runs, _ = sequence([("value", 0, 300)], 0, 10)
    table = Operation("SIGMOID(scale=1)", 0, 428)
    check_table([table, Operation("EINSUM", 428, 9000)], "SIGMOID", 0, runs, 10)
    for placed in (
        [],
        [table, table],
        [Operation("SIGMOID(scale=1)", 1, 429)],
        [Operation("SIGMOID(scale=1)", 0, 427)],
    ):
        with pytest.raises(ArtifactError, match=r"has SIGMOID in rows .*wanted it once in rows \(0, 428\)"):
            check_table(placed, "SIGMOID", 0, runs, 10)


@pytest.mark.parametrize("logrows", ROWS)
def test_the_tables_noise_covers_what_an_argument_reveals(logrows: int):
    assert noise_covers(NOISE, 2 * table_bound(logrows))


def test_too_many_values_for_the_noise_of_a_small_column_are_refused():
    """Each block of values takes 128 rows of the last input, which is a column itself."""
    assert aggregation_statement(10, 6, 896, Rule("mean"), "opened")
    with pytest.raises(DomainError, match=r"noise of a direct circuit's 6272 values takes 1039 rows, wanted fewer"):
        aggregation_statement(10, 7, 896, Rule("mean"), "opened")


NOISE_FIRST = [("Input", 0, 100), ("SIGN", 100, 200), ("TOPK", 200, 300), ("SIGN", 300, 310), ("TOPK", 310, 500)]


def operations(*changes: tuple[int, tuple[str, int, int]]) -> list[Operation]:
    items = dict(enumerate(NOISE_FIRST)) | dict(changes)
    return [Operation(*items[at]) for at in sorted(items)]


def test_lookups_in_two_blocks_are_found():
    usable = usable_rows(10)
    check_one_block(operations(), 10)
    check_one_block(operations((4, ("TOPK", 310, usable)), (5, ("EQUALS", usable, 9 * usable))), 10)
    with pytest.raises(ArtifactError, match=r"blocks 0 to 1 of columns.*SIGN starts in row 100, TOPK ends in 1019"):
        check_one_block(operations((4, ("TOPK", 310, usable + 1))), 10)
    with pytest.raises(ArtifactError, match="looks up in GREATER: wanted sorts and noise only"):
        check_one_block(operations((4, ("GREATER", 310, 320))), 10)
    with pytest.raises(ArtifactError, match="takes 3 signs, wanted 2"):
        check_one_block(operations((4, ("SIGN", 310, 320))), 10)
    with pytest.raises(ArtifactError, match="of the noise, first"):
        check_one_block(operations((0, ("TOPK", 0, 100))), 10)
    check_one_block([Operation("EINSUM", 0, 5000)], 10)


@pytest.mark.parametrize("logrows", [13, 14, 17])
def test_the_noise_covers_what_an_argument_reveals(logrows: int):
    domain = value_domain(logrows)
    assert domain.digits == 2 and max(domain.bounds.values()) < 1 << domain.bits
    assert noise_covers(NOISE * domain.digits, 1 << domain.digit_bits)
    assert sorted_noise(domain.bits) * (domain.bits - 1) >= 1270


def test_a_rounds_domain_holds_a_number_and_its_opposite():
    """A sign is decided by sorting 2x + 1 and −2x − 1: their difference, plus 1, is twice the settled bound, plus 1."""
    rule, q = MultiKrum(2, 6), table_bound(13)
    settled = Domain.of(RuleSet(8, 1210, q, 1210 * q * q, rule, "leave-one-out"), 12)
    domain = round_domain(13, 8, 1210, 1210 * q * q, rule, "leave-one-out")
    assert domain.penalty == settled.penalty
    for name, bound in settled.bounds.items():
        assert domain.bounds[name] == (bound if name.startswith("order") else 2 * bound + 1)
    assert domain.bits >= max(domain.bounds.values()).bit_length()


# ---------------------------------------------------------------- the log of the layout


def test_a_layout_that_cannot_be_read_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Another log than that of the pinned version is no reason to believe that the lookups are where they should be."""
    broken = tmp_path / "circuit.onnx"
    broken.write_bytes(b"no circuit")
    with pytest.raises(BackendError, match="ezkl did not lay the circuit out"):
        placement.lay_out(broken, Compilation(13), [])
    with pytest.raises(BackendTimeout, match="did not lay the circuit out within 0 s"):
        placement.lay_out(broken, Compilation(13), [], seconds=0.01)
    for printed in ("[], [0]", '["SIGN"], [0]', '["SIGN", "TOPK"], [0, 50, 20]', '["SIGN"], [7, 9]'):
        done = subprocess.CompletedProcess([], 0, f"[{printed}, 1]", "")
        monkeypatch.setattr(placement.subprocess, "run", lambda *_, done=done, **__: done)
        with pytest.raises(BackendError, match="log of the layout is not what it was"):
            placement.lay_out(broken, Compilation(13), [])
    done = subprocess.CompletedProcess([], 0, '[["Input", "SIGN"], [0, 0, 70], 90]', "")
    monkeypatch.setattr(placement.subprocess, "run", lambda *_, **__: done)
    layout = placement.lay_out(broken, Compilation(13), [])
    assert (layout.operations[1], layout.rows, layout.counted) == (Operation("SIGN", 0, 70), 70, 90)
    done = subprocess.CompletedProcess([], 0, '[["Input", "SIGN"], [0, 50, 70], 90]', "")
    with pytest.raises(BackendError, match="inputs take rows of the blocks"):
        placement.lay_out(broken, Compilation(13), [["00"]])


@pytest.mark.parametrize(
    ("rule", "score"),
    [
        ("norm", "shapley"),
        ("multi-krum:f=0,m=3,three-sigma:lambda=3", "shapley"),
        ("multi-krum:f=0,m=3,cosine:tau=0.1", "shapley"),
        ("multi-krum:f=0,m=3", "root"),
        ("multi-krum:f=0,m=3", "novel"),
        ("multi-krum:f=0,m=3", "cosine-shapley"),
        ("multi-krum:f=0,m=3", "equal"),
    ],
)
def test_a_direct_round_of_further_rules_is_refused(rule: str, score: str):
    """Its circuit would decide by Multi-Krum alone, whatever the build says."""
    with pytest.raises(RuleError, match="decided by multi-krum alone, with shapley or leave-one-out scores"):
        round_statement(13, 3, 20, 10**6, Filter.parse(rule), score, "opened")
    assert round_statement(13, 3, 20, 10**6, Filter.parse("multi-krum:f=0,m=3"), "shapley", "opened")
