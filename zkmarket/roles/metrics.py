"""What a running role tells Prometheus, and whether it is well: `--metrics [HOST:]PORT`.

/metrics   phase, round, seconds to the deadline, transactions, gas, failures, proofs and their seconds
/healthz   200 while the role looks at its chain, 503 once it has not for a while
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..chain import Phase, Wallet
from ..errors import TransactionReverted
from ..market import State
from ..progress import Progress
from ..serving import answer, read_place, serving

SILENCE = 300.0
"""Seconds without a look at the chain after which a role is not well: more than its longest pause, less than a phase.
While it proves it looks at nothing, and is well."""


class Metrics:
    """Counters of one process. Prometheus adds the rest: rates, sums, alarms."""

    def __init__(self, role: str):
        from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Info, Summary

        self.registry = registry = CollectorRegistry()
        phases = [phase.name for phase in Phase]
        about: dict[str, Any] = {"registry": registry, "namespace": "zkmarket"}
        self._phase = Enum("phase", "Phase of the project, by the chain's clock", states=phases, **about)
        self._round = Gauge("round", "Number of the round that was started last", **about)
        self._settled = Gauge("rounds_settled", "Rounds that were settled and paid", **about)
        self._left = Gauge(
            "seconds_to_deadline", "Until the phase ends, by the chain's clock; negative after it", **about
        )
        self._block = Gauge("block", "Number of the block that was looked at last", **about)
        self._looked = Gauge("last_look_timestamp_seconds", "When the chain was looked at last", **about)
        self._sent = Counter("transactions", "Transactions of this process that are in the chain", ["status"], **about)
        self._gas = Counter("gas_used", "Gas of them", **about)
        self._fees = Counter("fees_wei", "What they cost, in wei", **about)
        self._failures = Counter("failures", "Steps that failed and are tried again", ["kind"], **about)
        self._last = Info("last_failure", "What failed last", **about)
        self._proofs = Summary("proof_seconds", "Rounds that were proven, and the time that took", **about)
        Info("role", "What this process is", **about).info({"role": role})
        for status in ("done", "refused"):
            self._sent.labels(status)
        self._seen = time.monotonic()
        self._proving = False

    def saw(self, state: State) -> None:
        """A look at the chain, whatever came of it."""
        self.looked()
        self._phase.state(state.phase.name)
        self._round.set(state.round)
        self._settled.set(state.settled)
        self._left.set(state.deadline - state.now)
        self._block.set(state.block)

    def looked(self) -> None:
        self._seen = time.monotonic()
        self._looked.set_to_current_time()

    def sent(self, receipt: Mapping[str, Any]) -> None:
        """A transaction is in the chain."""
        self._sent.labels("done" if receipt["status"] == 1 else "refused").inc()
        self._gas.inc(receipt["gasUsed"])
        self._fees.inc(receipt["gasUsed"] * receipt.get("effectiveGasPrice", 0))

    def failed(self, error: Exception) -> None:
        """A step failed, and will be tried again.

        Of a refusal the text is told too; of others not: a chain's or a store's address may hold a key of its user.
        """
        self._failures.labels(type(error).__name__).inc()
        text = str(error) if isinstance(error, TransactionReverted) else ""
        self._last.info({"kind": type(error).__name__, "text": text})

    @contextlib.contextmanager
    def proving(self) -> Iterator[None]:
        self._proving = True
        try:
            with self._proofs.time():
                yield
        finally:
            self._proving = False
            self._seen = time.monotonic()

    def well(self) -> bool:
        return self._proving or time.monotonic() - self._seen < SILENCE

    def app(self, environ: Mapping[str, Any], start: Callable[..., Any]) -> list[bytes]:
        """The two addresses, as WSGI."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain", b"wanted GET\n"
        elif path == "/metrics":
            status, kind, body = "200 OK", CONTENT_TYPE_LATEST, generate_latest(self.registry)
        elif path == "/healthz":
            well = self.well()
            status, kind = ("200 OK" if well else "503 Service Unavailable"), "text/plain"
            body = b"well\n" if well else f"no look at the chain for {SILENCE:.0f} s\n".encode()
        else:
            status, kind, body = "404 Not Found", "text/plain", b"wanted /metrics or /healthz\n"
        return answer(environ, start, status, kind, body)


@contextlib.contextmanager
def measured(role: str, place: str, wallet: Wallet | None, progress: Progress) -> Iterator[Metrics]:
    """Metrics of a role, served at [HOST:]PORT while the block runs, and told of what its wallet sends."""
    metrics = Metrics(role)
    host, port = read_place("--metrics", place)
    with serving(metrics.app, host, port) as chosen:
        progress(f"metrics at http://{host}:{chosen}/metrics")
        if wallet is not None:
            wallet.on_receipt = metrics.sent
        yield metrics
