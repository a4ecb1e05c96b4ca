"""Other people's models: `folder.read` reads a Hugging Face folder, `models.locate` finds a model by its name.

A published architecture is one table a file (`base.py` is their contract).
"""
