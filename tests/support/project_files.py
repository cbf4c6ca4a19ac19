"""A small PROJECT.toml, changed and loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import zkmarket
from tests.support import documents
from zkmarket.build import Columns, Manifest
from zkmarket.build.statements import value_bound
from zkmarket.errors import InputError
from zkmarket.posting import (
    ProjectFile,
    load_project_file,
)
from zkmarket.rules import norm_bound
from zkmarket.updates import ParameterLayout

ROOT = Path(zkmarket.__file__).parents[1]


ETHER = 10**18


SIXTH = -(-ETHER // 6)
"""The least penalty of `SMALL`: six of them make the reward."""


AGGREGATOR = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


SMALL = f"""\
[project]
name = "Digits"
rounds = 3
aggregator = "{AGGREGATOR}"
[model]
factory = "zkmarket.learning:digits_mlp"
[rules]
least = 6
most = 8
[money]
reward = "1 ether"
"""
"""The least that a file must say: every line has a number in the tests below."""


def layout_of(params: int) -> ParameterLayout:
    return ParameterLayout(("w",), ((params,),), ("float32",))


DIGITS = layout_of(2410)


def load(tmp_path: Path, text: str = SMALL, **changes: str) -> ProjectFile:
    """A file with these values in place of, or added to, those of `text`: section__key = TOML."""
    for name, value in changes.items():
        section, key = name.split("__")
        text, found = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        if not found and f"[{section}]\n" in text:
            text = text.replace(f"[{section}]\n", f"[{section}]\n{key} = {value}\n")
        elif not found:
            text += f"[{section}]\n{key} = {value}\n"
    path = tmp_path / "PROJECT.toml"
    path.write_text(text)
    return load_project_file(path)


def complaints(tmp_path: Path, call: Any) -> list[str]:
    """The lines of the InputError that `call` raises, without the folder."""
    with pytest.raises(InputError) as caught:
        call()
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).split("\n")]


def refused(tmp_path: Path, text: str = SMALL, **changes: str) -> list[str]:
    return complaints(tmp_path, lambda: load(tmp_path, text, **changes))


def manifest_for(project: ProjectFile, n: int, params: int = 2410, **changes: Any) -> Manifest:
    spec = project.specs(layout_of(params))[n]
    columns, bits = Columns(spec.logrows), project.bits
    value = documents.manifest() | {
        "trainers": n,
        "params": params,
        "logrows": spec.logrows,
        "rows": columns.rows,
        "width": columns.width,
        "chunk": columns.values,
        "chunks": columns.chunks(params),
        "value_bound": value_bound(bits),
        "filter": str(spec.filter),
        "beta_max": str(project.beta_max or norm_bound(params, value_bound(bits))),
        "fixed_point": {"scale_bits": bits - 1, "value_bits": bits},
        "score": spec.score,
    }
    return Manifest(value | changes)
