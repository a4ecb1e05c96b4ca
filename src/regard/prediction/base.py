"""Texts → framed rows → batches by length → what the head makes of each, back in the order of the texts.

Rows of about equal length share a batch, so that little of it is padding; what a text gives does not depend on the
others. A text longer than the model reads is read at its beginning, in overlapping windows, or refused, as asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from regard.attention import Padding
from regard.generation.translating import batches
from regard.model import Transformer
from regard.settings import RegardError
from regard.text import Tokenizer
from regard.text.frame import Frame, Framed, Ids

Long = Literal["begin", "windows", "refuse"]
Text = str | tuple[str, str | None]
"""A text, or two of which something is to be said together."""

SHORT = 16
"""Tokens that a row counts for at least."""
TOKENS = {"cpu": 1024, "cuda": 32768}
"""Tokens in a batch, padding included, at most; one row may have more. Larger ones leave a CPU's caches: MiniLM is 1.5
times as fast with 1024 as with 8192."""


def warn(message: str) -> None:
    print(f"regard: {message}", file=sys.stderr, flush=True)


class Reader:
    """A model with its tokenizer and the frame that stands around its texts.

    long   a text longer than the model reads: "begin" reads its beginning and says so once, "windows" reads all of it
           in windows that overlap by half, "refuse" raises `RegardError`; None: as is usual for the task
    say    receives each message once
    first  the number of the first text, for messages; it counts on from call to call
    """

    usual: ClassVar[Long] = "begin"

    def __init__(
        self,
        transformer: Transformer,
        tokenizer: Tokenizer,
        long: Long | None = None,
        say: Callable[[str], None] = warn,
        first: int = 1,
    ) -> None:
        long = long or self.usual
        if long not in get_args(Long):
            raise RegardError(f"long is 'begin', 'windows' or 'refuse', got {long!r}.")
        if long == "begin" != self.usual:
            raise RegardError("this model reads all of a long text in windows, or refuses it: leave out long='begin'.")
        self.model, self.tokenizer, self.long, self.first = transformer.eval(), tokenizer, long, first
        config = transformer.config
        self.head: Any = config.head
        self.frame = Frame.of(tokenizer)
        context = config.sizes(next(reversed(config.stacks))).context_length
        self.longest: int = min(context, getattr(config.head, "length", None) or context)
        """Tokens that the model reads at once, those of the frame included."""
        self._segments = config.input.segments > 1
        self._say: Callable[[str], None] | None = say

    # — texts to rows —

    def rows(self, texts: Sequence[Text]) -> list[list[Framed]]:
        """The rows of each text: one, several where it is read in windows, none where it is blank.

        Of two texts the longer is read in windows, beside as much of the other as half a row has room for.
        """
        pairs = [(text, None) if isinstance(text, str) else text for text in texts]
        firsts = self.tokenizer.encode_batch([first for first, _ in pairs])
        seconds = iter(self.tokenizer.encode_batch([second for _, second in pairs if second is not None]))
        found = []
        for ids, (first, second) in zip(firsts, pairs, strict=True):
            other = None if second is None else next(seconds)
            found.append(list(self._rows(ids, other)) if len(ids) and first.strip() else [])
            self.first += 1
        return found

    def _rows(self, first: Ids, second: Ids | None) -> Iterator[Framed]:
        room = self.longest - self.frame.added(second is not None)
        size = len(first) + (0 if second is None else len(second))
        if size > room and room > 0:
            self.overlong(size, room)
            if self.long == "windows":
                yield from self._windows(first, second, room)
                return
        yield self.frame.join(first, second, self.longest)

    def _windows(self, first: Ids, second: Ids | None, room: int) -> Iterator[Framed]:
        if second is None:
            for window in windows(len(first), room, room // 2):
                yield self.frame.join(first[window.start : window.stop])
            return
        turned = len(second) > len(first)
        longer, shorter = (second, first) if turned else (first, second)
        shorter = shorter[: room // 2]
        for window in windows(len(longer), room - len(shorter), (room - len(shorter)) // 2):
            part = longer[window.start : window.stop]
            yield self.frame.join(shorter, part) if turned else self.frame.join(part, shorter)

    def overlong(self, size: int, room: int) -> None:
        """Told of a text of `size` tokens where there is room for less. Raises `RegardError` where it is refused."""
        if self.long == "refuse":
            raise RegardError(
                f"text {self.first} is {size:,} tokens long, and the model reads {room:,} at once: shorten it, or read "
                "its beginning (--long begin) or all of it in windows (--long windows)."
            )
        if self.long == "begin":
            self.say(
                f"text {self.first} is {size:,} tokens long, and the model reads the first {room:,} of such texts; "
                "--long windows reads all of them."
            )

    def say(self, message: str) -> None:
        """Says a message, the first time that there is one."""
        if self._say is not None:
            self._say(message)
        self._say = None

    # — rows to outputs —

    @torch.inference_mode()
    def outputs(self, rows: Sequence[Framed]) -> Iterator[tuple[list[int], Tensor]]:
        """The numbers of the rows of each batch, and what the head gives for them, [b …] on the CPU.

        What it gives for each token, [b t …], is that of padding from a row's own length on.
        """
        tokens = TOKENS.get(next(self.model.parameters()).device.type, TOKENS["cuda"])
        for batch in batches([len(row.ids) for row in rows], tokens // SHORT, tokens):
            yield batch, self._run([rows[number] for number in batch])

    def _run(self, rows: Sequence[Framed]) -> Tensor:
        lengths = torch.tensor([len(row.ids) for row in rows])
        ids = torch.zeros(2, len(rows), int(lengths.max()), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[0, place, : len(row.ids)] = torch.from_numpy(row.ids)
            if self._segments:
                ids[1, place, : len(row.ids)] = torch.from_numpy(row.segments)
        device = next(self.model.parameters()).device
        mask = None if bool((lengths == ids.shape[2]).all()) else Padding(lengths.to(device))
        ids = ids.to(device)
        made = self.model(ids[0], mask=mask, segments=ids[1] if self._segments else None)
        return made.cpu() if made.dtype == torch.float64 else made.float().cpu()

    def means(self, texts: Sequence[Text], after: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[bool]]:
        """`after(outputs)` of each text, [n …], the mean over its windows; and whether the text has any tokens.

        after: from the outputs [b …] of a batch to values [b …], such as probabilities. A text without tokens gets 0.
        """
        rows = self.rows(texts)
        owners = torch.tensor([number for number, own in enumerate(rows) for _ in own], dtype=torch.long)
        counts = torch.tensor([len(own) for own in rows], dtype=torch.long)
        exact = torch.float64 if any(len(own) > 1 for own in rows) else None  # a sum of many loses digits
        total: Tensor | None = None
        for batch, made in self.outputs([row for own in rows for row in own]):
            values = after(made)
            if total is None:
                total = values.new_zeros(len(texts), *values.shape[1:], dtype=exact or values.dtype)
            total.index_add_(0, owners[batch], values.to(total.dtype))
        if total is None:
            return torch.zeros(len(texts)), [False] * len(texts)
        share = counts.clamp_min(1).reshape(-1, *[1] * (total.dim() - 1)).to(total.dtype)
        return total / share, (counts > 0).tolist()


def windows(size: int, room: int, overlap: int) -> Iterator[range]:
    """Windows of `room` places over `size` places; each begins `room − overlap` after the one before, and the last
    ends where the places do."""
    start, step = 0, max(1, room - overlap)
    while start + room < size:
        yield range(start, start + room)
        start += step
    yield range(max(0, size - room), size)
