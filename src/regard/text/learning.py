"""Learning a vocabulary from text of any size, in bounded memory.

Characters are counted in all of the text. BPE, WordPiece and Unigram learn from a sample: blocks of about 64 KB,
every k-th one, where k doubles whenever the sample outgrows its bound; so the sample is spread evenly, and the
same text gives the same sample. Trainers hold some hundred bytes for each byte of a *distinct* word, so a sample
rich in new words is thinned further, evenly again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from regard.settings import RegardError
from regard.text.decoding import byte_alphabet
from regard.text.fast import LINES, utf8
from regard.text.ranks import PATTERNS

if TYPE_CHECKING:
    from regard.text.tokenizer import TokenizerConfig

BLOCK = 1 << 16
PIECE = 1 << 14
DISTINCT = {"bpe": 4 << 20, "wordpiece": 4 << 20, "unigram": 1 << 19}  # bytes of distinct words to learn from
LONGEST = 64  # bytes or characters of a token

_BETWEEN = b"\xff"  # never in UTF-8, so it parts the texts of a block
_WORD = re.compile(r" ?\w+|[^\w\s]+|\s+")


class Learnt(NamedTuple):
    """How much text a tokenizer was learnt from, in bytes of UTF-8: what came by, and what was used of it."""

    seen: int
    used: int


class Sample(NamedTuple):
    blocks: list[bytes]
    learnt: Learnt

    def texts(self) -> Iterator[str]:
        for block in self.blocks:
            for text in block.split(_BETWEEN):
                yield text.decode()


def sample(texts: Iterable[str], max_bytes: int, distinct: int) -> Sample:
    """An evenly spread part of the texts of at most `max_bytes`, `distinct` of them in words that differ."""
    size = max(1, min(BLOCK, max_bytes // 256))
    kept: list[bytes] = []
    seen = held = step = 0
    for number, block in enumerate(_blocks(texts, size)):
        seen += _size(block)
        if number % (1 << step) == 0:
            kept.append(block)
            held += len(block)
        while held > max_bytes and len(kept) > 1:
            kept, step = kept[::2], step + 1
            held = sum(map(len, kept))
    kept = _few_words(kept, distinct) if held > distinct else kept
    return Sample(kept, Learnt(seen, sum(map(_size, kept))))


def _size(block: bytes) -> int:
    return len(block) - block.count(_BETWEEN)


def _blocks(texts: Iterable[str], size: int) -> Iterator[bytes]:
    """The texts as blocks of about `size` bytes; giants are cut in pieces, before a space where one is near."""
    pieces: list[bytes] = []
    held = 0
    for text in texts:
        start = 0
        while start < len(text):
            end = start + PIECE
            if end < len(text):
                space = text.find(" ", end, end + PIECE // 4)
                end = space if space > 0 else end
            piece = utf8(text[start:end])
            start = end
            pieces.append(piece)
            held += len(piece)
            if held >= size:
                yield _BETWEEN.join(pieces)
                pieces, held = [], 0
    if pieces:
        yield _BETWEEN.join(pieces)


def _few_words(blocks: list[bytes], limit: int) -> list[bytes]:
    """As many blocks, evenly spread, as hold `limit` bytes of distinct words."""
    known: set[str] = set()
    size = 0
    chosen: list[int] = []
    for number in _spread(len(blocks)):
        words = {word for text in blocks[number].split(_BETWEEN) for word in _WORD.findall(text.decode())} - known
        size += sum(len(word.encode()) for word in words)
        if size > limit and chosen:
            break
        known |= words
        chosen.append(number)
    return [blocks[number] for number in sorted(chosen)]


def _spread(count: int) -> Iterator[int]:
    """The numbers below `count`, such that any first part of them is spread evenly: their bits, reversed."""
    bits = max(1, (count - 1).bit_length())
    for number in range(1 << bits):
        reverse = int(f"{number:0{bits}b}"[::-1], 2)
        if reverse < count:
            yield reverse


def learn(texts: Iterable[str], config: TokenizerConfig, special: dict[str, str]) -> tuple[str, Learnt]:
    """A `tokenizer.json` learnt from the texts, its special tokens (role → text) behind all others."""
    room = config.vocab_size - len(set(special.values()))
    least = {"bytes": 256, "bpe": 256, "unigram": 512}.get(config.kind, 1)
    if config.kind != "bytes" and room < least:
        raise RegardError(
            f"vocab_size={config.vocab_size} is too small: {config.kind} needs at least "
            f"{least + config.vocab_size - room}, its special tokens among them."
        )
    if config.kind == "bytes":
        hf, learnt = _byte_level(config, models.BPE(vocab=byte_alphabet(), merges=[])), Learnt(0, 0)
    elif config.kind == "characters":
        hf, learnt = _characters(texts, config, room, special)
    else:
        part = sample(texts, config.max_bytes, DISTINCT[config.kind])
        if not part.learnt.used:
            raise RegardError("there is no text to learn a tokenizer from: all texts are empty.")
        train = {"bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}[config.kind]
        hf, learnt = train(part, config, room, special), part.learnt
    ordinary = set(hf.get_vocab())
    taken = [text for role, text in special.items() if text in ordinary and role != "unknown"]
    if taken:
        raise RegardError(f"the special token {taken[0]!r} is ordinary text here: write it as, say, '<|end|>'.")
    hf.add_special_tokens(
        [tokenizers.AddedToken(text, special=True, normalized=False) for text in dict.fromkeys(special.values())]
    )
    return hf.to_str(), learnt


def _normalizer(config: TokenizerConfig) -> Any:
    parts: list[Any] = []
    if config.normalization != "none":
        parts.append({"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}[config.normalization]())
    if config.kind == "wordpiece":
        parts.append(normalizers.BertNormalizer(lowercase=config.lowercase))
    elif config.lowercase:
        parts.append(normalizers.Lowercase())
    return parts[0] if len(parts) == 1 else normalizers.Sequence(parts) if parts else None


def _set(hf: tokenizers.Tokenizer, normalizer: Any, pre_tokenizer: Any, decoder: Any) -> tokenizers.Tokenizer:
    if normalizer is not None:
        hf.normalizer = normalizer
    if pre_tokenizer is not None:
        hf.pre_tokenizer = pre_tokenizer
    hf.decoder = decoder
    return hf


def _byte_level(config: TokenizerConfig, model: models.BPE) -> tokenizers.Tokenizer:
    split: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if config.kind == "bpe" and config.pattern != "gpt2":
        split = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(PATTERNS[config.pattern]), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    return _set(tokenizers.Tokenizer(model), _normalizer(config), split, decoders.ByteLevel())


def _bpe(part: Sample, config: TokenizerConfig, room: int, special: dict[str, str]) -> tokenizers.Tokenizer:
    """Sennrich et al. 2016, arXiv:1508.07909, on bytes as in GPT-2."""
    hf = _byte_level(config, models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST,
        show_progress=False,
    )
    hf.train_from_iterator(part.texts(), trainer)
    return hf


def _wordpiece(part: Sample, config: TokenizerConfig, room: int, special: dict[str, str]) -> tokenizers.Tokenizer:
    """BERT's: merges as in BPE, on its way of splitting words; a word's later pieces are marked by ##."""
    normalizer, split = _normalizer(config), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in part.texts():
        counts.update(normalizer.normalize_str(text))
    counts = Counter({char: count for char, count in counts.items() if not char.isspace()})
    # The trainer numbers ##a, ##b … in the order of a hash table, which differs from run to run; naming them
    # first, as if they were special, gives them their numbers and the ties between merges one winner.
    letters = [char for char, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: max(1, room // 3)]]
    alphabet = sorted(letters) + ["##" + char for char in sorted(letters)]
    hf = _set(tokenizers.Tokenizer(models.WordPiece(unk_token=special["unknown"])), normalizer, split, None)
    trainer = trainers.WordPieceTrainer(
        vocab_size=room,
        min_frequency=2,
        special_tokens=alphabet,
        limit_alphabet=len(letters),
        continuing_subword_prefix="##",
        show_progress=False,
    )
    hf.train_from_iterator(part.texts(), trainer)
    learnt = sorted((token, name) for name, token in json.loads(hf.to_str())["model"]["vocab"].items())
    vocab = {name: number for number, (_, name) in enumerate(learnt)}
    vocab[special["unknown"]] = len(vocab)
    model = models.WordPiece(vocab, unk_token=special["unknown"])
    decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return _set(tokenizers.Tokenizer(model), normalizer, split, decoder)


def _unigram(part: Sample, config: TokenizerConfig, room: int, special: dict[str, str]) -> tokenizers.Tokenizer:
    """Kudo 2018, arXiv:1804.10959; what has no piece is spelled in bytes, so nothing is ever lost.

    The library sums in the order of a hash table, so the last digits of the scores differ from run to run.
    """
    lines = pre_tokenizers.Split(tokenizers.Regex(LINES), "isolated")
    split = pre_tokenizers.Sequence([lines, pre_tokenizers.Metaspace(prepend_scheme="never")])
    always = [*map(chr, range(0x21, 0x7F)), "▁"]
    hf = _set(tokenizers.Tokenizer(models.Unigram()), _normalizer(config), split, None)
    # The trainer insists on a piece for every character, however many; those beyond the room are spelled in bytes.
    normalize = hf.normalizer.normalize_str if hf.normalizer else str
    characters = set(always)
    for text in part.texts():
        characters.update(normalize(text))
    trainer = trainers.UnigramTrainer(
        vocab_size=max(room - 257, len(characters) + 1),
        initial_alphabet=always,
        max_piece_length=16,
        show_progress=False,
    )
    hf.train_from_iterator(part.texts(), trainer)
    score = dict(json.loads(hf.to_str())["model"]["vocab"])
    lowest = min(score.values(), default=0.0)
    others = sorted(score.keys() - set(always), key=lambda name: (-score[name], name))[: room - 257 - len(always)]
    learnt = [(name, score.get(name, lowest - 1)) for name in [*always, *others]]
    # The library wants a piece for the unknown: a bare space, which the text never has at this point. Bytes cost
    # so much that a text such as "<0x41>" is never read as one.
    spelled = [(f"<0x{byte:02X}>", lowest - 1000.0) for byte in range(256)]
    model = models.Unigram([(" ", 0.0), *spelled, *learnt], unk_id=0, byte_fallback=True)
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _set(tokenizers.Tokenizer(model), _normalizer(config), split, decoder)


def _characters(
    texts: Iterable[str], config: TokenizerConfig, room: int, special: dict[str, str]
) -> tuple[tokenizers.Tokenizer, Learnt]:
    normalizer = _normalizer(config)
    counts = np.zeros(0x110000, np.int64)
    seen = 0
    for block in _blocks(texts, 16 * BLOCK):
        text = block.replace(_BETWEEN, b"").decode()
        seen += _size(block)
        text = normalizer.normalize_str(text) if normalizer else text
        points, found = np.unique(np.frombuffer(text.encode("utf-32-le"), np.uint32), return_counts=True)
        counts[points] += found
    known = np.flatnonzero(counts)
    if not len(known):
        raise RegardError("there is no text to learn a tokenizer from: all texts are empty.")
    if len(known) > room:
        if "unknown" not in special:
            raise RegardError(
                f"the text has {len(known)} different characters and vocab_size={config.vocab_size} has room for "
                f"{room}: raise vocab_size, or add the special token 'unknown' for the rare ones."
            )
        known = np.sort(known[np.argsort(-counts[known], kind="stable")[:room]])
    vocab = {chr(point): number for number, point in enumerate(known)}
    unknown = special.get("unknown")
    if unknown is not None:
        vocab[unknown] = len(vocab)
    model = models.BPE(vocab=vocab, merges=[], unk_token=unknown)
    return _set(tokenizers.Tokenizer(model), normalizer, None, decoders.Fuse()), Learnt(seen, seen)
