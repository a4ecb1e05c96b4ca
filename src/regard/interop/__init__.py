"""Other people's checkpoints, read into the one model: one table an architecture."""
