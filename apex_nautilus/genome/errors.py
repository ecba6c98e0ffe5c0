"""The one exception of this room."""

from __future__ import annotations

_LONGEST_PATH = 160


class GenomeError(ValueError):
    """A genome was refused.

    The message reads ``source: json.path: what is wrong (the limit) ; how to mend it``.

    Attributes
    ----------
    source : str
        File name (or ``<bytes>``) the genome came from.
    path : str
        JSON path of the offending value, ``signal.children[1].primitive``; empty for the file itself.
    reason : str
        What is wrong, with the limit that was crossed where there is one.
    """

    def __init__(self, reason: str, *, path: str = "", source: str = "<genome>") -> None:
        self.source = source
        self.path = path
        self.reason = reason
        shown = path
        if len(shown) > _LONGEST_PATH:  # a hostile file must not write a hostile log line
            half = _LONGEST_PATH // 2 - 2
            shown = f"{shown[:half]}...{shown[-half:]}"
        super().__init__(": ".join(part for part in (source, shown, reason) if part))

    def __reduce__(self):
        # Worker processes send their errors back pickled; keep the three parts.
        return (_rebuild, (self.reason, self.path, self.source))


def _rebuild(reason: str, path: str, source: str) -> GenomeError:
    return GenomeError(reason, path=path, source=source)
