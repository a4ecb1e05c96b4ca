"""Texts to answers: labels, tags, spans, vectors, hidden words. One task a file."""
