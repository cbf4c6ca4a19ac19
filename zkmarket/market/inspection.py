"""What a trainer or an aggregator should know of a project before it pays a stake or a bond.

Everything is recomputed: the project's code is compared byte for byte with what the sources here compile to,
its verifiers with what the caller's own builds give, its terms with those builds, and the terms are turned into what
they mean for the caller's money and time. Nothing that the project says of itself is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ..build import Build, Columns
from ..chain import NOBODY, Chain, NodeAway, Phase, libraries_of_creation, library_code, outage_warning
from ..crypto import Point, points_hash
from ..errors import ChainError, InputError
from ..progress import Progress, quiet
from ..units import DAY, HOUR, amount_text, duration_text, reward_text
from .factory import Market, verifier_of
from .losses import LossModel, loss_warnings
from .project import Project
from .prospectus import Prospectus
from .structs import Plan, Terms, read_struct
from .terms import REFERENCES, check_builds, plan_of

CLONE = (bytes.fromhex("363d3d373d3d3d363d73"), bytes.fromhex("5af43d82803e903d91602b57fd5bf3"))
"""Code of an EIP-1167 clone, before and after the address that it delegates to."""


@dataclass
class Inspection:
    """What was found.

    Attributes:
        wrong: reasons to stay away; any of them makes the command fail.
        warnings: what is allowed, but should be known.
        checked: what was compared and is right.
        money: what the terms mean for money and time.
    """

    address: str
    wrong: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    money: list[str] = field(default_factory=list)

    def expect(self, good: bool, what: str, otherwise: str) -> bool:
        (self.checked if good else self.wrong).append(what if good else otherwise)
        return good

    def to_json(self) -> dict[str, Any]:
        lists = {"wrong": self.wrong, "warnings": self.warnings, "checked": self.checked, "money": self.money}
        return {"project": self.address, "trustworthy": not self.wrong, **lists}


def inspect(
    chain: Chain,
    address: str,
    builds: Mapping[int, Build],
    progress: Progress = quiet,
    prospectus: Prospectus | None = None,
    to_pay: bool = True,
    losses: LossModel | None = None,
) -> Inspection:
    """Compare a project with the sources and with the caller's own builds, one for each number of trainers.

    Args:
        prospectus: as published; the initial model in it is compared with the commitment in the terms.
        losses: the caller's own compiled model and the batch, where the project pays by the model's loss.
        to_pay: whether something may be paid in: a project that has ended is wrong then. It can still be audited.

    Raises:
        ChainError: there is no contract at the address, or the node fails.
        ArtifactError: the builds are not of one project.
    """
    found = Inspection(address)
    progress("code of the project")
    if not _inspect_code(chain, address, found):
        return found
    project = Project(chain, address)
    terms = project.terms()
    progress("verifiers")
    if builds:
        check_builds(builds)
        _inspect_shape(terms, next(iter(builds.values())), found)
        _inspect_verifiers(chain, project, terms, builds, found)
        _inspect_model(terms, next(iter(builds.values())), prospectus, found)
    for n in range(terms.min_trainers, terms.max_trainers + 1):
        if n not in builds:
            found.wrong.append(f"no build for {n} trainers was given: what settles such a round was not compared")
    for n, build in sorted(builds.items()):
        source = build.manifest.value["srs"]
        found.money.append(
            f"build for {n} trainers: digest {build.manifest.value['digest']}, SRS {source['kind']}"
            f" {source['id'][:16]}; this inspection is worth as much as the builds: use your own"
        )
    insecure = any(build.manifest.insecure for build in builds.values())
    if insecure and not chain.development:
        found.wrong.append("the keys come from a development SRS, whose trapdoor is public: anyone can forge proofs")
    elif insecure:
        found.warnings.append("development SRS: anyone can forge proofs; for trying things out only")
    _inspect_losses(chain, terms, builds, losses, found)
    _inspect_references(project.plan(terms.min_trainers).references, found)
    progress("money")
    _inspect_money(chain, project, terms, found, to_pay)
    return found


def inspect_origin(chain: Chain, address: str) -> Inspection:
    """Only that a project comes from a factory of the sources here: quick, and needs no keys."""
    found = Inspection(address)
    _inspect_code(chain, address, found)
    return found


def inspect_factory(chain: Chain, address: str) -> Inspection:
    """Whether a factory is one of the sources here: to be asked before any money goes to it."""
    found = Inspection(address)
    found.expect(
        made_by_our_code(chain, address),
        "it was created by Factory.sol, Project.sol and their libraries",
        "it is no factory that was created by the sources here: it can keep whatever is paid to it",
    )
    return found


def made_by_our_code(chain: Chain, factory: str) -> bool:
    """Whether a plain transaction with the creation code of the sources here made a factory, and linked our libraries.

    Code alone proves nothing: an account can be created with the right code and any storage. A factory that was created
    by our code has made its projects by our code, and lists them.
    """
    created = chain.creation_of(factory, "Deployed(address)")
    linked = libraries_of_creation(created) if created else None
    return linked is not None and all(chain.code(place) == library_code(name, place) for name, place in linked.items())


def _inspect_code(chain: Chain, address: str, found: Inspection) -> bool:
    code = chain.code(address)
    if not code:
        raise ChainError(f"no contract at {address} on chain {chain.id}: wanted a project")
    head, tail = CLONE
    if not (code.startswith(head) and code.endswith(tail) and len(code) == len(head) + 20 + len(tail)):
        return found.expect(False, "", "it is not a clone of a project, but some other contract")
    implementation = to_checksum_address(code[len(head) : len(head) + 20])
    try:
        factory = Project(chain, address).factory()
    except NodeAway:  # says nothing of the contract
        raise
    except ChainError:  # it is anything
        factory = NOBODY
    if not found.expect(
        made_by_our_code(chain, factory),
        "it comes from a factory that was created by Factory.sol, Project.sol and their libraries",
        "it does not come from a factory that was created by the sources here: nothing in it can be relied on",
    ):
        return False
    market = Market(chain, factory)
    return found.expect(
        market.is_project(address) and market.implementation() == implementation,
        "that factory lists it",
        "the factory that it names has not made it",
    ) and _inspect_address(market, Project(chain, address), found)


def _inspect_address(market: Market, project: Project, found: Inspection) -> bool:
    """Whether what is sent to the address can reach these terms only, whatever becomes of the chain's last blocks."""
    said = market.creation_of(project).arguments
    terms, logged_plans = read_struct(Terms, said["terms"]), [read_struct(Plan, plan) for plan in said["plans"]]
    plans = [project.plan(n) for n in range(terms.min_trainers, terms.max_trainers + 1)]
    kept = (project.terms(), plans, project.rates())
    logged = (terms, logged_plans, tuple(said["rates"]))
    if not project.chain.development and project.chain.now - market.deployed_at() < DAY:
        found.warnings.append(
            "its factory is younger than a day: a reorganisation that takes the factory back, too, can put another"
            " project at this address. Wait, or stay with factories that are older"
        )
    return found.expect(
        kept == logged and market.address_of_logged(said) == project.address,
        "its address commits to its terms",
        "its address does not commit to its terms: what is sent to it may reach another project",
    )


def _coordinates(point: Point) -> dict[str, int]:
    return dict(zip("xy", point, strict=True))


def _inspect_shape(terms: Terms, build: Build, found: Inspection) -> None:
    manifest = build.manifest
    compared: dict[str, tuple[Any, Any]] = {  # by the names that the contract shows
        "params": (terms.params, manifest.params),
        "logrows": (terms.logrows, manifest.logrows),
        "rows": (terms.rows, Columns(manifest.logrows).rows),
        "valueBits": (terms.value_bits, manifest.fixed_point.value_bits),
        "salts": (terms.salts, manifest.salts),
        "chunks": (terms.chunks, manifest.chunks),
        "minAccepted": (terms.min_accepted, manifest.min_accepted),
        "blinding": (_coordinates(terms.blinding), _coordinates(manifest.blinding)),
    }
    for name, (have, want) in compared.items():
        found.expect(have == want, f"{name} is the builds'", f"{name} is {have}: the builds' is {want}")
    most = manifest.beta_max
    wrong = f"the norm bound may reach {terms.beta_max}: the builds settle bounds up to {most}"
    found.expect(terms.beta_max <= most, "every norm bound can be settled", wrong)


def _inspect_verifiers(
    chain: Chain, project: Project, terms: Terms, builds: Mapping[int, Build], found: Inspection
) -> None:
    pinned = [("the base proof", builds[min(builds)], "base", terms.base)]
    for n in range(terms.min_trainers, terms.max_trainers + 1):
        if n not in builds:
            continue
        manifest, plan = builds[n].manifest, project.plan(n)
        built = plan_of(manifest, plan.settlement)
        right = plan.manifest == built.manifest
        wrong = f"rounds of {n} trainers are settled by another manifest than the build's"
        found.expect(right, f"rounds of {n} trainers are settled by the build's manifest", wrong)
        for name in ("f", "m", "references", "shift"):
            have, want = getattr(plan, name), getattr(built, name)
            wrong = f"{name} of rounds of {n} trainers is {have}: the build's filter and score make it {want}"
            found.expect(have == want, f"{name} of rounds of {n} trainers is the build's", wrong)
        pinned.append((f"settlement of {n} trainers", builds[n], "settlement", plan.settlement))
    for what, build, circuit, verifier in pinned:
        code = verifier_of(build, circuit).runtime
        right = chain.code(verifier.deployed) == code and verifier.codehash == keccak(code)
        wrong = f"the verifier of {what} at {verifier.deployed} is not the one that the build gives"
        found.expect(right, f"the verifier of {what} is byte for byte the build's", wrong)


def _inspect_model(terms: Terms, build: Build, prospectus: Prospectus | None, found: Inspection) -> None:
    """Who takes part with another initial model than the chain's would be refused every settlement."""
    if prospectus is None:
        found.warnings.append("the commitment of the initial model was not checked: that takes the prospectus")
        return
    have, want = prospectus.theta_bits, terms.theta_bits
    found.expect(have == want, "theta_bits is the prospectus's", f"theta_bits is {want}: the prospectus says {have}")
    try:
        good = points_hash(prospectus.first_model(build.manifest).points(build)) == terms.theta
    except InputError as error:
        found.wrong.append(f"the prospectus has no model that can be committed to: {error}")
        return
    wrong = "the initial model of the prospectus is not the one that the terms commit to"
    found.expect(good, "the terms commit to the prospectus's initial model", wrong)


def _inspect_losses(
    chain: Chain, terms: Terms, builds: Mapping[int, Build], losses: LossModel | None, found: Inspection
) -> None:
    if not terms.scoring.method:
        return
    if losses is None:
        found.wrong.append(
            "it pays by the model's own loss, which no role of this version proves or checks: a round would run into"
            " its time-out, which burns the bond"
        )
        return
    for good, right, wrong in losses.compared(chain, terms.scoring):
        found.expect(good, right, wrong)
    scores = {build.manifest.score for build in builds.values()}
    wrong = f"settlements publish {', '.join(sorted(scores))} scores, which tell of the updates what losses do not"
    found.expect(scores <= {"equal"}, "settlements say who is accepted, and no more", wrong)
    found.warnings += loss_warnings(terms)


def _inspect_references(bits: int, found: Inspection) -> None:
    """What it means for everybody that rounds are compared with vectors that no trainer has sent."""
    used = [name for at, name in enumerate(REFERENCES) if bits >> at & 1]
    if "root" in used:
        found.warnings.append(
            "updates are compared with a root update of the owner: it decides what is good. A round for which it"
            " offers none, or whose root update gets no receipt, accepts every direction, and a root score is then 0"
            " for all. An offered root update without a receipt costs owner and aggregator a penalty each"
        )
    if "last" in used:
        found.warnings.append(
            "updates are compared with the last aggregate: whoever takes a vacant office later needs its opening from a"
            " member, for without it no round can be settled. After an aggregate that was withheld or not served there"
            " is none, and for one round novelty is not asked for"
        )


def _inspect_money(chain: Chain, project: Project, terms: Terms, found: Inspection, to_pay: bool) -> None:
    state = project.state()
    native = terms.token == NOBODY
    reward, windows = terms.reward, terms.windows
    stake, bond, penalty = map(amount_text, (terms.stake_wei, terms.bond_wei, terms.penalty_wei))
    span = {name: duration_text(seconds) for name, seconds in vars(windows).items()}
    owed = {Phase.PROVE: reward + terms.fee, Phase.SCORE: reward + terms.fee}
    owed[Phase.SETTLED] = 0 if project.scoring_failed(state.round) else terms.fee
    held = owed.get(state.phase, 0) + state.pool
    if native:
        covered = chain.balance(project.address) >= held + state.bond_wei + state.unburnt_wei
    else:
        covered = chain.token_balance(terms.token, project.address) >= held
        found.warnings.append(
            f"the reward is a token, {terms.token}: whoever controls it may be able to freeze, inflate or take it;"
            " stakes and bonds do not depend on it"
        )
    found.expect(
        covered,
        f"the balance covers the pool of {reward_text(state.pool, native)}",
        "the pool is not covered by the balance",
    )
    if to_pay or state.phase != Phase.ENDED:
        found.expect(state.phase != Phase.ENDED, f"it is running: {state.phase.name}", "it has ended")
    else:
        found.money.append("it has ended")
    if state.ending:
        found.warnings.append("the owner has announced its end: no further round opens")
    if native and terms.bond_wei < 2 * reward:
        found.warnings.append(
            f"the bond is {bond}, less than twice the reward: taking the updates and not settling is cheap"
        )
    if not native:
        found.warnings.append(
            f"the bond, {bond}, cannot be compared with the reward, a token: it is all that taking the"
            " updates and not settling costs"
        )
    slash = min(terms.bond_wei, reward) if native else terms.bond_wei // 2
    if terms.penalty_wei * terms.min_trainers < slash:
        found.warnings.append(
            f"aggregator: one submission that is never delivered costs its trainer {penalty}, and can"
            f" burn {amount_text(slash)} of the bond"
        )
    if terms.owner == state.aggregator:
        found.warnings.append("owner and aggregator are one account: it can choose whom it gives receipts")
    if windows.exit < DAY:
        found.warnings.append(
            f"trainers have {span['exit']} to leave after a void round, and before a new aggregator may start"
        )
    if outage := outage_warning(chain.id, vars(windows)):
        found.warnings.append(outage)
    if 0 in project.rates():
        found.warnings.append("a learning rate of 0: the model does not move in that round")
    if terms.penalty_wei == terms.stake_wei:
        found.warnings.append("one penalty takes the whole stake")
    if terms.open_admission:
        found.warnings.append("anyone may join: identities cost a stake each, and more than f colluders win the round")
    short = [name for name, seconds in vars(windows).items() if seconds < HOUR]
    if short:
        found.warnings.append(f"phases shorter than an hour: {', '.join(short)}")
    longest = windows.submit + windows.admit + windows.prove
    listed = [str(rate) for rate in project.rates()]
    rates = ", ".join(listed[:5] + ["…"] * (len(listed) > 5))
    failures = f"{state.voids} of {terms.void_limit} failures so far"
    found.money += [
        f"owner {terms.owner}, aggregator {state.aggregator}",
        f"norm bound {state.beta}, from {terms.beta_min} to {terms.beta_max}, next {terms.kappa}/1000 of the"
        f" median; learning rates in billionths: {rates}; prospectus {terms.model.hex()}",
        f"the model moves in steps of 2^-{terms.theta_bits} of an update's unit; its first commitment is"
        f" {terms.theta.hex()}",
        f"a round pays {reward_text(reward, native)} by score to the admitted, equally if all scores are 0; the"
        f" aggregator's fee is {reward_text(terms.fee, native)}",
        f"{terms.rounds} rounds, {state.settled} settled; {failures}, the last one ends the project",
        f"a trainer stakes {stake}; it loses {penalty} if the aggregator gives no receipt"
        " for its submission, or if it joined and a round is void for want of submissions, its own among them",
        f"after a submission the stake is free again at the latest after {duration_text(longest)}",
        f"the aggregator's bond is {bond}; it loses {penalty} for every submission that"
        " gets no receipt, all of it (to the admitted) if it does not settle in time,"
        f" and {amount_text(slash)} (burnt) if too few get a receipt; it cannot resign",
        f"per round at least {terms.min_trainers} and at most {terms.max_trainers} trainers; to submit:"
        f" {span['submit']}, to get a receipt: {span['admit']}, to settle:"
        f" {span['prove']}",
        f"between rounds at most {span['start']} to start and {span['claim']} to claim; a claim"
        f" that an aggregate is not served holds fee and bond for {span['lock']} more",
    ]
