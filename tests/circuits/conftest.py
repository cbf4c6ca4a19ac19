"""Compiled circuits, made once a session."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.circuits.harness import HONEST, Compiled, Mutation, compile_in
from zkmarket.build.statements import Circuit

Compile = Callable[..., Compiled]


@pytest.fixture(scope="session")
def compile_once(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile a circuit, or take the one that was compiled before."""
    made: dict[str, Compiled] = {}

    def get(circuit: Circuit, mutation: Mutation = HONEST, cut: bool = False) -> Compiled:
        recipe = [
            circuit.source,
            circuit.numbers,
            vars(mutation.how or circuit.how),
            mutation.lines,
            str(circuit.domain),
            cut,
        ]
        key = json.dumps(recipe, sort_keys=True)
        if key not in made:
            made[key] = compile_in(tmp_path_factory.mktemp("circuit"), circuit, mutation, cut)
        return made[key]

    return get
