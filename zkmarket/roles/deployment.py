"""An owner's way from a project file to a contract with its money in it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import srs
from ..build import Build
from ..chain import outage_warning, transacting
from ..documents import read_json, write_json
from ..errors import InputError
from ..files import atomic_write
from ..learning import layout_rule
from ..market import (
    Market,
    Project,
    Prospectus,
    Verifier,
    Verifiers,
    digest_of,
    inspect_factory,
    kept_key,
    made_by_our_code,
    make_builds,
    points_hash,
    refuse_insecure,
    verifier_of,
)
from ..posting import ProjectFile, load_project_file
from ..round import check_room
from ..rules import longest_step
from ..storage import cid_of, cid_to_bytes
from ..updates import ParameterLayout, model_integers
from .desk import Desk, stay_away

PROSPECTUS_FILE, PLAN_FILE, DEPLOYED_FILE = "prospectus", "PROJECT.toml", "deployed.json"
MODEL_FILE, THETA_FILE = "model.npz", "theta.npz"
"""The model as floats, and as integers with what opens its commitment."""
PROVISIONAL_FILE = "model.provisional.npz"
"""The model after a round that can still be claimed as not served."""


# ---------------------------------------------------------------- before there is a project


def write_prospectus(
    folder: Path, file: ProjectFile, layout: ParameterLayout, theta: np.ndarray, ceremony: srs.Srs
) -> Prospectus:
    """The prospectus of a project file, once: what is in the folder stays, since its hash goes on chain.

    Raises InputError: a model whose integers do not fit, or may not any more before the last round.
    """
    bits = file.theta_bits
    integers = model_integers(theta, file.scale + bits)
    beta, last = file.largest_bound(layout.size), file.rates[-1]
    rates = [*file.rates, *[last] * (file.rounds - len(file.rates))]
    check_room(int(np.abs(integers).max()), sum(longest_step(rate, file.most, bits, beta) for rate in rates))
    path = folder / PROSPECTUS_FILE
    prospectus = Prospectus(
        file.name,
        file.specs(layout),
        ceremony.id,
        integers,
        bits,
        kept_key(folder / "sealing.key").public,
        file.advice,
        layout_rule(file.model),
    )
    if path.exists() and path.read_bytes() != prospectus.to_bytes():
        raise InputError(
            f"{folder} holds another project's prospectus: choose a new folder, or delete it to start again"
        )
    atomic_write(path, prospectus.to_bytes())
    return Prospectus.from_bytes(path.read_bytes())  # what is built is what was published, to the byte


def create(
    desk: Desk, file: ProjectFile, layout: ParameterLayout, theta: np.ndarray, ceremony: srs.Srs
) -> dict[str, Any]:
    """Keys, prospectus and contracts: all but the money."""
    file.check(layout, development=desk.chain.development)
    if outage := outage_warning(desk.chain.id, asdict(file.windows)):
        desk.progress(f"note: {outage}")
    prospectus = write_prospectus(desk.folder, file, layout, theta, ceremony)
    builds = make_builds(prospectus, desk.folder / "builds", desk.progress)
    refuse_insecure(desk.chain, builds)
    cid = desk.store.put((desk.folder / PROSPECTUS_FILE).read_bytes())
    desk.progress(f"prospectus in the store as {cid}")
    atomic_write(desk.folder / PLAN_FILE, file.path.read_bytes())
    deployed = Deployed(desk)
    deployed.verifiers(builds)
    return {"prospectus": cid, **deployed.value}


def pay_in(desk: Desk) -> dict[str, Any]:
    """Put the pool into escrow; a project that is there already is found and not paid again."""
    if "project" in desk.settings.value:
        return {"project": desk.settings["project"], "paid": False}
    path = desk.folder / PROSPECTUS_FILE
    if not path.is_file():
        raise InputError(f"{desk.folder} has nothing to pay for: run `zkmarket owner create PROJECT.toml` first")
    blob = path.read_bytes()
    prospectus = Prospectus.from_bytes(blob)
    builds = make_builds(prospectus, desk.folder / "builds", desk.progress)
    deployed = Deployed(desk)
    market, verifiers = deployed.market, deployed.verifiers(builds)
    file = load_project_file(desk.folder / PLAN_FILE)
    projects = [
        address
        for address in market.projects_of(desk.me)
        if Project(desk.chain, address).terms().model == digest_of(blob)
    ]
    result: dict[str, Any] = {"paid": not projects}
    if projects:
        address = projects[0]
    else:
        build = builds[min(builds)]
        theta = points_hash(prospectus.first_model(build.manifest).points(build))
        offer = file.offer(build.manifest, digest_of(blob), cid_to_bytes(cid_of(blob)), theta)
        desk.progress(f"paying {offer.pool} into escrow")
        project = market.create(offer, builds, verifiers, desk.wallet)
        address = project.address
        result |= {"pool": offer.pool}
        if project.created:
            result |= {"gas": project.created.gas, "transaction": project.created.transaction}
    desk.settings.set(project=address)
    return {"project": address} | result


LOOK_BACK = 32
"""So many of the account's last transactions are looked at for contracts that were deployed and not written down."""


class Deployed:
    """Contracts of an owner, written down in deployed.json as they are deployed.

    A process that was killed between the two leaves a contract that its account has paid for: it is found again by the
    account's nonces.
    """

    def __init__(self, desk: Desk):
        self.desk = desk
        self.path = desk.folder / DEPLOYED_FILE
        self.value: dict[str, Any] = read_json(self.path, "deployed contracts") if self.path.exists() else {}

    def _keep(self, name: str, value: Any) -> None:
        self.value[name] = value
        write_json(self.path, self.value)

    @functools.cached_property
    def market(self) -> Market:
        """The factory: the one named by --factory, or one of the owner's own.

        Whoever named it, and whatever deployed.json says: it is ours by how it was created, or nothing is sent to it.

        Raises InputError: it is no factory of the sources here.
        """
        desk = self.desk
        given = desk.settings.get("factory") or self.value.get("factory")
        if given:
            stay_away(inspect_factory(desk.chain, given))
        else:
            given = next((address for address, _ in self._own() if made_by_our_code(desk.chain, address)), None)
            if given is None:
                desk.progress(
                    "deploying the factory; in a new checkout its contracts are compiled first, which takes a minute"
                )
                given = Market.deploy(desk.chain, desk.wallet).address
        if self.value.get("factory") != given:
            self._keep("factory", given)
        return Market(desk.chain, given)

    def verifiers(self, builds: dict[int, Build]) -> Verifiers:
        """One contract a circuit; those that are there and have the right code are kept."""
        numbers = sorted(builds)
        first = builds[numbers[0]]
        base = self._verifier("base", first, "base")
        return Verifiers(base, {n: self._verifier(f"settlement-{n}", builds[n], "settlement") for n in numbers})

    def _verifier(self, label: str, build: Build, circuit: str) -> Verifier:
        kept = self.value.get("verifiers", {})
        market = self.market
        verifier = market.verifier_at(kept.get(label), build, circuit)
        if verifier is None:
            wanted = verifier_of(build, circuit).runtime
            address = next((address for address, code in self._own() if code == wanted), None)
            verifier = market.verifier_at(address, build, circuit)
            if verifier is None:
                self.desk.progress(f"deploying the verifier of {label}")
                verifier = market.deploy_verifier(build, circuit, self.desk.wallet)
            self._keep("verifiers", kept | {label: verifier.deployed})
        return verifier

    def _own(self) -> Iterator[tuple[str, bytes]]:
        """Contracts that the account created lately and their code, the newest first."""
        chain, me = self.desk.chain, self.desk.me
        with transacting("counting transactions"):
            count = chain.web3.eth.get_transaction_count(me)
        for nonce in reversed(range(max(0, count - LOOK_BACK), count)):
            address = chain.address_of_creation(me, nonce)
            if code := chain.code(address):
                yield address, code
