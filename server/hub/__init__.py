"""Sessions as readers of the log: who follows what, fan-out, catching up."""
