"""Commands, events and the pure rules that lead from one to the other: no I/O, no asyncio, no clock."""
