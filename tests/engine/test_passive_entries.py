"""Entries that rest: filled, followed, crossed, given up; what is lost on the way, and what is never exceeded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nautilus_trader.model.identifiers import InstrumentId
from support.engine_case import (
    BTC,
    MS,
    START,
    Scripted,
    ScriptedConfig,
    book_events,
    run_agents,
    touch_books,
    wandering_market,
)
from support.network_case import books, network, run, story

from apex_nautilus.engine import FeedLink, NetworkConfig, Phase
from apex_nautilus.features import EVENT, KIND_TRADE
from apex_nautilus.risk import entry_policy, register_entry_policy
from apex_nautilus.risk.entry_policy import _FACTORIES, CANCEL, CHOICES, CROSS, IMPROVE, JOIN, WAIT
from apex_nautilus.sim.latency import CANCEL as A_CANCEL

LONG = (0, 1, 0.5, 60030.0, 59990.0, 60_000)  # row 0, buy 0.5, take-profit, stop, holding time in ms
SHORT = (0, -1, 0.5, 59970.0, 60010.0, 60_000)


class RestingConfig(ScriptedConfig, frozen=True, kw_only=True):
    """`unwanted_from`: the row from which on no entry is wanted; `leave_at`: at which to close."""

    execution: str = "passive"
    unwanted_from: int = 10**9
    leave_at: int = -1


class Resting(Scripted):
    """A scripted agent whose entries rest; remembers what each asked for."""

    def __init__(self, config: RestingConfig) -> None:
        super().__init__(config)
        self.execution = config.execution
        self.asked: list[tuple[int, float]] = []  # fills before it, quantity

    def wants_entry(self, side: int) -> bool:
        # Counted before the path of a row's book is walked, and again when the row is there.
        return self.rows <= self.config.unwanted_from

    def enter(self, side, quantity, *args, **kwargs) -> bool:
        self.asked.append((len(self.fills), quantity))
        begun = super().enter(side, quantity, *args, **kwargs)
        if not begun:
            self.asked.pop()
        return begun

    def on_feed_row(self, feed) -> None:
        if self.rows == self.config.leave_at:
            self.close("told")
        super().on_feed_row(feed)
        self.reconsider_entry()

    def entered(self) -> list[tuple[float, float]]:
        """Of each entry: base units asked for, and had."""
        ends = [first for first, _ in self.asked[1:]] + [len(self.fills)]
        return [
            (asked, sum(f.quantity for f in self.fills[first:end] if f.role == "entry"))
            for (first, asked), end in zip(self.asked, ends, strict=True)
        ]


def resting(slot: str, entries: list, **changes) -> Resting:
    return Resting(
        RestingConfig(
            instrument_id=InstrumentId.from_str(BTC.id), slot=slot, order_id_tag=slot,
            entries=tuple(entries), log_events=False, log_commands=False, **changes,
        )
    )  # fmt: skip


def fills_of(agent):
    return [(f.role, (f.ts_ns - START) // MS, f.price, f.quantity, f.maker) for f in agent.fills]


@pytest.fixture
def registry():
    before = dict(_FACTORIES)
    yield
    _FACTORIES.clear()
    _FACTORIES.update(before)


def policy(choose):
    """A policy out of a function."""
    return type("Policy", (), {"choose": staticmethod(choose)})()


CASES = {
    "the opposite touch reaches the order: filled as a maker, at its price": (
        LONG, {},
        [(0, 60000.0, 60000.1), (10, 60000.5, 60000.6), (20, 59999.9, 60000.0), (30, 60030.0, 60030.1)],
        [("entry", 20, 60000.0, True), ("take_profit", 30, 60030.0, True)],
        "rested",
    ),
    "a short rests at the ask": (
        SHORT, {},
        [(0, 60000.0, 60000.1), (10, 60000.0, 60000.2), (20, 60000.1, 60000.2), (30, 60010.0, 60010.1)],
        [("entry", 20, 60000.1, True), ("stop", 30, 60010.1, False)],
        "rested",
    ),
    "the touch moves away: the order follows when its time has come, not before": (
        LONG, {"reprice_s": 0.02},
        [(0, 60000.0, 60000.1), (10, 60001.0, 60001.1), (19, 60002.0, 60002.1), (20, 60003.0, 60003.1),
         (30, 60002.9, 60003.0), (40, 60030.0, 60030.1)],
        [("entry", 30, 60003.0, True), ("take_profit", 40, 60030.0, True)],
        "rested",
    ),
    "the touch falls back: the order stays, and is the best bid": (
        LONG, {"reprice_s": 0.02},
        [(0, 60000.0, 60000.2), (10, 59999.0, 60000.2), (30, 59999.0, 60000.1), (40, 59998.0, 60000.0),
         (50, 60030.0, 60030.1)],
        [("entry", 40, 60000.0, True), ("take_profit", 50, 60030.0, True)],
        "rested",
    ),
    "patience is over: what is missing crosses, as a taker": (
        LONG, {"patience_s": 0.03},
        [(0, 60000.0, 60000.1), (29, 60001.0, 60001.1), (30, 60002.0, 60002.1), (40, 60030.0, 60030.1)],
        [("entry", 30, 60002.1, False), ("take_profit", 40, 60030.0, True)],
        "crossed",
    ),
    "the signal goes: the order is taken back at that row": (
        LONG, {"unwanted_from": 2},
        [(0, 60000.0, 60000.1), (10, 60000.0, 60000.2), (20, 60000.0, 60000.1), (30, 59999.9, 60000.0)],
        [],
        "given_up",
    ),
    "a fill at the book of the row at which the signal goes is a position": (
        LONG, {"unwanted_from": 2},
        [(0, 60000.0, 60000.1), (10, 60000.0, 60000.2), (20, 59999.9, 60000.0), (30, 60030.0, 60030.1)],
        [("entry", 20, 60000.0, True), ("take_profit", 30, 60030.0, True)],
        "rested",
    ),
    "a fill beyond the stop is closed on the same book": (
        LONG, {},
        [(0, 60000.0, 60000.1), (10, 59980.0, 59980.1), (20, 59980.0, 59980.2)],
        [("entry", 10, 60000.0, True), ("exit", 10, 59980.0, False)],  # the venue refuses the stop
        "rested",
    ),
    "holding time counts from the fill, not from the decision": (
        (*LONG[:5], 20), {},
        [(0, 60000.0, 60000.1), (30, 59999.9, 60000.0), (49, 60000.5, 60000.6), (50, 60001.0, 60001.1)],
        [("entry", 30, 60000.0, True), ("exit", 50, 60001.0, False)],
        "rested",
    ),
    "emulated: the stop is watched from the book of the fill on": (
        LONG, {"legs": "emulated"},
        [(0, 60000.0, 60000.1), (10, 59999.9, 60000.0), (20, 59990.0, 59990.1)],
        [("entry", 10, 60000.0, True), ("exit", 20, 59990.0, False)],
        "rested",
    ),
    "emulated: a fill beyond the stop is closed on the same book": (
        LONG, {"legs": "emulated"},
        [(0, 60000.0, 60000.1), (10, 59980.0, 59980.1)],
        [("entry", 10, 60000.0, True), ("exit", 10, 59980.0, False)],
        "rested",
    ),
    "told to close while it rests: taken back, and the agent is idle": (
        LONG, {"leave_at": 1},
        [(0, 60000.0, 60000.1), (10, 60000.5, 60000.6), (20, 59999.9, 60000.0)],
        [],
        "given_up",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_entry(case, tmp_path):
    entry, changes, touches, expected, end = case
    agent = resting("a", [entry], **changes)
    change = run_agents(tmp_path, touch_books(touches), [agent])
    assert fills_of(agent) == [(role, ms, price, 0.5, maker) for role, ms, price, maker in expected]
    assert agent.entry_ends == {"rested": 0, "crossed": 0, "given_up": 0} | {end: 1}
    assert agent.is_flat
    fees = sum(price * 0.5 * (0.0002 if maker else 0.0005) for _, _, price, maker in expected)
    assert sum(f.fee for f in agent.fills) == pytest.approx(fees, abs=1e-8)
    assert agent.account.balance - 200.0 == pytest.approx(change, abs=1e-6)
