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

from .artifacts import Build
from .backend import Progress, quiet
from .errors import ChainError
from .escrow import NO_VERIFIER, NOBODY, Phase, check_builds
from .market import Chain, Market, Project, compiled_code, verifier_code

CLONE = (bytes.fromhex("363d3d373d3d3d363d73"), bytes.fromhex("5af43d82803e903d91602b57fd5bf3"))
"""Code of an EIP-1167 clone, before and after the address that it delegates to."""

HOUR = 3600


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


def inspect(chain: Chain, address: str, builds: Mapping[int, Build], progress: Progress = quiet) -> Inspection:
    """Compare a project with the sources and with the caller's own builds, one for each number of trainers.

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
    for n in range(terms["minTrainers"], terms["maxTrainers"] + 1):
        if n not in builds:
            found.wrong.append(f"no build for {n} trainers was given: what settles such a round was not compared")
    insecure = any(build.manifest.insecure for build in builds.values())
    if insecure and not chain.development:
        found.wrong.append("the keys come from a development SRS, whose trapdoor is public: anyone can forge proofs")
    elif insecure:
        found.warnings.append("development SRS: anyone can forge proofs; for trying things out only")
    progress("money")
    _inspect_money(chain, project, terms, found)
    return found


def _inspect_code(chain: Chain, address: str, found: Inspection) -> bool:
    code = chain.code(address)
    if not code:
        raise ChainError(f"no contract at {address} on chain {chain.id}: wanted a project")
    head, tail = CLONE
    if not (code.startswith(head) and code.endswith(tail) and len(code) == len(head) + 20 + len(tail)):
        return found.expect(False, "", "it is not a clone of a project, but some other contract")
    implementation = code[len(head) : len(head) + 20]
    made_by = chain.logged_by("Factory", "ProjectCreated", address)
    factory = next((one for one in made_by if chain.code(one) == compiled_code("Factory")), None)
    if not found.expect(
        factory is not None,
        "the factory that made it has the code of Factory.sol",
        "it was not made by a factory with the code of Factory.sol: its terms were not checked",
    ):
        return False
    market = Market(chain, factory)
    listed = market.is_project(address) and bytes.fromhex(market.implementation()[2:]) == implementation
    if not found.expect(listed, "that factory lists it", "the factory does not list it, or made it of other code"):
        return False
    library = chain.linked("Project", "Proofs", implementation)
    good = chain.code(implementation) == compiled_code("Project", {"Proofs": library})
    good = good and chain.code(library) == compiled_code("Proofs")
    wrong = "its code is not what Project.sol and Proofs.sol compile to"
    return found.expect(good, "its code is what Project.sol and Proofs.sol compile to", wrong)


def _inspect_shape(terms: dict[str, Any], build: Build, found: Inspection) -> None:
    manifest = build.manifest
    wanted = {
        "params": manifest.params,
        "logrows": manifest.logrows,
        "salts": manifest.salts,
        "chunks": manifest.chunks,
        "minAccepted": manifest.min_accepted,
        "blinding": {"x": manifest.blinding[0], "y": manifest.blinding[1]},
    }
    for name, want in wanted.items():
        found.expect(terms[name] == want, f"{name} is the builds'", f"{name} is {terms[name]}: the builds' is {want}")
    most = manifest.beta_max
    wrong = f"the norm bound may reach {terms['betaMax']}: the builds settle bounds up to {most}"
    found.expect(terms["betaMax"] <= most, "every norm bound can be settled", wrong)


def _inspect_verifiers(
    chain: Chain, project: Project, terms: dict[str, Any], builds: Mapping[int, Build], found: Inspection
) -> None:
    some = builds[min(builds)]
    circuits = some.manifest.value["circuits"]
    pinned = [("gram", some, "gram", terms["gram"])]
    if "range" in circuits:
        pinned.append(("range", some, "range", terms["range"]))
    last = "range-last" if "range-last" in circuits else "range"
    pinned.append(("range of the last chunk", some, last, terms["rangeLast"]))
    for n in range(terms["minTrainers"], terms["maxTrainers"] + 1):
        if n not in builds:
            continue
        manifest, plan = builds[n].manifest, project.plan(n)
        right = (plan["manifest"], plan["f"], plan["m"]) == (manifest.digest(), manifest.filter.f, manifest.filter.m)
        wrong = f"rounds of {n} trainers are settled by another manifest, f or m than the build's"
        found.expect(right, f"rounds of {n} trainers are settled by the build's manifest", wrong)
        pinned.append((f"settlement of {n} trainers", builds[n], "settlement", plan["settlement"]))
    for what, build, circuit, verifier in pinned:
        code = verifier_code(build, circuit)
        right = chain.code(verifier["deployed"]) == code and verifier["codehash"] == keccak(code)
        wrong = f"the verifier of {what} at {verifier['deployed']} is not the one that the build gives"
        found.expect(right, f"the verifier of {what} is byte for byte the build's", wrong)
    if "range" not in circuits and terms["range"]["deployed"] != NO_VERIFIER.address:
        found.warnings.append("a verifier of full chunks is pinned though no update has one: it is never asked")


def _inspect_money(chain: Chain, project: Project, terms: dict[str, Any], found: Inspection) -> None:
    state = project.state()
    native = terms["token"] == NOBODY
    unit = "wei" if native else f"units of {terms['token']}"
    reward, windows = terms["reward"], terms["windows"]
    held = {Phase.PROVE: reward + terms["fee"], Phase.SETTLED: terms["fee"]}.get(state.phase, 0) + state.pool
    if native:
        covered = chain.balance(project.address) >= held + state.bond_wei + state.unburnt_wei
    else:
        covered = chain.token_balance(terms["token"], project.address) >= held
        found.warnings.append(
            "the reward is a token: whoever controls it may be able to freeze, inflate or take it;"
            " stakes and bonds do not depend on it"
        )
    found.expect(covered, f"the {state.pool} {unit} of the pool are there", "the pool is not covered by the balance")
    found.expect(state.phase != Phase.ENDED, f"it is running: {state.phase.name}", "it has ended")
    if state.ending:
        found.warnings.append("the owner has announced its end: no further round opens")
    if native and terms["bondWei"] < 2 * reward:
        found.warnings.append(
            f"the bond is {terms['bondWei']} wei, less than twice the reward: taking the updates and not settling"
            " is cheap"
        )
    if native and terms["penaltyWei"] * terms["minTrainers"] < reward:
        found.warnings.append(
            f"aggregator: one submission that is never delivered costs its trainer {terms['penaltyWei']} wei, and can"
            f" burn {min(terms['bondWei'], reward)} wei of the bond"
        )
    if terms["penaltyWei"] == terms["stakeWei"]:
        found.warnings.append("one penalty takes the whole stake")
    if terms["openAdmission"]:
        found.warnings.append("anyone may join: identities cost a stake each, and more than f colluders win the round")
    short = [name for name, seconds in windows.items() if seconds < HOUR]
    if short:
        found.warnings.append(f"phases shorter than an hour: {', '.join(short)}")
    longest = windows["submit"] + windows["admit"] + windows["prove"]
    found.money += [
        f"a round pays {reward} {unit} by score to the admitted, equally if all scores are 0; the aggregator's fee"
        f" is {terms['fee']}",
        f"{terms['rounds']} rounds, {state.settled} settled; the project ends after {terms['voidLimit']} that fail",
        f"a trainer stakes {terms['stakeWei']} wei; it loses {terms['penaltyWei']} if the aggregator gives no receipt"
        " for its submission, or if it joined and a round is void for want of submissions, its own among them",
        f"after a submission the stake is free again at the latest after {_span(longest)}",
        f"the aggregator's bond is {terms['bondWei']} wei; it loses {terms['penaltyWei']} for every submission that"
        " gets no receipt, all of it (to the admitted) if it does not settle in time,"
        f" and {min(terms['bondWei'], reward) if native else terms['bondWei'] // 2} (burnt) if too few get a receipt",
        f"per round at least {terms['minTrainers']} and at most {terms['maxTrainers']} trainers; to submit:"
        f" {_span(windows['submit'])}, to get a receipt: {_span(windows['admit'])}, to settle:"
        f" {_span(windows['prove'])}",
        f"a claim that an aggregate is not served holds fee and bond for {_span(windows['lock'])} more",
    ]


def _span(seconds: int) -> str:
    days, rest = divmod(seconds, 24 * HOUR)
    hours, rest = divmod(rest, HOUR)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours) + [f"{rest} s"] * bool(rest)
    return " ".join(parts) or "0 s"
