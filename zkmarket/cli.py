"""The command line: verbs in the order of the flow.

Results go to stdout (one object with --json), progress to stderr. Exit codes: 0 done, 1 the statement
is false, a proof is rejected or a project is not what it says, 2 wrong usage or input, 3 a tool, artifact or
SRS is missing or does not match, 4 a transaction was reverted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import aggregator, auditor, srs, trainer, utility_verbs
from .artifacts import Build
from .attacks import ATTACKS
from .backend import Progress, quiet
from .build import Spec, build
from .commitment import (
    COMMITMENT_FILE,
    SALTS_FILE,
    VALUES_FILE,
    Commitment,
    RoundId,
    address_text,
    random_address,
    read_address,
)
from .contribution import SCORES
from .errors import ArtifactError, InputError, ZkmarketError
from .field import decode_point, encode_point
from .files import atomic_write, cache_folder, read_json, save_npz
from .learning import layout_of
from .quantise import ParameterLayout, load_update
from .roles.verbs import add_verbs
from .round import Aggregate, References, RoundProof
from .rules import SIGMA, SIGMA_TRAINERS, Filter
from .statements import VALUE_BITS

if TYPE_CHECKING:
    from .store import Store

Answer = tuple[dict[str, Any], str]
"""What a verb returns: the object for --json, and the text for people."""


def main(argv: list[str] | None = None, run: Callable[..., Answer] | None = None) -> int:
    """Run a verb; `run` in its place, if given."""
    arguments = make_parser().parse_args(argv)
    run = run or arguments.run
    try:
        with _progress(arguments.quiet) as progress:
            result, text = run(arguments, progress)
    except ZkmarketError as error:
        return _fail(arguments, error, error.exit_code)
    except KeyboardInterrupt:
        print("interrupted; the same command can be run again", file=sys.stderr)
        return 130
    except OSError as error:
        return _fail(arguments, error, 3)
    except Exception as error:  # a bug: never the exit code of a rejected proof
        traceback.print_exc()
        return _fail(arguments, error, 3)
    print(json.dumps(result, indent=1) if arguments.json else text)
    return int(result.get("exit_code", 0))


def _fail(arguments: argparse.Namespace, error: Exception, code: int) -> int:
    if arguments.json:
        print(json.dumps({"error": type(error).__name__, "message": str(error), "exit_code": code}))
    print(f"zkmarket {arguments.verb}: {error}", file=sys.stderr)
    return code


class Reporter:
    """Progress on stderr: a line a step; on a terminal, below them, what is waited for and for how long."""

    def __init__(self, live: Any = None):
        self.live, self.task = live, None
        self.lock = threading.RLock()  # blobs are put, and their fate told, in the background

    def __call__(self, text: str) -> None:
        if self.live is None:
            print(f"· {text}", file=sys.stderr, flush=True)
        else:
            self.live.console.print(f"· {text}", markup=False, highlight=False)
            self._show(text)

    def waiting(self, text: str) -> None:
        """What is waited for: a line where there is no terminal, else what stands beside the clock."""
        if self.live is None:
            self(text)
        else:
            self._show(text)

    def _show(self, text: str) -> None:
        with self.lock:
            if self.task is not None:
                self.live.remove_task(self.task)
            self.task = self.live.add_task(text, total=None)


@contextlib.contextmanager
def _progress(silent: bool) -> Iterator[Progress]:
    if silent or not sys.stderr.isatty():
        yield quiet if silent else Reporter()
        return
    from rich.console import Console
    from rich.progress import Progress as Live
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    with Live(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as live:
        yield Reporter(live)


# ---------------------------------------------------------------- verbs


def doctor(arguments: argparse.Namespace, progress: Progress) -> Answer:
    """Check what this machine has; exit code 3 if something that is needed is missing."""
    checks: list[tuple[str, bool, str]] = []
    python = platform.python_version()
    checks.append(("python", (3, 11) <= sys.version_info < (3, 13), python))
    for name, module in (("ezkl", "ezkl"), ("torch", "torch"), ("numpy", "numpy"), ("py_ecc", "py_ecc")):
        try:
            importlib.import_module(module)
            checks.append((name, True, version(name)))
        except Exception as error:  # a broken wheel raises anything
            checks.append((name, False, str(error)))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    checks.append(("memory", memory >= 2, f"{memory:.1f} GiB, {os.cpu_count()} cores"))
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free / 2**30
        checks.append(("cache", os.access(folder, os.W_OK) and free >= 2, f"{folder}, {free:.0f} GiB free"))
    except OSError as error:
        checks.append(("cache", False, str(error)))
    ceremonies = srs.installed()
    about = "; ".join(f"{s.kind} {s.id[:8]} of 2^{s.sizes()} rows" for s in ceremonies)
    checks.append(("srs", bool(ceremonies), about or "none: run `zkmarket srs fetch` or `zkmarket srs generate`"))
    try:
        from . import market

        checks.append(("market", True, market.tools()))
    except (ZkmarketError, ImportError) as error:
        checks.append(("market", False, str(error)))
    good = all(passed for _, passed, _ in checks)
    result = {
        "ok": good,
        "checks": [{"name": name, "ok": passed, "found": found} for name, passed, found in checks],
    }
    lines = [f"{'ok     ' if passed else 'MISSING'}  {name:7} {found}" for name, passed, found in checks]
    if any(ceremony.insecure for ceremony in ceremonies):
        lines.append(f"note: {srs.WARNING}")
    return result | ({} if good else {"exit_code": 3}), "\n".join(lines)


def srs_generate(arguments: argparse.Namespace, progress: Progress) -> Answer:
    progress(srs.WARNING)
    return _srs_answer(srs.generate(arguments.logrows, progress))


def srs_fetch(arguments: argparse.Namespace, progress: Progress) -> Answer:
    return _srs_answer(srs.fetch(arguments.logrows, progress))


def srs_import(arguments: argparse.Namespace, progress: Progress) -> Answer:
    return _srs_answer(srs.import_file(arguments.file, arguments.digest))


def srs_info(arguments: argparse.Namespace, progress: Progress) -> Answer:
    found = srs.installed()
    rows = [_srs_row(item) for item in found]
    return {"srs": rows}, "\n".join(map(_srs_text, rows)) or "no SRS installed"


def _srs_answer(item: srs.Srs) -> Answer:
    row = _srs_row(item)
    return row, _srs_text(row)


def _srs_row(item: srs.Srs) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "id": item.id,
        "insecure": item.insecure,
        "logrows": item.sizes(),
        "folder": str(item.folder),
    }


def _srs_text(row: dict[str, Any]) -> str:
    mark = f"\n  {srs.WARNING}" if row["insecure"] else ""
    return f"{row['kind']} SRS {row['id'][:16]}, sizes 2^{row['logrows']}, in {row['folder']}{mark}"


def build_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    layout = _layout(arguments.model) if arguments.model else None
    n = arguments.trainers
    score, salts = utility_verbs.score_and_salts(arguments.score, arguments.salts, n)
    spec = Spec(
        trainers=n,
        params=layout.size if layout else arguments.params,
        filter=Filter.parse(arguments.filter) if arguments.filter else Filter.default(n),
        score=score,
        salts=salts,
        value_bits=arguments.value_bits,
        scale_bits=arguments.scale_bits,
        logrows=None if arguments.logrows == "auto" else _integer(arguments.logrows, "--logrows"),
        optimize=arguments.optimize,
        beta_max=arguments.beta_max,
        layout=layout,
        most_trainers=arguments.most_trainers,
    )
    made = build(spec, srs.select(arguments.srs), arguments.output, progress)
    manifest = made.manifest
    result = manifest.value
    lines = [
        f"build of {manifest.params} parameters, {manifest.trainers} trainers, {manifest.filter}, {manifest.score}",
        f"  logrows {manifest.logrows}: {manifest.chunks} chunks of {manifest.chunk} values in "
        f"[−{manifest.bound}, {manifest.bound}); settlement at logrows {manifest.settlement_logrows}",
        *(
            f"  {name}: {entry['rows']} rows in {entry['blocks']} blocks, proof {entry['proof_bytes']} bytes,"
            f" vk {entry['files']['vk.key'][:16]}"
            for name, entry in result["circuits"].items()
        ),
        f"  manifest digest {result['digest']}",
    ]
    if manifest.insecure:
        lines.append(f"  {srs.WARNING}")
    return {key: value for key, value in result.items() if key != "layout"} | {
        "folder": str(arguments.output)
    }, "\n".join(lines)


def compile_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from .compile import Options, commit_batch, compile_again, compile_model

    if arguments.like:
        again = compile_again(arguments.model, arguments.like, srs.select(arguments.srs), arguments.output, progress)
        result = {"digest": again.value["digest"], "folder": str(arguments.output), "insecure": again.insecure}
        return result, f"{arguments.like} is a build of {arguments.model}: digest {again.value['digest']}"
    if arguments.data is None or arguments.trainers is None:
        raise InputError("compile needs --data and --trainers, or --like BUILD")
    options = Options(
        model=arguments.model,
        data=arguments.data,
        trainers=arguments.trainers,
        loss=arguments.loss,
        batch=arguments.batch,
        value_bits=arguments.value_bits,
        scale_bits=arguments.scale_bits,
        beta_max=arguments.beta_max,
        logrows=arguments.logrows,
        salts=arguments.salts,
        proofs=arguments.proofs,
        tolerance=arguments.tolerance,
        theta=arguments.theta,
        theta_bound=arguments.theta_bound,
    )
    made = compile_model(options, srs.select(arguments.srs), arguments.output, progress)
    result = made.report() | {"folder": str(arguments.output)}
    if arguments.commit:
        result["validation"] = [str(path) for path in commit_batch(made.build, arguments.data, arguments.commit)]
    lines = [
        f"{result['parameters']} parameters in {result['chunks']} chunks, batch of {result['batch']}:"
        f" {result['rows']} rows of 2^{result['logrows']}, proof {result['proof_bytes']} bytes",
        f"  accuracy {result['accuracy']:.4f} (float {result['float_accuracy']:.4f}), mean loss"
        f" {result['mean_loss']:.4f} (float {result['float_mean_loss']:.4f}), in units of {result['loss_unit']:.3g}",
        f"  a proof takes about {result['expected_seconds']} s on 2 cores and {result['expected_memory_gb']} GB",
        f"  digest {result['digest']}",
        *(f"  validation batch: {path}" for path in result.get("validation", [])),
    ]
    if made.build.insecure:
        lines.append(f"  {srs.WARNING}")
    return result, "\n".join(lines)


def commit_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    made = _load_build(arguments, prover=True)
    who = read_address(arguments.trainer) if arguments.trainer else _kept_address(arguments.output)
    committed = trainer.commit_update(
        made,
        load_update(arguments.update, made.manifest.layout),
        arguments.output,
        who,
        _round_id(arguments),
        arguments.beta,
        "count" if arguments.saturate else "refuse",
        progress,
    )
    report = committed.quantised.report()
    result = {
        "trainer": address_text(who),
        "digest": "0x" + committed.commitment.digest().hex(),
        "points": ["0x" + encode_point(point).hex() for point in committed.commitment.points],
        "quantisation": report,
        "folder": str(arguments.output),
        "insecure": made.manifest.insecure,
    }
    text = (
        f"committed {report['params']} parameters as {address_text(who)} in {arguments.output}"
        f" (max error {report['max_error']:.3g}, relative L2 error {report['relative_l2_error']:.3g},"
        f" {report['saturated']} saturated, clipped by {report['clipped']:.3g})\n"
        f"  digest {result['digest']}\n"
        f"  the aggregator needs {COMMITMENT_FILE}, {VALUES_FILE} and {SALTS_FILE}; keep the last two from all others"
    )
    return result, text


def prove_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    made = _load_build(arguments, prover=True)
    submissions = aggregator.load_submissions(made, arguments.updates)
    for slot, submission in enumerate(submissions, start=1):
        progress(f"admitting slot {slot}")
        aggregator.admit(made, submission, slot)
    given = _given_references(arguments, made, progress)
    scoring = utility_verbs.Scoring.of(arguments, made, arguments.output, prover=True)
    proof, aggregate = _prove_once(arguments, made, submissions, given, progress, scoring)
    place = arguments.aggregate or arguments.output.with_suffix(".aggregate.npz")
    if aggregate is None:
        place.unlink(missing_ok=True)  # of an earlier run
    else:
        aggregate.save(place)
    proof.save(arguments.output)
    served = None if aggregate is None else str(place)
    result = {"round": str(arguments.output), "aggregate": served, "insecure": made.manifest.insecure}
    text = f"round proof in {arguments.output}, " + (
        f"aggregate in {place}" if served else "no aggregate: too few updates are accepted, it would reveal them"
    )
    if scoring:
        more, about = utility_verbs.prove(scoring, arguments, made, submissions, proof, progress)
        result, text = result | more, f"{text}\n{about}"
    return result, text


def _given_references(arguments: argparse.Namespace, made: Build, progress: Progress) -> dict[str, Any]:
    """What `prove_round` compares with: the owner's folder, admitted like a trainer's, and the last aggregate."""
    root = last = None
    if arguments.root:
        progress("admitting the root update")
        root = aggregator.load_submission(made, arguments.root)
        aggregator.admit(made, root)
    if arguments.last:
        last = Aggregate.load(arguments.last, made.manifest)
    return {"root": root, "last": last}


def _known_references(arguments: argparse.Namespace, made: Build) -> References:
    """What a verifier knows of a round's references: the owner's commitment, and the last round's verified answer."""
    root = Commitment.load(arguments.root, made.manifest) if arguments.root else None
    last = None
    if arguments.last:
        answer = read_json(arguments.last, "answer of `zkmarket verify --json`")
        points = answer.get("aggregate") if isinstance(answer, dict) else None
        if not isinstance(points, list) or not all(isinstance(point, str) for point in points):
            raise InputError(f"{arguments.last} is not what `zkmarket verify --json` said of the last round")
        try:
            last = tuple(decode_point(bytes.fromhex(point.removeprefix("0x"))) for point in points) or None
        except ValueError as error:
            raise InputError(f"{arguments.last}: a point of the aggregate is not hex: {error}") from error
    return References(root, last)


def _prove_once(
    arguments: argparse.Namespace,
    made: Build,
    submissions: list[aggregator.Submission],
    given: dict[str, Any],
    progress: Progress,
    scoring: utility_verbs.Scoring | None,
) -> tuple[RoundProof, Aggregate | None]:
    """Prove a round, or, to go on with its coalitions, take the proof that is there."""
    kept = None
    if scoring:
        kept = utility_verbs.kept_round(scoring, arguments.output, made, submissions, arguments.beta, given)
    if kept is None:
        return aggregator.prove_round(made, submissions, arguments.beta, progress, **given)
    proof, decision = kept
    progress(f"round proof in {arguments.output} is of these updates: kept")
    if not decision.aggregate:
        return proof, None
    return proof, aggregator.sum_updates(made.manifest, [s.opening for s in submissions], decision.mask)


def verify_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    made = _load_build(arguments)
    manifest = made.manifest
    proof = RoundProof.load(arguments.round_file, manifest)
    scoring = utility_verbs.Scoring.of(arguments, made, arguments.round_file, prover=False)
    known = _known_references(arguments, made)
    decision = auditor.verify_round(made, proof, progress, _expected_round(arguments, proof), known)
    rid = proof.round_id
    reward = None if scoring else arguments.reward  # by utility then, below
    result = decision.to_json(reward) | {
        "chain_id": rid.chain_id,
        "project": address_text(rid.project),
        "round": rid.round,
        "beta": str(proof.beta),
        "manifest_digest": manifest.value["digest"],
        "insecure": manifest.insecure,
    }
    lines = [
        "slot  trainer                                     accepted  score"
        + ("  share (wei)" if reward is not None else ""),
        *(
            f"{row['slot']:4}  {row['trainer']}  {'yes' if row['accepted'] else 'no ':8}  {row['score']}"
            + (f"  {row['share_wei']}" if reward is not None else "")
            for row in result["trainers"]
        ),
        f"median squared norm {decision.nu}; norm bound {proof.beta}",
        f"round {rid.round} of project {address_text(rid.project)} on chain {rid.chain_id}",
        "verified",
    ]
    if scoring:
        more, about = utility_verbs.verify(scoring, made, proof, decision, arguments.reward, progress)
        result, lines = result | more, lines + about
    if arguments.export:
        exported = auditor.export(made, proof, arguments.export)
        result["exported"] = [str(place) for _, place in exported]
        lines.append(
            f"{len(exported)} proofs in {arguments.export}; in each folder: ezkl verify --proof-path proof.json"
            " --settings-path settings.json --vk-path vk.key --srs-path kzg.srs"
        )
    if made.manifest.insecure:
        lines.append(srs.WARNING)
    return result, "\n".join(lines)


def open_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    made = _load_build(arguments)
    manifest = made.manifest
    proof = RoundProof.load(arguments.round_file, manifest)
    known = _known_references(arguments, made)
    decision = auditor.verify_round(made, proof, progress, _expected_round(arguments, proof), known)
    received = Aggregate.load(arguments.aggregate, manifest)
    model = load_update(arguments.model, manifest.layout) if arguments.model else None
    opened = auditor.open_aggregate(made, decision, received, model, arguments.rate)
    tensors = manifest.layout.unflatten(opened) if manifest.layout else {"params": opened}
    save_npz(arguments.output, tensors)
    result = {"model": str(arguments.output), "params": manifest.params, "accepted": sum(decision.mask)}
    return result, f"aggregate of {sum(decision.mask)} updates opens its proven commitment; model in {arguments.output}"


def inspect_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import inspection, market  # Brownie takes a second to import
    from .escrow import address_of

    builds: dict[int, Build] = {}
    for folder in arguments.build:
        made = Build.load(folder)
        if made.manifest.trainers in builds:
            raise InputError(f"two builds for {made.manifest.trainers} trainers: give one for each number")
        builds[made.manifest.trainers] = made
    address = address_of(read_address(arguments.project))
    with market.connect(arguments.rpc) as chain:
        found = inspection.inspect(chain, address, builds, progress)
    lines = [f"right    {text}" for text in found.checked] if arguments.verbose else []
    lines += [f"note     {text}" for text in found.money]
    lines += [f"warning  {text}" for text in found.warnings]
    lines += [f"WRONG    {text}" for text in found.wrong]
    lines.append(
        f"{len(found.wrong)} things are wrong: stay away" if found.wrong else f"{len(found.checked)} checks, all right"
    )
    return found.to_json() | {"exit_code": 1 if found.wrong else 0}, "\n".join(lines)


def _open_store(arguments: argparse.Namespace) -> Store:
    from .store import open_store  # its HTTP and CID libraries would slow every other verb down

    return open_store(arguments.store)


def store_put(arguments: argparse.Namespace, progress: Progress) -> Answer:
    if not arguments.file.is_file():
        raise InputError(f"no such file: {arguments.file}")
    cid = _open_store(arguments).put(arguments.file.read_bytes())
    return {"cid": cid}, cid


def store_get(arguments: argparse.Namespace, progress: Progress) -> Answer:
    data = _open_store(arguments).get(arguments.cid)
    atomic_write(arguments.output, data)
    return {"cid": arguments.cid, "file": str(arguments.output), "bytes": len(data)}, f"{len(data)} bytes"


def store_pin(arguments: argparse.Namespace, progress: Progress) -> Answer:
    _open_store(arguments).pin(arguments.cid)
    return {"cid": arguments.cid}, f"{arguments.cid} is kept"


def store_serve(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from . import serve

    def announce(url: str) -> None:
        text = json.dumps({"url": url}) if arguments.json else url
        print(text, file=sys.__stdout__, flush=True)  # past what a live display puts in the place of sys.stdout

    limits = serve.Limits(arguments.limit, arguments.seconds, arguments.connections)
    serve.run(arguments.folder, arguments.host, arguments.port, limits, announce, progress)


def demo_verb(arguments: argparse.Namespace, progress: Progress) -> Answer:
    from .demo import run_demo

    names = ("rounds", "trainers", "attackers", "attack", "reward", "split", "seed", "filter", "score")
    names += ("chain", "store", "report")
    given = {name: getattr(arguments, name) for name in names}
    return run_demo(**given, folder=arguments.output, progress=progress)


# ---------------------------------------------------------------- arguments


FILTERS = (
    "norm, or multi-krum:f=F,m=M and, if you like, ,three-sigma:lambda=L after it; then, if you like, ,cosine:tau=T."
    f" Default: f = ⌊(N−3)/2⌋, m = ⌊(N+3)/2⌋, lambda = {SIGMA}; of more than {SIGMA_TRAINERS}"
    " trainers Multi-Krum alone with m = N − f. Multi-Krum alone rejects N − M updates every round, honest ones when"
    " nobody attacks"
)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zkmarket", description="Zero-knowledge federated learning rounds.")
    parser.add_argument("--version", action="version", version=f"zkmarket {version('zkmarket')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Callable[..., Answer], about: str, parent: Any = verbs) -> argparse.ArgumentParser:
        made = parent.add_parser(name, help=about, description=about)
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="one JSON object on stdout")
        made.add_argument("--quiet", action="store_true", help="no progress on stderr")
        return made

    verb("doctor", doctor, "check that this machine has what zkmarket needs")

    kinds = verbs.add_parser("srs", help="the structured reference string").add_subparsers(
        dest="srs_verb", required=True, metavar="generate|fetch|import|info"
    )
    made = verb("generate", srs_generate, "make a development SRS (INSECURE: its trapdoor is public)", kinds)
    made.add_argument("--logrows", type=int, choices=range(6, 21), metavar="K", help="make the file of 2^K rows now")
    made = verb("fetch", srs_fetch, "download the ceremony's file and check its published digest", kinds)
    made.add_argument("--logrows", type=int, default=17, metavar="K", help="size, 2^K rows; serves all smaller (17)")
    made = verb("import", srs_import, "take a file; its digest must be published, or given", kinds)
    made.add_argument("file", type=Path)
    made.add_argument("--digest", help="SHA-256 that you vouch for")
    verb("info", srs_info, "what is installed", kinds)

    made = verb("build", build_verb, "compile a project into circuits and keys")
    made.add_argument("--trainers", type=int, required=True, metavar="N", help="trainers of a round, exactly")
    size = made.add_mutually_exclusive_group(required=True)
    size.add_argument("--params", type=int, metavar="D", help="number of parameters")
    size.add_argument(
        "--model", metavar="FILE.onnx|package.module:factory[,key=value]", help="take number and layout from a model"
    )
    made.add_argument("--value-bits", type=int, metavar="B", help=f"bits of a quantised value ({VALUE_BITS})")
    made.add_argument("--scale-bits", type=int, metavar="S", help="a value is x·2^S (default: value bits − 1)")
    made.add_argument("--filter", metavar="FILTER", help=FILTERS)
    made.add_argument(
        "--most-trainers", type=int, metavar="N", help="of the round before, for novel scores (default: --trainers)"
    )
    made.add_argument("--score", default="shapley", metavar="SCORE", help=f"{', '.join(SCORES)}, utility:… (shapley)")
    made.add_argument("--salts", type=int, metavar="S", help="salts of a chunk (8; for a utility score what it needs)")
    made.add_argument("--logrows", default="auto", metavar="auto|K", help="rows of a column, 2^K")
    made.add_argument("--optimize", choices=("time", "gas"), default="time", help="what auto minimises")
    made.add_argument(
        "--beta-max",
        type=int,
        metavar="INT",
        help="largest bound on squared norms (default D·Q², or what the filter holds)",
    )
    made.add_argument("--srs", choices=srs.KINDS, help="default: the most trustworthy that is installed")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="BUILD")

    _add_compile(verb("compile", compile_verb, "compile a model into the circuit that scores coalitions by its loss"))

    made = verb("commit", commit_verb, "commit to an update: its points, and what opens them")
    made.add_argument("build", type=Path)
    made.add_argument("update", type=Path, help=".npy, .npz or .safetensors")
    made.add_argument(
        "--trainer", metavar="HEX", help="trainer's address, which the digest is bound to (default: random)"
    )
    _add_round(made)
    made.add_argument("--beta", type=int, metavar="INT", help="clip to this squared norm of the integers")
    made.add_argument("--saturate", action="store_true", help="cut values that do not fit, and count them")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="TRAINER")

    made = verb("prove", prove_verb, "filter, score and aggregate a round, and prove it")
    made.add_argument("build", type=Path)
    made.add_argument("--updates", type=Path, required=True, metavar="DIR", help="one folder a trainer")
    made.add_argument(
        "--beta", type=int, metavar="INT", help="norm bound of the round (default: the project's largest)"
    )
    _add_digest(made)
    made.add_argument("--aggregate", type=Path, metavar="FILE", help="default: beside the round proof")
    made.add_argument("--root", type=Path, metavar="DIR", help="the owner's root update, from `zkmarket commit`")
    made.add_argument("--last", type=Path, metavar="FILE", help="the last round's aggregate (default: there is none)")
    utility_verbs.add_options(made, prover=True)
    made.add_argument("-o", "--output", type=Path, required=True, metavar="round.json")

    made = verb("verify", verify_verb, "verify a round proof")
    made.add_argument("build", type=Path)
    made.add_argument("round_file", type=Path, metavar="round.json")
    made.add_argument("--reward", type=_amount, metavar="WEI", help="also show each trainer's share")
    made.add_argument("--export", type=Path, metavar="DIR", help="write the inner proofs for `ezkl verify`")
    _add_references(made)
    _add_round(made, expected=True)
    utility_verbs.add_options(made, prover=False)

    made = verb("open", open_verb, "check an aggregate against a verified round, and apply it")
    made.add_argument("build", type=Path)
    made.add_argument("round_file", type=Path, metavar="round.json")
    made.add_argument("aggregate", type=Path)
    made.add_argument("--model", type=Path, help="the round's model (default: zeros)")
    made.add_argument("--rate", type=float, default=1.0, help="server learning rate (1.0)")
    _add_references(made)
    _add_round(made, expected=True)
    made.add_argument("-o", "--output", type=Path, required=True, metavar="model.npz")

    made = verb("inspect", inspect_verb, "before you join or accept: is a project what its builds say, and your risk")
    made.add_argument("project", metavar="ADDRESS")
    made.add_argument("--rpc", required=True, metavar="URL", help="RPC address of the chain")
    made.add_argument(
        "--build",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="your own build of the project; one for each number of trainers that it settles",
    )
    made.add_argument("--verbose", action="store_true", help="list what is right, too")

    kinds = verbs.add_parser("store", help="blobs by content: a folder, or an IPFS node").add_subparsers(
        dest="store_verb", required=True, metavar="serve|put|get|pin"
    )
    made = verb("serve", store_serve, "serve a folder as a store, until it is interrupted", kinds)
    made.description = (
        "Serve a folder as a store (--store http://HOST:PORT) by add, cat and pin/add of an IPFS node's RPC."
        " There is no authentication: whoever reaches the address can read blobs and fill the disk. For other machines,"
        " put it behind a proxy that knows its users, or use an IPFS node. Blobs are checked by whoever reads them."
        " The first line on stdout is the address."
    )
    made.add_argument("folder", type=Path)
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1, this machine only)")
    made.add_argument("--port", type=int, default=0, help="0 is any that is free (0)")
    made.add_argument("--limit", type=int, default=64 << 20, metavar="BYTES", help="largest body of a put (64 MiB)")
    made.add_argument("--seconds", type=float, default=60, help="in which a request must be over (60)")
    made.add_argument("--connections", type=int, default=32, metavar="N", help="at once; more wait (32)")
    made = verb("put", store_put, "keep a file; its CID", kinds)
    made.add_argument("file", type=Path)
    _add_store(made)
    made = verb("get", store_get, "fetch a blob and check it against its CID", kinds)
    made.add_argument("cid")
    _add_store(made)
    made.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    made = verb("pin", store_pin, "keep a blob that may be elsewhere", kinds)
    made.add_argument("cid")
    _add_store(made)

    add_verbs(verb, verbs)

    made = verb("demo", demo_verb, "a whole market on this machine, with attackers: proven, settled, paid, audited")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--trainers", type=int, default=8)
    made.add_argument("--attackers", type=int, help="default: 2; for collude, one more than Multi-Krum bears")
    made.add_argument("--attack", choices=ATTACKS, default="sign-flip")
    made.add_argument("--filter", metavar="RULE", help="as of `zkmarket build`; default: Multi-Krum, the largest f")
    made.add_argument("--score", choices=SCORES, default="shapley")
    made.add_argument("--reward", type=_amount, default=10**18, metavar="WEI", help="reward of a round")
    made.add_argument("--split", choices=("iid", "dirichlet"), default="iid", help="how the data are split")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--chain", metavar="URL", help="a development node to use (default: an anvil of its own)")
    made.add_argument(
        "--store", default="folder", metavar="folder|ipfs|URL", help="ipfs: a real node of its own, on this machine"
    )
    made.add_argument("--report", type=Path, metavar="FILE", help="default: report.html")
    made.add_argument("-o", "--output", type=Path, metavar="DIR", help="keep the files (default: a temporary folder)")
    return parser


def _add_compile(made: argparse.ArgumentParser) -> None:
    made.add_argument("model", metavar="FILE.onnx|package.module:factory[,key=value]")
    made.add_argument("--data", metavar="FILE.npz|package.module:callable", help="validation data, x and y")
    made.add_argument("--loss", choices=("cross-entropy", "mse"), default="cross-entropy")
    made.add_argument("--batch", type=int, default=64, metavar="B", help="samples of the batch that is proven on (64)")
    made.add_argument("--trainers", type=int, metavar="N", help="largest coalition")
    made.add_argument(
        "--like", type=Path, metavar="BUILD", help="make this build again from your own model: is it what it says?"
    )
    made.add_argument("--value-bits", type=int, metavar="B", help="bits of an update's value, as in build (13)")
    made.add_argument("--scale-bits", type=int, metavar="S", help="the updates' scale, as in build (value bits − 1)")
    made.add_argument("--beta-max", type=int, metavar="B", help="largest norm bound of the build (its default)")
    made.add_argument("--logrows", type=int, metavar="K", help="the updates' rows, 2^K (as build would choose)")
    made.add_argument(
        "--salts", type=int, default=8, metavar="S", help="the updates' salts of a chunk, as in build (8)"
    )
    made.add_argument("--proofs", type=int, default=64, metavar="P", help="proofs that may open one batch (64)")
    made.add_argument(
        "--tolerance", type=float, default=0.01, help="of accuracy, and of the loss, against the float model (0.01)"
    )
    made.add_argument("--theta", type=Path, metavar="FILE", help="parameters to judge scales with (the model's own)")
    made.add_argument("--theta-bound", type=float, metavar="X", help="largest parameter (8, or 4 times today's)")
    made.add_argument(
        "--commit", type=Path, metavar="FILE", help="also commit to the first B samples: FILE.npz, FILE.public.npz"
    )
    made.add_argument("--srs", choices=srs.KINDS, help="default: the most trustworthy that is installed")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="BUILD")


def _add_round(parser: argparse.ArgumentParser, expected: bool = False) -> None:
    _add_digest(parser)
    about = "refuse a proof of another" if expected else "the commitment's"
    default = None if expected else 0
    parser.add_argument("--chain", type=int, default=default, metavar="ID", help=f"{about} chain id")
    parser.add_argument("--project", metavar="ADDRESS", help=f"{about} project")
    parser.add_argument("--round", type=int, default=default, metavar="R", help=f"{about} round")


def _add_references(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, metavar="FILE", help="the owner's commitment.json (default: it has none)")
    parser.add_argument(
        "--last", type=Path, metavar="FILE", help="what `verify --json` said of the last round (default: there is none)"
    )


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", required=True, metavar="WHERE", help="a folder, or http://… of an IPFS node's RPC")


def _add_digest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--digest", metavar="HEX", help="refuse a build of another manifest digest")


def _round_id(arguments: argparse.Namespace) -> RoundId:
    project = read_address(arguments.project) if arguments.project else 0
    return RoundId(arguments.chain, project, arguments.round)


def _expected_round(arguments: argparse.Namespace, proof: RoundProof) -> RoundId:
    """What the caller expects; what it does not name is taken from the proof."""
    found = proof.round_id
    return RoundId(
        found.chain_id if arguments.chain is None else arguments.chain,
        found.project if arguments.project is None else read_address(arguments.project),
        found.round if arguments.round is None else arguments.round,
    )


def _kept_address(folder: Path) -> int:
    """The random identity of an interrupted commit, or a new one."""
    journal = folder / trainer.JOURNAL_FILE
    if not journal.exists():
        return random_address()
    value = read_json(journal, "statement of the opening")
    if not isinstance(value, dict) or not isinstance(value.get("trainer"), str):
        raise InputError(f"{journal} does not name a trainer: choose a new folder")
    return read_address(value["trainer"])


def _load_build(arguments: argparse.Namespace, prover: bool = False) -> Build:
    """Load a build; with --digest, only the one that the project pinned."""
    made = Build.load(arguments.build, prover)
    digest = made.manifest.value["digest"]
    if arguments.digest and arguments.digest.lower().removeprefix("0x") != digest[2:]:
        raise ArtifactError(f"the build is not the pinned one: its digest is {digest}, wanted {arguments.digest}")
    return made


def _layout(model: str) -> ParameterLayout:
    try:
        return layout_of(model)
    except InputError as error:
        raise InputError(f"--model: {error}") from error


def _integer(text: str, option: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise InputError(f"{option} is auto or a number: got {text!r}")
    return int(text)


def _amount(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 40):
        raise argparse.ArgumentTypeError(f"an amount in wei is a whole number: got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
