"""The executor's loop with pools that are played here, and jobs in processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from zkmarket import processes
from zkmarket.errors import BackendError, BackendTimeout, InputError, ProofRejected, StatementFalse
from zkmarket.files import sha256_file
from zkmarket.utility.workers import (
    ATTEMPTS,
    Answer,
    Child,
    Job,
    LocalPool,
    arrived,
    jobs,
    missing,
    on_worker,
    open_pool,
    receive,
    run,
    worker_folder,
)

pytestmark = pytest.mark.unit


def job(name: str, function: str = "square", *arguments: Any, seconds: float = 60, **files: Path) -> Job:
    return Job(name, f"tests.support.jobs:{function}", files, arguments, seconds)


class Played:
    """A pool whose workers answer what the test says: f(worker, job, times asked) or None to be silent."""

    def __init__(self, names: list[str], answer: Callable[[str, Job, int], Answer | None]):
        self.names, self.answer = names, answer
        self.busy: dict[str, Job] = {}
        self.asked: list[tuple[str, str]] = []
        self.stopped: list[str] = []

    def workers(self) -> list[str]:
        return list(self.names)

    def start(self, worker: str, job: Job) -> None:
        assert worker not in self.busy, "one job at a time"
        self.busy[worker] = job
        self.asked.append((worker, job.name))

    def poll(self) -> list[tuple[str, Answer]]:
        out = []
        for worker, job in list(self.busy.items()):
            times = sum(name == job.name for _, name in self.asked)
            if worker in self.names and (answer := self.answer(worker, job, times)):
                del self.busy[worker]
                out.append((worker, answer))
        return out

    def stop(self, worker: str) -> None:
        self.stopped.append(worker)
        self.busy.pop(worker, None)


def collect(pool: Any, jobs: list[Job], wrong: Any = "wrong") -> dict[int, Any]:
    found: dict[int, Any] = {}

    def accept(index: int, value: Any) -> None:
        if value == wrong:
            raise ProofRejected("a wrong result")
        assert index not in found
        found[index] = value

    run(pool, [partial(replace, job) for job in jobs], accept)
    return found


def test_every_job_is_done_once() -> None:
    pool = Played(["a", "b"], lambda worker, job, times: ("done", job.name))
    assert collect(pool, [job(str(i)) for i in range(7)]) == {i: str(i) for i in range(7)}
    assert len(pool.asked) == 7
    assert {worker for worker, _ in pool.asked} == {"a", "b"}
    assert collect(pool, []) == {}


def test_a_job_whose_worker_goes_is_done_elsewhere() -> None:
    def answer(worker: str, job: Job, times: int) -> Answer | None:
        if worker == "a":
            pool.names = ["b"]
            return None
        return "done", job.name

    pool = Played(["a", "b"], answer)
    start = time.monotonic()
    assert collect(pool, [job("0"), job("1")]) == {0: "0", 1: "1"}
    assert time.monotonic() - start < 30, "it waited for the deadline of the job"
    assert pool.stopped == ["a"]
    assert pool.asked == [("a", "0"), ("b", "1"), ("b", "0")]


def test_a_wrong_result_is_made_again_elsewhere() -> None:
    pool = Played(["a", "b"], lambda worker, job, times: ("done", "wrong" if worker == "a" else job.name))
    assert collect(pool, [job("0")]) == {0: "0"}
    assert pool.asked == [("a", "0"), ("b", "0")]


def test_a_job_is_made_when_a_worker_is_free_for_it() -> None:
    """They can be large, and hold noise that is used once: so never all at once, and anew for another attempt."""
    pool = Played(["a"], lambda worker, job, times: ("lost", "no memory") if times == 1 else ("done", job.name))
    made: list[str] = []

    def make(name: str) -> Job:
        assert not pool.busy
        made.append(name)
        return job(name)

    run(pool, [partial(make, "0"), partial(make, "1")], lambda index, value: None)
    assert made == ["0", "0", "1", "1"]


def test_the_only_worker_is_asked_again() -> None:
    pool = Played(["a"], lambda worker, job, times: ("done", "wrong" if times == 1 else job.name))
    assert collect(pool, [job("0")]) == {0: "0"}


@pytest.mark.parametrize(
    "answer, error",
    [
        (("done", "wrong"), ProofRejected),
        (("lost", "no memory"), BackendError),
        (("late", "no answer"), BackendTimeout),
        (("failed", ("BackendError", "ezkl")), BackendError),
        (("failed", ("ValueError", "a bug")), BackendError),
    ],
)
def test_a_job_is_not_tried_for_ever(answer: Answer, error: type[Exception]) -> None:
    pool = Played(["a", "b"], lambda *_: answer)
    with pytest.raises(error):
        collect(pool, [job("0")])
    assert len(pool.asked) == ATTEMPTS


@pytest.mark.parametrize("name", ["StatementFalse", "InputError", "OpeningMismatch"])
def test_what_trying_again_cannot_help_is_raised_at_once(name: str) -> None:
    pool = Played(["a", "b"], lambda worker, job, times: ("failed", (name, "so it is")) if job.name == "0" else None)
    with pytest.raises(Exception, match="so it is") as found:
        collect(pool, [job("0"), job("1")])
    assert type(found.value).__name__ == name
    assert len(pool.asked) == 2
    assert pool.stopped == ["b"]  # nothing is left running


def test_a_worker_that_does_not_answer_is_given_up() -> None:
    pool = Played(["a", "b"], lambda worker, job, times: None if worker == "a" else ("done", job.name))
    assert collect(pool, [job("0", seconds=0.2)]) == {0: "0"}
    assert pool.stopped == ["a"]


def test_no_worker_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PATIENCE", 0.2)
    with pytest.raises(BackendError, match="no worker is left"):
        collect(Played([], lambda *_: None), [job("0")])


# ---------------------------------------------------------------- processes


def test_jobs_in_processes(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_bytes(b"of the test")
    jobs = [job("0", "square", 12), job("1", "read", a=given, b=given), job("2", "chatter"), job("3", "square", -3)]
    with open_pool(3) as pool:
        found = collect(pool, jobs)
    digest = sha256_file(given)
    assert found == {0: 144, 1: {"a": digest, "b": digest}, 2: "answer", 3: 9}


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    with open_pool(2) as pool:
        found = collect(pool, [job(str(i), "die_once", tmp_path, str(i)) for i in range(2)])
    assert found == {0: "0", 1: "1"}


def test_a_liar_is_asked_again(tmp_path: Path) -> None:
    with open_pool(1) as pool:
        assert collect(pool, [job("0", "lie", tmp_path, "truth", 1)]) == {0: "truth"}


def test_errors_come_back_as_what_they_are() -> None:
    with open_pool(1) as pool, pytest.raises(StatementFalse, match="this does not hold"):
        collect(pool, [job("0", "refuse")])
    with open_pool(1) as pool, pytest.raises(BackendError, match="ValueError\\('a bug'\\)"):
        collect(pool, [job("0", "stumble")])


def test_a_slow_process_is_killed_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ATTEMPTS", 1)
    with open_pool(1) as pool, pytest.raises(BackendTimeout):
        collect(pool, [job("0", "note", tmp_path, "x", 60, seconds=4)])
    (mark,) = tmp_path.iterdir()
    assert not Path(f"/proc/{mark.suffix[1:]}").exists()


def test_a_job_dies_with_who_started_it(tmp_path: Path) -> None:
    """Even if that one is killed: a proof of nobody must not take both cores for minutes."""
    code = (
        "import sys, time; from pathlib import Path; from zkmarket.utility.workers import Child;"
        "child = Child('tests.support.jobs:note', {}, (Path(sys.argv[1]), 'x', 60)); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=processes.SOURCE_TREE)
    while not (marks := list(tmp_path.iterdir())):
        time.sleep(0.05)
        assert parent.poll() is None
    parent.kill()
    parent.wait()
    number = int(marks[0].suffix[1:])
    end = time.monotonic() + 5
    while Path(f"/proc/{number}").exists() and "State:\tZ" not in Path(f"/proc/{number}/status").read_text():
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.05)


def test_the_folder_of_a_job_goes_with_it(tmp_path: Path) -> None:
    child = Child("tests.support.jobs:note", {}, (tmp_path, "x", 60))
    folder = Path(child.folder.name)
    assert folder.stat().st_mode & 0o777 == 0o700
    child.close()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(child.process.pid, 0)


def test_a_pool_has_a_worker() -> None:
    with pytest.raises(InputError, match="at least one worker"):
        LocalPool(0)


# ---------------------------------------------------------------- files of a Dask worker


def test_a_file_arrives_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path / "cache"))
    given = tmp_path / "given"
    given.write_bytes(bytes(range(256)) * 50)
    digest = sha256_file(given)
    assert missing([digest]) == [digest]
    receive("one", given.read_bytes()[:100])
    receive("one", given.read_bytes()[101:])
    with pytest.raises(ValueError, match="arrived damaged"):
        arrived("one", digest)
    assert missing([digest]) == [digest]
    kind, why = on_worker("tests.support.jobs:read", {"name": digest}, (), 60)
    assert (kind, "has not got name" in why) == ("lost", True)
    receive("two", given.read_bytes()[:100])
    receive("two", given.read_bytes()[100:])
    arrived("two", digest)
    assert missing([digest]) == []
    assert on_worker("tests.support.jobs:read", {"name": digest}, (), 60) == ("done", {"name": digest})
    assert [path.name for path in worker_folder().iterdir()] == [digest]


def test_a_worker_ends_a_late_job_itself(tmp_path: Path) -> None:
    kind, _ = on_worker("tests.support.jobs:note", {}, (tmp_path, "x", 60), 4)
    assert kind == "late"
    (mark,) = tmp_path.iterdir()
    assert not Path(f"/proc/{mark.suffix[1:]}").exists()
