"""How robust a classifier is: per-example measurements, their statistics and flags.

`evaluate`      how robust a model is, in one call; `compare` of several
`outcome`       what that call returns
`survey`        several models under several attacks, measured and kept
`gate`          the decision whether a model is as robust as another, `error_rates`
                how often it is wrong, `baselines` the other; without TensorFlow
`repetition`    takes a gate's measurements
`taking`        what of it is missing, measured
`crafted_sets`  adversarial sets, crafted and kept
`suites`        which attacks answer a threat model
`threat_models` norm, radius and knowledge, and who withstands; without TensorFlow
`scoring`       one model, clean and under one attack
`targets`       the models of a comparison, and their roles
`plan`          which measurements a comparison consists of
`measurements`  one of them: what identifies it, and taking it
`diagnostics`   models that cannot be measured
`red_flags`     signs that a number does not mean what it seems to
`records`       the format of results; without TensorFlow
`statistics`    intervals and paired tests; without TensorFlow
`attack_facts`  what the records say of an attack

Nothing is imported here: whoever only reads results does without TensorFlow.
"""
