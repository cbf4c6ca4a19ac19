"""From a project's rules to circuits and keys.

A circuit depends on few numbers: base on K, settlement on (N, filter, score, domain). Its keys are made once
and kept in the cache under the hash of everything that decides their bytes, so projects share them. What
ends in a build is checked: every lookup and range check that the statement needs must be in the *compiled*
circuit, because ezkl's optimiser drops silently what no output depends on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .. import backend
from ..backend import CircuitFiles, Srs
from ..crypto import INFINITY, encode_point, scalar_hex
from ..documents import write_json
from ..errors import ArtifactError, DomainError, InputError, demand
from ..files import link_or_copy, new_folder
from ..progress import Progress, quiet
from ..rules import MIN_ACCEPTED, RuleSet, largest_beta, norm_bound, reference_slots, score_shift
from ..updates import FixedPoint
from .columns import Columns
from .folder import Build, is_build
from .keys import keys_of
from .manifest import MANIFEST_FORMAT, Manifest, projection_shape
from .spec import Spec, candidate, check_spec, choose_logrows, keys_gigabytes, keys_seconds
from .statements import SALTS, VALUE_BITS, project_circuits, settlement_logrows, value_bound


def make_build(spec: Spec, srs: Srs, folder: str | Path, progress: Progress = quiet) -> Build:
    """Compile the circuits of a project, make or fetch their keys, and write the build.

    The folder appears whole or not at all; an interrupted build is run again and finds the keys that
    were finished in the cache.

    Raises:
        InputError, RuleError, DomainError: a rule or size that cannot be proven, and what to lower.
        ArtifactError: a circuit lost a check on its way through the compiler.
    """
    demand(spec, Spec, "what to build")
    demand(srs, Srs, "the SRS")
    check_spec(spec)
    logrows, table = choose_logrows(spec)
    value_bits = spec.value_bits or VALUE_BITS
    columns = Columns(logrows)
    if not SALTS <= spec.salts <= columns.width:
        raise InputError(f"a chunk has from {SALTS} to {columns.width} salts at K = {logrows}: got {spec.salts}")
    scale_bits = value_bits - 1 if spec.scale_bits is None else spec.scale_bits
    FixedPoint(scale_bits, value_bits)  # raises if it is none
    bound = value_bound(value_bits)
    longest = norm_bound(spec.params, bound)
    references = reference_slots(spec.filter, spec.score)
    most = (spec.most_trainers or spec.trainers) if "last" in references else None
    rules = RuleSet(spec.trainers, spec.params, bound, longest, spec.filter, spec.score, most)
    beta_max = spec.beta_max
    if beta_max is None:
        beta_max = largest_beta(rules)
        if beta_max < longest:
            progress(f"norm bounds up to {beta_max}, not D·Q² = {longest}: the integers of {spec.filter} hold no more")
    if not 0 < beta_max <= longest:
        raise DomainError(f"--beta-max is from 1 to D·Q² = {longest}: got {beta_max}")

    rules = replace(rules, beta_max=beta_max)

    shape = projection_shape(spec.trainers, spec.params, logrows, references)
    shape.check()
    progress(f"what the projection's answers tell of an update: at most 2^-{shape.leak_bits(bound)}")
    circuits = project_circuits(logrows, settlement_logrows(rules), rules, spec.salts)
    progress(_estimate(spec, logrows, [circuit.how.logrows for circuit in circuits.values()]))

    entries = {}
    folders = {}
    for name, circuit in circuits.items():
        folders[name], entries[name] = keys_of(circuit, srs, progress)
    base_files = CircuitFiles(folders["base"], srs.path(logrows))
    blinding = backend.commit(base_files, logrows, [[scalar_hex(0)]])[0]
    if blinding == INFINITY:
        raise ArtifactError("the commitment of zero is the point at infinity: the unusable rows are not what they were")
    domain = circuits["settlement"].domain
    assert domain is not None
    value = {
        "format": MANIFEST_FORMAT,
        "insecure": srs.insecure,
        "versions": backend.versions(),
        "srs": {"kind": srs.kind, "id": srs.id},
        "trainers": spec.trainers,
        "params": spec.params,
        "logrows": logrows,
        "rows": columns.rows,
        "width": columns.width,
        "chunk": columns.values,
        "salts": spec.salts,
        "chunks": shape.chunks,
        "value_bound": bound,
        "fixed_point": {"scale_bits": scale_bits, "value_bits": value_bits},
        "filter": str(spec.filter),
        "score": spec.score,
        "min_accepted": MIN_ACCEPTED,
        "beta_max": str(beta_max),
        "domain": {
            "bounds": {name: str(limit) for name, limit in domain.bounds.items()},
            "penalty": str(domain.penalty),
            "digit_bits": domain.digit_bits,
            "digits": domain.digits,
        },
        "blinding_point": "0x" + encode_point(blinding).hex(),
        "cost_model": {"optimize": spec.optimize, "candidates": [vars(c) for c in table]},
        "circuits": entries,
        "layout": spec.layout.to_json() if spec.layout else None,
    }
    if most is not None:
        value |= {"most_trainers": most, "score_shift": score_shift(rules)}
    value["digest"] = "0x" + Manifest(value).digest().hex()
    with new_folder(Path(folder), replace=is_build(Path(folder))) as fresh:
        for name, source in folders.items():
            target = fresh / "circuits" / name
            target.mkdir(parents=True)
            for file in entries[name]["files"]:
                link_or_copy(source / file, target / file)
        write_json(fresh / "manifest.json", value)
    return Build.load(Path(folder), prover=True)


def _estimate(spec: Spec, logrows: int, sizes: list[int]) -> str:
    """What is to come, before the long work: about, for two cores."""
    rows = [1 << size for size in sizes]
    cost = candidate(logrows, spec.trainers, spec.params)
    aggregator = spec.trainers * cost.trainer_ms + cost.aggregator_ms  # every update is committed to again
    return (
        f"estimate for two cores: {cost.chunks} chunks at K = {logrows}; keys of {len(rows)} circuits, of"
        f" {' and '.join(f'2^{size}' for size in sizes)} rows, take {keys_seconds(rows):.0f} s and"
        f" {keys_gigabytes(rows):.1f} GB unless they are cached, an SRS of that size more; a round takes a trainer"
        f" {cost.trainer_ms / 1000:.1f} s and the aggregator {aggregator / 1000:.0f} s"
    )
