"""A group, a channel and a direct conversation with somebody of every standing in them."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from schemas.conversation import GroupEvent, MemberEvent
from schemas.ids import new_message_id, new_name
from tests.builders import an_inbound
from tests.gateway.world import World

__all__ = ["FAR_MS", "USERS", "Scene"]

FAR_MS = 2**50
USERS = {
    "stranger": "sam",
    "ex-member": "eve",
    "muted": "mia",
    "member": "max",
    "admin": "ada",
    "owner": "olga",
    "server": "svc",
    "blocked": "alice",
    "blocker": "bob",
}
"""Standing → who has it. `server` has a token of that role and is in no conversation."""
_numbers = count(1)


class Scene:
    """One conversation, made anew for each thing that is tried in it."""

    def __init__(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        self.seqs: dict[str, int] = {}
        """User → the seq of what he said."""
        self.left_seq = 0
        """Where the ex-member went."""

    @classmethod
    async def a_group(cls, world: World, prefix: str = "g") -> Scene:
        """olga's, with ada and adam as admins, max, mia (muted) and vic; eve was there and is gone."""
        scene = cls(f"{prefix}:x{next(_numbers)}")
        people = ["ada", "adam", "max", "mia", "vic", "eve"]
        created = GroupEvent(action="created", by="olga", name="Tea", members=people)
        await scene._say(world, "olga", "group", created)
        admins = MemberEvent(action="role", by="olga", users=["ada", "adam"], role="admin")
        await scene._say(world, "olga", "member", admins)
        for user in ("olga", *people):
            scene.seqs[user] = await scene._say(world, user, "text", {"text": f"{user} was here"})
        muted = {"action": "muted", "by": "olga", "users": ["mia"], "until_ms": FAR_MS}
        await scene._say(world, "olga", "member", muted)
        gone = MemberEvent(action="removed", by="olga", users=["eve"])
        scene.left_seq = await scene._say(world, "olga", "member", gone)
        scene.seqs["later"] = await scene._say(world, "olga", "text", {"text": "without eve"})
        return scene

    @classmethod
    async def a_direct(cls, world: World) -> Scene:
        """alice and bob have talked, then bob has blocked alice. Their names end in a number."""
        number = next(_numbers)
        scene = cls(f"d:alice{number}:bob{number}")
        for user in (f"alice{number}", f"bob{number}"):
            scene.seqs[user.rstrip("0123456789")] = await scene._say(world, user, "text", {"text": "hi"})
        block = MemberEvent(action="blocked", by=f"bob{number}", users=[f"alice{number}"])
        await scene._say(world, f"bob{number}", "member", block)
        return scene

    def user(self, standing: str) -> str:
        """Who has this standing here."""
        if standing in ("blocked", "blocker"):
            return self.conversation_id.split(":")[1 if standing == "blocked" else 2]
        return USERS[standing]

    async def _say(self, world: World, sender: str, kind: Any, content: Any) -> int:
        said = an_inbound(
            conversation_id=self.conversation_id,
            message_id=new_message_id(),
            sender=sender,
            client_msg_id=new_name(),
            kind=kind,
            content=msgspec.json.encode(content).decode(),
            received_at_ms=world.clock.now_ms(),
        )
        return (await world.path.sequence(said)).seq
