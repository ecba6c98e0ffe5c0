"""Features of closed bars, one module a feature or family."""
