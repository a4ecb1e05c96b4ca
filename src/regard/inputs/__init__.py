"""What turns ids into vectors: one input a file (`base.py` is their contract). A line here is a kind."""

from regard.inputs.base import Input as Input
from regard.inputs.base import InputModule as InputModule
from regard.inputs.tokens import TokenInput as TokenInput
from regard.inputs.one_hot import OneHot as OneHot
from regard.inputs.word_vectors import WordVectors as WordVectors
from regard.inputs.factorised import Factorised as Factorised
from regard.inputs.audio import Audio as Audio
