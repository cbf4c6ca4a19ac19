"""Table of the generated verifiers: size for each optimizer setting, gas of a transaction and of a call.

    python -m tests.contracts.measure_verifiers [K] [N ...]

Keys come from the cache or are made. Gas is that of anvil's hardfork in zkmarket/chain/connection.py.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tests.contracts.test_chain import HEADER, LIMITS, SMALL, write_project
from zkmarket import backend
from zkmarket.backend import CircuitFiles, ProofJob, srs
from zkmarket.build import Columns, keys_of
from zkmarket.build.statements import VALUE_BITS, Circuit, project_circuits, settlement_logrows, value_bound
from zkmarket.chain import (
    MAX_CODE,
    VERIFIER_SETTINGS,
    Chain,
    chain,
    compile_contracts,
    compile_verifier,
    compiler,
    development_chain,
    transacting,
)
from zkmarket.rules import Filter, RuleSet, norm_bound

RUNS = (1, 200, 1_000_000)


def circuits(logrows: int, trainers: list[int]) -> Iterator[tuple[str, Circuit]]:
    """The base circuit, and every settlement of updates of one chunk."""
    params, bound = Columns(logrows).values, value_bound(VALUE_BITS)
    for n in trainers:
        rule, beta_max = Filter.krum(n), norm_bound(params, bound)
        rules = RuleSet(n, params, bound, beta_max, rule, "shapley")
        settlement = settlement_logrows(rules)
        made = project_circuits(logrows, settlement, rules)
        if n == trainers[0]:
            yield "base", made["base"]
        yield f"settlement, N = {n}", made["settlement"]


def sizes(source: str) -> list[int]:
    out = []
    for runs in RUNS:
        settings = VERIFIER_SETTINGS | {"optimizer": {"enabled": True, "runs": runs}}
        with mock.patch.multiple(chain, VERIFIER_SETTINGS=settings, MAX_CODE=10**6):
            out.append(len(compiler._compile_verifier(source).runtime))
    return out


def main(logrows: int, trainers: list[int]) -> None:
    ceremony = srs.generate()
    heads = ["circuit", "K", "proof bytes", "instances", *(f"bytes, {runs:,} runs" for runs in RUNS)]
    heads += ["gas to deploy", "gas of a transaction", "gas of a call"]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    with tempfile.TemporaryDirectory() as scratch, development_chain() as chain:
        folder = write_project(Path(scratch) / "small", Small=SMALL, Limits=HEADER + LIMITS)
        owner = chain.accounts[0]
        caller = chain.deploy(compile_contracts(folder)["Small"], owner)
        for name, circuit in circuits(logrows, trainers):
            keys, entry = keys_of(circuit, ceremony, lambda text: print(text, file=sys.stderr))
            files = CircuitFiles(keys, ceremony.path(circuit.how.logrows), entry["proof_bytes"])
            proof = backend.prove([ProofJob(name, files, circuit.sample())])[0]
            source = backend.verifier_source(files)
            row = [name, circuit.how.logrows, len(proof.data), len(proof.instances), *sizes(source)]
            if row[5] <= MAX_CODE:
                contract = chain.deploy_verifier(compile_verifier(source), owner)
                arguments = proof.data, list(proof.instances)
                with transacting(name):
                    sent = contract.verifyProof(*arguments, {"from": owner})
                    row += [
                        chain.web3.eth.get_transaction_receipt(created(chain, contract.address))["gasUsed"],
                        sent.gas_used,
                        caller.gasOf.call(contract, *arguments),
                    ]
            else:
                row += ["does not fit"] * 3
            print("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) + " |", flush=True)


def created(chain: Chain, address: str) -> str:
    """Hash of the transaction that made the contract in the latest blocks."""
    for number in range(chain.web3.eth.block_number, -1, -1):
        for hash_ in chain.web3.eth.get_block(number)["transactions"]:
            if chain.web3.eth.get_transaction_receipt(hash_)["contractAddress"] == address:
                return hash_.to_0x_hex()
    raise LookupError(address)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    main(numbers[0] if numbers else 13, numbers[1:] or [3, 8, 10, 16])
