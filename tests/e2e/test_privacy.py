"""What a project's run leaves where others can see it, and that no secret of a role is in it.

Two rounds by real processes, with a watcher of the process table. Then everything public is searched: all calldata and
logs of the chain, the store, what all processes printed, the proofs. Not for files that should not be there, but for
the secrets' own bytes, in every form in which a program could have written them. The same search finds them in the
folders of those who should have them.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e import town as town_module
from tests.e2e.town import MODEL, TRAINERS, Town, town, town_chain
from zkmarket.chain import Phase, Wallet
from zkmarket.crypto import P
from zkmarket.documents import read_json
from zkmarket.market import SealingKey, open_update, sealed_update_size
from zkmarket.storage import LocalStore, cid_from_bytes

pytestmark = pytest.mark.e2e

PASSWORD = "correct-horse-battery-staple"
WINDOW, TELLING = 8, 4
"""So many consecutive values; of them so many that are not 0, nor of one digit: others are found in any data."""

KINDS = ("<i2", ">i2", "<i4", ">i4", "<i8", ">i8", "<f4", ">f4", "<f8", ">f8")


# ---------------------------------------------------------------- a search that sees through encodings


@dataclass(frozen=True)
class Wanted:
    """Secrets to look for.

    Attributes:
        bytes_: by length, every byte string that gives a secret away.
        numbers: tuples of so many consecutive numbers, as text would have them.
    """

    bytes_: dict[int, set[bytes]] = field(default_factory=dict)
    numbers: set[tuple[float, ...]] = field(default_factory=set)

    def add(self, *secrets: bytes) -> Wanted:
        for secret in secrets:
            self.bytes_.setdefault(len(secret), set()).add(secret)
        return self

    def add_vector(self, values: np.ndarray) -> Wanted:
        """Eight consecutive values, in any type and as field elements; and as decimals."""
        rows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
        whole = values.dtype.kind == "i"
        rows = rows[np.count_nonzero(np.abs(rows) > 9 if whole else rows, axis=1) >= TELLING]
        assert len(rows) > 100, "these values are too few to be looked for"
        for kind in KINDS if whole else KINDS[6:]:
            self.add(*(row.tobytes() for row in rows.astype(kind)))
        for row in rows.tolist():
            self.numbers.add(tuple(map(float, row)))
            if whole:
                self.add(*(b"".join((v % P).to_bytes(32, order) for v in row) for order in ("little", "big")))
        return self

    def add_salts(self, salts: np.ndarray) -> Wanted:
        for salt in salts.reshape(-1, 32):
            raw = salt.tobytes()
            self.add(raw, raw[::-1], str(int.from_bytes(raw, "little")).encode())
        return self

    def found(self, data: bytes) -> bytes | tuple[float, ...] | None:
        """Something of it that is in the data as they stand, or in what their hexadecimal digits or decimals say."""
        for one in readings(data):
            for length, secrets in self.bytes_.items():
                for at in range(len(one) - length + 1):
                    if one[at : at + length] in secrets:
                        return one[at : at + length]
            for run in decimals(one) & self.numbers:
                return run
        return None


def readings(data: bytes) -> Iterator[bytes]:
    """The data, and what its runs of hexadecimal digits stand for, from either of their first two digits."""
    yield data
    runs = re.findall(rb"[0-9a-fA-F]{16,}", data)
    for skip in (0, 1):
        yield b"".join(bytes.fromhex(run[skip : skip + (len(run) - skip) // 2 * 2].decode()) for run in runs)


def decimals(data: bytes) -> set[tuple[float, ...]]:
    """All runs of eight numbers in a text, whatever stands between them."""
    numbers = [float(text) for text in re.findall(rb"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", data)]
    return set(zip(*(numbers[skip:] for skip in range(WINDOW)), strict=False))


def test_the_search_finds_what_it_is_for() -> None:
    """Each encoding, hidden in noise; and nothing in noise alone."""
    rng = np.random.default_rng(0)
    values = rng.integers(-1000, 1000, 200).astype(np.int32)
    salts = rng.integers(0, 256, (1, 4, 32), dtype=np.uint8)
    floats = values / 512 + 1e-5
    wanted = Wanted().add_vector(values).add_salts(salts)
    noise = rng.bytes(3000)
    part, salt = values[90:106], salts[0, 2].tobytes()
    elements = [int(v) % P for v in part]
    leaks = {kind: part.astype(kind).tobytes() for kind in KINDS}
    leaks |= {f"field, {order}": b"".join(e.to_bytes(32, order) for e in elements) for order in ("little", "big")}
    leaks |= {f"decimal {sep!r}": sep.join(map(str, part)).encode() for sep in (",", ", ", "\n", '","')}
    leaks |= {"salt": salt, "salt, reversed": salt[::-1], "salt, decimal": str(int.from_bytes(salt, "little")).encode()}
    hexed = {f"hex of {name}": b"z" + leak.hex().upper().encode() + b"z" for name, leak in leaks.items()}
    hexed["field, JSON"] = b",".join(b'"0x%064x"' % e for e in elements)
    for name, leak in (leaks | hexed).items():
        assert wanted.found(noise + leak + noise), name
    assert not wanted.found(noise)
    trained = Wanted().add_vector(floats)
    assert trained.found(b" ".join(str(v).encode() for v in floats[5:14])) and trained.found(floats[5:14].tobytes())
    assert not trained.found(noise + part.tobytes())


# ---------------------------------------------------------------- a run, watched


@dataclass
class Watcher:
    """Command lines, and environments of children, of all processes in the sessions of the roles.

    A child that has not become another program yet has its parent's command line, and shows its environment.
    """

    roles: list[Any]
    arguments: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        sessions = {role.pid for role in list(self.roles)}
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                session = os.getsid(int(place.name))
                if session in sessions:
                    words, environment = (place / "cmdline").read_bytes(), (place / "environ").read_bytes()
                    self.arguments.add(words)
                    if environment and words != Path(f"/proc/{session}/cmdline").read_bytes():  # none: it is ending
                        self.environments.add(environment)

    def watch(self) -> None:
        while not self.ended.wait(0.05):
            self.look()


@contextlib.contextmanager
def watching(roles: list[Any]) -> Iterator[Watcher]:
    watcher = Watcher(roles)
    thread = threading.Thread(target=watcher.watch)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.ended.set()
        thread.join()


def from_shell(place: Town, name: str) -> subprocess.Popen[bytes]:
    """`zkmarket trainer run` as a shell starts it, with a command line of its own."""
    at = ("--state", place.folder / name, "--rpc", place.chain.rpc_url, "--store", place.store, "--json")
    at += ("--keystore", place.folder / name / "keystore.json", "--project", place.project.address, "--withdraw")
    at += ("--join", "--membership", place.memberships[name], "--model", MODEL, "--epochs", 1)
    words = [sys.executable, "-m", "zkmarket", "trainer", "run", *at, "--data", "zkmarket.learning:digits,part=2,of=3"]
    log = place.folder / "logs" / f"{name}.log"
    with log.open("wb") as said, Path(f"{log}.out").open("wb") as told:
        return subprocess.Popen(
            [str(word) for word in words],
            env=os.environ | {"ZKMARKET_PASSWORD": PASSWORD},
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.DEVNULL, stdout=told, stderr=said, start_new_session=True,
        )  # fmt: skip


def stored(place: Town) -> set[str]:
    return {path.name for path in Path(place.store).iterdir()}


@dataclass(frozen=True)
class Run:
    """What two rounds have left."""

    place: Town
    watcher: Watcher
    in_store_early: list[str]
    processes: list[int]

    @property
    def manifest(self) -> Any:
        from zkmarket.build import Build

        return Build.load(next((self.place.folder / "ann" / "builds").glob("*/manifest.json")).parent).manifest


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder, patch = tmp_path_factory.mktemp("privacy"), pytest.MonkeyPatch()
    with contextlib.ExitStack() as stack:
        stack.callback(patch.undo)
        patch.setattr(town_module, "PASSWORD", PASSWORD)
        chain = stack.enter_context(town_chain())
        place = stack.enter_context(town(folder, chain, rounds=2, most=4))  # a seat is left: SUBMIT ends by the clock
        seen: list[Any] = list(place.roles)
        watcher = stack.enter_context(watching(seen))
        roles = [place.aggregator("--trainers", 3), place.owner(), *(place.trainer(name) for name in TRAINERS[:2])]
        cyd = from_shell(place, TRAINERS[2])
        stack.callback(cyd.kill)
        seen += [*roles, cyd]
        early = []
        for number in (1, 2):
            place.until(lambda: place.project.state().phase == Phase.SUBMIT)
            before = stored(place)
            while not place.submitted():
                early += stored(place) - before
                assert cyd.poll() is None and all(role.code is None for role in roles)
                time.sleep(0.02)
            for _ in range(3):  # blocks at which the roles look again
                chain.pass_time(1)
                time.sleep(0.5)
                early += stored(place) - before
            place.pass_deadline()
            place.until_phase(Phase.SETTLED)
            place.until(lambda: place.opened(number, "owner", *TRAINERS))  # noqa: B023
            place.pass_deadline()
        for role in roles:
            role.result()
        assert cyd.wait(60) == 0
        watcher.look()
        yield Run(place, watcher, early, [role.pid for role in seen])


# ---------------------------------------------------------------- what is secret, what is public


def openings(run: Run) -> list[Path]:
    """Folders of rounds of trainers."""
    found = [run.place.folder / name / f"rounds/{n:05d}" for name in TRAINERS for n in (1, 2)]
    assert all((path / "values.npy").is_file() for path in found)
    return found


def updates(paths: Iterable[Path]) -> Wanted:
    """Values and salts of openings, and the floats that they were made of."""
    wanted = Wanted()
    for path in paths:
        wanted.add_vector(np.load(path / "values.npy").astype(np.int32)).add_salts(np.load(path / "salts.npy"))
        wanted.add_vector(np.load(path / "update.npy"))
    return wanted


def keys(run: Run) -> Wanted:
    """The password, and all private keys of all roles."""
    wanted, folder = Wanted().add(PASSWORD.encode()), run.place.folder
    accounts = sorted(folder.glob("*/keystore.json"))
    sealing = sorted([*folder.glob("*/sealing.key"), *folder.glob("aggregator/keys/*.key")])
    keyrings = sorted(folder.glob("*/keyring.json"))
    assert (len(accounts), len(sealing), len(keyrings)) == (5, 5 + 2, 5)
    wanted.add(*(bytes(Wallet.open(path, PASSWORD)._account.key) for path in accounts))
    wanted.add(*(bytes.fromhex(path.read_text()) for path in sealing))
    for path in keyrings:
        ring = read_json(path, "keyring")
        assert set(ring) == {"1", "2"}
        wanted.add(*map(bytes.fromhex, ring.values()))
    return wanted


def chain_data(place: Town) -> bytes:
    """Calldata and logs of all blocks."""
    eth, parts = place.chain.web3.eth, []
    for number in range(eth.block_number + 1):
        for sent in eth.get_block(number, True)["transactions"]:
            parts.append(bytes(sent["input"]))
            for log in eth.get_transaction_receipt(sent["hash"])["logs"]:
                parts += [*map(bytes, log["topics"]), bytes(log["data"])]
    assert len(parts) > 50
    return b"".join(parts)


def files(paths: Iterable[Path], some: int) -> bytes:
    """Contents of files, at least so many."""
    found = [path.read_bytes() for path in paths if path.is_file()]
    assert len(found) >= some
    return b"\n".join(found)


def public(run: Run) -> dict[str, bytes]:
    """Everything that others may see."""
    folder = run.place.folder
    proofs: Sequence[Path] = [
        *folder.glob("*/rounds/*/commitment.json"),
        *folder.glob("aggregator/rounds/*/round.json"),
    ]
    left = [path for pid in run.processes for path in Path(tempfile.gettempdir()).glob(f"zkmarket-{pid}-*/**/*")]
    return {
        "chain": chain_data(run.place),
        "store": files(Path(run.place.store).iterdir(), 1 + 6 + 2 + 1),  # prospectus, updates, aggregates, keyring
        "logs": files((folder / "logs").iterdir(), 2 * 8),
        "proofs": files(proofs, 6 + 2),
        "temporary files": files(left, 0),
        "command lines": b"\n".join(run.watcher.arguments),
        "children's environments": b"\n".join(run.watcher.environments),
    }


# ---------------------------------------------------------------- tests


def test_no_update_is_where_others_can_see_it(run: Run) -> None:
    wanted = updates(openings(run))
    for name, data in public(run).items():
        assert wanted.found(data) is None, f"an update is in the {name}"


def test_the_same_search_finds_updates_where_they_belong(run: Run) -> None:
    """In the trainer's own folder, and in the sealed blob once it is opened with the round's key."""
    store, log = LocalStore(Path(run.place.store)), run.place.log()
    for path in openings(run):
        wanted = updates([path])
        for own in ("values.npy", "salts.npy", "update.npy"):
            assert wanted.found((path / own).read_bytes())
        number, name = int(path.name), path.parents[1].name
        started, submitted = log.started(number), log.submitted(number)[run.place.addresses[name]]
        blob = store.get(cid_from_bytes(submitted.cid))
        key = SealingKey.load(run.place.folder / f"aggregator/keys/{started.encryption_key.hex()}.key")
        opening, points = open_update(blob, key, run.manifest)
        assert not wanted.found(blob)
        assert wanted.found(opening.values.tobytes()) and wanted.found(opening.salts.tobytes())
        settled = {one.trainer: one for one in run.place.project.commitments(number)}
        assert settled[int(run.place.addresses[name], 16)].points == points


def test_no_key_and_no_password_is_where_others_can_see_it(run: Run) -> None:
    wanted = keys(run)
    for name, data in public(run).items():
        assert wanted.found(data) is None, f"a key or the password is in the {name}"
    assert any(b"zkmarket.backend.prover" in words for words in run.watcher.arguments)  # provers were seen
    assert any(b"trainer\0run" in words for words in run.watcher.arguments)  # and a role
    assert run.watcher.environments and all(b"PATH=" in one for one in run.watcher.environments)


def test_files_with_secrets_are_their_owners(run: Run) -> None:
    """Every file of a role that holds a secret in any form, and every one that should, has mode 0600."""
    folder, wanted, own_keys = run.place.folder, updates(openings(run)), keys(run)
    secret = {path / name for path in openings(run) for name in ("values.npy", "salts.npy")}
    for pattern in ("sealing.key", "keystore.json", "keyring.json", "keys/*.key", "aggregates/*.bin"):
        secret |= set(folder.glob(f"*/{pattern}"))
    for pattern in ("update.npy", "*.sealed", "openings/*/*.npy", "aggregate.npz"):
        secret |= set(folder.glob(f"*/rounds/*/{pattern}"))
    secret -= set(folder.glob("aggregator/rounds/*/aggregate.sealed"))  # goes into the store as it is
    assert len(secret) >= 6 * 2 + 5 * 3 + 2 + 5 * 2 + 6 + 6 + 6 * 2 + 2
    loose = {str(path.relative_to(folder)) for path in secret if path.stat().st_mode & 0o777 != 0o600}
    for path in folder.glob("*/**/*"):
        inside = path.relative_to(folder).parts
        if path.is_file() and inside[0] in run.place.addresses and inside[1] != "builds" and path not in secret:
            data = path.read_bytes()
            if path.stat().st_mode & 0o077 and (wanted.found(data) or own_keys.found(data)):
                loose.add(str(path.relative_to(folder)))
    assert loose == set()


def test_sealed_updates_come_after_the_deadline_and_are_of_one_length(run: Run) -> None:
    assert run.in_store_early == []
    store, log = LocalStore(Path(run.place.store)), run.place.log()
    lengths = {len(store.get(cid_from_bytes(submitted.cid))) for n in (1, 2) for submitted in log.submitted(n).values()}
    assert lengths == {sealed_update_size(run.manifest)}
    served = [store.get(settled.cid) for settled in log.settled() if settled.cid]
    assert len(served) == 2 and len({len(blob) for blob in served}) == 1
