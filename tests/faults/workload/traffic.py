"""What the users do: random, at a steady rate, whatever happens to the system meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from random import Random
from types import TracebackType
from typing import Any, Final, Protocol, Self

from schemas import frames
from schemas.errors import Unavailable
from schemas.ids import direct_conversation
from tests.faults.folder import Lines
from tests.faults.history import canary
from tests.faults.workload.cast import Cast, Device, Group
from tests.faults.workload.journal import Journal
from tests.faults.workload.outgoing import Letter, Sendable
from tests.faults.workload.raw import RawClient
from tests.faults.workload.sdk import SdkClient
from tests.faults.workload.wishes import Wish

__all__ = ["FORBIDDEN", "Traffic"]

FORBIDDEN: Final = "forbiddenfruit"
"""A word that the policy of every run rejects."""
WORDS: Final = ("tea", "rain", "harbour", "lamp", "seven", "window", "north", "bread")
CONNECT_TIMEOUT_S: Final = 120.0
CREATE_TIMEOUT_S: Final = 180.0
ANSWERS_TIMEOUT_S: Final = 240.0
SETTLE_TIMEOUT_S: Final = 300.0
TURN_S: Final = 0.01
DEEDS: Final[Mapping[str, float]] = {
    "text": 84.0,
    "forbidden": 1.0,
    "recall": 1.5,
    "edit": 1.5,
    "react": 2.5,
    "read": 5.0,
    "typing": 1.0,
    "drop": 0.6,
    "forget": 0.4,
    "come_or_go": 1.0,
    "block": 0.3,
}


class Actor(Protocol):
    """One device: raw or SDK."""

    user: str

    @property
    def connected(self) -> bool: ...

    @property
    def waiting(self) -> int: ...

    @property
    def own(self) -> Sequence[tuple[str, int]]: ...

    def top(self, conversation: str) -> int: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, letter: Letter) -> bool: ...

    async def request(self, wish: Wish) -> int | None: ...

    async def read(self, conversation: str, seq: int) -> None: ...

    def typing(self, conversation: str) -> None: ...

    def drop(self, *, forget: bool) -> None: ...

    async def settle(self) -> None: ...


class Traffic:
    """`async with Traffic(…) as traffic:` — everybody is connected and every group exists."""

    def __init__(
        self, url: str, token: Callable[[str], str], cast: Cast, lines: Lines, random: Random
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._url = url
        self._token = token
        self._cast = cast
        self._random = random
        self._actors = {device: self._actor(device, lines) for device in cast.devices}
        self._sent: Counter[Device] = Counter()
        self._errands: set[asyncio.Task[None]] = set()
        self._blocking: set[str] = set()
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as entered:
            for actor in self._actors.values():
                await actor.start()
                entered.push_async_callback(actor.close)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while not all(actor.connected for actor in self._actors.values()):
                    await asyncio.sleep(TURN_S)
            await asyncio.gather(*(self._create(group) for group in self._cast.groups))
            self._exit = entered.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)
        await self._exit.aclose()

    async def run(self, per_s: float, until: float) -> None:
        """Deeds at this rate until then (monotonic); one that is late is done late, none is left out."""
        names, weights = list(DEEDS), list(DEEDS.values())
        due = time.monotonic()
        while due < until:
            due += self._random.expovariate(per_s)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            deed = self._random.choices(names, weights)[0]
            device = self._random.choice(self._cast.devices)
            await self._do(deed, device)

    async def quiet(self) -> int:
        """Wait until every send has its answer, within a bound; returns how many have none."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWERS_TIMEOUT_S):
                while any(actor.waiting for actor in self._actors.values()):
                    await asyncio.sleep(0.1)
        await asyncio.gather(*self._errands, return_exceptions=True)
        return sum(actor.waiting for actor in self._actors.values())

    async def settle(self) -> list[str]:
        """Everybody asks for all that may be missing; returns the clients that could not."""
        names = {asyncio.create_task(actor.settle()): device for device, actor in self._actors.items()}
        _, late = await asyncio.wait(names, timeout=SETTLE_TIMEOUT_S)
        for task in late:
            task.cancel()
        outcomes = await asyncio.gather(*names, return_exceptions=True)
        return [
            device.client
            for device, outcome in zip(names.values(), outcomes, strict=True)
            if isinstance(outcome, BaseException)
        ]

    # Deeds

    async def _do(self, deed: str, device: Device) -> None:
        actor = self._actors[device]
        match deed:
            case "text" | "forbidden":
                await self._say(device, forbidden=deed == "forbidden")
            case "recall" | "edit":
                await self._change_own(deed, device)
            case "react":
                await self._react(device)
            case "read":
                conversation = self._conversation(device)
                if top := actor.top(conversation):
                    await actor.read(conversation, top)
            case "typing":
                actor.typing(self._conversation(device))
            case "drop" | "forget":
                actor.drop(forget=deed == "forget")
            case "come_or_go":
                self._errand(self._come_or_go(self._random.choice(self._cast.groups)))
            case "block":
                self._errand(self._block(device))
        self.counts[deed] += 1

    async def _say(self, device: Device, *, forbidden: bool) -> None:
        name = self._name(device)
        words = " ".join(self._random.choices(WORDS, k=self._random.randint(1, 12)))
        text = f"{canary(device.user, name)} {words}" + (f" {FORBIDDEN}" if forbidden else "")
        frame = frames.Send(
            client_msg_id=name,
            conversation_id=self._conversation(device),
            kind="text",
            content={"text": text},
        )
        await self._send(device, frame, forbidden=forbidden)

    async def _change_own(self, deed: str, device: Device) -> None:
        own = self._actors[device].own
        if not own:
            return
        (conversation, seq), name = self._random.choice(own), self._name(device)
        if deed == "recall":
            frame: Sendable = frames.Recall(client_msg_id=name, conversation_id=conversation, seq=seq)
        else:
            content = {"text": f"{canary(device.user, name)} edited"}
            frame = frames.Edit(client_msg_id=name, conversation_id=conversation, seq=seq, content=content)
        await self._send(device, frame)

    async def _react(self, device: Device) -> None:
        conversation = self._conversation(device)
        top = self._actors[device].top(conversation)
        if top:
            frame = frames.React(
                client_msg_id=self._name(device),
                conversation_id=conversation,
                seq=self._random.randint(max(1, top - 20), top),
                emoji=self._random.choice("👍🎉🙂"),
                add=self._random.random() < 0.8,
            )
            await self._send(device, frame)

    async def _send(self, device: Device, frame: Sendable, *, forbidden: bool = False) -> None:
        if not await self._actors[device].send(Letter(frame, forbidden)):
            self.counts["not taken: too many wait"] += 1

    async def _come_or_go(self, group: Group) -> None:
        """A member leaves or is removed, or one who is out comes back; the owner stays."""
        random = self._random
        out = [user for user in group.everybody if user not in group.inside]
        inside = [user for user in group.everybody if user in group.inside and user != group.owner]
        if out and (len(inside) < 2 or random.random() < 0.6):
            user = random.choice(out)
            if await self._ask(group.owner, Wish("group.add", group.id, (user,))) == 0:
                group.inside.add(user)
        elif inside:
            user = random.choice(inside)
            group.inside.discard(user)  # whatever the answer, it speaks there no more
            if random.random() < 0.5:
                await self._ask(user, Wish("group.leave", group.id))
            else:
                await self._ask(group.owner, Wish("group.remove", group.id, (user,)))

    async def _block(self, device: Device) -> None:
        """One of a pair takes no more messages for a while."""
        pairs = [pair for pair in self._cast.directs if device.user in pair]
        if not pairs or device.sdk:
            return
        conversation = direct_conversation(*self._random.choice(pairs))
        if conversation in self._blocking:
            return
        self._blocking.add(conversation)
        try:
            await self._actors[device].request(Wish("conversation.block", conversation, blocked=True))
            await asyncio.sleep(self._random.uniform(0.5, 5.0))
            unblock = Wish("conversation.block", conversation, blocked=False)
            while await self._actors[device].request(unblock) != 0:
                await asyncio.sleep(1.0)
        finally:
            self._blocking.discard(conversation)

    async def _create(self, group: Group) -> None:
        others = tuple(user for user in group.everybody if user != group.owner)
        wish = Wish("group.create", group.id, others)
        try:
            async with asyncio.timeout(CREATE_TIMEOUT_S):
                while await self._ask(group.owner, wish) != 0 and not self._top(group.owner, group.id):
                    await asyncio.sleep(1.0)
        except TimeoutError:
            raise Unavailable(f"{group.id} could not be made") from None

    async def _ask(self, user: str, wish: Wish) -> int | None:
        return await self._first_of(user).request(wish)

    def _top(self, user: str, conversation: str) -> int:
        return self._first_of(user).top(conversation)

    def _first_of(self, user: str) -> Actor:
        return next(actor for device, actor in self._actors.items() if device.user == user)

    def _errand(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def _conversation(self, device: Device) -> str:
        return self._random.choice(self._cast.conversations_of(device.user) or [self._cast.groups[0].id])

    def _name(self, device: Device) -> str:
        self._sent[device] += 1
        return f"{device.name}.{self._sent[device]}"

    def _actor(self, device: Device, lines: Lines) -> Actor:
        journal = Journal(lines, device.client)
        token = self._token(device.user)
        if device.sdk:
            return SdkClient(self._url, token, device.user, device.name, journal)
        random = Random(self._random.getrandbits(32))
        return RawClient(self._url, token, device.user, device.name, journal, random)
