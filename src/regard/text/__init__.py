"""Text to ids and back, without torch: tokenizers, and decoding that never shows half a character."""

from regard.text.decoding import StreamDecoder
from regard.text.files import ROLES
from regard.text.tokenizer import Token, Tokenizer, TokenizerConfig

__all__ = ["ROLES", "StreamDecoder", "Token", "Tokenizer", "TokenizerConfig"]
