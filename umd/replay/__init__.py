"""Looking back: what was known at a position of the log, what each event changed, and whether it holds."""
