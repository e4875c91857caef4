"""What sessions have in common."""

from warrener.balancer.core.budget import Budget


def test_a_budget_is_exceeded_above_its_limit_and_not_at_it() -> None:
    budget = Budget(100)
    budget.change(60)
    budget.change(40)
    assert not budget.exceeded
    budget.change(1)
    assert budget.exceeded
    budget.change(-50)
    assert (budget.used, budget.exceeded) == (51, False)
