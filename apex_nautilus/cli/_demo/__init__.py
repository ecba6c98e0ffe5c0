"""The demonstration: one whole turn of the loop on simulated markets, then the same on a real excerpt.

`simulated` makes three markets, evolves challengers, and runs the arena with a worker beside it; `real`
does the
Forge's and the backtest's part on recorded data; `page` puts both into one HTML report. Nothing in it is
scripted: who
dies, who is swapped and who is replaced follows from what the agents earn.
"""
