"""Market data: definitions that can be read, files that do not overlap, none damaged."""

from __future__ import annotations

from collections.abc import Iterator

from apex_nautilus.cli._doctor.finding import Finding, Place

__all__ = ["check"]


def check(place: Place) -> Iterator[Finding]:
    from apex_nautilus.data import DataError, instrument_ids

    name = f"market data {place.shown(place.market)}"
    if not (place.market / "data").is_dir():
        yield Finding(name, "warn", "empty", "bring data in: apex data import --help, or apex data synth")
        return
    try:
        ids = instrument_ids(place.market)
    except DataError as error:
        yield Finding(name, "fail", str(error), "import the instrument again")
        return
    problems = list(_problems(place))
    for found, mend in problems:
        yield Finding(name, "fail", found, mend)
    if not problems:
        files = sum(1 for _ in (place.market / "data").rglob("*.parquet"))
        yield Finding(name, "ok", f"{', '.join(ids) or 'no instrument'}; {files} files, none overlap")


def _problems(place: Place) -> Iterator[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from apex_nautilus.data import DataError
    from apex_nautilus.data.catalog import data_files

    for folder in ("order_book_deltas", "trade_tick", "bar"):
        for series in sorted((place.market / "data" / folder).glob("*")):
            try:
                data_files(place.market, folder, series.name)
            except DataError as error:
                yield str(error), "finish the import that was interrupted, or remove one of the two files"
    for path in sorted((place.market / "data").rglob("*.parquet")):
        try:
            pq.read_metadata(path)
        except (pa.ArrowException, OSError) as error:
            yield f"{path}: damaged ({str(error).splitlines()[0][:120]})", f"import it again, or: rm {path}"
