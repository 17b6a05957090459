"""How robust a classifier is: per-example measurements, their statistics and flags.

`compare`       several models under several attacks, to one report
`crafted_sets`  adversarial sets, crafted and kept
`evaluate`      one model, clean and under one attack
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
