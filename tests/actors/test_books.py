"""The arena's money: funding in its ledgers, books made again from the journal, and what a hole does."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.arena_case import (
    BTC_ID,
    ETH_ID,
    START_NS,
    account_cash,
    arena_config,
    catalog,
    controller_of,
    doomed,
    funding,
    genome,
    path,
    simulate,
)

from apex_nautilus.actors import read_result, records
from apex_nautilus.actors.books import Books, rebuild_books
from apex_nautilus.actors.roster import Roster, Slot
from apex_nautilus.actors.watchtower import past_returns
from apex_nautilus.cli.apex_commands.ledger import command
from apex_nautilus.store import CatalogLayout, LedgerError, LedgerRecord, LedgerWriter, read_ledger

SLOTS = {"btc-1": BTC_ID, "btc-2": BTC_ID, "eth-1": ETH_ID}
CONTEST = {"confidence": 0.9, "min_trades": 4, "min_shadow_s": 5.0, "idle_expiry_s": 0.0, "every_s": 5.0}
_S = 10**9


@dataclass
class Snapshot:
    """What the living arena had when its ledger held so many lines."""

    lines: int
    treasury: float
    agents: dict[str, tuple]


@dataclass
class Life:
    """A run of the arena, and what it had at each of its marks."""

    root: Path
    engine: object
    snapshots: list[Snapshot] = field(default_factory=list)


def watch(life: Life):
    """Take a snapshot each time that the arena reconciles."""

    def attach(arena) -> None:
        reconcile, write, count = arena._reconcile, arena._write, itertools.count()
        written = [0]

        def write_and_count(*args, **settings) -> None:
            write(*args, **settings)
            written[0] = next(count) + 1

        def reconcile_and_look(now: int) -> None:
            agents = {
                a.name: (a.account.balance, a.account.position, a.account.funding, tuple(a.returns))
                for a in arena.roster.living()
            }
            life.snapshots.append(Snapshot(written[0], arena.roster.treasury, agents))
            reconcile(now)

        arena._reconcile, arena._write = reconcile_and_look, write_and_count

    return attach


def busy(root: Path, **changes) -> Life:
    """Deaths, a swap, and a settlement of some size every three seconds."""
    layout = catalog(
        root,
        champions={"btc-1": genome(side=-1.0), "btc-2": doomed(), "eth-1": genome(instrument_id=ETH_ID)},
        incoming=[genome(stop_bps=30.0, hold_s=6.0), doomed(3, instrument_id=ETH_ID)],
    )
    life = Life(root, None)
    life.engine = simulate(
        arena_config(layout, SLOTS, contest=CONTEST),
        {i: path(70, bps_per_s=6.0, seed=k) for k, i in enumerate((BTC_ID, ETH_ID))},
        modules=[funding(*((s, 2e-4 * (-1) ** s * (1 + s % 5)) for s in range(3, 70, 3)))],
        before=[watch(life), *changes.get("before", ())],
    )
    return life


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    lived = busy(tmp_path_factory.mktemp("books"))
    yield lived
    lived.engine.dispose()


def lines_of(root: Path) -> list[LedgerRecord]:
    return list(read_ledger(CatalogLayout(root).ledger_file("arena")))


def money(books: Books) -> tuple[float, dict[str, tuple]]:
    return books.treasury, {
        a.name: (a.account.balance, a.account.position, a.account.funding, tuple(a.returns))
        for a in books.living()
    }


# ---- funding in the arena


def test_ledgers_and_account_agree_at_every_mark_with_funding_in_both(life):
    result = read_result(life.root)
    assert result.finish is not None
    paid = [line for line in lines_of(life.root) if line.kind == "funding"]
    assert len(paid) > 20
    assert len(result.deaths) >= 1
    assert len(result.swaps) >= 1
    assert sum(abs(line.fields["amount"]) for line in paid) > 1.0  # far above the cent that is compared
    assert result.mismatches == []
    assert abs(result.finish.account_cash - result.finish.ledger_cash) < 0.005
    assert result.finish.account_cash == pytest.approx(account_cash(life.engine), abs=1e-9)


def test_agents_of_one_instrument_pay_each_by_its_own_position(life):
    """Long and short at once: the sum is what the venue's net position would pay."""
    moments: dict[tuple, list[dict]] = {}
    for line in lines_of(life.root):
        if line.kind == "funding":
            moments.setdefault((line.ts_ns, line.fields["instrument_id"]), []).append(line.fields)
    shared = [f for f in moments.values() if len(f) > 1]
    assert any(min(p["position"] for p in f) < 0.0 < max(p["position"] for p in f) for f in shared)
    for payments in shared:
        assert len({(p["mark"], p["rate"]) for p in payments}) == 1
        net = -sum(p["position"] for p in payments) * payments[0]["mark"] * payments[0]["rate"]
        assert sum(p["amount"] for p in payments) == pytest.approx(net, abs=1e-7)


def test_nautilus_has_realised_the_rest(life):
    """A ledger less its funding is what Nautilus realised for the strategy."""
    for agent in read_result(life.root).agents.values():
        ours = controller_of(life.engine).roster.agents[agent.birth.agent].account
        positions = [
            p
            for p in [*life.engine.cache.positions(), *life.engine.cache.position_snapshots()]
            if p.strategy_id.value == agent.birth.strategy_id
        ]
        realised = sum(p.realized_pnl.as_double() for p in positions if p.realized_pnl is not None)
        assert ours.balance - ours.funding - agent.birth.capital == pytest.approx(realised, abs=0.005)
        told = sum(line.fields["amount"] for line in lines_of(life.root)
                   if line.kind == "funding" and line.fields["agent"] == agent.birth.agent)  # fmt: skip
        assert ours.funding == pytest.approx(told, abs=1e-9)
        if agent.burial is not None:
            assert agent.burial.funding == ours.funding


def test_the_watchtower_judges_returns_after_funding(life):
    """Of the living: what it carries is what the journal says, and a trade that paid has it in its return."""
    (books,) = rebuild_books(lines_of(life.root))
    roster = controller_of(life.engine).roster
    assert [tuple(a.returns) for a in books.agents.values()] == [
        tuple(roster.agents[name].returns) for name in books.agents
    ]
    assert past_returns(lines_of(life.root)) == [a.returns for a in books.agents.values()]
    trades = [line.fields for line in lines_of(life.root) if line.kind == "trade"]
    assert sum(t["funding"] != 0.0 for t in trades) > 5
    for name, agent in books.agents.items():
        cash = agent.account.capital
        own = [t for t in trades if t["agent"] == name]
        assert len(own) == len(agent.returns)
        for trade, returned in zip(own, agent.returns, strict=True):
            assert returned == pytest.approx(trade["pnl"] / cash, rel=1e-6, abs=1e-12)
            cash += trade["pnl"]


def test_a_payment_that_ruins_ends_the_agent_at_the_settlement(tmp_path):
    layout = catalog(
        tmp_path, champions={"btc-1": genome(side=1.0, stop_bps=200.0, hold_s=60.0, leverage=5.0)}
    )
    engine = simulate(
        arena_config(layout, {"btc-1": BTC_ID}, mark_s=60.0),
        {BTC_ID: path(20)},
        modules=[funding((7.1, 5.0))],
    )
    engine.dispose()
    ((when, verdict),) = read_result(tmp_path).deaths
    assert verdict.verdict in ("ruin", "drawdown")
    assert when == START_NS + 7_100_000_000  # long before the next mark
    after = [line for line in lines_of(tmp_path) if line.kind == "fill" and line.ts_ns >= when]
    assert [line.fields["position"] for line in after] == [0.0]  # closed, and nothing opened


def test_a_payment_that_no_ledger_has_stops_entries_and_the_line_says_what_differs(tmp_path):
    """Left out on purpose: the account is charged, the arena does not hear of it."""
    layout = catalog(tmp_path, champions={"btc-1": genome(), "btc-2": genome(side=-1.0, p=0.5)})
    engine = simulate(
        arena_config(layout, {"btc-1": BTC_ID, "btc-2": BTC_ID}, limits={"decay_psr": 0.0}),
        {BTC_ID: path(40, wave_bps=3.0)},
        modules=[funding((15.5, 1e-3))],
        before=[lambda arena: setattr(arena, "_on_funding", lambda payment: None)],
    )
    # What the strategies were told, and the arena was not.
    lost = -sum(strategy.account.funding for strategy in engine.trader.strategies())
    engine.dispose()
    assert abs(lost) > 0.05
    result = read_result(tmp_path)
    ((when, mismatch),) = result.mismatches
    assert when == START_NS + 16 * _S  # the first mark after it
    (difference,) = mismatch.differences
    assert difference.startswith(f"cash: account {mismatch.account_cash:.4f}, ledgers ")
    assert "btc-1.e1 " in difference
    assert "btc-2.e1 " in difference
    assert mismatch.ledger_cash - mismatch.account_cash == pytest.approx(lost, abs=1e-6)
    fills = [line for line in lines_of(tmp_path) if line.kind == "fill"]
    late = [line.fields["position"] for line in fills if line.ts_ns > when]
    assert len([line for line in fills if line.ts_ns <= when]) > 6
    assert late in ([], [0.0], [0.0, 0.0])  # what was open is closed; nobody opens again


# ---- books made again


def test_books_made_again_from_the_journal_are_the_living_ones_to_the_last_bit(life):
    lines = lines_of(life.root)
    assert len(life.snapshots) > 60
    for snapshot in life.snapshots:
        (books,) = rebuild_books(lines[: snapshot.lines])
        assert money(books) == (snapshot.treasury, snapshot.agents)
    (books,) = rebuild_books(lines)
    finish = read_result(life.root).finish
    assert finish is not None
    assert books.cash == finish.ledger_cash
    held = {p.instrument_id.value: float(p.signed_decimal_qty()) for p in life.engine.cache.positions_open()}
    assert {i for i, _ in books.positions().items()} <= held.keys()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("fill", "price"), ("fill", "fee"), ("fill", "qty"), ("fill", "cash"), ("funding", "amount"),
        ("mark", "cash"), ("mark", "position"), ("burial", "cash"), ("burial", "treasury"),
        ("burial", "funding"), ("birth", "treasury"), ("finish", "ledger_cash"),
    ],
)  # fmt: skip
def test_a_number_that_was_changed_in_the_journal_is_found(life, kind, name):
    lines = lines_of(life.root)
    which = min if name == "price" else max  # of an entry the price shows when it is closed
    at = which(i for i, line in enumerate(lines) if line.kind == kind)
    lines[at] = msgspec.structs.replace(
        lines[at], fields={**lines[at].fields, name: lines[at].fields[name] + 0.001}
    )
    with pytest.raises(
        LedgerError,
        match=r"ledger arena, line \d+ \(\w+\): (\w+.* is .*, the lines before it|cannot be booked)",
    ):
        rebuild_books(lines)


@pytest.mark.parametrize("kind", ["birth", "fill", "funding"])
def test_a_line_that_was_taken_out_is_found(life, kind):
    lines = lines_of(life.root)
    at = min(i for i, line in enumerate(lines) if line.kind == kind)
    with pytest.raises(LedgerError, match="ledger arena, line"):
        rebuild_books(lines[:at] + lines[at + 1 :])


def test_a_journal_of_an_earlier_version_says_so(life):
    lines = [
        msgspec.structs.replace(line, fields={k: v for k, v in line.fields.items() if k != "size_precision"})
        for line in lines_of(life.root)
    ]
    with pytest.raises(LedgerError, match="no size_precision; it was written by an earlier version"):
        rebuild_books(lines)


def test_an_arena_that_starts_again_on_its_catalog_opens_new_books_in_the_same_journal(tmp_path):
    layout = catalog(tmp_path, champions={"btc-1": genome(), "btc-2": genome(side=-1.0)})
    ended = []
    for seed in (1, 2):
        engine = simulate(
            arena_config(layout, {"btc-1": BTC_ID, "btc-2": BTC_ID}, limits={"decay_psr": 0.0}),
            {BTC_ID: path(12, seed=seed)},
            modules=[funding((4.5, 1e-3), (9.5, -2e-3))],
        )
        roster = controller_of(engine).roster
        ended.append((roster.treasury, {a.name: a.account.balance for a in roster.living()}))
        engine.dispose()
    lives = rebuild_books(lines_of(tmp_path))
    assert [(b.treasury, {a.name: a.account.balance for a in b.living()}) for b in lives] == ended
    assert all(agent.account.funding for books in lives for agent in books.agents.values())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["fill", "fill", "fill", "fund", "bury", "bear", "mark"]),
        st.integers(0, 3),
        st.integers(-500, 500),
        st.integers(1, 10**7),
        st.integers(-(10**6), 10**7),
    ),
    max_size=80,
)


@settings(max_examples=60)
@given(steps=STEPS)
def test_any_sequence_of_fills_funding_births_and_burials_survives_the_file(tmp_path_factory, steps):
    """Flips, partial closes, rebates (negative fees), debts at the burial: all through a file and back."""
    file = tmp_path_factory.mktemp("random") / "arena.jsonl"
    roster = Roster([Slot("a", BTC_ID)], 200.0)
    roster.treasury = 10_000.0
    agents = []
    with LedgerWriter(file, "arena", group_commit=10_000) as ledger:

        def write(record: records.Record) -> None:
            ledger.append(records.kind_of(record), 1, record)

        def bear() -> None:
            agent = roster.bear(
                "shadow", slot="", epoch=0, genome=genome(), path=file, size_precision=3, ts_ns=1, mark=0
            )
            agents.append(agent)
            write(
                records.Birth(
                    agent=agent.name, role="shadow", slot="", epoch=0, instrument_id=BTC_ID, genome="g",
                    strategy_id=agent.name, capital=200.0, treasury=roster.treasury, size_precision=3,
                )
            )  # fmt: skip

        write(records.Opening(account_cash=roster.treasury, slots=("a",)))
        bear()
        for action, who, units, price, fee in steps:
            living = [a for a in agents if not a.is_gone]
            if action == "bear" or not living:
                bear()
                continue
            agent = living[who % len(living)]
            account = agent.account
            if action == "fill" and units:
                agent.book_fill(units / 1000, price / 10, fee / 10**8, 1)
                write(
                    records.Fill(
                        agent=agent.name, order="o", qty=units / 1000, price=price / 10, fee=fee / 10**8,
                        position=account.position, cash=account.balance,
                    )
                )  # fmt: skip
            elif action == "fund" and not account.is_flat:
                agent.book_funding(fee / 10**8)
                write(
                    records.Funding(
                        agent=agent.name, instrument_id=BTC_ID, position=account.position, mark=price / 10,
                        rate=1e-4, amount=fee / 10**8, cash=account.balance,
                    )
                )  # fmt: skip
            elif action == "bury" and account.is_flat:
                roster.bury(agent)
                write(
                    records.Burial(
                        agent=agent.name, role="shadow", slot="", epoch=0, genome="g", cause="ruin",
                        cash=account.balance, fees=account.fees, trades=len(agent.returns),
                        treasury=roster.treasury, funding=account.funding,
                    )
                )  # fmt: skip
            elif action == "mark":
                write(
                    records.Mark(
                        agent=agent.name, cash=account.balance, equity=0.0, position=account.position,
                        trades=len(agent.returns),
                    )
                )  # fmt: skip
    (books,) = rebuild_books(read_ledger(file))
    assert books.treasury == roster.treasury
    assert money(books)[1] == {
        a.name: (a.account.balance, a.account.position, a.account.funding, tuple(a.returns))
        for a in roster.living()
    }
    assert books.cash == roster.treasury + sum(a.account.balance for a in roster.living())


def test_the_command_prints_the_books_and_refuses_those_that_do_not_add_up(life, tmp_path):
    told = CliRunner().invoke(command, ["books", str(life.root), "--json"])
    assert told.exit_code == 0, told.output
    rows = {row["agent"]: row for row in map(json.loads, told.output.splitlines())}
    (books,) = rebuild_books(lines_of(life.root))
    assert {n: (r["cash"], r["position"], r["funding"]) for n, r in rows.items()} == {
        n: (a.account.balance, a.account.position, a.account.funding) for n, a in books.agents.items()
    }
    shown = CliRunner().invoke(command, ["books", str(life.root)], env={"COLUMNS": "200"})
    assert f"the account must hold {books.cash:.4f}" in shown.output
    asked = CliRunner().invoke(command, ["agents", str(life.root), "--json"])
    assert all(
        json.loads(row)["funding"] == pytest.approx(rows[json.loads(row)["agent"]]["funding"], abs=1e-9)
        for row in asked.output.splitlines()
    )
    file = CatalogLayout(tmp_path).ensure().ledger_file("arena")
    whole = CatalogLayout(life.root).ledger_file("arena").read_text()
    file.write_text(whole.replace('"fee":', '"fee":1', 1))
    refused = CliRunner().invoke(command, ["books", str(tmp_path)])
    assert refused.exit_code == 1
    assert "cash of " in refused.output
    empty = CliRunner().invoke(command, ["books", str(tmp_path), "--writer", "nobody"])
    assert "no ledger/nobody.jsonl here" in empty.output


# ---- after a kill


def test_books_of_a_killed_arena_are_those_it_had(life, tmp_path):
    """The same day, ended by SIGKILL in its middle: the journal is a beginning of the whole one's, and so are
    the books made from it."""
    whole = lines_of(life.root)
    deadly = [line.ts_ns for line in whole if line.kind == "funding"][12]
    killed = subprocess.run(
        [sys.executable, __file__, str(tmp_path), str(deadly)],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = lines_of(tmp_path)
    assert 100 < len(left) < len(whole)
    assert left == whole[: len(left)]
    # The line before the last one flushed may be a payment of the deadly settlement, or the fill before it.
    (books,), (then,) = rebuild_books(left), rebuild_books(whole[: len(left)])
    assert money(books) == money(then)
    assert math.isclose(books.cash, 1e6, rel_tol=1e-2)


def _live_and_die(root: Path, deadly_ns: int) -> None:
    def attach(arena) -> None:
        booked = arena._on_funding

        def book_and_die(payment) -> None:
            booked(payment)
            if payment.ts_ns >= deadly_ns:
                os.kill(os.getpid(), signal.SIGKILL)

        arena._on_funding = book_and_die

    busy(root, before=[attach])


if __name__ == "__main__":
    _live_and_die(Path(sys.argv[1]), int(sys.argv[2]))
