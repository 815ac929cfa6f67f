"""What people do in a seed: a handful of users, a few conversations, some dozen actions at drawn times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.client.session import Reply
from schemas import frames
from schemas.ids import direct_conversation
from tests.sim.clients import Device

if TYPE_CHECKING:
    from tests.sim.world import World

__all__ = ["FORBIDDEN", "GROUP", "Scenario"]

GROUP: Final = "g:team"
FORBIDDEN: Final = "forbidden"
"""A word that the policy of every seed rejects."""
_USERS: Final = ("alice", "bob", "carol")
_RETRY_S: Final = 0.7
_SHORTEST_S: Final = 6.0


@dataclass(slots=True)
class Scenario:
    """Draws devices and actions, and lets them happen."""

    world: World
    lasts_s: float = 0.0

    def begin(self) -> list[Device]:
        """The devices; their actions are on the clock when this returns."""
        world, rng = self.world, self.world.rng
        self.lasts_s = _SHORTEST_S + 14.0 * rng.random()
        devices = [Device(world, user, f"{user}-1") for user in _USERS]
        if rng.random() < 0.3:
            devices.append(Device(world, rng.choice(_USERS), "second"))
        if rng.random() < 0.3:
            devices.append(Device(world, "dave", "dave-1"))
        world.later(0.2 + rng.random(), self._create, devices[0], rng.sample(_USERS[1:], rng.randint(0, 2)))
        for _ in range(rng.randint(8, 28)):
            world.later(0.5 + self.lasts_s * rng.random(), self._act, rng.choice(devices))
        return devices

    def _create(self, device: Device, members: list[str]) -> None:
        """Have the group made; what got no answer is asked again, and refused if it was done."""

        def answered(reply: Reply | None) -> None:
            if reply is None or (isinstance(reply, frames.Error) and reply.temporary):
                self.world.later(_RETRY_S, self._create, device, members)

        device.ask(
            lambda number: frames.GroupCreate(group_id="team", name="Team", members=members, id=number),
            answered,
        )

    def _act(self, device: Device) -> None:
        if not device.process.alive or device.stopped:
            return
        rng = self.world.rng
        action = rng.choices(_ACTIONS, _WEIGHTS)[0]
        action(self, device)

    def _conversation(self, device: Device) -> str:
        rng = self.world.rng
        if device.user == "dave" or rng.random() < 0.5:
            return GROUP
        return direct_conversation(device.user, rng.choice([user for user in _USERS if user != device.user]))

    def say(self, device: Device) -> None:
        """One to four messages in a row, awaited or not."""
        rng, conversation_id = self.world.rng, self._conversation(device)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            text = FORBIDDEN if rng.random() < 0.05 else "hello"
            device.submit(
                lambda key, text=text: frames.Send(  # type: ignore[misc]
                    client_msg_id=key,
                    conversation_id=conversation_id,
                    kind="text",
                    content={"text": f"{text} {key}"},
                )
            )

    def change(self, device: Device) -> None:
        """Take back, edit or react to a message that was seen."""
        rng = self.world.rng
        seen = [(c, seq) for c, lives in device.shown.items() for life in lives for seq in life]
        if not seen:
            return
        conversation_id, seq = rng.choice(seen)
        makes: list[Callable[[str], frames.Recall | frames.Edit | frames.React]] = [
            lambda key: frames.Recall(client_msg_id=key, conversation_id=conversation_id, seq=seq),
            lambda key: frames.Edit(
                client_msg_id=key, conversation_id=conversation_id, seq=seq, content={"text": f"edited {key}"}
            ),
            lambda key: frames.React(
                client_msg_id=key, conversation_id=conversation_id, seq=seq, emoji="+", add=True
            ),
        ]
        device.submit(rng.choice(makes))

    def members(self, device: Device) -> None:
        """Add somebody to the group, remove somebody, or leave it."""
        rng = self.world.rng
        user = rng.choice(_USERS)
        makes: list[Callable[[int], frames.ClientFrame]] = [
            lambda number: frames.GroupAdd(conversation_id=GROUP, members=[user], id=number),
            lambda number: frames.GroupAdd(conversation_id=GROUP, members=[user], id=number),
            lambda number: frames.GroupRemove(conversation_id=GROUP, members=[user], id=number),
            lambda number: frames.GroupLeave(conversation_id=GROUP, id=number),
        ]
        device.ask(rng.choice(makes), _whatever)

    def block(self, device: Device) -> None:
        """Take no more messages from somebody, or take them again."""
        rng = self.world.rng
        if device.user not in _USERS:
            return
        other = rng.choice([user for user in _USERS if user != device.user])
        conversation_id, blocked = direct_conversation(device.user, other), rng.random() < 0.5
        device.ask(
            lambda number: frames.ConversationBlock(
                conversation_id=conversation_id, blocked=blocked, id=number
            ),
            _whatever,
        )

    def read(self, device: Device) -> None:
        """Read what was shown of a conversation."""
        shown = [(c, life[-1]) for c, lives in device.shown.items() for life in lives[-1:] if life]
        if shown:
            device.read(*self.world.rng.choice(shown))


def _whatever(_: Reply | None) -> None:
    """The answer does not matter."""


_ACTIONS: Final = (Scenario.say, Scenario.change, Scenario.members, Scenario.read, Scenario.block)
_WEIGHTS: Final = (62, 12, 14, 9, 3)
