"""List attacks, defences, models, input transformations and sources of data.

    bin/list

Of each attack: the norms it knows (the first is its default), its goal, what it
reads off the model, its paper, and
the forward / backward passes that it takes per 32x32x3 image of 10 classes at most, by
default and, where these differ, with the budget of the commands.
"""

from absl.flags import FlagValues

from tf_advdefense.commands.loading import quietly


def define(values: FlagValues) -> None:
    """It takes no flags."""


def main(flags: FlagValues, command: str) -> None:
    """Prints the lists."""
    with quietly():
        from tf_advdefense.commands.work.list import listed
    print(listed())
