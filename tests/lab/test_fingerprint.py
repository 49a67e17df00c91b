from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regrow.lab.plan import plan
from regrow.study.document import Study
from regrow.study.fingerprint import differences, fingerprint

MakeStudy = Callable[..., Study]


def fingerprint_of(chosen: Study) -> str:
    digests = {cell.name: "d" for cell in plan(chosen, where="test").cells}
    return fingerprint(plan(chosen).fingerprint_document(data_digests=digests))


def test_the_fingerprint_sees_what_determines_results_and_nothing_else(study: MakeStudy) -> None:
    base = fingerprint_of(study())
    assert base == fingerprint_of(study(name="other", seeds=[9]))
    assert base == fingerprint_of(study(note="The rate was picked."))
    assert base == fingerprint_of(study(arms=dict(reversed(study().model_dump()["arms"].items()))))
    assert base == fingerprint_of(study(diagnostics={"overlap": True}))
    assert base != fingerprint_of(study(train={"epochs": 21}))
    assert base != fingerprint_of(study(model={"name": "cratercnn", "settings": {"dense": 3}}))
    one, two = ({"base": digest} for digest in "ab")
    assert plan(study()).fingerprint_document(data_digests=one) != plan(
        study()
    ).fingerprint_document(data_digests=two)


def test_writing_a_default_out_changes_no_fingerprint(study: MakeStudy) -> None:
    spelled = study(model={"name": "cratercnn", "settings": {"filters": 20}})
    assert fingerprint_of(spelled) == fingerprint_of(study())


def test_a_whole_number_for_a_number_is_the_same_setting(study: MakeStudy) -> None:
    one, two = (
        study(arms={"ro": {"recipe": "randomout", "settings": {"threshold": value}}})
        for value in (1, 1.0)
    )
    assert fingerprint_of(one) == fingerprint_of(two)


def test_differences_name_keys_on_either_side() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": "x"}) == [
        "a.c: 2 there, nothing here",
        "d: nothing there, 'x' here",
    ]


def test_defaults_are_written_out(study: MakeStudy) -> None:
    stored = plan(study()).document
    assert stored["arms"]["ro"]["settings"]["norm"] == "l1"
    assert stored["model"]["settings"]["filters"] == 20
    assert stored["data"]["settings"]["scale"] == "standard"
    assert stored["seeds"] == [3, 5]
    assert "note" not in stored
    assert plan(study(note="Picked.")).document["note"] == "Picked."


def test_settings_of_later_date_do_not_part_results_from_before_them(
    study: Callable[..., Study],
) -> None:
    """RandomOut had no `confirm` once, and was what `gradient` is now."""

    def settings(**given: Any) -> dict[str, Any]:
        arms = {"ro": {"recipe": "randomout", "settings": given}}
        found = plan(study(arms=arms)).fingerprint_document(data_digests={"base": "0"})
        return found["cells"]["base"]["arms"]["ro"]["settings"]

    before = settings(confirm="gradient", threshold=1e-6)
    assert not before.keys() & {"confirm", "look_every"}
    assert before["threshold"] == 1e-6
    assert settings(threshold=1e-6) == {**before, "confirm": "silence"}
    assert settings(threshold=1e-6, look_every=50)["look_every"] == 50


def test_a_training_and_a_network_without_what_came_later_are_filed_as_before(
    study: MakeStudy,
) -> None:
    def cell(**changes: Any) -> dict[str, Any]:
        found = plan(study(**changes)).fingerprint_document(data_digests={"base": "0"})
        return found["cells"]["base"]

    before = {
        "epochs", "batch_size", "optimizer", "lr", "momentum", "nesterov", "weight_decay", "loss_reduction",
        "clip_grad_norm", "schedule", "partner_rates", "drop_last", "augment", "held_out", "overlap_penalty",
        "channels_last", "eval_every_epochs",
    }  # fmt: skip
    spelled = {"stair_factor": 0.5, "warm_up_steps": 0, "anneal_epochs": 0, "eval_last_epochs": 1}
    for given in ({}, spelled):
        assert cell(train=given)["train"].keys() == before
    for given in ({"anneal_epochs": 3}, {"warm_up_steps": 100}, {"eval_last_epochs": 10}):
        assert cell(train=given)["train"].keys() == {*before, *given}
    stairs = cell(train={"schedule": "staircase", "stair_steps": 7})["train"]
    assert stairs.keys() == {*before, "stair_steps"}
    plain = {"depth", "width", "norm", "pool", "head", "init"}
    network = {"name": "convnet", "settings": {"kernel": 3, "pool_size": 2}}
    assert cell(model=network)["model"]["settings"].keys() == plain
    network = {"name": "convnet", "settings": {"kernel": 5, "pool_size": 3}}
    assert cell(model=network)["model"]["settings"].keys() == {*plain, "kernel", "pool_size"}
