"""Python around the simulator: the execution environment in steps a second, and hand-written agents.

The environments of this field (ABIDES-Gym, mbt-gym) are not on the package index. The peer is the nearest
that is: bourse's stepping environment with its own random agents, as many messages a step as our market has.
It draws its orders in numpy and matches them in Rust in one batch; it has no latency, no accounts, no tape,
no features, no reward and no trader, all of which ours computes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from apex_nautilus.sim import Simulation, profile
from apex_nautilus.sim.api import Cancel, Order
from apex_nautilus.sim.execution import JOIN, WAIT, ExecutionSettings
from apex_nautilus.sim.execution_env import ExecutionEnv

from .harness import MissingPeer, Row, Timed, alternate, compare, missing_row, peer_version, require_peer

__all__ = ["run"]

_SETTINGS = ExecutionSettings(horizon_s=3600.0, step_s=1.0, size_usd=200_000.0, slices=100)


class _Ours:
    """Steps of one long episode, which begins anew when it ends."""

    def __init__(self, action: int) -> None:
        self.env = ExecutionEnv(_SETTINGS)
        self.action = action
        self.seed = 0
        self.resets = 0
        self.reset()

    def reset(self) -> None:
        self.env.reset(seed=self.seed)
        self.seed += 1
        self.resets += 1

    def messages_a_step(self) -> float:
        """Messages to the venue in a step of the market."""
        market = self.env.task._guests.market
        before = market.run(1).stats.messages
        steps = 200
        after = market.run(steps * 1_000_000_000).stats.messages
        self.reset()
        return (after - before) / steps

    def __call__(self, steps: int) -> None:
        for _ in range(steps):
            _, _, terminated, truncated, _ = self.env.step(self.action)
            if terminated or truncated:
                self.reset()


def _bourse(messages: int, steps: int) -> None:
    core = require_peer("bourse.core")
    agents = require_peer("bourse.step_sim.agents")
    env = core.StepEnvNumpy(1, 0, 1, 1_000_000_000)
    crowd = agents.NumpyRandomAgents(messages, (90, 111), (1, 50), 1)
    random = np.random.default_rng(1)
    for _ in range(steps):
        env.submit_instructions(crowd.update(random, env.level_2_data()))
        env.step()


class _Quoter:
    """Renews a quote on either side every tick."""

    id = 1

    def __init__(self) -> None:
        self.next = 0

    def on_tick(self, state) -> list:
        if state.mid is None:
            return []
        cancels = [Cancel(1, n) for n in (self.next - 2, self.next - 1) if n >= 0]
        self.next += 2
        bid = Order(1, round(state.best_bid - 1.0, 1), 0.01, True, id=self.next - 2)
        ask = Order(1, round(state.best_ask + 1.0, 1), 0.01, False, id=self.next - 1)
        return [*cancels, bid, ask]


def run(quick: bool) -> Iterator[Row]:
    steps = 1_000 if quick else 10_000
    for name, action in (("waiting", WAIT), ("joining the best price", JOIN)):
        ours = _Ours(action)
        messages = round(ours.messages_a_step())
        title = f"execution environment, a step of one second, {name}"
        try:
            require_peer("bourse")
        except MissingPeer as error:
            yield missing_row(title, "steps/s", "bourse", "", str(error))
            continue
        yield compare(
            title,
            lambda o=ours: o(steps),
            lambda n=messages: _bourse(n, steps),
            work=steps,
            unit="steps/s",
            peer=f"{peer_version('bourse')} StepEnvNumpy with random agents (book alone)",
            goal_ratio=None,
            same_work=f"{messages} messages a step from the market on both sides",
        )
    ours = _Ours(WAIT)
    begins = 20 if quick else 200

    def reset() -> None:
        for _ in range(begins):
            ours.reset()

    (timed,) = alternate(reset)
    yield _alone("execution environment, reset (a market of 131 s)", "resets/s", begins, timed)

    simulation = Simulation(population=profile("BTCUSDT-LINEAR.SIM"), seed=1, strict=True)
    simulation.add_agent(_Quoter())
    ticks = 300 if quick else 3_000
    (timed,) = alternate(lambda: simulation.run(ticks))
    yield _alone("hand-written market maker in a simulated market, ticks of 100 ms", "ticks/s", ticks, timed)


def _alone(name: str, unit: str, work: float, timed: Timed) -> Row:
    return Row(name, unit, work / timed.median, "none", None, None, "", None, "no peer", 5, timed.spread)
