// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Bn254} from "./lib/Bn254.sol";

/// @notice States of a project. Submit turns into Admit by the clock, or when its last seat is taken.
enum Phase {
    Created, // pool in escrow, no aggregator yet
    Open, // between rounds: trainers join and leave
    Submit, // digests of commitments
    Admit, // receipts
    Prove, // the set is frozen, the reward is owed
    Score, // the round is settled; the losses by which it is paid are being proven
    Settled, // paid; the aggregate may be claimed unavailable
    Vacant, // a round failed: a new aggregator is wanted
    Ended
}

/// @notice A generated verifier: where it is, and what its code must hash to.
struct Verifier {
    address deployed;
    bytes32 codehash;
}

/// @notice What a round of exactly N admitted trainers is settled with.
struct Plan {
    Verifier settlement;
    bytes32 manifest; // digest of the build for N: SRS, keys, rules, shapes
    uint8 f; // Multi-Krum: bad updates tolerated
    uint8 m; // Multi-Krum: updates selected
    uint8 references; // bit 0: the owner's root update, bit 1: the last aggregate; the same in all plans
    uint8 shift; // a score is proven below 2^(64 + shift), and kept without its lowest `shift` bits
}

/// @notice Length of every phase in seconds.
struct Windows {
    uint32 accept; // aggregator's acceptance
    uint32 start; // from open to start
    uint32 submit;
    uint32 admit;
    uint32 prove;
    uint32 claim; // to say that the aggregate is not served
    uint32 lock; // how long a claim holds the fee and the bond
    uint32 vacancy; // to name a new aggregator and have it accept
    uint32 exit; // after that, and after a void round, before the next may start
}

/// @notice How a round is paid by the model's own loss. Without a method all of it is 0.
struct Scoring {
    Verifier verifier; // of utility proofs
    bytes32 descriptor; // digest of the words that describe the compiled model: zkmarket/utility/instances.py
    bytes32 batch; // keccak of the words of the commitment of the owner's batch
    uint8 method; // 0: the settlement's scores pay; 1: leave-one-out; 2: Shapley
    uint32 floor; // φ, billionths of the reward: the accepted share it equally
    uint32 window; // seconds of Score
    uint32 salts; // of a chunk of the batch: a proof spends one
    uint32 proofBytes; // of a proof, and
    uint32 instances; // its public instances, as the descriptor has them: what a proof costs follows from both
}

/// @notice All that the owner fixes at creation. Nothing of it can be changed.
struct Terms {
    address owner;
    uint96 stakeWei; // a trainer's
    address aggregator;
    uint96 bondWei; // the aggregator's
    address token; // of reward and fee; 0: native coin
    uint96 penaltyWei; // p, burnt of stake and bond for a refused submission, of the stake for a round skipped;
    // with a native reward p · minTrainers >= reward
    uint128 reward; // a round, in wei or the token's smallest unit
    uint128 fee; // the aggregator's, a round, same unit
    uint32 rounds; // T
    uint16 voidLimit; // V: rounds that may come to nothing
    uint8 minTrainers;
    uint8 maxTrainers;
    uint8 minAccepted; // with fewer accepted no aggregate is published
    bool openAdmission; // false: trainers show the owner's signature
    uint32 params; // D
    uint8 logrows; // K
    uint16 rows; // ℓ1 of a column, by a table of K: its values stand in ℓ1 − 1 rows of ℓ2 = 2^⌈K/2⌉, its salts in the last
    uint8 valueBits; // of an honest value, sign included: Q = 2^(valueBits − 1)
    uint16 salts; // S
    uint16 chunks; // m = ceil(D / ((ℓ1 − 1)·ℓ2))
    uint8 thetaBits; // ρ: the model's scale is 2^ρ times the updates'
    uint32 kappa; // thousandths: next norm bound = kappa · median squared norm
    uint128 beta; // bound on squared norms in the first round
    uint128 betaMin;
    uint128 betaMax;
    Bn254.Point blinding; // B = Com(0)
    Windows windows;
    Verifier base; // of both arguments of the updates: Gram matrix and small entries
    bytes32 model; // SHA-256 of the prospectus, which has the initial model and what its keys are made from
    bytes32 theta; // keccak of the words of the initial model's commitment, with salts 0
    Scoring scoring;
}

/// @notice Where a project stands, all of it at one block: for programs that poll.
struct State {
    Phase phase; // by the clock
    uint40 now_; // the block's time, which decides the phase
    uint40 deadline; // of that phase; Admit's own
    uint16 round; // started last; failed ones count
    uint16 settled;
    uint8 voids;
    address aggregator; // 0 while there is none
    uint128 beta; // norm bound of the round, or of the next one
    uint128 pool; // not yet owed, in the reward's unit
    uint96 bondWei;
    uint96 unburntWei;
    bool ending; // announced
    bool claimed; // the last aggregate counts as not served
    bytes32 theta; // keccak of the words of the model's commitment
}

/// @notice A trainer's standing, one slot.
struct Account {
    uint128 credit; // reward or fee to withdraw, in the reward's unit
    uint96 stakeWei; // 0: not a member
    uint16 lastRound; // it submitted in
    uint8 voidsSeen; // void rounds accounted for
    uint8 skipped; // void rounds it did not submit in
}

/// @notice A submission: two words of storage, which every round uses again.
struct Seat {
    address trainer;
    bool admitted;
    bytes32 submission; // keccak(digest of the commitment's points ‖ keccak of the CID of the ciphertext to come)
}

/// @notice The owner's root update: what is on offer, or what the round of `offered` or `admitted` has.
struct Root {
    uint16 offered; // number of the round that it is offered for while that is undecided: p of the owner's is here; 0: none
    uint16 admitted; // number of the last round that has one: the aggregator has shown that it opens
    bytes32 submission; // as a seat's, with the owner as trainer and another label
}

/// @notice What the last settled round decided.
struct Outcome {
    uint64 mask; // bit i: slot i + 1 was accepted
    uint64 rate; // learning rate, billionths
    uint128 beta; // norm bound of the next round
    bytes32 aggregate; // keccak of the words of C_agg; 0: withheld, or not served when the round was closed
    bytes32 cid; // keccak of its CID
    bytes32 theta; // keccak of the words of the model's commitment once the round is closed; as before it: it stays
    uint256[] scores; // 64 bits each, four a word, slot 1 lowest
}

/// @notice What is proven of the losses of a round that is being scored.
struct Score {
    bytes32 seed; // seed_0 of the settlement's transcript: it has absorbed build, place and every commitment
    uint256 proven; // a bit for each coalition, at its place
    uint64[65] losses; // by place. Leave-one-out: all of A, then A without slot i; Shapley: the coalition's bits
}

/// @notice What the project itself knows of a round that is being settled.
struct Facts {
    uint256 round;
    uint256 beta;
    uint256 rate; // learning rate, billionths
    bytes32 theta; // keccak of the words of the model's commitment
    uint256 trainers; // N: the first N seats are the admitted, in the order of slots
    bytes32 manifest; // Plan.manifest
    uint256 references; // Plan.references; what follows is read only where it is not 0
    uint256 shift; // Plan.shift
    bytes32 root; // submission of the root update that was admitted; 0: none
    bytes32 last; // keccak of the last aggregate's words; 0: none
}

/// @notice All that a settlement decided, as the log keeps it.
struct Settlement {
    address[] trainers; // in the order of slots
    uint256 mask;
    uint256[] scores; // as kept: shifted
    uint256[] pay; // in the reward's unit
    uint256[] aggregate; // words of C_agg; empty: withheld
    bytes cid;
    uint256 beta; // of the next round
    uint256 rate; // learning rate, billionths
    bytes32 theta; // keccak of the words of the model's commitment, if the round is closed unclaimed
    uint256 nu; // lower median of the squared norms: β follows from it, whoever sent the settlement
    bytes32 proofs; // keccak(keccak of the base proof, 0 where that came before ‖ keccak of the settlement proof)
    uint256[] points; // every commitment of the round, as in BaseProof
}

/// @notice That the updates are well-formed, and what their Gram matrix is: challenges are not in it, the contract
/// computes them.
struct BaseProof {
    uint256[] points; // slots 1..N chunk by chunk, the references', slot 0's chunks, P_0..P_μ, C_G: x, y each
    bytes32[] cids; // keccak of the CIDs of slots 1..N, then of the root update's if one was admitted
    uint256 q; // Σ r_i r_j G_ij
    uint256 t0; // sum of the masks' own cells
    bytes z; // 14 bytes a row of the projection, offset by 2^110
    uint256[] folds; // A, X of each fold
    uint256[] rounds; // g_0, x of each round of the sumcheck
    uint256 saltSquare; // <W, W> over the salts
    bytes proof;
}

/// @notice What the Gram matrix decides, and its proof. β is not in it.
struct Decision {
    uint256 mask; // bit i: slot i + 1 is accepted
    uint256[] scores; // N, below 2^(64 + shift)
    uint256 nu; // lower median of the squared norms, below 2^64
    uint256[] theta; // words of the model's commitment before the round: the contract has their hash
    bytes proof;
}

/// @notice The loss of one coalition's model, and its proof. The contract has hashes of what is given here.
struct UtilityProof {
    uint256 coalition; // bit i: slot i + 1 is in it
    uint256[] descriptor; // words of the model's descriptor
    uint256[] model; // words of the commitment of the model of all accepted: the next round's
    uint256[] left; // words of the commitments of the accepted that are not in the coalition, in the order of slots
    bytes32[] cids; // keccak of the CID of each of them
    uint256 correct; // predictions of the batch
    uint256 loss; // units, summed over the batch
    bytes proof;
}
