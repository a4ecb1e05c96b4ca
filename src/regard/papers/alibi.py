"""A penalty that grows in a straight line with distance is all the position a decoder needs to read on and on.

    score[t, s] = q_t · k_s / √e − m_h (t − s)        m_h = 2^(−8h/H)

Source   Press, Smith & Lewis 2022, arXiv:2108.12409, abstract, §2.2, §3, figure 1.
Printed  sinusoidal positions gain from some 20 tokens more than in training, rotary ones from 200, T5's buckets from
         600 (WikiText-103, trained on 512, §2.2); ALiBi goes on for thousands (figure 1). Trained on 1,024 tokens and
         read on 2,048, a model of 1.3 billion parameters has the perplexity of a sinusoidal one trained on 2,048, in
         11% less time and memory (abstract).
Here     decoders trained alike on windows of 64 bytes with each of the four positions, read at 64 to 512; and a
         sinusoidal one trained on 128, with the same number of bytes.
Proxy    0.1 million parameters and some seconds of training; bits a byte of held-out text of which the same bytes are
         predicted at each length, so that a window's first words do not weigh in; T5's buckets go up to 16 bytes, a
         quarter of the trained length, as 128 are of 512. Time and memory are not measured.
"""

from __future__ import annotations

from regard.papers.base import Check, Reproduction
from regard.papers.lengths import SLACK, TIMES, TRAINED, bits, draw, learn, reach
from regard.papers.tools import panels
from regard.positions import T5, ALiBi, Position, Rotary, Sinusoidal
from regard.positions.alibi import slopes

PARTS: dict[str, Position] = {
    "sinusoidal": Sinusoidal(),
    "rotary": Rotary(),
    "t5": T5(buckets=16, max_distance=16),
    "alibi": ALiBi(),
}


def reproduce(seed: int = 0, steps: int = 300) -> Reproduction:
    read, far = {}, {}
    for name, part in PARTS.items():
        learner = learn(part, steps, seed)
        read[name] = [bits(learner, TRAINED * times) for times in TIMES]
        far[name] = reach(learner)
    longer = bits(learn(PARTS["sinusoidal"], steps, seed, trained=2 * TRAINED, rows=8), 2 * TRAINED)
    alibi = read["alibi"]
    steps_of_eight = [one / other for one, other in zip(slopes(8), slopes(8)[1:], strict=False)]

    def along(name: str) -> str:
        return ", ".join(f"{value:.2f} at {TRAINED * times}" for value, times in zip(read[name], TIMES, strict=True))

    checks = (
        Check(
            "The slopes of 8 heads are a geometric sequence from 1/2 to 1/256",
            "1/2, 1/4 … 1/256 (§3)",
            ", ".join(f"1/{1 / slope:g}" for slope in slopes(8)),
            slopes(8)[0] == 1 / 2 and slopes(8)[-1] == 1 / 256 and set(steps_of_eight) == {2.0},
        ),
        Check(
            "Sinusoidal positions fail soon beyond the trained length",
            "steady to 50 tokens more, trained on 512, then worse (§2.2)",
            f"loss kept to {far['sinusoidal']} bytes, trained on {TRAINED}; bits a byte: {along('sinusoidal')}",
            far["sinusoidal"] < 1.5 * TRAINED,
        ),
        Check(
            "Rotary positions reach further, T5's buckets further still, and ALiBi furthest",
            "20, 200, 600 tokens more, and thousands (§2.2, figure 1)",
            f"bytes until the loss rises by {SLACK} bits: "
            + ", ".join(f"{name} {length}" for name, length in far.items())
            + f" (of {TRAINED * TIMES[-1]} tried)",
            list(far) == sorted(far, key=lambda name: far[name]) and len(set(far.values())) == len(far),
        ),
        Check(
            "ALiBi keeps its loss however long the text",
            "level from 512 to 16,000 tokens (figure 1)",
            f"bits a byte: {along('alibi')}",
            max(alibi) < alibi[0] + SLACK,
        ),
        Check(
            "At twice its trained length it is as good as sinusoidal positions that were trained there",
            "the same perplexity: trained on 1,024 against 2,048, read on 2,048 (abstract)",
            f"{alibi[1]:.2f} bits a byte, trained on {TRAINED}, against {longer:.2f}, trained on {2 * TRAINED}",
            alibi[1] < longer + SLACK,
        ),
    )
    notes = (
        "At the trained length rotary positions and T5's buckets are ahead here: "
        + ", ".join(f"{name} {of[0]:.2f}" for name, of in read.items())
        + " bits a byte. ALiBi keeps its loss; it does not use what stands further back, which hardly counts.",
    )

    picture, (left, right) = panels(2, width=9.0)
    distances = range(TRAINED)
    for head, slope in enumerate(slopes(8), start=1):
        style = "-" if head < 8 else "--"
        left.plot(distances, [-slope * n for n in distances], style, label=f"head {head}", linewidth=1.2)
    left.set(xlabel="distance (tokens)", ylabel="added to the score", title="ALiBi, 8 heads", ylim=(-16, 0.5))
    left.legend(fontsize=7, frameon=False, ncols=2)
    right.plot(
        [2 * TRAINED], [longer], marker="*", color="#888888", linestyle="none", label="sinusoidal, trained on 128"
    )
    draw(right, read)
    return Reproduction(checks, picture, notes)
