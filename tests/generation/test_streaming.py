"""Streams against decoding at once, stop strings against a search in the whole text."""

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.generation import Generation, Sampling, StopStrings, stream
from regard.generation.engine import Step
from regard.settings import RegardError
from regard.text import Tokenizer
from tests.generation.models import byte_tokenizer, decoder, prompts

CHINESE = "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。🙂👨‍👩‍👧 naïve café"


class Written:
    """Stands for a generation: it writes given ids."""

    def __init__(self, ids, finished="limit"):
        self.ids, self.finished, self.samples, self.stopped = ids, finished, 1, False

    def finish(self, row, sample=0):
        self.stopped = True

    def __iter__(self):
        for place, token in enumerate(self.ids):
            if not self.stopped:
                last = place == len(self.ids) - 1
                yield Step(0, 0, token, 0.5, -0.7, 0.5, (), self.finished if last else None)


def pieces(tokenizer, prompt, text, stop=()):
    ids = tokenizer.encode(prompt + text)[len(tokenizer.encode(prompt)) :]
    return list(stream(Written(ids), tokenizer, [tokenizer.encode(prompt)], stop))


@pytest.mark.parametrize("kind", ["bytes", "characters", "bpe", "wordpiece", "unigram"])
def test_pieces_join_to_the_whole_text(kind):
    tokenizer = Tokenizer.train([CHINESE * 3], kind=kind, vocab_size=600)
    whole = tokenizer.encode(CHINESE)
    for cut in (1, 2, len(whole) // 2):
        before, after = whole[:cut], whole[cut:]
        shown = [piece.text for piece in stream(Written(after), tokenizer, [before])]
        head = tokenizer.stream()
        start = "".join(map(head.push, before))
        assert start + "".join(shown) == tokenizer.decode(whole)
        assert all("�" not in text for text in shown)


@given(st.text("ab🙂", max_size=12), st.lists(st.text("ab🙂", min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_text_ends_before_the_first_stop_string(text, stop):
    tokenizer = byte_tokenizer()
    found = pieces(tokenizer, "x", text, stop)
    shown = "".join(piece.text for piece in found)
    # The match that is complete first wins; of those complete at once, the one that begins first.
    matches = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
    if matches:
        assert shown == text[: min(matches)[1]]
        assert found[-1].finished == "stop"
    else:
        assert shown == text
        assert not found or found[-1].finished == "limit"


@given(st.lists(st.text("ab", max_size=4), max_size=6), st.lists(st.text("ab", min_size=1, max_size=3), min_size=1))
def test_where_tokens_divide_a_text_changes_nothing(parts, stop):
    def shown(parts):
        stops = StopStrings(stop)
        return "".join(stops.push(part) for part in parts) + stops.flush()

    assert shown(parts) == shown("".join(parts)) == shown(["".join(parts)])


def test_a_stop_string_is_never_partly_shown():
    stops = StopStrings(["\n\nUser:"])
    assert [stops.push(part) for part in ("a\n", "\nUs", "e", "d\n", "\nUser", ": hi")] == [
        "a", "", "", "\n\nUsed", "", ""
    ]  # fmt: skip
    assert stops.found
    assert stops.flush() == ""


def test_what_was_held_back_comes_at_the_end():
    assert "".join(piece.text for piece in pieces(byte_tokenizer(), "x", "ab\nUse", ["\nUser"])) == "ab\nUse"


def test_a_stop_string_ends_the_row_in_the_engine():
    tokenizer, model = byte_tokenizer(), decoder(vocab_size=257, seed=3)
    ids = prompts([4, 3], 257)

    def texts(**more):
        generation = Generation(model, ids, Sampling(seed=1), 24, samples=2)
        rows = {}
        for piece in stream(generation, tokenizer, ids, **more):
            rows.setdefault((piece.row, piece.sample), []).append(piece)
        return rows

    free = texts()
    stop = next(iter(re.findall(r"[^�]{2}", "".join(piece.text for piece in free[0, 1])[3:])))
    for place, row in texts(stop=[stop]).items():
        whole = "".join(piece.text for piece in free[place])
        assert "".join(piece.text for piece in row) == whole.split(stop)[0]
        assert (row[-1].finished == "stop") == (stop in whole)


def test_pieces_name_tokens_and_candidates():
    tokenizer, model = byte_tokenizer(), decoder(vocab_size=257)
    generation = Generation(model, [[97]], Sampling(temperature=0), 5, candidates=3)
    for piece in stream(generation, tokenizer, [[97]]):
        assert piece.token == tokenizer.token_bytes(piece.id).decode(errors="replace")
        assert piece.candidates[0].id == piece.id
        assert piece.candidates[0].probability == pytest.approx(piece.probability, rel=1e-6)


def test_an_empty_stop_string_is_refused_at_once():
    with pytest.raises(RegardError, match=r"stop string is empty"):
        stream(SimpleNamespace(samples=1), byte_tokenizer(), [[1]], [""])
