import pydoc_data.topics

import pytest

from regard.text import Tokenizer

STRANGE = (
    "Hello  world! 中文，一二三。 👩‍👩‍👧‍👦🇨🇳 é e\u0301 नमस्ते\r\n\n\tx <|end|>"
    " don't I'LL 12345 ##ing ▁ <0x41> \x00 \xa0\u3000 ½ ﬁ"
)


@pytest.fixture(scope="session")
def prose() -> str:
    return "\n".join(pydoc_data.topics.topics.values())[:200_000] + STRANGE * 3


@pytest.fixture(scope="session", params=["bytes", "characters", "bpe", "wordpiece", "unigram"])
def tokenizer(request: pytest.FixtureRequest, prose: str) -> Tokenizer:
    special = ["pad", "begin", "end", "mask", *(["unknown"] if request.param == "characters" else [])]
    return Tokenizer.train([prose], request.param, 1200, special)


@pytest.fixture(scope="session")
def bpe(prose: str) -> Tokenizer:
    return Tokenizer.train([prose], "bpe", 1200)
