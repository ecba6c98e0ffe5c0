"""Runs several recordings one after the other in one process and prints how each ended, as JSON.

Starting a process with Nautilus in it takes seconds; what goes wrong in a recording does not need one each.
"""

from __future__ import annotations

import json
import sys

from apex_nautilus.engine.recording import RecordingError, load_record_config, record


def main() -> None:
    outcomes = []
    for path in sys.argv[1:]:
        try:
            recording = record(load_record_config(path))
            outcomes.append({"heard": recording.heard, "folder": recording.folder})
        except RecordingError as e:
            outcomes.append({"error": str(e)})
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
