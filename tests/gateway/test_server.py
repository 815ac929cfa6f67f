"""One gateway from outside: real sockets on 127.0.0.1, memory twins behind."""

from __future__ import annotations

from tests.gateway.world import World


async def test_a_message_goes_from_one_user_to_another(world: World) -> None:
    """`accepted`, then `sent` with a seq for the sender; a `deliver` with the same seq for the other."""
    alice, bob = await world.enter("alice"), await world.enter("bob")
    await alice.say("d:alice:bob", "hi", "m1", id=7)
    accepted, sent = await alice.expect("accepted"), await alice.expect("sent")
    deliver = await bob.expect("deliver")
    assert (accepted["client_msg_id"], accepted["re"], sent["seq"], sent["re"]) == ("m1", 7, 1, 7)
    assert deliver["n"] == 1
    assert deliver["messages"][0]["content"] == {"text": "hi"}
    assert deliver["messages"][0]["seq"] == 1
    await bob.tell(type="ack", n=1)
    await bob.tell(type="ping", id="p")
    pong = await bob.expect("pong")
    assert pong["re"] == "p"
    assert pong["heads"] == {"d:alice:bob": 1}
