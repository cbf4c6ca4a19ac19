"""Data that do not fit memory: batches that are read anew in every epoch."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .datasets import Dataset, as_array, made_by, read_dataset
from .loading import blamed_on, current_folder, initial


class Stream:
    """A torch DataLoader, an IterableDataset, or whatever gives batches (inputs, targets) each time it is iterated.

    Attributes:
        of_rows: whether the source gives single rows, of which batches are made here.
        first: its first batch, read once: what it is like says whether the targets are labels.
    """

    def __init__(self, source: Iterable[Any], of_rows: bool):
        self._source, self.of_rows = source, of_rows
        with initial():
            found = next(self.batches(2), None)
        if found is None:
            raise InputError("a data loader gives at least one batch: got none")
        self.first = found

    @property
    def labelled(self) -> bool:
        return self.first.labelled

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return self.first.inputs.shape[1:]

    def batches(self, size: int) -> Iterator[Dataset]:
        """One pass. `size` rows each where the source gives rows; else the source decides."""
        with blamed_on("the data loader fails"):
            items = iter(self._source)
        if self.of_rows:
            items = _joined(_in_batches(items, size), size)
        number = 0
        while True:
            with blamed_on(f"the data loader fails at batch {number}"):
                try:
                    item = next(items)
                except StopIteration:
                    return
                batch = _batch(item)
            self._check(batch, number)
            number += 1
            yield batch

    def _check(self, batch: Dataset, number: int) -> None:
        first = getattr(self, "first", batch)
        got, wanted = ((one.inputs.shape[1:], one.targets.shape[1:], one.targets.dtype) for one in (batch, first))
        if got != wanted:
            raise InputError(
                f"batch {number} of the data loader has rows of {got[0]} with {got[2]} targets of {got[1]}: the first"
                f" batch has {wanted[0]} with {wanted[2]} of {wanted[1]}"
            )


def load_source(text: str) -> Dataset | Stream:
    """As `load_dataset`; and what can only be iterated, such as a torch DataLoader, is read anew in every epoch."""
    made = made_by(text)
    try:
        with current_folder(), blamed_on("not a data set"):
            return stream_of(made) if is_stream(made) else read_dataset(made)
    except InputError as error:
        raise InputError(f"{text}: {error}") from error


def is_stream(made: Any) -> bool:
    """Whether what a factory returned has no rows by number."""
    if _is_iterable_dataset(made):
        return True
    sized = hasattr(made, "__len__") and hasattr(made, "__getitem__")
    return hasattr(made, "__iter__") and not sized and not isinstance(made, (Dataset, Mapping, set, frozenset))


def stream_of(made: Any) -> Stream:
    if iter(made) is made:
        raise InputError(
            f"got a {type(made).__name__}, which can be read once: wanted what can be iterated anew in every epoch,"
            " such as a torch DataLoader, or an object whose __iter__ begins again"
        )
    return Stream(made, of_rows=_is_iterable_dataset(made))


def _is_iterable_dataset(made: Any) -> bool:
    """torch is recognised, not imported: without it nobody has made one."""
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and isinstance(made, torch_data.IterableDataset)


def _batch(item: Any) -> Dataset:
    if isinstance(item, Dataset):
        return item
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise InputError(f"a batch is a {type(item).__name__}: wanted a pair (inputs, targets)")
    return Dataset.of(*item)


def _in_batches(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    held: list[Any] = []
    for row in rows:
        if not isinstance(row, (tuple, list)) or len(row) != 2:
            raise InputError(f"a row is a {type(row).__name__}: wanted a pair (input, target)")
        held.append(row)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def _joined(batches: Iterator[list[Any]], size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A last batch of one row joins the one before it, as of rows in memory."""
    before: list[Any] | None = None
    for batch in batches:
        if before is not None and (len(batch) > 1 or size == 1):
            yield _stacked(before)
            before = None
        before = [*(before or []), *batch]
    if before is not None:
        yield _stacked(before)


def _stacked(rows: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    inputs, targets = (np.stack([as_array(value) for value in column]) for column in zip(*rows, strict=True))
    return inputs, targets
