"""A real Dask cluster of three worker processes: files by hash once, and a worker that is killed while it works.

The jobs are not proofs; test_utility_score.py proves a round on a cluster.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.utility.test_workers import collect, job
from zkmarket.errors import BackendError
from zkmarket.files import sha256_file
from zkmarket.utility.workers import PIECE, DaskPool, open_pool, run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(place: Path) -> Iterator[Any]:
    """Three workers in processes of their own, with one new cache. Their nannies start a new one for one that dies."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=3,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(place),
        env={"ZKMARKET_CACHE": str(place / "cache")},
    ) as made:
        yield made


def alive(number: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except FileNotFoundError:
        return False


def test_jobs_on_a_cluster(cluster: Any, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files reach the workers once; a worker is killed and its job is done again; nothing is left behind."""
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_bytes(os.urandom(PIECE + 1000))
    other.write_bytes(b"small")
    marks = tmp_path / "marks"
    marks.mkdir()
    sent: list[tuple[str, str]] = []
    call = DaskPool._call

    def counted(self: DaskPool, worker: str, function: Any, *arguments: Any) -> Any:
        sent.append((function.__name__, str(arguments[-1])[:64]))
        return call(self, worker, function, *arguments)

    monkeypatch.setattr(DaskPool, "_call", counted)
    workers = {nanny.pid for nanny in cluster.workers.values()}
    killed: list[tuple[int, int]] = []

    def kill_one() -> None:
        while not (found := list(marks.glob("1.*"))):
            time.sleep(0.02)
        time.sleep(0.1)
        worker = int(found[0].read_text())
        killed.append((worker, int(found[0].suffix[1:])))
        os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    told: list[str] = []
    with open_pool(scheduler=cluster.scheduler_address) as pool:
        jobs = [job("notes", "note", marks, "0", 0.1), job("killed", "note", marks, "1", 3)]
        jobs += [job(f"read {i}", "read", 0.2, key=key, other=other) for i in range(6)]
        found: dict[int, Any] = {}
        run(pool, [partial(replace, job) for job in jobs], found.__setitem__, told.append)
    killer.join(10)

    assert {index: found[index][0] for index in (0, 1)} == {0: "0", 1: "1"}
    digests = {"key": sha256_file(key), "other": sha256_file(other)}
    assert [found[index] for index in range(2, 8)] == [digests] * 6
    ((worker, process),) = killed
    assert worker in workers
    assert found[1][1] != process  # done by another process than the one that was killed
    assert len(list(marks.glob("1.*"))) == 2
    assert any(text.startswith("killed: ") and "again" in text for text in told)
    assert not alive(process), "the job of a killed worker goes with it"
    assert [digest for name, digest in sent if name == "arrived"].count(digests["key"]) == 1  # one cache, six jobs
    assert sum(name == "receive" for name, _ in sent) == 3  # two pieces, and the small one
    assert sorted(path.name for path in (place / "cache/worker").iterdir()) == sorted(digests.values())


def test_a_lie_on_a_cluster(cluster: Any, tmp_path: Path) -> None:
    with open_pool(scheduler=cluster.scheduler_address) as pool:
        assert collect(pool, [job("0", "lie", tmp_path, "truth", 1)]) == {0: "truth"}


def test_no_scheduler() -> None:
    with pytest.raises(BackendError, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        DaskPool("tcp://127.0.0.1:1", seconds=0.5)
