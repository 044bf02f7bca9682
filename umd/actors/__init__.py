"""Who acts: supervised tasks that hear of events, do something in the world, and report it as commands."""
