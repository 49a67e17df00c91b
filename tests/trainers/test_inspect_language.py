"""`regrow.inspect` on GPT-2 as transformers makes it, its input and output embeddings tied: what was hurt is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import regrow
from health.hurts import HURTS, check, hurt

transformers: Any = pytest.importorskip("transformers")

MLP = "transformer.h.0.mlp.c_fc"
READER = "transformer.h.0.mlp.c_proj"
TOKENS = torch.randint(40, (16, 12), generator=torch.Generator().manual_seed(0))
BATCH = {"input_ids": TOKENS, "labels": TOKENS}


def _gpt2() -> Any:
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=16, vocab_size=40, use_cache=False
    )
    config.bos_token_id = config.eos_token_id = None
    torch.manual_seed(6)
    net = transformers.GPT2LMHeadModel(config)
    assert net.lm_head.weight is net.transformer.wte.weight
    return net


def test_nothing_is_found_in_a_healthy_one() -> None:
    health = regrow.inspect(_gpt2(), BATCH)
    assert health.symptoms == ()
    assert health.loss is not None


@pytest.mark.parametrize("how", [each for each in HURTS if each not in {"blown up", "faded"}])
def test_what_was_hurt_is_found_and_nothing_else(how: str) -> None:
    net = _gpt2()
    hurt(net, MLP, HURTS[how])
    check(regrow.inspect(net, BATCH), MLP, HURTS[how], READER)


def test_a_gain_in_front_of_a_norm_is_no_symptom() -> None:
    net = _gpt2()
    hurt(net, MLP, HURTS["blown up"])
    health = regrow.inspect(net, BATCH)
    assert health[MLP].settled
    assert health[MLP].numbers["gain"] > 10
    assert "gain" not in {each.measure for each in health.symptoms}
