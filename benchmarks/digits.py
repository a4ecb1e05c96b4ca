"""Connected spoken digits on a CPU: the word error rate on unseen recordings, and on speakers that were left out.

    python benchmarks/digits.py --data fsdd.tar.gz [las] [speech] [--leave-out all|NAME …] [--steps N] [--out FOLDER]

The data are the Free Spoken Digit Dataset: 3,000 recordings of single digits by six speakers, 8 kHz. Three to eight
recordings of one speaker are joined, with silences of random length and some noise, into what is to be written down:
"3 1 4 1 5". Of each speaker and digit, recordings 0 to 4 are the test, as the set says, and 5 and 6 the validation.

las       Listen, Attend and Spell: a pyramid of LSTMs and an attention speller
speech    a Transformer behind convolutions

Each is trained with CTC beside it, and goes on where it was stopped. Printed are the minutes of training and the error
rates of 300 joined sentences of the test, chosen by decoder and CTC together, by the decoder alone, and by CTC alone.
--leave-out trains once more for each speaker named, without them, and is tested on all of their recordings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import regard as rg
from regard.evaluation.speech import evaluate_speech, recordings_of
from regard.evaluation.transcription import transcription_scores
from regard.generation.transcribing import Transcriber

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
SETTINGS = (
    "data.join=[3, 8]",
    "model.source.features.rate=8000",
    "model.source.features.n_mels=40",
    "training.sample_tokens=20",
)


def train_and_test(recipe: str, data: str, out: Path, steps: int, *more: str) -> None:
    run = rg.train(recipe, data, out, steps=steps, overrides=(*SETTINGS, *more))
    print(run)
    if run.ended == "interrupted":
        return
    seconds = [json.loads(line)["seconds"] for line in (out / "timings.jsonl").read_text().splitlines()]
    sessions = [now for now, after in zip(seconds, [*seconds[1:], 0.0], strict=True) if after < now]
    print(f"{out.name}: trained for {sum(sessions) / 60:.1f} minutes, evaluation included")
    model = rg.load(out)
    ear, recordings = Transcriber(model.transformer, model.tokenizer), recordings_of(model)
    for name, joint in (("decoder and CTC together", None), ("the decoder alone", 0.0)):
        print(f"\n{out.name}, {name}\n{evaluate_speech(ear, recordings, joint=joint)}")
    rate = ear.features.rate
    said = recordings.utterances(recordings.read(rate), "test", rate)
    spelt = [text for start in range(0, len(said), 32) for text in ear.spelt([s.samples for s in said[start:][:32]])]
    print(f"\n{out.name}, CTC alone\n{transcription_scores(spelt, [one.text for one in said])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=["las", "speech"])
    parser.add_argument("--data", required=True)
    parser.add_argument("--leave-out", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    options, overrides = parser.parse_known_args()
    left_out = SPEAKERS if options.leave_out == ["all"] else options.leave_out
    for recipe in options.recipes:
        if not left_out:
            train_and_test(recipe, options.data, options.out / recipe, options.steps, *overrides)
        for name in left_out:
            place = options.out / f"{recipe}-without-{name}"
            train_and_test(recipe, options.data, place, options.steps, f"data.leave_out={name}", *overrides)


if __name__ == "__main__":
    main()
