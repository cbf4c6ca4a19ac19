"""Who plays in the demo, with which data, money and rules."""

from __future__ import annotations

from dataclasses import dataclass

from ..learning import REFUSED
from ..rules import MIN_ACCEPTED, Filter, reference_slots

MODEL = "zkmarket.learning:digits_mlp"
DATA = "scikit-learn's digits, 1,797 real scans of 8×8 pixels"
LOGROWS = 12
ETHER = 10**18
FUNDS = 100 * ETHER
STAKE, FEE_SHARE = ETHER, 10
PASSWORD = "demo"  # of keystores that hold a development chain's coins, for as long as the demo runs
PHASES = {
    "CREATED": "inspect and accept",
    "OPEN": "join and start",
    "SUBMIT": "train and commit",
    "ADMIT": "hand over, admit",
    "PROVE": "prove and settle",
    "SCORE": "prove the losses",
    "SETTLED": "verify and open",
}
"""What a phase's time goes into; everybody works at once, on the same cores."""

SECONDS = 600
"""No phase of a demo takes longer; one that does has failed."""

PROJECT = """\
[project]
name = "digits"
rounds = {rounds}
aggregator = "{aggregator}"

[model]
factory = "{model}"

[rules]
least = {least}
most = {most}
{rules}

[keys]
logrows = {logrows}
srs = "development"

[money]
reward = "{reward} wei"
fee = "{fee} wei"
stake = "{stake} wei"
penalty = "{penalty} wei"
"""


# ---------------------------------------------------------------- who takes part


@dataclass(frozen=True)
class Cast:
    """Who takes part, and what they do."""

    trainers: int
    attackers: int
    attack: str
    rounds: int
    reward: int
    split: str
    seed: int
    filter: Filter | None = None
    score: str = "shapley"

    @property
    def rooted(self) -> bool:
        """Whether the owner trains, too."""
        return "root" in reference_slots(self.filter or Filter.default(self.trainers), self.score)

    @property
    def rules(self) -> str:
        """Lines of [rules]."""
        lines = [f'score = "{self.score}"']
        if self.filter:
            lines += [f"f = {self.filter.f}", f"m = {self.filter.m}"] if self.filter.m else ["krum = false"]
            if self.filter.m:
                lines.append(f'three_sigma = "{"off" if self.filter.sigma is None else self.filter.sigma}"')
            lines += [f'cosine = "{self.filter.tau}"'] if self.filter.tau is not None else []
        return "\n".join(lines)

    @property
    def least(self) -> int:
        """Where attackers get no receipt, a round may have as many trainers as are honest."""
        return max(MIN_ACCEPTED, self.trainers - self.attackers) if self.attack in REFUSED else self.trainers

    @property
    def penalty(self) -> int:
        """The least that the factory takes."""
        return -(-self.reward // self.least)

    def is_attacker(self, i: int) -> bool:
        return i >= self.trainers - self.attackers

    def data(self, i: int) -> str:
        """Clones share one part; everybody else has one of its own, the owner the last where it trains, too."""
        part = self.trainers - self.attackers if self.attack == "collude" and self.is_attacker(i) else i
        parts = self.trainers + self.rooted
        return f"zkmarket.learning:digits,part={part},of={parts},split={self.split},seed={self.seed}"
