"""Where a model stands among the networks of the zoo, as results hold it."""

from typing import TypedDict


class Network(TypedDict):
    """A network of the zoo beside a model, both under one attack; see `reference`."""

    name: str
    num_examples: int  # of the images of both, or else of its own
    accuracy: float  # its robust accuracy
    gain: float  # the model's lead, a fraction
    p: float  # of the exact test that tells them apart
    stands: str  # the model, to it: "above", "below" or "alike"


class Placement(TypedDict):
    """Where a model stands among the networks of the zoo, the best first."""

    key: str  # of its record
    target: str
    same_images: bool  # or images of another copy of the data set
    networks: list[Network]
