"""What commands leave on disk: self-describing, atomic, resumable directories.

    from tf_advdefense.artifacts import adversarial_sets, runs
    run = runs.load_run("outputs", "resnet50")
    model = run.load_model()
    adv = adversarial_sets.load_set("outputs", "resnet50-cw-test")

`files`               files and directories that are either whole or absent
`runs`                `outputs/runs/NAME`: a trained model and everything that made it
`claims`              a claimed name is free again where the work fails at once
`identity`            which model it is: the hash of its architecture and weights
`saved_model`         the model as a SavedModel, with its evaluation beside it
`adversarial_sets`    `outputs/adv/NAME`: crafted images as a TFDS data set directory
`adversarial_shards`  how one is written, to be resumed at any time
`former_formats`      what former versions wrote, as today's would write it

Nothing is imported here: `files` does without TensorFlow, and so does whoever only
reads results (`evaluation.records`).
"""
