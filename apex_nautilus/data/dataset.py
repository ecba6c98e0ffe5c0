"""What a strategy is trained and judged on: rows of features, and the path of the market between them.

A dataset is a folder of memory-mapped .npy arrays and a JSON card. It is written whole or not at all, and
its id is the hash of what went into it, so that a run can name exactly what it saw.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from apex_nautilus.data.errors import DatasetError
from apex_nautilus.data.labels import (
    LABEL,
    LABEL_NOTIONAL,
    Bracket,
    Slippage,
    bar_prices,
    book_prices,
    label_blocks,
)
from apex_nautilus.data.npy_append import NpyAppender
from apex_nautilus.data.splits import Splits, time_splits
from apex_nautilus.risk import BarCosts, InstrumentSpec, require_linear
from apex_nautilus.store.atomic import fsync_directory, move, write_atomic

__all__ = [
    "BOOK_CLOCKS",
    "DEPTH",
    "DEPTHS",
    "SCHEMA",
    "Dataset",
    "DatasetCard",
    "DatasetWriter",
]

SCHEMA = "apex.dataset/1"
BOOK_CLOCKS = ("book", "1s")
DEPTHS = (5, 10)
"""How many levels a path of books may keep on each side; the first is the default."""
DEPTH = DEPTHS[0]

_ARRAYS: dict[str, type] = {
    "ts_ns": np.int64,
    "features": np.float64,
    "mid": np.float64,
    "row_event": np.int64,
    "path_ts_ns": np.int64,
    "path_bid": np.float64,
    "path_ask": np.float64,
    "path_depth": np.float64,
}
_BAR_ARRAYS: dict[str, type] = dict.fromkeys(
    ("path_open", "path_high", "path_low", "path_close", "path_half_spread"), np.float64
)
_COST_ARRAYS: dict[str, type] = dict.fromkeys(("path_sigma", "path_volume"), np.float64)


class DatasetCard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a dataset is and where it came from.

    Attributes
    ----------
    id : SHA-256 of the inputs: every event or bar, every point of an external series, the instrument, the
        clock, the features and their definitions, the levels kept, the modelled spread.
    feature_names : columns of the matrix, in order.
    external : those of them that were joined from external series; the rest are computed from the market.
    path : "book" (order-book events) or "bars".
    depth : levels a side of a path of books, 0 for bars.
    conflate_ms : least time between two rows of the book clock.
    half_spread_bps : modelled half spread of a path of bars (its constant part), None for a book.
    bar_costs : the cost model of a path of bars; None where the half spread is constant and nothing slips.
    source : what was read, in words: the folders' names, the bar types.
    span_ns : times of the first and last event read.
    counts : rows, path entries, events read, rows left out because features were still warming up, levels
    that the book of the features had no room for.
    """

    schema: str = SCHEMA
    id: str
    instrument: InstrumentSpec
    clock: str
    feature_names: tuple[str, ...]
    external: tuple[str, ...] = ()
    path: str
    depth: int = DEPTH
    conflate_ms: int = 0
    half_spread_bps: float | None = None
    bar_costs: BarCosts | None = None
    source: str
    span_ns: tuple[int, int]
    counts: dict[str, int]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows to decide on (N), and the path to trade on between them (M).

    Attributes
    ----------
    card : DatasetCard
    ts_ns : (N,) int64
        When each row was released. Rows whose features were still warming up are not part of it.
    features : (N, F) float64, C order
        Never NaN.
    mid : (N,) float64
        Mid price at the row's path entry.
    row_event : (N,) int64
        The path entry a row's order meets (a book), or the bar at whose close it is decided (bars).
    path_ts_ns : (M,) int64
        Time of each whole book, or of each bar's close.
    path_bid, path_ask : (M,) float64
        The touch; of bars, the close with the modelled half spread taken off or put on.
    path_depth : (M, 4, 5 or 10) float64
        Bid prices, bid sizes, ask prices, ask sizes, best first; NaN and 0 where absent. (M, 4, 0) for bars.
    path_open, path_high, path_low, path_close, path_half_spread : (M,) float64 or None
        Only for a path of bars.
    path_sigma, path_volume : (M,) float64 or None
        Only with a cost model: forecast deviation of each bar's log return, mean volume of the bars before.
    """

    card: DatasetCard
    ts_ns: np.ndarray
    features: np.ndarray
    mid: np.ndarray
    row_event: np.ndarray
    path_ts_ns: np.ndarray
    path_bid: np.ndarray
    path_ask: np.ndarray
    path_depth: np.ndarray
    path_open: np.ndarray | None = None
    path_high: np.ndarray | None = None
    path_low: np.ndarray | None = None
    path_close: np.ndarray | None = None
    path_half_spread: np.ndarray | None = None
    path_sigma: np.ndarray | None = None
    path_volume: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, m = self.ts_ns.shape[0], self.path_ts_ns.shape[0]
        for name in _array_names(self.card):
            array = getattr(self, name)
            rows = m if name.startswith("path_") else n
            if array is None or array.shape[:1] != (rows,):
                raise DatasetError(
                    f"dataset {self.id[:16]}: {name} does not have {rows} rows; build the dataset again"
                )
        if self.features.shape != (n, len(self.feature_names)):
            raise DatasetError(
                f"dataset {self.id[:16]}: {len(self.feature_names)} features named, matrix of shape "
                f"{self.features.shape}"
            )
        levels = 0 if self.is_bars else self.card.depth
        if self.path_depth.shape[1:] != (4, levels):
            raise DatasetError(
                f"dataset {self.id[:16]}: the card says {levels} levels a side, path_depth has shape "
                f"{self.path_depth.shape}; build it again"
            )
        if n and not (int(self.row_event.min()) >= 0 and int(self.row_event.max()) < m):
            raise DatasetError(
                f"dataset {self.id[:16]}: row_event points outside the path of {m} entries; build it again"
            )

    def __len__(self) -> int:
        return int(self.ts_ns.shape[0])

    @property
    def id(self) -> str:
        """SHA-256 of the inputs."""
        return self.card.id

    @property
    def instrument(self) -> InstrumentSpec:
        """The instrument traded."""
        return self.card.instrument

    @property
    def clock(self) -> str:
        """When rows close: "book", "1s", "1m", "5m" or "15m"."""
        return self.card.clock

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Columns of `features`."""
        return self.card.feature_names

    @property
    def is_bars(self) -> bool:
        """Whether the path is made of bars."""
        return self.card.path == "bars"

    @property
    def bar_costs(self) -> BarCosts | None:
        """The cost model of a path of bars, if there is one."""
        return self.card.bar_costs

    def labels(
        self,
        bracket: Bracket | np.void,
        rows: tuple[int, int] | None = None,
        *,
        notional: float = LABEL_NOTIONAL,
        out: str | os.PathLike[str] | None = None,
    ) -> np.ndarray:
        """Return triple-barrier labels: `LABEL` records of shape (n, 2), long then short.

        Parameters
        ----------
        bracket : Bracket, or one `risk.RULES` record
        rows : (lo, hi), all rows when left out
            Labels look as far into the future as the bracket's holding time, past `hi` if need be.
        notional : float
            What an order is worth, in the quote currency; on bars with a cost model its size decides what it
            slips. Elsewhere it is of no account.
        out : path of a .npy file, optional
            Labels are written there a block at a time and returned memory-mapped, read-only: 48 bytes a row
            need not fit in memory. The file appears when it is whole.

        Raises
        ------
        DatasetError
            When the range lies outside the dataset, the notional is not positive, or the instrument is
            inverse: returns and fees of a label are counted in the quote currency.
        """
        try:
            require_linear(self.instrument, "labelling")
        except ValueError as e:
            raise DatasetError(str(e)) from e
        if isinstance(bracket, np.void):
            bracket = Bracket.of_rules(bracket)
        lo, hi = rows if rows is not None else (0, len(self))
        if not 0 <= lo <= hi <= len(self):
            raise DatasetError(f"rows ({lo}, {hi}) lie outside the dataset's {len(self)} rows")
        if not (math.isfinite(notional) and notional > 0.0):
            raise DatasetError(f"labels: notional must be finite and positive, got {notional!r}")
        slippage = None
        if self.is_bars:
            bars = (_present(self, name) for name in _BAR_ARRAYS)
            prices = bar_prices(*bars, price_precision=self.instrument.price_precision)
            if self.bar_costs is not None:
                costs = (_present(self, name) for name in _COST_ARRAYS)
                slippage = Slippage(self.bar_costs.impact, *costs, notional=notional)
        else:
            prices = book_prices(self.path_bid, self.path_ask)
        blocks = label_blocks(
            bracket, self.instrument, (lo, hi), row_event=self.row_event, path_ts_ns=self.path_ts_ns,
            mid=self.mid, prices=prices, bars=self.is_bars, slippage=slippage,
        )  # fmt: skip
        if out is None:
            labels = np.zeros((hi - lo, 2), dtype=LABEL)
            at = 0
            for block in blocks:
                labels[at : at + len(block)] = block
                at += len(block)
            return labels
        target = Path(out)
        partial = target.with_name(f".{target.name}.partial")
        file = NpyAppender(partial, LABEL, (2,))
        try:
            for block in blocks:
                file.append(block)
            file.close()
            move(partial, target)
        finally:
            file.abandon()
            partial.unlink(missing_ok=True)
        return np.load(target, mmap_mode="r")

    def splits(
        self, max_hold_ns: int, train: float = 0.6, validation: float = 0.2, *, embargo_ns: int | None = None
    ) -> Splits:
        """Return train, validation and test in time order; see `time_splits`.

        The test part is opened once a study: `open_test_part` records it in the study's ledger and refuses
        a second look.
        """
        return time_splits(self.ts_ns, max_hold_ns, train, validation, embargo_ns=embargo_ns)

    def save(self, directory: str | os.PathLike[str]) -> Dataset:
        """Write the dataset to a folder, whole or not at all, and return it opened from there."""
        with DatasetWriter(
            directory,
            len(self.feature_names),
            bars=self.is_bars,
            costs=self.bar_costs is not None,
            depth=self.path_depth.shape[2],
        ) as writer:
            writer.append({name: getattr(self, name) for name in _array_names(self.card)})
            writer.commit(self.card)
        return Dataset.open(directory)

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> Dataset:
        """Open a dataset folder; arrays are memory-mapped, read-only.

        Raises
        ------
        DatasetError
            When the folder holds no dataset, or a damaged one.
        """
        folder = Path(directory)
        try:
            card = msgspec.json.decode((folder / "card.json").read_bytes(), type=DatasetCard)
            arrays = {name: _load(folder / f"{name}.npy") for name in _array_names(card)}
        except FileNotFoundError as e:
            raise DatasetError(
                f"{folder}: no dataset here ({Path(e.filename or '').name} is missing)"
            ) from None
        except NotADirectoryError:
            raise DatasetError(f"{folder}: not a folder") from None
        except (msgspec.DecodeError, ValueError, RecursionError, EOFError, OSError) as e:
            raise DatasetError(f"{folder}: damaged dataset: {e}; build it again") from e
        if card.schema != SCHEMA:
            raise DatasetError(f"{folder}: schema {card.schema!r} is not {SCHEMA!r}; build the dataset again")
        return cls(card=card, **arrays)


def _present(dataset: Dataset, name: str) -> np.ndarray:
    array = getattr(dataset, name)
    if array is None:
        raise DatasetError(f"dataset {dataset.id[:16]}: a path of bars without {name}; build it again")
    return array


def _array_names(card: DatasetCard) -> tuple[str, ...]:
    """The arrays of a dataset with this card."""
    bars = _BAR_ARRAYS if card.path == "bars" else {}
    return (*_ARRAYS, *bars, *(_COST_ARRAYS if card.bar_costs is not None else ()))


def _load(path: Path) -> np.ndarray:
    array = np.load(path, mmap_mode="r")
    name = path.stem
    wanted = np.dtype((_ARRAYS | _BAR_ARRAYS | _COST_ARRAYS)[name])
    axes = {"features": 2, "path_depth": 3}.get(name, 1)
    if array.dtype != wanted or array.ndim != axes:
        raise ValueError(f"{name} holds {array.dtype} on {array.ndim} axes, not {wanted} on {axes}")
    return array


class DatasetWriter:
    """Builds a dataset folder chunk by chunk in a temporary sibling, and renames it into place on `commit`.

    One process builds a dataset at a time; the lock goes with the process.

    Parameters
    ----------
    directory : the folder to make; a dataset already there is replaced, anything else is left alone. Where
        it is a symbolic link, the folder it points to is meant.
    n_features, depth : columns of `features`, levels of `path_depth`.
    bars : whether the path is made of bars.
    costs : whether they have a cost model.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        n_features: int,
        *,
        bars: bool = False,
        costs: bool = False,
        depth: int = DEPTH,
    ):
        self._target = Path(directory).resolve()
        vacant = not self._target.exists() or (self._target / "card.json").is_file()
        if not vacant and not (self._target.is_dir() and not any(self._target.iterdir())):
            raise DatasetError(f"{self._target}: exists and is not a dataset; choose another folder")
        self._temporary = self._target.with_name(f".{self._target.name}.partial")
        self._old = self._target.with_name(f".{self._target.name}.old")
        self._shapes = {"features": (n_features,), "path_depth": (4, depth)}
        self._dtypes = _ARRAYS | (_BAR_ARRAYS if bars else {}) | (_COST_ARRAYS if costs else {})
        self._arrays: dict[str, NpyAppender] = {}
        self._lock = -1

    def __enter__(self) -> DatasetWriter:
        if self._old.exists() and not self._target.exists():
            os.rename(self._old, self._target)  # a run was killed between the two renames of its commit
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._temporary, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._claim()
            for left in self._temporary.iterdir():  # by a killed run
                left.unlink()
            for name, dtype in self._dtypes.items():
                path = self._temporary / f"{name}.npy"
                self._arrays[name] = NpyAppender(path, dtype, self._shapes.get(name, ()))
        except DatasetError:
            os.close(self._lock)  # the folder is another's
            raise
        except BaseException:
            self.__exit__()
            raise
        return self

    def _claim(self) -> None:
        """Lock the temporary folder; the lock is good only while the folder still has its name."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(os.fstat(self._lock), os.stat(self._temporary))
        except (BlockingIOError, FileNotFoundError):
            held = False
        if not held:
            raise DatasetError(
                f"{self._target}: another process is building this dataset; wait for it to end"
            )

    def __exit__(self, *_: object) -> None:
        for array in self._arrays.values():
            array.abandon()
        with contextlib.suppress(FileNotFoundError):  # its name is the dataset's by now
            if os.path.samestat(os.fstat(self._lock), os.stat(self._temporary)):
                shutil.rmtree(self._temporary, ignore_errors=True)
        os.close(self._lock)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._arrays["ts_ns"].rows

    def append(self, chunk: dict[str, np.ndarray]) -> None:
        """Add rows and path entries; `row_event` indexes the whole path."""
        for name, array in self._arrays.items():
            array.append(chunk[name])

    def commit(self, card: DatasetCard) -> None:
        """Finish the files and put the folder in its place."""
        for array in self._arrays.values():
            array.close()
        write_atomic(self._temporary / "card.json", msgspec.json.format(msgspec.json.encode(card)) + b"\n")
        fsync_directory(self._temporary)
        shutil.rmtree(self._old, ignore_errors=True)
        if self._target.exists():
            os.rename(self._target, self._old)
        os.rename(self._temporary, self._target)
        fsync_directory(self._target.parent)
        shutil.rmtree(self._old, ignore_errors=True)
