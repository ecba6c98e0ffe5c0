"""Downloads over a bad network end with the venue's bytes or a clear error, and fetch nothing twice."""

from __future__ import annotations

import errno
import gzip
import io
import os
import random
import threading
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apex_nautilus.data.download import DownloadError, Piece, Request, download, fetch, get, plan
from apex_nautilus.data.download.integrity import Damaged, check_packing, read_checksum
from tests.support.archive_server import Archive, archive_server

TODAY = date(2024, 6, 15)
NAME = "BTCUSDT-trades-2024-01-01.zip"
PATH = f"/data/futures/um/daily/trades/BTCUSDT/{NAME}"


@pytest.fixture
def archive() -> Iterator[Archive]:
    with archive_server() as served:
        yield served


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.csv", content)
    return buffer.getvalue()


BODY = zipped(noise(900_000))


def piece(path: str = PATH, *, checksum: bool = True, packing: str = "zip", **more: object) -> Piece:
    day = date(2024, 1, 1)
    return Piece(path, day, day, f"{path}.CHECKSUM" if checksum else None, packing, **more)  # type: ignore


class Pauses(list):
    """Waits for nothing, and remembers how long it was asked to."""

    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return False


def fetch_one(archive: Archive, folder: Path, wanted: Piece | None = None, **how: object):
    pauses = Pauses()
    result = download([wanted or piece()], archive.url, folder, pause=pauses, **how)
    (file,) = result.files
    return file, pauses


# ---- the network


def test_a_file_is_fetched_proved_by_the_venues_checksum_and_not_asked_for_again(archive, tmp_path):
    archive.put(PATH, BODY)
    file, _ = fetch_one(archive, tmp_path)
    assert (file.outcome, file.proof, file.fetched) == ("fetched", "sha256", len(BODY))
    assert (tmp_path / NAME).read_bytes() == BODY
    assert [a.path for a in archive.asked] == [f"{PATH}.CHECKSUM", PATH]
    archive.asked.clear()
    file, _ = fetch_one(archive, tmp_path)
    assert (file.outcome, file.fetched, archive.asked) == ("there", 0, [])


def test_a_dropped_connection_goes_on_where_it_broke(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("cut", 500_000), ("cut", 200_000)])
    file, pauses = fetch_one(archive, tmp_path)
    assert (tmp_path / NAME).read_bytes() == BODY
    starts = [a.start for a in archive.of(PATH)]
    assert starts[0] is None
    assert len(starts) == 3
    assert all(later > earlier for earlier, later in zip([0, *starts[1:]], starts[1:]))
    # What came before a break is kept: nothing is transferred twice but what the cut swallowed.
    assert file.fetched == len(BODY)
    assert [a.status for a in archive.of(PATH)] == [200, 206, 206]
    assert pauses == [1.0, 1.0]  # bytes came each time, so the pauses do not grow


def test_a_later_run_goes_on_from_what_an_earlier_one_left(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("cut", 600_000)])
    stop = threading.Event()

    def pause_and_stop(seconds: float) -> bool:
        stop.set()
        return True

    result = download([piece()], archive.url, tmp_path, pause=pause_and_stop, stop=stop)
    assert result.stopped
    assert not (tmp_path / NAME).exists()
    have = (tmp_path / f"{NAME}.part").stat().st_size
    assert 0 < have <= 600_000
    archive.asked.clear()
    file, _ = fetch_one(archive, tmp_path)
    assert [a.start for a in archive.of(PATH)] == [have]
    assert file.fetched == len(BODY) - have
    assert (tmp_path / NAME).read_bytes() == BODY
    assert sorted(p.name for p in tmp_path.iterdir()) == [".downloading", NAME, f"{NAME}.verified"]


def test_a_stop_in_mid_file_leaves_what_came(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("gate",)])
    stop = threading.Event()
    held: list = []
    thread = threading.Thread(
        target=lambda: held.append(download([piece()], archive.url, tmp_path, stop=stop)), daemon=True
    )
    thread.start()
    assert archive.at_gate.wait(20.0)
    stop.set()
    archive.gate.set()
    thread.join(20.0)
    assert held[0].stopped
    assert (tmp_path / f"{NAME}.part").exists()
    assert not (tmp_path / NAME).exists()
    assert fetch_one(archive, tmp_path)[0].outcome == "fetched"
    assert archive.of(PATH)[-1].status == 206
    assert (tmp_path / NAME).read_bytes() == BODY


def test_a_server_without_ranges_sends_the_whole_again(archive, tmp_path):
    archive.put(PATH, BODY, ranges=False, faults=[("cut", 500_000)])
    file, _ = fetch_one(archive, tmp_path)
    assert [a.status for a in archive.of(PATH)] == [200, 200]
    assert archive.of(PATH)[1].start > 0
    assert (tmp_path / NAME).read_bytes() == BODY
    assert file.outcome == "fetched"


def test_a_file_that_the_venue_replaced_meanwhile_is_not_mixed_with_the_old_one(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("cut", 500_000)])
    stop = threading.Event()
    stop_now = lambda seconds: stop.set() or True  # noqa: E731
    download([piece()], archive.url, tmp_path, pause=stop_now, stop=stop)
    newer = zipped(noise(950_000, seed=2))
    archive.put(PATH, newer)
    archive.asked.clear()
    fetch_one(archive, tmp_path)
    assert archive.of(PATH)[0].start is not None  # it asked for the rest, if it is the same file
    assert [a.status for a in archive.of(PATH)] == [200]
    assert (tmp_path / NAME).read_bytes() == newer


def test_a_part_longer_than_the_file_is_given_up(archive, tmp_path):
    archive.put(PATH, BODY)
    fetch_one(archive, tmp_path)
    (tmp_path / f"{NAME}.verified").unlink()
    os.rename(tmp_path / NAME, tmp_path / f"{NAME}.part")
    with (tmp_path / f"{NAME}.part").open("ab") as file:
        file.write(b"more")
    etag = archive.files[PATH].etag
    card = f'{{"url": "{archive.url}{PATH}", "validator": {etag!r}, "total": null}}'.replace("'", "")
    (tmp_path / f"{NAME}.part.json").write_text(card.replace(etag, f'"{etag}"'.replace('""', '"\\"', 1)))
    file, _ = fetch_one(archive, tmp_path)
    assert file.outcome == "fetched"
    assert (tmp_path / NAME).read_bytes() == BODY


def test_refusals_in_passing_are_waited_out_as_long_as_the_venue_asks(archive, tmp_path):
    later = {"Retry-After": "Sat, 01 Jun 2024 00:01:30 GMT", "Date": "Sat, 01 Jun 2024 00:00:00 GMT"}
    faults = [("status", 503, {}), ("status", 429, {"Retry-After": "7"}), ("status", 500, {})]
    archive.put(PATH, BODY, faults=faults)
    file, pauses = fetch_one(archive, tmp_path)
    assert file.outcome == "fetched"
    assert pauses == [1.0, 7.0, 4.0]
    assert fetch._retry_after(Answer(later)) == 90.0  # type: ignore[arg-type]


class Answer:
    def __init__(self, headers: dict[str, str]):
        self.headers = headers


def test_a_venue_that_asks_for_an_hour_is_not_waited_for(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("status", 429, {"Retry-After": "3600"})])
    file, pauses = fetch_one(archive, tmp_path)
    assert file.outcome == "failed"
    assert "asks to come back in 3600 s" in file.reason
    assert pauses == []


def test_what_always_fails_is_given_up_with_growing_pauses(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("status", 503, {})] * 6)
    file, pauses = fetch_one(archive, tmp_path)
    assert file.outcome == "failed"
    assert "status 503, 6 times in a row" in file.reason
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_host_that_is_not_there_stops_the_whole_run(tmp_path):
    pieces = [piece(PATH.replace("01-01", f"01-{day:02d}")) for day in range(1, 20)]
    pauses = Pauses()
    result = download(pieces, "http://127.0.0.1:9", tmp_path, jobs=1, pause=pauses)
    assert result.stopped
    assert [f.outcome for f in result.files] == ["failed"]
    assert "the host cannot be reached" in result.files[0].reason
    assert len(pauses) == 5


@pytest.mark.parametrize("code", [403, 451, 401])
def test_a_refusal_for_good_is_told_at_once(archive, tmp_path, code):
    archive.put(PATH, BODY, faults=[("status", code, {})])
    file, pauses = fetch_one(archive, tmp_path)
    assert (file.outcome, pauses) == ("failed", [])
    assert f"refused with status {code}" in file.reason


def test_only_redirects_within_the_host_are_followed(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("redirect", "/moved.zip")])
    archive.put("/moved.zip", BODY, checksum=False)
    assert fetch_one(archive, tmp_path)[0].outcome == "fetched"
    away = piece(PATH.replace("01-01", "01-02"))
    archive.put(away.url_path, BODY, faults=[("redirect", "http://localhost:1/elsewhere.zip")])
    file, _ = fetch_one(archive, tmp_path, away)
    assert file.outcome == "failed"
    assert "redirected to another host, localhost:1; not followed" in file.reason


# ---- proof


def test_a_wrong_checksum_is_fetched_once_more_and_then_reported(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("body", noise(1000))])
    file, _ = fetch_one(archive, tmp_path)
    assert (file.outcome, len(archive.of(PATH))) == ("fetched", 2)
    assert (tmp_path / NAME).read_bytes() == BODY

    other = piece(PATH.replace("01-01", "01-02"))
    archive.put(other.url_path, BODY)
    archive.files[other.checksum_path].body = b"0" * 64 + b"  x.zip\n"
    file, _ = fetch_one(archive, tmp_path, other)
    assert file.outcome == "failed"
    assert "damaged twice (its SHA-256 is" in file.reason
    assert len(archive.of(other.url_path)) == 2
    assert not list(tmp_path.glob(f"{other.name}*"))  # nothing damaged stays


def test_without_a_checksum_the_crcs_inside_are_held_against_every_byte(archive, tmp_path):
    body = gzip.compress(noise(300_000))
    broken = bytearray(body)
    broken[200_000] ^= 1
    wanted = piece("/trading/BTCUSDT/BTCUSDT2024-01-01.csv.gz", checksum=False, packing="gzip")
    archive.put(
        wanted.url_path, body, checksum=False, faults=[("body", bytes(broken)), ("no length", 100_000)]
    )
    file, _ = fetch_one(archive, tmp_path, wanted)
    assert file.outcome == "failed"  # once a flipped bit, once an end that is missing
    archive.files[wanted.url_path].faults = [("body", bytes(broken))]
    file, _ = fetch_one(archive, tmp_path, wanted)
    assert (file.outcome, file.proof) == ("fetched", "gzip")
    assert (tmp_path / wanted.name).read_bytes() == body


def test_a_truncated_answer_is_noticed_by_its_length(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("cut", len(BODY) - 1)])
    fetch_one(archive, tmp_path)
    assert [a.status for a in archive.of(PATH)] == [200, 206]
    assert (tmp_path / NAME).read_bytes() == BODY


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), packing=st.sampled_from(["zip", "gzip"]))
def test_a_file_that_lacks_its_end_never_passes_for_whole(tmp_path, data, packing):
    content = noise(data.draw(st.integers(1, 5000)), seed=3) * 3
    whole = zipped(content) if packing == "zip" else gzip.compress(content)
    path = tmp_path / "file"
    path.write_bytes(whole)
    check_packing(path, packing)
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(Damaged):
        check_packing(path, packing)


def test_gzip_files_of_several_members_are_whole_files(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(noise(3_000_000)) + gzip.compress(b"more"))
    check_packing(path, "gzip")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Damaged, match="end in the middle"):
        check_packing(path, "gzip")


@pytest.mark.parametrize("packing", ["zip", "gzip"])
def test_a_decompression_bomb_is_refused_while_it_unpacks(tmp_path, packing):
    content = bytes(100 << 20)
    path = tmp_path / "file"
    path.write_bytes(zipped(content) if packing == "zip" else gzip.compress(content))
    with pytest.raises(Damaged, match="unpacks to more than"):
        check_packing(path, packing)


@pytest.mark.parametrize("text", [b"", b"<html>", b"abc  name.zip", b"\xff" * 80])
def test_what_is_no_checksum_is_told(text):
    with pytest.raises(Damaged, match="no SHA-256"):
        read_checksum(text)


def test_a_verified_file_that_changed_is_fetched_again_and_a_copied_one_is_not(archive, tmp_path):
    archive.put(PATH, BODY)
    fetch_one(archive, tmp_path)
    os.utime(tmp_path / NAME, ns=(1, 1))  # what a copy looks like
    archive.asked.clear()
    assert fetch_one(archive, tmp_path)[0].outcome == "there"
    assert archive.asked == []
    (tmp_path / NAME).write_bytes(BODY[:-1] + b"x")
    assert fetch_one(archive, tmp_path)[0].outcome == "fetched"
    assert (tmp_path / NAME).read_bytes() == BODY


def test_a_whole_file_put_there_by_hand_is_proved_and_kept(archive, tmp_path):
    archive.put(PATH, BODY)
    (tmp_path / NAME).write_bytes(BODY)
    file, _ = fetch_one(archive, tmp_path)
    assert (file.outcome, file.proof) == ("there", "sha256")
    assert archive.of(PATH) == []


def test_a_checksum_that_the_venue_lacks_leaves_the_crcs(archive, tmp_path):
    archive.put(PATH, BODY, checksum=False)
    file, _ = fetch_one(archive, tmp_path)
    assert (file.outcome, file.proof) == ("fetched", "zip")


# ---- many files


def test_missing_days_are_told_and_the_others_are_fetched_a_few_at_a_time(archive, tmp_path):
    _, kind = get("binance", "trades")
    request = Request("BTCUSDT", "trades", "linear", None, date(2024, 3, 2), date(2024, 3, 12), TODAY)
    pieces = plan(kind, request)
    for i, wanted in enumerate(pieces):
        if i not in (3, 4):
            archive.put(wanted.url_path, zipped(noise(50_000, seed=i)))
    outcomes: list[str] = []
    result = download(
        pieces, archive.url, tmp_path, jobs=3, ended=lambda o: outcomes.append(o.outcome), pause=Pauses()
    )
    assert [f.days for f in result.of("missing")] == ["2024-03-05", "2024-03-06"]
    assert len(result.paths) == 9
    assert [f.days for f in result.files] == [p.days_text for p in pieces]
    assert sorted(outcomes) == ["fetched"] * 9 + ["missing"] * 2
    assert archive.most_at_once <= 3


def test_a_month_that_is_not_packed_yet_is_fetched_by_its_days(archive, tmp_path):
    _, kind = get("binance", "klines")
    request = Request("BTCUSDT", "klines", "spot", "5m", date(2024, 3, 1), date(2024, 5, 31), TODAY)
    pieces = plan(kind, request)
    assert [p.name for p in pieces] == [f"BTCUSDT-5m-2024-{m}.zip" for m in ("03", "04", "05")]
    archive.put(pieces[0].url_path, zipped(b"march"))
    archive.put(pieces[1].url_path, zipped(b"april"))
    for day in pieces[2].otherwise[:-1]:
        archive.put(day.url_path, zipped(b"may"))
    result = download(pieces, archive.url, tmp_path, pause=Pauses())
    assert len(result.of("fetched")) == 2 + 30
    assert [f.days for f in result.of("missing")] == ["2024-05-31"]


def test_a_full_disk_is_told_and_what_came_is_kept(archive, tmp_path, monkeypatch):
    archive.put(PATH, BODY)
    stream = fetch.urllib3.HTTPResponse.stream

    def filling(self, *args, **kwargs):
        for i, block in enumerate(stream(self, *args, **kwargs)):
            if i == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield block

    with monkeypatch.context() as patch:
        patch.setattr(fetch.urllib3.HTTPResponse, "stream", filling)
        with pytest.raises(DownloadError, match="the disk is full"):
            fetch_one(archive, tmp_path)
    have = (tmp_path / f"{NAME}.part").stat().st_size
    assert have > 0
    fetch_one(archive, tmp_path)
    assert archive.of(PATH)[-1].start == have
    assert (tmp_path / NAME).read_bytes() == BODY


def test_two_runs_do_not_work_on_one_folder(archive, tmp_path):
    archive.put(PATH, BODY, faults=[("gate",)])
    thread = threading.Thread(target=download, args=([piece()], archive.url, tmp_path), daemon=True)
    thread.start()
    assert archive.at_gate.wait(20.0)
    with pytest.raises(DownloadError, match="another process downloads into it"):
        fetch_one(archive, tmp_path)
    archive.gate.set()
    thread.join(20.0)
    assert (tmp_path / NAME).read_bytes() == BODY
