"""The published architectures that can be read. A line here is a table."""

from regard.interop.base import Architecture
from regard.interop.bert import Bert
from regard.interop.distilbert import DistilBert
from regard.interop.gpt2 import GPT2
from regard.interop.roberta import Roberta

ARCHITECTURES: dict[str, Architecture] = {
    model_type: architecture
    for architecture in (Bert(), Roberta(), DistilBert(), GPT2())
    for model_type in architecture.model_types
}
