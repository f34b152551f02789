"""A ticket the broker lost is issued again, also while the queue is full of others."""

from __future__ import annotations

from typing import Any

import pytest

from bedplate.bus.tickets import oldest_ticket_s
from bedplate.chassis.metrics import Metrics
from bedplate.testing.eventually import eventually
from bedplate_run_scheduler.relay import Relay
from bedplate_run_scheduler.sharing import Sharing

LOST_S = 10.0
HOUR_S = 3600.0


@pytest.fixture
def relay(desk: Any) -> Relay:
    return Relay(
        desk.backbone,
        desk.dispatch,
        Sharing(desk.dispatch, Metrics()),
        lost_ticket_s=LOST_S,
        doomed_s=60,
    )


async def test_a_lost_ticket_is_issued_again_although_others_wait(desk: Any, relay: Relay) -> None:
    lost = await desk.create()
    await desk.lose_ticket(lost)
    await desk.age_ticket(lost, by_s=HOUR_S)
    waiting = await desk.create()
    assert await relay.reissue() == {"reissued": 1}
    await desk.is_queued(lost, ticket=2)
    assert sorted((await desk.queued()).values()) == sorted([(waiting, 1), (lost, 2)])
    assert await relay.reissue() is None, "once"


async def test_what_waits_in_a_long_queue_gets_no_second_ticket(desk: Any) -> None:
    relay = Relay(
        desk.backbone,
        desk.dispatch,
        Sharing(desk.dispatch, Metrics()),
        lost_ticket_s=0.5,
        doomed_s=60,
    )
    first, second = await desk.create(), await desk.create()
    await eventually(
        lambda: oldest_ticket_s(desk.backbone.bus), satisfies=lambda s: s and s > 1.0, within_s=10
    )
    assert await relay.reissue() is None
    assert sorted((await desk.queued()).values()) == sorted([(first, 1), (second, 1)])


async def test_a_ticket_lost_behind_others_is_issued_again_when_its_turn_has_passed(
    desk: Any, relay: Relay
) -> None:
    ahead, lost = await desk.create(), await desk.create()
    await desk.lose_ticket(lost)
    assert await relay.reissue() is None
    await desk.lose_ticket(ahead)
    await desk.age_ticket(lost, by_s=2 * LOST_S)
    await desk.create()
    assert await relay.reissue() == {"reissued": 1}


async def test_an_empty_queue_has_no_oldest_ticket(desk: Any, relay: Relay) -> None:
    assert await oldest_ticket_s(desk.backbone.bus) is None
    lost = await desk.create()
    await desk.lose_ticket(lost)
    assert await relay.reissue() is None, "it may be on its way"
    await desk.age_ticket(lost, by_s=HOUR_S)
    assert await relay.reissue() == {"reissued": 1}
