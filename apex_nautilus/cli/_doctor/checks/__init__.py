"""One module a check: a function `check(place)` that yields findings."""
