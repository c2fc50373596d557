"""Products by oneDNN: the same numbers as torch's own, of the weights as they are after learning, and gone when the context ends."""

import pytest

pytestmark = pytest.mark.slow


def module_and_rows():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(24, 40), torch.nn.GELU(), torch.nn.Linear(40, 3, bias=False)), (
        torch.randn(7, 5, 24)
    )


def run(module, rows, dtype):
    import torch

    from searchtune.llm.packed import packed_products

    with torch.inference_mode(), packed_products(module, dtype):
        return module(rows)


def test_products_by_hand():
    import torch

    unit = torch.nn.Linear(2, 2)
    with torch.no_grad():
        unit.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        unit.bias.copy_(torch.tensor([0.5, -1.0]))
    assert run(unit, torch.tensor([[10.0, 1.0]]), torch.float32).tolist() == [[12.5, 33.0]]


def test_packed_products_equal_plain_ones_and_leave_nothing_behind():
    import torch

    from searchtune.llm.packed import packed_products, usable

    module, rows = module_and_rows()
    assert usable(module)
    plain = module(rows)
    assert torch.allclose(run(module, rows, torch.float32), plain, atol=1e-6)
    assert torch.allclose(run(module, rows, torch.bfloat16).float(), plain, atol=0.05)
    with pytest.raises(KeyError), packed_products(module, torch.float32):
        assert "forward" in vars(module[0])
        raise KeyError
    assert "forward" not in vars(module[0])
    module(rows).sum().backward()  # learning goes through the plain products
    assert module[0].weight.grad is not None


@pytest.mark.parametrize("fused", [True, False])
def test_weights_that_learned_are_the_ones_used(fused):
    import torch

    module, rows = module_and_rows()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, fused=fused)
    before = run(module, rows, torch.float32)
    module(rows).square().sum().backward()
    optimizer.step()
    after = run(module, rows, torch.float32)
    assert not torch.allclose(before, after, atol=0.01)
    assert torch.allclose(after, module(rows), atol=1e-5)
    module.load_state_dict(module_and_rows()[0].state_dict())
    assert torch.equal(run(module, rows, torch.float32), before)
    with torch.no_grad():
        module[0].weight.copy_(module[0].weight + 0.5)
    assert torch.allclose(run(module, rows, torch.float32), module(rows), atol=1e-5)
