"""The kinds of data that a run may learn from, by name."""

from regard.data.base import Data as Data
from regard.data.labelled import LabelledData as LabelledData
from regard.data.pairs import PairsData as PairsData
from regard.data.questions import QuestionData as QuestionData
from regard.data.speech import SpeechData as SpeechData
from regard.data.split import TextData as TextData
from regard.data.tagged import TaggedData as TaggedData
