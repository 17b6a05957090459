"""How easily is an image classifier fooled, and which defence really helps?

models       Keras classifiers from images in [0, 1] to logits
datasets     TFDS data sets, image folders and the embedded `digits`
attacks      CleverHans' attacks, and those it lacks, behind one signature
defenses     which loss on which images
training     `AdversarialTrainer`: the only training step in the package
evaluation   per-example correctness under attack, with intervals
diagnostics  red flags of broken set-ups and of gradient masking
reporting    results to tables, figures and HTML
artifacts    runs, adversarial sets and results on disk; SavedModel
distribution the one place that knows tf.distribute
"""

import os

__version__ = "0.1.0"

# oneDNN is off by default on AMD processors, where ResNet50 trains seven times
# faster with it. TensorFlow reads the variable once, when it loads.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# The runtime's start-up chatter (a missing GPU is an "error" to it) would hide the one
# line that matters to a user; what is wrong is raised as an exception anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
