"""The execution of a large order: the task, its gymnasium face, and the schedules to beat."""

import itertools
import json
import math
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import gymnasium
import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from gymnasium.utils.env_checker import check_env

from apex_nautilus.cli.sim_commands.execution import command
from apex_nautilus.features import FeatureError
from apex_nautilus.sim import Market, profile
from apex_nautilus.sim._guests import Guests
from apex_nautilus.sim.execution import (
    ACTIONS,
    CANCEL,
    CROSS,
    IMPROVE,
    JOIN,
    WAIT,
    ExecutionSettings,
    ExecutionTask,
)
from apex_nautilus.sim.execution_baselines import BASELINES, evaluate, join, summarise, twap
from apex_nautilus.sim.execution_env import ENV_ID, ExecutionEnv

BTC = profile("BTCUSDT-LINEAR.SIM")
SHORT = ExecutionSettings(horizon_s=10.0, step_s=0.5)


def play(task, random, policy):
    """Run one episode; returns its rewards, observations and progresses."""
    progress = task.begin(random)
    rewards, seen, progresses = [], [task.observation], [progress]
    while not (progress.finished or progress.halted):
        reward, progress = task.step(policy(progress))
        rewards.append(reward)
        seen.append(task.observation)
        progresses.append(progress)
    return rewards, seen, progresses


def at_random(seed):
    random = np.random.default_rng(seed)
    return lambda _: int(random.integers(len(ACTIONS)))


@pytest.fixture
def tapes(monkeypatch):
    """All trades of the markets that run under guests, as they go by."""
    kept = []
    run = Guests.run

    def keeping(self, duration_ns):
        tape = run(self, duration_ns)
        kept.append(tape)
        return tape

    monkeypatch.setattr(Guests, "run", keeping)
    return kept


# ---------------------------------------------------------------------- gymnasium's side


def test_the_environment_passes_gymnasiums_checker_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(ENV_ID)
        check_env(env.unwrapped)
        assert env.spec.id == ENV_ID


EPISODE = """
import gymnasium, hashlib
env = gymnasium.make("apex_nautilus.sim.execution_env:apex/Execution-v0", horizon_s=10.0)
digest = hashlib.sha256()
for seed in (11, None):
    observation, info = env.reset(seed=seed)
    done = False
    n = 0
    while not done:
        observation, reward, terminated, truncated, info = env.step(n % 5)
        digest.update(observation.tobytes() + repr((reward, info["filled"], info["side"])).encode())
        done, n = terminated or truncated, n + 1
print(digest.hexdigest())
"""


def test_a_seed_gives_the_same_episodes_in_another_process():
    scope = {}
    lines = []
    exec(EPISODE, scope | {"print": lines.append})
    out = subprocess.run([sys.executable, "-c", EPISODE], check=True, capture_output=True, text=True).stdout
    assert out.split() == lines


def test_episodes_of_a_vector_in_spawned_processes_are_those_of_single_environments():
    def rollout(mode, **kwargs):
        envs = gymnasium.make_vec(
            f"apex_nautilus.sim.execution_env:{ENV_ID}",
            num_envs=2,
            vectorization_mode=mode,
            vector_kwargs=kwargs,
            horizon_s=3.0,
        )
        seen, _ = envs.reset(seed=[4, 5])
        all_of_it = [seen]
        for n in range(5):  # beyond the end of an episode: the vector resets
            seen, rewards, terminated, _, infos = envs.step(np.array([n % 2, 2]))
            all_of_it += [seen, rewards, terminated, infos["filled"], infos["action_mask"]]
        envs.close()
        return np.concatenate([np.asarray(part, float).ravel() for part in all_of_it])

    spawned = rollout("async", context="spawn")
    np.testing.assert_array_equal(spawned, rollout("sync"))
    assert len(spawned) > 100


def test_reset_takes_the_side_and_refuses_what_it_does_not_know():
    env = ExecutionEnv(SHORT)
    assert [env.reset(seed=1, options={"side": side})[1]["side"] for side in ("buy", "sell")] == [
        "buy",
        "sell",
    ]
    assert {env.reset(seed=seed)[1]["side"] for seed in range(8)} == {"buy", "sell"}
    with pytest.raises(ValueError, match="options: 'speed' is unknown"):
        env.reset(options={"speed": 1})
    with pytest.raises(ValueError, match="side: 'up'"):
        env.reset(options={"side": "up"})
    with pytest.raises(RuntimeError, match="call begin first"):  # the failed reset has ended the episode
        env.step(0)
    with pytest.raises(TypeError, match="settings: given together with horizon_s"):
        ExecutionEnv(SHORT, horizon_s=1.0)


def test_without_gymnasium_the_error_says_what_to_install():
    code = "import sys; sys.modules['gymnasium'] = None; import apex_nautilus.sim.execution_env"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'apex_nautilus[nn]'" in done.stderr.splitlines()[-1]


# ---------------------------------------------------------------------- money


@pytest.mark.parametrize("seed", range(6))
def test_the_shortfall_is_that_of_the_trades(seed, tapes):
    """Recomputed from the tape: what was paid, fees from the instrument, against the mid at arrival."""
    instrument = msgspec.structs.replace(BTC.instrument, maker_fee=-0.0001, taker_fee=0.0004)
    population = BTC.replace(instrument=instrument)
    task = ExecutionTask(replace(SHORT, population=population, horizon_s=30.0))
    rewards, _, progresses = play(task, np.random.default_rng(seed), at_random(seed))
    end = progresses[-1]
    side = 1 if end.side == "buy" else -1
    cost, filled = 0.0, 0.0
    for tape in tapes:
        for trade in tape.trades_of(task._agent):
            price, size = trade["price"] / 10, trade["size"] / 1000
            taker = trade["taker"] == task._agent
            cost += side * (price - end.arrival_price) * size
            cost += price * size * (0.0004 if taker else -0.0001)
            filled += size
    assert end.filled == pytest.approx(filled)
    assert end.left == 0.0
    expected = cost / (end.parent * end.arrival_price) * 1e4
    assert end.shortfall_bps == pytest.approx(expected, abs=1e-9)
    assert sum(rewards) == pytest.approx(-end.shortfall_bps, abs=1e-9)
    assert end.average_price == pytest.approx(
        sum(float((t["price"] * t["size"]).sum()) for t in (x.trades_of(task._agent) for x in tapes))
        / (filled * 10_000)
    )


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_crossing_at_once_without_delay_costs_what_the_displayed_book_says(side):
    population = BTC.replace(loss=0.0)
    settings = ExecutionSettings(population=population, side=side, slices=1, latency_mu=-10.0)
    task = ExecutionTask(settings)
    progress = task.begin(np.random.default_rng(7))
    lots, cost = round(progress.parent * 1000), 0.0
    for price, size in task._guests.levels(-1 if side == "buy" else 1):
        taken = min(lots, size)
        paid = price / 10 * taken / 1000
        sign = 1 if side == "buy" else -1
        cost += sign * (paid - progress.arrival_price * taken / 1000) + paid * BTC.instrument.taker_fee
        lots -= taken
    assert lots == 0
    reward, end = task.step(CROSS)
    assert end.finished
    assert reward == pytest.approx(-cost / (end.parent * end.arrival_price) * 1e4, abs=1e-9)


def test_what_rests_pays_the_makers_fee_only():
    instrument = msgspec.structs.replace(BTC.instrument, maker_fee=0.0002, taker_fee=0.05)
    task = ExecutionTask(replace(SHORT, population=BTC.replace(instrument=instrument)))
    progress = task.begin(np.random.default_rng(3))
    for _ in range(15):  # the horizon, with its crossing, is at 20
        if not progress.finished:
            _, progress = task.step(IMPROVE if progress.action_mask[IMPROVE] else join(progress))
    assert progress.filled > 0.0
    assert progress.fees == pytest.approx(progress.filled * progress.average_price * 0.0002)


@pytest.mark.parametrize(("field", "expected"), [("time_penalty", 6.0), ("inventory_penalty", 6.0)])
def test_holding_back_everything_costs_the_penalty_once(field, expected):
    settings = replace(SHORT, **{field: expected})
    rewards, _, progresses = play(ExecutionTask(settings), np.random.default_rng(2), lambda _: WAIT)
    assert len(rewards) == 20
    # The last of twenty steps ends with nothing left.
    assert sum(rewards) == pytest.approx(-progresses[-1].shortfall_bps - expected * 19 / 20, abs=1e-9)


# ---------------------------------------------------------------------- orders


@pytest.mark.parametrize("seed", range(12))
def test_it_never_trades_more_than_the_parent_whatever_is_lost(seed):
    population = BTC.replace(loss=0.3, latency_sigma=2.5, limit_rate=60.0)
    settings = ExecutionSettings(
        population=population,
        horizon_s=15.0,
        step_s=0.3,
        slices=1 + seed % 4,
        size_usd=30_000.0 + 1e5 * (seed % 3),
    )
    task = ExecutionTask(settings)
    _, seen, progresses = play(task, np.random.default_rng(seed), at_random(seed))
    filled = [p.filled for p in progresses]
    assert all(a <= b for a, b in itertools.pairwise(filled))
    assert filled[-1] <= progresses[-1].parent
    assert progresses[-1].left == pytest.approx(progresses[-1].parent - filled[-1])
    accounts = task._guests.run(1).accounts
    assert accounts["inventory"].sum() == accounts["cash"].sum() == 0
    for observation in seen:
        assert observation.dtype == np.float32
        assert np.abs(observation).max() <= 1.0


def test_an_action_that_is_masked_waits():
    """Two episodes of a seed, one asks for what is masked, the other waits: they stay the same."""
    asked = set()
    for seed in range(4):
        one, other = ExecutionTask(SHORT), ExecutionTask(SHORT)
        p, _ = one.begin(np.random.default_rng(seed)), other.begin(np.random.default_rng(seed))
        turn = 0
        while not p.finished:
            masked = np.flatnonzero(p.action_mask == 0)
            turn += 1
            if len(masked) and turn % 2:
                a = int(masked[turn % len(masked)])
                asked.add(a)
                (x, p), (y, _) = one.step(a), other.step(WAIT)
            else:
                a = int(np.flatnonzero(p.action_mask)[turn % p.action_mask.sum()])
                (x, p), (y, _) = one.step(a), other.step(a)
            assert x == y
            np.testing.assert_array_equal(one.observation, other.observation)
    assert asked >= {JOIN, CANCEL}


def test_each_action_does_what_it_is_called():
    population = BTC.replace(loss=0.0, latency_sigma=0.0, market_rate=0.0, executors=0, informed_agents=0)
    population = population.replace(momentum_agents=0, reversion_agents=0, makers=0)
    settings = ExecutionSettings(
        population=population, side="buy", step_s=0.05, features=("spread_bps",), latency_mu=0.0
    )
    task = ExecutionTask(settings)
    progress = task.begin(np.random.default_rng(0))
    assert progress.action_mask[[WAIT, CROSS, JOIN, CANCEL]].tolist() == [1, 1, 1, 0]

    bid, _ = task._guests.best
    _, progress = task.step(JOIN)
    assert task._working_price == bid
    assert task._open_lots() == math.ceil(round(progress.parent * 1000) / 10)
    assert progress.action_mask[CANCEL] == 1
    assert progress.filled == 0.0

    _, progress = task.step(CANCEL)
    assert task._open_lots() == 0
    assert progress.action_mask[CANCEL] == 0

    bid, ask = task._guests.best
    assert ask - bid > 1
    _, progress = task.step(IMPROVE)
    assert task._working_price == bid + 1
    assert task._guests.best[0] >= bid + 1
    if task._guests.best[0] == bid + 1:
        assert progress.action_mask[[JOIN, IMPROVE]].tolist() == [0, 0]  # alone at the best price

    _, progress = task.step(CROSS)
    assert task._open_lots() == 0
    assert progress.filled == pytest.approx(math.ceil(progress.parent * 100) / 1000)


def test_when_time_is_over_what_is_left_crosses():
    rewards, _, progresses = play(ExecutionTask(SHORT), np.random.default_rng(1), lambda _: WAIT)
    assert len(rewards) == 20
    assert [p.filled for p in progresses[:-1]] == [0.0] * 20
    end = progresses[-1]
    assert (end.finished, end.halted, end.left, end.time_left) == (True, False, 0.0, 0.0)
    assert end.action_mask.tolist() == [1, 0, 0, 0, 0]


def test_the_last_step_is_as_long_as_the_time_that_is_left():
    settings = replace(SHORT, horizon_s=1.25, step_s=0.5)
    rewards, seen, progresses = play(ExecutionTask(settings), np.random.default_rng(1), lambda _: WAIT)
    assert len(rewards) == 3
    assert [p.time_left for p in progresses] == pytest.approx([1.0, 0.6, 0.2, 0.0])
    at = len(settings.features) + 1
    assert [float(s[at]) for s in seen] == pytest.approx([1.0, 0.6, 0.2, 0.0])


def test_a_market_with_an_empty_side_truncates_the_episode_and_charges_the_rest_at_the_touch():
    # A deep order clears one side; the others come so seldom that it stays empty.
    population = BTC.replace(
        makers=0, executors=0, informed_agents=0, momentum_agents=0, reversion_agents=0,
        limit_rate=0.3, limit_lifetime_s=600.0, market_rate=0.01,
    )  # fmt: skip
    settings = ExecutionSettings(
        population=population, side="buy", size_usd=3e6, slices=1, protection_bps=1000.0,
        features=("spread_bps",), horizon_s=600.0,
    )  # fmt: skip
    env = ExecutionEnv(settings)
    _, info = env.reset(seed=5)
    total, truncated = 0.0, False
    for _ in range(600):
        _, reward, terminated, truncated, info = env.step(CROSS)
        total += reward
        if terminated or truncated:
            break
    assert truncated
    assert not terminated
    assert info["left"] > 0.0
    assert total == pytest.approx(-info["shortfall_bps"], abs=1e-6)
    bare = (info["average_price"] / info["arrival_price"] - 1.0) * 1e4 * info["filled"] / info["parent"]
    assert info["shortfall_bps"] > bare  # the rest is charged too
    with pytest.raises(RuntimeError, match="call begin first"):
        env.step(CROSS)


def test_no_order_is_smaller_than_the_venue_takes(monkeypatch):
    """Slices are raised to the smallest order, and a rest below it goes with the last one."""
    instrument = msgspec.structs.replace(BTC.instrument, min_qty=0.05, min_notional=4000.0)
    population = BTC.replace(instrument=instrument)
    sizes = []
    order = Guests.order

    def noting(self, agent, side, price, size, time_in_force):
        sizes.append((price, size))
        return order(self, agent, side, price, size, time_in_force)

    monkeypatch.setattr(Guests, "order", noting)
    settings = ExecutionSettings(population=population, slices=40, size_usd=50_000.0, horizon_s=30.0)
    for seed in range(3):
        _, _, progresses = play(ExecutionTask(settings), np.random.default_rng(seed), at_random(seed))
        assert progresses[-1].finished
    assert len(sizes) > 10
    assert all(size >= 50 and price * 0.1 * size * 0.001 >= 4000.0 * 0.99 for price, size in sizes)
    assert min(size for _, size in sizes) < 75  # 0.05 BTC is worth 3,000: the notional decides, at 67 lots


def test_what_would_be_too_small_to_send_goes_with_the_last_slice():
    instrument = msgspec.structs.replace(BTC.instrument, min_qty=0.05)
    population = BTC.replace(instrument=instrument, loss=0.0)
    settings = ExecutionSettings(population=population, size_usd=7_300.0, slices=10)  # 0.12 BTC and a little
    task = ExecutionTask(settings)
    _, _, progresses = play(task, np.random.default_rng(1), lambda _: CROSS)
    assert 0.10 < progresses[0].parent < 0.15
    assert [p.filled for p in progresses] == [0.0, 0.05, progresses[0].parent]


def test_a_rest_too_small_to_send_is_charged_at_the_touch():
    instrument = msgspec.structs.replace(BTC.instrument, min_qty=0.1)
    settings = replace(SHORT, population=BTC.replace(instrument=instrument), slices=2, size_usd=20_000.0)
    left = []
    for seed in range(40):
        task = ExecutionTask(settings)
        _, _, progresses = play(task, np.random.default_rng(seed), at_random(seed))
        end = progresses[-1]
        left.append(end.left)
        if end.left:
            side = 1 if end.side == "buy" else -1
            bid, ask = task._touch()
            closing = (ask if side > 0 else bid) / 10
            fills = side * (end.average_price - end.arrival_price) * end.filled + end.fees
            rest = (side * (closing - end.arrival_price) + closing * 0.0001) * end.left
            expected = (fills + rest) / (end.parent * end.arrival_price) * 1e4
            assert end.shortfall_bps == pytest.approx(expected, abs=1e-6)
            break
    assert 0.0 < left[-1] < 0.1


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_usd", math.nan),
        ("size_usd", -1.0),
        ("horizon_s", 0.0),
        ("step_s", 61.0),
        ("step_s", 0.0),
        ("slices", 0),
        ("slices", 1.5),
        ("protection_bps", math.inf),
        ("inventory_penalty", -1.0),
        ("time_penalty", math.nan),
        ("side", "both"),
        ("features", ()),
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: "):
        ExecutionSettings(**{field: value})


def test_what_cannot_be_executed_is_refused():
    with pytest.raises(FeatureError, match="pressur"):
        ExecutionSettings(features=("pressur",))
    with pytest.raises(KeyError, match=r"no simulated market 'X'"):
        ExecutionSettings(instrument_id="X")
    small = ExecutionTask(replace(SHORT, size_usd=30.0))
    with pytest.raises(ValueError, match=r"size_usd: 30.0 is 0 lots of 0.001 BTC, less than the smallest"):
        small.begin(np.random.default_rng(1))
    task = ExecutionTask(SHORT)
    with pytest.raises(RuntimeError, match="call begin first"):
        task.step(WAIT)
    task.begin(np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"action: 5 is outside \[0, 4\]"):
        task.step(5)
    with pytest.raises(ValueError, match="latency_mu: 99"):
        ExecutionTask(replace(SHORT, latency_mu=99.0)).begin(np.random.default_rng(1))


def test_a_market_that_never_shows_a_book_is_refused():
    nobody = BTC.replace(
        makers=0, executors=0, informed_agents=0, momentum_agents=0, reversion_agents=0,
        limit_rate=0.0, market_rate=0.0,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="no warm, two-sided book"):
        ExecutionTask(replace(SHORT, population=nobody)).begin(np.random.default_rng(1))


# ---------------------------------------------------------------------- baselines


def test_twap_keeps_to_its_schedule():
    settings = ExecutionSettings(population=BTC.replace(loss=0.0), slices=10, horizon_s=20.0)
    _, _, progresses = play(ExecutionTask(settings), np.random.default_rng(4), twap(10))
    filled = [p.filled / p.parent for p in progresses]
    # A slice every two of twenty seconds, the first one at once; lots make the slices a little unequal.
    assert filled[1:] == pytest.approx(
        [min((n // 2 + 1) / 10, 1.0) for n in range(len(filled) - 1)], abs=0.012
    )


def test_baselines_are_measured_on_the_same_markets_and_the_error_is_that_of_the_mean():
    costs = {name: summarise(b, SHORT, range(12)) for name, b in BASELINES.items()}
    assert {c.seeds for c in costs.values()} == {12}
    assert costs["cross-at-once"].steps < costs["join-only"].steps < costs["twap"].steps
    # Crossing pays half the spread, the depth and the fee; it is sure of it.
    assert costs["cross-at-once"].mean > 1.0
    assert costs["cross-at-once"].deviation < costs["twap"].deviation
    shortfall, ends, _ = evaluate(join, SHORT, range(12))
    assert costs["join-only"].mean == pytest.approx(shortfall.mean())
    assert costs["join-only"].standard_error == pytest.approx(shortfall.std(ddof=1) / math.sqrt(12))
    _, others, _ = evaluate(twap(10), SHORT, range(12))
    assert [e.arrival_price for e in ends] == [e.arrival_price for e in others]
    sides = [evaluate(join, SHORT, range(12), side=side)[0] for side in ("buy", "sell")]
    both = summarise(BASELINES["join-only"], SHORT, range(12), both_sides=True)
    assert both.mean == pytest.approx(np.mean(sides))
    assert both.standard_error == pytest.approx(np.mean(sides, axis=0).std(ddof=1) / math.sqrt(12))
    with pytest.raises(ValueError, match="seeds: give at least one"):
        summarise(BASELINES["twap"], SHORT, [])


def test_a_trader_who_only_waits_leaves_the_market_alone(tapes):
    task = ExecutionTask(replace(SHORT, horizon_s=60.0))
    task.begin(np.random.default_rng(6))
    for _ in range(20):
        task.step(WAIT)
    seed = int(np.random.default_rng(6).integers(1 << 63))
    market = Market(BTC, seed)
    whole = market.run(task._guests.market.now_ns - market.now_ns)
    events = np.concatenate([tape.events for tape in tapes])
    assert (events == whole.events).all()


# ---------------------------------------------------------------------- the command and the page


def test_the_command_prints_what_the_baselines_cost():
    shown = CliRunner().invoke(command, ["--markets", "3", "--horizon", "5", "--seed", "2", "--json"])
    assert shown.exit_code == 0, shown.output
    lines = [json.loads(line) for line in shown.output.splitlines()]
    assert [line["schedule"] for line in lines] == list(BASELINES)
    expected = summarise(
        BASELINES["join-only"], ExecutionSettings(horizon_s=5.0), range(2, 5), both_sides=True
    )
    assert lines[2]["mean_bps"] == expected.mean
    assert lines[2]["standard_error_bps"] == expected.standard_error
    table = CliRunner().invoke(command, ["--markets", "2", "--horizon", "5", "--side", "buy"])
    assert table.exit_code == 0, table.output
    assert all(name in table.output for name in BASELINES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size-usd", "30"], "size_usd: 30.0 is 0 lots"),
        (["--step", "100"], "step_s: 100.0 is outside [0.05, 60]"),
        (["--market", "X"], "no simulated market 'X'"),
    ],
)
def test_the_command_says_what_it_cannot_execute(arguments, words):
    shown = CliRunner().invoke(command, [*arguments, "--markets", "1"])
    assert shown.exit_code == 1
    assert words in shown.output


def test_the_page_says_what_the_baselines_cost(root):
    page = (root / "docs" / "execution.md").read_text(encoding="utf-8")
    rows = {c[0].strip(): c[1:] for c in (r.strip("|").split("|") for r in page.splitlines() if r[:1] == "|")}
    assert set(BASELINES) <= set(rows)
    cost = summarise(BASELINES["cross-at-once"], ExecutionSettings(), range(100), both_sides=True)
    figures = [float(cell) for cell in rows["cross-at-once"][1:5]]
    expected = [cost.mean, cost.standard_error, cost.deviation, cost.steps]
    assert figures == pytest.approx(expected, abs=0.0051)


def test_the_example_of_the_page_runs_as_written(root, capsys):
    page = (root / "docs" / "execution.md").read_text(encoding="utf-8")
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], {})
    assert math.isfinite(float(capsys.readouterr().out))
