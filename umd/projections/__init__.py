"""What is known: read models in memory, folded from the log and always at its head."""
