import subprocess
import sys
import textwrap

import pytest

from regard.text import Tokenizer
from regard.text.learning import _spread, sample

HUGE = 1 << 30


def test_small_texts_are_kept_whole() -> None:
    texts = ["a b", "", "中文\n", "x" * 100_000]
    kept = sample(texts, HUGE, HUGE)
    assert kept.learnt == (100_010, 100_010)
    assert "".join(kept.texts()) == "".join(texts)


def test_the_sample_is_spread_evenly_and_the_same_each_time() -> None:
    lines = [f"{n:07d}\n" for n in range(300_000)]  # 2.4 MB
    kept = sample(iter(lines), 400_000, HUGE)
    assert 200_000 <= kept.learnt.used <= 400_000
    assert kept.learnt.seen == 2_400_000
    numbers = [int(text) for text in kept.texts()]
    tenths = [sum(30_000 * i <= n < 30_000 * (i + 1) for n in numbers) / len(numbers) for i in range(10)]
    assert max(tenths) - min(tenths) < 0.05
    assert sample(["".join(lines)], 400_000, HUGE).learnt.used <= 400_000
    assert kept == sample(lines, 400_000, HUGE)


def test_new_words_without_end_thin_the_sample() -> None:
    new = [" ".join(f"{n * 1000 + i:x}" for i in range(1000)) for n in range(200)]
    kept = sample(new, HUGE, 200_000)
    assert 100_000 < kept.learnt.used <= 280_000  # a block may pass the bound
    old = ["the same words again and again " * 300] * 200
    assert sample(old, HUGE, 200_000).learnt.used == sum(map(len, old))


def test_any_first_part_of_a_spread_is_spread() -> None:
    for count in (1, 2, 3, 10, 100):
        order = list(_spread(count))
        assert sorted(order) == list(range(count))
    assert list(_spread(8)) == [0, 4, 2, 6, 1, 5, 3, 7]


def test_vocabularies_keep_their_size() -> None:
    many = "".join(map(chr, range(0x4E00, 0x6000))) * 3
    for kind in ("bpe", "wordpiece", "unigram"):
        tokenizer = Tokenizer.train([many], kind, 1000, ["pad", "end"])
        assert tokenizer.vocab_size <= 1000
        if kind != "wordpiece":
            assert tokenizer.decode(tokenizer.encode(many)) == many


def test_tokens_of_a_repeated_character_stay_short() -> None:
    tokenizer = Tokenizer.train(["a" * 300_000], "bpe", 1000)
    assert max(len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocab_size)) <= 64


BOUNDED = """
    import random, resource, sys
    from regard.text import Tokenizer

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    draw = random.Random(0)

    def texts():
        for _ in range({lines}):
            yield " ".join(map(hex, (draw.getrandbits(40) for _ in range(10_000))))
        yield "".join(map(hex, range({line})))

    before = peak()
    tokenizer = Tokenizer.train(texts(), "{kind}", 4000)
    learnt = peak() - before
    ids = sum(map(len, tokenizer.encode_chunks(hex(n) for n in range({line}))))
    print(int(learnt), int(peak() - before), ids)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "characters"])
def test_memory_is_bounded_by_new_words_and_by_one_long_line(kind: str) -> None:
    """About 12 MB of words that never come again and a line of 20 MB without a space, in a process of its own.

    Trained on all of it, BPE would take two gigabytes.
    """
    script = textwrap.dedent(BOUNDED).format(kind=kind, lines=100, line=2_500_000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    learnt, encoded, ids = map(int, done.stdout.split())
    assert ids > 1_000_000
    assert learnt < 900
    assert encoded < 950
