"""What the last layer's output becomes: one head a file (`base.py` is their contract). A line here is a kind.

Beside a decoder's head may stand `ctc.py` and `length.py`, which read its encoder.
"""

from regard.heads.base import Head as Head
from regard.heads.language import LanguageHead as LanguageHead
