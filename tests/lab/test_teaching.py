"""Teachers in a study: what may be asked, who waits for whom, what is kept, and what a student learns."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from crossed import crossed
from lab.alone import run_trial
from regrow.errors import ConfigError, RegrowError, StoreError
from regrow.lab import data as datasets
from regrow.lab.assembly import build_model
from regrow.lab.data import Dataset
from regrow.lab.events import Ended, Event, Progressed
from regrow.lab.executor import Tally, run_study
from regrow.lab.measure import measure
from regrow.lab.plan import plan
from regrow.lab.preflight import preflight
from regrow.lab.teaching import Teaching
from regrow.lab.weights import Weights, WeightsFile
from regrow.lab.worker import WorkerSettings
from regrow.study.document import Study, check_document
from regrow.study.fingerprint import differences
from regrow.study.store import Store
from regrow.study.trials import TrialSpec

MakeStudy = Callable[..., Study]

KD: dict[str, Any] = {"recipe": "none", "teachers": ["big"]}
BIG: dict[str, Any] = {"recipe": "none", "model": {"filters": 5}, "train": {"epochs": 4}}
NONE: dict[str, Any] = {"recipe": "none"}


@pytest.fixture
def taught_study(digits_npz: Path) -> MakeStudy:
    """A study of seconds from its arms, in the order given."""

    def make(arms: Mapping[str, Mapping[str, Any]], **changes: Any) -> Study:
        base: dict[str, Any] = {
            "name": "s",
            "data": {"name": f"npz:{digits_npz}"},
            "model": {"settings": {"filters": 3, "dense": 8, "init": "kaiming_normal"}},
            "train": {"epochs": 3, "batch_size": 16, "lr": 0.1},
            "seeds": [0, 1],
        }
        return check_document({**base, "arms": dict(arms), **changes}, where="s.toml")

    return make


@pytest.fixture
def digits(digits_npz: Path) -> Dataset:
    """The images of these studies."""
    return datasets.load(f"npz:{digits_npz}", settings={})


def _specs(study: Study) -> dict[str, TrialSpec]:
    return {spec.label: spec for spec in plan(study, where="s.toml").trials if spec.seed == 0}


def _weights(spec: TrialSpec, digits: Dataset, *seeds: int) -> Weights:
    states = tuple(build_model(spec, digits, seed=seed).state_dict() for seed in seeds)
    return Weights(source=spec.trial, model=spec.model, states=states)


# ---- what may be asked


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        (
            {"kd": {**KD, "teachers": ["bog"]}, "big": BIG},
            r"s\.toml: arms\.kd\.teachers: unknown teacher 'bog' \(did you mean 'big'\?\); known: PATH\.pt, big$",
        ),
        (
            {"kd": {**KD, "teachers": ["kd"]}, "big": BIG},
            r"s\.toml: arms\.kd\.teachers: an arm cannot teach itself",
        ),
        (
            {"kd": {**KD, "teachers": ["big", "big"]}, "big": BIG},
            r"s\.toml: arms\.kd\.teachers: 'big' is there twice",
        ),
        (
            {"kd": KD, "big": {**BIG, "teachers": ["kd"]}},
            r"s\.toml: arms: an arm runs after .*(kd -> big -> kd|big -> kd -> big) is a circle",
        ),
        (
            {"ro": {"recipe": "randomout", "teachers": ["c"]}, "c": {"recipe": "random"}},
            r"s\.toml: arms\.c\.teachers: an arm cannot teach itself",
        ),
        (
            {
                "ro": {"recipe": "randomout", "teachers": ["c"]},
                "c": {"recipe": "random", "teachers": ["big"]},
                "big": BIG,
            },
            "(ro -> c -> ro|c -> ro -> c) is a circle",
        ),
        (
            {"kd": {**NONE, "distillation": {"weight": 2.0}}},
            r"s\.toml: arms\.kd\.distillation: needs teachers, and the arm has none",
        ),
        (
            {"kd": {**KD, "teachers": ["gone.pt"]}},
            r"s\.toml: arms\.kd\.teachers: weights file gone\.pt: cannot be read from .*: No such file",
        ),
        (
            {"kd": {**KD, "teacher_digests": {"other.pt": "0"}}, "big": BIG},
            r"s\.toml: arms\.kd\.teacher_digests: unknown file among the teachers 'other\.pt'",
        ),
        (
            {"big": {**BIG, "model": {"filtrs": 5}}},
            r"s\.toml: arms\.big\.model: model cratercnn: unknown setting 'filtrs' \(did you mean 'filters'\?\)",
        ),
        ({"big": {**BIG, "model": {"filters": "5"}}}, r"arms\.big\.model: model cratercnn: filters: must be a whole"),
        ({"big": {**BIG, "model": {"name": "resnet2"}}}, r"arms\.big\.model: unknown model 'resnet2'"),
        ({"big": {**BIG, "model": {"name": 3}}}, r"arms\.big\.model\.name: must be a text, got 3"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_with_their_place(
    taught_study: MakeStudy, arms: dict[str, Any], message: str
) -> None:
    with pytest.raises(RegrowError, match=message) as caught:
        _ = plan(taught_study(arms), where="s.toml").cells
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"teachers": "big"}, "s.toml: arms.kd.teachers: must be a list, got 'big'"),
        ({"teachers": [3]}, "s.toml: arms.kd.teachers.0: must be a text, got 3"),
        ({"model": {"width": []}}, "s.toml: arms.kd.model: width must be a text, a number"),
        (
            {"distillation": {"temperature": 0}},
            "s.toml: arms.kd.distillation.temperature: must be above 0, got 0",
        ),
        (
            {"distillation": {"combine": "max"}},
            "s.toml: arms.kd.distillation.combine: must be one of 'mean' or 'sum', got 'max'",
        ),
        (
            {"distillation": {"temperatures": 1.0}},
            "s.toml: arms.kd.distillation: unknown key 'temperatures' (did you mean 'temperature'?)",
        ),
        ({"teacher": ["big"]}, "s.toml: arms.kd: unknown key 'teacher' (did you mean 'teachers'?)"),
    ],
)
def test_shapes_are_checked(taught_study: MakeStudy, arm: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        taught_study({"kd": {**NONE, **arm}})
    assert str(caught.value).startswith(message)


def test_a_trial_comes_after_its_teachers_and_knows_them(taught_study: MakeStudy) -> None:
    arms = {
        "last": {"recipe": "none", "teachers": ["kd", "big"], "distillation": {"combine": "sum"}},
        "kd": KD,
        "none": NONE,
        "big": BIG,
    }
    study = taught_study(arms)
    assert [spec.label for spec in plan(study).trials if spec.seed == 0] == [
        "none",
        "big",
        "kd",
        "last",
    ]
    by_label = _specs(study)
    assert by_label["last"].after == ("base/kd/seed0", "base/big/seed0")
    assert by_label["last"].distillation.combine == "sum"
    assert by_label["kd"].distillation.temperature == 2.0
    assert {label for label, spec in by_label.items() if spec.keeps_weights} == {"kd", "big"}
    assert by_label["big"].model.settings["filters"] == 5
    assert by_label["kd"].model.settings["filters"] == 3
    # Plain data, so that it can be stored; what an arm does not say is filled in.
    told = plan(study).document["arms"]
    assert told["kd"]["distillation"] == {"temperature": 2.0, "weight": 1.0, "combine": "mean"}
    assert told["none"]["distillation"] is None


def test_an_arm_may_have_another_network(taught_study: MakeStudy) -> None:
    arms = {"kd": KD, "big": {"recipe": "none", "model": {"name": "convnet", "width": 6}}}
    by_label = _specs(taught_study(arms))
    assert by_label["big"].model.name == "convnet"
    assert by_label["big"].model.settings["width"] == 6
    assert "dense" not in by_label["big"].model.settings
    assert by_label["kd"].model.name == "cratercnn"


def test_a_control_has_the_model_and_the_teachers_of_the_arm_that_it_replays(
    taught_study: MakeStudy,
) -> None:
    tested = {
        "recipe": "randomout",
        "model": {"filters": 4},
        "teachers": ["big"],
        "distillation": {"weight": 0.5},
    }
    by_label = _specs(taught_study({"ro": tested, "c": {"recipe": "random"}, "big": BIG}))
    for name in ("model", "teachers", "distillation"):
        assert getattr(by_label["c"], name) == getattr(by_label["ro"], name)
    assert by_label["c"].after == ("base/ro/seed0", "base/big/seed0")


def test_the_grid_varies_the_studys_model_and_an_arms_own_settings(
    taught_study: MakeStudy,
) -> None:
    grid = {"model.filters": [2, 3], "big.model.dense": [6], "kd.distillation.temperature": [1, 4]}
    study = taught_study({"kd": KD, "big": BIG}, grid=grid, seeds=[0])
    specs = plan(study).trials

    def found(label: str) -> set[tuple[int, int, float]]:
        return {
            (*(spec.model.settings[key] for key in ("filters", "dense")), spec.distillation.temperature)
            for spec in specs
            if spec.label == label
        }  # fmt: skip

    assert found("kd") == {(2, 8, 1.0), (2, 8, 4.0), (3, 8, 1.0), (3, 8, 4.0)}
    assert found("big") == {(5, 6, 2.0)}
    by_trial = {spec.trial: spec for spec in specs}
    assert all(by_trial[after].cell == spec.cell for spec in specs for after in spec.after)


def test_the_content_of_a_teachers_file_is_part_of_what_determines_the_results(
    taught_study: MakeStudy, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = taught_study({"kd": {"recipe": "none", "teachers": ["t.pt"]}})
    model = _specs(taught_study({"none": NONE}))["none"]
    found: list[dict[str, Any]] = []
    for seed in (5, 6):
        torch.save(build_model(model, digits, seed=seed).state_dict(), "t.pt")
        found.append(plan(study).fingerprint_document(data_digests={"base": "d"}))
    changed = differences(*found)
    assert len(changed) == 1
    assert changed[0].startswith("cells.base.arms.kd.teacher_digests.t.pt: ")
    told = taught_study(
        {"kd": {"recipe": "none", "teachers": ["t.pt"], "teacher_digests": {"t.pt": "12"}}}
    )
    with pytest.raises(ConfigError, match=r"arms\.kd\.teacher_digests: t\.pt must have 12, got"):
        _ = plan(told, where="s.toml").cells


# ---- before anything runs


def test_the_preflight_says_what_teachers_cost(
    taught_study: MakeStudy, digits: Dataset, tmp_path: Path
) -> None:
    file = str(tmp_path / "t.pt")
    arms = {
        "none": NONE,
        "kd": {**KD, "teachers": ["big", file]},
        "last": {"recipe": "none", "teachers": ["kd", "big"]},
        "big": BIG,
    }
    plain = _specs(taught_study({"none": NONE}))["none"]
    torch.save(build_model(plain, digits, seed=1).state_dict(), file)
    assert preflight(plan(taught_study(arms)).trials).notices == (
        f"arm kd: its teachers train 4 epochs in all (big 4); what {file} has cost is not known; its own epochs, 3, do "
        "not count that",
        "arm last: its teachers train 7 epochs in all (kd 3, big 4); its own epochs, 3, do not count that",
    )


def test_a_file_that_cannot_teach_is_found_before_anything_runs(
    taught_study: MakeStudy, digits: Dataset, tmp_path: Path
) -> None:
    file = str(tmp_path / "t.pt")
    arms = {"kd": {"recipe": "none", "teachers": [file]}}
    torch.save({"a": torch.zeros(2)}, file)
    told = rf"arm kd: teacher {file}: its weights must fit model 'cratercnn' \(.*Missing key"
    with pytest.raises(ConfigError, match=told):
        preflight(plan(taught_study(arms)).trials)
    spec = _specs(taught_study(arms))["kd"]
    # A network of the same kind, for other classes.
    other = dataclasses.replace(digits, classes=("a", "b", "c", "d"))
    keeper = WeightsFile(Path(file), trial="t", fingerprint="f")
    keeper.save(spec.model, [build_model(spec, other, seed=0).state_dict()])
    with pytest.raises(ConfigError, match=rf"arm kd: teacher {file}: .*size mismatch"):
        preflight(plan(taught_study(arms)).trials)
    keeper.save(spec.model, [build_model(spec, digits, seed=0).state_dict()])
    with pytest.raises(ConfigError, match=f"arm kd: weights file {file}: has changed since"):
        preflight([spec])
    assert len(preflight(plan(taught_study(arms)).trials).notices) == 1


def test_a_file_of_a_users_network_with_other_scores_is_found(
    taught_study: MakeStudy, digits: Dataset, tmp_path: Path, own_nets: str
) -> None:
    file = tmp_path / "t.pt"
    study = taught_study({"n": {**NONE, "model": {"name": own_nets, "doubled": True}}})
    spec = _specs(study)["n"]
    keeper = WeightsFile(file, trial="t", fingerprint="f")
    keeper.save(spec.model, [build_model(spec, digits, seed=0).state_dict()])
    with pytest.raises(
        ConfigError, match=rf"arm kd: teacher {file}: must return one score for each"
    ):
        preflight(plan(taught_study({"kd": {"recipe": "none", "teachers": [str(file)]}})).trials)


# ---- the loss


def _student(study: Study, **training: Any) -> TrialSpec:
    spec = _specs(study)["kd"]
    return dataclasses.replace(spec, train=spec.train.model_copy(update=training))


@pytest.mark.parametrize(
    ("combine", "augment", "reduction"),
    crossed(["mean", "sum"], ["none", "crop-flip"], ["mean", "sum"]),
)
def test_all_networks_of_a_teacher_teach_by_the_mean_of_their_probabilities(
    taught_study: MakeStudy, digits: Dataset, reduction: str, augment: str, combine: str
) -> None:
    asked = {"temperature": 3.0, "weight": 0.5, "combine": combine}
    arms = {
        "kd": {"recipe": "none", "teachers": ["big", "none"], "distillation": asked},
        "big": BIG,
        "none": NONE,
    }
    by_label = _specs(taught_study(arms))
    student = _student(taught_study(arms), loss_reduction=reduction, augment=augment)
    several = _weights(by_label["big"], digits, 1, 2, 3)
    weights = [several, _weights(by_label["none"], digits, 4)]
    chosen = torch.tensor([40, 3, 77, 3])
    images, logits = digits.x_train[chosen], torch.randn(4, 3)
    found = Teaching(student, digits, weights).loss(logits, images, chosen)

    def softened(label: str, seed: int) -> Tensor:
        with torch.no_grad():
            answer = build_model(by_label[label], digits, seed=seed).eval()(images)
        return F.softmax(answer.double() / 3.0, -1)

    first = (softened("big", 1) + softened("big", 2) + softened("big", 3)) / 3
    second = softened("none", 4)
    own = F.softmax(logits.double() / 3.0, -1).tolist()
    expected = 0.0
    for target in [(first + second) / 2] if combine == "mean" else [first, second]:
        for p, q in zip(target.tolist(), own, strict=True):
            expected += sum(p[k] * (math.log(p[k]) - math.log(q[k])) for k in range(3))
    expected *= 0.5 * 9.0 / (1 if reduction == "sum" else 4)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_fixed_images_are_looked_at_once_and_augmented_ones_at_every_step(
    taught_study: MakeStudy, digits: Dataset
) -> None:
    study = taught_study({"kd": KD, "big": BIG})
    weights = [_weights(_specs(study)["big"], digits, 1)]
    chosen, logits = torch.arange(16), torch.randn(16, 3)
    images = digits.x_train[chosen]
    fixed = Teaching(_student(study), digits, weights)
    moved = Teaching(_student(study, augment="crop-flip"), digits, weights)
    plain = moved.loss(logits, images, chosen)
    assert not torch.allclose(moved.loss(logits, images.flip(-1), chosen), plain)
    # Before the first batch: what a batch shows has no influence, nor where a resumed trial begins.
    torch.testing.assert_close(fixed.loss(logits, images.flip(-1), chosen), plain)


def test_weights_that_cannot_teach_are_refused(taught_study: MakeStudy, digits: Dataset) -> None:
    study = taught_study({"kd": KD, "big": BIG})
    with pytest.raises(
        ConfigError, match="base/kd/seed0: needs the weights of its 1 teachers, got 0"
    ):
        run_trial(_student(study), digits)
    found = _weights(_specs(study)["big"], digits, 1, 2)
    next(iter(found.states[1].values())).flatten()[0] = math.nan
    with pytest.raises(
        ConfigError, match="teacher base/big/seed0: network 1 of 2 has weights that"
    ):
        Teaching(_student(study), digits, [found])


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_a_weight_of_0_is_plain_training_and_another_is_not(
    taught_study: MakeStudy, digits: Dataset, augment: str
) -> None:
    training = {"epochs": 2, "batch_size": 16, "lr": 0.1, "augment": augment}
    plain = _specs(taught_study({"kd": NONE}, train=training))["kd"]
    losses = [[record.test_loss for record in run_trial(plain, digits).epochs]]
    for weight in (0.0, 1.0):
        arms = {"kd": {**KD, "distillation": {"weight": weight}}, "big": BIG}
        by_label = _specs(taught_study(arms, train=training))
        taught = [_weights(by_label["big"], digits, 1)]
        result = run_trial(by_label["kd"], digits, teachers=taught)
        losses.append([record.test_loss for record in result.epochs])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


# ---- in a study


def _opened(study: Study, folder: Path) -> Store:
    return Store(
        folder,
        document=plan(study).document,
        fingerprint_document=plan(study).fingerprint_document(data_digests={"base": "d"}),
        arms=plan(study).arms,
        environment={},
    )


def _run(study: Study, folder: Path, **options: Any) -> Tally:
    with _opened(study, folder) as store:
        return run_study(plan(study).trials, store, **{"jobs": 1, **options})


def _rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "results.sqlite")) as found:
        return found.execute(query).fetchall()


_EPOCHS = (
    "SELECT trial, epoch, train_loss, test_loss, test_accuracy FROM epochs ORDER BY trial, epoch"
)


def _alone(study: Study, digits: Dataset, folder: Path) -> list[tuple[Any, ...]]:
    """What `_EPOCHS` should give: the trials one after the other, here and without an interruption."""
    rows: list[tuple[Any, ...]] = []
    for spec in plan(study).trials:
        mine, *theirs = (
            WeightsFile(folder / name.replace("/", "-"), trial=name, fingerprint="f")
            for name in (spec.trial, *spec.after)
        )
        result = run_trial(
            spec,
            digits,
            teachers=[file.load() for file in theirs],
            weights=mine if spec.keeps_weights else None,
        )
        rows += [
            (spec.trial, e.epoch, e.train_loss, e.test_loss, e.test_accuracy) for e in result.epochs
        ]
    return sorted(rows)


def test_students_wait_for_their_teachers_whose_weights_are_there_before_their_result(
    taught_study: MakeStudy, tmp_path: Path, digits: Dataset
) -> None:
    arms = {"kd": KD, "none": NONE, "last": {"recipe": "none", "teachers": ["kd"]}, "big": BIG}
    study = taught_study(arms)
    by_trial = {spec.trial: spec for spec in plan(study).trials}
    ended: list[str] = []
    begun: dict[str, set[str]] = {}
    with _opened(study, tmp_path) as store:

        def on_event(event: Event) -> None:
            if isinstance(event, Progressed):
                begun.setdefault(event.specs[0].trial, set(ended))
            elif isinstance(event, Ended):
                ended.append(event.spec.trial)
                kept = store.weights(event.spec.trial).is_file()
                assert kept == event.spec.keeps_weights

        tally = run_study(plan(study).trials, store, jobs=2, on_event=on_event)
        assert tally.ended == {"finished": 8}
        for trial, before in begun.items():
            assert set(by_trial[trial].after) <= before
        # What is kept is the network whose accuracy was recorded.
        kept = [trial for trial, spec in by_trial.items() if spec.keeps_weights]
        assert len(kept) == 4
        for trial in kept:
            file = WeightsFile(store.weights(trial), trial=trial, fingerprint=store.fingerprint)
            found = file.load()
            assert found.model == by_trial[trial].model
            network = build_model(by_trial[trial], digits, seed=9)
            network.load_state_dict(found.states[0])
            accuracy = measure(network, digits.x_test, digits.y_test)[1]
            assert store.accuracies()[trial] == accuracy
        names = {path.name for path in (tmp_path / "weights").iterdir()}
        assert names == {store.weights(trial).name for trial in kept}


NETS = """
import os, pathlib, signal
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, width, seed, flags, fails):
        super().__init__()
        self.flag, self.steps, self.fails = pathlib.Path(flags) / f"{width}-{seed}", 0, fails
        self.net = nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, classes))

    def forward(self, x):
        if self.training and len(x) > 2:
            self.steps += 1
            if self.fails == "always":
                raise ValueError("no")
            if self.steps == 14 and self.fails == "once" and not self.flag.exists():
                self.flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.net(x)


def make(*, in_channels, image_size, classes, width=3, flags="", fails="", doubled=False):
    return Net(classes * (1 + doubled), width, torch.initial_seed(), flags, fails)
"""


@pytest.fixture
def own_nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A network that can be killed, fail, or have too many scores."""
    (tmp_path / "nets_that_teach.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    return "nets_that_teach:make"


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_killed_teachers_and_students_go_on_and_end_with_the_same_bits(
    taught_study: MakeStudy, tmp_path: Path, digits: Dataset, own_nets: str, augment: str
) -> None:
    arms = {"kd": KD, "big": {**BIG, "model": {"width": 5}}}

    def study(fails: str) -> Study:
        return taught_study(
            arms,
            model={"name": own_nets, "settings": {"flags": str(tmp_path), "fails": fails}},
            train={"epochs": 3, "batch_size": 16, "lr": 0.1, "augment": augment},
            seeds=[0],
        )

    tally = _run(study("once"), tmp_path / "run", settings=WorkerSettings(checkpoint_every_s=0.0))
    assert tally.ended == {"finished": 2}
    assert len(list(tmp_path.glob("[35]-0"))) == 2  # each trial was killed once
    assert _rows(tmp_path / "run", _EPOCHS) == _alone(study(""), digits, tmp_path)


def test_stopped_between_teacher_and_student_it_goes_on_with_the_kept_weights(
    taught_study: MakeStudy, tmp_path: Path, digits: Dataset
) -> None:
    study = taught_study({"big": BIG, "kd": KD, "none": NONE}, seeds=[0])

    def stop(event: Event) -> None:
        if isinstance(event, Ended):
            os.kill(os.getpid(), signal.SIGINT)

    assert _run(study, tmp_path / "cut", on_event=stop).interrupted
    (path,) = (tmp_path / "cut" / "weights").iterdir()
    whole = path.read_bytes()
    (path.parent / "half.1.tmp").write_bytes(b"half")
    # Gone or damaged: nothing is trained anew, and nothing is trained without it.
    path.unlink()
    told = (
        "the weights of base/big/seed0, which has ended and is to teach, cannot be used: the file"
    )
    with pytest.raises(StoreError, match=f"{told} is not there. Put the file back"):
        _run(study, tmp_path / "cut")
    assert _rows(tmp_path / "cut", "SELECT trial FROM trials") == [("base/big/seed0",)]
    path.write_bytes(whole[:-2000])
    with pytest.raises(StoreError, match=f"{told}: is damaged"):
        _run(study, tmp_path / "cut")
    path.write_bytes(whole)
    assert _run(study, tmp_path / "cut").ended == {"finished": 1}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert _rows(tmp_path / "cut", _EPOCHS) == _alone(study, digits, tmp_path)


@pytest.mark.parametrize("how", ["crashed", pytest.param("diverged", marks=pytest.mark.slow)])
def test_a_teacher_that_did_not_end_well_ends_its_students_with_a_clear_line(
    taught_study: MakeStudy, tmp_path: Path, own_nets: str, how: str
) -> None:
    teacher: dict[str, Any] = {"recipe": "none", "model": {"width": 5}}
    if how == "crashed":
        teacher["model"]["fails"] = "always"
    else:
        teacher["train"] = {"lr": 1e30}
    arms = {"kd": KD, "after": {"recipe": "none", "teachers": ["kd"]}, "none": NONE, "big": teacher}
    _run(taught_study(arms, model={"name": own_nets}, seeds=[0]), tmp_path / "run")
    rows = {
        arm: rest for arm, *rest in _rows(tmp_path / "run", "SELECT arm, status, error FROM trials")
    }
    assert rows["none"] == ["finished", None]
    assert rows["big"][0] == how
    assert rows["kd"] == ["crashed", f"its teacher, base/big/seed0, has {how}"]
    assert rows["after"] == ["crashed", "its teacher, base/kd/seed0, has crashed"]


def test_a_file_teaches_and_must_not_change_while_the_study_runs(
    taught_study: MakeStudy, tmp_path: Path, digits: Dataset
) -> None:
    file = tmp_path / "t.pt"
    plain = _specs(taught_study({"none": NONE}))["none"]
    torch.save(build_model(plain, digits, seed=3).state_dict(), file)
    study = taught_study({"kd": {"recipe": "none", "teachers": [str(file)]}})
    specs = plan(study).trials
    assert not any(spec.keeps_weights for spec in specs)
    with _opened(study, tmp_path / "run") as store:

        def change(event: Event) -> None:
            if isinstance(event, Progressed) and event.specs[0].seed == 0:
                file.write_bytes(file.read_bytes() + b" ")

        run_study(specs, store, jobs=1, on_event=change)
    rows = _rows(tmp_path / "run", "SELECT seed, status, error FROM trials ORDER BY seed")
    assert rows[0] == (0, "finished", None)
    assert rows[1][:2] == (1, "crashed")
    assert f"weights file {file}: has changed since the study was begun" in rows[1][2]
