"""A model, of which everybody knows the commitment, evaluated on a committed validation batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from .plan import (
    Bias,
    Channelwise,
    CircuitPlan,
    Convolution,
    CrossEntropy,
    Dense,
    Divided,
    Identity,
    Squares,
    Stage,
    Term,
    Transpose,
    View,
    WindowSum,
)


class Utility(torch.nn.Module):
    """Correct predictions and summed loss of a network, from a committed witness and challenges drawn after it.

    Relation:   parameters Θ, integers. For every stage, with Z its linear part (a sum of linear layers, convolutions,
                batch-norms and skips), q = ⌊g·Z / R^k⌋, and its output is q, max(0, q), or the maximum over a
                window of them. Cross-entropy: for every sample, with logits q_j and M = max_j q_j,
                t_j = M − q_j, c_j = min(t_j, R − 1), E(x) = round(base^x), T = R/2 − 1, label y:
                λ = least integer with n·E(λ) >= Σ_j E(T − c_j); loss = λ − T + ν + t_y; correct = (t_y = 0).
                Mean squares: loss = Σ_j (q_j − target_j)². zkmarket/networks/evaluation.py says the same in integers.
    Domain:     digits are in [0, R), R = 2^K − 8, each by one lookup in the one-column table of E. Every number of
                digits follows from worst cases: Θ and the inputs within the plan's bounds. Whoever starts a round sees
                to it that no accepted updates move Θ beyond, so that none is unprovable.
    Public:     everything of the last input but noise and salts (constants, challenges), echoed; E(0) = 1; the checks,
                each of which the verifier requires to be 0; correct; loss.
    Private:    Θ, the batch, the witness, and their salts.
    Not proven: that Θ is a model of a round: whoever verifies computes its commitment from those of the round's model
                and of accepted updates. That the batch is what the owner says it is, or small: it is the owner's.

    Inputs: chunks of Θ, of the validation batch, of the witness; then public ‖ noise ‖ salts.

    A linear part is not computed but checked (Freivalds): Σ a_b c_o p_s Z_bos = Σ a_b c_o p_s (digits of Z)_bos, where
    a, c, p are powers of challenges that exist only after the witness is committed. It takes |X| + |W| + |Z| rows
    instead of |X|·|out|. If one entry differs, the equation is a polynomial that is not 0 in 128-bit challenges; its
    degree is below batch + channels + height + width (Schwartz and Zippel). All checks of a kind are such sums, and so
    are those that a value of the witness has the digits that were looked up: digits are never put together one by one.

    Every lookup is in one operation, and the plan gives its order: in each block of columns there are 128 noise values,
    as its multiplicities are committed without blinding (zkmarket/utility/statements.py asserts it). No sign is taken.
    """

    def __init__(self, plan: Mapping[str, Any]):
        """Args: plan: as it stands in utility.json."""
        super().__init__()
        self.plan = CircuitPlan.from_json(plan)
        self.batch = self.plan.batch

    def example(self) -> tuple[torch.Tensor, ...]:
        return tuple(torch.zeros(1, length) for length in self.plan.lengths)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        plan = self.plan
        self.everything = torch.cat(inputs, 1)
        self.at = {
            name: [i for start, count in spans for i in range(start, start + count)]
            for name, spans in plan.columns.items()
        }
        self.checks: list[torch.Tensor] = []
        self.powers_of_batch = self.public("a")
        self.looked_up()
        self.tensors: dict[int, torch.Tensor] = {0: self.cells("validation", 0, self.batch * plan.inputs)}
        self.sums: dict[int, torch.Tensor] = {}
        for step in plan.steps:
            if isinstance(step, Stage):
                self.stage(step)
            elif isinstance(step, WindowSum):
                self.window_sums(step)
            elif isinstance(step, Transpose):
                self.transpose(step)
            elif isinstance(step, CrossEntropy):
                self.cross_entropy(step)
            else:
                self.squares(step)
        echo = self.cells("public", 0, plan.public["noise"][0])
        return torch.cat([echo, firsts([pick(self.exponentials, 0), *self.checks, self.correct, self.loss])], 1)

    # ---- cells

    def cells(self, column: str, start: int, count: int) -> torch.Tensor:
        return take(self.everything, self.at[column][start : start + count])

    def public(self, name: str, count: int | None = None) -> torch.Tensor:
        start, length = self.plan.public[name]
        return self.cells("public", start, length if count is None else count)

    def constant(self, value: int, count: int = 2) -> torch.Tensor:
        """An integer as a public cell, repeated: a float in the graph would be exact to 24 bits only."""
        return self.repeated("public", self.plan.constants[value], count)

    def repeated(self, column: str, cell: int, count: int = 2) -> torch.Tensor:
        return take(self.everything, [self.at[column][cell]] * max(2, count))

    def witness(self, name: str) -> torch.Tensor:
        return self.cells("witness", *self.plan.witness[name])

    def digits(self, name: str) -> list[torch.Tensor]:
        """Cells of a number's digits, low first, each less R/2."""
        return [self.witness(f"{name}.{i}") for i in range(self.plan.digits[name])]

    # ---- lookups

    def looked_up(self) -> None:
        """Look up everything in one operation: range and exponential at once."""
        below: list[torch.Tensor] = []
        end = width(self.everything)
        if "lambda" in self.plan.witness:
            below = [self.witness("lambda") - self.constant(1, self.batch)]
        places: list[int] = []
        for column, start, count in self.plan.sequence:
            if column == "below":  # λ − 1, after everything
                places += range(end + start, end + start + count)
            elif column == "noise":
                first = self.plan.public["noise"][0] + start
                places += self.at["public"][first : first + count]
            else:
                places += self.at[column][start : start + count]
        looked = take(torch.cat([self.everything, *below], 1), places)
        self.exponentials = torch.pow(torch.tensor(self.plan.base), looked)
        self.where: dict[tuple[str, int], int] = {}
        row = 0
        for column, start, count in self.plan.sequence:
            for i in range(count):
                self.where[column, start + i] = row + i
            row += count

    def exponential(self, column: str, start: int, count: int) -> torch.Tensor:
        return take(self.exponentials, [self.where[column, start + i] for i in range(count)])

    # ---- random sums

    def place_weights(self, shape: Sequence[int]) -> torch.Tensor | None:
        """e_y f_x for every place of a (channels, height, width) tensor; None where there is but one."""
        if len(shape) == 1 or shape[1] * shape[2] == 1:
            return None
        if 1 in shape[1:]:
            return self.public("e", shape[1]) if shape[2] == 1 else self.public("f", shape[2])
        height, width = self.public("e", shape[1]), self.public("f", shape[2])
        return (height.reshape(-1, 1) * width.reshape(1, -1)).reshape(1, -1)

    def weighted(self, tensors: list[torch.Tensor], channels: int, places: torch.Tensor | None) -> torch.Tensor:
        """Σ a_b c_o p_s x_bos of each of these tensors of the same size: (1, number of tensors)."""
        if len(tensors) == 1:
            return self.within_sample(self.over_samples(tensors[0]), channels, places)
        many = torch.cat(tensors, 1).reshape(len(tensors), self.batch, -1)
        rows = torch.einsum("nbi,b->ni", many, self.powers_of_batch.reshape(-1))
        return self.within_sample(rows, channels, places)

    def over_samples(self, x: torch.Tensor) -> torch.Tensor:
        """Σ_b a_b x_bi: (1, i)."""
        weights = self.powers_of_batch.reshape(-1)
        return torch.einsum("bi,b->i", x.reshape(self.batch, -1), weights).reshape(1, -1)

    def within_sample(self, many: torch.Tensor, channels: int, places: torch.Tensor | None) -> torch.Tensor:
        """Σ c_o p_s x_os of each of the rows: (1, rows)."""
        if places is not None:
            many = torch.einsum("np,p->n", many.reshape(-1, width(places)), places.reshape(-1))
        if channels > 1:
            many = torch.einsum("no,o->n", many.reshape(-1, channels), self.public("c", channels).reshape(-1))
        return many.reshape(1, -1)

    def sums_of(self, tensor: int) -> torch.Tensor:
        """Σ_b a_b x_bi of a tensor of the plan, which more than one sum needs: (1, i)."""
        if tensor not in self.sums:
            self.sums[tensor] = self.over_samples(self.tensors[tensor])
        return self.sums[tensor]

    def over_batch(self, many: torch.Tensor) -> torch.Tensor:
        """Σ a_b x_b of each run of B values."""
        weights = self.powers_of_batch.reshape(-1)
        return torch.einsum("nb,b->n", many.reshape(-1, self.batch), weights).reshape(1, -1)

    def total_weight(self, channels: int, places: torch.Tensor | None) -> torch.Tensor:
        """Σ a_b c_o p_s."""
        value = total(self.powers_of_batch)
        if channels > 1:
            value = value * total(self.public("c", channels))
        return value if places is None else value * total(places)

    def powered(self, sums: torch.Tensor, first: int, count: int, weight: torch.Tensor) -> torch.Tensor:
        """Σ R^i (s_i + R/2·weight): the random sum of a number from those of its digits, `count` from the first on."""
        value = pick(sums, first + count - 1)
        for i in range(first + count - 2, first - 1, -1):
            value = value * self.constant(self.plan.radix) + pick(sums, i)
        return value + self.constant(shift_of(count, self.plan.radix)) * weight

    def number(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The random sum of a number, one for each sample, from its digits."""
        digits = self.digits(name)
        return self.powered(self.over_batch(torch.cat(digits, 1)), 0, len(digits), weight)

    # ---- linear parts

    def values_of(self, view: View) -> torch.Tensor:
        """A weight: (1, count), by its axes' order."""
        at = view.offset + torch.arange(view.count).reshape(view.shape).permute(view.order)
        where = at.reshape(-1).tolist()
        if len(where) == 1:
            return self.repeated("theta", where[0])
        return take(self.everything, [self.at["theta"][i] for i in where])

    def against_channels(self, view: View) -> torch.Tensor:
        """Σ_o c_o W_ok of an (outputs, k) weight: (1, k)."""
        weight, outputs = self.values_of(view), view.sizes[0]
        if outputs == 1:
            return weight
        flat = weight.reshape(outputs, -1)
        return torch.einsum("ok,o->k", flat, self.public("c", outputs).reshape(-1)).reshape(1, -1)

    def linear_part(self, step: Divided, places: torch.Tensor | None) -> torch.Tensor:
        """The random sum of Z."""
        value: torch.Tensor | None = None
        for term in step.terms:
            part = self.term(term, step.shape, places)
            if term.factor != 1:
                part = part * self.constant(term.factor)
            value = part if value is None else value + part
        assert value is not None
        return value

    def term(self, term: Term, shape: Sequence[int], places: torch.Tensor | None) -> torch.Tensor:
        """The random sum of one term, without its factor."""
        if isinstance(term, Dense):
            return self.dense(term)
        if isinstance(term, Convolution):
            return self.convolution(term, shape)
        if isinstance(term, Channelwise):
            return self.channelwise(term, shape, places)
        if isinstance(term, Bias):
            return self.bias(term, places)
        return self.identity(term, shape, places)

    def dense(self, term: Dense) -> torch.Tensor:
        return inner(self.sums_of(term.tensor), self.against_channels(term.weight))

    def convolution(self, term: Convolution, shape: Sequence[int]) -> torch.Tensor:
        channels, height, width = term.shape
        rows = self.sums_of(term.tensor)
        kernel_y, kernel_x = term.kernel
        across = self.shifted("f", width, kernel_x, shape[2], term.stride[1], term.pads[1])
        down = self.shifted("e", height, kernel_y, shape[1], term.stride[0], term.pads[0])
        part = torch.einsum("nw,wk->nk", rows.reshape(channels * height, width), across)
        part = part.reshape(channels, height, kernel_x)
        part = torch.einsum("ihx,hy->iyx", part, down)
        return inner(part.reshape(1, -1), self.against_channels(term.weight))

    def shifted(self, name: str, size: int, kernel: int, out: int, stride: int, pad: int) -> torch.Tensor:
        """(size, kernel): the weight of the output that input place i meets with kernel place k, or 0."""
        start = self.plan.public[name][0]
        zero = self.plan.constants[0]
        cells = []
        for i in range(size):
            for k in range(kernel):
                at, rest = divmod(i + pad - k, stride)
                cells.append(start + at if rest == 0 and 0 <= at < out else zero)
        return take(self.everything, [self.at["public"][cell] for cell in cells]).reshape(size, kernel)

    def channelwise(self, term: Channelwise, shape: Sequence[int], places: torch.Tensor | None) -> torch.Tensor:
        """Σ_o c_o γ_o (κ_o Σ a_b p_s x_bos − μ_o Σ a_b p_s): batch-norm with fixed statistics."""
        channels = shape[0]
        rows = self.sums_of(term.tensor)
        if places is not None:
            size = width(places)
            rows = torch.einsum("op,p->o", rows.reshape(channels, size), places.reshape(-1)).reshape(1, -1)
        weight = self.total_weight(1, places)
        normal = rows * self.public(term.kappa) - self.public(term.mu) * spread(weight, channels)
        gamma = self.values_of(term.gamma)
        return inner(normal * gamma, self.public("c", channels)) if channels > 1 else normal * gamma

    def bias(self, term: Bias, places: torch.Tensor | None) -> torch.Tensor:
        return self.against_channels(term.weight) * self.total_weight(1, places)

    def identity(self, term: Identity, shape: Sequence[int], places: torch.Tensor | None) -> torch.Tensor:
        return self.within_sample(self.sums_of(term.tensor), shape[0], places)

    # ---- steps

    def stage(self, step: Stage) -> None:
        """q = ⌊g·Z/R^k⌋, then its positive part and the maximum over windows, as the step says."""
        name, channels = step.name, step.shape[0]
        places = self.place_weights(step.shape)
        weight = self.total_weight(channels, places)
        tops = self.window_weights(step, places)
        remainder, top = self.digits(f"{name}.rem"), self.digits(f"{name}.top")
        output = self.tensors[step.out] = self.witness(f"{name}.out")
        quotient = self.within_sample(self.sums_of(step.out), channels, tops)
        if step.relu:  # q = out − minus, one of them 0, and the other is what the digits say
            minus = self.witness(f"{name}.minus")
            sums = self.weighted([minus, output * minus, *top], channels, tops)
            self.checks.append(pick(sums, 1))
            self.checks.append(quotient + pick(sums, 0) - self.powered(sums, 2, len(top), weight))
            quotient = quotient - pick(sums, 0)
        else:
            number = self.powered(self.weighted(top, channels, tops), 0, len(top), weight)
            self.checks.append(quotient + self.constant(step.offset) * weight - number)
        if step.pool:
            gap, digits = self.witness(f"{name}.gap"), self.digits(f"{name}.gap")
            sums = self.weighted([gap, *digits], channels, places)
            self.checks.append(pick(sums, 0) - self.powered(sums, 1, len(digits), weight))
            self.checks.append(self.one_is_zero(step.shape, step.pool, gap, tops))
            quotient = quotient - pick(sums, 0)
        rest = self.powered(self.weighted(remainder, channels, places), 0, len(remainder), weight)
        self.divided(step, places, quotient, rest)

    def divided(
        self, step: Divided, places: torch.Tensor | None, quotient: torch.Tensor, remainder: torch.Tensor
    ) -> None:
        """g·Z = R^k·q + rem."""
        scaled = self.linear_part(step, places) * self.constant(step.times)
        whole = quotient * self.constant(self.plan.radix**step.rem)
        self.checks.append(scaled - whole - remainder)

    def window_weights(self, step: Stage, places: torch.Tensor | None) -> torch.Tensor | None:
        """The weights of places added up over each window; those of the places where there are no windows."""
        if not step.pool or places is None:
            return places
        windows = [take(places, places_of) for places_of in window_places(step.shape, step.pool)]
        value = windows[0]
        for other in windows[1:]:
            value = value + other
        return value

    def one_is_zero(
        self, shape: Sequence[int], pool: Sequence[int], gaps: torch.Tensor, tops: torch.Tensor | None
    ) -> torch.Tensor:
        """The random sum of Π over each window of what its values lack to its top: 0, so the top is one of them."""
        product: torch.Tensor | None = None
        for part in self.windows_of(gaps, shape, pool):
            product = part if product is None else product * part
        assert product is not None
        return self.weighted([product], shape[0], tops)

    def windows_of(self, x: torch.Tensor, shape: Sequence[int], pool: Sequence[int]) -> Iterator[torch.Tensor]:
        """For each place in a window, that value of every window of a tensor; one after another, as they are used."""
        size, count = shape[1] * shape[2], self.batch * shape[0]
        for places_of in window_places(shape, pool):
            yield take(x, [n * size + place for n in range(count) for place in places_of])

    def window_sums(self, step: WindowSum) -> None:
        """Average pooling without its division, which is in the scale."""
        value: torch.Tensor | None = None
        for part in self.windows_of(self.tensors[step.tensor], step.shape, step.pool):
            value = part if value is None else value + part
        assert value is not None
        self.tensors[step.out] = value

    def transpose(self, step: Transpose) -> None:
        """The same cells, with a sample's axes in another order."""
        at = torch.arange(self.batch * math.prod(step.shape)).reshape(self.batch, *step.shape)
        places = at.permute(0, *(axis + 1 for axis in step.order)).reshape(-1).tolist()
        self.tensors[step.out] = take(self.tensors[step.tensor], places)

    def cross_entropy(self, step: CrossEntropy) -> None:
        plan, batch, classes = self.plan, self.batch, step.shape[0]
        half, count = plan.radix // 2, batch * classes  # T = half − 1
        weight, samples = self.total_weight(classes, None), self.total_weight(1, None)

        capped, gap = self.witness("capped"), self.witness("gap")  # T − c_j; t_j
        both = gap + capped  # t_j − c_j + T, so that what is above T is the excess
        excess, remainder = self.digits("excess"), self.digits("rem")
        sums = self.weighted([gap, both, both * capped, *excess, *remainder], classes, None)
        # where there is excess, c_j = R − 1: (both − T)·(capped + half) = both·capped + both + T·(gap − half)
        left = (pick(sums, 0) - weight * self.constant(half)) * self.constant(half - 1)
        self.checks.append(pick(sums, 2) + pick(sums, 1) + left)
        above = pick(sums, 1) - weight * self.constant(half - 1)
        self.checks.append(above - self.powered(sums, 3, len(excess), weight))
        top = self.number("top", samples) - samples * self.constant(step.offset)
        rest = self.powered(sums, 3 + len(excess), len(remainder), weight)
        self.divided(step, None, top * total(self.public("c", classes)) - pick(sums, 0), rest)

        label, label_gap = self.cells("validation", batch * plan.inputs, batch), self.witness("label_gap")
        named = label * self.repeated("public", plan.public["tie"][0], batch) + label_gap  # of class k: tie·k + t_k
        tied = gap.reshape(batch, classes) + self.public("ties").reshape(1, classes)
        miss = named.reshape(batch, 1) - tied
        self.checks.append(self.over_batch(product_of_columns(gap.reshape(batch, classes))))
        self.checks.append(self.over_batch(product_of_columns(miss)))

        start = plan.witness["capped"][0]
        mass = total(self.over_samples(self.exponential("witness", start, count)))
        at = self.over_batch(self.exponential("witness", plan.witness["lambda"][0], batch)) * self.constant(classes)
        below = self.over_batch(self.exponential("below", 0, batch)) * self.constant(classes)
        self.checks.append(at - mass - self.number("over", samples))
        self.checks.append(mass - below - samples - self.number("under", samples))

        right = self.constant(1, batch) - label_gap * self.witness("inverse")
        self.checks.append(self.over_batch(right * label_gap))
        self.correct = total(right)
        self.loss = total(self.witness("lambda") + label_gap + self.constant(step.shift, batch))

    def squares(self, step: Squares) -> None:
        plan, batch, outputs = self.plan, self.batch, step.shape[0]
        weight = self.total_weight(outputs, None)
        value, top, remainder = self.witness("out"), self.digits("top"), self.digits("rem")
        sums = self.weighted([value, *top, *remainder], outputs, None)
        number = self.powered(sums, 1, len(top), weight)
        self.checks.append(pick(sums, 0) + self.constant(step.offset) * weight - number)
        self.divided(step, None, pick(sums, 0), self.powered(sums, 1 + len(top), len(remainder), weight))
        error = value - self.cells("validation", batch * plan.inputs, batch * outputs)
        self.correct = self.constant(0)
        self.loss = inner(error, error)


def take(tensor: torch.Tensor, indices: Iterable[int]) -> torch.Tensor:
    """Columns by constant index."""
    return torch.index_select(tensor, 1, torch.tensor(list(indices)))


def width(tensor: torch.Tensor) -> int:
    """As a number: while torch traces, it would be a tensor."""
    return int(tensor.shape[1])


def pick(tensor: torch.Tensor, index: int) -> torch.Tensor:
    """One column, twice. (Taking a single one would become a slice, for which ezkl copies the whole tensor.)"""
    return take(tensor, [index, index])


def spread(scalar: torch.Tensor, count: int) -> torch.Tensor:
    return take(scalar, [0] * count)


def firsts(scalars: list[torch.Tensor]) -> torch.Tensor:
    """One value of each: scalars come once or twice."""
    starts, at = [], 0
    for scalar in scalars:
        starts.append(at)
        at += width(scalar)
    return take(torch.cat(scalars, 1), starts)


def total(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.sum(1).reshape(1, 1)


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if width(a) == 1:
        return a * b
    return torch.einsum("bi,bi->b", a, b).reshape(1, 1)


def product_of_columns(tensor: torch.Tensor) -> torch.Tensor:
    """Π_j x_ij: (1, rows)."""
    rows, columns = (int(size) for size in tensor.shape)
    flat = tensor.reshape(1, -1)
    value = take(flat, range(0, rows * columns, columns))
    for j in range(1, columns):
        value = value * take(flat, range(j, rows * columns, columns))
    return value


def shift_of(digits: int, radix: int) -> int:
    """R/2·(1 + R + … ): what digits that are kept less R/2 lack."""
    ones: int = sum(radix**i for i in range(digits))
    return radix // 2 * ones


def window_places(shape: Sequence[int], pool: Sequence[int]) -> list[list[int]]:
    """For each place in a window, that place of every window of a (channels, height, width) tensor."""
    _, height, width = shape
    return [
        [y * width + x for y in range(dy, height, pool[0]) for x in range(dx, width, pool[1])]
        for dy in range(pool[0])
        for dx in range(pool[1])
    ]
