"""Fitting the cost model: what is known is found again, on made books and on recorded ones."""

from __future__ import annotations

import math
import sys

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from support.engine_case import BTC, START, book_events

from apex_nautilus.cli.data_commands.fit_costs import command
from apex_nautilus.data import import_binance_capture, import_freqtrade, read_events
from apex_nautilus.features import EVENT, KIND_TRADE
from apex_nautilus.forge.cost_fit import fit_costs
from apex_nautilus.forge.egarch_fit import fit_egarch
from apex_nautilus.forge.errors import ForgeError
from apex_nautilus.forge.impact_fit import SHARES, abdi_ranaldo, fit_half_spread, fit_impact, sample_books
from apex_nautilus.risk import walk
from apex_nautilus.risk.cost_file import CostFile, decode_cost_file


def square_root_market(seconds: int, k: float, *, noise: float = 0.0, seed: int = 4) -> np.ndarray:
    """Books whose walking costs k * sigma * sqrt(q / V) by construction, V = 20 units a second.

    Walking a book of density n(d) at depth d to a quantity q costs the mean depth. Where the cumulative size
    at depth d is Q(d) = (2 d / 3 c)^2 the mean depth of the first q is c * sqrt(q): mean of d over the size.
    """
    rng = np.random.default_rng(seed)
    window, rate, move = 20, 20.0, 4.0  # the mid moves by one or the other way each second
    mids = 60_000.0 + move * np.cumsum(rng.choice([-1, 1], seconds))
    sigma = move * math.sqrt(window)  # price units, of one window
    c = k * sigma / math.sqrt(rate * window)
    depth = np.arange(0.1, 60.0, 0.1)
    size = np.diff((2.0 * np.concatenate([[0.0], depth]) / (3.0 * c)) ** 2)
    books, trades = [], []
    for i, mid in enumerate(mids):
        scale = math.exp(noise * rng.standard_normal())
        levels = np.maximum(np.round(size * scale, 3), 0.001)
        bid, ask = round(mid - 0.1, 1), round(mid + 0.1, 1)
        bids = [(round(bid - 0.1 * j, 1), s) for j, s in enumerate(levels.tolist())]
        asks = [(round(ask + 0.1 * j, 1), s) for j, s in enumerate(levels.tolist())]
        books.append((1000 * i, bids, asks))
        ts = START + (1000 * i + 500) * 1_000_000
        trades.append((ts, ts, round(mid * 10), round(rate * 1000), 0, KIND_TRADE, 1, 0))
    events = np.concatenate([book_events(books), np.array(trades, dtype=EVENT)])
    return events[np.argsort(events["ts_init_ns"], kind="stable")]


@pytest.mark.parametrize("k", [0.5, 1.5])
def test_a_square_root_that_was_put_into_the_books_is_found(k):
    samples = sample_books(square_root_market(160, k), BTC, window_s=20)
    note = fit_impact(samples, source="made")
    # Levels are a tick apart and the nearest stands at the touch: a tenth in a few units of price.
    assert note.value == pytest.approx(k, rel=0.06)
    assert note.r2 > 0.98
    assert note.held_out_r2 > 0.98
    half = fit_half_spread(samples, source="made")
    assert half.value == pytest.approx(0.1 / 60_000 * 1e4, rel=1e-2)


def test_noise_widens_the_error_and_the_truth_stays_within_it():
    clean = fit_impact(sample_books(square_root_market(200, 1.0), BTC, window_s=20), source="x")
    noisy = fit_impact(sample_books(square_root_market(200, 1.0, noise=0.8), BTC, window_s=20), source="x")
    assert noisy.standard_error > 2.0 * clean.standard_error
    assert noisy.r2 < clean.r2


def test_what_comes_later_changes_no_earlier_sample():
    events = square_root_market(120, 1.0)
    cut = START + 80 * 1_000_000_000
    changed = events.copy()
    changed["size"][changed["ts_init_ns"] > cut] *= 3
    one, two = (sample_books(e, BTC, window_s=20) for e in (events, changed))
    before = one.ts_ns <= cut
    for name in ("sigma", "volume", "slippage"):
        assert np.array_equal(getattr(one, name)[before], getattr(two, name)[before], equal_nan=True)
    assert not np.array_equal(one.volume, two.volume)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, root):
    """A minute and a half of a book, and ten days of candles, of the same perpetual."""
    catalog = tmp_path_factory.mktemp("recorded") / "market"
    data = root / "tests" / "data"
    import_binance_capture([data / "btcusdt_usdm_20240808.gz"], catalog, BTC.id)
    import_freqtrade([data / "BTC_USDT_USDT-5m-futures.feather"], catalog)
    return catalog


def test_the_books_walked_are_those_that_an_order_walks(recorded):
    """Against the walk that the replay uses, on its own five levels where they suffice."""
    from apex_nautilus.data import dataset_from_events

    events = np.concatenate(list(read_events(recorded, BTC.id)))
    samples = sample_books(events, BTC, window_s=20)
    path = dataset_from_events(events, BTC, "book", ["spread_bps"])
    compared = 0
    for t in range(samples.ts_ns.size):
        at = int(np.searchsorted(path.path_ts_ns, samples.ts_ns[t], side="right")) - 1
        book = np.asarray(path.path_depth[at])
        for q, quantity in enumerate(samples.quantity[t]):
            for row, (touch, direction, size) in enumerate(
                ((book[2, 0], 1, book[3, :5].sum()), (book[0, 0], -1, book[1, :5].sum()))
            ):
                if quantity < size:
                    paid = direction * (walk(book[:, :5].copy(), direction, quantity, touch) - touch)
                    wanted = paid / samples.mid[t]
                    assert samples.slippage[t, row, q] == pytest.approx(wanted, abs=1e-12)
                    compared += 1
    assert compared > 50


def test_a_model_of_recorded_data_is_written_whole_and_read_by_a_run(recorded, tmp_path):
    out = tmp_path / "costs.json"
    arguments = [str(out), "--instrument", BTC.id, "--catalog", str(recorded), "--window-s", "20"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    file = msgspec.json.decode(out.read_bytes(), type=CostFile)
    notes = {note.name: note for note in file.notes}
    assert set(notes) == {"half_spread_bps", "impact", "omega", "alpha", "gamma", "beta", "sigma"}
    # The recording's half spread is one half of its tick of 0.1 at 61,000 nearly all the time.
    assert 0.007 < notes["half_spread_bps"].value < 0.05
    assert 0.3 < notes["impact"].value < 3.0
    assert notes["impact"].standard_error < 0.5 * notes["impact"].value
    assert notes["sigma"].held_out_r2 > 0.0
    assert 0.9 < notes["beta"].value < 1.0
    costs = decode_cost_file(out.read_bytes(), "costs.json", instrument_id=BTC.id, bar_minutes=5)
    assert costs.impact == notes["impact"].value
    assert not [p for p in tmp_path.iterdir() if p.name != "costs.json"]


def test_what_is_missing_is_said(recorded, tmp_path, root, monkeypatch):
    run = CliRunner().invoke
    common = ["--instrument", BTC.id, "--catalog", str(recorded)]
    failed = run(command, [str(tmp_path / "x.json"), *common, "--clock", "15m"])
    assert "no candles BTCUSDT-PERP.BINANCE-15-MINUTE" in failed.output
    candles = tmp_path / "candles"
    import_freqtrade([root / "tests" / "data" / "BTC_USDT_USDT-5m-futures.feather"], candles)
    with pytest.raises(ForgeError, match=r"no book of BTCUSDT-PERP.BINANCE is recorded .* --impact"):
        fit_costs(candles, BTC.id, "5m")
    given = fit_costs(candles, BTC.id, "5m", impact=0.7)
    assert given.costs.impact == 0.7
    assert given.notes[0].method.startswith("Abdi and Ranaldo")
    monkeypatch.setitem(sys.modules, "arch", None)
    failed = run(command, [str(tmp_path / "x.json"), *common, "--window-s", "20"])
    assert failed.exit_code == 1
    assert "pip install apex_nautilus[ml]" in failed.output
    assert not (tmp_path / "x.json").exists()


def test_the_parameters_that_made_returns_are_found():
    rng = np.random.default_rng(11)
    omega, alpha, gamma, beta = 0.1, 0.25, -0.08, 0.96
    log_variance, returns = omega / (1 - beta), []
    for z in rng.standard_normal(6000):
        returns.append(z * math.exp(0.5 * log_variance) / 1e4)
        log_variance = omega + alpha * (abs(z) - math.sqrt(2 / math.pi)) + gamma * z + beta * log_variance
    model, notes = fit_egarch(returns, source="made")
    for note, truth in zip(notes, (omega, alpha, gamma, beta), strict=False):
        assert abs(note.value - truth) < 4.0 * note.standard_error, note.name
    assert model.beta == pytest.approx(beta, abs=0.02)
    with pytest.raises(ForgeError, match="at least 500 returns"):
        fit_egarch(returns[:100], source="made")
    with pytest.raises(ForgeError, match="must be finite and must vary"):
        fit_egarch(np.zeros(600), source="made")


def test_a_spread_that_bars_were_made_with_is_found():
    """Trades at bid or ask around a random walk: the estimator is unbiased where the spread is wide."""
    rng = np.random.default_rng(2)
    half = 0.004
    log_mid = np.cumsum(rng.normal(0.0, 0.0005, (4000, 60)).ravel()).reshape(4000, 60)
    traded = log_mid + half * rng.choice([-1.0, 1.0], log_mid.shape)
    price = 100.0 * np.exp(traded)
    note = abdi_ranaldo(price.max(axis=1), price.min(axis=1), price[:, -1], source="made")
    assert note.value == pytest.approx(1e4 * half, rel=0.1)
    assert note.standard_error < 0.1 * note.value
    with pytest.raises(ForgeError, match="needs 100 bars"):
        abdi_ranaldo([1.0], [1.0], [1.0], source="made")
    assert len(SHARES) == 5


def test_on_the_whole_recording_the_fit_carries_over(shared_data, tmp_path):
    """5.7 minutes of two perpetuals: the later two fifths are told by the first three."""
    folder = shared_data / "binance-capture-2024-08" / "usdm"
    for name in ("btcusdt", "ethusdt"):
        instrument_id = f"{name.upper()}-PERP.BINANCE"
        import_binance_capture(sorted(folder.glob(f"{name}*"))[:1], tmp_path / name, instrument_id)
        spec = msgspec.structs.replace(BTC, id=instrument_id, price_precision=1 if name == "btcusdt" else 2)
        note = fit_impact(sample_books(read_events(tmp_path / name, instrument_id), spec), source=name)
        assert note.held_out_r2 > 0.7
        assert 0.3 < note.value < 1.5
