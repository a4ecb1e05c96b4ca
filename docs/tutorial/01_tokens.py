"""Tutorial 1: text becomes numbers, and numbers become text again.

Run it: python docs/tutorial/01_tokens.py
"""

import regard as rg
from regard.data.builtin import python_docs

# A model knows no letters. It knows ids, the numbers of the entries in a list of pieces: the vocabulary.
# The simplest vocabulary has the 256 bytes. Every text in every language fits, but is long.
raw = rg.Tokenizer.train([], kind="bytes")
print("bytes:", raw.encode("Attention! 注意"))

# Byte-pair encoding starts there, and again and again joins the pair of neighbours that is seen most often.
# So frequent words become one piece, and rare ones fall into a few.
pieces = rg.Tokenizer.train(python_docs(), kind="bpe", vocab_size=1000)
for token in pieces.tokens("The import statement reimports nothing."):
    print(f"{token.id:5}  {token.text!r:12}  characters {token.start}–{token.end}")

# A text comes back as it was, also one of which the tokenizer has learnt nothing: then it falls back on bytes.
strange = "naïve 注意力 🙂"
ids = pieces.encode(strange)
print(f"{len(strange)} characters are {len(strange.encode())} bytes and {len(ids)} tokens")
assert pieces.decode(ids) == strange

# One id may be a part of a character only. Shown one by one, the parts must wait for one another.
decoder = pieces.stream()
shown = [decoder.push(token) for token in ids]
print("as they come:", shown)
assert "".join(shown) + decoder.flush() == strange

# A larger vocabulary makes shorter texts and a larger table of vectors. Compare:
text = " ".join(python_docs())[:100_000]
for vocab_size in (300, 1000, 4000):
    tokenizer = rg.Tokenizer.train(python_docs(), kind="bpe", vocab_size=vocab_size)
    print(f"{vocab_size:5} pieces: {len(text.encode()) / len(tokenizer.encode(text)):.2f} bytes a token")
