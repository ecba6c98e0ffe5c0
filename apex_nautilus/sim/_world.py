"""The state of one market as arrays: what the kernels of venue and agents work on."""

from typing import NamedTuple

import numpy as np

from ..features import EVENT
from .draws import start_key
from .event_queue import SCHEDULED, Queue, new_queue
from .latency import AHEAD
from .matching import FILL, Book, new_book
from .population import Population

__all__ = ["ACCOUNT", "ORDER_EVENT", "SAMPLE", "TRADE", "World", "new_world"]

# Kinds of scheduled events. The first four happen at the venue, three of them messages that reach it; the
# rest are agents (or the value) waking. Typed, because numba compiles a kernel anew for every literal number
# it is called with.
ORDER_ARRIVES, CANCEL_ARRIVES, REPLACE_ARRIVES, EXPIRES = np.arange(4)
NOISE_LIMIT, NOISE_MARKET, NOISE_EXPIRE, EXCITED = np.arange(4, 8)
MAKER, INFORMED, EXECUTOR, MOMENTUM, REVERSION, VALUE, FUNDING = np.arange(8, 15)
START = np.int64(15)  # everybody schedules the first awakening
BUY, SELL = np.int64(1), np.int64(-1)
NONE = np.int64(0)  # an argument without a meaning for this kind of event

# Indices into `clock`, int64.
NOW_NS, NEXT_ORDER_ID, BATCH, LAST_RECEIVED_NS = 0, 1, 2, 3
N_EVENTS, N_TRADES = 4, 5  # lines written to the tape's buffers
SENT, LOST, IN_FLIGHT, FILLED_, CANCELLED_, EXPIRED_, REJECTED_ = 6, 7, 8, 9, 10, 11, 12
STEPS, MESSAGES, VOLUME = 13, 14, 15
N_SAMPLES = 16  # lines written to `samples`
N_OUT = 17  # lines waiting in `outbox`
ONE_SIDED_SINCE, ONE_SIDED_NS = 18, 19  # when a side of the book fell empty (-1: none is), and for how long
RATE_NS = 20
PUBLISHED = 21  # batches sent on the feed: the number of its next delay
N_LOG = 22  # lines written to `log`
CLOCK_SIZE = 24

# Indices into `values`, float64.
# VALUE_TICKS is the fundamental value and MID the last mid of a two-sided book, both in ticks; TICK the tick
# in quote units, TICK_LOT what one lot is worth in quote units per tick of its price.
LOG_VALUE, VALUE_TICKS, MID, FAST, SLOW, TICK, TICK_LOT = 0, 1, 2, 3, 4, 5, 6
RATE = 7  # messages to the venue a second, as of clock[RATE_NS]
VALUES_SIZE = 12

# Indices into `units`, int64: what one tick, one lot and the fees are on the tape.
TICK_UNITS, LOT_UNITS, MAKER_FEE, TAKER_FEE = 0, 1, 2, 3
FEED = -1  # the venue's own key for the delays of its data feed
MOST_BIRTHS = 64  # more market orders than one trade can plausibly excite
FEE_SCALE = 100_000_000  # fee rates are counted in 1e-8, so that fees are integers too

# Indices into `first`, int64: the first agent of each kind; agents of a kind have consecutive ids.
NOISE_, MAKERS_, INFORMED_, EXECUTORS_, MOMENTUM_, REVERSION_, CONTENDERS_ = np.arange(7)
KINDS = ("noise", "maker", "informed", "executor", "momentum", "reversion", "contender")

ACCOUNT = np.dtype(
    [
        ("inventory", "<i8"),  # lots
        ("cash", "<i8"),  # ticks times lots, before fees
        ("fees", "<i8"),  # ticks times lots times 1e-8, paid (a rebate is negative)
        ("funding", "<i8"),  # the same, paid
        ("bought", "<i8"),  # lots
        ("sold", "<i8"),  # lots
        ("commands", "<i8"),  # messages sent: the key of the next draw of the network
        ("last_arrival_ns", "<i8"),  # of the agent's connection to the venue
        ("kind", "<i8"),  # index into KINDS
    ]
)
MAKER_STATE = np.dtype([("value", "<f8"), ("seen_ns", "<i8")])
QUOTE = np.dtype([("id", "<i8"), ("slot", "<i8")])
SAMPLE = np.dtype([("ts_ns", "<i8"), ("value", "<f8")])  # quote units
# What an agent wants, before the network has had its say: a message to the venue or an awakening.
WISH = np.dtype(
    [
        ("kind", "<i8"),
        ("agent", "<i8"),
        ("time_ns", "<i8"),  # of an awakening; of an order, how long it lives (0: until cancelled)
        ("slot", "<i8"),
        ("id", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),
        ("side", "<i8"),
        ("time_in_force", "<i8"),
        ("after", "<i8"),  # of an order that lives for a time: the kind of event that ends it
        ("quote", "<i8"),  # where a maker keeps it, -1 nowhere
    ]
)
PARENT = np.dtype([("side", "<i8"), ("left", "<i8")])

TRADE = np.dtype(
    [
        ("ts_ns", "<i8"),  # exchange time
        ("price", "<i8"),  # units of 10**-price_precision
        ("size", "<i8"),  # units of 10**-size_precision
        ("taker_order", "<i8"),
        ("maker_order", "<i8"),
        ("taker", "<i4"),  # agent
        ("maker", "<i4"),  # agent
        ("side", "i1"),  # of the taker
    ],
    align=True,
)

# What happens to orders that rest, by LOBSTER's numbers: an order came to rest, shrank where it stands, left
# (cancelled, expired, moved, or taken off by self-trade prevention), or was traded against.
SUBMITTED, REDUCED, DELETED, EXECUTED = np.arange(1, 5)
ORDER_EVENT = np.dtype(
    [
        ("ts_ns", "<i8"),  # exchange time
        ("order_id", "<i8"),
        ("price", "<i8"),  # units of 10**-price_precision
        ("size", "<i8"),  # units of 10**-size_precision: what came, went or was traded
        ("owner", "<i4"),
        ("kind", "u1"),
        ("side", "i1"),  # of the resting order
    ],
    align=True,
)


class World(NamedTuple):
    """Every array of a market. Replaced (not changed) when one of them must grow."""

    book: Book
    queue: Queue
    event: np.ndarray  # SCHEDULED[1], the event at hand
    clock: np.ndarray  # int64
    values: np.ndarray  # float64
    units: np.ndarray  # int64
    first: np.ndarray  # int64
    parameters: np.ndarray  # record[1]
    delays: np.ndarray  # float64[kinds + 1, 3], mu by kind of agent (last: the feed) and direction
    stream: np.ndarray  # uint64[1], the agents' random stream
    keys: np.ndarray  # uint64[agents + 1], keys of the network's draws (last: the feed)
    ahead: np.ndarray  # float64[agents + 1, 3, AHEAD], the next delays of each connection (last: the feed)
    accounts: np.ndarray  # ACCOUNT[agents]
    outbox: np.ndarray  # WISH
    makers: np.ndarray  # MAKER_STATE
    quotes: np.ndarray  # QUOTE[makers * 2 * levels]
    parents: np.ndarray  # PARENT[executors]
    fills: np.ndarray  # FILL
    events: np.ndarray  # EVENT, the tape's buffer
    trades: np.ndarray  # TRADE, the tape's buffer
    samples: np.ndarray  # SAMPLE, the tape's buffer of the fundamental value
    log: np.ndarray  # ORDER_EVENT, the tape's buffer of what happens to orders; of no length: not recorded


def _delays(p: Population) -> np.ndarray:
    """The location of each kind of delay; the feed's is that of data, whoever reads it."""
    trend = p.latency_trend
    shifts = [0.0, p.latency_maker, p.latency_informed, p.latency_executor, trend, trend, 0.0, 0.0]
    directions = [0.0, p.latency_cancel, p.latency_data]
    return p.latency_mu + np.add.outer(shifts, directions)


def new_world(
    population: Population,
    seed: np.random.SeedSequence,
    start_ns: int,
    *,
    contenders: int = 0,
    record_orders: bool = False,
) -> World:
    """Return the arrays of a market before anything has happened; contenders come after all other agents."""
    p = population
    trend = (p.momentum_agents, p.reversion_agents)
    counts = (p.noise_agents, p.makers, p.informed_agents, p.executors, *trend, contenders)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    accounts = np.zeros(first[-1], ACCOUNT)
    accounts["kind"] = np.repeat(np.arange(len(counts)), counts)
    accounts["last_arrival_ns"] = start_ns
    stream, network = seed.generate_state(2, np.uint64)

    clock = np.zeros(CLOCK_SIZE, np.int64)
    clock[NOW_NS] = clock[LAST_RECEIVED_NS] = clock[ONE_SIDED_SINCE] = start_ns
    ticks = p.start_price / p.instrument.tick
    values = np.zeros(VALUES_SIZE)
    values[[VALUE_TICKS, MID, FAST, SLOW]] = ticks
    values[TICK] = p.instrument.tick
    values[TICK_LOT] = p.instrument.tick * p.instrument.lot
    makers = np.zeros(p.makers, MAKER_STATE)
    makers["value"] = ticks
    makers["seen_ns"] = start_ns
    quotes = np.zeros(p.makers * 2 * p.maker_levels, QUOTE)
    quotes["id"] = -1
    i = p.instrument
    fees = [round(fee * FEE_SCALE) for fee in (i.maker_fee, i.taker_fee)]
    return World(
        book=new_book(4096, 4096, prevent_self_trade=True),
        queue=new_queue(4096),
        event=np.zeros(1, SCHEDULED),
        clock=clock,
        values=values,
        units=np.array([i.tick_units, i.lot_units, *fees], np.int64),
        first=first,
        parameters=p.record(),
        stream=np.array([stream], np.uint64),
        delays=_delays(p),
        keys=np.array([start_key(network, agent) for agent in (*range(first[-1]), FEED)], np.uint64),
        ahead=np.zeros((first[-1] + 1, 3, AHEAD)),
        accounts=accounts,
        outbox=np.zeros(2 * p.maker_levels + MOST_BIRTHS + 8, WISH),
        makers=makers,
        quotes=quotes,
        parents=np.zeros(p.executors, PARENT),
        fills=np.zeros(4096, FILL),
        events=np.zeros(1 << 15, EVENT),
        trades=np.zeros(1 << 14, TRADE),
        samples=np.zeros(1 << 12, SAMPLE),
        log=np.zeros((1 << 15) if record_orders else 0, ORDER_EVENT),
    )
