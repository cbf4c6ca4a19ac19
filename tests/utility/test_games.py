"""Laws of utility games: axioms, truncation, replay, orders and salts."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations
from math import factorial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zkmarket.errors import RuleError
from zkmarket.utility import Game, Members, Method, games, order_of, play, proofs_needed, salts_needed, shuffled

pytestmark = pytest.mark.unit

SEED = bytes(range(32))
LOSS = st.integers(0, 10**6)
SEEDS = st.binary(min_size=32, max_size=32)
Losses = dict[Members, int]


def coalitions(players) -> list[Members]:
    return [s for size in range(len(players) + 1) for s in combinations(sorted(players), size)]


@st.composite
def tables(draw, largest: int = 5) -> tuple[list[int], Losses]:
    """Players with gaps between them, in any order, and the loss of every coalition."""
    players = draw(st.lists(st.integers(1, 30), min_size=1, max_size=largest, unique=True))
    return players, {s: draw(LOSS) for s in coalitions(players)}


def value(losses: Losses, coalition) -> int:
    return losses[()] - losses[tuple(sorted(coalition))]


def by_orders(losses: Losses, orders) -> dict[int, Fraction]:
    """Mean marginal over the given orders, written down in another way than the code."""
    total: dict[int, Fraction] = dict.fromkeys(orders[0], Fraction(0))
    for order in orders:
        for at, player in enumerate(order):
            total[player] += value(losses, order[: at + 1]) - value(losses, order[:at])
    return {player: t / len(orders) for player, t in total.items()}


def values(game: Game) -> dict[int, Fraction]:
    assert not game.missing
    return {player: game.value(player) for player in game.raw}


SHAPLEY, LOO = Method("shapley"), Method("loo")


# ---------------------------------------------------------------- exact games


@given(tables())
def test_shapley_is_the_mean_over_all_orders(table) -> None:
    players, losses = table
    game = play(SHAPLEY, players, SEED, losses)
    assert values(game) == by_orders(losses, list(permutations(players)))
    assert set(game.due) == set(losses)


@given(tables())
def test_shapley_is_efficient(table) -> None:
    players, losses = table
    assert sum(values(play(SHAPLEY, players, SEED, losses)).values()) == value(losses, players)


@given(tables())
def test_a_null_player_gets_nothing(table) -> None:
    players, losses = table
    null = players[0]
    losses = {s: losses[tuple(p for p in s if p != null)] for s in losses}
    for method in (SHAPLEY, LOO, Method("permutations", 3)):
        assert values(play(method, players, SEED, losses))[null] == 0


@given(tables())
def test_symmetric_players_get_the_same(table) -> None:
    players, losses = table
    assume(len(players) > 1)
    a, b = players[:2]
    swap = {a: b, b: a}
    losses = {s: losses[min(s, tuple(sorted(swap.get(p, p) for p in s)))] for s in losses}
    for method in (SHAPLEY, LOO):
        found = values(play(method, players, SEED, losses))
        assert found[a] == found[b]


@given(tables(), st.data(), SEEDS)
def test_games_add_up(table, data, seed) -> None:
    players, first = table
    second = {s: data.draw(LOSS) for s in first}
    both = {s: first[s] + second[s] for s in first}
    for method in (SHAPLEY, LOO, Method("permutations", 4)):
        one, two, sum_ = (values(play(method, players, seed, losses)) for losses in (first, second, both))
        assert sum_ == {p: one[p] + two[p] for p in players}


@given(tables())
def test_leave_one_out_asks_for_n_plus_1(table) -> None:
    players, losses = table
    game = play(LOO, players, SEED, losses)
    assert len(game.due) == len(players) + 1
    for p in players:
        rest = [q for q in players if q != p]
        assert game.value(p) == value(losses, players) - value(losses, rest)


def test_known_games() -> None:
    """The glove game, a majority of three, an additive game and one with a harmful player."""
    glove = {s: 60 - 60 * (1 in s and (2 in s or 3 in s)) for s in coalitions([1, 2, 3])}
    assert values(play(SHAPLEY, [1, 2, 3], SEED, glove)) == {1: 40, 2: 10, 3: 10}
    assert values(play(LOO, [1, 2, 3], SEED, glove)) == {1: 60, 2: 0, 3: 0}
    majority = {s: 9 - 9 * (len(s) >= 2) for s in coalitions([1, 2, 3])}
    assert values(play(SHAPLEY, [1, 2, 3], SEED, majority)) == {1: 3, 2: 3, 3: 3}
    worth = {1: 5, 2: 7, 4: -3, 6: 0}
    additive = {s: 100 - sum(worth[p] for p in s) for s in coalitions(worth)}
    for method in (SHAPLEY, LOO, Method("permutations", 1), Method("gtg", 4, 0)):
        game = play(method, list(worth), SEED, additive)
        assert values(game) == worth
        assert [game.score(p) for p in (1, 2, 3, 4, 6)] == [5 * game.denominator, 7 * game.denominator, 0, 0, 0]


def test_nobody_accepted_and_one() -> None:
    for text in ("loo", "shapley", "permutations:3", "gtg:3,eps=2"):
        method = Method.parse(f"utility:{text}")
        assert play(method, [], SEED, {}) == Game((), (), {}, 1)
        assert values(play(method, [4], SEED, {(): 9, (4,): 2})) == {4: 7}


def test_a_player_twice_is_refused() -> None:
    with pytest.raises(RuleError, match="every player once"):
        play(LOO, [1, 1], SEED, {})


# ---------------------------------------------------------------- sampled games


@given(tables(6), SEEDS, st.integers(1, 9))
def test_permutations_are_the_mean_over_their_orders(table, seed, count) -> None:
    players, losses = table
    game = play(Method("permutations", count), players, seed, losses)
    orders = [order_of(players, seed, index) for index in range(count)]
    assert values(game) == by_orders(losses, orders)
    assert set(game.due) == {tuple(sorted(order[:size])) for order in orders for size in range(len(players) + 1)}
    assert sum(game.raw.values()) == count * value(losses, players)  # efficient on each order, so on all


@given(tables(6), SEEDS, st.integers(1, 9))
def test_gtg_that_tolerates_nothing_is_permutations(table, seed, count) -> None:
    players, losses = table
    assert play(Method("gtg", count, 0), players, seed, losses) == play(
        Method("permutations", count), players, seed, losses
    )


@given(tables(6), SEEDS, st.integers(1, 6), st.integers(1, 500_000))
def test_gtg_truncates(table, seed, count, epsilon) -> None:
    """Against the definition: a player after a prefix that is within ε of the whole gets nothing on that order."""
    players, losses = table
    game = play(Method("gtg", count, epsilon), players, seed, losses)
    full = value(losses, players)
    wanted, due = dict.fromkeys(players, 0), {(), tuple(sorted(players))}
    if abs(full) >= epsilon:
        for index in range(count):
            order = order_of(players, seed, index)
            for at, player in enumerate(order):
                if any(abs(full - value(losses, order[:before])) < epsilon for before in range(at + 1)):
                    continue
                wanted[player] += value(losses, order[: at + 1]) - value(losses, order[:at])
                due.add(tuple(sorted(order[: at + 1])))
    assert (dict(game.raw), set(game.due)) == (wanted, due)


@given(tables(6), SEEDS, st.integers(1, 6), st.integers(0, 500_000))
def test_gtg_found_step_by_step_is_the_game_played_at_once(table, seed, count, epsilon) -> None:
    """A prover learns losses as it goes. What it proves is exactly what a verifier who knows them all calls due."""
    players, losses = table
    method, known = Method("gtg", count, epsilon), {}
    while (game := play(method, players, seed, known)).missing:
        assert game.raw == {}
        known |= {s: losses[s] for s in game.missing}
    assert game == play(method, players, seed, losses)
    assert set(known) == set(game.due)


def test_a_round_that_changed_nothing_costs_two_proofs() -> None:
    losses = {s: 50 + len(s) for s in coalitions([1, 2, 3, 4])} | {(1, 2, 3, 4): 47}
    assert len(play(Method("gtg", 8, 4), [1, 2, 3, 4], SEED, losses).due) == 2
    assert len(play(Method("gtg", 8, 3), [1, 2, 3, 4], SEED, losses).due) > 2  # |v(A)| = ε is not truncated


# ---------------------------------------------------------------- orders


def test_every_order_is_as_likely() -> None:
    """No bias: each single order is uniform, the first of a block and the last of a part of one. Five sigma."""
    for index in (0, 2, 4):
        draws = 4200
        found = Counter(tuple(order_of([3, 5, 8], k.to_bytes(32, "big"), index)) for k in range(draws))
        mean = draws / 6
        assert len(found) == 6
        assert all(abs(times - mean) < 5 * (mean * 5 / 6) ** 0.5 for times in found.values())


@given(st.integers(1, 9), SEEDS, st.integers(0, 3))
def test_each_player_leads_once_in_a_block(n, seed, block) -> None:
    players = list(range(1, n + 1))
    orders = [order_of(players, seed, block * n + at) for at in range(n)]
    assert sorted(order[0] for order in orders) == players
    assert all(sorted(order) == players for order in orders)


def test_a_word_that_would_bias_is_drawn_again(monkeypatch) -> None:
    """2^256 mod 3 = 1: the last word of all must not be taken for a draw among three."""
    words = iter([2**256 - 1, 7, 5])
    monkeypatch.setattr(games, "hash_words", lambda *_: next(words).to_bytes(32, "big"))
    assert shuffled([10, 20, 30], SEED, "order", 0) == [10, 30, 20]  # 7 mod 3 = 1, then 5 mod 2 = 1
    with pytest.raises(StopIteration):
        next(words)


def test_orders_of_a_known_seed() -> None:
    """Fixed for good: another implementation must find the same."""
    assert [order_of([1, 2, 3, 4, 5], SEED, index) for index in range(4)] == KNOWN


KNOWN = [[1, 2, 5, 3, 4], [3, 4, 2, 1, 5], [5, 4, 3, 2, 1], [2, 4, 3, 5, 1]]


# ---------------------------------------------------------------- method and salts


@pytest.mark.parametrize(
    "text", ["loo", "shapley", "permutations:1", "permutations:1000", "gtg:12,eps=0", "gtg:3,eps=77"]
)
def test_a_method_reads_back(text: str) -> None:
    assert str(Method.parse(f"utility:{text}")) == f"utility:{text}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "loo",
        "utility:",
        "utility:loo:1",
        "utility:permutations",
        "utility:permutations:0",
        "utility:permutations:01",
    ]
    + ["utility:permutations:1001", "utility:gtg:3", "utility:gtg:3,eps=-1", "utility:gtg:3,eps=1.5", "utility:LOO"]
    + ["utility:gtg:3,eps=18446744073709551617", "utility:gtg:0,eps=1", "utility:loo ", "utility:permutations:٣"],
)
def test_what_is_no_method(text: str) -> None:
    with pytest.raises(RuleError):
        Method.parse(text)


def test_exact_shapley_is_for_five() -> None:
    SHAPLEY.check(5)
    with pytest.raises(RuleError, match="2\\^6 proofs"):
        SHAPLEY.check(6)
    with pytest.raises(RuleError, match="2\\^6 proofs"):
        play(SHAPLEY, [1, 2, 3, 4, 5, 6], SEED, {})
    with pytest.raises(RuleError):
        salts_needed(SHAPLEY, 6)


@given(st.integers(1, 7), st.integers(0, 7), SEEDS, st.integers(1, 12), st.integers(0, 40))
def test_no_trainer_is_in_more_coalitions_than_it_has_salts_for(n, rejected, seed, count, epsilon) -> None:
    players = list(range(1, n + 1))[: max(1, n - rejected)]
    losses = {s: 7 * len(s) + hash(s) % 5 for s in coalitions(players)}
    methods = [LOO, Method("permutations", count), Method("gtg", count, epsilon)]
    for method in methods + [SHAPLEY] * (n <= 5):
        due = play(method, players, seed, losses).due
        assert max(sum(p in s for s in due) for p in players) <= salts_needed(method, n)
        assert len(due) <= proofs_needed(method, n)


def test_salts_of_known_methods() -> None:
    assert [proofs_needed(Method.parse(f"utility:{m}"), 8) for m in ("loo", "permutations:3", "gtg:99,eps=1")] == [
        9,
        23,
        256,
    ]
    assert proofs_needed(SHAPLEY, 5) == 32
    assert salts_needed(LOO, 8) == 8
    assert salts_needed(SHAPLEY, 5) == 16
    assert salts_needed(Method("permutations", 1), 8) == 8
    assert salts_needed(Method("permutations", 8), 8) == 1 + 7 + 7 * 6
    assert salts_needed(Method("permutations", 1000), 8) == 128  # no more than there are coalitions with a player
    assert factorial(5) == play(SHAPLEY, [1, 2, 3, 4, 5], SEED, dict.fromkeys(coalitions(range(1, 6)), 0)).denominator


# ---------------------------------------------------------------- terrible losses


def test_a_loss_bomb_makes_no_score_that_does_not_fit() -> None:
    """Two updates that are bearable together and terrible alone: losses are cut off, and every score fits 63 bits."""
    for method, players in ((LOO, range(1, 33)), (SHAPLEY, range(1, 6))):
        everybody = tuple(players)
        losses = dict.fromkeys(play(method, everybody, SEED, {}).due, 1000)
        for s in losses:
            if (1 in s) != (2 in s):
                losses[s] = (1 << 119) + len(s)
        game = play(method, everybody, SEED, losses)
        assert max(game.raw.values()) == game.raw[1] == game.raw[2] < 1 << 63
        small = play(method, everybody, SEED, {s: min(loss, 1 << 56) for s, loss in losses.items()})
        assert small == game
    worst = {s: (1 << 120) * (1 not in s) for s in coalitions(range(1, 6))}
    assert 1 << 62 < play(SHAPLEY, range(1, 6), SEED, worst).score(1) == 120 << 56 < 1 << 63
