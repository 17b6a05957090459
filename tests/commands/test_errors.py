"""Bad input: exit code 2, one line that says what to do, and nothing half-written."""

import dataclasses
import importlib
import os
import shutil
import time

import binaries
import keras
import pytest
import tensorflow as tf

from tf_advdefense import datasets
from tf_advdefense.artifacts import saved_model
from tf_advdefense.evaluation.crafted_sets import make_set

MODEL = "--model=small_cnn"
ATTACK = "--attack=fgsm"

# Of every program: a name, flags, and what the line says. {models} is the directory of
# what the fixture of that name made.
TRAIN = [
    ("no model", [], ["--model"]),
    ("unknown model", ["--model=resnet51"], ["resnet51", "resnet50", "keras:NAME"]),
    ("unknown keras model", ["--model=keras:ResNet51"], ["ResNet51", "ResNet50"]),
    ("unknown model argument", [MODEL, "--model_args=widht=4"], ["widht", "width"]),
    ("no value", [MODEL, "--model_args=width"], ["name=value", "width"]),
    ("unknown defence", [MODEL, "--defense=hope"], ["hope", "none", "ensemble"]),
    ("a share of no sets", [MODEL, "--adv_fraction=0.3"], ["about --adv_data"]),
    ("draws of nothing", [MODEL, "--eot_draws=3"], ["is about --transforms"]),
    ("a range", [MODEL, "--preprocess=resnet50"], ["is about --model_path"]),
    ("unknown schedule", [MODEL, "--schedule=step"], ["step", "plateau"]),
    (
        "unknown data set",
        [MODEL, "--dataset=cifar11"],
        ["cifar11", "--data_dir", "folder:PATH", "--dataset=digits"],
    ),
    ("missing folder", [MODEL, "--dataset=folder:/nowhere"], ["/nowhere", "CLASS"]),
    ("unknown flag", [MODEL, "--epoch=3"], ["epoch", "epochs"]),
    ("positional argument", [MODEL, "fast"], ["--", "fast", "--help"]),
    ("no epochs", [MODEL, "--epochs=0"], ["epochs", "0"]),
    ("batch too large", [MODEL, "--batch_size=9999"], ["batch_size=9999", "images"]),
    ("bad name", [MODEL, "--name=../up"], ["../up", "--name"]),
    ("no name", [MODEL, "--name="], ["--name", "''"]),
    ("absurd name", [MODEL, f"--name={'x' * 300}"], ["too long", "shorter --name"]),
    ("absurd epochs", [MODEL, f"--epochs={10**22}"], ["--epochs", "1000000"]),
    ("absurd side", [MODEL, "--image_size=100000"], ["--image_size", "16384"]),
    ("absurd crop", [MODEL, "--crop=10000000"], ["--crop", "side, 32"]),
    ("no part", [MODEL, "--crop_area=0"], ["--crop_area", "crop_area=0"]),
    ("no share of cutmix", [MODEL, "--cutmix=1.5"], ["cutmix", "at most 1", "1.5"]),
    ("huge cutout", [MODEL, "--cutout=65"], ["--cutout", "side, 32", "cutout=65"]),
    ("no norm", [MODEL, "--clip_norm=0"], ["--clip_norm", "clip_norm=0"]),
    ("absurd rate", [MODEL, "--learning_rate=1e400"], ["1e400"]),
    ("absurd width", [MODEL, f"--model_args=width={10**13}"], ["width", "4096"]),
    ("a shape", [MODEL, "--model_args=image_shape=3"], ["image_shape", "--model_args"]),
    ("given twice", [MODEL, "--defense_args=a=1,a=2"], ["a twice"]),
    (
        "eps twice",
        [MODEL, "--defense=pgd_at", "--eps=0.1", "--defense_args=eps=0.2"],
        ["--eps beside --defense_args=eps"],
    ),
    ("no number", [MODEL, "--defense=pgd_at", "--defense_args=eps={{}}"], ["eps={}"]),
    ("unknown transformation", [MODEL, "--transforms=jpg"], ["jpg", "'jpeg'", "tv"]),
    ("unknown parameter", [MODEL, "--transforms=jpeg:qualty=3"], ["qualty", "quality"]),
    ("no sets", [MODEL, "--defense=ensemble"], ["--adv_data", "bin/make_adv"]),
    (
        "sets of no use",
        [MODEL, "--adv_data=small_cnn-fgsm-eps0.1-train"],
        ["--defense=none", "small_cnn-fgsm-eps0.1-train"],
    ),
    (
        "test images",
        [MODEL, "--defense=adversarial", "--adv_data=small_cnn-cw-test"],
        ["test images", "small_cnn-cw-test", "--split=train"],
    ),
    (
        "only own sets",
        [MODEL, "--defense=ensemble", "--adv_data=small_cnn-fgsm-eps0.1-train"],
        ["another architecture", "--defense=adversarial"],
    ),
    (
        "missing set",
        [MODEL, "--defense=ensemble", "--adv_data=absent"],
        ["absent", "elsewhere-fgsm-eps0.1-train", "bin/make_adv"],
    ),
    (
        "corrupted set",
        [MODEL, "--defense=ensemble", "--adv_data=corrupted-train"],
        ["corrupted", "tfrecord-00001-of-00004", "--overwrite"],
    ),
    (
        "unfinished set",
        [MODEL, "--defense=ensemble", "--adv_data=unfinished"],
        ["unfinished", "bin/make_adv", "--resume"],
    ),
    (
        "unknown hyperparameter",
        [MODEL, "--defense=pgd_at", "--defense_args=nb_itre=3"],
        ["pgd_at", "nb_itre", "Did you mean 'nb_iter'"],
    ),
    (
        "unknown attack",
        [MODEL, "--defense=pgd_at", "--attack=pdg"],
        ["pdg", "Did you mean 'pgd'"],
    ),
    (
        "attack of no use",
        [MODEL, "--defense=trades", "--attack=pgd"],
        ["--defense=trades", "--attack=pgd"],
    ),
    ("radius of a defence without", [MODEL, "--eps=8/255"], ["none", "eps"]),
    (
        "radius out of range",
        [MODEL, "--defense=pgd_at", "--eps=8"],
        ["[0, 1]", "eps=8", "8/255"],
    ),
    (
        "radius no number",
        [MODEL, "--defense=pgd_at", "--eps=small"],
        ["small", "8/255"],
    ),
    (
        "no temperature",
        [MODEL, "--defense_args=temperature=0"],
        ["above 0", "temperature=0"],
    ),
    ("no teacher", [MODEL, "--defense=distillation"], ["teacher", "--teacher"]),
    ("no sources", [MODEL, "--defense=ensemble_at"], ["sources", "--sources"]),
    (
        "missing source",
        [MODEL, "--defense=ensemble_at", "--sources=absent"],
        ["absent", "small_cnn", "bin/train"],
    ),
    ("sources of no use", [MODEL, "--sources=small_cnn"], ["none", "--sources"]),
    (
        "missing teacher",
        [MODEL, "--defense=distillation", "--teacher=absent"],
        ["absent", "small_cnn", "bin/train"],
    ),
    ("teacher of no use", [MODEL, "--teacher=small_cnn"], ["none", "--teacher"]),
    (
        "teacher of other classes",
        [MODEL, "--defense=distillation", "--teacher={models}/seven.keras"],
        ["seven.keras", "10 classes"],
    ),
    (
        "other configuration",
        [MODEL, "--name=small_cnn", "--seed=7"],
        ["seed 0, now 7", "--name", "--overwrite"],
    ),
    (
        "resume and overwrite",
        [MODEL, "--name=small_cnn", "--resume", "--overwrite"],
        ["--resume", "--overwrite", "both"],
    ),
    (
        "copies of other images",
        [
            MODEL,
            "--defense=ensemble",
            "--train_examples=32",
            "--batch_size=16",
            "--adv_data=later-train",
        ],
        ["later-train", "none of the 32 images", "--train_examples"],
    ),
    (
        "a batch too small to mix",
        [
            MODEL,
            "--defense=ensemble",
            "--batch_size=1",
            "--adv_data=elsewhere-fgsm-eps0.1-train",
        ],
        ["--adv_fraction=0.5", "1 images"],
    ),
    (
        "unfinished run",
        [
            MODEL,
            "--name=unfinished",
            "--epochs=8",
            "--batch_size=16",
            "--train_examples=320",
            "--model_args=width=4",
        ],
        ["unfinished", "--resume", "--overwrite"],
    ),
]
MAKE_ADV = [
    ("no run", ["--attack=fgsm", "--run="], ["--run", "a name is needed"]),
    ("no radius", ["--attack=fgsm", "--eps="], ["--eps", "Received: nothing"]),
    ("absurd radius", ["--attack=fgsm", "--eps=1e999999999"], ["1e999999999"]),
    ("a dict", ["--attack=fgsm", "--attack_args=eps={{}}"], ["--eps={}"]),
    ("complex", ["--attack=fgsm", "--attack_args=eps=1j"], ["--eps=1j"]),
    ("a list", ["--attack=fgsm", "--attack_args=eps=[]"], ["--eps=[]"]),
    ("absurd steps", ["--attack=pgd", f"--attack_args=nb_iter={10**22}"], ["nb_iter"]),
    ("given twice", ["--attack=fgsm", "--attack_args=eps=1,eps=2"], ["eps twice"]),
    (
        "eps twice",
        ["--attack=fgsm", "--attack_args=eps=0.1", "--eps=0.2"],
        ["--eps beside --attack_args=eps"],
    ),
    (
        "labels of a targeted attack",
        ["--attack=fgsm", "--targeted", "--labels=true"],
        ["--labels=true beside --targeted"],
    ),
    ("a target alone", ["--attack=fgsm", "--target=3"], ["target=3", "--targeted"]),
    (
        "a run and a model",
        [ATTACK, "--model_path={models}/seven.keras", "--run=small_cnn"],
        ["--run and --model_path contradict each other"],
    ),
    (
        "a range of a run",
        [ATTACK, "--input_range=0,255"],
        ["--input_range is about --model_path, which is not given"],
    ),
    (
        "a runner's arguments alone",
        [ATTACK, "--runner_args=--a=1"],
        ["--runner_args is about --runner"],
    ),
    ("no attack", [], ["--attack"]),
    ("unknown attack", ["--attack=fgms"], ["fgms", "Did you mean 'fgsm'", "cw"]),
    (
        "unknown hyperparameter",
        ["--attack=cw", "--attack_args=max_iteration=3"],
        ["max_iteration", "max_iterations"],
    ),
    ("radius of an attack without", ["--attack=cw", "--eps=0.1"], ["cw", "eps"]),
    ("eps out of range", [ATTACK, "--eps=8"], ["[0, 1]", "eps=8", "8/255"]),
    ("eps below zero", [ATTACK, "--eps=-1/255"], ["[0, 1]", "eps=-0.0039"]),
    ("eps no number", [ATTACK, "--eps=small"], ["small", "8/255"]),
    ("eps a broken fraction", [ATTACK, "--eps=8/0"], ["8/0", "8/255"]),
    ("a second eps out of range", [ATTACK, "--eps=0.1,8"], ["eps=8"]),
    ("unknown norm", [ATTACK, "--attack_args=norm=3"], ["norm", "inf", "3"]),
    (
        "a text for a number",
        ["--attack=pgd", "--attack_args=nb_iter=many"],
        ["nb_iter", "many"],
    ),
    (
        "a small-letter false",
        ["--attack=pgd", "--attack_args=rand_init=false"],
        ["rand_init", "false"],
    ),
    ("unknown split", [ATTACK, "--split=dev"], ["dev", "validation"]),
    ("bad shard", [ATTACK, "--shard=2/2"], ["i/n", "2/2"]),
    ("bad target", [ATTACK, "--targeted", "--target=ten"], ["least_likely", "ten"]),
    ("target beyond the classes", [ATTACK, "--targeted", "--target=10"], ["10"]),
    ("a name for several sets", [ATTACK, "--eps=0.1,0.2", "--name=x"], ["--name"]),
    (
        "missing run",
        [ATTACK, "--run=absent"],
        ["absent", "small_cnn-ensemble", "bin/train"],
    ),
    (
        "unfinished run",
        [ATTACK, "--run=unfinished"],
        ["unfinished", "bin/train", "--resume"],
    ),
    (
        "another data set",
        [ATTACK, "--dataset=folder:{models}/images"],
        ["small_cnn", "digits", "--model_path"],
    ),
    (
        "other configuration",
        ["--attack=cw", "--seed=3"],
        ["seed 0, now 3", "--name", "--overwrite"],
    ),
    (
        "resume and overwrite",
        ["--attack=cw", "--resume", "--overwrite"],
        ["--resume", "--overwrite", "both"],
    ),
    (
        "unfinished set",
        [
            ATTACK,
            "--eps=0.1",
            "--num_examples=64",
            "--batch_size=16",
            "--split=train",
            "--name=unfinished",
        ],
        ["unfinished", "--resume", "--overwrite"],
    ),
    (
        "no model file",
        [ATTACK, "--model_path={models}/absent.keras"],
        ["absent.keras", "SavedModel"],
    ),
    (
        "unreadable model file",
        [ATTACK, "--model_path={models}/broken.keras"],
        ["broken.keras", "damaged"],
    ),
    ("no model at all", [ATTACK, "--model_path={models}/images"], ["saved_model.pb"]),
    (
        "two outputs",
        [ATTACK, "--model_path={models}/two_outputs.keras"],
        ["one output", "named `logits`", "2 outputs"],
    ),
    (
        "class count",
        [ATTACK, "--model_path={models}/seven.keras"],
        ["[8, 7]", "10 classes"],
    ),
    (
        "image shape",
        [ATTACK, "--model_path={models}/large.keras"],
        ["[64, 64, 3]", "[32, 32, 3]", "--image_size"],
    ),
    ("no gradient", [ATTACK, "--model_path={models}/rounding"], ["gradient", "none"]),
]
REPORT = [
    ("no radius", ["--eps="], ["--eps", "Received: nothing"]),
    ("radii twice", ["--eps=0.1", "--threat=L2:0.5"], ["--eps and --threat"]),
    ("a parent of nothing", ["--parent=a.keras"], ["--parent is about --model_path"]),
    ("a file", ["--report_dir=/etc/passwd"], ["/etc/passwd", "another directory"]),
    (
        "a directory of something else",
        ["--report_dir={models}/papers"],
        ["papers, which holds report.md and no per_example.npz", "another directory"],
    ),
    ("missing run", ["--runs=absent"], ["absent", "small_cnn", "bin/train"]),
    ("no runs", ["--runs="], ["--model_path", "bin/train"]),
    (
        "another data set",
        ["--runs=small_cnn", "--dataset=folder:{models}/images"],
        ["small_cnn", "digits"],
    ),
    ("unknown attack", ["--attacks=fgsm,pdg"], ["pdg", "Did you mean 'pgd'"]),
    ("eps out of range", ["--eps=2"], ["[0, 1]", "eps=2"]),
    ("missing set", ["--adv_data=absent"], ["absent", "bin/make_adv"]),
    (
        "training set",
        ["--adv_data=small_cnn-fgsm-eps0.1-train"],
        ["test images", "--split=test"],
    ),
    ("corrupted set", ["--adv_data=corrupted-test"], ["corrupted", "--overwrite"]),
    (
        "two outputs",
        ["--runs=", "--model_path={models}/two_outputs.keras"],
        ["one output", "2 outputs"],
    ),
    (
        "a run's name twice",
        ["--runs=small_cnn", "--model_path={models}/small_cnn.keras"],
        ["small_cnn", "--model_path"],
    ),
]
EXPORT = [
    ("no run", [], ["--run"]),
    ("missing run", ["--run=absent"], ["absent", "small_cnn", "bin/train"]),
    (
        "a directory of something else",
        ["--run=small_cnn", "--to={models}/images"],
        ["images", "other files", "Choose another name"],
    ),
    (
        "a file of something else",
        ["--run=small_cnn", "--to={models}/seven", "--transforms=bit_depth:bits=3"],
        ["seven.keras", "Choose another name"],
    ),
    (
        "missing report",
        ["--run=small_cnn", "--report_dir={models}"],
        ["results.json", "bin/report"],
    ),
    (
        "other results",
        ["--run=small_cnn", "--report_dir={models}/report"],
        ["format 5", "Received: 0", "bin/report"],
    ),
]
CASES = {"train": TRAIN, "make_adv": MAKE_ADV, "report": REPORT, "export": EXPORT}


class Rounding(keras.layers.Layer):
    def call(self, images):
        return tf.round(images * 255) / 255


def classifier(*layers, size=32, classes=10):
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.AveragePooling2D(4),
            keras.layers.Flatten(),
            keras.layers.Dense(classes),
            *layers,
        ]
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory, path):
    """Models that cannot be attacked, images of another data set, and old results."""
    root = tmp_path_factory.mktemp("models")
    one = classifier()
    two = keras.Model(one.inputs[0], [one.outputs[0], 2 * one.outputs[0]])
    two.save(root / "two_outputs.keras")
    classifier(classes=7).save(root / "seven.keras")
    classifier(size=64).save(root / "large.keras")
    shutil.copy(path.elsewhere, root / "small_cnn.keras")
    (root / "broken.keras").write_bytes(path.elsewhere.read_bytes()[:1000])
    rounding = keras.Sequential([keras.Input((32, 32, 3)), Rounding(), classifier()])
    saved_model.export_saved_model(rounding, root / "rounding")
    for split in ("train", "test"):
        for label in range(10):
            folder = root / "images" / split / str(label)
            folder.mkdir(parents=True)
            image = tf.io.encode_png(tf.fill([32, 32, 3], tf.cast(label, tf.uint8)))
            for i in range(2):
                (folder / f"{i}.png").write_bytes(image.numpy())
    for name, text in (
        ("report/results.json", '{"format": 0}'),
        ("papers/report.md", ""),
    ):
        (root / name).parent.mkdir()
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, path):
    """A copy of the finished outputs with what kills and faults leave beside it."""
    root = shutil.copytree(path.outputs, tmp_path_factory.mktemp("errors") / "outputs")
    adv = root / "adv"
    for split, source in (
        ("train", "elsewhere-fgsm-eps0.1-train"),
        ("test", "small_cnn-cw-test"),
    ):
        corrupted = shutil.copytree(adv / source, adv / f"corrupted-{split}")
        (shard,) = corrupted.glob("*.tfrecord-00001-*")
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
    for made in (
        adv / "small_cnn-fgsm-eps0.1-train",
        root / "runs" / "small_cnn",
    ):
        unfinished = shutil.copytree(made, made.with_name("unfinished"))
        (unfinished / "config.json").unlink()
    make_set_of_last_images(path.elsewhere, root)
    return root


def make_set_of_last_images(model, outputs):
    """An adversarial set of training images that --train_examples leaves out."""
    data = datasets.load("digits")
    train = data.train
    last = (part[-16:] for part in (train.images, train.labels, train.index))
    make_set(
        model,
        "fgsm",
        dataclasses.replace(data, train=datasets.Split(*last)),
        output_dir=outputs,
        name="later-train",
        split="train",
        batch_size=16,
        say=lambda line: None,
    )


def tree(root):
    # A lock comes and goes in a directory, whose own time tells nothing else.
    found = root.rglob("*")
    return {p: p.stat().st_mtime_ns if p.is_file() else None for p in found}


@pytest.fixture(scope="module")
def results(outputs, models):
    """(program, name) to its result; and what appeared or changed on the disk."""
    before = tree(outputs)
    found = {}
    for binary, cases in CASES.items():
        common = [f"--output_dir={outputs}"]
        if binary != "export":
            common.append("--dataset=digits")
        lines = [
            common + [flag.format(models=models) for flag in flags]
            for _, flags, _ in cases
        ]
        if binary == "make_adv":
            for line in lines:
                if not any("--model_path" in flag for flag in line):
                    line.insert(0, "--run=small_cnn")
        names = ["help", *(name for name, _, _ in cases)]
        for name, result in zip(names, binaries.run_each(binary, [["--help"], *lines])):
            found[binary, name] = result
    after = tree(outputs)
    changed = {p for p in {*before, *after} if before.get(p) != after.get(p)}
    return found, changed


@pytest.mark.parametrize(
    "binary, name, wanted",
    [
        pytest.param(binary, name, wanted, id=f"{binary}-{name}")
        for binary, cases in CASES.items()
        for name, _, wanted in cases
    ],
)
def test_bad_input_is_one_line(results, binary, name, wanted):
    result = results[0][binary, name]
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{binary}: ")
    assert not [part for part in wanted if part not in line], line


def test_bad_input_leaves_nothing_behind(results):
    assert not results[1]


# === Programs of their own ===


def test_a_data_set_that_cannot_be_downloaded(tmp_path):
    nowhere = {"https_proxy": "http://127.0.0.1:9", "TFDS_DATA_DIR": str(tmp_path)}
    started = time.monotonic()
    result = binaries.run_alone(
        "train",
        "--model=resnet50",
        f"--output_dir={tmp_path}/out",
        env={**os.environ, **nowhere},
    )
    assert time.monotonic() - started < 60  # It does not try for minutes.
    assert result.returncode == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    for remedy in ("--data_dir", "--dataset=folder:PATH", "--dataset=digits"):
        assert remedy in line
    assert not list(tmp_path.iterdir())


def test_nothing_but_the_error_is_said_once_tensorflow_is_loaded(tmp_path):
    unknown = ["--dataset=digits", "--model=keras:ResNet51"]
    result = binaries.run_alone("train", *unknown, f"--output_dir={tmp_path}")
    assert result.returncode == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("train: ") and "ResNet50" in line


def test_verbosity_shows_where_it_happened(tmp_path):
    # The error itself, of which the interpreter prints a traceback.
    with pytest.raises(FileNotFoundError, match="No finished run 'absent'"):
        binaries.run(
            "export", f"--output_dir={tmp_path}", "--run=absent", "--verbosity=1"
        )


@pytest.mark.parametrize("binary", CASES)
def test_help_is_the_manual(results, binary):
    result = results[0][binary, "help"]
    assert result.returncode == 0
    assert not result.stderr
    module = importlib.import_module(f"tf_advdefense.commands.{binary}")
    assert result.stdout.startswith(module.__doc__.splitlines()[0])
    assert "--output_dir" in result.stdout
