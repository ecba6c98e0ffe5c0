"""A market: a population, a seed, and a clock; what comes out is a tape."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from ..features import EVENT, FLAG_LAST, KIND_CLEAR, KIND_LEVEL
from ..risk import InstrumentSpec
from . import _world as w
from . import matching as m
from ._contender_records import grown_pit
from ._contest import GROW_PIT, contest, mark_all, subscribe
from ._loop import DONE, FLUSH, GROW_FILLS, GROW_HEAP, GROW_LADDER, GROW_ORDERS, PAUSED, advance
from .contender import Contender, ContenderResult, lay_out, results_of, room_for_marks
from .event_queue import grown, peek, push
from .population import Population, PopulationError

__all__ = ["DEFAULT_START_NS", "Market", "Tape", "TapeStats", "run_many"]

DEFAULT_START_NS = 1_735_689_600_000_000_000  # 2025-01-01T00:00:00Z
DEFAULT_WARMUP_NS = 120_000_000_000

_SLICE = 1 << 17  # events between two looks at the outside world


@dataclass(frozen=True, slots=True)
class TapeStats:
    """What happened in a market from its birth to the end of a tape.

    Every order sent is in exactly one of lost, in flight, resting, filled, cancelled, expired and rejected.

    Attributes
    ----------
    events : events of the simulation (messages arriving and agents waking).
    messages : messages sent to the venue, lost ones among them.
    orders, lost, in_flight, resting, filled, cancelled, expired, rejected : orders by fate.
    volume : units of 10**-size_precision traded.
    one_sided_ns : time during which a side of the book was empty.
    """

    events: int
    messages: int
    orders: int
    lost: int
    in_flight: int
    resting: int
    filled: int
    cancelled: int
    expired: int
    rejected: int
    volume: int
    one_sided_ns: int


@dataclass(frozen=True, slots=True)
class Tape:
    """What a market published, and what its agents have come to.

    Attributes
    ----------
    instrument : what was traded; prices and sizes are in units of its precisions.
    events : features.EVENT[n], ordered by receive time; the first batch of the first tape is the whole book.
    trades : TRADE[k], one line a match, with the agents on both sides (`trades_of` picks one agent's own).
    accounts : ACCOUNT[agents] at the end, since the market's birth; inventories and cash sum to 0. The last
        ones are the contenders'.
    value : SAMPLE[s], the fundamental value in quote units, ten times a second. Nobody who trades may see it;
        studies may.
    start_ns, end_ns : span of the tape, exchange time.
    stats : see TapeStats.
    contenders : what became of each contender, in the order they were given.
    orders : ORDER_EVENT[m], what happened to each order at rest, where the market was asked to record it; the
        first tape's begins with the orders of the whole book, each queue oldest first.
    """

    instrument: InstrumentSpec
    events: np.ndarray
    trades: np.ndarray
    accounts: np.ndarray
    value: np.ndarray
    start_ns: int
    end_ns: int
    stats: TapeStats
    contenders: tuple[ContenderResult, ...] = ()
    orders: np.ndarray = field(default_factory=lambda: np.zeros(0, w.ORDER_EVENT))

    def trades_of(self, agent: int) -> np.ndarray:
        """The trades one agent had a part in."""
        return self.trades[(self.trades["taker"] == agent) | (self.trades["maker"] == agent)]

    def digest(self) -> str:
        """sha256 of events, trades and accounts: equal tapes have equal digests, on any machine.

        Recorded orders do not count: recording changes nothing. Nor do the contenders' own accounts: what
        they traded is on the tape, so one that sends nothing leaves the digest as it is without it.
        """
        digest = hashlib.sha256()
        population = self.accounts[self.accounts["kind"] != w.CONTENDERS_]
        for part in (self.events, self.trades, population):
            for name in part.dtype.names or ():  # field by field: padding bytes mean nothing
                digest.update(np.ascontiguousarray(part[name]).tobytes())
        return digest.hexdigest()


class Market:
    """One market that runs.

    A market is born when it is made and lives as long as `run` is called: two runs of a minute give the two
    halves of one run of two minutes. Before the first tape it runs `warmup_ns` unrecorded, so that the tape
    begins on a settled book.

    Parameters
    ----------
    population : who trades what; checked when it was made.
    seed : a number, or a Generator from which one is drawn. Everything random comes of it and of the
        instrument's id.
    start_ns : where the first tape starts, nanoseconds since the epoch.
    warmup_ns : unrecorded time before.
    record_orders : write down what happens to every order at rest too (`Tape.orders`); nothing else changes.

    contenders : strategies under test; they join when the first tape starts, on a snapshot of the book.

    Raises
    ------
    ValueError when a time is negative, or a contender trades by the rules of another instrument.
    PopulationError when rates together make a market that cannot clear.

    Examples
    --------
    >>> from apex_nautilus.sim import Market, profile
    >>> tape = Market(profile("BTCUSDT-LINEAR.SIM"), seed=1).run(60_000_000_000)
    >>> int(tape.accounts["inventory"].sum())
    0
    """

    def __init__(
        self,
        population: Population,
        seed: int | np.random.Generator,
        *,
        start_ns: int = DEFAULT_START_NS,
        warmup_ns: int = DEFAULT_WARMUP_NS,
        record_orders: bool = False,
        contenders: Sequence[Contender] = (),
    ) -> None:
        if warmup_ns < 0 or start_ns < warmup_ns:
            raise ValueError(f"warmup_ns: {warmup_ns} is outside [0, start_ns = {start_ns}]")
        if isinstance(seed, np.random.Generator):
            seed = int(seed.integers(1 << 63))
        if seed < 0:
            raise ValueError(f"seed: {seed} is negative")
        population.check_rates()
        self.population = population
        # Two markets of one seed must not draw the same numbers.
        entropy = np.random.SeedSequence([seed, crc32(population.instrument.id.encode())])
        self._world = w.new_world(
            population,
            entropy,
            start_ns - warmup_ns,
            contenders=len(contenders),
            record_orders=record_orders,
        )
        first = int(self._world.first[w.CONTENDERS_])
        self._pit = lay_out(contenders, population, first, start_ns) if contenders else None
        self._now_ns = start_ns
        self._events: list[np.ndarray] = []
        self._trades: list[np.ndarray] = []
        self._samples: list[np.ndarray] = []
        self._orders: list[np.ndarray] = []
        self._begun = False
        world = self._world
        push(world.queue, int(world.clock[w.NOW_NS]), int(w.START), 0, 0, 0, 0)

    @property
    def now_ns(self) -> int:
        """Where the next tape starts."""
        return self._now_ns

    def run(self, duration_ns: int, *, progress: Callable[[float], None] | None = None) -> Tape:
        """Let the market run and return what it published.

        Parameters
        ----------
        duration_ns : positive.
        progress : called now and then with the share done, at last with 1.0. What it raises stops the run,
            and so does Ctrl-C within a fraction of a second; the next call of `run` takes up where this one
            stopped.

        Raises
        ------
        ValueError when `duration_ns` is not positive. PopulationError when the orders of the population lie
        so far apart that no ladder holds them.
        """
        if duration_ns <= 0:
            raise ValueError(f"duration_ns: {duration_ns} is not positive")
        self._begin()
        start_ns = self._now_ns
        # Beyond `start_ns` only after an interruption: what was recorded until then goes onto this tape.
        end_ns = max(start_ns + duration_ns, int(self._world.clock[w.NOW_NS]))
        if self._pit is not None:
            self._pit = room_for_marks(self._pit, end_ns)
        while not self._advance(end_ns):
            if progress is not None:
                progress((int(self._world.clock[w.NOW_NS]) - start_ns) / duration_ns)
        self._now_ns = end_ns
        self._flush()
        if self._pit is not None:
            mark_all(self._pit, end_ns)
        tape = Tape(
            instrument=self.population.instrument,
            events=_joined(self._events, EVENT),
            trades=_joined(self._trades, w.TRADE),
            accounts=self._world.accounts.copy(),
            value=_joined(self._samples, w.SAMPLE),
            start_ns=start_ns,
            end_ns=end_ns,
            stats=self._stats(),
            contenders=results_of(self._pit) if self._pit is not None else (),
            orders=_joined(self._orders, w.ORDER_EVENT),
        )
        self._events, self._trades, self._samples, self._orders = [], [], [], []
        if progress is not None:
            progress(1.0)
        return tape

    # ------------------------------------------------------------------ inside

    def _begin(self) -> None:
        """Warm up, then put the whole book at the head of the tape."""
        if self._begun:
            return
        pit, self._pit = self._pit, None
        while self._world.clock[w.NOW_NS] < self._now_ns:
            self._advance(self._now_ns)
        self._flush()
        snapshot = self._snapshot()
        self._events, self._trades, self._samples = [snapshot], [], []
        self._orders = [self._resting_orders()] if len(self._world.log) else []
        if pit is not None:
            self._pit = grown_pit(pit, len(snapshot))
            subscribe(self._world, self._pit, snapshot)
        self._begun = True

    def _advance(self, until_ns: int) -> bool:
        """Run a slice of events, growing what must grow; True when `until_ns` is reached."""
        while (why := self._step(until_ns)) not in (DONE, PAUSED):
            world = self._world
            if why == FLUSH:
                self._flush()
            elif why == GROW_LADDER:
                try:
                    book = m.grow_levels(world.book, int(world.queue.records[peek(world.queue)[1]]["price"]))
                except ValueError as error:
                    raise PopulationError(f"the agents quote too far apart: {error}") from None
                self._world = world._replace(book=book)
            elif why == GROW_ORDERS:
                self._world = world._replace(book=m.grow_orders(world.book))
            elif why == GROW_HEAP:
                self._world = world._replace(queue=grown(world.queue))
            elif why == GROW_FILLS:
                self._world = world._replace(fills=np.zeros(2 * len(world.fills), world.fills.dtype))
            elif why == GROW_PIT and self._pit is not None:
                resting = int(world.book.state[m.BID_ORDERS] + world.book.state[m.ASK_ORDERS])
                self._pit = grown_pit(self._pit, resting)
        return why == DONE

    def _step(self, until_ns: int) -> int:
        if self._pit is None:
            return advance(self._world, until_ns, _SLICE)
        return contest(self._world, self._pit, until_ns, _SLICE)

    def _flush(self) -> None:
        """Put the tape's buffers away and lay out new ones, wider where one event could overrun them."""
        world = self._world
        clock, state = world.clock, world.book.state
        levels = int(state[m.BID_LEVELS] + state[m.ASK_LEVELS])
        orders = int(state[m.BID_ORDERS] + state[m.ASK_ORDERS])
        self._world = world._replace(
            events=_put_away(self._events, world.events, int(clock[w.N_EVENTS]), 4 * (levels + 4)),
            trades=_put_away(self._trades, world.trades, int(clock[w.N_TRADES]), 2 * (orders + 1)),
            samples=_put_away(self._samples, world.samples, int(clock[w.N_SAMPLES]), 1),
        )
        clock[w.N_EVENTS] = clock[w.N_TRADES] = clock[w.N_SAMPLES] = 0
        if len(world.log):
            log = _put_away(self._orders, world.log, int(clock[w.N_LOG]), 2 * (orders + 2))
            self._world = self._world._replace(log=log)
            clock[w.N_LOG] = 0

    def _snapshot(self) -> np.ndarray:
        """The whole book as one batch: everything is cleared, then every level set, best first."""
        world = self._world
        book, clock = world.book, world.clock
        occupied = book.levels[book.levels["orders"] > 0]
        prices = book.orders["price"][occupied["head"]]
        sides = book.orders["side"][occupied["head"]]
        order = np.lexsort((-sides * prices, -sides))
        events = np.zeros(len(occupied) + 1, EVENT)
        clock[w.BATCH] += 1
        clock[w.LAST_RECEIVED_NS] = max(clock[w.LAST_RECEIVED_NS], self._now_ns)
        events["ts_event_ns"] = self._now_ns
        events["ts_init_ns"] = clock[w.LAST_RECEIVED_NS]
        events["sequence"] = clock[w.BATCH]
        events["kind"] = KIND_LEVEL
        events["kind"][0] = KIND_CLEAR
        events["price"][1:] = prices[order] * world.units[w.TICK_UNITS]
        events["size"][1:] = occupied["volume"][order] * world.units[w.LOT_UNITS]
        events["side"][1:] = sides[order]
        events["flags"][-1] = FLAG_LAST
        return events

    def _resting_orders(self) -> np.ndarray:
        """Every order at rest as if it came now: best level first, within a level oldest first."""
        book, units = self._world.book, self._world.units
        slots: list[int] = []
        for head in book.levels["head"][book.levels["orders"] > 0]:
            slot = int(head)
            while slot >= 0:
                slots.append(slot)
                slot = int(book.orders["next"][slot])
        orders = book.orders[slots]
        side = orders["side"].astype(np.int64)
        order = np.lexsort((-side * orders["price"], -side))  # stable: queues keep their order
        lines = np.zeros(len(slots), w.ORDER_EVENT)
        lines["ts_ns"] = self._now_ns
        lines["order_id"] = orders["id"]
        lines["price"] = orders["price"] * units[w.TICK_UNITS]
        lines["size"] = orders["size"] * units[w.LOT_UNITS]
        lines["owner"] = orders["owner"]
        lines["kind"] = w.SUBMITTED
        lines["side"] = side
        return lines[order]

    def _one_sided_since(self) -> int:
        """For how long a side has been empty now."""
        clock = self._world.clock
        return int(clock[w.NOW_NS] - clock[w.ONE_SIDED_SINCE]) if clock[w.ONE_SIDED_SINCE] >= 0 else 0

    def _stats(self) -> TapeStats:
        clock, state = self._world.clock, self._world.book.state
        return TapeStats(
            events=int(clock[w.STEPS]),
            messages=int(clock[w.MESSAGES]),
            orders=int(clock[w.SENT]),
            lost=int(clock[w.LOST]),
            in_flight=int(clock[w.IN_FLIGHT]),
            resting=int(state[m.BID_ORDERS] + state[m.ASK_ORDERS]),
            filled=int(clock[w.FILLED_]),
            cancelled=int(clock[w.CANCELLED_]),
            expired=int(clock[w.EXPIRED_]),
            rejected=int(clock[w.REJECTED_]),
            volume=int(clock[w.VOLUME] * self._world.units[w.LOT_UNITS]),
            one_sided_ns=int(clock[w.ONE_SIDED_NS] + self._one_sided_since()),
        )


def _joined(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    if len(parts) == 1:
        return parts[0].copy()  # not the buffer that it is the beginning of
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _put_away(parts: list[np.ndarray], buffer: np.ndarray, n: int, least: int) -> np.ndarray:
    """Add the first `n` lines to `parts`; returns a buffer of `least` lines or more to go on with."""
    length = len(buffer)
    while length < least:
        length *= 2
    if n < len(buffer) // 2:
        parts.append(buffer[:n].copy())
        return buffer if length == len(buffer) else np.empty(length, buffer.dtype)
    parts.append(buffer[:n])  # the buffer itself goes onto the tape: its lines are copied once, not twice
    return np.empty(length, buffer.dtype)


def _run_one(population: Population, seed: int, duration_ns: int, contenders: Sequence[Contender]) -> Tape:
    return Market(population, seed, contenders=contenders).run(duration_ns)


def run_many(
    population: Population,
    seeds: Iterable[int],
    duration_ns: int,
    *,
    workers: int = 1,
    contenders: Sequence[Contender] = (),
) -> list[Tape]:
    """Run one market per seed; returns the tapes in the order of the seeds, with any number of workers.

    With `workers` above 1 they run in that many threads, side by side: a market spends its time in compiled
    code that needs no lock of Python's. The same `contenders` take part in each of the markets.
    """
    jobs = [(population, seed, duration_ns, tuple(contenders)) for seed in seeds]
    if workers <= 1 or len(jobs) <= 1:
        return [_run_one(*job) for job in jobs]
    with ThreadPoolExecutor(min(workers, len(jobs))) as pool:
        return list(pool.map(_run_one, *zip(*jobs, strict=True)))
