"""One module a kind of file; each makes a `Kind` called `KIND`."""
