"""Recording a venue's live feed: a Nautilus node that only listens and streams what it hears to disk.

The node has data clients and no execution clients, so it needs no keys. Nautilus's streaming writer appends
every datum to Arrow streams under ``<streams>/live/<instance id>/``; `apex_nautilus.data` turns these into
catalog data. A recorder that is killed loses what was not yet flushed and nothing else: the streams before
it are whole, and are converted in the same way.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import pandas as pd
from nautilus_trader.adapters.binance import BinanceAccountType, BinanceDataClientConfig
from nautilus_trader.adapters.binance.common.enums import BinanceEnvironment
from nautilus_trader.adapters.binance.factories import BinanceLiveDataClientFactory
from nautilus_trader.adapters.bybit.config import BybitDataClientConfig
from nautilus_trader.adapters.bybit.data import BybitDataClient
from nautilus_trader.adapters.bybit.factories import BybitLiveDataClientFactory
from nautilus_trader.cache.config import CacheConfig
from nautilus_trader.common.actor import Actor
from nautilus_trader.common.config import ActorConfig, InstrumentProviderConfig, LoggingConfig
from nautilus_trader.core.nautilus_pyo3 import BybitEnvironment, BybitProductType, BybitWebSocketClient
from nautilus_trader.core.uuid import UUID4
from nautilus_trader.live.config import (
    LiveDataClientConfig,
    LiveExecEngineConfig,
    RoutingConfig,
    TradingNodeConfig,
)
from nautilus_trader.live.factories import LiveDataClientFactory
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.data import Bar, BarType, OrderBookDeltas, QuoteTick, TradeTick
from nautilus_trader.model.enums import BookType
from nautilus_trader.model.identifiers import ClientId, InstrumentId
from nautilus_trader.model.instruments import CryptoPerpetual, CurrencyPair
from nautilus_trader.persistence.config import StreamingConfig
from nautilus_trader.persistence.writer import RotationMode

from apex_nautilus.engine.config import ConfigError, read_config
from apex_nautilus.store.atomic import write_atomic

__all__ = [
    "LOCK_FILE",
    "RECORDING_FILE",
    "RECORD_SCHEMA",
    "RecordConfig",
    "RecordedVenue",
    "Recording",
    "RecordingError",
    "load_record_config",
    "record",
]

RECORD_SCHEMA = "apex.record/1"
RECORDING_FILE = "recording.json"
"""Stands in the folder of each recording and says what it is."""
LOCK_FILE = ".recording"
"""Is locked while the recording goes on."""

_BYBIT_DEPTHS = {"linear": (1, 50, 200, 500, 1000), "spot": (1, 50, 200, 1000)}
_BYBIT_ENVIRONMENTS = {"mainnet": BybitEnvironment.MAINNET, "testnet": BybitEnvironment.TESTNET}
_BYBIT_PRODUCTS = {"LINEAR": BybitProductType.LINEAR, "SPOT": BybitProductType.SPOT}
_BINANCE_ACCOUNTS = {
    "binance-usdm": BinanceAccountType.USDT_FUTURES,
    "binance-spot": BinanceAccountType.SPOT,
}
_BINANCE_ENVIRONMENTS = {"mainnet": BinanceEnvironment.LIVE, "testnet": BinanceEnvironment.TESTNET}
_LOOK_S = 1.0  # how often silence is looked for
_TELL_S = 10.0  # how often progress is told
_CLIENTS = {"bybit": "BYBIT", "binance-usdm": "BINANCE_USDM", "binance-spot": "BINANCE_SPOT"}
_TYPES = {"deltas": OrderBookDeltas, "trades": TradeTick, "quotes": QuoteTick, "bars": Bar}
_PLAIN_BARS = "apex.recorder.bars"
_UNITS = {"m": "MINUTE", "h": "HOUR", "d": "DAY"}


class RecordingError(RuntimeError):
    """A recording that could not begin or that heard nothing; the message says what and how to mend it."""


class RecordedVenue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One venue to listen to.

    Parameters
    ----------
    venue : {"bybit", "binance-usdm", "binance-spot"}
    instruments : list of str
        Nautilus ids: ``BTCUSDT-LINEAR.BYBIT``, ``BTCUSDT-SPOT.BYBIT``, ``BTCUSDT-PERP.BINANCE`` (usdm),
        ``BTCUSDT.BINANCE`` (spot).
    environment : {"mainnet", "testnet"}
    depth : int
        Levels a side that are asked for. Bybit: 1, 50, 200, 500 or 1000; Binance: levels of the first
        snapshot, above 20 and at most 1000, the changes then come for all levels.
    base_url_http, base_url_ws : str, optional
        Another host than the venue's own, both or neither. For Bybit the websocket's path
        (``/v5/public/linear``) is put behind it.
    """

    venue: Literal["bybit", "binance-usdm", "binance-spot"]
    instruments: list[str]
    environment: Literal["mainnet", "testnet"] = "mainnet"
    depth: int = 200
    base_url_http: str | None = None
    base_url_ws: str | None = None


class RecordConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to record (schema ``apex.record/1``).

    Parameters
    ----------
    schema : str
        ``apex.record/1``.
    name : str
        Names the recording; letters, digits, ``-`` and ``_``.
    venues : list of RecordedVenue
    record : list of {"deltas", "trades", "quotes", "bars"}
        What is asked of every instrument.
    bars : list of str
        Lengths of the bars, ``1m``, ``5m``, ``1h``; needed when `record` names bars.
    catalog : str
        Where the data end up, a Nautilus ParquetDataCatalog; relative to the configuration file.
    streams : str
        Folder of the raw streams; relative to the configuration file.
    flush_s : float
        Largest age of what a killed recorder loses, while data flow.
    rotate_s : float
        Time after which a new stream file is begun.
    max_seconds : float, optional
        Stop by itself after so long; without it the recording runs until it is stopped.
    connect_timeout_s : float
        Give up when the venues are not reached within it.
    silence_timeout_s : float
        Give up when nothing at all was heard for so long.
    """

    schema: Literal["apex.record/1"]
    name: str
    venues: list[RecordedVenue]
    record: list[Literal["deltas", "trades", "quotes", "bars"]] = msgspec.field(
        default_factory=lambda: ["deltas", "trades"]
    )
    bars: list[str] = []
    catalog: str = "../../catalog/market"
    streams: str = "../../runs/recordings"
    flush_s: float = 1.0
    rotate_s: float = 3600.0
    max_seconds: float | None = None
    connect_timeout_s: float = 30.0
    silence_timeout_s: float = 60.0


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What a recorder leaves beside its streams, and hands back.

    `heard` counts what arrived, by kind; it is absent from a recording whose process was killed.
    """

    schema: str
    name: str
    folder: str
    instruments: list[str]
    heard: dict[str, int] | None = None


# ---- configuration


def load_record_config(path: str | os.PathLike[str]) -> RecordConfig:
    """Read what to record; paths in it become absolute.

    Raises
    ------
    ConfigError
        The message names the file and the field.
    """
    config = read_config(path, RecordConfig, _check)
    folder = Path(path).resolve().parent
    return msgspec.structs.replace(
        config,
        catalog=str((folder / config.catalog).resolve()),
        streams=str((folder / config.streams).resolve()),
    )


def _check(config: RecordConfig) -> None:
    name = config.name
    if not (0 < len(name) <= 48 and name.isascii() and all(c.isalnum() or c in "-_" for c in name)):
        raise ConfigError(f"name: {name!r} may hold letters, digits, '-' and '_' only, at most 48")
    if not config.venues:
        raise ConfigError("venues: at least one venue is needed")
    if not config.record:
        raise ConfigError("record: name at least one of deltas, trades, quotes, bars")
    if ("bars" in config.record) != bool(config.bars):
        raise ConfigError('bars: name their lengths, as in ["1m"], and "bars" in record, or neither')
    for i, length in enumerate(config.bars):
        if not (length[:-1].isdigit() and int(length[:-1]) > 0 and length[-1:] in _UNITS):
            raise ConfigError(f"bars[{i}]: {length!r} is no length of time such as 1m, 5m, 1h, 1d")
    for field in ("flush_s", "rotate_s", "connect_timeout_s", "silence_timeout_s", "max_seconds"):
        value = getattr(config, field)
        if value is not None and not (math.isfinite(value) and value > 0.0):
            raise ConfigError(f"{field}: must be finite and positive, got {value!r}")
    seen: dict[str, str] = {}
    for i, venue in enumerate(config.venues):
        where = f"venues[{i}]"
        if venue.venue in {v.venue for v in config.venues[:i]}:
            raise ConfigError(f"{where}.venue: {venue.venue!r} is named before; put its instruments together")
        if not venue.instruments:
            raise ConfigError(f"{where}.instruments: at least one instrument is needed")
        if (venue.base_url_http is None) != (venue.base_url_ws is None):
            raise ConfigError(f"{where}.base_url_ws: give base_url_http and base_url_ws, or neither")
        for field, schemes in (
            ("base_url_http", ("http://", "https://")),
            ("base_url_ws", ("ws://", "wss://")),
        ):
            url = getattr(venue, field)
            if url is not None and not url.startswith(schemes):
                raise ConfigError(f"{where}.{field}: {url!r} does not begin with {' or '.join(schemes)}")
        for k, instrument_id in enumerate(venue.instruments):
            _check_instrument(venue, instrument_id, f"{where}.instruments[{k}]")
            if instrument_id in seen:
                raise ConfigError(
                    f"{where}.instruments[{k}]: {instrument_id} is named in {seen[instrument_id]}"
                )
            seen[instrument_id] = f"{where}.instruments"
        if venue.venue != "bybit" and not 20 < venue.depth <= 1000:
            raise ConfigError(
                f"{where}.depth: must be above 20 and at most 1000, got {venue.depth}: at 20 and fewer "
                "Binance sends another stream, of partial books"
            )


def _check_instrument(venue: RecordedVenue, instrument_id: str, where: str) -> None:
    try:
        parsed = InstrumentId.from_str(instrument_id)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    symbol = parsed.symbol.value
    expected = {
        "bybit": ("BYBIT", symbol.endswith(("-LINEAR", "-SPOT")), "SYMBOL-LINEAR.BYBIT or SYMBOL-SPOT.BYBIT"),
        "binance-usdm": ("BINANCE", symbol.endswith("-PERP"), "SYMBOL-PERP.BINANCE"),
        "binance-spot": ("BINANCE", "-" not in symbol, "SYMBOL.BINANCE"),
    }[venue.venue]
    if parsed.venue.value != expected[0] or not expected[1]:
        raise ConfigError(f"{where}: {instrument_id!r} is not {expected[2]}")
    if venue.venue == "bybit":
        market = "linear" if symbol.endswith("-LINEAR") else "spot"
        if venue.depth not in _BYBIT_DEPTHS[market]:
            allowed = ", ".join(map(str, _BYBIT_DEPTHS[market]))
            raise ConfigError(
                f"{where.rpartition('.')[0]}.depth: Bybit sends books of {allowed} levels ({market}), "
                f"not {venue.depth}"
            )


# ---- data clients


class BybitStreamConfig(BybitDataClientConfig, frozen=True):
    """Bybit's data client with another websocket host, which its own configuration cannot name."""

    base_url_ws: str | None = None


class BybitStreamFactory(BybitLiveDataClientFactory):
    """Makes Bybit's data client and points its public websockets at `BybitStreamConfig.base_url_ws`."""

    @staticmethod
    def create(  # type: ignore[override]
        loop: asyncio.AbstractEventLoop,
        name: str,
        config: BybitStreamConfig,
        msgbus: Any,
        cache: Any,
        clock: Any,
    ) -> BybitDataClient:
        client = BybitLiveDataClientFactory.create(loop, name, config, msgbus, cache, clock)
        if config.base_url_ws is not None:
            for product in list(client._ws_clients):
                websocket = BybitWebSocketClient.new_public(
                    product_type=product,
                    environment=config.environment or BybitEnvironment.MAINNET,
                    url=f"{config.base_url_ws.rstrip('/')}/v5/public/{product.name.lower()}",
                )
                websocket.set_bars_timestamp_on_close(config.bars_timestamp_on_close)
                client._ws_clients[product] = websocket
        return client


def _client(venue: RecordedVenue) -> tuple[LiveDataClientConfig, type[LiveDataClientFactory]]:
    """The Nautilus configuration of a venue's data client, and its factory."""
    provider = InstrumentProviderConfig(load_ids=frozenset(map(InstrumentId.from_str, venue.instruments)))
    if venue.venue == "bybit":
        products = {i.partition(".")[0].rpartition("-")[2] for i in venue.instruments}
        bybit = BybitStreamConfig(
            instrument_provider=provider,
            product_types=tuple(_BYBIT_PRODUCTS[p] for p in sorted(products)),
            environment=_BYBIT_ENVIRONMENTS[venue.environment],
            base_url_http=venue.base_url_http,
            base_url_ws=venue.base_url_ws,
            update_instruments_interval_mins=None,
            instrument_status_poll_secs=None,
            max_retries=3,
            routing=RoutingConfig(venues=frozenset({"BYBIT"})),
        )
        return bybit, BybitStreamFactory
    binance = BinanceDataClientConfig(
        instrument_provider=provider,
        account_type=_BINANCE_ACCOUNTS[venue.venue],
        environment=_BINANCE_ENVIRONMENTS[venue.environment],
        base_url_http=venue.base_url_http,
        base_url_ws=venue.base_url_ws,
        update_instruments_interval_mins=None,
    )
    return binance, BinanceLiveDataClientFactory


# ---- the node


class _RecorderConfig(ActorConfig, frozen=True):
    pass


class _Recorder(Actor):
    """Subscribes to everything that is to be recorded."""

    def __init__(self, config: RecordConfig) -> None:
        super().__init__(_RecorderConfig(component_id="Recorder"))
        self._wanted = config
        self.missing: list[str] = []
        self.started = asyncio.Event()

    def on_start(self) -> None:
        for venue in self._wanted.venues:
            client = ClientId(_CLIENTS[venue.venue])
            for instrument_id in map(InstrumentId.from_str, venue.instruments):
                if self.cache.instrument(instrument_id) is None:
                    self.missing.append(instrument_id.value)
                else:
                    self._subscribe(instrument_id, client, venue.depth)
        self.started.set()

    def on_stop(self) -> None:
        """The subscriptions end with the connection: what is under way is still written."""

    def _subscribe(self, instrument_id: InstrumentId, client: ClientId, depth: int) -> None:
        if "deltas" in self._wanted.record:
            self.subscribe_order_book_deltas(
                instrument_id, BookType.L2_MBP, depth=depth, client_id=client, managed=False
            )
        if "trades" in self._wanted.record:
            self.subscribe_trade_ticks(instrument_id, client_id=client)
        if "quotes" in self._wanted.record:
            self.subscribe_quote_ticks(instrument_id, client_id=client)
        for length in self._wanted.bars:
            bar_type = f"{instrument_id}-{length[:-1]}-{_UNITS[length[-1]]}-LAST-EXTERNAL"
            self.subscribe_bars(BarType.from_str(bar_type), client_id=client)


class _Listener:
    """Counts what the bus carries, also while the node stops, when actors hear nothing any more."""

    def __init__(self, node: TradingNode, kinds: list[str]) -> None:
        self.heard = dict.fromkeys(kinds, 0)
        self._bus = node.kernel.msgbus
        self._bus.subscribe(topic="data.*", handler=self._hear)

    @property
    def total(self) -> int:
        return sum(self.heard.values())

    def _hear(self, message: object) -> None:
        for kind, cls in _TYPES.items():
            if isinstance(message, cls) and kind in self.heard:
                self.heard[kind] += 1
        if isinstance(message, Bar) and type(message) is not Bar:
            # Binance's own kind of bar has no Arrow schema, and the writer would pass it over in silence.
            plain = Bar(
                message.bar_type,
                message.open,
                message.high,
                message.low,
                message.close,
                message.volume,
                message.ts_event,
                message.ts_init,
            )
            self._bus.publish(topic=_PLAIN_BARS, msg=plain)


def _node_config(config: RecordConfig, instance: UUID4, log_level: str) -> TradingNodeConfig:
    types: list[type] = [CryptoPerpetual, CurrencyPair]
    types += [_TYPES[kind] for kind in config.record]
    return TradingNodeConfig(
        trader_id="RECORDER-001",
        instance_id=instance,
        logging=LoggingConfig(log_level=log_level, log_colors=False),
        exec_engine=LiveExecEngineConfig(reconciliation=False),
        cache=CacheConfig(),
        streaming=StreamingConfig(
            catalog_path=config.streams,
            flush_interval_ms=max(1, round(config.flush_s * 1000)),
            include_types=types,
            rotation_mode=RotationMode.INTERVAL,
            rotation_interval=pd.Timedelta(seconds=config.rotate_s),
        ),
        data_clients={_CLIENTS[v.venue]: _client(v)[0] for v in config.venues},
        timeout_connection=config.connect_timeout_s,
        timeout_disconnection=5.0,
        timeout_post_stop=0.5,
    )


def record(
    config: RecordConfig,
    *,
    seconds: float | None = None,
    progress: Callable[[str], None] = lambda text: None,
    log_level: str = "ERROR",
) -> Recording:
    """Record until stopped (SIGINT or SIGTERM), or for so long; return what there is.

    One recording a process: Nautilus's logging is set up once.

    Parameters
    ----------
    config : as `load_record_config` gives it.
    seconds : takes the place of `config.max_seconds`.
    progress : takes a line of text now and then.
    log_level : of Nautilus's own log on standard output.

    Raises
    ------
    RecordingError
        When the venues are not reached, do not know an instrument, or nothing is heard. What was recorded
        until then stays in the streams.
    """
    limit = config.max_seconds if seconds is None else seconds
    instance = UUID4()
    folder = Path(config.streams) / "live" / instance.value
    folder.mkdir(parents=True)
    instruments = [i for venue in config.venues for i in venue.instruments]
    told = Recording(schema=RECORD_SCHEMA, name=config.name, folder=str(folder), instruments=instruments)
    with _held(folder):
        _tell(folder, told)
        heard = _run_node(config, instance, limit, progress, log_level)
        told = msgspec.structs.replace(told, heard=heard)
        _tell(folder, told)
    return told


def _run_node(
    config: RecordConfig,
    instance: UUID4,
    limit: float | None,
    progress: Callable[[str], None],
    log_level: str,
) -> dict[str, int]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    node = TradingNode(_node_config(config, instance, log_level), loop=loop)
    try:
        for venue in config.venues:
            node.add_data_client_factory(_CLIENTS[venue.venue], _client(venue)[1])
        recorder = _Recorder(config)
        listener = _Listener(node, list(config.record))
        node.trader.add_actor(recorder)
        node.build()
        loop.run_until_complete(_listen(node, recorder, listener, config, limit, progress))
    finally:
        node.dispose()
        asyncio.set_event_loop(None)
    return listener.heard


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the recording's lock, which the system releases when the process dies."""
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _tell(folder: Path, recording: Recording) -> None:
    # The folder's own path stays out: a recording may be moved.
    content = {k: v for k, v in msgspec.to_builtins(recording).items() if k != "folder"}
    write_atomic(folder / RECORDING_FILE, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


async def _listen(
    node: TradingNode,
    recorder: _Recorder,
    listener: _Listener,
    config: RecordConfig,
    limit: float | None,
    progress: Callable[[str], None],
) -> None:
    """Run the node until it is stopped by a signal or by `limit`; stop it when something is wrong."""
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(node.run_async())
    started = asyncio.ensure_future(recorder.started.wait())
    try:
        await asyncio.wait(
            {running, started}, timeout=config.connect_timeout_s + 1.0, return_when=asyncio.FIRST_COMPLETED
        )
        if running.done():
            return  # stopped by a signal before it began
        if not started.done():
            hosts = ", ".join(f"{v.venue} ({v.base_url_http or v.environment})" for v in config.venues)
            raise RecordingError(
                f"not connected within {config.connect_timeout_s:g} s: {hosts}. Check the network, and that "
                f"the venue lists {', '.join(i for v in config.venues for i in v.instruments)}; --log-level "
                "INFO shows what Nautilus says"
            )
        if recorder.missing:
            raise RecordingError(
                f"the venue does not list {', '.join(recorder.missing)}; check the symbol and the environment"
            )
        progress(f"recording {', '.join(i for v in config.venues for i in v.instruments)}")
        ends = math.inf if limit is None else loop.time() + limit
        told, last_total = loop.time(), 0
        heard_at = loop.time()
        while not running.done() and loop.time() < ends:
            step = min(_LOOK_S, ends - loop.time(), config.silence_timeout_s)
            await asyncio.wait({running}, timeout=max(step, 0.0))
            now = loop.time()
            if listener.total != last_total:
                last_total, heard_at = listener.total, now
            elif now - heard_at >= config.silence_timeout_s and now < ends and not running.done():
                raise RecordingError(
                    f"nothing was heard for {config.silence_timeout_s:g} s; what came before is kept. "
                    "The connection may be lost, or the instruments do not trade"
                )
            if now - told >= _TELL_S:
                told = now
                progress(", ".join(f"{n:,} {kind}" for kind, n in listener.heard.items()))
    finally:
        started.cancel()
        if not running.done():
            await node.stop_async()
        await asyncio.wait({running}, timeout=10.0)
        if not running.done():
            running.cancel()
