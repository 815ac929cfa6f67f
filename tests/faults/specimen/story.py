"""A clean history from a seed: people talk, come and go, crash and come back, while the toy path keeps its
promises. `Story(path).tell()` gives the history of whatever path it is told on, also of one with a bug."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from schemas.ids import direct_conversation
from schemas.tables import BUCKET_SIZE, bucket_of
from tests.faults import dumps, history
from tests.faults.checker.replay import digest_of
from tests.faults.specimen.device import Device
from tests.faults.specimen.memory import MemoryHistory
from tests.faults.specimen.path import GROUPS, PARTITIONS, Path, Placed

__all__ = ["Story", "a_clean_history"]

_USERS: Final = ("ann", "bob", "cat", "dan", "eve")
_GROUPS: Final = ("g:tea", "g:work")
LONG_S: Final = 60.0


def a_clean_history(seed: int, steps: int = 300) -> MemoryHistory:
    """What a service that keeps its promises leaves behind."""
    return Story(Path(seed), steps).tell()


class Story:
    """Chooses what happens next; everything random comes from the path's own seed."""

    def __init__(self, path: Path, steps: int = 300) -> None:
        self.path, self.steps, self.rng = path, steps, path.rng
        self.deeds: list[tuple[float, Callable[[], None]]] = [
            (60, self.say),
            (3, self.say_something_forbidden),
            (2, self.write_as_a_stranger),
            (4, self.repeat_a_send),
            (4, self.recall),
            (4, self.edit),
            (2, self.react),
            (3, self.add),
            (3, self.remove_or_leave),
            (2, self.block_or_unblock),
            (3, self.type),
            (3, self.read),
            (4, self.cut),
            (5, self.come_back),
            (2, self.send_into_the_void),
            (2, self.lose_routes),
            (3, self.look_back),
            (3, self.crash),
            (2, self.watch_presence),
            (1, path.publish_poison),
            (12, path.pump),
        ]

    def tell(self) -> MemoryHistory:
        path = self.path
        started_t = path.t
        self.gather()
        step = 0
        while step < self.steps:
            step += 1
            self.nemesis(step)
            self.rng.choices([deed for _, deed in self.deeds], [weight for weight, _ in self.deeds])[0]()
            if step % 10 == 0:
                self.sample()
        self.end()
        path.history.of_run = history.Run(
            run=f"specimen-{self.steps}", started_t=started_t, ended_t=path.t, partitions=PARTITIONS,
            started_unix_ms=int(1_000 * started_t),
        )  # fmt: skip
        self.dump()
        path.finished()
        return path.history

    def gather(self) -> None:
        """Everybody connects; two groups are made, one without dan and eve."""
        for user in _USERS:
            Device(self.path, f"{user}-1", user, "gw-1")
        Device(self.path, "ann-2", "ann", "gw-2")
        Device(self.path, "bob-2", "bob", "gw-2", sdk=True)
        for device in self.devices:
            device.connect()
        ann = self.devices[0]
        for group, members in zip(_GROUPS, (list(_USERS), ["bob", "cat"]), strict=True):
            ann.request("group.create", group, "group", action="created", name="x", members=members)
        self.path.pump()
        self.say_something_forbidden()
        self.path.publish_poison()

    @property
    def devices(self) -> list[Device]:
        return [device for device in self.path.devices if isinstance(device, Device)]

    def somebody(self) -> Device:
        return self.rng.choice([device for device in self.devices if device.online])

    def conversation_of(self, user: str) -> str:
        groups = [group for group in _GROUPS if user in self.path.members_of(group)]
        other = self.rng.choice([name for name in _USERS if name != user])
        return self.rng.choice([*groups, *groups, direct_conversation(user, other)])

    def placed(self) -> Placed | None:
        """Some stored text or edit target that stands somewhere."""
        texts = [p for log in self.path.messages for p in log[-40:] if p.ask.kind == "text"]
        return self.rng.choice(texts) if texts else None

    # What may happen

    def say(self) -> None:
        device = self.somebody()
        device.send(self.conversation_of(device.user))
        if self.rng.random() < 0.7:
            self.path.pump()

    def say_something_forbidden(self) -> None:
        device = self.somebody()
        device.send(self.conversation_of(device.user), forbidden=True)

    def write_as_a_stranger(self) -> None:
        device = self.somebody()
        device.send("d:ann:bob" if device.user not in ("ann", "bob") else "d:cat:eve")

    def repeat_a_send(self) -> None:
        device = self.somebody()
        for ask in list(device.open.values())[:1]:
            if not ask.request:
                again = replace(ask, session=device.session, message_id=device.name_of_next())
                device.attempt(again, again=True)

    def recall(self) -> None:
        self.change("recall")

    def edit(self) -> None:
        self.change("edit")

    def change(self, kind: str) -> None:
        target = self.placed()
        if target is None or self.path.rows.get((target.ask.conversation, target.seq)) is None:
            return
        if self.path.rows[target.ask.conversation, target.seq].recalled:
            return
        for device in self.devices:
            if device.user == target.ask.sender and device.online:
                device.send(target.ask.conversation, kind, target.seq)
                self.path.pump()
                return

    def react(self) -> None:
        target, device = self.placed(), self.somebody()
        if target is not None and device.user in self.path.members_of(target.ask.conversation):
            device.send(target.ask.conversation, "reaction", target.seq, emoji="+", add=True)

    def add(self) -> None:
        device, group = self.somebody(), self.rng.choice(_GROUPS)
        outside = [user for user in _USERS if user not in self.path.members_of(group)]
        if outside and device.user in self.path.members_of(group):
            device.request("group.add", group, "member", action="joined", users=[self.rng.choice(outside)])

    def remove_or_leave(self) -> None:
        device, group = self.somebody(), self.rng.choice(_GROUPS)
        members = self.path.members_of(group)
        if device.user not in members or len(members) < 3:
            return
        if device.user == "ann":
            user = self.rng.choice(sorted(members - {"ann"}))
            device.request("group.remove", group, "member", action="removed", users=[user])
        else:
            device.request("group.leave", group, "member", action="left", users=[device.user])
        if self.rng.random() < 0.5:
            self.path.pump()

    def block_or_unblock(self) -> None:
        device = self.somebody()
        other = self.rng.choice([name for name in _USERS if name != device.user])
        conversation = direct_conversation(device.user, other)
        standing = device.user in self.path.blocks.get(conversation, set())
        action = "unblocked" if standing else "blocked"
        device.request("conversation.block", conversation, "member", action=action, users=[other])
        self.path.pump()

    def type(self) -> None:
        device = self.somebody()
        self.path.pump()
        conversation = self.conversation_of(device.user)
        device.log(history.TypingSaid, conversation=conversation)
        for other in self.listeners(device):
            if self.path.hears_typing(other.user, conversation):
                other.log(history.Typing, conversation=conversation, user=device.user)

    def listeners(self, device: Device) -> list[Device]:
        """The other connections that log frames."""
        return [d for d in self.devices if d.online and not d.sdk and d is not device]

    def inside(self, device: Device, conversation: str) -> bool:
        return device.user in self.path.members_of(conversation)

    def read(self) -> None:
        self.path.pump()
        device = self.somebody()
        conversation = self.conversation_of(device.user)
        head = self.path.heads.get(conversation, 0)
        if not head:
            return
        device.log(history.Read, conversation=conversation, seq=head)
        self.path.publish_receipt(device.user, conversation, head, -1)
        self.path.pump()
        for other in self.listeners(device):
            if self.inside(other, conversation):
                read_seq = self.path.told_cursor(other, device.user, conversation)
                other.log(history.Receipt, conversation=conversation, user=device.user, read_seq=read_seq)

    def cut(self) -> None:
        wobbly = [device for device in self.devices if device.online and not device.sdk]
        if len(wobbly) > 3:
            self.rng.choice(wobbly).cut()

    def come_back(self) -> None:
        away = [device for device in self.devices if not device.online]
        if away:
            device = self.rng.choice(away)
            if self.rng.random() < 0.5 and device.routed:
                device.resume()
            else:
                device.connect()

    def send_into_the_void(self) -> None:
        """The socket breaks before the frame is out: the outcome is open."""
        device = self.somebody()
        if device.sdk:
            return
        ask = device.send(self.conversation_of(device.user))
        self.path.pump()
        if ask.client_msg_id not in device.open:
            device.attempt(replace(ask, message_id=device.name_of_next()), again=True, arrives=False)
        device.cut()

    def lose_routes(self) -> None:
        """Redis forgets where a device is; it comes back a while later and finds a hole."""
        device = self.somebody()
        if not device.sdk:
            device.routed = not device.routed

    def look_back(self) -> None:
        self.path.pump()
        device = self.somebody()
        names = [name for name in self.path.stays_of(device.user) if not device.sdk]
        if names:
            device.read_history(self.rng.choice(names))

    def crash(self) -> None:
        """A worker dies after its effects and before its commit: what it wrote is written again."""
        self.path.pump()
        partition, group = self.rng.randrange(PARTITIONS), self.rng.choice(list(GROUPS))
        accepted, messages = self.path.accepted[partition], self.path.messages[partition]
        if group == "im.persistence":
            for placed in messages[-3:]:
                self.path.store(placed)
        elif group == "im.sequencing" and messages:
            self.path.log_message(messages[-1].ask, messages[-1].seq, messages[-1].source)
            self.path.committed["im.fanout"][partition] += 1
        elif group == "im.moderation" and accepted:
            self.path.accept(accepted[-1][1], accepted[-1][0])

    def watch_presence(self) -> None:
        device, other = self.somebody(), self.rng.choice(_USERS)
        device.log(history.Request, request=device.name_of_next(), op="presence.subscribe", users=[other])
        device.log(history.Presence, user=self.path.presence(other), online=True)

    # Around it

    def nemesis(self, step: int) -> None:
        log, t = self.path.history.nemesis, self.path.t
        if step == self.steps // 3:
            log.append(history.Began(t=t, fault="f1", kind="kill-worker", target="worker-1"))
            log.append(history.Held(t=t, fault="f1", evidence="pid 1 is gone"))
        if step == self.steps // 2:
            log.append(history.Healed(t=t, fault="f1"))

    def sample(self) -> None:
        for group, topic in GROUPS.items():
            for partition in range(PARTITIONS):
                sample = dumps.Offset(
                    t=self.path.t, group=group, topic=topic, partition=partition,
                    committed=self.path.committed[group][partition], end=self.path.end(topic, partition),
                )  # fmt: skip
                self.path.history.others["offsets"].append(sample)

    def end(self) -> None:
        """The load is over: everything comes through, everybody catches up."""
        self.path.pump()
        for device in self.devices:
            device.routed = True
            if not device.online:
                device.connect()
        self.path.pump()
        self.sample()
        self.path.wait_for_stragglers()
        for device in self.devices:
            self.path.settle(device)
        self.path.pump()
        self.sample()
        self.path.t += LONG_S  # whoever has no answer by now will get none

    def dump(self) -> None:
        tables, path = self.path.history.tables, self.path
        tables["messages"] = list(path.rows.values())
        tables["conversation_events"] = [
            dumps.EventRow(conversation=placed.ask.conversation, seq=placed.seq, kind=placed.ask.kind)
            for log in path.messages
            for placed in log
            if placed.ask.kind in ("group", "member")
        ]
        tables["conversation_buckets"] = [
            dumps.BucketRow(conversation=name, bucket=bucket, first_seq=bucket * BUCKET_SIZE + 1)
            for name, head in path.heads.items()
            for bucket in range(bucket_of(head) + 1)
        ]
        for name in path.heads:
            for user, stays in path.stays(name).items():
                first, last = stays[-1]
                tables["user_conversations"].append(
                    dumps.MembershipRow(conversation=name, user=user, joined_seq=first, left_seq=last)
                )
        for (user, name), (read, delivered) in path.cursors.items():
            tables["user_cursors"].append(
                dumps.CursorRow(conversation=name, user=user, read_seq=read, delivered_seq=delivered)
            )
        digest, rows = digest_of(tables["messages"])
        for moment in ("before", "after"):
            path.history.others["digests"].append(
                dumps.Digest(t=path.t, moment=moment, of="table:messages", digest=digest, rows=rows)
            )
