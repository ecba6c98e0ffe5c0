"""Every verdict made again from the ledger alone, by other arithmetic than the arena's."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats as scipy_stats
from support.arena_case import BTC_ID, arena_config, catalog, doomed, genome, path, simulate

from apex_nautilus.store import read_ledger

SECOND = 1_000_000_000
LIMITS = {
    "drawdown": 0.5,
    "min_trades": 6,
    "window": 10,
    "decay_psr": 0.02,
    "decay_dsr": 0.0,
    "promotion_dsr": 0.01,
}
SLOTS = [f"btc-{k}" for k in range(1, 7)]


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """Two minutes of a rising market: agents die each way, one is promoted."""
    root = tmp_path_factory.mktemp("verdicts")
    champions = {
        "btc-1": genome(side=1.0, hold_s=2.0),
        "btc-2": genome(side=-1.0, hold_s=2.0, p=0.3),
        "btc-3": doomed(),
        "btc-4": genome(side=1.0, hold_s=8.0, stop_bps=80.0),
        "btc-5": doomed(hold_s=2.0, stop_bps=40.0),
        "btc-6": genome(side=-1.0, hold_s=4.0, stop_bps=25.0, leverage=0.254),
    }
    layout = catalog(root, champions=champions, incoming=[genome(side=1.0, p=0.7), doomed(3)])
    prices = {BTC_ID: path(120, bps_per_s=4.0, noise_bps=4.0)}
    config = arena_config(layout, dict.fromkeys(SLOTS, BTC_ID), limits=LIMITS, ledger_mark_s=1.0)
    simulate(config, prices).dispose()
    return read_ledger(layout.ledger_file("arena"))


class Agent:
    """What the lines up to a point say of one agent, reckoned from quantities, prices and fees."""

    def __init__(self, line):
        self.born_ns, self.capital = line.ts_ns, line.fields["capital"]
        self.flow = self.position = 0.0
        self.flat_cash = self.capital
        self.returns: list[float] = []
        self.first_fill_ns = math.inf

    def fill(self, line):
        fields = line.fields
        self.first_fill_ns = min(self.first_fill_ns, line.ts_ns)
        self.flow -= fields["qty"] * fields["price"] + fields["fee"]
        self.position = round(self.position + fields["qty"], 9)
        if self.position == 0.0:
            cash = self.capital + self.flow
            self.returns.append((cash - self.flat_cash) / self.flat_cash)
            self.flat_cash = cash

    def equity(self, touch):
        return self.capital + self.flow + (self.position * touch if self.position else 0.0)

    def is_judged(self, now_ns):
        """At its first fill, or at the first mark after its birth."""
        next_mark = (self.born_ns // SECOND + 1) * SECOND
        return now_ns >= min(next_mark, self.first_fill_ns)


def sharpe(returns):
    values = np.array(returns[-LIMITS["window"] :])
    return float(np.mean(values) / np.std(values)) if np.std(values) > 0.0 else 0.0


def probability(ratio, benchmark, values):
    skew, kurtosis = scipy_stats.skew(values), scipy_stats.kurtosis(values, fisher=False)
    spread = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    return NormalDist().cdf((ratio - benchmark) * math.sqrt(len(values) - 1) / math.sqrt(spread))


def luckiest(variance, n):
    if n < 2:
        return 0.0
    normal, gamma = NormalDist(), 0.5772156649015329
    return math.sqrt(variance) * (
        (1 - gamma) * normal.inv_cdf(1 - 1 / n) + gamma * normal.inv_cdf(1 - 1 / (n * math.e))
    )


def test_every_number_of_every_verdict_follows_from_the_lines_before_it(lines):
    agents: dict[str, Agent] = {}
    kinds = []
    for line in lines:
        fields = line.fields
        if line.kind == "birth":
            agents[fields["agent"]] = Agent(line)
        elif line.kind == "fill":
            agents[fields["agent"]].fill(line)
        elif line.kind == "verdict":
            kinds.append(fields["verdict"])
            agent = agents[fields["agent"]]
            assert fields["position"] == agent.position
            if agent.position == 0.0:
                assert fields["cash"] == pytest.approx(agent.capital + agent.flow, abs=1e-6)
            assert fields["equity"] == pytest.approx(agent.equity(fields["touch"]), abs=1e-6)
            assert fields["trades"] == len(agent.returns)
            judged = [a for name, a in agents.items() if a.is_judged(line.ts_ns) or name == fields["agent"]]
            ratios = [
                sharpe(a.returns) if len(a.returns) >= LIMITS["min_trades"] else 0.0 for a in judged
            ]  # the dead included: nobody is ever taken out of `agents`
            assert fields["trials"] == len(ratios)
            assert fields["trials_variance"] == pytest.approx(np.var(ratios, ddof=1), rel=1e-9)
            if len(agent.returns) < LIMITS["min_trades"]:
                assert fields["sharpe"] is fields["psr"] is fields["dsr"] is None
                psr = dsr = math.nan
            else:
                values = np.array(agent.returns[-LIMITS["window"] :])
                ratio, benchmark = sharpe(agent.returns), luckiest(np.var(ratios, ddof=1), len(ratios))
                psr, dsr = probability(ratio, 0.0, values), probability(ratio, benchmark, values)
                assert fields["judged"] == len(values)
                assert fields["sharpe"] == pytest.approx(ratio, abs=1e-9)
                assert fields["skew"] == pytest.approx(scipy_stats.skew(values), abs=1e-6)
                assert fields["kurtosis"] == pytest.approx(
                    scipy_stats.kurtosis(values, fisher=False), abs=1e-6
                )
                assert fields["benchmark"] == pytest.approx(benchmark, abs=1e-9)
                assert fields["psr"] == pytest.approx(psr, abs=1e-9)
                assert fields["dsr"] == pytest.approx(dsr, abs=1e-9)
            # And the verdict itself, from the numbers and limits on its own line.
            equity = fields["equity"]
            if equity <= 0.0 or equity * fields["max_leverage"] < fields["smallest_notional"]:
                expected = "ruin"
            elif equity < (1.0 - LIMITS["drawdown"]) * fields["capital"]:
                expected = "drawdown"
            elif psr < fields["decay_psr"] or dsr < fields["decay_dsr"]:
                expected = "decay"
            else:
                assert dsr > fields["promotion_dsr"]
                expected = "promote"
            assert fields["verdict"] == expected
    assert set(kinds) == {"ruin", "drawdown", "decay", "promote"}
