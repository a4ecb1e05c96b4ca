"""Data → batches: text, pairs of texts, and recordings; each read in bounded memory, and kept once.

    base.py, kinds.py   the kinds of data that a run may learn from

    sources.py          files, folders, pipes and data sets → pieces of documents
    formats.py          how one file is read: text, JSONL, CSV/TSV, Parquet, plain or compressed
    builtin.py          texts that are on every machine
    synthetic.py        copy, reverse, sort: tasks that a model must be able to learn
    split.py            which documents, or which part of the text, are kept apart for validation
    encoding.py         documents → ids, by threads
    store.py            ids in memory-mapped files, made once and reused
    batches.py          ids → batches of tensors, each a pure function of (seed, step)
    spans.py            windows with runs cut out → source and target

    pairs.py            files and data sets → pairs of texts
    dates.py            dates as people write them → ISO, in three languages
    pair_store.py       the ids of pairs in memory-mapped files
    pair_batches.py     pairs → batches of about equal length, counted in tokens

    audio.py            sound files → samples, at another rate
    recordings.py       folders, archives and lists of recordings
    speech.py           recordings, alone or joined → batches of features
    augment.py          SpecAugment

Only what makes batches imports torch.
"""
