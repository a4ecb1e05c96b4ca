"""Training: schedules, optimisers, checkpoints, devices, and `loop.py`, which reads from top to bottom."""
