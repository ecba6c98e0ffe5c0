"""Storms a watched directory, by every kind of writer at once.

Arguments: folder, seed, how many files, where to write the story, folder of genomes. The story tells of
each file what it holds when its writer lets go of it: which genome, or none. What a writer withdraws under an
unfinished name is no file that anybody could take.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def storm(folder: Path, pool: list[bytes], seed: int, count: int) -> tuple[list[dict], int, float]:
    """Write `count` files; return the story, the number of system events and the seconds they took."""
    rng = np.random.default_rng(seed)
    story: list[dict] = []
    events = 0
    started = time.perf_counter()
    for k in range(count):
        kind = ["renamed", "tmp", "in place", "torn", "garbage", "link", "overwritten", "withdrawn"][
            int(rng.integers(8))
        ]
        name = f"{seed}-{k:06d}.json"
        path = folder / name
        data = pool[k % len(pool)]
        if kind in ("renamed", "tmp"):
            hidden = folder / (f".{name}" if kind == "renamed" else f"{name}.tmp")
            hidden.write_bytes(data)
            os.rename(hidden, path)
            story.append({"name": name, "valid": True, "genome": k % len(pool)})
            events += 4
        elif kind == "in place":  # pieces under the final name, the file open all the while
            with path.open("wb", buffering=0) as file:
                for start in range(0, len(data), 256):
                    file.write(data[start : start + 256])
                    events += 1
            story.append({"name": name, "valid": True, "genome": k % len(pool)})
            events += 2
        elif kind == "torn":  # its writer died in the middle
            path.write_bytes(data[: len(data) // 2])
            story.append({"name": name, "valid": False})
            events += 3
        elif kind == "garbage":
            path.write_bytes(b"\x00" * int(rng.integers(1, 64)))
            story.append({"name": name, "valid": False})
            events += 3
        elif kind == "link":
            path.symlink_to("/etc/hostname")
            story.append({"name": name, "valid": False})
            events += 1
        elif kind == "overwritten":  # at once: the second is the file, if the first was not taken yet
            for content in (b"{", data):
                hidden = folder / f".{name}.{len(content)}"
                hidden.write_bytes(content)
                os.rename(hidden, path)
                events += 4
            story.append({"name": name, "valid": True, "genome": k % len(pool), "before": True})
        else:  # written under an unfinished name and taken away again
            hidden = folder / f"{name}.part"
            hidden.write_bytes(data[:100])
            hidden.unlink()
            events += 4
    return story, events, time.perf_counter() - started


if __name__ == "__main__":
    watched, seed, count, story_path = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    pool = [path.read_bytes() for path in sorted(Path(sys.argv[5]).iterdir())]
    story, events, seconds = storm(watched, pool, seed, count)
    Path(story_path).write_text(json.dumps({"story": story, "events": events, "seconds": seconds}))
