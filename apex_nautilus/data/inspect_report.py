"""What an inspection of a catalog tells, as plain data."""

from __future__ import annotations

import msgspec

__all__ = [
    "BarsSummary",
    "CatalogSummary",
    "DepthProfile",
    "ExternalSummary",
    "Gap",
    "OtherSummary",
    "PriceLine",
    "Problem",
    "Quantiles",
    "QuotesSummary",
    "StreamSummary",
    "Timeline",
]

LONGEST = 10
"""How many gaps, holes and outliers are named."""


class Gap(msgspec.Struct, frozen=True):
    """A silence: the time after which nothing came, nanoseconds, and how long, seconds."""

    start_ns: int
    seconds: float


class Problem(msgspec.Struct, frozen=True):
    """A file that could not be read whole, and why."""

    file: str
    what: str


class Quantiles(msgspec.Struct, frozen=True):
    """A distribution: its mean and extremes are exact, the quantiles right to one part in a hundred."""

    count: int
    mean: float
    least: float
    p1: float
    p50: float
    p95: float
    p99: float
    most: float


class DepthProfile(msgspec.Struct, frozen=True):
    """Mean sizes of the ten best levels a side, base units, at `samples` moments spread over the span."""

    samples: int
    bid_sizes: list[float]
    ask_sizes: list[float]


class Timeline(msgspec.Struct, frozen=True):
    """One value for each of the equal stretches that a span is cut into; None where there was nothing.

    Attributes
    ----------
    start_ns, width_ns : begin of the first stretch, and the length of each.
    batches, trades : counts.
    mid, mid_low, mid_high : last, lowest and highest mid price.
    spread_bps : mean.
    skew_ms, skew_low_ms, skew_high_ms : mean, least and largest receive time minus venue time.
    """

    start_ns: int
    width_ns: int
    batches: list[int]
    trades: list[int]
    mid: list[float | None]
    mid_low: list[float | None]
    mid_high: list[float | None]
    spread_bps: list[float | None]
    skew_ms: list[float | None]
    skew_low_ms: list[float | None]
    skew_high_ms: list[float | None]


class StreamSummary(msgspec.Struct, kw_only=True):
    """The book and trades of one instrument.

    Attributes
    ----------
    span_ns : receive times of the first and last event.
    levels, batches, trades : counts of level changes, book batches, trades.
    clears : how often the book was emptied (each but a first one is a loss of the book).
    gaps, longest_gap_s : silences longer than the limit asked for, and the longest silence of all.
    longest_gaps : up to ten of these silences, the longest first.
    crossed, locked, one_sided : shares of batches after which bid > ask, bid = ask, or a side is empty.
    duplicate_trades : trades that repeat the one before, id, time, price and size.
    event_time_backwards : events whose venue time lies before that of an earlier event of their kind.
    skew_ms : least, mean and largest receive time minus venue time; negative when the recorder's clock is
        behind.
    skew : its distribution, None where the data hold no venue time.
    spread_bps : distribution of the spread after each batch of a whole book, None without one.
    batches_per_s, trades_per_s : mean rates over the span.
    traded, bought_share : base units traded, and the share of them that buyers took.
    depth : None without a book.
    refused : rows that the imports refused, by reason.
    timeline : left out unless asked for.
    """

    instrument_id: str
    span_ns: tuple[int, int]
    levels: int
    batches: int
    trades: int
    clears: int
    gaps: int
    longest_gap_s: float
    longest_gaps: list[Gap]
    crossed: float
    locked: float
    one_sided: float
    duplicate_trades: int
    event_time_backwards: int
    skew_ms: tuple[float, float, float]
    skew: Quantiles | None
    spread_bps: Quantiles | None
    batches_per_s: float
    trades_per_s: float
    traded: float
    bought_share: float | None
    depth: DepthProfile | None
    refused: dict[str, int]
    timeline: Timeline | None = None


class PriceLine(msgspec.Struct, frozen=True):
    """Last, lowest and highest price of each of the equal stretches that a span is cut into; None where there
    was none."""

    start_ns: int
    width_ns: int
    last: list[float | None]
    low: list[float | None]
    high: list[float | None]


class QuotesSummary(msgspec.Struct, kw_only=True):
    """The quotes of one instrument, bid and ask as the venue published them.

    Attributes
    ----------
    gaps, longest_gap_s, longest_gaps : as of `StreamSummary`.
    crossed, locked, one_sided : shares of quotes with bid > ask, bid = ask, or a side without size or price.
    repeated : quotes with the prices and sizes of the one before.
    event_time_backwards : quotes whose venue time lies before that of an earlier one.
    skew : distribution of receive time minus venue time, ms; None where the data hold no venue time.
    spread_bps : distribution of the spread of whole quotes, None without one.
    timeline : `batches` counts quotes, `trades` is 0; left out unless asked for.
    """

    instrument_id: str
    span_ns: tuple[int, int]
    quotes: int
    gaps: int
    longest_gap_s: float
    longest_gaps: list[Gap]
    crossed: float
    locked: float
    one_sided: float
    repeated: int
    event_time_backwards: int
    skew: Quantiles | None
    spread_bps: Quantiles | None
    timeline: Timeline | None = None


class BarsSummary(msgspec.Struct, kw_only=True):
    """One series of bars.

    Attributes
    ----------
    bars, missing : how many there are, and how many the holes between them would hold.
    holes : up to ten holes, the longest first; the time is the close of the bar before.
    duplicates : bars whose close is not later than that of the bar before.
    zero_volume : bars in which nothing was traded.
    outside_range : bars whose open or close lies outside low to high.
    outliers : closes more than twenty times as far from the close before as is usual (the median).
    worst : up to ten of them, the largest first, as (close time, log return in bps).
    timeline : share of the bars that are there in each equal stretch of the span; left out unless asked for.
    prices : closes with the lows and highs, thinned to the stretches; left out unless asked for.
    """

    bar_type: str
    span_ns: tuple[int, int]
    bars: int
    missing: int
    holes: list[Gap]
    duplicates: int
    zero_volume: int
    outside_range: int
    outliers: int
    worst: list[tuple[int, float]]
    timeline: list[float] | None = None
    prices: PriceLine | None = None


class ExternalSummary(msgspec.Struct, kw_only=True):
    """One series published from outside; `instrument_id` None where it speaks of the whole market.

    `stale` counts the silences longer than its age limit, in which rows see its neutral value.
    """

    name: str
    instrument_id: str | None
    span_ns: tuple[int, int]
    values: int
    longest_gaps: list[Gap]
    stale: int
    stale_after_s: float


class OtherSummary(msgspec.Struct, kw_only=True):
    """Data that are stored and that nothing here reads: ten-level books, types of one's own."""

    kind: str
    identifier: str
    files: int
    rows: int
    span_ns: tuple[int, int]


class CatalogSummary(msgspec.Struct):
    """All a catalog holds, and the files that could not be read."""

    streams: list[StreamSummary]
    bars: list[BarsSummary]
    quotes: list[QuotesSummary] = []
    external: list[ExternalSummary] = []
    other: list[OtherSummary] = []
    problems: list[Problem] = []
