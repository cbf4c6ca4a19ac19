"""`zkmarket up` before anything is started, its log, and its processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from zkmarket.errors import BackendError, InputError
from zkmarket.files import locked
from zkmarket.starter import bring_down, bring_up, market, write_starter
from zkmarket.starter.process import WIDTH, Log, Process

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_starter(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.setattr(market, "anvil_node", lambda **_: pytest.fail("a chain is started"))
    return tmp_path / "mine"


def up(folder: Path, data: str = "my_data:share") -> object:
    return bring_up(folder, data, "my_data:held_out", {}, lambda text: None)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/results").touch()
    with pytest.raises(InputError, match="run `zkmarket new FOLDER`"):
        up(tmp_path)
    assert (tmp_path / "run/results").exists()


def test_data_that_do_not_fit_are_found_before_anything_is_started(folder: Path) -> None:
    text = (folder / "my_data.py").read_text()
    (folder / "my_data.py").write_text(text.replace("return x[part::of], y", "return x[part::of, :60], y"))
    with pytest.raises(InputError, match=r"model my_model:model, data my_data:share,part=0,of=3: evaluation fails"):
        up(folder)
    assert not (folder / "run").exists()


def test_an_aggregator_whose_key_is_not_here_is_named(folder: Path) -> None:
    plan = folder / "PROJECT.toml"
    other = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    lines = [f'aggregator = "{other}"' if "aggregator" in line else line for line in plan.read_text().splitlines()]
    plan.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"names the aggregator {other}: .*keys/aggregator.json, 0x"):
        up(folder)


def test_one_market_at_a_time(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run/log").write_text("of the market that runs")
    with (
        locked(folder / "keys/lock", otherwise="busy"),
        pytest.raises(InputError, match="runs in .* already: `make down` stops it"),
    ):
        up(folder)
    assert (folder / "run/log").read_text() == "of the market that runs"


def test_down_stops_the_one_that_runs_and_no_other(folder: Path) -> None:
    """A number in a file is that of a market only while it holds the lock: it may be anybody's by now."""
    (folder / "run").mkdir()
    (folder / "run/pid").write_text(str(os.getpid()))
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    try:
        assert not bring_down(folder) and not caught
        released = threading.Event()

        def market_that_runs() -> None:
            with locked(folder / "keys/lock", otherwise="busy"):
                released.wait(10)

        running = threading.Thread(target=market_that_runs)
        running.start()
        time.sleep(0.1)
        threading.Timer(0.3, released.set).start()
        assert bring_down(folder)
        running.join()
        assert caught == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_terminal_shows_what_is_new_and_the_log_everything(tmp_path: Path) -> None:
    shown: list[str] = []
    log = Log(tmp_path / "log", shown.append)
    log.names = {"0x" + "ab" * 20: "trainer-1"}
    for who, text in (
        ("aggregator", f"round 1: admitted 0x{'ab' * 20}"),
        ("trainer-1", "committing"),
        ("trainer-2", "committing"),
        ("owner", "waiting for the next settled round"),
        ("aggregator", "round 1: 2 sealed updates are not in the store yet, 0 are refused"),
        ("owner", "x" * 500),
    ):
        log.line(who, text)
    log.close()
    log.line("owner", "too late")
    assert [line[10:] for line in shown[:2]] == ["aggregator  round 1: admitted trainer-1", "trainer-1   committing"]
    assert len(shown) == 3 and len(shown[2]) == WIDTH and shown[2].endswith("…")
    kept = (tmp_path / "log").read_text()
    assert kept.count("committing") == 2 and "0xabab" in kept and "x" * 500 in kept and "too late" not in kept


def test_a_process_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", lambda text: None)
    process = Process("owner", ("owner", "plan", "nowhere.toml"), tmp_path, log)
    try:
        with pytest.raises(BackendError, match=r"owner failed with exit code 2: zkmarket owner: .*nowhere\.toml"):
            process.result()
    finally:
        process.stop()
        log.close()
