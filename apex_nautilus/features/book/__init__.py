"""Features of an order book and its trades, one module a feature or family."""
