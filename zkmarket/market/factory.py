"""The factory on a chain: makes projects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_hash.auto import keccak

from .. import backend
from ..build import Build
from ..chain import (
    DEVELOPMENT_CHAINS,
    LIBRARIES,
    NOBODY,
    Chain,
    CompiledVerifier,
    Contract,
    Event,
    as_tuples,
    compile_contracts,
    compile_verifier,
    encoded,
    transacting,
)
from ..errors import ArtifactError, ChainError
from ..progress import Progress, quiet
from .project import Project
from .structs import Verifier, struct_words
from .terms import Offer, Verifiers, check_builds, plans_of, terms_of


def verifier_of(build: Build, circuit: str) -> CompiledVerifier:
    """The verifier contract of a build's circuit."""
    return compile_verifier(backend.verifier_source(build.files[circuit]))


# ---------------------------------------------------------------- the market


class Market(Contract):
    """The factory on a chain: makes projects."""

    def __init__(self, chain: Chain, address: str):
        super().__init__(chain, "Factory", address)

    @classmethod
    def deploy(cls, chain: Chain, sender: Any) -> Market:
        """A new factory, with the libraries and the code that all of its projects share."""
        for library in LIBRARIES:
            chain.deploy(compile_contracts()[library], sender)
        return cls(chain, chain.deploy(compile_contracts()["Factory"], sender).address)

    def is_project(self, address: str) -> bool:
        """Whether this factory made it."""
        return bool(self._call("isProject", address))

    def implementation(self) -> str:
        """The contract whose code its projects share."""
        return str(self._call("implementation"))

    def deploy_verifiers(self, builds: Mapping[int, Build], sender: Any, progress: Progress = quiet) -> Verifiers:
        """The verifiers of a project: one of the base proof, and a settlement for every N.

        Raises:
            ArtifactError: the builds are not of one project, or were made with a development SRS and the
                chain is not a development chain.
        """
        numbers = check_builds(builds)
        refuse_insecure(self.chain, builds)
        first = builds[numbers[0]]

        def deployed(build: Build, name: str) -> Verifier:
            progress(f"verifier of {name}, N={build.manifest.trainers}: compiling and deploying")
            return self.deploy_verifier(build, name, sender)

        return Verifiers(deployed(first, "base"), {n: deployed(builds[n], "settlement") for n in numbers})

    def deploy_verifier(self, build: Build, circuit: str, sender: Any) -> Verifier:
        """The verifier of one circuit of a build, newly deployed."""
        made = verifier_of(build, circuit)
        return Verifier(self.chain.deploy_verifier(made, sender).address, keccak(made.runtime))

    def verifier_at(self, address: str | None, build: Build, circuit: str) -> Verifier | None:
        """The verifier at an address, if it is the one of this circuit; else None."""
        if address is None:
            return None
        code = verifier_of(build, circuit).runtime
        return Verifier(address, keccak(code)) if self.chain.code(address) == code else None

    def deployed_at(self) -> int:
        """The time of the block in which it was deployed."""
        (event,) = self._logged(0, "latest", [self._topic("Deployed")])
        with transacting("reading a block"):
            return int(self.chain.web3.eth.get_block(event.block)["timestamp"])

    def projects_of(self, owner: str) -> list[str]:
        """Addresses of the projects that this factory made for an owner, in order."""
        topic = self._topic("ProjectCreated")
        found = self._logged(0, "latest", [topic, None, "0x" + owner[2:].lower().rjust(64, "0")])
        return [event.arguments["project"] for event in found]

    def creation_of(self, project: Project) -> Event:
        """The log entry of a project's creation: terms, plans, rates, and the prospectus's CID."""
        topic = self._topic("ProjectCreated")
        logged = self._logged(0, "latest", [topic, "0x" + project.address[2:].lower().rjust(64, "0")])
        if not logged:
            raise ChainError(f"the factory {self.address} logged no creation of {project.address}")
        return logged[0]

    def address_of_logged(self, said: Mapping[str, Any]) -> str:
        """Where a project that was made of what ProjectCreated logged stands: the address commits to all of it."""
        names = ("terms", "plans", "rates", "cid", "nonce")
        return str(self._call("addressOf", *(as_tuples(said[name]) for name in names)))

    def create(self, offer: Offer, builds: Mapping[int, Build], verifiers: Verifiers, sender: Any) -> Project:
        """A project with its whole pool in escrow; the sender is its owner. A token's pool is approved first.

        Raises TransactionReverted if the sender has created the very same before: `Offer.nonce` tells two apart.
        """
        refuse_insecure(self.chain, builds)
        terms, plans = terms_of(offer, str(sender), builds, verifiers), plans_of(builds, verifiers)
        given = (struct_words(terms), [struct_words(plan) for plan in plans], offer.rates, offer.cid, offer.nonce)
        value = offer.pool
        if offer.token != NOBODY:
            token = self.chain.contract("IERC20", offer.token, compile_contracts()["IERC20"].abi)
            data = encoded(token.approve, self.address, offer.pool)
            self.chain.transact("approving the pool", sender, offer.token, data)
            value = 0
        wanted = self._call("addressOf", *given)
        done = self._send("create", "create", *given, sender=sender, value=value)
        address = done.event("ProjectCreated").arguments["project"]
        if address != wanted:
            raise ChainError(f"the project was created at {address}: its terms commit to {wanted}; do not use it")
        project = Project(self.chain, address)
        project.created = done
        return project


def refuse_insecure(chain: Chain, builds: Mapping[int, Build]) -> None:
    """ArtifactError for keys of a development SRS on a chain where something of value may be."""
    if not chain.development and any(build.manifest.insecure for build in builds.values()):
        raise ArtifactError(
            "the build is made with a development SRS, whose trapdoor is public: it is not deployed on chain"
            f" {chain.id}. Build with the ceremony's SRS (zkmarket srs fetch), or use a development chain, one of"
            f" {DEVELOPMENT_CHAINS}"
        )
