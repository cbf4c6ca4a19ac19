"""Files and folders that are never half-written, and never in place of somebody else's."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from zkmarket import files
from zkmarket.errors import InputError
from zkmarket.files import atomic_write, cache_folder, link_or_copy, locked, new_folder, replacing, sha256_file, sweep

pytestmark = pytest.mark.unit


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---------------------------------------------------------------- one file


def test_a_file_is_replaced_whole(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "value"
    atomic_write(path, b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["value"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, error: type[BaseException]):
    path = tmp_path / "value"
    atomic_write(path, b"old")
    with pytest.raises(error, match="in the middle"), replacing(path) as temporary:
        temporary.write_bytes(b"half of the ne")
        raise error("in the middle")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["value"]


def test_nobody_sees_the_new_file_before_it_is_whole(tmp_path: Path):
    path = tmp_path / "value"
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert mode(temporary) == 0o600  # a secret is never readable by others, not even on the way
    assert path.read_bytes() == b"new"


def test_modes(tmp_path: Path):
    atomic_write(tmp_path / "public", b"")
    atomic_write(tmp_path / "secret", b"", mode=0o600)
    assert (mode(tmp_path / "public"), mode(tmp_path / "secret")) == (0o644, 0o600)


def test_a_folder_in_the_way_is_not_replaced_by_a_file(tmp_path: Path):
    (tmp_path / "value").mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "value", b"new")
    assert names(tmp_path) == ["value"]


# ---------------------------------------------------------------- a folder


def old_folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).write_bytes(b"old")
    return path


def test_a_folder_appears_when_it_is_full(tmp_path: Path):
    path = tmp_path / "builds" / "mine"
    with new_folder(path) as temporary:
        (temporary / "a").write_bytes(b"1")
        assert not path.exists()
    assert (names(path), mode(path), names(path.parent)) == (["a"], 0o755, ["mine"])


def test_a_folder_of_the_same_command_is_replaced_whole(tmp_path: Path):
    """Nothing old is left in it, or beside it."""
    path = old_folder(tmp_path / "mine", "manifest.json", "old")
    with new_folder(path, replace=True) as temporary:
        (temporary / "new").write_bytes(b"2")
    assert (names(path), names(tmp_path)) == (["new"], ["mine"])


def test_an_empty_folder_is_filled(tmp_path: Path):
    path = old_folder(tmp_path / "mine")
    with new_folder(path) as temporary:
        (temporary / "new").write_bytes(b"2")
    assert (names(path), names(tmp_path)) == (["new"], ["mine"])


def test_a_folder_or_file_of_somebody_else_is_not_touched(tmp_path: Path):
    """Refused before work begins: the block does not run."""
    folder = old_folder(tmp_path / "home", "thesis.tex", "manifest.json")
    (tmp_path / "file").write_bytes(b"a file")
    for path in (folder, tmp_path / "file"):
        reason = f"{path.name} exists and holds something else: choose a new folder"
        with pytest.raises(InputError, match=reason), new_folder(path):
            pytest.fail("the block ran")
    assert (folder / "thesis.tex").read_bytes() == b"old"
    assert (tmp_path / "file").read_bytes() == b"a file"
    assert names(tmp_path) == ["file", "home"]


def test_an_interrupted_folder_leaves_the_old_one(tmp_path: Path):
    path = old_folder(tmp_path / "mine", "manifest.json")
    with pytest.raises(ValueError, match="in the middle"), new_folder(path, replace=True) as temporary:
        (temporary / "new").write_bytes(b"2")
        raise ValueError("in the middle")
    assert (names(path), names(tmp_path)) == (["manifest.json"], ["mine"])


# ---------------------------------------------------------------- the rest


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZKMARKET_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("ZKMARKET_CACHE")
    assert cache_folder().name == "zkmarket"


def test_the_digest_of_a_file(tmp_path: Path):
    (tmp_path / "value").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "value") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_link_or_copy_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").write_bytes(b"1")
    link_or_copy(tmp_path / "a", tmp_path / "b")

    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(files.os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes() == b"1"
    assert (tmp_path / "b").samefile(tmp_path / "a")
    assert not (tmp_path / "c").samefile(tmp_path / "a")


def test_a_lock_is_held_and_freed(tmp_path: Path):
    import fcntl

    path = tmp_path / "folder" / "lock"
    with locked(path), path.open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ---------------------------------------------------------------- what kill -9 leaves


def test_what_was_half_written_is_swept(tmp_path: Path):
    """Exactly the names that a killed `replacing` or `new_folder` leaves; nothing else, and nothing in folders."""
    for name in (".lock", "value", ".value", ".value.npz", "outbox.json.lock", "folder/.value.abcdefgh"):
        atomic_write(tmp_path / name, b"kept")
    left = []
    for context in (replacing(tmp_path / "value"), new_folder(tmp_path / "build")):
        temporary = context.__enter__()
        left.append((context, temporary))  # held, or it would clean up
        if temporary.is_dir():
            (temporary / "half").write_bytes(b"half")
    sweep(tmp_path)
    assert not any(temporary.exists() for _, temporary in left)
    assert names(tmp_path) == [".lock", ".value", ".value.npz", "folder", "outbox.json.lock", "value"]
    assert names(tmp_path / "folder") == [".value.abcdefgh"]
    assert (tmp_path / "value").read_bytes() == b"kept"
    sweep(tmp_path / "missing")
