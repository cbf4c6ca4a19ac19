"""Blobs on their way to a store: on disk before anything else, then put in the background until the store has them.

What goes on chain is a blob's CID, which is computed here, and a deadline with money on it runs whether the store
answers or not. So nobody waits for a store before a transaction: a blob is written into a folder, which outlives the
process, its CID is sent, and the putting goes on, by this process or by the next one in the same folder.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import StoreError
from ..files import atomic_write
from ..progress import Progress, quiet
from ..storage import Store, cid_of

PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two attempts: at first, doubling up to the longest."""


class Delivery:
    """What a role has to put into a store.

    Args:
        folder: holds a file for each blob that the store has not taken yet, by its CID.
        store: opened when it is first needed.
        pause: seconds after the first attempt that failed.
    """

    def __init__(self, folder: Path, store: Callable[[], Store], progress: Progress = quiet, pause: float = PAUSE):
        self.folder, self._store, self.progress, self._pause = folder, store, progress, pause
        self._lock = threading.Lock()
        self._tried: dict[str, threading.Event] = {}
        self._complained: set[str] = set()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, data: bytes, wait: float = 0) -> str:
        """Put a blob as soon as the store takes it; its CID, at once.

        Args:
            wait: seconds, at most, in which the first attempt may end before this returns. It need not succeed.
        """
        cid = cid_of(data)
        with self._lock:
            tried = self._tried[cid] = threading.Event()
        atomic_write(self.folder / cid, data, mode=0o600)
        self.resume()
        if wait > 0:
            tried.wait(wait)
        return cid

    def resume(self) -> None:
        """Go on with what an earlier process left, if it left anything."""
        if not self.waiting():
            return
        self._news.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
                self._thread.start()

    def waiting(self) -> list[str]:
        """CIDs of what the store has not taken yet, the newest first: it is the most urgent."""
        blobs = []
        for path in self.folder.glob("Qm*"):
            try:
                blobs.append((path.stat().st_mtime_ns, path.name))
            except FileNotFoundError:  # taken, or forgotten, meanwhile
                continue
        return [name for _, name in sorted(blobs, reverse=True)]

    def forget(self, cids: Iterable[str] | None = None) -> None:
        """Put no more of what is waiting, or of these: it is of no use any more."""
        for cid in self.waiting() if cids is None else cids:
            (self.folder / cid).unlink(missing_ok=True)

    # ---- the thread

    def _work(self) -> None:
        pause = self._pause
        while True:
            self._news.clear()
            failed = [cid for cid in self.waiting() if not self._put(cid)]
            pause = min(2 * pause, LONGEST_PAUSE) if failed else self._pause
            self._news.wait(pause if failed else None)

    def _put(self, cid: str) -> bool:
        """Whether nothing is left to do for it."""
        path = self.folder / cid
        try:
            self._store().put(path.read_bytes())
            path.unlink()
        except FileNotFoundError:  # forgotten meanwhile
            return True
        except Exception as error:
            # of a store that is another's program too: whatever it does, the thread must go on
            why = error if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
            if cid not in self._complained:
                self._complained.add(cid)
                self.progress(f"the store does not take {cid}: {why}; it is put again until it does")
            return False
        finally:
            with self._lock:
                if tried := self._tried.get(cid):
                    tried.set()
        if cid in self._complained:
            self._complained.discard(cid)
            self.progress(f"the store has taken {cid}")
        return True
