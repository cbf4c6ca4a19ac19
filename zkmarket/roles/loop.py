"""The loop of a role: look at the chain, take a step, be patient with what fails."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..chain import Chain, Wallet
from ..errors import (
    BackendError,
    ChainError,
    StoreError,
    TransactionReverted,
)
from ..market import (
    Project,
    State,
)
from ..progress import Progress
from .delivery import Delivery
from .metrics import Metrics

REFUSALS = 5
"""So many equal refusals of a contract in a row, by a state that has what was latest at the first, are no race."""


@dataclass
class _Refused:
    """Equal refusals in a row.

    Attributes:
        reason: what the contract said, without the hashes of transactions.
        latest: number of the latest block at the first of them; None while the node does not say.
        times: how many came although the state had that block, so that no further block explains them.
    """

    reason: str = ""
    latest: int | None = None
    times: int = 0

    def again(self, error: TransactionReverted, block: int, latest: int | None) -> int:
        """Count one; how many count by now.

        Args:
            block: of the state that was acted on.
            latest: the chain's block now.
        """
        reason = _HASH.sub("", str(error))
        if reason != self.reason:
            self.reason, self.latest, self.times = reason, None, 0
        if self.latest is None:
            self.latest = latest
        if self.latest is not None and block >= self.latest:
            self.times += 1
        return self.times


_HASH = re.compile(r"0x[0-9a-f]{64}")


@dataclass
class Loop:
    """What a role looks at, and how patient it is.

    Attributes:
        wallet: None for a role without an account.
        waits: says what is waited for; its second argument tells one reason from another.
        depth: blocks below the latest one at which the state is read.
        poll: seconds between two looks.
        patience: seconds for which a chain, a store or a prover may fail.
        metrics: told of each look, and of what fails.
    """

    chain: Chain
    project: Project
    wallet: Wallet | None
    delivery: Delivery
    progress: Progress
    waits: Callable[..., None]
    depth: int
    poll: float
    patience: float
    metrics: Metrics | None = None

    def run(self, step: Callable[[State], str | None]) -> None:
        """Look at the chain and take a step, again and again, until a step returns None.

        A step looks at the state and does at most what is due; it returns what it now waits for. It is taken on
        every new block, and every few seconds besides. Chain, store and prover may fail for `patience` seconds. A
        contract's refusal is looked at again, since another may have acted first: what that was shows a state of
        `depth` blocks ago only later. So a refusal counts once the state that was acted on has reached the block that
        was the latest at the first one, and five of those end the program.
        """
        failing_since: float | None = None
        failures = 0
        refused = _Refused()
        last: Any = None
        looked = 0.0
        self.delivery.resume()
        while True:
            state = None
            try:
                block = self.chain.tip()
                if self.metrics:
                    self.metrics.looked()
                if block == last and time.monotonic() - looked < 20 * self.poll:
                    time.sleep(self.poll)
                    continue
                last, looked = block, time.monotonic()
                state = self.project.state(self.depth)
                if self.metrics:
                    self.metrics.saw(state)
                if self.depth and self.wallet and state.block < self.wallet.sent_block:
                    waiting: str | None = f"waiting for {self.depth} blocks on top of the last transaction"
                else:
                    waiting = step(state)
                    refused = _Refused()
            except TransactionReverted as error:
                last = None
                if self.metrics:
                    self.metrics.failed(error)
                if refused.again(error, -1 if state is None else state.block, self._latest()) == REFUSALS:
                    raise
                self.waits(f"{error}; looking again")
                time.sleep(self.poll * 2**refused.times)
                continue
            except (ChainError, StoreError, BackendError) as error:
                now = time.monotonic()
                if self.metrics:
                    self.metrics.failed(error)
                failing_since = failing_since or now
                if now - failing_since > self.patience:
                    raise
                self.waits(
                    f"{error}; trying again for {self.patience - (now - failing_since):.0f} s at most", str(error)
                )
                last, failures = None, failures + 1
                longest = 60.0 if isinstance(error, BackendError) else 5.0  # a prover that fails has worked for it
                time.sleep(min(longest, 2 * self.poll * 2 ** min(failures, 10)))
                continue
            failing_since, failures = None, 0
            if waiting is None:
                for cid in self.delivery.waiting():
                    self.progress(f"the store has never taken {cid}: it is in {self.delivery.folder}")
                return
            self.waits(waiting)
            time.sleep(self.poll)

    def _latest(self) -> int | None:
        """Number of the latest block; None if the node does not say."""
        try:
            return self.chain.tip()[0]
        except ChainError:
            return None
