"""What does each circuit cost at each number of rows? The constants of the cost model come from here.

    python -m benchmarks.bench_circuits --json

One row a circuit and K: seconds to prove (witness, mock, prove, verify), to verify, and their sizes. Settlements are
those of Multi-Krum alone and of the default filter, beside each other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Rows, machine, measured, say
from zkmarket import backend
from zkmarket.backend import CircuitFiles, ProofJob, srs
from zkmarket.build import keys_of
from zkmarket.build.statements import (
    SALTS,
    VALUE_BITS,
    Circuit,
    base_circuit,
    settlement_logrows,
    settlement_statement,
    value_bound,
)
from zkmarket.errors import DomainError
from zkmarket.progress import quiet
from zkmarket.rules import Filter, RuleSet, norm_bound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logrows", type=int, nargs="*", default=[10, 11, 12, 13, 14, 15])
    parser.add_argument("--trainers", type=int, nargs="*", default=[3, 8, 10, 16, 32], help="settlement circuits")
    parser.add_argument("--params", type=int, default=1210, help="of the settlement circuits' updates; default 1210")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="rows only, no progress")
    arguments = parser.parse_args()
    tell = quiet if arguments.json else say
    rows = Rows(machine())
    for logrows in arguments.logrows:
        bench(rows, "base", base_circuit(logrows), arguments.repeat, tell)
    for n in arguments.trainers:
        bound, d = value_bound(VALUE_BITS), arguments.params
        longest = norm_bound(d, bound)
        for rule in dict.fromkeys((Filter.krum(n), Filter.default(n))):
            rules = RuleSet(n, d, bound, longest, rule, "shapley")
            try:
                logrows = settlement_logrows(rules)
            except DomainError as error:
                tell(f"settlement N={n}, {rule}: {error}")
                continue
            circuit = settlement_statement(logrows, rules, SALTS)
            bench(rows, f"settlement N={n} {rule}", circuit, arguments.repeat, tell)


def bench(rows: Rows, name: str, circuit: Circuit, repeat: int, tell: Callable[[str], None]) -> None:
    tell(f"{name}, 2^{circuit.how.logrows} rows")
    ceremony = srs.generate()
    folder, entry = keys_of(circuit, ceremony, tell)
    files = CircuitFiles(Path(folder), ceremony.path(circuit.how.logrows), entry["proof_bytes"])
    proving, verifying = [], []
    for _ in range(repeat):
        with measured() as took:
            proof = backend.prove([ProofJob(name, files, circuit.sample())])[0]
        proving.append(took)
        with measured() as took:
            backend.verify(files, proof)
        verifying.append(took)
    common = {
        "logrows": circuit.how.logrows,
        "rows": entry["rows"],
        "blocks": backend.blocks_of(entry["rows"], circuit.how.logrows),
        "pk_bytes": files.pk.stat().st_size,
        "vk_bytes": files.vk.stat().st_size,
    }
    rows.add(f"prove {name}", proving, len(proof.data), **common)
    rows.add(f"verify {name}", verifying, len(proof.data), **common)


if __name__ == "__main__":
    main()
