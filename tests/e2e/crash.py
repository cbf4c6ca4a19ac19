"""Roles that kill themselves at every step, once at each, and are started again each time.

A step is named by its kind, without round numbers, addresses and hashes:

    file:NAME:begun, written, renamed     nothing yet; a temporary name is filled; the name is there
    folder:NAME:begun, half, written, renamed     the same of a folder that appears whole
    transact:WHAT:begun, kept, sent, done     not built; in the outbox, at no node; at the node, no receipt was seen;
                                          receipt seen, outbox empty, nothing concluded from it
    transact:outbox:sent, done            the same of what a restarted process finishes
    store:CALLER:begun, written, done     as of a file
    proof:NAME:STEP                       a prover has ended this step and is at work on the next one

Whoever comes to a step that nobody was killed at claims it in a file and kills its whole process group. After `kept`,
`sent` and `done` the transaction is made, so a call that is made once can die in one of the three ways only: several
callers, or rounds, share a file of claims, and each takes the next way.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil

from tests.e2e.town import Role, Town

DEATHS = 100
"""More than any role has steps: whoever dies so often does not come on."""

OPEN_FILES = re.compile(
    r"(settings|deployed|statement|commitment|round|refusals|no-root|manifest)\.json|prospectus|PROJECT\.toml"
    r"|model\.npz|aggregate\.sealed|.*\.lock"
)
"""Names in a role's folder that are no secret. All others have mode 0600, whatever is killed when."""

TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}")


@dataclass(frozen=True)
class Crashes:
    """Called in a role's process before it begins: from then on it dies at every step that is not claimed yet.

    Attributes:
        folder: the role's.
        shared: the folder of claims and records, of one role or of several that share them.
        steps: at which somebody is to die: a pattern.
        in_two: whether an aggregator settles in two transactions, though one would do.
    """

    folder: Path
    shared: Path
    steps: str = ".*"
    in_two: bool = False

    def __call__(self) -> None:
        temporary = self.folder.with_name(f"{self.folder.name}.tmp")
        temporary.mkdir(exist_ok=True)
        tempfile.tempdir = str(temporary)
        _patch_files(self)
        _patch_transactions(self)
        _patch_store(self)
        _patch_proofs(self)

    def reach(self, step: str) -> None:
        """Die here, unless somebody did."""
        if not re.fullmatch(self.steps, step):
            return
        with (self.shared / "claims").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if step in file.read().splitlines():
                return
            file.write(f"{step}\n")
            file.flush()
            os.fsync(file.fileno())
            os.killpg(0, signal.SIGKILL)  # before another thread can claim a step too
            time.sleep(60)

    def record(self, kind: str, *what: Any) -> None:
        """Write down what the test looks at in the end."""
        line = json.dumps([kind, self.folder.name, *what]) + "\n"
        with (self.shared / "records").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(line)

    def name(self, path: Path) -> str | None:
        """The kind of a file; None if it is none of the role's, or inside a folder that has no name yet."""
        try:
            inside = path.resolve().relative_to(self.folder.resolve())
        except ValueError:
            return None
        if any(part.startswith(".") for part in inside.parts):
            return None
        text = re.sub(r"0x[0-9a-fA-F]{40}", "ADDRESS", re.sub(r"Qm\w{44}", "CID", str(inside)))
        return re.sub(r"\d{5,}", "N", re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{16}\b", "KEY", text))


def _patch_files(crashes: Crashes) -> None:
    from zkmarket import files
    from zkmarket.build import keys, make
    from zkmarket.market import prospectus

    replacing, new_folder, link, keys_of = files.replacing, files.new_folder, make.link_or_copy, make.keys_of

    @contextlib.contextmanager
    def dying_replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
        name = crashes.name(path)
        if name is None:
            with replacing(path, mode) as temporary:
                yield temporary
            return
        crashes.reach(f"file:{name}:begun")
        with replacing(path, mode) as temporary:
            yield temporary
            crashes.reach(f"file:{name}:written")
        if path.name == "values.npy" and "openings" not in path.parts:  # the last to be written of an opening
            salts = path.with_name("salts.npy").read_bytes()
            crashes.record("salts", path.parent.name, hashlib.sha256(salts).hexdigest())
        if name != "outbox.json":  # that is a step of the transaction
            crashes.reach(f"file:{name}:renamed")

    @contextlib.contextmanager
    def dying_folder(path: Path, replace: bool = False) -> Iterator[Path]:
        name = crashes.name(path)
        if name is None:
            with new_folder(path, replace) as temporary:
                yield temporary
            return
        crashes.reach(f"folder:{name}:begun")
        with new_folder(path, replace) as temporary:
            yield temporary
            crashes.reach(f"folder:{name}:written")
        crashes.reach(f"folder:{name}:renamed")

    def dying_link(source: Path, target: Path) -> None:
        link(source, target)
        crashes.reach("folder:builds:half")

    def dying_keys(*given: Any) -> Any:
        found = keys_of(*given)
        crashes.reach("keys")
        return found

    files.replacing = dying_replacing
    files.new_folder = make.new_folder = dying_folder
    make.link_or_copy = dying_link
    keys.keys_of = make.keys_of = dying_keys
    assert prospectus.make_build is make.make_build


def _patch_transactions(crashes: Crashes) -> None:
    from zkmarket.chain import Chain, Wallet

    transact, settle_outbox, keep, broadcast = Chain.transact, Chain.settle_outbox, Wallet._keep, Wallet._broadcast
    now = {"what": ""}

    def dying_transact(chain: Chain, what: str, *given: Any, **more: Any) -> Any:
        now["what"] = what
        crashes.reach(f"transact:{what}:begun")
        done = transact(chain, what, *given, **more)
        crashes.reach(f"transact:{what}:done")
        return done

    def dying_settle_outbox(chain: Chain, wallet: Wallet) -> Any:
        now["what"] = "outbox"
        done = settle_outbox(chain, wallet)
        if done is not None:
            crashes.reach("transact:outbox:done")
        return done

    def dying_keep(wallet: Wallet, entry: Any) -> None:
        keep(wallet, entry)
        crashes.reach(f"transact:{now['what']}:kept")

    def dying_broadcast(wallet: Wallet, node: Any, entry: Any) -> None:
        broadcast(wallet, node, entry)
        crashes.reach(f"transact:{now['what']}:sent")

    Chain.transact, Chain.settle_outbox = dying_transact, dying_settle_outbox
    Wallet._keep, Wallet._broadcast = dying_keep, dying_broadcast


def _patch_store(crashes: Crashes) -> None:
    from zkmarket.roles import Desk
    from zkmarket.storage import LocalStore, folder

    put, cid_of_parts, send = LocalStore.put, folder.cid_of_parts, Desk.put
    now = {"who": ""}

    def dying_send(self: Desk, blob: bytes, state: Any) -> str:
        who = sys._getframe(1).f_code.co_name
        crashes.reach(f"send:{who}:begun")
        cid = send(self, blob, state)
        crashes.reach(f"send:{who}:done")
        return cid

    def dying_put(self: LocalStore, data: bytes) -> str:
        now["who"] = sys._getframe(1).f_code.co_name
        crashes.reach(f"store:{now['who']}:begun")
        cid = put(self, data)
        crashes.reach(f"store:{now['who']}:done")
        return cid

    def dying_cid_of_parts(parts: Any) -> str:
        cid = cid_of_parts(parts)
        if sys._getframe(1).f_code.co_name == "put_parts":
            crashes.reach(f"store:{now['who']}:written")
        return cid

    LocalStore.put, folder.cid_of_parts, Desk.put = dying_put, dying_cid_of_parts, dying_send  # type: ignore[method-assign]


def _patch_proofs(crashes: Crashes) -> None:
    from zkmarket.backend import proofs
    from zkmarket.roles import aggregator
    from zkmarket.round import Attempt, prove

    run_child, fresh = proofs.run_child, Attempt.fresh

    def dying_run_child(tasks: list[dict], folder: Path, progress: Callable[[str], None]) -> None:
        def told(text: str) -> None:
            progress(text)
            crashes.reach(f"proof:{re.sub('[0-9]+', 'N', text)}")

        run_child(tasks, folder, told)

    def recorded_fresh(build: Any) -> Attempt:
        made = fresh(build)
        points = [*made.mask_points, *made.projection_points]
        crashes.record("attempt", [f"{x:x}" for x, _ in points], [f"{y:x}" for y in made.masks.flood])
        return made

    proofs.run_child = dying_run_child
    prove.Attempt = SimpleNamespace(fresh=recorded_fresh)
    if crashes.in_two:
        aggregator.fits_one = lambda shape: False


# ---------------------------------------------------------------- the test's side


@dataclass
class Mortal:
    """A role that is started again whenever it was killed by itself, and looked at while it is dead."""

    folder: Path
    start: Callable[[], Role]
    deaths: int = 0
    role: Role | None = None
    seen: dict[str, str] = field(default_factory=dict)

    def ended(self) -> bool:
        """Start it, or start it again. True when it has ended by itself."""
        if self.role is None:
            self.role = self.start()
        if self.role.code is None:
            return False
        if self.role.code != -signal.SIGKILL:
            return True
        self.deaths += 1
        assert self.deaths <= DEATHS
        self.look()
        self.role = self.start()
        return False

    def look(self) -> None:
        """No prover has outlived it, no secret is readable by others, and no key was made anew."""
        assert self.role is not None
        end = time.monotonic() + 5
        while left := _alive(self.role.pid):
            assert time.monotonic() < end, f"{self.role.name} was killed, and left {left}"
            time.sleep(0.02)
        for path in self.folder.rglob("*"):
            if path.is_file() and "builds" not in path.relative_to(self.folder).parts:
                temporary = TEMPORARY.fullmatch(path.name)
                name = temporary[1] if temporary else path.name
                if not OPEN_FILES.fullmatch(name):
                    assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
                if path.suffix == ".key" and not temporary:
                    key = path.read_text()
                    assert self.seen.setdefault(path.name, key) == key, f"{path} was made anew"
        for name in self.seen:
            assert (self.folder / name).is_file() or (self.folder / "keys" / name).is_file(), f"{name} is lost"

    def finish(self, place: Town) -> dict[str, Any]:
        """Run a command until it has ended by itself; its result."""
        place.until(self.ended, 600)
        return self.result()

    def result(self) -> dict[str, Any]:
        assert self.role is not None
        return self.role.result()


def ended(mortals: Mapping[str, Mortal]) -> list[bool]:
    """Start again whoever has died; who has ended by itself."""
    return [mortal.ended() for mortal in mortals.values()]


def live(place: Town, mortals: Mapping[str, Mortal], readers: tuple[str, ...]) -> None:
    """Move the clock as `Town.conduct` does, and start again whoever has died, until all mortals have ended."""
    from zkmarket.chain import Phase

    seen: list[Any] = [None]

    def step() -> bool:
        """Whether anything has happened."""
        done = ended(mortals)
        for role in place.roles:
            assert role.code in (None, 0, -signal.SIGKILL), f"{role.name} failed: {role.said()[-3000:]}"
        state = place.project.state()
        received = state.phase == Phase.SETTLED and place.opened(state.round, *readers)
        if received:
            place.pass_deadline(state)
        before, seen[0] = seen[0], (done, state.phase, state.round, sum(one.deaths for one in mortals.values()))
        return before != seen[0]

    while seen[0] is None or not all(seen[0][0]):
        place.until(step)


def _alive(group: int) -> list[str]:
    """Processes of a group that still run."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(one.pid) == group and one.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(one.cmdline()))
    return found


def claims(shared: Path) -> set[str]:
    return set((shared / "claims").read_text().splitlines())


def records(shared: Path, kind: str) -> list[tuple[Any, ...]]:
    """What was recorded of a kind: the role's folder and the rest."""
    path = shared / "records"
    lines = path.read_text().splitlines() if path.exists() else []
    return [tuple(line[1:]) for line in map(json.loads, lines) if line[0] == kind]
