"""Funding in Nautilus: who pays, when, at which price; what the account and the ledgers say of it."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from nautilus_trader.model.data import FundingRateUpdate, MarkPriceUpdate
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Price
from nautilus_trader.persistence.catalog import ParquetDataCatalog
from support.engine_case import (
    BTC,
    MS,
    START,
    book_events,
    run_agents,
    scripted,
    touch_books,
    wandering_market,
)
from support.plain_case import BUY, SELL, Plain, run_plain, send

from apex_nautilus.data import write_events
from apex_nautilus.data.external import write_external
from apex_nautilus.data.nautilus_tables import to_nautilus_instrument
from apex_nautilus.engine import Delay, MarketDataError, NetworkConfig
from apex_nautilus.engine.funding_rates import FundingPlan, Settlement, check_funding, plan_funding
from apex_nautilus.engine.records import FUNDING_TOPIC, FundingPayment
from apex_nautilus.features.external import ExternalSeries

HOUR = 3_600_000_000_000
FIRST = START // HOUR * HOUR + HOUR
HOLD = 10_000_000


def cash(engine) -> Decimal:
    """Change of the account."""
    (account,) = engine.cache.accounts()
    return account.balance_total(account.currencies()[0]).as_decimal() - 1_000_000


class Listener(Plain):
    """Keeps every payment that is told on the bus, whomever it is for."""

    def __init__(self, seen: list[FundingPayment], script: list) -> None:
        super().__init__("A", script)
        self.seen = seen

    def on_start(self) -> None:
        super().on_start()
        self.msgbus.subscribe(topic=f"{FUNDING_TOPIC}.*", handler=self.seen.append)


def plan(*settlements: tuple[float, float] | tuple[float, float, float]) -> FundingPlan:
    """Of BTC: (milliseconds since START, rate[, mark])."""
    found = [Settlement(START + round(ms * MS), *rest) for ms, *rest in settlements]
    return FundingPlan({BTC.id: found}, [])


def books(*times: int) -> np.ndarray:
    """The touch at 60000 and 60000.2 at each of these milliseconds and at two more, the sizes changing."""
    return book_events(
        [(ms, [(60000.0, 10.0 + n)], [(60000.2, 10.0 + n)]) for n, ms in enumerate([0, *times, 100_000])]
    )


def long_from(row: int, quantity: float = 0.01) -> tuple:
    return (row, 1, quantity, 70000.0, 50000.0, HOLD)


# ---- who pays what


def test_each_position_pays_by_itself_and_the_account_is_their_sum_to_the_last_digit(tmp_path):
    """Long 10, short 10 and long 3 thousandths on one account: the venue nets, the agents do not."""
    agents = [
        scripted("A", [long_from(0, 0.010)]),
        scripted("B", [(0, -1, 0.010, 50000.0, 70000.0, HOLD)]),
        scripted("C", [long_from(0, 0.003)]),
        scripted("D", []),
    ]
    change = run_agents(tmp_path, books(1000, 2000), agents, funding=plan((1500, 0.000123456789)))
    paid = [p.amount for agent in agents for p in agent.payments]
    # 0.01 x 60000.1 x 0.000123456789, and 3/10 of it, to eight places
    assert paid == [-0.07407420, 0.07407420, -0.02222226]
    assert [a.account.funding for a in agents] == [*paid, 0.0]
    assert [(p.quantity, p.mark, p.rate) for p in agents[1].payments] == [(-0.01, 60000.1, 0.000123456789)]
    assert agents[0].payments[0].balance == agents[0].account.balance == 199.6259248
    fees = sum(f.fee for a in agents for f in a.fills)
    assert change == pytest.approx(sum(paid) - fees, abs=1e-9)


def test_equal_and_opposite_agents_move_money_between_each_other_and_none_out_of_the_account(tmp_path):
    agents = [scripted("A", [long_from(0)]), scripted("B", [(0, -1, 0.01, 50000.0, 70000.0, HOLD)])]
    change = run_agents(tmp_path, books(1000), agents, funding=plan((1500, 0.0001)))
    assert [a.account.funding for a in agents] == [-0.060000100, 0.060000100]
    assert change == pytest.approx(-sum(f.fee for a in agents for f in a.fills), abs=1e-9)


def test_the_profit_of_a_trade_has_the_funding_of_its_life(tmp_path):
    agent = scripted("A", [(0, 1, 0.01, 70000.0, 50000.0, 3000), (4, 1, 0.01, 70000.0, 50000.0, 3000)])
    market = books(1000, 2000, 3500, 20_000, 21_000, 24_000)
    change = run_agents(tmp_path, market, [agent], funding=plan((1500, 0.0001), (2500, 0.0003), (9000, 0.01)))
    first, second = agent.trades
    assert (first.funding, second.funding) == (-0.2400004, 0.0)
    assert first.pnl == pytest.approx(-0.002 - first.fees - 0.2400004, abs=1e-12)
    assert agent.account.balance - 200.0 == pytest.approx(first.pnl + second.pnl, abs=1e-12)
    assert change == pytest.approx(first.pnl + second.pnl, abs=1e-9)


def test_a_recorded_mark_price_goes_before_the_middle_of_the_book(tmp_path):
    agent = scripted("A", [long_from(0)])
    run_agents(tmp_path, books(1000), [agent], funding=plan((1500, 0.0001, 61000.0), (1600, 0.0001)))
    assert [(p.mark, p.amount) for p in agent.payments] == [(61000.0, -0.061), (60000.1, -0.0600001)]


@pytest.mark.parametrize(
    ("bids", "asks", "mark"),
    [([(59990.0, 5.0)], [], 59990.0), ([], [(60010.0, 5.0)], 60010.0), ([], [], 60000.2)],
)
def test_a_book_with_one_side_has_that_as_its_price_and_an_empty_one_the_entry_s(tmp_path, bids, asks, mark):
    agent = scripted("A", [long_from(0)])
    market = book_events(
        [
            (0, [(60000.0, 10.0)], [(60000.2, 10.0)]),
            (1000, bids, asks),
            (2000, [(60000.0, 9.0)], [(60000.2, 9.0)]),
        ]
    )
    run_agents(tmp_path, market, [agent], funding=plan((1500, 1e-4)))
    assert [p.mark for p in agent.payments] == pytest.approx([mark], rel=1e-12)


def test_settlements_of_another_venue_and_of_what_nobody_holds_pass(tmp_path):
    agent = scripted("A", [long_from(0)])
    found = plan((1500, 1e-4)).settlements
    found |= {"BTCUSDT-PERP.ELSEWHERE": found[BTC.id], "ETHUSDT-PERP.BINANCE": found[BTC.id]}
    run_agents(tmp_path, books(1000), [agent], funding=FundingPlan(found, []))
    assert [p.amount for p in agent.payments] == [-0.0600001]


def test_a_strategy_that_knows_nothing_of_it_pays_into_the_same_account(tmp_path):
    one, two = Plain("A", [(500, send("in", BUY, 0.01))]), Plain("B", [(2000, send("in", BUY, 0.01))])

    for place, rate, paid in (("with", 0.0001, "0.06000010"), ("without", 0.0, "0")):
        run = run_plain(tmp_path / place, books(1000), [one, two], funding=plan((1500, rate)), look=cash)
        assert run == -2 * Decimal("0.30000100") - Decimal(paid)
        one, two = Plain("A", one.script), Plain("B", two.script)


# ---- at which moment


# The last nanosecond before a settlement is when it is booked, in no order with what else happens in it.
@pytest.mark.parametrize(("at_ms", "pays"), [(1499.999998, 1), (1500.0, 0), (1500.000001, 0)])
def test_a_command_of_the_settlement_s_own_moment_comes_too_late_to_open(tmp_path, at_ms, pays):
    seen: list[FundingPayment] = []
    run_plain(
        tmp_path, books(1000), [Listener(seen, [(at_ms, send("in", BUY, 0.01))])], funding=plan((1500, 1e-4))
    )
    assert [p.amount for p in seen] == [-0.06000010] * pays
    assert all(p.ts_ns == START + 1500 * MS and p.strategy_id == "Listener-A" for p in seen)


@pytest.mark.parametrize(("at_ms", "pays"), [(1499.999998, 0), (1500.0, 1), (1500.000001, 1)])
def test_and_too_late_to_close(tmp_path, at_ms, pays):
    seen: list[FundingPayment] = []
    script = [(500, send("in", SELL, 0.01)), (at_ms, send("out", BUY, 0.01))]
    run_plain(tmp_path, books(1000), [Listener(seen, script)], funding=plan((1500, 1e-4)))
    assert [p.amount for p in seen] == [0.06000010] * pays


@pytest.mark.parametrize(("book_ms", "pays"), [(1499, 1), (1500, 0), (1501, 0)])
def test_a_book_of_the_settlement_s_own_moment_opens_too_late(tmp_path, book_ms, pays):
    agent = scripted("A", [long_from(1)])
    run_agents(tmp_path, books(book_ms, 3000), [agent], funding=plan((1500, 1e-4)))
    assert len(agent.payments) == pays
    assert len(agent.fills) == 1


def test_a_stop_that_a_book_of_that_moment_reaches_still_pays_at_the_book_before(tmp_path):
    agent = scripted("A", [(0, 1, 0.01, 70000.0, 59000.0, HOLD)])
    market = touch_books(
        [(0, 60000.0, 60000.2), (1000, 60000.0, 60000.2), (1500, 58000.0, 58000.2), (9000, 58000.0, 58000.2)]
    )
    run_agents(tmp_path, market, [agent], funding=plan((1500, 1e-4)))
    assert [(p.ts_ns, p.mark) for p in agent.payments] == [(START + 1500 * MS, 60000.1)]
    assert (agent.trades[0].exit_kind, agent.trades[0].exit_ts_ns) == ("stop", START + 1500 * MS)


def test_an_order_that_is_on_its_way_at_the_settlement_opens_too_late(tmp_path):
    """With a network of two milliseconds a command sent one before the settlement arrives after it."""
    seen: list[FundingPayment] = []
    slow = NetworkConfig(insert=Delay(mu=7.6, sigma=0.0), loss=0.0)
    for number, (sent_ms, pays) in enumerate([(1499.0, 0), (1490.0, 1)]):
        seen.clear()
        one = Listener(seen, [(sent_ms, send("in", BUY, 0.01))])
        change = run_plain(
            tmp_path / str(number), books(1000), [one], network=slow, funding=plan((1500, 1e-4)), look=cash
        )
        assert len(seen) == pays
        assert change == -Decimal("0.30000100") - pays * Decimal("0.06000010")
        assert one.sent["in"].is_closed


def test_the_length_of_the_pieces_read_changes_nothing(tmp_path):
    market = wandering_market(5, 400)
    entries = [(row, 1 if row % 2 else -1, 0.01, *bounds, 400) for row in range(3, 390, 9)
               for bounds in [(90000.0, 30000.0) if row % 2 else (30000.0, 90000.0)]]  # fmt: skip
    when = plan(*((ms, 0.0001 * (-1) ** n) for n, ms in enumerate(range(500, 11_000, 700))))
    runs = []
    for size in (1_000, 100_000):
        agent = scripted("A", entries)
        change = run_agents(tmp_path, market, [agent], chunk_size=size, funding=when)
        runs.append((change, agent.payments, agent.trades))
        assert change == pytest.approx(agent.account.balance - 200.0, abs=1e-6)
    assert runs[0] == runs[1]
    assert len(runs[0][1]) >= 8


def test_settlements_before_the_data_and_after_them_find_nobody(tmp_path):
    agent = scripted("A", [long_from(0)])
    run_agents(tmp_path, books(1000), [agent], funding=plan((-5000, 0.1), (0, 0.1), (100_001, 0.1)))
    assert agent.payments == []
    assert len(agent.fills) == 1


# ---- where rates come from


def market(tmp_path, **rates) -> str:
    catalog = tmp_path / "catalog"
    write_events(catalog, BTC, books(1000))
    for name, (times, values) in rates.items():
        whose = BTC.id if name == "own" else None
        write_external(catalog, ExternalSeries("funding_rate", times, values), whose)
    return str(catalog)


def test_the_instruments_own_series_is_read_on_the_full_second_and_within_the_span(tmp_path):
    times = [FIRST + k * 8 * HOUR + k * MS for k in range(6)]
    catalog = market(tmp_path, own=(times, [1e-4 * k for k in range(6)]))
    span = {"start_ns": FIRST + 8 * HOUR, "end_ns": FIRST + 24 * HOUR}
    found = plan_funding(catalog, [BTC.id], "stored", **span)
    assert found.settlements == {
        BTC.id: [Settlement(FIRST + 16 * HOUR, 1e-4 * 2), Settlement(FIRST + 24 * HOUR, 1e-4 * 3)]
    }
    (line,) = found.coverage
    assert (line.source, line.settlements, line.gaps) == ("series", 2, ())
    late = plan_funding(catalog, [BTC.id], True, start_ns=FIRST, end_ns=FIRST + 80 * HOUR).coverage[0]
    assert late.gaps == ((FIRST + 40 * HOUR, FIRST + 80 * HOUR),)


def test_a_series_of_the_whole_market_is_nobodys_bill(tmp_path):
    catalog = market(tmp_path, market=([FIRST, FIRST + 8 * HOUR], [1e-4, 1e-4]))
    found = plan_funding(catalog, [BTC.id], "stored", start_ns=FIRST, end_ns=FIRST + 9 * HOUR)
    assert found.settlements == {}
    assert found.coverage[0].source == "none"


@pytest.mark.parametrize("setting", [True, [BTC.id]])
def test_rates_that_are_asked_for_and_missing_are_an_error_that_says_how_to_get_them(tmp_path, setting):
    with pytest.raises(MarketDataError, match=r"no funding rates of BTCUSDT-PERP\.BINANCE; import them"):
        plan_funding(market(tmp_path), [BTC.id], setting, start_ns=0, end_ns=1)


def test_what_is_switched_off_is_said_to_be_off(tmp_path):
    catalog = market(tmp_path, own=([FIRST], [1e-4]))
    for setting in (False, []):
        found = plan_funding(catalog, [BTC.id], setting, start_ns=0, end_ns=FIRST)
        assert found.settlements == {}
        assert found.coverage[0].source == "off"


def test_spot_has_none_and_may_not_be_asked_for(tmp_path):
    catalog = ParquetDataCatalog(str(tmp_path))
    perpetual = to_nautilus_instrument(BTC)
    pair = CurrencyPair(
        InstrumentId.from_str("BTCUSDT.BINANCE"), perpetual.raw_symbol, perpetual.base_currency,
        perpetual.quote_currency, 1, 3, perpetual.price_increment, perpetual.size_increment, 0, 0,
    )  # fmt: skip
    catalog.write_data([pair])
    assert plan_funding(tmp_path, [pair.id.value], True, start_ns=0, end_ns=1) == FundingPlan({}, [])
    with pytest.raises(MarketDataError, match=r"funding: BTCUSDT\.BINANCE is no perpetual"):
        plan_funding(tmp_path, [pair.id.value], [pair.id.value], start_ns=0, end_ns=1)


def test_of_recorded_updates_the_last_one_told_before_a_settlement_is_its_rate(tmp_path):
    catalog, instrument_id = market(tmp_path), InstrumentId.from_str(BTC.id)
    told = [
        (FIRST - 2 * HOUR, "0.0001", FIRST),
        (FIRST - HOUR, "0.0002", FIRST),
        (FIRST - 1, "0.0003", FIRST),
        (FIRST, "0.0009", FIRST),  # too late for the one that is due now
        (FIRST + 1, "0.0004", FIRST + 8 * HOUR),
        (FIRST + 9 * HOUR, "0.0005", FIRST + 16 * HOUR),
    ]
    updates = [
        FundingRateUpdate(instrument_id, Decimal(rate), ts, ts, interval=480, next_funding_ns=due)
        for ts, rate, due in told
    ]
    ParquetDataCatalog(catalog).write_data(updates)
    found = plan_funding(catalog, [BTC.id], "stored", start_ns=FIRST - HOUR // 2, end_ns=FIRST + 10 * HOUR)
    assert found.settlements[BTC.id] == [Settlement(FIRST, 0.0003), Settlement(FIRST + 8 * HOUR, 0.0004)]
    assert found.coverage[0].source == "updates"


def test_a_history_of_updates_says_when_each_rate_was_paid(tmp_path):
    catalog, instrument_id = market(tmp_path), InstrumentId.from_str(BTC.id)
    updates = [
        FundingRateUpdate(instrument_id, Decimal("0.0001") * k, FIRST + 8 * k * HOUR, FIRST + 8 * k * HOUR)
        for k in (1, 2)
    ]
    ParquetDataCatalog(catalog).write_data(updates)
    found = plan_funding(catalog, [BTC.id], "stored", start_ns=FIRST, end_ns=FIRST + 16 * HOUR)
    assert [(s.ts_ns, s.rate) for s in found.settlements[BTC.id]] == [
        (FIRST + 8 * HOUR, 0.0001),
        (FIRST + 16 * HOUR, 0.0002),
    ]


def test_marks_of_the_minute_before_a_settlement_are_taken(tmp_path):
    catalog, instrument_id = market(tmp_path, own=([FIRST, FIRST + 8 * HOUR], [1e-4, 1e-4])), BTC.id
    marks = [
        MarkPriceUpdate(InstrumentId.from_str(instrument_id), Price(price, 2), ts, ts)
        for ts, price in [(FIRST - 2 * HOUR, 1.0), (FIRST - 3, 60001.25), (FIRST - 2, 60001.5), (FIRST, 7.0)]
    ]
    ParquetDataCatalog(catalog).write_data(marks)
    found = plan_funding(catalog, [BTC.id], "stored", start_ns=FIRST - HOUR, end_ns=FIRST + 9 * HOUR)
    assert [s.mark for s in found.settlements[BTC.id]] == [60001.5, None]


def test_a_list_names_what_is_traded_each_once():
    for setting in ("stored", True, False, []):
        check_funding(setting, [])
    with pytest.raises(ValueError, match=r'funding: must be "stored", true, false or a list .* got \'X\.Y\''):
        check_funding("X.Y", [BTC.id])
    check_funding([BTC.id], [BTC.id])
    with pytest.raises(ValueError, match=r"funding\[0\]: nobody trades 'X\.Y' \(traded: BTCUSDT"):
        check_funding(["X.Y"], [BTC.id])
    with pytest.raises(ValueError, match=r"funding\[1\]: .* is named twice"):
        check_funding([BTC.id, BTC.id], [BTC.id])
