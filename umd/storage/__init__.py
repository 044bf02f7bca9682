"""The volume: where temporary folders and results lie, below one root."""
