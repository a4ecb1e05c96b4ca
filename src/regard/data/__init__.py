"""Data → batches: text, pairs, labelled texts, tagged words, questions, recordings; in bounded memory, and kept once.

    base.py, kinds.py   the kinds of data that a run may learn from

    sources.py          files, folders, pipes and data sets → pieces of documents
    formats.py          one file → its text, in pieces or lines, plain or compressed
    charset.py          what a file is written in that is no UTF-8
    tables.py           rows with named columns: TSV, CSV, JSONL, JSON, Parquet
    hub.py              data sets of the Hugging Face hub
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

    examples.py         a text with its label, words with their tags, a question with its answers
    columns.py          which columns hold the text and the label, where nobody says so
    labelled.py         files and data sets → texts with a class, labels or a number
    tagged.py           … → words with their tags
    questions.py        … → questions and where in a context their answers stand
    inputs.py           files to predict from, whose labels may be missing
    names.py            names in twelve languages, to tell the language

    audio.py            sound files → samples, at another rate
    recordings.py       folders, archives and lists of recordings
    speech.py           recordings, alone or joined → batches of features
    augment.py          SpecAugment

Only what makes batches imports torch.
"""
