"""Keys of the direct circuits."""

from __future__ import annotations

from dataclasses import dataclass

from ...backend import CircuitFiles, srs
from ...build import Build, Manifest, keys_of
from ...build.statements import Circuit, table_bound
from ...errors import DomainError
from ...progress import Progress, quiet
from .rules import Rule
from .statements import aggregation_statement, round_statement

# ---------------------------------------------------------------- keys


@dataclass(frozen=True)
class Direct:
    """A direct circuit of a project, with its keys.

    Attributes:
        build: the project's, whose commitments the circuit takes.
        rule: of an aggregation; None for a round.
    """

    build: Build
    circuit: Circuit
    files: CircuitFiles
    rule: Rule | None

    @property
    def committed(self) -> bool:
        return bool(self.circuit.numbers["committed"])


def aggregation_keys(build: Build, rule: Rule, output: str = "committed", progress: Progress = quiet) -> Direct:
    """Make or fetch the keys of an aggregation of the project's updates.

    Raises DomainError if the updates may have values beyond the table, or the circuit does not fit.
    """
    manifest = build.manifest
    check_bound(manifest)
    circuit = aggregation_statement(manifest.logrows, manifest.trainers, manifest.params, rule, output, manifest.salts)
    return Direct(build, circuit, _keys(build, circuit, progress), rule)


def round_keys(build: Build, output: str = "committed", progress: Progress = quiet) -> Direct:
    """Make or fetch the keys of the project's round in one circuit. Raises DomainError as `aggregation_keys`."""
    manifest = build.manifest
    check_bound(manifest)
    circuit = round_statement(
        manifest.logrows,
        manifest.trainers,
        manifest.params,
        manifest.beta_max,
        manifest.filter,
        manifest.score,
        output,
        manifest.salts,
    )
    return Direct(build, circuit, _keys(build, circuit, progress), None)


def check_bound(manifest: Manifest) -> None:
    """Raise DomainError unless the table holds every honest value, or a direct proof could be impossible."""
    table = table_bound(manifest.logrows)
    if manifest.bound > table:
        raise DomainError(
            f"a direct circuit looks values up in a table of [−{table}, {table}) at 2^{manifest.logrows} rows, and this"
            f" build's are in [−{manifest.bound}, {manifest.bound}): build with --value-bits {manifest.logrows - 1} or"
            " fewer, or with a larger --logrows"
        )


def _keys(build: Build, circuit: Circuit, progress: Progress) -> CircuitFiles:
    ceremony = srs.by_id(build.manifest.value["srs"]["id"])
    folder, entry = keys_of(circuit, ceremony, progress)
    return CircuitFiles(folder, ceremony.path(circuit.how.logrows), entry["proof_bytes"])
