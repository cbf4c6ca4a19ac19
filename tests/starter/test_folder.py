"""The folder of `zkmarket new`: a project that reads, keys that only their owner reads, and nothing overwritten."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from zkmarket.chain import Wallet
from zkmarket.cli import main
from zkmarket.errors import InputError
from zkmarket.learning import initial_parameters, load_dataset
from zkmarket.posting import load_project_file
from zkmarket.starter import write_starter

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_starter(tmp_path / "mine", trainers=4, rounds=3)
    return tmp_path / "mine"


def test_the_project_is_one_of_so_many_trainers_and_rounds(folder: Path) -> None:
    file = load_project_file(folder / "PROJECT.toml")
    assert (file.name, file.rounds, file.least, file.most, file.srs) == ("mine", 3, 4, 4, "development")
    assert file.windows.claim < 60 < file.windows.submit
    password = (folder / "keys/password").read_text().strip()
    assert file.aggregator == Wallet.open(folder / "keys/aggregator.json", password).address
    layout, _ = initial_parameters(file.model.replace("my_model:model", "zkmarket.learning:digits_mlp"))
    file.check(layout, development=True)


def test_model_and_data_fit_each_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    layout, _ = initial_parameters("my_model:model")
    shares = [load_dataset(f"my_data:share,part={part},of=4") for part in range(4)]
    held = load_dataset("my_data:held_out")
    assert layout.shapes[0] == (32, 64) and sum(map(len, shares)) + len(held) == 1797
    rows = {row.tobytes() for share in shares for row in share.inputs}
    assert not rows & {row.tobytes() for row in held.inputs}


def test_secrets_are_their_owners_alone_and_not_gits(folder: Path) -> None:
    names = {"aggregator", "owner", *(f"trainer-{i}" for i in range(1, 5))}
    assert {path.name for path in (folder / "keys").iterdir()} == {f"{name}.json" for name in names} | {"password"}
    for path in [folder / "keys", *(folder / "keys").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / "run").mkdir()
    (folder / "run/log").touch()
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.split()
    assert listed == [".gitignore", "Makefile", "PROJECT.toml", "my_data.py", "my_model.py"]


def test_two_folders_have_no_password_in_common(folder: Path, tmp_path: Path) -> None:
    write_starter(tmp_path / "other")
    one, other = ((place / "keys/password").read_text() for place in (folder, tmp_path / "other"))
    assert one != other and len(one) > 24


@pytest.mark.parametrize("what", ["a file in it", "a hidden file in it", "a file"])
def test_what_is_there_is_not_overwritten(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "mine"
    if what != "a file":
        place.mkdir()
    kept = {"a file": place, "a file in it": place / "Makefile", "a hidden file in it": place / ".env"}[what]
    kept.write_text("mine")
    assert main(["new", str(place), "--json"]) == 2
    assert "not empty" in json.loads(capsys.readouterr().out)["message"]
    assert kept.read_text() == "mine" and (place == kept or list(place.iterdir()) == [kept])


def test_an_empty_folder_is_filled_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", ".", "--quiet"]) == 0
    assert load_project_file(Path("PROJECT.toml")).name == tmp_path.name


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [({"trainers": 2}, "from 3 to 64 trainers: got 2"), ({"rounds": 0}, "1 to 10000 rounds: got 0")],
)
def test_numbers_that_no_project_has_are_refused(tmp_path: Path, numbers: dict[str, int], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        write_starter(tmp_path / "mine", **numbers)
    assert not (tmp_path / "mine").exists()
