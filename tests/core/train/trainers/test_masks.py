"""Batches padded on the right: their loss and gradients without a mask equal those with it."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from finetop.core.train.trainers import masks


class Loss:
    """Stands in for a TRL trainer, whose loss calls its model with a whole batch."""

    def __init__(self, model):
        self.model = model
        self.masks = []
        model.register_forward_pre_hook(self.see, with_kwargs=True)

    def see(self, module, args, kwargs):
        self.masks.append(kwargs.get("attention_mask") is not None)

    def compute_loss(self, model, inputs):
        return model(**inputs, use_cache=False).loss


def batch():
    ids = torch.arange(24).reshape(3, 8) + 10
    mask = torch.tensor([[1] * 8, [1] * 7 + [0], [1] * 3 + [0] * 5])
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.where(mask == 1, ids, -100)}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_loss_and_gradients_are_the_same_without_a_mask(tiny_model, attention):
    found = []
    for leaves_out in (False, True):
        model = AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation=attention)
        trainer = Loss(model)
        if leaves_out:
            masks.leave_out(trainer)
        loss = trainer.compute_loss(model, batch())
        loss.backward()
        found.append((loss.detach(), [weight.grad for weight in model.parameters()]))
    assert torch.equal(found[0][0], found[1][0])
    pairs = zip(found[0][1], found[1][1], strict=True)
    assert all(torch.allclose(with_mask, without, atol=1e-7) for with_mask, without in pairs)


@pytest.mark.slow
def test_a_compiled_model_makes_no_mask_and_copies_no_keys(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    trainer = Loss(model)
    masks.leave_out(trainer)
    attended = []

    def see(graph, _):
        for node in graph.graph.nodes:
            if "scaled_dot_product_attention" in str(node.target):
                attended.append(node.kwargs.get("attn_mask"))
        return graph.forward

    torch._dynamo.reset()
    loss = trainer.compute_loss(torch.compile(model, backend=see), batch())
    assert torch.equal(loss, trainer.compute_loss(model, batch()))
    assert attended and attended == [None] * len(attended)


def test_rows_that_are_packed_stay_apart(tiny_model):
    """Packed rows come without a mask: their positions are all that tells one from the next."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    trainer = Loss(model)
    masks.leave_out(trainer)
    ids = torch.arange(12).reshape(1, 12) + 10
    packed = {"input_ids": ids, "position_ids": torch.arange(12)[None] % 6, "labels": ids}
    with torch.no_grad():
        assert not torch.equal(
            trainer.compute_loss(model, packed),
            trainer.compute_loss(model, {"input_ids": ids, "labels": ids}),
        )
        assert torch.equal(trainer.compute_loss(model, packed), model(**packed, use_cache=False).loss)


def test_the_mask_is_left_out_of_the_loss_alone(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    trainer = Loss(model)
    masks.leave_out(trainer)
    trainer.compute_loss(model, batch())
    model(**batch(), use_cache=False)
    trainer.compute_loss(model, batch())
    seen_last = trainer.masks[1]  # the call outside the loss
    assert seen_last is True


@pytest.mark.parametrize(
    ("config", "adapter"),
    [({"output_router_logits": True}, False), ({}, True)],
    ids=["a mixture that is balanced", "virtual tokens before the text"],
)
def test_where_a_mask_means_more_it_stays(config, adapter):
    text = SimpleNamespace(**config)
    peft = SimpleNamespace(is_prompt_learning=adapter)
    model = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: text), active_peft_config=peft)
    assert not masks.is_exact(SimpleNamespace(model=model))
