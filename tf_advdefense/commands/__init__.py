"""The commands: `advdefense train` after `pip install`, `bin/train` in a checkout.

    from tf_advdefense.commands import main
    code = main.run(["train", "--model=small_resnet", "--dataset=digits"])

`main`      the commands by name, and the console's entry point
`run`       parses the flags of one, runs it, and turns errors into a line and a code
`flags`     groups of flags, and the kinds of their values
`names`     every name that a flag may take, known without TensorFlow
`train`, `make_adv`, `report`, `export`, `bench`, `list`
            each a manual (its docstring), `define(flags)` and `main(flags, command)`
`work`      what they do once their flags are accepted: whatever needs TensorFlow

Every command has flags of its own, an `absl.flags.FlagValues` that is handed on, so
that any number of them run in one process.
"""
