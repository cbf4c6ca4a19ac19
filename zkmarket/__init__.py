"""zkmarket: proven federated learning rounds.

The flow, in the order of the command line; each name is one step or what it makes:

    make_build       Spec → Build                     circuits and keys of a project
    commit_update    float update → Committed         a trainer's commitment and its opening
    prove_round      Submissions → RoundProof         the aggregator's filter, scores and aggregate, proven
    verify_round     RoundProof → Decision            anyone; or ProofRejected with the reason
    open_aggregate   Aggregate → new parameters       checked against the proven commitment
"""

from .build import Build, Manifest, Spec, make_build
from .errors import ProofRejected, ZkmarketError
from .round import (
    Aggregate,
    Commitment,
    Committed,
    Decision,
    Opening,
    RoundId,
    RoundProof,
    Submission,
    admit,
    commit_update,
    export,
    load_submissions,
    open_aggregate,
    prove_round,
    verify_round,
)
from .rules import MultiKrum
from .updates import FixedPoint, ParameterLayout, QuantisedUpdate, dequantise, load_update

__all__ = [
    "Aggregate",
    "Build",
    "Commitment",
    "Committed",
    "Decision",
    "FixedPoint",
    "Manifest",
    "MultiKrum",
    "Opening",
    "ParameterLayout",
    "ProofRejected",
    "QuantisedUpdate",
    "RoundId",
    "RoundProof",
    "Spec",
    "Submission",
    "ZkmarketError",
    "admit",
    "commit_update",
    "dequantise",
    "export",
    "load_submissions",
    "load_update",
    "make_build",
    "open_aggregate",
    "prove_round",
    "verify_round",
]
