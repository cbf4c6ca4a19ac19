"""zkmarket: proven federated learning rounds.

The flow, in the order of the command line; each name is one step or what it makes:

    build.build      Spec → Build                     circuits and keys of a project
    commit_update    float update → Committed         a trainer's commitment and its opening
    prove_round      Submissions → RoundProof         the aggregator's filter, scores and aggregate, proven
    verify_round     RoundProof → Decision            anyone; or ProofRejected with the reason
    open_aggregate   Aggregate → new parameters       checked against the proven commitment
"""

from .aggregator import Submission, admit, load_submissions, prove_round
from .artifacts import Build, Manifest
from .auditor import export, open_aggregate, verify_round
from .build import Spec
from .commitment import Commitment, Opening, RoundId
from .errors import ProofRejected, ZkmarketError
from .quantise import FixedPoint, ParameterLayout, QuantisedUpdate, dequantise, load_update
from .round import Aggregate, Decision, RoundProof
from .rules import MultiKrum
from .trainer import Committed, commit_update

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
    "open_aggregate",
    "prove_round",
    "verify_round",
]
