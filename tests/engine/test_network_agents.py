"""Agents on a network that loses things: nothing is left without an owner, and every fill is booked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.engine_case import BTC, eager_genome, scripted, wandering_market
from support.network_case import books, network, run, story

from apex_nautilus.data import write_events
from apex_nautilus.engine import (
    Delay,
    FeedLink,
    NetworkConfig,
    Phase,
    load_config,
    run_backtest,
    summary,
)
from apex_nautilus.genome import encode
from apex_nautilus.sim.latency import CANCEL

LONG = (0, 1, 0.5, 60030.0, 59990.0, 60_000)


GENOME = eager_genome(max_hold_s=1.0)


def test_a_lost_entry_is_sent_again_while_it_is_wanted(tmp_path):
    agent = scripted("001", [LONG])
    net = network({0: True, 1: True, 2: False, 3: False, 4: False}, {})
    run(tmp_path, books((0, 60000.0, 60000.1), (500, 60040.0, 60040.1)), [agent], net)
    assert [(role, ms) for role, ms, *_ in story(agent)] == [("entry", 200.992), ("take_profit", 500)]
    assert (agent.timeouts, agent.refusals, len(agent.trades)) == (2, 0, 1)


def test_an_entry_is_given_up_after_its_retries(tmp_path):
    agent = scripted("001", [LONG, (100, *LONG[1:])])
    net = network({0: True, 1: True, 2: True, 3: False, 4: False, 5: False}, {})
    run(tmp_path, books((0, 60000.0, 60000.1)), [agent], net)
    # The second entry of the script is another purpose, and starts anew.
    assert [(role, ms) for role, ms, *_ in story(agent)] == [("entry", 1000.992)]
    assert agent.timeouts == 3


def test_an_entry_whose_bracket_the_market_has_left_is_not_sent_again(tmp_path):
    agent = scripted("001", [LONG])
    net = network({0: True, 1: False}, {})
    _, working, positions = run(tmp_path, books((0, 60000.0, 60000.1), (50, 59980.0, 59980.1)), [agent], net)
    assert (agent.fills, working, positions, agent.phase) == ([], [], [], Phase.IDLE)


@pytest.mark.parametrize(("lost", "role"), [(1, "stop"), (2, "take_profit")])
def test_a_lost_leg_is_sent_again_until_it_stands(lost, role, tmp_path):
    agent = scripted("001", [LONG])
    net = network({0: False, 1: lost == 1, 2: lost == 2, 3: True, 4: False, 5: False}, {5: CANCEL})
    move = (500, 59980.0, 59980.1) if role == "stop" else (500, 60040.0, 60040.1)
    run(tmp_path, books((0, 60000.0, 60000.1), move), [agent], net)
    assert [(r, ms) for r, ms, *_ in story(agent)] == [("entry", 0.992), (role, 500)]
    assert agent.timeouts == 2


def test_a_lost_stop_that_is_passed_meanwhile_closes_the_position(tmp_path):
    agent = scripted("001", [LONG])
    net = network({0: False, 1: True, 2: False, 3: False, 4: False, 5: False}, {4: CANCEL})
    events = books((0, 60000.0, 60000.1), (60, 59980.0, 59980.1))
    _, working, positions = run(tmp_path, events, [agent], net)
    assert [r for r, *_ in story(agent)] == ["entry", "exit"]
    assert agent.trades[0].exit_kind == "stop"
    assert (working, positions) == ([], [])


def test_a_lost_exit_is_sent_again_until_the_agent_is_flat(tmp_path):
    agent = scripted("001", [(*LONG[:5], 200)])
    # entry, stop, profit; the holding time ends: two cancellations; then exits, of which three are lost
    lost = {0: False, 1: False, 2: False, 3: False, 4: False, 5: True, 6: True, 7: True, 8: False}
    net = network(lost, {3: CANCEL, 4: CANCEL})
    _, working, positions = run(tmp_path, books((0, 60000.0, 60000.1)), [agent], net)
    (entry, leave) = story(agent)
    assert (entry[0], leave[0], leave[3]) == ("entry", "exit", 0.0)
    assert leave[1] == pytest.approx(210 + 0.992 * 2 + 300, abs=0.01)
    assert (working, positions, agent.timeouts) == ([], [], 3)


def test_a_lost_cancellation_followed_by_a_fill_is_booked_and_closed(tmp_path):
    agent = scripted("001", [LONG])
    # The take-profit is filled; the stop's cancellation is lost, and the market falls through the stop.
    net = network({0: False, 1: False, 2: False, 3: True, 4: False}, {3: CANCEL})
    events = books((0, 60000.0, 60000.1), (300, 60040.0, 60040.1), (350, 59980.0, 59980.1))
    auditor, working, positions = run(tmp_path, events, [agent], net)
    assert [r for r, *_ in story(agent)] == ["entry", "take_profit", "stop", "exit"]
    assert [t.exit_kind for t in agent.trades] == ["take_profit", "overfilled"]
    assert agent.trades[1].side == -1
    assert (working, positions, auditor.differences) == ([], [], [])
    assert agent.account.position == 0.0


def test_a_lost_cancellation_is_repeated_until_the_order_is_gone(tmp_path):
    agent = scripted("001", [LONG])
    # The take-profit is filled at 300 ms; the stop's cancellation is lost twice.
    net = network(
        {0: False, 1: False, 2: False, 3: True, 4: True, 5: False}, {3: CANCEL, 4: CANCEL, 5: CANCEL}
    )
    events = books((0, 60000.0, 60000.1), (300, 60040.0, 60040.1), (600, 59980.0, 59980.1))
    _, working, positions = run(tmp_path, events, [agent], net)
    assert [r for r, *_ in story(agent)] == ["entry", "take_profit"]
    assert (working, positions, agent.timeouts, agent.is_flat) == ([], [], 2, True)


def test_a_leg_that_is_still_on_its_way_is_cancelled_when_the_other_is_filled(tmp_path):
    agent = scripted("001", [LONG])
    slow = {"insert": Delay(mu=10.0, sigma=0.0)}  # 22 ms; the venue takes both legs at 44 ms
    net = network({0: False, 1: False, 2: True, 3: False, 4: False}, {3: CANCEL}, **slow)
    # The lost take-profit is repeated at 122 ms and under way until 144 ms; the stop is hit at 130 ms. At the
    # next book but one it would be filled, had it not been cancelled on its way.
    events = books((0, 60000.0, 60000.1), (130, 59980.0, 59980.1), (150, 60050.0, 60050.1))
    auditor, working, positions = run(tmp_path, events, [agent], net)
    assert [r for r, *_ in story(agent)] == ["entry", "stop"]
    assert (working, positions, auditor.differences) == ([], [], [])


@pytest.mark.parametrize("fills", ["touch", "queue", "nautilus"])
@pytest.mark.parametrize("loss", [0.05, 0.4])
def test_with_everything_on_no_position_is_without_an_owner_and_a_run_repeats(fills, loss, tmp_path):
    events = wandering_market(11, 700, step=15)

    def agents():
        rng = np.random.default_rng(2)
        made = []
        for slot in ("001", "002", "003"):
            entries = []
            for row in range(2, 640, 6):
                side = int(rng.choice([-1, 1]))
                reach = float(rng.integers(10, 120)) / 10
                entries.append(
                    (row, side, 0.4, 60000.0 + side * 300.0, 60000.0 - side * 300.0, int(reach * 100))
                )
            made.append(scripted(slot, entries, retire_at=600))
        return made

    net = NetworkConfig(
        seed=21,
        loss=loss,
        timeout_ms=120.0,
        feed=FeedLink(loss=loss / 2),
        burst_coupling=0.5,
        burst_rate=50.0,
    )
    runs = []
    for _ in range(2):
        team = agents()
        auditor, working, positions = run(tmp_path, events, team, net, fills=fills)
        assert auditor.marks > 150
        assert auditor.differences == []
        assert all(a.phase is Phase.IDLE and a.is_flat for a in team)
        assert (working, positions) == ([], [])
        runs.append([(f.ts_ns, f.role, f.price, f.quantity, f.fee, f.balance) for a in team for f in a.fills])
        assert sum(a.timeouts for a in team) > 10
        assert sum(len(a.trades) for a in team) >= 40
    assert runs[0] == runs[1]


def test_genomes_run_late_and_their_profits_add_up_to_the_accounts_change(tmp_path):
    """The whole path of a configuration file, with a genome that trades at nearly every book."""
    write_events(tmp_path / "market", BTC, wandering_market(4, 1500))
    (tmp_path / "genome.json").write_bytes(encode(GENOME))
    agents = [
        {"slot": slot, "instrument_id": BTC.id, "genome": "genome.json", "legs": legs, "capital": 20_000.0}
        for slot, legs in (("a", "native"), ("b", "emulated"))
    ]
    results = {}
    for name, more in {
        "prompt": {},
        "late": {"network": {"seed": 1, "loss": 0.05, "timeout_ms": 100.0, "feed": {"mu": 9.0}}},
    }.items():
        text = {"schema": "apex.backtest/1", "name": name, "catalog": "market", "agents": agents, **more}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**text, "venue": {"fills": "queue"}}))
        results[name] = [run_backtest(load_config(path), write=False) for _ in range(2)]
    for first, second in results.values():
        assert first.account_change == pytest.approx(
            sum(a.balance - a.capital for a in first.agents), abs=0.005
        )
        assert [a.fills for a in first.agents] == [a.fills for a in second.agents]
        assert all(len(a.trades) > 30 for a in first.agents)
    prompt, late = results["prompt"][0], results["late"][0]
    assert [a.timeouts for a in prompt.agents] == [0, 0]
    assert all(a["timeouts"] > 0 for a in summary(late)["agents"])
    books = set(wandering_market(4, 1500)["ts_init_ns"].tolist())
    entries = {
        r[0].run_id: [f.ts_ns for f in r[0].agents[0].fills if f.role == "entry"] for r in results.values()
    }
    assert all(ts in books for ts in entries["prompt"])
    assert not any(ts in books for ts in entries["late"])
    assert [a.equity for a in late.agents] != [a.equity for a in prompt.agents]


def test_the_shipped_configuration_has_a_network_and_queues(root):
    config = load_config(root / "configs" / "backtest" / "network.json")
    assert config.network == NetworkConfig(seed=1)
    assert config.venue.fills == "queue"
