"""What the last layer's output becomes: one head a file (`base.py` is their contract). A line here is a kind.

Beside a decoder's head may stand `ctc.py` and `length.py`, which read its encoder, and beside an encoder's `order.py`.
"""

from regard.heads.base import Head as Head
from regard.heads.language import LanguageHead as LanguageHead
from regard.heads.classify import Classify as Classify
from regard.heads.multilabel import MultiLabel as MultiLabel
from regard.heads.regress import Regress as Regress
from regard.heads.tag import Tag as Tag
from regard.heads.answer import Answer as Answer
from regard.heads.embed import Embed as Embed
