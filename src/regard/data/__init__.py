"""Text → batches: sources are read as pieces of documents, tokenised once into a store, and cut into windows.

    sources.py    files, folders, pipes and data sets → pieces of documents, in bounded memory
    formats.py    how one file is read: text, JSONL, CSV/TSV, Parquet, plain or compressed
    builtin.py    texts that are on every machine
    synthetic.py  copy, reverse, sort: tasks that a model must be able to learn
    split.py      which documents, or which part of the text, are kept apart for validation
    encoding.py   documents → ids, by threads
    store.py      ids in memory-mapped files, made once and reused
    batches.py    ids → batches of tensors, each a pure function of (seed, step)

Only `batches.py` and `synthetic.py` import torch.
"""
